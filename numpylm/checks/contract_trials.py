"""Pairs of texts of which some logits must agree, and the judgement of a difference.

A trial is a text, the same with some tokens changed, and the logits that may not move. Which trials
there are depends on the length and on how many tokens may be read; a Plan says which.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Array
from ..errors import InputError
from .contender_calls import Unreadable
from .contenders import ORDINARY, Contender

SHRINKS = 1e-3  # rounding of float64 beside that of float32 is 2e-9; a leak stays what it is
STAYS = 0.05
TINY = 1e-9  # relative: what float64 can round a deep model's logits to, with room
NOISE = 64  # eps: a difference of so little is rounding, whatever else is known
FINE = 1e-10  # eps of float64 is below, all others are above
CLEAR = 1e-2  # relative: enough to stop looking for a larger one
LOUD = 1e1, 1e2, 1e4, 1e6  # weights times these make scores beyond "large" numbers put into a mask
SEEN = 1e-3  # relative: a mask outdone by large scores moves logits by their own size


class Trial(NamedTuple):
    """Texts (B, T), the same with tokens changed from `start` on, and the logits that must stay."""

    base: Array
    changed: Array
    fixed: Any
    start: int = 0


class Move(NamedTuple):
    """The largest change of a logit that must stay: its size, also beside the largest logit."""

    size: float
    relative: float
    eps: float
    trial: Trial
    where: tuple[int, ...]  # row and, if there is one for each, position


@dataclass
class Tried:
    """What was read, for the sentence that says so."""

    lengths: set[int] = field(default_factory=set)
    batches: set[int] = field(default_factory=set)
    starts: set[int] = field(default_factory=set)
    words: set[int] = field(default_factory=set)
    refused: dict[tuple[int, ...], str] = field(default_factory=dict)

    def note(self, trial: Trial) -> None:
        B, T = trial.base.shape
        self.lengths.add(T)
        self.batches.add(B)
        self.starts.add(trial.start)
        for ids in (trial.base, trial.changed):
            self.words.update(ids[:, trial.start].tolist())


Trials = Callable[[], Iterable[Trial]]


def largest_move(contender: Contender, trials: Iterable[Trial], tried: Tried) -> Move | None:
    """The largest change relative to the logits; None where all stay what they are, bit for bit.

    Raises Unreadable if f can read none of the texts.
    """
    most, last, before = None, None, None
    for trial in trials:
        if trial.base.shape in tried.refused:
            continue
        try:
            if last is not trial.base:
                last, before = trial.base, contender.raw(trial.base)
            move = _move(contender, trial, before)
        except Unreadable as error:
            tried.refused[trial.base.shape] = str(error)
            last = None
            continue
        tried.note(trial)
        if move is not None and (most is None or move.relative > most.relative):
            most = move
            if most.relative > CLEAR:
                break
    if not tried.lengths:
        raise Unreadable(next(iter(tried.refused.values()), "there is no text to try"))
    return most


def _move(contender: Contender, trial: Trial, before: Array | None) -> Move | None:
    if before is None:
        before = contender.raw(trial.base)
    after = contender.raw(trial.changed)
    if before.ndim < 2 or before.shape != after.shape:
        raise InputError(
            f"f gave logits {before.shape} and then {after.shape} for ids {trial.base.shape}: "
            "the shape must follow from that of the ids"
        )
    moved = np.abs(after.astype(np.float64) - before)[trial.fixed]
    if not moved.size or not moved.max():
        return None
    size = float(moved.max())
    full = np.zeros(before.shape)
    full[trial.fixed] = moved
    where = np.unravel_index(full.argmax(), full.shape)[:2]
    scale = max(float(np.abs(before).max()), float(np.abs(after).max()))
    return Move(size, size / scale, contender.eps, trial, tuple(map(int, where)))


# ---- leak or rounding ------------------------------------------------------------------------

LEAK, ROUNDING, UNCLEAR = "leak", "rounding", "unclear"
REACHED, OVERFLOW, UNREACHED = "reached", "overflow", "unreached"


def judged(contender: Contender, move: Move, trials: Trials) -> tuple[str, Move]:
    """What a difference is, by the same trial in a second precision; and the move that tells.

    Rounding is about 2e-9 times as large in float64 as in float32. A leak has its size in both.
    Where only float32 can be had, less than ORDINARY eps is left open.
    """
    eps = move.eps
    coarse = eps > FINE
    with contender.in_precision(np.float64 if coarse else np.float32) as twin:
        second = _again(twin, move.trial)
        if second is not None and (twin.eps < FINE) == coarse:
            low, high = (move.relative, second) if coarse else (second, move.relative)
            if high <= max(SHRINKS * low, NOISE * 2.0**-52) and high < TINY:
                hidden = largest_move(twin, trials(), Tried()) if coarse else None
                if hidden is not None and hidden.relative > TINY:
                    return LEAK, hidden
                return ROUNDING, move
            return (LEAK if high > STAYS * low else UNCLEAR), move
    if not coarse and move.relative <= ORDINARY * eps:
        return ROUNDING, move
    return (UNCLEAR if move.relative < min(ORDINARY * eps, 0.1) else LEAK), move


def _again(contender: Contender, trial: Trial) -> float | None:
    """The relative size of the same trial; None if it stops."""
    try:
        with np.errstate(all="ignore"):
            move = _move(contender, trial, contender.raw(trial.base))
    except InputError:
        return None
    return 0.0 if move is None else move.relative


# ---- large scores ----------------------------------------------------------------------------


def loudest_move(contender: Contender, trials: Trials) -> tuple[str, Move | None, float]:
    """What came of larger weights; the largest move of a logit, and how many times as large.

    A mask that adds −1e4 or −1e9 leaves exact zeros at ordinary scores. All weights times LOUD make
    scores that outdo it, and random signs make scores of either sign. In float64, because the
    logits grow with the weights; where they are not finite any more, that size says nothing.
    """
    result = UNREACHED
    with contender.in_precision(np.float64) as wide:
        first = next(iter(trials())).base
        plain = _quietly(wide, first)
        for factor, signs in product(LOUD, (False, True)):
            with wide.louder(factor, signs) as found, np.errstate(all="ignore"):
                louder = _quietly(wide, first) if found else plain
                if louder is not None and plain is not None and np.array_equal(louder, plain):
                    continue
                result = OVERFLOW if result == UNREACHED else result
                try:
                    move = largest_move(wide, trials(), Tried())
                except InputError:
                    continue
                result = REACHED
                if move is not None and move.relative > SEEN:
                    return REACHED, move, factor
    return result, None, 0.0


def _quietly(contender: Contender, ids: Array) -> Array | None:
    try:
        with np.errstate(all="ignore"):
            return contender.raw(ids)
    except InputError:
        return None
