"""What `python -m numpylm gradcheck` looks at: every pair of ops.py and blocks.py, every
model and its options.

All sizes differ, weights are of order 1, some token repeats and some target is ignored: inputs
under which a wrong gradient has nowhere to hide.
"""

from collections.abc import Callable, Iterator
from itertools import product
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from .. import blocks, blockwise_attention, llama_blocks, low_rank, objectives, ops
from ..attention_lm import AttentionLM, AttentionLMConfig
from ..bert import BERTConfig, BERTForMaskedLM
from ..bert_heads import BERTForClass, BERTForClassConfig, BERTForSpan
from ..gpt import GPT, GPTConfig
from ..gradcheck import check_model, check_op
from ..gradient_verdicts import Report
from ..llama import Llama, LlamaConfig
from ..model import Model
from ..transformer import Transformer, TransformerConfig

B, T, S, C, V = 2, 3, 5, 4, 7


class OpCase(NamedTuple):
    """`op`_forward and `op`_backward of ops.py, or of blocks.py, at one set of arguments."""

    op: str
    variant: str
    args: tuple[Any, ...]
    module: ModuleType = ops

    @property
    def name(self) -> str:
        return f"{self.op}, {self.variant}" if self.variant else self.op

    @property
    def forward(self) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(self.module, f"{self.op}_forward")
        return function

    @property
    def backward(self) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(self.module, f"{self.op}_backward")
        return function

    def check(self, **options: Any) -> Report:
        return check_op(self.forward, self.backward, *self.args, name=self.name, **options)


def op_cases() -> list[OpCase]:
    """At least one case for each pair in ops.py."""
    rng = np.random.default_rng(1)
    normal = rng.normal
    x, w, b = normal(size=(B, T, C)), normal(size=(C, V)), normal(size=V)
    q, k, v = normal(size=(B, T, C)), normal(size=(B, S, C)), normal(size=(B, S, C + 2))
    heads = [normal(size=(B, 6, n, d)) for n, d in ((T, C), (S, C), (S, 7))]
    logits, targets = normal(size=(B, T, V)), np.array([[1, 6, 1], [ops.IGNORE, 0, 1]])
    mask = ops.causal_mask(T, S)
    blind = mask & (np.arange(T) != 1)[:, None]  # query 1 may look at nothing
    return [
        OpCase(
            "embedding", "a word repeats", (normal(size=(V, C)), np.array([[1, 6, 1], [0, 1, 3]]))
        ),
        OpCase("linear", "", (x, w, b)),
        OpCase("linear", "no bias", (x, w)),
        OpCase("softmax", "", (normal(size=(T, S)),)),
        OpCase("softmax", "masked", (normal(size=(T, S)), mask)),
        OpCase("attention", "", (q, k, v)),
        OpCase("attention", "causal, scaled", (q, k, v, mask, C**-0.5)),
        OpCase("attention", "one query is blind", (q, k, v, blind)),
        OpCase("attention", "several heads", (*heads, mask)),
        OpCase("output", "", (x, normal(size=(V, C)))),
        OpCase("cross_entropy", "one is ignored", (logits, targets)),
        OpCase("nll", "one is ignored", (rng.uniform(0.2, 0.8, (B, T, V)), targets)),
        OpCase("smoothed_cross_entropy", "one is ignored", (logits, targets, 0.3)),
        *_transformer_op_cases(),
    ]


def _transformer_op_cases() -> list[OpCase]:
    rng = np.random.default_rng(3)
    x, gain, bias, table = (rng.normal(size=size) for size in ((B, T, C), C, C, (V, C)))
    return [
        OpCase("layer_norm", "", (x, gain, bias)),
        OpCase("layer_norm", "no bias, a large eps", (x, gain, None, 0.5)),
        OpCase("gelu", "", (2 * x,)),
        OpCase("gelu_exact", "", (2 * x,)),
        OpCase("relu", "", (x,)),
        OpCase("tanh", "", (x,)),
        OpCase("dropout", "", (x, 0.4, np.random.default_rng(4))),
        OpCase("dropout", "evaluation", (x, 0.4, None)),
        OpCase("positions", "", (x, table)),
    ]


