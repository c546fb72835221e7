"""A GPT writes: the exercises of "GPT"."""

from typing import Any

import numpy as np

from ...ops import causal_mask
from ..exercises import Exercise, case

Z = np.log([0.5, 0.25, 0.15, 0.1])


def _softmax(z: Any) -> Any:
    p = np.exp(z - z.max())
    return p / p.sum()


def _temperature(z: Any, temperature: float) -> Any:
    return _softmax(z / temperature)


TEMPERATURE = Exercise(
    _temperature,
    [
        case(Z, 1.0),
        case(Z, 0.5, hint="the logits are divided, not the probabilities"),
        case(np.array([1000.0, 0.0]), 1.0, hint="subtract the largest logit first"),
        case(np.array([2.0, -1.0, 0.5]), 2.0),
        case(np.array([0.3, 0.1, 0.2, -3.0, 1.0]), 0.7),
    ],
    {
        "the logits are multiplied by the temperature (or the probabilities raised to it): "
        "divide": lambda z, t: _softmax(z * t),
        "the temperature has no effect: divide the logits by it": lambda z, t: _softmax(z),
        "the probabilities are divided by the temperature: divide the logits": lambda z, t: (
            _softmax(z) / t
        ),
        "the probabilities are not divided by their sum": lambda z, t: np.exp((z - z.max()) / t),
        "the probabilities are not divided by their sum after the power": lambda z, t: (
            _softmax(z) ** (1 / t)
        ),
        "e^1000 is infinite, and ∞/∞ is nan: subtract the largest logit first": lambda z, t: (
            np.exp(z / t) / np.exp(z / t).sum()
        ),
        "e^1000 is infinite: subtract the largest first, and divide by the sum": lambda z, t: (
            np.exp(z / t)
        ),
        "the temperature is squared": lambda z, t: _softmax(z / t**2),
        "the root of the temperature is taken": lambda z, t: _softmax(z / np.sqrt(t)),
        "these are the logits over the temperature: softmax is missing": lambda z, t: z / t,
        "the logits over the temperature are shared out: np.exp is missing": lambda z, t: (
            z / t / (z / t).sum()
        ),
        "these are logarithms of the probabilities": lambda z, t: np.log(_softmax(z / t)),
        "this is the likeliest token: the probabilities are asked for": lambda z, t: (
            z / t
        ).argmax(),
        "the sign is wrong: e^(−z/temperature)": lambda z, t: _softmax(-z / t),
        "softmax is taken twice": lambda z, t: _softmax(_softmax(z) / t),
    },
)


def _kept(p: Any, kept: Any, shared: bool = True) -> Any:
    result = np.zeros_like(p)
    result[kept] = p[kept]
    return result / result.sum() if shared else result


def _top_p(
    p: Any,
    share: float,
    *,
    more: int = 1,
    reaches: bool = True,
    shared: bool = True,
    falling: int = -1,
) -> Any:
    order = np.argsort(falling * p, kind="stable")
    total = np.cumsum(p[order])
    below = total < share if reaches else total <= share
    return _kept(p, order[: below.sum() + more], shared)


def _first_come(p: Any, share: float) -> Any:
    return _kept(p, np.arange(len(p)) <= (np.cumsum(p) < share).sum())


def _sorted(p: Any, share: float) -> Any:
    return np.sort(_top_p(p, share))[::-1]


TOP_P = Exercise(
    _top_p,
    [
        case(np.array([0.5, 0.25, 0.15, 0.1]), 0.8),
        case(np.array([0.1, 0.7, 0.2]), 0.6, hint="one is always kept"),
        case(np.array([0.1, 0.7, 0.2]), 0.8, hint="they come in any order"),
        case(np.array([0.25, 0.5, 0.1875, 0.0625]), 0.75, hint="0.5 + 0.25 reaches 0.75"),
        case(np.array([0.25, 0.125, 0.625]), 1.0, hint="all are needed to reach 1"),
        case(np.array([0.05, 0.3, 0.15, 0.4, 0.1]), 0.82),
        case(np.array([0.05, 0.3, 0.15, 0.4, 0.1]), 0.05, hint="one is always kept"),
    ],
    {
        "the last one is missing: the sum must reach share": dict(more=0),
        "one too many is kept": dict(more=2),
        "only those whose sum stays within share are kept: the one that reaches it is missing": (
            lambda p, share: _kept(
                p, np.argsort(-p)[: max(1, (np.cumsum(np.sort(p)[::-1]) <= share).sum())]
            )
        ),
        "where the sum is exactly share it has reached it: one too many is kept": dict(
            reaches=False
        ),
        "what is kept does not sum to 1: divide by its sum": dict(shared=False),
        "the unlikeliest are kept: sort from the likeliest down": dict(falling=1),
        "the first ones are kept, in the order of p: sort from the likeliest down": _first_come,
        "the result is sorted: each token keeps its place": _sorted,
        "what has a probability of at least share is kept: the sum must reach share": (
            lambda p, share: _kept(p, p >= min(share, p.max()))
        ),
        "what has a probability of at least 1 − share is kept: the sum must reach share": (
            lambda p, share: _kept(p, p >= min(1 - share, p.max()))
        ),
        "a share of the tokens is kept: their probabilities must sum to share": lambda p, share: (
            _kept(p, np.argsort(-p)[: max(1, round(share * len(p)))])
        ),
        "only the likeliest is kept": lambda p, share: _kept(p, [p.argmax()]),
        "nothing is set to 0": lambda p, share: p.copy(),
        "these are the places that are kept: the probabilities are asked for": lambda p, share: (
            np.flatnonzero(_top_p(p, share))
        ),
        "what is set to 0 is left out: the array keeps its length": lambda p, share: _top_p(
            p, share
        )[_top_p(p, share) > 0],
        "this says who is kept, True and False: the probabilities are asked for": lambda p, share: (
            _top_p(p, share) > 0
        ),
        "it is divided by share: the sum of what is kept may be larger": lambda p, share: (
            _top_p(p, share, shared=False) / share
        ),
        "softmax is taken of what is kept: divide by its sum": lambda p, share: (
            np.where(_top_p(p, share) > 0, np.exp(p), 0)
            / np.where(_top_p(p, share) > 0, np.exp(p), 0).sum()
        ),
        "the places in the sorted order are taken for places in p": lambda p, share: _kept(
            p, np.arange((np.cumsum(np.sort(p)[::-1]) < share).sum() + 1)
        ),
        "cumsum stands before the sorting: sort first": lambda p, share: _kept(
            p, np.cumsum(p) <= share
        ),
    },
)

