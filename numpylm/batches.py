"""ids -> (ids, targets) batches: the target of every token is the token after it.

y_t = x_{t+1}, so a window of T predictions is cut from T + 1 tokens. Data is either a stream of
ids, (n,), or a table of sentences, (N, T + 1), one a row: then a window is a sentence.

What a training draws from is a function batch = f(rng): `source_of` makes one of a corpus, of ids,
of examples by name, of a list of batches, or of whatever else yields them.
"""

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .arguments import check_ids
from .arrays import Rng
from .errors import InputError

Batch = tuple[np.ndarray, np.ndarray]  # x and y, of one shape


def sample_batch(rng: Rng, data: np.ndarray, B: int, T: int) -> Batch:
    """B random windows: x (B, T), y (B, T) with y_t = x_{t+1}.

    A window may start anywhere in a stream, and at the first token of any sentence of a table. The
    windows are drawn independently, so they may overlap.
    """
    _check(data, B, T)
    if data.ndim == 2:
        windows = data[rng.integers(len(data), size=B)]
    else:
        starts = rng.integers(len(data) - T, size=B)
        windows = data[starts[:, None] + np.arange(T + 1)]
    return windows[:, :-1], windows[:, 1:]


def sweep(data: np.ndarray, B: int, T: int) -> Iterator[Batch]:
    """Every prediction of the data once and in order: at most B windows of T at a time.

    The windows of a stream do not overlap: the last target of one is the first token of the next.
    What remains at the end is a shorter window, (1, (n - 1) mod T), in a batch of its own; so every
    token but the first is a target once, and nothing is padded. The batches differ in size: weight
    a mean over them by their tokens. x and y are views of `data`.
    """
    _check(data, B, T)
    if data.ndim == 2:
        parts = [(data[:, :-1], data[:, 1:])]
    else:
        whole = (len(data) - 1) // T * T
        parts = [(data[:whole].reshape(-1, T), data[1 : whole + 1].reshape(-1, T))]
        if whole + 1 < len(data):
            parts.append((data[None, whole:-1], data[None, whole + 1 :]))
    return ((x[i : i + B], y[i : i + B]) for x, y in parts for i in range(0, len(x), B))


def _check(data: np.ndarray, B: int, T: int) -> None:
    for name, value in (("B, the batch size,", B), ("T, the context length,", T)):
        try:
            positive = operator.index(value) >= 1
        except TypeError:
            positive = False
        if not positive:
            raise InputError(f"{name} must be an integer of at least 1, not {value!r}")
    if not isinstance(data, np.ndarray) or data.dtype.kind not in "iu":
        raise InputError(f"data must be an array of integer ids, not {_kind(data)}")
    if data.ndim == 2 and len(data) and data.shape[1] == T + 1:
        return
    if data.ndim == 1 and len(data) > T:
        return
    raise InputError(
        f"data of shape {data.shape} has no window of T = {T} and the token after it: "
        f"give a stream of at least {T + 1} ids, or sentences of exactly {T + 1}"
    )


def _kind(data: object) -> str:
    return f"one of {data.dtype}" if isinstance(data, np.ndarray) else f"a {type(data).__name__}"


# ---- batches for any loss --------------------------------------------------------------------

Source = Any  # a function rng -> the next batch; with state() and load_state(state) if it has any


class Windows:
    """Random windows of ids, as sample_batch draws them; a sentence is read whole."""

    def __init__(self, data: np.ndarray, B: int, T: int):
        _check(data, B, T)
        self.data, self.B, self.T, self.tokens = data, B, T, B * T

    def __call__(self, rng: Rng) -> Batch:
        return sample_batch(rng, self.data, self.B, self.T)

    def __repr__(self) -> str:
        return f"batches of {self.B} windows of {self.T} from {self.data.size:,} ids"


