"""Answers to what a reader writes in a notebook: not written yet, right, or what is wrong with it.

    check(my_bigram, BIGRAM)                        an exercise of problems/
    check(mine, [Case((x,), expected)])     any function, on cases with a known result
    check_backward(mine, "attention")               a backward of this library, written anew

A wrong answer is compared with those of the mistakes that an exercise knows, one or two at a time,
then with simple relations to the expected numbers (checks/relations.py). An error keeps its line.
"""

import dis
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, pairwise
from typing import Any, NamedTuple

import numpy as np

from ..checks.raised import NOTHING, raised
from ..checks.relations import Pair, relation
from ..errors import InputError

TOLERANCE = 1e-9  # both are computed in float64, in an order of their own
SINGLE = 1e-5  # for answers in float32
UNWRITTEN = "Replace the ... by your own lines."
FROM_SOLUTION: Any = ...  # the expected result is that of the exercise's solution


class Case(NamedTuple):
    """Arguments, the expected result, and a remark on what is special about them."""

    args: tuple[Any, ...]
    expected: Any = FROM_SOLUTION
    hint: str = ""


def case(*args: Any, hint: str = "") -> Case:
    """A case whose result the solution gives."""
    return Case(args, FROM_SOLUTION, hint)


class Outcome(NamedTuple):
    """What a function did with a case: its result or error, and which arguments it changed."""

    result: Any = None
    error: Exception | None = None
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Exercise:
    """A solution, the cases that an answer is tried on, and mistakes by what is said about them.

    A mistake is a function, or a dict of options of the solution; of the latter, two may be made at
    once.
    """

    solution: Callable[..., Any]
    cases: list[Case] | Callable[[], list[Case]]
    mistakes: Mapping[str, Callable[..., Any] | dict[str, Any]] = field(default_factory=dict)

    @cached_property
    def asked(self) -> list[Case]:
        """The cases with their results."""
        cases = self.cases() if callable(self.cases) else self.cases
        return [
            c._replace(expected=self.solution(*deepcopy(c.args)))
            if c.expected is FROM_SOLUTION
            else c
            for c in cases
        ]

    @cached_property
    def mistaken(self) -> list[tuple[str, list["Outcome"]]]:
        """What each mistake, and each pair, makes of every case."""
        return [
            (sentence, [_outcome(function, c.args, []) for c in self.asked])
            for sentence, function in self.wrong()
        ]

    def wrong(self) -> Iterator[tuple[str, Callable[..., Any]]]:
        """Every mistake, then every two that can be made at once."""
        for sentence, made in self.mistakes.items():
            yield sentence, self._with(made) if isinstance(made, dict) else made
        options = [(s, made) for s, made in self.mistakes.items() if isinstance(made, dict)]
        for (one, first), (two, second) in combinations(options, 2):
            if not first.keys() & second.keys():
                yield f"{one}; and {two}", self._with({**first, **second})

    def _with(self, options: dict[str, Any]) -> Callable[..., Any]:
        return lambda *args: self.solution(*args, **options)


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


def check(yours: Callable[..., Any], asked: Exercise | Iterable[Case | tuple[Any, ...]]) -> Verdict:
    """Try the function on every case; say where it first goes wrong, and what the mistake is."""
    name = name_of(yours)
    exercise = asked if isinstance(asked, Exercise) else Exercise(yours, [Case(*c) for c in asked])
    cases, names = exercise.asked, _names(yours, exercise.solution)
    if unwritten(yours):
        return Verdict(name, "not written yet", UNWRITTEN)
    did = [_outcome(yours, c.args, names) for c in cases]
    problems = [_problem(outcome, c) for outcome, c in zip(did, cases, strict=True)]
    wrong = [i for i, problem in enumerate(problems) if problem]
    if not wrong:
        return Verdict(name, "right", f"{len(cases)} cases, all as expected.")
    if isinstance(did[0].error, NotImplementedError) or did[0].result is ...:
        return Verdict(name, "not written yet", UNWRITTEN)
    first = wrong[0]
    lines = [f"for {_shown(cases[first].args, names)}", problems[first]]
    if all(problem == NOTHING for problem in problems):
        return Verdict(name, "wrong", "\n".join(lines))
    if reason := _reason(exercise, yours, did, wrong, names):
        lines.append(f"The reason: {reason}.")
    elif cases[first].hint:
        lines.append(f"About this case: {cases[first].hint.rstrip('.')}.")
    if not reason and did[first].error is None:
        raises = [i for i in wrong if did[i].error]
        lines += [f"For {_shown(cases[i].args, names)}\n{problems[i]}" for i in raises[:1]]
    if not reason and len(wrong) < len(cases):
        lines.append(f"It is right in {len(cases) - len(wrong)} of {len(cases)} cases.")
    return Verdict(name, "wrong", "\n".join(lines))


