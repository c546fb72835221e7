"""The mathematics: every forward with its backward directly below it.

    y, cache = f_forward(x, ...)        dx, ... = f_backward(dy, cache)

dz is always dL/dz, with the shape of z; a backward returns one gradient for each differentiable
argument, in the order of the arguments. Nothing is stored, no input is changed, and the dtype
follows the input: float32 trains, float64 is checked, complex128 takes the complex step of
gradcheck.py. That is why softmax shifts by the real maximum and why nothing here takes an absolute
value or a conjugate.

Letters: B batch, T queries, S keys, C width, D width of queries and keys, V vocabulary; I and O the
widths of what goes in and comes out where they need not be the same; `...` stands for any leading
axes, the same for all arguments. What each letter means: course/notation.py.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from .arguments import (
    array,
    check_ids,
    check_mask,
    check_targets,
    float_dtype,
    generator,
    number,
    shaped,
    whole,
)
from .arrays import (
    Array,
    ArrayLike,
    Cache,
    DTypeLike,
    Rng,
    as_rows,
    below_max,
    column_dot,
    column_sum,
    erf,
    masked,
    or_one,
    product,
    row_dot,
    row_mean,
    row_sum,
    squared,
    sum_by_id,
)
from .errors import InputError

# ---- F1: embedding ---------------------------------------------------------------------------


def embedding_forward(table: Array, ids: ArrayLike) -> tuple[Array, Cache]:
    """F1: row lookup.   table (V, C)   ids (...) in [0, V)   ->   e (..., C)

    e_i = table[x_i]

    Raises InputError for ids that are not integers or lie outside the table.
    """
    (table,) = shaped("embedding: table (V, C)", table)
    ids = check_ids("ids", ids, len(table))
    return table.take(ids, axis=0), (table.shape, ids)


def embedding_backward(de: Array, cache: Cache) -> Array:
    """Each occurrence of a word adds to the row of that word.

    e_i = table[x_i]   =>   dtable_w = Σ_{i: x_i = w} de_i

    `dtable[ids] += de` would keep only the last occurrence.
    """
    (V, C), ids = cache
    de = array("de", de, (*ids.shape, C))
    return sum_by_id(de, ids, V)


# ---- F12: linear map -------------------------------------------------------------------------


def linear_forward(x: Array, w: Array, b: Array | None = None) -> tuple[Array, Cache]:
    """F12: y = x w + b.   x (..., I)   w (I, O)   b (O,) or None   ->   y (..., O)"""
    x, w, b = shaped("linear: x (..., I), w (I, O), b (O) or None", x, w, b)
    y = product(x, w)
    if b is not None:
        y += b
    return y, (x, w, b is not None)


def linear_backward(dy: Array, cache: Cache) -> tuple[Array, Array, Array | None]:
    """Each entry of w meets every row of x, and b is added to every row.

    y_nr' = Σ_r x_nr w_rr' + b_r'   =>   dx_nr = Σ_r' dy_nr' w_rr'     dw_rr' = Σ_n x_nr dy_nr'
                                         db_r' = Σ_n dy_nr'            (None if there was no b)
    """
    x, w, has_bias = cache
    dy = array("dy", dy, (*x.shape[:-1], w.shape[1]))
    dx = product(dy, w.T)
    dw = as_rows(x).T @ as_rows(dy)
    return dx, dw, column_sum(dy) if has_bias else None


# ---- F3: softmax -----------------------------------------------------------------------------


def softmax_forward(s: Array, mask: Array | None = None) -> tuple[Array, Array]:
    """F3: softmax over the last axis.   s (..., S)   mask (broadcast to s)   ->   a (..., S)

    a_j = exp(s_j) / Σ_l exp(s_l)

    Shifting all s by their (real) maximum changes nothing but keeps exp from overflowing. Where
    mask is False, s counts as −∞, so a_j is exactly 0. A row in which nothing is allowed has no
    softmax; it is defined as all zeros: who may look at nothing reads nothing.
    """
    (s,) = shaped("softmax: s (..., S)", s)
    a = below_max(masked(s, check_mask(mask, s.shape)))
    np.exp(a, out=a)
    a /= or_one(row_sum(a))
    return a, a


def softmax_backward(da: Array, cache: Array) -> Array:
    """Raising one score takes from all the others.

    ∂a_l/∂s_j = a_l (1[l = j] − a_j)   =>   ds_j = a_j (da_j − Σ_l a_l da_l)

    Hence Σ_j ds_j = 0, and a masked score has ds_j = 0 because a_j = 0.
    """
    a = cache
    da = array("da", da, a.shape)
    ds: Array = a * (da - row_dot(a, da))
    return ds


# ---- F2, F3: attention -----------------------------------------------------------------------


class AttentionCache(NamedTuple):
    """What attention_backward needs. `a` is the picture to look at: who reads whom."""

    q: Array
    k: Array
    v: Array
    a: Array
    c: Array
    scale: float


def causal_mask(T: int, S: int | None = None) -> Array:
    """(T, S) boolean: query i may look at key j if j ≤ i, counting both from the end of the text.

    S > T means that the first S − T keys come from the past (a key/value cache).
    """
    T = whole("T", T, at_least=1)
    S = T if S is None else whole("S", S, at_least=1)
    return np.tri(T, S, S - T, dtype=bool)


def attention_forward(
    q: Array, k: Array, v: Array, mask: Array | None = None, scale: float = 1.0
) -> tuple[Array, AttentionCache]:
    """F2, F3: softmax attention.   q (..., T, D)   k (..., S, D)   v (..., S, O)  ->  c (..., T, O)

        s_ij = scale q_i·k_j            how well key j answers query i      (..., T, S)
        a_ij = softmax_j(s_ij)          the weights; each row sums to 1     (..., T, S)
        c_i  = Σ_j a_ij v_j             the average value that i reads      (..., T, O)

    mask (broadcast to (..., T, S), True = i may look at j) makes a_ij = 0 where False.
    The one-matrix model's attention is attention_forward(e, e, e); the weights a_ij are cache.a.
    """
    q, k, v = shaped("attention: q (..., T, D), k (..., S, D), v (..., S, O)", q, k, v)
    scale = number("scale", scale)
    s = (scale * q) @ k.mT
    a, _ = softmax_forward(s, mask)
    c = a @ v
    return c, AttentionCache(q, k, v, a, c, scale)


def attention_backward(dc: Array, cache: AttentionCache) -> tuple[Array, Array, Array]:
    """Walk the three lines of the forward upwards.   dc (..., T, O)  ->  dq, dk, dv

        c_i  = Σ_j a_ij v_j        =>   dv_j  = Σ_i a_ij dc_i          da_ij = dc_i·v_j
        a_i  = softmax(s_i)        =>   ds_ij = a_ij (da_ij − Σ_l a_il da_il)
                                   and  Σ_l a_il da_il = dc_i·Σ_l a_il v_l = dc_i·c_i
        s_ij = scale q_i·k_j       =>   dq_i  = scale Σ_j ds_ij k_j    dk_j = scale Σ_i ds_ij q_i

    Masked pairs need no care: a_ij = 0 makes ds_ij = 0.
    """
    q, k, v, a, c, scale = cache
    dc = array("dc", dc, c.shape)
    dv = a.mT @ dc
    ds = dc @ v.mT  # so far da_ij
    ds -= row_dot(dc, c)
    ds *= a
    ds *= scale
    return ds @ k, ds.mT @ q, dv


# ---- F4: output ------------------------------------------------------------------------------


def output_forward(c: Array, table: Array) -> tuple[Array, Cache]:
    """F4, before its softmax: logits z_w = c·e_w.   c (..., C)   table (V, C)  ->  z (..., V)

    p(w) = exp(z_w) / Σ_w' exp(z_w') is softmax_forward(z); training uses cross_entropy_forward(z).
    """
    c, table = shaped("output: c (..., C), table (V, C)", c, table)
    return product(c, table.T), (c, table)


def output_backward(dlogits: Array, cache: Cache) -> tuple[Array, Array]:
    """z_nw = c_n·e_w   =>   dc_n = Σ_w dz_nw e_w     dtable_w = Σ_n dz_nw c_n"""
    c, table = cache
    dlogits = array("dlogits", dlogits, (*c.shape[:-1], len(table)))
    return product(dlogits, table), as_rows(dlogits).T @ as_rows(c)


# ---- F5: cross-entropy -----------------------------------------------------------------------


IGNORE = -100  # a target that counts for nothing; the value PyTorch and Hugging Face use


class CrossEntropyCache(NamedTuple):
    """What cross_entropy_backward needs: a row for each target, and how many of them count, N."""

    p: Array
    y: Array
    counted: Array
    N: int
    shape: tuple[int, ...]


def cross_entropy_forward(logits: Array, targets: ArrayLike) -> tuple[Any, CrossEntropyCache]:
    """F4, F5: mean of −log p(target).   logits (..., V)   targets (...)  ->  L, nats per token

        L = 1/N Σ_n −log softmax(z_n)[y_n] = 1/N Σ_n (log Σ_w exp(z_nw) − z_ny)

    N counts the targets that are not IGNORE; an ignored one adds nothing to L, N or any gradient.
    Softmax and logarithm are fused because log(exp(z)/Σ) loses everything once exp(z) underflows.
    Raises InputError where shapes disagree, a target is out of range, or all are ignored.
    """
    (logits,) = shaped("cross_entropy: logits (..., V)", logits)
    y, counted, N = check_targets(targets, logits, IGNORE)
    n = np.arange(len(y))
    p = below_max(as_rows(logits))
    z_y = p[n, y]
    np.exp(p, out=p)
    total = row_sum(p)
    p /= total
    nats = np.log(total[:, 0]) - z_y
    return nats[counted].sum() / N, CrossEntropyCache(p, y, counted, N, logits.shape)


def cross_entropy_backward(dL: Any, cache: CrossEntropyCache) -> Array:
    """The prediction minus the truth.

        L_n = log Σ_w exp(z_nw) − z_ny   =>   dz_nw = dL/N (p_nw − 1[w = y_n])

    Each row sums to 0: what the right word gains, the others lose.
    """
    p, y, counted, N, shape = cache
    dL = number("dL", dL)
    weight = (counted * (dL / N)).astype(p.dtype)
    dlogits = p * weight[:, None]
    dlogits[np.arange(len(y)), y] -= weight
    dz: Array = dlogits.reshape(shape)
    return dz


def nll_forward(p: Array, targets: ArrayLike) -> tuple[Any, Cache]:
    """F5 on probabilities: L = 1/N Σ_n −log p_n[y_n].   p (..., V)   targets (...)  ->  L, nats

    Together with softmax_forward it is cross_entropy_forward in two steps; for reading, because
    p_n[y_n] can underflow to 0. IGNORE and errors are those of cross_entropy_forward.
    """
    (p,) = shaped("nll: p (..., V)", p)
    y, counted, N = check_targets(targets, p, IGNORE)
    p_y = as_rows(p)[np.arange(len(y)), y][counted]
    return -np.log(p_y).sum() / N, (p_y, y, counted, N, p.shape)


def nll_backward(dL: Any, cache: Cache) -> Array:
    """L_n = −log p_ny   =>   dp_nw = −dL/N 1[w = y_n] / p_ny

    Through softmax_backward it becomes p − 1 at the target: cross_entropy_backward.
    """
    p_y, y, counted, N, shape = cache
    dL = number("dL", dL)
    dp = np.zeros((len(y), shape[-1]), p_y.dtype)
    dp[counted, y[counted]] = -dL / N / p_y
    return dp.reshape(shape)


# ---- F23: cross-entropy with label smoothing -------------------------------------------------


class SmoothedCrossEntropyCache(NamedTuple):
    """The cache of F5, and ε."""

    cross_entropy: CrossEntropyCache
    smoothing: float

    @property
    def N(self) -> int:
        """How many targets count."""
        return self.cross_entropy.N


def smoothed_cross_entropy_forward(
    logits: Array, targets: ArrayLike, smoothing: float
) -> tuple[Any, SmoothedCrossEntropyCache]:
    """F23: cross-entropy with a target that is not quite certain.   logits (..., V)   targets (...)

        ȳ_nw = (1 − ε) 1[w = y_n] + ε/V                  ε = smoothing
        L = 1/N Σ_n −Σ_w ȳ_nw log softmax(z_n)[w]
          = L_F5 + ε/N Σ_n (z_ny − 1/V Σ_w z_nw)         because Σ_w ȳ_nw = 1

    In nats per token; it is least at p = ȳ, so no logit gains by growing without end. N, IGNORE and
    errors are those of cross_entropy_forward; also raises InputError unless 0 ≤ ε < 1.
    Source: Szegedy et al. 2016, Rethinking the Inception Architecture, section 7; ε = 0.1 in
    Vaswani et al. 2017, section 5.4.
    """
    smoothing = number("smoothing", smoothing, at_least=0, below=1)
    (logits,) = shaped("smoothed_cross_entropy: logits (..., V)", logits)
    loss, cache = cross_entropy_forward(logits, targets)
    z = as_rows(logits)
    ahead = z[np.arange(len(z)), cache.y] - z.mean(axis=-1)
    loss += smoothing * (ahead[cache.counted].sum() / cache.N)
    return loss, SmoothedCrossEntropyCache(cache, smoothing)


def smoothed_cross_entropy_backward(dL: Any, cache: SmoothedCrossEntropyCache) -> Array:
    """The prediction minus the smoothed truth.

        L_n = L_F5,n + ε (z_ny − 1/V Σ_w z_nw)
                =>   dz_nw = dL/N (p_nw − 1[w = y_n]) + dL/N ε (1[w = y_n] − 1/V)
                           = dL/N (p_nw − ȳ_nw)

    Each row still sums to 0.
    """
    (_, y, counted, N, _), smoothing = cache
    dL = number("dL", dL)
    dlogits = cross_entropy_backward(dL, cache.cross_entropy)
    weight = (counted * (dL / N * smoothing)).astype(dlogits.dtype)
    rows = as_rows(dlogits)
    rows[np.arange(len(y)), y] += weight
    rows -= weight[:, None] / rows.shape[-1]
    return dlogits


# ---- F13: layer normalisation ----------------------------------------------------------------


def layer_norm_forward(
    x: Array, gain: Array, bias: Array | None = None, eps: float = 1e-5
) -> tuple[Array, Cache]:
    """F13: every row to mean 0 and variance 1, then to a learned scale and offset.

        x̂_r = (x_r − mean(x))/σ     mean(x) = 1/C Σ_r x_r     σ² = mean((x − mean(x))²) + eps
        y_r = gain_r x̂_r + bias_r

    x (..., C)   gain (C,)   bias (C,) or None   ->   y (..., C)
    Source: Ba, Kiros and Hinton 2016, Layer Normalization, section 3; the variance divides by C.
    """
    x, gain, bias = shaped("layer_norm: x (..., C), gain (C), bias (C) or None", x, gain, bias)
    eps = number("eps", eps, at_least=0)
    C = x.shape[-1]
    x_hat = x - row_mean(x)
    sigma = np.sqrt(row_dot(x_hat, x_hat) / C + eps)
    x_hat /= sigma
    y = x_hat * gain
    if bias is not None:
        y += bias
    return y, (x_hat, sigma, gain, bias is not None)


def layer_norm_backward(dy: Array, cache: Cache) -> tuple[Array, Array, Array | None]:
    """What would move the mean or the variance of a row is taken out of its gradient.

        y_r = gain_r x̂_r + bias_r   =>   dgain_r = Σ_n dy_nr x̂_nr     dbias_r = Σ_n dy_nr
                                          dx̂_r    = gain_r dy_r
        ∂mean(x)/∂x_r = 1/C     ∂σ/∂x_r = x̂_r/C
        ∂x̂_r'/∂x_r = (1[r' = r] − 1/C − x̂_r' x̂_r/C)/σ
                                     =>   dx_r = (dx̂_r − mean(dx̂) − x̂_r mean(dx̂ x̂))/σ

    Hence Σ_r dx_r = 0. dbias is None if there was no bias.
    """
    x_hat, sigma, gain, has_bias = cache
    dy, C = array("dy", dy, x_hat.shape), x_hat.shape[-1]
    dgain = column_dot(dy, x_hat)
    dx = dy * gain  # so far dx̂
    along = row_dot(dx, x_hat) / C
    dx -= row_mean(dx)
    dx -= x_hat * along
    dx /= sigma
    return dx, dgain, column_sum(dy) if has_bias else None


# ---- F14, F15: GELU --------------------------------------------------------------------------

TANH_SCALE = math.sqrt(2 / math.pi)
TANH_CUBIC = 0.044715


def gelu_forward(x: Array) -> tuple[Array, Cache]:
    """F14: GELU, tanh form.   x (...)  ->  y (...)

        u = √(2/π) (x + 0.044715 x³)     h = (1 + tanh u)/2     y = x h

    Differs from F15 by less than 5e-4; it is the form of GPT-2.
    Source: Hendrycks and Gimpel 2016, Gaussian Error Linear Units, section 2.
    """
    x = array("x", x)
    h = squared(x)  # x³ as a power costs four times as much as these products in place
    h *= TANH_SCALE * TANH_CUBIC
    h += TANH_SCALE
    h *= x  # so far u
    np.tanh(h, out=h)
    h += 1.0
    h *= 0.5
    return x * h, (x, h)


def gelu_backward(dy: Array, cache: Cache) -> Array:
    """The product rule; h = (1 + tanh u)/2 is the logistic function of 2 u.

    y = x h,  h' = 2 u' h (1 − h)   =>   dx = dy (h + x h') = dy h (1 + x 2 u' (1 − h))
    u' = √(2/π) (1 + 3·0.044715 x²)
    """
    x, h = cache
    dy = array("dy", dy, x.shape)
    slope = squared(x)
    slope *= 2 * TANH_SCALE * 3 * TANH_CUBIC
    slope += 2 * TANH_SCALE  # so far 2 u'
    slope *= x
    slope *= 1.0 - h
    slope += 1.0
    slope *= h  # h + x h'
    slope *= dy
    return slope


def gelu_exact_forward(x: Array) -> tuple[Array, Cache]:
    """F15: GELU, y = x Φ(x), with Φ(x) = (1 + erf(x/√2))/2 the normal distribution.   x, y (...)

    The form of BERT. Source: Hendrycks and Gimpel 2016, Gaussian Error Linear Units, section 2.
    """
    x = array("x", x)
    phi = erf(x * math.sqrt(0.5))
    phi += 1.0
    phi *= 0.5
    return x * phi, (x, phi)


def gelu_exact_backward(dy: Array, cache: Cache) -> Array:
    """y = x Φ(x),  Φ' = exp(−x²/2)/√(2π)   =>   dx = dy (Φ(x) + x Φ'(x))"""
    x, phi = cache
    dy = array("dy", dy, x.shape)
    slope = squared(x)
    slope *= -0.5
    np.exp(slope, out=slope)
    slope *= 1 / math.sqrt(2 * math.pi)  # so far Φ'
    slope *= x
    slope += phi
    slope *= dy
    return slope


# ---- F16: ReLU -------------------------------------------------------------------------------


def relu_forward(x: Array) -> tuple[Array, Array]:
    """F16: y = max(x, 0).   x (...)  ->  y (...)"""
    x = array("x", x)
    positive = x.real > 0
    return np.where(positive, x, 0), positive


def relu_backward(dy: Array, cache: Array) -> Array:
    """y = x where x > 0, else 0   =>   dx = dy where x > 0, else 0; at the corner itself 0."""
    positive = cache
    dy = array("dy", dy, positive.shape)
    return np.where(positive, dy, 0)


# ---- F22: tanh -------------------------------------------------------------------------------


def tanh_forward(x: Array) -> tuple[Array, Array]:
    """F22: y = tanh x, between −1 and 1.   x (...)  ->  y (...)"""
    x = array("x", x)
    y = np.tanh(x)
    return y, y


def tanh_backward(dy: Array, cache: Array) -> Array:
    """y = tanh x,  y' = 1 − tanh² x   =>   dx = dy (1 − y²)"""
    y = cache
    dy = array("dy", dy, y.shape)
    dx: Array = dy * (1 - y * y)
    return dx


