"""arrays.py: every idiom against the plain words for it, in every dtype and at every size."""

import math

import numpy as np
import pytest

from numpylm.arrays import (
    _gauss_terms,
    as_rows,
    below_max,
    column_dot,
    column_sum,
    erf,
    masked,
    or_one,
    product,
    row_dot,
    row_max,
    row_mean,
    row_sum,
    squared,
    sum_by_id,
)

DTYPES = [np.float32, np.float64, np.complex128]
# Sums of a few dozen numbers near 1, each rounded once; float32 rounds by 6e-8.
ROUNDING = {np.float32: 1e-5, np.float64: 1e-13, np.complex128: 1e-13}
SHAPES = [(5,), (1,), (1, 1), (3, 5), (2, 3, 5), (2, 1, 3, 1), (0, 5), (2, 0, 5)]

ERF_ERROR = 1e-14  # what its docstring promises; 2e-15 is seen
ERF_ERROR_FLOAT32 = 1e-6  # 24 roundings of 6e-8 at most; 4e-7 is seen
X = np.linspace(-8, 8, 201)


def numbers(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    return (x + 1j * rng.normal(size=shape) if dtype == np.complex128 else x).astype(dtype)


def close(actual, expected, dtype):
    assert actual.dtype == dtype
    assert actual.shape == np.shape(expected)
    np.testing.assert_allclose(actual, expected, rtol=ROUNDING[dtype], atol=ROUNDING[dtype])


every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_shape = pytest.mark.parametrize("shape", SHAPES)


# ---- rows ------------------------------------------------------------------------------------


@every_dtype
@every_shape
def test_what_is_said_of_a_row_is_true_of_every_row(shape, dtype):
    x, y = numbers(shape, dtype), numbers(shape, dtype, 1)
    close(row_sum(x), x.sum(axis=-1, keepdims=True), dtype)
    close(row_mean(x), x.mean(axis=-1, keepdims=True), dtype)
    close(row_dot(x, y), (x * y).sum(axis=-1, keepdims=True), dtype)  # no conjugate
    top = row_max(x)
    assert top.dtype == x.real.dtype
    np.testing.assert_array_equal(top, x.real.max(axis=-1, keepdims=True))


@every_dtype
@every_shape
def test_what_is_said_of_a_column_takes_all_rows(shape, dtype):
    x, y = numbers(shape, dtype), numbers(shape, dtype, 1)
    axes = tuple(range(len(shape) - 1))
    close(column_sum(x), x.sum(axis=axes), dtype)
    close(column_dot(x, y), (x * y).sum(axis=axes), dtype)
    rows = as_rows(x)
    assert rows.shape == (math.prod(shape[:-1]), shape[-1])
    assert np.shares_memory(rows, x) or not x.size


@every_dtype
@every_shape
def test_a_product_meets_every_row(shape, dtype):
    x, w = numbers(shape, dtype), numbers((shape[-1], 4), dtype, 1)
    close(product(x, w), np.einsum("...i,io->...o", x, w), dtype)
    close(product(x, w.T.copy().T), np.einsum("...i,io->...o", x, w), dtype)


def test_the_maximum_of_a_row_may_be_infinite_or_nan():
    x = np.array([[-np.inf, -np.inf], [np.inf, 0], [np.nan, 1]])
    np.testing.assert_array_equal(row_max(x), [[-np.inf], [np.inf], [np.nan]])


def test_rows_that_are_not_contiguous_are_those_one_sees():
    x = np.arange(24.0).reshape(2, 3, 4).swapaxes(0, 1)[:, :, ::-1]
    np.testing.assert_array_equal(row_max(x), x.max(axis=-1, keepdims=True))
    np.testing.assert_array_equal(column_sum(x), x.sum(axis=(0, 1)))


# ---- rows added by id ------------------------------------------------------------------------


def by_add_at(x, ids, V):
    table = np.zeros((V, x.shape[-1]), np.result_type(x, np.float64))
    np.add.at(table, ids, x)
    return table


# The ids are sorted in the smallest dtype that holds V: around 256 and 65,536 it changes. One that
# is too small would take a word for another whose id differs by as much.
@pytest.mark.parametrize("V", [1, 2, 255, 256, 257, 300, 65_535, 65_536, 65_537, 70_000])
@every_dtype
def test_every_id_gets_the_sum_of_its_rows(V, dtype):
    rng = np.random.default_rng(V)
    ends = [0, V - 1, min(V - 1, 44), V - 1]  # the last id, and the one it would wrap to
    ids = np.concatenate([ends, rng.integers(0, V, 400), rng.integers(max(0, V - 5), V, 36)])
    x = numbers((len(ids), 3), dtype)
    close(sum_by_id(x, ids, V), by_add_at(x, ids, V), dtype)
    close(sum_by_id(x.reshape(8, 55, 3), ids.reshape(8, 55), V), by_add_at(x, ids, V), dtype)


@pytest.mark.parametrize("shape", [(), (1,), (6, 7)])
def test_ids_may_have_any_axes(shape):
    ids, x = np.random.default_rng(1).integers(0, 5, shape), numbers((*shape, 3), np.float64)
    close(sum_by_id(x, ids, 7), by_add_at(x, ids, 7), np.float64)


def test_no_ids_add_nothing():
    assert not sum_by_id(np.zeros((0, 3)), np.zeros(0, np.intp), 5).any()


# ---- softmax ---------------------------------------------------------------------------------


@every_dtype
@pytest.mark.parametrize("shape", [(5,), (1, 5), (3, 1), (2, 1, 5), (2, 3, 5)])
def test_a_mask_leaves_what_it_allows_and_nothing_else(shape, dtype):
    s = numbers((2, 3, 5), dtype)
    mask = np.random.default_rng(2).random(shape) < 0.5
    expected = np.where(mask, s, s.real.dtype.type(-np.inf))
    found = masked(s, mask)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, expected)
    assert masked(s, None) is s


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@every_dtype
def test_what_a_mask_forbids_may_be_anything(bad, dtype):
    s = np.array([1, bad], dtype)
    np.testing.assert_array_equal(masked(s, np.array([True, False])), np.array([1, -np.inf], dtype))