def check_backward(yours: Callable[..., Any], op: str) -> Verdict:
    """Ask your `yours(dy, cache)` what `op`_backward of the library is asked, and say what it is.

    The cache is that of `op`_forward. A mistake that is known is called by its name: see
    checks/diagnose.py.
    """
    from ..checks.diagnose import diagnose  # with every model and mutant, which `check` needs not

    name = name_of(yours)
    if unwritten(yours):
        return Verdict(name, "not written yet", UNWRITTEN)
    found = diagnose(op, yours)
    if found.unwritten:
        return Verdict(name, "not written yet", UNWRITTEN)
    if found.right:
        return Verdict(name, "right", "It agrees with the library wherever it was tried.")
    return Verdict(name, "wrong", found.sentence)


# ---- asking ----------------------------------------------------------------------------------


def name_of(yours: Any) -> str:
    """What a function is called. Raises InputError for what cannot be called."""
    if not callable(yours):
        raise InputError(f"the answer must be a function, not {yours!r}: hand it over without ()")
    while hasattr(yours, "func"):  # functools.partial
        yours = yours.func
    return getattr(yours, "__name__", type(yours).__name__)


def _names(yours: Callable[..., Any], solution: Callable[..., Any]) -> list[str]:
    """The names of the arguments, as the reader calls them where they can be told."""
    for function in (yours, solution):
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            continue
        if all(p.kind == p.POSITIONAL_OR_KEYWORD for p in parameters if p.kind != p.KEYWORD_ONLY):
            return [p.name for p in parameters if p.kind != p.KEYWORD_ONLY]
    return []


NO_WORK = {"RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST", "POP_TOP", "CACHE"}


def unwritten(yours: Callable[..., Any]) -> bool:
    """Whether the body is `...`, `pass` or a docstring, or raises NotImplementedError at once."""
    code = getattr(inspect.unwrap(yours), "__code__", None)
    if code is None or code.co_name == "<lambda>":
        return False
    if not {step.opname for step in dis.get_instructions(code)} <= NO_WORK:
        return False
    if any(c is not None and c is not ... and not isinstance(c, str) for c in code.co_consts):
        return False  # it returns a number
    try:
        return "return" not in inspect.getsource(yours)
    except (OSError, TypeError):
        return True


def _outcome(function: Callable[..., Any], args: tuple[Any, ...], names: list[str]) -> Outcome:
    mine = deepcopy(args)
    try:
        with np.errstate(all="ignore"):  # the verdict says what a warning would
            result = deepcopy(function(*mine))
    except Exception as error:  # whatever the reader's code raises is part of the answer
        return Outcome(error=error)
    names = [*names, *(f"argument {i + 1}" for i in range(len(names), len(args)))]
    pairs = zip(names, mine, args, strict=False)
    return Outcome(result, changed=tuple(n for n, a, b in pairs if not _same(a, b)))


def _same(a: Any, b: Any) -> bool:
    if callable(b):
        return True
    return np.array_equal(np.asarray(a), np.asarray(b), equal_nan=np.asarray(b).dtype.kind == "f")


# ---- judging ---------------------------------------------------------------------------------


