"""What the Transformers share: multi-head attention, feed-forward, the key/value cache, weights.

    x --w_qkv--> q, k, v --split--> H heads --attention--> --merge--> c --w_out--> y
    x --w_in--> hidden --activation--> --w_out--> y

Function pairs in the style of ops.py. A block of GPT, BERT or the Transformer is made of them in
the file of that model, because their order is what tells the three apart.

Letters beyond those of ops.py: H heads, D width of a head, A = H D width of all heads together,
F hidden width, N how many positions a cache has room for.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from . import blockwise_attention, ops
from .arguments import array, as_ids, float_dtype, one_of, shaped, whole
from .arrays import Array, Cache, DTypeLike
from .errors import InputError
from .model import Parameters

# ---- F20: multi-head attention ---------------------------------------------------------------


def check_heads(width: int, heads: int) -> None:
    """Raise InputError where `heads` cannot share `width` numbers equally."""
    if whole("width", width, at_least=1) % whole("heads", heads, at_least=1):
        raise InputError(
            f"width {width} cannot be shared by {heads} heads: choose a width that is a multiple "
            "of heads"
        )


def split_heads(x: Array, heads: int) -> Array:
    """(..., T, H D) seen as (..., H, T, D): no number moves."""
    *lead, T, A = x.shape
    return x.reshape(*lead, T, heads, A // heads).swapaxes(-3, -2)


def merge_heads(x: Array) -> Array:
    """(..., H, T, D) -> (..., T, H D), the inverse of split_heads, as a copy."""
    *lead, H, T, D = x.shape
    return x.swapaxes(-3, -2).reshape(*lead, T, H * D)


def multi_head_forward(
    q: Array, k: Array, v: Array, heads: int, mask: Array | None = None, way: str = "whole"
) -> tuple[Array, blockwise_attention.Cache]:
    """F20: H attentions side by side.   q (..., T, A)   k, v (..., S, A)   ->   c (..., T, A)

        q = [q¹ … q^H],  k = [k¹ … k^H],  v = [v¹ … v^H]      A = H D columns into H parts of D
        c = [c¹ … c^H],  c^h = attention(q^h, k^h, v^h), scale D**-0.5

    mask (broadcast to (..., H, T, S)): True = may look. The weights are cache.a (..., H, T, S).
    way: "whole", or causal without a mask by "blocks" (F32) or "recomputed" (F33).
    Source: Vaswani et al. 2017, Attention Is All You Need, sections 3.2.1 and 3.2.2.
    Raises InputError where A is not divisible by heads.
    """
    q, k, v = shaped("multi_head: q (..., T, A), k (..., S, A), v (..., S, A)", q, k, v)
    A = q.shape[-1]
    check_heads(A, heads)
    q, k, v = (split_heads(x, heads) for x in (q, k, v))
    c, cache = blockwise_attention.attend(q, k, v, mask, (A // heads) ** -0.5, way)
    return merge_heads(c), cache


def multi_head_backward(dc: Array, cache: blockwise_attention.Cache) -> tuple[Array, Array, Array]:
    """Split and merge only move numbers, so their backwards are one another.   ->  dq, dk, dv

    c = merge(attention(split(q), …))   =>   dq = merge(attention_backward(split(dc)).dq), …
    """
    *lead, heads, T, D = cache.c.shape
    dc = array("dc", dc, (*lead, T, heads * D))
    dq, dk, dv = blockwise_attention.attend_upwards(split_heads(dc, heads), cache)
    return merge_heads(dq), merge_heads(dk), merge_heads(dv)


class SelfAttentionCache(NamedTuple):
    """In the order of computation; attention.a holds the weights (..., H, T, T)."""

    to_qkv: Cache
    attention: blockwise_attention.Cache
    out: Cache


def self_attention_forward(
    x: Array,
    w_qkv: Array,
    b_qkv: Array | None,
    w_out: Array,
    b_out: Array | None,
    heads: int,
    mask: Array | None = None,
    way: str = "whole",
) -> tuple[Array, SelfAttentionCache]:
    """F20 of a text on itself.   x (..., T, C)   ->   y (..., T, O)

        [q k v] = x w_qkv + b_qkv      one product for the three; w_qkv (C, 3 A)
        c       = multi_head(q, k, v)
        y       = c w_out + b_out      w_out (A, O); in a block O = C

    A bias may be None. The part of b_qkv that is added to the keys changes nothing: q·b is the same
    for every key, and softmax does not see it; its gradient is 0.
    """
    qkv, to_qkv = ops.linear_forward(x, w_qkv, b_qkv)
    q, k, v = _parts(qkv, 3, "w_qkv")
    c, attention = multi_head_forward(q, k, v, heads, mask, way)
    y, out = ops.linear_forward(c, w_out, b_out)
    return y, SelfAttentionCache(to_qkv, attention, out)


def self_attention_backward(
    dy: Array, cache: SelfAttentionCache
) -> tuple[Array, Array, Array | None, Array, Array | None]:
    """The three lines upwards.   ->  dx, dw_qkv, db_qkv, dw_out, db_out (None if there was no b)

    y = c w_out + b_out       =>   dc = dy w_outᵀ = [dc¹ … dc^H]
    [q k v] = x w_qkv + …     =>   dx = [dq dk dv] w_qkvᵀ
    """
    dc, dw_out, db_out = ops.linear_backward(dy, cache.out)
    dqkv = np.concatenate(multi_head_backward(dc, cache.attention), axis=-1)
    return *ops.linear_backward(dqkv, cache.to_qkv), dw_out, db_out


def _parts(x: Array, parts: int, w: str) -> list[Array]:
    """(..., parts A), which is something times `w`, seen as so many (..., A)."""
    A, rest = divmod(x.shape[-1], parts)
    if rest:
        raise InputError(f"{w} must have {parts} A columns, not {x.shape[-1]}")
    return [x[..., n * A : (n + 1) * A] for n in range(parts)]  # in small, half of split's time


class CrossAttentionCache(NamedTuple):
    """In the order of computation; attention.a holds the weights (..., H, T, S)."""

    to_q: Cache
    to_kv: Cache
    attention: blockwise_attention.Cache
    out: Cache


def cross_attention_forward(
    x: Array,
    memory: Array,
    w_q: Array,
    b_q: Array | None,
    w_kv: Array,
    b_kv: Array | None,
    w_out: Array,
    b_out: Array | None,
    heads: int,
    mask: Array | None = None,
) -> tuple[Array, CrossAttentionCache]:
    """F20 of one text on another.   x (..., T, C)   memory (..., S, I)   ->   y (..., T, O)

    q     = x w_q + b_q             w_q (C, A)
    [k v] = memory w_kv + b_kv      w_kv (I, 2 A)
    y     = multi_head(q, k, v) w_out + b_out      w_out (A, O); in a block I = O = C
    """
    q, to_q = ops.linear_forward(x, w_q, b_q)
    kv, to_kv = ops.linear_forward(memory, w_kv, b_kv)
    k, v = _parts(kv, 2, "w_kv")
    c, attention = multi_head_forward(q, k, v, heads, mask)
    y, out = ops.linear_forward(c, w_out, b_out)
    return y, CrossAttentionCache(to_q, to_kv, attention, out)


def cross_attention_backward(
    dy: Array, cache: CrossAttentionCache
) -> tuple[Array, Array, *tuple[Array | None, ...]]:
    """The three lines upwards.   ->  dx, dmemory, dw_q, db_q, dw_kv, db_kv, dw_out, db_out"""
    dc, dw_out, db_out = ops.linear_backward(dy, cache.out)
    dq, dk, dv = multi_head_backward(dc, cache.attention)
    dmemory, dw_kv, db_kv = ops.linear_backward(np.concatenate([dk, dv], axis=-1), cache.to_kv)
    dx, dw_q, db_q = ops.linear_backward(dq, cache.to_q)
    return dx, dmemory, dw_q, db_q, dw_kv, db_kv, dw_out, db_out


# ---- F21: feed-forward -----------------------------------------------------------------------

ACTIVATIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "gelu": (ops.gelu_forward, ops.gelu_backward),
    "gelu_exact": (ops.gelu_exact_forward, ops.gelu_exact_backward),
    "relu": (ops.relu_forward, ops.relu_backward),
}


class FeedForwardCache(NamedTuple):
    """In the order of computation."""

    to_hidden: Cache
    activation: Any
    out: Cache
    name: str


def feed_forward_forward(
    x: Array,
    w_in: Array,
    b_in: Array | None,
    w_out: Array,
    b_out: Array | None,
    activation: str = "gelu",
) -> tuple[Array, FeedForwardCache]:
    """F21: y = f(x w_in + b_in) w_out + b_out, token by token.   x (..., C)   ->   y (..., O)

    w_in (C, F)   w_out (F, O); in a block O = C. f is one of ACTIVATIONS: F14, F15 or F16. A bias
    may be None.
    Source: Vaswani et al. 2017, Attention Is All You Need, section 3.3, with f = ReLU.
    """
    one_of("activation", activation, ACTIVATIONS)
    hidden, to_hidden = ops.linear_forward(x, w_in, b_in)
    active, activation_cache = ACTIVATIONS[activation][0](hidden)
    y, out = ops.linear_forward(active, w_out, b_out)
    return y, FeedForwardCache(to_hidden, activation_cache, out, activation)


def feed_forward_backward(
    dy: Array, cache: FeedForwardCache
) -> tuple[Array, Array, Array | None, Array, Array | None]:
    """Linear, activation, linear, upwards.   ->  dx, dw_in, db_in, dw_out, db_out

    u = x w_in + b_in,  y = f(u) w_out + b_out   =>   du = f'(u) dy w_outᵀ     dx = du w_inᵀ
    """
    dactive, dw_out, db_out = ops.linear_backward(dy, cache.out)
    dhidden = ACTIVATIONS[cache.name][1](dactive, cache.activation)
    return *ops.linear_backward(dhidden, cache.to_hidden), dw_out, db_out


# ---- the key/value cache ---------------------------------------------------------------------


class KeyValueCache:
    """The past: every layer's keys and values, so that a new token costs one token's work.

    keys, values (layers, B, N, A), of which the first `length` of N are filled. `padding` (B,) says
    how many of a sample's first tokens are padding, on the left, so that prompts of different
    lengths end together: nobody looks at these, and positions count from the first that is none.
    """

    def __init__(self, layers: int, B: int, N: int, A: int, dtype: DTypeLike, padding: Any = None):
        sizes = zip(("layers", "B", "N", "A"), (layers, B, N, A), strict=True)
        shape = tuple(whole(name, size, at_least=1) for name, size in sizes)
        self.keys = np.zeros(shape, float_dtype("dtype", dtype))
        self.values = np.zeros(shape, self.keys.dtype)  # unlike zeros_like, touches no memory yet
        self.length = 0
        self.padding = np.zeros(B, np.intp) if padding is None else as_ids("padding", padding)
        if self.padding.shape != (B,) or (self.padding < 0).any():
            raise InputError(
                f"padding must be {B} counts of at least 0, one for each sample, not {padding}"
            )

    def place(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Where new tokens of shape (B, T) stand, (B, T), and what they may look at, (B, 1, T, S).

        S = length + T. A padded token may look at nothing, and stands at 0. Raises InputError for
        another B, and where the tokens do not fit.
        """
        _, B, N, _ = self.keys.shape
        if (
            not isinstance(shape, tuple)
            or len(shape) != 2
            or shape[0] != B
            or not 0 < shape[1] <= N - self.length
        ):
            raise InputError(
                f"ids {shape} must be (B, T) with B = {B} and 1 ≤ T ≤ {N - self.length}: the cache "
                f"holds {self.length} of {N} tokens; if it is full, start anew from the last ones"
            )
        T, S = shape[1], self.length + shape[1]
        positions = np.arange(self.length, S) - self.padding[:, None]
        real = np.arange(S) >= self.padding[:, None]
        return np.maximum(positions, 0), ops.causal_mask(T, S) & real[:, None, None, :]

    def append(self, layer: int, k: Array, v: Array) -> tuple[Array, Array]:
        """Write k, v (B, T, A) behind the past of `layer`; all of its keys and values (B, S, A)."""
        S = self.length + k.shape[-2]
        self.keys[layer, :, self.length : S] = k
        self.values[layer, :, self.length : S] = v
        return self.keys[layer, :, :S], self.values[layer, :, :S]

    def advance(self, T: int) -> None:
        """The T tokens that every layer has appended are past."""
        self.length += T


