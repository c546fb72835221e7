"""F13 to F19, F22 and F23, the Transformer's part of ops.py, against plain loops and known values.

That each backward is the numerical gradient, that dtypes follow and inputs stay untouched, is what
test_ops.py holds for every pair of ops.py, these included.
"""

import math

import numpy as np
import pytest

from numpylm.errors import InputError
from numpylm.ops import (
    IGNORE,
    cross_entropy_backward,
    cross_entropy_forward,
    dropout_backward,
    dropout_forward,
    gelu_exact_forward,
    gelu_forward,
    layer_norm_backward,
    layer_norm_forward,
    positions_backward,
    positions_forward,
    relu_backward,
    relu_forward,
    sinusoidal_positions,
    smoothed_cross_entropy_backward,
    smoothed_cross_entropy_forward,
    tanh_forward,
)

# Two ways to compute float64 numbers near 1; each rounds by about 1e-16 a few times.
ROUNDING = 1e-13
ERF_ERROR = 1e-14  # what the docstring of erf promises; 2e-15 is seen

B, T, C, N = 2, 3, 5, 7


@pytest.fixture
def normal():
    return np.random.default_rng(0).normal


def close(actual, expected, tolerance=ROUNDING):
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


# ---- F13: layer normalisation ----------------------------------------------------------------


def test_f13_layer_norm_is_mean_0_and_variance_1_then_gain_and_bias(normal):
    x, gain, bias = normal(3.0, 2.0, (B, T, C)), normal(size=C), normal(size=C)
    y, _ = layer_norm_forward(x, gain, bias, eps=0.1)
    for b in range(B):
        for t in range(T):
            mean = sum(x[b, t]) / C
            variance = sum((number - mean) ** 2 for number in x[b, t]) / C
            expected = [
                gain[c] * (x[b, t, c] - mean) / math.sqrt(variance + 0.1) + bias[c]
                for c in range(C)
            ]
            close(y[b, t], expected)


def test_f13_shifting_and_scaling_a_row_changes_nothing(normal):
    x, gain = normal(size=(T, C)), normal(size=C)
    close(
        layer_norm_forward(7 * x + 5, gain, eps=0.0)[0],
        layer_norm_forward(x, gain, eps=0.0)[0],
    )