@every_dtype
@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 1), (0, 5)])
def test_no_row_exceeds_0_and_a_row_of_minus_infinity_remains_one(shape, dtype):
    z = numbers(shape, dtype)
    z[..., :1].real[...] -= 1
    if len(z):
        z.reshape(-1, shape[-1])[-1] = -np.inf
    found = below_max(z)
    assert found.dtype == dtype and not np.shares_memory(found, z)
    with np.errstate(invalid="ignore"):
        expected = z - z.real.max(axis=-1, keepdims=True)
    expected[np.isneginf(z.real)] = z[np.isneginf(z.real)]
    np.testing.assert_array_equal(found, expected)


@every_dtype
def test_only_zeros_become_one(dtype):
    x = np.array([0, -0.0, 2, -3, 1e-30], dtype)
    found = or_one(x)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, np.array([1, 1, 2, -3, 1e-30], dtype))


# ---- functions that NumPy lacks --------------------------------------------------------------


@every_dtype
@pytest.mark.parametrize("shape", [(), *SHAPES])
def test_a_square_is_an_array_of_its_own(shape, dtype):
    x = np.asarray(numbers(shape, dtype))
    found = squared(x)
    assert isinstance(found, np.ndarray) and not np.shares_memory(found, x)
    close(found, x * x, dtype)


def test_erf_agrees_with_the_mathematics_library():
    x = np.concatenate([X, [5.999999, 6.0, -6.0, 1e-300, 0.0, math.inf, -math.inf]])
    assert np.abs(erf(x) - [math.erf(number) for number in x.tolist()]).max() < ERF_ERROR


def test_two_nodes_integrate_a_parabola_from_0_to_1():
    """Σ_k (2w_k/√π) = 2/√π ∫ 1 ds    Σ_k (2w_k/√π) (−s_k²) = 2/√π ∫ −s² ds = −2/(3√π)"""
    minus_s2, weights = np.array(_gauss_terms(2)).T
    assert weights.sum() == pytest.approx(2 / math.sqrt(math.pi), rel=1e-14)
    assert minus_s2 @ weights == pytest.approx(-2 / (3 * math.sqrt(math.pi)), rel=1e-14)


def test_erf_of_complex_numbers_has_the_right_slope():
    slope = erf(X + 1e-30j).imag / 1e-30
    assert np.abs(slope - 2 / math.sqrt(math.pi) * np.exp(-X * X)).max() < ERF_ERROR


def test_erf_keeps_float32_and_its_accuracy():
    x = X.astype(np.float32)
    assert erf(x).dtype == np.float32
    assert np.abs(erf(x) - [math.erf(number) for number in x.tolist()]).max() < ERF_ERROR_FLOAT32


def test_erf_passes_nan_on():
    assert np.isnan(erf(np.array([math.nan]))).all()


def test_erf_of_one_number_and_of_none():
    close(erf(np.array(0.5)), math.erf(0.5), np.float64)
    assert erf(np.zeros((2, 0), np.float32)).shape == (2, 0)
