"""Real weights: the exercises of "A real model, opened"."""

from typing import Any

import numpy as np

from ..exercises import Exercise, case


def _parameters(V: int, C: int, L: int, H: int, G: int, F: int) -> int:
    D = C // H
    return V * C + L * (C * (H + 2 * G) * D + C * C + 3 * C * F + 2 * C) + C


PARAMETERS = Exercise(
    _parameters,
    [
        case(49152, 576, 30, 9, 3, 1536, hint="SmolLM2-135M, which has 134,515,008"),
        case(10, 4, 1, 2, 1, 3),
        case(7, 12, 2, 3, 3, 5, hint="as many groups as heads"),
        case(100, 8, 5, 4, 2, 16),
    ],
    {
        "the table is counted twice: E also predicts": lambda V, C, L, H, G, F: (
            _parameters(V, C, L, H, G, F) + V * C
        ),
        "keys and values are counted for each head: they are shared by groups": (
            lambda V, C, L, H, G, F: _parameters(V, C, L, H, H, F)
        ),
        "the feed-forward has two matrices here: with the gate there are three": (
            lambda V, C, L, H, G, F: _parameters(V, C, L, H, G, F) - L * C * F
        ),
        "the gains of the norms are missing": lambda V, C, L, H, G, F: (
            _parameters(V, C, L, H, G, F) - (2 * L + 1) * C
        ),
        "the last norm is missing": lambda V, C, L, H, G, F: _parameters(V, C, L, H, G, F) - C,
        "the output map of attention is missing": lambda V, C, L, H, G, F: (
            _parameters(V, C, L, H, G, F) - L * C * C
        ),
        "one block is counted: there are L": lambda V, C, L, H, G, F: _parameters(V, C, 1, H, G, F),
    },
)


def _previous(a: Any) -> Any:
    return np.diagonal(a, -1).mean()


def _map(T: int, seed: int) -> Any:
    a = np.tril(np.random.default_rng(seed).random((T, T)))
    return a / a.sum(axis=-1, keepdims=True)


PREVIOUS = Exercise(
    _previous,
    [
        case(np.eye(4), hint="every token reads itself"),
        case(np.diag([1.0, 0, 0, 0]) + np.diag([1.0, 1.0, 1.0], -1), hint="a head that does it"),
        case(_map(5, 0)),
        case(_map(9, 1), hint="the first token has nothing before it, and does not count"),
    ],
    {
        "the diagonal is each token itself: one below it is asked for": lambda a: np.diagonal(
            a
        ).mean(),
        "this is above the diagonal: rows are those who read": lambda a: np.diagonal(a, 1).mean(),
        "the first token is counted: divide by T − 1": lambda a: np.diagonal(a, -1).sum() / len(a),
        "a mean is asked for, this is the sum": lambda a: np.diagonal(a, -1).sum(),
        "this is how much the first token is read": lambda a: a[1:, 0].mean(),
    },
)


def _lens(h: Any, gain: Any, E: Any, eps: float) -> Any:
    return (gain * h / np.sqrt((h * h).mean(axis=-1, keepdims=True) + eps)) @ E.T


_DRAWN = np.random.default_rng(2)

LENS = Exercise(
    _lens,
    [
        case(np.array([[3.0, 4.0]]), np.ones(2), np.eye(2), 0.0),
        case(np.array([[3.0, 4.0]]), np.array([2.0, 1.0]), np.eye(2), 0.5),
        case(*(_DRAWN.normal(size=s) for s in [(2, 4), (4,), (5, 4)]), 0.1),
        case(*(_DRAWN.normal(size=s) for s in [(3, 6), (6,), (4, 6)]), 1e-5),
    ],
    {
        "the norm is missing: one stands before the prediction": lambda h, gain, E, eps: h @ E.T,
        "the gain is missing": lambda h, gain, E, eps: _lens(h, np.ones_like(gain), E, eps),
        "eps is missing": lambda h, gain, E, eps: _lens(h, gain, E, 0.0),
        "the mean is subtracted, as in layer normalisation": lambda h, gain, E, eps: _lens(
            h - h.mean(axis=-1, keepdims=True), gain, E, eps
        ),
        "the mean is over all rows: axis=-1, keepdims=True": lambda h, gain, E, eps: (
            (gain * h / np.sqrt((h * h).mean() + eps)) @ E.T
        ),
    },
)
