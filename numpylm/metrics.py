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
from itertools import islice
from typing import Any

import numpy as np

from .answers import Tokenise, answer_pairs, short, tokens_of
from .arguments import as_ids, check_ids, one_of, plain, whole
from .arrays import Array, ArrayLike
from .batches import arguments, every_batch
from .errors import InputError
from .ops import IGNORE

ROUNDING = 1e-6  # nats per token that a total may lie below 0: -log 1 in float32


def perplexity(nats: float, tokens: int) -> float:
    """F6: exp(total nats / total tokens). A model that guesses among V words has perplexity V.

    Infinite where exp overflows. Raises InputError where there are no tokens, and for anything but
    two numbers: of a list, the total is meant. Below 1 there is none, for log p is at most 0.
    """
    for name, total in (("nats", nats), ("tokens", tokens)):
        if np.ndim(total) or not np.issubdtype(np.asarray(total).dtype, np.number):
            raise InputError(f"{name} must be one number, the total, not {short(total)}")
    if not tokens > 0:
        raise InputError(f"tokens must be above 0, not {tokens}: perplexity needs a prediction")
    if not nats >= -ROUNDING * tokens:
        raise InputError(f"nats must be a total of -log p, at least 0, not {nats}")
    with np.errstate(over="ignore"):
        return float(np.exp(np.float64(nats) / tokens))


def token_nats(logits: Array, targets: ArrayLike) -> tuple[Array, Array]:
    """F4, F5 token by token.   logits (..., V)   targets (...)  ->  nats (...), counted (...)

        nats = −log p(y) = log Σ_w exp(z_w) − z_y          in float64; 0 where not counted

    counted is False where the target is IGNORE.
    Raises InputError where the shapes disagree, a target is no word of the vocabulary, or logits
    are not numbers. A logit of −∞ is a word that cannot be: infinite nats where it is the target.
    """
    logits, targets = plain("logits", logits), as_ids("targets", targets)
    if not logits.ndim or logits.dtype.kind not in "fiu":
        raise InputError(f"logits must be numbers (..., V), one for each word, not {short(logits)}")
    if targets.shape != logits.shape[:-1]:
        raise InputError(
            f"targets {targets.shape} must have the shape of the logits {logits.shape} without "
            "the last axis, the vocabulary: one target for each prediction"
        )
    targets = check_ids("targets", targets, logits.shape[-1], IGNORE)
    counted = targets != IGNORE
    z = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):
        z -= z.max(axis=-1, keepdims=True)
        z_y = np.take_along_axis(z, np.where(counted, targets, 0)[..., None], axis=-1)[..., 0]
        nats = np.log(np.exp(z, out=z).sum(axis=-1)) - z_y
    nats = np.where(counted, nats, 0.0)
    if np.isnan(nats).any():
        raise InputError(
            f"logits{list(np.argwhere(np.isnan(nats))[0].tolist())} are nan, or have no finite "
            "maximum: has the model diverged?"
        )
    return nats, counted


@dataclass(frozen=True)
class Evaluation:
    """Totals over all predictions: −log p in nats, how many, and how many were the likeliest."""

    nats: float
    tokens: int
    correct: int

    def __post_init__(self) -> None:
        if not self.tokens > 0:
            raise InputError(f"tokens must be above 0, not {self.tokens}: nothing was predicted")

    def __repr__(self) -> str:
        return (
            f"Evaluation({self.loss:.4f} nats per token, perplexity {self.perplexity:.3f}, "
            f"accuracy {self.accuracy:.1%}; {self.tokens:,} tokens)"
        )

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


def evaluate(
    model: Any, corpus: Any, batch_size: int = 64, windows: int | None = None
) -> Evaluation:
    """The totals of `model` on held-out text; the same however it is cut into batches.

    corpus: a corpus, whose `heldout` is meant; ids; examples, as a dict or a tuple of arrays; or
    batches of (ids, targets), or of what else the model's loss takes. windows: about how many of
    them to take; all by default.
    A model that predicts after the last token only gives logits (B, V); of targets (B, T) then
    only the last column counts. Raises InputError if no target counts.
    """
    nats, tokens, correct = 0.0, 0, 0
    batches = every_batch(corpus, batch_size, model)
    if windows is not None:
        windows = math.ceil(whole("windows", windows, at_least=1) / batch_size)
    for batch in islice(batches, windows):
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # token_nats tells
            logits, targets = _logits_and_targets(model, batch)
        if targets.ndim == logits.ndim:
            targets = targets[..., -1]
        each, counted = token_nats(logits, targets)
        nats += float(each.sum())
        tokens += int(counted.sum())
        correct += int((logits.argmax(axis=-1) == targets).sum())  # IGNORE equals no word
    if not tokens:
        raise InputError("batches hold no target to predict: give at least one that is not IGNORE")
    return Evaluation(nats, tokens, correct)


