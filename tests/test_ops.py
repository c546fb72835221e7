"""ops.py, F1 to F5 and F12: each forward against plain loops, each backward against numbers.

The first section goes over every pair of ops.py; the formulas F13 to F19 have a file of their own.
"""

import math
from copy import deepcopy
from itertools import pairwise

import numpy as np
import pytest
from right_slopes import checked

from numpylm import ops
from numpylm.arguments import as_texts
from numpylm.checks.gradient_cases import op_cases
from numpylm.errors import InputError
from numpylm.ops import (
    IGNORE,
    attention_backward,
    attention_forward,
    causal_mask,
    cross_entropy_backward,
    cross_entropy_forward,
    embedding_backward,
    embedding_forward,
    linear_forward,
    nll_backward,
    nll_forward,
    output_forward,
    softmax_backward,
    softmax_forward,
)

# Two ways to sum a few dozen float64 products of numbers near 1; each rounds by about 1e-16.
ROUNDING = 1e-13

B, T, S, C, V = 2, 3, 5, 4, 7
CASES = op_cases()
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.fixture
def normal():
    return np.random.default_rng(0).normal


def close(actual, expected, tolerance=ROUNDING):
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def as_dtype(value, dtype):
    """Float arrays in another dtype; copies of ids, masks, options and generators."""
    is_float = isinstance(value, np.ndarray) and value.dtype.kind in "fc"
    return value.astype(dtype) if is_float else deepcopy(value)


def run(case, args, dtype):
    """y, its upstream gradient (never uniform) and the tuple of gradients, at args in dtype."""
    forward, backward = getattr(ops, f"{case.op}_forward"), getattr(ops, f"{case.op}_backward")
    y, cache = forward(*(as_dtype(arg, dtype) for arg in args))
    dy = np.random.default_rng(3).normal(size=np.shape(y))[()]
    grads = backward(as_dtype(dy, dtype), cache)
    return y, dy, grads if isinstance(grads, tuple) else (grads,)


# ---- what holds for every pair ---------------------------------------------------------------


def names_that_end_in(ending):
    return {name.removesuffix(ending) for name in vars(ops) if name.endswith(ending)}


def test_every_op_is_checked():
    checked = {case.op for case in CASES}
    assert names_that_end_in("_forward") == names_that_end_in("_backward") == checked


@every_case
def test_the_backward_is_the_numerical_gradient(case):
    report = checked(case)
    assert report.passed, f"\n{report}"


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
@every_case
def test_the_dtype_follows_the_input(case, dtype):
    y, _, grads = run(case, case.args, dtype)
    assert y.dtype == dtype
    assert all(dx.dtype == dtype for dx in grads if dx is not None)


def test_f3_a_numpy_number_as_scale_does_not_widen_float32(normal):
    q = normal(size=(T, C)).astype(np.float32)
    c, cache = attention_forward(q, q, q, scale=np.float64(0.5))
    assert c.dtype == np.float32
    assert all(dx.dtype == np.float32 for dx in attention_backward(c, cache))


@every_case
def test_complex_numbers_give_the_real_answer_on_real_input(case):
    y, _, grads = run(case, case.args, np.float64)
    y_complex, _, grads_complex = run(case, case.args, np.complex128)
    for real, twin in [(y, y_complex), *zip(grads, grads_complex, strict=True)]:
        if real is not None:
            close(twin.real, real)
            assert not np.any(twin.imag)


@every_case
def test_inputs_are_untouched_and_the_cache_serves_twice(case):
    backward = getattr(ops, f"{case.op}_backward")
    args = deepcopy(case.args)
    y, cache = getattr(ops, f"{case.op}_forward")(*args)
    dy = np.full(np.shape(y), 0.5)
    first, second = backward(dy, cache), backward(dy, cache)
    np.testing.assert_equal(first, second)
    assert (dy == 0.5).all()
    for arg, before in zip(args, case.args, strict=True):
        if isinstance(arg, np.ndarray):
            np.testing.assert_array_equal(arg, before)


