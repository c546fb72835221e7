"""What a caller passes, checked once where it enters: arrays, masks, ids and numbers.

Lists become arrays, and whole numbers where others are needed become float64. What would be
misread is an InputError that names the argument: text, booleans, masked arrays, float16, another
shape.
"""

import math
import numbers
import operator
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np

from .arrays import Array, Rng
from .errors import InputError

FLOATS = frozenset(map(np.dtype, (np.float32, np.float64, np.complex64, np.complex128)))

Shape = tuple[int, ...]


# ---- arrays of floating-point numbers --------------------------------------------------------


def array(name: str, value: Any, shape: Shape | None = None) -> Array:
    """`value` as an array of floating-point numbers, of `shape` if one is given."""
    if type(value) is not np.ndarray or value.dtype not in FLOATS:
        value = _floats(name, value)
    if shape is not None and value.shape != shape:
        raise InputError(f"{name} has shape {value.shape}; expected {shape}")
    checked: Array = value
    return checked


def real_array(name: str, value: Any) -> Array:
    """`array`, of numbers that can be compared."""
    x = array(name, value)
    if x.dtype.kind == "c":
        raise InputError(f"{name} must be real numbers, not {x.dtype}")
    return x


def plain(name: str, value: Any) -> Array:
    """`value` as a plain array, whatever it holds."""
    if isinstance(value, np.ma.MaskedArray):
        raise InputError(
            f"{name} is a masked array, whose mask would be ignored: pass {name}.filled(...)"
        )
    try:
        return np.asarray(value)
    except (ValueError, TypeError):
        raise InputError(f"{name} must be rows of equal length: cut or pad them") from None


def _floats(name: str, value: Any) -> Array:
    x = plain(name, value)
    if x.dtype.kind in "iu":
        return x.astype(np.float64)
    if x.dtype.kind not in "fc":
        shown = type(value).__name__ if x.dtype == object else f"of dtype {x.dtype}"
        raise InputError(f"{name} must be an array of numbers, not {shown}")
    x = x.astype(x.dtype.newbyteorder("="), copy=False)
    if x.dtype not in FLOATS:
        raise InputError(f"{name} is {x.dtype}: use float32 to train, float64 to check")
    return x


def shaped(signature: str, *values: Any) -> tuple[Any, ...]:
    """The values as arrays of floating-point numbers whose shapes fit a signature.

        shaped("linear: x (..., I), w (I, O), b (O) or None", x, w, b)  ->  x, w, b

    A letter is one size, at least 1, wherever it stands; `...` are any axes, the same wherever they
    stand. Every op calls this, so shapes that have fitted before are not looked at again.
    """
    shapes = []
    for value in values:
        if type(value) is np.ndarray and value.dtype in FLOATS:
            shapes.append(value.shape)
        elif value is None:
            shapes.append(None)
        else:
            names = [name for name, _, _ in _parts(signature)]
            pairs = zip(names, values, strict=True)
            return shaped(signature, *[x if x is None else array(name, x) for name, x in pairs])
    _fit(signature, *shapes)
    return values


def _parts(signature: str) -> list[tuple[str, str, str]]:
    """("b", "O", " or None") of "b (O) or None", for every argument of a signature."""
    return re.findall(r"(\w+) \(([^)]*)\)( or None)?", signature)


@lru_cache(4096)
def _fit(signature: str, *shapes: Shape | None) -> None:
    sizes: dict[str, Any] = {}
    parts = _parts(signature)
    for (_, axes, optional), shape in zip(parts, shapes, strict=True):
        if not (optional if shape is None else _agrees(shape, axes.split(", "), sizes)):
            op, _, expected = signature.partition(": ")
            given = [f"{name} {shape}" for (name, _, _), shape in zip(parts, shapes, strict=True)]
            raise InputError(f"{op}: {', '.join(given)} do not fit; expected {expected}")


def _agrees(shape: Shape, letters: list[str], sizes: dict[str, Any]) -> bool:
    """Whether a shape agrees with the sizes met so far, to which its own are added."""
    found: list[Any] = list(shape)
    if letters[0] == "...":
        lead = len(shape) - len(letters) + 1
        found = [shape[:lead], *shape[lead:]] if lead >= 0 else []
    return len(found) == len(letters) and all(
        size != 0 and sizes.setdefault(letter, size) == size
        for letter, size in zip(letters, found, strict=True)
    )


# ---- masks -----------------------------------------------------------------------------------


def check_mask(mask: Any, shape: Shape) -> Array | None:
    """`mask` as a boolean array that broadcasts to scores of `shape`; None is no mask."""
    if mask is None:
        return None
    if type(mask) is not np.ndarray:
        mask = plain("mask", mask)
    if mask.dtype != bool:
        raise InputError(f"mask must be boolean, True = may look; it is {mask.dtype}")
    if not _broadcasts(mask.shape, shape):
        raise InputError(
            f"mask {mask.shape} must broadcast to the scores {shape}; for a batch of heads "
            "(B, H, T, S) it is (B, 1, T, S) or (T, S)"
        )
    checked: Array = mask
    return checked


@lru_cache(4096)
def _broadcasts(shape: Shape, onto: Shape) -> bool:
    """Whether an array of `shape` broadcasts to `onto` without enlarging it."""
    sizes = zip(shape[::-1], onto[::-1], strict=False)
    return len(shape) <= len(onto) and all(m in (1, n) for m, n in sizes)


