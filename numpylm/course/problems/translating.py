"""From one text to another: the exercises of "The Transformer"."""

from typing import Any

import numpy as np

from ..exercises import Exercise, case

TWO = np.array([[1, 5, 7, 2], [1, 6, 0, 0]])
THREES = np.array([[1, 0, 2, 3, 3], [4, 0, 0, 5, 1], [2, 2, 3, 3, 3]])  # 3 is the padding here


def _decoder_mask(
    target: Any, padding: int, *, k: int = 0, keys: bool = True, queries: bool = False
) -> Any:
    B, T = target.shape
    real = target != padding
    mask = np.broadcast_to(np.tri(T, k=k, dtype=bool), (B, T, T))
    if keys:
        mask = mask & real[:, None, :]
    if queries:
        mask = mask & real[:, :, None]
    return mask


DECODER_MASK = Exercise(
    _decoder_mask,
    [
        case(TWO[:1], 0, hint="up to itself, itself included"),
        case(TWO, 0, hint="nobody looks at padding: the keys are masked"),
        case(THREES, 3, hint="here 3 is the padding, and 0 is a word"),
        case(THREES[:, :3].copy(), 3),
    ],
    {
        "padding is not masked: nobody looks at it": dict(keys=False),
        "the rows of padding are masked: its columns, the keys, are": dict(
            keys=False, queries=True
        ),
        "what comes is not masked: i looks at j ≤ i": lambda target, padding: np.broadcast_to(
            (target != padding)[:, None, :], (*target.shape, target.shape[1])
        ),
        "a position may look at itself: j ≤ i, not j < i": dict(k=-1),
        "a position looks one too far: j ≤ i": dict(k=1),
        "the causal half is reversed: j ≤ i": lambda target, padding: (
            ~np.tri(target.shape[1], k=-1, dtype=bool) & (target != padding)[:, None, :]
        ),
        "True and False are exchanged: True is where i may look": lambda target, padding: (
            ~_decoder_mask(target, padding)
        ),
        "only padding is looked at: target != padding": lambda target, padding: (
            np.tri(target.shape[1], dtype=bool) & (target == padding)[:, None, :]
        ),
        "the two are joined by `or`: both must allow it, `and`": lambda target, padding: (
            np.tri(target.shape[1], dtype=bool) | (target != padding)[:, None, :]
        ),
        "padding is taken to be 0: it is the argument `padding`": lambda target, padding: (
            _decoder_mask(target, 0)
        ),
        "the mask is transposed: rows are those that look": lambda target, padding: _decoder_mask(
            target, padding
        ).swapaxes(1, 2),
        "there is an axis for heads: (B, T, T) is asked for": lambda target, padding: _decoder_mask(
            target, padding
        )[:, None],
        "this is one mask for all texts: each has its own padding, (B, T, T)": (
            lambda target, padding: np.tri(target.shape[1], dtype=bool)
        ),
        "these are 0 and −∞, to be added to scores: True and False are asked for": (
            lambda target, padding: np.where(_decoder_mask(target, padding), 0, -np.inf)
        ),
        "this says where there is text, (B, T): who may look at what is (B, T, T)": (
            lambda target, padding: target != padding
        ),
        "real words may look at all real words: j ≤ i": lambda target, padding: (
            (target != padding)[:, None, :] & (target != padding)[:, :, None]
        ),
    },
)


def _smoothed(y: Any, V: int, epsilon: float) -> Any:
    return (1 - epsilon) * np.eye(V)[y] + epsilon / V


