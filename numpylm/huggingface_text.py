"""The texts of Hugging Face's folders: their tokenizers, beside the models of huggingface.py.

tokenizer.json                   whole tokenizers, as the library `tokenizers` keeps them
vocab.json, merges.txt           the byte pairs of GPT-2, in older folders
tokenizer_config.json            special tokens; the template of a conversation, unless
chat_template.jinja              has it
generation_config.json           what ends a text, beside what config.json says
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .chat import PretrainedText
from .errors import InputError
from .files import read_file, read_json
from .gpt import GPT
from .huggingface import from_pretrained, model_described
from .llama import Llama
from .tokenizers import PretrainedTokenizer

PADDING = 1024  # a table of embeddings may be longer than the vocabulary, to have a round size
GPT_2_END = "<|endoftext|>"


def text_from_pretrained(
    folder: Path | str, before: Callable[[type, Any], None] | None = None
) -> PretrainedText:
    """The GPT or Llama in a folder of transformers, in float32, and its tokenizer.

    before: is told the kind of model and its config when all but the weights has been read.
    Raises InputError, with no model made, as from_pretrained does; and for a folder without a
    tokenizer, for one that is not made of byte pairs, or whose ids are not those of the model.
    """
    folder = Path(folder)
    kind, config = model_described(folder)
    if kind not in (GPT, Llama):
        raise InputError(f"{folder} holds a {kind.__name__}, which continues no text")
    about = read_json(folder / "config.json")
    try:
        tokenizer = _tokenizer(folder, kind)
        ends = _end_ids(folder, about)
        _require_its_own(tokenizer, config, ends)
        begins, after = tokenizer.around()
        if after:
            raise InputError("its tokenizer puts ids behind every text, so that none can go on")
    except InputError as error:
        raise InputError(f"{folder} cannot be used: {error}") from error
    options = _optional(folder / "tokenizer_config.json")
    if before:
        before(kind, config)
    return PretrainedText(
        from_pretrained(folder).model,
        tokenizer,
        ends,
        _template(folder, options),
        tuple(begins),
        _names(options),
    )


def _tokenizer(folder: Path, kind: type) -> PretrainedTokenizer:
    """The tokenizer of a folder, which neither pads nor cuts here."""
    path = folder / "tokenizer.json"
    if path.exists():
        description = read_json(path)
        if isinstance(description, dict):
            description |= {"padding": None, "truncation": None}
        return PretrainedTokenizer(json.dumps(description))
    parts = folder / "vocab.json", folder / "merges.txt"
    if kind is GPT and all(part.exists() for part in parts):
        return _of_gpt_2(*parts)
    hint = " (tokenizer.model is of SentencePiece)" if (folder / "tokenizer.model").exists() else ""
    raise InputError(
        f"it has no tokenizer.json{hint}: save its tokenizer there with transformers, "
        "AutoTokenizer.from_pretrained(…).save_pretrained(folder)"
    )


def _of_gpt_2(vocab: Path, merges: Path) -> PretrainedTokenizer:
    """GPT-2 as in its first files: what no text is cut into is <|endoftext|> alone."""
    ids = read_json(vocab)
    lines = read_file(merges).decode("utf-8", "replace").split("\n")
    bytewise = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    end = {"id": ids.get(GPT_2_END), "content": GPT_2_END, "special": True, "normalized": False}
    end |= {"single_word": False, "lstrip": False, "rstrip": False}
    return PretrainedTokenizer(
        json.dumps(
            {
                "version": "1.0",
                "added_tokens": [end] if GPT_2_END in ids else [],
                "pre_tokenizer": bytewise | {"use_regex": True},
                "decoder": bytewise | {"use_regex": True},
                "model": {
                    "type": "BPE",
                    "vocab": ids,
                    "merges": [line for line in lines if line and not line.startswith("#version")],
                },
            }
        )
    )


def _end_ids(folder: Path, about: dict[str, Any]) -> tuple[int, ...]:
    """Every id that ends a text."""
    ends: set[int] = set()
    for place in (about, _optional(folder / "generation_config.json")):
        found = place.get("eos_token_id")
        found = found if isinstance(found, list) else [] if found is None else [found]
        if not all(type(i) is int for i in found):
            raise InputError(f"eos_token_id must be an id or a list of them, not {found}")
        ends |= {*found}
    return tuple(sorted(ends))


def _require_its_own(tokenizer: PretrainedTokenizer, config: Any, ends: tuple[int, ...]) -> None:
    """InputError for a tokenizer that cannot be the one that the model was trained with."""
    V, special = tokenizer.vocab_size, tokenizer.special()
    if not 0 <= config.vocab_size - V < PADDING:
        raise InputError(
            f"its tokenizer has {V} symbols and its model {config.vocab_size}: it is of another one"
        )
    for end in ends:
        if not 0 <= end < V or (special and end not in special):
            raise InputError(
                f"eos_token_id is {end}, which is no special token of its tokenizer: it is of "
                "another model"
            )


def _template(folder: Path, options: dict[str, Any]) -> str:
    """The template of a conversation; of several, the one called default."""
    path = folder / "chat_template.jinja"
    if path.exists():
        return read_file(path).decode("utf-8", "replace")
    found = options.get("chat_template") or ""
    if isinstance(found, list):
        named = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
        found = named.get("default") or ""
    return found if isinstance(found, str) else ""


def _names(options: dict[str, Any]) -> dict[str, str]:
    """bos_token and the like, each a text or a description of one."""
    names = {}
    for name in ("bos_token", "eos_token", "unk_token", "pad_token"):
        value = options.get(name)
        value = value.get("content") if isinstance(value, dict) else value
        if isinstance(value, str):
            names[name] = value
    return names


def _optional(path: Path) -> dict[str, Any]:
    """The fields of a JSON file that may be absent."""
    found = read_json(path) if path.exists() else {}
    return found if isinstance(found, dict) else {}