# ---- F1: embedding ---------------------------------------------------------------------------


def test_f1_an_embedding_is_the_row_of_the_word(normal):
    table, ids = normal(size=(V, C)), np.array([[1, 6, 1], [0, 1, 3]])
    e, _ = embedding_forward(table, ids)
    assert e.shape == (2, 3, C)
    for b, t in np.ndindex(ids.shape):
        assert e[b, t].tolist() == table[ids[b, t]].tolist()


@pytest.mark.parametrize("shape", [(), (1,), (40,), (6, 7)])
def test_f1_every_occurrence_of_a_word_adds_to_its_row(shape, normal):
    ids = np.random.default_rng(1).integers(0, 5, shape)
    _, cache = embedding_forward(normal(size=(V, C)), ids)
    de = normal(size=(*shape, C))
    expected = np.zeros((V, C))
    np.add.at(expected, ids, de)
    close(embedding_backward(de, cache), expected)


@pytest.mark.parametrize(
    ("ids", "shown"),
    [
        ([[1, 0], [2, 5]], "found 5"),
        ([0, -1], "found -1"),
        (np.array([250], np.uint8), "found 250"),
        ([IGNORE], "found -100"),  # only a target may be ignored
        (["S1"], "not <U2"),
    ],
)
def test_f1_ids_outside_the_vocabulary_are_named(ids, shown):
    with pytest.raises(InputError, match=f"^ids must .*{shown}.*tokenizer"):
        embedding_forward(np.zeros((5, C)), ids)


# ---- F12: linear map -------------------------------------------------------------------------


def test_f12_linear_is_the_sum_over_inputs(normal):
    x, w, b = normal(size=(B, T, C)), normal(size=(C, V)), normal(size=V)
    y, _ = linear_forward(x, w, b)
    for n in np.ndindex(B, T):
        for o in range(V):
            close(y[n][o], sum(x[n][i] * w[i, o] for i in range(C)) + b[o])
    close(linear_forward(x, w)[0], y - b)
    close(linear_forward(x[0, 0], w, b)[0], y[0, 0])


def test_f12_shapes_that_do_not_fit_are_named(normal):
    with pytest.raises(InputError, match=r"x \(2, 3\), w \(4, 3\), b None do not fit"):
        linear_forward(normal(size=(2, 3)), normal(size=(4, 3)))


# ---- F3: softmax -----------------------------------------------------------------------------


def softmax_by_hand(row, allowed):
    powers = [math.exp(s) if may else 0.0 for s, may in zip(row, allowed, strict=True)]
    return [power / (math.fsum(powers) or 1.0) for power in powers]


def test_f3_softmax_is_exp_over_the_sum_of_exp(normal):
    s = normal(size=(B, T, S))
    mask = np.random.default_rng(1).random((B, T, S)) < 0.5
    mask[0, 0] = False
    for allowed, a in [
        (np.ones_like(mask), softmax_forward(s)[0]),
        (mask, softmax_forward(s, mask)[0]),
    ]:
        for row in np.ndindex(B, T):
            close(a[row], softmax_by_hand(s[row], allowed[row]))


@pytest.mark.parametrize("shape", [(1,), (9,), (1, 1), (3, 1), (2, 3, 5)])
def test_f3_every_row_is_a_probability_distribution(shape, normal):
    a, _ = softmax_forward(5.0 * normal(size=shape))
    assert (a >= 0).all()
    close(a.sum(axis=-1), np.ones(shape[:-1]))
    da = normal(size=shape)
    close(softmax_backward(da, a).sum(axis=-1), np.zeros(shape[:-1]))


def test_f3_shifting_all_scores_changes_nothing(normal):
    s = np.round(8 * normal(size=(T, S))) / 8  # eighths: adding 1024 does not round
    np.testing.assert_array_equal(softmax_forward(s + 1024.0)[0], softmax_forward(s)[0])


