"""One function of the library, with whatever mistake is in it: what contradicts it, and where.

Find-the-bug shows this of a function that its reader asks about: bug.py.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ..checks.dual_numbers import Dual
from ..checks.gradient_cases import OpCase
from ..checks.invariants import equal
from ..checks.oracles import ALL_FORMULAS, ORACLES, all_cases, checks
from ..checks.recurrences import RECURRENCES
from ..gradient_verdicts import Report

SHOWN = 6  # numbers of an array


def contradictions(subjects: Iterable[str]) -> dict[str, list[str]]:
    """By oracle, the questions about these ops, models and optimizers that the code now fails."""
    found: dict[str, list[str]] = {oracle: [] for oracle in ORACLES}
    for question in checks(subjects):
        if question.fails():
            found[question.oracle].append(question.name)
    return found


def differences(subjects: Iterable[str]) -> str:
    """Of each op: the gradients that contradict its forward, and the numbers that its forward and
    its formula, written a second time, give for the same arguments. Of each optimizer: where it
    leaves its recurrence."""
    found = [text for subject in subjects for text in _differences(subject)]
    return "\n".join(found)


def _differences(subject: str) -> Iterator[str]:
    for case in all_cases():
        if isinstance(case, OpCase) and case.op == subject:
            yield from _of_op(case)
    if subject in RECURRENCES:
        pairs = attempt(lambda: list(RECURRENCES[subject]()))
        if isinstance(pairs, str):
            yield pairs
        else:
            yield from (
                _apart("the code", mine, right, other="the recurrence")
                for mine, right in pairs
                if not equal(mine, right)
            )


def _of_op(case: OpCase) -> Iterator[str]:
    y = attempt(lambda: case.forward(*case.args)[0])
    args = [Dual(arg) if _is_float(arg) else arg for arg in case.args]
    formula = ALL_FORMULAS[case.op](*args).value
    if isinstance(y, str):
        yield f"{case.name}: the forward {y}"
    elif not equal(y, formula):
        yield _apart(f"{case.name}: the forward", y, formula, other="the formula")
    report: Report | str = attempt(case.check)
    if isinstance(report, str):
        yield f"{case.name}: the check {report}"
    elif not report.passed:
        yield without_lines(str(report))


def _is_float(arg: Any) -> bool:
    return isinstance(arg, np.ndarray) and arg.dtype.kind == "f"


def _apart(who: str, mine: Any, right: Any, other: str) -> str:
    """The first numbers that differ, and those after them."""
    if np.shape(mine) != np.shape(right):
        return f"{who} has shape {np.shape(mine)}, {other} {np.shape(right)}"
    mine, right = np.ravel(mine), np.ravel(right)
    first = int(np.argmax(~np.isclose(mine, right, rtol=1e-9, atol=1e-11)))
    shown = slice(first, first + SHOWN)
    return "\n".join(
        f"{name:>{max(len(who), len(other))}}  {' '.join(f'{x:10.6g}' for x in numbers[shown])}"
        for name, numbers in ((who, mine), (other, right))
    )


def without_lines(text: str) -> str:
    """An error without its line of code, which would tell the mistake."""
    return re.sub(r" \(line \d+ of .*| in line \d+, `[^`]*`", "", text)


def attempt(ask: Callable[[], Any]) -> Any:
    """The answer, or in a line why there is none: a mistake may lead to any error."""
    try:
        return ask()
    except Exception as error:
        return f"stops with {said(error)}"


def said(error: Exception) -> str:
    """The error and the first line of what it says."""
    return f"{type(error).__name__}: {error}".split("\n")[0]
