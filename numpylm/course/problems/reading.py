"""Texts read from both sides: the exercises of "BERT"."""

from typing import Any

import numpy as np

from ...languages import markov
from ..exercises import Exercise, case

FIVE, DRAWN = np.array([5, 6, 7, 8, 9]), np.array([3, 4, 3, 1, 0])
FATES = np.array([0.1, 0.5, 0.85, 0.95, 0.85])
ALL, NONE = np.ones(5, bool), np.zeros(5, bool)


def _inputs(
    ids: Any,
    chosen: Any,
    fate: Any,
    drawn: Any,
    mask_id: int,
    *,
    hidden: Any = lambda fate: fate < 0.8,
    random: Any = lambda fate: fate < 0.9,
    only_chosen: bool = True,
) -> Any:
    changed = np.where(hidden(fate), mask_id, np.where(random(fate), drawn, ids))
    return np.where(chosen, changed, ids) if only_chosen else changed


INPUTS = Exercise(
    _inputs,
    [
        case(FIVE, NONE, FATES, DRAWN, 2, hint="only chosen tokens change"),
        case(FIVE, ALL, FATES, DRAWN, 2),
        case(FIVE, np.array([True, False, False, True, True]), FATES, DRAWN, 2),
        case(
            FIVE, ALL, np.array([0.8, 0.9, 0.0, 0.79, 0.89]), DRAWN, 1, hint="0.8 and 0.9 exactly"
        ),
        case(FIVE, np.array([False, True, True, True, True]), FATES[::-1].copy(), DRAWN, 4),
    ],
    {
        "all tokens are changed: only chosen ones are": dict(only_chosen=False),
        "the chosen ones stay, and the others change": lambda ids, chosen, *rest: _inputs(
            ids, ~chosen, *rest
        ),
        "a fate of exactly 0.8 is not below 0.8": dict(hidden=lambda fate: fate <= 0.8),
        "a fate of exactly 0.9 is not below 0.9": dict(random=lambda fate: fate <= 0.9),
        "the mask takes all below 0.9": dict(hidden=lambda fate: fate < 0.9),
        "all chosen tokens are hidden by the mask: one in ten is drawn, one in ten stays": dict(
            hidden=lambda fate: fate < 1
        ),
        "no random word is put in: from 0.8 to below 0.9 it is the drawn one": dict(
            random=lambda fate: fate < 0
        ),
        "from 0.9 on the token stays, and from 0.8 to below 0.9 it is the drawn one: exchanged": (
            dict(random=lambda fate: fate >= 0.9)
        ),
        "from 0.9 on the token stays: there the drawn word is put in": dict(
            random=lambda fate: fate < 1
        ),
        "what is drawn is a fate below 0.1: from 0.8 to below 0.9": dict(
            hidden=lambda fate: (fate >= 0.1) & (fate < 0.9), random=lambda fate: fate < 0.1
        ),
        "the mask is put in above a bound: below 0.8": dict(hidden=lambda fate: fate >= 0.2),
        "the second condition overwrites the first: below 0.9 all get the drawn word": (
            lambda ids, chosen, fate, drawn, mask_id: np.where(
                chosen, np.where(fate < 0.9, drawn, ids), ids
            )
        ),
        "tokens that are not chosen get drawn words, too: they stay": (
            lambda ids, chosen, fate, drawn, mask_id: np.where(
                chosen & (fate < 0.8), mask_id, np.where(fate < 0.9, drawn, ids)
            )
        ),
        "drawn words are put in where the mask is expected, and the mask where a drawn word is": (
            lambda ids, chosen, fate, drawn, mask_id: np.where(
                chosen, np.where(fate < 0.8, drawn, np.where(fate < 0.9, mask_id, ids)), ids
            )
        ),
        "nothing is changed": lambda ids, chosen, fate, drawn, mask_id: ids.copy(),
        "tokens that are not chosen become the mask": lambda ids, chosen, *rest: np.where(
            chosen, _inputs(ids, chosen, *rest), rest[-1]
        ),
        "tokens that are not chosen become 0: they stay": lambda ids, chosen, *rest: np.where(
            chosen, _inputs(ids, chosen, *rest), 0
        ),
        "tokens that are not chosen become −100: that is for targets": lambda ids, chosen, *rest: (
            np.where(chosen, _inputs(ids, chosen, *rest), -100)
        ),
        "only the chosen tokens are returned: all are asked for": lambda ids, chosen, *rest: (
            _inputs(ids, chosen, *rest)[chosen]
        ),
    },
)


