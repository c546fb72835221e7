"""gradcheck.py, on code that is not ours: right functions in many styles, none accused; wrong ones,
none passed."""

import math
import re
from functools import partial, wraps
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pytest

from numpylm import ops
from numpylm.errors import InputError
from numpylm.gradcheck import check_op
from numpylm.gradient_questions import upstream
from numpylm.gradient_verdicts import GradientVerdict

RNG = np.random.default_rng(0)
X, W = RNG.normal(size=(2, 3)), RNG.normal(size=(3, 4))
B, V = RNG.normal(size=4), RNG.normal(size=5)
X3 = RNG.normal(size=(2, 3, 5))
P = RNG.uniform(0.5, 2.0, size=(2, 3))
A = RNG.normal(size=(4, 4)) + 4 * np.eye(4)
ONE_HOT = np.eye(3)[[2, 0]]


class Style(NamedTuple):
    """A pair of functions, arguments, and what check_op is to be told besides."""

    forward: object
    backward: object
    args: tuple
    options: dict = MappingProxyType({})


def elementwise(f, slope):
    """A pair out of a function and its derivative."""

    def forward(x):
        return f(x), x

    def backward(dy, x):
        return dy * slope(x)

    return forward, backward


def layer_norm(x, gain, bias, eps=1e-5):
    mean, var = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
    n = (x - mean) / np.sqrt(var + eps)
    return gain * n + bias, (n, np.sqrt(var + eps), gain)


def layer_norm_back(dy, cache):
    n, s, gain = cache
    axes = tuple(range(dy.ndim - 1))
    dn = dy * gain
    dx = (dn - dn.mean(-1, keepdims=True) - n * (dn * n).mean(-1, keepdims=True)) / s
    return dx, (dy * n).sum(axes), dy.sum(axes)


def unit(x):
    n = np.linalg.norm(x, axis=-1, keepdims=True)
    return x / n, (x / n, n)


def unit_back(dy, cache):
    u, n = cache
    return (dy - u * (dy * u).sum(-1, keepdims=True)) / n


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    a = e / e.sum(-1, keepdims=True)
    return a, a


def softmax_back(da, a):
    return a * (da - (a * da).sum(-1, keepdims=True))


def linear(x, w, b):
    return x @ w + b, (x, w)


def linear_back(dy, cache):
    x, w = cache
    return dy @ w.T, x.T @ dy, dy.sum(0)


def loops(x, w):
    y = [[0.0] * w.shape[1] for _ in range(len(x))]
    for i in range(len(x)):
        for j in range(w.shape[1]):
            for k in range(len(w)):
                y[i][j] += x[i, k] * w[k, j]
    return y, (x, w)


def loops_back(dy, cache):
    x, w = cache
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for i in range(len(x)):
        for j in range(w.shape[1]):
            for k in range(len(w)):
                dx[i, k] += dy[i][j] * w[k, j]
                dw[k, j] += dy[i][j] * x[i, k]
    return dx, dw


