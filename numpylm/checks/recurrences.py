"""The optimizers once more, entry by entry in Python's own floats: what their mutants are held to.

A step of Adam has no gradient to check; it is right if it repeats the recurrence of the paper. So
each function here yields pairs as invariants.py does: what optim.py does, what the formula says. So
it is with the few other formulas that are not differentiated.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import optim
from ..bert import mask_tokens
from ..metrics import perplexity
from ..model import Parameters
from ..objectives import answer_targets, best_policy, group_advantages
from ..ops import IGNORE, sinusoidal_positions
from ..translate import Translation

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


def _follows(make: Callable[..., optim.Optimizer], by_hand: Callable[..., Any]) -> Pairs:
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


def up_a_line_and_down_one_over_the_root() -> Pairs:
    """F25, with C = 16 and 4 steps of warm-up: 1/4 of n/8, then of 1/√n."""
    rates = [optim.transformer_rate(s, 16, warmup=4) for s in range(9)]
    up, down = [n / 8 for n in (1, 2, 3, 4)], [1 / math.sqrt(n) for n in range(5, 10)]
    yield rates, [rate / 4 for rate in (*up, *down)]


# ---- other formulas without a gradient -------------------------------------------------------


def guesses_among_v_words() -> Pairs:
    """F6: 8 guesses among 4 words cost 8 log 4 nats; 6 nats for 4 tokens are 3/2 each."""
    yield perplexity(8 * math.log(4), 8), 4.0
    yield perplexity(6.0, 4), math.exp(1.5)


def each_pair_of_columns_is_a_clock() -> Pairs:
    """F19, with an odd number of columns: the last clock has a sine alone."""
    T, C = 6, 5
    expected = [
        [(math.cos if c % 2 else math.sin)(t / 10000 ** ((c - c % 2) / C)) for c in range(C)]
        for t in range(T)
    ]
    yield sinusoidal_positions(T, C, np.float64), np.array(expected)


MASKING: dict[str, Any] = dict(mask_id=3, vocab_size=9, special=(0, 1), rate=0.4)
MANY = np.random.default_rng(8).permuted(np.tile([0, 1, 2, 4, 5, 6, 7, 8], 2000))


def chosen_tokens_are_targets() -> Pairs:
    """F24: the targets are the ids where chosen, and elsewhere nothing is changed.

    0.4 of the words are chosen, of which 0.8 are hidden, and 0.1 + 0.1/6 are what they were: a
    drawn word may be the same. Among 12,000 words, 0.02 are four standard deviations.
    """
    inputs, targets = mask_tokens(MANY, np.random.default_rng(9), **MASKING)
    chosen = targets != IGNORE
    yield targets[chosen], MANY[chosen]
    yield inputs[~chosen], MANY[~chosen]
    yield chosen[MANY < 2].sum(), 0
    shares = {
        0.4: chosen[MANY > 1].mean(),
        0.8: (inputs == 3)[chosen].mean(),
        0.1 + 0.1 / 6: (inputs == MANY)[chosen].mean(),
    }
    for due, share in shares.items():
        yield max(abs(share - due), 0.02), 0.02


def nats_over_a_power_of_the_length() -> Pairs:
    """F26: three tokens and the end count as 4; (5 + 4)/6 = 1.5"""
    found = Translation(np.array([5, 4, 6]), 3.0, True)
    yield [found.score(alpha) for alpha in (0.0, 1.0, 2.0)], [-3.0, -2.0, -3.0 / 2.25]
    yield Translation(np.array([5]), 3.0, False).score(1.0), -3.0


PROMPTED = [[5, 6, 7, 8, 0], [5, 6, 7, 0, 0], [1, 2, 3, 4, 9]]


def the_answer_alone_is_predicted() -> Pairs:
    """F35: prompts of 2, 1 and 3 tokens; 0 is padding."""
    no = IGNORE
    expected = [[no, 7, 8, no], [6, 7, no, no], [no, no, 4, 9]]
    yield answer_targets(PROMPTED, [2, 1, 3], 0), np.array(expected)
    yield answer_targets(PROMPTED[:1], 1), np.array([[6, 7, 8, 0]])


REWARDS = [[1.0, 0.0, 0.0, 3.0], [2.0, 2.0, 2.0, 2.0]]


def each_text_against_the_others_of_its_group() -> Pairs:
    """F37: 1 − (0 + 0 + 3)/3 = 0, 0 − 4/3, 3 − 1/3; where all are equal, exactly 0."""
    rows = [[r - (sum(row) - r) / 3 for r in row] for row in REWARDS]
    yield group_advantages(REWARDS), np.array(rows)
    yield group_advantages(REWARDS, "group"), np.array(rows) * 3 / 4
    yield group_advantages(REWARDS, "none"), np.array(REWARDS)
    deviation = math.sqrt((0 + 1 + 1 + 4) / 4)
    scaled = [[0.0, -1 / deviation, -1 / deviation, 2 / deviation], [0.0] * 4]
    yield group_advantages(REWARDS, "group", True), np.array(scaled)


def no_policy_is_better_than_the_best() -> Pairs:
    """F41: two texts of ½, rewards β ln 3 and 0: J* = β ln((3 + 1)/2), and p* is ¾, ¼."""
    half, beta = math.log(0.5), 0.4
    logp, value = best_policy([half, half], [beta * math.log(3), 0.0], beta)
    yield value, beta * math.log(2)
    yield np.exp(logp), np.array([0.75, 0.25])
    uneven = [math.log(0.2), math.log(0.8)]
    yield best_policy(uneven, [beta * math.log(3), 0.0], beta)[1], beta * math.log(1.4)
    yield best_policy(uneven, [5.0, 4.0], 0.0)[1], 5.0


RECURRENCES: dict[str, Callable[[], Pairs]] = {
    "Adam": adam_repeats_algorithm_1,
    "SGD": sgd_repeats_the_heavy_ball,
    "clip_by_global_norm": one_norm_for_all_tensors,
    "learning_rate_at": up_a_line_and_down_half_a_cosine,
    "transformer_rate": up_a_line_and_down_one_over_the_root,
    "perplexity": guesses_among_v_words,
    "sinusoidal_positions": each_pair_of_columns_is_a_clock,
    "mask_tokens": chosen_tokens_are_targets,
    "Translation": nats_over_a_power_of_the_length,
    "answer_targets": the_answer_alone_is_predicted,
    "group_advantages": each_text_against_the_others_of_its_group,
    "best_policy": no_policy_is_better_than_the_best,
}
