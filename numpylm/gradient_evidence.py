"""A closer look at one entry, where the first look disagrees: what do the real numbers say of its
slope, how sure are they, and is a small difference more than rounding?
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .arrays import Array
from .gradient_questions import Asked, Terms, quietly

EPS = float(np.finfo(np.float64).eps)
SAFE = 30.0  # an error estimate is trusted up to this factor


class Slope(NamedTuple):
    """What real numbers say of dL/dx at one entry."""

    value: float
    error: float  # how far off it may be
    left: float  # the slopes of one side each
    right: float
    corner: bool  # they differ, however small the step
    size: float  # Σ|terms| that the entry moves: below ε size / |x| a slope is rounding


class Step(NamedTuple):
    """Differences at one step h."""

    h: float
    central: float
    left: float
    right: float
    noise: float  # of `central`, by rounding
    change: float  # |f(x + h) − f(x − h)|
    size: float


def along_entry(terms: Terms, x: Array, i: tuple[int, ...]) -> Callable[[float], Array]:
    """L's terms as a function of the number at entry i."""

    def g(t: float) -> Array:
        moved = x.copy()
        moved[i] = t
        return terms(moved)

    return g


def scale_of(x: Array) -> float:
    """A typical size of the entries, 1 if all are 0."""
    lengths = np.abs(x[x != 0])
    return float(np.median(lengths)) if lengths.size else 1.0


def slope_at(
    terms: Terms, base: Array, x: Array, i: tuple[int, ...], thorough: bool = False
) -> Slope:
    """The slope at entry i from a few steps; where they do not agree, from as many as it takes."""
    with quietly():
        g, here, scale = along_entry(terms, x, i), float(x[i]), scale_of(x)
        if not thorough and (found := _from_few_steps(g, here, base, scale)):
            return found
        return _from_many_steps(g, here, base, scale)


def refuting(
    terms: Terms, base: Array, x: Array, i: tuple[int, ...], claimed: float, central: float
) -> Slope | None:
    """The slope by a second step, if the two agree a thousand times better than with the claim.

    The second is no simple multiple of the other, so that they share no rounding.
    """
    with quietly():
        h = 1.9137e-5 * max(abs(float(x[i])), scale_of(x))
        step = _step(along_entry(terms, x, i), float(x[i]), base, h)
    error = abs(step.central - central) + step.noise
    gap = min(abs(claimed - step.central), abs(step.central))
    if 1000 * error < gap and abs(step.right - step.left) < 0.01 * gap:
        return Slope(step.central, error, step.left, step.right, False, step.size)
    return None


def _from_few_steps(g: Callable[..., Any], here: float, base: Array, scale: float) -> Slope | None:
    """Four steps of which none is a multiple of another, so that no rounding is common to all."""
    h = 1e-4 * max(abs(here), scale)
    steps = [_step(g, here, base, part * h) for part in (1, 0.87, 0.71, 0.19)]
    last, value = steps[-1], steps[-1].central
    gap = max(abs(step.central - value) for step in steps)
    wide, narrow = (abs(step.right - step.left) for step in (steps[0], last))
    smooth = narrow <= max(0.5 * wide, SAFE * last.noise) and narrow <= 1e-3 * abs(value)
    if value and smooth and gap <= 1e-7 * abs(value):
        return Slope(value, gap + last.noise, last.left, last.right, False, last.size)
    return None


def _step(g: Callable[..., Any], here: float, base: Array, h: float) -> Step:
    above, below = g(here + h), g(here - h)
    up, down = (here + h) - here, here - (here - h)  # the steps as float64 can make them
    moved = (above != base) | (below != base)
    change = float(np.sum(above - below))
    size = float(np.sum((np.abs(above) + np.abs(below))[moved])) / 2
    return Step(
        h,
        change / (up + down),
        float(np.sum(base - below)) / down,
        float(np.sum(above - base)) / up,
        4 * EPS * size / h,
        abs(change),
        size,
    )


