"""Mistakes of backwards as students make them, beyond the one-line mutants of the registry.

Each is a whole backward, wrong in one way, with its sentence; like the registry, they are compared
with a reader's answers array by array. Some run only where sizes are equal.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .. import ops
from ..arrays import as_rows

Wrong = dict[str, Callable[[Any, Any], Any]]


# ---- attention -------------------------------------------------------------------------------


def _attention(make_ds: Callable[..., Any]) -> Callable[..., Any]:
    """The right backward around another ds, from da, a, dc, v and c; without the scale."""

    def backward(dc: Any, cache: Any) -> Any:
        q, k, v, a, c, scale = cache
        ds = scale * make_ds(dc @ v.swapaxes(-1, -2), a, dc, c)
        return ds @ k, ds.swapaxes(-1, -2) @ q, a.swapaxes(-1, -2) @ dc

    return backward


ATTENTION: Wrong = {
    "the softmax is passed over: ds is da itself, and ds_ij = a_ij (da_ij − Σ_l a_il da_il) is "
    "expected": _attention(lambda da, a, dc, c: da),
    "ds is a da: the term −Σ_l a_il da_il is missing": _attention(lambda da, a, dc, c: a * da),
    "ds is da − Σ_l a_il da_il: the factor a_ij in front is missing": _attention(
        lambda da, a, dc, c: da - (a * da).sum(axis=-1, keepdims=True)
    ),
    "Σ_l a_il da_il runs over the queries: it runs over the keys, axis −1": _attention(
        lambda da, a, dc, c: a * (da - (a * da).sum(axis=-2, keepdims=True))
    ),
    "Σ_l da_il is not weighted: Σ_l a_il da_il is expected": _attention(
        lambda da, a, dc, c: a * (da - da.sum(axis=-1, keepdims=True))
    ),
    "the mean of da is subtracted: Σ_l a_il da_il is expected": _attention(
        lambda da, a, dc, c: a * (da - da.mean(axis=-1, keepdims=True))
    ),
    "ds is a (1 − a) da, the slope of a logistic function: softmax has ds_ij = a_ij (da_ij − "
    "Σ_l a_il da_il)": _attention(lambda da, a, dc, c: a * (1 - a) * da),
    "ds has + where − is expected: ds_ij = a_ij (da_ij − Σ_l a_il da_il)": _attention(
        lambda da, a, dc, c: a * (da + (a * da).sum(axis=-1, keepdims=True))
    ),
    "ds has the wrong sign": _attention(
        lambda da, a, dc, c: -a * (da - (a * da).sum(axis=-1, keepdims=True))
    ),
    "keepdims=True is missing in Σ_l a_il da_il: the sums of the rows lie along the columns": (
        _attention(lambda da, a, dc, c: a * (da - (a * da).sum(axis=-1)))
    ),
    "Σ_l a_il da_il is a mean: a sum is expected": _attention(
        lambda da, a, dc, c: a * (da - (a * da).mean(axis=-1, keepdims=True))
    ),
    "dv weighs by a divided by its sum over the queries: a is divided already, over the keys": (
        lambda dc, cache: (
            *ops.attention_backward(dc, cache)[:2],
            (cache[3] / cache[3].sum(axis=-2, keepdims=True)).swapaxes(-1, -2) @ dc,
        )
    ),
    "Σ_l a_il da_il runs over all pairs: each query has a sum of its own": _attention(
        lambda da, a, dc, c: a * (da - (a * da).sum(axis=(-2, -1), keepdims=True))
    ),
}


# ---- softmax and the losses ------------------------------------------------------------------

SOFTMAX: Wrong = {
    "keepdims=True is missing in Σ_l a_l da_l: the sums of the rows lie along the columns": (
        lambda da, a: a * (da - (a * da).sum(axis=-1))
    ),
    "the factor a_j in front of the bracket is missing": lambda da, a: (
        da - (a * da).sum(axis=-1, keepdims=True)
    ),
    "Σ_l da_l is not weighted: Σ_l a_l da_l is expected": lambda da, a: (
        a * (da - da.sum(axis=-1, keepdims=True))
    ),
    "Σ_l a_l da_l is a mean: a sum is expected": lambda da, a: (
        a * (da - (a * da).mean(axis=-1, keepdims=True))
    ),
    "there is + where − is expected: ds_j = a_j (da_j − Σ_l a_l da_l)": lambda da, a: (
        a * (da + (a * da).sum(axis=-1, keepdims=True))
    ),
    "da comes through as it is: ds_j = a_j (da_j − Σ_l a_l da_l) is expected": lambda da, a: da,
    "the slope of the logarithm of softmax, da − a Σ_l da_l, stands there": lambda da, a: (
        da - a * da.sum(axis=-1, keepdims=True)
    ),
    "da and a are exchanged: the first argument is the upstream gradient": lambda da, a: (
        da * (a - (a * da).sum(axis=-1, keepdims=True))
    ),
    "the largest da of the row is subtracted: Σ_l a_l da_l is expected": lambda da, a: (
        a * (da - da.max(axis=-1, keepdims=True))
    ),
    "da is squared in the sum: Σ_l a_l da_l": lambda da, a: (
        a * (da - (a * da * da).sum(axis=-1, keepdims=True))
    ),
    "a is squared in the sum: Σ_l a_l da_l": lambda da, a: (
        a * (da - (a * a * da).sum(axis=-1, keepdims=True))
    ),
}


def _loss(weigh: Callable[..., Any]) -> Callable[..., Any]:
    """dL/N (p − y) of the counted rows, weighed otherwise."""

    def backward(dL: Any, cache: Any) -> Any:
        p, y, counted, N, shape = cache
        rows = p - np.eye(p.shape[-1])[y]
        return weigh(rows, p, counted, N, dL, np.eye(p.shape[-1])[y]).reshape(shape)

    return backward


CROSS_ENTROPY: Wrong = {
    "it is not divided by N, the number of targets that count": _loss(
        lambda rows, p, counted, N, dL, one: dL * rows * counted[:, None]
    ),
    "it is divided by the number of all rows: by N, those that count": _loss(
        lambda rows, p, counted, N, dL, one: dL * rows * counted[:, None] / len(p)
    ),
    "ignored targets get a gradient: it is 0 for them": _loss(
        lambda rows, p, counted, N, dL, one: dL * rows / N
    ),
    "ignored targets get a gradient, and it is divided by the number of all rows": _loss(
        lambda rows, p, counted, N, dL, one: dL * rows / len(p)
    ),
    "ignored targets get a gradient, and it is not divided by N": _loss(
        lambda rows, p, counted, N, dL, one: dL * rows
    ),
    "dL is left out: everything is multiplied by it": _loss(
        lambda rows, p, counted, N, dL, one: rows * counted[:, None] / N
    ),
    "dL and the division by N are left out": _loss(
        lambda rows, p, counted, N, dL, one: rows * counted[:, None]
    ),
    "1 is not subtracted at the target: the prediction minus the truth": _loss(
        lambda rows, p, counted, N, dL, one: dL * p * counted[:, None] / N
    ),
    "the prediction is missing: the prediction minus the truth": _loss(
        lambda rows, p, counted, N, dL, one: -dL * one * counted[:, None] / N
    ),
    "only the targets' own logits get a gradient: the others have p dL/N": _loss(
        lambda rows, p, counted, N, dL, one: dL * rows * one * counted[:, None] / N
    ),
    "1 is subtracted from every word: only at the target": _loss(
        lambda rows, p, counted, N, dL, one: dL * (p - 1) * counted[:, None] / N
    ),
    "p (1 − p) is the slope of a logistic function: the prediction minus the truth": _loss(
        lambda rows, p, counted, N, dL, one: dL * p * (1 - p) * counted[:, None] / N
    ),
    "this is the loss −log p at the target, not its gradient": _loss(
        lambda rows, p, counted, N, dL, one: -dL * one * np.log(p) * counted[:, None] / N
    ),
    "the difference is squared: the prediction minus the truth": _loss(
        lambda rows, p, counted, N, dL, one: dL * rows**2 * counted[:, None] / N
    ),
    "the slope of softmax comes once more: the prediction minus the truth is all": _loss(
        lambda rows, p, counted, N, dL, one: (
            dL * p * (rows - (p * rows).sum(axis=-1, keepdims=True)) * counted[:, None] / N
        )
    ),
    "1 is added at the target: it is subtracted": _loss(
        lambda rows, p, counted, N, dL, one: dL * (p + one) * counted[:, None] / N
    ),
    "this is the gradient of the probabilities, −1/p at the target": _loss(
        lambda rows, p, counted, N, dL, one: -dL * one / p * counted[:, None] / N
    ),
    "it is multiplied by N where a division is expected": _loss(
        lambda rows, p, counted, N, dL, one: dL * rows * counted[:, None] * N
    ),
}


def _smoothed(truth: Callable[..., Any]) -> Callable[..., Any]:
    def backward(dL: Any, cache: Any) -> Any:
        (p, y, counted, N, shape), e = cache
        V = shape[-1]
        rows = p - truth(np.eye(V)[y], e, V)
        return (dL * rows * counted[:, None] / N).reshape(shape)

    return backward


def _as_smoothed(wrong: Callable[..., Any], dL: Any, cache: Any) -> Any:
    """The mistake of cross_entropy's weights with the smoothed truth."""
    (p, y, counted, N, shape), e = cache
    share = e * (np.eye(shape[-1])[y] - 1 / shape[-1])
    return wrong(dL, (p + share, y, counted, N, shape))


