"""A backward filled in one line at a time, each line checked at once.

    lines = one_matrix_lines()
    E, e, a, c, p = lines.given("E e a c p")
    my_dz = ...
    lines.check("dz", my_dz)        exact, close, or the largest difference

The right lines are in problems/lines.py: NumPy on one text, in the order of the walk.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..arrays import Array
from ..checks.relations import Pair, relation
from ..errors import InputError
from .exercises import UNWRITTEN, Verdict

CLOSE = 1e-9  # of the largest number of the right line: rounding is about 1e-15


@dataclass(frozen=True)
class Lines:
    """What the forward has left behind, and the right value of every line of the backward."""

    values: Mapping[str, Array]
    right: Mapping[str, Array]
    hints: Mapping[str, Mapping[str, Callable[[Mapping[str, Array]], Any]]] = field(
        default_factory=dict
    )

    def given(self, names: str) -> list[Array]:
        """Copies of the values that the forward has left behind, by their names."""
        if unknown := set(names.split()) - self.values.keys():
            raise InputError(
                f"the forward left no {', '.join(sorted(unknown))}: choose from "
                f"{' '.join(self.values)}"
            )
        return [self.values[name].copy() for name in names.split()]

    def check(self, name: str, yours: Any) -> Verdict:
        """Compare a line with the right one. Raises InputError for the name of no line."""
        if name not in self.right:
            raise InputError(f"no line is called {name!r}: choose from {' '.join(self.right)}")
        title, right = f"my_{name}", self.right[name]
        if yours is ...:
            return Verdict(title, "not written yet", UNWRITTEN)
        mine = _numbers(yours)
        if mine is None:
            return Verdict(title, "wrong", f"this is no array of numbers: {yours!r:.60}")
        if mine.shape != right.shape:
            return Verdict(title, "wrong", self._shapes(name, mine, right))
        gap = np.abs(mine - right)
        if not gap.any():
            return Verdict(title, "right", "exact")
        worst = np.unravel_index(np.argmax(np.where(np.isnan(gap), np.inf, gap)), gap.shape)
        largest = f"the largest difference is {gap[worst]:.1e}"
        if gap[worst] <= CLOSE * np.max(np.abs(right)):
            return Verdict(title, "right", f"close: {largest}")
        where = f", at [{', '.join(map(str, worst))}]" if gap.ndim else ""
        reason = self._reason(name, mine) or relation([Pair(mine, right)])
        says = f"{largest}{where}"
        return Verdict(title, "wrong", f"{says}\nThe reason: {reason}." if reason else says)

    def _shapes(self, name: str, mine: Array, right: Array) -> str:
        says = f"its shape is {mine.shape}; expected {right.shape}"
        turned = mine.ndim > 1 and mine.swapaxes(-1, -2).shape == right.shape
        if turned and np.allclose(mine.swapaxes(-1, -2), right):
            return f"{says}\nThe reason: it is transposed."
        reason = self._reason(name, mine)
        return f"{says}\nThe reason: {reason}." if reason else says

    def _reason(self, name: str, mine: Array) -> str:
        everything = {**self.values, **self.right}
        for sentence, mistaken in self.hints.get(name, {}).items():
            theirs = np.asarray(mistaken(everything))
            if theirs.shape == mine.shape and np.allclose(mine, theirs, rtol=1e-9, atol=1e-12):
                return sentence
        return ""


def _numbers(value: Any) -> Array | None:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        return None
    return array if array.dtype.kind in "biuf" else None
