"""GPT: decoder only, predicts the next token.

x_1 … x_T  --E, P-->  h  --block 0-->  h  …  --block L−1-->  h  --norm-->  y  --E-->  p(w)
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from . import blocks, blockwise_attention, ops
from .arguments import as_texts
from .arrays import Array, ArrayLike, Cache, Rng
from .blocks import FEED_FORWARD, NORM, SELF_ATTENTION, Shapes, put, weights
from .config import option
from .model import Model, ModelConfig, Parameters
from .watching import Watch, watched


@dataclass(frozen=True)
class GPTConfig(ModelConfig):
    """the GPT model"""

    context_length: int = option(
        64, "T at most, the tokens that the model can see", minimum=1, maximum=10**7
    )
    layers: int = option(4, "how many blocks", minimum=1, maximum=1000)
    heads: int = option(4, "H, the attentions side by side in each block", minimum=1, maximum=10**5)
    width: int = option(
        128, "C, the numbers that stand for a token; a multiple of H", minimum=1, maximum=10**6
    )
    dropout: float = option(0.0, "share of numbers dropped in training", minimum=0, below=1)
    recompute: bool = option(False, "make attention weights again in the backward: less memory")
    bias: bool = option(True, "an offset in every linear map and layer normalisation")
    init_std: float = option(
        0.02, "standard deviation of the initial weights", above=0, maximum=1e30
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        blocks.check_heads(self.width, self.heads)


class GPTBlockCache(NamedTuple):
    """In the order of computation."""

    norm1: Cache
    attention: blocks.SelfAttentionCache
    dropout1: Array | None
    norm2: Cache
    feed_forward: blocks.FeedForwardCache
    dropout2: Array | None


class GPTCache(NamedTuple):
    """In the order of computation; one GPTBlockCache for each block."""

    embedding: Cache
    positions: Cache
    dropout: Array | None
    blocks: tuple[GPTBlockCache, ...]
    norm: Cache
    output: Cache


class GPT(Model):
    """F1, F18 h_t = E[x_t] + P[t]    blocks: h ← h + f(norm(h))    F4 p_t = softmax(E norm(h_t))

    f is causal self-attention (F20), then feed-forward with tanh GELU and F = 4 C (F21), in every
    block; norm is F13. Dropout (F17), in training, follows the embedding and every f.

    Parameters: E (V, C), P (N, C); for block i block{i}.norm1, .attention, .norm2 and
    .feed_forward; norm. Their shapes are those of blocks.py, with no b… where bias is False.

    Source: Radford et al. 2019, Language Models are Unsupervised Multitask Learners, section 2.3.
    GPT-2 drops attention weights as well; this follows Vaswani et al. 2017, section 5.4.
    """

    Config = GPTConfig
    config: GPTConfig

    @staticmethod
    def shapes(config: GPTConfig) -> Shapes:
        C = config.width
        shapes: Shapes = {"E": (config.vocab_size, C), "P": (config.context_length, C)}
        for block in _blocks(config):
            shapes |= blocks.norm_shapes(f"{block}.norm1", C)
            shapes |= blocks.self_attention_shapes(f"{block}.attention", C)
            shapes |= blocks.norm_shapes(f"{block}.norm2", C)
            shapes |= blocks.feed_forward_shapes(f"{block}.feed_forward", C, 4 * C)
        shapes |= blocks.norm_shapes("norm", C)
        return {name: s for name, s in shapes.items() if config.bias or not blocks.is_bias(name)}

    def initialise(self, rng: Rng) -> None:
        """Weights from a normal distribution, gains 1, biases 0.

        Each of the 2 L maps that add to h starts smaller by √(2 L), so that h does not grow with
        the number of blocks L.
        """
        std, L = self.config.init_std, self.config.layers
        for name, shape in self.params.shapes.items():
            if name.endswith("gain"):
                self.params[name] = np.ones(shape)
            elif not blocks.is_bias(name):
                adds_to_h = name.endswith("w_out")
                self.params[name] = rng.normal(
                    0.0, std / math.sqrt(2 * L if adds_to_h else 1), shape
                )

    def forward(
        self, ids: ArrayLike, rng: Rng | None = None, *, watch: Watch | None = None
    ) -> tuple[Array, GPTCache]:
        """ids (..., T)  ->  logits (..., T, V).   Raises InputError for T > context_length."""
        p = self.params
        e, embedding = ops.embedding_forward(p["E"], as_texts(ids))
        h, positions = ops.positions_forward(e, p["P"])
        h, dropout = ops.dropout_forward(h, self.config.dropout, rng)
        h = watched(watch, "embedding", h)
        way, mask = blockwise_attention.way_for(h.shape[-2], self.config.recompute)
        caches = []
        for block in _blocks(self.config):
            h, cache = self._block_forward(h, block, mask, way, rng, watch)
            h = watched(watch, block, h)
            caches.append(cache)
        y, norm = ops.layer_norm_forward(h, *weights(p, "norm", NORM))
        y = watched(watch, "norm", y)
        logits, output = ops.output_forward(y, p["E"])
        logits = watched(watch, "logits", logits)
        return logits, GPTCache(embedding, positions, dropout, tuple(caches), norm, output)

    def _block_forward(
        self,
        h: Array,
        block: str,
        mask: Array | None,
        way: str,
        rng: Rng | None,
        watch: Watch | None,
    ) -> tuple[Array, GPTBlockCache]:
        """h ← h + attention(norm1(h))    h ← h + feed_forward(norm2(h))"""
        p, config = self.params, self.config
        y, norm1 = ops.layer_norm_forward(h, *weights(p, f"{block}.norm1", NORM))
        attend = [*weights(p, f"{block}.attention", SELF_ATTENTION), config.heads, mask, way]
        y, attention = blocks.self_attention_forward(y, *attend)
        y = watched(watch, f"{block}.attention", y)
        y, dropout1 = ops.dropout_forward(y, config.dropout, rng)
        h = h + y
        y, norm2 = ops.layer_norm_forward(h, *weights(p, f"{block}.norm2", NORM))
        feed = weights(p, f"{block}.feed_forward", FEED_FORWARD)
        y, feed_forward = blocks.feed_forward_forward(y, *feed)
        y = watched(watch, f"{block}.feed_forward", y)
        y, dropout2 = ops.dropout_forward(y, config.dropout, rng)
        return h + y, GPTBlockCache(norm1, attention, dropout1, norm2, feed_forward, dropout2)

    def backward(self, dlogits: Array, cache: GPTCache) -> Parameters:
        """The lines of forward upwards.

        E embeds and predicts   =>   dE = embedding_backward(de) + Σ_i dlogits_i y_iᵀ
        """
        grads = self.params.like()
        dy, grads["E"] = ops.output_backward(dlogits, cache.output)
        dh, *dw = ops.layer_norm_backward(dy, cache.norm)
        put(grads, "norm", NORM, dw)
        for block, block_cache in reversed([*zip(_blocks(self.config), cache.blocks, strict=True)]):
            dh = self._block_backward(dh, block, block_cache, grads)
        dh = ops.dropout_backward(dh, cache.dropout)
        de, grads["P"] = ops.positions_backward(dh, cache.positions)
        grads["E"] += ops.embedding_backward(de, cache.embedding)
        return grads

    @staticmethod
    def _block_backward(dh: Array, block: str, cache: GPTBlockCache, grads: Parameters) -> Array:
        """h' = h + f(h)   =>   dh = dh' + f_backward(dh'): the residual path hands dh' on as it is.

        Twice, the second line of the forward first. The gradients of the weights go into `grads`.
        """
        dy = ops.dropout_backward(dh, cache.dropout2)
        dy, *dw = blocks.feed_forward_backward(dy, cache.feed_forward)
        put(grads, f"{block}.feed_forward", FEED_FORWARD, dw)
        dy, *dw = ops.layer_norm_backward(dy, cache.norm2)
        put(grads, f"{block}.norm2", NORM, dw)
        dh = dh + dy
        dy = ops.dropout_backward(dh, cache.dropout1)
        dy, *dw = blocks.self_attention_backward(dy, cache.attention)
        put(grads, f"{block}.attention", SELF_ATTENTION, dw)
        dy, *dw = ops.layer_norm_backward(dy, cache.norm1)
        put(grads, f"{block}.norm1", NORM, dw)
        return dh + dy

    def attention_maps(self, cache: GPTCache) -> dict[str, Array]:
        return {f"block{i}.attention": c.attention.attention.a for i, c in enumerate(cache.blocks)}

    def start(self, batch_size: int = 1, padding: Any = None) -> blocks.KeyValueCache:
        """An empty past for `extend`. padding (B,): how many tokens, on the left, are no text."""
        config = self.config
        size = config.layers, batch_size, config.context_length, config.width
        return blocks.KeyValueCache(*size, self.params.flat.dtype, padding)

    def extend(
        self, ids: ArrayLike, past: blocks.KeyValueCache, *, watch: Watch | None = None
    ) -> Array:
        """Logits (B, T, V) of new tokens ids (B, T) after `past`, which then includes them.

        The same numbers as forward on the whole text, in evaluation; watch sees those of the new
        tokens. Raises InputError where the text would be longer than context_length: then start
        anew from its last tokens, because their positions, and so all keys and values, change.
        """
        p, heads, ids = self.params, self.config.heads, as_texts(ids)
        positions, mask = past.place(ids.shape)
        h = ops.embedding_forward(p["E"], ids)[0] + ops.embedding_forward(p["P"], positions)[0]
        h = watched(watch, "embedding", h)
        for layer, block in enumerate(_blocks(self.config)):
            y, _ = ops.layer_norm_forward(h, *weights(p, f"{block}.norm1", NORM))
            attend = [*weights(p, f"{block}.attention", SELF_ATTENTION), heads, mask, past, layer]
            y = blocks.self_attention_cached(y, *attend)
            h = h + watched(watch, f"{block}.attention", y)
            y, _ = ops.layer_norm_forward(h, *weights(p, f"{block}.norm2", NORM))
            feed = weights(p, f"{block}.feed_forward", FEED_FORWARD)
            y, _ = blocks.feed_forward_forward(y, *feed)
            h = h + watched(watch, f"{block}.feed_forward", y)
            h = watched(watch, block, h)
        past.advance(ids.shape[1])
        y, _ = ops.layer_norm_forward(h, *weights(p, "norm", NORM))
        y = watched(watch, "norm", y)
        return watched(watch, "logits", ops.output_forward(y, p["E"])[0])


def _blocks(config: GPTConfig) -> list[str]:
    """The names of the blocks, in the order in which they act."""
    return [f"block{i}" for i in range(config.layers)]