SMOOTHED: Wrong = {
    "the truth is not smoothed: ȳ = (1 − ε) 1[w = y] + ε/V": _smoothed(lambda one, e, V: one),
    "ε/V is missing: ȳ = (1 − ε) 1[w = y] + ε/V": _smoothed(lambda one, e, V: (1 - e) * one),
    "ε is not divided by V": _smoothed(lambda one, e, V: (1 - e) * one + e),
    "ε is shared by the V − 1 others: by all V": _smoothed(
        lambda one, e, V: np.where(one == 1, 1 - e, e / (V - 1))
    ),
    "the right word lacks its share ε/V": _smoothed(
        lambda one, e, V: np.where(one == 1, 1 - e, e / V)
    ),
    "1 − ε in front of the right word is missing": _smoothed(lambda one, e, V: one + e / V),
    "ε and 1 − ε are exchanged": _smoothed(lambda one, e, V: e * one + (1 - e) / V),
    "the prediction is taken alone: the truth ȳ is missing": _smoothed(lambda one, e, V: 0 * one),
    **{
        words: partial(_as_smoothed, wrong)
        for words, wrong in CROSS_ENTROPY.items()
        if "N" in words or "ignored" in words or "dL" in words
    },
}


def _nll(make: Callable[..., Any]) -> Callable[..., Any]:
    def backward(dL: Any, cache: Any) -> Any:
        p_y, y, counted, N, shape = cache
        dp = np.zeros((len(y), shape[-1]))
        dp[counted, y[counted]] = make(dL, N, p_y, len(y))
        return dp.reshape(shape)

    return backward


