"""What the library answers, right and with each known mistake in it."""

import sys
from functools import cache
from types import FrameType
from typing import Any, NamedTuple

from ..errors import InputError
from .diagnose_cases import Probe, subject
from .diagnose_compare import EXACT, Answers, distance_of, fits, gap_of
from .diagnose_students import STUDENTS
from .mutants import MUTANTS
from .mutation import Mutant, applied, find
from .oracles import SUBJECTS


class Suspect(NamedTuple):
    """A mistake, its answers, and the mutant if it is one of the registry."""

    words: str
    answers: Answers
    mutant: Mutant | None = None
    touches: frozenset[str] = frozenset()  # the arrays that it changes, of a student's mistake


@cache
def right_answers(name: str) -> Answers:
    asked = subject(name)
    return [probe.answer(find(asked.target)) for probe in asked.probes]


def answers_with(name: str, *mutants: Mutant, probes: list[Probe] | None = None) -> Answers | None:
    """What the library answers with these mistakes in it; None if they cannot be combined."""
    try:
        with applied(*mutants):
            function = find(subject(name).target)
            return [probe.answer(function) for probe in probes or subject(name).probes]
    except InputError:
        return None


@cache
def suspects(name: str) -> list[Suspect]:
    """The mistakes that change the answers, those in the function itself first."""
    right, found = right_answers(name), []
    for mutant in sorted(MUTANTS, key=lambda mutant: not is_own(name, mutant)):
        answers = answers_with(name, mutant) if _may_matter(name, mutant) else None
        if answers is not None and not distance_of(answers, right, right) <= EXACT:
            found.append(Suspect(in_registry(mutant), answers, mutant))
    return [*found, *_of_students(name)]


def in_registry(mutant: Mutant) -> str:
    return f"{mutant.sentence} ({mutant.formula}; in the registry: {mutant})"


def _of_students(name: str) -> list[Suspect]:
    asked = subject(name)
    if asked.target != f"{asked.name}_backward":
        return []
    wrong = STUDENTS.get(asked.name, {})
    right, found = right_answers(name), []
    for words, function in wrong.items():
        answers = [probe.answer(function) for probe in asked.probes]
        pairs: list[Any] = [*zip(answers, right, strict=True)]
        pairs = [(a, r) for a, r in pairs if fits(r, r) and fits(a, a)]
        touches = {n for a, r in pairs for n in a if gap_of(a[n], r[n], r[n]) > EXACT}
        found.append(Suspect(words, answers, touches=frozenset(touches)))
    return found


def is_own(name: str, mutant: Mutant) -> bool:
    """Whether it is a mistake in the function itself: in its class, a base of it, or a helper."""
    asked = subject(name).name.partition(".")[0].removesuffix("_forward")
    owner = find(subject(name).target.partition(".")[0])
    family = [kind.__name__ for kind in owner.__mro__] if isinstance(owner, type) else [asked]
    return mutant.subject in family or asked in SUBJECTS.get(mutant.subject, ())


def _may_matter(name: str, mutant: Mutant) -> bool:
    """Whether the right function runs what the mutant changes.

    A backward gets its cache from the right forward, so mistakes of forwards do not reach it.
    """
    return any(target.rpartition(".")[2] in _run(name) for target, _ in mutant.changes)


@cache
def _run(name: str) -> frozenset[str]:
    """The names of all functions of the library that run when the right one is asked."""
    found: set[str] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            found.add(frame.f_code.co_name)

    asked, before = subject(name), sys.getprofile()
    function = find(asked.target)
    sys.setprofile(note)
    try:
        for probe in asked.probes:
            probe.answer(function)
    finally:
        sys.setprofile(before)
    return frozenset(found)
