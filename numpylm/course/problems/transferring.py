"""Labels, thin factors and laws of scale: the exercises of "Transfer and scale"."""

from typing import Any

import numpy as np

from ..exercises import Exercise, case


def _excess(law: Any, n: int) -> Any:
    return float((law > 0).sum() - len(law)) / (2 * n)


_SPARSE = np.array([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5], [0.0, 0.0, 1.0]])
EXCESS = Exercise(
    _excess,
    [
        case(np.full((2, 2), 0.5), 100, hint="one free number a word"),
        case(_SPARSE, 50, hint="a pair that is impossible is not learned"),
        case(np.full((5, 5), 0.2), 1000),
    ],
    {
        "each row sums to 1: minus 1 for each word": lambda law, n: (law > 0).sum() / (2 * n),
        "the 2 is missing: k/(2n)": lambda law, n: 2 * _excess(law, n),
        "pairs that are impossible are counted": lambda law, n: (law.size - len(law)) / (2 * n),
        "this is k: divide by 2n": lambda law, n: float((law > 0).sum() - len(law)),
        "this is a mean over the words: a sum": lambda law, n: _excess(law, n) / len(law),
        "divided by n twice": lambda law, n: _excess(law, n) / n,
    },
)


def _share(i: int, o: int, r: int) -> float:
    return r * (i + o) / (i * o)


SHARE = Exercise(
    _share,
    [case(100, 50, 1), case(64, 192, 4), case(768, 2304, 8), case(3, 5, 2)],
    {
        "this is the number of them: divide by I O": lambda i, o, r: r * (i + o),
        "the second factor is missing": lambda i, o, r: r / o,
        "the first factor is missing": lambda i, o, r: r / i,
        "upside down": lambda i, o, r: 1 / _share(i, o, r),
        "R² is no size of a factor": lambda i, o, r: r * r / (i * o),
        "the rank is missing": lambda i, o, r: (i + o) / (i * o),
    },
)


def _merged(w: Any, u: Any, v: Any, scale: float) -> Any:
    return w + scale * (u @ v)


_RNG = np.random.default_rng(0)
_W, _U, _V = _RNG.normal(size=(3, 4)), _RNG.normal(size=(3, 2)), _RNG.normal(size=(2, 4))
MERGED = Exercise(
    _merged,
    [
        case(_W, _U, _V, 0.5),
        case(_W, _U, 0 * _V, 2.0, hint="nothing is added as training begins"),
        case(_W[:, :3], _U, _V[:, :3], 3.0, hint="a square matrix"),
    ],
    {
        "the scale is missing": lambda w, u, v, s: w + u @ v,
        "W is missing: this is what is added": lambda w, u, v, s: s * (u @ v),
        "the product is subtracted": lambda w, u, v, s: w - s * (u @ v),
        "W is scaled as well": lambda w, u, v, s: s * (w + u @ v),
        "the scale acts twice": lambda w, u, v, s: w + s * s * (u @ v),
    },
)