@pytest.mark.parametrize("large", [1e4, 1e300])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_f3_extreme_scores_neither_overflow_nor_vanish(large, dtype):
    s = np.array([[large, -large, 0.0], [-large, -large, -large]], dtype)
    close(softmax_forward(s)[0], [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]])


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_f3_what_is_masked_cannot_spoil_what_is_allowed(bad):
    for dtype in (np.float32, np.float64, np.complex128):
        a, _ = softmax_forward(np.array([0.0, 1.0, bad], dtype), np.array([True, True, False]))
        alone, _ = softmax_forward(np.array([0.0, 1.0], dtype))
        np.testing.assert_array_equal(a, [*alone, 0])


def test_f3_an_allowed_nan_stays_one_without_a_warning():
    s, mask = np.array([[0.0, np.nan], [0.0, 1.0]], np.float32), np.array([True, True])
    a, _ = softmax_forward(s, mask)
    assert np.isnan(a[0]).all() and np.isfinite(a[1]).all()


def test_attention_to_no_key_is_refused():
    x = np.ones((2, 3))
    with pytest.raises(InputError, match=r"k \(0, 3\), v \(0, 3\) do not fit"):
        attention_forward(x, x[:0], x[:0])


def test_f3_a_masked_score_has_weight_0_and_gradient_0(normal):
    mask = causal_mask(T, S)
    s = np.where(mask, normal(size=(T, S)), 1e4)  # what is masked would win
    a, cache = softmax_forward(s, mask)
    close(a.sum(axis=-1), np.ones(T))
    assert not a[~mask].any()
    assert not softmax_backward(normal(size=(T, S)), cache)[~mask].any()


@pytest.mark.parametrize("shape", [(S,), (T, 1), (1, S), (B, 1, S), (1, T, S)])
def test_f3_a_mask_is_broadcast(shape, normal):
    s, mask = normal(size=(B, T, S)), np.random.default_rng(2).random(shape) < 0.6
    whole = np.broadcast_to(mask, s.shape).copy()
    np.testing.assert_array_equal(softmax_forward(s, mask)[0], softmax_forward(s, whole)[0])


@pytest.mark.parametrize("mask", [np.ones((T, S)), np.ones((T, S), int), np.full((T, S), -np.inf)])
def test_f3_a_mask_that_is_not_boolean_is_refused(mask):
    with pytest.raises(InputError, match=f"mask must be boolean.*{mask.dtype}"):
        softmax_forward(np.zeros((T, S)), mask)


# ---- F2, F3: attention -----------------------------------------------------------------------


def attention_by_hand(q, k, v, mask, scale):
    """One sequence, written from the three formulas with nothing but Python's numbers."""
    context = []
    for i, allowed in enumerate(mask):
        s = [scale * sum(a * b for a, b in zip(q[i], key, strict=True)) for key in k]
        a = softmax_by_hand(s, allowed)
        context.append(
            [sum(w * x for w, x in zip(a, column, strict=True)) for column in zip(*v, strict=True)]
        )
    return context


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_f2_f3_attention_is_the_weighted_average_of_the_values(scale, normal):
    q, k, v = normal(size=(B, T, C)), normal(size=(B, S, C)), normal(size=(B, S, 6))
    full, causal = np.ones((T, S), bool), causal_mask(T, S)
    blind = causal & np.array([[True], [False], [True]])
    for mask in (full, causal, blind):
        c, cache = attention_forward(q, k, v, None if mask is full else mask, scale)
        for n in range(B):
            close(c[n], attention_by_hand(q[n].tolist(), k[n].tolist(), v[n].tolist(), mask, scale))
        close(cache.a @ v, c)


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (1, 5, 2, 3), (4, 1, 3, 1), (6, 6, 1, 2)])
def test_f2_a_context_lies_among_its_values_in_whatever_order_they_come(sizes, normal):
    T, S, D, E = sizes
    q, k, v = normal(size=(T, D)), normal(size=(S, D)), normal(size=(S, E))
    c, cache = attention_forward(q, k, v)
    assert (c >= v.min(axis=0) - ROUNDING).all()
    assert (c <= v.max(axis=0) + ROUNDING).all()
    order = np.random.default_rng(1).permutation(S)
    close(attention_forward(q, k[order], v[order])[0], c)
    dc = normal(size=(T, E))
    dq, dk, dv = attention_backward(dc, cache)
    ds = softmax_backward(dc @ v.T, cache.a)
    for dx, expected in ((dq, ds @ k), (dk, ds.T @ q), (dv, cache.a.T @ dc)):
        close(dx, expected)


