"""No prediction may see the other texts of its batch."""

from collections.abc import Iterator

import numpy as np

from ..arrays import Rng
from .contenders import Contender
from .contract_causality import affordable, generator, listed, precision, some_texts
from .contract_trials import LEAK, ROUNDING, Trial, Tried, judged, largest_move
from .verdicts import BROKEN, KEPT, UNDECIDED, Verdict


def independence(model: object, rng: Rng | None = None) -> Verdict:
    """Another text in one row of the batch leaves the logits of all other rows, bit for bit.

    Every row in turn, in batches of 2, 4 and 9 and some rows of 33, at several lengths. Rounding
    that depends on the other rows is told from seeing them as in `causality`.
    """
    contender, rng = Contender.of(model), generator(rng)
    contender.logits_twice(contender.texts(rng, 2))
    seed, tried, name = int(rng.integers(2**32)), Tried(), "independence"

    def trials() -> Iterator[Trial]:
        return _row_trials(contender, np.random.default_rng(seed))

    move = largest_move(contender, trials(), tried)
    says = (
        "another text in one row of the batch changes no logit of another row. Tried: batches of "
        f"{listed(tried.batches)}, texts of {listed(tried.lengths)} tokens{contender.remark}"
    )
    if move is None:
        return Verdict(name, KEPT, says, {"difference": 0.0})
    kind, move = judged(contender, move, trials)
    numbers = {"difference": move.size, "relative": move.relative}
    if kind == ROUNDING:
        says = says.replace("changes no logit of another row", "moves others by rounding only")
        return Verdict(name, KEPT, says, numbers)
    row = int(np.flatnonzero((move.trial.base != move.trial.changed).any(axis=1))[0])
    says = (
        f"another text in row {row} of a batch {move.trial.base.shape} moves the logits of row "
        f"{move.where[0]} by {move.size:.3g}"
    )
    if kind == LEAK:
        says += (
            ". Usual cause: the axes of batch and time are swapped (batch_first), so that "
            "attention runs across the batch; or a norm is taken over the batch"
        )
        return Verdict(name, BROKEN, says + contender.remark, numbers)
    says += f": in {precision(move)} that may be rounding. Hand over f with its weights in float64"
    return Verdict(name, UNDECIDED, says, numbers)


def _row_trials(contender: Contender, rng: Rng) -> Iterator[Trial]:
    T, left = contender.length, affordable(contender, contender.length)
    for length in sorted({T, min(T, 5), 2, max(T // 2, 2)}, reverse=True):
        for B, rows in ((4, 4), (2, 2), (9, 9), (33, 4)):
            if B * length * (rows + 1) > left and (B, length) != (4, T):
                continue
            left -= B * length * (rows + 1)
            base = some_texts(contender, rng, B, length, B)
            for row in rng.permutation(B)[:rows]:
                changed = base.copy()
                changed[row] = contender.others(rng, base[row])
                yield Trial(base, changed, np.arange(B) != row)