def block_cases() -> list[OpCase]:
    """At least one case for each pair in blocks.py, with widths that differ in and out."""
    rng = np.random.default_rng(5)

    def normal(*size: int) -> Any:
        return rng.normal(size=size) / size[-1] ** 0.25  # scores of order 1

    H, D, F, C_memory, C_out = 6, 7, 8, 9, 10
    A = H * D
    x, memory = normal(B, T, C), normal(B, S, C_memory)
    q, k, v = normal(B, T, A), normal(B, S, A), normal(B, S, A)
    out = normal(A, C_out), normal(C_out)
    own = normal(C, 3 * A), normal(3 * A), *out
    cross = normal(C, A), normal(A), normal(C_memory, 2 * A), normal(2 * A), *out
    forward = normal(C, F), normal(F), normal(F, C_out), normal(C_out)
    causal, shifted = ops.causal_mask(T), ops.causal_mask(T, S)
    cases = [
        ("multi_head", "", (q, k, v, H)),
        ("multi_head", "causal", (q, k, v, H, shifted)),
        ("self_attention", "causal", (x, *own, H, causal)),
        ("self_attention", "no biases", (x, *_without_biases(own), H)),
        ("cross_attention", "", (x, memory, *cross, H)),
        ("cross_attention", "no biases", (x, memory, *_without_biases(cross), H, shifted)),
        *(("feed_forward", name, (x, *forward, name)) for name in blocks.ACTIVATIONS),
        ("feed_forward", "no biases", (x, *_without_biases(forward))),
    ]
    return [
        *(OpCase(*case, module=blocks) for case in cases),
        *_llama_block_cases(),
        *_blockwise_cases(),
        *_objective_cases(),
    ]


def _llama_block_cases() -> list[OpCase]:
    """At least one case for each pair in llama_blocks.py."""
    rng = np.random.default_rng(8)

    def normal(*size: int) -> Any:
        return rng.normal(size=size) / size[-1] ** 0.25

    H, G, D, F = 4, 2, 6, 8
    turn = llama_blocks.rotation(np.arange(T), D, dtype=np.float64)
    mask = ops.causal_mask(T, S)
    q, k, v = normal(B, T, H * D), normal(B, S, G * D), normal(B, S, G * D)
    x, qkv, out = normal(B, T, C), normal(C, (H + 2 * G) * D), normal(H * D, V)
    cases = [
        ("rms_norm", "", (x, normal(C))),
        ("rms_norm", "a large eps", (x, normal(C), 0.5)),
        ("rotary", "", (normal(B, T, D), turn)),
        ("rotary", "interleaved", (normal(B, T, D), turn, True)),
        ("silu", "", (2 * x,)),
        ("gated_feed_forward", "", (x, normal(C, 2 * F), normal(F, V))),
        ("grouped_query", "", (q, k, v, H, G)),
        ("grouped_query", "causal", (q, k, v, H, G, mask)),
        ("grouped_self_attention", "causal", (x, qkv, out, H, G, turn, ops.causal_mask(T))),
        ("grouped_self_attention", "all", (x, qkv, out, H, G, turn)),
    ]
    return [OpCase(*case, module=llama_blocks) for case in cases]


def _blockwise_cases() -> list[OpCase]:
    """At least one case for each pair in blockwise_attention.py: blocks of 2, and one for all."""
    normal = np.random.default_rng(9).normal
    few = normal(size=(B, T, C)), normal(size=(B, S, C)), normal(size=(B, S, V))
    cases = [
        (op, variant, args)
        for op in ("causal_attention", "online_attention")
        for variant, args in (
            ("blocks of 2", (*few, 0.7, 2)),
            ("one block", (*few, 0.7, 9)),
        )
    ]
    return [OpCase(*case, module=blockwise_attention) for case in cases]


