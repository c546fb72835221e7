"""Backward, line by line: the right lines, for the one-matrix model and for a block of GPT.

Everything stands here in NumPy, one text at a time, and shares nothing with ops.py; tests compare
the last lines with the library's backward, and every line with central differences.
"""

from typing import Any

import numpy as np

from ...arrays import Array
from ..stages import Lines

Values = dict[str, Any]  # arrays, of any dtype


def _softmax(s: Any) -> Any:
    a = np.exp(s - s.max(axis=-1, keepdims=True))
    return a / a.sum(axis=-1, keepdims=True)


# ---- the one-matrix model ----------------------------------------------------------------------


def one_matrix_forward(E: Array, ids: Array, targets: Array) -> Values:
    """F1 to F5 for a text whose every position predicts."""
    e = E[ids]
    s = np.where(np.tri(len(ids), dtype=bool), e @ e.T, -np.inf)
    a = _softmax(s)
    c = a @ e
    z = c @ E.T
    p = _softmax(z)
    y = np.eye(len(E))[targets]  # row n has a 1 at the word that came
    return {"E": E, "ids": ids, "y": y, "e": e, "a": a, "c": c, "z": z, "p": p}


def one_matrix_backward(v: Values) -> Values:
    """The walk of notebook 3, for all positions at once."""
    E, e, a, c = v["E"], v["e"], v["a"], v["c"]
    dz = (v["p"] - v["y"]) / len(e)
    dc = dz @ E
    dE_output = dz.T @ c
    da = dc @ e.T
    dv = a.T @ dc
    ds = a * (da - (a * da).sum(axis=-1, keepdims=True))
    dq = ds @ e
    dk = ds.T @ e
    de = dq + dk + dv
    dE_words = np.zeros_like(E)
    np.add.at(dE_words, v["ids"], de)
    return {
        "dz": dz, "dc": dc, "dE_output": dE_output, "da": da, "dv": dv, "ds": ds, "dq": dq,
        "dk": dk, "de": de, "dE_words": dE_words, "dE": dE_words + dE_output,
    }  # fmt: skip


def _last_wins(v: Any) -> Any:
    table = np.zeros_like(v["E"])
    table[v["ids"]] += v["de"]
    return table


ONE_MATRIX_HINTS = {
    "dz": {
        "the loss is a mean over the positions: divide by their number": lambda v: v["p"] - v["y"],
        "the prediction minus the truth, not the truth minus the prediction": lambda v: (
            (v["y"] - v["p"]) / len(v["p"])
        ),
        "nothing is subtracted at the words that came": lambda v: v["p"] / len(v["p"]),
    },
    "da": {"this is dc e, without a transpose: it should be (T, T)": lambda v: v["dc"]},
    "dv": {"aᵀ collects along a column; this is a dc": lambda v: v["a"] @ v["dc"]},
    "ds": {
        "the term with the sum is missing": lambda v: v["a"] * v["da"],
        "this is da minus its average: the factor a is missing": lambda v: (
            v["da"] - (v["a"] * v["da"]).sum(axis=-1, keepdims=True)
        ),
        "the sum runs over the wrong axis: each row of a went through a softmax of its own": (
            lambda v: v["a"] * (v["da"] - (v["a"] * v["da"]).sum(axis=0))
        ),
        "the plain mean of da is subtracted: it is weighted by a": lambda v: (
            v["a"] * (v["da"] - v["da"].mean(axis=-1, keepdims=True))
        ),
    },
    "dq": {"this is dk: the query stands in the row": lambda v: v["dk"]},
    "dk": {"this is dq: the transpose is missing": lambda v: v["dq"]},
    "de": {
        "the value path is missing": lambda v: v["dq"] + v["dk"],
        "the key path is missing": lambda v: v["dq"] + v["dv"],
        "the query path is missing": lambda v: v["dk"] + v["dv"],
    },
    "dE_words": {"a word that occurs twice keeps only its last gradient": _last_wins},
    "dE": {
        "the output path is missing": lambda v: v["dE_words"],
        "only the output path is there": lambda v: v["dE_output"],
    },
}


