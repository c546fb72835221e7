"""What pre-training is worth, in labels: few sentences with a class, and others to be judged.

A sentence has eight words: four of one topic, then four of another. Its class is the topic of the
first half. The labelled sentences use 2 of the 8 words of each topic; the test uses the other six.

Without pre-training the words of the test have embeddings that no label has ever touched. Exchange
two topics in them: the random model is as likely as before, and so are the labelled sentences, but
the right answers are exchanged. So the expected accuracy is 1/6, however many labels there are.
Pre-training sees all words, without labels, and lays the eight words of a topic together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..arguments import array, check_ids
from ..arrays import Array, Rng
from ..attention_lm import AttentionLM
from ..bert import BERTForMaskedLM, mask_tokens
from ..bert_heads import BERTForClass
from ..config import SEEDS, Config, option
from ..errors import InputError
from ..gpt import GPT
from ..languages import TOPICS
from ..low_rank import Adapted
from ..model import Parameters
from ..objectives import answer_targets
from ..optim import Adam
from ..training import train
from .scaling import numbers

CLASSES = tuple(TOPICS)
WORDS = [line.split() for line in TOPICS.values()]
HALF, LABELLED_WORDS = 4, 2
V, K = 48, len(CLASSES)
MASK, ASK = V, V + 1  # a hidden word; "which topic?"
VOCABULARY = V + 2 + K  # the classes are words, too: V + 2, …


@dataclass(frozen=True)
class TransferConfig(Config):
    """transfer"""

    models: str = option("one-matrix,gpt,bert", "what is pre-trained, with commas")
    labels: str = option("6,24,96", "labelled sentences, with commas; a multiple of 6 each")
    seeds: int = option(3, "how often each is measured", minimum=1, maximum=10**4)
    pretrain_steps: int = option(600, "batches of plain sentences", minimum=1)
    steps: int = option(150, "batches of labelled sentences", minimum=1)
    rank: int = option(2, "R of LoRA", minimum=1, maximum=10**6)
    width: int = option(24, "C, the numbers of a word", minimum=4, maximum=10**5)
    seed: int = option(0, "the first seed", minimum=0, maximum=SEEDS)


def sentences(rng: Rng, n: int, halves: bool, allowed: slice = slice(None)) -> tuple[Array, Array]:
    """ids (n, 8) and classes (n,): every class equally often, words of one topic or of two."""
    words = np.arange(V).reshape(K, V // K)[:, allowed]
    first = np.arange(n) % K
    second = (first + rng.integers(1, K, size=n)) % K if halves else first
    topic = np.repeat(np.stack([first, second], axis=1), HALF, axis=1)
    ids: Array = words[topic, rng.integers(words.shape[1], size=topic.shape)]
    return ids, first


# ---- a linear head -------------------------------------------------------------------------------


class Head:
    """F12, F5: a class of features (N, C), by softmax(x w + b), trained on all labels at once."""

    def __init__(self, features: Array, classes: Array, steps: int = 300):
        x, y = array("features", features), check_ids("classes", classes, K, what="the classes")
        if len(x) != len(y):
            raise InputError(f"features {x.shape} and classes {y.shape} must have as many rows")
        self.mean, self.size = x.mean(axis=0), x.std() or 1.0
        self.params = Parameters({"w": (x.shape[1], K), "b": (K,)}, x.dtype)
        optimizer, x = Adam(self.params), self.scaled(x)
        for _ in range(steps):
            z, cache = ops.linear_forward(x, self.params["w"], self.params["b"])
            _, loss_cache = ops.cross_entropy_forward(z, y)
            grads = self.params.like()
            _, grads["w"], grads["b"] = ops.linear_backward(
                ops.cross_entropy_backward(1.0, loss_cache), cache
            )
            optimizer.step(grads, 0.05)

    def scaled(self, x: Array) -> Array:
        result: Array = (x - self.mean) / self.size
        return result

    def predict(self, features: Array) -> Array:
        """The likeliest class of each row (N,)."""
        x = self.scaled(features)
        best: Array = np.argmax(x @ self.params["w"] + self.params["b"], axis=-1)
        return best


# ---- what is pre-trained -----------------------------------------------------------------------


class Kind(NamedTuple):
    """A model, how it is pre-trained on plain sentences, and how it is asked for a class."""

    halves: bool
    make: Callable[[TransferConfig, Rng], Any]
    pretrain: Callable[[Any, TransferConfig, Rng], None]
    features: Callable[[Any, Array], Array]
    tuned: Callable[[Any, str, Array, Array, TransferConfig, Rng], Callable[[Array], Array]] | None


def _one_matrix(config: TransferConfig, rng: Rng) -> AttentionLM:
    return AttentionLM(vocab_size=VOCABULARY, context_length=9, width=config.width, rng=rng)


def _next_words(model: Any, config: TransferConfig, rng: Rng, halves: bool) -> None:
    def batch(rng: Rng) -> tuple[Array, Array]:
        ids, _ = sentences(rng, 36, halves)
        return ids[:, :-1], ids[:, 1:]

    train(model, batch, config.pretrain_steps, progress=False, rng=rng)


def _read(model: Any, ids: Array, place: str) -> Array:
    """What flows at a place of the model, averaged over the sentence."""
    seen: list[Array] = []
    model.forward(ids, watch=lambda name, x: seen.append(x) if name == place else None)
    mean: Array = seen[0].mean(axis=-2)
    return mean


def _gpt(config: TransferConfig, rng: Rng) -> GPT:
    sizes: dict[str, Any] = {"layers": 2, "heads": 2, "width": config.width, "init_std": 0.1}
    return GPT(vocab_size=VOCABULARY, context_length=10, rng=rng, **sizes)


def _tuned_gpt(
    model: Any, how: str, ids: Array, classes: Array, config: TransferConfig, rng: Rng
) -> Callable[[Array], Array]:
    """The class is a word that follows "which topic?": F35, the sentence is the prompt."""
    asked = np.column_stack([ids, np.full(len(ids), ASK), V + 2 + classes])
    batch = asked[:, :-1], answer_targets(asked, ids.shape[1] + 1)
    trained: Any = model
    if how == "LoRA":  # E stays: its rows for the classes are random, which is enough to aim at
        trained = Adapted(model, config.rank, 4.0, whole=("norm.gain", "norm.bias"), rng=rng)
    _fit(trained, batch, config, rng)
    final = trained.merged() if how == "LoRA" else trained

    def predict(ids: Array) -> Array:
        rows = np.column_stack([ids, np.full(len(ids), ASK)])
        best: Array = final.next_logits(rows)[:, V + 2 :].argmax(axis=-1)
        return best

    return predict


def _bert(config: TransferConfig, rng: Rng) -> BERTForMaskedLM:
    sizes: dict[str, Any] = {"layers": 2, "heads": 2, "width": config.width, "init_std": 0.15}
    return BERTForMaskedLM(vocab_size=VOCABULARY, context_length=9, segments=1, rng=rng, **sizes)


def _asked(ids: Array) -> Array:
    return np.column_stack([np.full(len(ids), ASK), ids])


def _hidden_words(model: Any, config: TransferConfig, rng: Rng) -> None:
    def batch(rng: Rng) -> tuple[Array, Array]:
        ids = _asked(sentences(rng, 36, True)[0])
        return mask_tokens(ids, rng, MASK, VOCABULARY, special=range(V, VOCABULARY), rate=0.3)

    train(model, batch, config.pretrain_steps, progress=False, rng=rng)


def _read_by_bert(model: Any, ids: Array) -> Array:
    hidden: Array = model.encode(_asked(ids))[0][:, 1:].mean(axis=-2)
    return hidden


def _tuned_bert(
    model: Any, how: str, ids: Array, classes: Array, config: TransferConfig, rng: Rng
) -> Callable[[Array], Array]:
    """The encoder of the masked model, under a new head for classes."""
    options = model.config.to_dict() | {"classes": K}
    tuned = BERTForClass(rng=rng, **options)
    head = [name for name in tuned.params if name not in model.params]
    for name in tuned.params:
        if name not in head:
            tuned.params[name] = model.params[name]
    trained: Any = Adapted(tuned, config.rank, whole=head, rng=rng) if how == "LoRA" else tuned
    _fit(trained, (_asked(ids), classes), config, rng)
    final = trained.merged() if how == "LoRA" else trained

    def predict(ids: Array) -> Array:
        best: Array = final.forward(_asked(ids))[0].argmax(axis=-1)
        return best

    return predict


def _fit(model: Any, batch: tuple[Array, Array], config: TransferConfig, rng: Rng) -> None:
    B, rate = min(32, len(batch[0])), 0.003
    train(model, batch, config.steps, rate, B, warmup=10, progress=False, rng=rng)


KINDS = {
    "one-matrix": Kind(
        False,
        _one_matrix,
        lambda m, c, r: _next_words(m, c, r, False),
        lambda m, ids: _read(m, ids, "attention"),  # the contexts c_i
        None,
    ),
    "gpt": Kind(
        True,
        _gpt,
        lambda m, c, r: _next_words(m, c, r, True),
        lambda m, ids: _read(m, ids, "norm"),
        _tuned_gpt,
    ),
    "bert": Kind(True, _bert, _hidden_words, _read_by_bert, _tuned_bert),
}


# ---- measured ----------------------------------------------------------------------------------


class Row(NamedTuple):
    """An accuracy on 600 sentences of other words."""

    model: str
    method: str
    labels: int
    seed: int
    accuracy: float


def measure(config: TransferConfig) -> list[Row]:
    """Every model, pre-trained or not, with every method, at every number of labels."""
    counts = numbers(config.labels, "labels")
    if wrong := [n for n in counts if n % K]:
        raise InputError(f"labels must be multiples of {K}, one for each class, not {wrong[0]}")
    names = config.models.split(",")
    if unknown := [name for name in names if name not in KINDS]:
        raise InputError(f"models has no {unknown[0]!r}: choose from {', '.join(KINDS)}")
    rows = []
    for name in names:
        for seed in range(config.seed, config.seed + config.seeds):
            rows += _measure(name, counts, seed, config)
    return rows


def _measure(name: str, counts: Sequence[int], seed: int, config: TransferConfig) -> list[Row]:
    kind, rng, rows = KINDS[name], np.random.default_rng(seed), []
    fresh, model = (kind.make(config, np.random.default_rng(seed)) for _ in range(2))
    kind.pretrain(model, config, rng)
    test, truth = sentences(rng, 600, kind.halves, slice(LABELLED_WORDS, None))
    for n in counts:
        ids, classes = sentences(rng, n, kind.halves, slice(LABELLED_WORDS))
        ways: dict[str, Callable[[Array], Array]] = {}
        for title, source in (("from scratch, features", fresh), ("frozen features", model)):
            head = Head(kind.features(source, ids), classes)
            ways[title] = lambda x, h=head, s=source: h.predict(kind.features(s, x))  # type: ignore[misc]
        if kind.tuned is not None:
            for title, source, how in (
                ("from scratch", fresh, "all"),
                ("fine-tuned", model, "all"),
                ("LoRA", model, "LoRA"),
            ):
                twin = source.astype(np.float32)
                ways[title] = kind.tuned(twin, how, ids, classes, config, rng)
        for title, predict in ways.items():
            rows.append(Row(name, title, n, seed, float(np.mean(predict(test) == truth))))
    return rows


def transfer_text(rows: Sequence[Row]) -> str:
    """A line for each model and method: the mean accuracy, and the least and most of the seeds."""
    counts = sorted({row.labels for row in rows})
    lines = [f"{'labelled sentences':36}" + "".join(f"{n:>20}" for n in counts)]
    for model, method in dict.fromkeys((row.model, row.method) for row in rows):
        cells = []
        for n in counts:
            found = [r.accuracy for r in rows if r[:3] == (model, method, n)]
            cells.append(f"{np.mean(found):6.2f} ({min(found):.2f} to {max(found):.2f})")
        lines.append(f"{model:12}{method:24}" + "".join(f"{cell:>20}" for cell in cells))
    return "\n".join([*lines, "", f"guessing: {1 / K:.2f}"])