def _from_many_steps(g: Callable[..., Any], here: float, base: Array, scale: float) -> Slope:
    """Steps from a quarter of x down to rounding, extrapolated; the most consistent one counts."""
    largest, smallest = max(abs(here), scale) / 4, 1e-11 * (abs(here) or scale)
    count = int(np.log(largest / smallest) / np.log(4)) + 1
    steps = [_step(g, here, base, largest / 4.0**n) for n in range(count)]
    steps = _with_grid(_with_scatter(steps))
    value, error, n = _extrapolated(steps)
    size = max((s.size for s in steps if np.isfinite(s.size)), default=0.0)
    if (m := _corner(steps)) is not None:
        return Slope(value, error, steps[m].left, steps[m].right, True, size)
    return Slope(value, error, steps[n].left, steps[n].right, False, size)


def _with_scatter(steps: list[Step]) -> list[Step]:
    """The rounding within the forward, as the smallest steps show it: a difference between one and
    the next that neither a slope explains, nor a jump."""
    pairs = list(zip(steps[-7:-1], steps[-6:], strict=True))
    scatter = [
        min(
            abs(this.central - last.central) * this.h,
            abs(this.central * this.h - last.central * last.h),
        )
        for last, this in pairs
    ]
    seen = 10 * min((one for one in scatter if 0 < one < np.inf), default=0.0)
    return [s._replace(noise=max(s.noise, seen / s.h)) for s in steps]


def _with_grid(steps: list[Step]) -> list[Step]:
    """Where small steps change nothing, because the result is too coarse, that is its rounding."""
    changes = [s.change for s in steps if s.change > 0]
    size = max((s.size for s in steps if np.isfinite(s.size)), default=0.0)
    if not changes or steps[-1].change > 0 or not min(changes) <= 1e-6 * size:
        return steps
    grid = min(changes)
    return [s._replace(noise=max(s.noise, grid / s.h)) for s in steps]


def _extrapolated(steps: list[Step]) -> tuple[float, float, int]:
    """Richardson's table: each column takes one more power of h² away. Its own differences are its
    error (Ridders, Advances in Engineering Software 4 (1982))."""
    found, before = [], [np.nan] * 4
    for n, step in enumerate(steps):
        row = [step.central]
        found.append((abs(row[0] - before[0]) + step.noise, row[0], n))
        for j in range(1, 4):
            row.append((16**j * row[j - 1] - before[j - 1]) / (16**j - 1))
            gap = max(abs(row[j] - row[j - 1]), abs(row[j] - before[j - 1]))
            found.append((gap + step.noise, row[j], n))
        before = row
    found = [(error, value, n) for error, value, n in found if np.isfinite(error)]
    if not found:
        return np.nan, np.inf, len(steps) - 1
    sure = [one for one in found if one[0] <= 0.01 * abs(one[1])]
    if sure:
        error, value, n = min(sure, key=lambda one: one[0] / abs(one[1]) if one[1] else 0.0)
    else:
        error, value, n = min(found)
    return value, error, n


def _corner(steps: list[Step]) -> int | None:
    """The step at which a left and a right slope are seen that do not meet; None if they do."""
    if _one_sided(steps):
        return len(steps) - 1
    bends = [s.right - s.left for s in steps]
    for m in range(len(steps) - 1, 2, -1):
        window = range(m - 3, m + 1)
        if not all(abs(bends[n]) > SAFE * steps[n].noise for n in window):
            continue
        if not abs(bends[m]) > max(0.5 * abs(bends[m - 3]), 1e-7 * abs(steps[m].right)):
            continue
        vanished = (
            abs(bends[n]) < 0.2 * abs(bends[m]) and SAFE * steps[n].noise < abs(bends[m])
            for n in range(m + 1, len(steps))
        )
        if _steady(steps, bends, m) and not any(vanished):
            return m
    return None


