"""An attention, taken apart by its heads: what each adds to the output, and whom it reads.

    y = Σ_h (a^h v^h) w_out^h + b_out          F20; F31 of a Llama; F2 of the one-matrix model

The sum is the one that the model computes in one product. Letters as in blocks.py.
"""

from typing import Any, NamedTuple

import numpy as np

from .. import blocks, llama_blocks, ops
from ..arrays import Array
from ..attention_lm import AttentionLM
from ..bert import BERT
from ..errors import InputError
from ..gpt import GPT
from ..llama import Llama
from ..transformer import Transformer

FAMILIES = (AttentionLM, GPT, Llama, BERT, Transformer)


class Heads(NamedTuple):
    """a (..., H, T, S)   v (..., H, S, D)   w (H, D, C)   b (C,) or None"""

    a: Array
    v: Array
    w: Array
    b: Array | None

    def parts(self, a: Array | None = None) -> Array:
        """What each head adds to y, (..., H, T, C); with other weights a, if given."""
        result: Array = ((self.a if a is None else a) @ self.v) @ self.w
        return result

    def output(self, parts: Array) -> Array:
        """y (..., T, C)"""
        y: Array = parts.sum(axis=-3)
        return y if self.b is None else y + self.b


def attention_parts(model: Any) -> list[str]:
    """The names of all attentions of a model, in the order in which they act."""
    if isinstance(model, AttentionLM):
        return ["attention"]
    layers = range(getattr(model.config, "layers", 0))
    if isinstance(model, Transformer):
        below = [f"encoder{i}.attention" for i in layers]
        return below + [f"decoder{i}.{part}" for i in layers for part in ("attention", "cross")]
    return [f"block{i}.attention" for i in layers] if isinstance(model, FAMILIES) else []


def head_names(model: Any) -> list[str]:
    """ "block0.attention.head0", …: what may stand for one head in an intervention."""
    H = getattr(model.config, "heads", 1)
    return [f"{part}.head{h}" for part in attention_parts(model) for h in range(H)]


def heads_of(
    model: Any,
    part: str,
    x: Array,
    mask: Array | None,
    positions: Array | None = None,
    past: tuple[Array, Array] | None = None,
    memory: Array | None = None,
) -> Heads:
    """The heads of the attention `part` when it reads x (..., T, C).

    mask (broadcast to (..., H, T, S)), True = may look. positions (..., T): of a Llama's tokens.
    past: the keys and values (..., S, A) so far, of the new tokens too. memory: what "cross" reads.
    """
    if isinstance(model, AttentionLM):
        return _of_one_matrix(model, x, mask)
    if isinstance(model, Llama):
        return _of_llama(model, part, x, mask, positions, past)
    p, H = model.params, model.config.heads
    if memory is not None:
        w_q, b_q, w_kv, b_kv, w_out, b = blocks.weights(p, part, blocks.CROSS_ATTENTION)
        q = ops.linear_forward(x, w_q, b_q)[0]
        k, v = np.split(ops.linear_forward(memory, w_kv, b_kv)[0], 2, axis=-1)
    else:
        w_qkv, b_qkv, w_out, b = blocks.weights(p, part, blocks.SELF_ATTENTION)
        q, k, v = np.split(ops.linear_forward(x, w_qkv, b_qkv)[0], 3, axis=-1)
    k, v = (k, v) if past is None else past
    q, k, v = (blocks.split_heads(y, H) for y in (q, k, v))
    D = q.shape[-1]
    return Heads(_weights(q, k, mask, D**-0.5), v, w_out.reshape(H, D, -1), b)


def _weights(q: Array, k: Array, mask: Array | None, scale: float) -> Array:
    a, _ = ops.softmax_forward((scale * q) @ k.mT, mask)
    return a


def _of_one_matrix(model: AttentionLM, x: Array, mask: Array | None) -> Heads:
    q = k = v = x
    if model.config.projections:
        q, k, v = (ops.linear_forward(x, model.params[w])[0] for w in ("W_q", "W_k", "W_v"))
    q, k, v = (y[..., None, :, :] for y in (q, k, v))  # one head
    whole = np.eye(x.shape[-1], dtype=x.dtype)[None]
    return Heads(_weights(q, k, mask, model.config.scale), v, whole, None)


def _of_llama(
    model: Llama,
    part: str,
    x: Array,
    mask: Array | None,
    positions: Array | None,
    past: tuple[Array, Array] | None,
) -> Heads:
    config = model.config
    H, G, D = config.heads, config.key_heads, config.head_width
    places = np.arange(x.shape[-2]) if positions is None else positions
    turn = llama_blocks.rotation(places, D, config.base, x.real.dtype)
    qkv = ops.linear_forward(x, model.params[f"{part}.w_qkv"])[0]
    q, k, v = llama_blocks.rotated_qkv(qkv, H, G, turn)
    k, v = (k, v) if past is None else past
    q = blocks.split_heads(q, H)
    k, v = (np.repeat(blocks.split_heads(y, G), H // G, axis=-3) for y in (k, v))
    w_out = model.params[f"{part}.w_out"].reshape(H, D, -1)
    return Heads(_weights(q, k, mask, D**-0.5), v, w_out, None)


def attention_input(model: Any, part: str, h: Array, y: Array | None = None) -> Array:
    """What the attention `part` reads where the block receives h.

    y: what the decoder's own attention has added before "cross" reads.
    """
    block = part.rpartition(".")[0]
    if isinstance(model, GPT):
        return ops.layer_norm_forward(
            h, *blocks.weights(model.params, f"{block}.norm1", blocks.NORM)
        )[0]
    if isinstance(model, Llama):
        gain = model.params[f"{block}.norm1.gain"]
        return llama_blocks.rms_norm_forward(h, gain, model.config.eps)[0]
    if part.endswith("cross") and y is not None:
        norm = blocks.weights(model.params, f"{block}.norm1", blocks.NORM)
        return ops.layer_norm_forward(h + y, *norm)[0]
    return h


def require_family(model: Any) -> None:
    """InputError for a model whose attention is not one of the library's."""
    if not isinstance(model, FAMILIES):
        kinds = ", ".join(kind.__name__ for kind in FAMILIES)
        raise InputError(
            f"the heads of a {type(model).__name__} are not known; those of {kinds} are"
        )
