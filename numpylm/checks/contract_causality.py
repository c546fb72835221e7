"""No prediction may see what it predicts, nor the other texts of its batch."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..arrays import Array, Rng
from .contenders import BOTH, Contender
from .contract_trials import (
    LEAK,
    OVERFLOW,
    ROUNDING,
    UNREACHED,
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
LOUD_LENGTH = 16  # tokens of the texts that are read at larger weights
LOGITS = 512  # for one token: of more, fewer tokens can be read
SHARES = 0.6, 0.25, 0.15  # of the tokens: every position, every length, other batches


def generator(rng: Rng | None) -> Rng:
    return np.random.default_rng(0) if rng is None else rng


# ---- causality -------------------------------------------------------------------------------


def causality(model: object, rng: Rng | None = None) -> Verdict:
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
            f"later tokens move earlier logits by {move.relative:.1g} of their size, which is "
            f"rounding of {precision(move)}: it shrinks as precision grows, and no leak does. "
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

    result, move, factor = loudest_move(contender, trials)
    exact = quiet.numbers["difference"] == 0
    numbers = {**quiet.numbers, "loud": 0.0 if move is None else move.size}
    if result == OVERFLOW:
        says = (
            f"{quiet.says}. At larger weights its numbers run out, so that a mask that is a large "
            "finite number was not tried"
        )
        return Verdict("causality", KEPT, says, numbers)
    if result == UNREACHED:
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
        f"at weights {factor:,.0f} times as large, token {j} moves the logits at {where}, "
        f"before it, by {move.relative:.2g} of their size. Usual cause: the mask is a "
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
        needed = round(T * T * max(1, contender.vocab_size / LOGITS), -3) + 1000
        says += f". Not tried: {' and '.join(missed)} (Contender's budget={needed:_.0f} tries all)"
    return says


def listed(numbers: set[int]) -> str:
    *first, last = map(str, sorted(numbers))
    return f"{', '.join(first)} and {last}" if first else last


# ---- the trials ------------------------------------------------------------------------------


def causal_trials(contender: Contender, rng: Rng) -> Iterator[Trial]:
    """Every position, then every length, then other batches, each for its share of the tokens."""
    T = contender.length
    every, lengths, batches = (share * affordable(contender, T) for share in SHARES)
    yield from _every_position(contender, rng, max(every, min(T * T, affordable(contender, T))))
    for length in range(2, T, max(1, round(6 * T * T / lengths))):
        base = some_texts(contender, rng, 2, length)
        for j in sorted({1, length - 1, int(rng.integers(1, length))}):
            yield _changed_from(contender, rng, base, j)
    for B in BATCHES:
        if batches >= B * T * 2:
            base = some_texts(contender, rng, B, T)
            for j in _positions(T, max(2, int(batches / sum(BATCHES) / T)), rng):
                yield _changed_from(contender, rng, base, j)


def affordable(contender: Contender, T: int) -> float:
    """How many tokens are read: fewer where each has many logits, but some texts in any case."""
    return max(contender.budget * min(1, LOGITS / contender.vocab_size), 16 * T)


def _every_position(contender: Contender, rng: Rng, tokens: float) -> Iterator[Any]:
    """Every position in turn, and all over again in other texts as long as `tokens` last.

    In each row another word comes first, from trial to trial: at every position every word if
    they are few, and otherwise each of them once, somewhere.
    """
    T, V = contender.length, len(contender.words)
    B = int(np.clip(tokens // (T * T), 1, 8 if T <= 16 else 4))
    rounds = int(np.clip(tokens // (B * T * T), 1, min(ROUNDS, 3 + -(-V // B))))
    positions = _positions(T, int(max(tokens // (B * T), 4)), rng)
    few = rounds * B >= V
    for turn in range(rounds):
        base = some_texts(contender, rng, B, T, turn)
        for place, j in enumerate(positions):
            first = turn + j if few else turn * len(positions) + place
            words = contender.words[(first * B + np.arange(B)) % V]
            yield _changed_from(contender, rng, base, j, words, alone=turn % 2 == 1)


def _positions(T: int, most: int, rng: Rng) -> list[int]:
    """1 to T − 1, or of these the first, the last, those around powers of two, and others."""
    if most >= T - 1:
        return [*range(1, T)]
    marks = [1, T - 1, 2, T - 2]
    marks += [p + d for p in (2**k for k in range(11, 1, -1)) for d in (0, 1, -1)]
    marks += [int(j) for j in rng.permutation(np.arange(1, T))]
    return sorted([*dict.fromkeys(j for j in marks if 0 < j < T)][:most])


def some_texts(contender: Contender, rng: Rng, B: int, T: int, turn: int = 0) -> Array:
    """Texts (B, T): in turn of one word, of two words and, twice as often, of all of them."""
    rows = []
    for row in range(B):
        few = (0, 2, 0, 1)[(row + turn) % 4]
        words = rng.choice(contender.words, few, replace=False) if few else None
        rows.append(contender.texts(rng, 1, T, words))
    return np.concatenate(rows)


def _changed_from(
    contender: Contender,
    rng: Rng,
    base: Array,
    j: int,
    words: Array | None = None,
    alone: bool = False,
) -> Trial:
    """All tokens from j on, or j alone, become others; at j the `words`, one for each row."""
    changed, end = base.copy(), j + 1 if alone else base.shape[1]
    changed[:, j:end] = contender.others(rng, base[:, j:end])
    if words is not None:
        changed[:, j] = np.where(words == base[:, j], changed[:, j], words)
    return Trial(base, changed, np.s_[:, :j], j)


def _few_trials(contender: Contender, rng: Rng) -> Iterator[Trial]:
    T = min(contender.length, LOUD_LENGTH)
    B = int(np.clip(8 * LOGITS / contender.vocab_size, 2, 8))
    base = contender.texts(rng, B, T if contender.reads(T) else contender.length)
    for j in _positions(base.shape[1], 6, rng):
        yield _changed_from(contender, rng, base, j)
