"""The one-matrix model by hand: "S1 S2 S3 on paper", and the first exercise of "Backward"."""

from typing import Any

import numpy as np

from ...ops import causal_mask
from ..exercises import Exercise, case

S123 = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])  # S1, S2 and S3
RNG = np.random.default_rng(2)
WIDE, SQUARE, LONG = RNG.normal(size=(2, 3)), RNG.normal(size=(3, 3)), RNG.normal(size=(5, 3))

# ---- scores and softmax ----------------------------------------------------------------------


def _scores(e: Any) -> Any:
    return e @ e.T


def _normal(x: Any) -> Any:
    return x / np.sqrt((x * x).sum(axis=-1, keepdims=True))


SCORES = Exercise(
    _scores,
    [
        case(S123),
        case(np.array([[1.0, 2.0, 3.0], [0.0, 1.0, -1.0]])),
        case(SQUARE),
        case(LONG),
    ],
    {
        "this is eᵀ e, dimension by dimension (C, C): e @ e.T compares the words": (
            lambda e: e.T @ e
        ),
        "the transpose is missing: e @ e is e_i against the columns of e, and only a square e "
        "allows it": lambda e: e @ e,
        "the scores are divided by √C: this model has no scale": (
            lambda e: e @ e.T / np.sqrt(e.shape[1])
        ),
        "the scores are divided by C, as if the mean of the products were asked for: their sum "
        "is": lambda e: e @ e.T / e.shape[1],
        "these are cosines: s_ij = e_i·e_j is not divided by the lengths": (
            lambda e: _normal(e) @ _normal(e).T
        ),
        "softmax is one step too many: the scores alone are asked for": lambda e: _softmax(e @ e.T),
        "these are distances: s_ij = e_i·e_j is expected": lambda e: np.sqrt(
            ((e[:, None] - e) ** 2).sum(axis=-1)
        ),
        "these are squared distances: s_ij = e_i·e_j is expected": lambda e: (
            (e[:, None] - e) ** 2
        ).sum(axis=-1),
        "these are only the scores of each word with itself: s_ij is a table (T, T)": lambda e: (
            e * e
        ).sum(axis=1),
        "only the scores of each word with itself stand there: all s_ij are asked for": lambda e: (
            np.diag((e * e).sum(axis=1))
        ),
        "the products e_ik e_jk are not added up over k": lambda e: e[:, None] * e,
        "this is e ∗ e, entry by entry: a dot product of words is expected": lambda e: e * e,
        "the mask is one step too early: all s_ij are asked for": lambda e: np.where(
            causal_mask(len(e)), e @ e.T, -np.inf
        ),
        "the scores of a word with itself are left out: all s_ij are asked for": lambda e: (
            e @ e.T * (1 - np.eye(len(e)))
        ),
        "the scores of later words are set to 0: all s_ij are asked for": lambda e: np.tril(
            e @ e.T
        ),
    },
)


def _softmax(s: Any, *, axis: Any = -1, keepdims: bool = True, shift: bool = True) -> Any:
    top = s.max(axis=axis, keepdims=True) if shift else 0.0
    a = np.exp(s - top)
    return a / a.sum(axis=axis, keepdims=keepdims)


SOFTMAX = Exercise(
    _softmax,
    [
        case(np.array([1.0, 1.0, 2.0])),
        case(S123 @ S123.T, hint="every row has a sum of its own"),
        case(np.array([1000.0, 1000.0]), hint="e^1000 is infinite: subtract the largest first"),
        case(SQUARE),
        case(LONG),
        case(RNG.normal(size=(2, 3, 4)), hint="there may be any number of leading axes"),
        case(np.array([-1000.0, -1001.0]), hint="e^−1000 is 0: subtract the largest first"),
    ],
    {
        "the columns sum to 1, and each row should: sum over axis −1": dict(axis=0),
        "the whole table sums to 1, and each row should: sum over axis −1, keepdims=True": dict(
            axis=None
        ),
        "keepdims=True is missing in the sum": dict(keepdims=False),
        "e^1000 is infinite, and ∞/∞ is nan; e^−1000 is 0, and 0/0 is nan: subtract the largest "
        "score of the row first, which changes nothing else": dict(shift=False),
        "the division is missing, or by the largest: divide each row by its sum": lambda s: np.exp(
            s - s.max(axis=-1, keepdims=True)
        ),
        "the division is missing, and the largest score is not subtracted first": np.exp,
        "np.exp is missing: these are scores over their sum": lambda s: (
            s / s.sum(axis=-1, keepdims=True)
        ),
        "this is the logarithm of softmax": lambda s: np.log(_softmax(s)),
        "this is the logistic function of each score by itself: softmax compares those of a row": (
            lambda s: 1 / (1 + np.exp(-s))
        ),
        "the powers are of 2: e is expected": lambda s: _softmax(s * np.log(2)),
        "the sign is wrong: e^−s": lambda s: _softmax(-s),
        "the largest entry of a row becomes 1, and the others 0: softmax is soft": lambda s: (
            (s == s.max(axis=-1, keepdims=True)) * 1.0
        ),
        "1 is added to the sum: each row must sum to 1": lambda s: (
            np.exp(s - s.max(axis=-1, keepdims=True))
            / (
                np.exp(s - s.max(axis=-1, keepdims=True)).sum(axis=-1, keepdims=True)
                + np.exp(-s.max(axis=-1, keepdims=True))
            )
        ),
        "it is divided by the mean of the row: divide by the sum": lambda s: (
            _softmax(s) * s.shape[-1]
        ),
        "it is divided by the length of the row: each row must sum to 1": lambda s: (
            _softmax(s, shift=True) / np.sqrt((_softmax(s) ** 2).sum(axis=-1, keepdims=True))
        ),
        "the columns sum to 1: a table is softened row by row, axis −1, not −2": lambda s: _softmax(
            s, axis=-2
        ),
        "softmax is taken twice": lambda s: _softmax(_softmax(s)),
    },
)

