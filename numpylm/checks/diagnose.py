"""What is wrong with a gradient, in a sentence.

    print(diagnose("attention", my_backward))
    attention: dk equals the right one without its transpose: … (F3; in the registry: …)

The reader's function is asked the probes of diagnose_cases.py. Its answers are compared with the
right ones, then with those of every mistake of the registry, then with those of two mistakes at
once; where none fits, the difference itself is described (diagnose_words.py).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations
from typing import Any

from ..errors import InputError
from ..model import Model
from .diagnose_behaviour import changed, keeps_something, loses_digits, taken_over, unchanged
from .diagnose_cases import OF_MODEL, Failure, Subject, subject
from .diagnose_compare import (
    EXACT,
    FLOAT32,
    HALF,
    Answers,
    apart,
    distance_of,
    explains,
    fine,
    fits,
    gap_of,
    looked_at,
    tolerance_of,
)
from .diagnose_products import PRODUCTS, product_instead
from .diagnose_suspects import answers_with, in_registry, is_own, right_answers, suspects
from .diagnose_words import another_order, describe_probe, in_words
from .mutation import Mutant, find


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
    asked, right, function = subject(name), right_answers(name), _callable(function)
    mine: Answers = [probe.answer(function) for probe in asked.probes]
    if all(isinstance(m, Failure) and m.kind == "NotImplementedError" for m in mine):
        return Diagnosis(asked.name, False, "it is not written yet", unwritten=True)
    return _besides(asked, function, _verdict(name, function, mine, right))


def _callable(function: Any) -> Callable[..., Any]:
    """The function itself, the `backward` of an object or class, or a model's unbound method."""
    if isinstance(function, type) and not issubclass(function, Model):
        try:
            function = function()
        except TypeError:
            raise InputError(f"hand over an object of {function.__name__}, not the class") from None
    if isinstance(function, type) or not callable(function):
        function = getattr(function, "backward", function)
    if not callable(function):
        raise InputError(
            f"the function to diagnose must be callable, not {function!r}: hand it over without ()"
        )
    owner = getattr(function, "__self__", None)
    if isinstance(owner, Model):
        function = function.__func__
    cells = getattr(function, "__closure__", None) or ()
    kinds = [cell.cell_contents for cell in cells if isinstance(cell.cell_contents, type)]
    kinds = [kind for kind in kinds if issubclass(kind, Model)]  # a method that says super()
    return partial(_as_of, kinds[0], function) if kinds else function


def _as_of(kind: type, method: Callable[..., Any], model: Any, *args: Any) -> Any:
    """A method of the reader's own model, asked with a model of the library."""
    model.__class__ = kind
    return method(model, *args)


def _verdict(name: str, function: Callable[..., Any], mine: Answers, right: Answers) -> Diagnosis:
    asked = subject(name)
    failed = [i for i, m in enumerate(mine) if isinstance(m, Failure) and not fine(m, right[i])]
    if found := _known(name, function, mine):
        if not failed:
            return found
        words = describe_probe(asked, asked.probes[failed[0]], mine[failed[0]], right[failed[0]])
        words = f"{found.sentence}. Besides, in “{asked.probes[failed[0]].name}”, {words}"
        return replace(found, sentence=words)
    meant = [m if fits(m, r) else None for m, r in zip(mine, right, strict=True)]
    if all(answer is None for answer in meant):
        return _in_words(name, mine)
    if any(answer is None for answer in meant):
        found = _by_products(name, meant) or _known(name, function, meant)
        found = found or _in_words(name, meant)
        return _elsewhere(asked, mine, right, meant, found)
    return _in_words(name, mine)


