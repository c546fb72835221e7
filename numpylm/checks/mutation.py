"""Wrong on purpose: how a mistake is written down, and how it is slipped into the library.

    edit("dh = dh + dy", "dh = dy")           one line of the right code, written wrongly
    result(1, np.zeros_like)                  the right result, one array of it changed

Both turn the right function into a wrong one. `applied(mutant)` puts the wrong one in the place of
the right one, wherever numpylm uses it, for the length of a `with` block.
"""

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache, partial
from typing import Any

import numpy as np

from .. import blocks
from ..errors import InputError

Wrong = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(frozen=True)
class Mutant:
    """One mistake.

    name      a few words for a table
    sentence  what a learner reads: what stands there, and what should
    formula   the ID of the formula that it breaks
    changes   (target, wrong) pairs. A target is a function of numpylm or Class.method, and `wrong`
              makes the mistaken function out of the right one. The first target is the main one.
    proof     only for a mistake that is none: why no check can see it
    """

    name: str
    sentence: str
    formula: str
    changes: tuple[tuple[str, Wrong], ...]
    proof: str = ""

    @property
    def target(self) -> str:
        return self.changes[0][0]

    @cached_property
    def subject(self) -> str:
        """What is mistaken: an op ("attention"), a class ("GPT", "Adam"), or a function."""
        owner, _, _ = self.target.partition(".")
        return re.sub(r"_(forward|backward)$", "", owner)

    @property
    def changes_forward(self) -> bool:
        """Whether numerical gradients may differ with it, and not only those of the code."""
        return not all(map(_is_backward, self._targets))

    @property
    def changes_backward(self) -> bool:
        return any(map(_is_backward, self._targets))

    @property
    def _targets(self) -> list[str]:
        return [target for target, _ in self.changes]

    def __str__(self) -> str:
        return f"{self.target}: {self.name}"


def _is_backward(target: str) -> bool:
    return "backward" in target or target.endswith("_towards_e")


# ---- ways to be wrong ------------------------------------------------------------------------


def edit(right_text: str, wrong_text: str) -> Wrong:
    """The function, with `wrong_text` in its source where `right_text` stands, exactly once."""

    def wrong(right: Callable[..., Any]) -> Callable[..., Any]:
        source = _source(right)
        if source.count(right_text) != 1:
            raise InputError(
                f"{right.__qualname__} holds {source.count(right_text)} times the text "
                f"{right_text!r}, and an edit needs it once: write this mutant anew"
            )
        source = source.replace(right_text, wrong_text)
        made: dict[str, Any] = {}
        try:
            exec(source, right.__globals__, made)
        except SyntaxError as error:
            raise InputError(f"{wrong_text!r} is no Python there: {error}") from error
        mistaken = made[right.__name__]
        mistaken.source = source
        result: Callable[..., Any] = mistaken
        return result

    return wrong


@lru_cache(256)
def _source(function: Callable[..., Any]) -> str:
    """Its source without decorators, a method's under an `if`, which keeps its indentation."""
    if source := getattr(function, "source", ""):  # an edit of an edit
        return source
    if "<locals>" in function.__qualname__:
        raise InputError(f"{function.__qualname__} has been made by a mistake: it cannot be edited")
    lines = inspect.getsource(function).splitlines(keepends=True)
    while not lines[0].lstrip().startswith("def "):
        del lines[0]
    return "".join(["if True:\n", *lines] if lines[0].startswith(" ") else lines)


def result(i: int, change: Callable[..., Any]) -> Wrong:
    """The i-th array that the function returns, changed (the only one, if it returns but one)."""

    def wrong(right: Callable[..., Any]) -> Callable[..., Any]:
        def function(*args: Any) -> Any:
            answer = right(*args)
            if not isinstance(answer, tuple):
                return change(answer)
            return *answer[:i], change(answer[i]), *answer[i + 1 :]

        return function

    return wrong


def mistakes(target: str, formula: str, *rows: tuple[str, str, Wrong]) -> list[Mutant]:
    """Mutants of one function: a name, a sentence and the change for each."""
    return [Mutant(name, text, formula, ((target, wrong),)) for name, text, wrong in rows]


def scaled(i: int, factor: float) -> Wrong:
    """The i-th array times a factor."""
    return result(i, lambda dx: dx * factor)


def zero(i: int) -> Wrong:
    """The i-th array without any of its numbers."""
    return result(i, np.zeros_like)


def transposed(i: int) -> Wrong:
    """The i-th array with its last two axes exchanged, poured into the right shape."""
    return result(i, lambda dx: dx.swapaxes(-1, -2).reshape(dx.shape))


# ---- slipping it in --------------------------------------------------------------------------


@contextmanager
def applied(*mutants: Mutant) -> Iterator[None]:
    """Within the block, every user of a mutant's targets gets the wrong function."""
    undo: list[Callable[[], None]] = []
    try:
        for mutant in mutants:
            for target, wrong in mutant.changes:
                _replace(target, wrong, undo)
        yield
    finally:
        for step in reversed(undo):
            step()


def _replace(target: str, wrong: Wrong, undo: list[Callable[[], None]]) -> None:
    owner, _, method = target.rpartition(".")
    if owner:
        kind = find(owner)
        stored = vars(kind)[method]
        mistaken: Any = wrong(getattr(kind, method))
        undo.append(partial(setattr, kind, method, stored))
        setattr(kind, method, staticmethod(mistaken) if type(stored) is staticmethod else mistaken)
        return
    right = find(target)
    mistaken = wrong(right)
    for module in _modules():
        if vars(module).get(target) is right:  # nothing that a module would import when asked
            undo.append(partial(setattr, module, target, right))
            setattr(module, target, mistaken)
    for name, (forward, backward) in blocks.ACTIVATIONS.items():
        if right in (forward, backward):
            undo.append(partial(blocks.ACTIVATIONS.__setitem__, name, (forward, backward)))
            pair = (mistaken, backward) if right is forward else (forward, mistaken)
            blocks.ACTIVATIONS[name] = pair


def find(name: str) -> Any:
    """The function, class or method of numpylm of this name, as it now is."""
    name, _, method = name.partition(".")
    for module in _modules():
        if callable(found := vars(module).get(name)):
            return getattr(found, method) if method else found
    raise InputError(f"numpylm has nothing called {name!r}")


def _modules() -> tuple[Any, ...]:
    return _modules_among(len(sys.modules))


@cache
def _modules_among(loaded: int) -> tuple[Any, ...]:
    """The modules of numpylm; sought anew whenever more modules are loaded."""
    return tuple(m for name, m in sys.modules.items() if name.startswith("numpylm."))
