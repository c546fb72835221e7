"""llama_blocks.py: values by hand and by the plainest loop, and what must hold for any numbers."""

import math

import numpy as np
import pytest
from right_slopes import checked

from numpylm import blocks, llama_blocks, ops
from numpylm.checks.gradient_cases import block_cases
from numpylm.errors import InputError

CASES = [case for case in block_cases() if case.module is llama_blocks]
ROUNDING = 1e-12  # a few dozen float64 operations on numbers of order 1


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_gradients_are_the_numerical_ones(case):
    report = checked(case)
    assert report.passed, f"\n{report}"


def test_f27_a_row_by_hand():
    """mean(x²) of (3, 4) is 12.5; with eps 3.5 the size is 4."""
    y, _ = llama_blocks.rms_norm_forward(np.array([3.0, 4.0]), np.array([1.0, 10.0]), 3.5)
    np.testing.assert_allclose(y, [0.75, 10.0], rtol=1e-15)


def test_f27_a_row_of_zeros_stays_0_and_its_gradient_is_finite():
    y, cache = llama_blocks.rms_norm_forward(np.zeros((1, 3)), np.ones(3))
    dx, _ = llama_blocks.rms_norm_backward(np.array([[1.0, 2.0, 3.0]]), cache)
    assert not y.any()
    np.testing.assert_allclose(dx, np.array([[1.0, 2.0, 3.0]]) / math.sqrt(1e-5), rtol=1e-12)


def test_f28_a_pair_by_hand():
    """Position 1, base 1: (1, 0) turns to (cos 1, sin 1) and (0, 1) to (−sin 1, cos 1)."""
    turn = llama_blocks.rotation([0, 1], 4, 1.0, np.float64)
    x = np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 0.0, 1.0]])
    c, s = math.cos(1), math.sin(1)
    y, _ = llama_blocks.rotary_forward(x, turn)
    np.testing.assert_allclose(y, [[1, 2, 3, 4], [c, -s, s, c]], atol=1e-15)
    y, _ = llama_blocks.rotary_forward(x, turn, interleaved=True)
    np.testing.assert_allclose(y, [[1, 2, 3, 4], [c, s, -s, c]], atol=1e-15)


def test_f28_the_angles_stay_exact_far_out_in_a_text():
    """In float32 the angle 100,000 is known to 0.004 only: it is computed in float64."""
    turn = llama_blocks.rotation([100_000], 2)
    assert turn.cos.dtype == np.float32
    assert abs(turn.cos[0, 0] - math.cos(100_000)) < 1e-7


def test_f28_interleaving_names_every_column_once():
    assert llama_blocks.interleaving(6).tolist() == [0, 3, 1, 4, 2, 5]


def test_f28_the_two_layouts_are_a_permutation_apart():
    x, p = np.random.default_rng(22).normal(size=(3, 8)), llama_blocks.interleaving(8)
    turn = llama_blocks.rotation(np.arange(3), 8, 100.0, np.float64)
    halves, _ = llama_blocks.rotary_forward(x, turn)
    pairs, _ = llama_blocks.rotary_forward(x[:, p], turn, interleaved=True)
    np.testing.assert_allclose(pairs, halves[:, p], atol=1e-15)


def test_f29_silu_of_0_of_1_and_far_out():
    y, _ = llama_blocks.silu_forward(np.array([0.0, 1.0, -1.0, -1e5]))
    np.testing.assert_allclose(y, [0, 1 / (1 + math.exp(-1)), -1 / (1 + math.e), 0], atol=1e-15)


def test_f30_a_closed_gate_lets_nothing_through():
    w_in = np.array([[-1e3, 1.0]])  # g = −1000 x, u = x
    y, _ = llama_blocks.gated_feed_forward_forward(np.ones((2, 1)), w_in, np.ones((1, 3)))
    assert np.abs(y).max() < 1e-300
    w_in[0, 0] = 1e3  # wide open: silu(g) = g
    y, _ = llama_blocks.gated_feed_forward_forward(np.ones((2, 1)), w_in, np.ones((1, 3)))
    np.testing.assert_allclose(y, 1e3)


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_f31_is_one_loop_over_heads(groups, lead):
    rng, H, D, T, S = np.random.default_rng(0), 6, 2, 4, 5
    q = rng.normal(size=(*lead, T, H * D))
    k, v = rng.normal(size=(2, *lead, S, groups * D))
    mask = ops.causal_mask(T, S)
    c, _ = llama_blocks.grouped_query_forward(q, k, v, H, groups, mask)
    for h in range(H):
        g = h * groups // H
        of_q, of_k = slice(h * D, h * D + D), slice(g * D, g * D + D)
        one, _ = ops.attention_forward(q[..., of_q], k[..., of_k], v[..., of_k], mask, D**-0.5)
        np.testing.assert_allclose(c[..., of_q], one, atol=ROUNDING)


def test_f31_with_a_group_for_each_head_is_multi_head_attention():
    rng = np.random.default_rng(1)
    q, k, v, dc = rng.normal(size=(4, 2, 5, 12))
    ours, cache = llama_blocks.grouped_query_forward(q, k, v, 4, 4, ops.causal_mask(5))
    theirs, their_cache = blocks.multi_head_forward(q, k, v, 4, ops.causal_mask(5))
    np.testing.assert_allclose(ours, theirs, atol=1e-15)
    pairs = zip(
        llama_blocks.grouped_query_backward(dc, cache),
        blocks.multi_head_backward(dc, their_cache),
        strict=True,
    )
    for dx, due in pairs:
        np.testing.assert_allclose(dx, due, atol=1e-14)


def test_f31_takes_a_mask_for_each_sample():
    """Padding of one sample is unseen, as the key/value cache needs it."""
    rng = np.random.default_rng(2)
    q, k, v = rng.normal(size=(2, 3, 8)), rng.normal(size=(2, 5, 4)), rng.normal(size=(2, 5, 4))
    mask = np.ones((2, 1, 3, 5), bool)
    mask[1, :, :, :2] = False
    c, _ = llama_blocks.grouped_query_forward(q, k, v, 4, 2, mask)
    alone, _ = llama_blocks.grouped_query_forward(q[1], k[1, 2:], v[1, 2:], 4, 2)
    np.testing.assert_allclose(c[1], alone, atol=ROUNDING)


# ---- bad input -------------------------------------------------------------------------------


def zeros(*shape):
    return np.zeros(shape)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: llama_blocks.rms_norm_forward(zeros(2, 3), zeros(2)),
            r"gain \(2,\) do not fit",
        ),
        (lambda: llama_blocks.rotation([0, 1], 5), "width 5 has a column without a partner"),
        (
            lambda: llama_blocks.rotary_forward(zeros(2, 4), llama_blocks.rotation([0], 4)),
            r"needs angles \(\.\.\., 2, 2\), not \(1, 2\)",
        ),
        (
            lambda: llama_blocks.gated_feed_forward_forward(zeros(2, 3), zeros(3, 5), zeros(2, 3)),
            r"w_in \(3, 5\) must be \(C, 2 F\)",
        ),
        (
            lambda: llama_blocks.grouped_query_forward(zeros(2, 8), zeros(2, 8), zeros(2, 8), 4, 3),
            "4 heads cannot be shared by 3 groups",
        ),
        (
            lambda: llama_blocks.grouped_query_forward(zeros(2, 8), zeros(2, 8), zeros(2, 8), 4, 2),
            "need keys and values of 2 times as many, 4, not 8",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_named(call, words):
    with pytest.raises(InputError, match=words):
        call()