def _objective_cases() -> list[OpCase]:
    """At least one case for each pair in objectives.py, of 5 texts, and in low_rank.py.

    What was recorded when the texts were drawn is lists, of which nobody asks a gradient.
    """
    rng = np.random.default_rng(10)
    logits, targets = rng.normal(size=(S, T, V)), rng.integers(V, size=(S, T))
    targets[1, 2], targets[3] = ops.IGNORE, ops.IGNORE
    logp, other, moved, noise = rng.normal(size=(4, S))
    advantages = [1.3, -0.4, 0.7, -0.9, -0.2]
    old = (logp - [0.5, 0.4, -0.3, -0.6, 0.01]).tolist()  # clipped, free, free, clipped, free
    pair = logp, other, (logp + moved).tolist(), noise.tolist(), 0.7
    reference = rng.normal(size=(T, V)).tolist()
    cases = [
        ("text_logp", "one text is ignored", (logits, targets)),
        ("policy_gradient", "", (logp, advantages)),
        ("clipped", "two are clipped", (logp, old, advantages, 0.15)),
        *(("kl_estimate", k, (logp, (logp + moved).tolist(), k)) for k in objectives.ESTIMATES),
        ("kl", "", (rng.normal(size=(T, V)), reference)),
        ("preference", "", pair),
    ]
    thin = rng.normal(size=(C, V)), rng.normal(size=(C, T)), rng.normal(size=(T, V)), 0.7
    return [
        *(OpCase(*case, module=objectives) for case in cases),
        OpCase("low_rank", "", thin, low_rank),
    ]