def _law() -> Any:
    language = markov()
    return np.array([[p for p, _, _ in language.step(v)] for v in range(6)])


def _shared(p: Any) -> Any:
    return p / p.sum()


def _two_sides(law: Any, before: int, after: int) -> Any:
    return _shared(law[before] * law[:, after])


LAW = _law()

TWO_SIDES = Exercise(
    _two_sides,
    [
        case(np.array([[0.5, 0.5], [0.9, 0.1]]), 0, 0),
        case(LAW, 5, 0, hint="p(w given before) times p(after given w), divided by the sum"),
        case(LAW, 1, 4),
        case(np.array([[0.2, 0.3, 0.5], [0.6, 0.1, 0.3], [0.25, 0.25, 0.5]]), 2, 1),
        case(np.array([[0.2, 0.3, 0.5], [0.6, 0.1, 0.3], [0.25, 0.25, 0.5]]), 0, 2),
    ],
    {
        "p(w given after) stands for p(after given w): law[:, after], the column": (
            lambda law, before, after: _shared(law[before] * law[after])
        ),
        "p(before given w) stands for p(w given before): law[before], the row": (
            lambda law, before, after: _shared(law[:, before] * law[:, after])
        ),
        "before and after are exchanged, or rows and columns: law[before] times law[:, after]": (
            lambda law, before, after: _shared(law[:, before] * law[after])
        ),
        "the product is not divided by its sum": lambda law, before, after: (
            law[before] * law[:, after]
        ),
        "the two are added: multiply them": lambda law, before, after: _shared(
            law[before] + law[:, after]
        ),
        "only the left side is used: law[before]": lambda law, before, after: law[before].copy(),
        "only the right side is used: law[:, after]": lambda law, before, after: _shared(
            law[:, after]
        ),
        "only the right side is used, and it does not sum to 1": lambda law, before, after: law[
            :, after
        ].copy(),
        "the two are averaged: multiply them, and divide by the sum": lambda law, before, after: (
            (law[before] + law[:, after]) / 2
        ),
        "the root of the product is taken: the product": lambda law, before, after: _shared(
            np.sqrt(law[before] * law[:, after])
        ),
        "it is divided by law[before, after]: by the sum of the products": (
            lambda law, before, after: law[before] * law[:, after] / law[before, after]
        ),
        "softmax is taken of the product: divide it by its sum": lambda law, before, after: _shared(
            np.exp(law[before] * law[:, after])
        ),
        "this is the likeliest letter: all of p is asked for": lambda law, before, after: (
            _two_sides(law, before, after).argmax()
        ),
        "two steps without a letter between: law @ law": lambda law, before, after: (law @ law)[
            before
        ],
    },
)

# ---- spans -----------------------------------------------------------------------------------


def _span(start: Any, end: Any, *, gap: int = 0, score: Any = np.add, pick: Any = np.argmax) -> Any:
    sums = score.outer(start, end).astype(float)
    sums[np.tri(len(start), k=gap - 1, dtype=bool)] = -np.inf
    return np.array(np.unravel_index(pick(sums), sums.shape))


def _start_first(start: Any, end: Any) -> Any:
    i = start.argmax()
    return np.array([i, i + end[i:].argmax()])


def _end_first(start: Any, end: Any) -> Any:
    j = end.argmax()
    return np.array([start[: j + 1].argmax(), j])


def _above_zero(start: Any, end: Any) -> Any:
    best, pair = 0.0, (0, 0)
    for i in range(len(start)):
        for j in range(i, len(end)):
            if start[i] + end[j] > best:
                best, pair = start[i] + end[j], (i, j)
    return np.array(pair)