NLL: Wrong = {
    "it is not divided by N": _nll(lambda dL, N, p, rows: -dL / p),
    "it is divided by the number of all rows: by N, those that count": _nll(
        lambda dL, N, p, rows: -dL / p / rows
    ),
    "the sign is missing: −1/p": _nll(lambda dL, N, p, rows: dL / p / N),
    "it is multiplied by p: −1/p": _nll(lambda dL, N, p, rows: -dL * p / N),
    "1/p is missing": _nll(lambda dL, N, p, rows: -dL / N * np.ones_like(p)),
    "dL is left out": _nll(lambda dL, N, p, rows: -1 / N / p),
    "−log p is derived as log p, without 1/p": _nll(lambda dL, N, p, rows: dL * np.log(p) / N),
    "1/p² stands where 1/p is expected": _nll(lambda dL, N, p, rows: -dL / p**2 / N),
}


# ---- maps and tables -------------------------------------------------------------------------


def _dw(make: Callable[..., Any]) -> Callable[..., Any]:
    def backward(dy: Any, cache: Any) -> Any:
        dx, _, db = ops.linear_backward(dy, cache)
        return dx, make(cache[0], dy), db

    return backward


def _db(make: Callable[..., Any]) -> Callable[..., Any]:
    def backward(dy: Any, cache: Any) -> Any:
        dx, dw, db = ops.linear_backward(dy, cache)
        return dx, dw, make(dy) if db is not None else None

    return backward


LINEAR: Wrong = {
    "db is dy itself, not yet summed: Σ_n dy_n over every axis but the last": _db(lambda dy: dy),
    "db is summed over the last axis, too: over every axis but the last": _db(
        lambda dy: np.full(dy.shape[-1], dy.sum())
    ),
    "db is the sum over the last axis: over every axis but the last": _db(
        lambda dy: dy.sum(axis=-1)
    ),
    "db holds the first row alone: Σ_n dy_n": _db(lambda dy: as_rows(dy)[0]),
    "db is the largest dy: the sum Σ_n dy_n": _db(lambda dy: as_rows(dy).max(axis=0)),
    "db is Σ_n |dy_n|: the signs belong to it": _db(lambda dy: np.abs(as_rows(dy)).sum(axis=0)),
    "db is Σ_n dy_n²: dy is not squared": _db(lambda dy: (as_rows(dy) ** 2).sum(axis=0)),
    "db is 1: Σ_n dy_n": _db(lambda dy: np.ones(dy.shape[-1])),
    "db is the number of rows: Σ_n dy_n": _db(
        lambda dy: np.full(dy.shape[-1], float(len(as_rows(dy))))
    ),
    "db holds the last row alone: Σ_n dy_n": _db(lambda dy: as_rows(dy)[-1]),
    "db is the mean over the texts: Σ_n dy_n over every axis but the last": _db(
        lambda dy: dy.sum(axis=-2).mean(axis=0)
    ),
    "dw has one matrix for each text: they must be summed": _dw(
        lambda x, dy: x.swapaxes(-1, -2) @ dy
    ),
    "dw is the mean over the texts of the batch: all rows must be added": _dw(
        lambda x, dy: (x.swapaxes(-1, -2) @ dy).mean(axis=0)
    ),
    "dw holds the last text alone: all rows must be added": _dw(
        lambda x, dy: (x.swapaxes(-1, -2) @ dy)[-1]
    ),
    "dw holds the first text alone: all rows must be added": _dw(
        lambda x, dy: (x.swapaxes(-1, -2) @ dy)[0]
    ),
    "dw sums x and dy before it multiplies: Σ_n x_n dy_n": _dw(
        lambda x, dy: np.outer(as_rows(x).sum(axis=0), as_rows(dy).sum(axis=0))
    ),
    "dx is dy w: dy wᵀ": lambda dy, cache: (
        (as_rows(dy) @ cache[1]).reshape(cache[0].shape),
        *ops.linear_backward(dy, cache)[1:],
    ),
}


