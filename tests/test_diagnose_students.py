"""Backwards as students write them: wrong in more than a hundred ways, with words that each answer
must contain, and right in more than fifty other styles, none of which may be accused."""

from functools import partial

import numpy as np
import pytest

from numpylm.attention_lm import AttentionLM
from numpylm.checks.diagnose import diagnose
from numpylm.course.exercises import check_backward
from numpylm.gpt import GPT
from numpylm.ops import (
    attention_backward,
    cross_entropy_backward,
    embedding_backward,
    layer_norm_backward,
    linear_backward,
    output_backward,
    positions_backward,
    smoothed_cross_entropy_backward,
    softmax_backward,
)


def T(x):
    return x.swapaxes(-1, -2)


def rows(x):
    return x.reshape(-1, x.shape[-1])


def row_sum(x):
    return x.sum(axis=-1, keepdims=True)


# ---- attention, around the line that is written wrongly --------------------------------------


def attention(ds=None, dq=None, dk=None, dv=None, order=(0, 1, 2)):
    def backward(dc, cache):
        q, k, v, a, _, scale = cache
        da = dc @ T(v)
        g = ds(a, da) if ds else a * (da - row_sum(a * da))
        found = [
            dq(g, q, k, scale) if dq else scale * (g @ k),
            dk(g, q, k, scale) if dk else scale * (T(g) @ q),
            dv(a, dc) if dv else T(a) @ dc,
        ]
        return tuple(found[n] for n in order)

    return backward


class Attention:
    """As in a framework: forward kept by the library, backward a method."""

    def __init__(self, transposed=True):
        self.transposed = transposed

    def backward(self, grad, cache):
        q, k, v, a, _, scale = cache
        grad_a = np.matmul(grad, T(v))
        grad_s = scale * (a * grad_a - a * row_sum(a * grad_a))
        left = T(grad_s) if self.transposed else grad_s
        return {"q": grad_s @ k, "k": left @ q, "v": T(a) @ grad}

    __call__ = backward


def attention_by_rows(dc, cache):
    q, k, v, a, _, scale = cache
    dq, dk, dv = (np.zeros_like(x) for x in (q, k, v))
    for i in range(a.shape[-2]):
        ai, dci = a[..., i, :], dc[..., i, :]
        da = np.einsum("...o,...so->...s", dci, v)
        ds = ai * (da - (ai * da).sum(-1, keepdims=True)) * scale
        dv += ai[..., :, None] * dci[..., None, :]
        dq[..., i, :] = np.einsum("...s,...sd->...d", ds, k)
        dk += ds[..., :, None] * q[..., i, None, :]
    return dq, dk, dv


def attention_forgets_the_rest(dc, cache):
    """dk and dv of the last query alone: = where += is needed."""
    q, k, v, a, _, scale = cache
    dq, dk, dv = (np.zeros_like(x) for x in (q, k, v))
    for i in range(a.shape[-2]):
        da = np.einsum("...o,...so->...s", dc[..., i, :], v)
        ds = a[..., i, :] * (da - (a[..., i, :] * da).sum(-1, keepdims=True)) * scale
        dv = a[..., i, :, None] * dc[..., i, None, :]
        dq[..., i, :] = np.einsum("...s,...sd->...d", ds, k)
        dk = ds[..., :, None] * q[..., i, None, :]
    return dq, dk, dv


def attention_spoils_a(dc, cache):
    q, k, v, a, _, scale = cache
    dv = T(a) @ dc
    da = dc @ T(v)
    a *= scale * (da - row_sum(a * da))
    return a @ k, T(a) @ q, dv


def attention_without_return(dc, cache):
    attention_backward(dc, cache)


def attention_printed(dc, cache):
    print(len(attention_backward(dc, cache)))


def attention_unpacked(dc, cache):
    q, k, v, a, scale = cache
    return q, a @ k, scale * v


def attention_plain_T(dc, cache):
    q, k, _, a, _, _ = cache
    return a @ k, a.T @ q, a.T @ dc


def softmax_loop(da, a):
    ds = np.empty_like(a)
    for i, row in enumerate(a):
        for j in range(len(row)):
            ds[i, j] = row[j] * (da[i, j] - sum(row[m] * da[i, m] for m in range(len(row))))
    return ds


