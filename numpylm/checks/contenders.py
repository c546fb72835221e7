"""A model as the contracts see it, in whatever framework it is written.

Contender.of(model)                                      a model of numpylm
Contender(f, vocab_size=65, length=64)                   a function ids -> logits
Contender(module, vocab_size=65, length=64)              a module of PyTorch
Contender(lambda ids: net(ids)[1], 65, 64, model=net)    where the logits are hard to find
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from ..arrays import Array, Rng
from ..batches import sweep
from ..bert import BERT
from ..errors import InputError
from ..metrics import token_nats
from ..transformer import Transformer
from .contender_calls import (
    Unreadable,
    as_array,
    caller,
    differs_in_training,
    finite,
    fitting,
    is_module,
    masked_call,
    parts_of,
    takes,
)
from .contender_weights import count, kept, scaled, with_precision

NEXT, BOTH, TWO = "next token", "both sides", "two texts"  # what a position may read
LENGTHS = 8, 16, 32, 64  # tried where the length is not given
BUDGET = 2**18  # tokens that one contract may read: a few seconds for a small model
WORK = 1e11  # and, for a larger one, products with its parameters
ORDINARY = 1e3  # rounding beyond this many eps is called a difference


@dataclass(frozen=True)
class Contender:
    """A model as the contracts see it. The first three are enough for most of them.

    f(ids)                ids (B, T), int64  ->  logits (B, T, V), or (B, V) after the last token.
                          NumPy or a module of PyTorch, which is looked at in evaluation mode; the
                          logits may stand in a tuple, a dict or `.logits`, and in any precision
    vocab_size, length    V, and the longest text that it reads; if not given, up to 64 are tried
    learn(ids, targets)   one step of training, in any way                         for no_leak
    evaluate(texts, B)    your perplexity of texts (N, T + 1), read B at a time    batch size
    loss(logits, targets) your mean nats, from (B, T, V) and (B, T)                cross-entropy
    padded(ids, real)     logits of texts of which only `real` (B, T) is no padding
    padding_id            the id of padding, which f recognises by itself          for padding
    padding_side          "right" or "left" of the text
    model                 what holds the weights, if f does not; start and extend as in gpt.py
    kind                  "next token"; "both sides": every position reads all, as in BERT
    words                 the ids that texts are made of; all of them if not given
    budget                how many tokens one contract may read

    A model of numpylm needs none of this, nor does an object of yours with forward, loss,
    loss_backward, params (Parameters) and config (vocab_size, context_length).
    """

    f: Any
    vocab_size: int
    length: int = 0
    learn: Callable[[Array, Array], Any] | None = None
    evaluate: Callable[[Array, int], Any] | None = None
    loss: Callable[[Any, Any], Any] | None = None
    model: Any = None
    kind: str = NEXT
    padded: Callable[[Array, Array], Any] | None = None
    padding_id: int | None = None
    padding_side: str = "right"
    words: Any = None
    budget: int = BUDGET

    eps: float = field(default=0.0, init=False)  # the precision of the last logits
    _key: Any = field(default=None, init=False, repr=False)  # where the logits stand
    _call: Callable[[Array], Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in (NEXT, BOTH, TWO):
            raise InputError(f"kind must be {NEXT!r}, {BOTH!r} or {TWO!r}, not {self.kind!r}")
        self._set("_call", caller(self.f))
        if self.padded is None and is_module(self.f) and takes(self.f, "attention_mask"):
            self._set("padded", masked_call(self.f))
        if not self.length:
            self._set("length", self._longest())
        for name, least in (("vocab_size", 2), ("length", 3)):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or value < least:
                raise InputError(
                    f"{name} must be at least {least}, not {value!r}: with less there is nothing "
                    "to predict, or no order to see"
                )
        words = np.arange(self.vocab_size) if self.words is None else np.asarray(self.words)
        self._set("words", words)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @classmethod
    def of(cls, model: Any) -> Self:
        """The contender that `model` is. Raises InputError where that cannot be known."""
        if isinstance(model, cls):
            return model
        if hasattr(model, "loss_backward") and hasattr(model, "config"):
            return cls(**_of_numpylm(model), budget=_budget(model))
        config = getattr(model, "config", None)
        sizes = [
            next((n for name in names if isinstance(n := getattr(config, name, None), int)), 0)
            for names in (("vocab_size",), ("max_position_embeddings", "n_positions", "block_size"))
        ]
        if is_module(model) and sizes[0]:
            return cls(model, sizes[0], min(sizes[1], 512), budget=_budget(model))
        name = type(model).__name__
        call = "module" if is_module(model) else "f"
        reads = "" if is_module(model) else ", with f(ids) -> logits"
        raise InputError(
            f"a {name} does not say how many words it knows: hand over "
            f"Contender({call}, vocab_size=…, length=…){reads}"
        )

    def _longest(self) -> int:
        """The longest of LENGTHS that f reads."""
        found, error = 0, None
        for T in LENGTHS:
            try:
                self._call(np.zeros((2, T), np.int64))
                found = T
            except Unreadable as stop:
                error = error or stop
        if not found and error is not None:
            raise InputError(f"{error}. Or give the length that it reads") from error
        return found

    # ---- texts

    def texts(self, rng: Rng, B: int, T: int = 0, words: Array | None = None) -> Array:
        words = self.words if words is None else words
        return words[rng.integers(len(words), size=(B, T or self.length))]

    def others(self, rng: Rng, ids: Array) -> Array:
        """Another word for each."""
        order = np.argsort(self.words, kind="stable")
        places = order[np.searchsorted(self.words, ids, sorter=order)]
        n = len(self.words)
        result: Array = self.words[(places + rng.integers(1, n, ids.shape)) % n]
        return result

    # ---- logits

    def raw(self, ids: Array) -> Array:
        """Whatever f gives for each row, as a finite array (B, ...)."""
        given = self.find(self._call(ids.copy()), ids)
        logits = finite(as_array(given))
        half = str(getattr(given, "dtype", "")).endswith("bfloat16")
        self._set("eps", 2.0**-7 if half else float(np.finfo(logits.dtype).eps))
        return logits

    def find(self, given: Any, ids: Array) -> Any:
        """The logits of ids in what f returned: itself, or by name, shape or the place before."""
        parts = parts_of(given)
        if not parts:
            return given
        fits = fitting(parts, *self.shapes(ids))
        if len(fits) > 1 and self._key is None:  # T = V, perhaps: ask with another length
            shorter = ids[:1, : ids.shape[1] // 2]
            fits = fitting(parts_of(self._call(shorter.copy())), *self.shapes(shorter))
        if len(fits) == 1:
            self._set("_key", fits[0])
        if self._key in parts:
            return parts[self._key]
        found = ", ".join(str(tuple(part.shape)) for part in parts.values())
        raise InputError(
            f"f returns a {type(given).__name__} of arrays {found}, of which "
            f"{len(fits) or 'none'} may be the logits {self.shapes(ids)[0]}: hand over a function "
            "that picks them, such as lambda ids: f(ids)[0], and check vocab_size"
        )

    def shapes(self, ids: Array) -> tuple[tuple[int, ...], ...]:
        """Those that logits may have."""
        return (*ids.shape, self.vocab_size), (len(ids), self.vocab_size)

    def logits(self, ids: Array) -> Array:
        """(B, T, V) or (B, V), as an array. Raises InputError for another shape, and for a nan."""
        logits, shapes = self.raw(ids), self.shapes(ids)
        if logits.shape not in shapes and self.kind != BOTH:
            turned = logits.ndim == 3 and logits.swapaxes(1, 2).shape in shapes
            hint = (
                "put the vocabulary last, lambda ids: f(ids).swapaxes(1, 2)"
                if turned
                else "check vocab_size, and what f returns"
            )
            raise InputError(
                f"logits of ids {ids.shape} must have shape {shapes[0]} or {shapes[1]}, not "
                f"{logits.shape}: {hint}"
            )
        return logits

    def logits_twice(self, ids: Array) -> Array:
        """The logits. Raises InputError if a second call gives others, beyond rounding."""
        logits = self.logits(ids)
        gap = float(np.abs(self.logits(ids) - logits).max())
        if gap > ORDINARY * self.eps * float(np.abs(logits).max()):
            raise InputError(
                "two calls with the same ids give different logits: switch dropout off "
                "(model.eval() in PyTorch), or nothing exact can be said"
            )
        return logits

    def last(self, ids: Array) -> Array:
        """Logits (B, V) after the last token."""
        logits = self.logits(ids)
        return logits[:, -1] if logits.ndim == 3 else logits

    def nats(self, texts: Array, B: int) -> Array:
        """−log p of each prediction in texts (N, T + 1), read B at a time: (N, T), or (N, 1)."""
        parts = []
        for ids, targets in sweep(texts, B, texts.shape[1] - 1):
            logits = self.logits(ids)
            targets = targets if logits.ndim == 3 else targets[:, -1]
            parts.append(token_nats(logits, targets)[0].reshape(len(ids), -1))
        return np.concatenate(parts)

    def nats_of_inputs(self, texts: Array) -> float | None:
        """Mean −log p of the tokens that are read, as if they were the targets."""
        ids = texts[:, :-1]
        logits = self.logits(ids)
        return float(token_nats(logits, ids)[0].mean()) if logits.ndim == 3 else None

    def reads(self, T: int) -> bool:
        """Whether texts of T tokens can be read."""
        try:
            self.raw(self.texts(np.random.default_rng(0), 2, T))
        except Unreadable:
            return False
        return True

    # ---- what else is known of it

    @property
    def remark(self) -> str:
        """What was done to look at it, for a verdict to add."""
        if is_module(self.f) and differs_in_training(self.f):
            return ". It came in training mode, and was looked at in evaluation mode, as by eval()"
        return ""

    @property
    def holders(self) -> tuple[Any, ...]:
        """Where its weights may be found."""
        return tuple(x for x in (self.model, self.f, self.padded) if x is not None)

    @contextmanager
    def louder(self, factor: float, signs: bool = False) -> Iterator[bool]:
        """All its weights `factor` times as large; False where none are found."""
        with scaled(self.holders, factor, signs) as reached:
            yield reached

    @contextmanager
    def in_precision(self, dtype: Any) -> Iterator["Contender"]:
        """The same model with its weights in another precision, as far as they can be reached."""
        with with_precision(self.holders, dtype):
            yield self

    @contextmanager
    def trainable(self) -> Iterator[None]:
        """Whatever happens to its weights is undone; half precision is float32 meanwhile."""
        half = is_module(self.f) and any(p.itemsize < 4 for p in self.f.parameters())
        with kept(self.holders), with_precision(self.holders if half else (), np.float32):
            yield


# ---- models of numpylm -----------------------------------------------------------------------


def _budget(model: Any) -> int:
    return int(np.clip(WORK / (2 * max(count((model,)), 1)), 2**12, BUDGET))


def _of_numpylm(model: Any) -> dict[str, Any]:
    """The fields of the contender that a model with `forward` and `config` is."""
    config = model.config
    V, N = config.vocab_size, config.context_length
    common = {"vocab_size": V, "length": N, "model": model}
    if isinstance(model, Transformer):
        return common | _two_texts(model)
    if isinstance(model, BERT):
        encoder = type(model).head_forward is BERT.head_forward
        read = model.encode if encoder else model.forward

        def padded(ids: Array, real: Array) -> Array:
            return read(ids, attend=real)[0]

        return common | {"f": lambda ids: read(ids)[0], "kind": BOTH, "padded": padded}
    if hasattr(model, "extend"):
        common |= {"padding_side": "left", "padded": _with_left_padding(model)}
    return common | {"f": lambda ids: model.forward(ids)[0]}


def _with_left_padding(model: Any) -> Callable[[Array, Array], Array]:
    return lambda ids, real: model.extend(ids, model.start(len(ids), (~real).sum(axis=1)))


def _two_texts(model: Transformer) -> dict[str, Any]:
    """The decoder, as a model of the target; the source is a text of its own in every row."""
    config = model.config
    special = config.padding_id, config.begin_id, config.end_id
    words = np.setdiff1d(np.arange(config.vocab_size), special)
    if len(words) < 2:
        raise InputError(f"vocab_size {config.vocab_size} leaves no words beside {special}")

    def sources(ids: Array) -> Array:
        rng = np.random.default_rng(0)
        return rng.choice(words, (len(ids), min(5, config.context_length)))

    def padded(ids: Array, real: Array) -> Array:
        ids = np.where(real, ids, config.padding_id)
        return model.forward(ids, ids)[0]

    return {
        "f": lambda ids: model.forward(sources(ids), ids)[0],
        "kind": TWO,
        "padded": padded,
        "padding_id": config.padding_id,
        "words": words,
    }