def one_matrix_lines() -> Lines:
    """Five positions, four dimensions, seven words; the word 2 stands twice in the text."""
    E = np.random.default_rng(3).normal(size=(7, 4))
    values = one_matrix_forward(E, np.array([2, 5, 2, 0, 6]), np.array([5, 2, 0, 6, 1]))
    return Lines(values, one_matrix_backward(values), ONE_MATRIX_HINTS)


# ---- a block of GPT ----------------------------------------------------------------------------

HEADS = 2
SHAPES = {
    "gain1": (6,), "bias1": (6,), "w_qkv": (6, 18), "b_qkv": (18,), "w_out": (6, 6),
    "b_out": (6,), "gain2": (6,), "bias2": (6,), "w_in": (6, 8), "b_in": (8,), "w_down": (8, 6),
    "b_down": (6,),
}  # fmt: skip


def _normed(x: Any, gain: Any, bias: Any) -> tuple[Any, Any, Any]:
    centred = x - x.mean(axis=-1, keepdims=True)
    sigma = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
    x_hat = centred / sigma
    return x_hat, sigma, gain * x_hat + bias


def _gelu(u: Any) -> Any:
    inner = np.sqrt(2 / np.pi) * (u + 0.044715 * u**3)
    return u / 2 * (1 + np.tanh(inner))


def _gelu_slope(u: Any) -> Any:
    inner = np.sqrt(2 / np.pi) * (u + 0.044715 * u**3)
    slope = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * u**2)
    return (1 + np.tanh(inner)) / 2 + u / 2 * (1 - np.tanh(inner) ** 2) * slope


def split(x: Any) -> Any:
    """(T, H D) -> (H, T, D)."""
    return x.reshape(len(x), HEADS, -1).swapaxes(0, 1)


def merge(x: Any) -> Any:
    """(H, T, D) -> (T, H D)."""
    return x.swapaxes(0, 1).reshape(x.shape[1], -1)


def block_forward(h: Array, w: Values) -> Values:
    """h + attention(norm(h)), and then the same with feed-forward, for one text."""
    x_hat1, sigma1, n1 = _normed(h, w["gain1"], w["bias1"])
    q, k, v = (split(x) for x in np.split(n1 @ w["w_qkv"] + w["b_qkv"], 3, axis=-1))
    scale = q.shape[-1] ** -0.5
    mask = np.tri(len(h), dtype=bool)
    a = _softmax(np.where(mask, scale * q @ k.swapaxes(-1, -2), -np.inf))
    c = merge(a @ v)
    middle = h + c @ w["w_out"] + w["b_out"]
    x_hat2, sigma2, n2 = _normed(middle, w["gain2"], w["bias2"])
    u = n2 @ w["w_in"] + w["b_in"]
    f = _gelu(u)
    y = middle + f @ w["w_down"] + w["b_down"]
    return {
        **w, "h": h, "x_hat1": x_hat1, "sigma1": sigma1, "n1": n1, "q": q, "k": k, "v": v, "a": a,
        "c": c, "middle": middle, "x_hat2": x_hat2, "sigma2": sigma2, "n2": n2, "u": u, "f": f,
        "gelu_slope": _gelu_slope(u), "y": y, "scale": np.array(scale),
    }  # fmt: skip


def _norm_backward(dn: Any, gain: Any, x_hat: Any, sigma: Any) -> Any:
    d = gain * dn
    along = (d * x_hat).mean(axis=-1, keepdims=True)
    return (d - d.mean(axis=-1, keepdims=True) - x_hat * along) / sigma


