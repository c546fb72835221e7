"""The formulas of Llama and of long contexts once more, in dual numbers: see second_formulas.py.

A rotation is a complex product here, where the code has sines and cosines; a group's keys are
copied for every head, where the code lets the heads of a group ask in turn.
"""

import math
from typing import Any

import numpy as np

from ..arrays import Array
from .dual_numbers import Dual, concatenate, exp, sqrt
from .second_formulas import Named, attention, cross_entropy, embedding, linear, not_later, output


def rms_norm(x: Dual, gain: Dual, eps: float = 1e-5) -> Dual:
    """F27"""
    return gain * x / sqrt((x * x).sum() * (1 / x.value.shape[-1]) + eps)


def rotary(x: Dual, turn: Any, interleaved: bool = False) -> Dual:
    """F28: a pair as one complex number, times e^(iθ)"""
    angle = np.arctan2(turn.sin, turn.cos)

    def turned(x: Array) -> Array:
        if interleaved:
            z = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * angle)
            return np.stack([z.real, z.imag], axis=-1).reshape(x.shape)
        half = x.shape[-1] // 2
        z = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angle)
        return np.concatenate([z.real, z.imag], axis=-1)

    return x.each(turned)


def silu(x: Dual) -> Dual:
    """F29"""
    return x / (1 + exp(-1 * x))


def gated_feed_forward(x: Dual, w_in: Dual, w_out: Dual) -> Dual:
    """F30"""
    F = w_in.value.shape[-1] // 2
    return linear(silu(linear(x, w_in[:, :F])) * linear(x, w_in[:, F:]), w_out)


def grouped_query(q: Dual, k: Dual, v: Dual, heads: int, groups: int, mask: Any = None) -> Dual:
    """F31: one head after another, each with the key and the value of its group"""
    D, R = q.value.shape[-1] // heads, heads // groups
    mask = mask if mask is None or mask.ndim < 3 else mask[..., 0, :, :]

    def part(x: Dual, n: int) -> Dual:
        return x[..., n * D : (n + 1) * D]

    return concatenate(
        [
            attention(part(q, h), part(k, h // R), part(v, h // R), mask, 1 / math.sqrt(D))
            for h in range(heads)
        ]
    )


def grouped_self_attention(
    x: Dual, w: Dual, w_out: Dual, heads: int, groups: int, turn: Any, mask: Any = None
) -> Dual:
    """F28, F31: w holds those of H queries, G keys and G values side by side."""
    D = w.value.shape[-1] // (heads + 2 * groups)

    def turned(first: int, count: int) -> Dual:
        columns = [slice((first + n) * D, (first + n + 1) * D) for n in range(count)]
        return concatenate([rotary(linear(x, w[:, c]), turn) for c in columns])

    v = linear(x, w[:, (heads + groups) * D :])
    c = grouped_query(turned(0, heads), turned(heads, groups), v, heads, groups, mask)
    return linear(c, w_out)


def llama(p: Named, config: Any, ids: Array, targets: Array) -> Dual:
    """h ← h + f(norm(h))"""
    T, D = ids.shape[-1], config.width // config.heads
    clock = np.arange(T)[:, None] / config.base ** (np.arange(D // 2) * 2 / D)
    turn = _Turn(np.cos(clock), np.sin(clock))
    h = embedding(p["E"], ids)
    for block in (f"block{i}" for i in range(config.layers)):
        y = rms_norm(h, p[f"{block}.norm1.gain"], config.eps)
        w = p[f"{block}.attention.w_qkv"], p[f"{block}.attention.w_out"]
        G = config.groups or config.heads
        h = h + grouped_self_attention(y, *w, config.heads, G, turn, not_later(T))
        y = rms_norm(h, p[f"{block}.norm2.gain"], config.eps)
        w = p[f"{block}.feed_forward.w_in"], p[f"{block}.feed_forward.w_out"]
        h = h + gated_feed_forward(y, *w)
    y = rms_norm(h, p["norm.gain"], config.eps)
    return cross_entropy(output(y, p["E" if config.tied else "U"]), targets)


class _Turn:
    """cos and sin, as F28 is given them."""

    def __init__(self, cos: Array, sin: Array):
        self.cos, self.sin = cos, sin


def causal_attention(q: Dual, k: Dual, v: Dual, scale: float, block: int) -> Dual:
    """F32, with every score of the square"""
    T, S = q.value.shape[-2], k.value.shape[-2]
    return attention(q, k, v, np.arange(S) <= np.arange(S - T, S)[:, None], scale)


def online_attention(*args: Any) -> Dual:
    """F33 is F32"""
    return causal_attention(*args)


LLAMA_FORMULAS = {
    f.__name__: f
    for f in (
        rms_norm,
        rotary,
        silu,
        gated_feed_forward,
        grouped_query,
        grouped_self_attention,
        causal_attention,
        online_attention,
    )
}
