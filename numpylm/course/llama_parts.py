"""What the parts of a Llama buy, measured on toy languages whose entropy is known.

    groups    fewer keys and values: what the cache saves, what the loss pays     (F31)
    norms     the norm before each part, as in GPT-2, or behind each sum, as in 2017, in depth
    gate      a gated feed-forward (F30) against GELU (F21), with equally many numbers

`told()` trains all of it, in some minutes; docs/llama.md has the table.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from .. import blocks, llama_blocks, ops
from ..arrays import Array, Rng
from ..blocks import FEED_FORWARD, NORM, SELF_ATTENTION, Shapes, put, weights
from ..corpora import CorpusConfig, load_corpus
from ..gpt import GPT, GPTBlockCache, GPTConfig
from ..llama import Llama, LlamaBlockCache, LlamaConfig
from ..model import Model, Parameters
from ..training import train
from ..watching import Watch, watched


class PostNorm(GPT):
    """GPT with the norms of 2017, behind every sum: h ← norm(h + f(h)).   No dropout, no cache.

    Source: Vaswani et al. 2017, Attention Is All You Need, section 3.1.
    """

    extend: Any = property()  # what GPT has there is for norms before the parts

    def _block_forward(
        self,
        h: Array,
        block: str,
        mask: Array | None,
        way: str,
        rng: Rng | None,
        watch: Watch | None,
    ) -> tuple[Array, GPTBlockCache]:
        """h ← norm1(h + attention(h))    h ← norm2(h + feed_forward(h))"""
        p = self.params
        attend = [*weights(p, f"{block}.attention", SELF_ATTENTION), self.config.heads, mask, way]
        y, attention = blocks.self_attention_forward(h, *attend)
        y = watched(watch, f"{block}.attention", y)
        h, norm1 = ops.layer_norm_forward(h + y, *weights(p, f"{block}.norm1", NORM))
        feed = weights(p, f"{block}.feed_forward", FEED_FORWARD)
        y, feed_forward = blocks.feed_forward_forward(h, *feed)
        y = watched(watch, f"{block}.feed_forward", y)
        h, norm2 = ops.layer_norm_forward(h + y, *weights(p, f"{block}.norm2", NORM))
        return h, GPTBlockCache(norm1, attention, None, norm2, feed_forward, None)

    @staticmethod
    def _block_backward(dh: Array, block: str, cache: GPTBlockCache, grads: Parameters) -> Array:
        """h' = norm(h + f(h))   =>   ds = norm_backward(dh')    dh = ds + f_backward(ds)

        No path leads past the norms: each divides what comes from above by the size of its sum.
        """
        dh, *dw = ops.layer_norm_backward(dh, cache.norm2)
        put(grads, f"{block}.norm2", NORM, dw)
        dy, *dw = blocks.feed_forward_backward(dh, cache.feed_forward)
        put(grads, f"{block}.feed_forward", FEED_FORWARD, dw)
        dh, *dw = ops.layer_norm_backward(dh + dy, cache.norm1)
        put(grads, f"{block}.norm1", NORM, dw)
        dy, *dw = blocks.self_attention_backward(dh, cache.attention)
        put(grads, f"{block}.attention", SELF_ATTENTION, dw)
        return dh + dy


class Ungated(Llama):
    """Llama with the feed-forward of GPT (F21, without biases): F = 4 C, as many numbers."""

    extend: Any = property()  # what Llama has there has a gate

    @staticmethod
    def shapes(config: LlamaConfig) -> Shapes:
        C, shapes = config.width, Llama.shapes(config)
        for i in range(config.layers):
            shapes[f"block{i}.feed_forward.w_in"] = (C, 4 * C)
            shapes[f"block{i}.feed_forward.w_out"] = (4 * C, C)
        return shapes

    def _block_forward(
        self,
        h: Array,
        block: str,
        turn: llama_blocks.Rotation,
        mask: Array | None,
        way: str,
        watch: Watch | None,
    ) -> tuple[Array, LlamaBlockCache]:
        p, config = self.params, self.config
        y, norm1 = self._norm(h, f"{block}.norm1")
        w_qkv, w_out = weights(p, f"{block}.attention", ("w_qkv", "w_out"))
        y, attention = llama_blocks.grouped_self_attention_forward(
            y, w_qkv, w_out, config.heads, config.key_heads, turn, mask, way
        )
        h = h + watched(watch, f"{block}.attention", y)
        y, norm2 = self._norm(h, f"{block}.norm2")
        feed = weights(p, f"{block}.feed_forward", FEED_FORWARD)
        y, feed_forward = blocks.feed_forward_forward(y, *feed)
        cache: Any = feed_forward
        y = watched(watch, f"{block}.feed_forward", y)
        return h + y, LlamaBlockCache(norm1, attention, norm2, cache)

    @staticmethod
    def _block_backward(dh: Array, block: str, cache: LlamaBlockCache, grads: Parameters) -> Array:
        feed_forward: Any = cache.feed_forward
        dy, *dw = blocks.feed_forward_backward(dh, feed_forward)
        put(grads, f"{block}.feed_forward", FEED_FORWARD, dw)
        dy, grads[f"{block}.norm2.gain"] = llama_blocks.rms_norm_backward(dy, cache.norm2)
        dh = dh + dy
        dy, *dw = llama_blocks.grouped_self_attention_backward(dh, cache.attention)
        put(grads, f"{block}.attention", ("w_qkv", "w_out"), dw)
        dy, grads[f"{block}.norm1.gain"] = llama_blocks.rms_norm_backward(dy, cache.norm1)
        return dh + dy


# ---- the comparisons ---------------------------------------------------------------------------


class Entry(NamedTuple):
    """A model that is compared."""

    kind: type[Model]
    options: Mapping[str, Any]


class Comparison(NamedTuple):
    """Models that learn the same language in the same way."""

    language: str
    length: int
    steps: int
    learning_rate: float
    entries: Mapping[str, Entry]


COMPARISONS = {
    "groups": Comparison(
        "recall",
        16,
        800,
        0.005,
        {
            f"{G} of 4 keys": Entry(Llama, {"layers": 2, "heads": 4, "groups": G, "width": 32})
            for G in (4, 2, 1)
        },
    ),
    "norms": Comparison(
        "order2",
        8,
        300,
        0.003,
        {
            f"{name}, {layers} layers": Entry(kind, {"layers": layers, "heads": 2, "width": 16})
            for layers in (2, 8, 24)
            for name, kind in (("before each part", GPT), ("behind each sum", PostNorm))
        },
    ),
    "gate": Comparison(
        "order2",
        8,
        600,
        0.005,
        {
            name: Entry(kind, {"layers": 1, "heads": 2, "width": 24})
            for name, kind in (("gated", Llama), ("GELU", Ungated))
        },
    ),
}


def made(entry: Entry, vocab_size: int, length: int, seed: int) -> Any:
    """A model of an entry, with numbers drawn for this seed."""
    config: type[Any] = GPTConfig if issubclass(entry.kind, GPT) else LlamaConfig
    sizes = {"vocab_size": vocab_size, "context_length": length, "init_std": 0.1}
    return entry.kind(config(**sizes | dict(entry.options)), np.random.default_rng(seed))


def compare(
    name: str, seeds: int = 3, steps: int = 0, sentences: int = 16384
) -> dict[str, list[float]]:
    """Entry -> nats per token above the entropy of the language, for each seed, sorted."""
    asked = COMPARISONS[name]
    config = CorpusConfig(corpus=asked.language, sentences=sentences, heldout_sentences=1024)
    corpus = load_corpus(config, asked.length)
    excess: dict[str, list[float]] = {}
    for label, entry in asked.entries.items():
        for seed in range(seeds):
            model = made(entry, corpus.tokenizer.vocab_size, asked.length, seed)
            loss = _loss(model, corpus, steps or asked.steps, asked.learning_rate, seed)
            excess.setdefault(label, []).append(loss - (corpus.entropy or 0.0))
    return {label: sorted(values) for label, values in excess.items()}


def _loss(model: Any, corpus: Any, steps: int, learning_rate: float, seed: int) -> float:
    rng = np.random.default_rng(seed)
    result = train(model, corpus, steps, learning_rate, rng=rng, eval_every=steps, progress=False)
    return float(result.training.final_evaluation().loss)


def cache_bytes(model: Any) -> int:
    """What a token leaves in the cache of a model, in bytes."""
    past = model.start()
    return int((past.keys.nbytes + past.values.nbytes) / past.keys.shape[2])


def told(seeds: int = 3, steps: int = 0, sentences: int = 16384) -> str:
    """All comparisons as text: parameters, bytes of the cache for a token, nats of each seed."""
    lines = []
    for name, asked in COMPARISONS.items():
        lines.append(f"{name} ({asked.language}, {steps or asked.steps} steps)")
        for label, excess in compare(name, seeds, steps, sentences).items():
            model = made(asked.entries[label], 8, asked.length, 0)
            size = f"{model.params.flat.size:8,} parameters {cache_bytes(model):6,} bytes a token"
            lines.append(f"    {label:<28}{size}   " + "  ".join(f"{x:.3f}" for x in excess))
    return "\n".join(lines)
