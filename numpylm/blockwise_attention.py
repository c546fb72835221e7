"""Causal attention a block at a time: less work, or far less memory, and the same numbers.

    blocks of queries    half of the (T, T) scores is never computed        F32
    blocks of keys       and none of them is kept                           F33

With T tokens and blocks of N, the scores that are made at all are (1 + N/T)/2 of T²: 17/32 at
T = 2048 and N = 128. What is kept for the backward is as much with F32, and no score with F33.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from . import ops
from .arguments import array, number, one_of, shaped, whole
from .arrays import Array, masked, row_dot, row_max, row_sum
from .errors import InputError
from .ops import AttentionCache

BLOCK = 128  # rows at a time, and the length above which blocks pay


def spans(T: int, block: int) -> Iterator[slice]:
    """0 … T − 1 in slices of `block`, the last of them perhaps shorter."""
    block = whole("block", block, at_least=1)
    return (slice(i, min(i + block, T)) for i in range(0, T, block))


# ---- F32: blocks of queries ------------------------------------------------------------------


class CausalCache(NamedTuple):
    """An AttentionCache for each block of queries, whose c are parts of one; `past` keys come
    before the first query."""

    parts: tuple[AttentionCache, ...]
    c: Array
    past: int

    @property
    def a(self) -> Array:
        """The weights a_ij (..., T, S) of all blocks, 0 above the diagonal: who reads whom."""
        last = self.parts[-1].a
        T = sum(part.a.shape[-2] for part in self.parts)
        a, start = np.zeros((*last.shape[:-2], T, last.shape[-1]), last.dtype), 0
        for part in self.parts:
            rows, seen = part.a.shape[-2:]
            a[..., start : start + rows, :seen] = part.a
            start += rows
        return a


def causal_attention_forward(
    q: Array, k: Array, v: Array, scale: float = 1.0, block: int = BLOCK
) -> tuple[Array, CausalCache]:
    """F32: attention under the causal mask.   q (..., T, D)   k (..., S, D)   v (..., S, O)

        c_i = Σ_{j ≤ i} a_ij v_j          ->   c (..., T, O);  j counts from the end, as causal_mask

    Queries i … i + N − 1 are one call of attention_forward (F2, F3) with the keys up to their own
    end: what lies above the diagonal is never computed, but for a triangle in each block.
    Raises InputError where there are fewer keys than queries.
    """
    q, k, v, scale = _checked("causal_attention", q, k, v, scale)
    T, S = q.shape[-2], k.shape[-2]
    past, parts = S - T, []
    c = np.empty((*q.shape[:-1], v.shape[-1]), q.dtype)
    for rows in spans(T, block):
        seen = np.s_[..., : past + rows.stop, :]
        mask = ops.causal_mask(rows.stop - rows.start, past + rows.stop)
        own = np.s_[..., rows, :]
        c[own], part = ops.attention_forward(q[own], k[seen], v[seen], mask, scale)
        parts.append(part._replace(c=c[own]))
    return c, CausalCache(tuple(parts), c, past)


def causal_attention_backward(dc: Array, cache: CausalCache) -> tuple[Array, Array, Array]:
    """Each block backwards; a key was read by its own block and by all later ones.  ->  dq, dk, dv

    c_i = Σ_{j ≤ i} a_ij v_j   =>   dk_j = Σ_blocks dk_j,  dv_j = Σ_blocks dv_j
    """
    last = cache.parts[-1]
    dc = array("dc", dc, cache.c.shape)
    dk, dv = np.zeros_like(last.k), np.zeros_like(last.v)
    dqs, start = [], 0
    for part in cache.parts:
        stop = start + part.q.shape[-2]
        seen = np.s_[..., : cache.past + stop, :]
        dq, dk_part, dv_part = ops.attention_backward(dc[..., start:stop, :], part)
        dqs.append(dq)
        dk[seen] += dk_part
        dv[seen] += dv_part
        start = stop
    return np.concatenate(dqs, axis=-2), dk, dv


# ---- F33: blocks of keys, recomputed ---------------------------------------------------------


class OnlineCache(NamedTuple):
    """What a weight is made from again: its score, μ_i (`top`) and λ_i (`total`), (..., T, 1)."""

    q: Array
    k: Array
    v: Array
    c: Array
    top: Array
    total: Array
    scale: float
    block: int

    @property
    def a(self) -> Array:
        """The weights a_ij (..., T, S), made once more: who reads whom."""
        a = np.zeros((*self.q.shape[:-1], self.k.shape[-2]), self.top.dtype)
        for keys in spans(self.k.shape[-2], self.block):
            rows, s = _scores(self.q, self.k, self.scale, keys)
            a[..., rows[-2], keys] = np.exp(s - self.top[rows]) / self.total[rows]
        return a


def online_attention_forward(
    q: Array, k: Array, v: Array, scale: float = 1.0, block: int = BLOCK
) -> tuple[Array, OnlineCache]:
    """F33: F32 without keeping a weight.   q (..., T, D)   k (..., S, D)   v (..., S, O)

        μ' = max(μ, max_j s_ij)                       over the keys j of one block
        λ' = exp(μ − μ') λ + Σ_j exp(s_ij − μ')       at first μ = −∞, λ = 0, c = 0
        c' = exp(μ − μ') c + Σ_j exp(s_ij − μ') v_j
        c_i = c / λ                                   after the last block   ->   c (..., T, O)

    A softmax need not see its whole row at once: where a later block holds a larger score, what
    was added up before is scaled down. A block of keys meets the queries behind its first key only.
    Source: Milakov and Gimelshein 2018, Online normalizer calculation for softmax, algorithm 3;
    Dao et al. 2022, FlashAttention, algorithm 1. Raises InputError as F32.
    """
    q, k, v, scale = _checked("online_attention", q, k, v, scale)
    top = np.full((*q.shape[:-1], 1), -np.inf, q.real.dtype)
    total = np.zeros_like(top, q.dtype)
    c = np.zeros((*q.shape[:-1], v.shape[-1]), q.dtype)
    for keys in spans(k.shape[-2], block):
        rows, s = _scores(q, k, scale, keys)
        higher = np.maximum(top[rows], row_max(s))
        w = np.exp(s - higher)
        kept = np.exp(top[rows] - higher)
        total[rows] = kept * total[rows] + row_sum(w)
        c[rows] = kept * c[rows] + w @ v[..., keys, :]
        top[rows] = higher
    c /= total
    return c, OnlineCache(q, k, v, c, top, total, scale, block)


def online_attention_backward(dc: Array, cache: OnlineCache) -> tuple[Array, Array, Array]:
    """The weights are made once more, block by block, and thrown away again.   ->  dq, dk, dv

    a_ij  = exp(s_ij − μ_i) / λ_i
    dv_j  = Σ_i a_ij dc_i
    ds_ij = a_ij (dc_i·v_j − dc_i·c_i)            F3: Σ_l a_il da_il = dc_i·c_i needs no row
    dq_i  = scale Σ_j ds_ij k_j                   dk_j = scale Σ_i ds_ij q_i
    """
    q, k, v, c, top, total, scale, block = cache
    dc = array("dc", dc, c.shape)
    dq, dk, dv = np.zeros_like(q), np.empty_like(k), np.empty_like(v)
    along = row_dot(dc, c)
    for keys in spans(k.shape[-2], block):
        rows, s = _scores(q, k, scale, keys)
        a = np.exp(s - top[rows]) / total[rows]
        ds = a * (dc[rows] @ v[..., keys, :].mT - along[rows]) * scale
        dv[..., keys, :] = a.mT @ dc[rows]
        dq[rows] += ds @ k[..., keys, :]
        dk[..., keys, :] = ds.mT @ q[rows]
    return dq, dk, dv


def _scores(q: Array, k: Array, scale: float, keys: slice) -> tuple[tuple[Any, ...], Array]:
    """Which queries may look at some of these keys, and their scores, −∞ where they may not."""
    past = k.shape[-2] - q.shape[-2]
    first = max(keys.start - past, 0)
    rows = np.s_[..., first:, :]
    i, j = np.arange(first, q.shape[-2]) + past, np.arange(keys.start, keys.stop)
    return rows, masked((scale * q[rows]) @ k[..., keys, :].mT, j <= i[:, None])


def _checked(
    op: str, q: Array, k: Array, v: Array, scale: float
) -> tuple[Array, Array, Array, float]:
    """The arguments as F2 takes them, with at least a key for each query."""
    q, k, v = shaped(f"{op}: q (..., T, D), k (..., S, D), v (..., S, O)", q, k, v)
    if (T := q.shape[-2]) > (S := k.shape[-2]):
        raise InputError(f"{op}: {T} queries need as many keys or more, not {S}")
    return q, k, v, number("scale", scale)


# ---- one of the three ------------------------------------------------------------------------

Cache = AttentionCache | CausalCache | OnlineCache
WAYS = ("whole", "blocks", "recomputed")


def way_for(T: int, recompute: bool) -> tuple[str, Array | None]:
    """Which of WAYS a causal text of T tokens takes, and the mask that it needs, if any."""
    if recompute:
        return "recomputed", None
    return ("blocks", None) if T > BLOCK else ("whole", ops.causal_mask(T))


def attend(
    q: Array, k: Array, v: Array, mask: Array | None, scale: float, way: str
) -> tuple[Array, Cache]:
    """Attention (F2, F3, F32 or F33) by one of WAYS; blocks are causal and take no mask."""
    if one_of("way", way, WAYS) == "whole":
        return ops.attention_forward(q, k, v, mask, scale)
    if mask is not None:
        raise InputError(f"way {way!r} is causal, without a mask: with one it must be 'whole'")
    forward = causal_attention_forward if way == "blocks" else online_attention_forward
    return forward(q, k, v, scale)


def attend_upwards(dc: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """The backward that belongs to the cache.   ->  dq, dk, dv"""
    if isinstance(cache, AttentionCache):
        return ops.attention_backward(dc, cache)
    if isinstance(cache, CausalCache):
        return causal_attention_backward(dc, cache)
    return online_attention_backward(dc, cache)
