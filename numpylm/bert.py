"""BERT: encoder only, sees both directions, predicts the tokens that were hidden from it.

x_1 … x_T  --E, G, P, norm-->  h  --block 0-->  h  …  --block L−1-->  h  --a head-->  logits

The encoder is the Transformer's, with GELU and learned positions. The head that names hidden tokens
is here, and what is hidden; bert_heads.py has those for tasks.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from . import blocks, ops
from .arguments import as_ids, check_ids, generator, number, plain, whole
from .arrays import Array, ArrayLike, Cache, Rng
from .blocks import FEED_FORWARD, NORM, SELF_ATTENTION, Shapes, put, weights
from .config import option
from .errors import InputError
from .model import Model, ModelConfig, Parameters
from .watching import Watch, watched

LINEAR = ("w", "b")


@dataclass(frozen=True)
class BERTConfig(ModelConfig):
    """BERT"""

    context_length: int = option(
        64, "T at most, the tokens that the model can see", minimum=1, maximum=10**7
    )
    layers: int = option(4, "how many blocks", minimum=1, maximum=1000)
    heads: int = option(4, "H, the attentions side by side in each block", minimum=1, maximum=10**5)
    width: int = option(
        128, "C, the numbers that stand for a token; a multiple of H", minimum=1, maximum=10**6
    )
    hidden: int = option(
        0, "F, the width inside the feed-forward; 0 is 4 C", minimum=0, maximum=10**7
    )
    segments: int = option(2, "how many kinds of text one input may join", minimum=1, maximum=10**6)
    dropout: float = option(0.0, "share of numbers dropped in training", minimum=0, below=1)
    eps: float = option(1e-12, "what layer normalisation adds to the variance", above=0)
    init_std: float = option(
        0.02, "standard deviation of the initial weights", above=0, maximum=1e30
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        blocks.check_heads(self.width, self.heads)

    @property
    def hidden_width(self) -> int:
        """F."""
        return self.hidden or 4 * self.width


class BERTBlockCache(NamedTuple):
    """In the order of computation."""

    attention: blocks.SelfAttentionCache
    dropout1: Array | None
    norm1: Cache
    feed_forward: blocks.FeedForwardCache
    dropout2: Array | None
    norm2: Cache


class BERTEncoderCache(NamedTuple):
    """In the order of computation; one BERTBlockCache for each block."""

    embedding: Cache
    segments: Cache
    positions: Cache
    norm: Cache
    dropout: Array | None
    blocks: tuple[BERTBlockCache, ...]


class BERTCache(NamedTuple):
    """In the order of computation."""

    encoder: BERTEncoderCache
    head: Cache


class BERT(Model):
    """F1, F18 h_t = norm(E[x_t] + G[g_t] + P[t])    blocks: h ← norm(h + f(h))    then a head

    f is self-attention (F20) on all tokens that `attend` calls real, then feed-forward with exact
    GELU (F21), in every block; norm is F13. Dropout (F17), in training, follows the embedding and
    every f. This class is the encoder, for `encode`; its subclasses add a head and so a loss.

    Parameters: E (V, C), G (segments, C), P (N, C); norm; for block i block{i}.attention, .norm1,
    .feed_forward and .norm2; and those of the head.

    Source: Devlin et al. 2019, BERT, section 3 and appendix A. BERT drops attention weights as
    well; this follows Vaswani et al. 2017, section 5.4.
    """

    Config: type[ModelConfig] = BERTConfig
    config: BERTConfig

    @classmethod
    def shapes(cls, config: Any) -> Shapes:
        C = config.width
        shapes: Shapes = {
            "E": (config.vocab_size, C),
            "G": (config.segments, C),
            "P": (config.context_length, C),
        }
        shapes |= blocks.norm_shapes("norm", C)
        for block in _blocks(config):
            shapes |= blocks.self_attention_shapes(f"{block}.attention", C)
            shapes |= blocks.norm_shapes(f"{block}.norm1", C)
            shapes |= blocks.feed_forward_shapes(f"{block}.feed_forward", C, config.hidden_width)
            shapes |= blocks.norm_shapes(f"{block}.norm2", C)
        return shapes | cls.head_shapes(config)

    # ---- what a head adds

    @staticmethod
    def head_shapes(config: Any) -> Shapes:
        """Name -> shape of the parameters behind the encoder; none without a head."""
        return {}

    def head_forward(self, h: Array, attend: Array, rng: Rng | None) -> tuple[Array, Any]:
        """h (..., T, C)  ->  logits, cache"""
        raise InputError(
            f"{type(self).__name__} is an encoder without a head: encode(ids) gives its vectors. "
            "For a loss take bert.BERTForMaskedLM, or BERTForClass and BERTForSpan of bert_heads"
        )

    def head_backward(self, dlogits: Array, cache: Any, grads: Parameters) -> Array:
        """dL/dlogits -> dL/dh. The gradients of the parameters go into `grads`."""
        raise NotImplementedError

    def check_targets(self, targets: ArrayLike, ids: Array, attend: Array) -> Array:
        """The targets as an array. Raises InputError for one that the head cannot predict."""
        return check_ids("targets", targets, self.config.vocab_size, ops.IGNORE)

    # ---- a model

    def forward(
        self,
        ids: ArrayLike,
        rng: Rng | None = None,
        segments: ArrayLike | None = None,
        attend: ArrayLike | None = None,
        *,
        watch: Watch | None = None,
    ) -> tuple[Array, BERTCache]:
        """ids (..., T)  ->  logits, in the shape that the head gives them. The rest is encode's."""
        ids, segments, attend = self.check_inputs(ids, segments, attend)
        h, encoder = self.encode(ids, rng, segments, attend, watch=watch)
        logits, head = self.head_forward(h, attend, rng)
        return watched(watch, "logits", logits), BERTCache(encoder, head)

    def backward(self, dlogits: Array, cache: BERTCache) -> Parameters:
        """The head upwards, then the encoder. E may occur in both, so gradients of E are added."""
        grads = self.params.like()
        dh = self.head_backward(dlogits, cache.head, grads)
        self.encode_backward(dh, cache.encoder, grads)
        return grads

    def loss(
        self,
        ids: ArrayLike,
        targets: ArrayLike,
        rng: Rng | None = None,
        segments: ArrayLike | None = None,
        attend: ArrayLike | None = None,
    ) -> tuple[Any, Any]:
        """F5: mean −log p(target) in nats per target; the targets are those of the head."""
        ids, segments, attend = self.check_inputs(ids, segments, attend)
        targets = self.check_targets(targets, ids, attend)
        logits, cache = self.forward(ids, rng, segments, attend)
        loss, loss_cache = ops.cross_entropy_forward(logits, targets)
        return loss, (cache, loss_cache)

    # ---- the encoder

    def check_inputs(
        self, ids: ArrayLike, segments: ArrayLike | None, attend: ArrayLike | None
    ) -> tuple[Array, Array, Array]:
        """The three as arrays (..., T): segments 0 and attend True where they are not given."""
        ids = check_ids("ids", ids, self.config.vocab_size)
        segments = np.zeros_like(ids) if segments is None else as_ids("segments", segments)
        attend = np.ones(ids.shape, bool) if attend is None else plain("attend", attend)
        for name, array in (("segments", segments), ("attend", attend)):
            if not ids.ndim or array.shape != ids.shape:
                raise InputError(f"{name} {array.shape} and ids {ids.shape} must both be (..., T)")
        if attend.dtype != bool:
            raise InputError(f"attend must be boolean, True = a real token; it is {attend.dtype}")
        kinds = "the kinds of text of this model"
        segments = check_ids("segments", segments, self.config.segments, what=kinds)
        return ids, segments, attend

    def encode(
        self,
        ids: ArrayLike,
        rng: Rng | None = None,
        segments: ArrayLike | None = None,
        attend: ArrayLike | None = None,
        *,
        watch: Watch | None = None,
    ) -> tuple[Array, BERTEncoderCache]:
        """ids (..., T)  ->  h (..., T, C)

        segments (..., T) in [0, config.segments), all 0 if not given. attend (..., T) boolean, True
        = a real token: nobody looks at the others, and what stands at their places means nothing.
        Where no token is real, attention reads nothing and adds b_out alone.
        Raises InputError for T > context_length, and for ids, segments or attend that do not fit.
        """
        p, config = self.params, self.config
        ids, segments, attend = self.check_inputs(ids, segments, attend)
        mask = attend[..., None, None, :]  # for every head and query
        e, embedding = ops.embedding_forward(p["E"], ids)
        g, segments_cache = ops.embedding_forward(p["G"], segments)
        h, positions = ops.positions_forward(e + g, p["P"])
        h, norm = ops.layer_norm_forward(h, *self.norm("norm"))
        h, dropout = ops.dropout_forward(h, config.dropout, rng)
        h = watched(watch, "embedding", h)
        caches = []
        for block in _blocks(config):
            h, cache = self._block_forward(h, block, mask, rng, watch)
            h = watched(watch, block, h)
            caches.append(cache)
        return h, BERTEncoderCache(
            embedding, segments_cache, positions, norm, dropout, tuple(caches)
        )

    def attention_maps(self, cache: BERTCache | BERTEncoderCache) -> dict[str, Array]:
        done = (cache.encoder if isinstance(cache, BERTCache) else cache).blocks
        return {f"block{i}.attention": c.attention.attention.a for i, c in enumerate(done)}

    def norm(self, part: str) -> list[Any]:
        """What layer_norm_forward takes after x."""
        return [*weights(self.params, part, NORM), self.config.eps]

    def _block_forward(
        self,
        h: Array,
        block: str,
        mask: Array,
        rng: Rng | None,
        watch: Watch | None,
    ) -> tuple[Array, BERTBlockCache]:
        """h ← norm1(h + attention(h))    h ← norm2(h + feed_forward(h))"""
        p, config = self.params, self.config
        attend = [*weights(p, f"{block}.attention", SELF_ATTENTION), config.heads, mask]
        y, attention = blocks.self_attention_forward(h, *attend)
        y = watched(watch, f"{block}.attention", y)
        y, dropout1 = ops.dropout_forward(y, config.dropout, rng)
        h, norm1 = ops.layer_norm_forward(h + y, *self.norm(f"{block}.norm1"))
        feed = [*weights(p, f"{block}.feed_forward", FEED_FORWARD), "gelu_exact"]
        y, feed_forward = blocks.feed_forward_forward(h, *feed)
        y = watched(watch, f"{block}.feed_forward", y)
        y, dropout2 = ops.dropout_forward(y, config.dropout, rng)
        h, norm2 = ops.layer_norm_forward(h + y, *self.norm(f"{block}.norm2"))
        return h, BERTBlockCache(attention, dropout1, norm1, feed_forward, dropout2, norm2)

    def encode_backward(self, dh: Array, cache: BERTEncoderCache, grads: Parameters) -> None:
        """The lines of encode upwards: the gradients of its parameters are added to `grads`.

        e_t + g_t + P[t]   =>   the three get the same gradient: de = dg = dy, dP_t = Σ_b dy_bt
        """
        for block, block_cache in reversed([*zip(_blocks(self.config), cache.blocks, strict=True)]):
            dh = self._block_backward(dh, block, block_cache, grads)
        dh = ops.dropout_backward(dh, cache.dropout)
        dh, *dw = ops.layer_norm_backward(dh, cache.norm)
        put(grads, "norm", NORM, dw)
        dy, grads["P"] = ops.positions_backward(dh, cache.positions)
        grads["G"] = ops.embedding_backward(dy, cache.segments)
        grads["E"] += ops.embedding_backward(dy, cache.embedding)

    @staticmethod
    def _block_backward(dh: Array, block: str, cache: BERTBlockCache, grads: Parameters) -> Array:
        """h' = norm(h + f(h))   =>   ds = norm_backward(dh'),  dh = ds + f_backward(ds)

        Unlike in GPT, the residual path passes through every norm. Twice, the second line first.
        """
        ds, *dw = ops.layer_norm_backward(dh, cache.norm2)
        put(grads, f"{block}.norm2", NORM, dw)
        dy = ops.dropout_backward(ds, cache.dropout2)
        dy, *dw = blocks.feed_forward_backward(dy, cache.feed_forward)
        put(grads, f"{block}.feed_forward", FEED_FORWARD, dw)
        ds, *dw = ops.layer_norm_backward(ds + dy, cache.norm1)
        put(grads, f"{block}.norm1", NORM, dw)
        dy = ops.dropout_backward(ds, cache.dropout1)
        dy, *dw = blocks.self_attention_backward(dy, cache.attention)
        put(grads, f"{block}.attention", SELF_ATTENTION, dw)
        return ds + dy


