"""The Transformer: an encoder reads the source, a decoder writes the target.

source  --E, positions-->  h  --encoder 0-->  …  --encoder L−1-->  memory (B, S, C)
target  --E, positions-->  h  --decoder 0-->  …  --decoder L−1-->  h  --E-->  p(w)
                               each decoder block reads the memory
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from . import blocks, ops
from .arguments import as_ids, as_texts, check_ids
from .arrays import Array, ArrayLike, Cache, DTypeLike, Rng
from .blocks import CROSS_ATTENTION, FEED_FORWARD, NORM, SELF_ATTENTION, Shapes, put, weights
from .config import option
from .errors import InputError
from .model import Model, ModelConfig, Parameters
from .watching import Watch, watched


@dataclass(frozen=True)
class TransformerConfig(ModelConfig):
    """the Transformer"""

    context_length: int = option(
        64, "the most tokens of a source, and of a target", minimum=1, maximum=10**7
    )
    layers: int = option(
        2, "L, the blocks of the encoder, and those of the decoder", minimum=1, maximum=1000
    )
    heads: int = option(4, "H, the attentions side by side in each block", minimum=1, maximum=10**5)
    width: int = option(
        64, "C, the numbers that stand for a token; a multiple of H", minimum=1, maximum=10**6
    )
    hidden: int = option(
        0, "F, the width inside the feed-forward; 0 is 4 C", minimum=0, maximum=10**7
    )
    dropout: float = option(0.0, "share of numbers dropped in training", minimum=0, below=1)
    smoothing: float = option(0.0, "F23: 0.1 in the paper", minimum=0, below=1)
    padding_id: int = option(0, "fills up short texts; nobody looks at it", minimum=0, flag=False)
    begin_id: int = option(1, "stands before every target", minimum=0, flag=False)
    end_id: int = option(2, "stands after every target", minimum=0, flag=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        blocks.check_heads(self.width, self.heads)
        special = self.padding_id, self.begin_id, self.end_id
        if len(set(special)) < 3 or max(special) >= self.vocab_size:
            raise InputError(
                f"padding_id, begin_id and end_id {special} must be three different ids below "
                f"vocab_size {self.vocab_size}"
            )

    @property
    def hidden_width(self) -> int:
        """F."""
        return self.hidden or 4 * self.width


class EmbedCache(NamedTuple):
    """In the order of computation."""

    embedding: Cache
    dropout: Array | None


class AddNormCache(NamedTuple):
    """In the order of computation."""

    dropout: Array | None
    norm: Cache


class EncoderBlockCache(NamedTuple):
    """In the order of computation."""

    attention: blocks.SelfAttentionCache
    norm1: AddNormCache
    feed_forward: blocks.FeedForwardCache
    norm2: AddNormCache


class DecoderBlockCache(NamedTuple):
    """In the order of computation."""

    attention: blocks.SelfAttentionCache
    norm1: AddNormCache
    cross: blocks.CrossAttentionCache
    norm2: AddNormCache
    feed_forward: blocks.FeedForwardCache
    norm3: AddNormCache


class EncoderCache(NamedTuple):
    """In the order of computation; one EncoderBlockCache for each block."""

    embed: EmbedCache
    blocks: tuple[EncoderBlockCache, ...]


class DecoderCache(NamedTuple):
    """In the order of computation; one DecoderBlockCache for each block."""

    embed: EmbedCache
    blocks: tuple[DecoderBlockCache, ...]
    output: Cache


class TransformerCache(NamedTuple):
    """In the order of computation."""

    encoder: EncoderCache
    decoder: DecoderCache


class Transformer(Model):
    """F1, F18, F19 h_t = √C E[x_t] + P[t]    blocks: h ← norm(h + f(h))    F4 p_t = softmax(E h_t)

    In the encoder f is self-attention (F20) of the source, then feed-forward with ReLU (F21). In
    the decoder f is causal self-attention of the target, then cross-attention on the memory, which
    is what the encoder made of the source, then feed-forward. norm is F13. Nobody looks at padding.
    Dropout (F17), in training, follows the embedding and every f.

    One vocabulary and one table E (V, C) serve source, target and output. The positions P are not
    learned. Parameters: E; for block i encoder{i}.attention, .norm1, .feed_forward and .norm2, and
    decoder{i}.attention, .norm1, .cross, .norm2, .feed_forward and .norm3.

    Source: Vaswani et al. 2017, Attention Is All You Need, section 3.
    """

    Config = TransformerConfig
    config: TransformerConfig

    @property
    def positions(self) -> Array:
        """F19, (context_length, C)"""
        return _positions(self.config.context_length, self.config.width, self.params.flat.dtype)

    @staticmethod
    def shapes(config: TransformerConfig) -> Shapes:
        C, F = config.width, config.hidden_width
        shapes: Shapes = {"E": (config.vocab_size, C)}
        for block in _blocks("encoder", config):
            shapes |= blocks.self_attention_shapes(f"{block}.attention", C)
            shapes |= blocks.norm_shapes(f"{block}.norm1", C)
            shapes |= blocks.feed_forward_shapes(f"{block}.feed_forward", C, F)
            shapes |= blocks.norm_shapes(f"{block}.norm2", C)
        for block in _blocks("decoder", config):
            shapes |= blocks.self_attention_shapes(f"{block}.attention", C)
            shapes |= blocks.norm_shapes(f"{block}.norm1", C)
            shapes |= blocks.cross_attention_shapes(f"{block}.cross", C)
            shapes |= blocks.norm_shapes(f"{block}.norm2", C)
            shapes |= blocks.feed_forward_shapes(f"{block}.feed_forward", C, F)
            shapes |= blocks.norm_shapes(f"{block}.norm3", C)
        return shapes

    def initialise(self, rng: Rng) -> None:
        """Matrices (I, O) from a normal distribution of variance 2/(I + O), gains 1, biases 0.

        E has variance 1/C, so that √C E[x] and the logits start near 1.
        Source: Glorot and Bengio 2010, Understanding the Difficulty of Training, equation 12.
        """
        for name, shape in self.params.shapes.items():
            if name.endswith("gain"):
                self.params[name] = np.ones(shape)
            elif len(shape) == 2:
                variance = 1 / self.config.width if name == "E" else 2 / sum(shape)
                self.params[name] = rng.normal(0.0, math.sqrt(variance), shape)

    # ---- a model of two texts

    def forward(  # type: ignore[override]  # the other models read one text
        self,
        source: ArrayLike,
        target_in: ArrayLike,
        rng: Rng | None = None,
        *,
        watch: Watch | None = None,
    ) -> tuple[Array, TransformerCache]:
        """source (..., S)   target_in (..., T)  ->  logits (..., T, V)

        logits t are for the token after target_in[..., t]; target_in begins with begin_id.
        Padding belongs behind a text, because positions count it. A source that is all padding is
        defined: cross-attention reads nothing and adds b_out alone.
        Raises InputError for texts that are empty or longer than context_length, for ids outside
        the vocabulary, and where there is not one target for each source.
        """
        source, target_in = as_ids("source", source), as_ids("target", target_in)
        self.check_pair(source, target_in)
        memory, encoder = self.encode(source, rng, watch=watch)
        real = source != self.config.padding_id
        logits, decoder = self.decode(target_in, memory, real, rng, watch=watch)
        return logits, TransformerCache(encoder, decoder)

    def backward(self, dlogits: Array, cache: TransformerCache) -> Parameters:
        """The decoder upwards, then the encoder, to which the memory takes the gradient.

        E embeds source and target, and predicts   =>   its gradient is the sum of the three
        """
        grads = self.params.like()
        dmemory = self.decode_backward(dlogits, cache.decoder, grads)
        self.encode_backward(dmemory, cache.encoder, grads)
        return grads

    def loss(self, source: ArrayLike, target: ArrayLike, rng: Rng | None = None) -> tuple[Any, Any]:
        """F23: the smoothed loss of each token of the target given the true ones before it.

        source (..., S)   target (..., T + 1): begin_id, the text, end_id, padding
        Nats per predicted token: begin_id and padding are not predicted.
        """
        target_in, targets = self.shifted(target)
        logits, cache = self.forward(source, target_in, rng)
        smoothing = self.config.smoothing
        loss, loss_cache = ops.smoothed_cross_entropy_forward(logits, targets, smoothing)
        return loss, (cache, loss_cache)

    def loss_backward(self, cache: Any, dL: float = 1.0) -> Parameters:
        """dL/dparams of `loss`, times dL."""
        forward_cache, loss_cache = cache
        return self.backward(ops.smoothed_cross_entropy_backward(dL, loss_cache), forward_cache)

    def shifted(self, target: ArrayLike) -> tuple[Array, Array]:
        """What is read, and what is to be predicted after each.   (..., T + 1)  ->  2 x (..., T)"""
        target = check_ids("target", as_texts(target, "target"), self.config.vocab_size)
        targets = np.where(target == self.config.padding_id, ops.IGNORE, target)
        return target[..., :-1], targets[..., 1:]

    def logits_and_targets(self, source: ArrayLike, target: ArrayLike) -> tuple[Array, Array]:
        """What `evaluate` compares, of the arguments of `loss`."""
        target_in, targets = self.shifted(target)
        return self.forward(source, target_in)[0], targets

    def next_logits(self, source: ArrayLike, target_in: ArrayLike) -> Array:  # type: ignore[override]
        """Logits (..., V) of the token that follows target_in (..., T)."""
        return self.forward(source, target_in)[0][..., -1, :]

    def check_pair(self, source: Array, target_in: Array) -> None:
        if source.ndim < 1 or target_in.ndim < 1 or source.shape[:-1] != target_in.shape[:-1]:
            raise InputError(
                f"source {source.shape} and target {target_in.shape} must be (..., S) and "
                "(..., T): one target for each source"
            )
        N = self.config.context_length
        for name, ids in (("source", source), ("target", target_in)):
            check_ids(name, ids, self.config.vocab_size)
            if not 0 < ids.shape[-1] <= N:
                raise InputError(
                    f"{name} {ids.shape} must have 1 to {N} tokens, the context_length: pad an "
                    "empty text, and cut or leave out a longer one"
                )

    # ---- the encoder

    def encode(
        self, source: Array, rng: Rng | None = None, *, watch: Watch | None = None
    ) -> tuple[Array, EncoderCache]:
        """source (..., S)  ->  memory (..., S, C)"""
        source = as_texts(source, "source")
        real = source != self.config.padding_id
        h, embed = self._embed(source, rng)
        h = watched(watch, "encoder.embedding", h)
        caches = []
        for block in _blocks("encoder", self.config):
            h, cache = self._encoder_block_forward(h, block, _keys(real), rng, watch)
            h = watched(watch, block, h)
            caches.append(cache)
        return h, EncoderCache(embed, tuple(caches))

    def _encoder_block_forward(
        self,
        h: Array,
        block: str,
        mask: Array,
        rng: Rng | None,
        watch: Watch | None,
    ) -> tuple[Array, EncoderBlockCache]:
        """h ← norm1(h + attention(h))    h ← norm2(h + feed_forward(h))"""
        p, heads = self.params, self.config.heads
        own = [*weights(p, f"{block}.attention", SELF_ATTENTION), heads, mask]
        y, attention = blocks.self_attention_forward(h, *own)
        y = watched(watch, f"{block}.attention", y)
        h, norm1 = self._add_norm(h, y, f"{block}.norm1", rng)
        feed = [*weights(p, f"{block}.feed_forward", FEED_FORWARD), "relu"]
        y, feed_forward = blocks.feed_forward_forward(h, *feed)
        y = watched(watch, f"{block}.feed_forward", y)
        h, norm2 = self._add_norm(h, y, f"{block}.norm2", rng)
        return h, EncoderBlockCache(attention, norm1, feed_forward, norm2)

    def encode_backward(self, dh: Array, cache: EncoderCache, grads: Parameters) -> None:
        """The lines of encode upwards: the gradients of its parameters are added to `grads`."""
        pairs = [*zip(_blocks("encoder", self.config), cache.blocks, strict=True)]
        for block, c in reversed(pairs):
            ds, dy = _add_norm_backward(dh, c.norm2, f"{block}.norm2", grads)
            dy, *dw = blocks.feed_forward_backward(dy, c.feed_forward)
            put(grads, f"{block}.feed_forward", FEED_FORWARD, dw)
            ds, dy = _add_norm_backward(ds + dy, c.norm1, f"{block}.norm1", grads)
            dy, *dw = blocks.self_attention_backward(dy, c.attention)
            put(grads, f"{block}.attention", SELF_ATTENTION, dw)
            dh = ds + dy
        self._embed_backward(dh, cache.embed, grads)

    # ---- the decoder

    def decode(
        self,
        target_in: Array,
        memory: Array,
        source_real: Array,
        rng: Rng | None = None,
        *,
        watch: Watch | None = None,
    ) -> tuple[Array, DecoderCache]:
        """target_in (..., T)   memory (..., S, C)   source_real (..., S)  ->  logits (..., T, V)

        source_real is True where memory stands for a token, False where for padding.
        """
        real = target_in != self.config.padding_id
        masks = _keys(real) & ops.causal_mask(target_in.shape[-1]), _keys(source_real)
        h, embed = self._embed(target_in, rng)
        h = watched(watch, "decoder.embedding", h)
        caches = []
        for block in _blocks("decoder", self.config):
            h, cache = self._decoder_block_forward(h, memory, block, masks, rng, watch)
            h = watched(watch, block, h)
            caches.append(cache)
        logits, output = ops.output_forward(h, self.params["E"])
        return watched(watch, "logits", logits), DecoderCache(embed, tuple(caches), output)

    def _decoder_block_forward(
        self,
        h: Array,
        memory: Array,
        block: str,
        masks: tuple[Array, Array],
        rng: Rng | None,
        watch: Watch | None,
    ) -> tuple[Array, DecoderBlockCache]:
        """h ← norm1(h + attention(h))   h ← norm2(h + cross(h, memory))   h ← norm3(h + feed(h))"""
        p, heads = self.params, self.config.heads
        own = [*weights(p, f"{block}.attention", SELF_ATTENTION), heads, masks[0]]
        y, attention = blocks.self_attention_forward(h, *own)
        y = watched(watch, f"{block}.attention", y)
        h, norm1 = self._add_norm(h, y, f"{block}.norm1", rng)
        other = [*weights(p, f"{block}.cross", CROSS_ATTENTION), heads, masks[1]]
        y, cross = blocks.cross_attention_forward(h, memory, *other)
        y = watched(watch, f"{block}.cross", y)
        h, norm2 = self._add_norm(h, y, f"{block}.norm2", rng)
        feed = [*weights(p, f"{block}.feed_forward", FEED_FORWARD), "relu"]
        y, feed_forward = blocks.feed_forward_forward(h, *feed)
        y = watched(watch, f"{block}.feed_forward", y)
        h, norm3 = self._add_norm(h, y, f"{block}.norm3", rng)
        return h, DecoderBlockCache(attention, norm1, cross, norm2, feed_forward, norm3)

    def decode_backward(self, dlogits: Array, cache: DecoderCache, grads: Parameters) -> Array:
        """The lines of decode upwards, into `grads`.   ->  dmemory

        Every block reads the same memory   =>   dmemory is the sum over the blocks
        """
        dh, dE = ops.output_backward(dlogits, cache.output)
        grads["E"] += dE
        dmemory: Any = 0
        pairs = [*zip(_blocks("decoder", self.config), cache.blocks, strict=True)]
        for block, c in reversed(pairs):
            ds, dy = _add_norm_backward(dh, c.norm3, f"{block}.norm3", grads)
            dy, *dw = blocks.feed_forward_backward(dy, c.feed_forward)
            put(grads, f"{block}.feed_forward", FEED_FORWARD, dw)
            ds, dy = _add_norm_backward(ds + dy, c.norm2, f"{block}.norm2", grads)
            dy, dread, *dw = blocks.cross_attention_backward(dy, c.cross)
            put(grads, f"{block}.cross", CROSS_ATTENTION, dw)
            dmemory = dmemory + dread
            ds, dy = _add_norm_backward(ds + dy, c.norm1, f"{block}.norm1", grads)
            dy, *dw = blocks.self_attention_backward(dy, c.attention)
            put(grads, f"{block}.attention", SELF_ATTENTION, dw)
            dh = ds + dy
        self._embed_backward(dh, cache.embed, grads)
        result: Array = dmemory
        return result

    def attention_maps(self, cache: TransformerCache) -> dict[str, Array]:
        maps = {}
        for i, own in enumerate(cache.encoder.blocks):
            maps[f"encoder{i}.attention"] = own.attention.attention.a
        for i, block in enumerate(cache.decoder.blocks):
            maps[f"decoder{i}.attention"] = block.attention.attention.a
            maps[f"decoder{i}.cross"] = block.cross.attention.a
        return maps

    # ---- what both are made of

    def _embed(self, ids: Array, rng: Rng | None) -> tuple[Array, EmbedCache]:
        """h_t = √C E[x_t] + P[t]"""
        e, embedding = ops.embedding_forward(self.params["E"], ids)
        h, _ = ops.positions_forward(e * math.sqrt(self.config.width), self.positions)
        h, dropout = ops.dropout_forward(h, self.config.dropout, rng)
        return h, EmbedCache(embedding, dropout)

    def _embed_backward(self, dh: Array, cache: EmbedCache, grads: Parameters) -> None:
        """h_t = √C E[x_t] + P[t]   =>   dE_w = √C Σ_{t: x_t = w} dh_t;  P is not learned"""
        dh = ops.dropout_backward(dh, cache.dropout) * math.sqrt(self.config.width)
        grads["E"] += ops.embedding_backward(dh, cache.embedding)

    def _add_norm(
        self, h: Array, y: Array, norm: str, rng: Rng | None
    ) -> tuple[Array, AddNormCache]:
        """h ← norm(h + dropout(y))"""
        y, dropout = ops.dropout_forward(y, self.config.dropout, rng)
        h, cache = ops.layer_norm_forward(h + y, *weights(self.params, norm, NORM))
        return h, AddNormCache(dropout, cache)


def _add_norm_backward(
    dh: Array, cache: AddNormCache, norm: str, grads: Parameters
) -> tuple[Array, Array]:
    """h' = norm(h + m y)   =>   ds = norm_backward(dh'),  dh = ds,  dy = m ds.   ->  dh, dy"""
    ds, *dw = ops.layer_norm_backward(dh, cache.norm)
    put(grads, norm, NORM, dw)
    return ds, ops.dropout_backward(ds, cache.dropout)


@lru_cache(16)
def _positions(N: int, C: int, dtype: DTypeLike) -> Array:
    """F19, computed once for each size; nobody writes into it."""
    positions = ops.sinusoidal_positions(N, C, dtype)
    positions.flags.writeable = False
    return positions


def _keys(real: Array) -> Array:
    """Which keys (..., S) are real, for every head and query: (..., 1, 1, S)."""
    return real[..., None, None, :]


def _blocks(side: str, config: TransformerConfig) -> list[str]:
    """The names of the blocks of a side, in the order in which they act."""
    return [f"{side}{i}" for i in range(config.layers)]
