"""Steps downhill: the exercises of "Training"."""

import math
from typing import Any

import numpy as np

from ..exercises import Exercise, case


def _largest_rate(curvatures: Any, *, over: Any = np.max, factor: float = 2.0) -> Any:
    return factor / over(curvatures)


LARGEST_RATE = Exercise(
    _largest_rate,
    [
        case(np.array([1.0, 25.0])),
        case(np.array([4.0, 0.5, 1.0])),
        case(np.array([3.0])),
        case(np.array([0.2, 0.1, 0.7, 0.3])),
    ],
    {
        "the flattest direction decides: the steepest, max, is the first to climb": dict(
            over=np.min
        ),
        "the mean curvature decides: the steepest, max, is the first to climb": dict(over=np.mean),
        "the sum of the curvatures decides: the steepest, max, is the first to climb": dict(
            over=np.sum
        ),
        "the median decides: the steepest, max, is the first to climb": dict(over=np.median),
        "the length of the curvatures decides: the steepest, max, is the first to climb": dict(
            over=np.linalg.norm
        ),
        "the first direction decides: the steepest, max, is the first to climb": dict(
            over=lambda c: c[0]
        ),
        "the last direction decides: the steepest, max, is the first to climb": dict(
            over=lambda c: c[-1]
        ),
        "1/max is the rate that gets there in one step: it climbs only above 2/max": dict(
            factor=1.0
        ),
        "4/max is twice too large: |1 − η c| < 1 gives η < 2/c": dict(factor=4.0),
        "this is one rate for each direction: the smallest decides": dict(over=lambda c: c),
        "the fraction is upside down: 2 over the largest curvature": lambda c: c.max() / 2,
        "this is 2/√max: |1 − η c| < 1 gives η < 2/c": lambda c: 2 / np.sqrt(c.max()),
        "this is the best rate of momentum-free descent, 2/(max + min): it is not the border": (
            lambda c: 2 / (c.max() + c.min())
        ),
        "the largest curvature is multiplied by 2: 2 over it": lambda c: 2 * c.max(),
        "this is max/min, how stretched the valley is: 2 over max is the rate": lambda c: (
            c.max() / c.min()
        ),
        "this is the largest curvature: 2 over it is the rate": lambda c: c.max(),
    },
)


def _adam(
    gs: Any,
    rate: float,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    sign: int = -1,
    m_from: int | None = 1,
    v_from: int | None = 1,
    power: int = 2,
    fresh_m: float | None = None,
    fresh_v: float | None = None,
    root: Any = math.sqrt,
    inside: bool = False,
    averaged: bool = False,
) -> Any:
    p = m = v = 0.0
    for t, g in enumerate(gs):
        m = beta1 * m + (1 - beta1 if fresh_m is None else fresh_m) * g
        v = beta2 * v + (1 - beta2 if fresh_v is None else fresh_v) * abs(g) ** power
        m_hat = m if m_from is None else m / (1 - beta1 ** (t + m_from))
        v_hat = v if v_from is None else v / (1 - beta2 ** (t + v_from))
        p += sign * rate * m_hat / (root(v_hat + eps) if inside else root(v_hat) + eps)
    return p / max(len(gs), 1) if averaged else p


def _adam_steps(gs: Any, rate: float) -> Any:
    return np.array([_adam(gs[: n + 1], rate) for n in range(len(gs))])


def _sgd(gs: Any, rate: float) -> Any:
    return -rate * sum(gs)


def _momentum(gs: Any, rate: float, fresh: float = 0.1) -> Any:
    p = m = 0.0
    for g in gs:
        m = 0.9 * m + fresh * g
        p -= rate * m
    return p


def _fixed_hat(gs: Any, rate: float) -> Any:
    """The corrections stay those of the first step."""
    p = m = v = 0.0
    for g in gs:
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        p -= rate * (m / 0.1) / (math.sqrt(v / 0.001) + 1e-8)
    return p