def test_f3_a_blind_query_reads_nothing_and_teaches_nothing(normal):
    q, k, v = normal(size=(B, T, C)), normal(size=(B, S, C)), normal(size=(B, S, 6))
    sees = np.array([[True], [False], [True]])
    c, cache = attention_forward(q, k, v, sees)
    assert not c[:, 1].any()
    assert not cache.a[:, 1].any()
    dc = np.zeros_like(c)
    dc[:, 1] = normal(size=(B, 6))
    assert not any(dx.any() for dx in attention_backward(dc, cache))
    assert not attention_backward(normal(size=c.shape), cache)[0][:, 1].any()


def test_f3_a_mask_cannot_be_outvoted_by_very_low_scores():
    q, k = np.array([[200.0], [200.0]]), np.array([[-100.0], [0.0]])  # s_00 = −20 000, s_01 = 0
    _, cache = attention_forward(q, k, np.eye(2), causal_mask(2))
    assert cache.a.tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_f3_self_attention_needs_ds_and_its_transpose(normal):
    """de = (ds + dsᵀ) e + aᵀ dc: as queries, as keys and as values."""
    e, dc = normal(size=(T, C)), normal(size=(T, C))
    _, cache = attention_forward(e, e, e, causal_mask(T))
    ds = softmax_backward(dc @ e.T, cache.a)
    close(sum(attention_backward(dc, cache)), (ds + ds.T) @ e + cache.a.T @ dc)
    assert np.abs(ds - ds.T).max() > 0.1  # else ds alone would do


def test_f3_adding_one_vector_to_all_keys_changes_nothing(normal):
    """It shifts row i of the scores by scale q_i·u, so Σ_j ds_ij = 0 and Σ_j dk_j = 0."""
    q, k, v = normal(size=(B, T, C)), normal(size=(B, S, C)), normal(size=(B, S, 6))
    c, cache = attention_forward(q, k, v, causal_mask(T, S), 0.7)
    close(attention_forward(q, k + normal(size=C), v, causal_mask(T, S), 0.7)[0], c)
    close(attention_backward(normal(size=c.shape), cache)[1].sum(axis=1), np.zeros((B, C)))


def test_f3_causal_means_at_or_before_counted_from_the_end_of_the_text():
    assert causal_mask(3).tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert causal_mask(2, 4).tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert causal_mask(1, 4).all()
    assert causal_mask(3).dtype == bool


def test_f3_the_last_queries_on_longer_keys_are_the_last_rows_of_the_whole(normal):
    e = normal(size=(S, C))
    whole, _ = attention_forward(e, e, e, causal_mask(S))
    for n in range(1, S + 1):
        close(attention_forward(e[-n:], e, e, causal_mask(n, S))[0], whole[-n:])


@pytest.mark.parametrize(
    ("q", "k", "v"),
    [
        ((T, C), (S, C + 1), (S, C)),  # widths of query and key
        ((T, C), (S, C), (T, C)),  # lengths of key and value
        ((B, T, C), (1, S, C), (B, S, C)),  # leading axes
        ((B, T, C), (B, S, C), (1, S, C)),
    ],
)
def test_f3_shapes_that_do_not_fit_are_named(q, k, v):
    with pytest.raises(InputError) as error:
        attention_forward(np.zeros(q), np.zeros(k), np.zeros(v))
    assert f"q {q}, k {k}, v {v}" in str(error.value)


# ---- F4: output ------------------------------------------------------------------------------


