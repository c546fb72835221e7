"""How good are the predictions? Nats and perplexity for a language model; accuracy, precision,
recall and F1 for a classifier.

Totals are kept and divided once, at the end: the mean of per-batch means would depend on how the
text was cut into batches. Targets equal to IGNORE count for nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .config import InputError
from .ops import IGNORE, Array, check_ids


def perplexity(nats: float, tokens: int) -> float:
    """F6: exp(total nats / total tokens). A model that guesses among V words has perplexity V.

    Infinite where exp overflows. Raises InputError where there are no tokens.
    """
    if not tokens > 0:
        raise InputError(f"tokens must be above 0, not {tokens}: perplexity needs a prediction")
    with np.errstate(over="ignore"):
        return float(np.exp(nats / tokens))


def token_nats(logits: Array, targets: Any) -> tuple[Array, Array]:
    """F4, F5 token by token.   logits (..., V)   targets (...)  ->  nats (...), counted (...)

        nats = −log p(y) = log Σ_w exp(z_w) − z_y          in float64; 0 where not counted

    counted is False where the target is IGNORE.
    Raises InputError where the shapes disagree or a target is no word of the vocabulary.
    """
    targets = np.asarray(targets)
    if targets.shape != logits.shape[:-1]:
        raise InputError(
            f"targets {targets.shape} must have the shape of the logits {logits.shape} without "
            "the last axis, the vocabulary: one target for each prediction"
        )
    targets = check_ids("targets", targets, logits.shape[-1], IGNORE)
    counted = targets != IGNORE
    z = logits.astype(np.float64)
    z -= z.max(axis=-1, keepdims=True)
    z_y = np.take_along_axis(z, np.where(counted, targets, 0)[..., None], axis=-1)[..., 0]
    nats = np.log(np.exp(z, out=z).sum(axis=-1)) - z_y
    return np.where(counted, nats, 0.0), counted


@dataclass(frozen=True)
class Evaluation:
    """Totals over all predictions: −log p in nats, how many, and how many were the likeliest."""

    nats: float
    tokens: int
    correct: int

    @property
    def loss(self) -> float:
        """F5: nats per predicted token."""
        return self.nats / self.tokens

    @property
    def perplexity(self) -> float:
        """F6."""
        return perplexity(self.nats, self.tokens)

    @property
    def accuracy(self) -> float:
        """The share of targets to which the model gave the highest probability."""
        return self.correct / self.tokens


def evaluate(model: Any, batches: Iterable[tuple[Array, Array]]) -> Evaluation:
    """The totals of `model` over batches of (ids, targets); the same however they are cut.

    A model that predicts after the last token only gives logits (B, V); of targets (B, T) then
    only the last column counts. Raises InputError if no target counts.
    """
    nats, tokens, correct = 0.0, 0, 0
    for ids, targets in batches:
        logits, _ = model.forward(ids)
        targets = np.asarray(targets)
        if targets.ndim == logits.ndim:
            targets = targets[..., -1]
        each, counted = token_nats(logits, targets)
        nats += float(each.sum())
        tokens += int(counted.sum())
        correct += int((logits.argmax(axis=-1) == targets).sum())  # IGNORE equals no word
    if not tokens:
        raise InputError("batches hold no target to predict: give at least one that is not IGNORE")
    return Evaluation(nats, tokens, correct)


def _pairs(predictions: Any, targets: Any) -> tuple[Array, Array]:
    """Both as flat arrays, without the pairs whose target is IGNORE."""
    predictions, targets = np.asarray(predictions), np.asarray(targets)
    if predictions.shape != targets.shape:
        raise InputError(
            f"predictions {predictions.shape} and targets {targets.shape} must have the same shape"
        )
    counted = targets != IGNORE
    if not counted.any():
        raise InputError("there is nothing to measure: give at least one target that is not IGNORE")
    return predictions[counted], targets[counted]


def accuracy(predictions: Any, targets: Any) -> float:
    """The share of targets that were predicted.   predictions, targets (...)

    Raises InputError where the shapes differ or no target counts.
    """
    predictions, targets = _pairs(predictions, targets)
    return float((predictions == targets).mean())


def confusion_matrix(predictions: Any, targets: Any, n_classes: int) -> Array:
    """n_ij: how often class i was taken for class j.   (...), (...)  ->  (n_classes, n_classes)

    Raises InputError where the shapes differ, no target counts, or a class is out of range.
    """
    predictions, targets = _pairs(predictions, targets)
    for name, classes in (("predictions", predictions), ("targets", targets)):
        if classes.dtype.kind not in "iu" or classes.min() < 0 or classes.max() >= n_classes:
            raise InputError(
                f"{name} must be integers in [0, {n_classes}), the classes; "
                f"found {classes.min()} to {classes.max()}"
            )
    counts = np.zeros((n_classes, n_classes), np.int64)
    np.add.at(counts, (targets, predictions), 1)
    return counts


def precision_recall_f1(
    predictions: Any, targets: Any, n_classes: int, average: str = "macro"
) -> tuple[float, float, float]:
    """Precision, recall and their harmonic mean F1, averaged over the classes.

        precision = n_cc / Σ_i n_ic        how many of those called c are c
        recall    = n_cc / Σ_j n_cj        how many of those that are c were found
        F1        = 2 n_cc / (Σ_i n_ic + Σ_j n_cj)

    0/0 is 0: a class that was never predicted has precision 0, one that never occurs has recall 0.
    "macro" is the mean over all n_classes classes, each weighing the same; its F1 is the mean of
    the F1s. "micro" adds up the counts of all classes first; with one class for each example all
    three are then the accuracy. Raises InputError as confusion_matrix does, or for another average.
    """
    if average not in ("macro", "micro"):
        raise InputError(f"average must be 'macro' or 'micro', not {average!r}")
    n = confusion_matrix(predictions, targets, n_classes)
    hits, predicted, actual = n.diagonal(), n.sum(axis=0), n.sum(axis=1)
    if average == "micro":
        hits, predicted, actual = (x.sum(keepdims=True) for x in (hits, predicted, actual))

    def mean_ratio(part: Array, whole: Array) -> float:
        return float((part / np.maximum(whole, 1)).mean())  # part is 0 wherever whole is

    return (
        mean_ratio(hits, predicted),
        mean_ratio(hits, actual),
        mean_ratio(2 * hits, predicted + actual),
    )