SPAN = Exercise(
    _span,
    [
        case(
            np.array([1.0, 2.0, 0.0, 5.0, 1.0]),
            np.array([0.0, 6.0, 1.0, 2.0, 0.0]),
            hint="the end must not come before the start",
        ),
        case(np.array([3.0, 0.0, 4.0]), np.array([0.0, 5.0, 2.0])),
        case(np.array([0.0, 10.0, 0.0]), np.array([5.0, 4.0, 0.0]), hint="1, 1 has the sum 14"),
        case(np.array([4.0, 0.0, 5.0]), np.array([0.0, 9.0, 1.0]), hint="0, 1 has the sum 13"),
        case(
            np.array([-1.0, -5.0, -3.0]), np.array([-9.0, -2.0, -1.5]), hint="sums may be negative"
        ),
        case(np.array([2.0]), np.array([-3.0]), hint="a single token is a span"),
        case(np.array([1.0, 0.5, 3.0, 2.0]), np.array([6.0, 0.0, 1.0, 2.5])),
        case(np.array([2.0, 3.0]), np.array([3.0, 2.5]), hint="1, 1 has the sum 5.5"),
    ],
    {
        "the end may come before the start: i ≤ j is asked for": lambda start, end: np.array(
            [start.argmax(), end.argmax()]
        ),
        "the end may come before the start, and the two are exchanged where it does": (
            lambda start, end: np.sort([start.argmax(), end.argmax()])
        ),
        "the best start is taken first, then the best end behind it: the sum decides over all "
        "pairs": _start_first,
        "the best end is taken first, then the best start before it: the sum decides over all "
        "pairs": _end_first,
        "a span of a single token is allowed: i ≤ j, not i < j": lambda start, end: (
            _span(start, end, gap=1) if len(start) > 1 else np.array([0, 0])
        ),
        "only spans of a single token are tried": lambda start, end: np.array(
            [(start + end).argmax()] * 2
        ),
        "only spans of one and two tokens are tried: all pairs i ≤ j": lambda start, end: np.array(
            max(
                ((i, j) for i in range(len(start)) for j in range(i, min(i + 2, len(start)))),
                key=lambda pair: start[pair[0]] + end[pair[1]],
            )
        ),
        "the product decides: the sum": dict(score=np.multiply),
        "the difference decides: the sum": dict(score=np.subtract),
        "the smallest sum is taken: the largest": lambda start, end: _smallest(start, end),
        "the answer is end, start: start, end": lambda start, end: _span(start, end)[::-1],
        "the search starts from the sum 0, so that negative sums are never taken: start from −∞": (
            _above_zero
        ),
        "forbidden pairs count as 0, which may be the largest: as −∞": lambda start, end: np.array(
            np.unravel_index(np.triu(start[:, None] + end).argmax(), (len(start), len(start)))
        ),
        "this is the sum: the places are asked for": lambda start, end: (
            start[_span(start, end)[0]] + end[_span(start, end)[1]]
        ),
        "the end is counted from the start of the span": lambda start, end: np.array(
            [_span(start, end)[0], _span(start, end)[1] - _span(start, end)[0]]
        ),
        "the end stands one behind the last token: j itself is asked for": lambda start, end: (
            _span(start, end) + np.array([0, 1])
        ),
        "start and end are exchanged as arguments": lambda start, end: _span(end, start),
        "i ≥ j is asked of the pairs: i ≤ j": lambda start, end: _span(end, start)[::-1],
        "the place in the table of all pairs is not turned into two: np.unravel_index": (
            lambda start, end: np.ravel_multi_index(_span(start, end), (len(start),) * 2)
        ),
    },
)


def _smallest(start: Any, end: Any) -> Any:
    sums = start[:, None] + end
    sums[np.tri(len(start), k=-1, dtype=bool)] = np.inf
    return np.array(np.unravel_index(sums.argmin(), sums.shape))


# ---- precision and recall --------------------------------------------------------------------

