"""Has a training diverged, where did it begin, and what is to blame?"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .errors import InputError
from .model import first_non_finite
from .parallel import Shares

ABSURD = 1.5  # times what knowing nothing costs: noise and unlucky first numbers stay below
LAST = 10  # losses whose mean is taken for the last one


class Diverged(InputError):
    """A number is not finite: the steps, or the numbers to start from, were too large."""


def require_finite(when: str, trees: Iterable[tuple[str, Any]], started: bool, clip: float) -> None:
    """Raise Diverged with the first array of (kind, tree) that holds a nan or an infinity."""
    for kind, tree in trees:
        if bad := first_non_finite(tree):
            what = f"{kind} {bad.name}".strip()
            place = f" at {list(bad.where)}" if bad.where else ""
            raise Diverged(f"{when}: {what} is {bad.value}{place}; {advice(started, clip)}")


def trees_of(caches: Any) -> Iterable[tuple[str, Any]]:
    """What a loss computed, share by share, in the order of computation."""
    for cache in caches.caches if isinstance(caches, Shares) else [caches]:
        if isinstance(cache, tuple) and len(cache) == 2:
            yield from (("activation", cache[0]), ("output", cache[1]))
        else:
            yield "activation", cache


def advice(started: bool, clip: float) -> str:
    """What to change: the steps, or, where it was wrong before the first, the initial numbers."""
    if not started:
        return "it was so before the first step: start from smaller numbers, a smaller init_std"
    return (
        "training has diverged: choose a smaller learning rate, a longer warm-up, or a "
        f"{f'clip below {clip:g}' if clip else 'clip of 1'}"
    )


def remark(losses: Sequence[float], chance: float | None, clip: float) -> str:
    """A sentence about a training whose losses stayed finite and are yet absurd; "" for others.

    chance: the loss of knowing nothing, ln V; where nobody knows it, None, and the first loss
    stands for it.
    """
    if not len(losses):
        return ""
    first, last = float(losses[0]), float(np.mean(losses[-LAST:]))
    least = first if chance is None else chance
    if last <= ABSURD * least:
        return ""
    name = "the first" if chance is None else "that of knowing nothing"
    return (
        f"the last losses, {last:.3g} nats, are far above {name}, {least:.3g}: "
        f"{advice(first <= ABSURD * least, clip)}"
    )