def softmax_loop_diagonal(da, a):
    ds = np.empty_like(a)
    for i in range(len(a)):
        for j in range(a.shape[1]):
            ds[i, j] = a[i, j] * (1 - a[i, j]) * da[i, j]
    return ds


def softmax_spoils_da(da, a):
    da -= row_sum(a * da)
    da *= a
    return da


def cross_entropy(change=lambda rows, counted, N, dL: dL * rows * counted[:, None] / N):
    def backward(dL, cache):
        p, y, counted, N, shape = cache
        dz = p.copy()
        dz[np.arange(len(y)), y] -= 1
        return change(dz, counted, N, dL).reshape(shape)

    return backward


def cross_entropy_loop(dL, cache):
    p, y, counted, N, shape = cache
    dz = np.zeros_like(p)
    for n in range(len(y)):
        if counted[n]:
            for w in range(p.shape[1]):
                dz[n, w] = dL / N * (p[n, w] - (w == y[n]))
    return dz.reshape(shape)


def cross_entropy_spoils_p(dL, cache):
    p, y, counted, N, shape = cache
    p[np.arange(len(y)), y] -= 1
    p *= (counted * dL / N)[:, None]
    return p.reshape(shape)


def cross_entropy_flat(dL, cache):
    return cross_entropy_backward(dL, cache).reshape(-1, cache[4][-1])


def smoothed(truth):
    def backward(dL, cache):
        (p, y, counted, N, shape), e = cache
        V = shape[-1]
        return (dL / N * counted[:, None] * (p - truth(np.eye(V)[y], e, V))).reshape(shape)

    return backward


def linear(dx=None, dw=None, db=None):
    def backward(dy, cache):
        x, w, has_bias = cache
        return (
            dx(dy, w) if dx else dy @ w.T,
            dw(x, dy) if dw else rows(x).T @ rows(dy),
            (db(dy) if db else rows(dy).sum(0)) if has_bias else None,
        )

    return backward


def linear_loop(dy, cache):
    x, w, has_bias = cache
    dw, dx = np.zeros_like(w), np.zeros_like(x)
    for *place, i, o in np.ndindex(*x.shape[:-1], *w.shape):
        dw[i, o] += x[*place, i] * dy[*place, o]
        dx[*place, i] += w[i, o] * dy[*place, o]
    out = {"dx": dx, "dw": dw}
    return out | {"db": np.einsum("bto->o", dy)} if has_bias else out


def output_loop(dlogits, cache):
    c, table = cache
    dtable = 0
    for z, context in zip(rows(dlogits), rows(c), strict=True):
        dtable = dtable + np.outer(z, context)
    return [dlogits @ table, dtable]


def embedding(write):
    def backward(de, cache):
        shape, ids = cache
        table = np.zeros(shape)
        for place in np.ndindex(ids.shape):
            write(table, ids[place], de[place])
        return table

    return backward


def add_row(table, i, d):
    table[i] += d


def set_row(table, i, d):
    table[i] = d


def add_next(table, i, d):
    table[i - 1] += d


def embedding_fancy(de, cache):
    shape, ids = cache
    table = np.zeros(shape)
    table[ids] += de
    return table


def embedding_one_hot(de, cache):
    (V, _), ids = cache
    return np.eye(V)[ids.ravel()].T @ rows(de)


def embedding_of_lists(de, cache):
    (V, C), ids = cache
    table = [[0.0] * C for _ in range(V)]
    for i, d in zip(ids.ravel().tolist(), rows(de).tolist(), strict=True):
        table[i] = [a + b for a, b in zip(table[i], d, strict=True)]
    return table


def embedding_in_float32(de, cache):
    shape, ids = cache
    table = np.zeros(shape, np.float32)
    np.add.at(table, ids, de)
    return table.astype(float)


def positions(dtable):
    def backward(dy, cache):
        _, table_shape = cache
        found = np.zeros(table_shape)
        found[: dy.shape[-2]] = dtable(dy.reshape(-1, *dy.shape[-2:]))
        return dy, found

    return backward


def positions_short(dy, cache):
    return dy, dy.sum(axis=0)


