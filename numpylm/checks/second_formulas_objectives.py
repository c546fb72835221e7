"""The objectives after pre-training, once more in dual numbers: part of second_formulas.py."""

from typing import Any

import numpy as np

from ..arrays import Array
from ..ops import IGNORE
from .dual_numbers import Dual, einsum, exp, log
from .second_formulas import softmax


def text_logp(logits: Dual, targets: Array) -> Dual:
    """F34: the logarithm of a product of probabilities, of which those ignored are 1"""
    y = np.asarray(targets)
    p = (softmax(logits) * (y[..., None] == np.arange(logits.value.shape[-1]))).sum()[..., 0]
    total: Dual = log(p + (y == IGNORE)).sum()[..., 0]
    return total


def _mean(x: Dual) -> Dual:
    mean: Dual = x.sum(axis=0)[0] / x.value.shape[0]
    return mean


def policy_gradient(logp: Dual, advantages: Any) -> Dual:
    """F36"""
    return -1 * _mean(logp * np.array(advantages))


def clipped(logp: Dual, old: Any, advantages: Any, clip: float) -> Dual:
    """F38: the smaller of two products, as the paper writes it"""
    a = np.array(advantages)
    ratio = exp(logp - np.array(old))
    one, other = ratio * a, np.clip(ratio.value, 1 - clip, 1 + clip) * a
    inside = np.abs(ratio.value - 1) < clip  # there the two are the same
    first = inside | (one.value < other)
    return -1 * _mean(one * first + np.where(first, 0, other))


def kl_estimate(logp: Dual, reference: Any, estimate: str) -> Dual:
    """F39, by the ratio of the two probabilities"""
    delta = logp - np.array(reference)
    if estimate == "k3":
        ratio = exp(-1 * delta)
        return _mean(ratio - 1 - log(ratio))
    return _mean(delta) if estimate == "k1" else _mean(delta**2) / 2


def kl(logits: Dual, reference: Any) -> Dual:
    """F40: cross-entropy minus entropy"""
    p, q = softmax(logits), softmax(Dual(np.array(reference)))
    each = einsum("nw,nw->n", p, log(p)) - einsum("nw,nw->n", p, log(q))
    return _mean(each)


def preference(
    preferred: Dual, rejected: Dual, of_preferred: Any, of_rejected: Any, beta: float
) -> Dual:
    """F42: of two numbers exp(β δ), the share of the first"""
    win = exp(beta * (preferred - np.array(of_preferred)))
    lose = exp(beta * (rejected - np.array(of_rejected)))
    return -1 * _mean(log(win / (win + lose)))


def low_rank(w: Dual, u: Dual, v: Dual, scale: float) -> Dual:
    """F43"""
    return w + scale * einsum("ir,ro->io", u, v)


OBJECTIVE_FORMULAS = {
    f.__name__: f
    for f in (text_logp, policy_gradient, clipped, kl_estimate, kl, preference, low_rank)
}
