"""Words counted: the exercises of "Predict the next word"."""

from typing import Any

import numpy as np

from ..exercises import Exercise, case

CAT = np.array([0, 1, 3, 0, 1, 4, 0, 2, 3])  # the cat sat the cat ran the dog sat
SHORT = np.array([0, 1, 0, 2])
LONG = np.random.default_rng(1).integers(4, size=40)

# ---- pairs and triples -----------------------------------------------------------------------


def _shared(counts: Any, axis: Any, keepdims: bool) -> Any:
    """Counts divided by their sum."""
    return counts / counts.sum(axis=axis, keepdims=keepdims)


def _bigram(
    ids: Any,
    V: int,
    *,
    add: float = 1,
    axis: Any = 1,
    keepdims: bool = True,
    repeats: bool = True,
    before: slice = slice(None, -1),
    after: slice = slice(1, None),
) -> Any:
    counts, pairs = np.full((V, V), float(add)), (ids[before], ids[after])
    if repeats:
        np.add.at(counts, pairs, 1)
    else:
        counts[pairs] += 1
    return _shared(counts, axis, keepdims)


def _counts(ids: Any, V: int) -> Any:
    counts = np.zeros((V, V))
    np.add.at(counts, (ids[:-1], ids[1:]), 1)
    return counts


def _both_ways(ids: Any, V: int) -> Any:
    return _shared(_counts(ids, V) + _counts(ids, V).T + 1, 1, True)


def _round_the_end(ids: Any, V: int) -> Any:
    return _bigram(np.append(ids, ids[0]), V)


BIGRAM = Exercise(
    _bigram,
    [
        case(SHORT, 3),
        case(CAT, 5, hint="the, cat stands there twice: does every pair count?"),
        case(LONG, 4),
        case(LONG[:9], 6, hint="words 4 and 5 never occur: each of their rows is uniform"),
        case(np.array([1]), 3, hint="one word is no pair: every count is the 1 that is added"),
    ],
    {
        "one is not added to each count, so rows without a count are 0/0": dict(add=0),
        "the columns sum to 1, and each row should: divide by sum(axis=1, keepdims=True)": dict(
            axis=0
        ),
        "the whole table sums to 1, and each row should: divide by sum(axis=1, keepdims=True)": (
            dict(axis=None)
        ),
        "keepdims=True is missing in the sum: column j is divided by the sum of row j": dict(
            keepdims=False
        ),
        "a pair that occurs twice counts once: counts[u, v] += 1 forgets repeats, np.add.at does "
        "not": dict(repeats=False),
        "the table is p[next, word]: the word is the row, the next one the column": dict(
            before=slice(1, None), after=slice(None, -1)
        ),
        "the last pair is missing: the loop ends one too early": dict(
            before=slice(None, -2), after=slice(1, -1)
        ),
        "the first pair is missing: the loop begins one too late": dict(
            before=slice(1, -1), after=slice(2, None)
        ),
        "the words of a pair stand two apart, and they should be neighbours": dict(
            before=slice(None, -2), after=slice(2, None)
        ),
        "the table is transposed: the word is the row, the next one the column": (
            lambda ids, V: _bigram(ids, V).T
        ),
        "these are counts: divide each row by its sum": lambda ids, V: _counts(ids, V) + 1,
        "these are counts, without the 1 that is added, and they are not divided by the sum of "
        "their row": _counts,
        "the last word is followed by the first: there is no such pair": _round_the_end,
        "pairs count in both directions": _both_ways,
        "one is added after the division: add it to the counts": lambda ids, V: (
            _counts(ids, V) / np.maximum(_counts(ids, V).sum(axis=1, keepdims=True), 1) + 1
        ),
        "one is added after the division, and rows without a count are 0/0: add it to the counts": (
            lambda ids, V: _bigram(ids, V, add=0) + 1
        ),
        "the ones are missing in the sum of the row: add V there, too": lambda ids, V: (
            (_counts(ids, V) + 1) / np.maximum(_counts(ids, V).sum(axis=1, keepdims=True), 1)
        ),
        "one is added only where the count is 0": lambda ids, V: _shared(
            np.maximum(_counts(ids, V), 1), 1, True
        ),
        "1/V is added to each count where 1 is expected": lambda ids, V: _bigram(ids, V, add=1 / V),
        "V is added to each count where 1 is expected": lambda ids, V: _bigram(ids, V, add=V),
        "one is not added to each count, and rows without a count are 0": lambda ids, V: (
            _counts(ids, V) / np.maximum(_counts(ids, V).sum(axis=1, keepdims=True), 1)
        ),
        "2 is added to each count where 1 is expected": dict(add=2),
        "it is divided by the number of words": lambda ids, V: (_counts(ids, V) + 1) / len(ids),
        "it is divided by the number of pairs": lambda ids, V: (
            (_counts(ids, V) + 1) / max(len(ids) - 1, 1)
        ),
        "each row is the softmax of its counts": lambda ids, V: _shared(
            np.exp(_counts(ids, V)), 1, True
        ),
        "this is how often each word occurs, whatever stands before it": lambda ids, V: np.tile(
            _shared(np.bincount(ids, minlength=V) + 1.0, None, True), (V, 1)
        ),
    },
)


