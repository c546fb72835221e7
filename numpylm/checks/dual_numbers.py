"""Dual numbers: a value, and its slope along one direction.

Sums, products and the slopes of exp, log, √, erf and tanh carry both through a formula:

    (x, ẋ) + (y, ẏ) = (x + y, ẋ + ẏ)    (x, ẋ)(y, ẏ) = (xy, ẋy + xẏ)    f(x, ẋ) = (f(x), f'(x) ẋ)

So a formula yields J v: how its result changes if its arguments move along v. It is exact, and
walks forwards, where a backward yields Jᵀu.

Source: Griewank and Walther 2008, Evaluating Derivatives, chapter 3 (forward mode).

A formula may say what it calls a number, and by which ID: `x.called("F2", "c")`. Dual numbers do
not listen; those of inside/traces.py remember it, and so can say where a number comes from.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, Self

import numpy as np

from ..arrays import Array


class Function(NamedTuple):
    """A function of one number, and its derivative."""

    name: str
    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]


class Dual:
    """value + slope, two arrays of the same shape."""

    __array_ufunc__ = None  # so that array * dual asks the dual

    def __init__(self, value: Any, slope: Any = None):
        self.value = np.asarray(value, np.float64)
        self.slope = np.zeros_like(self.value) if slope is None else slope

    def constant(self, x: Any) -> "Dual":
        """x as a number of the same kind as this one."""
        return dual(x)

    def __add__(self, other: Any) -> "Dual":
        other = dual(other)
        return Dual(self.value + other.value, self.slope + other.slope)

    def __mul__(self, other: Any) -> "Dual":
        other = dual(other)
        return Dual(self.value * other.value, self.slope * other.value + self.value * other.slope)

    def __pow__(self, n: int) -> "Dual":
        return Dual(self.value**n, n * self.value ** (n - 1) * self.slope)

    def __sub__(self, other: Any) -> "Dual":
        result: Dual = self + -1 * self.constant(other)
        return result

    def __truediv__(self, other: Any) -> "Dual":
        result: Dual = self * self.constant(other) ** -1
        return result

    def __radd__(self, other: Any) -> "Dual":
        result: Dual = self + other
        return result

    def __rmul__(self, other: Any) -> "Dual":
        result: Dual = self * other
        return result

    def each(self, linear: Callable[[Array], Array]) -> Self:
        """A linear map of value and slope alike: a sum, a slice, another shape."""
        return type(self)(linear(self.value), linear(self.slope))

    def __getitem__(self, key: Any) -> Self:
        return self.each(lambda x: x[key])

    def sum(self, axis: int = -1) -> Self:
        return self.each(lambda x: x.sum(axis=axis, keepdims=True))

    def total(self) -> Self:
        """The sum of all entries, without an axis."""
        return self.each(np.sum)

    def product(self, indices: str, other: Any) -> "Dual":
        """The product rule for every product of two arrays."""
        slope = np.einsum(indices, self.slope, other.value)
        slope = slope + np.einsum(indices, self.value, other.slope)
        return Dual(np.einsum(indices, self.value, other.value), slope)

    def joined(self, parts: list[Any]) -> "Dual":
        """This and `parts` side by side, along the last axis."""
        values, slopes = ([getattr(p, n) for p in (self, *parts)] for n in ("value", "slope"))
        return Dual(np.concatenate(values, axis=-1), np.concatenate(slopes, axis=-1))

    def through(self, function: Function) -> "Dual":
        return Dual(function.value(self.value), function.slope(self.value) * self.slope)

    def called(self, formula: str, name: str) -> Self:
        """What the formula with this ID calls the number; `within` says of which part it is."""
        return self


def dual(x: Any) -> Dual:
    return x if isinstance(x, Dual) else Dual(x)


def einsum(indices: str, x: Any, y: Any) -> Dual:
    kind = x if isinstance(x, Dual) else dual(y)
    return kind.constant(x).product(indices, kind.constant(y))


def concatenate(parts: list[Dual]) -> Dual:
    return parts[0].joined(parts[1:])


def _function(
    name: str, value: Callable[..., Any], slope: Callable[..., Any]
) -> Callable[[Dual], Dual]:
    return lambda x: x.through(Function(name, value, slope))


exp = _function("exp", np.exp, np.exp)
log = _function("log", np.log, lambda x: 1 / x)
sqrt = _function("sqrt", np.sqrt, lambda x: 0.5 / np.sqrt(x))
tanh = _function("tanh", np.tanh, lambda x: 1 / np.cosh(x) ** 2)
erf = _function(
    "erf", np.vectorize(math.erf, otypes=[float]), lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x)
)

PART: ContextVar[str] = ContextVar("PART", default="")


@contextmanager
def within(part: str) -> Iterator[None]:
    """What is called by a name in here belongs to this part, as "block0.attention.q"."""
    before = PART.set(f"{PART.get()}{part}.")
    try:
        yield
    finally:
        PART.reset(before)