class Scale:
    """An object with __call__, and methods."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x):
        return self.factor * x, None

    def forward(self, x):
        self.x = x
        return self.factor * x * x, None

    def backward(self, dy, cache):
        return 2 * self.factor * self.x * dy


def logged(function):
    @wraps(function)
    def inner(*args, **kwargs):
        return function(*args, **kwargs)

    return inner


def anonymous(function):
    return lambda *args: function(*args)


def from_probabilities(p, target):
    return -(target * np.log(p)).sum(), (p, target)


def huber(x):
    return np.where(np.abs(x) < 1, 0.5 * x * x, np.abs(x) - 0.5)


def attention_dict(inputs):
    s = inputs["q"] @ inputs["k"].T
    a = softmax(s)[0]
    return a @ inputs["v"], (inputs, a)


def attention_dict_back(dc, cache):
    inputs, a = cache
    ds = softmax_back(dc @ inputs["v"].T, a)
    return {"q": ds @ inputs["k"], "k": ds.T @ inputs["q"], "v": a.T @ dc}


def two_layers(x, weights):
    h = np.tanh(x @ weights[0])
    return h @ weights[1], (x, h, weights)


def two_layers_back(dy, cache):
    x, h, weights = cache
    dh = dy @ weights[1].T * (1 - h * h)
    return dh @ weights[0].T, [x.T @ dh, h.T @ dy]


def split(x):
    return (x[:, :1], x[:, 1:] ** 2), x


def split_back(dys, x):
    return np.concatenate([dys[0], dys[1] * 2 * x[:, 1:]], axis=1)


def top(x):
    i = x.argmax(-1)
    return (x[np.arange(len(x)), i], i), (x.shape, i)


def top_back(dys, cache):
    shape, i = cache
    dx = np.zeros(shape)
    dx[np.arange(len(dx)), i] = dys[0]
    return dx


def statistics(x):
    return {"mean": x.mean(0), "square": (x * x).sum()}, x


def statistics_back(dys, x):
    return dys["mean"] / len(x) + 2 * x * dys["square"]


def plain(x):
    return [v * v for v in x], x


def convolve(x, k):
    return np.convolve(x, k, "valid"), (x, k)


def convolve_back(dy, cache):
    x, k = cache
    return np.convolve(dy, k[::-1]), np.convolve(x, dy[::-1], "valid")[::-1]


def pool(x):
    y = x.reshape(2, 3, 2).max(-1)
    return y, (x.reshape(2, 3, 2) == y[..., None])


def prod_back(dy, cache):
    x, y = cache
    back = np.cumsum((dy * y)[::-1])[::-1]
    return back / x


def with_keyword(x, *, power=3.0):
    return x**power, (x, power)


def added(*xs):
    return sum(xs[1:], xs[0]) ** 2, xs


def added_back(dy, xs):
    return tuple(2 * dy * sum(xs[1:], xs[0]) for _ in xs)


def embedding(table, ids):
    return table[ids], (table.shape, ids)


def embedding_back(de, cache):
    shape, ids = cache
    d = np.zeros(shape)
    np.add.at(d, ids, de)
    return d, None


def preallocated(x):
    y = np.zeros(x.shape)
    for i in range(len(x)):
        y[i] = np.sin(x[i])
    return y, x


def fft_filter(x):
    return np.fft.irfft(np.fft.rfft(x) * np.array([1.0, 0.5, 0.25]), n=5), None


def fft_back(dy, _):
    return np.fft.irfft(np.fft.rfft(dy) * np.array([1.0, 0.5, 0.25]), n=5)


def dropout(x, rng):
    m = rng.random(x.shape) < 0.7
    return x * m, m


ID = np.array([[1, 2, 1], [0, 4, 1]])
Q = {"q": RNG.normal(size=(2, 3)), "k": RNG.normal(size=(4, 3)), "v": RNG.normal(size=(4, 5))}
MIXED = np.array([1e-8, -1e-4, 0.3, 2e4, -1e8])

RIGHT = {
    "layer norm with x.var()": Style(layer_norm, layer_norm_back, (X3, RNG.normal(size=5), V)),
    "the library's layer norm, A2": Style(
        ops.layer_norm_forward,
        ops.layer_norm_backward,
        (np.random.default_rng(0).normal(size=(2, 3, 5)), np.ones(5), np.zeros(5)),
    ),
    "layer norm at gain 1": Style(layer_norm, layer_norm_back, (X3, np.ones(5), np.zeros(5))),
    "unit vectors by np.linalg.norm": Style(unit, unit_back, (X,)),
    "x*x + abs(x)": Style(
        *elementwise(lambda x: x * x + abs(x), lambda x: 2 * x + np.sign(x)), (X,)
    ),
    "softmax": Style(softmax, softmax_back, (X,)),
    "softmax of large logits": Style(softmax, softmax_back, (30 * X,)),
    "log-sum-exp": Style(
        lambda x: (np.log(np.exp(x).sum(-1)), x),
        lambda dy, x: dy[:, None] * np.exp(x) / np.exp(x).sum(-1, keepdims=True),
        (X,),
    ),
    "np.logaddexp.reduce": Style(
        lambda x: (np.logaddexp.reduce(x, axis=-1), x),
        lambda dy, x: dy[:, None] * softmax(x)[0],
        (X,),
    ),
    "softplus by logaddexp": Style(
        *elementwise(lambda x: np.logaddexp(0, x), lambda x: 1 / (1 + np.exp(-x))), (X,)
    ),
    "x*x at 1e5": Style(*elementwise(lambda x: x * x, lambda x: 2 * x), (1e5 * X,)),
    "x*x at 1e8": Style(*elementwise(lambda x: x * x, lambda x: 2 * x), (1e8 * X,)),
    "x**3 at 1e-8": Style(*elementwise(lambda x: x**3, lambda x: 3 * x * x), (1e-8 * X,)),
    "log at 1e-4": Style(*elementwise(np.log, lambda x: 1 / x), (1e-4 * P,)),
    "log at 1e-12": Style(*elementwise(np.log, lambda x: 1 / x), (1e-12 * P,)),
    "sqrt near 0": Style(*elementwise(np.sqrt, lambda x: 0.5 / np.sqrt(x)), (1e-10 * P,)),
    "1/x": Style(*elementwise(lambda x: 1 / x, lambda x: -1 / x**2), (X,)),
    "1/x at 1e-6": Style(*elementwise(lambda x: 1 / x, lambda x: -1 / x**2), (1e-6 * X,)),
    "exp at 30": Style(*elementwise(np.exp, np.exp), (30 + X,)),
    "exp at −30": Style(*elementwise(np.exp, np.exp), (-30 + X,)),
    "a cube over mixed scales": Style(*elementwise(lambda x: x**3, lambda x: 3 * x * x), (MIXED,)),
    "1/x over mixed scales": Style(*elementwise(lambda x: 1 / x, lambda x: -1 / x**2), (MIXED,)),
    "log|x| over mixed scales": Style(
        *elementwise(lambda x: np.log(np.abs(x)), lambda x: 1 / x), (MIXED,)
    ),
    "sigmoid, half saturated": Style(
        *elementwise(lambda x: 1 / (1 + np.exp(-x)), lambda x: np.exp(-x) / (1 + np.exp(-x)) ** 2),
        (12 * X,),
    ),
    "tanh": Style(*elementwise(np.tanh, lambda x: 1 / np.cosh(x) ** 2), (3 * X,)),
    "sin of large numbers": Style(*elementwise(np.sin, np.cos), (1e6 * X,)),
    "relu away from 0": Style(
        *elementwise(lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(float)), (X,)
    ),
    "relu close to 0": Style(
        *elementwise(lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0),
        (np.array([1e-7, -2e-9, 0.5]),),
    ),
    "leaky relu by np.where": Style(
        *elementwise(lambda x: np.where(x > 0, x, 0.1 * x), lambda x: np.where(x > 0, 1, 0.1)),
        (X,),
    ),
    "huber": Style(*elementwise(huber, lambda x: np.clip(x, -1, 1)), (2 * X,)),
    "clip": Style(
        *elementwise(lambda x: np.clip(x, -0.5, 0.5), lambda x: (np.abs(x) < 0.5) * 1.0), (X,)
    ),
    "where, with a log that is nan on the other side": Style(
        *elementwise(
            lambda x: np.where(x > 0, np.log(np.where(x > 0, x, 1)), x),
            lambda x: np.where(x > 0, 1 / x, 1),
        ),
        (X,),
    ),
    "linear": Style(linear, linear_back, (X, W, B)),
    "linear at a bias of 0": Style(linear, linear_back, (X, W, np.zeros(4))),
    "loops and lists": Style(loops, loops_back, (X, W)),
    "einsum": Style(
        lambda x, w: (np.einsum("ij,jk->ik", x, w), (x, w)),
        lambda dy, c: (np.einsum("ik,jk->ij", dy, c[1]), np.einsum("ij,ik->jk", c[0], dy)),
        (X, W),
    ),
    "gradients in a list": Style(linear, lambda dy, c: list(linear_back(dy, c)), (X, W, B)),
    "gradients as nested lists": Style(
        linear, lambda dy, c: tuple(g.tolist() for g in linear_back(dy, c)), (X, W, B)
    ),
    "one gradient as a nested list": Style(
        lambda x: (x * x, x), lambda dy, x: (2 * x * dy).tolist(), (X,)
    ),
    "gradients in a dict": Style(
        linear,
        lambda dy, c: dict(zip(("dx", "dw", "db"), linear_back(dy, c), strict=True)),
        (X, W, B),
    ),
    "gradients by a generator": Style(
        linear, lambda dy, c: (g for g in linear_back(dy, c)), (X, W, B)
    ),
    "a nested list as the argument": Style(
        lambda x: (np.asarray(x) ** 2, np.asarray(x)), lambda dy, x: 2 * x * dy, (X.tolist(),)
    ),
    "plain floats": Style(
        lambda x, y: (x * math.exp(y), (x, y)),
        lambda d, c: (d * math.exp(c[1]), d * c[0] * math.exp(c[1])),
        (0.3, 0.7),
    ),
    "a float that has a gradient": Style(
        lambda x, s: (s * x, (x, s)), lambda dy, c: (c[1] * dy, (c[0] * dy).sum()), (X, 0.3)
    ),
    "a float that has none": Style(lambda x, s: (s * x, s), lambda dy, s: s * dy, (X, 0.3)),
    "0-d arrays": Style(
        lambda x, s: (s * x, (x, s)),
        lambda dy, c: (c[1] * dy, np.array((c[0] * dy).sum())),
        (X, np.array(0.3)),
    ),
    "a list of weights": Style(two_layers, two_layers_back, (X, [W, RNG.normal(size=(4, 5))])),
    "a dict of arrays": Style(attention_dict, attention_dict_back, (Q,)),
    "two results": Style(split, split_back, (RNG.normal(size=(2, 4)),)),
    "a result and its index": Style(top, top_back, (X,)),
    "results in a dict": Style(statistics, statistics_back, (X,)),
    "a list as the result": Style(
        plain, lambda dy, x: [2 * v * d for v, d in zip(x, dy, strict=True)], (V,)
    ),
    "the argument as its own cache": Style(lambda x: (-x, x), lambda d, _: -d, (X,)),
    "a partial": Style(partial(with_keyword, power=3.0), lambda dy, c: 3 * c[0] ** 2 * dy, (P,)),
    "a keyword": Style(
        with_keyword,
        lambda dy, c: c[1] * c[0] ** (c[1] - 1) * dy,
        (P,),
        {"keywords": {"power": 2.5}},
    ),
    "an object": Style(Scale(1.7), lambda dy, _: 1.7 * dy, (X,)),
    "methods that keep x": Style(*(lambda s: (s.forward, s.backward))(Scale(1.7)), (X,)),
    "a decorated function": Style(logged(linear), logged(linear_back), (X, W, B)),
    "a wrapper without names": Style(anonymous(linear), anonymous(linear_back), (X, W, B)),
    "any number of arguments": Style(added, added_back, (X, P)),
    "a builtin as the backward": Style(lambda x: (np.exp(x), np.exp(x)), np.multiply, (X,)),
    "data among the floats": Style(
        from_probabilities, lambda dy, c: (-dy * c[1] / c[0], None), (P, ONE_HOT)
    ),
    "ids": Style(embedding, lambda de, c: embedding_back(de, c)[0], (RNG.normal(size=(5, 4)), ID)),
    "ids with their None": Style(embedding, embedding_back, (RNG.normal(size=(5, 4)), ID)),
    "an array filled row by row": Style(preallocated, lambda dy, x: dy * np.cos(x), (X,)),
    "cumsum": Style(lambda x: (np.cumsum(x), None), lambda dy, _: np.cumsum(dy[::-1])[::-1], (V,)),
    "cumprod": Style(lambda x: (np.cumprod(x), (x, np.cumprod(x))), prod_back, (V,)),
    "fft": Style(fft_filter, fft_back, (V,)),
    "convolution": Style(convolve, convolve_back, (RNG.normal(size=7), RNG.normal(size=3))),
    "max pooling": Style(
        pool, lambda dy, m: (m * dy[..., None]).reshape(2, 6), (RNG.normal(size=(2, 6)),)
    ),
    "sorting": Style(lambda x: (np.sort(x), np.argsort(x)), lambda dy, i: dy[np.argsort(i)], (V,)),
    "median": Style(lambda x: (np.median(x), x), lambda dy, x: dy * (x == np.median(x)), (V,)),
    "dropout with a generator": Style(dropout, lambda dy, m: dy * m, (X, np.random.default_rng(3))),
    "log-determinant": Style(
        lambda a: (np.linalg.slogdet(a)[1], a),
        lambda dy, a: dy * np.linalg.inv(a).T,
        (A,),
        {"equal_axes": True},
    ),
    "inverse": Style(
        lambda a: (np.linalg.inv(a), np.linalg.inv(a)),
        lambda dy, i: -i.T @ dy @ i.T,
        (A,),
        {"equal_axes": True},
    ),
    "Gram matrix": Style(
        lambda x: (x @ x.T, x), lambda dy, x: (dy + dy.T) @ x, (X,), {"equal_axes": True}
    ),
    "scores of a text on itself": Style(
        lambda e: (softmax(e @ e.T)[0] @ e, e),
        lambda dc, e: (lambda a: a.T @ dc + (lambda s: (s + s.T) @ e)(softmax_back(dc @ e.T, a)))(
            softmax(e @ e.T)[0]
        ),
        (RNG.normal(size=(3, 4)),),
    ),
    "standard deviation": Style(
        lambda x: (x.std(), x), lambda dy, x: dy * (x - x.mean()) / (x.size * x.std()), (X,)
    ),
    "variance around a large mean": Style(
        lambda x: (x.var(), x), lambda dy, x: dy * 2 * (x - x.mean()) / x.size, (1000 + X,)
    ),
    "a sum that cancels": Style(
        *elementwise(lambda x: (x + 1e6) - 1e6 + x * x, lambda x: 1 + 2 * x), (X,)
    ),
    "1 − cos x near 0": Style(*elementwise(lambda x: 1 - np.cos(x), np.sin), (1e-3 * X,)),
    "a half-precision-free mean of squares": Style(
        lambda x: (np.mean(x * x), x), lambda dy, x: 2 * dy * x / x.size, (X3,)
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_code_passes_in_any_style(name):
    style = RIGHT[name]
    report = check_op(style.forward, style.backward, *style.args, **style.options)
    assert report.passed, report


# ---- wrong code ------------------------------------------------------------------------------


def tweaked(style, change):
    """The pair with its gradients changed."""

    def backward(dy, cache):
        grads = RIGHT[style].backward(dy, cache)
        return change(list(grads) if isinstance(grads, tuple | list) else grads)

    return RIGHT[style]._replace(backward=backward)


def scaled(style, factor):
    def change(grads):
        if isinstance(grads, list):
            return [factor * np.asarray(g) if g is not None else g for g in grads]
        return factor * np.asarray(grads)

    return tweaked(style, change)


def one_entry(style, factor):
    def change(grads):
        last = np.array(grads[-1] if isinstance(grads, list) else grads, float)
        last.flat[-1] *= factor
        return [*grads[:-1], last] if isinstance(grads, list) else last

    return tweaked(style, change)


def backward(style, function):
    return RIGHT[style]._replace(backward=function)


square = elementwise(lambda x: x * x, lambda x: 2 * x)[0]


def no_gain(dy, cache):
    n, s, gain = cache
    dx, dgain, dbias = layer_norm_back(dy, (n, s, np.ones_like(gain)))
    return dx, dgain, dbias


def damage(dy, cache):
    grads = linear_back(dy, cache)
    cache[0][...] *= 0.5
    return grads


def overwrites_dy(dy, a):
    dy -= (a * dy).sum(-1, keepdims=True)
    return a * dy


def counted():
    calls = []

    def forward(x):
        calls.append(1)
        return x * len(calls), len(calls)

    return forward


def random_forward(x):
    m = np.random.default_rng().random(x.shape) < 0.5
    return x * m + x * np.random.default_rng().random(), m


WRONG = {
    "ignores dy": Style(square, lambda dy, x: 2 * x, (X,)),
    "ignores dy, y a number": Style(lambda x: ((x * x).sum(), x), lambda dy, x: 2 * x, (X,)),
    "dy squared": Style(square, lambda dy, x: 2 * dy * dy, (X,)),
    "dy squared times x": Style(square, lambda dy, x: 2 * x * dy * dy, (X,)),
    "the length of dy": Style(square, lambda dy, x: 2 * x * np.abs(dy), (X,)),
    "the length of one dy": Style(lambda x: ((x * x).sum(), x), lambda d, x: 2 * x * abs(d), (X,)),
    "dy cut at 3": Style(square, lambda dy, x: 2 * x * np.clip(dy, -3, 3), (X,)),
    "dy summed": Style(square, lambda dy, x: 2 * x * dy.sum(), (X,)),
    "dy averaged": Style(square, lambda dy, x: 2 * x * dy.mean(), (X,)),
    "without its 2": Style(square, lambda dy, x: x * dy, (X,)),
    "with the other sign": Style(square, lambda dy, x: -2 * x * dy, (X,)),
    "one part in 10^5 too large": scaled("linear", 1 + 1e-5),
    "one part in 10^9 too large": scaled("linear", 1 + 1e-9),
    "one part in 10^5, without complex": scaled("unit vectors by np.linalg.norm", 1 + 1e-5),
    "one part in 10^5, noisy": scaled("variance around a large mean", 1 + 1e-5),
    "one entry": one_entry("linear", 1.01),
    "one entry, without complex": one_entry("layer norm with x.var()", 1.001),
    "the smallest of mixed scales": one_entry("1/x over mixed scales", 2.0),
    "the smallest of mixed scales, no complex": one_entry("log|x| over mixed scales", 2.0),
    "a cube, small": scaled("x**3 at 1e-8", 1.5),
    "a square, large": scaled("x*x at 1e8", 1 + 1e-6),
    "log, small": scaled("log at 1e-12", 1.0001),
    "exp, tiny": scaled("exp at −30", 1.01),
    "zero": Style(square, lambda dy, x: 0 * x, (X,)),
    "nan": Style(square, lambda dy, x: dy * np.nan, (X,)),
    "infinite in one entry": one_entry("linear", np.inf),
    "layer norm, σ constant": backward(
        "layer norm with x.var()",
        lambda dy, c: (
            (lambda d: (d - d.mean(-1, keepdims=True)) / c[1])(dy * c[2]),
            *layer_norm_back(dy, c)[1:],
        ),
    ),
    "layer norm without gain": backward("layer norm with x.var()", no_gain),
    "layer norm without gain, at gain 1": backward("layer norm at gain 1", no_gain),
    "softmax without its sum": backward("softmax", lambda da, a: a * da),
    "softmax, sum over the wrong axis": backward(
        "softmax", lambda da, a: a * (da - (a * da).sum(0, keepdims=True))
    ),
    "softmax, the diagonal alone": backward("softmax", lambda da, a: da * a * (1 - a)),
    "linear, dw not summed over rows": backward(
        "linear", lambda dy, c: (dy @ c[1].T, c[0][:1].T @ dy[:1], dy.sum(0))
    ),
    "linear, mean over the batch": backward(
        "linear", lambda dy, c: (dy @ c[1].T, c[0].T @ dy / len(dy), dy.mean(0))
    ),
    "linear, db not reduced": backward("linear", lambda dy, c: (*linear_back(dy, c)[:2], dy)),
    "linear, db keeps its axis": backward(
        "linear", lambda dy, c: (*linear_back(dy, c)[:2], dy.sum(0, keepdims=True))
    ),
    "linear, dw transposed": backward(
        "linear", lambda dy, c: (dy @ c[1].T, dy.T @ c[0], dy.sum(0))
    ),
    "linear, shapes do not fit": backward("linear", lambda dy, c: (dy @ c[1], 0, 0)),
    "linear, arrays exchanged": backward(
        "linear", lambda dy, c: tuple(linear_back(dy, c)[i] for i in (1, 0, 2))
    ),
    "linear, one missing": backward("linear", lambda dy, c: linear_back(dy, c)[:2]),
    "linear, one too many": backward("linear", lambda dy, c: (*linear_back(dy, c), dy)),
    "linear, a name missing": backward("linear", lambda dy, c: {"dx": dy @ c[1].T}),
    "linear, other names": backward(
        "linear", lambda dy, c: dict(zip("abc", linear_back(dy, c), strict=True))
    ),
    "no return": backward("linear", lambda dy, c: None),
    "a number for an array": Style(square, lambda dy, x: float((2 * x * dy).sum()), (X,)),
    "a string": Style(square, lambda dy, x: "2x", (X,)),
    "ragged lists": Style(square, lambda dy, x: [[1.0, 2.0, 3.0], [1.0]], (X,)),
    "its own input damaged": backward("linear", damage),
    "its dy damaged": backward("softmax", overwrites_dy),
    "its cache emptied": Style(lambda x: (x * x, [x]), lambda dy, c: 2 * dy * c.pop(), (X,)),
    "a forward in place": Style(
        lambda x: (np.multiply(x, 2, out=x).copy(), None), lambda dy, _: 2 * dy, (X,)
    ),
    "a repeated word counted once": Style(
        embedding,
        lambda de, c: (lambda d: (d.__setitem__(c[1], de), d)[1])(np.zeros(c[0])),
        (RNG.normal(size=(5, 4)), ID),
    ),
    "relu lets negatives pass": backward("relu away from 0", lambda dy, x: dy),
    "relu with the mask of dy": backward("relu away from 0", lambda dy, x: dy * (dy > 0)),
    "leaky by another slope": backward(
        "leaky relu by np.where", lambda dy, x: dy * np.where(x > 0, 1, 0.01)
    ),
    "huber, not clipped": backward("huber", lambda dy, x: dy * x),
    "abs, without sign": backward("x*x + abs(x)", lambda dy, x: dy * (2 * x + 1)),
    "norm taken for constant": backward("unit vectors by np.linalg.norm", lambda dy, c: dy / c[1]),
    "logaddexp, without softmax": backward(
        "np.logaddexp.reduce", lambda dy, x: dy[:, None] + 0 * x
    ),
    "an output ignored": backward(
        "two results", lambda d, x: np.concatenate([d[0], 0 * d[1]], axis=1)
    ),
    "the outputs exchanged": backward(
        "results in a dict", lambda d, x: d["square"] / len(x) + 2 * x * d["mean"]
    ),
    "a weight of a list ignored": backward(
        "a list of weights",
        lambda dy, c: (two_layers_back(dy, c)[0], [0 * g for g in two_layers_back(dy, c)[1]]),
    ),
    "a key of a dict exchanged": backward(
        "a dict of arrays",
        lambda dc, c: (lambda g: {"q": g["q"], "k": 2 * g["k"], "v": g["v"]})(
            attention_dict_back(dc, c)
        ),
    ),
    "Gram matrix, one half": backward("Gram matrix", lambda dy, x: 2 * dy @ x),
    "inverse, not transposed": backward("inverse", lambda dy, i: -i @ dy @ i),
    "log-determinant, not transposed": backward(
        "log-determinant", lambda dy, a: dy * np.linalg.inv(a)
    ),
    "cumsum from the front": backward("cumsum", lambda dy, _: np.cumsum(dy)),
    "a kernel not turned round": backward(
        "convolution",
        lambda dy, c: (np.convolve(dy, c[1]), convolve_back(dy, c)[1]),
    ),
    "sorted back the wrong way": backward("sorting", lambda dy, i: dy[i]),
    "dropout with another mask": backward(
        "dropout with a generator",
        lambda dy, m: dy * (np.random.default_rng(9).random(m.shape) < 0.7),
    ),
    "a random backward": Style(
        square, lambda dy, x: 2 * x * dy * np.random.default_rng().random(), (X,)
    ),
    "a random forward": Style(random_forward, lambda dy, m: dy * m, (X,)),
    "a forward that counts": Style(counted(), lambda dy, n: dy * n, (X,)),
    "a forward that rounds, straight through": Style(
        lambda x: (np.round(np.real(x), 2) + (x - np.real(x)), None), lambda dy, _: dy, (X,)
    ),
    "a forward that detaches": Style(
        lambda x: (x * np.real(x), x), lambda dy, x: dy * np.real(x), (X,)
    ),
    "an argument without effect": Style(
        lambda x, w: (x * 2, None), lambda dy, _: (2 * dy, dy.sum(0)), (X, RNG.normal(size=3))
    ),
    "raises": Style(square, lambda dy, x: 1 / 0, (X,)),
    "a name that does not exist": Style(square, lambda dy, x: 2 * dx, (X,)),  # noqa: F821
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_code_never_passes(name):
    style = WRONG[name]
    report = check_op(style.forward, style.backward, *style.args, **style.options)
    assert not report.passed, report
    assert not report
    assert all(check.words for check in report.checks if check.verdict is not GradientVerdict.OK), (
        report
    )


def test_the_tables_are_large():
    assert len(RIGHT) >= 60 and len(WRONG) >= 60


# ---- neither right nor wrong -----------------------------------------------------------------

CORNER, NOTHING, CANNOT = (
    GradientVerdict.CORNER,
    GradientVerdict.NOTHING,
    GradientVerdict.CANNOT,
)


def masked(x):
    return np.where(np.arange(3) < 2, x, -np.inf), None


NEITHER = {
    "relu at 0": (CORNER, r"dx\[0, 1\].*from the left.*another point", np.array([[-1.0, 0, 2]])),
    "relu at 0, with the mean": (CORNER, r"dx\[0, 1\]", np.array([[-1.0, 0.0, 2.0]])),
    "abs at 0, with 0": (CORNER, r"dx\[1\]", np.array([-1.0, 0.0, 2.0])),
    "max with a tie": (CORNER, r"dx\[1\].*1 other", np.array([1.0, 2.0, 2.0, 0.5])),
    "sqrt at 0": (CORNER, r"dx\[0\]", np.array([0.0, 1.0, 2.0])),
    "a small corner": (CORNER, r"dx\[0\]", np.array([0.0, 1.0, 2.0])),
    "a jump": (CORNER, r"dx\[0\]", np.array([0.0, 1.0, 2.0])),
    "an infinite slope": (CANNOT, r"dx\[0\] .* does not settle", np.array([0.0, 1.0, 2.0])),
    "floor": (NOTHING, "0 everywhere", X),
    "saturated everywhere": (NOTHING, "rounding of the result", np.array([40.0, 45.0])),
    "empty": (NOTHING, "empty", np.zeros((0, 3))),
    "argmax": (CANNOT, "int64.*no slope", X),
    "a result in float32": (CANNOT, "float32 for arguments of float64", X),
    "a gradient in float32": (CANNOT, "the rounding of float32", X),
    "a complex result": (CANNOT, r"return \(\(y.real, y.imag\), cache\)", V),
    "a masked −inf": (CANNOT, r"gives -inf at \[0, 2\]", X),
    "a forward that raises": (CANNOT, r"forward raises ValueError: .* \(line \d+ of test_", X),
}
PAIRS = {
    "relu at 0": RIGHT["relu away from 0"][:2],
    "relu at 0, with the mean": elementwise(
        lambda x: np.maximum(x, 0), lambda x: np.where(x == 0, 0.5, x > 0)
    ),
    "abs at 0, with 0": elementwise(np.abs, np.sign),
    "max with a tie": (
        lambda x: (x.max(), x),
        lambda dy, x: dy * (x == x.max()) / (x == x.max()).sum(),
    ),
    "sqrt at 0": elementwise(np.sqrt, lambda x: 0.5 / np.sqrt(x)),
    "a small corner": elementwise(
        lambda x: x + 1e-3 * np.maximum(x, 0), lambda x: 1 + 1e-3 * (x > 0)
    ),
    "a jump": elementwise(lambda x: x + (x >= 0), lambda x: 1.0),
    "an infinite slope": elementwise(np.cbrt, lambda x: 1 / (3 * np.cbrt(x) ** 2)),
    "floor": elementwise(np.floor, lambda x: 0 * x),
    "saturated everywhere": (
        lambda x: (1 / (1 + np.exp(-x)), 1 / (1 + np.exp(-x))),
        lambda dy, y: dy * y * (1 - y),
    ),
    "empty": elementwise(lambda x: 2 * x, lambda x: 2.0),
    "argmax": (lambda x: (x.argmax(-1), x), lambda dy, x: 0 * x),
    "a result in float32": elementwise(lambda x: x.astype(np.float32), lambda x: 1.0),
    "a gradient in float32": (lambda x: (x, None), lambda dy, _: dy.astype(np.float32)),
    "a complex result": (lambda x: (np.fft.fft(x), None), lambda dy, _: dy),
    "a masked −inf": (masked, lambda dy, _: dy),
    "a forward that raises": (lambda x: (x @ x, x), lambda dy, x: dy),
}


@pytest.mark.parametrize("name", NEITHER)
def test_what_cannot_be_judged_is_called_by_its_name(name):
    verdict, words, x = NEITHER[name]
    report = check_op(*PAIRS[name], x)
    (check,) = report.checks
    assert check.verdict is verdict and not report.passed, report
    assert re.search(words, check.words), check.words


def test_a_wrong_entry_counts_more_than_a_corner():
    report = check_op(
        PAIRS["relu at 0"][0], lambda dy, x: 2 * dy * (x > 0), NEITHER["relu at 0"][2]
    )
    assert [check.verdict for check in report.checks] == [GradientVerdict.WRONG]


# ---- dy --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("size", [(), (2,), (2, 3), (7, 5)])
def test_a_backward_that_ignores_dy_never_passes_whatever_the_seed_a1(seed, size):
    rng = np.random.default_rng(seed)
    rng.normal(size=seed % 7)  # from anywhere in the stream
    x = np.asarray(rng.normal(size=size))
    for backward in (
        lambda dy, x: 2 * x,
        lambda dy, x: 2 * x * x,
        lambda dy, x: 2 * dy * dy,
        lambda dy, x: 2 * x * np.sign(dy),
    ):
        assert not check_op(square, backward, x).passed
        assert not check_op(square, backward, x, rng=np.random.default_rng(seed)).passed
    assert check_op(square, lambda dy, x: 2 * x * dy, x, rng=np.random.default_rng(seed)).passed


def test_dy_is_drawn_again_where_an_argument_holds_its_numbers():
    first = upstream(X, [], None)
    for x in (first, first.ravel()[::-1].copy(), -3 * first):
        other = upstream(X, [x], None)
        assert not np.isin(np.abs(other), np.abs(x)).any()
        assert not np.allclose(other / x.reshape(other.shape), (other / x.reshape(2, 3))[0, 0])


# ---- what is said ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("style", "names"),
    [
        ("linear", ["dx", "dw", "db"]),
        ("an object", ["dx"]),
        ("methods that keep x", ["dx"]),
        ("a decorated function", ["dx", "dw", "db"]),
        ("a wrapper without names", ["dargs[0]", "dargs[1]", "dargs[2]"]),
        ("any number of arguments", ["dxs[0]", "dxs[1]"]),
        ("a list of weights", ["dx", "dweights[0]", "dweights[1]"]),
        ("a dict of arrays", ["dinputs['q']", "dinputs['k']", "dinputs['v']"]),
        ("a float that has a gradient", ["dx", "ds"]),
        ("a float that has none", ["dx"]),
        ("a partial", ["dx"]),
    ],
)
def test_rows_are_named_after_the_arguments(style, names):
    style = RIGHT[style]
    report = check_op(style.forward, style.backward, *style.args, **style.options)
    assert [check.name for check in report.checks] == names


def test_none_says_that_an_argument_is_data():
    style = RIGHT["data among the floats"]
    report = check_op(style.forward, style.backward, *style.args)
    assert [check.verdict for check in report.checks] == [GradientVerdict.OK, GradientVerdict.DATA]
    assert not check_op(style.forward, lambda dy, c: (None, None), *style.args).passed


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("ignores dy", "ignores dy: another dy gives the same"),
        ("dy squared", "not proportional to dy"),
        ("layer norm without gain, at gain 1", "right where gain is 1 and bias is 0, and not else"),
        ("its own input damaged", "changed one of its inputs"),
        ("its cache emptied", "a second backward raises IndexError"),
        ("a random backward", "two backwards differ"),
        ("linear, shapes do not fit", "backward raises ValueError: matmul"),
        ("linear, dw transposed", r"it has shape \(4, 3\), and its array \(3, 4\)"),
        ("linear, one missing", r"2 gradients for 3 arrays \(x, w, b\)"),
        ("linear, a name missing", "gradients named dx; expected one for each of x, w, b"),
        ("no return", "returned None: a `return` is missing"),
        ("a random forward", "two forwards at the same point differ"),
        ("raises", "backward raises ZeroDivisionError: .* of test_gradcheck_styles.py: `"),
    ],
)
def test_the_reason_is_named(wrong, words):
    style = WRONG[wrong]
    report = check_op(style.forward, style.backward, *style.args, **style.options)
    assert any(re.search(words, check.words) for check in report.checks), report


def test_a_report_is_read_by_programs_and_raised_by_assert():
    style = RIGHT["linear"]
    right = check_op(style.forward, style.backward, *style.args)
    assert right and right.passed
    right.raise_if_wrong()
    assert set(right.errors) == {"dx", "dw", "db"}
    assert right["dw"].errors["complex"] < 1e-14 and right["dw"].verdict == "ok"
    style = WRONG["one entry"]
    wrong = check_op(style.forward, style.backward, *style.args)
    with pytest.raises(AssertionError, match=r"db +4 .*WRONG: at db\[3\]"):
        wrong.raise_if_wrong()
    assert repr(wrong) == str(wrong)


@pytest.mark.parametrize(
    ("forward", "words"),
    [
        (lambda x: x, "must return two things"),
        (lambda x: (x, x, x), r"not 3 \(ndarray, ndarray, ndarray\).*return \(\(y1, y2\), cache\)"),
        (lambda x: None, r"nothing \(None\)"),
    ],
)
def test_a_forward_of_another_form_is_told_the_form(forward, words):
    with pytest.raises(InputError, match=words):
        check_op(forward, lambda dy, _: dy, X)


def test_methods_may_be_one_word_and_unknown_ones_are_refused():
    style = RIGHT["linear"]
    report = check_op(style.forward, style.backward, *style.args, methods="central")
    assert report.passed and [*report.errors["dx"]] == ["central"]
    with pytest.raises(InputError, match="there is no method 'forward': choose among central"):
        check_op(style.forward, style.backward, *style.args, methods="forward")
    style = RIGHT["np.logaddexp.reduce"]
    report = check_op(style.forward, style.backward, *style.args, methods="complex")
    assert report["dx"].verdict is CANNOT and "raises TypeError" in report["dx"].words


def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(InputError, match=r"argument x of .* holds nan"):
        check_op(square, lambda dy, x: 2 * x * dy, np.array([1.0, np.nan]))


def test_what_is_data_may_be_of_any_kind():
    """float32, as many rows as columns, with −inf: nothing is shown in it."""

    def forward(x, one_hot, mask, bound):
        y = np.minimum(x @ one_hot + mask, bound)
        return np.where(np.isfinite(mask), y, 0.0), (one_hot, np.isfinite(mask))

    def backward(dy, cache):
        one_hot, kept = cache
        return (dy * kept) @ one_hot.T, None, None

    mask = np.array([[0.0, -np.inf, 0.0], [0.0, 0.0, 0.0]])
    report = check_op(forward, backward, X, np.eye(3, dtype=np.float32), mask, float("inf"))
    assert report.passed, report
    assert [check.verdict for check in report.checks] == ["ok", *["not differentiated"] * 2]
