"""What a Llama has that GPT-2 has not: RMSNorm, rotary positions, SwiGLU, grouped queries.

Function pairs in the style of ops.py and blocks.py, and like them for any leading axes. Letters
beyond those of blocks.py: G groups of heads that share their keys and values, R = H/G heads in a
group, r a pair of columns, turned together.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from . import blockwise_attention, ops
from .arguments import array, check_mask, number, shaped, whole
from .arrays import Array, DTypeLike, column_dot, row_dot
from .blocks import KeyValueCache, check_heads, merge_heads, split_heads
from .errors import InputError

# ---- F27: RMSNorm ----------------------------------------------------------------------------


class RMSNormCache(NamedTuple):
    """x̂, the gain, and the size ρ of each row (..., 1)."""

    x_hat: Array
    gain: Array
    rho: Array


def rms_norm_forward(x: Array, gain: Array, eps: float = 1e-5) -> tuple[Array, RMSNormCache]:
    """F27: every row divided by its size.   x (..., C)   gain (C,)   ->   y (..., C)

        ρ = √(mean(x²) + eps)     x̂ = x / ρ     y = gain x̂

    Unlike layer normalisation (F13) nothing is subtracted: the mean of a row stays.
    Source: Zhang and Sennrich 2019, Root Mean Square Layer Normalization, equation 4.
    """
    x, gain = shaped("rms_norm: x (..., C), gain (C)", x, gain)
    eps, C = number("eps", eps, at_least=0), x.shape[-1]
    rho = np.sqrt(row_dot(x, x) / C + eps)
    x_hat = x / rho
    return gain * x_hat, RMSNormCache(x_hat, gain, rho)


def rms_norm_backward(dy: Array, cache: RMSNormCache) -> tuple[Array, Array]:
    """Two ways lead from x to x̂: directly, and through ρ.   ->  dx, dgain

        y = gain x̂                =>   dx̂ = gain dy                dgain = Σ_n dy_n x̂_n
        ρ² = mean(x²) + eps       =>   ∂ρ/∂x = x / (C ρ) = x̂ / C
        x̂ = x / ρ                 =>   dx = (dx̂ − x̂ mean(dx̂ x̂)) / ρ

    For eps = 0 this makes x·dx = 0: along x nothing changes, as norm(t x) = norm(x).
    """
    x_hat, gain, rho = cache
    dy, C = array("dy", dy, x_hat.shape), len(gain)
    dx_hat = gain * dy
    dx = (dx_hat - x_hat * (row_dot(dx_hat, x_hat) / C)) / rho
    return dx, column_dot(dy, x_hat)


# ---- F28: rotary positions -------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Rotation:
    """The angles by which the pairs of columns are turned: cos θ and sin θ (..., T, D/2)."""

    cos: Array
    sin: Array

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rotation) and np.array_equal(
            (self.cos, self.sin), (other.cos, other.sin)
        )

    def __hash__(self) -> int:
        return hash((self.cos.tobytes(), self.sin.tobytes()))


def rotation(
    positions: Array, D: int, base: float = 10000.0, dtype: DTypeLike = np.float32
) -> Rotation:
    """The angles of F28.   positions (..., T)   ->   cos, sin (..., T, D/2)

        θ_tr = t base^(−2r/D)

    The same clocks as in F19; here they turn queries and keys. Computed in float64, then rounded.
    Raises InputError for an odd D: its columns make no pairs.
    """
    check_head_width(D)
    angle = np.asarray(positions)[..., None] * base ** (-np.arange(0, D, 2) / D)
    return Rotation(np.cos(angle).astype(dtype), np.sin(angle).astype(dtype))


def rotary_forward(
    x: Array, turn: Rotation, interleaved: bool = False
) -> tuple[Array, tuple[Rotation, bool]]:
    """F28: pairs of columns turned by the angle of their place.   x, y (..., T, D)

        y_r  = x_r cos θ_tr − x_r' sin θ_tr         θ_tr = t base^(−2r/D)
        y_r' = x_r sin θ_tr + x_r' cos θ_tr         r' the partner of r

    Then q_i·k_j depends on i − j alone, and no length changes. The partner of r is r + D/2, as in
    folders of Hugging Face, or r + 1 for even r (interleaved), as in the paper and in GGUF:
    `interleaving` is the permutation between the two.
    Source: Su et al. 2021, RoFormer, section 3.2, equation 34.
    """
    x = _turnable(x, turn)
    return _turned(x, turn.cos, turn.sin, interleaved), (turn, interleaved)


def rotary_backward(dy: Array, cache: tuple[Rotation, bool]) -> Array:
    """A rotation is undone by the opposite angle, and its transpose is its inverse.

    dx_r  =  dy_r cos θ_tr + dy_r' sin θ_tr
    dx_r' = −dy_r sin θ_tr + dy_r' cos θ_tr
    """
    turn, interleaved = cache
    dy = _turnable(dy, turn)
    return _turned(dy, turn.cos, -turn.sin, interleaved)


def _turnable(x: Array, turn: Rotation) -> Array:
    """x as an array (..., T, D), if the angles are those of T places and D columns."""
    (x,) = shaped("rotary: x (..., T, D)", x)
    if not isinstance(turn, Rotation):
        raise InputError("turn must be angles: make them with rotation(positions, D)")
    if turn.cos.shape[-1] * 2 != x.shape[-1] or turn.cos.shape[-2] != x.shape[-2]:
        raise InputError(
            f"rotary: x {x.shape} needs angles (..., {x.shape[-2]}, {x.shape[-1] // 2}), not "
            f"{turn.cos.shape}: make them with rotation(positions, {x.shape[-1]})"
        )
    return x


def _turned(x: Array, cos: Array, sin: Array, interleaved: bool) -> Array:
    half = x.shape[-1] // 2
    one, other = (
        (np.s_[..., 0::2], np.s_[..., 1::2])
        if interleaved
        else (np.s_[..., :half], np.s_[..., half:])
    )
    y = np.empty_like(x)
    y[one] = x[one] * cos - x[other] * sin
    y[other] = x[one] * sin + x[other] * cos
    return y


def interleaving(D: int) -> Array:
    """The columns (D,) of halves, in the order of pairs: 0, D/2, 1, D/2 + 1, …

    rotary(x, turn)[..., p] = rotary(x[..., p], turn, interleaved=True) with p = interleaving(D).
    """
    return np.arange(D).reshape(2, D // 2).T.ravel()


# ---- F29: SiLU -------------------------------------------------------------------------------


def silu_forward(x: Array) -> tuple[Array, tuple[Array, Array]]:
    """F29: SiLU, y = x σ(x), with σ(x) = 1/(1 + exp(−x)).   x, y (...)

    In code σ(x) = (1 + tanh(x/2))/2, which overflows nowhere.
    Source: Elfwing et al. 2018, Sigmoid-Weighted Linear Units, section 2; called swish as well.
    """
    x = array("x", x)
    s = np.tanh(x * 0.5)
    s += 1.0
    s *= 0.5
    return x * s, (x, s)


def silu_backward(dy: Array, cache: tuple[Array, Array]) -> Array:
    """y = x σ(x),  σ' = σ (1 − σ)   =>   dx = dy (σ + x σ') = dy σ (1 + x (1 − σ))"""
    x, s = cache
    dy = array("dy", dy, x.shape)
    slope = 1.0 - s
    slope *= x
    slope += 1.0
    slope *= s
    slope *= dy
    return slope


# ---- F30: gated feed-forward -----------------------------------------------------------------


class GatedFeedForwardCache(NamedTuple):
    """In the order of computation; gate and up (..., F) are the two factors."""

    to_hidden: tuple[Any, ...]
    silu: tuple[Any, ...]
    gate: Array
    up: Array
    out: tuple[Any, ...]


def gated_feed_forward_forward(
    x: Array, w_in: Array, w_out: Array
) -> tuple[Array, GatedFeedForwardCache]:
    """F30: SwiGLU, y = (silu(g) u) w_out.   x (..., C)   ->   y (..., O)

        [g u] = x w_in          one product for gate and content; w_in (C, 2 F)
        y = (silu(g) u) w_out   w_out (F, O); in a block O = C

    Three matrices where F21 has two: with F = 8/3 C both have 8 C² numbers.
    Source: Shazeer 2020, GLU Variants Improve Transformer, equation 6.
    """
    x, w_in, w_out = shaped(
        "gated_feed_forward: x (..., C), w_in (C, M), w_out (F, O)", x, w_in, w_out
    )
    if w_in.shape[-1] % 2:
        raise InputError(f"gated_feed_forward: w_in {w_in.shape} must be (C, 2 F): gate, content")
    hidden, to_hidden = ops.linear_forward(x, w_in)
    F = hidden.shape[-1] // 2
    g, up = hidden[..., :F], hidden[..., F:]
    gate, silu = silu_forward(g)
    y, out = ops.linear_forward(gate * up, w_out)
    return y, GatedFeedForwardCache(to_hidden, silu, gate, up, out)


def gated_feed_forward_backward(
    dy: Array, cache: GatedFeedForwardCache
) -> tuple[Array, Array, Array]:
    """The product rule between two linear maps.   ->  dx, dw_in, dw_out

    m = silu(g) u,  y = m w_out   =>   dm = dy w_outᵀ     dg = silu'(g) (dm u)     du = dm silu(g)
    [g u] = x w_in                =>   dx = [dg du] w_inᵀ
    """
    dm, dw_out, _ = ops.linear_backward(dy, cache.out)
    dg = silu_backward(dm * cache.up, cache.silu)
    dhidden = np.concatenate([dg, dm * cache.gate], axis=-1)
    dx, dw_in, _ = ops.linear_backward(dhidden, cache.to_hidden)
    return dx, dw_in, dw_out


# ---- F31: grouped-query attention ------------------------------------------------------------


class GroupedQueryCache(NamedTuple):
    """The cache of the attention that was made, and how its heads are grouped."""

    attention: blockwise_attention.Cache
    heads: int
    groups: int

    @property
    def a(self) -> Array:
        """The weights (..., H, T, S) of every head."""
        return _unstack(self.attention.a, self.heads)


def grouped_query_forward(
    q: Array,
    k: Array,
    v: Array,
    heads: int,
    groups: int,
    mask: Array | None = None,
    way: str = "whole",
) -> tuple[Array, GroupedQueryCache]:
    """F31: H heads share G keys and values.   q (..., T, A)   k, v (..., S, K)   ->   c (..., T, A)

        c^h = attention(q^h, k^g, v^g),  g = ⌊h G/H⌋,  scale D**-0.5        A = H D,  K = G D

    Heads of a group stand side by side: those of group g are g R … g R + R − 1. In code they ask
    one after another, as R T queries, so that no key is copied. G = H is multi-head attention
    (F20), G = 1 multi-query attention. mask (broadcast to (..., 1, T, S)): True = may look.
    The weights are cache.a. way: as in F20; other than "whole", every head asks a copy of its
    keys, which are few beside the scores of a long text.
    Source: Ainslie et al. 2023, GQA, section 2.2.
    """
    q, k, v = shaped("grouped_query: q (..., T, A), k (..., S, K), v (..., S, K)", q, k, v)
    _check_groups(heads, groups, q.shape[-1], k.shape[-1])
    q, k, v = split_heads(q, heads), split_heads(k, groups), split_heads(v, groups)
    scale, R = q.shape[-1] ** -0.5, heads // groups
    if not isinstance(way, str) or way != "whole":
        k, v = np.repeat(k, R, axis=-3), np.repeat(v, R, axis=-3)
        c, cache = blockwise_attention.attend(q, k, v, mask, scale, way)
        return merge_heads(c), GroupedQueryCache(cache, heads, groups)
    *lead, _, T, _ = q.shape
    if (mask := check_mask(mask, (*lead, 1, T, k.shape[-2]))) is not None:
        rows = np.broadcast_to(mask, (*mask.shape[:-2], T, k.shape[-2]))
        mask = np.concatenate([rows] * R, axis=-2)
    c, cache = ops.attention_forward(_stack(q, groups), k, v, mask, scale)
    return merge_heads(_unstack(c, heads)), GroupedQueryCache(cache, heads, groups)


def grouped_query_backward(dc: Array, cache: GroupedQueryCache) -> tuple[Array, Array, Array]:
    """Split, stack and merge only move numbers.   ->  dq, dk, dv

    A key is read by the R heads of its group   =>   dk^g = Σ_h dk^h, dv^g = Σ_h dv^h over its heads
    """
    attention, heads, groups = cache
    *lead, n, rows, D = attention.c.shape  # n rows is G R T or H T: the same
    dc = split_heads(array("dc", dc, (*lead, n * rows // heads, heads * D)), heads)
    if isinstance(attention, ops.AttentionCache):  # the heads of a group asked in turn
        dq, dk, dv = ops.attention_backward(_stack(dc, groups), attention)
        return merge_heads(_unstack(dq, heads)), merge_heads(dk), merge_heads(dv)
    dq, dk, dv = blockwise_attention.attend_upwards(dc, attention)
    dk, dv = _sum_of_group(dk, groups), _sum_of_group(dv, groups)
    return merge_heads(dq), merge_heads(dk), merge_heads(dv)


def _sum_of_group(dk: Array, groups: int) -> Array:
    """(..., G R, S, D) -> (..., G, S, D): a key that was copied gets the sum of its copies'."""
    *lead, H, S, D = dk.shape
    result: Array = dk.reshape(*lead, groups, H // groups, S, D).sum(axis=-3)
    return result


def _stack(x: Array, groups: int) -> Array:
    """(..., G R, T, D) -> (..., G, R T, D): the heads of a group one after another."""
    *lead, H, T, D = x.shape
    return x.reshape(*lead, groups, H // groups * T, D)


def _unstack(x: Array, heads: int) -> Array:
    """(..., G, R T, D) -> (..., G R, T, D), the inverse of _stack."""
    *lead, G, RT, D = x.shape
    return x.reshape(*lead, heads, G * RT // heads, D)


class GroupedSelfAttentionCache(NamedTuple):
    """In the order of computation; attention.a holds the weights (..., H, T, S)."""

    to_qkv: tuple[Any, ...]
    turn: Rotation
    attention: GroupedQueryCache
    out: tuple[Any, ...]


def grouped_self_attention_forward(
    x: Array,
    w_qkv: Array,
    w_out: Array,
    heads: int,
    groups: int,
    turn: Rotation,
    mask: Array | None = None,
    way: str = "whole",
) -> tuple[Array, GroupedSelfAttentionCache]:
    """F28, F31 of a text on itself.   x (..., T, C)   ->   y (..., T, O)

        [q k v] = x w_qkv                   one product; w_qkv (C, M), M = A + 2 K
        c       = grouped_query(rotary(q), rotary(k), v)
        y       = c w_out                   w_out (A, O); in a block O = C

    turn: of rotation(positions, D). Values are not turned.
    """
    qkv, to_qkv = ops.linear_forward(x, w_qkv)
    q, k, v = rotated_qkv(qkv, heads, groups, turn)
    c, attention = grouped_query_forward(q, k, v, heads, groups, mask, way)
    y, out = ops.linear_forward(c, w_out)
    return y, GroupedSelfAttentionCache(to_qkv, turn, attention, out)


def grouped_self_attention_backward(
    dy: Array, cache: GroupedSelfAttentionCache
) -> tuple[Array, Array, Array]:
    """The three lines upwards.   ->  dx, dw_qkv, dw_out

    y = c w_out            =>   dc = dy w_outᵀ
    q = rotary(q_0)        =>   dq_0 is dq, turned back; and so for k
    [q_0 k_0 v] = x w_qkv  =>   dx = [dq_0 dk_0 dv] w_qkvᵀ
    """
    dc, dw_out, _ = ops.linear_backward(dy, cache.out)
    dq, dk, dv = grouped_query_backward(dc, cache.attention)
    groups, D = cache.attention.groups, dq.shape[-1] // cache.attention.heads
    back = Rotation(cache.turn.cos, -cache.turn.sin)
    dq = _turn_heads(dq, dq.shape[-1] // D, back)
    dqkv = np.concatenate([dq, _turn_heads(dk, groups, back), dv], axis=-1)
    dx, dw_qkv, _ = ops.linear_backward(dqkv, cache.to_qkv)
    return dx, dw_qkv, dw_out


def grouped_self_attention_cached(
    x: Array,
    w_qkv: Array,
    w_out: Array,
    heads: int,
    groups: int,
    turn: Rotation,
    mask: Array | None,
    past: KeyValueCache,
    layer: int,
) -> Array:
    """grouped_self_attention_forward of new tokens x (B, T, C), whose keys include those of the
    past, already turned. For inference only: it writes into `past` and has no backward.
    """
    q, k, v = rotated_qkv(ops.linear_forward(x, w_qkv)[0], heads, groups, turn)
    c, _ = grouped_query_forward(q, *past.append(layer, k, v), heads, groups, mask)
    return ops.linear_forward(c, w_out)[0]


def rotated_qkv(qkv: Array, heads: int, groups: int, turn: Rotation) -> tuple[Array, Array, Array]:
    """q (..., T, H D), k and v (..., T, G D) out of one array, the first two turned."""
    parts = whole("heads", heads, at_least=1) + 2 * whole("groups", groups, at_least=1)
    if qkv.shape[-1] % parts:
        raise InputError(f"w_qkv must have (heads + 2 groups) D columns, not {qkv.shape[-1]}")
    D = qkv.shape[-1] // parts
    A, K = heads * D, groups * D
    q, k, v = qkv[..., :A], qkv[..., A : A + K], qkv[..., A + K :]
    return _turn_heads(q, heads, turn), _turn_heads(k, groups, turn), v


def _turn_heads(x: Array, heads: int, turn: Rotation) -> Array:
    """Every head (..., T, H D) turned by the angles of its places."""
    if isinstance(turn, Rotation):  # the same for every head
        turn = Rotation(turn.cos[..., None, :, :], turn.sin[..., None, :, :])
    return merge_heads(rotary_forward(split_heads(x, heads), turn)[0])


def check_head_width(D: int) -> None:
    """Raise InputError where a head of width D cannot be turned in pairs of columns."""
    if D % 2:
        raise InputError(f"a head of width {D} has a column without a partner: make D even")


def check_groups(heads: int, groups: int) -> None:
    """Raise InputError where `groups` cannot share `heads` equally."""
    if heads % whole("groups", groups, at_least=1):
        raise InputError(
            f"{heads} heads cannot be shared by {groups} groups: choose groups that divide heads"
        )


def _check_groups(heads: int, groups: int, q_width: int, k_width: int) -> None:
    check_heads(q_width, heads)
    check_groups(heads, groups)
    if q_width * groups != k_width * heads:
        raise InputError(
            f"grouped_query: {heads} queries of {q_width // heads} numbers need keys and values of "
            f"{groups} times as many, {q_width // heads * groups}, not {k_width}"
        )