def positions_assigned(dy, cache):
    table = np.zeros(cache[1])
    for text in dy:
        table[: len(text)] = text
    return dy, table


def layer_norm(dx=None, dgain=None, dbias=None):
    def backward(dy, cache):
        x, s, gain, has_bias = cache
        d = dy * gain
        return (
            dx(d, x, s) if dx else (d - mean(d) - x * mean(d * x)) / s,
            dgain(dy, x, gain) if dgain else rows(dy * x).sum(0),
            (dbias(dy) if dbias else rows(dy).sum(0)) if has_bias else None,
        )

    return backward


def mean(x):
    return x.mean(axis=-1, keepdims=True)


def layer_norm_the_long_way(dy, cache):
    """By way of the variance, as most lecture notes have it."""
    x_hat, s, gain, has_bias = cache
    C = x_hat.shape[-1]
    dx_hat = dy * gain
    centred = x_hat * s
    dvar = (dx_hat * centred).sum(-1, keepdims=True) * -0.5 * s**-3
    dmean = -dx_hat.sum(-1, keepdims=True) / s
    dx = dx_hat / s + dvar * 2 * centred / C + dmean / C
    dbias = np.einsum("btc->c", dy) if has_bias else None
    return dx, np.einsum("btc,btc->c", dy, x_hat), dbias


def of_x(slope):
    return lambda dy, cache: dy * slope(*cache)


K = np.sqrt(2 / np.pi)


def gelu_slope(x, h, cubic=3 * 0.044715, k=K):
    return h + x * 2 * h * (1 - h) * k * (1 + cubic * x**2)


def gelu_anew(dy, cache):
    x, _ = cache
    t = np.tanh(K * (x + 0.044715 * x**3))
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * K * (1 + 3 * 0.044715 * x**2))


def bell(x):
    return np.exp(-x * x / 2) / np.sqrt(2 * np.pi)


def changed(backward, change):
    """The library's answer with something done to it."""

    def mine(*args):
        answer = backward(*args)
        return change(*answer) if isinstance(answer, tuple) else change(answer)

    return mine


# ---- models ----------------------------------------------------------------------------------


def one_matrix(keys=T, values=T, sum_of=np.add.at, output=True, scale=True):
    """The article's model: E alone, tied; the places where students go wrong."""

    def backward(model, dlogits, cache):
        q, _, v, a, c, factor = cache.attention
        used, E = cache.output
        if q is not v:
            raise NotImplementedError("projections")
        dE = rows(dlogits).T @ rows(used) if output else np.zeros_like(E)
        dc = np.zeros_like(c)
        dc[:, -1 if dlogits.ndim == 2 else slice(None)] = dlogits @ E
        da = dc @ T(v)
        ds = a * (da - row_sum(a * da)) * (factor if scale else 1.0)
        sum_of(dE, cache.embedding[-1], ds @ v + keys(ds) @ v + values(a) @ dc)
        return {"E": dE}

    return backward


def fancy_add(dE, ids, de):
    dE[ids] += de


class MyGPT(GPT):
    """A subclass with one gradient spoiled."""

    def backward(self, dlogits, cache):
        grads = super().backward(dlogits, cache)
        grads["block0.feed_forward.b_in"] *= 3
        return grads


def gpt_without_positions(model, dlogits, cache):
    grads = GPT.backward(model, dlogits, cache)
    grads["P"][...] = 0
    return grads


def gpt_as_a_dict(model, dlogits, cache):
    return {name: x.tolist() for name, x in GPT.backward(model, dlogits, cache).items()}


def gpt_spoils_the_model(model, dlogits, cache):
    grads = GPT.backward(model, dlogits, cache)
    model.params.flat -= 0.1 * grads.flat
    return grads


ds_of = attention