def _trigram(
    ids: Any,
    V: int,
    *,
    add: float = 1,
    axis: Any = -1,
    repeats: bool = True,
    order: tuple[int, ...] = (0, 1, 2),
    end: int = 0,
) -> Any:
    counts, ids = np.full((V, V, V), float(add)), ids[: len(ids) - end]
    three = [ids[:-2], ids[1:-1], ids[2:]]
    places = tuple(three[n] for n in order)
    if repeats:
        np.add.at(counts, places, 1)
    else:
        counts[places] += 1
    return _shared(counts, axis, True)


def _trigram_counts(ids: Any, V: int, add: float = 1) -> Any:
    counts = np.full((V, V, V), float(add))
    np.add.at(counts, (ids[:-2], ids[1:-1], ids[2:]), 1)
    return counts


TRIGRAM = Exercise(
    _trigram,
    [
        case(np.array([0, 1, 0, 1, 0]), 2),
        case(CAT, 5),
        case(LONG, 4),
        case(LONG[:12], 5, hint="word 4 never occurs: its rows are uniform"),
    ],
    {
        "one is not added to each count, so rows without a count are 0/0": dict(add=0),
        "2 is added to each count where 1 is expected": dict(add=2),
        "the sum runs over u: for each pair u, v the probabilities of w should sum to 1, axis -1": (
            dict(axis=0)
        ),
        "the sum runs over v: for each pair u, v the probabilities of w should sum to 1, axis -1": (
            dict(axis=1)
        ),
        "the whole table sums to 1: for each pair u, v the probabilities of w should": dict(
            axis=None
        ),
        "the sum runs over u and v: for each pair u, v the probabilities of w should sum to 1": (
            dict(axis=(0, 1))
        ),
        "the sum runs over v and w: for each pair u, v the probabilities of w should sum to 1": (
            dict(axis=(1, 2))
        ),
        "a triple that occurs twice counts once: counts[u, v, w] += 1 forgets repeats, np.add.at "
        "does not": dict(repeats=False),
        "the last triple is missing: the loop ends one too early": dict(end=1),
        "u and v are exchanged: u is the first word": dict(order=(1, 0, 2)),
        "v and w are exchanged: w is the last word": dict(order=(0, 2, 1)),
        "the order is reversed: u is the first word, w the last": dict(order=(2, 1, 0)),
        "the next word is the first index: u, v, w is the order": dict(order=(2, 0, 1)),
        "these are counts: divide by the sum over w": _trigram_counts,
        "these are counts, without the 1 that is added, and they are not divided by their sum": (
            lambda ids, V: _trigram_counts(ids, V, 0)
        ),
        "only the word before is used: this is the bigram table for every u": lambda ids, V: (
            np.broadcast_to(_bigram(ids, V), (V, V, V)).copy()
        ),
        "the word between is left out: only u is used": lambda ids, V: np.repeat(
            _bigram(ids, V, before=slice(None, -2), after=slice(2, None))[:, None], V, axis=1
        ),
        "keepdims=True is missing in the sum": lambda ids, V: (
            _trigram_counts(ids, V) / _trigram_counts(ids, V).sum(axis=-1)
        ),
        "the last triple is followed by the beginning of the text": lambda ids, V: _trigram(
            np.append(ids, ids[:2]), V
        ),
        "the ones are missing in the sum: add V there, too": lambda ids, V: (
            _trigram_counts(ids, V)
            / np.maximum(_trigram_counts(ids, V, 0).sum(axis=-1, keepdims=True), 1)
        ),
    },
)

# ---- entropy and perplexity ------------------------------------------------------------------


def _entropy(
    p: Any, *, log: Any = np.log, sign: int = -1, inside: bool = True, add: float = 0
) -> Any:
    if inside:
        p = p[p > 0]
    return sign * np.sum(p * log(p + add))


