"""What is wrong with a gradient that no known mistake explains, as plainly as can be said.

Multiples of the right answer, arrays in another order or shape, and else the array, the places and
the numbers that differ.
"""

from collections.abc import Iterator, Mapping
from itertools import permutations
from typing import Any

import numpy as np

from ..arrays import Array
from .diagnose_cases import Failure, Probe, Subject
from .diagnose_compare import FLOAT32, FLOOR, Answers, apart, gap_of, looked_at

FEW = 8  # arrays that are described one by one


def in_words(asked: Subject, mine: Answers, right: Answers) -> str:
    """The first probe that went wrong, described; and whether others went right."""
    wrong = [i for i in range(len(mine)) if not apart(mine[i], right[i], right[i]) <= FLOAT32]
    i = wrong[0]
    words = _common_factor(asked, mine, right)
    words = words or describe_probe(asked, asked.probes[i], mine[i], right[i])
    count = len(looked_at(mine, right))
    if len(wrong) == count:
        return words
    where = f"{len(wrong)} of {count} cases, first in “{asked.probes[i].name}”"
    return f"{words}. It is wrong in {where}"


def describe_probe(asked: Subject, probe: Probe, mine: Any, right: Any) -> str:
    if isinstance(mine, Failure):
        if mine.kind == "ReturnedNothingError":
            return mine.message
        return (
            f"your function raises {mine.kind}: {mine.message.rstrip('.')} (it is called as "
            f"f{asked.signature}, like {asked.target})"
        )
    if isinstance(right, Failure):
        return f"the library raises {right.kind} there, and your function does not"
    if set(mine) != set(right):
        named = "number 1" not in mine
        due = [name for name in right if name not in mine] if named else list(right)
        return (
            f"your function returned {len(mine)} array{'s' * (len(mine) != 1)}, and {len(right)} "
            f"are due{', also' if named else ':'} {', '.join(due)}"
        )
    if order := _another_order(mine, right):
        came, wanted = ", ".join(order), ", ".join(right)
        return f"the arrays are right, but they come in the order {came}: {wanted} is due"
    wrong = [n for n in right if not gap_of(mine[n], right[n], right[n]) <= FLOAT32]
    fine = [n for n in right if n not in wrong]
    if len(right) > FEW:  # a model, whose arrays stand in the order of the forward
        last = wrong[-1]
        others = f"; {len(wrong) - 1} other arrays are wrong as well" if wrong[1:] else ""
        words = _one_array(last, mine[last], right[last], probe.sizes)
        return f"first on the way back, {words}{others}"
    said = "; ".join(_one_array(n, mine[n], right[n], probe.sizes) for n in wrong)
    verb = "is" if len(fine) == 1 else "are"
    return f"{said}; {', '.join(fine)} {verb} right" if fine else said


def _another_order(mine: Mapping[str, Array], right: Mapping[str, Array]) -> list[str]:
    """The names in the order in which the arrays came, if that is all that is wrong."""
    if not 1 < len(right) <= 4:
        return []
    for order in permutations(right):
        pairs = zip(mine.values(), order, strict=True)
        if all(gap_of(dx, right[name], right[name]) <= FLOAT32 for dx, name in pairs):
            return list(order)
    return []


def _one_array(name: str, mine: Array, right: Array, sizes: Mapping[str, int]) -> str:
    """What differs in an array, as plainly as can be said."""
    if mine.shape != right.shape:
        return _another_shape(name, mine, right)
    if not np.isfinite(mine).all():
        where = np.argwhere(~np.isfinite(mine))[0]
        return f"{name} holds {mine[tuple(where)]} at {_place(name, where)}"
    if not mine.any():
        return f"{name} is 0 everywhere"
    if (factor := _factor(mine, right)) is not None:
        return _times(f"{name} is", factor, sizes)
    for axes in list(permutations(range(right.ndim)))[1:]:
        poured = right.transpose(axes).reshape(right.shape)
        if gap_of(mine, poured, right) <= FLOAT32:
            return (
                f"{name} is the right one with its axes in the order {axes}, poured into its shape"
            )
    return _entries(name, mine, right)


