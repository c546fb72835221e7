"""The optimizers once more, entry by entry in Python's own floats: what their mutants are held to.

A step of Adam has no gradient to check; it is right if it repeats the recurrence of the paper. So
each function here yields pairs as invariants.py does: what optim.py does, what the formula says.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from . import optim
from .model import Parameters

Pairs = Iterator[tuple[Any, Any]]

SHAPES = {"E": (5, 3), "gain": (3,), "U": (2, 4)}
RATES = [0.1 / (1 + 0.2 * t) for t in range(12)]
DECAY, DECAYED = 0.3, ("gain", "U")


def start() -> tuple[Parameters, list[Parameters]]:
    """Parameters, and gradients whose sizes differ between tensors by three orders of magnitude."""
    rng = np.random.default_rng(1)
    params = Parameters(SHAPES, np.float64)
    params.flat[:] = rng.normal(size=params.flat.size)
    grads = [params.like() for _ in RATES]
    for g in grads:
        for size, name in zip((1e-2, 1.0, 10.0), SHAPES, strict=True):
            g[name] = size * rng.normal(size=SHAPES[name])
    return params, grads


def _follows(make: Callable[..., optim.Optimizer], by_hand: Callable) -> Pairs:
    """Run the optimizer, and `by_hand(p, gs, decay)` on every entry."""
    params, grads = start()
    decays = Parameters(SHAPES, np.float64)
    for name in DECAYED:
        decays[name] = np.full(SHAPES[name], DECAY)
    inputs = zip(params.flat, np.array([g.flat for g in grads]).T, decays.flat, strict=True)
    expected = [by_hand(float(p), gs.tolist(), float(decay)) for p, gs, decay in inputs]
    optimizer = make(params, weight_decay=DECAY, decayed=DECAYED)
    with small_blocks():
        for g, rate in zip(grads, RATES, strict=True):
            optimizer.step(g, rate)
    yield params.flat, np.array(expected)


@contextmanager
def small_blocks() -> Iterator[None]:
    """Blocks of 4 entries, so that a few tensors fill several."""
    whole, optim.BLOCK = optim.BLOCK, 4
    try:
        yield
    finally:
        optim.BLOCK = whole


def adam_repeats_algorithm_1() -> Pairs:
    """F8, F9, with an ε large enough to tell inside and outside of the root apart."""
    beta1, beta2, eps = 0.5, 0.8, 0.1

    def by_hand(p: float, gs: list[float], decay: float) -> float:
        m = v = 0.0
        for t, (g, rate) in enumerate(zip(gs, RATES, strict=True), start=1):
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * g**2
            m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
            p = p * (1 - rate * decay) - rate * m_hat / (math.sqrt(v_hat) + eps)
        return p

    return _follows(lambda params, **o: optim.Adam(params, beta1, beta2, eps, **o), by_hand)


def sgd_repeats_the_heavy_ball() -> Pairs:
    """F7, F9"""

    def by_hand(p: float, gs: list[float], decay: float) -> float:
        u = 0.0
        for g, rate in zip(gs, RATES, strict=True):
            u = 0.9 * u + g
            p = p * (1 - rate * decay) - rate * u
        return p

    return _follows(lambda params, **o: optim.SGD(params, 0.9, **o), by_hand)


def norm_13() -> Parameters:
    grads = Parameters(SHAPES, np.float64)
    grads["E"][0, 0], grads["gain"][1], grads["U"][1, 1:3] = 3.0, -4.0, (7.2, 9.6)
    return grads


def one_norm_for_all_tensors() -> Pairs:
    """F10: |g| = √(3² + 4² + 7.2² + 9.6²) = 13. Clipped to 6.5, all halve; to 20, none changes."""
    for bound, factor in ((6.5, 0.5), (20.0, 1.0)):
        grads = norm_13()
        expected = grads.flat * factor
        yield optim.clip_by_global_norm(grads, bound), 13.0
        yield grads.flat, expected


def up_a_line_and_down_half_a_cosine() -> Pairs:
    """F11, with 3 steps of warm-up: 1/4, 2/4, 3/4 of the peak, then from 0.9 to 0.1 in 8 steps."""
    rates = [optim.learning_rate_at(s, 0.9, warmup=3, total=11, floor=0.1) for s in range(14)]
    down = [0.5 + 0.4 * math.cos(math.pi * s / 8) for s in range(9)]
    yield rates, [0.225, 0.45, 0.675, *down, 0.1, 0.1]


RECURRENCES: dict[str, Callable[[], Pairs]] = {
    "Adam": adam_repeats_algorithm_1,
    "SGD": sgd_repeats_the_heavy_ball,
    "clip_by_global_norm": one_norm_for_all_tensors,
    "learning_rate_at": up_a_line_and_down_half_a_cosine,
}
