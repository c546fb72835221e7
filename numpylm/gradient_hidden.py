"""What a point may hide: a gain of 1, a bias of 0, and the factors and terms that they make
invisible.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from .arrays import Array, Rng
from .gradient_evidence import SAFE, scale_of, slope_at
from .gradient_questions import Asked, quietly
from .gradient_verdicts import Check, GradientVerdict


def with_hidden_factors(asked: Asked, checks: list[Check]) -> list[Check]:
    """Where an array is the same number everywhere, a gain of 1 or a bias of 0, a factor or a term
    of it can be missing unseen: what passed is asked once more with other numbers there."""
    passed = [check.passed for check in checks]
    constant = [_is_constant(x) and ok for x, ok in zip(asked.values, passed, strict=True)]
    if not any(constant):
        return checks
    rng = np.random.default_rng(11)
    values = [
        _varied(x, rng) if vary else x for x, vary in zip(asked.values, constant, strict=True)
    ]
    there = asked.at(values, rng)
    try:
        with quietly():
            grads = there.gradients()
            found = [
                ok and _off_along_a_line(there, k, grads[k], rng) for k, ok in enumerate(passed)
            ]
    except Exception:  # the forward may not accept other numbers: then nothing is learned
        return checks
    names = " and ".join(
        f"{name[1:] if name.startswith('d') else name} is {float(x.flat[0]):g}"
        for name, x, vary in zip(asked.names, asked.values, constant, strict=True)
        if vary
    )
    return [
        replace(
            check,
            verdict=GradientVerdict.WRONG,
            words=f"right where {names}, and not elsewhere: {off}",
        )
        if off
        else check
        for check, off in zip(checks, found, strict=True)
    ]


def _is_constant(x: Array) -> bool:
    if not x.size or not (x == x.flat[0]).all():
        return False
    return x.size > 1 or float(x.flat[0]) in (-1.0, 0.0, 1.0)


def _varied(x: Array, rng: Rng) -> Array:
    draw = rng.uniform(-0.5, 0.5, x.shape)
    return np.where(x == 0, draw, x * (1 + draw))


def _off_along_a_line(asked: Asked, k: int, analytic: Any, rng: Rng) -> str:
    """How the slope along a random direction differs from the analytic one; "" if it does not."""
    x = asked.values[k]
    v = rng.normal(size=x.shape) * scale_of(x)
    terms = asked.along(k)
    slope = slope_at(lambda t: terms(x + t * v), terms(x.copy()), np.zeros(()), ())
    mine, size = float(np.sum(analytic * v)), float(np.sum(np.abs(analytic * v)))
    doubt = SAFE * slope.error + 1e-6 * size
    if slope.corner or not np.isfinite(slope.value) or abs(mine - slope.value) <= doubt:
        return ""
    return (
        f"along a random direction the code says {mine:.6g}, the central method {slope.value:.6g}"
    )
