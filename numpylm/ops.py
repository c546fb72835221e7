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

from .errors import InputError

Array = np.ndarray

IGNORE = -100  # a target that counts for nothing; the value PyTorch and Hugging Face use


def as_ids(name: str, ids: Any) -> Array:
    """`ids` as an array; InputError for rows of different lengths."""
    try:
        return np.asarray(ids)
    except ValueError:
        raise InputError(f"{name} must be rows of equal length: cut or pad them") from None


def as_texts(ids: Any) -> Array:
    """`ids` as an array (..., T); InputError for one number, and for rows of different lengths."""
    ids = as_ids("ids", ids)
    if not ids.ndim:
        raise InputError(f"ids must be a text (T,) or texts (..., T) of tokens, not {ids.item()!r}")
    return ids


def check_ids(name: str, ids: Any, size: int, ignore: int | None = None) -> Array:
    """`ids` as an array, if they are integers in [0, size) or equal to `ignore`; else an error."""
    ids = as_ids(name, ids)
    if not ids.size:
        raise InputError(f"{name} are empty, of shape {ids.shape}: give at least one token")
    if ids.dtype.kind not in "iu":
        raise InputError(f"{name} must be integers, not {ids.dtype}: encode text with a tokenizer")
    wrong = ids[((ids < 0) | (ids >= size)) & (True if ignore is None else ids != ignore)]
    if wrong.size:
        raise InputError(
            f"{name} must lie in [0, {size}), the vocabulary; found {wrong[0]}: "
            "use the tokenizer that belongs to the model"
        )
    return ids


def _fits(shape: tuple[int, ...], onto: tuple[int, ...]) -> bool:
    """Whether an array of `shape` broadcasts to `onto` without enlarging it."""
    sizes = zip(shape[::-1], onto[::-1], strict=False)
    return len(shape) <= len(onto) and all(m in (1, n) for m, n in sizes)


def _rows(x: Array) -> Array:
    """(..., C) seen as (N, C), so that a product with a matrix is one call of the BLAS."""
    return x.reshape(-1, x.shape[-1])


def _sum(x: Array) -> Array:
    """Σ_i x_i over the last axis.   (..., I) -> (..., 1)   Short rows: 3 times as fast as x.sum."""
    return np.einsum("...i->...", x)[..., None]


def _max(x: Array) -> Array:
    """max_i x_i of the real parts.   (..., I) -> (..., 1)

    One call for all rows, given where each begins: for short rows twice as fast as x.max.
    """
    starts = np.arange(0, x.size, x.shape[-1])
    return np.maximum.reduceat(x.real.ravel(), starts).reshape(*x.shape[:-1], 1)


def _dot(x: Array, y: Array) -> Array:
    """Σ_i x_i y_i over the last axis.   (..., I), (..., I) -> (..., 1)   Makes no array of x y."""
    return np.einsum("...i,...i->...", x, y)[..., None]


# ---- F1: embedding ---------------------------------------------------------------------------


def embedding_forward(table: Array, ids: Array) -> tuple[Array, tuple]:
    """F1: row lookup.   table (V, C)   ids (...) in [0, V)   ->   e (..., C)

    e_i = table[x_i]

    Raises InputError for ids that are not integers or lie outside the table.
    """
    ids = check_ids("ids", ids, len(table))
    return table.take(ids, axis=0), (table.shape, ids)


def embedding_backward(de: Array, cache: tuple) -> Array:
    """Each occurrence of a word adds to the row of that word.

    e_i = table[x_i]   =>   dtable_w = Σ_{i: x_i = w} de_i

    `dtable[ids] += de` would keep only the last occurrence. Sorting puts the occurrences of a word
    next to one another, and reduceat adds each run: the sum of np.add.at, in less time.
    """
    shape, ids = cache
    dtable = np.zeros(shape, de.dtype)
    small = ids.astype(np.min_scalar_type(len(dtable)))  # up to 16 bits NumPy sorts by digits
    order = np.argsort(small, axis=None, kind="stable")
    occurrences = np.bincount(ids.ravel(), minlength=len(dtable))
    words = np.flatnonzero(occurrences)
    starts = np.cumsum(occurrences)[words] - occurrences[words]
    dtable[words] = np.add.reduceat(_rows(de).take(order, axis=0), starts, axis=0)
    return dtable


