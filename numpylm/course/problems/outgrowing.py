"""Larger than one machine: the exercises of "Outgrowing this library"."""

from typing import Any

import numpy as np

from ..exercises import Exercise, case

RNG = np.random.default_rng(11)

TWO = np.array([[1.0, 2.0], [3.0, 4.0]])


def _average(
    grads: Any, counts: Any, *, weights: Any = lambda counts: counts / counts.sum()
) -> Any:
    return weights(counts) @ grads


AVERAGE = Exercise(
    _average,
    [
        case(TWO, np.array([5, 5])),
        case(
            np.array([[1.0, 0.0], [4.0, 8.0]]), np.array([3, 1]), hint="a share counts by its words"
        ),
        case(RNG.normal(size=(4, 6)), np.array([32, 20, 7, 1])),
        case(RNG.normal(size=(3, 3)), np.array([2, 9, 4])),
        case(RNG.normal(size=(1, 5)), np.array([8]), hint="one share is the whole batch"),
    ],
    {
        "every share counts the same: weigh each by its counts": dict(
            weights=lambda counts: np.ones(len(counts)) / len(counts)
        ),
        "the shares are added up, without weights: weigh each by counts/Σ counts": dict(
            weights=lambda counts: np.ones(len(counts))
        ),
        "the weights do not sum to 1: divide by Σ counts": dict(
            weights=lambda counts: counts * 1.0
        ),
        "it is divided by the number of shares: by Σ counts": dict(
            weights=lambda counts: counts / len(counts)
        ),
        "it is divided by the largest count: by Σ counts": dict(
            weights=lambda counts: counts / counts.max()
        ),
        "the weights are 1/counts: counts/Σ counts": dict(weights=lambda counts: 1 / counts),
        "the weights are 1/counts, so that small shares count most: counts/Σ counts": dict(
            weights=lambda counts: 1 / counts / (1 / counts).sum()
        ),
        "the sum of the gradients is divided by Σ counts: weigh each by its counts first": dict(
            weights=lambda counts: np.ones(len(counts)) / counts.sum()
        ),
        "each is divided by its own counts, and averaged: weigh each by counts/Σ counts": (
            lambda grads, counts: (grads / counts[:, None]).mean(axis=0)
        ),
        "the weighted shares are averaged: their sum, the weights add up to 1": (
            lambda grads, counts: _average(grads, counts) / len(counts)
        ),
        "the counts weigh the numbers of a share, not the shares: counts[:, None], or counts @": (
            lambda grads, counts: (grads * counts / counts.sum()).sum(axis=0)
        ),
        "the weighted shares are not added up": lambda grads, counts: (
            counts[:, None] / counts.sum() * grads
        ),
        "the counts are squared in the weights": dict(
            weights=lambda counts: counts**2 / (counts**2).sum()
        ),
        "the weights are those of softmax": dict(
            weights=lambda counts: (
                np.exp(counts - counts.max()) / np.exp(counts - counts.max()).sum()
            )
        ),
        "the largest share alone is used": lambda grads, counts: grads[counts.argmax()].copy(),
        "the sum runs over the numbers of a share: over the shares, axis 0": lambda grads, counts: (
            grads @ (counts / counts.sum()) if len(set(grads.shape)) == 1 else grads.sum(axis=1)
        ),
    },
)

ONES, NUMBERS = np.ones((2, 2)), np.arange(12.0).reshape(3, 2, 2)
SQUARES, OBLONG = RNG.normal(size=(3, 3, 3)), RNG.normal(size=(3, 4, 2))


def _w_qkv(
    query: Any, key: Any, value: Any, *, turn: Any = lambda w: w.T, order: Any = (0, 1, 2)
) -> Any:
    three = [query, key, value]
    return np.concatenate([turn(three[n]) for n in order], axis=1)