class Examples:
    """`B` examples at a time, all of them in a new order before any comes again.

    arrays: the arguments of Model.loss, an example a row; a dict by name, or a tuple in order. The
    last batch of an order is smaller where B does not divide their number.
    """

    def __init__(self, arrays: Mapping[str, Any] | tuple[Any, ...], B: int):
        self.names, parts = None, tuple(arrays)
        if isinstance(arrays, Mapping):
            self.names, parts = parts, tuple(arrays.values())
        self.arrays = [np.asarray(part) for part in parts]
        self.B, self.order, self.at = B, np.arange(0), 0
        rows = {len(array) if array.ndim else 0 for array in self.arrays}
        if len(rows) != 1 or not min(rows):
            raise InputError(
                "examples must be arrays with one row for each example, not of shapes "
                f"{[array.shape for array in self.arrays]}"
            )

    def __call__(self, rng: Rng) -> Any:
        if self.at >= len(self.order):
            self.order, self.at = rng.permutation(len(self)), 0
        rows = self.order[self.at : self.at + self.B]
        self.at += self.B
        return self.batch([array[rows] for array in self.arrays])

    def batch(self, arrays: list[np.ndarray]) -> Any:
        """The arrays as they were given: by name, or in order."""
        return dict(zip(self.names, arrays, strict=True)) if self.names else tuple(arrays)

    def __iter__(self) -> Iterator[Any]:
        """Every example once, in the order of the rows."""
        for i in range(0, len(self), self.B):
            yield self.batch([array[i : i + self.B] for array in self.arrays])

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __repr__(self) -> str:
        return f"batches of {self.B} from {len(self):,} examples"

    def state(self) -> dict[str, Any]:
        """The present order and the place in it."""
        return {"order": self.order.copy(), "at": self.at}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken."""
        self.order, self.at = np.array(state["order"], np.int64), int(state["at"])


class InTurn:
    """The batches of a list, one after another, and then from the first again."""

    def __init__(self, batches: Sequence[Any]):
        self.batches, self.at = batches, 0
        if not len(batches):
            raise InputError("batches are empty: give at least one")

    def __call__(self, rng: Rng) -> Any:
        self.at += 1
        return self.batches[(self.at - 1) % len(self.batches)]

    def __repr__(self) -> str:
        return f"{len(self.batches):,} batches in turn"

    def state(self) -> dict[str, Any]:
        """How many were taken."""
        return {"at": self.at}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken."""
        self.at = int(state["at"])


class Stream:
    """The batches of an iterable; one that can be walked again is, when it ends."""

    def __init__(self, batches: Any):
        self.batches, self.iterator = batches, iter(batches)

    def __call__(self, rng: Rng) -> Any:
        for again in (True, False):
            for batch in self.iterator:
                return batch
            self.iterator = iter(self.batches) if again else self.iterator
        raise InputError(
            "batches have come to an end: train for fewer steps, or give a list of them, or a "
            "function batches(rng), which never ends"
        )

    def __repr__(self) -> str:
        return f"the batches of a {type(self.batches).__name__}"

    def state(self) -> Any:
        """What the iterable says itself."""
        return self.batches.state()

    def load_state(self, state: Any) -> None:
        """Go on where `state` was taken."""
        self.batches.load_state(state)
        self.iterator = iter(self.batches)


def source_of(batches: Any, B: int, model: Any) -> Source:
    """A function rng -> batch of whatever holds batches.

    A corpus (anything with `train`) and ids (n,) or (N, T + 1): B random windows. A dict or a tuple
    of arrays: B examples. A list of batches: in turn. A function of an rng: itself. Another
    iterable: what it yields. A batch is a tuple of arguments of model.loss, or a dict of them.
    Raises InputError for anything else.
    """
    data = ids_of(batches)
    if data is not None:
        return Windows(data, B, window_length(data, model, "to train on"))
    if _are_examples(batches):
        return Examples(batches, B)
    if callable(batches):
        return batches
    if isinstance(batches, list | tuple):
        return InTurn(batches)
    if isinstance(batches, Iterable) and not isinstance(batches, str | bytes):
        return Stream(batches)
    hint = ": make a corpus of it with Corpus.from_text" if isinstance(batches, str) else ""
    raise InputError(
        "batches must be a corpus, ids, a dict or tuple of arrays, a list of batches, or a "
        f"function of an rng, not a {type(batches).__name__}{hint}"
    )


def arguments(batch: Any) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """The arguments that a batch is: in order, and by name."""
    if isinstance(batch, Mapping):
        return (), batch
    if isinstance(batch, tuple | list):
        return batch, {}
    raise InputError(
        "a batch must be a tuple of the arguments of model.loss, such as (ids, targets), or a dict "
        f"of them, not a {type(batch).__name__}"
    )


def every_batch(heldout: Any, B: int, model: Any) -> Iterable[Any]:
    """Each prediction once: of a corpus' held-out ids, of ids, of examples, or of batches."""
    data = ids_of(heldout, "heldout")
    if data is not None:
        return sweep(data, B, window_length(data, model, "held out"))
    if _are_examples(heldout):
        return Examples(heldout, B)
    if not isinstance(heldout, Iterable) or isinstance(heldout, str | bytes):
        raise InputError(
            "what to evaluate on must be a corpus, ids, a dict or tuple of arrays, or batches, "
            f"not a {type(heldout).__name__}"
        )
    return heldout


