"""GPT without biases once more: in JAX, and in NumPy as it is mostly written.

Both start from numpylm's numbers and take its step: clip to a norm of 1, then Adam.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from numpylm.gpt import GPT

SCALE, CUBIC, EPS = np.float32((2 / np.pi) ** 0.5), np.float32(0.044715), np.float32(1e-5)
Params = dict[str, Any]


def jax_learner(model: GPT) -> Callable[[np.ndarray, np.ndarray], float]:
    """One compiled function: loss, gradient, clipping and Adam."""
    import jax
    import jax.numpy as jnp

    config = model.config

    def norm(h: Any, gain: Any) -> Any:
        h = h - h.mean(-1, keepdims=True)
        return h * jax.lax.rsqrt((h * h).mean(-1, keepdims=True) + EPS) * gain

    def loss_of(p: Params, x: Any, y: Any) -> Any:
        B, T = x.shape
        h = p["E"][x] + p["P"][:T]
        for i in range(config.layers):
            name = f"block{i}"
            qkv = norm(h, p[f"{name}.norm1.gain"]) @ p[f"{name}.attention.w_qkv"]
            q, k, v = (z.reshape(B, T, config.heads, -1) for z in jnp.split(qkv, 3, -1))
            c = jax.nn.dot_product_attention(q, k, v, is_causal=True)
            h = h + c.reshape(B, T, -1) @ p[f"{name}.attention.w_out"]
            y1 = norm(h, p[f"{name}.norm2.gain"]) @ p[f"{name}.feed_forward.w_in"]
            h = h + jax.nn.gelu(y1, approximate=True) @ p[f"{name}.feed_forward.w_out"]
        logp = jax.nn.log_softmax(norm(h, p["norm.gain"]) @ p["E"].T)
        return -jnp.take_along_axis(logp, y[..., None], -1).mean()

    def step(p: Params, m: Params, v: Params, t: Any, x: Any, y: Any) -> Any:
        loss, g = jax.value_and_grad(loss_of)(p, x, y)
        size = jnp.sqrt(sum((a * a).sum() for a in g.values()))
        factor = jnp.minimum(1.0, 1.0 / size)
        new_p, new_m, new_v = {}, {}, {}
        for name, a in g.items():
            a = a * factor
            new_m[name] = 0.9 * m[name] + 0.1 * a
            new_v[name] = 0.999 * v[name] + 0.001 * a * a
            root = jnp.sqrt(new_v[name] / (1 - 0.999**t)) + 1e-8
            new_p[name] = p[name] - 1e-3 * new_m[name] / (1 - 0.9**t) / root
        return loss, new_p, new_m, new_v

    compiled = jax.jit(step, donate_argnums=(0, 1, 2))
    p = {name: jnp.asarray(a) for name, a in model.params.items()}
    state = [p, {n: jnp.zeros_like(a) for n, a in p.items()}]
    state.append({n: jnp.zeros_like(a) for n, a in p.items()})
    t = 0

    def learn(x: np.ndarray, y: np.ndarray) -> float:
        nonlocal t
        t += 1
        loss, *state[:] = compiled(*state, t, x, y)
        return float(loss)

    return learn


class Linear:
    """y = x w, and what its backward needs, as a layer that remembers it."""

    def __init__(self, p: Params, g: Params, name: str):
        self.p, self.g, self.name = p, g, name

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.x = x
        return x @ self.p[self.name]

    def backward(self, dy: np.ndarray) -> np.ndarray:
        self.g[self.name] = np.einsum("bti,bto->io", self.x, dy, optimize=True)
        return dy @ self.p[self.name].T


class Norm(Linear):
    """Layer norm with a gain."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        self.inverse = 1 / np.sqrt((centred**2).mean(-1, keepdims=True) + EPS)
        self.x = centred * self.inverse
        return self.x * self.p[self.name]

    def backward(self, dy: np.ndarray) -> np.ndarray:
        self.g[self.name] = (dy * self.x).sum((0, 1))
        d = dy * self.p[self.name]
        means = d.mean(-1, keepdims=True) + self.x * (d * self.x).mean(-1, keepdims=True)
        return self.inverse * (d - means)


