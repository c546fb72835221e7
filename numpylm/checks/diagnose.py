"""What is wrong with a gradient, in a sentence.

    print(diagnose("attention", my_backward))
    attention: dk equals the right one without its transpose: … (F3; in the registry: …)

The reader's function is asked the probes of diagnose_cases.py. Its answers are compared with the
right ones, then with those of every mistake of the registry, then with those of two mistakes at
once; where none fits, the difference itself is described (diagnose_words.py).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import permutations
from typing import Any

from ..errors import InputError
from .diagnose_cases import OF_MODEL, Failure, Probe, Subject, subject
from .diagnose_compare import EXACT, FLOAT32, Answers, apart, distance_of, explains, looked_at
from .diagnose_words import describe_probe, in_words
from .mutants import MUTANTS
from .mutation import Mutant, applied, find
from .oracles import SUBJECTS


@dataclass(frozen=True)
class Diagnosis:
    """Prints as a sentence. `mutants` are the mistakes of the registry that explain it, if any."""

    subject: str
    right: bool
    sentence: str
    mutants: tuple[Mutant, ...] = ()
    unwritten: bool = False  # it raised NotImplementedError, wherever it was asked

    def __str__(self) -> str:
        return f"{self.subject}: {self.sentence}"


def diagnose(name: str, function: Callable[..., Any]) -> Diagnosis:
    """What is wrong with your `function`, in a sentence: print it.

        diagnose("attention", my_backward)        my_backward(dy, cache), for every op of ops.py and
                                                  blocks.py, with the cache of the op's forward
        diagnose("attention_forward", f)          f(q, k, v, mask, scale), or y and a cache
        diagnose("AttentionLM", my_backward)      my_backward(model, dlogits, cache), as the method
                                                  is written: gradients by name, or E's alone
        diagnose("Adam", my_step)                 my_step(optimizer, grads, learning_rate)

    It names the mistake if the registry (mutants.py) holds it, or two of them together;
    else it says which array is wrong, where and by how much. A right answer is never accused,
    however written, and neither is the rounding of float32. Raises InputError for an unknown name.
    """
    asked, right = subject(name), _right(name)
    mine: Answers = [probe.answer(function) for probe in asked.probes]
    if all(isinstance(m, Failure) and m.kind == "NotImplementedError" for m in mine):
        return Diagnosis(asked.name, False, "it is not written yet", unwritten=True)
    if found := _known(name, mine):
        return found
    meant = _where_it_answers(asked, mine, right)
    if meant != mine:
        if found := _known(name, meant):
            return replace(found, sentence=found.sentence + _elsewhere(asked, mine, right, meant))
        mine = meant
    return Diagnosis(asked.name, False, in_words(asked, mine, right))


def _known(name: str, mine: Answers) -> Diagnosis | None:
    """Right, or a mistake of the registry, or two; None for what is neither."""
    distance = distance_of(mine, _right(name), _right(name))
    if distance <= EXACT:
        seen = f"the largest difference is {distance:.0e}" if distance else "to the last bit"
        return Diagnosis(subject(name).name, True, f"right wherever it was looked at: {seen}")
    for look in (_one_mistake, _mistakes_in_several_arrays, _two_mistakes):
        if found := look(name, mine, distance):
            return found
    if distance > FLOAT32:
        return None
    rounding = (
        f"right to {distance:.0e}, which is the rounding of float32: compute in float64, or leave "
        "the dtype to the input, to see more"
    )
    return Diagnosis(subject(name).name, True, rounding)


def _where_it_answers(asked: Subject, mine: Answers, right: Answers) -> Answers:
    """A backward of a model may be meant for some of its options: None where it does not answer."""
    fits = [
        not isinstance(answer, Failure) and answer.keys() == truth.keys()
        for answer, truth in zip(mine, right, strict=True)
    ]
    if asked.signature != OF_MODEL or not any(fits):
        return mine
    return [answer if fit else None for answer, fit in zip(mine, fits, strict=True)]


def _elsewhere(asked: Subject, mine: Answers, right: Answers, meant: Answers) -> str:
    """What is said of the cases in which a function does not answer."""
    i = meant.index(None)
    count = sum(answer is not None for answer in meant)
    words = describe_probe(asked, asked.probes[i], mine[i], right[i])
    return (
        f". That is for {count} of {len(mine)} cases; in the others, first in "
        f"“{asked.probes[i].name}”, {words}; all is well if it is not meant for those"
    )


# ---- what the library answers, right and wrong -----------------------------------------------


@cache
def _right(name: str) -> Answers:
    asked = subject(name)
    return [probe.answer(find(asked.target)) for probe in asked.probes]


def _answers_with(name: str, *mutants: Mutant, probes: list[Probe] | None = None) -> Answers | None:
    """What the library answers with these mistakes in it; None if they cannot be combined."""
    try:
        with applied(*mutants):
            function = find(subject(name).target)
            return [probe.answer(function) for probe in probes or subject(name).probes]
    except InputError:
        return None


@cache
def _suspects(name: str) -> list[tuple[Mutant, Answers]]:
    """The mistakes that change the answers, those in the function itself first."""
    right, found = _right(name), []
    for mutant in sorted(MUTANTS, key=lambda mutant: not _own(name, mutant)):
        answers = _answers_with(name, mutant) if _may_matter(name, mutant) else None
        if answers is not None and not distance_of(answers, right, right) <= EXACT:
            found.append((mutant, answers))
    return found


def _own(name: str, mutant: Mutant) -> bool:
    """Whether it is a mistake in the function itself: in its class, a base of it, or a helper."""
    asked = subject(name).name.partition(".")[0].removesuffix("_forward")
    owner = find(subject(name).target.partition(".")[0])
    family = [kind.__name__ for kind in owner.__mro__] if isinstance(owner, type) else [asked]
    return mutant.subject in family or asked in SUBJECTS.get(mutant.subject, ())


def _may_matter(name: str, mutant: Mutant) -> bool:
    """A backward gets its cache from the right forward, so mistakes of forwards do not reach it;
    nor do those of the methods of another class."""
    owner, (other, _, method) = (
        find(subject(name).target.partition(".")[0]),
        mutant.target.partition("."),
    )
    if method and not (isinstance(owner, type) and issubclass(owner, find(other))):
        return False
    if subject(name).target.endswith("backward"):
        return mutant.changes_backward
    return mutant.changes_forward


# ---- mistakes of the registry ----------------------------------------------------------------


def _one_mistake(name: str, mine: Answers, distance: float) -> Diagnosis | None:
    right = _right(name)
    gaps = [(distance_of(mine, answers, right), m) for m, answers in _suspects(name)]
    fitting = [(gap, mutant) for gap, mutant in gaps if explains(gap, distance)]
    if not fitting:
        return None
    nearest = min(gap for gap, _ in fitting)
    alike = tuple(mutant for gap, mutant in fitting if gap <= max(EXACT, 10 * nearest))
    return Diagnosis(subject(name).name, False, _named(alike[0]), alike)


def _named(mutant: Mutant) -> str:
    return f"{mutant.sentence} ({mutant.formula}; in the registry: {mutant})"


def _mistakes_in_several_arrays(name: str, mine: Answers, distance: float) -> Diagnosis | None:
    """Each wrong array by itself is explained by a mistake."""
    right = _right(name)
    if any(isinstance(m, Failure) or m.keys() != r.keys() for m, r in looked_at(mine, right)):
        return None
    causes: dict[str, Mutant] = {}
    for array in dict.fromkeys(n for answer, _ in looked_at(mine, right) for n in answer):
        own = _only(mine, array)
        gap = distance_of(own, _only(right, array), _only(right, array))
        if gap <= EXACT:
            continue
        for mutant, answers in _suspects(name):
            theirs = _only(answers, array)
            if theirs and explains(distance_of(own, theirs, _only(right, array)), gap):
                causes[array] = mutant
                break
        else:
            return None
    found = tuple(dict.fromkeys(causes.values()))
    return Diagnosis(subject(name).name, False, "; and ".join(map(_named, found)), found)


def _only(answers: Answers, array: str) -> Answers:
    """The part of the answers that is about one array."""
    if any(isinstance(answer, Failure) for answer in answers):
        return []
    return [answer and {n: x for n, x in answer.items() if n == array} for answer in answers]


def _two_mistakes(name: str, mine: Answers, distance: float) -> Diagnosis | None:
    """Two mistakes of the function itself, one upon the other."""
    right, probes = _right(name), subject(name).probes
    gaps = [apart(*answers) for answers in zip(mine, right, right, strict=True)]
    worst = gaps.index(max(gaps))  # most pairs need not be asked more than this
    for pair in permutations([m for m, _ in _suspects(name) if _own(name, m)], 2):
        quick = _answers_with(name, *pair, probes=probes[worst : worst + 1])
        if not quick or not explains(apart(mine[worst], quick[0], right[worst]), distance):
            continue
        answers = _answers_with(name, *pair)
        if answers and explains(distance_of(mine, answers, right), distance):
            return Diagnosis(subject(name).name, False, "; and ".join(map(_named, pair)), pair)
    return None
