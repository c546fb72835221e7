"""Models in GGUF, the one-file format of llama.cpp: weights in few bits, and their tokenizer.

    general.architecture, llama.*     the sizes           -> LlamaConfig
    tokenizer.ggml.*                  pieces and merges   -> PretrainedTokenizer
    token_embd.weight, blk.0.*, …     the tensors         -> params

The package `gguf` reads the file and knows what its bits stand for; it is an extra.
"""

import importlib.util
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import Array
from .chat import PretrainedText
from .errors import InputError
from .llama import Llama, LlamaConfig
from .llama_blocks import interleaving
from .model import Parameters, first_non_finite
from .tokenizers import PretrainedTokenizer

NAMES = {  # parameter here -> tensors there, side by side
    "E": ["token_embd"],
    "block{i}.norm1.gain": ["blk.{i}.attn_norm"],
    "block{i}.attention.w_qkv": ["blk.{i}.attn_q", "blk.{i}.attn_k", "blk.{i}.attn_v"],
    "block{i}.attention.w_out": ["blk.{i}.attn_output"],
    "block{i}.norm2.gain": ["blk.{i}.ffn_norm"],
    "block{i}.feed_forward.w_in": ["blk.{i}.ffn_gate", "blk.{i}.ffn_up"],
    "block{i}.feed_forward.w_out": ["blk.{i}.ffn_down"],
    "norm.gain": ["output_norm"],
    "U": ["output"],
}
FIELDS = {  # option here -> field there
    "context_length": "llama.context_length",
    "layers": "llama.block_count",
    "heads": "llama.attention.head_count",
    "width": "llama.embedding_length",
    "hidden": "llama.feed_forward_length",
    "eps": "llama.attention.layer_norm_rms_epsilon",
}
DIGITS_ALONE = ("smollm",)  # how tokenizer.ggml.pre says that every digit is a piece of its own
LIKE_GPT_2 = ("gpt-2", "gpt2", "default")


TOKENS, CHAT = "tokenizer.ggml.tokens", "tokenizer.chat_template"
LIST = 9  # how the file says that a field is one
AT_ONCE = 64  # rows that are one for the package, which takes 16 of them at a time
STRIP = 32  # rows
CONTROL = 3  # the type of a token that no text is cut into, like <|im_end|>


def from_gguf(
    path: Path | str, context_length: int = 0, before: Callable[[type, Any], None] | None = None
) -> PretrainedText:
    """The Llama in a GGUF file, in float32, and its tokenizer.

    context_length: the longest text, if not that of the file: the caches grow with it.
    before: is told the kind of model and its config when all but the weights has been read.
    Queries and keys are stored for interleaved pairs and turned to halves (F28).
    Raises InputError, with no model made, for a file that is absent, cut short or foreign, another
    architecture, what Llama here does not compute, a tokenizer other than byte pairs, a missing,
    unknown or wrongly shaped tensor, one whose bits the package does not know, and numbers that
    are not finite.
    """
    reader = _opened(Path(path))
    try:
        tensors = {tensor.name.removesuffix(".weight"): tensor for tensor in reader.tensors}
        config = _config(reader, "output" not in tensors, context_length)
        tokenizer = _tokenizer(reader)
        if tokenizer.vocab_size != config.vocab_size:
            raise InputError(
                f"its tokenizer has {tokenizer.vocab_size} pieces, its model {config.vocab_size}"
            )
        special = _special(reader, tokenizer)
        if before:
            before(Llama, config)
        return PretrainedText(_filled(config, tensors), tokenizer, **special)
    except InputError as error:
        raise InputError(f"{path} cannot be used: {error}") from error