# ---- F12: linear map -------------------------------------------------------------------------


def linear_forward(x: Array, w: Array, b: Array | None = None) -> tuple[Array, tuple]:
    """F12: y = x w + b.   x (..., I)   w (I, O)   b (O,) or None   ->   y (..., O)"""
    if w.ndim != 2 or x.shape[-1] != w.shape[0]:
        raise InputError(
            f"linear: x {x.shape} does not fit w {w.shape}; x must be (..., I), w (I, O)"
        )
    y = (_rows(x) @ w).reshape(*x.shape[:-1], w.shape[1])
    if b is not None:
        y += b
    return y, (x, w, b is not None)


def linear_backward(dy: Array, cache: tuple) -> tuple[Array, Array, Array | None]:
    """Each entry of w meets every row of x, and b is added to every row.

    y_nr' = Σ_r x_nr w_rr' + b_r'   =>   dx_nr = Σ_r' dy_nr' w_rr'     dw_rr' = Σ_n x_nr dy_nr'
                                         db_r' = Σ_n dy_nr'            (None if there was no b)
    """
    x, w, has_bias = cache
    dy_rows = _rows(dy)
    dx = (dy_rows @ w.T).reshape(x.shape)
    dw = _rows(x).T @ dy_rows
    return dx, dw, dy_rows.sum(axis=0) if has_bias else None


# ---- F3: softmax -----------------------------------------------------------------------------


def softmax_forward(s: Array, mask: Array | None = None) -> tuple[Array, Array]:
    """F3: softmax over the last axis.   s (..., S)   mask (broadcast to s)   ->   a (..., S)

    a_j = exp(s_j) / Σ_l exp(s_l)

    Shifting all s by their (real) maximum changes nothing but keeps exp from overflowing. Where
    mask is False, s counts as −∞, so a_j is exactly 0. A row in which nothing is allowed has no
    softmax; it is defined as all zeros: who may look at nothing reads nothing.
    """
    if mask is not None:
        if mask.dtype != bool:
            raise InputError(f"mask must be boolean, True = may look; it is {mask.dtype}")
        real = s.real.dtype.type
        s = np.fmin(s, np.where(mask, real(np.nan), real(-np.inf)))  # fmin(s, nan) is s
    top = _max(s)
    a = s - np.where(top == -np.inf, s.real.dtype.type(0), top)
    np.exp(a, out=a)
    total = _sum(a)
    a /= np.where(total == 0, total.dtype.type(1), total)
    return a, a


def softmax_backward(da: Array, cache: Array) -> Array:
    """Raising one score takes from all the others.

    ∂a_l/∂s_j = a_l (1[l = j] − a_j)   =>   ds_j = a_j (da_j − Σ_l a_l da_l)

    Hence Σ_j ds_j = 0, and a masked score has ds_j = 0 because a_j = 0.
    """
    a = cache
    return a * (da - (a * da).sum(axis=-1, keepdims=True))


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
    S = T if S is None else S
    return np.tri(T, S, S - T, dtype=bool)


def attention_forward(
    q: Array, k: Array, v: Array, mask: Array | None = None, scale: float = 1.0
) -> tuple[Array, AttentionCache]:
    """F2, F3: softmax attention.   q (..., T, D)   k (..., S, D)   v (..., S, O)  ->  c (..., T, O)

        s_ij = scale q_i·k_j            how well key j answers query i      (..., T, S)
        a_ij = softmax_j(s_ij)          the weights; each row sums to 1     (..., T, S)
        c_i  = Σ_j a_ij v_j             the average value that i reads      (..., T, O)

    mask (broadcast to (..., T, S), True = i may look at j) makes a_ij = 0 where False.
    The seed's attention is attention_forward(e, e, e); the weights a_ij are cache.a.
    """
    lead, (S, D) = q.shape[:-2], k.shape[-2:]
    if k.shape[:-2] != lead or v.shape[:-1] != (*lead, S) or q.shape[-1] != D or not S:
        raise InputError(
            f"attention: q {q.shape}, k {k.shape}, v {v.shape} must be (..., T, D), (..., S, D), "
            "(..., S, O) with the same leading axes and at least one key"
        )
    s = (float(scale) * q) @ k.swapaxes(-1, -2)
    if mask is not None and not _fits(mask.shape, s.shape):
        raise InputError(
            f"attention: mask {mask.shape} must broadcast to the scores {s.shape}; for a batch of "
            "heads (B, H, T, S) it is (B, 1, T, S) or (T, S)"
        )
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
    dv = a.swapaxes(-1, -2) @ dc
    ds = dc @ v.swapaxes(-1, -2)
    ds -= _dot(dc, c)
    ds *= a
    ds *= scale
    return ds @ k, ds.swapaxes(-1, -2) @ q, dv