def _without_biases(weights: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(None if array.ndim == 1 else array for array in weights)


class ModelCase(NamedTuple):
    """A model with float64 parameters of order 1, and a batch: what its loss takes."""

    name: str
    model: Model
    batch: tuple[Any, ...]

    def check(self, **options: Any) -> Report:
        return check_model(self.model, self.batch, name=self.name, **options)


def model_cases() -> Iterator[ModelCase]:
    """Every model, under the options that change its formulas."""
    ids = np.array([[1, 6, 1, 2, 4], [5, 1, 1, 0, 2]])
    targets = np.array([[6, 1, 2, 4, 1], [1, ops.IGNORE, 0, 2, 6]])
    yield from _attention_lm_cases(ids, targets)
    four = np.vstack([ids, (ids + 1) % V]), np.vstack([targets, targets[::-1]])
    yield from _gpt_cases(*four)
    yield from _llama_cases(*four)
    yield from _bert_cases(*four)
    yield from _transformer_cases()


def _attention_lm_cases(ids: Any, targets: Any) -> Iterator[ModelCase]:
    as_written = product(("all", "last"), (True, False), (1.0, 0.5), (True, False), [()])
    repairs = [("positions",), ("projections",), ("positions", "projections")]
    repaired = product(("all", "last"), [True], [0.5], (True, False), repairs)
    for context, causal, scale, tied, repair in (*as_written, *repaired):
        config = AttentionLMConfig(
            vocab_size=V,
            context_length=8,
            width=C,
            context=context,
            causal=causal,
            scale=scale,
            tied=tied,
            init_std=1.0,
            **dict.fromkeys(repair, True),
        )
        words = [context, *["causal"] * causal, *["scaled"] * (scale < 1), *["tied"] * tied]
        yield ModelCase(
            " ".join(["AttentionLM", *words, *repair]),
            AttentionLM(config, np.random.default_rng(2), np.float64),
            (ids, targets),
        )


def _gpt_cases(ids: Any, targets: Any) -> Iterator[ModelCase]:
    options: dict[str, dict[str, Any]] = {
        "GPT": {"layers": 2},
        "GPT no biases": {"layers": 1, "bias": False},
        "GPT dropout": {"layers": 1, "dropout": 0.4},
    }
    for name, chosen in options.items():
        config = GPTConfig(vocab_size=V, context_length=8, heads=3, width=6, **chosen)
        gpt = GPT(config, np.random.default_rng(2), np.float64)
        draws = (np.random.default_rng(6),) if config.dropout else ()
        yield ModelCase(name, order_one(gpt), (ids, targets, *draws))


def _llama_cases(ids: Any, targets: Any) -> Iterator[ModelCase]:
    options: dict[str, dict[str, Any]] = {
        "Llama": {"layers": 2, "groups": 2},
        "Llama one key": {"layers": 1, "groups": 1, "tied": False, "eps": 0.1},
        "Llama a key each": {"layers": 1, "base": 50.0},
    }
    for name, chosen in options.items():
        config = LlamaConfig(vocab_size=V, context_length=9, heads=6, width=12, hidden=8, **chosen)
        llama = order_one(Llama(config, np.random.default_rng(2), np.float64))
        yield ModelCase(name, llama, (ids, targets))


def _bert_cases(ids: Any, targets: Any) -> Iterator[ModelCase]:
    segments = np.array([[0, 0, 1, 1, 1]] * 2 + [[0, 1, 1, 0, 0]] * 2)
    attend = np.arange(5) < np.array([[5], [3], [4], [2]])
    targets = np.where(attend, targets, ops.IGNORE)
    sizes: dict[str, Any] = dict(vocab_size=V, context_length=8, dropout=0.2)
    sizes |= dict(heads=3, width=6, hidden=9)
    dropout = np.random.default_rng(7)
    one, two = BERTConfig(layers=1, **sizes), BERTConfig(layers=2, **sizes)
    of_class = BERTForClassConfig(layers=1, classes=3, **sizes)
    for name, kind, config, truth in (
        ("BERT masked tokens", BERTForMaskedLM, two, targets),
        ("BERT class", BERTForClass, of_class, np.array([2, 0, 1, 2])),
    ):
        bert = order_one(kind(config, np.random.default_rng(2), np.float64))
        yield ModelCase(name, bert, (ids, truth, dropout, segments, attend))
    span = order_one(_SpanLogits(one, np.random.default_rng(2), np.float64))
    upstream = np.random.default_rng(6).normal(size=(4, 2, 5))
    yield ModelCase("BERT span, its logits", span, (ids, upstream, dropout, segments))


class _SpanLogits(BERTForSpan):
    """L = Σ dz·z of the span's logits: behind the softmax two of its biases have no gradient."""

    def loss(self, ids: Any, targets: Any, *given: Any) -> Any:
        logits, cache = self.forward(ids, *given)
        return np.sum(targets * logits), (targets, cache)

    def loss_backward(self, cache: Any, dL: float = 1.0) -> Any:
        targets, forward_cache = cache
        return self.backward(dL * targets, forward_cache)


def _transformer_cases() -> Iterator[ModelCase]:
    source = np.array([[4, 6, 4, 3, 5], [5, 5, 2, 0, 0], [3, 6, 6, 1, 0]])
    target = np.array([[1, 3, 6, 3, 4, 2, 0], [1, 6, 4, 2, 0, 0, 0], [1, 5, 6, 6, 3, 4, 2]])
    sizes: dict[str, Any] = dict(vocab_size=V, layers=2, heads=2, width=4, hidden=9)
    config = TransformerConfig(smoothing=0.3, dropout=0.2, **sizes)
    model = order_one(Transformer(config, np.random.default_rng(2), np.float64))
    yield ModelCase("Transformer", model, (source, target, np.random.default_rng(7)))


def order_one(model: Any) -> Any:
    """The model with all of its parameters drawn anew: gains that are not 1, biases not 0."""
    model.params.flat[...] = np.random.default_rng(2).normal(0.0, 0.7, model.params.flat.shape)
    return model


def check_everything() -> Iterator[Report]:
    """One report after another, so that a table can grow while it is computed."""
    for case in [*op_cases(), *block_cases()]:
        yield case.check()
    for model_case in model_cases():
        yield model_case.check()