def test_f4_a_logit_is_the_context_times_the_word(normal):
    c, table = normal(size=(B, T, C)), normal(size=(V, C))
    logits, _ = output_forward(c, table)
    assert logits.shape == (B, T, V)
    for *n, w in np.ndindex(logits.shape):
        close(logits[*n, w], sum(a * b for a, b in zip(c[*n], table[w], strict=True)))
    close(output_forward(c[0, 0], table)[0], logits[0, 0])


def test_f4_widths_that_differ_are_named():
    with pytest.raises(InputError, match=r"c \(3, 4\), table \(7, 5\) do not fit"):
        output_forward(np.zeros((3, 4)), np.zeros((7, 5)))


# ---- F5: cross-entropy -----------------------------------------------------------------------

TARGETS = np.array([[1, 6, IGNORE], [0, IGNORE, 1]])


def test_f5_the_loss_is_the_mean_of_minus_log_p(normal):
    logits = normal(size=(B, T, V))
    nats = []
    for n in np.ndindex(B, T):
        if TARGETS[n] != IGNORE:
            nats.append(-math.log(softmax_by_hand(logits[n], [True] * V)[TARGETS[n]]))
    loss, _ = cross_entropy_forward(logits, TARGETS)
    close(loss, math.fsum(nats) / len(nats))


def test_f5_equal_logits_cost_log_v():
    close(cross_entropy_forward(np.zeros((B, T, V)), TARGETS)[0], math.log(V))


def test_f5_fused_is_softmax_and_then_minus_log(normal):
    logits = normal(size=(B, T, V))
    loss, cache = cross_entropy_forward(logits, TARGETS)
    p, softmax_cache = softmax_forward(logits)
    loss_in_two, nll_cache = nll_forward(p, TARGETS)
    close(loss_in_two, loss)
    in_two = softmax_backward(nll_backward(0.7, nll_cache), softmax_cache)
    close(in_two, cross_entropy_backward(0.7, cache))


def test_f5_each_row_of_the_gradient_sums_to_0(normal):
    _, cache = cross_entropy_forward(normal(size=(B, T, V)), TARGETS)
    close(cross_entropy_backward(1.0, cache).sum(axis=-1), np.zeros((B, T)))


@pytest.mark.parametrize(
    ("forward", "backward"),
    [(cross_entropy_forward, cross_entropy_backward), (nll_forward, nll_backward)],
)
def test_f5_an_ignored_target_adds_nothing(forward, backward):
    x = np.random.default_rng(0).uniform(0.2, 0.8, (B, T, V))
    counted = TARGETS != IGNORE
    loss, cache = forward(x, TARGETS)
    loss_without, cache_without = forward(x[counted], TARGETS[counted])
    assert loss == loss_without
    dx = backward(1.0, cache)
    assert not dx[~counted].any()
    np.testing.assert_array_equal(dx[counted], backward(1.0, cache_without))


@pytest.mark.parametrize(
    ("forward", "backward"),
    [(cross_entropy_forward, cross_entropy_backward), (nll_forward, nll_backward)],
)
def test_f5_where_only_one_word_is_possible_a_target_may_be_ignored(forward, backward):
    loss, cache = forward(np.ones((2, 1)), np.array([0, IGNORE]))
    assert loss == 0
    assert backward(1.0, cache).shape == (2, 1)


@pytest.mark.parametrize("forward", [cross_entropy_forward, nll_forward])
def test_f5_nothing_to_average_is_an_error(forward):
    with pytest.raises(InputError, match="every target is ignored"):
        forward(np.full((B, T, V), 0.5), np.full((B, T), IGNORE))


@pytest.mark.parametrize("targets", [(T, B), (B,), (B, T, 1), (B * T,), (B, T, V), ()])
@pytest.mark.parametrize("sizes", [(B, T, V), (B, T, T)])
@pytest.mark.parametrize("forward", [cross_entropy_forward, nll_forward])
def test_f5_shapes_that_disagree_are_named(forward, sizes, targets):
    with pytest.raises(InputError) as error:
        forward(np.full(sizes, 0.5), np.zeros(targets, int))
    assert f"targets {targets}" in str(error.value)
    assert f"logits {sizes}" in str(error.value)


