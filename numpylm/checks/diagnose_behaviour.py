"""What a function does besides answering: what it changes, keeps, and loses on the way."""

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from ..arrays import Array
from ..model import Model
from . import recurrences
from .diagnose_cases import Failure, Probe, Subject, fresh
from .diagnose_compare import EXACT, Answers, apart

NUDGE = 1 + 2.0**-40  # float64 sees it, float32 does not


def arrays_in(tree: Any, name: str = "") -> Iterator[tuple[str, Array]]:
    """Every array of an argument, with the part of it by name."""
    if isinstance(tree, Model):
        yield name, tree.params.flat
    elif isinstance(tree, np.ndarray):
        yield name, tree
    elif isinstance(tree, dict):
        for key, part in tree.items():
            yield from arrays_in(part, f"{name}[{key!r}]")
    elif isinstance(tree, list | tuple):
        fields = getattr(tree, "_fields", range(len(tree)))
        for field, part in zip(fields, tree, strict=True):
            inner = f"{name}.{field}" if isinstance(field, str) else f"{name}[{field}]"
            yield from arrays_in(part, inner)


def _named(probe: Probe, args: tuple[Any, ...], names: list[str]) -> Iterator[tuple[str, Array]]:
    """The arrays of all arguments; those of the cache by the names that its parts have."""
    for name, arg in zip(names, args, strict=True):
        if arg is args[-1] and len(args) > 1 and isinstance(arg, tuple):
            parts = probe.parts if len(probe.parts) == len(arg) else [*map(str, range(len(arg)))]
            for part, inner in zip(parts, arg, strict=True):
                words = part if part.isidentifier() else f"number {int(part) + 1}"
                for _, x in arrays_in(inner):
                    yield f"the cached {words}", x
        elif arg is args[-1] and len(args) > 1 and len(probe.parts) == 1:
            yield from ((f"the cached {probe.parts[0]}", x) for _, x in arrays_in(arg))
        else:
            yield from ((name, x) for _, x in arrays_in(arg))


def parameter_names(function: Callable[..., Any], asked: Subject) -> list[str]:
    """What the reader calls the arguments; else what the library does."""
    usual = [word.strip() for word in asked.signature.strip("()").split(",")]
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return usual
    plain = [p.name for p in parameters if p.kind == p.POSITIONAL_OR_KEYWORD]
    return plain if len(plain) >= len(usual) else usual


def changed(function: Callable[..., Any], asked: Subject) -> list[str]:
    """The arguments, and the parts of the cache, that a function leaves changed behind it."""
    found: list[str] = []
    for probe in _few(asked):
        names = parameter_names(function, asked)
        names = [*names, *(f"argument {i + 1}" for i in range(len(names), len(probe.args)))]
        names = names[: len(probe.args)]
        before = [x.copy() for _, x in _named(probe, probe.args, names)]
        with fresh(probe.args) as args:
            try:
                with np.errstate(all="ignore"):
                    function(*args)
            except Exception:  # what it raises is said elsewhere
                continue
            for (name, x), old in zip(_named(probe, args, names), before, strict=True):
                if not np.array_equal(x, old, equal_nan=old.dtype.kind == "f"):
                    found += [name] if name not in found else []
    return found


def taken_over(asked: Subject, array: str, mine: Answers) -> str:
    """ "dk is the cached k itself", if it is one of the arguments wherever it was asked."""
    common: set[str] | None = None
    for probe, answer in zip(asked.probes, mine, strict=True):
        if isinstance(answer, Failure) or not answer or array not in answer or not probe.args:
            continue
        names = [word.strip() for word in asked.signature.strip("()").split(",")]
        given = dict(_named(probe, probe.args, names[: len(probe.args)]))
        if isinstance(probe.args[0], Model):
            given = {f"the parameter {array}": probe.args[0].params[array]}
        here = {name for name, x in given.items() if np.array_equal(x, answer[array])}
        common = here if common is None else common & here
    return f"{array} is {min(common)} itself" if common else ""


def unchanged(asked: Subject, array: str, mine: Answers) -> str:
    """Of an optimizer: that a parameter has not moved."""
    if asked.name not in ("Adam", "SGD"):
        return ""
    at_first, _ = recurrences.start()
    same = all(m and np.array_equal(m[array], at_first[array]) for m in mine)
    return f"{array} is unchanged: a step must change the parameters in place" if same else ""


def keeps_something(function: Callable[..., Any], asked: Subject) -> bool:
    """Whether a second call with the same arguments answers otherwise."""
    for probe in _few(asked)[:1]:
        first, second = probe.answer(function), probe.answer(function)
        if isinstance(first, Failure) or isinstance(second, Failure):
            return False
        return apart(first, second, first) > EXACT
    return False


def _few(asked: Subject) -> list[Probe]:
    probes = [probe for probe in asked.probes if probe.args]
    return probes if len(probes) < 8 else [*probes[:3], *probes[-2:]]


def loses_digits(function: Callable[..., Any], right: Callable[..., Any], asked: Subject) -> bool:
    """Whether it computes through float32 although it returns float64.

    Arguments that are float32 numbers then lose nothing, and it is right for them; or some argument
    can be moved by a part in 10^12 without a change of most numbers of the answer, and of the right
    one all change.
    """
    probes = _few(asked)[:2]
    return all(_right_for_float32(function, right, probe) for probe in probes) or any(
        _is_coarse(function, right, probe) for probe in probes
    )


def _right_for_float32(
    function: Callable[..., Any], right: Callable[..., Any], probe: Probe
) -> bool:
    with fresh(probe.args) as args:
        for x in _floats(args):
            x[...] = x.astype(np.float32)
        answers = []
        for f in (function, right):
            with fresh(args) as mine:
                ask = partial(_read, probe, mine)
                answers.append(probe._replace(ask=ask).answer(f))
    return apart(answers[0], answers[1], answers[1]) <= EXACT


def _read(probe: Probe, args: tuple[Any, ...], function: Callable[..., Any]) -> Any:
    return {name: np.array(x) for name, x in probe.read(function(*args)).items()}


def _is_coarse(function: Callable[..., Any], right: Callable[..., Any], probe: Probe) -> bool:
    at_rest, exact = _numbers(probe, function, None), _numbers(probe, right, None)
    if at_rest is None or exact is None:
        return False
    if np.array_equal(at_rest, at_rest.astype(np.float32)):
        return True
    for i in range(len(list(_floats(probe.args)))):
        mine, due = _numbers(probe, function, i), _numbers(probe, right, i)
        if mine is None or due is None or mine.shape != due.shape:
            continue
        moved = due != exact
        if moved.any() and np.mean((mine == at_rest)[moved]) > 0.5:
            return True
    return False


def _numbers(probe: Probe, function: Callable[..., Any], nudged: int | None) -> Array | None:
    """All numbers of the answer, with one array of the arguments moved a little."""
    with fresh(probe.args) as args:
        if nudged is not None:
            x = list(_floats(args))[nudged]
            x *= NUDGE
        answer = probe._replace(ask=partial(_read, probe, args)).answer(function)
    if isinstance(answer, Failure):
        return None
    return np.concatenate([np.ravel(x).astype(np.float64) for x in answer.values()])


def _floats(args: tuple[Any, ...]) -> Iterator[Array]:
    for arg in args:
        for _, x in arrays_in(arg):
            if x.dtype == np.float64 and x.size and x.flags.writeable:
                yield x
