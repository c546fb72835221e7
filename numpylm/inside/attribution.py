"""Attribution that adds up: whose doing is this logit?

    direct_logits     embedding, heads, feed-forwards and biases add up to the logit     exact
    logit_lens        what each block would predict, if it were the last
    gradient_times    Σ dlogit/dx · (x − x')                                             first order
    integrated        the same, averaged on the way from x' to x                         exact but
                      for the quadrature, whose nodes and error are given
    path_effects      what a head does by way of each later part                         exact
    rollout           products of attention weights; warns where they mislead

Each states the identity that it satisfies, and a test holds it to that; what each finds in models
whose mechanism is known, and what not, inside/judged.py measures.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import llama_blocks, ops
from ..arguments import whole
from ..arrays import Array
from ..attention_lm import AttentionLM
from ..blocks import NORM, weights
from ..errors import InputError
from ..gpt import GPT
from ..llama import Llama
from .flow import record
from .interventions import intervene, known_names, patch, put

ENOUGH = 1e-6  # of a logit: what a quadrature may be off


@dataclass(frozen=True)
class Attribution:
    """Shares of one number, by what they are the doing of.

    total: what they add up to; gap: |total − Σ shares|. nodes: of a quadrature; error: by how much
    half of them would have moved the sum.
    """

    shares: Mapping[str, float]
    total: float
    error: float = 0.0
    nodes: int = 0

    @property
    def gap(self) -> float:
        return abs(self.total - sum(self.shares.values()))

    def __str__(self) -> str:
        width = max(map(len, self.shares), default=0)
        rows = sorted(self.shares.items(), key=lambda row: -abs(row[1]))
        lines = [f"{name:<{width}}  {share:+.4f}" for name, share in rows]
        off = f", quadrature of {self.nodes} nodes: error {self.error:.0e}" if self.nodes else ""
        return "\n".join([*lines, f"{'together':<{width}}  {self.total:+.4f}{off}"])


# ---- direct logit attribution --------------------------------------------------------------------


def direct_logits(
    model: Any, ids: Any, position: int, token: int, against: Any = None
) -> Attribution:
    """What each part adds directly to the logit of `token` at `position`, the last norm held fixed.

        logit = Σ_parts u·part,    u = e_w gain / σ (and less its mean for F13), σ of this forward

    The residual stream is the sum of embedding, heads, biases of attention and feed-forwards, and
    u is the same for each. against: another token; then it is the difference of the two logits.
    Identity: the shares add up to the logit, to rounding. GPT, Llama and AttentionLM have it; BERT
    and the original Transformer normalise the stream itself after each part, which has then no sum
    to be split: InputError.
    Source: Elhage et al. 2021, A Mathematical Framework for Transformer Circuits.
    """
    if not isinstance(model, GPT | Llama | AttentionLM):
        raise InputError(
            f"{type(model).__name__} normalises its residual stream after every part, so that its "
            "logits are no sum of what the parts add; use integrated or path_effects"
        )
    seen = record(model, _text(ids))
    logits = seen["logits"]
    _check(logits, position, token)
    table = model.params[_table(model)]
    row = table[token] - (0 if against is None else table[against])
    if isinstance(model, AttentionLM):
        total = float(logits[position] @ _picked(logits, token, against))
        return Attribution(_values_read(model, ids, position, row), total)
    u, constant = _last_norm(model, seen, position, row)
    shares = {"embedding": float(u @ seen["embedding"][position])}
    for i in range(model.config.layers):
        part = f"block{i}.attention"
        heads = [n for n in seen if n.startswith(f"{part}.head")]
        shares |= {n: float(u @ seen[n][position]) for n in heads}
        if f"{part}.b_out" in model.params:
            shares[f"{part}.b_out"] = float(u @ model.params[f"{part}.b_out"])
        shares[f"block{i}.feed_forward"] = float(u @ seen[f"block{i}.feed_forward"][position])
    if constant is not None:
        shares["norm.bias"] = constant
    return Attribution(shares, float(logits[position] @ _picked(logits, token, against)))


def _last_norm(
    model: GPT | Llama, seen: Mapping[str, Array], position: int, row: Array
) -> tuple[Array, float | None]:
    """u (C,), with which the stream's share in the logit is u·h, and what the norm's bias adds."""
    h = seen[f"block{model.config.layers - 1}"][position]
    if isinstance(model, Llama):
        gain = model.params["norm.gain"]
        _, cache = llama_blocks.rms_norm_forward(h[None], gain, model.config.eps)
        return row * gain / cache.rho[0], None
    gain, bias = weights(model.params, "norm", NORM)
    _, (_, sigma, _, _) = ops.layer_norm_forward(h[None], gain, bias)
    u = row * gain
    return (u - u.mean()) / sigma[0], None if bias is None else float(row @ bias)


def _values_read(model: AttentionLM, ids: Any, position: int, row: Array) -> dict[str, float]:
    """c_i = Σ_j a_ij v_j: what each position that is read adds."""
    _, cache = model.forward(_text(ids))
    a, v = cache.attention.a[position], cache.attention.v
    return {f"position {j}": float(a[j] * (row @ v[j])) for j in range(len(v)) if a[j]}


# ---- logit lens ----------------------------------------------------------------------------------


def logit_lens(model: Any, ids: Any) -> dict[str, Array]:
    """What the model would predict if it ended there: name -> logits (T, V).

    The stream after the embedding and after each block, through the last norm and the table.
    Identity: the last is the model's logits. Source: nostalgebraist 2020, interpreting GPT: the
    logit lens. Raises InputError for models whose blocks do not all write to one stream.
    """
    if not isinstance(model, GPT | Llama):
        raise InputError(
            f"the logit lens reads a stream as GPT and Llama have it, not {type(model).__name__}"
        )
    seen = record(model, _text(ids))
    table, found = model.params[_table(model)], {}
    for name in ("embedding", *(f"block{i}" for i in range(model.config.layers))):
        if isinstance(model, Llama):
            gain = model.params["norm.gain"]
            y, _ = llama_blocks.rms_norm_forward(seen[name], gain, model.config.eps)
        else:
            y, _ = ops.layer_norm_forward(seen[name], *weights(model.params, "norm", NORM))
        found[name] = ops.output_forward(y, table)[0]
    return found


# ---- from one text to another: gradients ---------------------------------------------------------


def gradient_times(model: Any, ids: Any, other: Any, position: int, token: int) -> Attribution:
    """First order: how much each position's embedding should matter, by the slope at `ids`.

        share_t = dlogit/de_t · (e_t − e'_t)

    total is the true effect, logit(ids) − logit(other); the gap is what the first order misses.
    Source: Simonyan et al. 2014, Deep Inside Convolutional Networks, section 3.
    """
    way = _Way(model, ids, other, position, token)
    return Attribution(way.named(way.slopes(1.0)), way.effect)


def integrated(
    model: Any,
    ids: Any,
    other: Any,
    position: int,
    token: int,
    nodes: int = 24,
    most: int = 768,
) -> Attribution:
    """Integrated gradients: the slope averaged on the straight way from `other` to `ids`.

        share_t = (e_t − e'_t) · ∫_0^1 dlogit/de_t (e' + s (e − e')) ds

    by Gauss and Legendre's quadrature: `nodes` nodes, doubled up to `most` until the sum moves by
    less than 1e-6. Identity: the shares add up to logit(ids) − logit(other), up to the quadrature;
    error says by how much the last doubling moved the sum.
    Source: Sundararajan, Taly and Yan 2017, Axiomatic Attribution, section 3.
    """
    nodes, most = whole("nodes", nodes, at_least=2), whole("most", most, at_least=2)
    way = _Way(model, ids, other, position, token)
    before, after = way.average(nodes // 2), way.average(nodes)
    while (error := abs(float(after.sum() - before.sum()))) > ENOUGH and 2 * nodes <= most:
        nodes *= 2
        before, after = after, way.average(nodes)
    return Attribution(way.named(after), way.effect, error, nodes)


class _Way:
    """From the embeddings of one text to those of another, and how a logit rises along it."""

    STEP = 1e-30  # of the complex step: Im f(x + i h d)/h is the slope along d, without rounding

    def __init__(self, model: Any, ids: Any, other: Any, position: int, token: int):
        if "embedding" not in known_names(model):
            raise InputError(f"a {type(model).__name__} has no single embedding to start from")
        exact = model.astype(np.float64)
        self.ids, self.position, self.token = _text(ids), position, token
        other = _text(other)
        if other.shape != self.ids.shape:
            raise InputError(
                f"other {other.shape} must have as many tokens as ids {self.ids.shape}"
            )
        mine, theirs = (record(exact, x) for x in (self.ids, other))
        _check(mine["logits"], position, token)
        self.model = model.astype(np.complex128)
        self.start, self.by = theirs["embedding"], mine["embedding"] - theirs["embedding"]
        self.effect = float(_at(mine["logits"] - theirs["logits"], position, token))

    def slopes(self, s: float) -> Array:
        """dlogit/de_t · (e_t − e'_t) for each t, at e' + s (e − e'): T texts in one batch."""
        T = len(self.ids)
        x = self.start + s * self.by + 1j * self.STEP * self.by * np.eye(T)[:, :, None]
        copies = np.broadcast_to(self.ids, (T, T))
        logits, _ = self.model.forward(copies, watch=lambda n, _: x if n == "embedding" else None)
        result: Array = _at(logits, self.position, self.token).imag / self.STEP
        return result

    def average(self, nodes: int) -> Array:
        s, w = np.polynomial.legendre.leggauss(nodes)
        parts = [wi / 2 * self.slopes((si + 1) / 2) for si, wi in zip(s, w, strict=True)]
        total: Array = np.sum(parts, axis=0)
        return total

    @staticmethod
    def named(shares: Array) -> dict[str, float]:
        return {f"position {t}": float(share) for t, share in enumerate(shares)}


# ---- paths ---------------------------------------------------------------------------------------


def path_effect(
    model: Any,
    ids: Any,
    other: Any,
    sender: str,
    receivers: list[str],
    position: int,
    token: int,
) -> float:
    """How much a logit changes by what `sender` would say in `other`, by way of `receivers` alone.

    The sender gets its value of the other text; every later part but the receivers keeps the value
    that it has in `ids`; what the receivers make of that is put into a plain forward. "logits" as
    the receiver is the direct path. Identity: with all later parts and "logits" as receivers it is
    the effect of patching the sender. For small models: two forwards for each question.
    Source: Wang et al. 2023, Interpretability in the Wild, section 3.1.
    """
    ids, other = _text(ids), _text(other)
    clean = record(model, ids)
    _check(clean["logits"], position, token)
    changed = patch(sender, other)
    later = later_parts(model, sender)
    if wrong := [name for name in receivers if name not in [*later, "logits"]]:
        raise InputError(f"receivers {wrong} do not come after {sender}; these do: {later}, logits")
    kept = [patch(name, ids) for name in later if name not in receivers]
    heard = record(intervene(model, changed, *kept), ids)
    if "logits" in receivers:
        final = heard["logits"]
    else:
        final = record(intervene(model, *(put(n, heard[n]) for n in receivers)), ids)["logits"]
    return float(_at(final - clean["logits"], position, token))


def later_parts(model: Any, sender: str) -> list[str]:
    """The attentions and feed-forwards that read what `sender` has added to the stream."""
    if not isinstance(model, GPT | Llama):
        raise InputError(
            f"paths are those of a stream as GPT and Llama have it, not {type(model).__name__}"
        )
    parts = [
        f"block{i}.{part}"
        for i in range(model.config.layers)
        for part in ("attention", "feed_forward")
    ]
    if sender == "embedding":
        return parts
    own = sender.partition(".head")[0]
    if own not in parts:
        raise InputError(f"sender must be embedding, a head, or one of {parts}, not {sender!r}")
    return parts[parts.index(own) + 1 :]


# ---- attention rollout ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Rollout:
    """weights (T, T): row i says how much i has of each j. warning: where that misleads, or ""."""

    weights: Array
    warning: str


def rollout(model: Any, ids: Any, replaced_by: int = 0) -> Rollout:
    """Products of attention weights, with half for the residual path.

        R = Π_blocks (a + 1)/2, a the mean over heads     each row sums to 1

    It knows nothing of values: a head that reads a token and writes nothing counts in full. So the
    last row is held against what really happens when each token is replaced by `replaced_by`; where
    another position matters most, `warning` says which.
    Source: Abnar and Zuidema 2020, Quantifying Attention Flow in Transformers, section 3.
    """
    ids = _text(ids)
    logits, cache = model.forward(ids)
    _check(logits, 0, replaced_by)
    maps = model.attention_maps(cache)
    if not maps or any(a.shape[-1] != len(ids) or a.shape[-2] != len(ids) for a in maps.values()):
        raise InputError(f"a {type(model).__name__} has no one attention of a text on itself")
    R = np.eye(len(ids))
    for a in maps.values():
        R = (a.mean(axis=-3) + np.eye(len(ids))) / 2 @ R
    changed = np.repeat(ids[None], len(ids), axis=0)
    np.fill_diagonal(changed, replaced_by)
    after = model.forward(changed)[0]
    p, before = ops.softmax_forward(after)[0], ops.softmax_forward(logits)[0]
    effect = np.abs(p[:, -1] - before[-1]).sum(axis=-1)
    said, true = int(R[-1].argmax()), int(effect.argmax())
    warning = ""
    if said != true:
        warning = (
            f"rollout names position {said} first, but to replace position {true} changes the "
            f"prediction most (moves {effect[true] / 2:.2f} of probability, not "
            f"{effect[said] / 2:.2f})"
        )
    return Rollout(R, warning)


# ---- what all take -------------------------------------------------------------------------------


def _text(ids: Any) -> Array:
    text: Array = np.asarray(ids)
    if text.ndim != 1:
        raise InputError(
            f"ids {text.shape} must be one text (T,): these methods ask of one prediction"
        )
    return text


def _check(logits: Array, position: int, token: int) -> None:
    """InputError for a prediction that the model does not make."""
    if logits.ndim < 2:
        raise InputError("these methods ask of one position's prediction, and this model makes one")
    T, V = logits.shape
    if not (isinstance(token, int | np.integer) and 0 <= token < V):
        raise InputError(f"token {token!r} must be an id from 0 to {V - 1}")
    if not (isinstance(position, int | np.integer) and 0 <= position < T):
        raise InputError(f"position {position!r} must be from 0 to {T - 1}")


def _at(logits: Array, position: int, token: int) -> Any:
    """The logit of a token, of one text (T, V) or of several."""
    result: Any = logits[..., position, token]
    return result


def _picked(logits: Array, token: int, against: Any) -> Array:
    """The vector whose product with the logits is that of the token (less another one's)."""
    row = np.zeros(logits.shape[-1])
    row[token] += 1
    if against is not None:
        row[against] -= 1
    return row


def _table(model: Any) -> str:
    """The name of the table that predicts."""
    return "U" if "U" in model.params else "E"