ENTROPY = Exercise(
    _entropy,
    [
        case(np.array([0.5, 0.5])),
        case(np.full(6, 1 / 6)),
        case(np.array([0.7, 0.3])),
        case(np.array([0.0, 1.0, 0.0]), hint="0 log 0 counts as 0, and np.log(0) is −∞"),
        case(
            np.array([0.1, 0.2, 0.0, 0.3, 0.4]),
            hint="0 log 0 counts as 0, and the others still count",
        ),
        case(np.array([1.0]), hint="what is certain has entropy 0"),
    ],
    {
        "the logarithm is to base 2, in bits: np.log is expected, for nats": dict(log=np.log2),
        "the logarithm is to base 10: np.log is expected, for nats": dict(log=np.log10),
        "the sign is wrong: the entropy is −Σ p log p": dict(sign=1),
        "0 log 0 counts as 0, but np.log(0) is −∞ and 0 times −∞ is nan: leave zeros out, "
        "p[p > 0]": dict(inside=False),
        "a small number, 1e-9, is added within the logarithm, which changes the entropy: leave "
        "zeros out instead, p[p > 0]": dict(inside=False, add=1e-9),
        "a small number, 1e-8, is added within the logarithm, which changes the entropy: leave "
        "zeros out instead, p[p > 0]": dict(inside=False, add=1e-8),
        "a small number, 1e-6, is added within the logarithm, which changes the entropy: leave "
        "zeros out instead, p[p > 0]": dict(inside=False, add=1e-6),
        "p + 1 stands within the logarithm": dict(add=1),
        "each logarithm must be weighed by its p: Σ p log p, not Σ log p": (
            lambda p: -np.sum(np.log(p[p > 0]))
        ),
        "this is a mean over the words: a sum is expected, the weights are the p": (
            lambda p: _entropy(p) / len(p)
        ),
        "this is a mean over the words that are possible: a sum is expected, the weights are the "
        "p": (lambda p: _entropy(p) / np.sum(p > 0)),
        "this is exp of the entropy, the perplexity": lambda p: np.exp(_entropy(p)),
        "this is the mean of −log p, which is not weighed by p": (
            lambda p: -np.mean(np.log(p[p > 0]))
        ),
        "this is log of the number of words: true only where all are equally likely": (
            lambda p: np.log(len(p))
        ),
        "the largest p alone is used": lambda p: -np.log(p.max()),
        "this is 1 − Σ p², another measure": lambda p: 1 - np.sum(p * p),
        "this is the entropy over its largest value, log of the number of words": lambda p: (
            _entropy(p) / np.log(len(p))
        ),
        "the terms are not added up: a sum is missing": (
            lambda p: -np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0)
        ),
    },
)


def _perplexity(nats: Any, tokens: Any, *, exp: Any = np.exp) -> Any:
    return exp(np.sum(nats) / np.sum(tokens))


PERPLEXITY = Exercise(
    _perplexity,
    [
        case(np.array([2.0, 4.0]), np.array([2, 4])),
        case(
            np.array([1.0, 30.0]),
            np.array([1, 10]),
            hint="add up first, then divide, then exp: a mean over batches is another number",
        ),
        case(np.array([3.5]), np.array([5])),
        case(np.array([4.0, 1.0, 9.0]), np.array([3, 7, 2])),
    ],
    {
        "2 is raised to a power where e is expected: the loss is in nats, so np.exp, not 2**": dict(
            exp=np.exp2
        ),
        "np.exp is missing: this is the loss per word in nats": dict(exp=lambda x: x),
        "the sign within np.exp is wrong: the loss is already −log p": dict(
            exp=lambda x: np.exp(-x)
        ),
        "10 is raised to a power where e is expected": dict(exp=lambda x: 10**x),
        "the batches' losses per word are averaged, as if all batches had the same size: add up "
        "first, then divide": lambda nats, tokens: np.exp(np.mean(nats / tokens)),
        "the batches' perplexities are averaged: add up first, then divide, then exp": (
            lambda nats, tokens: np.mean(np.exp(nats / tokens))
        ),
        "the batches' perplexities are averaged by their words: add up first, then divide, then "
        "exp": lambda nats, tokens: np.sum(tokens * np.exp(nats / tokens)) / np.sum(tokens),
        "it is divided by the number of batches: divide by the number of words": (
            lambda nats, tokens: np.exp(np.mean(nats))
        ),
        "it is not divided by the number of words": lambda nats, tokens: np.exp(np.sum(nats)),
        "the fraction is upside down: nats over tokens": (
            lambda nats, tokens: np.exp(np.sum(tokens) / np.sum(nats))
        ),
        "this is one number for each batch: add up all batches first": (
            lambda nats, tokens: np.exp(nats / tokens)
        ),
        "the losses per word are added up: add nats and tokens up first, then divide": (
            lambda nats, tokens: np.exp(np.sum(nats / tokens))
        ),
        "exp stands before the sum and the division: add up and divide first": (
            lambda nats, tokens: np.sum(np.exp(nats)) / np.sum(tokens)
        ),
        "exp stands before the division: divide first": (
            lambda nats, tokens: np.exp(np.sum(nats)) / np.sum(tokens)
        ),
        "only the last batch counts": lambda nats, tokens: np.exp(nats[-1] / tokens[-1]),
        "only the first batch counts": lambda nats, tokens: np.exp(nats[0] / tokens[0]),
        "the median of the batches is taken": (
            lambda nats, tokens: np.exp(np.median(nats / tokens))
        ),
    },
)