class MaskedLMCache(NamedTuple):
    """In the order of computation."""

    transform: Cache
    gelu: Cache
    norm: Cache
    output: Cache


class BERTForMaskedLM(BERT):
    """y_t = norm(gelu(h_t w + b))    F4 p_t = softmax(E y_t + b_V): the token that was hidden at t

    loss takes ids and targets (..., T) as mask_tokens makes them; logits are (..., T, V).
    Parameters of the head: transform.w (C, C), .b, .gain and .bias (C,); predict.b (V,).
    Source: Devlin et al. 2019, BERT, section 3.1; the transform is that of its published code.
    """

    @staticmethod
    def head_shapes(config: BERTConfig) -> Shapes:
        C = config.width
        transform: Shapes = {"transform.w": (C, C), "transform.b": (C,)}
        return transform | blocks.norm_shapes("transform", C) | {"predict.b": (config.vocab_size,)}

    def head_forward(self, h: Array, attend: Array, rng: Rng | None) -> tuple[Array, MaskedLMCache]:
        p = self.params
        y, transform = ops.linear_forward(h, *weights(p, "transform", LINEAR))
        y, gelu = ops.gelu_exact_forward(y)
        y, norm = ops.layer_norm_forward(y, *self.norm("transform"))
        logits, output = ops.output_forward(y, p["E"])
        logits += p["predict.b"]
        return logits, MaskedLMCache(transform, gelu, norm, output)

    def head_backward(self, dlogits: Array, cache: MaskedLMCache, grads: Parameters) -> Array:
        """z_t = E y_t + b_V   =>   db_V = Σ_t dz_t,  dE = Σ_t dz_t y_tᵀ, to which encode adds."""
        grads["predict.b"] = dlogits.reshape(-1, dlogits.shape[-1]).sum(axis=0)
        dy, grads["E"] = ops.output_backward(dlogits, cache.output)
        dy, *dw = ops.layer_norm_backward(dy, cache.norm)
        put(grads, "transform", NORM, dw)
        dy = ops.gelu_exact_backward(dy, cache.gelu)
        dh, *dw = ops.linear_backward(dy, cache.transform)
        put(grads, "transform", LINEAR, dw)
        return dh