def test_f13_the_gradient_moves_neither_the_mean_nor_the_size_of_a_row(normal):
    x, gain, dy = normal(size=(T, C)), normal(size=C), normal(size=(T, C))
    _, cache = layer_norm_forward(x, gain, eps=0.0)
    dx, _, _ = layer_norm_backward(dy, cache)
    assert np.abs(dx).max() > 0.1
    close(dx.sum(axis=-1), 0)
    close((dx * x).sum(axis=-1), 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_f13_a_constant_row_becomes_the_bias_and_has_a_finite_gradient(dtype, normal):
    gain, bias, dy = normal(size=C).astype(dtype), np.ones(C, dtype), np.eye(1, C, dtype=dtype)
    y, cache = layer_norm_forward(np.full((1, C), 3, dtype), gain, bias)
    np.testing.assert_array_equal(y, np.ones((1, C)))
    assert np.isfinite(layer_norm_backward(dy, cache)[0]).all()


def test_f13_eps_is_1e_5_where_none_is_given(normal):
    x, gain = normal(size=(T, C)) / 100, normal(size=C)  # so small that eps matters
    np.testing.assert_array_equal(
        layer_norm_forward(x, gain)[0], layer_norm_forward(x, gain, eps=1e-5)[0]
    )


def test_f13_a_gain_of_another_width_is_named(normal):
    with pytest.raises(InputError, match=r"x \(2, 3, 5\), gain \(4,\), .*do not fit"):
        layer_norm_forward(normal(size=(B, T, C)), normal(size=4))


# ---- F14, F15: GELU --------------------------------------------------------------------------

X = np.linspace(-9, 9, 3601)


def test_f14_gelu_is_its_formula():
    expected = [
        x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2 for x in X.tolist()
    ]
    close(gelu_forward(X)[0], expected)


def test_f14_the_tanh_form_is_near_the_exact_one_but_not_the_same():
    gap = np.abs(gelu_forward(X)[0] - gelu_exact_forward(X)[0]).max()
    assert 4e-4 < gap < 5e-4


def test_f15_gelu_exact_is_x_times_the_normal_distribution():
    expected = [x * math.erfc(-x / math.sqrt(2)) / 2 for x in X.tolist()]
    close(gelu_exact_forward(X)[0], expected)


# ---- F16: ReLU -------------------------------------------------------------------------------


def test_f16_relu_is_0_below_0_and_flat_at_the_corner():
    x = np.array([-math.inf, -2.0, -0.0, 0.0, 1e-9, 3.0])
    y, cache = relu_forward(x)
    np.testing.assert_array_equal(y, [0, 0, 0, 0, 1e-9, 3])
    np.testing.assert_array_equal(relu_backward(np.full(6, 2.0), cache), [0, 0, 0, 0, 2, 2])


# ---- F17: dropout ----------------------------------------------------------------------------


def dropped(rate, shape=(100, 200), dtype=np.float64):
    return dropout_forward(np.ones(shape, dtype), rate, np.random.default_rng(1))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_f17_dropout_drops_that_share_and_keeps_the_mean(rate):
    y, _ = dropped(rate)
    # 20,000 draws: a standard deviation is below 0.0036 of the share, 0.022 of the mean
    assert abs((y == 0).mean() - rate) < 0.015
    assert abs(y.mean() - 1) < 0.09
    close(y[y != 0], 1 / (1 - rate))


def test_f17_what_was_dropped_gets_no_gradient_and_the_rest_the_same_factor():
    y, cache = dropped(0.3)
    np.testing.assert_array_equal(dropout_backward(np.ones(y.shape), cache), y)


def test_f17_one_generator_drops_the_same_in_every_dtype():
    y, y32 = dropped(0.3)[0], dropped(0.3, dtype=np.float32)[0]
    np.testing.assert_array_equal(y == 0, y32 == 0)
    assert y32.dtype == np.float32


def test_f17_a_number_stays_where_its_float32_draw_is_at_least_the_rate():
    draws = np.random.default_rng(1).random((100, 200), np.float32)
    rate = float(draws[3, 5])  # the draw that equals the rate stays
    np.testing.assert_array_equal(dropped(rate)[0] != 0, draws >= rate)


def test_f17_two_calls_drop_differently():
    rng, x = np.random.default_rng(1), np.ones((10, 10))
    assert (dropout_forward(x, 0.5, rng)[0] != dropout_forward(x, 0.5, rng)[0]).any()


@pytest.mark.parametrize(("rate", "rng"), [(0.5, None), (0.0, np.random.default_rng(1))])
def test_f17_evaluation_and_rate_0_change_nothing_and_draw_nothing(rate, rng, normal):
    x, before = normal(size=(T, C)), rng and rng.bit_generator.state
    y, cache = dropout_forward(x, rate, rng)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(dropout_backward(x, cache), x)
    assert (rng and rng.bit_generator.state) == before


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, math.nan])
def test_f17_a_rate_outside_0_to_1_is_refused(rate):
    with pytest.raises(InputError, match=r"^rate must be (at least 0 and below 1|a finite)"):
        dropped(rate)


# ---- F18, F19: positions ---------------------------------------------------------------------


def test_f18_every_text_gets_the_row_of_its_position(normal):
    e, table = normal(size=(B, T, C)), normal(size=(N, C))
    y, _ = positions_forward(e, table)
    for b in range(B):
        for t in range(T):
            np.testing.assert_array_equal(y[b, t], e[b, t] + table[t])


def test_f18_a_text_starts_at_position_0_and_may_be_one_token_long(normal):
    e, table = normal(size=(B, 1, C)), normal(size=(N, C))
    np.testing.assert_array_equal(positions_forward(e, table)[0], e + table[0])


@pytest.mark.parametrize("shape", [(T, C), (B, T, C), (4, B, T, C)])
def test_f18_the_gradient_of_a_position_is_summed_over_the_texts(shape, normal):
    dy = normal(size=shape)
    _, cache = positions_forward(np.zeros(shape), np.zeros((N, C)))
    de, dtable = positions_backward(dy, cache)
    np.testing.assert_array_equal(de, dy)
    expected = np.zeros((N, C))
    for index in np.ndindex(shape[:-1]):
        expected[index[-1]] += dy[index]
    close(dtable, expected)


def test_f18_a_text_may_be_as_long_as_the_table(normal):
    e, table = normal(size=(N, C)), normal(size=(N, C))
    np.testing.assert_array_equal(positions_forward(e, table)[0], e + table)


@pytest.mark.parametrize(
    ("tokens", "words"), [(N + 1, f"{N + 1} tokens do not fit .*1 to {N} "), (0, "do not fit")]
)
def test_f18_more_tokens_than_positions_or_none_are_refused(tokens, words, normal):
    with pytest.raises(InputError, match=words):
        positions_forward(normal(size=(B, tokens, C)), normal(size=(N, C)))


