"""Calling a model of any framework, and finding the logits in what it returns."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import InputError
from ..ops import Array


class Unreadable(InputError):
    """f stopped at ids that it was given."""


# ---- calling f -------------------------------------------------------------------------------


def torch_is_loaded() -> bool:
    return "torch" in sys.modules


def is_module(f: Any) -> bool:
    return torch_is_loaded() and isinstance(f, sys.modules["torch"].nn.Module)


def caller(f: Any) -> Callable[[Array], Any]:
    """ids -> whatever f returns. Raises Unreadable where f stops, InputError for no function."""
    if is_module(f):
        return lambda ids: _guarded(f, as_tensor(ids, f), ids)
    if not callable(f):
        f = getattr(f, "forward", None)
    if not callable(f):
        raise InputError(
            "f must be a function, f(ids) -> logits, or a module of PyTorch: hand over "
            "Contender(f, vocab_size, length)"
        )
    wants_tensors = False

    def call(ids: Array) -> Any:
        nonlocal wants_tensors
        if wants_tensors:
            return _guarded(f, as_tensor(ids), ids)
        try:
            return _guarded(f, ids, ids)
        except Unreadable:
            if not torch_is_loaded():
                raise
            try:
                result = _guarded(f, as_tensor(ids), ids)
            except Unreadable:
                result = None
            if result is None:
                raise  # what NumPy's ids did is the better message
            wants_tensors = True
            return result

    return call


def as_tensor(ids: Array, module: Any = None) -> Any:
    torch = sys.modules["torch"]
    first = next(iter(module.parameters()), None) if module is not None else None
    return torch.as_tensor(ids, device=None if first is None else first.device)


def _guarded(f: Callable[[Any], Any], given: Any, ids: Array) -> Any:
    """f(given), in evaluation mode and without gradients, with one sentence where it stops."""
    try:
        with _evaluating(f):
            return f(given)
    except InputError as error:
        raise Unreadable(str(error)) from error
    except Exception as error:
        said = (str(error).strip().splitlines() or ["no message"])[0]
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = "" if trace is None else f" in {trace.tb_frame.f_code.co_name}"
        line = "" if trace is None else f", line {trace.tb_lineno}"
        raise Unreadable(
            f"f stopped at ids of shape {ids.shape}{place}{line} with {type(error).__name__}: "
            f"{said}. Hand over a function of the ids alone that returns logits (B, T, V), such as "
            "lambda ids: net(ids)[0]"
        ) from error


@contextmanager
def _evaluating(f: Any) -> Iterator[None]:
    """No gradients; a module in evaluation mode, and afterwards in the mode it had."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    modes = [(part, part.training) for part in f.modules()] if is_module(f) else []
    try:
        if modes:
            f.eval()
        with torch.no_grad():
            yield
    finally:
        for part, training in modes:
            part.training = training


# ---- what f returns --------------------------------------------------------------------------


def unpacked(given: Any, *shapes: tuple[int, ...]) -> Array:
    """The logits in an array, a tensor, `.logits`, a dict or a tuple, as a new array."""
    return as_array(find_logits(given, *shapes))


def find_logits(given: Any, *shapes: tuple[int, ...]) -> Any:
    """The part of what f returned that is logits: by name, or as the one of a fitting shape."""
    if hasattr(given, "shape"):
        return given
    if hasattr(given, "logits"):
        return given.logits
    if isinstance(given, Mapping):
        if "logits" in given:
            return given["logits"]
        parts = list(given.values())
    else:
        parts = given
    if not isinstance(parts, tuple | list) or not any(hasattr(x, "shape") for x in parts):
        return given
    fitting = [x for x in parts if tuple(getattr(x, "shape", ())) in shapes]
    if len(fitting) == 1:
        return fitting[0]
    found = ", ".join(str(tuple(x.shape)) for x in parts if hasattr(x, "shape"))
    raise InputError(
        f"f returns a {type(given).__name__} of arrays {found}, of which {len(fitting) or 'none'} "
        f"may be the logits {shapes[0]}: hand over a function that picks them, such as "
        "lambda ids: f(ids)[0], and check vocab_size"
    )


def as_array(given: Any) -> Array:
    """A new array of floats. PyTorch's bfloat16, which NumPy lacks, becomes float32."""
    if hasattr(given, "detach"):
        given = given.detach().cpu()
        given = given.float() if str(given.dtype) == "torch.bfloat16" else given
    if hasattr(given, "numpy"):
        given = given.numpy()
    try:
        array = np.array(given)
        if array.dtype.kind == "V":  # bfloat16 of ml_dtypes, as JAX has it
            array = array.astype(np.float32)
    except (TypeError, ValueError):
        array = np.array(None)
    if array.dtype.kind not in "fiub":
        raise InputError(
            f"f returns a {type(given).__name__}, not logits: hand over a function ids -> logits "
            "(B, T, V) of real numbers"
        )
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def finite(logits: Array) -> Array:
    if not np.isfinite(logits).all():
        raise InputError("logits hold a nan or an infinity, which compares with nothing")
    return logits
