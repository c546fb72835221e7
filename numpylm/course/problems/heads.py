"""Several heads: split, merge, and attend side by side."""

from typing import Any

import numpy as np

from ..exercises import Exercise, case

RNG = np.random.default_rng(11)


def _split(x: Any, heads: int) -> Any:
    return x.reshape(len(x), heads, -1).swapaxes(0, 1)


def _merge(x: Any) -> Any:
    return x.swapaxes(0, 1).reshape(x.shape[1], -1)


SPLIT = Exercise(
    _split,
    [
        case(np.arange(8.0).reshape(2, 4), 2),
        case(RNG.normal(size=(5, 6)), 2),
        case(RNG.normal(size=(3, 12)), 4),
        case(RNG.normal(size=(4, 5)), 1, hint="one head is an axis, too"),
    ],
    {
        "the rows are cut, not the columns: a head holds some columns of every row": (
            lambda x, heads: x.reshape(heads, len(x), -1)
        ),
        "the heads stand behind the positions: expected (H, T, D)": lambda x, heads: x.reshape(
            len(x), heads, -1
        ),
        "every head takes each H-th column: it should take D columns side by side": (
            lambda x, heads: np.stack([x[:, h::heads] for h in range(heads)])
        ),
        "each head is transposed: expected (H, T, D)": lambda x, heads: _split(x, heads).swapaxes(
            -1, -2
        ),
        "the heads are in reverse order": lambda x, heads: _split(x, heads)[::-1],
    },
)

MERGE = Exercise(
    _merge,
    [
        case(np.arange(8.0).reshape(2, 2, 2)),
        case(RNG.normal(size=(2, 5, 3))),
        case(RNG.normal(size=(4, 3, 2))),
        case(RNG.normal(size=(1, 3, 4))),
    ],
    {
        "the heads are put below one another: reshape reads head by head, so swap the axes first": (
            lambda x: x.reshape(x.shape[1], -1)
        ),
        "the columns of the heads alternate: each head's D columns stay side by side": lambda x: (
            x.transpose(1, 2, 0).reshape(x.shape[1], -1)
        ),
        "the heads are added up: they stand side by side": lambda x: x.sum(axis=0),
        "the mean of the heads is taken: they stand side by side": lambda x: x.mean(axis=0),
        "this is the transpose: expected (T, H D)": lambda x: _merge(x).T,
    },
)


def _heads(
    q: Any, k: Any, v: Any, heads: int, *, width: Any = None, scaled: bool = True, cut: Any = _split
) -> Any:
    q, k, v = (cut(x, heads) for x in (q, k, v))
    s = q @ k.swapaxes(-1, -2)
    s = s / np.sqrt(width or q.shape[-1]) if scaled else s
    a = np.exp(s - s.max(axis=-1, keepdims=True))
    return _merge(a / a.sum(axis=-1, keepdims=True) @ v)


def _one_softmax(q: Any, k: Any, v: Any, heads: int) -> Any:
    q, k, v = (_split(x, heads) for x in (q, k, v))
    s = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    a = np.exp(s - s.max())
    return _merge(a / a.sum(axis=(0, 2), keepdims=True) @ v)


MULTI_HEAD = Exercise(
    _heads,
    [
        case(*RNG.normal(size=(3, 4, 6)), 2),
        case(RNG.normal(size=(2, 6)), *RNG.normal(size=(2, 5, 6)), 3, hint="T = 2, S = 5"),
        case(*RNG.normal(size=(3, 3, 4)), 1),
        case(*RNG.normal(size=(3, 4, 8)), 4),
    ],
    {
        "the scores are divided by √A: a head is D = A/H wide": lambda q, k, v, heads: _heads(
            q, k, v, heads, width=q.shape[-1]
        ),
        "the scale 1/√D is missing": dict(scaled=False),
        "this is one head over all columns: each head has scores and a softmax of its own": (
            lambda q, k, v, heads: _heads(q, k, v, 1)
        ),
        "one softmax runs over all heads together: each has its own": _one_softmax,
        "the result of the heads is averaged, not merged": lambda q, k, v, heads: np.mean(
            _split(_heads(q, k, v, heads), heads), axis=0
        ),
    },
)
