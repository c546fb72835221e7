"""contract_causality, _independence, _trials: leaks in one single way each, honest models."""

import numpy as np
import pytest

from numpylm.bert import BERTConfig, BERTForMaskedLM
from numpylm.checks.contract_causality import causal_trials
from numpylm.checks.contracts import Contender, causality, independence
from numpylm.gpt import GPT, GPTConfig
from numpylm.transformer import Transformer, TransformerConfig

V, C = 13, 8


def weights(*shape, dtype=np.float64, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


def cheat(leak, T=32, V=V, dtype=np.float64, **options):
    """f(ids): sums of the past, and to them what `leak`(ids, E) adds (B, T, C)."""
    E, U = weights(V, C, dtype=dtype), weights(C, V, dtype=dtype)

    def f(ids):
        return (np.cumsum(E[ids], axis=1) + leak(ids, E)) @ U

    return Contender(f, V, T, **options)


def after(ids, E, d=1):
    """e_{t+d} at t, and 0 where the text has ended."""
    e = np.zeros((*ids.shape, E.shape[1]), E.dtype)
    e[:, :-d] = E[ids[:, d:]]
    return e


def where(mask, e):
    return np.where(mask[..., None], e, e.dtype.type(0))


def times(ids):
    return np.broadcast_to(np.arange(ids.shape[1]), ids.shape)


def rows(ids):
    return np.broadcast_to(np.arange(len(ids))[:, None], ids.shape)


# ---- causality: one single way each ----------------------------------------------------------


@pytest.mark.parametrize("T, t", [(8, 0), (8, 6), (64, 30), (64, 62), (200, 0), (200, 151)])
def test_one_position_that_sees_the_nearest_token(T, t):
    verdict = causality(cheat(lambda x, E: where(times(x) == t, after(x, E)), T))
    assert verdict.state == "broken"
    assert f"token {t + 1} moves the logits at {t}," in verdict.says


ONLY = {
    "the last token is seen": lambda x, E: E[x[:, -1:]],
    "the last token, by the last but one": lambda x, E: where(
        times(x) == x.shape[1] - 2, after(x, E)
    ),
    "the token after the next": lambda x, E: after(x, E, 2),
    "row 0": lambda x, E: where(rows(x) == 0, after(x, E)),
    "row 2": lambda x, E: where(rows(x) == 2, after(x, E)),
    "row 20": lambda x, E: where(rows(x) == 20, after(x, E)),
    "the last row": lambda x, E: where(rows(x) == len(x) - 1, after(x, E)),
    "a single text": lambda x, E: after(x, E) * (len(x) == 1),
    "two texts": lambda x, E: after(x, E) * (len(x) == 2),
    "a batch of 30 or more": lambda x, E: after(x, E) * (len(x) >= 30),
    "the whole context": lambda x, E: after(x, E) * (x.shape[1] == 32),
    "from a certain length on": lambda x, E: after(x, E) * (x.shape[1] >= 9),
    "up to a certain length": lambda x, E: after(x, E) * (x.shape[1] <= 4),
    "one length": lambda x, E: after(x, E) * (x.shape[1] == 17),
    "a certain next word": lambda x, E: where(np.roll(x, -1, axis=1) == 7, after(x, E)),
    "a certain word that reads": lambda x, E: where(x == 3, after(x, E)),
    "a word anywhere, by the first": lambda x, E: where(
        (times(x) == 0) & (x == 7).any(axis=1, keepdims=True), E[x]
    ),
    "how often a word comes": lambda x, E: ((x == 5).sum(axis=1) % 2)[:, None, None] * E[0],
    "the mean over time": lambda x, E: -E[x].mean(axis=1, keepdims=True),
    "very little": lambda x, E: 1e-8 * after(x, E),
}


@pytest.mark.parametrize("way", ONLY)
def test_a_leak_in_one_single_way_is_seen(way):
    assert causality(cheat(ONLY[way])).state == "broken"


def test_a_word_of_many_is_seen_and_where_not_all_could_be_tried_it_says_so():
    def leak(x, E):
        return where(np.roll(x, -1, axis=1) == 190, after(x, E))

    assert causality(cheat(leak, T=32, V=200)).state == "broken"
    verdict = causality(cheat(lambda x, E: 0 * E[x], T=8, V=2000, budget=2**14))
    tried = int(verdict.says.split(" of 2000 words")[0].split()[-1])
    assert verdict.passed and tried < 2000


def test_a_long_context_is_tried_in_parts_and_the_verdict_names_them():
    verdict = causality(cheat(lambda x, E: 0 * E[x], T=1024, dtype=np.float32))
    assert "Not tried: " in verdict.says and "of the 1023 positions" in verdict.says
    assert "budget=" in verdict.says
    leak = cheat(lambda x, E: where(times(x) == 700, after(x, E)), T=720, budget=1_000_000)
    assert causality(leak).state == "broken"
    assert "Not tried" not in causality(cheat(lambda x, E: 0 * E[x], T=64)).says


def test_every_position_is_changed_in_every_row_to_every_word_and_the_last_token_too():
    contender = cheat(lambda x, E: 0 * E[x], T=20)
    trials = [*causal_trials(contender, np.random.default_rng(0))]
    shape = trials[0].base.shape
    words, alone, rest = {j: set() for j in range(1, 20)}, set(), set()
    for base, changed, fixed, j in (t for t in trials if t.base.shape == shape):
        moved = base != changed
        assert moved[:, j].all() and not moved[fixed].any()
        words[j] |= set(changed[:, j].tolist())
        (rest if moved[:, j:].all() else alone).add(j)
    assert all(found == set(range(V)) for found in words.values())
    assert rest == alone | {19} == {*range(1, 20)}
    assert any((base == base[:, :1]).all(axis=1).any() for base, *_ in trials)  # of one word


# ---- rounding --------------------------------------------------------------------------------


def fft_model(dtype, leak=0.0, T=48):
    """A causal convolution by FFT, of twice the length; `leak` is what position 10 sees of 15."""
    E, U, kernel = weights(V, C, dtype=dtype), weights(C, V, dtype=dtype), 0.9 ** np.arange(T)

    def f(ids):
        n = ids.shape[1]
        spectrum = np.fft.rfft(E[ids], 2 * n, axis=1) * np.fft.rfft(kernel[:n], 2 * n)[:, None]
        y = np.fft.irfft(spectrum, 2 * n, axis=1)[:, :n].astype(E.dtype)
        if n > 15:
            y[:, 10] += leak * E[ids[:, 15]]
        return y @ U

    return Contender(f, V, T)


def shifted_model(dtype, T=24):
    """Attention whose softmax is shifted by the maximum over all of the text."""
    E, A = weights(V, C, dtype=dtype), weights(C, C, dtype=dtype) * dtype(0.2)

    def f(ids):
        e = E[ids]
        s = e @ A @ e.swapaxes(1, 2)
        a = np.exp(s - s.max(axis=(1, 2), keepdims=True)) * np.tri(s.shape[1], dtype=s.dtype)
        return a / a.sum(axis=2, keepdims=True) @ e @ E.T

    return Contender(f, V, T)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("model", [fft_model, shifted_model])
def test_a18_an_honest_model_that_rounds_is_kept_to_rounding(model, dtype):
    verdict = causality(model(dtype))
    assert verdict.passed and 0 < verdict.numbers["relative"] < 1e-5
    assert f"rounding of {np.dtype(dtype).name}" in verdict.says


def test_a_leak_below_the_rounding_of_float32_is_seen_in_float64():
    verdict = causality(fft_model(np.float32, leak=3e-9))
    assert verdict.state == "broken" and "at 10" in verdict.says


@pytest.mark.parametrize(
    "dtype, words", [(np.float32, "which only float64 tells apart"), (np.float64, "no weights")]
)
def test_rounding_of_which_no_second_precision_can_be_had_is_undecided(dtype, words):
    def f(ids):
        return fft_model(dtype, T=24).f(ids)  # weights that are made at each call

    verdict = causality(Contender(f, V, 24))
    assert verdict.state == "undecided" and words in verdict.says


# ---- large scores ----------------------------------------------------------------------------


def softmax(s):
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


class Net:
    """Attention as a class that knows nothing of contracts."""

    def __init__(self, hide, dtype=np.float32):
        sizes = {"E": (V, C), "q": (C, C), "k": (C, C), "u": (C, V)}
        self.weights = {
            n: weights(*s, dtype=dtype, seed=i) for i, (n, s) in enumerate(sizes.items())
        }
        self.hide = hide

    def __call__(self, ids):
        w = self.weights
        e = w["E"][ids]
        s = e @ w["q"] @ (e @ w["k"].T).swapaxes(1, 2)
        return softmax(self.hide(s, np.tri(s.shape[1], dtype=bool))) @ e @ w["u"]


@pytest.mark.parametrize("large", [-1e4, -65504.0, -1e9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_finite_mask_is_seen_in_a_model_without_params(large, dtype):
    verdict = causality(Contender(Net(lambda s, m: s + np.where(m, 0, dtype(large)), dtype), V, 16))
    assert verdict.numbers["difference"] == 0
    assert verdict.state == "broken" and "finite" in verdict.says


def test_a_mask_kept_as_an_array_does_not_grow_with_the_scores():
    E, place = weights(V, C), np.arange(16)
    mask = np.where(np.tri(16, dtype=bool), -0.1 * np.abs(place[:, None] - place), -1e9)

    def f(ids):
        e, T = E[ids], ids.shape[1]
        return softmax(e @ e.swapaxes(1, 2) + mask[:T, :T]) @ e @ E.T

    assert causality(Contender(f, V, 16)).state == "broken"


def test_small_weights_hide_no_finite_mask():
    net = Net(lambda s, m: s + np.where(m, 0, -1e9), np.float64)
    for w in net.weights.values():
        w *= 0.02
    assert causality(Contender(net, V, 16)).state == "broken"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_mask_by_where_is_kept_in_a_model_without_params(dtype):
    net = Net(lambda s, m: np.where(m, s, dtype(-np.inf)), dtype)
    before = {name: w.copy() for name, w in net.weights.items()}
    assert causality(Contender(net, V, 16)).passed
    for name, w in before.items():
        np.testing.assert_array_equal(net.weights[name], w)
        assert net.weights[name].dtype == dtype


def test_a_mask_kept_as_an_array_is_no_weight():
    past = np.tri(16, dtype=bool)
    distances = -0.1 * np.abs(np.subtract.outer(np.arange(16), np.arange(16)))
    masks = [
        (np.where(past, 0.0, -1e9), "broken"),
        (np.where(past, distances, -1e4), "broken"),
        (np.where(past, 0.0, -np.inf), "kept"),
        (np.where(past, distances, -np.inf), "kept"),
    ]
    for mask, state in masks:
        net = Net(lambda s, m, mask=mask: s + mask[: s.shape[1], : s.shape[1]], np.float64)
        assert causality(Contender(net, V, 16)).state == state


# ---- honest models in other styles -----------------------------------------------------------


def recurrent():
    E, W, U = weights(V, C), 0.3 * weights(C, C), weights(C, V)

    def f(ids):
        h, out = np.zeros((len(ids), C)), []
        for t in range(ids.shape[1]):
            h = np.tanh(E[ids[:, t]] + h @ W)
            out.append(h @ U)
        return np.stack(out, axis=1)

    return f


def moving_average():
    E = weights(V, C, dtype=np.float32)

    def f(ids):
        e = E[ids]
        for t in range(1, e.shape[1]):
            e[:, t] += np.float32(0.7) * e[:, t - 1]
        return e @ E.T

    return f


def linear_attention():
    E, U = weights(V, C, dtype=np.float32), weights(C, V, dtype=np.float32)

    def f(ids):
        e = E[ids]
        k = np.exp(e)
        state = np.cumsum(k[..., None] * e[:, :, None], axis=1)
        return np.einsum("btc,btcd->btd", k, state) / np.cumsum(k, axis=1).sum(-1)[..., None] @ U

    return f


def cached_attention():
    """One token at a time, keys kept in a list."""
    E, q = weights(V, C), weights(C, C)

    def f(ids):
        keys, out = [], []
        for t in range(ids.shape[1]):
            keys.append(E[ids[:, t]])
            past = np.stack(keys, axis=1)
            a = softmax((past @ (keys[-1] @ q)[..., None])[..., 0])
            out.append((a[..., None] * past).sum(axis=1) @ E.T)
        return np.stack(out, axis=1)

    return f


def trigrams():
    table = weights(V, V, V)
    return lambda ids: table[np.pad(ids, ((0, 0), (1, 0)))[:, :-1], ids]


def one_buffer():
    """Each call writes into the array that the last one returned."""
    E, buffers = weights(V, C), {}

    def f(ids):
        out = buffers.setdefault(ids.shape, np.zeros((*ids.shape, V)))
        out[...] = np.cumsum(E[ids], axis=1) @ E.T
        return out

    return f


def one_length():
    E, mix = weights(V, C), np.tril(weights(20, 20))

    def f(ids):
        assert ids.shape[1] == 20, "a text has 20 tokens"
        return mix @ E[ids] @ E.T

    return f


STYLES = (
    recurrent,
    moving_average,
    linear_attention,
    cached_attention,
    trigrams,
    one_buffer,
    one_length,
)


@pytest.mark.parametrize("style", STYLES)
def test_an_honest_model_of_another_style_is_not_accused(style):
    contender = Contender(style(), V, 20)
    verdicts = causality(contender), independence(contender)
    assert all(verdicts), "\n".join(map(str, verdicts))


def test_a_buffer_that_is_used_again_hides_no_leak():
    E, out = weights(V, C), {}

    def f(ids):
        y = out.setdefault(ids.shape, np.zeros((*ids.shape, V)))
        y[...] = E[ids].mean(axis=1, keepdims=True) @ E.T
        return y

    assert causality(Contender(f, V, 8)).state == "broken"


# ---- independence ----------------------------------------------------------------------------


BETWEEN_ROWS = {
    "row 3 sees row 0": lambda x, E: where(rows(x) == 3, np.broadcast_to(E[x[:1]], E[x].shape)),
    "row 0 sees the last, at one position": lambda x, E: where(
        (rows(x) == 0) & (times(x) == 5), np.broadcast_to(E[x[-1:]], E[x].shape)
    ),
    "the last position sees the batch": lambda x, E: where(
        times(x) == x.shape[1] - 1, np.broadcast_to(E[x].mean(axis=0), E[x].shape)
    ),
    "in a batch of two": lambda x, E: E[x].mean(axis=0) * (len(x) == 2),
    "in a batch of nine or more": lambda x, E: E[x].mean(axis=0) * (len(x) >= 9),
    "in texts of the whole length": lambda x, E: E[x].mean(axis=0) * (x.shape[1] >= 32),
    "the first token of the neighbour": lambda x, E: where(times(x) == 0, np.roll(E[x], 1, axis=0)),
}


@pytest.mark.parametrize("way", BETWEEN_ROWS)
def test_a_row_that_is_seen_in_one_single_way_is_found(way):
    contender = cheat(lambda x, E: BETWEEN_ROWS[way](x, E) * (len(x) > 1))
    verdict = independence(contender)
    assert verdict.state == "broken" and "moves the logits of row" in verdict.says


# ---- models of another kind ------------------------------------------------------------------


def test_a20_causality_does_not_apply_to_an_encoder():
    config = BERTConfig(vocab_size=V, context_length=12, layers=1, heads=2, width=C)
    model = BERTForMaskedLM(config, np.random.default_rng(0))
    assert causality(model).state == "does not apply"
    assert independence(model).passed


def test_a20_the_decoder_of_a_transformer_is_looked_at_in_its_target():
    config = TransformerConfig(vocab_size=V, context_length=12, layers=1, heads=2, width=C)
    model = Transformer(config, np.random.default_rng(0))
    assert causality(model).passed and independence(model).passed


def test_a_gpt_is_looked_at_over_its_whole_context():
    config = GPTConfig(vocab_size=V, context_length=40, layers=1, heads=2, width=C)
    verdict = causality(GPT(config, np.random.default_rng(0)))
    assert verdict.passed and "texts of 2 to 40 tokens, a change at every position" in verdict.says