SMOOTHED_TARGETS = Exercise(
    _smoothed,
    [
        case(np.array([0]), 4, 0.0, hint="without smoothing it is 1 at the word"),
        case(np.array([2, 0]), 4, 0.2),
        case(np.array([0]), 158, 0.1, hint="the right word gets its share of epsilon, too"),
        case(np.array([1, 4, 1]), 5, 0.3),
        case(np.array([0, 1]), 2, 0.5),
    ],
    {
        "epsilon is shared by the V − 1 others: by all V, the right word among them": (
            lambda y, V, epsilon: np.where(np.eye(V)[y] == 1, 1 - epsilon, epsilon / (V - 1))
        ),
        "the right word lacks its share: 1 − epsilon + epsilon/V": lambda y, V, epsilon: np.where(
            np.eye(V)[y] == 1, 1 - epsilon, epsilon / V
        ),
        "the right word keeps 1: it is multiplied by 1 − epsilon": lambda y, V, epsilon: (
            np.eye(V)[y] + epsilon / V
        ),
        "the right word keeps 1, and the others get epsilon/V": lambda y, V, epsilon: np.where(
            np.eye(V)[y] == 1, 1, epsilon / V
        ),
        "every other word gets epsilon: it is divided by V": lambda y, V, epsilon: (
            (1 - epsilon) * np.eye(V)[y] + epsilon
        ),
        "every other word gets epsilon, and the right one 1 − epsilon: epsilon is divided by V": (
            lambda y, V, epsilon: np.where(np.eye(V)[y] == 1, 1 - epsilon, epsilon)
        ),
        "the right word is missing: this is epsilon/V everywhere": lambda y, V, epsilon: np.full(
            (len(y), V), epsilon / V
        ),
        "nothing is smoothed": lambda y, V, epsilon: np.eye(V)[y],
        "epsilon is spread over no one: epsilon/V is missing": lambda y, V, epsilon: (
            (1 - epsilon) * np.eye(V)[y]
        ),
        "epsilon and 1 − epsilon are exchanged": lambda y, V, epsilon: (
            epsilon * np.eye(V)[y] + (1 - epsilon) / V
        ),
        "it is transposed: one row for each target, (N, V)": lambda y, V, epsilon: (
            _smoothed(y, V, epsilon).T
        ),
        "only the numbers of the right words are returned: all of (N, V)": (
            lambda y, V, epsilon: _smoothed(y, V, epsilon)[np.arange(len(y)), y]
        ),
        "epsilon is divided by the number of targets: by V": lambda y, V, epsilon: (
            (1 - epsilon) * np.eye(V)[y] + epsilon / len(y)
        ),
        "only the others share epsilon, and the right word has 1 − epsilon/V": (
            lambda y, V, epsilon: np.where(np.eye(V)[y] == 1, 1 - epsilon / V, epsilon / V)
        ),
    },
)


def _rate(
    n: int,
    C: int,
    w: int,
    *,
    choose: Any = min,
    width: float = -0.5,
    falling: float = -0.5,
    warm: float = -1.5,
) -> Any:
    return C**width * choose(n**falling, n * w**warm)


RATE = Exercise(
    _rate,
    [
        case(1, 512, 4000, hint="the rising branch: n w^(−3/2)"),
        case(4000, 512, 4000, hint="both branches meet here"),
        case(100_000, 64, 400, hint="the smaller of the two"),
        case(17, 32, 50),
        case(200, 32, 50),
        case(3, 8, 1),
    ],
    {
        "the larger of the two is taken: the smaller": dict(choose=max),
        "the two are added: the smaller is taken": dict(choose=lambda a, b: a + b),
        "C^0.5 stands where C^−0.5 is expected: the rate falls with the width": dict(width=0.5),
        "C^−1 stands where C^−0.5 is expected": dict(width=-1.0),
        "the width is left out: C^−0.5": dict(width=0.0),
        "n^−1 stands where n^−0.5 is expected": dict(falling=-1.0),
        "n^0.5 stands where n^−0.5 is expected: the rate falls after the warm-up": dict(
            falling=0.5
        ),
        "w^−0.5 stands where w^−1.5 is expected": dict(warm=-0.5),
        "w^−1 stands where w^−1.5 is expected": dict(warm=-1.0),
        "steps are counted from 1 here: n, not n + 1": lambda n, C, w: _rate(n + 1, C, w),
        "steps are counted from 1 here: n, not n − 1": lambda n, C, w: (
            _rate(n - 1, C, w) if n > 1 else 0.0
        ),
        "there is no warm-up: the smaller of n^−0.5 and n w^−1.5": dict(choose=lambda a, b: a),
        "the rate rises for ever: the smaller of n^−0.5 and n w^−1.5": dict(choose=lambda a, b: b),
        "a straight line leads up to C^−0.5 in w steps: n w^−1.5": lambda n, C, w: (
            C**-0.5 * min(1.0, n / w)
        ),
        "n is missing in the rising branch: n w^−1.5": lambda n, C, w: (
            C**-0.5 * min(n**-0.5, w**-1.5)
        ),
        "C and w are exchanged": lambda n, C, w: _rate(n, w, C),
    },
)

