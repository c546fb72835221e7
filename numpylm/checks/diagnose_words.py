"""What is wrong with a gradient that no known mistake explains, as plainly as can be said.

Multiples of the right answer, arrays in another order or shape, and else the array, the places and
the numbers that differ.
"""

from collections.abc import Mapping
from itertools import permutations
from typing import Any

import numpy as np

from ..arrays import Array
from .diagnose_cases import Failure, Probe, Subject
from .diagnose_compare import FLOAT32, FLOOR, Answers, fine, gap_of, looked_at, tolerance_of
from .diagnose_factors import common_factor, factor_of
from .relations import Pair, relation

NEAR = 1e-3  # a difference that looks like rounding
FEW = 8  # arrays that are described one by one


def in_words(asked: Subject, mine: Answers, right: Answers, causes: Mapping[str, str]) -> str:
    """The first case that went wrong, described; and whether others went right.

    causes holds the arrays that a known mistake explains.
    """
    wrong = [i for i in range(len(mine)) if not fine(mine[i], right[i])]
    words = "" if causes else common_factor(asked, mine, right)
    i = wrong[0]
    if not words:
        there = [m if i in wrong else None for i, m in enumerate(mine)]
        said = {n: factor_of(asked, n, there, right) for n in _names(mine, right)} | dict(causes)
        said = {n: text or _related(n, there, right) for n, text in said.items()}
        words = describe_probe(asked, asked.probes[i], mine[i], right[i], said)
    count = len(looked_at(mine, right))
    if len(wrong) == count:
        return words
    where = f"{len(wrong)} of {count} cases, first in “{asked.probes[i].name}”"
    return f"{words}. It is wrong in {where}"


def _names(mine: Answers, right: Answers) -> list[str]:
    """The arrays that can be compared in every case."""
    pairs = [(m, r) for m, r in looked_at(mine, right) if not isinstance(m, Failure)]
    if any(isinstance(r, Failure) or set(m) != set(r) for m, r in pairs):
        return []
    return list(dict.fromkeys(n for m, _ in pairs for n in m))


def _related(name: str, mine: Answers, right: Answers) -> str:
    """A simple relation of an array's numbers to the right ones that holds in all cases."""
    answered = [(m, r) for m, r in looked_at(mine, right) if not isinstance(m, Failure)]
    pairs = [Pair(m[name], r[name]) for m, r in answered if name in m and name in r]
    same = all(p.mine.shape == p.expected.shape and np.isfinite(p.mine).all() for p in pairs)
    words = relation(pairs) if same else ""
    return f"{name} is wrong: {words}" if words else ""


def describe_probe(
    asked: Subject, probe: Probe, mine: Any, right: Any, said: Mapping[str, str] | None = None
) -> str:
    """What is wrong in one case; said holds what is known of some arrays."""
    if isinstance(mine, Failure):
        return mine.message if mine.kind in SAID else f"your function raises {mine.message}"
    if isinstance(right, Failure):
        return f"the library raises {right.kind} there, and your function does not"
    if set(mine) != set(right):
        return _another_count(mine, right)
    if order := another_order(mine, right):
        came, wanted = ", ".join(order), ", ".join(right)
        return f"the arrays are right, but they come in the order {came}: expected {wanted}"
    wrong = [n for n in right if not gap_of(mine[n], right[n], right[n]) <= tolerance_of(mine[n])]
    others = [n for n in right if n not in wrong]
    said = said or {}
    if len(right) > FEW:  # a model, whose arrays stand in the order of the forward
        last = wrong[-1]
        more = f"; {len(wrong) - 1} other arrays are wrong as well" if wrong[1:] else ""
        words = said.get(last) or _one_array(last, mine[last], right[last])
        return f"first on the way back, {words}{more}"
    texts = [said.get(n) or _one_array(n, mine[n], right[n]) for n in wrong]
    words = "; ".join(dict.fromkeys(texts))
    verb = "is" if len(others) == 1 else "are"
    return f"{words}; {', '.join(others)} {verb} right" if others else words


SAID = {"ReturnedNothingError", "NotRealError"}  # whose message is a whole sentence


def _another_count(mine: Mapping[str, Array], right: Mapping[str, Array]) -> str:
    """Too many arrays, too few, or other names."""
    gradients = "gradient" if len(right) == 1 else "gradients"
    if "number 1" in mine or not mine:
        return (
            f"your function returned {len(mine)} array{'s' * (len(mine) != 1)}; expected "
            f"{len(right)} {gradients}: {', '.join(right)}"
        )
    missing = [name for name in right if name not in mine]
    strange = [name for name in mine if name not in right]
    words = [
        f"it lacks {', '.join(missing)}" if missing else "",
        f"{', '.join(map(str, strange))} {'is' if len(strange) == 1 else 'are'} no name of one"
        if strange
        else "",
    ]
    count = f"your function returned {len(mine)} of {len(right)} {gradients}"
    return f"{count}: {' and '.join(w for w in words if w)}"


def another_order(mine: Mapping[str, Array], right: Mapping[str, Array]) -> list[str]:
    """The names in the order in which the arrays came, if that is all that is wrong."""
    if not 1 < len(right) <= 4:
        return []
    for order in list(permutations(right))[1:]:  # the first is the right one
        pairs = zip(mine.values(), order, strict=True)
        if all(gap_of(dx, right[name], right[name]) <= tolerance_of(dx) for dx, name in pairs):
            return list(order)
    return []


def _one_array(name: str, mine: Array, right: Array) -> str:
    """What differs in an array, as plainly as can be said."""
    if mine.shape != right.shape:
        return _another_shape(name, mine, right)
    if not np.isfinite(mine).all():
        where = np.argwhere(~np.isfinite(mine))[0]
        return f"{name} holds {mine[tuple(where)]} at {_place(name, where)}"
    if not mine.any():
        return f"{name} is 0 everywhere"
    for axes in list(permutations(range(right.ndim)))[1:]:
        poured = right.transpose(axes).reshape(right.shape)
        if gap_of(mine, poured, right) <= FLOAT32:
            return (
                f"{name} is the right one with its axes in the order {axes}, poured into its shape"
            )
    return _entries(name, mine, right)


def _another_shape(name: str, mine: Array, right: Array) -> str:
    words = f"{name} has shape {mine.shape}; expected {right.shape}"
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
    size = np.max(np.abs(right)) + FLOOR
    wrong = gap > tolerance_of(mine) * size
    words = f"{name} is wrong in {wrong.sum()} of {wrong.size} entries"
    if gap.max() < NEAR * size:
        words = (
            f"{name} is wrong by {gap.max() / size:.0e} of its size, too much for the rounding of "
            f"{mine.dtype}, in {wrong.sum()} of {wrong.size} entries"
        )
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
    return f"{words}; most at {here}, {mine[worst]:.6g} where {right[worst]:.6g} is expected"


def _place(name: str, where: Any) -> str:
    return f"{name}[{', '.join(str(int(i)) for i in where)}]" if len(where) else name
