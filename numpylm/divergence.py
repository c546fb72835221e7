"""Has a training diverged, where did it begin, and what is to blame?"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from .errors import InputError
from .model import first_non_finite
from .parallel import Shares

ABSURD = 1.5  # times what knowing nothing costs: noise and unlucky first numbers stay below
LAST = 10  # losses whose mean is taken for the last one


class Diverged(InputError):
    """A number is not finite: the steps, or the numbers to start from, were too large."""


def blame_step(training: Any, cache: Any, grads: Any, loss: Any, norm: float) -> None:
    """Raise Diverged with the first array of a step that went bad, in the order of computation.

    cache: of the loss; it and all else may hold more than one share.
    """
    trees: list[tuple[str, Any]] = [("parameter", training.model.params)]
    for share in cache.caches if isinstance(cache, Shares) else [cache]:
        pair = isinstance(share, tuple) and len(share) == 2
        trees += zip(("activation", "output"), share if pair else [share], strict=False)
    trees += [("gradient", grads), ("the loss", np.asarray(loss))]
    trees.append(("the norm of the gradient", np.asarray(norm)))
    _require(training, f"step {training.steps_done + 1}", trees)


def require_finite(training: Any) -> None:
    """Raise Diverged where a parameter or a number of the optimizer is not finite."""
    trees = [("parameter", training.model.params)]
    if hasattr(training.optimizer, "state"):
        trees.append(("the optimizer's", training.optimizer.state()))
    _require(training, f"after step {training.steps_done}", trees)


def _require(training: Any, when: str, trees: Iterable[tuple[str, Any]]) -> None:
    for kind, tree in trees:
        if bad := first_non_finite(tree):
            what = f"{kind} {bad.name}".strip()
            place = f" at {list(bad.where)}" if bad.where else ""
            why = advice(training.steps_done > 0, training.clip)
            raise Diverged(f"{when}: {what} is {bad.value}{place}; {why}")


def advice(started: bool, clip: float) -> str:
    """What to change: the steps, or, where it was wrong before the first, the initial numbers."""
    if not started:
        return "it was so before the first step: start from smaller numbers, a smaller init_std"
    return (
        "training has diverged: choose a smaller learning rate, a longer warm-up, or a "
        f"{f'clip below {clip:g}' if clip else 'clip of 1'}"
    )


def remark(losses: Any, chance: float | None, clip: float) -> str:
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