WRONG = {
    "attention": [
        (attention(dk=lambda g, q, k, s: s * (g @ q)), "dk is ds @ q", "without its transpose"),
        (attention(dv=lambda a, dc: a @ dc), "dv is a @ dc", "without its transpose"),
        (attention(dq=lambda g, q, k, s: s * (T(g) @ k)), "dq is dsᵀ @ k", "a transpose too many"),
        (Attention(transposed=False), "dk is ds @ q", "grad_s"),
        (Attention(transposed=False).backward, "dk is ds @ q", "without its transpose"),
        (attention(dq=lambda g, q, k, s: g @ k), "scale"),
        (attention(dk=lambda g, q, k, s: T(g) @ q), "scale"),
        (attention(dv=lambda a, dc: 0.5 * T(a) @ dc), "dv is exactly 2 times too small"),
        (attention(lambda a, da: a * da), "Σ_l"),
        (attention(lambda a, da: da), "softmax is missing"),
        (attention(lambda a, da: a * (da - (a * da).sum(-1))), "keepdims=True"),
        (attention(lambda a, da: a * (da - da.mean(-1, keepdims=True))), "mean"),
        (attention(lambda a, da: a * (da - (a * da).sum(-2, keepdims=True))), "over the queries"),
        (attention(lambda a, da: a * (1 - a) * da), "logistic"),
        (attention(lambda a, da: -a * (da - row_sum(a * da))), "sign"),
        (attention(lambda a, da: a * (da + row_sum(a * da))), "+ where − is expected"),
        (attention(order=(2, 0, 1)), "come in the order dv, dq, dk: expected dq, dk, dv"),
        (attention(order=(0, 1)), "returned 2 arrays; expected 3 gradients: dq, dk, dv"),
        (attention(order=(0, 1, 2, 2)), "returned 4 arrays; expected 3 gradients"),
        (attention_forgets_the_rest, "dk is wrong in", "dv is wrong in"),
        (attention_spoils_a, "it changes its input: the cached a is overwritten"),
        (attention_without_return, "returned None: is the `return` missing?"),
        (attention_printed, "returned None: is the `return` missing?"),
        (attention_unpacked, "cache holds 6 things (q, k, v, a, c, scale), and 5 names"),
        (attention_plain_T, "line", "a.T is (5, 3, 2)"),
        (changed(attention_backward, lambda q, k, v: (q, k, v * 1.00002)), "1.00002 times"),
        (changed(attention_backward, lambda q, k, v: (q, k, v * 2)), "2 times too large"),
        (changed(attention_backward, lambda q, k, v: (q / len(q), k / len(q), v / len(q))),
         "every gradient is exactly B times too small"),
        (changed(attention_backward, lambda q, k, v: {"q": q, "k": k}), "it lacks dv"),
        (changed(attention_backward, lambda q, k, v: (q + 1j, k, v)), "complex numbers"),
        (lambda dc: dc, "it is called as f(dy, cache), like attention_backward"),
    ],
    "softmax": [
        (softmax_loop_diagonal, "sigmoid"),
        (softmax_spoils_da, "it changes its input: da is overwritten"),
        (lambda da, a: a * da, "the term −Σ_l a_l da_l is missing"),
        (lambda da, a: a * (da - (a * da).sum(axis=0)), "wrong axis"),
        (lambda da, a: a * (da - (a * da).sum(axis=-1)), "keepdims=True is missing"),
        (lambda da, a: da - row_sum(a * da), "in front of the bracket is missing"),
        (lambda da, a: a * da - row_sum(a * da), "belongs into the bracket"),
        (lambda grad, y: (grad - row_sum(grad * y)) * y * 2, "2 times too large"),
        (lambda da, a: a * (da - row_sum(da)), "not weighted"),
        (lambda da, a: softmax_backward(da, a).T, "has shape (5, 3); expected (3, 5)"),
        (lambda da, a: softmax_backward(da, a).tolist()[0], "has shape (5,); expected (3, 5)"),
    ],
    "cross_entropy": [
        (cross_entropy(lambda z, counted, N, dL: dL * z * counted[:, None]), "divided by N"),
        (cross_entropy(lambda z, counted, N, dL: dL * z / N), "an ignored target has a gradient"),
        (cross_entropy(lambda z, counted, N, dL: z * counted[:, None] / N), "dL"),
        (cross_entropy(lambda z, counted, N, dL: -dL * z * counted[:, None] / N), "sign"),
        (cross_entropy(lambda z, counted, N, dL: dL * z * counted[:, None] / len(z)), "in N"),
        (cross_entropy_spoils_p, "the cached p is overwritten"),
        (cross_entropy_flat, "has shape (6, 7); expected (2, 3, 7)"),
        (lambda dL, cache: cross_entropy_backward(dL, cache)[..., 1:], "expected (2, 3, 7)"),
        (lambda dL, cache: (dL / cache[3] * cache[0]).reshape(cache[4]), "1"),
    ],
    "smoothed_cross_entropy": [
        (smoothed(lambda one, e, V: one), "without smoothing"),
        (smoothed(lambda one, e, V: (1 - e) * one), "ε/V"),
        (smoothed(lambda one, e, V: (1 - e) * one + e / (V - 1) * (1 - one)), "V − 1"),
        (smoothed(lambda one, e, V: e * one + (1 - e) / V), "exchanged"),
        (lambda dL, cache: smoothed_cross_entropy_backward(2 * dL, cache), "2 times too large"),
    ],
    "linear": [
        (linear(dw=lambda x, dy: rows(dy).T @ rows(x)), "transposed"),
        (linear(dx=lambda dy, w: dy @ w), "dx is dy w: dy wᵀ", "would fit"),
        (linear(db=lambda dy: dy.sum(axis=0)), "db is summed over one axis only"),
        (linear(db=lambda dy: rows(dy).mean(0)), "mean"),
        (linear(db=lambda dy: dy), "not yet summed"),
        (linear(dw=lambda x, dy: rows(x).T @ rows(dy) / len(rows(x))), "added, not averaged"),
        (linear(dw=lambda x, dy: x[0].T @ dy[0]), "first"),
        (linear(dw=lambda x, dy: T(x) @ dy), "one matrix for each text"),
        (linear(dw=lambda x, dy: x.T @ dy), "ValueError in line", "x.T is (4, 3, 2)"),
        (changed(linear_backward, lambda dx, dw, db: (dw, dx, db)), "come in the order"),
    ],
    "output": [
        (changed(output_backward, lambda dc, dtable: (dc, dtable.T)), "transpose of the whole"),
        (changed(output_backward, lambda dc, dtable: dc), "returned 1 array; expected 2"),
        (changed(output_backward, lambda dc, dtable: (dtable, dc)), "come in the order dtable, dc"),
        (lambda dz, cache: (dz @ cache[1].T, rows(dz).T @ rows(cache[0])), "would fit"),
        (changed(output_backward, lambda dc, dtable: (dc, dtable / 6)), "6 times too small"),
    ],
    "embedding": [
        (embedding(set_row), "only its last gradient"),
        (embedding_fancy, "only its last gradient"),
        (embedding(add_next), "dtable is wrong", "too early along the first axis"),
        (lambda de, cache: embedding_backward(de, cache) / 6, "6 times too small"),
        (lambda de, cache: embedding_backward(de, cache).T, "has shape (4, 7); expected (7, 4)"),
        (lambda de, cache: de, "de itself"),
        (lambda de, cache: embedding_backward(de, cache)[1:], "has shape (6, 4)"),
    ],
    "positions": [
        (positions(lambda dy: dy.mean(0)), "mean"),
        (positions(lambda dy: dy[0]), "first"),
        (positions_assigned, "last text alone"),
        (positions_short, "only the rows that were used"),
        (lambda dy, cache: (0 * dy, positions_backward(dy, cache)[1]), "0"),
        (lambda dy, cache: positions_backward(dy, cache)[::-1], "come in the order dtable, de"),
    ],
    "layer_norm": [
        (layer_norm(lambda d, x, s: d / s), "both of its mean terms are missing"),
        (layer_norm(lambda d, x, s: (d - mean(d)) / s), "x̂ mean(dx̂ x̂)"),
        (layer_norm(lambda d, x, s: (d - x * mean(d * x)) / s), "−mean(dx̂)"),
        (layer_norm(lambda d, x, s: d - mean(d) - x * mean(d * x)), "σ"),
        (layer_norm(lambda d, x, s: (d - mean(d) - x * mean(d * x)) / s**2), "σ²"),
        (layer_norm(dgain=lambda dy, x, gain: rows(dy).sum(0)), "without x̂"),
        (layer_norm(dgain=lambda dy, x, gain: (dy * x).sum(0)), "over one axis only"),
        (layer_norm(dgain=lambda dy, x, gain: rows(dy * x).mean(0)), "mean"),
        (layer_norm(dbias=lambda dy: rows(dy).mean(0)), "mean"),
        (changed(layer_norm_backward, lambda x, g, b: (x, b, g)), "come in the order"),
        (changed(layer_norm_backward, lambda x, g, b: (x, g)), "returned 2 arrays; expected 3"),
    ],
    "gelu": [
        (of_x(lambda x, h: h), "of the product rule is missing"),
        (of_x(partial(gelu_slope, cubic=0.044715)), "3 is missing"),
        (of_x(partial(gelu_slope, k=1.0)), "√(2/π) of u' is missing"),
        (of_x(lambda x, h: 1.0 * (x > 0)), "ReLU"),
    ],
    "gelu_exact": [
        (of_x(lambda x, phi: phi), "missing"),
        (of_x(lambda x, phi: phi + bell(x)), "x is missing"),
        (of_x(lambda x, phi: phi + x * np.exp(-x * x / 2)), "√(2π)"),
    ],
    "relu": [
        (lambda dy, on: np.maximum(dy, 0), "dy itself is positive"),
        (lambda dy, on: dy, "passes everywhere"),
        (lambda dy, on: on, "times dy"),
        (lambda dy, on: np.where(on, 0, dy), "way round"),
    ],
    "tanh": [
        (lambda dy, y: dy * (1 - y), "1 − y²"),
        (lambda dy, y: dy * (1 - np.tanh(y) ** 2), "already tanh x"),
        (lambda dy, y: dy * y * (1 - y), "logistic"),
        (lambda dy, y: (1 - y**2), "times dy"),
    ],
    "dropout": [
        (lambda dy, m: dy if m is None else dy * (m > 0), "1/(1 − p)"),
        (lambda dy, m: dy, "nothing had been dropped"),
        (lambda dy, m: dy * m, "TypeError in line"),
    ],
    "AttentionLM": [
        (one_matrix(keys=lambda ds: ds), "dk = dsᵀ q"),
        (one_matrix(values=lambda a: a), "dv"),
        (one_matrix(sum_of=fancy_add), "occurrence"),
        (one_matrix(output=False), "output"),
        (one_matrix(keys=lambda ds: 0 * ds), "key"),
        (changed(one_matrix(), lambda grads: grads["E"] * 2), "E is exactly 2 times too large"),
        (changed(one_matrix(), lambda grads: -grads["E"]), "sign"),
    ],
    "GPT": [
        (MyGPT.backward, "b_in is exactly 3 times too large"),
        (gpt_without_positions, "P"),
        (gpt_spoils_the_model, "it changes its input: model is overwritten"),
        (lambda model, dlogits, cache: None, "returned None"),
    ],
}  # fmt: skip

