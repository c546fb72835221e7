"""A text, as the model of a run reads it."""

from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Array
from ..attention_lm import AttentionLM
from ..bert import BERTForMaskedLM
from ..errors import InputError
from ..gpt import GPT
from ..llama import Llama
from ..tokenizers import prompt_text
from ..trained import load_trained

READERS = (AttentionLM, GPT, Llama, BERTForMaskedLM)


def read_text(run: Path | str, text: str | None) -> tuple[Any, list[str], Array]:
    """The model of a run, the symbols of its vocabulary, and the ids (T,) of a text.

    Raises InputError for a model that reads more than one text or has no tokenizer, and for a text
    that is empty or longer than the model's context.
    """
    model, tokenizer, _, _ = load_trained(run)
    if tokenizer is None or not isinstance(model, READERS):
        kinds = ", ".join(kind.__name__ for kind in READERS)
        raise InputError(
            f"{run} holds a {type(model).__name__}; this takes a run of {kinds}, with a tokenizer "
            "of this library"
        )
    if not text:
        raise InputError(f"--text is missing: give a text to read, like {tokenizer.symbols[-1]!r}")
    ids = np.asarray(tokenizer.encode(prompt_text(tokenizer, text)))
    N = model.config.context_length
    if len(ids) > N:
        raise InputError(
            f"--text has {len(ids)} tokens, and the model sees {N}: give a shorter one"
        )
    return model, [*tokenizer.symbols], ids


def next_tokens(run: Path | str, text: str | None) -> tuple[Any, list[str], list[Array]]:
    """The same, with the text as a batch: what is read, and the token that follows each.

    BERT reads the whole text, and names its tokens.
    """
    model, words, ids = read_text(run, text)
    if isinstance(model, BERTForMaskedLM):
        return model, words, [ids, ids]
    if len(ids) < 2:
        raise InputError("--text has one token: a loss takes at least two, one read, one predicted")
    return model, words, [ids[:-1], ids[1:]]
