"""contenders, contender_calls, contender_weights: models of others, in NumPy and PyTorch."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from numpylm.checks.contender_weights import count, kept, scaled, with_precision
from numpylm.checks.contracts import (
    Contender,
    causality,
    check_contracts,
    independence,
    no_leak,
    order_is_used,
    padding_is_unread,
)
from numpylm.errors import InputError

V, C, T = 13, 16, 12
TABLE = np.random.default_rng(0).normal(size=(V, V))


def last_word(ids):
    return TABLE[ids]


# ---- what f may be, and return ---------------------------------------------------------------


@pytest.mark.parametrize(
    "wrap",
    [
        lambda z: z,
        lambda z: (z, None),
        lambda z: (None, 0.5, z),
        lambda z: {"logits": z, "hidden": z[..., :3]},
        lambda z: {"scores": z},
        lambda z: SimpleNamespace(logits=z),
        lambda z: z.tolist(),
        lambda z: (z, np.zeros((len(z), z.shape[1], z.shape[1]))),  # attention: V x V if T = V
    ],
)
def test_logits_are_found_in_whatever_f_returns(wrap):
    contender = Contender(lambda ids: wrap(last_word(ids)), V, V)
    np.testing.assert_array_equal(
        contender.logits(np.ones((2, V), int)), np.tile(TABLE[1], (2, V, 1))
    )


@pytest.mark.parametrize(
    "f, words",
    [
        (lambda ids: (last_word(ids), last_word(ids) + 1), "hand over a function that picks them"),
        (lambda ids: None, "returns a NoneType, not logits"),
        (lambda ids: "logits", "not logits"),
        (lambda ids: last_word(ids).swapaxes(1, 2), "swapaxes"),
        (lambda ids: last_word(ids)[..., :3], "check vocab_size"),
        (lambda ids: last_word(ids) + np.inf, "a nan or an infinity"),
        (lambda ids: last_word(ids) * 1j, "real numbers"),
        (lambda ids: 1 / 0, "ZeroDivisionError"),
        (lambda: None, "takes 0 positional arguments"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(f, words):
    with pytest.raises(InputError) as error:
        causality(Contender(f, V, T))
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("model", ["gpt", None, 3, last_word])
def test_what_does_not_say_its_vocabulary_is_told_to(model):
    with pytest.raises(InputError, match="vocab_size="):
        check_contracts(model)


def test_the_length_is_found_where_it_is_not_given():
    def short(ids):
        if ids.shape[1] > 20:
            raise ValueError("at most 20 tokens")
        return last_word(ids)

    assert Contender(last_word, V).length == 64
    assert Contender(short, V).length == 16
    with pytest.raises(InputError, match="give the length"):
        Contender(lambda ids: last_word(ids) / (ids.shape[1] == 5 or None), V)


def test_ids_that_f_writes_into_are_its_own():
    def overwrites(ids):
        z = last_word(ids)
        ids[...] = 0
        return z

    assert independence(Contender(overwrites, V, T)).passed


# ---- weights ---------------------------------------------------------------------------------


class Holder:
    __slots__ = ("w",)

    def __init__(self, w):
        self.w = w

    def read(self, ids):
        return self.w[ids]

    def __call__(self, ids):
        return self.w[ids]


def table(dtype=np.float32):
    return np.random.default_rng(1).normal(size=(V, V)).astype(dtype)


def in_closure():
    w = table()
    return lambda ids: w[ids]


def in_list():
    layers = [{"w": table()}]
    return lambda ids: layers[0]["w"][ids]


def in_default():
    def f(ids, w=table()):  # noqa: B008
        return w[ids]

    return f


def in_two_functions():
    inner = in_closure()

    def f(ids):
        return inner(ids)

    return f


HELD = {
    "closure": in_closure,
    "list": in_list,
    "default": in_default,
    "function": in_two_functions,
    "method": lambda: Holder(table()).read,
    "object": lambda: Holder(table()),
    "partial": lambda: partial(lambda w, ids: w[ids], table()),
    "global": lambda: last_word,
    "view": lambda: (lambda w: lambda ids: w[ids])(np.stack([table(), table()])[0]),
}


@pytest.mark.parametrize("place", HELD)
def test_weights_are_found_made_larger_and_put_back(place):
    f, ids = HELD[place](), np.arange(V)[None]
    before = f(ids).copy()
    assert count((f,)) >= V * V
    with scaled((f,), 100.0) as reached:
        assert reached
        np.testing.assert_allclose(f(ids), 100 * before, rtol=1e-6)
    np.testing.assert_array_equal(f(ids), before)


@pytest.mark.parametrize("place", [p for p in HELD if p not in ("default", "partial", "global")])
def test_weights_are_put_into_another_precision_and_back(place):
    f, ids = HELD[place](), np.arange(V)[None]
    before = f(ids)
    with with_precision((f,), np.float64):
        assert f(ids).dtype == np.float64
    assert f(ids).dtype == before.dtype
    np.testing.assert_array_equal(f(ids), before)


def test_an_array_that_training_replaced_is_put_back():
    holder = Holder(table())
    first = holder.w
    with kept((holder,)):
        holder.w = holder.w + 1
        first += 1
    assert holder.w is first
    np.testing.assert_array_equal(first, table())


# ---- padding, order --------------------------------------------------------------------------


def mean_of(real_only):
    def padded(ids, real):
        counted = real if real_only else np.ones_like(real)
        total = np.where(counted[..., None], TABLE[ids], 0).sum(axis=1)
        return total / counted.sum(axis=1, keepdims=True)

    return padded


def test_padding_that_is_read_is_found():
    good, bad = (
        padding_is_unread(Contender(last_word, V, T, padded=mean_of(real)))
        for real in (True, False)
    )
    assert good.passed
    assert bad.state == "broken" and "other words in the padding" in bad.says


def test_padding_known_by_its_id_is_tried_on_either_side():
    def counts(ids):  # positions, which padding on the left moves
        return TABLE[ids] * np.arange(1, ids.shape[1] + 1)[:, None]

    for side, state in (("right", "kept"), ("left", "broken")):
        contender = Contender(counts, V, T, padding_id=0, padding_side=side)
        assert padding_is_unread(contender).state == state
    assert padding_is_unread(Contender(counts, V, T)).state == "does not apply"


def test_a_finite_mask_of_padding_is_seen():
    rng = np.random.default_rng(0)
    E, q = rng.normal(size=(V, C)), rng.normal(size=(C, C))

    def attend(ids, real, large):
        e = E[ids]
        s = np.where(real[:, None], e @ q @ e.swapaxes(1, 2), large)
        a = np.exp(s - s.max(axis=-1, keepdims=True))
        return a / a.sum(axis=-1, keepdims=True) @ e @ E.T

    for large, state in ((-np.inf, "kept"), (-1e9, "broken")):
        padded = partial(attend, large=large)
        contender = Contender(
            lambda ids, p=padded: p(ids, np.ones(ids.shape, bool)), V, T, padded=padded
        )
        assert padding_is_unread(contender).state == state


def test_padded_that_stops_is_one_sentence_and_logits_of_zero_are_no_error():
    def stops(ids, real):
        raise KeyError("mask")

    with pytest.raises(InputError, match=r"padded stopped .* returns the logits of ids"):
        padding_is_unread(Contender(last_word, V, T, padded=stops))
    zero = Contender(last_word, V, T, padded=lambda ids, real: np.zeros((*ids.shape, V)))
    assert padding_is_unread(zero).passed


def test_a_model_that_reads_nothing_is_told_so():
    verdict = order_is_used(Contender(lambda ids: np.zeros((*ids.shape, V)), V, T))
    assert verdict.state == "broken" and "no token is read at all" in verdict.says


# ---- PyTorch ---------------------------------------------------------------------------------


def small_torch(causal=True, dropout=0.0, returns=lambda z: z):
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.place = nn.Embedding(V, C), nn.Embedding(T, C)
            self.qkv, self.out = nn.Linear(C, 3 * C), nn.Linear(C, V)
            self.drop = nn.Dropout(dropout)

        def forward(self, ids):
            h = self.drop(self.embed(ids) + self.place(torch.arange(ids.shape[1])))
            q, k, v = self.qkv(h).chunk(3, dim=-1)
            y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
            return returns(self.out(h + y))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torch, Net()


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_a_module_in_any_precision_is_looked_at_in_one_line(dtype):
    torch, net = small_torch()
    assert causality(Contender(net.to(getattr(torch, dtype)), V, T)).passed
    _, net = small_torch(causal=False)
    assert causality(Contender(net.to(getattr(torch, dtype)), V, T)).state == "broken"


@pytest.mark.parametrize(
    "returns", [lambda z: (z, None), lambda z: {"logits": z}, lambda z: SimpleNamespace(logits=z)]
)
def test_a21_a_module_that_returns_more_than_logits_keeps_every_contract(returns):
    _, net = small_torch(returns=returns)
    before = {name: p.clone() for name, p in net.state_dict().items()}
    report = check_contracts(Contender(net, vocab_size=V, length=T))
    assert report.passed and report["no leak"].passed, f"\n{report}"
    assert all((p == before[name]).all() for name, p in net.state_dict().items())


def test_a_module_in_training_mode_is_looked_at_in_evaluation_mode_and_says_so():
    _, net = small_torch(dropout=0.3)
    verdict = causality(Contender(net, V, T))
    assert verdict.passed and "training mode" in verdict.says and net.training
    assert "training mode" not in causality(Contender(net.eval(), V, T)).says


def test_a_lambda_may_take_tensors_or_arrays_and_its_dropout_is_seen():
    torch, net = small_torch(dropout=0.3)
    with pytest.raises(InputError, match=r"model\.eval\(\)"):
        causality(Contender(lambda ids: net(ids), V, T))
    net.eval()
    assert causality(Contender(lambda ids: net(ids), V, T)).passed
    assert causality(Contender(lambda ids: net(torch.tensor(ids)), V, T)).passed


def test_a_finite_mask_in_a_module_is_seen():
    torch, net = small_torch()

    def f(ids, large):
        h = net.embed(torch.tensor(ids))
        q, k, v = net.qkv(h).chunk(3, dim=-1)
        later = torch.ones(ids.shape[1], ids.shape[1]).triu(1).bool()
        s = (q @ k.transpose(1, 2)).masked_fill(later, large)
        return net.out(h + s.softmax(-1) @ v)

    assert causality(Contender(lambda ids: f(ids, -1e9), V, T)).state == "broken"
    assert causality(Contender(lambda ids: f(ids, float("-inf")), V, T)).passed


def test_a_module_that_sees_its_targets_does_not_stay_at_ln_v():
    _, net = small_torch(causal=False)
    assert no_leak(Contender(net, V, T), steps=200).state == "broken"
