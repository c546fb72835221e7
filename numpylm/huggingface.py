"""Folders that Hugging Face's library transformers reads and writes, for GPT, BERT and Llama.

    config.json          the architecture, its sizes, and how it computes
    model.safetensors    the tensors, by the names that transformers gives them

A reader who outgrows numpylm trains here, calls save_pretrained(model, folder), and opens the
folder with the class of transformers that its config.json names, for a GPT with
GPT2LMHeadModel.from_pretrained(folder). The same ids give the same logits there, and training goes
on with PyTorch: on a GPU, on more text, with the tools of that library. The way back is
from_pretrained(folder). Ids travel, not the vocabulary that gave them; of a byte-pair tokenizer,
to_dict()["description"] is the text of a tokenizer.json.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .arrays import Array, DTypeLike
from .bert import BERT
from .bert_heads import BERTForClass
from .blocks import Shapes
from .checkpoints import read_tensors
from .errors import InputError
from .files import read_json, write_whole
from .gpt import GPT
from .huggingface_layouts import (
    LAYOUTS,
    NOWHERE,
    OLD_ENDINGS,
    TIED,
    Layout,
    llama_fields,
    places_of,
    shapes_of,
    turned,
    widths_of,
)
from .llama import Llama
from .model import Model, first_non_finite

# ---- reading ---------------------------------------------------------------------------------


class Pretrained(NamedTuple):
    """A model, and the names of the tensors in its file that it has no use for."""

    model: Any
    unused: list[str]


def from_pretrained(folder: Path | str, dtype: DTypeLike | None = None) -> Pretrained:
    """The model in a folder of transformers: GPT, Llama, BERT, or BERT with one of its heads.

    Every tensor of the file is taken once, is a copy that equals its original, or is named in
    `unused`; every parameter is filled. Weights of BERT and Llama are turned from (out, in) to
    (in, out), and those of q, k and v put side by side. dtype: that of the file, or float32 if it
    has less.

    dropout, on which training alone depends, is that of the residual path. That of the attention
    weights is passed over, because no model here drops them.

    Raises InputError, with no model made: for a file that is absent, cut short or foreign; for an
    architecture or a field of config.json that the models here do not compute; and for tensors
    that are missing, unknown, there twice, or of another shape or kind.
    """
    folder = Path(folder)
    layout, config = _understand(folder / "config.json")
    path = _tensor_file(folder)
    tensors, _ = read_tensors(path)
    if bad := first_non_finite(tensors):
        raise InputError(f"{path} cannot be used: {bad.name}{list(bad.where)} is {bad.value}")
    try:
        arrays, unused = _arrange(tensors, layout, config)
    except InputError as error:
        raise InputError(f"{path} cannot be used: {error}") from error
    if dtype is None:
        dtype = np.result_type(np.float32, *{array.dtype for array in arrays.values()})
    model = layout.kind.blank(config, dtype)
    model.params.load(arrays)
    return Pretrained(model, unused)


def model_described(folder: Path | str) -> tuple[type[Model], Any]:
    """The kind of model that config.json in a folder describes, and its config."""
    layout, config = _understand(Path(folder) / "config.json")
    return layout.kind, config


def _understand(path: Path) -> tuple[Layout, Any]:
    """The layout and the config of the model that config.json describes."""
    about = read_json(path)
    names = about.get("architectures") if isinstance(about, dict) else None
    layout = next((layout for name, layout in LAYOUTS.items() if names == [name]), None)
    if layout is None:
        raise InputError(
            f"{path}: architectures must be one of {', '.join(LAYOUTS)}, in a list, not {names}"
        )
    if layout.kind is Llama:
        about = llama_fields(about)
    if lacking := [field for field in layout.fields.values() if field not in about]:
        raise InputError(f"{path} lacks {', '.join(lacking)}")
    values = {ours: about[theirs] for ours, theirs in layout.fields.items()}
    if layout.kind is BERTForClass:
        labels = about.get("id2label", {"0": "LABEL_0", "1": "LABEL_1"})
        if not isinstance(labels, dict):
            raise InputError(f"{path}: id2label must name each class, not be {labels!r}")
        values["classes"] = len(labels)
    try:
        config = layout.kind.Config(**values)
    except InputError as error:
        fields = layout.fields | {"classes": "id2label"}
        meant = [f"{theirs} is {ours}" for ours, theirs in fields.items() if ours in str(error)]
        raise InputError(f"{path}: {error} ({', '.join(meant)} here)") from error
    for field, allowed in (layout.fixed(config) | NOWHERE).items():
        if (value := about.get(field, allowed[0])) not in allowed:
            may = " or ".join(map(repr, allowed))
            raise InputError(f"{path}: {field} must be {may}, not {value!r}: no model here does it")
    return layout, config


def _tensor_file(folder: Path) -> Path:
    path = folder / "model.safetensors"
    if path.is_file():
        return path
    if (folder / "model.safetensors.index.json").exists():
        raise InputError(
            f"{folder} holds its tensors in several files, which are not read here: save it as "
            'one with save_pretrained(…, max_shard_size="100GB") of transformers'
        )
    if (folder / "pytorch_model.bin").exists():
        raise InputError(
            f"{folder} holds pytorch_model.bin, a pickle: reading one can run code that hides in "
            "it, so it is not read here. Save it as model.safetensors with transformers"
        )
    raise InputError(f"{folder} has no model.safetensors: check the path")


def _arrange(
    tensors: Mapping[str, Array], layout: Layout, config: Any
) -> tuple[dict[str, Array], list[str]]:
    """Tensors by their names -> arrays by the names of the parameters, and the unused tensors."""
    places, due = places_of(layout, config), _shapes_there(layout, config)
    tied = {copy: of for copy, of in TIED if of in due and copy not in due}
    unused = {name.format(i=i) for name in layout.unused for i in range(config.layers)} - {*due}
    in_file = _names_in_file(tensors, layout.prefix, {*due, *tied, *unused})
    if missing := [name for name in due if name not in in_file]:
        raise InputError(f"it lacks the tensors {missing}")
    found = {name: tensors[own] for name, own in in_file.items()}
    for name, shape in due.items():
        if found[name].shape != shape or found[name].dtype.kind != "f":
            raise InputError(
                f"tensor {in_file[name]} has shape {found[name].shape} and is {found[name].dtype}; "
                f"by the sizes in config.json it must be {shape}, of floating point numbers"
            )
    for copy, of in tied.items():
        if copy in found and not np.array_equal(found[copy], found[of]):
            raise InputError(f"tensor {copy} is not equal to {of}: here the two are one parameter")

    def array(parameter: str) -> Array:
        parts = [found[name] for name in places[parameter]]
        return np.concatenate([x.T if turned(layout, parameter) else x for x in parts], axis=-1)

    return {p: array(p) for p in places}, sorted(in_file[name] for name in unused & {*found})


def _shapes_there(layout: Layout, config: Any) -> Shapes:
    """Tensor -> shape, in transformers."""
    places, there = places_of(layout, config), Shapes()
    for parameter, (*rest, size) in shapes_of(layout, config).items():
        widths = widths_of(layout, config, parameter, size)
        for name, width in zip(places[parameter], widths, strict=True):
            shape = (*rest, width)
            there[name] = shape[::-1] if turned(layout, parameter) else shape
    return there


def _names_in_file(names: Iterable[str], prefix: str, known: set[str]) -> dict[str, str]:
    """Name in the tables -> name in the file, which may lack the prefix or have an old ending."""
    found: dict[str, str] = {}
    unknown = []
    for own in names:
        name = own
        for old, new in OLD_ENDINGS.items():
            name = name.removesuffix(old) + new if name.endswith(old) else name
        name = name if name in known else prefix + name
        if name not in known:
            unknown.append(own)
        elif name in found:
            raise InputError(f"the tensors {found[name]} and {own} are the same one")
        else:
            found[name] = own
    if unknown:
        raise InputError(f"the tensors {unknown} are unknown to this model")
    return found


# ---- writing ---------------------------------------------------------------------------------


def save_pretrained(model: Model, folder: Path | str) -> None:
    """Write model.safetensors and config.json, for from_pretrained here and in transformers.

    A bias that a GPT was made without is written as 0, because GPT-2 always has it. A bare BERT has
    no pooler: open it with BertModel.from_pretrained(folder, add_pooling_layer=False).
    Raises InputError for other models, a folder that cannot be written, or that of a training run.
    """
    from safetensors.numpy import save

    folder = Path(folder)
    name = next((name for name, layout in LAYOUTS.items() if layout.kind is type(model)), None)
    if name is None or model.params.flat.dtype.kind != "f":
        raise InputError(
            f"{type(model).__name__} of {model.params.flat.dtype} cannot be saved for "
            "transformers: it must be a GPT, a Llama or a BERT, with or without a head, in float"
        )
    if (folder / "checkpoint.safetensors").exists():
        raise InputError(f"{folder} holds a training run, with a config.json: choose another one")
    tensors = _tensors_of(model, LAYOUTS[name])
    if type(model) is BERT:
        tensors = {tensor.removeprefix("bert."): array for tensor, array in tensors.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "model.safetensors", save(tensors, {"format": "pt"}))
        about = json.dumps(_describe(model, name), indent=2)
        write_whole(folder / "config.json", about.encode())
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}") from error


def _tensors_of(model: Model, layout: Layout) -> dict[str, Array]:
    """Name of tensor -> array, contiguous, with the prefix."""
    tensors, config = {}, model.config
    shapes, dtype = shapes_of(layout, config), model.params.flat.dtype
    for parameter, names in places_of(layout, config).items():
        whole = model.params.get(parameter, np.zeros(shapes[parameter], dtype))
        cuts = np.cumsum(widths_of(layout, config, parameter, whole.shape[-1]))[:-1]
        for name, part in zip(names, np.split(whole, cuts, axis=-1), strict=True):
            tensors[name] = np.asarray(part.T if turned(layout, parameter) else part, order="C")
    return tensors


def _describe(model: Model, name: str) -> dict[str, Any]:
    """config.json of the class `name` of transformers."""
    layout, config = LAYOUTS[name], model.config
    about: dict[str, Any] = {"architectures": [name], "model_type": layout.model_type}
    about |= {theirs: getattr(config, ours) for ours, theirs in layout.fields.items()}
    about |= {field: allowed[0] for field, allowed in layout.fixed(config).items()}
    about |= {token: None for token in ("bos_token_id", "eos_token_id", "pad_token_id")}
    about["dtype"] = str(model.params.flat.dtype)
    if layout.kind is GPT:
        return about | {"embd_pdrop": config.dropout, "attn_pdrop": 0.0}
    if layout.kind is Llama:
        rope = {"rope_theta": config.base, "rope_type": about.pop("rope_type")}
        about |= {"num_key_value_heads": config.key_heads, "rope_parameters": rope}
        return about | {"intermediate_size": config.hidden_width}
    about |= {"intermediate_size": config.hidden_width, "attention_probs_dropout_prob": 0.0}
    if layout.kind is BERTForClass:
        labels = [f"LABEL_{k}" for k in range(config.classes)]
        about["id2label"] = {str(k): label for k, label in enumerate(labels)}
        about["label2id"] = {label: k for k, label in enumerate(labels)}
    return about
