"""Answers to what a reader writes in a notebook: not written yet, right, or where it goes wrong.

check(mine, [Case((x,), due)])                  any function, on cases with a known result
check_backward(mine, "attention")               a backward of this library, written anew
"""

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

TOLERANCE = 1e-9  # both are computed in float64, in an order of their own
UNWRITTEN = "Replace the ... by your own lines."


class Case(NamedTuple):
    """Arguments, the result that is due, and words for who misses it."""

    args: tuple
    due: Any
    hint: str = ""


@dataclass(frozen=True)
class Verdict:
    """What a checker says; `state` is "right", "wrong" or "not written yet"."""

    name: str
    state: str
    says: str = ""

    @property
    def passed(self) -> bool:
        return self.state == "right"

    def __repr__(self) -> str:
        return f"{self.name}: {self.state}" + (f"\n{self.says}" if self.says else "")


def check(yours: Callable, cases: Iterable[Case | tuple]) -> Verdict:
    """Try the function on every case, and say where it first goes wrong."""
    name, count = yours.__name__, 0
    for case in map(lambda c: Case(*c), cases):
        args = deepcopy(case.args)
        try:
            with np.errstate(all="ignore"):  # the answer says what a warning would
                result = yours(*args)
        except Exception as error:  # whatever the reader's code raises is part of the answer
            return Verdict(name, "wrong", f"it raises {type(error).__name__}: {error}")
        if result is None:
            return Verdict(name, "not written yet", UNWRITTEN)
        if problem := _problem(result, case, args):
            hint = f"\n{case.hint}" if case.hint else ""
            return Verdict(name, "wrong", f"for {_shown(case.args)}\n{problem}{hint}")
        count += 1
    return Verdict(name, "right", f"{count} cases, all as they should be.")


def _problem(result: Any, case: Case, args: tuple) -> str:
    """What is wrong with one result, in words; "" if nothing."""
    try:
        result = np.asarray(result, dtype=np.result_type(np.asarray(case.due), np.float64))
    except (TypeError, ValueError):
        return f"it returns {result!r}, which is no number and no array"
    due = np.asarray(case.due)
    if result.shape != due.shape:
        return f"it returns an array of shape {result.shape}; {due.shape} is due"
    if not np.isfinite(result).all() and np.isfinite(due).all():
        return "it returns a nan or an infinity"
    arrays = [(a, b) for a, b in zip(args, case.args, strict=True) if isinstance(b, np.ndarray)]
    if any(not np.array_equal(a, b) for a, b in arrays):
        return "it changes one of its arguments: work on a copy"
    with np.errstate(invalid="ignore"):
        gap = np.where(result == due, 0.0, np.abs(result - due))  # an infinity may be due
    if np.all(gap <= TOLERANCE * np.maximum(1, np.abs(due))):
        return ""
    if not due.shape:
        return f"it returns {result:.6g}; {due:.6g} is due"
    worst = np.unravel_index(np.argmax(gap), due.shape)
    where = ", ".join(map(str, worst))
    return f"at [{where}] it returns {result[worst]:.6g}; {due[worst]:.6g} is due"


def _shown(args: tuple) -> str:
    return ", ".join(
        getattr(a, "__name__", "a function")
        if callable(a)
        else np.array2string(np.asarray(a), precision=4, threshold=12)
        for a in args
    )


def check_backward(yours: Callable, op: str) -> Verdict:
    """Ask your `yours(dy, cache)` what `op`_backward of the library is asked, and say what it is.

    The cache is that of `op`_forward. A mistake that is known is called by its name: see
    checks/diagnose.py.
    """
    from ..checks.diagnose import diagnose  # with every model and mutant, which `check` needs not
    from ..checks.diagnose_cases import subject

    results = []

    def watched(*args: Any) -> Any:
        results.append(yours(*args))
        return results[-1]

    subject(op).probes[0].answer(watched)
    if results and results[0] is None:
        return Verdict(yours.__name__, "not written yet", UNWRITTEN)
    found = diagnose(op, yours)
    if found.right:
        return Verdict(
            yours.__name__, "right", "It agrees with the library wherever it was looked at."
        )
    return Verdict(yours.__name__, "wrong", found.sentence)
