"""What flows through a forward, heads included, and the changes that are made to it.

A Flow is a watch (watching.py). It takes the attention apart by its heads (heads.py), from what it
has seen enter the block, and only where a head is asked for.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from ..arguments import as_ids, as_texts
from ..arrays import Array
from ..bert import BERT
from ..errors import InputError
from ..transformer import Transformer
from .heads import Heads, attention_input, attention_parts, heads_of

Changes = tuple[tuple[Any, Any], ...]  # a Change of interventions.py, and its value


class Flow:
    """A watch that makes `changes`, and hands what is there then to another watch."""

    def __init__(self, model: Any, watch: Any, changes: Changes, start: int = 0):
        self.model, self.watch, self.changes, self.start = model, watch, changes, start
        self.mask: Any = None
        self.masks: dict[str, Any] = {}  # of the Transformer's three kinds of attention
        self.memory: Any = None
        self.positions: Any = None
        self.past: Any = None
        self.h: Any = None
        self.own: Any = None  # what the decoder's own attention has added
        self.parts = attention_parts(model)
        self.on_heads: Callable[[str, Heads, Array], None] | None = None

    # ---- one for each way to run a model

    @classmethod
    def over(
        cls, model: Any, watch: Any, inputs: tuple[Any, ...], more: Any, changes: Changes
    ) -> "Flow":
        """Of a forward, or of an encoder alone."""
        if isinstance(watch, Flow) and watch.model is model:
            return watch  # encode, called by forward
        flow = cls(model, watch, changes)
        ids = as_texts(inputs[0])
        if isinstance(model, Transformer):
            real = ids != model.config.padding_id
            flow.masks["encoder"] = flow.masks["cross"] = real[..., None, None, :]
            flow._check(as_texts(inputs[1]).shape[-1] if _is_pair(inputs) else ids.shape[-1])
            if _is_pair(inputs):
                flow._decoder_mask(inputs[1])
        elif isinstance(model, BERT):
            given = dict(zip(("rng", "segments", "attend"), inputs[1:], strict=False)) | more
            if given.get("attend") is not None:
                flow.mask = np.asarray(given["attend"])[..., None, None, :]
            flow._check(ids.shape[-1])
        else:
            if getattr(model.config, "causal", True):
                flow.mask = ops.causal_mask(ids.shape[-1])
            flow._check(ids.shape[-1])
        return flow

    @classmethod
    def over_decoder(
        cls, model: Any, watch: Any, inputs: tuple[Any, ...], changes: Changes
    ) -> "Flow":
        """Of a decoder, which reads the memory of an encoder."""
        target_in, memory, real = inputs[:3]
        if isinstance(watch, Flow) and watch.model is model:
            watch.memory = memory
            return watch
        flow = cls(model, watch, changes)
        flow.memory, flow.masks["cross"] = memory, real[..., None, None, :]
        flow._decoder_mask(target_in)
        flow._check(target_in.shape[-1])
        return flow

    @classmethod
    def over_past(cls, model: Any, watch: Any, ids: Any, past: Any, changes: Changes) -> "Flow":
        """Of new tokens behind a key/value cache."""
        ids = as_texts(ids)
        flow = cls(model, watch, changes, start=past.length)
        flow.positions, flow.mask = past.place(ids.shape)
        flow.past = past
        return flow

    def _decoder_mask(self, target_in: Any) -> None:
        target_in = as_ids("target", target_in)
        real = target_in != self.model.config.padding_id
        self.masks["decoder"] = real[..., None, None, :] & ops.causal_mask(target_in.shape[-1])

    def _check(self, T: int) -> None:
        """InputError for a change at a position that the text has not."""
        for change, _ in self.changes:
            if change.at is not None and max(change.at) >= T and "encoder" not in change.name:
                raise InputError(
                    f"{change.name}: position {max(change.at)} is outside of {T} tokens"
                )

    # ---- the watch itself

    def __call__(self, name: str, x: Array) -> Array | None:
        y = self._by_heads(name, x) if name in self.parts else x
        for change, value in self.changes:
            if change.name == name and change.kind != "freeze":
                y = self._put(change, value, y)
        if self.watch is not None and (found := self.watch(name, y)) is not None:
            y = found
        if name.endswith("embedding") or "." not in name:
            self.h, self.own = y, None
            if name == f"encoder{getattr(self.model.config, 'layers', 0) - 1}":
                self.memory = y
        elif name.startswith("decoder") and name.endswith(".attention"):
            self.own = y
        return None if y is x else y

    def _by_heads(self, name: str, x: Array) -> Array:
        """The output of an attention whose heads, or whose weights, are changed."""
        frozen = [v for c, v in self.changes if c.kind == "freeze" and c.name in (name, "*")]
        of_heads = [(c, v) for c, v in self.changes if c.name.startswith(f"{name}.head")]
        if not (frozen or of_heads or self.on_heads):
            return x
        heads = self._heads(name)
        a = self._frozen(name, frozen[-1][name], heads.a) if frozen else None
        parts = heads.parts(a)
        for change, value in of_heads:
            h = int(change.name.rpartition(".head")[2])
            parts[..., h, :, :] = self._put(change, value, parts[..., h, :, :])
        if self.on_heads:
            self.on_heads(name, heads, parts)
        return heads.output(parts) if frozen or of_heads else x

    def _heads(self, name: str) -> Heads:
        x = attention_input(self.model, name, self.h, self.own)
        past = None
        if self.past is not None:
            layer, S = self.parts.index(name), self.start + x.shape[-2]
            past = self.past.keys[layer, :, :S], self.past.values[layer, :, :S]
        kind = "cross" if name.endswith("cross") else name[:7]
        mask = self.masks.get(kind, self.mask)
        memory = self.memory if kind == "cross" else None
        return heads_of(self.model, name, x, mask, self.positions, past, memory)

    def _frozen(self, name: str, found: Array, a: Array) -> Array:
        """The rows of the new tokens, of the weights of another text."""
        T, S = a.shape[-2:]
        rows = found[..., self.start : self.start + T, :S]
        if rows.shape[-2:] != (T, S) or found.ndim > a.ndim:
            raise InputError(
                f"{name}: the frozen weights {found.shape} are of another text than {a.shape} "
                "needs: freeze one of the same length"
            )
        return np.broadcast_to(rows, a.shape)

    def _put(self, change: Any, value: Array, x: Array) -> Array:
        """x with `value` at the columns of the change."""
        T = x.shape[-2] if x.ndim > 1 else 1
        new = value[..., self.start : self.start + T, :] if np.ndim(value) > 1 else value
        try:
            new = np.broadcast_to(new, x.shape)
        except ValueError:
            raise InputError(
                f"{change.kind} of {change.name}: a value {np.shape(value)} does not fit "
                f"{x.shape}: give texts of the same length, one or as many"
            ) from None
        if change.at is None:
            return new.astype(x.dtype, copy=False)
        chosen = np.isin(np.arange(self.start, self.start + T), change.at)
        return np.where(chosen[:, None], new, x).astype(x.dtype, copy=False)


def _is_pair(inputs: tuple[Any, ...]) -> bool:
    return len(inputs) > 1 and not isinstance(inputs[1], np.random.Generator | None)


def record(model: Any, *inputs: Any, **more: Any) -> dict[str, Array]:
    """Everything that flows in a forward, by name: that of watching.py, and of each head what it
    adds to its attention's output, "block0.attention.head0" (..., T, C)."""
    seen: dict[str, Array] = {}
    changes = getattr(model, "changes", ())
    flow = Flow.over(model, seen.__setitem__, inputs, more, changes)

    def keep(name: str, heads: Heads, parts: Array) -> None:
        for h in range(parts.shape[-3]):
            seen[f"{name}.head{h}"] = parts[..., h, :, :]

    flow.on_heads = keep
    model.forward(*inputs, watch=flow, **more)
    return seen