def test_f18_widths_that_differ_are_named(normal):
    with pytest.raises(InputError, match=r"\(3, 5\).*\(7, 4\)"):
        positions_forward(normal(size=(T, C)), normal(size=(N, 4)))


@pytest.mark.parametrize("width", [1, 4, 5])
def test_f19_sinusoids_are_their_formula(width):
    table = sinusoidal_positions(N, width, np.float64)
    assert table.shape == (N, width)
    for t in range(N):
        for c in range(width):
            angle = t / 10000 ** ((c - c % 2) / width)
            close(table[t, c], math.cos(angle) if c % 2 else math.sin(angle))


def test_f19_the_product_of_two_positions_depends_on_their_distance_only():
    table = sinusoidal_positions(20, 8, np.float64)
    products = table @ table.T
    for distance in range(20):
        close(np.diag(products, distance), products[0, distance])
    assert np.ptp(products[0]) > 1


def test_f19_the_table_has_the_dtype_that_is_asked_for():
    assert sinusoidal_positions(T, 4).dtype == np.float32


# ---- F22: tanh -------------------------------------------------------------------------------


def test_f22_tanh_is_that_of_the_mathematics_library():
    close(tanh_forward(X)[0], [math.tanh(x) for x in X.tolist()])


# ---- F23: cross-entropy with label smoothing -------------------------------------------------

V = 7
TARGETS = np.array([[1, 6, IGNORE], [0, IGNORE, 1]])


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_f23_the_loss_is_the_cross_entropy_with_the_smoothed_truth(smoothing, normal):
    logits, nats = normal(size=(B, T, V)), []
    for n in np.ndindex(B, T):
        if TARGETS[n] != IGNORE:
            log_p = logits[n] - math.log(sum(math.exp(z) for z in logits[n]))
            q = [(1 - smoothing) * (w == TARGETS[n]) + smoothing / V for w in range(V)]
            nats.append(-sum(q[w] * log_p[w] for w in range(V)))
    loss, _ = smoothed_cross_entropy_forward(logits, TARGETS, smoothing)
    close(loss, math.fsum(nats) / len(nats))


def test_f23_without_smoothing_it_is_f5_to_the_last_bit(normal):
    logits = normal(size=(B, T, V))
    smoothed, smoothed_cache = smoothed_cross_entropy_forward(logits, TARGETS, 0.0)
    loss, cache = cross_entropy_forward(logits, TARGETS)
    assert smoothed == loss
    np.testing.assert_array_equal(
        smoothed_cross_entropy_backward(0.7, smoothed_cache), cross_entropy_backward(0.7, cache)
    )


def test_f23_the_loss_is_least_where_the_prediction_is_the_smoothed_truth(normal):
    q = np.full((1, V), 0.3 / V)
    q[0, 2] += 0.7
    least, cache = smoothed_cross_entropy_forward(np.log(q), np.array([2]), 0.3)
    close(least, -(q * np.log(q)).sum())
    close(smoothed_cross_entropy_backward(1.0, cache), np.zeros((1, V)))
    for _ in range(20):
        other = np.log(q) + normal(0.0, 0.1, (1, V))
        assert smoothed_cross_entropy_forward(other, np.array([2]), 0.3)[0] > least


def test_f23_each_row_of_the_gradient_sums_to_0_and_an_ignored_one_is_0(normal):
    _, cache = smoothed_cross_entropy_forward(normal(size=(B, T, V)), TARGETS, 0.2)
    dlogits = smoothed_cross_entropy_backward(-1.7, cache)
    close(dlogits.sum(axis=-1), np.zeros((B, T)))
    np.testing.assert_array_equal(dlogits.any(axis=-1), TARGETS != IGNORE)


def test_f23_loss_and_gradient_are_those_of_pytorch(normal):
    torch = pytest.importorskip("torch")
    logits = normal(size=(B, T, V))
    z = torch.tensor(logits, requires_grad=True)
    torch_loss = torch.nn.functional.cross_entropy(
        z.flatten(0, 1), torch.tensor(TARGETS).flatten(), label_smoothing=0.1
    )
    torch_loss.backward()
    loss, cache = smoothed_cross_entropy_forward(logits, TARGETS, 0.1)
    close(loss, torch_loss.item())
    close(smoothed_cross_entropy_backward(1.0, cache), z.grad.numpy())


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, math.nan])
def test_f23_a_share_outside_0_to_1_is_refused(smoothing, normal):
    with pytest.raises(InputError, match=r"^smoothing must be (at least 0 and|a finite)"):
        smoothed_cross_entropy_forward(normal(size=(B, T, V)), TARGETS, smoothing)
