"""Attention a block at a time: the exercises of "Long texts"."""

from typing import Any

import numpy as np

from ..exercises import Exercise, case


def _scores(T: int, N: int) -> int:
    return sum(N * stop for stop in range(N, T + 1, N))


SCORES = Exercise(
    _scores,
    [
        case(4, 4, hint="one block meets all keys"),
        case(4, 1, hint="row by row: 1 + 2 + 3 + 4"),
        case(2048, 128),
        case(12, 3, hint="3 rows with 3, 6, 9 and 12 keys"),
        case(20, 5),
    ],
    {
        "this is the whole square: blocks leave out what lies above them": lambda T, N: T * T,
        "this is what the mask lets live: inside a block all scores are made": lambda T, N: (
            T * (T + 1) // 2
        ),
        "this is half of the square": lambda T, N: T * T // 2,
        "the last block is missing, or each leaves out its own keys": lambda T, N: sum(
            N * n for n in range(N, T, N)
        ),
        "one row of each block is counted: it has N": lambda T, N: sum(range(N, T + 1, N)),
        "this is the number of blocks, squared": lambda T, N: (T // N) ** 2,
        "this is the share of the square: the number is asked for": lambda T, N: (
            _scores(T, N) / T**2
        ),
    },
)


def _online(scores: Any, *, scaled: bool = True) -> Any:
    top, total = -np.inf, 0.0
    for score in scores:
        higher = max(top, score)
        total = total * (np.exp(top - higher) if scaled else 1) + np.exp(score - higher)
        top = higher
    return np.array([top, total])


ONLINE_SUM = Exercise(
    _online,
    [
        case(np.log([1.0, 2.0, 6.0]), hint="scale down what was added up before"),
        case(np.array([1000.0, 999.0]), hint="measured from the largest"),
        case(np.array([-5.0])),
        case(np.array([2.0, 1.0, 2.0])),
        case(np.array([0.1, 0.7, -2.0, 0.9, 0.2])),
    ],
    {
        "what was added up before is not scaled down: times exp(μ − μ')": dict(scaled=False),
        "these are exponentials of the scores themselves: subtract the largest": lambda s: np.array(
            [s.max(), np.exp(s).sum()]
        ),
        "the two are in the other order: first μ, then λ": lambda s: _online(s)[::-1],
        "this is the logarithm of the sum": lambda s: np.array([s.max(), np.log(_online(s)[1])]),
        "this is log Σ exp: μ and λ are asked for": lambda s: (
            s.max() + np.log(np.exp(s - s.max()).sum())
        ),
        "λ alone is returned: the pair (μ, λ)": lambda s: _online(s)[1],
        "the sum is divided by the number of scores": lambda s: _online(s) / np.array([1, len(s)]),
        "the largest is that of the last score": lambda s: np.array(
            [s[-1], np.exp(s - s[-1]).sum()]
        ),
        "the factor is exp(μ' − μ), which is above 1: the other way round": lambda s: _upwards(s),
    },
)


def _upwards(scores: Any) -> Any:
    top, total = scores[0], 1.0
    for score in scores[1:]:
        higher = max(top, score)
        total = total * np.exp(higher - top) + np.exp(score - higher)
        top = higher
    return np.array([top, total])


def _weights(scores: Any, mu: float, total: float) -> Any:
    return np.exp(scores - mu) / total


Z = np.array([0.3, -1.2, 0.8, 2.0, -0.4])
WEIGHTS = Exercise(
    _weights,
    [
        case(np.log([1.0, 2.0, 6.0]), np.log(6.0), 1.5),
        case(Z, 2.0, np.exp(Z - 2.0).sum()),
        case(np.array([1000.0, 1000.0, 999.0]), 1000.0, 2 + np.exp(-1), hint="subtract before exp"),
    ],
    {
        "not divided by λ": lambda s, mu, total: np.exp(s - mu),
        "μ is not subtracted": lambda s, mu, total: np.exp(s) / total,
        "μ is added: subtract it": lambda s, mu, total: np.exp(s + mu) / total,
        "multiplied by λ: divide": lambda s, mu, total: np.exp(s - mu) * total,
        "these are logarithms of the weights": lambda s, mu, total: s - mu - np.log(total),
        "λ is subtracted inside exp: divide by it": lambda s, mu, total: np.exp(s - mu - total),
        "np.exp is missing": lambda s, mu, total: (s - mu) / total,
        "exp(s)/exp(μ) overflows where s − μ does not: subtract first": lambda s, mu, total: (
            np.exp(s) / np.exp(mu) / total
        ),
    },
)