W_QKV = Exercise(
    _w_qkv,
    [
        case(ONES, 2 * ONES, 3 * ONES, hint="side by side, in this order"),
        case(*NUMBERS),
        case(*SQUARES),
        case(*OBLONG, hint="here each is (4, 2), so w_qkv is (2, 12)"),
    ],
    {
        "the matrices are not transposed: each is (out, in), and w_qkv is (in, 3 out)": dict(
            turn=lambda w: w
        ),
        "the order is query, key, value: key comes first": dict(order=(1, 0, 2)),
        "the order is query, key, value: value comes first": dict(order=(2, 1, 0)),
        "the order is query, key, value: key and value are exchanged": dict(order=(0, 2, 1)),
        "the order is query, key, value": dict(order=(1, 2, 0)),
        "the matrices stand on top of one another: side by side, axis 1": (
            lambda *three: np.concatenate([w.T for w in three], axis=0)
        ),
        "the matrices stand on top of one another, and are not transposed: this is w_qkvᵀ": (
            lambda *three: np.concatenate(three, axis=0)
        ),
        "the columns of the three alternate: side by side": lambda *three: np.stack(
            [w.T for w in three], axis=-1
        ).reshape(three[0].shape[1], -1),
        "there is a new axis for the three: side by side, (in, 3 out)": lambda *three: np.stack(
            [w.T for w in three]
        ),
        "there is a new axis for the three, and they are not transposed: (in, 3 out)": (
            lambda *three: np.stack(three)
        ),
        "the numbers are poured into the shape: transpose each": lambda *three: np.concatenate(
            three, axis=0
        ).reshape(three[0].shape[1], -1),
        "the three are added": lambda *three: sum(w.T for w in three),
        "all three are the query": lambda query, key, value: _w_qkv(query, query, query),
        "only the query is transposed": lambda query, key, value: np.concatenate(
            [query.T, key, value], axis=1
        ),
    },
)


def _multiplications(
    V: int,
    C: int,
    L: int,
    B: int,
    T: int,
    *,
    passes: int = 3,
    maps: int = 12,
    attention: int = 2,
    output: int = 1,
) -> int:
    return passes * B * T * (maps * L * C**2 + attention * L * T * C + output * V * C)


MULTIPLICATIONS = Exercise(
    _multiplications,
    [
        case(1, 1, 1, 1, 1, hint="12 + 2 + 1, and backward twice as many again"),
        case(256, 128, 4, 16, 64),
        case(50, 6, 2, 3, 5),
        case(7, 10, 3, 2, 4),
        case(1000, 8, 1, 5, 9),
    ],
    {
        "the backward is missing, which costs twice as much as the forward: 3 times": dict(
            passes=1
        ),
        "the backward costs twice as much as the forward: 3 times in all, not 2": dict(passes=2),
        "the backward costs twice as much as the forward: 3 times in all, not 4": dict(passes=4),
        "a multiplication and an addition are counted as two: multiplications alone": dict(
            passes=6
        ),
        "the scores and the contexts of attention are missing: 2 T C for each token and layer": (
            dict(attention=0)
        ),
        "attention has two products, scores and contexts, T C each (those that are masked are "
        "computed, too)": dict(attention=1),
        "the output is missing: V C for each token": dict(output=0),
        "the embedding is counted as a product: it is a lookup": dict(output=2),
        "the feed-forward is missing: 8 C²": dict(maps=4),
        "4 C² are missing: attention's maps, or one of the feed-forward's": dict(maps=8),
        "attention's output map is missing: C²": dict(maps=11),
        "query, key and value are 3 C²": dict(maps=10),
        "T is missing: every token is computed": lambda V, C, L, B, T: (
            _multiplications(V, C, L, B, T) // T
        ),
        "B is missing: every text is computed": lambda V, C, L, B, T: _multiplications(
            V, C, L, 1, T
        ),
        "B and T are missing: every token of every text is computed": lambda V, C, L, B, T: (
            _multiplications(V, C, L, B, T) // (B * T)
        ),
        "L is missing: every layer is computed": lambda V, C, L, B, T: _multiplications(
            V, C, 1, B, T
        ),
        "the output is computed in every layer: once": lambda V, C, L, B, T: (
            L * _multiplications(V, C, 1, B, T)
        ),
        "each token attends to T others: T is missing in 2 T C": lambda V, C, L, B, T: (
            3 * B * T * (12 * L * C**2 + 2 * L * C + V * C)
        ),
        "attention costs 2 T C for each token, T² C for a text: not T² C for each token": (
            lambda V, C, L, B, T: 3 * B * T * (12 * L * C**2 + 2 * L * T**2 * C + V * C)
        ),
        "C stands where C² is expected in the maps": lambda V, C, L, B, T: (
            3 * B * T * (12 * L * C + 2 * L * T * C + V * C)
        ),
    },
)