# ---- F4: output ------------------------------------------------------------------------------


def output_forward(c: Array, table: Array) -> tuple[Array, tuple]:
    """F4, before its softmax: logits z_w = c·e_w.   c (..., C)   table (V, C)  ->  z (..., V)

    p(w) = exp(z_w) / Σ_w' exp(z_w') is softmax_forward(z); training uses cross_entropy_forward(z).
    """
    if c.shape[-1] != table.shape[-1]:
        raise InputError(f"output: c {c.shape} and table {table.shape} must have the same width C")
    logits = (_rows(c) @ table.T).reshape(*c.shape[:-1], len(table))
    return logits, (c, table)


def output_backward(dlogits: Array, cache: tuple) -> tuple[Array, Array]:
    """z_nw = c_n·e_w   =>   dc_n = Σ_w dz_nw e_w     dtable_w = Σ_n dz_nw c_n"""
    c, table = cache
    rows = _rows(dlogits)
    return (rows @ table).reshape(c.shape), rows.T @ _rows(c)


# ---- F5: cross-entropy -----------------------------------------------------------------------


def _counted(scores: Array, targets: Any) -> tuple[Array, Array, int]:
    """Targets, one for each row of (N, V), which of them count, and how many do."""
    targets = np.asarray(targets)
    if targets.shape != scores.shape[:-1]:
        raise InputError(
            f"targets {targets.shape} must have the shape of the logits {scores.shape} without "
            "the last axis, the vocabulary: one target for each prediction"
        )
    targets = check_ids("targets", targets, scores.shape[-1], IGNORE).ravel()
    counted = targets != IGNORE
    N = int(np.count_nonzero(counted))
    if not N:
        raise InputError("every target is ignored: there is nothing to average the loss over")
    return np.where(counted, targets, 0), counted, N


class CrossEntropyCache(NamedTuple):
    """What cross_entropy_backward needs: a row for each target, and how many of them count, N."""

    p: Array
    y: Array
    counted: Array
    N: int
    shape: tuple[int, ...]


def cross_entropy_forward(logits: Array, targets: Array) -> tuple[Any, CrossEntropyCache]:
    """F4, F5: mean of −log p(target).   logits (..., V)   targets (...)  ->  L, nats per token

        L = 1/N Σ_n −log softmax(z_n)[y_n] = 1/N Σ_n (log Σ_w exp(z_nw) − z_ny)

    N counts the targets that are not IGNORE; an ignored one adds nothing to L, N or any gradient.
    Softmax and logarithm are fused because log(exp(z)/Σ) loses everything once exp(z) underflows.
    Raises InputError where shapes disagree, a target is out of range, or all are ignored.
    """
    y, counted, N = _counted(logits, targets)
    p = _rows(logits) - _max(_rows(logits))
    n = np.arange(len(y))
    z_target = p[n, y]
    np.exp(p, out=p)
    total = _sum(p)
    p /= total
    nats = np.log(total[:, 0]) - z_target
    return nats[counted].sum() / N, CrossEntropyCache(p, y, counted, N, logits.shape)


def cross_entropy_backward(dL: Any, cache: CrossEntropyCache) -> Array:
    """The prediction minus the truth.

        L_n = log Σ_w exp(z_nw) − z_ny   =>   dz_nw = dL/N (p_nw − 1[w = y_n])

    Each row sums to 0: what the right word gains, the others lose.
    """
    p, y, counted, N, shape = cache
    weight = (counted * (dL / N)).astype(p.dtype)
    dlogits = p * weight[:, None]
    dlogits[np.arange(len(y)), y] -= weight
    return dlogits.reshape(shape)


def nll_forward(p: Array, targets: Array) -> tuple[Any, tuple]:
    """F5 on probabilities: L = 1/N Σ_n −log p_n[y_n].   p (..., V)   targets (...)  ->  L, nats

    Together with softmax_forward it is cross_entropy_forward in two steps; for reading, because
    p_n[y_n] can underflow to 0. IGNORE and errors are those of cross_entropy_forward.
    """
    y, counted, N = _counted(p, targets)
    p_target = _rows(p)[np.arange(len(y)), y][counted]
    return -np.log(p_target).sum() / N, (p_target, y, counted, N, p.shape)