def _kept_hats(gs: Any, rate: float) -> Any:
    """m and v are overwritten by their corrected values."""
    p = m = v = 0.0
    for t, g in enumerate(gs, start=1):
        m = (0.9 * m + 0.1 * g) / (1 - 0.9**t)
        v = (0.999 * v + 0.001 * g * g) / (1 - 0.999**t)
        p -= rate * m / (math.sqrt(v) + 1e-8)
    return p


def _adam_afresh(g: float, rate: float, t: int) -> float:
    m, v = 0.1 * g / (1 - 0.9**t), 0.001 * g * g / (1 - 0.999**t)
    return -rate * m / (math.sqrt(v) + 1e-8)


ADAM = Exercise(
    _adam,
    [
        case([5.0], 0.1, hint="t = 1 at the first step"),
        case([1e-8], 0.1, hint="here ε is as large as the gradient"),
        case([1.0, -2.0, 0.5, 0.5], 0.3),
        case([0.3, 0.1, -4.0, 2.0, 0.0, 1e-3], 0.01),
        case([-1.0] * 12, 0.05),
    ],
    {
        "the sign is wrong: p goes down, against the gradient": dict(sign=1),
        "the corrections m̂ and v̂ are missing: divide m by 1 − β1^t and v by 1 − β2^t": dict(
            m_from=None, v_from=None
        ),
        "the correction of m is missing: m̂ = m/(1 − β1^t)": dict(m_from=None),
        "the correction of v is missing: v̂ = v/(1 − β2^t)": dict(v_from=None),
        "t is 2 at the first step: it counts from 1": dict(m_from=2, v_from=2),
        "t is 0 at the first step, which divides by 0: it counts from 1": dict(m_from=0, v_from=0),
        "ε stands within the root: √v̂ + ε": dict(inside=True),
        "ε is missing": dict(eps=0.0),
        "β1 and β2 are exchanged": dict(beta1=0.999, beta2=0.9),
        "β2 is 0.99 where 0.999 is expected": dict(beta2=0.99),
        "β1 is 0.99 where 0.9 is expected": dict(beta1=0.99),
        "β2 is 0.9 where 0.999 is expected": dict(beta2=0.9),
        "β1 is 0.999 where 0.9 is expected": dict(beta1=0.999),
        "m and v begin from 0 at every step: they are kept": lambda gs, rate: sum(
            _adam_afresh(g, rate, t) for t, g in enumerate(gs, start=1)
        ),
        "v averages |g|: the square g² is expected": dict(power=1),
        "m is 0.9 m + g: the new gradient has the weight 1 − β1": dict(fresh_m=1.0),
        "v is 0.999 v + g²: the new square has the weight 1 − β2": dict(fresh_v=1.0),
        "the new gradient has the weight β1: 1 − β1 is expected": dict(fresh_m=0.9),
        "the new square has the weight β2: 1 − β2 is expected": dict(fresh_v=0.999),
        "the root is missing: p − η m̂/(√v̂ + ε)": dict(root=lambda v: v),
        "ε is 1e-6 where 1e-8 is expected": dict(eps=1e-6),
        "ε is 1e-7 where 1e-8 is expected": dict(eps=1e-7),
        "the steps are averaged: they are added up": dict(averaged=True),
        "this is where it stood after each step: the end is asked for": _adam_steps,
        "this is plain gradient descent": _sgd,
        "this is momentum: the division by √v̂ + ε is missing": _momentum,
        "this is momentum of the form 0.9 m + g: Adam averages, and divides by √v̂ + ε": (
            lambda gs, rate: _momentum(gs, rate, 1.0)
        ),
        "only the last step counts: each moves p from where it stands": lambda gs, rate: (
            _adam(gs, rate) - _adam(gs[:-1], rate)
        ),
        "the exponent t stays 1: it is the number of the step": _fixed_hat,
        "m and v themselves are corrected, so the next step starts from m̂ and v̂": _kept_hats,
        "the learning rate is not used": lambda gs, rate: _adam(gs, 1.0),
        "rate is used twice": lambda gs, rate: _adam(gs, rate * rate),
        "the last gradient is left out": lambda gs, rate: _adam(gs[:-1], rate),
    },
)


