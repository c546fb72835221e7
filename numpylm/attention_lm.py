"""The seed's section 4: one matrix embeds, attends and predicts.

x_1 … x_T  --E-->  e_1 … e_T  --softmax(e_i·e_j)-->  c_1 … c_T  --softmax(c·e_w)-->  p(w)
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .config import option
from .model import Model, ModelConfig, Parameters
from .ops import (
    Array,
    AttentionCache,
    attention_backward,
    attention_forward,
    causal_mask,
    embedding_backward,
    embedding_forward,
    output_backward,
    output_forward,
)


@dataclass(frozen=True)
class AttentionLMConfig(ModelConfig):
    """the section 4 model"""

    width: int = option(32, "C, the numbers in an embedding", minimum=1)
    context: str = option(
        "all",
        "which c_i predicts: 'last' is the seed's c = c_n, 'all' trains every position",
        choices=("all", "last"),
    )
    causal: bool = option(True, "i looks at j ≤ i only; without it, 'all' sees its own target")
    scale: float = option(
        1.0, "factor on e_i·e_j: 1 in the seed, C**-0.5 in the Transformer", above=0
    )
    tied: bool = option(True, "predict with E itself; otherwise with a table U of its own")
    init_std: float = option(0.1, "standard deviation of the initial numbers", above=0)


class AttentionLMCache(NamedTuple):
    """In the order of computation; attention.a holds the weights a_ij (..., T, T)."""

    embedding: tuple
    attention: AttentionCache
    output: tuple


class Paths(NamedTuple):
    """The four ways by which a loss reaches the tables, each an array (V, C)."""

    query: Array
    key: Array
    value: Array
    output: Array


class AttentionLM(Model):
    """F1 e_i = E[x_i]    F2, F3 c_i = Σ_j softmax_j(scale e_i·e_j) e_j    F4 p_i = softmax(E c_i)

    causal: the sums run over j ≤ i.   context="last": only c_n predicts, as the seed writes it.
    tied=False: F4 uses a second table U instead of E. Parameters: E (V, C), and U (V, C) if untied.

    Source: section 4 of the seed document. It has no positions: c_i is the same for every order of
    the tokens before i.
    """

    Config = AttentionLMConfig
    config: AttentionLMConfig

    @staticmethod
    def shapes(config: AttentionLMConfig) -> dict[str, tuple[int, ...]]:
        V, C = config.vocab_size, config.width
        return {"E": (V, C)} if config.tied else {"E": (V, C), "U": (V, C)}

    def initialise(self, rng: np.random.Generator) -> None:
        for name, shape in self.params.shapes.items():
            self.params[name] = rng.normal(0.0, self.config.init_std, shape)

    def forward(
        self, ids: Any, rng: np.random.Generator | None = None
    ) -> tuple[Array, AttentionLMCache]:
        """ids (..., T)  ->  logits (..., T, V), or (..., V) where only c_n predicts.

        rng is what other models draw dropout from; there is none here.
        """
        e, embedding = embedding_forward(self.params["E"], np.asarray(ids))
        mask = causal_mask(e.shape[-2]) if self.config.causal else None
        c, attention = attention_forward(e, e, e, mask, self.config.scale)
        if self.config.context == "last":
            c = c[..., -1, :]
        logits, output = output_forward(c, self.params["E" if self.config.tied else "U"])
        return logits, AttentionLMCache(embedding, attention, output)

    def backward(self, dlogits: Array, cache: AttentionLMCache) -> Parameters:
        """The sum of the four paths.

        e_i is query, key and value   =>   de_i = dq_i + dk_i + dv_i,   with q = k = v = e
                                           = Σ_j (ds_ij + ds_ji) e_j + Σ_j a_ji dc_j
        E embeds and predicts         =>   dE = embedding_backward(de) + Σ_i dlogits_i c_iᵀ
        """
        dq, dk, dv, dtable = self._towards_e(dlogits, cache)
        grads = self.params.like()
        grads["E"] = embedding_backward(dq + dk + dv, cache.embedding)
        grads["E" if self.config.tied else "U"] += dtable
        return grads

    def backward_paths(self, dlogits: Array, cache: AttentionLMCache) -> Paths:
        """The same, kept apart: query + key + value + output is dE (untied: output is dU)."""
        dq, dk, dv, dtable = self._towards_e(dlogits, cache)
        query, key, value = (embedding_backward(de, cache.embedding) for de in (dq, dk, dv))
        return Paths(query, key, value, output=dtable)

    @staticmethod
    def _towards_e(dlogits: Array, cache: AttentionLMCache) -> tuple[Array, Array, Array, Array]:
        dc, dtable = output_backward(dlogits, cache.output)
        if dc.shape != cache.attention.c.shape:  # only the last context was used
            dlast, dc = dc, np.zeros_like(cache.attention.c)
            dc[..., -1, :] = dlast
        return *attention_backward(dc, cache.attention), dtable

    def loss(
        self, ids: Any, targets: Any, rng: np.random.Generator | None = None
    ) -> tuple[Any, Any]:
        """F5 in nats per predicted token; with context="last" only the last target is predicted."""
        targets = np.asarray(targets)
        last = self.config.context == "last"
        return super().loss(ids, targets[..., -1] if last else targets, rng)

    def next_logits(self, ids: Any) -> Array:
        return self.forward(ids)[0] if self.config.context == "last" else super().next_logits(ids)