def nll_backward(dL: Any, cache: tuple) -> Array:
    """L_n = −log p_ny   =>   dp_nw = −dL/N 1[w = y_n] / p_ny

    Through softmax_backward it becomes p − 1 at the target: cross_entropy_backward.
    """
    p_target, y, counted, N, shape = cache
    dp = np.zeros((len(y), shape[-1]), p_target.dtype)
    dp[counted, y[counted]] = -dL / N / p_target
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
    logits: Array, targets: Array, smoothing: float
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
    if not 0 <= smoothing < 1:
        raise InputError(f"smoothing must lie in [0, 1), the share spread over V, not {smoothing}")
    loss, cache = cross_entropy_forward(logits, targets)
    z = _rows(logits)
    ahead = z[np.arange(len(cache.y)), cache.y] - z.mean(axis=-1)
    loss += float(smoothing) * (ahead[cache.counted].sum() / cache.N)
    return loss, SmoothedCrossEntropyCache(cache, float(smoothing))


def smoothed_cross_entropy_backward(dL: Any, cache: SmoothedCrossEntropyCache) -> Array:
    """The prediction minus the smoothed truth.

        L_n = L_F5,n + ε (z_ny − 1/V Σ_w z_nw)
                =>   dz_nw = dL/N (p_nw − 1[w = y_n]) + dL/N ε (1[w = y_n] − 1/V)
                           = dL/N (p_nw − ȳ_nw)

    Each row still sums to 0.
    """
    cross_entropy_cache, smoothing = cache
    dlogits = cross_entropy_backward(dL, cross_entropy_cache)
    _, y, counted, N, _ = cross_entropy_cache
    weight = (counted * (dL / N * smoothing)).astype(dlogits.dtype)
    rows = _rows(dlogits)
    rows[np.arange(len(y)), y] += weight
    rows -= weight[:, None] / rows.shape[-1]
    return dlogits


# ---- F13: layer normalisation ----------------------------------------------------------------


def layer_norm_forward(
    x: Array, gain: Array, bias: Array | None = None, eps: float = 1e-5
) -> tuple[Array, tuple]:
    """F13: every row to mean 0 and variance 1, then to a learned scale and offset.

        x̂_r = (x_r − mean(x))/σ     mean(x) = 1/C Σ_r x_r     σ² = mean((x − mean(x))²) + eps
        y_r = gain_r x̂_r + bias_r

    x (..., C)   gain (C,)   bias (C,) or None   ->   y (..., C)
    Source: Ba, Kiros and Hinton 2016, Layer Normalization, section 3; the variance divides by C.
    """
    if gain.shape != x.shape[-1:]:
        raise InputError(f"layer_norm: gain {gain.shape} must have the width of x {x.shape}, (C,)")
    C = x.shape[-1]
    x_hat = x - _sum(x) / C
    sigma = np.sqrt(_dot(x_hat, x_hat) / C + eps)
    x_hat /= sigma
    y = x_hat * gain
    if bias is not None:
        y += bias
    return y, (x_hat, sigma, gain, bias is not None)


def layer_norm_backward(dy: Array, cache: tuple) -> tuple[Array, Array, Array | None]:
    """What would move the mean or the variance of a row is taken out of its gradient.

        y_r = gain_r x̂_r + bias_r   =>   dgain_r = Σ_n dy_nr x̂_nr     dbias_r = Σ_n dy_nr
                                          dx̂_r    = gain_r dy_r
        ∂mean(x)/∂x_r = 1/C     ∂σ/∂x_r = x̂_r/C
        ∂x̂_r'/∂x_r = (1[r' = r] − 1/C − x̂_r' x̂_r/C)/σ
                                     =>   dx_r = (dx̂_r − mean(dx̂) − x̂_r mean(dx̂ x̂))/σ

    Hence Σ_r dx_r = 0. dbias is None if there was no bias.
    """
    x_hat, sigma, gain, has_bias = cache
    C = dy.shape[-1]
    dgain = np.einsum("nr,nr->r", _rows(dy), _rows(x_hat))
    dx = dy * gain
    along = _dot(dx, x_hat) / C
    dx -= _sum(dx) / C
    dx -= x_hat * along
    dx /= sigma
    return dx, dgain, _rows(dy).sum(axis=0) if has_bias else None