def _clip(g: Any, max_norm: float, *, norm: Any = None, only_long: bool = True) -> Any:
    length = np.sqrt((g * g).sum()) if norm is None else norm(g)
    factor = max_norm / length
    return g * (np.minimum(1, factor) if only_long else factor)


CLIP = Exercise(
    _clip,
    [
        case(np.array([3.0, 4.0]), 1.0),
        case(np.array([0.3, 0.4]), 1.0, hint="it is shorter than max_norm already"),
        case(np.full((2, 2), 3.0), 3.0, hint="there is one length, that of all entries"),
        case(np.array([[1.0, -2.0, 2.0], [0.5, 0.0, 4.0]]), 2.0),
        case(np.array([-6.0, 1.0, 2.0]), 2.5),
        case(np.array([[0.1, 0.2], [0.3, -0.1]]), 5.0, hint="it is shorter already"),
    ],
    {
        "a short gradient is stretched to max_norm: leave it alone": dict(only_long=False),
        "each entry is clipped by itself, which turns the direction: one factor for all": (
            lambda g, max_norm: np.clip(g, -max_norm, max_norm)
        ),
        "each entry is cut at max_norm from above, which turns the direction: one factor for all": (
            lambda g, max_norm: np.minimum(g, max_norm)
        ),
        "the length is the sum of |g|: the root of the sum of squares is expected": dict(
            norm=lambda g: np.abs(g).sum()
        ),
        "the length is the largest |g|: the root of the sum of squares is expected": dict(
            norm=lambda g: np.abs(g).max()
        ),
        "np.linalg.norm(g, 1) adds up |g|, of a matrix by columns: np.linalg.norm(g)": dict(
            norm=lambda g: np.linalg.norm(g, 1)
        ),
        "the root is missing: the length is √Σ g²": dict(norm=lambda g: (g * g).sum()),
        "the length is the root of the mean of squares: of their sum": dict(
            norm=lambda g: np.sqrt((g * g).mean())
        ),
        "each row has a length of its own: one length for all entries": dict(
            norm=lambda g: np.sqrt((g * g).sum(axis=-1, keepdims=True))
        ),
        "each column has a length of its own: one length for all entries": dict(
            norm=lambda g: np.sqrt((g * g).sum(axis=0, keepdims=True))
        ),
        "the length is the sum of g, signs included: the root of the sum of squares": dict(
            norm=lambda g: g.sum()
        ),
        "a small number is added to the length, so the result is a little too short": dict(
            norm=lambda g: np.sqrt((g * g).sum()) + 1e-6
        ),
        "the factor is upside down: max_norm over the length": lambda g, max_norm: (
            g * np.maximum(1, np.sqrt((g * g).sum()) / max_norm)
        ),
        "a long gradient gets the length 1: the length max_norm": lambda g, max_norm: (
            g / max(np.sqrt((g * g).sum()), 1) if np.sqrt((g * g).sum()) > max_norm else g
        ),
        "a gradient that is too long becomes 0: shorten it": lambda g, max_norm: (
            g * (np.sqrt((g * g).sum()) <= max_norm)
        ),
        "nothing is shortened": lambda g, max_norm: g.copy(),
        "the factor is its own square: max_norm over the length once": lambda g, max_norm: (
            g * np.minimum(1, max_norm / np.sqrt((g * g).sum())) ** 2
        ),
        "this is the factor: the clipped gradient is asked for": lambda g, max_norm: np.minimum(
            1, max_norm / np.sqrt((g * g).sum())
        ),
        "the largest of 1 and the factor is taken: the smallest, so that nothing grows": (
            lambda g, max_norm: g * np.maximum(1, max_norm / np.sqrt((g * g).sum()))
        ),
        "a long one gets the length 1, and a short one is stretched to it": lambda g, max_norm: (
            g / np.sqrt((g * g).sum())
        ),
    },
)


def _rate(
    s: int,
    peak: float,
    warmup: int,
    total: int,
    *,
    start: int = 1,
    steps: int = 1,
    shape: Any = lambda x: (1 + math.cos(math.pi * x)) / 2,
    begin: Any = lambda warmup: warmup,
    end: int = 0,
) -> Any:
    if s < warmup:
        return peak * (s + start) / (warmup + steps)
    first = begin(warmup)
    return peak * shape((s - first) / max(total - first - end, 1))