def _another_shape(name: str, mine: Array, right: Array) -> str:
    words = f"{name} has shape {mine.shape}, and {right.shape} is due"
    for axes in permutations(range(right.ndim)):
        if gap_of(mine, right.transpose(axes), right) <= FLOAT32:
            return f"{words}: it is the right one with its axes in the order {axes}"
    if mine.size == right.size and gap_of(mine.reshape(right.shape), right, right) <= FLOAT32:
        return f"{words}: the numbers are right, .reshape them"
    for axis in range(mine.ndim):
        if gap_of(mine.sum(axis=axis), right, right) <= FLOAT32:
            return f"{words}: it is right once it is summed over axis {axis}"
    return words


def _entries(name: str, mine: Array, right: Array) -> str:
    """Which entries differ, whether they keep to some places of an axis, and the worst."""
    gap = np.abs(mine - right)
    wrong = gap > FLOAT32 * (np.max(np.abs(right)) + FLOOR)
    words = f"{name} is wrong in {wrong.sum()} of {wrong.size} entries"
    for axis in range(right.ndim):
        others = tuple(a for a in range(right.ndim) if a != axis)
        places = np.flatnonzero(wrong.any(axis=others))
        if len(places) < right.shape[axis]:
            words += f", only at {', '.join(map(str, places))} of axis {axis}"
    for axis in range(right.ndim if right.ndim > 1 else 0):
        if right.shape[axis] > 1 and np.ptp(mine - right, axis=axis).max() < FLOAT32 * gap.max():
            words += f", by the same along axis {axis}"
    worst = np.unravel_index(gap.argmax(), gap.shape)
    here = _place(name, worst)
    return f"{words}; most at {here}, {mine[worst]:.6g} where {right[worst]:.6g} is due"


def _place(name: str, where: Any) -> str:
    return f"{name}[{', '.join(str(int(i)) for i in where)}]" if len(where) else name


# ---- multiples of the right answer -----------------------------------------------------------


def _common_factor(asked: Subject, mine: Answers, right: Answers) -> str:
    """ "every gradient is exactly B times too small", if one factor explains every array."""
    factors = []
    for answer, truth in looked_at(mine, right):
        if isinstance(answer, Failure) or isinstance(truth, Failure) or set(answer) != set(truth):
            return ""
        for name, array in truth.items():
            factor = _factor(answer[name], array) if answer[name].shape == array.shape else None
            if factor is None:
                return ""
            factors += [factor] * bool(np.max(np.abs(array)) > FLOOR)
    if not factors or np.ptp(factors) > FLOAT32 * abs(factors[0]):
        return ""
    single = len(right[0]) == 1
    what = f"{next(iter(right[0]))} is" if single else "every gradient is"
    return _times(what, factors[0], asked.probes[0].sizes)


def _factor(mine: Array, right: Array) -> float | None:
    """r with mine = r right, by least squares, if it leaves no rest."""
    with np.errstate(all="ignore"):
        r = float(np.sum(mine * right) / max(float(np.sum(right * right)), 1e-300))
    return r if gap_of(mine, r * right, right) <= FLOAT32 * max(abs(r), 1e-3) else None


def _times(what: str, r: float, sizes: Mapping[str, int]) -> str:
    """The factor r as "… times too small", and the sizes that it may stand for."""
    if r == 0:
        return f"{what} 0 everywhere"
    if abs(r + 1) < FLOAT32:
        return f"{what} right but for the sign"
    n, how = (abs(r), "large") if abs(r) > 1 else (1 / abs(r), "small")
    letters = [*_products(sizes, n)]
    reading = f": {round(n)} is {' or '.join(letters)} here" if letters else ""
    sign = ", and has the wrong sign" if r < 0 else ""
    return f"{what} exactly {n:.6g} times too {how}{reading}{sign}"


def _products(sizes: Mapping[str, int], n: float) -> Iterator[str]:
    """The letters, their squares and their products of two that are n."""
    letters = list(sizes)
    for i, a in enumerate(letters):
        if abs(sizes[a] - n) < 1e-3:
            yield a
        for b in letters[i:]:
            if abs(sizes[a] * sizes[b] - n) < 1e-3 and sizes[a] > 1 and sizes[b] > 1:
                yield f"{a}²" if a == b else f"{a} {b}"
