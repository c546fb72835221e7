"""A promise of the data: targets are the next tokens."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import numpy as np

from ..arrays import Array
from ..errors import InputError
from .verdicts import BROKEN, KEPT, NOT_APPLICABLE, UNDECIDED, Verdict

SHIFTED = "targets are shifted"
BATCHES = 8  # read of a loader
SHIFTS = range(-3, 4)
FEW = 12  # agreements between ids and targets that chance may well make
NAMES = ("input_ids", "ids", "x", "inputs", "input"), ("labels", "targets", "y", "target", "label")


# ---- targets ---------------------------------------------------------------------------------


def targets_are_shifted(ids: Any, targets: Any = None) -> Verdict:
    """The target of each position is the token after it: y_t = x_{t+1}.

    ids, targets (B, T), arrays or tensors; or one argument: such a pair, a dict with input_ids and
    labels, a function that gives one at each call, or a loader of several. Negative targets
    (IGNORE) are left out. Text agrees with itself at other shifts too, so all from −3 to 3 are
    compared; where several fit, as in "a a a a", nothing can be told. The last target of a window
    is not among its ids: of it is asked only that it is not its first token, as np.roll makes it.
    """
    pairs = [_pair(batch) for batch in _batches(ids, targets)]
    if not pairs:
        raise InputError("there is no batch to look at: the loader is empty")
    if all(y.ndim == 1 for _, y in pairs):
        return _single_targets(pairs)
    counts = {s: np.sum([_agreements(x, y, s) for x, y in pairs], axis=0) for s in SHIFTS}
    shares = {s: float(agree / max(n, 1)) for s, (agree, n) in counts.items()}
    numbers = {f"shift {s:+d}": share for s, share in shares.items()}
    right, total = shares[1], int(counts[1][1])
    exact = [s for s in SHIFTS if shares[s] == 1.0 and counts[s][1]]
    if not total:
        says = "no target can be compared: each is ignored, or stands after the window"
        return Verdict(SHIFTED, UNDECIDED, says, numbers)
    if right == 1.0:
        return _all_right(pairs, [s for s in exact if s != 1], total, numbers)
    if exact:
        return Verdict(SHIFTED, BROKEN, _of_shift(exact[0]) + _also(exact[1:]), numbers)
    if _are_masked(pairs):
        says = (
            "most targets are ignored and the others stand where ids hide a token: that is a "
            "masked language model, which predicts no next token"
        )
        return Verdict(SHIFTED, NOT_APPLICABLE, says, numbers)
    return Verdict(SHIFTED, BROKEN, _partly(pairs, shares, total), numbers)


def _all_right(
    pairs: list[tuple[Array, Array]], also: list[int], total: int, numbers: Mapping[str, float]
) -> Verdict:
    if also:
        says = (
            f"all {total} targets are the next token, but also the token at "
            f"{_listed(also)}: this text repeats itself, so nothing can be told. Use another batch"
        )
        return Verdict(SHIFTED, UNDECIDED, says, numbers)
    if total < FEW:
        says = f"only {total} targets can be compared, which chance could make: use a larger batch"
        return Verdict(SHIFTED, UNDECIDED, says, numbers)
    rolled = np.concatenate([(y[:, -1] == x[:, 0])[y[:, -1] >= 0] for x, y in pairs])
    if rolled.size > 1 and rolled.all():
        says = (
            "the last target of every row is its first token. Usual cause: np.roll(ids, -1), "
            "which wraps; take windows of T + 1 tokens and cut them, w[:, :-1] and w[:, 1:]"
        )
        return Verdict(SHIFTED, BROKEN, says, numbers)
    says = f"all {total} targets that can be compared are the next token"
    return Verdict(SHIFTED, KEPT, says, numbers)


def _of_shift(s: int) -> str:
    if s == 0:
        return (
            "every target is the token at its own position, y_t = x_t: the best model is a copy. "
            "Take windows w of T + 1 tokens: ids = w[:, :-1], targets = w[:, 1:]. (Where the model "
            "shifts its labels itself, as those of Hugging Face do, this is right: hand over "
            "ids[:, :-1] and labels[:, 1:])"
        )
    if s < 0:
        return f"every target is the token {-s} before its position: shifted in the wrong direction"
    return f"every target is the token {s} after its position, not the next: shifted {s} times"


def _also(shifts: list[int]) -> str:
    return f". So is the token at {_listed(shifts)}" if shifts else ""


def _listed(shifts: list[int]) -> str:
    return ", ".join(f"{s:+d}" for s in shifts)


def _partly(pairs: list[tuple[Array, Array]], shares: Mapping[int, float], total: int) -> str:
    best = max(shares, key=lambda s: shares[s])
    rows = []
    for x, y in pairs:
        for row in range(len(x)):
            agree = {s: _agreements(x[row : row + 1], y[row : row + 1], s) for s in SHIFTS}
            fits = [s for s, (a, n) in agree.items() if n and a == n]
            if 1 not in fits:
                rows.append((row, fits[0] if fits else None))
    row, shift = rows[0]
    if shares[1] > 0.5:
        column = _wrong_column(pairs)
        where = f"position {column}" if column is not None else f"row {row}"
        return (
            f"{1 - shares[1]:.1%} of {total} targets are not the next token, first in {where}"
            + (f" (there they are the token at {shift:+d})" if shift is not None else "")
        )
    if other := _other_row(pairs):
        return other
    return (
        f"only {shares[1]:.1%} of {total} targets are the next token (the best of the shifts is "
        f"{best:+d}, {shares[best]:.1%}): ids and targets are not of the same text"
    )


def _wrong_column(pairs: list[tuple[Array, Array]]) -> int | None:
    """The one position at which targets are wrong, if it is one."""
    wrong = set()
    for x, y in pairs:
        wrong |= set(np.flatnonzero(((y[:, :-1] != x[:, 1:]) & (y[:, :-1] >= 0)).any(axis=0)))
    return int(wrong.pop()) if len(wrong) == 1 else None


def _other_row(pairs: list[tuple[Array, Array]]) -> str:
    x, y = pairs[0]
    for row in range(len(x)):
        for other in range(len(x)):
            if other != row and (y[row, :-1] == x[other, 1:]).all() and x.shape[1] > 3:
                return (
                    f"the targets of row {row} are those of row {other}: ids and targets were "
                    "shuffled apart"
                )
    return ""


def _are_masked(pairs: list[tuple[Array, Array]]) -> bool:
    counted = np.concatenate([(y >= 0).ravel() for _, y in pairs])
    if counted.mean() > 0.5:
        return False
    seen = np.concatenate([x.ravel() for x, _ in pairs])[counted]
    return bool(seen.size and np.unique(seen, return_counts=True)[1].max() > 0.5 * seen.size)


def _single_targets(pairs: list[tuple[Array, Array]]) -> Verdict:
    same = float(np.concatenate([y == x[:, -1] for x, y in pairs]).mean())
    numbers = {"the last token": same}
    if same == 1.0 and sum(len(y) for _, y in pairs) > 3:
        says = "the target of every row is its own last token, not the token after it"
        return Verdict(SHIFTED, BROKEN, says, numbers)
    says = "there is one target for each row, after its last token: it is not among the ids"
    return Verdict(SHIFTED, UNDECIDED, says, numbers)


def _agreements(x: Array, y: Array, s: int) -> tuple[int, int]:
    """How many counted y_t equal x_{t+s}, and of how many."""
    T = x.shape[1]
    ids, targets = (x[:, s:], y[:, : T - s]) if s >= 0 else (x[:, :s], y[:, -s:])
    counted = targets >= 0
    return int(((ids == targets) & counted).sum()), int(counted.sum())


def _batches(ids: Any, targets: Any) -> list[Any]:
    if targets is not None:
        return [(ids, targets)]
    if callable(ids) and not hasattr(ids, "shape"):
        return [ids() for _ in range(BATCHES)]
    if isinstance(ids, Mapping) or (isinstance(ids, tuple | list) and len(ids) == 2):
        return [ids]
    if isinstance(ids, Iterable) and not hasattr(ids, "shape"):
        return list(islice(ids, BATCHES))
    raise InputError("give ids and targets, or a batch, a function or a loader that holds both")


def _pair(batch: Any) -> tuple[Array, Array]:
    """ids (B, T) and targets (B, T) or (B,), as arrays of integers."""
    if isinstance(batch, Mapping):
        found = [next((batch[n] for n in names if n in batch), None) for names in NAMES]
        if any(part is None for part in found):
            raise InputError(
                f"a batch with the names {', '.join(map(str, batch))} lacks ids (input_ids) or "
                "targets (labels): hand over the pair"
            )
        batch = found
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        raise InputError(f"a batch must be a pair of ids and targets, not a {_kind(batch)}")
    x, y = (_ids(part) for part in batch[:2])
    if y.ndim == x.ndim + 1:
        y = y.argmax(axis=-1)  # one-hot
    if x.ndim == 1:
        x, y = x[None], np.atleast_2d(y)
    if x.ndim != 2 or y.shape not in (x.shape, x.shape[:1]):
        raise InputError(f"ids {x.shape} and targets {y.shape} must both be (B, T), or (B,)")
    return x, y


def _kind(value: Any) -> str:
    return type(value).__name__


def _ids(given: Any) -> Array:
    if hasattr(given, "detach"):
        given = given.detach().cpu().numpy()
    array = np.asarray(given)
    if array.dtype.kind not in "iu" and array.ndim < 3:
        raise InputError(f"ids and targets must be integers, not {array.dtype}")
    return array.astype(np.int64) if array.ndim < 3 else array
