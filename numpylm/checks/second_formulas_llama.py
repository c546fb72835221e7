"""The formulas of Llama and of long contexts once more, in dual numbers: see second_formulas.py.

A rotation is a complex product here, where the code has sines and cosines; a group's keys are
copied for every head, where the code lets the heads of a group ask in turn.
"""

import math
from typing import Any

import numpy as np

from ..arrays import Array
from .dual_numbers import Dual, concatenate, einsum, exp, sqrt, within
from .second_formulas import Named, attention, cross_entropy, embedding, linear, not_later, output


def rms_norm(x: Dual, gain: Dual, eps: float = 1e-5) -> Dual:
    """F27"""
    rho = sqrt((x * x).sum() * (1 / x.value.shape[-1]) + eps).called("F27", "rho")
    y: Dual = gain * (x / rho).called("F27", "x_hat")
    return y


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

    D = x.value.shape[-1]
    rows = turned(
        np.broadcast_to(np.eye(D)[:, None], (D, len(angle), D))
    )  # of each column, by place
    return einsum("...td,dte->...te", x, rows)


def silu(x: Dual) -> Dual:
    """F29"""
    sigma = ((1 + exp(-1 * x)) ** -1).called("F29", "sigma")
    return x * sigma


def gated_feed_forward(x: Dual, w_in: Dual, w_out: Dual) -> Dual:
    """F30"""
    F = w_in.value.shape[-1] // 2
    g, u = linear(x, w_in[:, :F]).called("F12", "g"), linear(x, w_in[:, F:]).called("F12", "u")
    return linear((silu(g).called("F29", "gate") * u).called("F30", "m"), w_out)


def grouped_query(q: Dual, k: Dual, v: Dual, heads: int, groups: int, mask: Any = None) -> Dual:
    """F31: one head after another, each with the key and the value of its group"""
    D, R = q.value.shape[-1] // heads, heads // groups
    mask = mask if mask is None or mask.ndim < 3 else mask[..., 0, :, :]

    def part(x: Dual, n: int) -> Dual:
        return x[..., n * D : (n + 1) * D]

    heads_c = []
    for h in range(heads):
        with within(f"head{h}"):
            own, shared = part(q, h), (part(k, h // R), part(v, h // R))
            heads_c.append(attention(own, *shared, mask, 1 / math.sqrt(D)))
    return concatenate(heads_c).called("F31", "c")


def grouped_self_attention(
    x: Dual, w: Dual, w_out: Dual, heads: int, groups: int, turn: Any, mask: Any = None
) -> Dual:
    """F28, F31: w holds those of H queries, G keys and G values side by side."""
    D = w.value.shape[-1] // (heads + 2 * groups)

    def turned(name: str, first: int, count: int) -> Dual:
        columns = [slice((first + n) * D, (first + n + 1) * D) for n in range(count)]
        straight = [
            linear(x, w[:, c]).called("F12", f"{name}_0.{n}") for n, c in enumerate(columns)
        ]
        return concatenate([rotary(y, turn) for y in straight]).called("F28", name)

    v = linear(x, w[:, (heads + groups) * D :]).called("F12", "v")
    q, k = turned("q", 0, heads), turned("k", heads, groups)
    return linear(grouped_query(q, k, v, heads, groups, mask), w_out)


def llama(p: Named, config: Any, ids: Array, targets: Array) -> Dual:
    """h ← h + f(norm(h))"""
    T, D = ids.shape[-1], config.width // config.heads
    clock = np.arange(T)[:, None] / config.base ** (np.arange(D // 2) * 2 / D)
    turn = _Turn(np.cos(clock), np.sin(clock))
    h = embedding(p["E"], ids).called("F1", "embedding")
    for block in (f"block{i}" for i in range(config.layers)):
        y = _norm(p, f"{block}.norm1", h, config.eps)
        w = p[f"{block}.attention.w_qkv"], p[f"{block}.attention.w_out"]
        G = config.groups or config.heads
        with within(f"{block}.attention"):
            y = grouped_self_attention(y, *w, config.heads, G, turn, not_later(T))
        h = (h + y.called("F31", f"{block}.attention")).called("", f"{block}.h")
        y = _norm(p, f"{block}.norm2", h, config.eps)
        w = p[f"{block}.feed_forward.w_in"], p[f"{block}.feed_forward.w_out"]
        with within(f"{block}.feed_forward"):
            y = gated_feed_forward(y, *w)
        h = (h + y.called("F30", f"{block}.feed_forward")).called("", block)
    y = _norm(p, "norm", h, config.eps)
    return cross_entropy(output(y, p["E" if config.tied else "U"]), targets)


def _norm(p: Named, part: str, x: Dual, eps: float) -> Dual:
    with within(part):
        y = rms_norm(x, p[f"{part}.gain"], eps)
    return y.called("F27", part)


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
