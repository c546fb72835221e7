"""Calling a model of any framework, and finding the logits in what it returns."""

import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..arrays import Array
from ..errors import InputError

ABOUT_F = (
    "f",
    "Hand over a function of the ids alone that returns logits (B, T, V), such as "
    "lambda ids: net(ids)[0]",
)


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
        return lambda ids: guarded(f, as_tensor(ids, f), ids)
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
            return guarded(f, as_tensor(ids), ids)
        try:
            return guarded(f, ids, ids)
        except Unreadable:
            if not torch_is_loaded():
                raise
            try:
                result = guarded(f, as_tensor(ids), ids)
            except Unreadable:
                result = None
            if result is None:
                raise  # what NumPy's ids did is the better message
            wants_tensors = True
            return result

    return call


def takes(module: Any, name: str) -> bool:
    """Whether its forward has an argument of this name, as far as it tells."""
    try:
        return name in inspect.signature(module.forward).parameters
    except ValueError:  # a scripted module
        return False


def masked_call(module: Any) -> Callable[[Array, Array], Any]:
    """padded(ids, real) of a module whose padding is told to it by attention_mask."""

    def padded(ids: Array, real: Array) -> Any:
        mask = as_tensor(real.astype(np.int64), module)
        with _evaluating(module):
            return module(as_tensor(ids, module), attention_mask=mask)

    return padded


def differs_in_training(module: Any) -> bool:
    """Whether some part is in training mode that then computes something else."""
    return any(
        part.training and (getattr(part, "p", 0) or getattr(part, "track_running_stats", False))
        for part in module.modules()
        if not list(part.children())
    )


def as_tensor(ids: Array, module: Any = None) -> Any:
    torch = sys.modules["torch"]
    first = next(iter(module.parameters()), None) if module is not None else None
    return torch.as_tensor(ids, device=None if first is None else first.device)


def guarded(
    f: Callable[[Any], Any], given: Any, ids: Array, about: tuple[str, str] = ABOUT_F
) -> Any:
    """f(given), in evaluation mode and without gradients, with one sentence where it stops.

    about: what f is called, and what it should be.
    """
    try:
        with _evaluating(f):
            return f(given)
    except InputError as error:
        raise Unreadable(str(error)) from error
    except Exception as error:
        said = (str(error).strip().splitlines() or ["no message"])[0]
        raise Unreadable(
            f"{about[0]} stopped at ids of shape {ids.shape}{_line(error)} with "
            f"{type(error).__name__}: {said}. {about[1]}"
        ) from error


def _line(error: Exception) -> str:
    """The last line of the user's own code."""
    frames = traceback.extract_tb(error.__traceback__)[1:]
    own = [frame for frame in frames if "site-packages" not in frame.filename]
    return f" in line {own[-1].lineno} ({own[-1].line})" if own else ""


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


def parts_of(given: Any) -> dict[Any, Any]:
    """Name or number -> array, of a dict or a tuple that f returned; empty for one array."""
    if hasattr(given, "shape"):
        return {}
    if isinstance(given, Mapping):
        parts = dict(given)
    elif isinstance(given, tuple | list):
        parts = dict(enumerate(given))
    else:
        parts = {"logits": given.logits} if hasattr(given, "logits") else {}
    return {key: part for key, part in parts.items() if hasattr(part, "shape")}


def fitting(parts: Mapping[Any, Any], *shapes: tuple[int, ...]) -> list[Any]:
    """The names of what may be logits: by the first of the shapes that fits any."""
    if "logits" in parts:
        return ["logits"]
    for shape in shapes:
        if found := [key for key, part in parts.items() if tuple(part.shape) == shape]:
            return found
    return []


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
