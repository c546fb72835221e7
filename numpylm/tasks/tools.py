"""What the four tasks share: their settings, words and batches, the loop, and the report."""

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Array, Rng
from ..bert import BERT
from ..config import SEEDS, Config, option
from ..errors import InputError
from ..model import Model
from ..training import train


@dataclass(frozen=True)
class TaskConfig(Config):
    """training for a task"""

    seeds: int = option(
        3, "how many models to train, to see how much luck there is", minimum=1, maximum=10**4
    )
    seed: int = option(
        0, "the first seed; the next models take the next ones", minimum=0, maximum=SEEDS
    )
    examples: int = option(4000, "examples to train on", minimum=2, maximum=10**6)
    heldout_examples: int = option(
        500, "examples of held-out compositions", minimum=2, maximum=10**6
    )
    steps: int = option(1500, "how many batches to learn from", minimum=1)
    batch_size: int = option(32, "B, the examples of a batch", minimum=1, maximum=10**7)
    learning_rate: float = option(0.002, "the largest step", above=0)
    warmup: int = option(100, "F11: steps until the learning rate is reached", minimum=0)
    layers: int = option(2, "how many blocks", minimum=1, maximum=1000)
    heads: int = option(4, "H, the attentions side by side in each block", minimum=1, maximum=10**5)
    width: int = option(
        48, "C, the numbers that stand for a token; a multiple of H", minimum=1, maximum=10**6
    )
    show: int = option(2, "how many right answers to show, and how many wrong ones", minimum=0)

    def size(self) -> dict[str, Any]:
        """What the models' configs take of it."""
        return {"layers": self.layers, "heads": self.heads, "width": self.width}


@dataclass(frozen=True)
class TranslationConfig(TaskConfig):
    """training for a translation"""

    locale: str = option(
        "", "translate dates and names into this language (de, fr, zh, ...); none is Latin"
    )


class Answer(NamedTuple):
    """One answer of a model, and who read whom while it was found.

    attention (L, T, S): of each block the mean of its heads. T is the tokens whose reading is
    shown, `readers`, and S the tokens that could be read, `words`.
    """

    right: bool
    lines: list[str]
    readers: list[str]
    words: list[str]
    attention: Array


class Outcome(NamedTuple):
    """What one seed gave: scores by method, then by metric; some answers."""

    scores: dict[str, dict[str, float]]
    answers: list[Answer]


def mean_heads(weights: Iterable[Array]) -> Array:
    """The weights (H, T, S) of each block  ->  (L, T, S)"""
    return np.stack([a.mean(axis=0) for a in weights])


class Result(NamedTuple):
    """The outcomes of all seeds. methods: what each method in their scores is."""

    task: str
    methods: Mapping[str, str]
    outcomes: list[Outcome]


# ---- words and batches ------------------------------------------------------------------

PADDING, BEGIN, STOP = 0, 1, 2
SPECIAL = ("<padding>", "<begin>", "<end>")


class Vocabulary:
    """Word <-> id, for texts whose tokens are separated by a space. Ids 0, 1, 2 are SPECIAL."""

    def __init__(self, texts: Iterable[str]):
        self.words = [*SPECIAL, *sorted({word for text in texts for word in text.split()})]
        self.ids = {word: n for n, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, text: str) -> list[int]:
        """InputError for an empty text, and for a word that the corpus does not have."""
        words = text.split()
        if not words:
            raise InputError("the text is empty: give at least one word")
        for word in words:
            if word not in self.ids:
                raise InputError(f"{word!r} is not among the {len(self)} words of the corpus")
        return [self.ids[word] for word in words]

    def decode(self, ids: Iterable[int]) -> list[str]:
        return [self.words[n] for n in ids]


def table(rows: Sequence[Sequence[int]]) -> Array:
    """Rows of ids of any length, filled up with PADDING.  ->  (N, T)"""
    ids = np.full((len(rows), max(map(len, rows))), PADDING)
    for n, row in enumerate(rows):
        ids[n, : len(row)] = row
    return ids


