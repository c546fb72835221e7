"""Llama: GPT after 2019. Decoder only, predicts the next token.

x_1 … x_T  --E-->  h  --block 0-->  h  …  --block L−1-->  h  --norm-->  y  --E or U-->  p(w)

Positions are no table: each block turns its queries and keys by them. A norm divides and subtracts
nothing, the feed-forward has a gate, and heads may share keys and values.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from . import blocks, blockwise_attention, llama_blocks, ops
from .arguments import as_texts
from .arrays import Array, ArrayLike, Rng
from .config import option
from .errors import InputError
from .model import Model, ModelConfig, Parameters
from .watching import Watch, watched

ATTENTION = ("w_qkv", "w_out")
FEED_FORWARD = ("w_in", "w_out")
NORM = ("gain",)


@dataclass(frozen=True)
class LlamaConfig(ModelConfig):
    """the Llama model"""

    context_length: int = option(
        64, "T at most, the tokens that the model can see", minimum=1, maximum=10**7
    )
    layers: int = option(4, "how many blocks", minimum=1, maximum=1000)
    heads: int = option(4, "H, the queries side by side in each block", minimum=1, maximum=10**5)
    groups: int = option(
        0, "G, the keys and values that H heads share; 0 is H, one each", minimum=0
    )
    width: int = option(
        128, "C, the numbers that stand for a token; a multiple of 2 H", minimum=1, maximum=10**6
    )
    hidden: int = option(
        0, "F, the width inside the feed-forward; 0 is 8/3 C", minimum=0, maximum=10**7
    )
    base: float = option(10000.0, "the slowest clock of F28 turns by about 1/base a token", above=1)
    eps: float = option(1e-5, "what a norm adds to the mean square", minimum=0)
    recompute: bool = option(False, "make attention weights again in the backward: less memory")
    tied: bool = option(True, "predict with E itself; otherwise with a table U of its own")
    init_std: float = option(
        0.02, "standard deviation of the initial weights", above=0, maximum=1e30
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        blocks.check_heads(self.width, self.heads)
        llama_blocks.check_head_width(self.head_width)
        llama_blocks.check_groups(self.heads, self.key_heads)

    @property
    def key_heads(self) -> int:
        """G."""
        return self.groups or self.heads

    @property
    def head_width(self) -> int:
        """D."""
        return self.width // self.heads

    @property
    def hidden_width(self) -> int:
        """F; three matrices of 8/3 C hold as many numbers as GPT's two of 4 C."""
        return self.hidden or round(8 * self.width / 3)


class LlamaBlockCache(NamedTuple):
    """In the order of computation."""

    norm1: llama_blocks.RMSNormCache
    attention: llama_blocks.GroupedSelfAttentionCache
    norm2: llama_blocks.RMSNormCache
    feed_forward: llama_blocks.GatedFeedForwardCache


class LlamaCache(NamedTuple):
    """In the order of computation; one LlamaBlockCache for each block."""

    embedding: tuple[Any, ...]
    blocks: tuple[LlamaBlockCache, ...]
    norm: llama_blocks.RMSNormCache
    output: tuple[Any, ...]