def _problem(outcome: Outcome, case: Case) -> str:
    """What is wrong with one result, in words; "" if nothing."""
    if outcome.error is not None:
        return f"it raises {raised(outcome.error)}"
    if outcome.result is None:
        return NOTHING
    expected, result = np.asarray(case.expected), _numbers(outcome.result)
    if result is None:
        return f"it returned {_short(outcome.result)}, which is no number and no array of numbers"
    if result.dtype.kind == "c" and expected.dtype.kind != "c":
        return "it returned complex numbers; expected real ones: take .real or .imag"
    if result.shape != expected.shape:
        return f"it returned {_kind(result)}; expected {_kind(expected)}"
    tolerance = SINGLE if result.dtype in (np.float32, np.float16) else TOLERANCE
    wrong = ~_close(result, expected, tolerance)
    if not wrong.any():
        changed = " and ".join(outcome.changed)
        return f"it changes its argument {changed}: work on a copy" if changed else ""
    if not expected.shape:
        return f"it returned {_both(result[()], expected[()])}"
    with np.errstate(invalid="ignore"):
        gap = np.where(wrong, np.abs(result * 1.0 - expected), 0)
    worst = np.unravel_index(np.argmax(np.where(np.isnan(gap), np.inf, gap)), gap.shape)
    where = f"at [{', '.join(map(str, worst))}] " if wrong.size > 1 else ""
    return f"{where}it returned {_both(result[worst], expected[worst])}"


def _numbers(result: Any) -> Any:
    try:
        array = np.asarray(result)
    except (TypeError, ValueError):  # rows of different lengths
        return None
    return array if array.dtype.kind in "biufc" else None


def _close(result: Any, expected: Any, tolerance: float = TOLERANCE) -> Any:
    """Entry by entry; an infinity may be expected."""
    with np.errstate(all="ignore"):
        gap = np.abs(result * 1.0 - expected)
        near = gap <= tolerance * np.maximum(1, np.abs(expected))
        return (result == expected) | (near & np.isfinite(expected))


def _both(result: Any, expected: Any) -> str:
    for digits in (6, 10, 17):
        mine, other = _number(result, digits), _number(expected, digits)
        if mine != other:
            break
    return f"{mine}; expected {other}"


def _number(x: Any, digits: int) -> str:
    if isinstance(x, bool | np.bool_):
        return str(bool(x))
    return (
        f"{int(x):,}"
        if np.isfinite(x) and x == int(x.real) and abs(x) < 1e15
        else f"{x:.{digits}g}"
    )


def _kind(x: Any) -> str:
    return f"an array of shape {x.shape}" if x.shape else "a single number"


def _short(x: Any) -> str:
    text = repr(x)
    return text if len(text) < 60 else text[:57] + "…"


# ---- the reason ------------------------------------------------------------------------------


def _reason(
    exercise: Exercise,
    yours: Callable[..., Any],
    did: list[Outcome],
    wrong: list[int],
    names: list[str],
) -> str:
    """The mistake that explains every case, in words; "" where none is known."""
    raises = all(did[i].error for i in wrong)  # as a rule its line says it all
    if changed := sorted({name for outcome in did for name in outcome.changed}):
        copies = " and ".join(f"{name} = {name}.copy()" for name in changed)
        return f"it changes its argument {' and '.join(changed)}; work on a copy, {copies}"
    for loose in (False, True):
        for sentence, theirs in exercise.mistaken:
            if any(loose and _tells(did[i]) for i in wrong) or not loose:
                pairs = zip(did, theirs, strict=True)
                if all(_alike(mine, other, loose) for mine, other in pairs):
                    return sentence
    if raises:
        return ""
    return (
        _related(exercise, did, names)
        or _related_to_a_mistake(exercise, did, names)
        or _unused(exercise, yours, names)
    )


def _tells(outcome: Outcome) -> bool:
    """Whether a wrong result is made of numbers, by which a mistake is recognised."""
    x = None if outcome.error else _numbers(outcome.result)
    return x is not None and x.dtype.kind != "c" and bool(np.isfinite(x).all())