def test_f5_the_vocabulary_is_the_last_axis_also_where_t_equals_v(normal):
    logits, targets = normal(size=(B, V, V)), np.random.default_rng(1).integers(0, V, (B, V))
    rows = [cross_entropy_forward(logits[n], targets[n])[0] for n in np.ndindex(B, V)]
    close(cross_entropy_forward(logits, targets)[0], np.mean(rows))


@pytest.mark.parametrize(
    ("targets", "shown"),
    [
        ([V, 0], "found 7"),
        ([0, -1], "found -1"),
        ([IGNORE, -99], "found -99"),
        ([0.0, 1.0], "not float64"),
        ([True, False], "not bool"),
    ],
)
@pytest.mark.parametrize("forward", [cross_entropy_forward, nll_forward])
def test_f5_targets_outside_the_vocabulary_are_named(forward, targets, shown):
    with pytest.raises(InputError, match=f"^targets must .*{shown}"):
        forward(np.full((2, V), 0.5), targets)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint8])
def test_f5_any_integer_dtype_counts_the_same(dtype, normal):
    logits = normal(size=(4, 300))  # more words than int8 or uint8 can name
    targets = np.array([0, 9, 9, 100])
    assert (
        cross_entropy_forward(logits, targets.astype(dtype))[0]
        == (cross_entropy_forward(logits, targets)[0])
    )


@pytest.mark.parametrize("op", ["cross_entropy", "nll"])
def test_f5_the_upstream_gradient_scales_the_gradient(op):
    forward, backward = getattr(ops, f"{op}_forward"), getattr(ops, f"{op}_backward")
    _, cache = forward(np.random.default_rng(0).uniform(0.2, 0.8, (B, T, V)), TARGETS)
    close(backward(-2.5, cache), -2.5 * backward(1.0, cache))


@pytest.mark.parametrize("large", [1e4, 1e300])
def test_f5_huge_logits_have_a_finite_loss_and_gradient(large):
    logits, targets = np.array([[large, -large], [large, -large]]), np.array([0, 1])
    loss, cache = cross_entropy_forward(logits, targets)
    assert loss == large  # (0 + 2 large) / 2
    assert cross_entropy_backward(1.0, cache).tolist() == [[0.0, 0.0], [0.5, -0.5]]


def test_f5_rows_far_apart_do_not_drown_one_another():
    logits = np.array([[1e4, 1e4], [-1e4, -1e4]])
    loss, cache = cross_entropy_forward(logits, np.array([0, 0]))
    close(loss, math.log(2))
    close(cross_entropy_backward(2.0, cache), [[-0.5, 0.5], [-0.5, 0.5]])


def test_f5_a_step_against_the_gradient_lowers_the_loss(normal):
    logits, losses = normal(size=(B, T, V)), []
    for _ in range(5):
        loss, cache = cross_entropy_forward(logits, TARGETS)
        losses.append(loss)
        logits = logits - cross_entropy_backward(1.0, cache)
    assert all(after < before for before, after in pairwise(losses))


@pytest.mark.parametrize("shape", [(5, 5), (2, 4), (2, 3, 4), (1, 2, 3, 4)])
def test_f3_a_mask_that_does_not_fit_the_scores_is_refused(shape, normal):
    q, k = normal(size=(3, 4)), normal(size=(4, 4))
    with pytest.raises(InputError, match=r"mask \(.*must broadcast to the scores \(3, 4\)"):
        attention_forward(q, k, k, np.ones(shape, bool))


def test_rows_of_different_length_are_refused(normal):
    with pytest.raises(InputError, match=r"^ids must be rows of equal length"):
        embedding_forward(normal(size=(7, 4)), [[1, 2], [3]])
    with pytest.raises(InputError, match=r"^ids must be rows of equal length"):
        as_texts([[1, 2], [3]])


def test_a_text_is_not_one_number():
    np.testing.assert_array_equal(as_texts([3, 1]), [3, 1])
    with pytest.raises(InputError, match=r"\(T,\) or texts \(\.\.\., T\) of tokens, not 3$"):
        as_texts(3)
