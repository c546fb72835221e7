"""The weights of a model that is only a function: found, made larger, put into another precision.

A function keeps its weights in its closure, in the globals that it names, in the object that it is
bound to, or in what these hold. All that is done to them is undone at the end.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Array
from ..model import Parameters

FOREIGN = {"numpy", "torch", "builtins", "jax", "tensorflow", "matplotlib", "pytest", "_pytest"}
VISITS = 20_000  # objects looked at before the search ends
MASK = -1e3  # an array with such a number is a mask, and no weight


class Place(NamedTuple):
    """A value that holds weights, and how another is put there; None where that cannot be."""

    value: Any
    put: Callable[[Any], None] | None


def places(roots: tuple[Any, ...]) -> list[Place]:
    """Every array, tensor or Parameters of floats that can be reached from `roots`."""
    found: list[Place] = []
    seen: set[int] = set()
    todo = [Place(root, None) for root in roots]
    while todo and len(seen) < VISITS:
        place = todo.pop()
        if id(place.value) in seen and not isinstance(place.value, np.ndarray):
            continue
        seen.add(id(place.value))
        if isinstance(place.value, Parameters) or _is_array(place.value):
            found.append(place)
        else:
            todo += _children(place.value)
    return found


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor) and value.is_floating_point()


def _is_array(value: Any) -> bool:
    return (isinstance(value, np.ndarray) and value.dtype.kind == "f") or _is_tensor(value)


def _children(value: Any) -> list[Place]:
    """What is inside a value; nothing inside a module, a number or another library's object."""
    if isinstance(value, FunctionType):
        return _of_function(value)
    if isinstance(value, MethodType):
        return [Place(value.__self__, None), Place(value.__func__, None)]
    if isinstance(value, partial):
        return [Place(x, None) for x in (value.func, value.args, value.keywords)]
    if isinstance(value, dict):
        return [Place(x, partial(value.__setitem__, key)) for key, x in value.items()]
    if isinstance(value, list):
        return [Place(x, partial(value.__setitem__, i)) for i, x in enumerate(value[:VISITS])]
    if isinstance(value, tuple):
        return [Place(x, None) for x in value]
    if isinstance(value, staticmethod | classmethod):
        return [Place(value.__func__, None)]
    if isinstance(value, property):
        return [Place(value.fget, None)]
    if isinstance(value, ModuleType | BuiltinFunctionType | str | bytes | int | float | None):
        return []
    return _of_object(value)


def _of_function(f: FunctionType) -> list[Place]:
    cells = [cell for cell in f.__closure__ or () if _filled(cell)]
    inside = [Place(cell.cell_contents, partial(setattr, cell, "cell_contents")) for cell in cells]
    names = f.__globals__
    inside += [
        Place(names[name], partial(names.__setitem__, name))
        for name in _names(f.__code__)
        if name in names
    ]
    return [*inside, Place(f.__defaults__, None), Place(f.__kwdefaults__, None)]