MASK = Exercise(
    causal_mask,
    [
        case(3, 3),
        case(1, 4, hint="the newest token may look at all"),
        case(2, 5, hint="query 0 stands at place S − T of the text"),
        case(1, 1),
        case(4, 6),
        case(3, 4),
    ],
    {
        "the past is left out: query i stands at place S − T + i": lambda T, S: np.tri(T, S) > 0,
        "a token may look at itself: j ≤ S − T + i, not j <": lambda T, S: (
            np.tri(T, S, S - T - 1) > 0
        ),
        "a query looks one too far: j ≤ S − T + i": lambda T, S: np.tri(T, S, S - T + 1) > 0,
        "the mask is reversed: True is where it may look": lambda T, S: ~causal_mask(T, S),
        "the sign of S − T is wrong": lambda T, S: np.tri(T, S, T - S) > 0,
        "everybody may look at everything": lambda T, S: np.ones((T, S), bool),
        "the keys come before the queries in the shape: (T, S)": lambda T, S: causal_mask(T, S).T,
        "queries look at what comes, j ≥ S − T + i: j ≤": lambda T, S: np.triu(
            np.ones((T, S)), S - T
        ),
        "queries look at what comes, j ≥ i: j ≤ S − T + i": lambda T, S: np.triu(np.ones((T, S))),
        "these are 0 and −∞, to be added to scores: True and False are asked for": lambda T, S: (
            np.where(causal_mask(T, S), 0, -np.inf)
        ),
        "this is the mask of all S tokens: only the rows of the T new ones are asked for": (
            lambda T, S: causal_mask(S, S)
        ),
        "only the past is seen: new tokens may look at one another, too": lambda T, S: (
            np.arange(S) < S - T + np.zeros((T, 1))
        ),
        "only the token itself is seen": lambda T, S: np.eye(T, S, S - T),
        "only what the new tokens say to one another: the past is seen by all": lambda T, S: (
            causal_mask(T, S) & (np.arange(S) >= S - T)
        ),
    },
)


def _induction(
    ids: Any, *, last: int = -1, behind: int = 1, absent: Any = -1, stop: int = -1
) -> Any:
    places = np.flatnonzero(ids[:stop] == ids[-1])
    return ids[places[last] + behind] if len(places) else absent


def _commonest(ids: Any) -> Any:
    places = np.flatnonzero(ids[:-1] == ids[-1])
    if not len(places):
        return -1
    return np.bincount(ids[places + 1]).argmax()


INDUCTION = Exercise(
    _induction,
    [
        case(np.array([7, 5, 8, 0, 7])),
        case(np.array([7, 5, 7, 6, 7]), hint="the last earlier place counts"),
        case(np.array([1, 2, 3]), hint="3 has not occurred before itself"),
        case(np.array([4, 4]), hint="the 4 before the last is followed by the last itself"),
        case(np.array([3]), hint="a single token has no earlier place"),
        case(np.array([0, 9, 0, 8, 0, 9, 0, 2, 5, 0])),
        case(np.array([2, 6, 2, 6, 2, 5, 1, 2])),
        case(np.array([3, 0, 1, 3, 2])),
        case(np.array([1, 2, 1, 3, 1, 3, 1, 4, 1])),
    ],
    {
        "the first place is taken: the last earlier one": dict(last=0),
        "this is the token before that place: the one behind it": dict(behind=-1),
        "this is the token at that place: the one behind it": dict(behind=0),
        "this is the token two behind that place: the one behind it": dict(behind=2),
        "0 stands for a token that has not occurred: −1": dict(absent=0),
        "the last token stands for one that has not occurred: −1": lambda ids: (
            ids[-1] if _induction(ids) == -1 and ids[-1] not in ids[:-1] else _induction(ids)
        ),
        "the place before the last is not looked at": dict(stop=-2),
        "the last place is that of the last token itself: earlier places alone count": lambda ids: (
            ids[np.flatnonzero(ids == ids[-1])[-1] + 1]
        ),
        "this is the place: the token behind it is asked for": lambda ids: np.append(
            -1, np.flatnonzero(ids[:-1] == ids[-1])
        )[-1],
        "this is the place behind: the token that stands there is asked for": lambda ids: (
            np.append(-2, np.flatnonzero(ids[:-1] == ids[-1]))[-1] + 1
        ),
        "the commonest follower is taken: the one behind the last earlier place": _commonest,
        "these are all followers: the last one alone": lambda ids: ids[1:][ids[:-1] == ids[-1]],
        "the last place is taken where the token before occurred: of the last token": lambda ids: (
            ids[places[-1] + 1]
            if len(ids) > 1 and len(places := np.flatnonzero(ids[:-2] == ids[-2]))
            else -1
        ),
    },
)
