"""bert.py and bert_heads.py: against PyTorch, padding, what is hidden, and bad input.

The cases of gradient_cases.py have dropout and segments; the loss of the span is checked apart,
because two of its biases have no gradient.
"""

import dataclasses
from itertools import product

import numpy as np
import pytest
from right_slopes import checked

from numpylm.bert import BERT, BERTConfig, BERTForMaskedLM, mask_tokens
from numpylm.bert_heads import BERTForClass, BERTForClassConfig, BERTForSpan, best_span
from numpylm.checks.gradient_cases import model_cases, order_one
from numpylm.errors import InputError
from numpylm.gradcheck import METHODS, gradient_error
from numpylm.ops import IGNORE, cross_entropy_forward
from numpylm.optim import Adam

PARITY = 1e-10  # what is promised; 1e-14 is seen
ROUNDING = 1e-12  # two orders of the same few thousand float64 operations on numbers of order 1
SIGMAS = 4  # 6 in 100,000 means of as many draws lie beyond; the seeds are fixed

B, T, V, C, H, F, L, K = 4, 5, 11, 6, 3, 8, 2, 7
IDS = np.array([[1, 9, 1, 2, 4], [5, 1, 10, 0, 2], [3, 3, 8, 6, 6], [7, 0, 1, 2, 3]])
SEGMENTS = np.array([[0, 0, 1, 1, 1], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0], [1, 0, 0, 1, 1]])
ATTEND = np.arange(T) < np.array([[5], [3], [4], [2]])
GIVEN = {"segments": SEGMENTS, "attend": ATTEND}
TARGETS = {
    BERTForMaskedLM: np.where(ATTEND & (IDS % 3 > 0), (IDS + 5) % V, IGNORE),
    BERTForClass: np.array([6, 0, 1, 6]),
    BERTForSpan: np.array([[1, 3], [0, 0], [IGNORE, IGNORE], [0, 1]]),
}
every_kind = pytest.mark.parametrize("kind", TARGETS, ids=lambda kind: kind.__name__)


def a_bert(kind, dtype=np.float64, **options):
    sizes = {"vocab_size": V, "context_length": 8, "layers": L, "heads": H, "width": C, "hidden": F}
    extra = {"classes": K} if kind is BERTForClass else {}
    config = kind.Config(**sizes | extra | options)
    return order_one(kind(config, np.random.default_rng(2), np.float64)).astype(dtype)


def close(actual, expected, tolerance=ROUNDING):
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def floats(tree):
    """Every array of floating point numbers in a cache."""
    if isinstance(tree, np.ndarray):
        return [tree] if tree.dtype.kind in "fc" else []
    return [x for part in tree for x in floats(part)] if isinstance(tree, tuple) else []


# ---- PyTorch, if it is there -----------------------------------------------------------------