def _known(name: str, function: Callable[..., Any], mine: Answers) -> Diagnosis | None:
    """Right, or a mistake of the registry, or two; None for what is neither."""
    right = right_answers(name)
    distance = distance_of(mine, right, right)
    if distance <= EXACT:
        seen = f"the largest difference is {distance:.0e}" if distance else "to the last bit"
        return Diagnosis(subject(name).name, True, f"right wherever it was tried: {seen}")
    for look in (_one_mistake, _mistakes_in_several_arrays, _two_mistakes):
        if found := look(name, mine, distance):
            return found
    pairs = zip(mine, right, strict=True)
    rounded = distance <= HALF and all(fine(m, r) for m, r in pairs)
    if not rounded and distance <= FLOAT32:
        rounded = loses_digits(function, find(subject(name).target), subject(name))
    if not rounded:
        return None
    rounding = (
        f"right to {distance:.0e}, which is the rounding of float{32 if distance < 1e-4 else 16}: "
        "compute in float64, or leave the dtype to the input, to see more"
    )
    return Diagnosis(subject(name).name, True, rounding)


def _elsewhere(
    asked: Subject, mine: Answers, right: Answers, meant: Answers, found: Diagnosis
) -> Diagnosis:
    """What is said besides of the cases in which a function does not answer, or in another shape.

    The backward of a model may be meant for some of its options, and be right.
    """
    i = meant.index(None)
    count = sum(answer is not None for answer in meant)
    words = describe_probe(asked, asked.probes[i], mine[i], right[i])
    if asked.signature == OF_MODEL:
        words = (
            f". That is for {count} of {len(mine)} cases; in the others, first in "
            f"“{asked.probes[i].name}”, {words}; all is well if it is not meant for those"
        )
        return replace(found, sentence=found.sentence + words)
    if found.right:
        where = ", ".join(f"“{p.name}”" for p, m in zip(asked.probes, meant, strict=True) if m)
        sentence = f"right only in {where}; in “{asked.probes[i].name}”, {words}"
    else:
        sentence = f"{found.sentence}. Besides, in “{asked.probes[i].name}”, {words}"
    return replace(found, right=False, sentence=sentence)


def _besides(asked: Subject, function: Callable[..., Any], found: Diagnosis) -> Diagnosis:
    """The same, and what the function does to its arguments."""
    spoiled = changed(function, asked)
    if spoiled:
        what, verb = " and ".join(spoiled), "are" if spoiled[1:] else "is"
        words = f"it changes its input: {what} {verb} overwritten, so work on a copy"
        words = (
            f"the numbers are right, but {words}"
            if found.right
            else f"{found.sentence}. Besides, {words}"
        )
        return replace(found, right=False, sentence=words)
    if not found.mutants and keeps_something(function, asked):
        words = "a second call with the same arguments answers otherwise: it keeps something"
        words = words if found.right else f"{words}. {found.sentence}"
        return replace(found, right=False, sentence=words)
    return found


# ---- known mistakes --------------------------------------------------------------------------


def _one_mistake(name: str, mine: Answers, distance: float) -> Diagnosis | None:
    right = right_answers(name)
    if not any(fits(m, m) for m, _ in looked_at(mine, right)):
        return None  # it raised everywhere: any mistake that raises would be alike
    gaps = [(distance_of(mine, s.answers, right), s) for s in suspects(name)]
    fitting = [(gap, suspect) for gap, suspect in gaps if explains(gap, distance)]
    if not fitting:
        return None
    nearest = min(gap for gap, _ in fitting)
    alike = [suspect for gap, suspect in fitting if gap <= max(EXACT, 10 * nearest)]
    mutants = tuple(suspect.mutant for suspect in alike if suspect.mutant)
    return Diagnosis(subject(name).name, False, alike[0].words, mutants)


def _mistakes_in_several_arrays(name: str, mine: Answers, distance: float) -> Diagnosis | None:
    """Each wrong array by itself is explained by a mistake."""
    wrong = _wrong_arrays(name, mine)
    if _out_of_order(name, mine):
        return None
    causes = {array: _cause(name, mine, array) for array in wrong}
    if not causes or not all(causes.values()):
        return None
    words, mutants = zip(*causes.values(), strict=True)
    return Diagnosis(
        subject(name).name,
        False,
        "; and ".join(dict.fromkeys(words)),
        tuple(dict.fromkeys(m for m in mutants if m)),
    )


