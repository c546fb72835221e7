"""Rewards and preferences: the exercises of "Preference and reward"."""

from typing import Any

import numpy as np

from ..exercises import Exercise, case


def _advantages(rewards: Any, *, factor: bool = True) -> Any:
    N = len(rewards)
    return (rewards - rewards.mean()) * (N / (N - 1) if factor else 1)


ADVANTAGES = Exercise(
    _advantages,
    [
        case(np.array([1.0, 0.0, 0.0, 0.0]), hint="the others are 0: an advantage of 1"),
        case(np.array([0.0, 3.0]), hint="of two, each is compared with the other"),
        case(np.array([2.0, 2.0, 2.0]), hint="all alike"),
        case(np.array([0.5, -1.0, 2.0, 0.3, 0.0])),
    ],
    {
        "the text itself is in its baseline: leave its own reward out": dict(factor=False),
        "no baseline is subtracted": lambda r: r.copy(),
        "the sign: a good text has a positive advantage": lambda r: -_advantages(r),
        "divided by the standard deviation: that is GRPO's": lambda r: (
            (r - r.mean()) / (r.std() + 1e-8)
        ),
        "the sum of the others is subtracted: their mean": lambda r: r - (r.sum() - r),
        "the sum of the others is divided by N: they are N − 1": lambda r: (
            r - (r.sum() - r) / len(r)
        ),
        "the median is no mean": lambda r: r - np.median(r),
        "the baseline alone is returned": lambda r: (r.sum() - r) / (len(r) - 1),
    },
)


def _k3(logp: Any, reference: Any) -> Any:
    delta = logp - reference
    return np.exp(-delta) - 1 + delta


_L, _R = np.log([0.5, 0.25, 0.25]), np.log([0.25, 0.5, 0.25])
KL = Exercise(
    _k3,
    [
        case(_L, _R, hint="0 where the two agree, and nowhere negative"),
        case(np.array([-1.0, -2.0]), np.array([-1.0, -2.0])),
        case(np.array([-4.0, -0.1, -2.0]), np.array([-1.0, -3.0, -2.5])),
    ],
    {
        "this is k1, δ itself": lambda p, q: p - q,
        "this is k2, δ²/2": lambda p, q: (p - q) ** 2 / 2,
        "p and ref are exchanged: exp(−δ)": lambda p, q: _k3(q, p),
        "the −1 is missing: where nothing has changed, k3 is 0": lambda p, q: _k3(p, q) + 1,
        "the δ at the end has a minus: it is added": lambda p, q: np.exp(q - p) - 1 - (p - q),
        "one number is returned: k3 of each text": lambda p, q: _k3(p, q).mean(),
        "weighted by p: texts that are drawn come as often as they are likely": lambda p, q: (
            np.exp(p) * _k3(p, q)
        ),
        "the exponential is missing": lambda p, q: (q - p) - 1 + (p - q),
    },
)


def _best(p: Any, rewards: Any, beta: float) -> Any:
    top = rewards.max()
    return top + beta * np.log(p @ np.exp((rewards - top) / beta))


BEST = Exercise(
    _best,
    [
        case(np.array([0.5, 0.5]), np.array([np.log(3), 0.0]), 1.0, hint="log of (3 + 1)/2"),
        case(
            np.array([0.2, 0.8]), np.array([1.0, 1.0]), 0.3, hint="equal rewards: nothing to gain"
        ),
        case(np.array([0.1, 0.6, 0.3]), np.array([1.0, 0.0, -2.0]), 0.5),
        case(np.array([0.9, 0.1]), np.array([0.0, 2000.0]), 1.0, hint="exp(2000) is no float"),
    ],
    {
        "β is missing in front of the logarithm": lambda p, r, b: np.log(p @ np.exp(r / b)),
        "r is multiplied by β: divide": lambda p, r, b: b * np.log(p @ np.exp(r * b)),
        "the reference is left out: Σ exp(r/β) alone": lambda p, r, b: (
            b * np.log(np.exp(r / b).sum())
        ),
        "this is the mean reward under the reference": lambda p, r, b: p @ r,
        "this is the largest reward, which costs KL": lambda p, r, b: r.max(),
        "a mean over texts that does not weigh them by the reference": lambda p, r, b: (
            b * np.log(np.mean(np.exp(r / b)))
        ),
        "exp(r/β) overflows: subtract the largest reward first": lambda p, r, b: (
            b * np.log(p @ np.exp(r / b))
        ),
        "the logarithm is missing": lambda p, r, b: b * (p @ np.exp(r / b)),
    },
)
