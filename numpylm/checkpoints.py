"""Files that are whole or unchanged: safetensors, with one JSON text in the header."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import Array
from .errors import InputError


def save_checkpoint(path: Path, tensors: Mapping[str, Array], about: Mapping[str, Any]) -> None:
    """Write tensors and a JSON description so that `path` is always whole.

    A temporary file beside it is written, flushed to the disk, and renamed over `path`: a kill at
    any moment leaves the old checkpoint or the new one. Raises OSError if that cannot be done.
    """
    from safetensors.numpy import save

    header = {"numpylm": json.dumps(about)}  # one key: several would be written in random order
    write_whole(path, save({k: np.asarray(t, order="C") for k, t in tensors.items()}, header))


def write_whole(path: Path, data: bytes) -> None:
    """Replace the content of `path` in one step, or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def load_checkpoint(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """The tensors and the description written by save_checkpoint; InputError for anything else."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise InputError(f"no checkpoint at {path}: train a model first, or check the path")
    try:
        with safe_open(path, framework="np") as file:
            about = json.loads((file.metadata() or {}).get("numpylm", "null"))
            names = file.keys() if isinstance(about, dict) else ()
            tensors = {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError, ValueError) as error:
        raise InputError(
            f"{path} is not a whole safetensors file ({error}): it is truncated or of another kind"
        ) from error
    if not isinstance(about, dict):
        raise InputError(f"{path} was not written by numpylm: its header has no description")
    return tensors, about


# ---- the state of whatever has one -----------------------------------------------------------

ARRAY, SCALAR = "__array__", "__scalar__"


def pack(state: Any, name: str, tensors: dict[str, Array]) -> Any:
    """A tree ready for JSON; its arrays go into `tensors` under names that begin with `name`.

    state: dicts with texts as keys, lists and tuples, arrays, numbers, texts and None. Raises
    InputError for anything else, naming where it stands.
    """
    if isinstance(state, Mapping):
        if foreign := [key for key in state if not isinstance(key, str)]:
            raise InputError(f"the keys of {name} must be texts, not {foreign[0]!r}")
        return {key: pack(part, f"{name}.{key}", tensors) for key, part in state.items()}
    if isinstance(state, list | tuple):
        return [pack(part, f"{name}.{n}", tensors) for n, part in enumerate(state)]
    if isinstance(state, np.ndarray | np.generic) and state.dtype.kind in "biuf":
        while name in tensors:
            name += "'"
        tensors[name] = np.array(state)
        return {SCALAR if isinstance(state, np.generic) else ARRAY: name}
    if state is None or isinstance(state, bool | int | float | str):
        return state
    raise InputError(
        f"{name} is of type {type(state).__name__}, which a checkpoint cannot hold: give arrays, "
        "numbers, texts, and dicts or lists of them"
    )


def unpack(state: Any, tensors: Mapping[str, Array]) -> Any:
    """The tree that `pack` was given, with lists for tuples. KeyError for an array that is lost."""
    if isinstance(state, list):
        return [unpack(part, tensors) for part in state]
    if not isinstance(state, dict):
        return state
    if set(state) == {ARRAY}:
        return tensors[state[ARRAY]]
    if set(state) == {SCALAR}:
        return tensors[state[SCALAR]][()]
    return {key: unpack(part, tensors) for key, part in state.items()}