RIGHT = {
    "attention": [
        attention(),
        Attention(),
        Attention().backward,
        Attention,
        attention_by_rows,
        lambda dc, cache: list(attention()(dc, cache)),
        attention(lambda a, da: a * da - a * row_sum(a * da)),
        attention(dv=lambda a, dc: np.einsum("...ts,...to->...so", a, dc)),
        attention(dk=lambda g, q, k, s: T(T(q) @ (s * g))),
        lambda dc, cache: dict(zip(("dq", "dk", "dv"), attention()(dc, cache), strict=True)),
        lambda dc, cache: tuple(x.astype(np.float32) for x in attention()(dc, cache)),
        lambda dc, cache: tuple(x.tolist() for x in attention()(dc, cache)),
        lambda dc, cache: attention()(np.float32(dc), cache),
        partial(lambda extra, dc, cache: attention()(dc, cache), "unused"),
    ],
    "softmax": [
        softmax_loop,
        lambda da, a: a * da - a * (a * da).sum(-1)[..., None],
        lambda da, a: [np.diag(w) @ d - w * (w @ d) for w, d in zip(a, da, strict=True)],
        lambda da, a: a * (da - np.einsum("ij,ij->i", a, da).reshape(-1, 1)),
        lambda grad, out: (grad - (grad * out).sum(1, keepdims=True)) * out,
        lambda da, a: (a.astype("f4") * (da - row_sum(a * da))).astype(float),
    ],
    "cross_entropy": [
        cross_entropy(),
        cross_entropy_loop,
        cross_entropy(lambda z, counted, N, dL: np.where(counted[:, None], z * (dL / N), 0)),
        lambda dL, cache: cross_entropy_loop(dL, cache).tolist(),
    ],
    "smoothed_cross_entropy": [
        smoothed(lambda one, e, V: (1 - e) * one + e / V),
        smoothed(lambda one, e, V: np.where(one > 0, 1 - e + e / V, e / V)),
    ],
    "linear": [
        linear(),
        linear_loop,
        linear(dw=lambda x, dy: np.einsum("bti,bto->io", x, dy)),
        linear(dw=lambda x, dy: np.tensordot(x, dy, axes=([0, 1], [0, 1]))),
        linear(dw=lambda x, dy: (T(x) @ dy).sum(0), db=lambda dy: dy.sum((0, 1))),
    ],
    "output": [
        output_loop,
        lambda dz, cache: (
            np.einsum("...v,vc->...c", dz, cache[1]),
            np.einsum("btv,btc->vc", dz, cache[0]),
        ),
    ],
    "embedding": [
        embedding(add_row), embedding_one_hot, embedding_of_lists, embedding_in_float32
    ],
    "positions": [
        positions(lambda dy: dy.sum(0)),
        positions(lambda dy: sum(dy)),
        lambda dy, cache: (
            dy.copy(),
            np.pad(dy.sum(0), ((0, cache[1][0] - dy.shape[-2]), (0, 0))),
        ),
    ],
    "layer_norm": [
        layer_norm(),
        layer_norm_the_long_way,
        layer_norm(dgain=lambda dy, x, gain: (dy * x).sum((0, 1))),
        lambda dy, cache: [x for x in layer_norm()(dy, cache) if x is not None],
    ],
    "gelu": [of_x(gelu_slope), gelu_anew],
    "gelu_exact": [of_x(lambda x, phi: phi + x * bell(x))],
    "relu": [
        lambda dy, on: dy * on,
        lambda dy, on: np.where(on, dy, 0.0),
        lambda dy, on: [[[g if o else 0.0 for g, o in zip(a, b, strict=True)]
                         for a, b in zip(c, d, strict=True)] for c, d in zip(dy, on, strict=True)],
    ],
    "tanh": [lambda dy, y: (1 - y**2) * dy, lambda dy, y: dy - dy * y * y],
    "dropout": [
        lambda dy, m: dy if m is None else m * dy,
        lambda dy, m: dy.copy() if m is None else np.where(m != 0, dy * np.max(m), 0),
    ],
    "AttentionLM": [
        one_matrix(),
        AttentionLM.backward,
        changed(one_matrix(), lambda grads: grads["E"]),
    ],
    "GPT": [GPT.backward, gpt_as_a_dict],
}  # fmt: skip