def _special(reader: Any, tokenizer: PretrainedTokenizer) -> dict[str, Any]:
    """What begins and ends a text, and a conversation."""
    ids = {name: _field(reader, f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos")}
    given = {name: (i,) for name, i in ids.items() if i is not None}
    begins = _field(reader, "tokenizer.ggml.add_bos_token")
    return {
        "end_ids": given.get("eos", ()),
        "begin_ids": given.get("bos", ()) if begins else (),
        "chat": _field(reader, CHAT) or "",
        "names": {f"{name}_token": tokenizer.decode(i) for name, i in given.items()},
    }


def _opened(path: Path) -> Any:
    """The package's reader of the file, which maps it and reads no tensor yet."""
    if not path.is_file():
        raise InputError(f"there is no file {path}: check the path")
    if importlib.util.find_spec("gguf") is None:
        raise InputError("GGUF needs the package gguf: pip install gguf")
    from gguf import GGUFReader

    class Reader(GGUFReader):
        """Quicker with 100,000 pieces: its map of the file is a plain array, and a list is read in
        one go."""

        @property
        def data(self) -> Any:
            return self._mapped

        @data.setter
        def data(self, mapped: Any) -> None:
            self._mapped = mapped.view(np.ndarray)

        def _get_field_parts(self, orig_offs: int, raw_type: int) -> Any:
            if raw_type == LIST and sys.byteorder == "little" and self.byte_order == "I":
                return _list_parts(self.data, orig_offs, self.gguf_scalar_to_np)
            return super()._get_field_parts(orig_offs, raw_type)

    try:
        return Reader(path)
    except (OSError, ValueError, IndexError, KeyError, OverflowError, MemoryError) as error:
        raise InputError(
            f"{path} is not a whole GGUF file ({error}): it is cut short or of another kind"
        ) from error


def _list_parts(data: Array, start: int, scalars: Mapping[Any, Any]) -> tuple[Any, ...]:
    """A list in the file: its bytes, its parts, which of these hold items, and its types.

    4 bytes type, 8 bytes count, then the items; a text is 8 bytes length and its bytes
    """
    from gguf import GGUFValueType

    raw = data.data
    kind = GGUFValueType(int.from_bytes(raw[start : start + 4], "little"))
    count = int.from_bytes(raw[start + 4 : start + 12], "little")
    at, parts = start + 12, [data[start : start + 4], data[start + 4 : start + 12]]
    types = [GGUFValueType.ARRAY, kind]
    if kind in scalars:
        stop = at + count * np.dtype(scalars[kind]).itemsize
        parts.append(data[at:stop].view(scalars[kind])[:count])
        return stop - start, parts, [2], types
    if kind != GGUFValueType.STRING:
        raise ValueError(f"a list of {kind.name}")
    for _ in range(count):
        stop = at + 8 + int.from_bytes(raw[at : at + 8], "little")
        if stop > len(raw):
            raise ValueError("a text goes beyond the end")
        parts.append(data[at + 8 : stop])
        at = stop
    return at - start, parts, range(2, len(parts)), types


def _field(reader: Any, name: str, needed: bool = False) -> Any:
    """What the file says of `name`; None, or with `needed` an InputError, if it says nothing."""
    if name in reader.fields:
        return reader.fields[name].contents()
    if needed:
        raise InputError(f"it lacks the field {name}")
    return None


def _config(reader: Any, tied: bool, context_length: int) -> LlamaConfig:
    """The sizes. Fields of llama.cpp that change what is computed must be absent or as here."""
    architecture = _field(reader, "general.architecture", needed=True)
    if architecture != "llama":
        raise InputError(f"general.architecture must be 'llama', not {architecture!r}")
    values = {ours: _field(reader, theirs, needed=True) for ours, theirs in FIELDS.items()}
    values["groups"] = _field(reader, "llama.attention.head_count_kv") or values["heads"]
    values["base"] = _field(reader, "llama.rope.freq_base") or 10000.0
    values["vocab_size"] = len(reader.fields[TOKENS].data) if TOKENS in reader.fields else 0
    if context_length:
        values["context_length"] = min(context_length, values["context_length"])
    config = LlamaConfig(tied=tied, **values)
    for name, wanted in {
        "llama.rope.dimension_count": config.head_width,
        "llama.attention.key_length": config.head_width,
        "llama.attention.value_length": config.head_width,
        "llama.rope.scaling.type": "none",
        "llama.expert_count": 0,
        "llama.attention.sliding_window": 0,
    }.items():
        if (found := _field(reader, name)) not in (None, wanted):
            raise InputError(f"{name} must be {wanted!r}, not {found!r}: no model here does it")
    return config


def _filled(config: LlamaConfig, tensors: Mapping[str, Any]) -> Llama:
    """The model with every tensor in its place, one after another, so that one copy exists."""
    model = Llama.blank(config, np.float32)
    places = {
        name.format(i=i): [part.format(i=i) for part in parts]
        for name, parts in NAMES.items()
        for i in range(config.layers if "{i}" in name else 1)
        if name.format(i=i) in model.params
    }
    known = {part for parts in places.values() for part in parts}
    if lacking := sorted(known - set(tensors)):
        raise InputError(f"it lacks the tensors {', '.join(lacking[:5])}")
    if foreign := sorted(set(tensors) - known):
        raise InputError(f"its tensors {', '.join(foreign[:5])} are unknown to this model")
    for name, parts in places.items():
        arrays = [_halves(config, part, _numbers(tensors[part])) for part in parts]
        if name.split(".")[-1].startswith("w"):
            _put_turned(model.params, name, arrays)
        else:
            model.params[name] = arrays[0]
    if bad := first_non_finite(model.params):
        raise InputError(f"its parameter {bad.name}{list(bad.where)} is {bad.value}")
    return model


def _put_turned(params: Parameters, name: str, arrays: Sequence[Array]) -> None:
    """Matrices (out, in) into a parameter (in, out), side by side.

    In strips, so that what is read and what is written both lie in the cache: a third of the time.
    """
    view = params[name]
    shape = arrays[0].shape[-1], sum(map(len, arrays))
    if shape != view.shape or any(array.shape[-1] != shape[0] for array in arrays):
        raise InputError(f"{name} has shape {view.shape}; it cannot take {shape}")
    at = 0
    for array in arrays:
        for strip in np.split(array, range(STRIP, len(array), STRIP)):
            view[:, at : at + len(strip)] = strip.T
            at += len(strip)


def _numbers(tensor: Any) -> Array:
    """The tensor in float32, out of however few bits."""
    from gguf import dequantize

    try:
        data = tensor.data
        rows = math.gcd(len(data), AT_ONCE) if data.ndim == 2 else 1
        many = dequantize(data.reshape(len(data) // rows, -1), tensor.tensor_type)
        result: Array = many.reshape(len(data), -1) if data.ndim == 2 else many.reshape(-1)
        return result
    except (NotImplementedError, KeyError, ValueError) as error:
        kind = getattr(tensor.tensor_type, "name", tensor.tensor_type)
        raise InputError(
            f"tensor {tensor.name} is {kind}, which cannot be read: {error}"
        ) from error


def _halves(config: LlamaConfig, part: str, array: Array) -> Array:
    """Queries and keys (out, in) with the two of a pair D/2 apart, as F28 turns them here."""
    if not part.endswith(("attn_q", "attn_k")):
        return array
    D = config.head_width
    apart = np.argsort(interleaving(D))
    return array.reshape(-1, D, array.shape[-1])[:, apart].reshape(array.shape)


def _tokenizer(reader: Any) -> PretrainedTokenizer:
    """The byte pairs of the file, as the description that the library `tokenizers` keeps."""
    kind, cut = _field(reader, "tokenizer.ggml.model"), _field(reader, "tokenizer.ggml.pre")
    if kind != "gpt2" or cut not in (*DIGITS_ALONE, *LIKE_GPT_2, None):
        raise InputError(
            f"its tokenizer is {kind!r} cut like {cut!r}: only byte pairs are read here"
        )
    pieces, merges = _field(reader, TOKENS, True), _field(reader, "tokenizer.ggml.merges", True)
    kinds = _field(reader, "tokenizer.ggml.token_type") or [1] * len(pieces)
    bytewise = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    bytewise["use_regex"] = True
    digits = [{"type": "Digits", "individual_digits": True}] if cut in DIGITS_ALONE else []
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    description = {
        "version": "1.0",
        "added_tokens": [
            {"id": i, "content": piece, "special": True, **special}
            for i, (piece, kind) in enumerate(zip(pieces, kinds, strict=True))
            if kind == CONTROL
        ],
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*digits, bytewise]},
        "decoder": bytewise,
        "model": {
            "type": "BPE",
            "vocab": {piece: i for i, piece in enumerate(pieces)},
            "merges": merges,
        },
    }
    return PretrainedTokenizer(json.dumps(description))