def block_backward(v: Values) -> Values:
    """Every line of the block upwards, from dy."""
    dy = v["dy"]
    df, dw_down, db_down = dy @ v["w_down"].T, v["f"].T @ dy, dy.sum(axis=0)
    du = df * v["gelu_slope"]
    dn2, dw_in, db_in = du @ v["w_in"].T, v["n2"].T @ du, du.sum(axis=0)
    dgain2 = (dn2 * v["x_hat2"]).sum(axis=0)
    dmiddle = dy + _norm_backward(dn2, v["gain2"], v["x_hat2"], v["sigma2"])
    dc, dw_out = dmiddle @ v["w_out"].T, v["c"].T @ dmiddle
    dheads = split(dc)
    da = dheads @ v["v"].swapaxes(-1, -2)
    dv = v["a"].swapaxes(-1, -2) @ dheads
    ds = v["a"] * (da - (v["a"] * da).sum(axis=-1, keepdims=True))
    dq = v["scale"] * ds @ v["k"]
    dk = v["scale"] * ds.swapaxes(-1, -2) @ v["q"]
    dqkv = np.concatenate([merge(x) for x in (dq, dk, dv)], axis=-1)
    dn1, dw_qkv = dqkv @ v["w_qkv"].T, v["n1"].T @ dqkv
    dh = dmiddle + _norm_backward(dn1, v["gain1"], v["x_hat1"], v["sigma1"])
    return {
        "df": df, "dw_down": dw_down, "db_down": db_down, "du": du, "dn2": dn2, "dw_in": dw_in,
        "db_in": db_in, "dgain2": dgain2,
        "dmiddle": dmiddle, "dc": dc, "dw_out": dw_out, "dheads": dheads,
        "da": da, "dv": dv, "ds": ds, "dq": dq, "dk": dk, "dqkv": dqkv, "dw_qkv": dw_qkv,
        "dn1": dn1, "dh": dh,
    }  # fmt: skip


BLOCK_HINTS = {
    "du": {
        "GELU is not linear: multiply by its slope at u": lambda v: v["df"],
        "GELU itself is taken for its slope": lambda v: v["df"] * v["f"],
    },
    "dmiddle": {
        "the residual path is missing: dy itself comes through the sum": lambda v: (
            v["dmiddle"] - v["dy"]
        ),
        "only the residual path is there: what comes back through the norm is missing": lambda v: v[
            "dy"
        ],
        "the norm is passed over: dn2 has not gone through its backward": lambda v: (
            v["dy"] + v["dn2"]
        ),
    },
    "dheads": {
        "these are the right numbers in the order (T, H, D): heads come first": lambda v: v[
            "dheads"
        ].swapaxes(0, 1),
        "reshape alone cuts the rows, not the columns: reshape to (T, H, D), then swap": lambda v: (
            v["dc"].reshape(v["dheads"].shape)
        ),
    },
    "ds": {
        "the term with the sum is missing": lambda v: v["a"] * v["da"],
        "the scale belongs to dq and dk: here it would count twice": lambda v: v["scale"] * v["ds"],
    },
    "dq": {"the scale is missing": lambda v: v["ds"] @ v["k"]},
    "dk": {
        "the scale is missing": lambda v: v["ds"].swapaxes(-1, -2) @ v["q"],
        "ds is not transposed": lambda v: v["scale"] * v["ds"] @ v["q"],
    },
    "dqkv": {
        "the heads are not put back: merge is swapaxes, then reshape": lambda v: np.concatenate(
            [v[x].reshape(len(v["h"]), -1) for x in ("dq", "dk", "dv")], axis=-1
        ),
        "the order is q, k, v": lambda v: np.concatenate(
            [merge(v[x]) for x in ("dv", "dk", "dq")], axis=-1
        ),
    },
    "dh": {
        "the residual path is missing: dmiddle itself comes through the sum": lambda v: (
            v["dh"] - v["dmiddle"]
        ),
        "only the residual path is there": lambda v: v["dmiddle"],
        "dy is not dmiddle: the second half of the block has added to it": lambda v: (
            v["dh"] - v["dmiddle"] + v["dy"]
        ),
    },
}


def block_lines() -> Lines:
    """Five positions, width 6, two heads of 3, a hidden width of 8; every weight of order 1."""
    rng = np.random.default_rng(5)
    weights = {name: rng.normal(size=shape) / shape[0] ** 0.5 for name, shape in SHAPES.items()}
    values = block_forward(rng.normal(size=(5, 6)), weights) | {"dy": rng.normal(size=(5, 6))}
    return Lines(values, block_backward(values), BLOCK_HINTS)
