"""Checkpoints: safetensors, with one JSON text in the header, and a checksum of all of it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import Array
from .errors import InputError
from .files import regular, write_whole

OURS, CHECKSUM = "numpylm", "checksum"
BFLOAT16 = "BF16"  # the upper half of a float32
KINDS = (
    "F64",
    "F32",
    "F16",
    BFLOAT16,
    "I64",
    "I32",
    "I16",
    "I8",
    "U64",
    "U32",
    "U16",
    "U8",
    "BOOL",
)


def save_checkpoint(path: Path, tensors: Mapping[str, Array], about: Mapping[str, Any]) -> None:
    """Write tensors and a JSON description so that `path` is always whole: see write_whole.

    Raises OSError if that cannot be done.
    """
    from safetensors.numpy import save

    arrays = {k: np.asarray(t, order="C") for k, t in tensors.items()}
    about = {**about, CHECKSUM: checksum(arrays, json.dumps(about))}
    header = {OURS: json.dumps(about)}  # one key: several would be written in random order
    write_whole(path, save(arrays, header))


def checksum(tensors: Mapping[str, Array], about: str) -> str:
    """SHA-256 of a description and of the name, shape, dtype and bytes of every tensor."""
    digest = hashlib.sha256(about.encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name} {array.shape} {array.dtype.str}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def load_checkpoint(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """The tensors and the description written by save_checkpoint; InputError for anything else.

    Checkpoints of format 1 and 2 may lack the checksum; where there is one it must be right.
    """
    try:
        regular(path)
    except InputError as error:
        if path.exists() and not path.is_dir():
            raise
        raise InputError(
            f"no checkpoint at {path}: train a model first, or check the path"
        ) from error
    tensors, header = read_tensors(path, OURS)
    text = header[OURS]
    try:
        about = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"the description in {path} is no JSON ({error}): it is truncated or of another kind"
        ) from error
    if not isinstance(about, dict):
        raise InputError(f"{path} was not written by numpylm: its header has no description")
    found = about.pop(CHECKSUM, None)
    if found is None and about.get("format") in (None, 1, 2):
        return tensors, about
    whole = json.dumps(about | {CHECKSUM: found}) == text
    if not whole or found != checksum(tensors, json.dumps(about)):
        raise InputError(f"{path} is damaged: its checksum does not fit; take a copy of it")
    return tensors, about


def read_tensors(path: Path, key: str = "") -> tuple[dict[str, Array], dict[str, str]]:
    """Every tensor of a safetensors file by name, and the texts in its header.

    Those of bfloat16, which NumPy lacks, become the float32 that they stand for.
    Raises InputError for what is no whole file of that kind, and for kinds NumPy lacks.
    """
    from safetensors import SafetensorError, safe_open

    regular(path)
    try:
        with safe_open(path, framework="np") as file:
            header = file.metadata() or {}
            if key and key not in header:
                raise InputError(
                    f"{path} was not written by numpylm: its header has no description"
                )
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
            for name, kind in kinds.items():
                if kind not in KINDS:
                    raise InputError(
                        f"{path} cannot be used: tensor {name} is {kind}; save it in float32 "
                        "(F32) first"
                    )
            halves = _halves(path, [name for name, kind in kinds.items() if kind == BFLOAT16])
            return {n: halves[n] if n in halves else file.get_tensor(n) for n in kinds}, header
    except (OSError, SafetensorError, TypeError, OverflowError) as error:
        raise InputError(
            f"{path} is not a whole safetensors file ({error}): it is truncated or of another kind"
        ) from error


def _halves(path: Path, names: Sequence[str]) -> dict[str, Array]:
    """Tensors of bfloat16 as float32: their 16 bits above 16 that are 0.

    The file is the length of a header (8 bytes), the header in JSON, and the bytes of the tensors.
    """
    tensors = {}
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length)) if names else {}
        for name in names:
            start, stop = header[name]["data_offsets"]
            file.seek(8 + length + start)
            bits = np.frombuffer(file.read(stop - start), "<u2").astype(np.uint32)
            tensors[name] = (bits << 16).view(np.float32).reshape(header[name]["shape"])
    return tensors


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
