"""No prediction may see what it predicts, nor the other texts of its batch."""

from collections.abc import Iterator

import numpy as np

from ..ops import Array
from .contenders import BOTH, Contender
from .contract_trials import (
    LEAK,
    LOUD,
    ROUNDING,
    Move,
    Trial,
    Tried,
    judged,
    largest_move,
    loudest_move,
)
from .verdicts import BROKEN, KEPT, NOT_APPLICABLE, UNDECIDED, Verdict

ROUNDS = 64  # texts at most in which every position is changed
BATCHES = 1, 2, 9, 33
PRECISIONS = {"float64": 1e-15, "float32": 2e-7, "float16": 1e-3, "bfloat16": 1.0}  # eps
SHARES = 0.6, 0.25, 0.15  # of the tokens: every position, every length, other batches


def generator(rng: np.random.Generator | None) -> np.random.Generator:
    return np.random.default_rng(0) if rng is None else rng


# ---- causality -------------------------------------------------------------------------------


def causality(model: object, rng: np.random.Generator | None = None) -> Verdict:
    """Other tokens from j on leave every logit before j unchanged, bit for bit.

    A masked weight is 0, and 0 times anything adds nothing; so the difference is not small but 0.
    j runs over the whole context as long as `budget` lasts, in several texts: of one word, of two,
    of all. Either all tokens from j on change or j alone. Shorter texts and other batches follow;
    the verdict says which.

    Two kinds of difference are looked at twice. An honest model that computes by FFT, or shifts a
    softmax by a maximum over time, differs by its rounding, which a second precision tells from a
    leak. A mask that is a large finite number gives zeros at first: −1e4 is nothing beside scores
    of −2e4, which a model can learn. So all weights are made larger, up to a millionfold; where
    none can be reached, the verdict is "undecided".
    """
    contender, rng = Contender.of(model), generator(rng)
    name = "causality"
    if contender.kind == BOTH:
        says = "every position of this model reads the whole text, later tokens too, by design"
        return Verdict(name, NOT_APPLICABLE, says)
    if contender.logits_twice(contender.texts(rng, 2)).ndim == 2:
        says = "only the token after the last is predicted: there is nothing later to see"
        return Verdict(name, KEPT, says, {"difference": 0.0})
    seed, tried = int(rng.integers(2**32)), Tried()

    def trials() -> Iterator[Trial]:
        return causal_trials(contender, np.random.default_rng(seed))

    move = largest_move(contender, trials(), tried)
    if move is None:
        return _unmoved(contender, tried, seed)
    kind, move = judged(contender, move, trials)
    numbers = {"difference": move.size, "relative": move.relative}
    if kind == LEAK:
        return Verdict(name, BROKEN, _where_seen(contender, move) + contender.remark, numbers)
    if kind == ROUNDING:
        says = (
            f"later tokens move earlier logits by {move.relative:.1g} of their size, which is the "
            f"{precision(move)}: it shrinks as precision grows, which no leak does. "
            f"{_what_was_tried(contender, tried)}{contender.remark}"
        )
        return _loudly(contender, seed, Verdict(name, KEPT, says, numbers))
    says = (
        f"later tokens move earlier logits by {move.relative:.1g} of their size, in "
        f"{precision(move)}: "
        "rounding or a small leak, which only float64 tells apart. Hand over f with its weights in "
        f"float64{contender.remark}"
    )
    return Verdict(name, UNDECIDED, says, numbers)


def _unmoved(contender: Contender, tried: Tried, seed: int) -> Verdict:
    says = (
        "other tokens from j on change no logit before j, not by one bit. "
        f"{_what_was_tried(contender, tried)}{contender.remark}"
    )
    return _loudly(contender, seed, Verdict("causality", KEPT, says, {"difference": 0.0}))


def _loudly(contender: Contender, seed: int, quiet: Verdict) -> Verdict:
    """`quiet`, or what large scores say."""

    def trials() -> Iterator[Trial]:
        return _few_trials(contender, np.random.default_rng(seed))

    reached, move = loudest_move(contender, trials)
    exact = quiet.numbers["difference"] == 0
    numbers = {**quiet.numbers, "loud": 0.0 if move is None else move.size}
    if not reached:
        says = (
            f"{quiet.says}. But a mask that is a large finite number would not show, because no "
            "weights were found in f to make large scores of: give Contender the object that "
            "holds them, model=…"
        )
        return Verdict("causality", UNDECIDED, says, dict(quiet.numbers))
    if move is None:
        return Verdict("causality", KEPT, quiet.says, numbers)
    where, j = move.where[-1], move.trial.start
    says = (
        f"at weights {LOUD[0]:g} to {LOUD[-1]:g} times as large, token {j} moves the logits at "
        f"{where}, before it, by {move.relative:.2g} of their size. Usual cause: the mask is a "
        "finite number, which large scores outdo: set masked scores to −∞ by `where`"
    )
    if not exact:
        says += ". Or a softmax that is shifted by a maximum over time runs out of numbers there"
    return Verdict("causality", BROKEN if exact else UNDECIDED, says, numbers)


def precision(move: Move) -> str:
    return next(name for name, eps in PRECISIONS.items() if move.eps <= eps)


