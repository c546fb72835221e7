"""What a checkpoint of a run holds: a model by the name of its class, a tokenizer, and a state."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .arrays import Array
from .attention_lm import AttentionLM
from .bert import BERT, BERTForMaskedLM
from .bert_heads import BERTForClass, BERTForSpan
from .checkpoints import load_checkpoint, unpack
from .config import MOST
from .errors import InputError
from .gpt import GPT
from .llama import Llama
from .model import Model, first_non_finite
from .tokenizers import TOKENIZERS, Tokenizer, tokenizer_from_dict
from .transformer import Transformer

MODELS: dict[str, type[Model]] = {  # what a checkpoint may name; others are given by the caller
    kind.__name__: kind
    for kind in (
        AttentionLM,
        GPT,
        Llama,
        BERT,
        BERTForMaskedLM,
        BERTForClass,
        BERTForSpan,
        Transformer,
    )
}
FIRST_NAMES = {"attention": "AttentionLM", "gpt": "GPT"}  # in checkpoints of format 1
PARTS = ("optimizer", "batches")  # what says its state itself: Training.parts
BROKEN = (
    KeyError,
    IndexError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    RecursionError,
)
MARGIN = 10**6  # parameters that may be made in vain, to say which one a file lacks
FORMAT = 3  # of the description in a checkpoint; raised when it would be misread


class Trained(NamedTuple):
    """What a checkpoint holds. tokenizer: None where the library does not know it."""

    model: Any
    tokenizer: Tokenizer | None
    state: dict[str, Any]
    about: dict[str, Any]


def load_trained(path: Path | str, model: Any = None) -> Trained:
    """The model and tokenizer of a run: `path` is its folder or its checkpoint.

    model: the class of the model, or a model of the same sizes to load into, where it is not one of
    the library's. Nothing is imported because a file names it.
    Raises InputError where there is none, or where it is truncated, foreign or inconsistent.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "checkpoint.safetensors"
    tensors, about = load_checkpoint(path)
    try:
        return _trained(tensors, about, model)
    except BROKEN as error:
        reason = f"it lacks or does not know {error}" if isinstance(error, KeyError) else error
        raise InputError(f"{path} cannot be used: {reason}") from error


def _trained(tensors: Mapping[str, Array], about: dict[str, Any], given: Any) -> Trained:
    about = _present_format(about)
    parts: dict[str, dict[str, Any]] = {"params": {}, "optimizer": {}, "batches": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part if part != "moments" else "optimizer"][rest] = tensor
    if lacking := {"train", "corpus", "corpus_digest", "step", "rng", "tokenizer"} - set(about):
        raise InputError(f"its description lacks {', '.join(sorted(lacking))}")
    if type(about["step"]) is not int or not 0 <= about["step"] <= MOST:
        raise InputError(f"its step is {about['step']!r}, which is no count")
    model = _model(about, parts["params"], given)
    tokenizer = about["tokenizer"]
    if tokenizer is not None:
        tokenizer = tokenizer_from_dict(tokenizer) if tokenizer.get("kind") in TOKENIZERS else None
    if tokenizer is not None and tokenizer.vocab_size > model.config.vocab_size:
        raise InputError(
            f"its tokenizer has {tokenizer.vocab_size} symbols, its model {model.config.vocab_size}"
        )
    if about["format"] == 1:
        state = {"optimizer": {"steps": about["step"], **parts["optimizer"]}}
    else:
        state = {part: unpack(about[part], tensors) for part in PARTS if part in about}
    return Trained(model, tokenizer, state, about)


def _present_format(about: dict[str, Any]) -> dict[str, Any]:
    """The description as it would be written today."""
    if about["format"] not in (1, 2, FORMAT):
        raise InputError(f"its format is {about['format']}, this numpylm reads 1 to {FORMAT}")
    if about["format"] == 1:
        about = about | {"model": FIRST_NAMES[about["model"]]}
    return about


def _model(about: Mapping[str, Any], params: Mapping[str, Array], given: Any) -> Any:
    """The model of a description: `given` is a class, a model to load into, or None."""
    name = about["model"]
    known = MODELS.get(name) if "model" not in about.get("own", ()) else None
    kind: Any = known if given is None else given if isinstance(given, type) else type(given)
    if kind is None:
        raise InputError(
            f"it does not know {name!r}: give its class, load_trained(path, model=...) or "
            "Run.resume(folder, model=...)"
        )
    if name != kind.__name__:
        raise InputError(f"its model is a {name}, not a {kind.__name__}: give that class")
    model = given
    if given is None or isinstance(given, type):
        dtype = next(iter(params.values())).dtype if params else np.dtype(np.float32)
        if dtype not in (np.float32, np.float64):
            raise InputError(f"its parameters are {dtype}, which is neither float32 nor float64")
        config = kind.Config.from_dict(about["model_config"])
        if hasattr(kind, "shapes"):  # before anything is built of the numbers in a file
            wanted = sum(map(math.prod, kind.shapes(config).values()))
            found = sum(tensor.size for tensor in params.values())
            if wanted > 2 * found + MARGIN:  # what differs by less is named below
                raise InputError(f"its sizes ask for {wanted:,} parameters, and it has {found:,}")
        model = kind(config, np.random.default_rng(0), dtype)
    model.params.load(params)
    if bad := first_non_finite(model.params):
        raise InputError(f"its parameter {bad.name}{list(bad.where)} is {bad.value}")
    return model