def self_attention_cached(
    x: Array,
    w_qkv: Array,
    b_qkv: Array | None,
    w_out: Array,
    b_out: Array | None,
    heads: int,
    mask: Array,
    past: KeyValueCache,
    layer: int,
) -> Array:
    """self_attention_forward of new tokens x (B, T, C), whose keys include those of the past.

    For inference only: it writes into `past` and has no backward.
    """
    q, k, v = _parts(ops.linear_forward(x, w_qkv, b_qkv)[0], 3, "w_qkv")
    c, _ = multi_head_forward(q, *past.append(layer, k, v), heads, mask)
    return ops.linear_forward(c, w_out, b_out)[0]


# ---- weights by name -------------------------------------------------------------------------

Shapes = dict[str, tuple[int, ...]]

NORM = ("gain", "bias")  # each in the order of the arguments of its forward
SELF_ATTENTION = ("w_qkv", "b_qkv", "w_out", "b_out")
CROSS_ATTENTION = ("w_q", "b_q", "w_kv", "b_kv", "w_out", "b_out")
FEED_FORWARD = ("w_in", "b_in", "w_out", "b_out")


def norm_shapes(part: str, C: int) -> Shapes:
    return _named(part, NORM, (C,), (C,))


def self_attention_shapes(part: str, C: int) -> Shapes:
    return _named(part, SELF_ATTENTION, (C, 3 * C), (3 * C,), (C, C), (C,))


def cross_attention_shapes(part: str, C: int) -> Shapes:
    return _named(part, CROSS_ATTENTION, (C, C), (C,), (C, 2 * C), (2 * C,), (C, C), (C,))


def feed_forward_shapes(part: str, C: int, F: int) -> Shapes:
    return _named(part, FEED_FORWARD, (C, F), (F,), (F, C), (C,))


def _named(part: str, names: tuple[str, ...], *shapes: tuple[int, ...]) -> Shapes:
    return {f"{part}.{name}": shape for name, shape in zip(names, shapes, strict=True)}


def is_bias(name: str) -> bool:
    """Whether the parameter `name` is added: "block0.attention.b_qkv", "norm.bias"."""
    return name.split(".")[-1].startswith("b")


def weights(params: Mapping[str, Array], part: str, names: tuple[str, ...]) -> list[Any]:
    """The arrays `part`.name, for a forward to take in this order; None for a bias left out."""
    return [params.get(f"{part}.{name}") for name in names]


def put(grads: Parameters, part: str, names: tuple[str, ...], values: Iterable[Any]) -> None:
    """Store what a backward returned for weights(…, part, names)."""
    for name, value in zip(names, values, strict=True):
        if value is not None:
            grads[f"{part}.{name}"] = value