def _output(make: Callable[..., Any]) -> Callable[..., Any]:
    """dc is right; dtable from dlogits and c."""
    return lambda dlogits, cache: (
        ops.output_backward(dlogits, cache)[0],
        make(dlogits, cache[0]),
    )


OUTPUT: Wrong = {
    "dtable holds the last text alone: all rows must be added": _output(
        lambda dz, c: dz[-1].T @ c[-1]
    ),
    "dtable holds the first text alone: all rows must be added": _output(
        lambda dz, c: dz[0].T @ c[0]
    ),
    "dtable holds the first position of each text alone: all rows must be added": _output(
        lambda dz, c: dz[:, 0].T @ c[:, 0]
    ),
    "dtable is the mean over the rows: all rows must be added": _output(
        lambda dz, c: as_rows(dz).T @ as_rows(c) / len(as_rows(c))
    ),
    "dtable is the mean over the texts: all rows must be added": _output(
        lambda dz, c: (dz.swapaxes(-1, -2) @ c).mean(axis=0)
    ),
    "dtable has one matrix for each text: they must be summed": _output(
        lambda dz, c: dz.swapaxes(-1, -2) @ c
    ),
    "dtable sums dz and c before it multiplies: Σ_n dz_n c_n": _output(
        lambda dz, c: np.outer(as_rows(dz).sum(axis=0), as_rows(c).sum(axis=0))
    ),
    "the table's own softmax or mask is not part of this: dc is dz table": lambda dz, cache: (
        dz @ cache[1] / len(cache[1]),
        ops.output_backward(dz, cache)[1],
    ),
}


def _dtable(make: Callable[..., Any]) -> Callable[..., Any]:
    def backward(de: Any, cache: Any) -> Any:
        shape, ids = cache
        return make(np.zeros(shape), as_rows(de), np.ravel(ids), np.shape(ids)[0])

    return backward


def _with(dtable: Any, ids: Any, de: Any) -> Any:
    dtable[ids] = de
    return dtable


def _added(dtable: Any, ids: Any, de: Any) -> Any:
    np.add.at(dtable, ids, de)
    return dtable


def _by_place(de: Any, cache: Any) -> Any:
    dtable = np.zeros(cache[0])
    for text in de:
        dtable[: len(text)] += text
    return dtable


