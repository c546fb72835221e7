"""Files that are whole or unchanged: safetensors, with one JSON text in the header."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError
from .ops import Array


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