# ---- contexts and the model ------------------------------------------------------------------


def _contexts(e: Any, *, scale: float = 1.0, blocked: float = -np.inf, mask: Any = None) -> Any:
    may_look = causal_mask(len(e)) if mask is None else mask(len(e))
    return _softmax(np.where(may_look, scale * e @ e.T, blocked)) @ e


def _everybody(T: int) -> Any:
    return np.ones((T, T), bool)


CONTEXTS = Exercise(
    _contexts,
    [
        case(S123[:1], hint="a position alone reads itself"),
        case(S123),
        case(SQUARE),
        case(LONG),
        case(WIDE),
    ],
    {
        "nobody is masked: position i may look at j ≤ i only": dict(mask=_everybody),
        "the mask is reversed: position i looks at j ≥ i": dict(mask=lambda T: causal_mask(T).T),
        "a position may look at itself: j ≤ i, not j < i": dict(
            mask=lambda T: np.tri(T, k=-1, dtype=bool)
        ),
        "a position looks one too far: j ≤ i, not j ≤ i + 1": dict(
            mask=lambda T: np.tri(T, k=1, dtype=bool)
        ),
        "the mask selects who may not look: np.where(mask, scores, −∞) keeps the scores where it "
        "is True": dict(mask=lambda T: ~causal_mask(T)),
        "a position may look at itself: j ≤ i, not j < i; the first one, hidden from all, now sees "
        "everybody": lambda e: _contexts(
            e, blocked=-1e9, mask=lambda T: np.tri(T, k=-1, dtype=bool)
        ),
        "each position looks only at itself": lambda e: e.copy(),
        "masked scores are set to 0, and e^0 is 1: set them to −∞": dict(blocked=0.0),
        "masked scores are set to −1, which hides nobody: set them to −∞": dict(blocked=-1.0),
        "the mask is set after softmax, so the rows no longer sum to 1: set the scores to −∞ "
        "before": lambda e: (causal_mask(len(e)) * _softmax(e @ e.T)) @ e,
        "softmax runs over the wrong axis: each row i must sum to 1": lambda e: (
            _softmax(np.where(causal_mask(len(e)), e @ e.T, -np.inf).T).T @ e
        ),
        "the weights are transposed: c = a e, row i of a belongs to position i": lambda e: (
            _softmax(np.where(causal_mask(len(e)), e @ e.T, -np.inf)).T @ e
        ),
        "these are the weights a: multiply them by e": lambda e: _softmax(
            np.where(causal_mask(len(e)), e @ e.T, -np.inf)
        ),
        "these are plain means: the weights are the softmax of the scores": lambda e: (
            np.cumsum(e, axis=0) / np.arange(1, len(e) + 1)[:, None]
        ),
        "softmax is missing: the scores themselves are the weights": lambda e: np.tril(e @ e.T) @ e,
        "this is the context of the last position: those of all are asked for": lambda e: _contexts(
            e
        )[-1],
        "e is added: c_i is the average alone": lambda e: e + _contexts(e),
        "the scores are divided by √C: this model has no scale": lambda e: _contexts(
            e, scale=e.shape[1] ** -0.5
        ),
    },
)


def _model(E: Any, ids: Any, *, place: int = -1, scale: float = 1.0) -> Any:
    return _softmax(E @ _contexts(E[ids], scale=scale)[place])


def _logits(E: Any, ids: Any) -> Any:
    return E @ _contexts(E[ids])[-1]