def _out_of_order(name: str, mine: Answers) -> bool:
    """Whether the arrays are right and only come in another order."""
    pairs = looked_at(mine, right_answers(name))
    plain = [(m, r) for m, r in pairs if not isinstance(m, Failure) and not isinstance(r, Failure)]
    return any(len(m) == len(r) and another_order(m, r) for m, r in plain)


def _by_products(name: str, mine: Answers) -> Diagnosis | None:
    """Each wrong array is another product, which only equal sizes let run."""
    words = [_product(name, mine, array) for array in _wrong_arrays(name, mine)]
    return (
        Diagnosis(subject(name).name, False, "; and ".join(words)) if words and all(words) else None
    )


def _product(name: str, mine: Answers, array: str) -> str:
    asked = subject(name)
    trials = [
        (probe.args, m[array], r[array])
        for probe, m, r in zip(asked.probes, mine, right_answers(name), strict=True)
        if m is not None and array in m
    ]
    return product_instead(asked.name, array, trials) if asked.name in PRODUCTS else ""


def _wrong_arrays(name: str, mine: Answers) -> list[str]:
    """The arrays that are wrong; none where the function does not return all of them."""
    pairs = looked_at(mine, right_answers(name))
    if any(
        isinstance(m, Failure) or isinstance(r, Failure) or m.keys() != r.keys() for m, r in pairs
    ):
        return []
    arrays = dict.fromkeys(n for answer, _ in pairs for n in answer)
    return [
        n
        for n in arrays
        if any(not gap_of(m[n], r[n], r[n]) <= tolerance_of(m[n]) for m, r in pairs if n in m)
    ]


def _cause(name: str, mine: Answers, array: str) -> tuple[str, Mutant | None] | None:
    """The mistake that explains an array: a known one, or another product in place of the right."""
    own, right = _only(mine, array), _only(right_answers(name), array)
    gap, wrong = distance_of(own, right, right), set(_wrong_arrays(name, mine))
    for suspect in suspects(name):
        theirs = _only(suspect.answers, array)
        if theirs and suspect.touches <= wrong and explains(distance_of(own, theirs, right), gap):
            return suspect.words, suspect.mutant
    asked = subject(name)
    words = _product(name, mine, array) or taken_over(asked, array, mine)
    words = words or unchanged(asked, array, mine)
    return (words, None) if words else None


def _only(answers: Answers, array: str) -> Answers:
    """The part of the answers that is about one array; nothing is said where there is a failure."""
    return [
        a if isinstance(a, Failure) else a and {n: x for n, x in a.items() if n == array}
        for a in answers
    ]


def _two_mistakes(name: str, mine: Answers, distance: float) -> Diagnosis | None:
    """Two mistakes of the function itself, one upon the other."""
    right, probes = right_answers(name), subject(name).probes
    if not any(fits(m, m) for m, _ in looked_at(mine, right)):
        return None
    gaps = [apart(*answers) for answers in zip(mine, right, right, strict=True)]
    worst = gaps.index(max(gaps))  # most pairs need not be asked more than this
    own = [s.mutant for s in suspects(name) if s.mutant and is_own(name, s.mutant)]
    for pair in permutations(own, 2):
        quick = answers_with(name, *pair, probes=probes[worst : worst + 1])
        if not quick or not explains(apart(mine[worst], quick[0], right[worst]), distance):
            continue
        answers = answers_with(name, *pair)
        if answers and explains(distance_of(mine, answers, right), distance):
            return Diagnosis(subject(name).name, False, "; and ".join(map(in_registry, pair)), pair)
    return None


def _in_words(name: str, mine: Answers) -> Diagnosis:
    """What no known mistake explains as a whole: array by array, as plainly as can be said."""
    wrong = [] if _out_of_order(name, mine) else _wrong_arrays(name, mine)
    causes = {n: found[0] for n in wrong if (found := _cause(name, mine, n))}
    asked = subject(name)
    return Diagnosis(asked.name, False, in_words(asked, mine, right_answers(name), causes))
