"""The formulas once more, in dual numbers: an oracle that shares no line with ops.py.

⟨u, J v⟩ = ⟨Jᵀu, v⟩ for every u and v: what a formula here says of J must agree in one number with
what a backward says of Jᵀ. What is written here is slow and plain on purpose, and follows the
papers, not the code: a forward that is wrong in the same way as its backward, so that every
numerical gradient agrees, is seen by this oracle alone. What each number is called, `explain` tells
the reader: see inside/explain.py.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..arrays import Array, Rng
from ..ops import IGNORE
from . import dual_numbers
from .dual_numbers import Dual, concatenate, einsum, erf, exp, log, sqrt, within


def embedding(table: Dual, ids: Array) -> Dual:
    """F1: the row of a word is a product with a vector that is 1 at the word."""
    return einsum("...w,wc->...c", _is(ids, len(table.value)), table).called("F1", "e")


def _is(ids: Array, size: int) -> Array:
    result: Array = (np.asarray(ids)[..., None] == np.arange(size)) * 1.0
    return result


def linear(x: Dual, w: Dual, b: Dual | None = None) -> Dual:
    """F12"""
    y = einsum("...i,io->...o", x, w)
    return y if b is None else y + b


def softmax(s: Dual, mask: Array | None = None) -> Dual:
    """F3, without a shift; 0/1 = 0 for a row in which nothing is allowed."""
    e = exp(s) * (1.0 if mask is None else mask)
    Z = e.sum().called("F3", "Z")
    a: Dual = e / (Z + (Z.value == 0))
    return a


def attention(q: Dual, k: Dual, v: Dual, mask: Array | None = None, scale: float = 1.0) -> Dual:
    """F2, F3"""
    s = (scale * einsum("...td,...sd->...ts", q, k)).called("F3", "s")
    a = softmax(s, mask).called("F3", "a")
    return einsum("...ts,...se->...te", a, v).called("F2", "c")


def output(c: Dual, table: Dual) -> Dual:
    """F4, before its softmax"""
    return einsum("...c,wc->...w", c, table).called("F4", "logits")


def cross_entropy(logits: Dual, targets: Array) -> Dual:
    """F5 after F4"""
    with within("output"):
        p = softmax(logits)
    return nll(p.called("F4", "p"), targets)


def nll(p: Dual, targets: Array) -> Dual:
    """F5: the mean of −log p(target) over the targets that count."""
    counted = np.asarray(targets) != IGNORE
    truth = (p * _is(targets, p.value.shape[-1])).sum()[..., 0]
    nats = -1 * log(truth + ~counted)  # log 1 = 0 for those that do not count
    result: Dual = nats.total() * (1 / counted.sum())
    return result.called("F5", "L")


def smoothed_cross_entropy(logits: Dual, targets: Array, smoothing: float) -> Dual:
    """F23: Σ_w q_w (−log p_w), with q the smoothed truth"""
    counted = np.asarray(targets) != IGNORE
    V = logits.value.shape[-1]
    q = (1 - smoothing) * _is(targets, V) + smoothing / V
    with within("output"):
        p = softmax(logits)
    nats = log(p.called("F4", "p")) * (q * counted[..., None])
    result: Dual = nats.total() * (-1 / counted.sum())
    return result.called("F23", "L")


def layer_norm(x: Dual, gain: Dual, bias: Dual | None = None, eps: float = 1e-5) -> Dual:
    """F13"""
    C = x.value.shape[-1]
    centred = (x - (x.sum() * (1 / C)).called("F13", "mean")).called("F13", "centred")
    variance = (centred * centred).sum() * (1 / C)
    x_hat = (centred / sqrt(variance + eps).called("F13", "sigma")).called("F13", "x_hat")
    y: Dual = gain * x_hat
    return y if bias is None else y + bias


def gelu(x: Dual) -> Dual:
    """F14"""
    u = (math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)).called("F14", "u")
    return x * (0.5 + 0.5 * tanh(u)).called("F14", "h")


def gelu_exact(x: Dual) -> Dual:
    """F15"""
    return x * (0.5 + 0.5 * erf(x * math.sqrt(0.5))).called("F15", "phi")


def relu(x: Dual) -> Dual:
    """F16"""
    return x * (x.value > 0)


def tanh(x: Dual) -> Dual:
    """F22, with the slope 1/cosh² x"""
    return dual_numbers.tanh(x)


def dropout(x: Dual, rate: float, rng: Rng | None) -> Dual:
    """F17: rng draws the same numbers again, in float32."""
    if rng is None or not rate:
        return x
    return x * (rng.random(x.value.shape, np.float32) >= rate) * (1 / (1 - rate))


def positions(e: Dual, table: Dual) -> Dual:
    """F18"""
    return e + table[: e.value.shape[-2]]


def multi_head(q: Dual, k: Dual, v: Dual, heads: int, mask: Array | None = None) -> Dual:
    """F20: one head after another"""
    D = q.value.shape[-1] // heads
    heads_c = []
    for h in range(heads):
        D_h = np.s_[..., h * D : h * D + D]
        with within(f"head{h}"):
            heads_c.append(attention(q[D_h], k[D_h], v[D_h], mask, 1 / math.sqrt(D)))
    return concatenate(heads_c).called("F20", "c")


def self_attention(
    x: Dual, w: Any, b: Any, w_out: Any, b_out: Any, heads: int, mask: Any = None
) -> Dual:
    """F20: w and b hold those of q, k and v side by side."""
    A = w.value.shape[-1] // 3
    qkv = linear(x, w, b)
    q, k, v = (qkv[..., i * A : (i + 1) * A].called("F12", name) for i, name in enumerate("qkv"))
    return linear(multi_head(q, k, v, heads, mask), w_out, b_out)


def cross_attention(
    x: Dual,
    memory: Dual,
    w_q: Any,
    b_q: Any,
    w_kv: Any,
    b_kv: Any,
    w_out: Any,
    b_out: Any,
    heads: int,
    mask: Any = None,
) -> Dual:
    """F20: queries of x, keys and values of memory"""
    A = w_q.value.shape[-1]
    kv = linear(memory, w_kv, b_kv)
    k, v = kv[..., :A].called("F12", "k"), kv[..., A:].called("F12", "v")
    c = multi_head(linear(x, w_q, b_q).called("F12", "q"), k, v, heads, mask)
    return linear(c, w_out, b_out)


def feed_forward(x: Dual, w: Any, b: Any, w_out: Any, b_out: Any, activation: str = "gelu") -> Dual:
    """F21"""
    hidden = linear(x, w, b).called("F12", "hidden")
    active = SECOND_FORMULAS[activation](hidden).called(ACTIVATION_IDS[activation], "active")
    return linear(active, w_out, b_out)


ACTIVATION_IDS = {"gelu": "F14", "gelu_exact": "F15", "relu": "F16"}


SECOND_FORMULAS: dict[str, Callable[..., Dual]] = {
    f.__name__: f
    for f in (
        embedding, linear, softmax, attention, output, cross_entropy, nll, smoothed_cross_entropy,
        layer_norm, gelu, gelu_exact, relu, tanh, dropout, positions,
        multi_head, self_attention, cross_attention, feed_forward,
    )
}  # fmt: skip


# ---- the models: parameters by name -> the loss ----------------------------------------------

Named = Mapping[str, Dual]
Draws = np.random.Generator | None


def _of(p: Named, part: str, *names: str) -> list[Any]:
    return [p.get(f"{part}.{name}") for name in names]


def _norm(p: Named, part: str, x: Dual, eps: float = 1e-5) -> Dual:
    with within(part):
        gain, bias = _of(p, part, "gain", "bias")
        y = layer_norm(x, gain, bias, eps)
    return y.called("F13", part)


def _attend(p: Named, part: str, x: Dual, heads: int, mask: Any) -> Dual:
    w, b, w_out, b_out = _of(p, part, "w_qkv", "b_qkv", "w_out", "b_out")
    with within(part):
        y = self_attention(x, w, b, w_out, b_out, heads, mask)
    return y.called("F20", part)


def _feed(p: Named, part: str, x: Dual, activation: str) -> Dual:
    w, b, w_out, b_out = _of(p, part, "w_in", "b_in", "w_out", "b_out")
    with within(part):
        y = feed_forward(x, w, b, w_out, b_out, activation)
    return y.called("F21", part)


def not_later(T: int) -> Array:
    return np.arange(T)[:, None] >= np.arange(T)


def attention_lm(p: Named, config: Any, ids: Array, targets: Array) -> Dual:
    """The one-matrix model, and its three repairs"""
    T = ids.shape[-1]
    e = embedding(p["E"], ids)
    if config.positions:
        e = positions(e, p["P"])
    e = e.called("F18" if config.positions else "F1", "embedding")
    q, k, v = e, e, e
    if config.projections:
        q, k, v = (linear(e, p[f"W_{x}"]).called("F12", x) for x in "qkv")
    c = attention(q, k, v, not_later(T) if config.causal else None, config.scale)
    c = c.called("F2", "attention")
    if config.context == "last":
        c, targets = c[..., -1:, :], targets[..., -1:]
    return cross_entropy(output(c, p["E" if config.tied else "U"]), targets)


def gpt(p: Named, config: Any, ids: Array, targets: Array, rng: Draws = None) -> Dual:
    """h ← h + f(norm(h))"""
    h = dropout(positions(embedding(p["E"], ids), p["P"]), config.dropout, rng)
    h = h.called("F18", "embedding")
    for block in (f"block{i}" for i in range(config.layers)):
        y = _norm(p, f"{block}.norm1", h)
        y = _attend(p, f"{block}.attention", y, config.heads, not_later(ids.shape[-1]))
        h = (h + dropout(y, config.dropout, rng)).called("", f"{block}.h")
        y = _feed(p, f"{block}.feed_forward", _norm(p, f"{block}.norm2", h), "gelu")
        h = (h + dropout(y, config.dropout, rng)).called("", block)
    return cross_entropy(output(_norm(p, "norm", h), p["E"]), targets)


def bert(p: Named, config: Any, ids: Array, rng: Draws, segments: Any, attend: Any = None) -> Dual:
    """h ← norm(h + f(h)), every token looking at every real one"""
    attend = np.ones(ids.shape, bool) if attend is None else attend
    with within("segments"):
        g = embedding(p["G"], segments)
    h = positions(embedding(p["E"], ids) + g, p["P"]).called("F18", "sum")
    h = dropout(_norm(p, "norm", h, config.eps), config.dropout, rng).called("F13", "embedding")
    for block in (f"block{i}" for i in range(config.layers)):
        y = _attend(p, f"{block}.attention", h, config.heads, attend[..., None, :])
        h = (h + dropout(y, config.dropout, rng)).called("", f"{block}.sum1")
        h = _norm(p, f"{block}.norm1", h, config.eps)
        y = _feed(p, f"{block}.feed_forward", h, "gelu_exact")
        h = (h + dropout(y, config.dropout, rng)).called("", f"{block}.sum2")
        h = _norm(p, f"{block}.norm2", h, config.eps).called("F13", block)
    return h


def bert_for_masked_lm(p: Named, config: Any, ids: Array, targets: Array, *rest: Any) -> Dual:
    h = bert(p, config, ids, *rest)
    with within("transform"):
        y = linear(h, p["transform.w"], p["transform.b"]).called("F12", "hidden")
        y = gelu_exact(y).called("F15", "active")
    y = _norm(p, "transform", y, config.eps)
    with within("output"):
        logits = output(y, p["E"])
    return cross_entropy((logits + p["predict.b"]).called("F12", "logits"), targets)


def bert_for_class(
    p: Named, config: Any, ids: Array, targets: Array, rng: Draws, *rest: Any
) -> Dual:
    first = bert(p, config, ids, rng, *rest)[..., 0, :]
    y = linear(first, p["pooler.w"], p["pooler.b"]).called("F12", "pooler.hidden")
    y = dropout(tanh(y), config.dropout, rng).called("F22", "pooler")
    logits = linear(y, p["classes.w"], p["classes.b"]).called("F12", "logits")
    return cross_entropy(logits, targets)


def bert_for_span(p: Named, config: Any, ids: Array, upstream: Array, *rest: Any) -> Dual:
    """Σ dz·z of the logits (B, 2, T)"""
    z = linear(bert(p, config, ids, *rest), p["span.w"], p["span.b"])
    return (z * upstream.swapaxes(-1, -2)).total()


def bert_span_loss(
    p: Named, config: Any, ids: Array, targets: Array, rng: Draws, segments: Any, attend: Any = None
) -> Dual:
    """The loss of a span itself: of its start and of its end, each among the real tokens."""
    z = linear(bert(p, config, ids, rng, segments, attend), p["span.w"], p["span.b"])
    logits = einsum("...tk,kj->...jt", z, np.eye(2)).called("F12", "logits")
    with within("output"):
        a = softmax(logits, None if attend is None else attend[..., None, :])
    return nll(a.called("F3", "p"), targets)


def transformer(p: Named, config: Any, source: Array, target: Array, rng: Draws = None) -> Dual:
    """An encoder and a decoder of h ← norm(h + f(h))"""

    def embed(ids: Array) -> Dual:
        """F19: a clock for each pair of columns"""
        C = config.width
        clock = np.arange(ids.shape[-1])[:, None] / 10000 ** (np.arange(C) // 2 * 2 / C)
        table = np.where(np.arange(C) % 2, np.cos(clock), np.sin(clock))
        h: Dual = math.sqrt(C) * embedding(p["E"], ids) + table
        return dropout(h, config.dropout, rng).called("F19", "embedding")

    def add(part: str, h: Dual, y: Dual) -> Dual:
        h = (h + dropout(y, config.dropout, rng)).called("", f"{part}.sum")
        return _norm(p, part, h)

    def read(part: str, h: Dual, memory: Dual) -> Dual:
        w_q, b_q, w_kv, b_kv = _of(p, part, "w_q", "b_q", "w_kv", "b_kv")
        out = p[f"{part}.w_out"], p[f"{part}.b_out"]
        mask = real[..., None, :]
        with within(part):
            y = cross_attention(h, memory, w_q, b_q, w_kv, b_kv, *out, config.heads, mask)
        return y.called("F20", part)

    real, words = source != config.padding_id, target[..., :-1]
    with within("encoder"):
        memory = embed(source)
    for i in range(config.layers):
        y = _attend(p, f"encoder{i}.attention", memory, config.heads, real[..., None, :])
        memory = add(f"encoder{i}.norm1", memory, y)
        y = _feed(p, f"encoder{i}.feed_forward", memory, "relu")
        memory = add(f"encoder{i}.norm2", memory, y).called("F13", f"encoder{i}")
    with within("decoder"):
        h = embed(words)
    mask = (words != config.padding_id)[..., None, :] & not_later(words.shape[-1])
    for i in range(config.layers):
        y = _attend(p, f"decoder{i}.attention", h, config.heads, mask)
        h = add(f"decoder{i}.norm1", h, y)
        h = add(f"decoder{i}.norm2", h, read(f"decoder{i}.cross", h, memory))
        h = add(f"decoder{i}.norm3", h, _feed(p, f"decoder{i}.feed_forward", h, "relu"))
        h = h.called("F13", f"decoder{i}")
    truth = np.where(target == config.padding_id, IGNORE, target)[..., 1:]
    return smoothed_cross_entropy(output(h, p["E"]), truth, config.smoothing)


LOSSES: dict[str, Callable[..., Dual]] = {
    "AttentionLM": attention_lm,
    "GPT": gpt,
    "BERTForMaskedLM": bert_for_masked_lm,
    "BERTForClass": bert_for_class,
    "BERTForSpan": bert_for_span,
    "Transformer": transformer,
}
