"""The models of numpylm in PyTorch, as a PyTorch user would write them: fused where it can fuse.

They take their numbers from a numpylm model, so both sides can be asked for the same losses.
"""

from typing import Any

import numpy as np

from numpylm.attention_lm import AttentionLM
from numpylm.gpt import GPT
from numpylm.model import Model

try:
    import torch
    import torch.nn.functional as F

    torch.optim.Adam([torch.zeros(1)])  # loads what else it needs, 70 MB: an import, not a step
except ImportError:  # PyTorch is optional: without it, only numpylm is measured
    torch = F = None  # type: ignore[assignment]


class Twin:
    """Leaves by numpylm's names; linear maps are stored (out, in), as F.linear likes."""

    def __init__(self, model: Model):
        self.config: Any = model.config
        self.p = {name: self._leaf(name, array) for name, array in model.params.items()}

    @staticmethod
    def _leaf(name: str, array: np.ndarray) -> Any:
        linear = ".w_" in name
        return torch.tensor(array.T if linear else array).contiguous().requires_grad_()

    def parameters(self) -> Any:
        return self.p.values()

    def logits(self, x: Any) -> Any:
        raise NotImplementedError

    def loss(self, x: Any, y: Any) -> Any:
        return F.cross_entropy(self.logits(x).flatten(0, 1), y.flatten())


class TorchAttentionLM(Twin):
    """The one-matrix model."""

    def logits(self, x: Any) -> Any:
        e = F.embedding(x, self.p["E"])
        c = F.scaled_dot_product_attention(e, e, e, is_causal=True, scale=self.config.scale)
        return F.linear(c, self.p["E"])


class TorchGPT(Twin):
    """GPT, for training, and with a key/value cache of its own for generation."""

    def _norm(self, h: Any, part: str) -> Any:
        bias = self.p.get(f"{part}.bias")
        return F.layer_norm(h, h.shape[-1:], self.p[f"{part}.gain"], bias)

    def _linear(self, x: Any, part: str, name: str) -> Any:
        return F.linear(x, self.p[f"{part}.w_{name}"], self.p.get(f"{part}.b_{name}"))

    def logits(self, x: Any, past: Any = None) -> Any:
        """past: keys and values (layers, B, H, N, D) and how many are filled."""
        H = self.config.heads
        start = past[2] if past else 0
        T = x.shape[1]
        h = F.embedding(x, self.p["E"]) + self.p["P"][start : start + T]
        for i in range(self.config.layers):
            part = f"block{i}.attention"
            qkv = self._linear(self._norm(h, f"block{i}.norm1"), part, "qkv")
            q, k, v = (z.unflatten(-1, (H, -1)).transpose(1, 2) for z in qkv.chunk(3, -1))
            if past:
                past[0][i, :, :, start : start + T] = k
                past[1][i, :, :, start : start + T] = v
                k, v = past[0][i, :, :, : start + T], past[1][i, :, :, : start + T]
            c = F.scaled_dot_product_attention(q, k, v, is_causal=T > 1)
            h = h + self._linear(c.transpose(1, 2).flatten(2), part, "out")
            part = f"block{i}.feed_forward"
            y = self._linear(self._norm(h, f"block{i}.norm2"), part, "in")
            h = h + self._linear(F.gelu(y, approximate="tanh"), part, "out")
        last = h[:, -1:] if past else h
        return F.linear(self._norm(last, "norm"), self.p["E"])

    def generate(self, prompt: np.ndarray, n: int) -> list[int]:
        """The n likeliest tokens after the prompt, one after the other."""
        config, new = self.config, []
        size = config.layers, 1, config.heads, len(prompt) + n, config.width // config.heads
        with torch.inference_mode():
            keys, values, length = torch.empty(size), torch.empty(size), 0
            x = torch.from_numpy(prompt)[None]
            for _ in range(n):
                z = self.logits(x, (keys, values, length))[0, -1]
                length += x.shape[1]
                x = z.argmax()[None, None]
                new.append(int(x))
        return new


TWINS = {AttentionLM: TorchAttentionLM, GPT: TorchGPT}
