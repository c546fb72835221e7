"""Why one head cannot: two bits are read, and the answer is 1 if exactly one of them is 1.

    x_1 x_2 =     ->     x_1 xor x_2          the answer is read at "="; its entropy is 0

One layer of attention with H heads, then a linear map U with a bias b. What one head must pay:

1. The logit of 1 minus that of 0 is m = Σ_j a_j u_j, with a_j = e^{s_j}/Z and Z = Σ_l e^{s_l}; the
   bias is counted in u_j, because Σ_j a_j = 1. The query is made of "=" alone, s_j and u_j of the
   token at place j. So m = N/Z, where N and Z are sums over places: each is a part for x_1, one
   for x_2 and one for "=". Hence

       N_00 + N_11 = N_01 + N_10        Z_00 + Z_11 = Z_01 + Z_10

2. Let μ = (N_00 + N_11)/(Z_00 + Z_11). It is a mean of m_00 and m_11, weighted by Z, so one of
   them is at least μ. It is also one of m_01 and m_10, so one of these is at most μ.
3. The first should be negative, the second positive: together they cost at least
   log(1 + e^μ) + log(1 + e^−μ) ≥ 2 ln 2. So the mean over the four cases is at least (ln 2)/2,
   for every width, every weight, and after any training.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from .. import blocks, ops
from ..arrays import Array
from ..model import Parameters
from ..optim import Adam

IDS = np.array([[0, 0, 2], [0, 1, 2], [1, 0, 2], [1, 1, 2]])  # 2 is "="
ANSWERS = np.array([0, 1, 1, 0])
ONE_HEAD = math.log(2) / 2  # nats, the derivation above


class Learned(NamedTuple):
    """Nats per answer after the training, and the weights of "=" (4, H, 3)."""

    loss: float
    weights: Array


def new_layer(rng: np.random.Generator, width: int = 16, init_std: float = 0.3) -> Parameters:
    """Random parameters in float64, all of one size."""
    shapes = {"E": (3, width), "P": (3, width), "w_qkv": (width, 3 * width)}
    params = Parameters(shapes | {"w_out": (width, width), "w": (width, 2), "b": (2,)}, np.float64)
    params.flat[:] = rng.normal(0, init_std, params.flat.shape)
    return params


def loss_and_gradient(p: Parameters, heads: int) -> tuple[float, Array, Parameters]:
    """Nats per answer, the weights of "=" (4, H, 3), and the gradient."""
    e, embedding = ops.embedding_forward(p["E"], IDS)
    h, positions = ops.positions_forward(e, p["P"])
    attend: list[Any] = [p["w_qkv"], None, p["w_out"], None, heads, ops.causal_mask(3)]
    y, attention = blocks.self_attention_forward(h, *attend)
    logits, output = ops.linear_forward(y[:, -1], p["w"], p["b"])
    loss, cross_entropy = ops.cross_entropy_forward(logits, ANSWERS)

    g = p.like()
    dlogits = ops.cross_entropy_backward(1.0, cross_entropy)
    dlast, g["w"], g["b"] = ops.linear_backward(dlogits, output)
    dy = np.zeros_like(y)
    dy[:, -1] = dlast
    dh, g["w_qkv"], _, g["w_out"], _ = blocks.self_attention_backward(dy, attention)
    de, g["P"] = ops.positions_backward(dh, positions)
    g["E"] = ops.embedding_backward(de, embedding)
    return float(loss), attention.attention.a[:, :, -1], g


def learn_xor(heads: int, seed: int, steps: int = 300, width: int = 16) -> Learned:
    """Train on the four sentences with Adam, at a rate that falls from 0.03 to 0."""
    params = new_layer(np.random.default_rng(seed), width)
    optimizer = Adam(params)
    for step in range(steps):
        optimizer.step(loss_and_gradient(params, heads)[2], 0.03 * (1 - step / steps))
    loss, weights, _ = loss_and_gradient(params, heads)
    return Learned(loss, weights)
