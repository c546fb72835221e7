"""Sentiment: BERT reads a review of two clauses of opposite sentiment, of which one counts.

Each review has a twin with the same words and the opposite class, so the baseline that counts words
must fail; one that counts pairs of words does not see which clause counts.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Array, Rng
from ..bert_heads import BERTForClass
from ..metrics import accuracy, precision_recall_f1
from .compositions import Split, pick, split_by_composition
from .tools import (
    BEGIN,
    PADDING,
    SPECIAL,
    STOP,
    Answer,
    Outcome,
    TaskConfig,
    Vocabulary,
    bert_answer,
    bert_size,
    chosen,
    fit,
    longest,
    table,
)

# ---- the corpus: reviews in twins ------------------------------------------------------------


class Review(NamedTuple):
    """A text, tokens separated by a space, and its class: 1 is praise, 0 is not."""

    text: str
    label: int


ASPECTS = ("food", "room", "staff", "music", "view", "wine", "service", "garden")
PRAISE = ("good", "great", "fine", "nice", "lovely", "pleasant", "superb", "perfect")
BLAME = ("bad", "poor", "awful", "nasty", "terrible", "horrible", "dreadful", "dull")
NEGATIONS = (  # each and how often it turns the sentiment round
    ("the {} was {}", 0),
    ("the {} was not {}", 1),
    ("nobody said the {} was {}", 1),
    ("nobody said the {} was not {}", 2),
)
CONNECTIVES = {"but": 1, "although": 0}  # which of the two clauses then counts


class Opinion(NamedTuple):
    """One clause of a review: aspect, adjective, and which of NEGATIONS."""

    aspect: str
    adjective: str
    negation: int

    @property
    def text(self) -> str:
        return NEGATIONS[self.negation][0].format(self.aspect, self.adjective)

    @property
    def label(self) -> int:
        return (self.adjective in PRAISE) ^ (NEGATIONS[self.negation][1] % 2)

    @property
    def is_new(self) -> bool:
        """Held out: one of the 4 negations with each adjective."""
        n = (PRAISE + BLAME).index(self.adjective)
        return n % len(NEGATIONS) == self.negation


def review(first: Opinion, connective: str, second: Opinion) -> Review:
    """After "but" the second clause counts, before "although" the first."""
    counts = (first, second)[CONNECTIVES[connective]]
    return Review(f"{first.text} {connective} {second.text}", counts.label)


def reviews_corpus(rng: Rng, n_train: int, n_heldout: int) -> Split:
    """Reviews in twins: "A but B" and "B but A", where A praises and B blames.

    A twin has the same words in another order, and the opposite class. So whoever counts words
    alone answers both alike, and is right about one of the two: 50 %, whatever was learned. The
    negation of an adjective in a held-out review is one that it never has in training.
    n_train and n_heldout count reviews; both parts are whole twins.
    """

    def opinion() -> Opinion:
        return Opinion(
            pick(rng, ASPECTS), pick(rng, PRAISE + BLAME), int(rng.integers(len(NEGATIONS)))
        )

    def draw() -> tuple[Opinion, str, Opinion]:
        first, second = opinion(), opinion()
        while first.label == second.label or first.aspect == second.aspect:
            second = opinion()
        return first, pick(rng, CONNECTIVES), second

    def is_new(drawn: tuple[Opinion, str, Opinion]) -> bool:
        return drawn[0].is_new or drawn[2].is_new

    split = split_by_composition(draw, is_new, n_train // 2, n_heldout // 2)
    return Split(
        *([review(*order) for drawn in part for order in (drawn, drawn[::-1])] for part in split)
    )


# ---- the baseline: counts of words -----------------------------------------------------------


class NaiveBayes:
    """p(class | text) ∝ p(class) Π p(feature | class)^count, with add-one smoothing.

    features: what is counted in a text; its words, or pairs of them. A class that is never seen in
    training keeps its smoothed share, and features that are never seen count for nothing.
    """

    def __init__(
        self, reviews: Sequence[Review], features: Callable[[str], list[str]], classes: int = 2
    ):
        self.features = features
        vocabulary = sorted({f for review in reviews for f in features(review.text)})
        self.ids = {feature: n for n, feature in enumerate(vocabulary)}
        counts, texts = np.ones((classes, len(vocabulary))), np.ones(classes)
        for review in reviews:
            counts[review.label] += self.count(review.text)
            texts[review.label] += 1
        self.log_p = np.log(counts / counts.sum(axis=1, keepdims=True))
        self.log_prior = np.log(texts / texts.sum())

    def count(self, text: str) -> Array:
        """How often each known feature occurs in the text; shape (features,)."""
        known = [self.ids[feature] for feature in self.features(text) if feature in self.ids]
        return np.bincount(known, minlength=len(self.ids))

    def predict(self, text: str) -> int:
        """The likeliest class; of two equally likely ones the first."""
        return int(np.argmax(self.log_prior + self.log_p @ self.count(text)))


def single_words(text: str) -> list[str]:
    return text.split()


def word_pairs(text: str) -> list[str]:
    words = text.split()
    return [f"{one} {two}" for one, two in pairwise(words)]


# ---- the task --------------------------------------------------------------------------------


def sentiment(config: TaskConfig, rng: Rng) -> Outcome:
    """Reviews that praise one thing and blame another; one of the two counts."""
    split = reviews_corpus(rng, config.examples, config.heldout_examples)
    everything = [review.text for part in split for review in part]
    vocabulary, context = Vocabulary(everything), longest(everything) + 2
    texts, labels = zip(*split.heldout, strict=True)
    rows = table([[BEGIN, *vocabulary.encode(review.text), STOP] for review in split.train])
    sizes = {"context_length": context, "segments": 1} | bert_size(config, vocabulary)
    model = BERTForClass(rng=rng, **sizes)
    targets = np.array([review.label for review in split.train])
    fit(model, {"ids": rows, "targets": targets, "attend": rows != PADDING}, config, rng)

    found = classify(model, vocabulary, texts)
    scores = {"BERT": class_scores(found, labels)}
    for name, features in (("counting words", single_words), ("counting pairs", word_pairs)):
        counts = NaiveBayes(split.train, features)
        scores[name] = class_scores([counts.predict(text) for text in texts], labels)

    def answer(n: int) -> Answer:
        """The class is read from <begin>; the others are the words on which it hangs."""
        ids = [BEGIN, *vocabulary.encode(texts[n]), STOP]
        lines = [texts[n], f"-> {CLASSES[found[n]]}", f"   {CLASSES[labels[n]]}"]
        return bert_answer(model, vocabulary, bool(right[n]), lines, ids, None, HINGES)

    right = found == np.array(labels)
    return Outcome(scores, [answer(n) for n in chosen(right, config.show)])


CLASSES = ("blame", "praise")
HINGES = {SPECIAL[BEGIN], *PRAISE, *BLAME, *CONNECTIVES}


def classify(model: BERTForClass, vocabulary: Vocabulary, texts: Sequence[str]) -> Array:
    """The likeliest class of each text (N,). Raises InputError for an empty or unknown text."""
    rows = table([[BEGIN, *vocabulary.encode(text), STOP] for text in texts])
    logits, _ = model.forward(rows, attend=rows != PADDING)
    result: Array = logits.argmax(axis=-1)
    return result


def class_scores(found: Any, labels: Any) -> dict[str, float]:
    """Accuracy, and the means over the two classes of precision, recall and F1."""
    names = ("precision", "recall", "F1")
    means = zip(names, precision_recall_f1(found, labels, len(CLASSES)), strict=True)
    return {"accuracy": accuracy(found, labels), **dict(means)}