# ---- F17: dropout ----------------------------------------------------------------------------


def dropout_forward(x: Array, rate: float, rng: Rng | None) -> tuple[Array, Array | None]:
    """F17: y = m x, with m = 0 at probability `rate` and 1/(1 − rate) otherwise.   x, y (...)

    The mean of m is 1, so evaluation (rng None) needs no other scale: there y = x, as at rate 0.
    Source: Srivastava et al. 2014, Dropout, section 10 (inverted). Raises InputError unless
    0 ≤ rate < 1.
    """
    x, rate = array("x", x), number("rate", rate, at_least=0, below=1)
    if rng is None or rate == 0:
        return x, None
    m = (generator("rng", rng).random(x.shape, np.float32) >= rate).astype(x.real.dtype)
    m /= 1 - rate
    return x * m, m


def dropout_backward(dy: Array, cache: Array | None) -> Array:
    """y = m x   =>   dx = m dy, with the same m: what was dropped gets nothing."""
    m = cache
    dy = array("dy", dy, m if m is None else m.shape)
    return dy if m is None else dy * m


# ---- F18, F19: positions ---------------------------------------------------------------------


def positions_forward(e: Array, table: Array) -> tuple[Array, Cache]:
    """F18: y_t = e_t + table[t].   e (..., T, C)   table (N, C)  ->  y (..., T, C)

    Source: Gehring et al. 2017, Convolutional Sequence to Sequence Learning, section 3.1.
    Raises InputError where there are more tokens than positions.
    """
    e, table = shaped("positions: e (..., T, C), table (N, C)", e, table)
    T, N = e.shape[-2], len(table)
    if T > N:
        raise InputError(
            f"positions: {T} tokens do not fit a table of {N}: give 1 to {N} tokens, the last ones "
            "of a longer text"
        )
    return e + table[:T], (e.shape, table.shape)