# ---- F14, F15: GELU --------------------------------------------------------------------------

TANH_SCALE = math.sqrt(2 / math.pi)
TANH_CUBIC = 0.044715


def gelu_forward(x: Array) -> tuple[Array, tuple]:
    """F14: GELU, tanh form.   x (...)  ->  y (...)

        u = √(2/π) (x + 0.044715 x³)     h = (1 + tanh u)/2     y = x h

    Differs from F15 by less than 5e-4; it is the form of GPT-2.
    Source: Hendrycks and Gimpel 2016, Gaussian Error Linear Units, section 2.
    """
    h = x * x  # x³ as a power costs four times as much as these products in place
    h *= TANH_SCALE * TANH_CUBIC
    h += TANH_SCALE
    h *= x
    np.tanh(h, out=h)
    h += 1.0
    h *= 0.5
    return x * h, (x, h)


def gelu_backward(dy: Array, cache: tuple) -> Array:
    """The product rule; h = (1 + tanh u)/2 is the logistic function of 2 u.

    y = x h,  h' = 2 u' h (1 − h)   =>   dx = dy (h + x h') = dy h (1 + x 2 u' (1 − h))
    u' = √(2/π) (1 + 3·0.044715 x²)
    """
    x, h = cache
    slope = x * x
    slope *= 2 * TANH_SCALE * 3 * TANH_CUBIC
    slope += 2 * TANH_SCALE
    slope *= x
    slope *= 1.0 - h
    slope += 1.0
    slope *= h
    slope *= dy
    return slope


def _gauss_terms(n: int) -> list[tuple[float, float]]:
    """(−s², 2w/√π) for the n nodes s and weights w of Gauss and Legendre on (0, 1)."""
    s, w = np.polynomial.legendre.leggauss(n)
    s, w = (s + 1) / 2, w / 2
    return list(zip((-s * s).tolist(), (w * 2 / math.sqrt(math.pi)).tolist(), strict=True))


ERF_TERMS = _gauss_terms(24)  # 20 leave an error of 1e-14, 24 only rounding, 2e-15
ERF_END = 6.0  # beyond it, ±1 is right to 2e-17
ERF_TERMS_FLOAT32, ERF_END_FLOAT32 = _gauss_terms(10), 4.0  # an error of 3e-7, mostly rounding


def erf(x: Array) -> Array:
    """erf(x) = 2/√π ∫_0^x exp(−t²) dt, within 1e-14 (float32: 1e-6).   x (...)  ->  (...)

    With t = s x the integral runs from 0 to 1 for every x, and Gauss's quadrature makes it a sum:
    erf(x) = x 2/√π ∫_0^1 exp(−s² x²) ds = x Σ_n (2w_n/√π) exp(−s_n² x²).
    """
    single = x.dtype == np.float32
    end = ERF_END_FLOAT32 if single else ERF_END
    inside = (x.real > -end) & (x.real < end)
    z = np.where(inside, x, x.dtype.type(0))
    square = z * z
    total = np.zeros_like(z)
    for minus_s2, weight in ERF_TERMS_FLOAT32 if single else ERF_TERMS:
        term = square * minus_s2
        np.exp(term, out=term)
        term *= weight
        total += term
    total *= z
    return np.where(inside, total, np.sign(x.real))


def gelu_exact_forward(x: Array) -> tuple[Array, tuple]:
    """F15: GELU, y = x Φ(x), with Φ(x) = (1 + erf(x/√2))/2 the normal distribution.   x, y (...)

    The form of BERT. Source: Hendrycks and Gimpel 2016, Gaussian Error Linear Units, section 2.
    """
    phi = erf(x * math.sqrt(0.5))
    phi += 1.0
    phi *= 0.5
    return x * phi, (x, phi)


def gelu_exact_backward(dy: Array, cache: tuple) -> Array:
    """y = x Φ(x),  Φ' = exp(−x²/2)/√(2π)   =>   dx = dy (Φ(x) + x Φ'(x))"""
    x, phi = cache
    slope = x * x
    slope *= -0.5
    np.exp(slope, out=slope)
    slope *= 1 / math.sqrt(2 * math.pi)
    slope *= x
    slope += phi
    slope *= dy
    return slope