def _where_seen(contender: Contender, move: Move) -> str:
    """Which token moves which logit: the changed tokens one by one."""
    base, changed, _, start = move.trial
    row, i = move.where
    before = contender.raw(base)
    seen, size = f"one of the tokens {start} to {base.shape[1] - 1}", move.size
    for j in range(start, min(base.shape[1], start + 64)):
        single = base.copy()
        single[:, j] = changed[:, j]
        moved = float(np.abs(contender.raw(single)[row, i] - before[row, i]).max())
        if moved > 0.1 * move.size:
            seen, size = f"token {j}", moved
            break
    return (
        f"{seen} moves the logits at {i}, before it, by {size:.3g} (row {row} of texts "
        f"{base.shape}). Usual cause: no causal mask, one that is transposed or off by one, or a "
        "norm taken over time"
    )


def _what_was_tried(contender: Contender, tried: Tried) -> str:
    """Which positions, lengths, batches and words were read, and which were not."""
    T, V = contender.length, len(contender.words)
    starts = len([j for j in tried.starts if j])
    missed = []
    says = f"Tried: texts of {min(tried.lengths)} to {max(tried.lengths)} tokens"
    lengths = len(set(range(2, T + 1)) - tried.lengths)
    if lengths:
        missed.append(f"{lengths} of the {T - 1} lengths")
    if starts < T - 1:
        missed.append(f"a change at {T - 1 - starts} of the {T - 1} positions")
    else:
        says += ", a change at every position"
    says += f", batches of {listed(tried.batches)}, {min(len(tried.words), V)} of {V} words"
    if missed:
        says += f". Not tried: {' and '.join(missed)} (a larger budget tries more)"
    return says


def listed(numbers: set[int]) -> str:
    *first, last = map(str, sorted(numbers))
    return f"{', '.join(first)} and {last}" if first else last


# ---- the trials ------------------------------------------------------------------------------


def causal_trials(contender: Contender, rng: np.random.Generator) -> Iterator[Trial]:
    T, (every, lengths, batches) = contender.length, (s * contender.budget for s in SHARES)
    yield from _every_position(contender, rng, every)
    cost, step = 0, max(1, round(6 * T * T / lengths))
    for length in [*range(2, T, step)]:
        base = some_texts(contender, rng, 2, length)
        for j in sorted({1, length - 1, int(rng.integers(1, length))}):
            yield _changed_from(contender, rng, base, j, alone=False)
            cost += base.size
    for B in BATCHES:
        base = some_texts(contender, rng, B, T)
        some = max(2, int(batches / sum(BATCHES) / T))
        if batches < B * T * 2:
            continue
        for j in _positions(T, some, rng):
            yield _changed_from(contender, rng, base, j, alone=False)


def _every_position(contender: Contender, rng: np.random.Generator, tokens: float) -> Iterator:
    """Every position in turn, and all over again in other texts as long as `tokens` last."""
    T, V = contender.length, len(contender.words)
    B = int(np.clip(tokens // (T * T), 1, 8 if T <= 16 else 4))
    rounds = int(np.clip(tokens // (B * T * T), 1, min(ROUNDS, 3 + -(-V // B))))
    positions = _positions(T, int(max(tokens // (B * T), 4)), rng)
    for turn in range(rounds):
        base = some_texts(contender, rng, B, T, turn)
        for j in positions:
            yield _changed_from(contender, rng, base, j, turn % 2 == 1, turn * B)


def _positions(T: int, most: int, rng: np.random.Generator) -> list[int]:
    """1 to T − 1, or of these the first, the last, those around powers of two, and others."""
    if most >= T - 1:
        return [*range(1, T)]
    marks = [1, T - 1, 2, T - 2]
    marks += [p + d for p in (2**k for k in range(11, 1, -1)) for d in (0, 1, -1)]
    marks += [int(j) for j in rng.permutation(np.arange(1, T))]
    return sorted([*dict.fromkeys(j for j in marks if 0 < j < T)][:most])


def some_texts(
    contender: Contender, rng: np.random.Generator, B: int, T: int, turn: int = 0
) -> Array:
    """Texts (B, T): in turn of one word, of two words and, twice as often, of all of them."""
    rows = []
    for row in range(B):
        few = (0, 2, 0, 1)[(row + turn) % 4]
        words = rng.choice(contender.words, few, replace=False) if few else None
        rows.append(contender.texts(rng, 1, T, words))
    return np.concatenate(rows)


def _changed_from(
    contender: Contender,
    rng: np.random.Generator,
    base: Array,
    j: int,
    alone: bool,
    turn: int = 0,
) -> Trial:
    """Token j, or all from j on, become others; at j, from turn to turn, every word has its day."""
    changed = base.copy()
    if alone:
        changed[:, j] = contender.others(rng, base[:, j])
    else:
        changed[:, j:] = contender.others(rng, base[:, j:])
        words = contender.words[(turn + j + np.arange(len(base))) % len(contender.words)]
        changed[:, j] = np.where(words == base[:, j], changed[:, j], words)
    return Trial(base, changed, np.s_[:, :j], j)


def _few_trials(contender: Contender, rng: np.random.Generator) -> Iterator[Trial]:
    T = min(contender.length, 64)
    for _ in range(2):
        base = contender.texts(rng, 4, T)
        for j in _positions(T, 12, rng):
            yield _changed_from(contender, rng, base, j, alone=False)
