"""Sentences as directions: what BERT makes of each, to compare them by the cosine of the angle.

sentences --WordPiece--> ids, attend --BERT--> h (B, T, C) --mean over tokens--> u --/|u|--> e
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import Array
from .bert import BERT
from .errors import InputError

BATCH = 32  # sentences at a time, so that thousands of them need no more memory


def load_wordpiece(folder: Path | str) -> Any:
    """The tokenizer in tokenizer.json, as the library `tokenizers` reads it; it neither pads nor
    cuts. encode(text).ids are those of [CLS], the pieces of the text, and [SEP].

    WordPiece cuts a word into the longest pieces of its vocabulary, from the left.
    Source: Devlin et al. 2019, BERT, section 3; Wu et al. 2016, Google's Neural Machine
    Translation System, section 4.1. Raises InputError without the library, and without the file.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise InputError("WordPiece needs the library tokenizers: pip install tokenizers") from None
    path = Path(folder) / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises Exception itself
        raise InputError(f"{path} describes no tokenizer: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def sentence_embedding(model: BERT, tokenizer: Any, sentences: Sequence[str]) -> Array:
    """The direction of each sentence.   n sentences  ->  e (n, C), each of length 1

        u = 1/T Σ_t h_t     the mean over the T tokens of the sentence, [CLS] and [SEP] included
        e = u / |u|         so that e·e' is the cosine of the angle between two sentences

    h is what model.encode makes of the tokens; it is worth comparing where the model was trained
    for it. tokenizer: of load_wordpiece, with the vocabulary of the model.
    Source: Reimers and Gurevych 2019, Sentence-BERT, section 3, the strategy MEAN.
    Raises InputError for one string in place of a list, for none, and for a sentence that is longer
    than model.config.context_length tokens.
    """
    if isinstance(sentences, str) or not len(sentences):
        raise InputError(f"sentences must be a list of one or more strings, not {sentences!r}")
    texts = [tokenizer.encode(sentence).ids for sentence in sentences]
    longest, N = max(texts, key=len), model.config.context_length
    if len(longest) > N:
        raise InputError(
            f"sentence {texts.index(longest)} has {len(longest)} tokens, and the model reads {N}: "
            "shorten it, or embed its parts"
        )
    batches = [texts[i : i + BATCH] for i in range(0, len(texts), BATCH)]
    u = np.concatenate([_means(model, batch) for batch in batches])
    result: Array = u / np.sqrt((u * u).sum(axis=-1, keepdims=True))
    return result


def _means(model: BERT, texts: list[list[int]]) -> Array:
    """The mean of the encoded tokens of each text, with those of shorter texts padded.  (B, C)"""
    attend = np.arange(max(map(len, texts))) < np.array([[len(ids)] for ids in texts])
    ids = np.zeros(attend.shape, int)
    ids[attend] = np.concatenate(texts)
    h, _ = model.encode(ids, attend=attend)
    result: Array = h.mean(axis=1, where=attend[..., None])
    return result