def _filled(cell: CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _names(code: CodeType) -> set[str]:
    """The globals that code names, functions within it included."""
    inner = [c for c in code.co_consts if isinstance(c, CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _of_object(value: Any) -> list[Place]:
    torch = sys.modules.get("torch")
    inside = []
    if torch is not None and isinstance(value, torch.nn.Module):
        inside = [Place(t, None) for t in (*value.parameters(), *value.buffers())]
        return [place for place in inside if _is_tensor(place.value)]
    kind = value if isinstance(value, type) else type(value)
    if kind.__module__.split(".")[0] in FOREIGN:
        return []
    for name in getattr(kind, "__slots__", ()) if not isinstance(value, type) else ():
        if isinstance(name, str) and hasattr(value, name):
            inside.append(Place(getattr(value, name), partial(setattr, value, name)))
    for name, x in list(getattr(value, "__dict__", {}).items()):
        inside.append(Place(x, None if name.startswith("__") else partial(_set, value, name)))
    if not isinstance(value, type):
        inside += [
            Place(base, None)
            for base in kind.__mro__
            if base.__module__.split(".")[0] not in FOREIGN | {"numpylm"}
        ]
    return inside


def _set(value: Any, name: str, x: Any) -> None:
    """Also of a frozen dataclass."""
    if isinstance(value, type):
        setattr(value, name, x)
    else:
        object.__setattr__(value, name, x)


def count(roots: tuple[Any, ...]) -> int:
    """How many weights there are."""
    sizes = {id(place.value): np.size(_plain(place.value)) for place in places(roots)}
    return sum(sizes.values())


def _plain(value: Any) -> Array:
    """The numbers of a place, as an array; a tensor's own memory where NumPy can have it."""
    if isinstance(value, Parameters):
        return value.flat
    if _is_tensor(value):
        value = value.detach().cpu()
        value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
    numbers: Array = value
    return numbers


def _is_weight(value: Any) -> bool:
    """Not a mask: no huge negative number, and more than two different ones."""
    if isinstance(value, Parameters):
        return True
    array = _plain(value)
    if array.ndim < (1 if _is_tensor(value) else 2) or array.size < 2:
        return False
    part = array.ravel()[:100_000]
    return bool(not (part <= MASK).any() and len(np.unique(part)) > 2) or (
        _is_tensor(value) and value.requires_grad
    )


def _looks_random(array: Array) -> bool:
    """Nearly all numbers differ, as they do in weights and not in a table of distances."""
    part = array.ravel()[:10_000]
    return bool(len(np.unique(part)) > 0.9 * part.size)


def _signs_like(numbers: Any) -> Any:
    signs = np.random.default_rng(0).choice([-1.0, 1.0], numbers.shape)
    return sys.modules["torch"].as_tensor(signs).to(numbers) if _is_tensor(numbers) else signs


@contextmanager
def scaled(roots: tuple[Any, ...], factor: float, signs: bool = False) -> Iterator[bool]:
    """All weights times `factor`, in place. False if there are none that can be written.

    signs: each weight that looks random also gets a random sign, so that scores change theirs.
    """
    weights = [place for place in places(roots) if _is_weight(place.value)]
    written = set()
    with _restored(weights):
        for value, _ in weights:
            numbers = value.data if _is_tensor(value) else _owner(_plain(value))
            address = value.data_ptr() if _is_tensor(value) else id(numbers)
            if address in written or not (_is_tensor(value) or numbers.flags.writeable):
                continue
            written.add(address)
            numbers *= factor
            if signs and _looks_random(_plain(value)):
                numbers *= _signs_like(numbers)
        yield bool(written)


@contextmanager
def kept(roots: tuple[Any, ...]) -> Iterator[None]:
    """Whatever happens to weights is undone at the end."""
    with _restored(places(roots)):
        yield


@contextmanager
def _restored(found: list[Place]) -> Iterator[None]:
    """The numbers of these places, and the objects in them, become again what they were."""
    undo: list[Callable[[], Any]] = []
    for value, put in found:
        if _is_tensor(value):
            undo.append(partial(value.data.copy_, value.data.clone()))
        elif (owner := _owner(_plain(value))).flags.writeable:
            undo.append(partial(np.copyto, owner, owner.copy()))
        if put is not None:
            undo.append(partial(put, value))
    try:
        yield
    finally:
        for step in undo:
            step()


def _owner(array: Array) -> Array:
    """The array whose memory this is a view of."""
    while isinstance(array.base, np.ndarray) and array.base.dtype == array.dtype:
        array = array.base
    return array


@contextmanager
def with_precision(roots: tuple[Any, ...], dtype: Any) -> Iterator[None]:
    """All weights, and other arrays of floats, in `dtype`."""
    undo: list[Callable[[], Any]] = []
    try:
        for value, put in places(roots):
            if _is_tensor(value):
                torch = sys.modules["torch"]
                undo.append(partial(setattr, value, "data", value.data))
                value.data = value.data.to(getattr(torch, np.dtype(dtype).name))
            elif put is not None:
                undo.append(partial(put, value))
                put(_cast(value, dtype))
        yield
    finally:
        for step in reversed(undo):
            step()


def _cast(value: Any, dtype: Any) -> Any:
    if not isinstance(value, Parameters):
        return value.astype(dtype)
    twin = Parameters(value.shapes, dtype)
    twin.flat[...] = value.flat
    return twin