def torch_encoder(torch, p, ids, segments, attend, eps):
    """BERT's encoder, as its paper and published code have it, one attention head at a time."""
    F_ = torch.nn.functional

    def norm(x, part):
        return F_.layer_norm(x, (C,), p[f"{part}.gain"], p[f"{part}.bias"], eps)

    h = p["E"][ids] + p["G"][segments] + p["P"][: ids.shape[1]]
    h = norm(h, "norm")
    for i in range(L):
        q, k, v = (h @ p[f"block{i}.attention.w_qkv"] + p[f"block{i}.attention.b_qkv"]).split(C, -1)
        heads = []
        for n in range(H):
            part = slice(n * C // H, (n + 1) * C // H)
            s = q[..., part] @ k[..., part].transpose(1, 2) / (C / H) ** 0.5
            s = s.masked_fill(~attend[:, None, :], -torch.inf)
            heads.append(s.softmax(-1) @ v[..., part])
        y = torch.cat(heads, -1) @ p[f"block{i}.attention.w_out"] + p[f"block{i}.attention.b_out"]
        h = norm(h + y, f"block{i}.norm1")
        feed = f"block{i}.feed_forward"
        y = F_.gelu(h @ p[f"{feed}.w_in"] + p[f"{feed}.b_in"]) @ p[f"{feed}.w_out"]
        h = norm(h + y + p[f"{feed}.b_out"], f"block{i}.norm2")
    return h


def torch_logits(torch, kind, p, h, attend, eps):
    F_ = torch.nn.functional
    if kind is BERTForMaskedLM:
        y = F_.gelu(h @ p["transform.w"] + p["transform.b"])
        y = F_.layer_norm(y, (C,), p["transform.gain"], p["transform.bias"], eps)
        return F_.linear(y, p["E"], p["predict.b"])
    if kind is BERTForClass:
        pooled = torch.tanh(h[:, 0] @ p["pooler.w"] + p["pooler.b"])
        return pooled @ p["classes.w"] + p["classes.b"]
    z = h @ p["span.w"] + p["span.b"]
    return z.masked_fill(~attend[..., None], -torch.inf).transpose(1, 2)


@every_kind
@pytest.mark.parametrize("eps", [1e-12, 0.1])
def test_logits_loss_and_all_gradients_are_those_of_pytorch(kind, eps):
    torch = pytest.importorskip("torch")
    bert, targets = a_bert(kind, eps=eps), TARGETS[kind]
    p = {name: torch.tensor(x, requires_grad=True) for name, x in bert.params.items()}
    attend = torch.tensor(ATTEND)
    h = torch_encoder(torch, p, torch.tensor(IDS), torch.tensor(SEGMENTS), attend, eps)
    torch_z = torch_logits(torch, kind, p, h, attend, eps)
    torch_loss = torch.nn.functional.cross_entropy(
        torch_z.reshape(-1, torch_z.shape[-1]), torch.tensor(targets).flatten(), ignore_index=IGNORE
    )
    torch_loss.backward()

    close(bert.encode(IDS, **GIVEN)[0], h.detach().numpy(), PARITY)
    close(bert.forward(IDS, **GIVEN)[0], torch_z.detach().numpy(), PARITY)
    loss, cache = bert.loss(IDS, targets, **GIVEN)
    close(loss, torch_loss.item(), PARITY)
    grads = bert.loss_backward(cache)
    for name, x in p.items():
        np.testing.assert_allclose(
            grads[name], x.grad.numpy(), rtol=PARITY, atol=PARITY, err_msg=name
        )


# ---- gradients -------------------------------------------------------------------------------

CASES = [case for case in model_cases() if isinstance(case.model, BERT)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_gradients_are_the_numerical_ones(case):
    report = checked(case)
    assert report.passed, f"\n{report}"


@pytest.mark.parametrize("method", METHODS)
def test_the_gradient_of_the_span_is_the_numerical_one_and_0_for_what_softmax_does_not_see(method):
    bert, targets, method = a_bert(BERTForSpan), TARGETS[BERTForSpan], METHODS[method]
    grads = bert.loss_backward(bert.loss(IDS, targets, **GIVEN)[1])
    unseen = {"span.b", f"block{L - 1}.norm2.bias"}
    for name, x in bert.params.items():
        twin = bert.astype(method.dtype)

        def loss(x, name=name, twin=twin):
            twin.params[name] = x
            return twin.loss(IDS, targets, **GIVEN)[0]

        numeric = method.slope(loss, x)
        if name in unseen:
            close(grads[name], 0)
            close(numeric, 0, 1e-9)  # central differences of a loss near 1 have noise of 1e-11
        else:
            assert gradient_error(grads[name], numeric) < method.tolerance, name


@every_kind
def test_a_cache_serves_twice_and_the_model_is_left_alone(kind):
    bert, before = a_bert(kind), a_bert(kind).params.flat
    _, cache = bert.loss(IDS, TARGETS[kind], **GIVEN)
    first = bert.loss_backward(cache)
    np.testing.assert_array_equal(bert.loss_backward(cache).flat, first.flat)
    np.testing.assert_array_equal(bert.params.flat, before)


@every_kind
def test_float32_stays_float32_in_results_caches_and_gradients(kind):
    bert = a_bert(kind, np.float32, dropout=0.3)
    loss, cache = bert.loss(IDS, TARGETS[kind], np.random.default_rng(0), **GIVEN)
    grads = bert.loss_backward(cache)
    logits, _ = bert.forward(IDS, **GIVEN)
    assert loss.dtype == np.float32
    assert {x.dtype for x in floats((logits, cache, grads.flat))} == {np.dtype(np.float32)}


@every_kind
def test_dropout_is_drawn_from_the_generator_and_only_in_training(kind):
    bert, sure = a_bert(kind, dropout=0.5), a_bert(kind)
    logits = bert.forward(IDS, **GIVEN)[0]
    np.testing.assert_array_equal(logits, sure.forward(IDS, **GIVEN)[0])
    first, again, other = (
        bert.forward(IDS, np.random.default_rng(seed), **GIVEN)[0] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first != logits).any()


def test_dropout_follows_the_embedding_and_every_part_of_every_block():
    bert = a_bert(BERTForMaskedLM, dropout=0.5)
    _, cache = bert.encode(IDS, np.random.default_rng(0))
    masks = [cache.dropout]
    for block in cache.blocks:
        masks += [block.dropout1, block.dropout2]
    for mask in masks:
        assert set(np.unique(mask)) == {0.0, 2.0}


# ---- what the encoder sees -------------------------------------------------------------------


def test_every_token_sees_both_directions():
    bert = a_bert(BERTForMaskedLM)
    h, _ = bert.encode(IDS[:1])
    for j in range(T):
        changed = IDS[:1].copy()
        changed[0, j] = 7
        after, _ = bert.encode(changed)
        assert (np.abs(after - h).max(axis=-1) > 1e-3).all()


def test_position_and_segment_are_seen():
    bert = a_bert(BERTForMaskedLM)
    h, _ = bert.encode(IDS, segments=SEGMENTS)
    assert np.abs(bert.encode(IDS[:, ::-1], segments=SEGMENTS)[0][:, ::-1] - h).max() > 1e-3
    assert np.abs(bert.encode(IDS, segments=1 - SEGMENTS)[0] - h).max() > 1e-3


def test_without_segments_and_attend_all_is_segment_0_and_real():
    bert = a_bert(BERTForMaskedLM)
    given = {"segments": np.zeros_like(IDS), "attend": np.ones_like(IDS, bool)}
    np.testing.assert_array_equal(bert.encode(IDS)[0], bert.encode(IDS, **given)[0])


@every_kind
def test_what_stands_on_padding_changes_nothing_for_real_tokens(kind):
    bert, other = a_bert(kind), np.where(ATTEND, IDS, (IDS + 3) % V)
    segments = np.where(ATTEND, SEGMENTS, 1 - SEGMENTS)
    h, _ = bert.encode(IDS, **GIVEN)
    after, _ = bert.encode(other, segments=segments, attend=ATTEND)
    np.testing.assert_array_equal(after[ATTEND], h[ATTEND])
    loss, _ = bert.loss(IDS, TARGETS[kind], **GIVEN)
    assert bert.loss(other, TARGETS[kind], segments=segments, attend=ATTEND)[0] == loss


@every_kind
def test_adding_padding_changes_neither_loss_nor_gradient(kind):
    bert, targets = a_bert(kind), TARGETS[kind]
    loss, cache = bert.loss(IDS, targets, **GIVEN)
    wide = {"constant_values": 0}
    longer = [np.pad(array, ((0, 0), (0, 3)), **wide) for array in (IDS, SEGMENTS, ATTEND)]
    if kind is BERTForMaskedLM:
        targets = np.pad(targets, ((0, 0), (0, 3)), constant_values=IGNORE)
    ids, segments, attend = longer
    padded_loss, padded_cache = bert.loss(ids, targets, segments=segments, attend=attend)
    close(padded_loss, loss)
    close(bert.loss_backward(padded_cache).flat, bert.loss_backward(cache).flat)


@every_kind
def test_changing_one_text_moves_no_other(kind):
    bert, changed = a_bert(kind), IDS.copy()
    changed[1] = [3, 3, 0, 6, 5]
    logits, after = bert.forward(IDS, **GIVEN)[0], bert.forward(changed, **GIVEN)[0]
    np.testing.assert_array_equal(np.delete(after, 1, 0), np.delete(logits, 1, 0))
    assert (after[1] != logits[1])[np.isfinite(logits[1])].all()


@every_kind
def test_one_text_needs_no_batch(kind):
    bert = a_bert(kind)
    logits, _ = bert.forward(IDS[1], segments=SEGMENTS[1], attend=ATTEND[1])
    close(logits, bert.forward(IDS, **GIVEN)[0][1])


def test_where_no_token_is_real_attention_reads_nothing():
    bert = a_bert(BERTForMaskedLM)
    h, cache = bert.encode(IDS, attend=ATTEND & (np.arange(B) != 2)[:, None])
    for block in cache.blocks:
        assert not block.attention.attention.a[2].any()
    assert np.isfinite(h).all()
    np.testing.assert_array_equal(
        np.delete(h, 2, 0), np.delete(bert.encode(IDS, **{"attend": ATTEND})[0], 2, 0)
    )


# ---- the heads -------------------------------------------------------------------------------


def test_the_encoder_alone_has_no_head_and_the_heads_share_it():
    bert = a_bert(BERT)
    h, _ = bert.encode(IDS, **GIVEN)
    for kind in TARGETS:
        headed = a_bert(kind)
        assert list(headed.params)[: len(bert.params)] == list(bert.params)
        headed.params.flat[: bert.params.flat.size] = bert.params.flat
        np.testing.assert_array_equal(headed.encode(IDS, **GIVEN)[0], h)


@every_kind
def test_logits_and_loss_are_those_of_the_head_on_what_the_encoder_makes(kind):
    bert, rng = a_bert(kind, dropout=0.5), np.random.default_rng(0)
    h, _ = bert.encode(IDS, rng, **GIVEN)
    logits, _ = bert.head_forward(h, ATTEND, rng)
    again, _ = bert.forward(IDS, np.random.default_rng(0), **GIVEN)
    np.testing.assert_array_equal(again, logits)
    loss, _ = bert.loss(IDS, TARGETS[kind], np.random.default_rng(0), **GIVEN)
    assert loss == cross_entropy_forward(logits, TARGETS[kind])[0]


def test_the_class_is_read_from_the_first_token_alone():
    bert = a_bert(BERTForClass, np.float32)
    h, _ = bert.encode(IDS, **GIVEN)
    logits, cache = bert.head_forward(h, ATTEND, None)
    for token in range(T):
        changed = h.copy()
        changed[:, token] += 1
        after, _ = bert.head_forward(changed, ATTEND, None)
        assert (after != logits).any() == (token == 0)
    dh = bert.head_backward(np.ones_like(logits), cache, bert.params.like())
    assert dh.dtype == np.float32
    assert dh[:, 0].all()
    assert not dh[:, 1:].any()


def test_a_text_of_unknown_class_adds_nothing():
    bert, targets = a_bert(BERTForClass), TARGETS[BERTForClass].copy()
    targets[2] = IGNORE
    known = {name: array[[0, 1, 3]] for name, array in GIVEN.items()}
    close(
        bert.loss(IDS, targets, **GIVEN)[0],
        bert.loss(IDS[[0, 1, 3]], targets[[0, 1, 3]], **known)[0],
    )


def test_dropout_also_follows_tanh():
    bert = a_bert(BERTForClass, dropout=0.5)
    h, _ = bert.encode(IDS, **GIVEN)
    sure, _ = bert.head_forward(h, ATTEND, None)
    assert (bert.head_forward(h, ATTEND, np.random.default_rng(0))[0] != sure).any(axis=-1).all()


def test_an_answer_cannot_stand_on_padding():
    bert = a_bert(BERTForSpan)
    logits, _ = bert.forward(IDS, **GIVEN)
    assert logits.shape == (B, 2, T)
    for side in range(2):
        np.testing.assert_array_equal(logits[:, side] == -np.inf, ~ATTEND)
    start, end = best_span(logits).T
    assert ATTEND[np.arange(B), start].all()
    assert ATTEND[np.arange(B), end].all()


def test_a_text_without_an_answer_adds_nothing():
    bert, targets = a_bert(BERTForSpan), TARGETS[BERTForSpan]
    some = targets[:, 0] != IGNORE
    given = {name: array[some] for name, array in GIVEN.items()}
    close(bert.loss(IDS[some], targets[some], **given)[0], bert.loss(IDS, targets, **GIVEN)[0])


def test_the_answer_in_one_text_needs_no_batch():
    bert, given = a_bert(BERTForSpan), {name: array[0] for name, array in GIVEN.items()}
    batch = {name: array[:1] for name, array in GIVEN.items()}
    close(bert.loss(IDS[0], [1, 3], **given)[0], bert.loss(IDS[:1], [[1, 3]], **batch)[0])


def test_in_a_text_of_one_token_the_answer_is_sure_or_unknown():
    bert = a_bert(BERTForSpan)
    assert bert.loss(IDS[:2, :1], [[0, 0], [IGNORE, IGNORE]])[0] == 0


def test_one_side_of_an_answer_may_be_unknown():
    bert, targets = a_bert(BERTForSpan), np.array([[2, IGNORE], [IGNORE, 1]])
    given = {name: array[:2] for name, array in GIVEN.items()}
    logits, _ = bert.forward(IDS[:2], **given)
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    close(bert.loss(IDS[:2], targets, **given)[0], -(log_p[0, 0, 2] + log_p[1, 1, 1]) / 2)


@pytest.mark.parametrize("seed", range(20))
def test_the_best_span_is_the_best_of_all_pairs_in_order(seed):
    logits = np.random.default_rng(seed).normal(size=(3, 2, 6))
    logits[1, :, 4:] = -np.inf
    logits[2, :, :2] = -np.inf
    for text, found in zip(logits, best_span(logits), strict=True):
        pairs = [(s, e) for s, e in product(range(6), repeat=2) if s <= e]
        best = max(text[0, s] + text[1, e] for s, e in pairs)
        assert found[0] <= found[1]
        assert text[0, found[0]] + text[1, found[1]] == best


@pytest.mark.parametrize("lead", [(), (5,), (2, 3)])
def test_the_best_span_is_found_for_each_text_of_any_batch(lead):
    logits = np.random.default_rng(0).normal(size=(*lead, 2, 6))
    found = best_span(logits)
    assert found.shape == (*lead, 2)
    for text in np.ndindex(lead):
        np.testing.assert_array_equal(found[text], best_span(logits[text][None])[0])


@every_kind
def test_descending_the_gradient_learns_the_batch(kind):
    bert, targets = a_bert(kind, width=12, init_std=0.2), TARGETS[kind]
    bert.initialise(np.random.default_rng(0))
    optimizer, first = Adam(bert.params), bert.loss(IDS, targets, **GIVEN)[0]
    for _ in range(150):
        loss, cache = bert.loss(IDS, targets, **GIVEN)
        optimizer.step(bert.loss_backward(cache), 0.01)
    assert loss < 0.1 < first


def test_the_start_is_normal_with_gains_1_and_biases_0():
    config = BERTConfig(vocab_size=500, width=40, layers=1, heads=2, init_std=0.3)
    params = BERTForMaskedLM(config, np.random.default_rng(0)).params
    for name, x in params.items():
        if name.endswith("gain"):
            assert (x == 1).all()
        elif x.ndim == 1:
            assert not x.any()
        else:
            spread = 0.3 / (2 * x.size) ** 0.5  # the standard deviation of a standard deviation
            assert abs(x.std() - 0.3) < SIGMAS * spread, name
            assert abs(x.mean()) < SIGMAS * 0.3 / x.size**0.5, name


def test_hidden_0_is_four_times_the_width():
    assert a_bert(BERT, hidden=0).params["block0.feed_forward.w_in"].shape == (C, 4 * C)


# ---- F24: what is hidden ---------------------------------------------------------------------

MASK, SPECIAL, WORDS = 3, (0, 1), 10


def many_hidden(rate=0.15, n=200_000):
    ids = np.random.default_rng(0).integers(0, WORDS, (n // 20, 20))
    return ids, *mask_tokens(ids, np.random.default_rng(1), MASK, WORDS, SPECIAL, rate)


def near(share, p, n):
    return abs(share - p) < SIGMAS * (p * (1 - p) / n) ** 0.5


@pytest.mark.parametrize("rate", [0.15, 0.5])
def test_f24_the_shares_are_15_and_80_10_10_percent(rate):
    ids, inputs, targets = many_hidden(rate)
    word = ~np.isin(ids, [MASK, *SPECIAL])
    chosen = targets != IGNORE
    n = chosen.sum()
    assert near(chosen[word].mean(), rate, word.sum())
    assert near((inputs[chosen] == MASK).mean(), 0.8, n)
    same, kept = (inputs == ids)[chosen].mean(), 0.1 + 0.1 / 7  # 7 words: a draw may be the same
    assert near(same, kept, n)
    drawn = inputs[chosen & (inputs != ids) & (inputs != MASK)]
    counts = np.bincount(drawn, minlength=WORDS)
    assert not counts[[MASK, *SPECIAL]].any()
    assert all(near(count / len(drawn), 1 / 7, len(drawn)) for count in counts[counts > 0])


def test_f24_targets_are_the_truth_where_chosen_and_the_rest_is_untouched():
    ids, inputs, targets = many_hidden()
    chosen = targets != IGNORE
    np.testing.assert_array_equal(targets[chosen], ids[chosen])
    np.testing.assert_array_equal(inputs[~chosen], ids[~chosen])
    assert not np.isin(targets[chosen], [MASK, *SPECIAL]).any()


def test_f24_at_rate_1_every_word_is_chosen():
    ids = np.array([[0, 5, 3], [6, 1, 7]])
    _, targets = mask_tokens(ids, np.random.default_rng(0), MASK, WORDS, SPECIAL, 1.0)
    assert targets.tolist() == [[IGNORE, 5, IGNORE], [6, IGNORE, 7]]


class Scripted(np.random.Generator):
    """A generator whose draws are known: five for the choice, four for the fate of the chosen."""

    def __init__(self):
        super().__init__(np.random.PCG64())
        self.draws = iter([[0.0, 0.1, 0.1, 0.1, 0.15], [0.0, 0.8, 0.9, 0.95]])

    def random(self, size):
        return np.array(next(self.draws))

    def choice(self, words, size):
        return words[:size]


def test_f24_every_share_has_its_lower_end_and_not_its_upper_one():
    inputs, targets = mask_tokens(np.arange(5, 10), Scripted(), MASK, WORDS, SPECIAL, 0.15)
    assert inputs.tolist() == [MASK, 2, 7, 8, 9]  # 2 is the first of the words
    assert targets.tolist() == [5, 6, 7, 8, IGNORE]


def test_f24_ids_are_left_alone_and_a_seed_repeats():
    ids, inputs, targets = many_hidden(n=200)
    before = ids.copy()
    again = mask_tokens(ids, np.random.default_rng(1), MASK, WORDS, SPECIAL)
    np.testing.assert_array_equal(ids, before)
    np.testing.assert_array_equal(again, (inputs, targets))


def test_f24_at_least_one_token_is_chosen_each_equally_often():
    ids, places = np.array([[0, 5, 3], [6, 1, 7]]), np.zeros((2, 3))
    for seed in range(600):
        _, targets = mask_tokens(ids, np.random.default_rng(seed), MASK, WORDS, SPECIAL, 1e-9)
        assert (targets != IGNORE).sum() == 1
        places += targets != IGNORE
    assert places[[0, 0, 1], [0, 2, 1]].tolist() == [0, 0, 0]
    assert all(near(count / 600, 1 / 3, 600) for count in places[[0, 1, 1], [1, 0, 2]])


@pytest.mark.parametrize(
    ("ids", "options", "message"),
    [
        ([[0, 1, MASK]], {}, "every id is special"),
        ([[5, 6]], {"rate": 0.0}, r"rate must be above 0 and at most 1, not 0.0"),
        ([[5, 6]], {"rate": 1.5}, "rate"),
        ([[5, WORDS]], {}, "ids must lie in .*found 10"),
        ([[5, 6]], {"mask_id": WORDS}, "mask_id and special must lie in .*found 10"),
    ],
)
def test_f24_bad_input_is_named(ids, options, message):
    given = {"mask_id": MASK, "vocab_size": WORDS, "special": SPECIAL} | options
    with pytest.raises(InputError, match=message):
        mask_tokens(np.array(ids), np.random.default_rng(0), **given)


# ---- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ids": IDS + 6}, "ids must lie in .*found 1"),
        ({"ids": IDS * 1.0}, "ids must be integers, not float64"),
        ({"ids": IDS[:, :0], "segments": None, "attend": None}, "ids are empty"),
        ({"ids": np.ones((B, 9), int), "segments": None, "attend": None}, "9 tokens.*table of 8"),
        ({"ids": np.array(3), "segments": None, "attend": None}, r"must both be \(..., T\)"),
        ({"segments": SEGMENTS + 1}, r"segments must lie in \[0, 2\), the kinds.*found 2"),
        ({"segments": SEGMENTS - 1}, r"segments must lie in \[0, 2\), the kinds.*found -1"),
        ({"segments": SEGMENTS * 1.0}, "segments must be integers, not float64"),
        ({"segments": SEGMENTS[:, 1:]}, r"segments \(4, 4\) and ids \(4, 5\)"),
        ({"attend": ATTEND[:1]}, r"attend \(1, 5\) and ids \(4, 5\)"),
        ({"attend": ATTEND.astype(int)}, "attend must be boolean.*int64"),
    ],
)
def test_what_the_encoder_cannot_read_is_named(changed, message):
    with pytest.raises(InputError, match=message):
        a_bert(BERTForMaskedLM).encode(**{"ids": IDS, **GIVEN, **changed})


@pytest.mark.parametrize(
    ("kind", "targets", "message"),
    [
        (BERTForMaskedLM, IDS + 1, "targets must lie in .*found 11"),
        (BERTForMaskedLM, IDS[:, 1:], r"targets \(4, 4\)"),
        (BERTForMaskedLM, np.full((B, T), IGNORE), "every target is ignored"),
        (BERTForClass, [0, 1, 2, K], rf"targets must lie in \[0, {K}\), the classes; found {K}"),
        (BERTForClass, [0.0, 1.0, 2.0, 1.0], "targets must be integers, not float64"),
        (BERTForClass, [0, 1, 2], r"targets \(3,\)"),
        (
            BERTForSpan,
            [[0, 1], [0, 0], [2, 5], [0, 1]],
            "^targets must lie in .*tokens of a text; found 5",
        ),
        (BERTForSpan, [[0, 1], [0, 0], [2, 1], [0, 1]], r"targets \(2, 1\) are no answer"),
        (BERTForSpan, [[0, 1], [0, 0], [2, 4], [0, 1]], r"targets \(2, 4\) are no answer"),
        (BERTForSpan, [[0, 1], [0, 0], [IGNORE, 4], [0, 1]], "are no answer"),
        (BERTForSpan, [0, 1, 2, 1], r"targets \(4,\) must be \(..., 2\)"),
    ],
)
def test_targets_that_a_head_cannot_predict_are_named(kind, targets, message):
    with pytest.raises(InputError, match=message):
        a_bert(kind).loss(IDS, np.array(targets), **GIVEN)


def test_a_text_that_is_all_padding_has_no_answer_to_find():
    with pytest.raises(InputError, match="no answer to find"):
        a_bert(BERTForSpan).forward(IDS, attend=ATTEND & (np.arange(B) != 2)[:, None])


def test_options_that_do_not_fit_are_named():
    with pytest.raises(InputError, match="width 6 cannot be shared by 4 heads"):
        BERTConfig(width=6, heads=4)
    with pytest.raises(InputError, match="eps must be above 0"):
        BERTConfig(eps=0.0)
    with pytest.raises(InputError, match="classes must be at least 2"):
        BERTForClassConfig(classes=1)
    assert dataclasses.asdict(BERTConfig())["eps"] == 1e-12
