"""Answers of a function to the probes, and how far apart two of them are."""

from typing import Any

import numpy as np

from ..arrays import Array
from .diagnose_cases import Failure

EXACT = 1e-11  # float64 in another order of summation: about 1e-15 is seen
FLOAT32 = 5e-5  # the same in float32: about 1e-6 is seen
CLOSER = 1e-3  # a mistake explains an answer if it is this much nearer to it than the right one
HALF = 1e-2  # and in float16
FLOOR = 1e-3  # of the size of an array, so that zeros can be compared
Answers = list[Any]  # arrays by name, a Failure, or None: not looked at


def distance_of(mine: Answers, other: Answers, right: Answers) -> float:
    """The largest difference, relative to the size of the right array; inf for another shape."""
    return max(map(apart, mine, other, right), default=0.0)


def apart(mine: Any, other: Any, right: Any) -> float:
    if mine is None:
        return 0.0
    if isinstance(mine, Failure) or isinstance(other, Failure):
        same = isinstance(mine, Failure) and isinstance(other, Failure) and mine.kind == other.kind
        return 0.0 if same else np.inf
    if set(mine) != set(other):
        return np.inf
    return max((gap_of(mine[n], other[n], right.get(n)) for n in mine), default=0.0)


def gap_of(mine: Array, other: Array, right: Array | None) -> float:
    if mine.shape != other.shape:
        return np.inf
    if np.array_equal(mine, other):
        return 0.0
    size = np.max(np.abs(other if right is None else right), initial=0.0) + FLOOR
    with np.errstate(all="ignore"):
        gap = np.abs(np.subtract(mine, other, dtype=np.float64))
    gap = np.where((mine == other) | (np.isnan(mine) & np.isnan(other)), 0.0, gap)
    return float(np.max(np.where(np.isnan(gap), np.inf, gap), initial=0.0) / size)


def explains(gap: float, distance: float) -> bool:
    """Exactly; or to float32, if the mistake is so much nearer that it cannot be rounding."""
    return gap <= max(EXACT, min(FLOAT32, CLOSER * distance))


def tolerance_of(x: Array) -> float:
    """How far an array may be from the right one: its dtype decides."""
    return {"float32": FLOAT32, "float16": HALF}.get(x.dtype.name, EXACT)


def fine(mine: Any, right: Any) -> bool:
    """Whether an answer to one probe is right, but for the rounding of its dtypes."""
    if mine is None:
        return True
    if isinstance(mine, Failure) or isinstance(right, Failure):
        return apart(mine, right, right) == 0.0
    if set(mine) != set(right):
        return False
    return all(gap_of(mine[n], right[n], right[n]) <= tolerance_of(mine[n]) for n in mine)


def fits(mine: Any, right: Any) -> bool:
    """Whether an answer can be compared number by number."""
    if isinstance(mine, Failure) or isinstance(right, Failure) or set(mine) != set(right):
        return False
    return all(mine[n].shape == right[n].shape for n in mine)


def looked_at(mine: Answers, right: Answers) -> list[tuple[Any, Any]]:
    return [(m, r) for m, r in zip(mine, right, strict=True) if m is not None]