def held_out(batches: Any, heldout: Any, B: int, model: Any) -> Any:
    """What to evaluate on again and again: `heldout`, or that part of a corpus, or None."""
    if heldout is None:
        heldout = batches if hasattr(batches, "heldout") else None
    if isinstance(heldout, Iterator):
        heldout = list(heldout)
    if heldout is not None:
        every_batch(heldout, B, model)  # checks it, before there is work that could be lost
    return heldout


def _are_examples(batches: Any) -> bool:
    """A dict of arrays, or a tuple of them; a tuple of batches is neither."""
    return isinstance(batches, Mapping) or (
        isinstance(batches, tuple) and all(isinstance(part, np.ndarray) for part in batches)
    )


def ids_of(batches: Any, part: str = "train") -> np.ndarray | None:
    """The ids of a part of a corpus, or of a list or an array of ids; None for other batches."""
    if hasattr(batches, part):
        return np.asarray(getattr(batches, part))
    if isinstance(batches, list) and batches and isinstance(batches[0], int | np.integer):
        batches = np.array(batches)
    return batches if isinstance(batches, np.ndarray) else None


def window_length(data: np.ndarray, model: Any, what: str = "") -> int:
    """T of the windows of `data`: the context of the model, or the sentences of a table."""
    most = getattr(getattr(model, "config", None), "context_length", None)
    if data.ndim == 2 and (most is None or data.shape[1] - 1 <= most):
        return int(data.shape[1]) - 1
    if most is None:
        raise InputError(
            f"{type(model).__name__} has no config.context_length to cut windows by: give batches "
            "as a function of an rng that returns (ids, targets)"
        )
    if data.ndim == 2:
        raise InputError(
            f"sentences of {data.shape[1]} tokens need a model with context_length "
            f"{data.shape[1] - 1} or more, not {most}"
        )
    if data.ndim == 1 and len(data) <= most:
        raise InputError(
            f"{len(data)} tokens {what} are too few for a window of context_length = {most} and "
            "the token after it: use a longer text, or a model with context_length below "
            f"{len(data)}"
        )
    return int(most)


def batch_size_for(batches: Any, model: Any, asked: int | None, usual: int = 32) -> int:
    """B, no more than there are windows; InputError where more are asked for."""
    data = ids_of(batches)
    if data is None or not data.ndim:
        return usual if asked is None else asked
    windows = len(data) if data.ndim == 2 else len(data) - window_length(data, model, "to train on")
    if asked is None:
        return min(usual, windows)
    if operator.index(asked) > windows:
        raise InputError(
            f"batch_size {asked} is more than the {windows} windows there are to train on: choose "
            "a smaller batch_size, or a longer text"
        )
    return asked


def check_fit(model: Any, batches: Any, heldout: Any = None) -> None:
    """InputError unless this is a model, and all ids are in its vocabulary."""
    for name in ("params", "loss", "loss_backward"):
        if isinstance(model, type) or not hasattr(model, name):
            what = f"the class {model.__name__}" if isinstance(model, type) else repr(model)
            raise InputError(f"model must have params, loss and loss_backward; {what} has none")
    V = getattr(getattr(model, "config", None), "vocab_size", None)
    if V is None:
        return
    symbols = getattr(getattr(batches, "tokenizer", None), "vocab_size", 0)
    if symbols > V:
        raise InputError(
            f"the corpus has {symbols} symbols, but the model's vocab_size is {V}: make the model "
            "with vocab_size=corpus.tokenizer.vocab_size"
        )
    for held, part in ((batches, "train"), (batches, "heldout"), (heldout, "heldout")):
        data = ids_of(held, part)
        if data is not None and data.dtype.kind in "iu" and data.size:
            check_ids(part, data, V)


def obstacle(what: str, thing: Any) -> str:
    """Why something cannot be resumed, or nothing: it needs state() and load_state(state).

    A function of an rng needs neither: it depends on the rng alone.
    """
    thing = thing.batches if isinstance(thing, Stream) else thing
    if isinstance(thing, Windows) or (callable(thing) and what == "batches"):
        return ""
    if all(hasattr(thing, name) for name in ("state", "load_state")):
        return ""
    return f"its {what}, a {type(thing).__name__}, has no state() and load_state(state)"
