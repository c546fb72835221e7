"""A way in: a matrix product by hand, the chain rule, and a number that is used twice."""

from typing import Any

import numpy as np

from ..exercises import Exercise, case

RNG = np.random.default_rng(7)
X, W = np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0]]), np.array([[1.0, 4.0], [2.0, 0.0], [3.0, 1.0]])

PRODUCT = Exercise(
    lambda x, w: x @ w,
    [
        case(X, W),
        case(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]), hint="one row, one column"),
        case(RNG.normal(size=(4, 3)), RNG.normal(size=(3, 5))),
        case(RNG.normal(size=(3, 3)), RNG.normal(size=(3, 3))),
    ],
    {
        "this is w x: the rows of the left factor meet the columns of the right one": (
            lambda x, w: w @ x
        ),
        "rows of x meet rows of w: they should meet its columns": lambda x, w: x @ w.T,
        "columns of x meet columns of w: the rows of x should meet them": lambda x, w: x.T @ w,
        "this is x ∗ w, number by number: each entry is a dot product": lambda x, w: x * w,
        "the products are not added up": lambda x, w: x[:, :, None] * w,
        "the products are averaged: they are added up": lambda x, w: x @ w / len(w),
        "only the diagonal is computed": lambda x, w: np.diag(x @ w),
        "the result is transposed: row n of x gives row n of the product": lambda x, w: (x @ w).T,
    },
)


def _chain(a: Any, b: Any, c: Any, *, outer: Any = 2.0, da: Any = 1.0, db: Any = 1.0) -> Any:
    dv = outer * (a * b + c)
    return np.array([da * dv * b, db * dv * a, dv])


CHAIN = Exercise(
    _chain,
    [case(2.0, -3.0, 10.0), case(1.0, 2.0, 3.0), case(-1.0, 0.5, 4.0), case(0.5, 0.7, -1.5)],
    {
        "the slope of v² is 2 v: the 2 is missing": dict(outer=1.0),
        "the slope of v² is 2 v: here the v is missing": lambda a, b, c: np.array(
            [2 * b, 2 * a, 2.0]
        ),
        "da and db are exchanged: in a b, the slope by a is b": lambda a, b, c: _chain(a, b, c)[
            [1, 0, 2]
        ],
        "u = a b is not on the way from c to v: dc = dv": lambda a, b, c: (
            _chain(a, b, c) * [1, 1, a * b]
        ),
        "the slopes of v² are missing: these are the slopes of v": lambda a, b, c: np.array(
            [b, a, 1.0]
        ),
        "this is (a b + c)² itself": lambda a, b, c: (a * b + c) ** 2,
        "v is a b + c: c is left out": lambda a, b, c: 2 * a * b * np.array([b, a, 1.0]),
        "b counts twice in da": lambda a, b, c: _chain(a, b, c) * [b, 1, 1],
        "a counts twice in db": lambda a, b, c: _chain(a, b, c) * [1, a, 1],
    },
)


def _twice(x: Any, *, first: float = 1.0, second: float = 1.0) -> Any:
    return first * np.exp(x) + second * x * np.exp(x)


USED_TWICE = Exercise(
    _twice,
    [case(0.0), case(1.0), case(-1.0), case(0.3), case(2.0)],
    {
        "only the first use counts: x is also in the exponent": dict(second=0.0),
        "only the second use counts, and this is x e^x itself: x is also the factor in front": dict(
            first=0.0
        ),
        "the two uses are subtracted: they add": dict(second=-1.0),
        "the two uses are multiplied: they add": lambda x: np.exp(x) * x * np.exp(x),
        "their mean is taken: the two uses add": dict(first=0.5, second=0.5),
        "the slope of e^x is e^x, not x e^(x − 1)": lambda x: np.exp(x) + x * x * np.exp(x - 1),
    },
)