# ---- ids -------------------------------------------------------------------------------------

UNSIGNED = np.dtype(np.uintp)
IDS = np.dtype(np.intp)  # what NumPy indexes with: 64 bits, or 32 where addresses have 32
VOCABULARY = "the vocabulary"


def as_ids(name: str, ids: Any) -> Array:
    """`ids` as an array of np.intp, in which no sentinel and no product wraps around.

    Lists, any integer dtype, either byte order. InputError for rows of different lengths and for
    what is not integers.
    """
    if type(ids) is np.ndarray and ids.dtype == IDS:
        return ids
    ids = plain(name, ids)
    if ids.size and ids.dtype.kind not in "iu":
        advice = ": encode text with a tokenizer" if ids.dtype.kind in "OSTU" else ""
        raise InputError(f"{name} must be integers, not {ids.dtype}{advice}")
    if ids.size and not np.can_cast(ids.dtype, IDS) and int(ids.max()) > np.iinfo(IDS).max:
        raise InputError(f"{name} must be ids of a vocabulary; found {ids.max()}")
    whole: Array = ids.astype(IDS)
    return whole


def as_texts(ids: Any, name: str = "ids") -> Array:
    """as_ids of texts (..., T); InputError for one number, and for texts of no token."""
    ids = as_ids(name, ids)
    if not ids.ndim:
        raise InputError(f"{name} must be a text (T,) or texts (..., T) of tokens, not {ids}")
    return check_some(name, ids)


def check_some(name: str, ids: Array) -> Array:
    """`ids`, if there are any."""
    if not ids.size:
        raise InputError(f"{name} are empty, of shape {ids.shape}: give at least one")
    return ids


def check_ids(
    name: str, ids: Any, size: int, ignore: int | None = None, what: str = VOCABULARY
) -> Array:
    """as_ids, if they are in [0, size) or equal to `ignore`; `what` says what has that size."""
    ids = check_some(name, as_ids(name, ids))
    named = ids if ignore is None else np.where(ids == ignore, 0, ids)
    if named.view(UNSIGNED).max() >= size:  # a negative number is a huge one there
        wrong = named[(named < 0) | (named >= size)]
        advice = ": use the tokenizer that belongs to the model" if what == VOCABULARY else ""
        raise InputError(f"{name} must lie in [0, {size}), {what}; found {wrong[0]}{advice}")
    checked: Array = ids
    return checked


def check_targets(targets: Any, scores: Array, ignore: int) -> tuple[Array, Array, int]:
    """Targets, one for each row of scores (..., V), which of them count, and how many do.

    y (N,), 0 where it does not count; counted (N,) boolean; their number.
    """
    targets = as_ids("targets", targets)
    if not scores.ndim or targets.shape != scores.shape[:-1]:
        raise InputError(
            f"targets {targets.shape} must have the shape of the logits {scores.shape} without "
            "the last axis, the vocabulary: one target for each prediction"
        )
    counted = (targets != ignore).ravel()
    y = np.where(counted, targets.ravel(), 0)
    check_ids("targets", y, scores.shape[-1])
    N = int(np.count_nonzero(counted))
    if not N:
        raise InputError("every target is ignored: there is nothing to average the loss over")
    return y, counted, N


# ---- numbers ---------------------------------------------------------------------------------

HOLDS = {
    "at_least": operator.ge,
    "above": operator.gt,
    "at_most": operator.le,
    "below": operator.lt,
}


def number(name: str, value: Any, **bounds: float) -> float:
    """`value` as a finite float within bounds: at_least=0, above=0, at_most=1, below=1."""
    if type(value) is not float:
        value = value.item() if isinstance(value, np.ndarray) and not value.ndim else value
        if isinstance(value, bool | np.bool) or not isinstance(value, numbers.Real):
            raise InputError(f"{name} must be a finite number, not {value!r}")
    if not math.isfinite(value):
        raise InputError(f"{name} must be a finite number, not {value!r}")
    if bounds:
        _within(name, value, bounds)
    return float(value)


def whole(name: str, value: Any, **bounds: float) -> int:
    """`value` as an integer within bounds, those of `number`."""
    try:
        count = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        count = None
    if count is None:
        raise InputError(f"{name} must be an integer, not {value!r}")
    _within(name, count, bounds)
    return count


def _within(name: str, value: Any, bounds: dict[str, float]) -> None:
    for words, bound in bounds.items():
        if not HOLDS[words](value, bound):
            wanted = [f"{words.replace('_', ' ')} {bound}" for words, bound in bounds.items()]
            raise InputError(f"{name} must be {' and '.join(wanted)}, not {value}")


def one_of(name: str, value: Any, choices: Iterable[str]) -> str:
    """`value`, if it is one of these words."""
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    return value


def float_dtype(name: str, dtype: Any) -> np.dtype:
    """`dtype`, if it is one that everything here is computed in."""
    try:
        found = np.dtype(dtype)
    except (TypeError, ValueError):
        found = None
    if found not in FLOATS:
        raise InputError(f"{name} must be float32 to train or float64 to check, not {dtype!r}")
    result: np.dtype = found
    return result


def generator(name: str, rng: Any) -> Rng:
    """`rng`, if it is one of NumPy's generators."""
    if not isinstance(rng, np.random.Generator):
        raise InputError(f"{name} must be a numpy.random.Generator, such as default_rng(0)")
    return rng