class Attention:
    """Causal heads over the whole square, masked by adding a large negative number."""

    def __init__(self, p: Params, g: Params, name: str, heads: int):
        self.qkv, self.out = Linear(p, g, f"{name}.w_qkv"), Linear(p, g, f"{name}.w_out")
        self.heads = heads

    def forward(self, x: np.ndarray) -> np.ndarray:
        B, T, C = x.shape
        parts = np.split(self.qkv.forward(x), 3, axis=-1)
        self.q, self.k, self.v = (
            z.reshape(B, T, self.heads, -1).transpose(0, 2, 1, 3) for z in parts
        )
        self.scale = np.float32(1 / np.sqrt(C // self.heads))
        s = self.q @ self.k.transpose(0, 1, 3, 2) * self.scale
        s = s + np.triu(np.full((T, T), -1e9, np.float32), 1)
        e = np.exp(s - s.max(-1, keepdims=True))
        self.a = e / e.sum(-1, keepdims=True)
        return self.out.forward((self.a @ self.v).transpose(0, 2, 1, 3).reshape(B, T, C))

    def backward(self, dy: np.ndarray) -> np.ndarray:
        B, T, C = dy.shape
        dc = self.out.backward(dy).reshape(B, T, self.heads, -1).transpose(0, 2, 1, 3)
        da = dc @ self.v.transpose(0, 1, 3, 2)
        ds = self.a * (da - (da * self.a).sum(-1, keepdims=True)) * self.scale
        parts = ds @ self.k, ds.transpose(0, 1, 3, 2) @ self.q, self.a.transpose(0, 1, 3, 2) @ dc
        whole = [z.transpose(0, 2, 1, 3).reshape(B, T, C) for z in parts]
        return self.qkv.backward(np.concatenate(whole, axis=-1))


class FeedForward:
    def __init__(self, p: Params, g: Params, name: str):
        self.w_in, self.out = Linear(p, g, f"{name}.w_in"), Linear(p, g, f"{name}.w_out")

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.x = self.w_in.forward(x)
        self.t = np.tanh(SCALE * (self.x + CUBIC * self.x**3))
        return self.out.forward(0.5 * self.x * (1 + self.t))

    def backward(self, dy: np.ndarray) -> np.ndarray:
        slope = SCALE * (1 + 3 * CUBIC * self.x**2) * (1 - self.t**2)
        return self.w_in.backward(self.out.backward(dy) * 0.5 * (1 + self.t + self.x * slope))


class PlainGPT:
    """Layers that remember, a dict of gradients, new arrays everywhere."""

    def __init__(self, model: GPT):
        self.p = {name: a.copy() for name, a in model.params.items()}
        self.g: Params = {}
        self.m = {name: np.zeros_like(a) for name, a in self.p.items()}
        self.v = {name: np.zeros_like(a) for name, a in self.p.items()}
        self.t, p, g = 0, self.p, self.g
        self.branches: list[tuple[Norm, Any]] = []
        for i in range(model.config.layers):
            name = f"block{i}"
            attention = Attention(p, g, f"{name}.attention", model.config.heads)
            self.branches.append((Norm(p, g, f"{name}.norm1.gain"), attention))
            feed_forward = FeedForward(p, g, f"{name}.feed_forward")
            self.branches.append((Norm(p, g, f"{name}.norm2.gain"), feed_forward))
        self.norm = Norm(p, g, "norm.gain")

    def loss_and_gradient(self, x: np.ndarray, y: np.ndarray) -> float:
        B, T = x.shape
        h = self.p["E"][x] + self.p["P"][:T]
        for norm, branch in self.branches:
            h = h + branch.forward(norm.forward(h))
        last = self.norm.forward(h)
        z = last @ self.p["E"].T
        e = np.exp(z - z.max(-1, keepdims=True))
        prob = e / e.sum(-1, keepdims=True)
        rows = np.arange(B)[:, None], np.arange(T), y
        loss = -np.log(prob[rows]).mean()
        prob[rows] -= 1
        dz = prob / (B * T)
        self.g["E"] = np.einsum("btv,btc->vc", dz, last, optimize=True)
        dh = self.norm.backward(dz @ self.p["E"])
        for norm, branch in reversed(self.branches):
            dh = dh + norm.backward(branch.backward(dh))
        np.add.at(self.g["E"], x, dh)
        self.g["P"] = np.zeros_like(self.p["P"])
        self.g["P"][:T] = dh.sum(0)
        return float(loss)

    def learn(self, x: np.ndarray, y: np.ndarray) -> float:
        loss = self.loss_and_gradient(x, y)
        self.t += 1
        size = np.sqrt(sum((a.astype(float) ** 2).sum() for a in self.g.values()))
        for name, a in self.g.items():
            a = a * np.float32(min(1.0, 1.0 / size))
            self.m[name] = 0.9 * self.m[name] + 0.1 * a
            self.v[name] = 0.999 * self.v[name] + 0.001 * a**2
            mean, square = self.m[name] / (1 - 0.9**self.t), self.v[name] / (1 - 0.999**self.t)
            self.p[name] -= 1e-3 * mean / (np.sqrt(square) + 1e-8)
        return loss