WHICH, PARTS = np.array([0, 2, 0]), np.array([[1.0, 2.0], [5.0, 6.0], [3.0, -2.0]])


def _sum_of_paths(which: Any, parts: Any, n: int, *, repeats: bool = True) -> Any:
    dx = np.zeros((n, parts.shape[1]))
    if repeats:
        np.add.at(dx, which, parts)
    else:
        dx[which] += parts
    return dx


def _first_ones(which: Any, parts: Any, n: int) -> Any:
    return _sum_of_paths(which[::-1], parts[::-1], n, repeats=False)


SUM_OF_PATHS = Exercise(
    _sum_of_paths,
    [
        case(WHICH[:2], PARTS[:2], 3, hint="what is used nowhere has the gradient 0"),
        case(WHICH, PARTS, 3, hint="quantity 0 was used twice"),
        case(np.array([1, 1, 1, 0, 3]), RNG.normal(size=(5, 3)), 5),
        case(np.array([2, 0, 2, 2, 0, 1]), RNG.normal(size=(6, 4)), 3),
    ],
    {
        "dx[which] += parts forgets repeats, of which only the last counts: np.add.at(dx, which, "
        "parts), or a loop": dict(repeats=False),
        "only the first part of each quantity counts: all are added": _first_ones,
        "the parts of a quantity are averaged: they are added": lambda which, parts, n: (
            _sum_of_paths(which, parts, n) / np.maximum(np.bincount(which, minlength=n), 1)[:, None]
        ),
        "the parts are averaged over all of them: they are added": lambda which, parts, n: (
            _sum_of_paths(which, parts, n) / len(which)
        ),
        "unused quantities are left out: they have the gradient 0, in (n, P)": (
            lambda which, parts, n: _sum_of_paths(which, parts, n)[np.unique(which)]
        ),
        "the array ends with the last quantity that was used: it has n rows": (
            lambda which, parts, n: _sum_of_paths(which, parts, which.max() + 1)
        ),
        "every quantity gets the sum of all parts: of its own": lambda which, parts, n: np.tile(
            parts.sum(axis=0), (n, 1)
        ),
        "the parts are added up over P: each has P numbers": lambda which, parts, n: _sum_of_paths(
            which, parts, n
        ).sum(axis=1),
        "the parts are in the order in which they came: sorted by quantity": (
            lambda which, parts, n: np.concatenate([parts, np.zeros((n, parts.shape[1]))])[:n]
        ),
        "the absolute values are added: the signs belong to the parts": lambda which, parts, n: (
            _sum_of_paths(which, np.abs(parts), n)
        ),
        "parts are subtracted: added": lambda which, parts, n: -_sum_of_paths(which, parts, n),
        "the largest part of each quantity is taken: their sum": lambda which, parts, n: np.array(
            [
                parts[which == i].max(axis=0) if (which == i).any() else np.zeros(parts.shape[1])
                for i in range(n)
            ]
        ),
        "the parts of a quantity are multiplied: they are added": lambda which, parts, n: np.array(
            [
                parts[which == i].prod(axis=0) if (which == i).any() else np.zeros(parts.shape[1])
                for i in range(n)
            ]
        ),
        "it is transposed: (n, P)": lambda which, parts, n: _sum_of_paths(which, parts, n).T,
        "the last part is left out": lambda which, parts, n: _sum_of_paths(
            which[:-1], parts[:-1], n
        ),
        "the first part is left out": lambda which, parts, n: _sum_of_paths(
            which[1:], parts[1:], n
        ),
    },
)