RATE = Exercise(
    _rate,
    [
        case(0, 0.1, 4, 20, hint="the first step is not lost: it has a rate above 0"),
        case(4, 0.1, 4, 20, hint="step `warmup` is the first at the peak"),
        case(12, 0.1, 4, 20, hint="half-way down, the cosine is at half of the peak"),
        case(20, 0.1, 4, 20, hint="after the last step there is nothing left"),
        *(case(s, 0.1, 4, 20) for s in (1, 2, 3, 5, 8, 11, 15, 19)),
        *(case(s, 2.0, 7, 60) for s in (0, 3, 6, 7, 20, 33, 59)),
        case(0, 1.0, 0, 10, hint="without warm-up it begins at the peak"),
        case(3, 1.0, 0, 10),
    ],
    {
        "a straight line leads down: half a cosine is expected": dict(shape=lambda x: 1 - x),
        "the rate is 0 at the first step: (s + 1)/(warmup + 1) is expected": dict(start=0, steps=0),
        "the rate is 0 at the first step: (s + 1)/(warmup + 1) is expected, not s/(warmup + 1)": (
            dict(start=0)
        ),
        "the peak is reached one step too early: (s + 1)/(warmup + 1) is expected": dict(steps=0),
        "the cosine begins at step 0: it begins after the warm-up, at s − warmup": (
            lambda s, peak, warmup, total: (
                _rate(s, peak, warmup, total)
                if s < warmup
                else peak * (1 + math.cos(math.pi * s / total)) / 2
            )
        ),
        "the cosine takes total steps: it has total − warmup": (
            lambda s, peak, warmup, total: (
                _rate(s, peak, warmup, total)
                if s < warmup
                else peak * (1 + math.cos(math.pi * (s - warmup) / total)) / 2
            )
        ),
        "this is a quarter of a cosine: (1 + cos(π x))/2 is half of one": dict(
            shape=lambda x: math.cos(math.pi * x / 2)
        ),
        "the cosine is not divided by 2: it begins at twice the peak": dict(
            shape=lambda x: 1 + math.cos(math.pi * x)
        ),
        "the cosine falls below 0: (1 + cos(π x))/2 is expected": dict(
            shape=lambda x: math.cos(math.pi * x)
        ),
        "the cosine leads up: (1 + cos(π x))/2 is expected, not 1 −": dict(
            shape=lambda x: (1 - math.cos(math.pi * x)) / 2
        ),
        "a whole cosine is taken, 2π: half of one leads down": dict(
            shape=lambda x: (1 + math.cos(2 * math.pi * x)) / 2
        ),
        "π is missing in the cosine": dict(shape=lambda x: (1 + math.cos(x)) / 2),
        "a sine stands where a cosine is expected": dict(
            shape=lambda x: (1 + math.sin(math.pi * x)) / 2
        ),
        "a parabola leads down: half a cosine is expected": dict(shape=lambda x: (1 - x) ** 2),
        "the rate stays at the peak after the warm-up: half a cosine leads down": dict(
            shape=lambda x: 1.0
        ),
        "the rate reaches 0 one step too early: at step total": dict(end=1),
        "the rate falls like 1/√s: half a cosine is expected": (
            lambda s, peak, warmup, total: (
                _rate(s, peak, warmup, total)
                if s < warmup
                else peak * math.sqrt(max(warmup, 1) / max(s, 1))
            )
        ),
        "there is no warm-up: a straight line leads up first": (
            lambda s, peak, warmup, total: peak * (1 + math.cos(math.pi * s / total)) / 2
        ),
        "the rate is at the peak during the warm-up: a straight line leads up": (
            lambda s, peak, warmup, total: peak if s < warmup else _rate(s, peak, warmup, total)
        ),
        "the peak is not used": lambda s, peak, warmup, total: _rate(s, 1.0, warmup, total),
        "the cosine begins one step too late": dict(begin=lambda warmup: warmup + 1),
        "the cosine begins one step too early": dict(begin=lambda warmup: warmup - 1),
    },
)
