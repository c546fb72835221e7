"""What if? A model in which something else flows: exact, with or without a key/value cache.

    intervene(model, zero("block0.attention.head1"))          without this head
    intervene(model, mean("block1", texts), ...)              its average over texts in its place
    intervene(model, patch("block0", other, at=3))            what another text has there
    intervene(model, freeze(other))                           everybody reads as in another text

The result is a model: `forward`, `loss`, `extend`, `evaluate` and `generate` take it. It has no
backward, because the one of the model would be that of another function. Names: those of
watching.py, and "block0.attention.head0" for what one head adds to its attention's output.

Source: Vig et al. 2020, Investigating Gender Bias in Language Models Using Causal Mediation
Analysis; Meng et al. 2022, Locating and Editing Factual Associations in GPT, section 2.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from ..arguments import generator
from ..arrays import Array, ArrayLike, Rng
from ..errors import InputError
from .flow import Flow, record
from .heads import attention_parts, head_names

Inputs = Any  # ids, or for the Transformer (source, target_in)


@dataclass(frozen=True)
class Change:
    """One intervention: at the columns `at` (None: all) of `name`, what `value_of(model)` gives."""

    name: str
    kind: str
    value_of: Callable[[Any], Any]
    at: tuple[int, ...] | None = None


def zero(name: str, at: Any = None) -> Change:
    """Nothing in place of `name`, at the positions `at` (a number or several; None: everywhere)."""
    return Change(name, "zero", lambda model: np.zeros(()), _columns(at))


def mean(name: str, texts: Inputs, at: Any = None) -> Change:
    """Its mean over all positions of `texts` (B, T), which says nothing of the present text."""

    def value_of(model: Any) -> Any:
        x = _recorded(model, texts, name)
        return x.reshape(-1, x.shape[-1]).mean(axis=0)

    return Change(name, "mean", value_of, _columns(at))


def patch(name: str, text: Inputs, at: Any = None) -> Change:
    """What it is in another text: one for all, (T,), or one for each, (B, T)."""
    return Change(name, "patch", lambda model: _recorded(model, text, name), _columns(at))


def put(name: str, value: Array, at: Any = None) -> Change:
    """An array of one's own: (..., T, C), or (C,) for every position."""
    return Change(name, "put", lambda model: np.asarray(value), _columns(at))


def resample(name: str, texts: Inputs, rng: Rng, at: Any = None) -> Change:
    """What it is in one of `texts` (B, T), drawn by rng: a usual value, of the wrong text."""
    rng = generator("rng", rng)

    def value_of(model: Any) -> Any:
        x = _recorded(model, texts, name)
        if x.ndim < 3:
            raise InputError(f"resample: texts must be (B, T), some to draw from, for {name}")
        return x[int(rng.integers(len(x)))]

    return Change(name, "resample", value_of, _columns(at))


def freeze(text: Inputs, name: str | None = None) -> Change:
    """Who reads whom is as in `text`, in the attention `name` or in all; only values may change."""

    def value_of(model: Any) -> Any:
        inputs = text if isinstance(text, tuple) else (text,)
        return model.attention_maps(model.forward(*inputs)[1])

    return Change(name or "*", "freeze", value_of)


def intervene(model: Any, *changes: Change) -> Any:
    """The model with these changes, in this order where they are at the same place.

    Raises InputError for a name that the model has not (the nearest are listed), and, when it is
    used, for a position outside the text and for a value of another shape.
    """
    names = known_names(model)
    for change in changes:
        if not isinstance(change, Change):
            raise InputError(
                f"changes must be zero, mean, patch, put, resample or freeze, not {change!r}"
            )
        allowed = attention_parts(model) if change.kind == "freeze" else names
        if change.name not in allowed and change.name != "*":
            raise InputError(_no_such(change.name, allowed, type(model).__name__))
    twin = copy.copy(model)
    kind = type(model)
    if not issubclass(kind, _Intervened):
        twin.__class__ = type(f"Intervened{kind.__name__}", (_Intervened, kind), {})
    twin.changes = getattr(model, "changes", ()) + tuple(
        (change, change.value_of(model)) for change in changes
    )
    return twin


def known_names(model: Any) -> list[str]:
    """Every name that an intervention on the model may have, in the order of computation."""
    L = range(getattr(model.config, "layers", 0))
    found: list[str] = []
    if parts := attention_parts(model):
        if parts == ["attention"]:
            found = ["embedding", "attention"]
        elif parts[0].startswith("encoder"):
            found = ["encoder.embedding", "decoder.embedding"]
            for side, own in (("encoder", ("attention",)), ("decoder", ("attention", "cross"))):
                for i in L:
                    found += [f"{side}{i}.{part}" for part in (*own, "feed_forward")]
                    found += [f"{side}{i}"]
        else:
            found = ["embedding"]
            for i in L:
                found += [f"block{i}.attention", f"block{i}.feed_forward", f"block{i}"]
            found += ["norm"] * hasattr(model, "extend")
    return [*found, "logits", *head_names(model)]


def _no_such(name: str, names: list[str], kind: str) -> str:
    near = get_close_matches(str(name), names, 3, 0.3)
    rest = [other for other in names if other not in near]
    return f"{kind} has no {name!r}; there are {', '.join([*near, *rest][:30])}"


def _columns(at: Any) -> tuple[int, ...] | None:
    if at is None:
        return None
    columns = np.atleast_1d(np.asarray(at))
    if columns.dtype.kind not in "iu" or columns.ndim > 1 or (columns < 0).any():
        raise InputError(f"at must be positions, counted from 0, not {at!r}")
    return tuple(int(i) for i in columns)


def _recorded(model: Any, inputs: Inputs, name: str) -> Array:
    return record(model, *(inputs if isinstance(inputs, tuple) else (inputs,)))[name]


class _Intervened:
    """Forwards in which the changes happen; everything else is the model's own."""

    changes: tuple[tuple[Change, Any], ...]

    def forward(self: Any, *inputs: ArrayLike, watch: Any = None, **more: Any) -> Any:
        flow = Flow.over(self, watch, inputs, more, self.changes)
        return super().forward(*inputs, watch=flow, **more)  # type: ignore[misc]

    def encode(self: Any, *inputs: ArrayLike, watch: Any = None, **more: Any) -> Any:
        flow = Flow.over(self, watch, inputs, more, self.changes)
        return super().encode(*inputs, watch=flow, **more)  # type: ignore[misc]

    def decode(self: Any, *inputs: ArrayLike, watch: Any = None, **more: Any) -> Any:
        flow = Flow.over_decoder(self, watch, inputs, self.changes)
        return super().decode(*inputs, watch=flow, **more)  # type: ignore[misc]

    def extend(self: Any, ids: ArrayLike, past: Any, *, watch: Any = None) -> Any:
        flow = Flow.over_past(self, watch, ids, past, self.changes)
        return super().extend(ids, past, watch=flow)  # type: ignore[misc]

    def backward(self, *_: Any) -> Any:
        raise InputError(
            "a model with interventions has no backward: the gradient of the model itself is that "
            "of another function"
        )

    def astype(self: Any, dtype: Any) -> Any:
        raise InputError("change the dtype of the model before you intervene")
