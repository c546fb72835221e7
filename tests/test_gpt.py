"""gpt.py: against an independent GPT-2 in PyTorch and against numbers; what a decoder must hold."""

import math
from dataclasses import replace

import numpy as np
import pytest
from right_slopes import checked

from numpylm import gpt, ops
from numpylm.blocks import is_bias
from numpylm.checks.gradient_cases import model_cases, order_one
from numpylm.errors import InputError
from numpylm.gpt import GPT, GPTConfig
from numpylm.gradcheck import check_model
from numpylm.ops import IGNORE

# Two float64 computations of one network a few dozen operations deep; about 1e-14 is seen.
PARITY = 1e-10
CACHE_ROUNDING = 1e-12  # the same sums in products of other sizes

V, N, L, H, C = 11, 8, 2, 3, 6
SMALL = GPTConfig(vocab_size=V, context_length=N, layers=L, heads=H, width=C)
IDS = np.array([[1, 6, 1, 2, 4], [5, 1, 1, 0, 10]])
TARGETS = np.array([[6, 1, 2, 4, 1], [1, IGNORE, 0, 10, 6]])


def small(dtype=np.float64, **options):
    """A GPT with parameters of order 1, so that every part of it matters."""
    return order_one(GPT(replace(SMALL, **options), np.random.default_rng(0), dtype))


def arrays(tree):
    """Every floating point array in a cache."""
    if isinstance(tree, np.ndarray):
        return [tree] if tree.dtype.kind in "fc" else []
    return [x for part in tree for x in arrays(part)] if isinstance(tree, tuple) else []


# ---- parity: the same network written in PyTorch, in which autograd finds the gradients ------


def torch_gpt2(torch, p, ids, layers, heads):
    """Logits of GPT-2 from tensors p, by torch.nn.functional alone."""
    F = torch.nn.functional

    def norm(h, name):
        gain = p[f"{name}.gain"]
        return F.layer_norm(h, gain.shape, gain, p.get(f"{name}.bias"))

    def linear(x, name, w):
        return F.linear(x, p[f"{name}.w_{w}"].T, p.get(f"{name}.b_{w}"))

    B, T = ids.shape
    h = F.embedding(ids, p["E"]) + p["P"][:T]
    for i in range(layers):
        qkv = linear(norm(h, f"block{i}.norm1"), f"block{i}.attention", "qkv")
        q, k, v = (x.view(B, T, heads, -1).transpose(1, 2) for x in qkv.chunk(3, dim=-1))
        c = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        h = h + linear(c.transpose(1, 2).reshape(B, T, -1), f"block{i}.attention", "out")
        hidden = linear(norm(h, f"block{i}.norm2"), f"block{i}.feed_forward", "in")
        h = h + linear(F.gelu(hidden, approximate="tanh"), f"block{i}.feed_forward", "out")
    return F.linear(norm(h, "norm"), p["E"])


@pytest.mark.parametrize("bias", [True, False])
def test_gpt_computes_what_gpt_2_computes(bias):
    torch = pytest.importorskip("torch")
    model = small(bias=bias)
    p = {name: torch.tensor(x, requires_grad=True) for name, x in model.params.items()}
    expected = torch_gpt2(torch, p, torch.tensor(IDS), L, H)
    expected_loss = torch.nn.functional.cross_entropy(
        expected.flatten(0, 1), torch.tensor(TARGETS).flatten(), ignore_index=IGNORE
    )
    expected_loss.backward()

    logits, _ = model.forward(IDS)
    loss, cache = model.loss(IDS, TARGETS)
    grads = model.loss_backward(cache)
    assert np.abs(logits - expected.detach().numpy()).max() < PARITY
    assert abs(loss - expected_loss.item()) < PARITY
    assert set(p) == set(grads)
    for name, tensor in p.items():
        assert np.abs(grads[name] - tensor.grad.numpy()).max() < PARITY, name


# ---- gradients -------------------------------------------------------------------------------

GPT_CASES = [case for case in model_cases() if case.name.startswith("GPT")]


class DropoutReplayed(GPT):
    """GPT in training with one and the same mask each time, so that the loss is a function."""

    def forward(self, ids, rng=None):
        return super().forward(ids, np.random.default_rng(5))


@pytest.mark.parametrize("case", GPT_CASES, ids=lambda case: case.name)
def test_the_gradients_are_the_numerical_ones(case):
    report = checked(case)
    assert report.passed, f"\n{report}"


def test_the_gradients_with_dropout_are_the_numerical_ones():
    case = GPT_CASES[0]
    config = replace(case.model.config, dropout=0.2, heads=1, width=3)
    model = order_one(DropoutReplayed(config, np.random.default_rng(0), np.float64))
    assert model.loss(*case.batch)[0] != case.model.loss(*case.batch)[0]
    report = check_model(model, case.batch)
    assert report.passed, f"\n{report}"


def without_residual(right):
    def block_backward(dh, block, cache, grads):
        return right(dh, block, cache, grads) - dh

    return staticmethod(block_backward)


