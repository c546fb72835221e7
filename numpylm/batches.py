"""ids -> (ids, targets) batches: the target of every token is the token after it.

y_t = x_{t+1}, so a window of T predictions is cut from T + 1 tokens. Data is either a stream of
ids, (n,), or a table of sentences, (N, T + 1), one a row: then a window is a sentence.
"""

import operator
from collections.abc import Iterator

import numpy as np

from .errors import InputError

Batch = tuple[np.ndarray, np.ndarray]  # x and y, of one shape


def sample_batch(rng: np.random.Generator, data: np.ndarray, B: int, T: int) -> Batch:
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