# ---- F16: ReLU -------------------------------------------------------------------------------


def relu_forward(x: Array) -> tuple[Array, Array]:
    """F16: y = max(x, 0).   x (...)  ->  y (...)"""
    positive = x.real > 0
    return np.where(positive, x, x.dtype.type(0)), positive


def relu_backward(dy: Array, cache: Array) -> Array:
    """y = x where x > 0, else 0   =>   dx = dy where x > 0, else 0; at the corner itself 0."""
    positive = cache
    return np.where(positive, dy, dy.dtype.type(0))


# ---- F22: tanh -------------------------------------------------------------------------------


def tanh_forward(x: Array) -> tuple[Array, Array]:
    """F22: y = tanh x, between −1 and 1.   x (...)  ->  y (...)"""
    y = np.tanh(x)
    return y, y


def tanh_backward(dy: Array, cache: Array) -> Array:
    """y = tanh x,  y' = 1 − tanh² x   =>   dx = dy (1 − y²)"""
    y = cache
    return dy * (1 - y * y)


# ---- F17: dropout ----------------------------------------------------------------------------


def dropout_forward(
    x: Array, rate: float, rng: np.random.Generator | None
) -> tuple[Array, Array | None]:
    """F17: y = m x, with m = 0 at probability `rate` and 1/(1 − rate) otherwise.   x, y (...)

    The mean of m is 1, so evaluation (rng None) needs no other scale: there y = x, as at rate 0.
    Source: Srivastava et al. 2014, Dropout, section 10 (inverted). Raises InputError unless
    0 ≤ rate < 1.
    """
    if not 0 <= rate < 1:
        raise InputError(f"dropout: rate must lie in [0, 1), the share that is dropped, not {rate}")
    if rng is None or rate == 0:
        return x, None
    m = (rng.random(x.shape, np.float32) >= rate).astype(x.real.dtype)
    m /= 1 - rate
    return x * m, m


def dropout_backward(dy: Array, cache: Array | None) -> Array:
    """y = m x   =>   dx = m dy, with the same m: what was dropped gets nothing."""
    m = cache
    return dy if m is None else dy * m


# ---- F18, F19: positions ---------------------------------------------------------------------


def positions_forward(e: Array, table: Array) -> tuple[Array, tuple]:
    """F18: y_t = e_t + table[t].   e (..., T, C)   table (N, C)  ->  y (..., T, C)

    Source: Gehring et al. 2017, Convolutional Sequence to Sequence Learning, section 3.1.
    Raises InputError where there are more tokens than positions, or none.
    """
    T, N = e.shape[-2], len(table)
    if e.shape[-1] != table.shape[-1]:
        raise InputError(f"positions: e {e.shape} and table {table.shape} must have the same width")
    if not 0 < T <= N:
        raise InputError(
            f"positions: {T} tokens do not fit a table of {N}: give 1 to {N} tokens, the last ones "
            "of a longer text"
        )
    return e + table[:T], table.shape


def positions_backward(dy: Array, cache: tuple) -> tuple[Array, Array]:
    """A position is added to every text of the batch.

    y_nt = e_nt + table_t   =>   de_nt = dy_nt     dtable_t = Σ_n dy_nt, 0 for positions not used
    """
    shape = cache
    T, C = dy.shape[-2:]
    dtable = np.zeros(shape, dy.dtype)
    dtable[:T] = dy.reshape(-1, T, C).sum(axis=0)
    return dy, dtable


def sinusoidal_positions(T: int, C: int, dtype: Any = np.float32) -> Array:
    """F19: a table (T, C) for F18 that is not learned: each pair of columns is a clock's hand.

        table[t, 2r] = sin(t / 10000^(2r/C))     table[t, 2r + 1] = cos(t / 10000^(2r/C))

    Moving on by a fixed number of tokens turns every hand by a fixed angle, whatever t.
    Source: Vaswani et al. 2017, Attention Is All You Need, section 3.5.
    """
    even = np.arange(0, C, 2)
    angle = np.arange(T)[:, None] / 10000.0 ** (even / C)
    table = np.zeros((T, C), dtype)
    table[:, 0::2] = np.sin(angle)
    table[:, 1::2] = np.cos(angle[:, : C // 2])
    return table