def cases(table):
    return [
        pytest.param(name, answer, id=f"{name}-{i}")
        for name, answers in table.items()
        for i, answer in enumerate(answers)
    ]


@pytest.mark.parametrize("name, row", cases(WRONG))
def test_a_wrong_backward_is_told_what_is_wrong(name, row):
    function, *words = row
    found = diagnose(name, function)
    assert not found.right
    assert not [word for word in words if word not in found.sentence], found.sentence


@pytest.mark.parametrize("name, function", cases(RIGHT))
def test_a_right_backward_in_another_style_is_never_accused(name, function):
    found = diagnose(name, function)
    assert found.right, found


def test_there_are_enough_of_both():
    assert sum(map(len, WRONG.values())) >= 110
    assert sum(map(len, RIGHT.values())) >= 50


@pytest.mark.parametrize("wrong, word", [(0, "dk is ds @ q"), (1, "dv is a @ dc")])
def test_the_exercise_of_notebook_3_names_the_forgotten_transpose(wrong, word):
    verdict = check_backward(WRONG["attention"][wrong][0], "attention")
    assert verdict.state == "wrong"
    assert word in verdict.says and "without its transpose" in verdict.says
    assert "in line" in verdict.says


def test_a_loss_is_asked_with_upstream_gradients_of_both_signs():
    found = diagnose("cross_entropy", lambda dL, cache: cross_entropy_backward(abs(dL), cache))
    assert not found.right