def _alike(mine: Outcome, theirs: Outcome, loose: bool) -> bool:
    """Whether a mistake gives the same. loose: where the reader's function raises, or gives nan,
    anything may be meant."""
    if loose and not _tells(mine):
        return True
    if mine.error is not None or theirs.error is not None:
        return type(mine.error) is type(theirs.error)
    x, y = _numbers(mine.result), _numbers(theirs.result)
    if x is None or y is None or x.shape != y.shape:
        return False
    if (x.dtype.kind == "c") != (y.dtype.kind == "c"):
        return False
    with np.errstate(all="ignore"):
        undefined = (np.isnan(x) | np.isnan(y)) & ~np.isfinite(x) & ~np.isfinite(y)
        size = np.max(np.abs(y * 1.0), initial=0.0, where=np.isfinite(y))
        near = np.abs(x * 1.0 - y) <= (SINGLE if x.dtype == np.float32 else TOLERANCE) * size
    return bool(np.all(undefined | (x == y) | (near & np.isfinite(y))))


def _unused(exercise: Exercise, yours: Callable[..., Any], names: list[str]) -> str:
    """Which argument changes the expected result and never that of the reader's function."""
    cases = exercise.asked
    for i, name in enumerate(names[: min(len(c.args) for c in cases)]):
        moved = 0
        for one, other in pairwise([*cases, cases[0]]):
            args = (*one.args[:i], other.args[i], *one.args[i + 1 :])
            if np.shape(args[i]) == np.shape(one.args[i]) and _same(args[i], one.args[i]):
                continue
            due = [_outcome(exercise.solution, a, []) for a in (one.args, args)]
            mine = [_outcome(yours, a, []) for a in (one.args, args)]
            if any(o.error for o in (*due, *mine)) or _alike(due[0], due[1], False):
                continue
            if not _alike(mine[0], mine[1], False):
                break
            moved += 1
        else:
            if moved > 1:
                return f"the argument {name} has no effect: the answer is the same whatever it is"
    return ""


def _related_to_a_mistake(exercise: Exercise, did: list[Outcome], names: list[str]) -> str:
    """A known mistake whose numbers have another sign, or a factor, besides."""
    for sentence, theirs in exercise.mistaken[: len(exercise.mistakes)]:
        if not all(map(_tells, [*did, *theirs])):
            continue
        pairs = [
            Pair(
                _numbers(mine.result) * 1.0,
                _numbers(other.result) * 1.0,
                dict(zip(names, c.args, strict=False)),
            )
            for mine, other, c in zip(did, theirs, exercise.asked, strict=True)
        ]
        words = relation(pairs)
        if any(sign in words for sign in ("the sign is wrong", "to base", "times too")):
            return f"{sentence}; and besides, {words}"
    return ""


def _related(exercise: Exercise, did: list[Outcome], names: list[str]) -> str:
    pairs = []
    for outcome, c in zip(did, exercise.asked, strict=True):
        x = None if outcome.error else _numbers(outcome.result)
        if x is not None and x.dtype.kind != "c" and np.isfinite(x).all():
            args = dict(zip(names, c.args, strict=False))
            pairs.append(Pair(x * 1.0, np.asarray(c.expected) * 1.0, args))
    values = {float(x) for pair in pairs for x in pair.expected.flat}
    if len(pairs) < (len(did) + 1) // 2 or len(values) < 2 or not all(map(np.isfinite, values)):
        return ""  # a single number is in a hundred relations to another
    if found := relation(pairs):
        return found
    largest = max(map(abs, values))
    gaps = [
        np.max(np.abs(p.mine - p.expected)) / (np.max(np.abs(p.expected)) or largest)
        for p in pairs
        if p.mine.shape == p.expected.shape and p.expected.size
    ]
    if len(gaps) == len(did) and max(gaps) < 1e-3:
        return (
            f"it is right to {max(gaps):.0e} only, too much for rounding; is a small number added, "
            "a constant cut short, or a difference taken for a derivative?"
        )
    return ""


def _shown(args: tuple[Any, ...], names: list[str]) -> str:
    """The arguments by name; of long arrays only the shape."""
    shown = [
        f"{names[i]} = {_argument(arg)}" if i < len(names) else _argument(arg)
        for i, arg in enumerate(args)
    ]
    return ", ".join(shown)


def _argument(arg: Any) -> str:
    if callable(arg):
        return name_of(arg)
    if isinstance(arg, np.ndarray):
        text = " ".join(np.array2string(arg, precision=4, separator=", ").split())
        return text if arg.size <= 16 else f"an array {arg.shape} of {arg.dtype}"
    return _short(arg)