TRUTH, NEVER, EAGER = np.zeros((3, 100), int)
TRUTH[:2], EAGER[:8] = 1, 1


def _scores(
    found: Any,
    truth: Any,
    *,
    f1: Any = lambda p, r: 2 * p * r / max(p + r, 1e-300),
    order: tuple[int, ...] = (0, 1, 2),
    nothing: float = 0.0,
) -> Any:
    hits = float((found * truth).sum())
    precision = hits / found.sum() if found.sum() else nothing
    recall = hits / truth.sum() if truth.sum() else nothing
    return np.array([precision, recall, f1(precision, recall)])[list(order)]


SCORES = Exercise(
    _scores,
    [
        case(EAGER, TRUTH, hint="2 of the 8 called 1 are 1, and both were found"),
        case(NEVER, TRUTH, hint="nothing over nothing counts as 0 here"),
        case(np.array([1, 1, 0, 0]), np.array([1, 0, 1, 1])),
        case(np.array([1, 0, 1]), np.array([0, 0, 0]), hint="nothing is 1: recall is 0"),
        case(np.array([0, 1, 1, 1, 0, 1]), np.array([1, 1, 0, 1, 0, 0])),
        case(np.array([0, 1, 0]), np.array([1, 0, 0]), hint="no hit: all are 0"),
        case(np.array([1, 1]), np.array([1, 1])),
    ],
    {
        "precision and recall are exchanged: precision is of those called 1": dict(order=(1, 0, 2)),
        "F1 is the plain mean of both: 2 p r/(p + r)": dict(f1=lambda p, r: (p + r) / 2),
        "the 2 is missing in F1: 2 p r/(p + r)": dict(f1=lambda p, r: p * r / max(p + r, 1e-300)),
        "F1 is the product of both: 2 p r/(p + r)": dict(f1=lambda p, r: p * r),
        "F1 is the root of the product: 2 p r/(p + r)": dict(f1=lambda p, r: np.sqrt(p * r)),
        "F1 is the smaller of both: 2 p r/(p + r)": dict(f1=min),
        "F1 is the larger of both: 2 p r/(p + r)": dict(f1=max),
        "F1 holds a 4 where 2 is expected": dict(f1=lambda p, r: 4 * p * r / max(p + r, 1e-300)),
        "nothing over nothing counts as 1: as 0": dict(nothing=1.0),
        "nothing over nothing is nan: it counts as 0": lambda found, truth: _raw_scores(
            found, truth
        ),
        "this is for class 0: for class 1": lambda found, truth: _scores(1 - found, 1 - truth),
        "accuracy stands where precision is expected": lambda found, truth: np.array(
            [np.mean(found == truth), *_scores(found, truth)[1:]]
        ),
        "accuracy stands where recall is expected": lambda found, truth: np.array(
            [_scores(found, truth)[0], np.mean(found == truth), _scores(found, truth)[2]]
        ),
        "accuracy stands where all three are expected": lambda found, truth: np.full(
            3, np.mean(found == truth)
        ),
        "the hits are divided by the number of examples: by those called 1, and by those that "
        "are": (
            lambda found, truth: np.array(
                [
                    (found * truth).mean(),
                    (found * truth).mean(),
                    (found * truth).mean(),
                ]
            )
        ),
        "what is right in class 0 counts as a hit": lambda found, truth: np.array(
            [
                h / max(found.sum(), 1) if (h := float((found == truth).sum())) is not None else 0,
                h / max(truth.sum(), 1),
                2 * h / max(found.sum() + truth.sum(), 1),
            ]
        ),
        "a small number is added to a denominator": lambda found, truth: _raw_scores(
            found, truth, 1e-8
        ),
        "1 is added to a denominator, also where it is not 0": lambda found, truth: _raw_scores(
            found, truth, 1.0
        ),
    },
)


def _raw_scores(found: Any, truth: Any, add: float = 0.0) -> Any:
    hits = np.float64((found * truth).sum())
    precision, recall = hits / (found.sum() + add), hits / (truth.sum() + add)
    return np.array([precision, recall, 2 * precision * recall / (precision + recall + add)])
