"""What turns the expected numbers into those of an answer: one sentence for all cases at once.

    relation([Pair(mine, expected, args), …])     "the logarithm is to base 2: …"

A relation is stated only if it holds for every number of every case, and a size is named only if it
is the factor in cases of different sizes. Where nothing simple fits, the answer is "".
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray

EXACT = 1e-9  # of the largest number of a case: rounding is about 1e-15
SMALL = 1e-12  # what counts as 0


class Pair(NamedTuple):
    """One case: what came, what was expected, and the arguments by name, whose sizes may matter."""

    mine: Array
    expected: Array
    args: dict[str, Any] = {}  # noqa: RUF012  never changed


def relation(pairs: Sequence[Pair], tolerance: float = EXACT) -> str:
    """The one relation that holds in every case, in words; "" where there is none."""
    with np.errstate(all="ignore"):
        found = _of_shapes(pairs, tolerance)
        if not found and all(mine.shape == expected.shape for mine, expected, _ in pairs):
            found = _of_numbers(pairs, tolerance)
    return found


def alike(x: Array, y: Array, tolerance: float = EXACT) -> bool:
    """Equal but for rounding, whatever stands in them."""
    if x.shape != y.shape:
        return False
    with np.errstate(all="ignore"):
        size = np.max(np.abs(y), initial=0.0, where=np.isfinite(y)) + SMALL
        gap = np.abs(x - y)
    return bool(np.all((gap <= tolerance * size) | (x == y) | (np.isnan(x) & np.isnan(y))))


# ---- relations between numbers ---------------------------------------------------------------

CHANGES: dict[str, Callable[[Array], Array]] = {
    "the sign is wrong: every number is the negative of the expected one": lambda x: -x,
    "every number is 1 too large: it is off by one": lambda x: x + 1,
    "every number is 1 too small: it is off by one": lambda x: x - 1,
    "True and False (1 and 0) are exchanged": lambda x: np.where(
        (x == 0) | (x == 1), 1 - x, np.nan
    ),
    "every number x is turned into 1 − x": lambda x: 1 - x,
    "every number is the reciprocal of the expected one: the fraction is upside down": (
        lambda x: 1 / x
    ),
    "every number is the square of the expected one: a square root is missing": lambda x: x * x,
    "every number is the square root of the expected one: that root is one too many": np.sqrt,
    "every number x is turned into e^x: one np.exp too many, or a missing np.log": np.exp,
    "every number x is turned into ln x: one np.log too many, or a missing np.exp": np.log,
    "every number x is turned into −ln x: one −np.log too many": lambda x: -np.log(x),
    "every number x is turned into e^−x: the sign within np.exp is wrong, or a −np.log is "
    "missing": (lambda x: np.exp(-x)),
    "2 is raised to a power where e is expected: np.exp, not 2**": lambda x: x ** math.log(2),
    "10 is raised to a power where e is expected: np.exp, not 10**": lambda x: x ** math.log(10),
    "every number has lost its sign": np.abs,
    "every number is cut to an integer: / is expected where // or int stands": np.floor,
    "every number is rounded": np.round,
    "it is transposed: the last two axes are exchanged": lambda x: (
        x.swapaxes(-1, -2) if x.ndim > 1 else x
    ),
    "the order along the last axis is reversed": lambda x: x[..., ::-1] if x.ndim else x,
    "the order along the first axis is reversed": lambda x: x[::-1] if x.ndim else x,
    "everything stands one place too far on along the last axis: it is off by one": (
        lambda x: np.roll(x, 1, -1) if x.ndim else x
    ),
    "everything stands one place too early along the last axis: it is off by one": (
        lambda x: np.roll(x, -1, -1) if x.ndim else x
    ),
    "everything stands one place too far on along the first axis: it is off by one": (
        lambda x: np.roll(x, 1, 0) if x.ndim else x
    ),
    "everything stands one place too early along the first axis: it is off by one": (
        lambda x: np.roll(x, -1, 0) if x.ndim else x
    ),
    "it is summed up along the last axis: a cumulative sum too many": (
        lambda x: np.cumsum(x, -1) if x.ndim else x
    ),
}


def _of_numbers(pairs: Sequence[Pair], tolerance: float) -> str:
    for words, change in CHANGES.items():
        changed = [change(expected) for _, expected, _ in pairs]
        if _all_alike([p.mine for p in pairs], changed, tolerance) and not _all_alike(
            changed, [p.expected for p in pairs], tolerance
        ):
            return words
    return (
        _factor(pairs, tolerance)
        or _normalised(pairs, tolerance)
        or _offset(pairs, tolerance)
        or _another_order(pairs, tolerance)
    )


def _all_alike(xs: Sequence[Array], ys: Sequence[Array], tolerance: float) -> bool:
    finite = all(np.isfinite(y).all() for y in ys)
    return finite and all(alike(x, y, tolerance) for x, y in zip(xs, ys, strict=True))


LOGARITHMS = {
    1 / math.log(2): "the logarithm is to base 2: np.log is expected, for nats",
    1 / math.log(10): "the logarithm is to base 10: np.log is expected, for nats",
    math.log(2): "a logarithm is multiplied by ln 2, or to base 2 where base e is divided out",
}


def _factor(pairs: Sequence[Pair], tolerance: float) -> str:
    """Every number times one factor in each case."""
    factors, told = [], []
    for pair in pairs:
        if not np.abs(pair.expected).max(initial=0.0) > SMALL:
            if np.abs(pair.mine).max(initial=0.0) > SMALL:
                return ""
            continue
        r = float(np.sum(pair.mine * pair.expected) / np.sum(pair.expected**2))
        if not np.isfinite(r) or not alike(pair.mine, r * pair.expected, tolerance):
            return ""
        factors.append(r)
        told.append(pair)
    if not factors or sum(pair.expected.size for pair in told) < 2:
        return ""
    if np.ptp(factors) <= tolerance * max(map(abs, factors)):
        r = factors[0]
        if abs(r) < SMALL:
            return "every number is 0"
        for c, words in LOGARITHMS.items():
            if abs(abs(r) - c) < 1e-9:
                return words + (", and the sign is wrong" if r < 0 else "")
        return f"every number is exactly {times(r)}"
    for what, sizes in sizes_of(told):
        if min(sizes) <= 0:
            continue
        for power, how in ((1, "large"), (-1, "small"), (0.5, "large"), (-0.5, "small")):
            if all(
                abs(r - n**power) < 1e-9 * n**power for r, n in zip(factors, sizes, strict=True)
            ):
                root = "√" if abs(power) == 0.5 else ""
                return f"every number is {root}{what} times too {how}" + (
                    SUM[how] if not root else ""
                )
    return ""


SUM = {
    "large": ": a sum where the mean is expected, or a division by it is missing",
    "small": ": a mean where the sum is expected, or one division too many",
}


def times(r: float) -> str:
    """The factor r as "… times too small"."""
    n, how = (abs(r), "large") if abs(r) > 1 else (1 / abs(r), "small")
    return f"{n:.9g} times too {how}{', and has the wrong sign' if r < 0 else ''}"


def sizes_of(pairs: Sequence[Pair]) -> Iterator[tuple[str, list[float]]]:
    """Each size of an argument, each whole number among them, with its value in every case."""
    for name, arg in pairs[0].args.items():
        others = [pair.args[name] for pair in pairs]
        if isinstance(arg, int | np.integer):
            yield name, [float(other) for other in others]
            yield f"({name} − 1)", [float(other) - 1 for other in others]
        elif isinstance(arg, np.ndarray | list | tuple):
            shapes = [np.shape(other) for other in others]
            for axis in range(min(map(len, shapes))):
                what = f"len({name})" if not axis else f"{name}.shape[{axis}]"
                yield what, [float(shape[axis]) for shape in shapes]
            if min(map(len, shapes)) > 1:
                yield f"{name}.size", [float(math.prod(shape)) for shape in shapes]


def _normalised(pairs: Sequence[Pair], tolerance: float) -> str:
    """Right once it is divided by its sum over some axis."""
    dims = {pair.mine.ndim for pair in pairs}
    for axis in [None, *range(-1, -min(dims) - 1, -1)]:
        if all(
            pair.mine.ndim
            and alike(pair.mine / pair.mine.sum(axis=axis, keepdims=True), pair.expected, tolerance)
            for pair in pairs
        ):
            over = "all" if axis is None or dims == {1} else f"axis {axis}"
            return f"it is right once it is divided by its sum over {over}: it must sum to 1"
    return ""


def _offset(pairs: Sequence[Pair], tolerance: float) -> str:
    gaps = [pair.mine - pair.expected for pair in pairs]
    first = float(gaps[0].flat[0]) if gaps[0].size else 0.0
    if sum(gap.size for gap in gaps) < 3 or not np.isfinite(first):
        return ""
    size = max(np.abs(pair.expected).max(initial=0.0) for pair in pairs) + abs(first)
    if all(np.abs(gap - first).max(initial=0.0) <= tolerance * size for gap in gaps):
        return f"every number is {abs(first):.6g} too {'large' if first > 0 else 'small'}"
    return ""


def _another_order(pairs: Sequence[Pair], tolerance: float) -> str:
    if all(
        p.mine.size > 1 and alike(np.sort(p.mine, None), np.sort(p.expected, None), tolerance)
        for p in pairs
    ):
        return "these are the right numbers in another order"
    return ""


# ---- relations between shapes ----------------------------------------------------------------


def _of_shapes(pairs: Sequence[Pair], tolerance: float) -> str:
    """What makes the answer right whose shape is another."""
    if all(mine.shape == expected.shape for mine, expected, _ in pairs):
        return ""
    for axis in range(min(pair.mine.ndim for pair in pairs)):
        sums = [pair.mine.sum(axis=axis) for pair in pairs]
        if _fits(sums, pairs, tolerance):
            return f"it is right once it is summed over axis {axis}"
        means = [pair.mine.mean(axis=axis) for pair in pairs]
        if _fits(means, pairs, tolerance):
            return f"it is right once the mean over axis {axis} is taken"
        for i, words in ((0, "first"), (-1, "last")):
            if all(pair.mine.shape[axis] for pair in pairs) and _fits(
                [pair.mine.take(i, axis) for pair in pairs], pairs, tolerance
            ):
                return f"it is right at the {words} place of axis {axis}, and only that is expected"
    if all(pair.mine.ndim > 1 for pair in pairs) and _fits(
        [pair.mine.swapaxes(-1, -2) for pair in pairs], pairs, tolerance
    ):
        return "it is transposed: the last two axes are exchanged"
    if all(mine.size == expected.size for mine, expected, _ in pairs) and _fits(
        [pair.mine.reshape(pair.expected.shape) for pair in pairs], pairs, tolerance
    ):
        return "the numbers are right, and only the shape is not: .reshape them"
    for axis in [None, *range(min(pair.expected.ndim for pair in pairs))]:
        for what, how in (("sum", np.sum), ("mean", np.mean)):
            reduced = [how(pair.expected, axis=axis) for pair in pairs]
            if all(
                alike(pair.mine, np.asarray(x), tolerance)
                for pair, x in zip(pairs, reduced, strict=True)
            ):
                over = "all numbers" if axis is None else f"axis {axis}"
                return f"the {what} over {over} is taken, which is not asked for"
    return ""


def _fits(changed: Sequence[Array], pairs: Sequence[Pair], tolerance: float) -> bool:
    return all(alike(x, pair.expected, tolerance) for x, pair in zip(changed, pairs, strict=True))