def positions_of_the_first_text(dy, cache, right=ops.positions_backward):
    return dy, right(dy * (np.arange(len(dy)) == 0)[:, None, None], cache)[1]


def norm_without_its_mean_terms(dy, cache, right=ops.layer_norm_backward):
    _, dgain, dbias = right(dy, cache)
    return dy * cache[2] / cache[1], dgain, dbias


WRONG = {
    "the residual path": ("GPT._block_backward", without_residual(GPT._block_backward)),
    "the tie": ("ops.embedding_backward", lambda de, cache: np.zeros(cache[0])),
    "the other texts": ("ops.positions_backward", positions_of_the_first_text),
    "the mean terms": ("ops.layer_norm_backward", norm_without_its_mean_terms),
}


@pytest.mark.parametrize("lost", WRONG)
def test_a_backward_that_loses_something_is_seen(lost, monkeypatch):
    target, wrong = WRONG[lost]
    monkeypatch.setattr(f"{gpt.__name__}.{target}", wrong)
    assert not checked(GPT_CASES[1]).passed


def test_dropout_differs_from_call_to_call_and_is_off_in_evaluation():
    model, plain = small(dropout=0.2), small()
    rng = np.random.default_rng(1)
    first, second = (model.loss(IDS, TARGETS, rng)[0] for _ in range(2))
    assert len({first, second, model.loss(IDS, TARGETS)[0]}) == 3
    assert first == model.loss(IDS, TARGETS, np.random.default_rng(1))[0]
    np.testing.assert_array_equal(model.forward(IDS)[0], plain.forward(IDS)[0])


def test_dropout_follows_the_embedding_and_both_parts_of_every_block():
    _, cache = small(dropout=0.5).forward(IDS, np.random.default_rng(1))
    masks = [cache.dropout]
    for block in cache.blocks:
        masks += [block.dropout1, block.dropout2]
    assert {mask.shape for mask in masks} == {(*IDS.shape, C)}
    assert len({mask.tobytes() for mask in masks}) == 1 + 2 * L  # each drawn anew


# ---- what a decoder must hold ----------------------------------------------------------------


def test_a_logit_depends_on_no_later_token():
    model = small()
    before, _ = model.forward(IDS)
    for t in range(1, IDS.shape[1]):
        changed = IDS.copy()
        changed[:, t] = (changed[:, t] + 1) % V
        after, _ = model.forward(changed)
        np.testing.assert_array_equal(after[:, :t], before[:, :t])
        assert (after[:, t:] != before[:, t:]).any(axis=(0, 2)).all()


def test_a_logit_depends_on_no_other_sample():
    model = small()
    before, _ = model.forward(IDS)
    after, _ = model.forward(np.stack([IDS[0], IDS[1][::-1]]))
    np.testing.assert_array_equal(after[0], before[0])
    assert (after[1] != before[1]).any()


def test_the_order_of_earlier_tokens_matters():
    model = small()
    swapped = IDS[:, [1, 0, 2, 3, 4]]
    assert np.abs(model.next_logits(swapped) - model.next_logits(IDS)).max() > 1e-3


def test_one_text_needs_no_batch():
    model = small()
    logits, _ = model.forward(IDS[1])
    np.testing.assert_allclose(logits, model.forward(IDS)[0][1], rtol=0, atol=CACHE_ROUNDING)


@pytest.mark.parametrize("shape", [(1, 1), (1, N), (3, 1)])
def test_one_token_and_one_sample_are_enough(shape):
    model = small()
    ids = np.ones(shape, int)
    loss, cache = model.loss(ids, ids)
    assert np.isfinite(loss)
    assert np.isfinite(model.loss_backward(cache).flat).all()


def test_positions_that_no_text_reaches_get_no_gradient():
    model = small()
    _, cache = model.loss(IDS, TARGETS)
    grads = model.loss_backward(cache)
    assert (grads["P"][5:] == 0).all()
    assert (grads["P"][:5] != 0).all()


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_float32_is_float32_throughout(dropout):
    model = small(np.float32, dropout=dropout)
    logits, cache = model.forward(IDS, np.random.default_rng(0))
    loss, loss_cache = model.loss(IDS, TARGETS, np.random.default_rng(0))
    found = [logits, model.loss_backward(loss_cache).flat, *arrays(cache), *arrays(loss_cache)]
    past = model.start(2)
    found += [model.extend(IDS, past), past.keys, past.values]
    assert {x.dtype for x in found} == {np.dtype(np.float32)}
    assert loss.dtype == np.float32


# ---- initialisation --------------------------------------------------------------------------


def test_gpt_has_the_parameters_of_gpt_2():
    V, N, C, L = 50257, 1024, 768, 12
    config = GPTConfig(vocab_size=V, context_length=N, width=C, layers=L, heads=12)
    count = sum(math.prod(shape) for shape in GPT.shapes(config).values())
    assert count == V * C + N * C + L * (12 * C**2 + 13 * C) + 2 * C == 124_439_808
    without = GPT.shapes(replace(config, bias=False))
    assert count - sum(map(math.prod, without.values())) == L * 11 * C + C