def longest(texts: Iterable[str]) -> int:
    """The tokens of the longest text."""
    return max(len(text.split()) for text in texts)


def fit(model: Model, examples: Mapping[str, Array], config: TaskConfig, rng: Rng) -> list[float]:
    """Train with Adam, clipping at 1 (F10) and a cosine (F11).  ->  the loss before each step"""
    options: dict[str, Any] = {"warmup": config.warmup, "rng": rng, "progress": False}
    given = config.steps, config.learning_rate, config.batch_size
    losses: list[float] = train(model, examples, *given, **options).losses.tolist()
    return losses


def chosen(right: Sequence[bool], n: int) -> list[int]:
    """The places of the first n that are right, then of the first n that are wrong."""
    return [i for wanted in (True, False) for i in [*np.flatnonzero(np.equal(right, wanted))][:n]]


# ---- what the two tasks in which BERT reads share ----------------------------------------------


def bert_size(config: TaskConfig, vocabulary: Vocabulary) -> dict[str, Any]:
    """F = 2 C, as the exact GELU is expensive; σ = 1/√C, as BERT's 0.02 is for a width of 768."""
    return {
        "vocab_size": len(vocabulary),
        "hidden": 2 * config.width,
        "init_std": config.width**-0.5,
        **config.size(),
    }


def bert_answer(
    model: BERT, vocabulary: Vocabulary, right: bool, lines: list[str], ids: Any, segments: Any,
    shown: Container[str],
) -> Answer:  # fmt: skip
    """The answer, with what the words in `shown` read in each block."""
    _, cache = model.forward(ids, segments=segments)
    words = vocabulary.decode(ids)
    rows = [n for n, word in enumerate(words) if word in shown]
    a = mean_heads(model.attention_maps(cache).values())
    return Answer(right, lines, [words[n] for n in rows], words, a[:, rows])


# ---- what a person is told -------------------------------------------------------------------


def scores_by_seed(result: Result) -> dict[str, dict[str, list[float]]]:
    """Method -> metric -> a score for each seed."""
    first = result.outcomes[0].scores
    return {
        method: {metric: [one.scores[method][metric] for one in result.outcomes] for metric in row}
        for method, row in first.items()
    }


def task_text(result: Result) -> str:
    """Scores as "median (least to most)" over the seeds, then answers of the first seed."""
    scores = scores_by_seed(result)
    metrics = list(next(iter(scores.values())))
    lines = ["".join(f"{head:24}" for head in ("", *metrics))]
    for method, row in scores.items():
        cells = [f"{median(s):.3f} ({min(s):.3f} to {max(s):.3f})" for s in row.values()]
        lines.append("".join(f"{cell:24}" for cell in (method, *cells)))
    lines += ["", *(f"{method:24}{what}" for method, what in result.methods.items())]
    for answer in result.outcomes[0].answers:
        lines += ["", "right" if answer.right else "wrong", *answer.lines, *reading(answer)]
    return "\n".join(line.rstrip() for line in lines)


def reading(answer: Answer, most: int = 3) -> list[str]:
    """For each reader the words to which the last block gave the largest weights."""
    lines = []
    for reader, a in zip(answer.readers, answer.attention[-1], strict=True):
        best = np.argsort(-a, kind="stable")[:most]
        shown = ", ".join(f"{answer.words[j]} {a[j]:.2f}" for j in best)
        lines.append(f"   {reader:>12} reads {shown}")
    return lines


def draw_task(result: Result, folder: Path) -> list[Path]:
    """The scores of all seeds, and who read whom in the answers that task_text shows."""
    from ..figures import reading_maps, save_figures, score_dots

    title = f"{result.task}: held-out compositions"
    pictures = {"scores": score_dots(scores_by_seed(result), title)}
    counts: Counter[str] = Counter()
    for answer in result.outcomes[0].answers:
        verdict = "right" if answer.right else "wrong"
        counts[verdict] += 1
        maps = reading_maps(answer.attention, answer.readers, answer.words, f"{verdict} answer")
        pictures[f"{verdict}_{counts[verdict]}"] = maps
    return save_figures(pictures, folder)