def _logits_and_targets(model: Any, batch: Any) -> tuple[Array, Array]:
    """What is predicted and what is true. A model whose loss takes other than `forward`'s
    arguments and targets says it in a method of its own, `logits_and_targets`."""
    ordered, named = arguments(batch)
    if hasattr(model, "logits_and_targets"):
        pair: tuple[Array, Array] = model.logits_and_targets(*ordered, **named)
        return pair
    given = dict(zip(("ids", "targets"), ordered, strict=False)) | dict(named)
    if "targets" not in given:
        raise InputError(
            f"{type(model).__name__} cannot be evaluated on a batch of {', '.join(given)}: its "
            "targets must be called so, or the model needs logits_and_targets(...)"
        )
    targets = as_ids("targets", given.pop("targets"))
    ids = given.pop("ids", None)
    if ids is None and not given:
        raise InputError("a batch has targets and no ids to predict them from: give (ids, targets)")
    logits, _ = model.forward(**given) if ids is None else model.forward(ids, **given)
    return logits, targets


def _pairs(predictions: ArrayLike, targets: ArrayLike) -> tuple[Array, Array]:
    """Both as flat arrays, without the pairs whose target is IGNORE."""
    predictions, targets = plain("predictions", predictions), plain("targets", targets)
    if predictions.shape != targets.shape:
        hint = ""
        if predictions.shape[:-1] == targets.shape:
            hint = ": of logits take argmax(axis=-1) first"
        raise InputError(
            f"predictions {predictions.shape} and targets {targets.shape} must have the same shape"
            f"{hint}"
        )
    if not targets.size:
        raise InputError("there is nothing to measure: give at least one target that is not IGNORE")
    kinds = [_kind(x) for x in (predictions, targets)]
    if kinds[0] != kinds[1] or not kinds[0]:
        raise InputError(
            "predictions and targets must both be numbers, or both strings, not "
            f"{predictions.dtype} and {targets.dtype}"
        )
    for name, x in (("predictions", predictions), ("targets", targets)):
        if x.dtype.kind == "f" and np.isnan(x).any():
            raise InputError(f"{name} hold nan, which equals nothing: has the model diverged?")
    counted = targets != IGNORE if kinds[0] == "numbers" else np.ones(targets.shape, bool)
    if not counted.any():
        raise InputError("there is nothing to measure: give at least one target that is not IGNORE")
    return predictions[counted], targets[counted]


def _kind(x: Array) -> str:
    """What an array holds that may be compared: "numbers" or "strings"; "" for anything else."""
    return "numbers" if x.dtype.kind in "biuf" else "strings" if x.dtype.kind in "UT" else ""


def accuracy(predictions: ArrayLike, targets: ArrayLike) -> float:
    """The share of targets that were predicted.   predictions, targets (...)

    Raises InputError where the shapes differ or no target counts.
    """
    predictions, targets = _pairs(predictions, targets)
    return float((predictions == targets).mean())


def confusion_matrix(predictions: ArrayLike, targets: ArrayLike, n_classes: int) -> Array:
    """n_ij: how often class i was taken for class j.   (...), (...)  ->  (n_classes, n_classes)

    Raises InputError where the shapes differ, no target counts, or a class is out of range.
    """
    if not isinstance(n_classes, int | np.integer) or n_classes < 1:
        raise InputError(f"n_classes must be a whole number, at least 1, not {n_classes!r}")
    predictions, targets = _pairs(predictions, targets)
    for name, classes in (("predictions", predictions), ("targets", targets)):
        if classes.dtype.kind not in "iu":
            raise InputError(f"{name} must be integers, the classes, not {classes.dtype}")
        outside = classes[(classes < 0) | (classes >= n_classes)]
        if outside.size:
            raise InputError(
                f"{name} must be in [0, {n_classes}), the classes, not {outside[0]}: "
                "give the n_classes that they were made with"
            )
    counts = np.zeros((n_classes, n_classes), np.int64)
    np.add.at(counts, (targets.astype(np.intp), predictions.astype(np.intp)), 1)
    return counts