def test_an_untrained_gpt_knows_nothing():
    model = GPT(GPTConfig(vocab_size=65), np.random.default_rng(0))
    rng = np.random.default_rng(1)
    loss, _ = model.loss(rng.integers(0, 65, (4, 64)), rng.integers(0, 65, (4, 64)))
    assert abs(loss - math.log(65)) < 0.1  # logits of spread 0.02 √128 = 0.23 add about 0.03


@pytest.mark.parametrize("std", [0.02, 0.1])
def test_weights_start_normal_residual_ones_smaller_gains_1_biases_0(std):
    config = GPTConfig(vocab_size=65, init_std=std)
    for name, x in GPT(config, np.random.default_rng(0)).params.items():
        if name.endswith("gain"):
            assert (x == 1).all()
        elif is_bias(name):
            assert (x == 0).all()
        else:
            expected = std / math.sqrt(2 * 4) if name.endswith("w_out") else std
            # 8,192 numbers or more: the spread is known to 1/√(2·8192) = 0.8 %, here 4 times that
            assert abs(x.std() / expected - 1) < 0.032, name
            assert abs(x.mean()) < 0.05 * expected, name


def test_one_generator_gives_one_model():
    first, again, other = (GPT(SMALL, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.params.flat, again.params.flat)
    assert (first.params["E"] != other.params["E"]).any()


# ---- the key/value cache ---------------------------------------------------------------------


@pytest.mark.parametrize("steps", [[5], [1] * 5, [3, 1, 1], [2, 3]])
def test_logits_with_a_cache_are_those_without(steps):
    model = small()
    expected, _ = model.forward(IDS)
    past, done = model.start(2), 0
    for step in steps:
        logits = model.extend(IDS[:, done : done + step], past)
        assert np.abs(logits - expected[:, done : done + step]).max() < CACHE_ROUNDING
        done += step


def test_prompts_of_different_lengths_are_padded_on_the_left():
    model = small()
    texts = [IDS[0], IDS[1][:3], IDS[1][:1]]
    padding = np.array([5 - len(text) for text in texts])
    ids = np.stack([np.pad(text, (5 - len(text), 0), constant_values=7) for text in texts])
    past = model.start(3, padding)
    new = np.array([[4], [0], [2]])
    logits = model.extend(ids, past), model.extend(new, past)
    for i, text in enumerate(texts):
        alone, _ = model.forward(np.append(text, new[i]))
        assert np.abs(logits[0][i, padding[i] :] - alone[:-1]).max() < CACHE_ROUNDING
        assert np.abs(logits[1][i, 0] - alone[-1]).max() < CACHE_ROUNDING


def test_a_past_is_that_of_one_text_where_nothing_else_is_said():
    assert small().start().keys.shape == (L, 1, N, C)


def test_what_stands_in_the_padding_does_not_matter():
    model = small()
    answers = []
    for filler in (0, 9):
        past = model.start(1, [2])
        answers.append(model.extend(np.array([[filler, filler, 3, 4]]), past)[:, 2:])
    np.testing.assert_array_equal(*answers)


def test_a_full_cache_refuses_and_stays_as_it_was():
    model = small()
    past = model.start(2)
    model.extend(IDS, past)
    with pytest.raises(InputError, match=r"1 ≤ T ≤ 3: the cache holds 5 of 8.*start anew"):
        model.extend(IDS, past)
    with pytest.raises(InputError, match="found 11"):
        model.extend([[11], [0]], past)
    logits = model.extend(IDS[:, :1], past)
    expected, _ = model.forward(np.hstack([IDS, IDS[:, :1]]))
    assert np.abs(logits[:, 0] - expected[:, -1]).max() < CACHE_ROUNDING


# ---- mistakes --------------------------------------------------------------------------------


def test_a_width_that_heads_cannot_share_is_refused():
    with pytest.raises(InputError, match="width 10 cannot be shared by 4 heads"):
        GPTConfig(width=10, heads=4)


@pytest.mark.parametrize(
    "options", [{"layers": 0}, {"heads": 0}, {"dropout": 1.0}, {"width": 0}, {"init_std": 0.0}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(InputError, match=next(iter(options))):
        GPTConfig(**options)


def test_a_text_that_does_not_fit_the_context_is_refused():
    with pytest.raises(InputError, match=f"{N + 1} tokens do not fit a table of 8"):
        small().forward(np.zeros((2, N + 1), int))


@pytest.mark.parametrize("ids", [[], np.zeros((2, 0), int)])
def test_a_text_without_tokens_is_refused(ids):
    with pytest.raises(InputError, match="ids are empty"):
        small().forward(ids)


def test_one_number_or_rows_of_different_lengths_are_no_text():
    model = GPT(GPTConfig(7, 8, layers=1, heads=2, width=8), np.random.default_rng(0))
    for read in (model.forward, lambda ids: model.extend(ids, model.start())):
        with pytest.raises(InputError, match=r"texts \(\.\.\., T\) of tokens, not 3"):
            read(3)
        with pytest.raises(InputError, match=r"^ids must be rows of equal length"):
            read([[0, 1], [2]])