# ---- F24: what is hidden ---------------------------------------------------------------------


def mask_tokens(
    ids: ArrayLike,
    rng: Rng,
    mask_id: int,
    vocab_size: int,
    special: Any = (),
    rate: float = 0.15,
) -> tuple[Array, Array]:
    """F24: hide some tokens for the model to find.   ids (..., T)  ->  inputs, targets (..., T)

        each token is chosen with probability `rate`; of the chosen,
        80 % become mask_id,   10 % a random token,   10 % stay as they are
        targets = ids where chosen, IGNORE elsewhere

    Because a chosen token may stay or be another, the model can trust no token it sees. `special`
    ids (padding, separators) and mask_id are neither chosen nor drawn. A batch in which chance
    chooses nothing has one token chosen, all being equally likely, so that it always has a loss.
    Source: Devlin et al. 2019, BERT, section 3.1 and appendix A.1.
    Raises InputError for a rate outside (0, 1], ids outside the vocabulary, and where every id is
    special.
    """
    rate, rng = number("rate", rate, above=0, at_most=1), generator("rng", rng)
    vocab_size = whole("vocab_size", vocab_size, at_least=1, at_most=2**31 - 1)
    ids = check_ids("ids", ids, vocab_size)
    mask_id = whole("mask_id", mask_id, at_least=0)
    special = np.append(as_ids("special", special), mask_id)
    check_ids("mask_id and special", special, vocab_size)
    words = np.setdiff1d(np.arange(vocab_size), special)
    can = np.flatnonzero(~np.isin(ids, special))
    if not can.size:
        raise InputError("every id is special: there is no token to hide")
    chosen = can[rng.random(can.size) < rate]
    if not chosen.size:
        chosen = rng.choice(can, 1)
    fate = rng.random(chosen.size)
    inputs, targets = ids.flatten(), np.full(ids.size, ops.IGNORE)
    targets[chosen] = inputs[chosen]
    inputs[chosen[fate < 0.8]] = mask_id
    drawn = chosen[(fate >= 0.8) & (fate < 0.9)]
    inputs[drawn] = rng.choice(words, drawn.size)
    return inputs.reshape(ids.shape), targets.reshape(ids.shape)


def _blocks(config: BERTConfig) -> list[str]:
    """The names of the blocks, in the order in which they act."""
    return [f"block{i}" for i in range(config.layers)]
