"""What evidence says: the exercises of "Find the bug"."""

from typing import Any

import numpy as np

from ..exercises import Exercise, case


def _factor(code: Any, numeric: Any) -> float:
    c = np.sum(code * numeric) / np.sum(numeric * numeric)
    return float(c) if np.allclose(code, c * numeric, rtol=1e-6, atol=0) else 0.0


G = np.array([[0.3, -1.2], [2.0, 0.7]])
FACTOR = Exercise(
    _factor,
    [
        case(2 * G, G, hint="every entry is twice what it should be"),
        case(-G / 3, G, hint="a factor may be negative"),
        case(G.T.copy(), G, hint="the transpose is no multiple: 0"),
        case(G, G, hint="the right gradient has the factor 1"),
        case(G + 0.5, G, hint="a sum is no product: 0"),
        case(np.array([1.0, 2.0, 3.1]), np.array([1.0, 2.0, 3.0]), hint="one entry is off: 0"),
        case(np.zeros(3), np.array([1.0, -2.0, 3.0]), hint="nothing is 0 times something"),
        case(np.array([0.0, 4.0]), np.array([0.0, 2.0]), hint="0 / 0 is no number: leave it out"),
    ],
    {
        "a factor is given although not every entry has it": lambda a, n: (
            np.sum(a * n) / np.sum(n * n)
        ),
        "this is the other way round: code = c · numeric": lambda a, n: (
            1 / _factor(a, n) if _factor(a, n) else 0.0
        ),
        "the sign is lost": lambda a, n: abs(_factor(a, n)),
        "this is the factor of the sizes: the transpose has the same size": lambda a, n: (
            np.linalg.norm(a) / np.linalg.norm(n)
        ),
        "this is the factor of one entry: the others may have another": lambda a, n: float(
            a.flat[0] / n.flat[0]
        ),
        "this is the mean of the ratios, which is nan where one entry is 0 / 0": lambda a, n: float(
            np.mean(a / n)
        ),
        "where there is no factor, 0 is asked for, not nan": lambda a, n: (
            _factor(a, n) if a is n or not np.any(a) or _factor(a, n) else float("nan")
        ),
        "where there is no factor, 0 is asked for, not 1": lambda a, n: (
            _factor(a, n) if not np.any(a) or _factor(a, n) else 1.0
        ),
        "the ratio of every entry is returned: one number": lambda a, n: a / n,
    },
)


def _remaining(shows: Any, seen: Any, *, asked: bool = True) -> Any:
    fits = shows == seen
    return np.all(fits | (seen < 0) if asked else fits, axis=1)


#              loss  gradients  contracts  complex
TABLE = np.array(
    [
        [1, 1, 0, 1],
        [0, 1, 0, 1],
        [0, 0, 0, 1],
        [1, 0, 1, 0],
        [0, 0, 0, 0],
    ]
)
REMAINING = Exercise(
    _remaining,
    [
        case(TABLE, np.array([0, -1, -1, -1]), hint="the loss is silent; nothing else was asked"),
        case(TABLE, np.array([-1, -1, -1, -1]), hint="nothing was asked: all remain"),
        case(TABLE, np.array([1, 1, -1, -1])),
        case(TABLE, np.array([-1, 0, 0, -1]), hint="silence is evidence as well"),
        case(TABLE, np.array([1, 0, 0, 1]), hint="none may remain"),
        case(TABLE[:, :2], np.array([0, 0])),
    ],
    {
        "what was not asked is taken for silent: -1 fits both": lambda shows, seen: np.all(
            shows == np.maximum(seen, 0), axis=1
        ),
        "what was not asked is compared: -1 fits both": dict(asked=False),
        "silence is not used: a candidate that would speak drops out": lambda shows, seen: np.all(
            (shows == seen) | (seen <= 0), axis=1
        ),
        "one fitting answer is enough here: all must fit": lambda shows, seen: np.any(
            (shows == seen) | (seen < 0), axis=1
        ),
        "these are the candidates that drop out": lambda shows, seen: ~_remaining(shows, seen),
        "these are indices: True or False for each candidate": lambda shows, seen: np.flatnonzero(
            _remaining(shows, seen)
        ),
        "this is how many remain: which of them is asked for": lambda shows, seen: int(
            _remaining(shows, seen).sum()
        ),
        "this says which questions were answered alike: axis=1": lambda shows, seen: np.all(
            (shows == seen) | (seen < 0), axis=0
        ),
    },
)


def _worth(shows: Any) -> Any:
    p = np.stack([shows.mean(axis=0), 1 - shows.mean(axis=0)])
    return -np.sum(np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0), axis=0)


def _plain_worth(shows: Any, log: Any = np.log) -> Any:
    p = shows.mean(axis=0)
    with np.errstate(all="ignore"):
        return -(p * log(p) + (1 - p) * log(1 - p))


WORTH = Exercise(
    _worth,
    [
        case(TABLE[:4], hint="2 of 4 candidates would speak: ln 2"),
        case(TABLE, hint="1 of 5"),
        case(np.array([[1, 0], [1, 1]]), hint="an answer that is known is worth 0"),
        case(np.array([[0, 1, 0], [0, 1, 1], [0, 0, 1]])),
    ],
    {
        "0 log 0 is nan: an answer that is known is worth 0": _plain_worth,
        "these are bits: nats are asked for": lambda shows: _worth(shows) / np.log(2),
        "half of the sum is missing: the answer may be no": lambda shows: (
            -np.where(
                shows.mean(axis=0) > 0,
                shows.mean(axis=0) * np.log(np.maximum(shows.mean(axis=0), 1e-300)),
                0.0,
            )
        ),
        "the sign is wrong: an entropy is never negative": lambda shows: -_worth(shows),
        "this is the share of candidates that would speak": lambda shows: shows.mean(axis=0),
        "this is p (1 − p), the variance: it prefers the same question, but is no entropy": (
            lambda shows: shows.mean(axis=0) * (1 - shows.mean(axis=0))
        ),
        "this is the best question: the worth of each is asked for": lambda shows: int(
            np.argmax(_worth(shows))
        ),
        "this is the mean over the questions: axis=0, over the candidates": lambda shows: _worth(
            shows.T
        ),
        "this is the sum over all questions": lambda shows: float(_worth(shows).sum()),
    },
)
