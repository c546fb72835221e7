"""The article's listing: its fourteen bugs, each made small, measured and repaired.

    print(b3_target_leaks())        the bug, its number, the number of the repair, what sees it
    GPT(repaired(), rng)            the model that the listing meant

Where a bug is one of arithmetic it is made again from the pieces of numpylm. Where it is one of
PyTorch's interface (b1, b2, b6_in_pytorch, b7_in_pytorch, b14) PyTorch itself is asked; these need
it installed.
"""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from numpylm.attention_lm import AttentionLM, AttentionLMConfig
from numpylm.batches import sample_batch
from numpylm.blocks import (
    CROSS_ATTENTION,
    SELF_ATTENTION,
    cross_attention_backward,
    cross_attention_forward,
    cross_attention_shapes,
    feed_forward_shapes,
    norm_shapes,
    put,
    self_attention_backward,
    self_attention_forward,
    self_attention_shapes,
    weights,
)
from numpylm.checks.contracts import no_leak
from numpylm.config import option
from numpylm.corpora import CorpusConfig, load_corpus
from numpylm.errors import InputError
from numpylm.gpt import GPT, GPTConfig
from numpylm.model import Model, ModelConfig, Parameters
from numpylm.ops import (
    IGNORE,
    Array,
    causal_mask,
    cross_entropy_forward,
    embedding_backward,
    embedding_forward,
    output_backward,
    output_forward,
    positions_backward,
    positions_forward,
)
from numpylm.sampling import GenerateConfig, generate_ids
from numpylm.training import Training

V, T, C = 12, 8, 16  # words, tokens of a text, width of a vector
STEPS = 400


class Shown(NamedTuple):
    """A bug; what it measures and what its repair measures; and the test that tells them apart."""

    bug: str
    wrong: Any
    right: Any
    seen_by: str


# ---- the model that was meant ----------------------------------------------------------------


def repaired(
    vocab_size: int = 10_000,
    width: int = 512,
    heads: int = 8,
    layers: int = 6,
    context_length: int = 512,
) -> GPTConfig:
    """The listing's sizes as a decoder: causal, with positions, output tied to the embedding.

    24,297,472 parameters, of which 262,144 are positions, a size that the listing does not name.
    """
    return GPTConfig(
        vocab_size=vocab_size,
        width=width,
        heads=heads,
        layers=layers,
        context_length=context_length,
    )


