"""One head cannot tell XOR, whatever its numbers; two can."""

import numpy as np
import pytest

from numpylm.course.heads import ONE_HEAD, learn_xor, loss_and_gradient, new_layer
from numpylm.gradcheck import complex_step, gradient_error
from numpylm.model import Parameters


@pytest.mark.parametrize("width", [1, 3, 16])
def test_one_head_never_pays_less_than_half_of_ln_2(width):
    rng = np.random.default_rng(0)
    losses = [
        loss_and_gradient(new_layer(rng, width, 10 ** rng.uniform(-1, 1)), 1)[0] for _ in range(200)
    ]
    assert min(losses) > ONE_HEAD - 1e-12


@pytest.mark.parametrize("seed", range(3))
def test_two_heads_learn_what_one_cannot(seed):
    assert learn_xor(2, seed).loss < 0.05 < ONE_HEAD < learn_xor(1, seed).loss


def test_the_gradient_is_right():
    params = new_layer(np.random.default_rng(1), 4, 1.0)

    def loss(flat):
        twin = Parameters({name: params[name].shape for name in params}, flat.dtype)
        twin.flat[:] = flat
        return _loss(twin)

    slope = complex_step(loss, params.flat)
    assert gradient_error(loss_and_gradient(params, 2)[2].flat, slope) < 1e-12


def _loss(p):
    """The formulas once more, for complex numbers and two heads."""
    from numpylm.course.heads import ANSWERS, IDS

    h = p["E"][IDS] + p["P"]
    q, k, v = np.split(h @ p["w_qkv"], 3, axis=-1)
    heads = []
    for columns in np.split(np.arange(q.shape[-1]), 2):
        s = np.einsum("nd,ntd->nt", q[:, -1, columns], k[:, :, columns]) / len(columns) ** 0.5
        a = np.exp(s) / np.exp(s).sum(axis=-1, keepdims=True)
        heads.append(np.einsum("nt,ntd->nd", a, v[:, :, columns]))
    z = np.concatenate(heads, axis=-1) @ p["w_out"] @ p["w"] + p["b"]
    return np.mean(np.log(np.exp(z).sum(axis=-1)) - z[np.arange(4), ANSWERS])