def positions_backward(dy: Array, cache: Cache) -> tuple[Array, Array]:
    """A position is added to every text of the batch.

    y_nt = e_nt + table_t   =>   de_nt = dy_nt     dtable_t = Σ_n dy_nt, 0 for positions not used
    """
    e_shape, table_shape = cache
    dy = array("dy", dy, e_shape)
    T, C = e_shape[-2:]
    dtable = np.zeros(table_shape, dy.dtype)
    dtable[:T] = dy.reshape(-1, T, C).sum(axis=0)
    return dy, dtable


def sinusoidal_positions(T: int, C: int, dtype: DTypeLike = np.float32) -> Array:
    """F19: a table (T, C) for F18 that is not learned: each pair of columns is a clock's hand.

        table[t, 2r] = sin(t / 10000^(2r/C))     table[t, 2r + 1] = cos(t / 10000^(2r/C))

    Moving on by a fixed number of tokens turns every hand by a fixed angle, whatever t.
    Source: Vaswani et al. 2017, Attention Is All You Need, section 3.5.
    """
    T, C = whole("T", T, at_least=1), whole("C", C, at_least=1)
    dtype = float_dtype("dtype", dtype)
    even = np.arange(0, C, 2)
    angle = np.arange(T)[:, None] / 10000.0 ** (even / C)
    table = np.zeros((T, C), dtype)
    table[:, 0::2] = np.sin(angle)
    table[:, 1::2] = np.cos(angle[:, : C // 2])
    return table
