"""The one-matrix model: one matrix embeds, attends and predicts.

x_1 … x_T  --E-->  e_1 … e_T  --softmax(e_i·e_j)-->  c_1 … c_T  --softmax(c·e_w)-->  p(w)
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from . import ops
from .arguments import as_ids, as_texts
from .arrays import Array, ArrayLike, Cache, Rng
from .config import option
from .errors import InputError
from .model import Model, ModelConfig, Parameters
from .watching import Watch, watched

PROJECTIONS = ("W_q", "W_k", "W_v")


@dataclass(frozen=True)
class AttentionLMConfig(ModelConfig):
    """the one-matrix model"""

    width: int = option(32, "C, the numbers in an embedding", minimum=1, maximum=10**6)
    context: str = option(
        "all",
        "which c_i predicts: 'last' is the article's c = c_n, 'all' trains every position",
        choices=("all", "last"),
    )
    causal: bool = option(True, "i looks at j ≤ i only; without it, 'all' sees its own target")
    scale: float = option(
        1.0, "factor on e_i·e_j: 1 in the article, C**-0.5 in the Transformer", above=0
    )
    tied: bool = option(True, "predict with E itself; otherwise with a table U of its own")
    positions: bool = option(False, "add to e_i a learned P[i]: the order of words is seen")
    projections: bool = option(False, "query, key and value are e W_q, e W_k and e W_v, not e")
    init_std: float = option(0.1, "standard deviation of the initial tables", above=0, maximum=1e30)


class AttentionLMCache(NamedTuple):
    """In the order of computation."""

    embedding: Cache
    positions: Cache | None
    projections: list[Cache] | None
    attention: ops.AttentionCache
    output: Cache


class Paths(NamedTuple):
    """The four ways by which a loss reaches the tables, each an array (V, C)."""

    query: Array
    key: Array
    value: Array
    output: Array


class AttentionLM(Model):
    """F1 e_i = E[x_i]    F2, F3 c_i = Σ_j softmax_j(scale e_i·e_j) e_j    F4 p_i = softmax(E c_i)

    causal: the sums run over j ≤ i.   context="last": only c_n predicts, as the article writes it.
    Parameters: E (V, C). Source: the article, section 4.

    Each of three options repairs one thing that this cannot do (course/ladder.py says what):
    tied=False         F4 predicts with a table U (V, C) of its own
    positions=True     F18 e_i = E[x_i] + P[i], with P (context_length, C). Without, c_i is the same
                       for every order of the tokens before i
    projections=True   F12 q_i = e_i W_q, k_i = e_i W_k, v_i = e_i W_v, each W (C, C); then
                       c_i = Σ_j softmax_j(scale q_i·k_j) v_j
    """

    Config = AttentionLMConfig
    config: AttentionLMConfig

    @staticmethod
    def shapes(config: AttentionLMConfig) -> dict[str, tuple[int, ...]]:
        V, C = config.vocab_size, config.width
        shapes: dict[str, tuple[int, ...]] = {"E": (V, C)}
        if config.positions:
            shapes["P"] = (config.context_length, C)
        if config.projections:
            shapes |= {name: (C, C) for name in PROJECTIONS}
        if not config.tied:
            shapes["U"] = (V, C)
        return shapes

    def initialise(self, rng: Rng) -> None:
        """Tables with deviation init_std; projections with C**-0.5, which keep the size of e."""
        for name, shape in self.params.shapes.items():
            std = self.config.width**-0.5 if name in PROJECTIONS else self.config.init_std
            self.params[name] = rng.normal(0.0, std, shape)

    def forward(
        self, ids: ArrayLike, rng: Rng | None = None, *, watch: Watch | None = None
    ) -> tuple[Array, AttentionLMCache]:
        """ids (..., T)  ->  logits (..., T, V), or (..., V) where only c_n predicts.

        rng is what other models draw dropout from; there is none here.
        Raises InputError for T > context_length where there are positions.
        """
        p, config = self.params, self.config
        e, embedding = ops.embedding_forward(p["E"], as_texts(ids))
        e, positions = ops.positions_forward(e, p["P"]) if config.positions else (e, None)
        e = watched(watch, "embedding", e)
        (q, k, v), projections = self._project(e) if config.projections else ((e, e, e), None)
        mask = ops.causal_mask(e.shape[-2]) if config.causal else None
        c, attention = ops.attention_forward(q, k, v, mask, config.scale)
        c = watched(watch, "attention", c)
        if config.context == "last":
            c = c[..., -1, :]
        logits, output = ops.output_forward(c, p[self._output_table])
        logits = watched(watch, "logits", logits)
        return logits, AttentionLMCache(embedding, positions, projections, attention, output)

    def _project(self, e: Array) -> tuple[list[Array], list[Cache]]:
        """q = e W_q    k = e W_k    v = e W_v"""
        pairs = [ops.linear_forward(e, self.params[name]) for name in PROJECTIONS]
        return [x for x, _ in pairs], [cache for _, cache in pairs]

    @property
    def _output_table(self) -> str:
        return "E" if self.config.tied else "U"

    def backward(self, dlogits: Array, cache: AttentionLMCache) -> Parameters:
        """The sum of the four paths.

        e_i is query, key and value   =>   de_i = dq_i + dk_i + dv_i,   with q = k = v = e
                                           = Σ_j (ds_ij + ds_ji) e_j + Σ_j a_ji dc_j
        projections, q_i = e_i W_q    =>   dq_i W_qᵀ for dq_i, and dW_q = Σ_i e_iᵀ dq_i; so k, v
        positions, + P[i]             =>   dP_i = Σ de_i over the batch
        E embeds and predicts         =>   dE = embedding_backward(de) + Σ_i dlogits_i c_iᵀ
        """
        grads = self.params.like()
        from_q, from_k, from_v = self._towards_e(dlogits, cache, grads)
        de = from_q + from_k + from_v
        if cache.positions is not None:
            de, grads["P"] = ops.positions_backward(de, cache.positions)
        grads["E"] += ops.embedding_backward(de, cache.embedding)
        return grads

    def backward_paths(self, dlogits: Array, cache: AttentionLMCache) -> Paths:
        """The same, kept apart: query + key + value + output is dE (untied: output is dU)."""
        grads = self.params.like()
        des = self._towards_e(dlogits, cache, grads)
        query, key, value = (ops.embedding_backward(de, cache.embedding) for de in des)
        return Paths(query, key, value, output=grads[self._output_table])

    def _towards_e(
        self, dlogits: Array, cache: AttentionLMCache, grads: Parameters
    ) -> tuple[Array, ...]:
        """de by way of the query, the key and the value; the output table's gradient and those of
        the projections go into `grads`."""
        dc, grads[self._output_table] = ops.output_backward(dlogits, cache.output)
        if dc.shape != cache.attention.c.shape:  # only the last context was used
            dlast, dc = dc, np.zeros_like(cache.attention.c)
            dc[..., -1, :] = dlast
        dqkv = ops.attention_backward(dc, cache.attention)
        if cache.projections is None:
            return dqkv
        back = [ops.linear_backward(dy, c) for dy, c in zip(dqkv, cache.projections, strict=True)]
        for name, (_, dw, _) in zip(PROJECTIONS, back, strict=True):
            grads[name] = dw
        return tuple(de for de, _, _ in back)

    def loss(self, ids: ArrayLike, targets: ArrayLike, rng: Rng | None = None) -> tuple[Any, Any]:
        """F5 in nats per predicted token; with context="last" only the last target is predicted."""
        ids, targets = as_texts(ids), as_ids("targets", targets)
        if targets.shape != ids.shape:
            raise InputError(f"targets {targets.shape} must have the shape of ids {ids.shape}")
        last = self.config.context == "last"
        return super().loss(ids, targets[..., -1] if last else targets, rng)

    def attention_maps(self, cache: AttentionLMCache) -> dict[str, Array]:
        return {"attention": cache.attention.a[..., None, :, :]}  # H = 1

    def next_logits(self, ids: ArrayLike) -> Array:
        return self.forward(ids)[0] if self.config.context == "last" else super().next_logits(ids)