def count(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The numbers in arrays of these shapes."""
    return sum(math.prod(shape) for shape in shapes.values())


def listing_parameters(
    vocab_size: int = 10_000, width: int = 512, layers: int = 6, hidden: int = 2048
) -> dict[str, int]:
    """Where the parameters of the listing are; 2048 is nn.Transformer's own choice."""
    attention, norm = self_attention_shapes("", width), norm_shapes("", width)
    feed_forward = feed_forward_shapes("", width, hidden)
    layer = count(attention) + count(feed_forward) + 2 * count(norm)
    crossing = count(cross_attention_shapes("", width)) + count(norm)
    return {
        "embed": vocab_size * width,
        "encoder": layers * layer + count(norm),
        "decoder": layers * (layer + crossing) + count(norm),
        "fc": width * vocab_size + vocab_size,
    }


# ---- training, in small ----------------------------------------------------------------------


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def one_matrix(**options: Any) -> AttentionLM:
    """The article's other model, with the options that repair it."""
    settings = {"vocab_size": V, "context_length": T, "width": C, **options}
    return AttentionLM(AttentionLMConfig(**settings), generator(), np.float64)


def fit(model: Any, batch: Callable[[], tuple[Array, Array]], steps: int = STEPS) -> None:
    """Learn from `steps` batches, with Adam."""
    training = Training(model, lambda rng: batch())
    for _ in range(steps):
        training.step()


def loss_on(model: Any, ids: Array, targets: Array) -> float:
    return float(model.loss(ids, targets)[0])


# ---- b3's model: both halves, with or without each mask --------------------------------------


@dataclass(frozen=True)
class EncoderDecoderConfig(ModelConfig):
    """the listing's model, small; its repair tgt = src"""

    width: int = option(16, "C", minimum=1)
    heads: int = option(2, "H", minimum=1)
    src_mask: bool = option(False, "the encoder looks at nothing later")
    tgt_mask: bool = option(False, "nor does the decoder look at its own text")
    memory_mask: bool = option(False, "nor does the decoder look at what was encoded")


class EncoderDecoder(Model):
    """One layer of each, on one text: both are given x, and x_{t+1} is to be predicted.

    h = E[x] + P    m = h + encoder(h)    d = h + decoder(h)    p_t = softmax(U (d + cross(d, m)))
    """

    Config = EncoderDecoderConfig
    config: EncoderDecoderConfig

    @staticmethod
    def shapes(config: EncoderDecoderConfig) -> dict[str, tuple[int, ...]]:
        V, C = config.vocab_size, config.width
        return {
            "E": (V, C),
            "P": (config.context_length, C),
            **self_attention_shapes("encoder", C),
            **self_attention_shapes("decoder", C),
            **cross_attention_shapes("cross", C),
            "U": (V, C),
        }

    def initialise(self, rng: np.random.Generator) -> None:
        self.params.flat[...] = rng.normal(0.0, self.config.width**-0.5, self.params.flat.size)

    def forward(self, ids: Any, rng: Any = None) -> tuple[Array, tuple]:
        p, config = self.params, self.config
        mask = causal_mask(np.shape(ids)[-1])
        src, tgt, memory = (
            mask if given else None
            for given in (config.src_mask, config.tgt_mask, config.memory_mask)
        )
        e, embedding = embedding_forward(p["E"], np.asarray(ids))
        h, positions = positions_forward(e, p["P"])
        y, encoder = self_attention_forward(
            h, *weights(p, "encoder", SELF_ATTENTION), config.heads, src
        )
        m = h + y
        y, decoder = self_attention_forward(
            h, *weights(p, "decoder", SELF_ATTENTION), config.heads, tgt
        )
        d = h + y
        y, cross = cross_attention_forward(
            d, m, *weights(p, "cross", CROSS_ATTENTION), config.heads, memory
        )
        logits, output = output_forward(d + y, p["U"])
        return logits, (embedding, positions, encoder, decoder, cross, output)

    def backward(self, dlogits: Array, cache: tuple) -> Parameters:
        """The lines of forward upwards; h is read four times, by both halves and both sums."""
        embedding, positions, encoder, decoder, cross, output = cache
        grads = self.params.like()
        dy, grads["U"] = output_backward(dlogits, output)
        dd, dm, *dw = cross_attention_backward(dy, cross)
        put(grads, "cross", CROSS_ATTENTION, dw)
        dd = dd + dy
        dh_decoder, *dw = self_attention_backward(dd, decoder)
        put(grads, "decoder", SELF_ATTENTION, dw)
        dh_encoder, *dw = self_attention_backward(dm, encoder)
        put(grads, "encoder", SELF_ATTENTION, dw)
        de, grads["P"] = positions_backward(dd + dh_decoder + dm + dh_encoder, positions)
        grads["E"] = embedding_backward(de, embedding)
        return grads


# ---- the bugs, in the order of SEED.md -------------------------------------------------------


def transformer(*sizes: Any, **options: Any) -> Any:
    """PyTorch's nn.Transformer, without its advice about speed."""
    from torch import nn

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return nn.Transformer(*sizes, **options)


def b1_third_argument() -> Shown:
    """Transformer(embed_size, num_heads, num_layers): the third sets the encoder's layers only."""

    def layers(model: Any) -> tuple[int, int]:
        return len(model.encoder.layers), len(model.decoder.layers)

    by_name = transformer(C, 2, num_encoder_layers=3, num_decoder_layers=3)
    return Shown(
        "num_layers = 3 leaves the decoder at its default; with 6 nobody notices",
        layers(transformer(C, 2, 3)),
        layers(by_name),
        "counting layers or parameters: a config names each of its numbers",
    )


def b2_needs_a_target() -> Shown:
    """transformer(x): an encoder-decoder reads two texts."""
    import torch

    try:
        transformer(C, 2, 1, 1)(torch.zeros(3, T, C))
        message = ""
    except TypeError as error:
        message = str(error)
    logits, _ = GPT(repaired(V, C, 2, 1, T), generator()).forward(np.zeros((3, T), int))
    return Shown(
        "forward has no tgt to give to the transformer",
        message,
        logits.shape,
        "calling it once before training",
    )


def b3_target_leaks(steps: int = STEPS) -> Shown:
    """The obvious repair of b2, tgt = src: x_{t+1} is in the text that was encoded."""

    def loss(*masks: str) -> float:
        config = EncoderDecoderConfig(
            vocab_size=V, context_length=T, **{f"{mask}_mask": True for mask in masks}
        )
        return no_leak(EncoderDecoder(config, generator()), steps).numbers["loss"]

    three = ("src", "tgt", "memory")
    leaks = {masks: loss(*masks) for masks in ((), three[1:2], three[:2])}
    return Shown(
        "any of the three attentions without a mask hands the decoder its target",
        leaks,
        loss(*three),
        "contracts.no_leak: a loss below ln V on random tokens",
    )


def b4_idle_decoder() -> Shown:
    """An encoder-decoder used as a language model: half of it has nothing to do."""
    parts = listing_parameters()
    return Shown(
        "the decoder has nothing to decode, and fc is a second embedding",
        parts | {"all": sum(parts.values())},
        count(GPT.shapes(repaired())),
        "counting parameters",
    )


def b5_no_positions() -> Shown:
    """Nothing tells the order of the tokens: permuting them permutes the logits, no more."""
    order, ids = generator().permutation(T), np.arange(T)[None]

    def gap(model: AttentionLM) -> float:
        after, before = model.forward(ids[:, order])[0], model.forward(ids)[0][:, order]
        return float(np.abs(after - before).max())

    return Shown(
        "f(x permuted) = f(x) permuted",
        gap(one_matrix(causal=False, init_std=1.0)),
        gap(one_matrix(causal=False, init_std=1.0, positions=True)),
        "contracts.order_is_used",
    )


def swapped(model: Model) -> Callable[[Array], Array]:
    """ids (B, T) read as if they were (T, B), which is batch_first=False."""
    return lambda ids: model.forward(ids.T)[0].swapaxes(0, 1)


def moved_by_another(f: Callable[[Array], Array]) -> float:
    """How far sample 0's logits move when sample 3 becomes another text."""
    ids = generator().integers(V, size=(4, T))
    changed = ids.copy()
    changed[3] = (ids[3] + 1) % V
    return float(np.abs(f(changed)[0] - f(ids)[0]).max())


def b6_swapped_axes() -> Shown:
    """PyTorch's Transformer expects (T, B, C); the listing gives it (B, T, C)."""
    model = one_matrix(causal=False, init_std=0.5)
    return Shown(
        "attention runs across the batch, and no shape tells",
        moved_by_another(swapped(model)),
        moved_by_another(lambda ids: model.forward(ids)[0]),
        "contracts.independence",
    )


def b6_in_pytorch() -> Shown:
    """The same in PyTorch, for the encoder's layer."""
    import torch

    def moved(batch_first: bool) -> float:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            embed, fc = torch.nn.Embedding(V, C), torch.nn.Linear(C, V)
            layer = torch.nn.TransformerEncoderLayer(C, 2, 32, 0.0, batch_first=batch_first)
            return moved_by_another(lambda ids: fc(layer(embed(torch.tensor(ids)))).numpy())

    return Shown(
        "batch_first is False unless it is said",
        moved(False),
        moved(True),
        "contracts.independence",
    )


def square_prediction() -> tuple[Array, Array]:
    """Logits (5, 7, 7) and targets (5, 7): as many tokens as words."""
    rng = generator()
    return rng.normal(size=(5, 7, 7)), rng.integers(7, size=(5, 7))


def over_time(logits: Array, targets: Array) -> float:
    """What CrossEntropyLoss computes of (B, T, V): for it, the second axis holds the classes."""
    return float(cross_entropy_forward(logits.swapaxes(1, 2), targets)[0])


def b7_wrong_axis() -> Shown:
    """criterion(output, target) with (B, T, V) and (B, T): for T = V the shapes fit."""
    logits, targets = square_prediction()
    return Shown(
        "softmax over time, and the target's number read as a time",
        over_time(logits, targets),
        float(cross_entropy_forward(logits, targets)[0]),
        "contracts.loss_is_cross_entropy; for T ≠ V the shapes",
    )


def b7_in_pytorch() -> Shown:
    """The same in PyTorch: its error for T ≠ V, and its number for T = V."""
    import torch

    logits, targets = (torch.tensor(x) for x in square_prediction())
    criterion = torch.nn.CrossEntropyLoss()
    try:
        criterion(logits[:, :6], targets[:, :6])
        message = ""
    except RuntimeError as error:
        message = str(error)
    return Shown(
        message,
        float(criterion(logits, targets)),
        float(criterion(logits.flatten(0, 1), targets.flatten())),
        "contracts.loss_is_cross_entropy",
    )


def b8_no_data() -> Shown:
    """dataloader, batch.text and batch.target come from nowhere."""
    try:
        exec("for batch in dataloader: batch.text, batch.target", {})
        message = ""
    except NameError as error:
        message = str(error)
    corpus = load_corpus(CorpusConfig(corpus="cycle", sentences=40), T)
    ids, targets = sample_batch(generator(), corpus.train, 4, T)
    return Shown(message, None, (ids.shape, targets.shape), "running it")


def random_texts(rng: np.random.Generator, B: int = 32) -> Array:
    return rng.integers(V, size=(B, T + 1))


def b9_no_shift() -> Shown:
    """Trained on targets = ids, a model repeats what it reads: loss 0, and nothing predicted."""
    rng = generator()

    def unshifted() -> tuple[Array, Array]:
        ids = random_texts(rng)[:, :-1]
        return ids, ids

    parrot, honest = one_matrix(), one_matrix()
    fit(parrot, unshifted)
    fit(honest, lambda: sample_batch(rng, random_texts(rng), 32, T))
    texts = random_texts(rng, 500)
    return Shown(
        "the target must be y_t = x_{t+1}; for y_t = x_t the best model is a copy",
        loss_on(parrot, texts[:, :-1], texts[:, :-1]),
        loss_on(honest, texts[:, :-1], texts[:, 1:]),
        "a loss below the entropy of the language, here ln V",
    )


def b10_padding_counts() -> Shown:
    """Texts of 2 to T + 1 random words, filled up with the word 0: most targets say nothing."""
    rng = generator()

    def padded(B: int = 32) -> tuple[Array, Array, Array]:
        """ids, their successors, and the same with IGNORE where they are padding."""
        texts = rng.integers(1, V, size=(B, T + 1))
        texts[np.arange(T + 1) >= rng.integers(2, T + 2, size=(B, 1))] = 0
        ids, targets = texts[:, :-1], texts[:, 1:]
        return ids, targets, np.where(targets == 0, IGNORE, targets)

    counting, ignoring = one_matrix(tied=False), one_matrix(tied=False)
    fit(counting, lambda: padded()[:2])
    fit(ignoring, lambda: padded()[::2])
    ids, targets, words = padded(500)
    return Shown(
        "a loss that counts padding falls below ln (V − 1), the entropy of the words",
        loss_on(counting, ids, targets),
        loss_on(ignoring, ids, words),
        "a loss below the entropy of the language; targets of padding are IGNORE",
    )


def b11_no_evaluation() -> Shown:
    """100 epochs, and no look at a text that was not trained on.

    Nor is there a seed (here generator), clipping or a warm-up: TrainConfig has an option for each.
    """
    rng = generator()
    seen, unseen = random_texts(rng, 16), random_texts(rng, 500)
    model = one_matrix(tied=False, positions=True, projections=True)
    fit(model, lambda: sample_batch(rng, seen, 16, T))
    losses = [loss_on(model, texts[:, :-1], texts[:, 1:]) for texts in (seen, unseen)]
    return Shown(
        "the loss in training falls below ln V on random tokens: they are learned by heart",
        *losses,
        "the loss on held-out text",
    )


def b12_another_model() -> Shown:
    """The listing's fc is a table of its own. One matrix predicts with E, and cannot learn abab…"""
    rng = generator()

    def loss(tied: bool) -> float:
        model = one_matrix(vocab_size=2, tied=tied)
        texts = np.array([[0, 1] * T, [1, 0] * T])[:, : T + 1]
        fit(model, lambda: sample_batch(rng, texts, 8, T))
        return loss_on(model, texts[:, :-1], texts[:, 1:])

    return Shown(
        "formulas and listing are two models; the separate table alone decides here",
        loss(tied=True),
        loss(tied=False),
        "a language that one of them cannot learn",
    )


def b13_no_generation() -> Shown:
    """The listing ends with weights. A loop of next-token predictions makes them write."""
    rng, n = generator(), 5
    model = one_matrix(vocab_size=n, tied=False)
    texts = (np.arange(n)[:, None] + np.arange(T + 1)) % n
    fit(model, lambda: sample_batch(rng, texts, 16, T))
    written = generate_ids(model, np.array([3]), GenerateConfig(tokens=20, temperature=0), rng).ids
    right = float((written == (4 + np.arange(20)) % n).mean())
    return Shown(
        "no text is ever generated",
        None,
        right,
        "the share of right successors in a language where only one is right",
    )


def b14_width_and_heads() -> Shown:
    """The width is shared out to the heads."""

    def message(make: Callable[[], Any], kind: type[Exception]) -> str:
        try:
            make()
        except kind as error:
            return str(error)
        return ""

    return Shown(
        "a width that is no multiple of heads",
        message(lambda: transformer(10, 3, 1, 1), AssertionError),
        message(lambda: repaired(V, 10, 3, 1, T), InputError),
        "an error that says both numbers, and what to choose",
    )
