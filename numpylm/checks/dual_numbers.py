"""Dual numbers: a value, and its slope along one direction.

Sums, products and the slopes of exp, log, √, erf and tanh carry both through a formula:

    (x, ẋ) + (y, ẏ) = (x + y, ẋ + ẏ)    (x, ẋ)(y, ẏ) = (xy, ẋy + xẏ)    f(x, ẋ) = (f(x), f'(x) ẋ)

So a formula yields J v: how its result changes if its arguments move along v. It is exact, and
walks forwards, where a backward yields Jᵀu.

Source: Griewank and Walther 2008, Evaluating Derivatives, chapter 3 (forward mode).
"""

import math
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from ..arrays import Array


class Dual:
    """value + slope, two arrays of the same shape."""

    __array_ufunc__ = None  # so that array * dual asks the dual

    def __init__(self, value: Any, slope: Any = None):
        self.value = np.asarray(value, np.float64)
        self.slope = np.zeros_like(self.value) if slope is None else slope

    def __add__(self, other: Any) -> "Dual":
        other = dual(other)
        return Dual(self.value + other.value, self.slope + other.slope)

    def __mul__(self, other: Any) -> "Dual":
        other = dual(other)
        return Dual(self.value * other.value, self.slope * other.value + self.value * other.slope)

    def __pow__(self, n: int) -> "Dual":
        return Dual(self.value**n, n * self.value ** (n - 1) * self.slope)

    def __sub__(self, other: Any) -> "Dual":
        return self + -1 * dual(other)

    def __truediv__(self, other: Any) -> "Dual":
        return self * dual(other) ** -1

    __radd__, __rmul__ = __add__, __mul__

    def each(self, linear: Callable[[Array], Array]) -> Self:
        """A linear map of value and slope alike: a sum, a slice, another shape."""
        return type(self)(linear(self.value), linear(self.slope))

    def __getitem__(self, key: Any) -> "Dual":
        return self.each(lambda x: x[key])

    def sum(self, axis: int = -1) -> "Dual":
        return self.each(lambda x: x.sum(axis=axis, keepdims=True))


def dual(x: Any) -> Dual:
    return x if isinstance(x, Dual) else Dual(x)


def einsum(indices: str, x: Any, y: Any) -> Dual:
    """The product rule for every product of two arrays."""
    x, y = dual(x), dual(y)
    slope = np.einsum(indices, x.slope, y.value) + np.einsum(indices, x.value, y.slope)
    return Dual(np.einsum(indices, x.value, y.value), slope)


def concatenate(parts: list[Dual]) -> Dual:
    values, slopes = ([getattr(p, name) for p in parts] for name in ("value", "slope"))
    return Dual(np.concatenate(values, axis=-1), np.concatenate(slopes, axis=-1))


def _function(f: Callable[..., Any], slope: Callable[..., Any]) -> Callable[[Dual], Dual]:
    return lambda x: Dual(f(x.value), slope(x.value) * x.slope)


exp = _function(np.exp, np.exp)
log = _function(np.log, lambda x: 1 / x)
sqrt = _function(np.sqrt, lambda x: 0.5 / np.sqrt(x))
erf = _function(np.vectorize(math.erf), lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x))