def precision_recall_f1(
    predictions: ArrayLike, targets: ArrayLike, n_classes: int, average: str = "macro"
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


def exact_match(predictions: Iterable[Any], references: Iterable[Any]) -> float:
    """The share of predictions that equal their reference. Two empty texts are equal.

    A prediction is a text, a number, or a list or array of tokens. A reference is the same, or a
    list of several right ones, of which one must be met.
    Raises InputError where their numbers differ, there are none, or they could never be equal.
    """
    pairs = answer_pairs(predictions, references)
    return sum(prediction in choices for prediction, choices in pairs) / len(pairs)


ORDERS = (1, 2, 3, 4)
SMOOTHINGS = ("none", "exp")


def bleu(
    predictions: Iterable[Any],
    references: Iterable[Any],
    smoothing: str = "none",
    tokenise: Tokenise = None,
) -> float:
    """BLEU-4 of a corpus, in [0, 1]; what papers print is 100 times that.

        p_n  = Σ matched n-grams / Σ n-grams        over all predictions, n = 1..4
        BP   = 1 if c > r, else exp(1 − r/c)        c, r: tokens of predictions and references
        BLEU = BP (p_1 p_2 p_3 p_4)^¼

    A text is cut into tokens by white space; tokenise="characters" takes each character that is
    no white space, and a function text -> tokens what it returns. Letters of a script without
    spaces between words (Chinese, Japanese, Thai, ...) need one of these, or "spaces" where the
    text is cut already. Lists of tokens are taken as they are. A text may have one reference or a
    list of them.

    An n-gram is matched at most as often as it stands in one of the references of its text; r adds
    up the length of the reference nearest to each prediction, the shorter of two.

    smoothing says what a p_n of 0 counts as, where other n-grams matched. "none", as in the paper:
    0, and so is BLEU. "exp", as in NIST's mteval-v13a: the k-th such p_n is 2^−k / Σ n-grams.
    0/0 is 0: if no prediction has four tokens, or no token matches, BLEU is 0 either way.

    Source: Papineni et al. 2002, BLEU, section 2.3.
    Raises InputError where the numbers differ, there are none, a text lacks a reference, or for
    another smoothing or tokenisation.
    """
    one_of("smoothing", smoothing, SMOOTHINGS)
    matched, total = Counter[int](), Counter[int]()
    c = r = 0
    for prediction, given in answer_pairs(predictions, references):
        tokens = tokens_of("predictions", prediction, tokenise)
        choices = [tokens_of("references", text, tokenise) for text in given]
        c += len(tokens)
        r += min((abs(len(tokens) - len(choice)), len(choice)) for choice in choices)[1]
        for n in ORDERS:
            found, allowed = _ngrams(tokens, n), Counter[tuple[Any, ...]]()
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


def _ngrams(tokens: Sequence[Any], n: int) -> Counter[tuple[Any, ...]]:
    """How often each run of n tokens occurs."""
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


def normalise_answer(text: str) -> str:
    """Lower case, without ASCII punctuation, the words a, an and the, and spare white space.

    Source: the evaluation of SQuAD, Rajpurkar et al. 2016, section 6.1.
    """
    text = text.lower().translate(str.maketrans("", "", string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def token_f1(
    predictions: Iterable[Any], references: Iterable[Any], tokenise: Tokenise = None
) -> float:
    """The mean, over the answers, of the F1 of their tokens; with several references the best.

        F1 = 2 n / (|prediction| + |reference|)

    n counts the tokens that both have, each as often as both have it; F1 is the harmonic mean of
    n/|prediction| and n/|reference|. Where both are empty it is 1: there was no answer, and none
    was given. Where one is, it is 0.
    Texts go through normalise_answer and are cut as `bleu` cuts them, also by `tokenise`; lists of
    tokens are taken as they are.
    Source: Rajpurkar et al. 2016, SQuAD, section 6.1; of empty answers, SQuAD 2.0.
    Raises InputError where their numbers differ, there are none, or as `bleu` does.
    """

    def tokens(name: str, answer: Any) -> Counter[Any]:
        text = normalise_answer(answer) if isinstance(answer, str) else answer
        return Counter(tokens_of(name, text, tokenise))

    total, pairs = 0.0, answer_pairs(predictions, references)
    for prediction, choices in pairs:
        found = tokens("predictions", prediction)
        total += max(_f1(found, tokens("references", choice)) for choice in choices)
    return total / len(pairs)


def _f1(found: Counter[Any], wanted: Counter[Any]) -> float:
    tokens = found.total() + wanted.total()
    return 2 * (found & wanted).total() / tokens if tokens else 1.0