FIRST = np.array([0.5, 0.4, 0.1])
THEN = np.array([[0.4, 0.3, 0.3], [0.05, 0.9, 0.05], [1.0, 0.0, 0.0]])
FOUR = np.array([0.15, 0.3, 0.35, 0.2])
AFTER = np.array(
    [[0.0, 0.0, 1.0, 0.0], [0.3, 0.45, 0.05, 0.2], [0.2, 0.25, 0.25, 0.3], [0.1, 0.05, 0.05, 0.8]]
)


def _beam(first: Any, then: Any, width: int, *, score: Any = np.multiply, falling: int = -1) -> Any:
    best, pair = -np.inf, (0, 0)
    for a in np.argsort(falling * first, kind="stable")[:width]:
        scores = score(first[a], then[a])
        if scores.max() > best:
            best, pair = scores.max(), (a, scores.argmax())
    return np.array(pair)


BEAM = Exercise(
    _beam,
    [
        case(FIRST, THEN, 1, hint="greedy: A, and then its likeliest"),
        case(FIRST, THEN, 2, hint="0.4 times 0.9 is more than 0.5 times 0.4"),
        case(FIRST, THEN, 3, hint="C is followed by A for certain, but C itself is unlikely"),
        case(np.array([0.2, 0.1, 0.7]), THEN, 3),
        *(case(FOUR, AFTER, width) for width in (1, 2, 3, 4)),
        case(np.array([0.24, 0.26, 0.26, 0.24]) + np.arange(4) * 1e-3, AFTER.T.copy(), 2),
    ],
    {
        "all first words are kept, whatever the width": lambda first, then, width: _beam(
            first, then, len(first)
        ),
        "only the likeliest first word is kept, whatever the width": lambda first, then, width: (
            _beam(first, then, 1)
        ),
        "one first word too many is kept": lambda first, then, width: _beam(first, then, width + 1),
        "one first word too few is kept": lambda first, then, width: _beam(
            first, then, max(width - 1, 1)
        ),
        "the unlikeliest first words are kept": dict(falling=1),
        "the probabilities are added: multiply them": dict(score=np.add),
        "the second word's probability alone decides: multiply it by the first's": dict(
            score=lambda p, q: q
        ),
        "the row and the column of `then` are exchanged: then[a] follows a": (
            lambda first, then, width: _beam(first, then.T, width)
        ),
        "the answer is second, first: first, second": lambda first, then, width: _beam(
            first, then, width
        )[::-1],
        "the first `width` words are kept, in the order of their ids: the likeliest": (
            lambda first, then, width: _beam(
                np.where(np.arange(len(first)) < width, first, 0), then, width
            )
        ),
        "the second word counts among those that are kept, not in the whole vocabulary": (
            lambda first, then, width: _beam_of_kept(first, then, width)
        ),
        "this is the probability: the two ids are asked for": lambda first, then, width: (
            first[_beam(first, then, width)[0]] * then[tuple(_beam(first, then, width))]
        ),
        "the place among the kept words is returned: the id": lambda first, then, width: np.array(
            [
                list(np.argsort(-first, kind="stable")).index(_beam(first, then, width)[0]),
                _beam(first, then, width)[1],
            ]
        ),
        "the second word is the likeliest one on average, whatever the first": (
            lambda first, then, width: np.array([first.argmax(), (first @ then).argmax()])
        ),
    },
)


def _beam_of_kept(first: Any, then: Any, width: int) -> Any:
    kept = np.argsort(-first, kind="stable")[:width]
    both = first[kept, None] * then[np.ix_(kept, kept)]
    a, b = np.unravel_index(both.argmax(), both.shape)
    return np.array([kept[a], kept[b]])