MODEL = Exercise(
    _model,
    [
        case(S123, np.array([0, 1, 2])),
        case(S123, np.array([0]), hint="here c = e_1"),
        case(S123, np.array([1, 1, 2])),
        case(LONG, np.array([4, 0, 2, 2])),
        case(SQUARE, np.array([2, 0])),
    ],
    {
        "softmax is missing: these are the logits E c": _logits,
        "this is the prediction of every position: the last one is asked for": lambda E, ids: (
            _softmax(_contexts(E[ids]) @ E.T)
        ),
        "the first context predicts: the last one has read the sentence": dict(place=0),
        "the mean of the contexts predicts: the last one does": lambda E, ids: _softmax(
            E @ _contexts(E[ids]).mean(axis=0)
        ),
        "the sum of the contexts predicts: the last one does": lambda E, ids: _softmax(
            E @ _contexts(E[ids]).sum(axis=0)
        ),
        "the last word alone predicts: its context c is left out": lambda E, ids: _softmax(
            E @ E[ids][-1]
        ),
        "the plain sum of the words predicts: the weights are the softmax of the scores": (
            lambda E, ids: _softmax(E @ E[ids].sum(axis=0))
        ),
        "the first word asks: the query is the last word": lambda E, ids: _softmax(
            E @ (_softmax(E[ids] @ E[ids][0]) @ E[ids])
        ),
        "the plain mean of the words predicts: the weights are the softmax of the scores": (
            lambda E, ids: _softmax(E @ E[ids].mean(axis=0))
        ),
        "the logits are e_i·c for the words of the sentence: every word of the table E is a "
        "candidate": lambda E, ids: _softmax(E[ids] @ _contexts(E[ids])[-1]),
        "the whole table attends: only the words of the sentence do, E[ids]": lambda E, ids: (
            _softmax(E @ _contexts(E)[-1])
        ),
        "these are the contexts: predict with E": lambda E, ids: _contexts(E[ids]),
        "this is the last context: predict with E": lambda E, ids: _contexts(E[ids])[-1],
        "this is −log p": lambda E, ids: -np.log(_model(E, ids)),
        "this is log p": lambda E, ids: np.log(_model(E, ids)),
        "this is the likeliest word: its probabilities are asked for": lambda E, ids: _model(
            E, ids
        ).argmax(),
        "the scores are divided by √C: this model has no scale": lambda E, ids: _model(
            E, ids, scale=E.shape[1] ** -0.5
        ),
        "the scores are left out of the softmax: the last position's scores are the weights": (
            lambda E, ids: _softmax(E @ (E[ids] @ E[ids][-1] @ E[ids]))
        ),
        "softmax is missing in attention and in the prediction": lambda E, ids: (
            E @ (E[ids] @ E[ids][-1] @ E[ids])
        ),
        "E is transposed in the prediction: z_w = e_w·c": lambda E, ids: _softmax(
            _contexts(E[ids])[-1] @ E
        ),
    },
)

# ---- the gradient of the logits --------------------------------------------------------------


def _dz(p: Any, y: int) -> Any:
    dz = p.copy()
    dz[y] -= 1
    return dz


def _at(p: Any, y: int, value: Any) -> Any:
    dz = np.zeros(len(p))
    dz[y] = value
    return dz


DZ = Exercise(
    _dz,
    [
        case(np.array([0.25, 0.25, 0.5]), 0),
        case(np.array([0.25, 0.25, 0.5]), 2),
        case(np.array([0.1, 0.2, 0.3, 0.4]), 1),
        case(np.array([0.0, 1.0]), 0),
        case(np.array([0.05, 0.6, 0.1, 0.15, 0.1]), 4),
    ],
    {
        "the sign is wrong: the prediction minus the truth": lambda p, y: -_dz(p, y),
        "1 is added at the word that came, and subtracted is right": lambda p, y: p + _at(p, y, 1),
        "1 is subtracted everywhere: only at the word that came": lambda p, y: p - 1,
        "nothing is subtracted at the word that came": lambda p, y: p.copy(),
        "only the word that came has a slope: the others have theirs, p": lambda p, y: _at(
            p, y, p[y] - 1
        ),
        "this is the slope of the word that came alone: all of dz is asked for": lambda p, y: (
            p[y] - 1
        ),
        "this is the truth: the prediction minus the truth is asked for": lambda p, y: _at(p, y, 1),
        "this is the truth with a minus: the prediction is missing": lambda p, y: _at(p, y, -1),
        "this is the slope of the probabilities, −1/p: that of the logits is asked for": (
            lambda p, y: _at(p, y, -1 / p[y])
        ),
        "this is the loss, −log p": lambda p, y: -np.log(p[y]),
        "the word before is taken: ids count from 0": lambda p, y: _dz(p, y - 1),
        "the word after is taken: ids count from 0": lambda p, y: _dz(p, (y + 1) % len(p)),
        "p itself is subtracted at the word that came: 1 is": lambda p, y: p - _at(p, y, p[y]),
        "p(1 − p) is the slope of the logistic function: here it is p − 1 and p": lambda p, y: (
            p * (1 - p)
        ),
        "it is divided by the number of words": lambda p, y: _dz(p, y) / len(p),
        "y itself is subtracted: subtract 1 at the place y": lambda p, y: p - y,
        "the square of the error is derived: here it is p − 1 and p, without a 2": lambda p, y: (
            2 * _dz(p, y)
        ),
        "the row of softmax's slopes, p_y (1[w = y] − p_w): divide it by −p_y": lambda p, y: (
            p[y] * -_dz(p, y)
        ),
    },
)