EMBEDDING: Wrong = {
    "only the last occurrence of a word counts: dtable[ids] = de overwrites, dtable[ids] += de "
    "adds once; np.add.at, or a loop, adds each": _dtable(
        lambda dtable, de, ids, B: _with(dtable, ids, de)
    ),
    "only the first occurrence of a word counts: all must be added": _dtable(
        lambda dtable, de, ids, B: _with(dtable, ids[::-1], de[::-1])
    ),
    "the occurrences of a word are averaged: they must be added": _dtable(
        lambda dtable, de, ids, B: (
            _added(dtable, ids, de)
            / np.maximum(np.bincount(ids, minlength=len(dtable)), 1)[:, None]
        )
    ),
    "1 is added for each occurrence: de is": _dtable(
        lambda dtable, de, ids, B: _added(dtable, ids, np.ones_like(de))
    ),
    "it is divided by the number of tokens: only the loss is a mean": _dtable(
        lambda dtable, de, ids, B: _added(dtable, ids, de) / len(ids)
    ),
    "it is divided by the number of texts: only the loss is a mean": _dtable(
        lambda dtable, de, ids, B: _added(dtable, ids, de) / B
    ),
    "only the last text teaches: all texts of the batch must add": _dtable(
        lambda dtable, de, ids, B: _added(dtable, ids[-(len(ids) // B) :], de[-(len(ids) // B) :])
    ),
    "the last token of all is left out": _dtable(
        lambda dtable, de, ids, B: _added(dtable, ids[:-1], de[:-1])
    ),
    "the first token of all is left out": _dtable(
        lambda dtable, de, ids, B: _added(dtable, ids[1:], de[1:])
    ),
    "the place of a token is taken for its id: the row of its word gets its gradient": (
        lambda de, cache: _by_place(de, cache)
    ),
    "the ids are sorted, and de is not": _dtable(
        lambda dtable, de, ids, B: _added(dtable, np.sort(ids), de)
    ),
    "this is de itself: each row of it belongs to the row of its word": lambda de, cache: de,
    "every word gets the sum of all de": _dtable(
        lambda dtable, de, ids, B: dtable + de.sum(axis=0)
    ),
}


def _positions(make: Callable[..., Any]) -> Callable[..., Any]:
    def backward(dy: Any, cache: Any) -> Any:
        made = make(dy.reshape(-1, *dy.shape[-2:]))
        dtable = np.zeros(cache[1])
        dtable[: len(made)] = made
        return dy, dtable

    return backward


POSITIONS: Wrong = {
    "dtable is the mean over the texts: their sum": _positions(lambda dy: dy.mean(axis=0)),
    "dtable holds the first text alone: the sum over all texts": _positions(lambda dy: dy[0]),
    "dtable holds the last text alone: the sum over all texts": _positions(lambda dy: dy[-1]),
    "dtable has only the rows that were used: it has the shape of the table, 0 in the others": (
        lambda dy, cache: (dy, dy.reshape(-1, *dy.shape[-2:]).sum(axis=0))
    ),
    "dtable is dy itself: summed over the texts, in the shape of the table": lambda dy, cache: (
        dy,
        dy,
    ),
    "the last rows of the table are taken: the first T": lambda dy, cache: (
        dy,
        np.concatenate([np.zeros((cache[1][0] - dy.shape[-2], dy.shape[-1])), dy.sum(axis=0)]),
    ),
    "dtable is summed over the positions, too": _positions(
        lambda dy: np.broadcast_to(dy.sum(axis=(0, 1)), dy.shape[1:])
    ),
    "de is summed over the texts: each text keeps its own": lambda dy, cache: (
        np.broadcast_to(dy.sum(axis=0), dy.shape),
        ops.positions_backward(dy, cache)[1],
    ),
    "de is halved, as if the gradient were shared: a sum passes it on whole": lambda dy, cache: (
        dy / 2,
        ops.positions_backward(dy, cache)[1],
    ),
}

# ---- element by element ----------------------------------------------------------------------

ROOT = np.sqrt(2 / np.pi)


def _layer_norm(make: Callable[..., Any]) -> Callable[..., Any]:
    """dx from dx̂, x̂ and σ; dgain and dbias are right."""

    def backward(dy: Any, cache: Any) -> Any:
        x_hat, sigma, gain, _ = cache
        _, dgain, dbias = ops.layer_norm_backward(dy, cache)
        return make(dy * gain, x_hat, sigma, dy), dgain, dbias

    return backward


def _mean(x: Any) -> Any:
    return x.mean(axis=-1, keepdims=True)


def _of_gain(
    make: Callable[..., Any], bias: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    def backward(dy: Any, cache: Any) -> Any:
        dx, dgain, dbias = ops.layer_norm_backward(dy, cache)
        if bias is not None:
            return dx, dgain, None if dbias is None else bias(dy)
        return dx, make(dy, cache[0], cache[2]), dbias

    return backward


LAYER_NORM: Wrong = {
    "mean(dx̂) is missing from dx": _layer_norm(lambda d, x, s, dy: (d - x * _mean(d * x)) / s),
    "x̂ mean(dx̂ x̂) is missing from dx: σ is no constant": _layer_norm(
        lambda d, x, s, dy: (d - _mean(d)) / s
    ),
    "both means are missing from dx: mean and σ are no constants": _layer_norm(
        lambda d, x, s, dy: d / s
    ),
    "the division by σ is missing from dx": _layer_norm(
        lambda d, x, s, dy: d - _mean(d) - x * _mean(d * x)
    ),
    "dx is divided by σ²: by σ": _layer_norm(
        lambda d, x, s, dy: (d - _mean(d) - x * _mean(d * x)) / s**2
    ),
    "dx is divided by √σ: by σ, which is the root already": _layer_norm(
        lambda d, x, s, dy: (d - _mean(d) - x * _mean(d * x)) / np.sqrt(s)
    ),
    "dx is divided by σ³: by σ": _layer_norm(
        lambda d, x, s, dy: (d - _mean(d) - x * _mean(d * x)) / s**3
    ),
    "ε is added to σ in dx: σ holds it already": _layer_norm(
        lambda d, x, s, dy: (d - _mean(d) - x * _mean(d * x)) / (s + 1e-5)
    ),
    "dx̂ is multiplied by C in dx, and the means are not sums: C dx̂ − Σ dx̂ − x̂ Σ dx̂ x̂ over C σ": (
        _layer_norm(lambda d, x, s, dy: (d.shape[-1] * d - _mean(d) - x * _mean(d * x)) / s)
    ),
    "the means in dx run over all rows together: each row has its own, axis −1": _layer_norm(
        lambda d, x, s, dy: (d - d.mean() - x * (d * x).mean()) / s
    ),
    "x̂ Σ dx̂ x̂ stands where its mean is expected in dx": _layer_norm(
        lambda d, x, s, dy: (d - _mean(d) - x * (d * x).sum(axis=-1, keepdims=True)) / s
    ),
    "Σ dx̂ stands where its mean is expected in dx": _layer_norm(
        lambda d, x, s, dy: (d - d.sum(axis=-1, keepdims=True) - x * _mean(d * x)) / s
    ),
    "x̂ mean(dx̂ x̂) holds dy where dx̂ = gain dy is expected": _layer_norm(
        lambda d, x, s, dy: (d - _mean(d) - x * _mean(dy * x)) / s
    ),
    "mean(dx̂) holds dy where dx̂ = gain dy is expected": _layer_norm(
        lambda d, x, s, dy: (d - _mean(dy) - x * _mean(d * x)) / s
    ),
    "the gain is there twice in dx": lambda dy, cache: (
        ops.layer_norm_backward(dy * cache[2], cache)[0],
        *ops.layer_norm_backward(dy, cache)[1:],
    ),
    "dx is multiplied by σ: divided": _layer_norm(
        lambda d, x, s, dy: (d - _mean(d) - x * _mean(d * x)) * s
    ),
    "the gain is missing from dx: dx̂ = gain dy": _layer_norm(
        lambda d, x, s, dy: (dy - _mean(dy) - x * _mean(dy * x)) / s
    ),
    "x̂ in front of mean(dx̂ x̂) is missing from dx": _layer_norm(
        lambda d, x, s, dy: (d - _mean(d) - _mean(d * x)) / s
    ),
    "sums stand where means are expected in dx": _layer_norm(
        lambda d, x, s, dy: (
            (d - d.sum(axis=-1, keepdims=True) - x * (d * x).sum(axis=-1, keepdims=True)) / s
        )
    ),
    "mean(dx̂) is added to dx: subtracted": _layer_norm(
        lambda d, x, s, dy: (d + _mean(d) - x * _mean(d * x)) / s
    ),
    "x̂ mean(dx̂ x̂) is added to dx: subtracted": _layer_norm(
        lambda d, x, s, dy: (d - _mean(d) + x * _mean(d * x)) / s
    ),
    "the means in dx run over the texts: over the row, axis −1": _layer_norm(
        lambda d, x, s, dy: (
            (d - d.mean(axis=0, keepdims=True) - x * (d * x).mean(axis=0, keepdims=True)) / s
        )
    ),
    "x̂ mean(dx̂ x̂) in dx holds mean(dx̂) mean(x̂), which is 0": _layer_norm(
        lambda d, x, s, dy: (d - _mean(d) - x * _mean(d) * _mean(x)) / s
    ),
    "dx passes over the norm: it is gain dy": _layer_norm(lambda d, x, s, dy: d),
    "dx passes over the norm and the gain: it is dy": _layer_norm(lambda d, x, s, dy: dy),
    "dgain is Σ_n dy_n, without x̂": _of_gain(lambda dy, x, gain: as_rows(dy).sum(axis=0)),
    "dgain is the mean over the rows: their sum": _of_gain(
        lambda dy, x, gain: as_rows(dy * x).mean(axis=0)
    ),
    "dgain is not summed over the rows": _of_gain(lambda dy, x, gain: dy * x),
    "dgain is summed over the first axis alone: over every axis but the last": _of_gain(
        lambda dy, x, gain: (dy * x).sum(axis=0)
    ),
    "dgain holds the gain: Σ_n dy_n x̂_n": _of_gain(
        lambda dy, x, gain: as_rows(dy * x * gain).sum(axis=0)
    ),
    "dgain is summed over the last axis: over every axis but the last": _of_gain(
        lambda dy, x, gain: (dy * x).sum(axis=-1)
    ),
    "dbias is the mean over the rows: their sum": _of_gain(
        _mean, lambda dy: as_rows(dy).mean(axis=0)
    ),
    "dbias is not summed over the rows": _of_gain(_mean, lambda dy: dy),
    "dbias is summed over the first axis alone: over every axis but the last": _of_gain(
        _mean, lambda dy: dy.sum(axis=0)
    ),
}


def _of_x(slope: Callable[..., Any]) -> Callable[..., Any]:
    """dy times a slope of x and what the forward kept beside it."""
    return lambda dy, cache: dy * slope(*cache)


def _u(x: Any) -> Any:
    return ROOT * (x + 0.044715 * x**3)


GELU: Wrong = {
    "the term x h′ is missing: dx = dy (h + x h′)": _of_x(lambda x, h: h),
    "h is missing: dx = dy (h + x h′)": _of_x(
        lambda x, h: x * 2 * h * (1 - h) * ROOT * (1 + 3 * 0.044715 * x * x)
    ),
    "u′ is missing in h′": _of_x(lambda x, h: h + x * 2 * h * (1 - h)),
    "the 3 is missing in u′ = √(2/π) (1 + 3·0.044715 x²)": _of_x(
        lambda x, h: h + x * 2 * h * (1 - h) * ROOT * (1 + 0.044715 * x * x)
    ),
    "√(2/π) is missing in u′": _of_x(
        lambda x, h: h + x * 2 * h * (1 - h) * (1 + 3 * 0.044715 * x * x)
    ),
    "the cubic term is missing in u′": _of_x(lambda x, h: h + x * 2 * h * (1 - h) * ROOT),
    "the 2 is missing in h′ = 2 u′ h (1 − h)": _of_x(
        lambda x, h: h + x * h * (1 - h) * ROOT * (1 + 3 * 0.044715 * x * x)
    ),
    "x is missing in front of h′": _of_x(
        lambda x, h: h + 2 * h * (1 - h) * ROOT * (1 + 3 * 0.044715 * x * x)
    ),
    "this is the slope of the other form, x Φ(x)": lambda dy, cache: ops.gelu_exact_backward(
        dy, ops.gelu_exact_forward(cache[0])[1]
    ),
    "1 − h² stands where 2 h (1 − h) is expected: h is (1 + tanh u)/2, not tanh u": _of_x(
        lambda x, h: h + x * (1 - h * h) * ROOT * (1 + 3 * 0.044715 * x * x)
    ),
    "x h′ is subtracted: added": _of_x(
        lambda x, h: h - x * 2 * h * (1 - h) * ROOT * (1 + 3 * 0.044715 * x * x)
    ),
    "the slope alone stands there: times dy": lambda dy, cache: ops.gelu_backward(
        np.ones_like(dy), cache
    ),
    "tanh² is tanh in h′: 1 − tanh² u": _of_x(
        lambda x, h: h + 0.5 * x * (1 - np.tanh(_u(x))) * ROOT * (1 + 3 * 0.044715 * x * x)
    ),
    "this is the slope of ReLU": _of_x(lambda x, h: x > 0),
    "this is the value, x h, times dy": _of_x(lambda x, h: x * h),
    "this is the slope of x σ(1.702 x), another form": _of_x(
        lambda x, h: (
            1 / (1 + np.exp(-1.702 * x))
            + x * 1.702 * np.exp(-1.702 * x) / (1 + np.exp(-1.702 * x)) ** 2
        )
    ),
}

BELL = 1 / np.sqrt(2 * np.pi)

GELU_EXACT: Wrong = {
    "the term x Φ′(x) is missing: dx = dy (Φ + x Φ′)": _of_x(lambda x, phi: phi),
    "Φ is missing: dx = dy (Φ + x Φ′)": _of_x(lambda x, phi: x * BELL * np.exp(-x * x / 2)),
    "x is missing in front of Φ′": _of_x(lambda x, phi: phi + BELL * np.exp(-x * x / 2)),
    "1/√(2π) is missing in Φ′": _of_x(lambda x, phi: phi + x * np.exp(-x * x / 2)),
    "the 1/2 is missing in exp(−x²/2)": _of_x(lambda x, phi: phi + x * BELL * np.exp(-x * x)),
    "the sign is wrong in exp(−x²/2)": _of_x(lambda x, phi: phi + x * BELL * np.exp(x * x / 2)),
    "1/√π stands where 1/√(2π) is expected": _of_x(
        lambda x, phi: phi + x / np.sqrt(np.pi) * np.exp(-x * x / 2)
    ),
    "1/(2π) stands where 1/√(2π) is expected": _of_x(
        lambda x, phi: phi + x / (2 * np.pi) * np.exp(-x * x / 2)
    ),
    "this is the slope of the tanh form": lambda dy, cache: ops.gelu_backward(
        dy, ops.gelu_forward(cache[0])[1]
    ),
    "this is the slope of ReLU": _of_x(lambda x, phi: x > 0),
    "x Φ′ is subtracted: added": _of_x(lambda x, phi: phi - x * BELL * np.exp(-x * x / 2)),
    "x Φ′ is there twice": _of_x(lambda x, phi: phi + 2 * x * BELL * np.exp(-x * x / 2)),
    "Φ′ is exp(−x²)/√π, the slope of erf(x)/2: exp(−x²/2)/√(2π)": _of_x(
        lambda x, phi: phi + x * np.exp(-x * x) / np.sqrt(np.pi)
    ),
    "x² stands in front of Φ′: x": _of_x(lambda x, phi: phi + x * x * BELL * np.exp(-x * x / 2)),
    "the slope alone stands there: times dy": lambda dy, cache: ops.gelu_exact_backward(
        np.ones_like(dy), cache
    ),
    "Φ′ is Φ (1 − Φ), that of the logistic function: exp(−x²/2)/√(2π)": _of_x(
        lambda x, phi: phi + x * phi * (1 - phi)
    ),
}

RELU: Wrong = {
    "dy comes through everywhere: it is 0 where x was not positive": lambda dy, on: dy,
    "dy comes through where x was not positive: the other way round": lambda dy, on: dy * ~on,
    "dy itself is cut at 0: it is x that decides": lambda dy, on: np.maximum(dy, 0),
    "the slope alone stands there: times dy": lambda dy, on: on * 1.0,
    "dy is cut at 0 as well": lambda dy, on: np.maximum(dy, 0) * on,
    "a little comes through where x was not positive, as in a leaky ReLU: 0": lambda dy, on: (
        dy * np.where(on, 1, 0.01)
    ),
    "|dy| comes through: dy": lambda dy, on: np.abs(dy) * on,
    "dy has the other sign where x was not positive, as if |x| were derived": lambda dy, on: (
        np.where(on, dy, -dy)
    ),
}

TANH: Wrong = {
    "y is not squared: 1 − y²": lambda dy, y: dy * (1 - y),
    "1 + y² stands where 1 − y² is expected": lambda dy, y: dy * (1 + y * y),
    "this is the slope of the logistic function, y (1 − y): 1 − y²": lambda dy, y: dy * y * (1 - y),
    "the cache holds y, and tanh is taken of it once more": lambda dy, y: (
        dy * (1 - np.tanh(y) ** 2)
    ),
    "(1 − y)² stands where 1 − y² is expected": lambda dy, y: dy * (1 - y) ** 2,
    "2 y (1 − y²) stands where 1 − y² is expected": lambda dy, y: dy * 2 * y * (1 - y * y),
    "−2 y, the slope of 1 − y², stands where 1 − y² is expected": lambda dy, y: -2 * y * dy,
    "1 − y² is missing": lambda dy, y: dy,
    "this is y² − 1: the sign": lambda dy, y: dy * (y * y - 1),
    "dy is squared, too": lambda dy, y: dy * dy * (1 - y * y),
    "the slope alone stands there: times dy": lambda dy, y: 1 - y * y,
    "it is divided by 1 − y²: multiplied": lambda dy, y: dy / (1 - y * y),
    "this is y times dy": lambda dy, y: dy * y,
    "the root is taken, √(1 − y²)": lambda dy, y: dy * np.sqrt(1 - y * y),
}


def _dropped(change: Callable[..., Any]) -> Callable[..., Any]:
    return lambda dy, m: dy if m is None else change(dy, m)


DROPOUT: Wrong = {
    "what was dropped gets a gradient: the mask of the forward is not used": _dropped(
        lambda dy, m: dy
    ),
    "the factor 1/(1 − rate) is missing: m holds it": _dropped(lambda dy, m: dy * (m > 0)),
    "it is divided by m, which is 0 for what was dropped: multiplied": _dropped(
        lambda dy, m: np.where(m > 0, dy / np.where(m > 0, m, 1), 0)
    ),
    "what was dropped gets the gradient, and what stayed none": _dropped(
        lambda dy, m: dy * (m == 0)
    ),
    "the factor 1/(1 − rate) is there twice": _dropped(lambda dy, m: dy * m * m),
    "everything is multiplied by 1/(1 − rate), also what was dropped": _dropped(
        lambda dy, m: dy * m.max()
    ),
    "dropout is there in evaluation: the cache is None there": lambda dy, m: (
        np.zeros_like(dy) if m is None else dy * m
    ),
}

STUDENTS: dict[str, Wrong] = {
    "attention": ATTENTION,
    "softmax": SOFTMAX,
    "cross_entropy": CROSS_ENTROPY,
    "smoothed_cross_entropy": SMOOTHED,
    "nll": NLL,
    "linear": LINEAR,
    "output": OUTPUT,
    "embedding": EMBEDDING,
    "positions": POSITIONS,
    "layer_norm": LAYER_NORM,
    "gelu": GELU,
    "gelu_exact": GELU_EXACT,
    "relu": RELU,
    "tanh": TANH,
    "dropout": DROPOUT,
}
