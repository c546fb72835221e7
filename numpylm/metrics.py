"""How good are the predictions? Nats and perplexity for a language model; accuracy, precision,
recall and F1 for a classifier; exact match, BLEU and token F1 for answers that are texts.

Totals are kept and divided once, at the end: the mean of per-batch means would depend on how the
text was cut into batches. Targets equal to IGNORE count for nothing.
"""

import math
import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import InputError
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


# ---- answers that are texts ------------------------------------------------------------------


def _texts(predictions: Sequence[Any], references: Sequence[Any]) -> None:
    """One reference, or one list of them, for each prediction, and at least one prediction."""
    for name, texts in (("predictions", predictions), ("references", references)):
        if isinstance(texts, str):
            raise InputError(f"{name} must be a list of texts, not one text: {texts!r}")
    if len(predictions) != len(references):
        raise InputError(
            f"there are {len(predictions)} predictions and {len(references)} references: give one "
            "reference for each prediction"
        )
    if not len(predictions):
        raise InputError("there is nothing to measure: give at least one prediction")


def exact_match(predictions: Sequence[Any], references: Sequence[Any]) -> float:
    """The share of predictions that equal their reference. Two empty texts are equal.

    Raises InputError where their numbers differ or there are none.
    """
    _texts(predictions, references)
    pairs = zip(predictions, references, strict=True)
    return sum(prediction == reference for prediction, reference in pairs) / len(predictions)


ORDERS = (1, 2, 3, 4)
SMOOTHINGS = ("none", "exp")


def bleu(
    predictions: Sequence[str],
    references: Sequence[str | Sequence[str]],
    smoothing: str = "none",
) -> float:
    """BLEU-4 of a corpus, in [0, 1]; what papers print is 100 times that.

        p_n  = Σ matched n-grams / Σ n-grams        over all predictions, n = 1..4
        BP   = 1 if c > r, else exp(1 − r/c)        c, r: tokens of predictions and references
        BLEU = BP (p_1 p_2 p_3 p_4)^¼

    Tokens are what white space separates. An n-gram is matched at most as often as it stands in
    one of the references of its text; r adds up the length of the reference nearest to each
    prediction, the shorter of two. A text may have one reference or a list of them.

    smoothing says what a p_n of 0 counts as, where other n-grams matched. "none", as in the paper:
    0, and so is BLEU. "exp", as in NIST's mteval-v13a: the k-th such p_n is 2^−k / Σ n-grams.
    0/0 is 0: if no prediction has four tokens, or no token matches, BLEU is 0 either way.

    Source: Papineni et al. 2002, BLEU, section 2.3.
    Raises InputError where the numbers differ, there are none, a text lacks a reference, or for
    another smoothing.
    """
    if smoothing not in SMOOTHINGS:
        raise InputError(f"smoothing must be one of {', '.join(SMOOTHINGS)}, not {smoothing!r}")
    _texts(predictions, references)
    matched, total = Counter[int](), Counter[int]()
    c = r = 0
    for prediction, given in zip(predictions, references, strict=True):
        tokens = prediction.split()
        choices = [text.split() for text in ([given] if isinstance(given, str) else given)]
        if not choices:
            raise InputError(f"the prediction {prediction!r} has no reference: give at least one")
        c += len(tokens)
        r += min((abs(len(tokens) - len(choice)), len(choice)) for choice in choices)[1]
        for n in ORDERS:
            found, allowed = _ngrams(tokens, n), Counter[tuple[str, ...]]()
            for choice in choices:
                allowed |= _ngrams(choice, n)
            matched[n] += (found & allowed).total()
            total[n] += found.total()
    if not (matched[1] and total[ORDERS[-1]]):
        return 0.0
    precisions, nothing = [], 1.0
    for n in ORDERS:
        if not matched[n]:
            nothing = nothing / 2 if smoothing == "exp" else 0.0
        precisions.append((matched[n] or nothing) / total[n])
    return min(1.0, math.exp(1 - r / c)) * math.prod(precisions) ** (1 / len(ORDERS))


def _ngrams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    """How often each run of n tokens occurs."""
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


def normalise_answer(text: str) -> str:
    """Lower case, without ASCII punctuation, the words a, an and the, and spare white space.

    Source: the evaluation of SQuAD, Rajpurkar et al. 2016, section 6.1.
    """
    text = text.lower().translate(str.maketrans("", "", string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def token_f1(predictions: Sequence[str], references: Sequence[str]) -> float:
    """The mean, over the answers, of the F1 of their tokens after normalise_answer.

        F1 = 2 n / (|prediction| + |reference|)

    n counts the tokens that both have, each as often as both have it; F1 is the harmonic mean of
    n/|prediction| and n/|reference|. Where both are empty it is 1: there was no answer, and none
    was given. Where one is, it is 0.
    Source: Rajpurkar et al. 2016, SQuAD, section 6.1; of empty answers, SQuAD 2.0.
    Raises InputError where their numbers differ or there are none.
    """
    _texts(predictions, references)
    total = 0.0
    for prediction, reference in zip(predictions, references, strict=True):
        found, wanted = (Counter(normalise_answer(x).split()) for x in (prediction, reference))
        tokens = found.total() + wanted.total()
        total += 2 * (found & wanted).total() / tokens if tokens else 1.0
    return total / len(predictions)