def _steady(steps: list[Step], bends: list[float], m: int) -> bool:
    """Both slopes stay, or their difference grows by the same factor with each step."""
    last, this = steps[m - 1], steps[m]
    drift = max(abs(this.left - last.left), abs(this.right - last.right))
    growth = [bends[n] / bends[n - 1] for n in range(m - 2, m + 1)]
    jump = abs(bends[m]) * this.h  # no smaller than what could be rounding within the forward
    grows = min(growth) > max(0.8 * max(growth), 1.0) and jump > 1e-7 * this.size
    return drift < 0.2 * abs(bends[m]) or grows


def _one_sided(steps: list[Step]) -> bool:
    """Whether the forward is defined on one side alone."""
    small = steps[-5:]
    left, right = (
        [bool(np.isfinite(getattr(s, side))) for s in small] for side in ("left", "right")
    )
    return (all(left) and not any(right)) or (all(right) and not any(left))


# ---- rounding --------------------------------------------------------------------------------


def complex_slope(terms: Terms, x: Array, i: tuple[int, ...]) -> tuple[Any, float]:
    """The complex step at entry i, and Σ|terms| that the entry moves."""
    z = x.astype(np.result_type(x, np.complex64))
    h = 1e-30 * min(1.0, float(abs(x[i])) or 1.0)
    z[i] = complex(x[i], h)
    with quietly():
        moved = terms(z)
    touched = np.abs(moved.real[moved.imag != 0])
    return np.sum(moved).imag / h, float(np.sum(touched))


def more_digits(asked: Asked, k: int, i: tuple[int, ...], gap: float) -> str:
    """With the three digits more of long doubles: is a gap "rounding", which they shrink, or the
    "formula", which they leave? "" where they are not to be had, or show neither."""
    if np.finfo(np.longdouble).eps > 1e-18:
        return ""
    values = [x.astype(np.longdouble) for x in asked.values]
    longer = asked.at(values, None)
    try:
        with quietly():
            mine = np.asarray(longer.gradients()[k])
            numeric, _ = complex_slope(longer.along(k, np.clongdouble), values[k], i)
    except Exception:  # not every function takes them
        return ""
    if mine.dtype != np.longdouble or np.asarray(numeric).dtype != np.longdouble:
        return ""
    left = abs(mine[i] - numeric)
    return "rounding" if left <= 0.05 * abs(gap) else "formula" if left >= 0.5 * abs(gap) else ""


def deviations(
    asked: Asked, k: int, i: tuple[int, ...], first: float, reference: float | None
) -> list[float]:
    """analytic − numeric, again, at points that differ in the last digits alone.

    A wrong formula is wrong by the same amount there; rounding is not. reference is the slope where
    there is no complex step, whose own last digits matter less.
    """
    rng, found = np.random.default_rng(5), []
    with quietly():
        for _ in range(6):
            values = [x * (1 + 2.0**-44 * rng.uniform(-1, 1, x.shape)) for x in asked.values]
            near = asked.at(values, rng)
            try:
                mine = float(np.asarray(near.gradients()[k])[i])
                numeric = reference
                if numeric is None:
                    numeric = complex_slope(near.along(k, np.complex128), values[k], i)[0]
                found.append(mine - numeric)
                if len(found) == 2 and _steadily(first, found):
                    break
            except Exception:  # this close it is the same code: then there is nothing to learn
                continue
    return found


def _steadily(first: float, others: list[float]) -> bool:
    return all(abs(one - first) <= 1e-3 * abs(first) for one in others)


def is_rounding(first: float, others: list[float]) -> bool:
    """Whether differences scatter around 0, as rounding does."""
    every = np.array([first, *others])
    if _steadily(first, others) or len(every) < 4 or not np.isfinite(every).all():
        return False
    return bool((every > 0).any() and (every < 0).any()) or bool(
        np.abs(every).min() < 0.5 * np.abs(every).max()
    )
