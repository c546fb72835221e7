"""Multiples of the right answer: "exactly 2 times too small", "exactly B times too large".

A size is named only if it is the factor in cases where that size differs; else only the number.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import numpy as np

from ..arrays import Array
from .diagnose_cases import Subject
from .diagnose_compare import EXACT, FLOAT32, FLOOR, Answers, fits, gap_of, looked_at, tolerance_of

SAME = 1e-6  # two factors, of answers that may be in float32
Factor = tuple[float, Mapping[str, int]]  # of one case, and the sizes there


def common_factor(asked: Subject, mine: Answers, right: Answers) -> str:
    """ "every gradient is exactly 2 times too small", if one factor explains every array."""
    if not all(fits(m, r) for m, r in looked_at(mine, right)):
        return ""
    names = list(next(r for _, r in looked_at(mine, right)))
    found = [factors_of(asked, name, mine, right) for name in names]
    if not all(found):
        return ""
    single = len(names) == 1
    return in_words(f"{names[0]} is" if single else "every gradient is", list(chain(*found)))


def factor_of(asked: Subject, name: str, mine: Answers, right: Answers) -> str:
    """The same of one array."""
    return in_words(f"{name} is", factors_of(asked, name, mine, right))


def factors_of(asked: Subject, name: str, mine: Answers, right: Answers) -> list[Factor]:
    """By what it is multiplied, case by case; nothing if some case is no multiple."""
    found: list[Factor] = []
    for probe, m, r in zip(asked.probes, mine, right, strict=True):
        if m is None or not isinstance(r, Mapping) or name not in r:
            continue
        if not fits(m, r) or (factor := _factor(m[name], r[name])) is None:
            return []
        if np.max(np.abs(r[name]), initial=0.0) > FLOOR:
            found.append((factor, probe.sizes))
    return found


def _factor(mine: Array, right: Array) -> float | None:
    """r with mine = r right, by least squares, if it leaves no rest."""
    with np.errstate(all="ignore"):
        r = float(np.sum(mine * right) / max(float(np.sum(right * right)), 1e-300))
    bound = max(tolerance_of(mine), 1e-10) * max(abs(r), 1e-3)
    return r if gap_of(mine, r * right, right) <= bound else None


def in_words(what: str, found: Sequence[Factor]) -> str:
    factors = [r for r, _ in found]
    if not factors:
        return ""
    if np.ptp(factors) <= SAME * abs(factors[0]):
        return "" if abs(factors[0] - 1) < EXACT else _times(what, factors[0])
    sized = [(r, sizes) for r, sizes in found if sizes]
    sign = ", and has the wrong sign" if all(r < 0 for r in factors) else ""
    for how, power in (("large", 1), ("small", -1)):
        names = [
            name
            for name, values in _products([sizes for _, sizes in sized])
            if len(set(values)) > 1
            and all(
                abs(abs(r) - n**power) < 1e-4 * n**power
                for (r, _), n in zip(sized, values, strict=True)
            )
        ]
        if names:
            here = f"{abs(factors[0]) ** power:.6g} in the first case"
            return f"{what} exactly {' or '.join(names)} times too {how}: {here}{sign}"
    return ""


def _times(what: str, r: float) -> str:
    if r == 0:
        return f"{what} 0 everywhere"
    if abs(r + 1) < FLOAT32:
        return f"{what} right but for the sign"
    n, how = (abs(r), "large") if abs(r) > 1 else (1 / abs(r), "small")
    sign = ", and has the wrong sign" if r < 0 else ""
    return f"{what} exactly {n:.6g} times too {how}{sign}"


def _products(sizes: Sequence[Mapping[str, int]]) -> Iterator[tuple[str, list[float]]]:
    """The letters of all cases, their roots, squares and products of two, with their values."""
    letters = [a for a in (sizes[0] if sizes else ()) if all(a in other for other in sizes)]
    for i, a in enumerate(letters):
        yield a, [float(s[a]) for s in sizes]
        yield f"√{a}", [float(s[a]) ** 0.5 for s in sizes]
        for b in letters[i:]:
            yield f"{a}²" if a == b else f"{a} {b}", [float(s[a] * s[b]) for s in sizes]