class Llama(Model):
    """F1 h_t = E[x_t]    blocks: h ← h + f(norm(h))    F4 p_t = softmax(U norm(h_t)),  tied: U = E

    f is causal attention of H heads in G groups (F31) with rotary positions (F28), then SwiGLU
    (F30), in every block; norm is RMSNorm (F27). Nothing has a bias.

    Parameters: E (V, C); for block i block{i}.norm1.gain, .attention.w_qkv and .w_out,
    .norm2.gain, .feed_forward.w_in and .w_out; norm.gain; U (V, C) where it is not tied. Their
    shapes are those of llama_blocks.py. None depends on context_length: a model may be given a
    longer one after training, with `Llama(replace(config, context_length=N))` and `params.load`.

    Source: Touvron et al. 2023, LLaMA, section 2.2; groups: Touvron et al. 2023, Llama 2,
    section 2.2.
    """

    Config = LlamaConfig
    config: LlamaConfig

    @staticmethod
    def shapes(config: LlamaConfig) -> blocks.Shapes:
        C, F = config.width, config.hidden_width
        qkv = (config.heads + 2 * config.key_heads) * config.head_width
        shapes: blocks.Shapes = {"E": (config.vocab_size, C)}
        for block in _blocks(config):
            shapes[f"{block}.norm1.gain"] = (C,)
            shapes |= {f"{block}.attention.w_qkv": (C, qkv), f"{block}.attention.w_out": (C, C)}
            shapes[f"{block}.norm2.gain"] = (C,)
            shapes |= {f"{block}.feed_forward.w_in": (C, 2 * F)}
            shapes |= {f"{block}.feed_forward.w_out": (F, C)}
        shapes["norm.gain"] = (C,)
        return shapes if config.tied else shapes | {"U": (config.vocab_size, C)}

    def initialise(self, rng: Rng) -> None:
        """Weights from a normal distribution, gains 1; what adds to h starts smaller by √(2 L)."""
        std, L = self.config.init_std, self.config.layers
        for name, shape in self.params.shapes.items():
            if name.endswith("gain"):
                self.params[name] = np.ones(shape)
            else:
                adds_to_h = name.endswith("w_out")
                self.params[name] = rng.normal(
                    0.0, std / math.sqrt(2 * L if adds_to_h else 1), shape
                )

    def forward(
        self, ids: ArrayLike, rng: Rng | None = None, *, watch: Watch | None = None
    ) -> tuple[Array, LlamaCache]:
        """ids (..., T)  ->  logits (..., T, V).   Raises InputError for T > context_length.

        rng is what other models draw dropout from; there is none here.
        """
        ids = as_texts(ids)
        T = ids.shape[-1]
        self._check_length(T)
        h, embedding = ops.embedding_forward(self.params["E"], ids)
        h = watched(watch, "embedding", h)
        turn = self._turn(np.arange(T))
        way, mask = blockwise_attention.way_for(T, self.config.recompute)
        caches = []
        for block in _blocks(self.config):
            h, cache = self._block_forward(h, block, turn, mask, way, watch)
            h = watched(watch, block, h)
            caches.append(cache)
        y, norm = self._norm(h, "norm")
        y = watched(watch, "norm", y)
        logits, output = ops.output_forward(y, self._output_table)
        logits = watched(watch, "logits", logits)
        return logits, LlamaCache(embedding, tuple(caches), norm, output)

    def _block_forward(
        self,
        h: Array,
        block: str,
        turn: llama_blocks.Rotation,
        mask: Array | None,
        way: str,
        watch: Watch | None,
    ) -> tuple[Array, LlamaBlockCache]:
        """h ← h + attention(norm1(h))    h ← h + feed_forward(norm2(h))"""
        p, config = self.params, self.config
        y, norm1 = self._norm(h, f"{block}.norm1")
        w_qkv, w_out = blocks.weights(p, f"{block}.attention", ATTENTION)
        y, attention = llama_blocks.grouped_self_attention_forward(
            y, w_qkv, w_out, config.heads, config.key_heads, turn, mask, way
        )
        h = h + watched(watch, f"{block}.attention", y)
        y, norm2 = self._norm(h, f"{block}.norm2")
        w = blocks.weights(p, f"{block}.feed_forward", FEED_FORWARD)
        y, feed_forward = llama_blocks.gated_feed_forward_forward(y, *w)
        y = watched(watch, f"{block}.feed_forward", y)
        return h + y, LlamaBlockCache(norm1, attention, norm2, feed_forward)

    def backward(self, dlogits: Array, cache: LlamaCache) -> Parameters:
        """The lines of forward upwards.

        tied, E embeds and predicts   =>   dE = embedding_backward(de) + Σ_i dlogits_i y_iᵀ
        """
        grads = self.params.like()
        dy, dtable = ops.output_backward(dlogits, cache.output)
        grads["E" if self.config.tied else "U"] = dtable
        dh, grads["norm.gain"] = llama_blocks.rms_norm_backward(dy, cache.norm)
        for block, block_cache in reversed([*zip(_blocks(self.config), cache.blocks, strict=True)]):
            dh = self._block_backward(dh, block, block_cache, grads)
        grads["E"] += ops.embedding_backward(dh, cache.embedding)
        return grads

    @staticmethod
    def _block_backward(dh: Array, block: str, cache: LlamaBlockCache, grads: Parameters) -> Array:
        """h' = h + f(h)   =>   dh = dh' + f_backward(dh'), twice, the second line first."""
        dy, *dw = llama_blocks.gated_feed_forward_backward(dh, cache.feed_forward)
        blocks.put(grads, f"{block}.feed_forward", FEED_FORWARD, dw)
        dy, grads[f"{block}.norm2.gain"] = llama_blocks.rms_norm_backward(dy, cache.norm2)
        dh = dh + dy
        dy, *dw = llama_blocks.grouped_self_attention_backward(dh, cache.attention)
        blocks.put(grads, f"{block}.attention", ATTENTION, dw)
        dy, grads[f"{block}.norm1.gain"] = llama_blocks.rms_norm_backward(dy, cache.norm1)
        return dh + dy

    def attention_maps(self, cache: LlamaCache) -> dict[str, Array]:
        pairs = zip(_blocks(self.config), cache.blocks, strict=True)
        return {f"{block}.attention": c.attention.attention.a for block, c in pairs}

    def start(self, batch_size: int = 1, padding: Any = None) -> blocks.KeyValueCache:
        """An empty past for `extend`. padding (B,): how many tokens, on the left, are no text.

        It holds the keys and values of G groups: H/G times less than with one for each head.
        """
        config = self.config
        size = (
            config.layers,
            batch_size,
            config.context_length,
            config.key_heads * config.head_width,
        )
        return blocks.KeyValueCache(*size, self.params.flat.dtype, padding)

    def extend(
        self, ids: ArrayLike, past: blocks.KeyValueCache, *, watch: Watch | None = None
    ) -> Array:
        """Logits (B, T, V) of new tokens ids (B, T) after `past`, which then includes them.

        The same numbers as forward on the whole text; watch sees those of the new tokens. Raises
        InputError where the text would be longer than context_length: then start anew from its
        last tokens.
        """
        p, config, ids = self.params, self.config, as_texts(ids)
        positions, may_look = past.place(ids.shape)
        mask = None if may_look.all() else may_look  # one new token may look at everything
        turn = self._turn(positions)
        h, _ = ops.embedding_forward(p["E"], ids)
        h = watched(watch, "embedding", h)
        for layer, block in enumerate(_blocks(config)):
            y, _ = self._norm(h, f"{block}.norm1")
            w_qkv, w_out = blocks.weights(p, f"{block}.attention", ATTENTION)
            y = llama_blocks.grouped_self_attention_cached(
                y, w_qkv, w_out, config.heads, config.key_heads, turn, mask, past, layer
            )
            h = h + watched(watch, f"{block}.attention", y)
            y, _ = self._norm(h, f"{block}.norm2")
            w = blocks.weights(p, f"{block}.feed_forward", FEED_FORWARD)
            y, _ = llama_blocks.gated_feed_forward_forward(y, *w)
            h = watched(watch, block, h + watched(watch, f"{block}.feed_forward", y))
        past.advance(ids.shape[1])
        y = watched(watch, "norm", self._norm(h, "norm")[0])
        return watched(watch, "logits", ops.output_forward(y, self._output_table)[0])

    @property
    def _output_table(self) -> Array:
        return self.params["E" if self.config.tied else "U"]

    def _norm(self, h: Array, part: str) -> tuple[Array, llama_blocks.RMSNormCache]:
        return llama_blocks.rms_norm_forward(h, self.params[f"{part}.gain"], self.config.eps)

    def _turn(self, positions: Array) -> llama_blocks.Rotation:
        config = self.config
        dtype = self.params.flat.real.dtype
        return llama_blocks.rotation(positions, config.head_width, config.base, dtype)

    def _check_length(self, T: int) -> None:
        N = self.config.context_length
        if not 0 < T <= N:
            raise InputError(f"ids have {T} tokens, and the model sees 1 to {N}: give the last {N}")


def _blocks(config: LlamaConfig) -> list[str]:
    """The names of the blocks, in the order in which they act."""
    return [f"block{i}" for i in range(config.layers)]
