"""NumPy idioms with speaking names: what is faster than it looks, or is missing.

Letters: n counts the rows, which are all axes but the last taken together; r counts along a row.
Nothing here checks its arguments: arguments.py has done so.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike as ArrayLike
from numpy.typing import DTypeLike as DTypeLike
from numpy.typing import NDArray

Array = NDArray[Any]  # of any dtype: arguments.py refuses what cannot be used
Cache = tuple[Any, ...]  # what a forward keeps for its backward
Rng = np.random.Generator


# ---- rows ------------------------------------------------------------------------------------


def as_rows(x: Array) -> Array:
    """The same numbers as a matrix, one row for each vector.   (..., C) -> (N, C)"""
    return x.reshape(-1, x.shape[-1])


def product(x: Array, w: Array) -> Array:
    """x w for every row of x, as one call of the BLAS.   (..., I), (I, O) -> (..., O)"""
    return (as_rows(x) @ w).reshape(*x.shape[:-1], w.shape[1])


def row_sum(x: Array) -> Array:
    """Σ_r x_r.   (..., C) -> (..., 1)   For short rows einsum takes a third of the time of sum."""
    total: Array = np.einsum("...r->...", x)[..., None]
    return total


def row_mean(x: Array) -> Array:
    """1/C Σ_r x_r.   (..., C) -> (..., 1)"""
    mean: Array = row_sum(x) / x.shape[-1]
    return mean


def row_dot(x: Array, y: Array) -> Array:
    """Σ_r x_r y_r, without an array of the products.   (..., C), (..., C) -> (..., 1)"""
    dots: Array = np.einsum("...r,...r->...", x, y)[..., None]
    return dots


def row_max(x: Array) -> Array:
    """max_r x_r of the real parts.   (..., C) -> (..., 1)

    reduceat is told where each row begins: for short rows it takes half of the time of max.
    """
    starts = np.arange(0, x.size, x.shape[-1])
    return np.maximum.reduceat(x.real.ravel(), starts).reshape(*x.shape[:-1], 1)


def column_sum(x: Array) -> Array:
    """Σ_n x_nr.   (..., C) -> (C,)"""
    result: Array = as_rows(x).sum(axis=0)
    return result


def column_dot(x: Array, y: Array) -> Array:
    """Σ_n x_nr y_nr, without an array of the products.   (..., C), (..., C) -> (C,)"""
    result: Array = np.einsum("nr,nr->r", as_rows(x), as_rows(y))
    return result


def sum_by_id(x: Array, ids: Array, V: int) -> Array:
    """table_w = Σ_{i: ids_i = w} x_i.   x (..., C)   ids (...) in [0, V)  ->  (V, C)

    `table[ids] += x` would keep only the last x of an id. Sorting puts equal ids next to one
    another, and reduceat adds each run: the sum of np.add.at, in less time.
    """
    table = np.zeros((V, x.shape[-1]), x.dtype)
    small = ids.astype(np.min_scalar_type(V))  # up to 16 bits NumPy sorts by digits
    order = np.argsort(small, axis=None, kind="stable")
    counts = np.bincount(ids.ravel(), minlength=V)
    found = np.flatnonzero(counts)
    starts = np.cumsum(counts)[found] - counts[found]
    table[found] = np.add.reduceat(as_rows(x).take(order, axis=0), starts, axis=0)
    return table


# ---- softmax ---------------------------------------------------------------------------------


def masked(s: Array, mask: Array | None) -> Array:
    """s where mask is True (or None), −∞ elsewhere.   s (..., S)   mask broadcast to s

    fmin passes over nan, so a nan allows and −∞ forbids: for float32 and a mask that is broadcast
    that takes a quarter of the time of where. A nan or +∞ that is forbidden does no harm.
    """
    if mask is None:
        return s
    real = s.real.dtype.type
    result: Array = np.fmin(s, np.where(mask, real(np.nan), real(-np.inf)))
    return result


LOWEST = {np.dtype(t): np.finfo(t).min for t in (np.float32, np.float64)}


def below_max(s: Array) -> Array:
    """s_j − max_l s_l, a new array, in which exp cannot overflow. A row of −∞ remains one."""
    top = row_max(s)
    return s - np.maximum(top, LOWEST[top.dtype])


def or_one(x: Array) -> Array:
    """x, with 1 in place of 0: a divisor that leaves a row of zeros unchanged."""
    return np.where(x == 0, x.dtype.type(1), x)


# ---- functions that NumPy lacks --------------------------------------------------------------


def squared(x: Array) -> Array:
    """x², a new array also where x has no axis: x * x would be a number then."""
    return np.multiply(x, x, out=np.empty(x.shape, x.dtype))


def _gauss_terms(n: int) -> list[tuple[float, float]]:
    """(−s², 2w/√π) for the n nodes s and weights w of Gauss and Legendre on (0, 1)."""
    s, w = np.polynomial.legendre.leggauss(n)
    s, w = (s + 1) / 2, w / 2
    return list(zip((-s * s).tolist(), (w * 2 / math.sqrt(math.pi)).tolist(), strict=True))


ERF_TERMS = _gauss_terms(24)  # 20 leave an error of 1e-14, 24 only rounding, 2e-15
ERF_END = 6.0  # beyond it, ±1 is right to 2e-17
ERF_TERMS_FLOAT32, ERF_END_FLOAT32 = _gauss_terms(10), 4.0  # an error of 3e-7, mostly rounding


def erf(x: Array) -> Array:
    """erf(x) = 2/√π ∫_0^x exp(−t²) dt, within 1e-14 (float32: 1e-6).   x (...)  ->  (...)

    With t = s x the integral runs from 0 to 1 for every x, and Gauss's quadrature makes it a sum:
    erf(x) = x 2/√π ∫_0^1 exp(−s² x²) ds = x Σ_n (2w_n/√π) exp(−s_n² x²).
    """
    single = x.dtype == np.float32
    end = ERF_END_FLOAT32 if single else ERF_END
    inside = (x.real > -end) & (x.real < end)
    z = np.where(inside, x, x.dtype.type(0))
    square, term = squared(z), np.empty_like(z)
    total = np.zeros_like(z)
    for minus_s2, weight in ERF_TERMS_FLOAT32 if single else ERF_TERMS:
        np.multiply(square, minus_s2, out=term)
        np.exp(term, out=term)
        term *= weight
        total += term
    total *= z
    return np.where(inside, total, np.sign(x.real))
