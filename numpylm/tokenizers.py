"""Text <-> ids.

A tokenizer is a vocabulary (id i stands for `symbols[i]`) and a way to cut text into symbols. Three
kinds: characters, which lose nothing; words, which forget white space except for newlines; and byte
pairs, between the two.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from operator import index
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from .arguments import as_ids
from .errors import InputError
from .unicode_text import clean_text, join_words, split_segmented, split_words

# What a description may ask for that would change a text, or make its ids random.
CHANGES = ("padding", "truncation", "dropout")
BYTES = 256  # the symbols to start from; each merge adds one
MAX_VOCAB = 1 << 24  # far above any language's words; E alone would have billions of numbers
# Byte pairs are learned from runs of at most 64 characters: learning takes a time that grows with
# the square of the longest run without a space, and Chinese has no spaces.
LONG_RUN = re.compile(r"\S{64}(?=\S)|\s{64}(?=\s)")


class Tokenizer:
    """Base of every tokenizer: `split` and `join` are what a kind of tokenizer must define.

    symbols: the vocabulary, in the order of the ids. unknown: the one of them that stands for
    whatever is in none of the others; None makes a text with a foreign symbol an error.

    For every sequence of ids, encode(decode(ids)) == ids.
    """

    kind: ClassVar[str]
    unknown_symbol: ClassVar[str]
    lossless: ClassVar[bool] = True  # decode gives every known character back, white space too

    def __init__(self, symbols: Iterable[str], unknown: str | None = None) -> None:
        if not isinstance(symbols, Iterable):
            raise InputError(f"symbols must be a list of strings, not {symbols!r}")
        self.symbols = tuple(symbols)
        self.unknown = unknown
        for symbol in self.symbols:
            if self.split(checked_text(symbol, "each symbol")) != [symbol]:
                raise InputError(f"{symbol!r} cannot be one symbol of a {type(self).__name__}")
        self._ids = {symbol: i for i, symbol in enumerate(self.symbols)}
        if len(self._ids) < len(self.symbols):
            twice = [symbol for symbol, n in Counter(self.symbols).items() if n > 1]
            raise InputError(f"symbols must differ, but these are given twice: {twice}")
        if unknown is not None and unknown not in self._ids:
            raise InputError(f"unknown must be one of the symbols; {unknown!r} is not")
        if len(self.symbols) - (unknown is not None) < 2:
            raise InputError(
                f"a vocabulary needs two symbols beside the unknown one, but has {self.symbols}: "
                "there is nothing to predict"
            )

    @classmethod
    def from_text(
        cls, text: str, max_vocab: int | None = None, unknown: bool = True, min_count: int = 1
    ) -> Self:
        """The vocabulary of a text: at most `max_vocab` symbols, the most frequent ones.

        Of two equally frequent symbols the alphabetically first goes first. With unknown=True
        the unknown symbol has id 0 and counts as one of `max_vocab`, and symbols that occur less
        often than min_count become the unknown one, so that a model learns what to think of it.
        Where fewer than two symbols occur so often, all are kept.
        """
        counts = Counter(cls.split(checked_text(text)))
        if not counts:
            raise InputError("text holds no symbols to build a vocabulary from")
        if unknown:
            del counts[cls.unknown_symbol]
        ranked = sorted(counts, key=lambda symbol: (-counts[symbol], symbol))
        frequent = [symbol for symbol in ranked if counts[symbol] >= min_count]
        if unknown and len(frequent) >= 2:
            ranked = frequent
        if max_vocab is not None:
            max_vocab = _checked_max_vocab(max_vocab, 2 + unknown)
            if len(ranked) > max_vocab and not unknown:
                raise InputError(
                    f"text has {len(ranked)} different symbols, more than max_vocab = {max_vocab}: "
                    "allow more, or an unknown symbol"
                )
            ranked = ranked[: max_vocab - unknown]
        if unknown:
            return cls([cls.unknown_symbol, *cls.arrange(ranked)], cls.unknown_symbol)
        return cls(cls.arrange(ranked))

    @staticmethod
    def split(text: str) -> list[str]:
        """The symbols of a text, in order; only white space may be lost."""
        raise NotImplementedError

    @staticmethod
    def join(symbols: Sequence[str]) -> str:
        """The text that `split` cuts into these symbols."""
        raise NotImplementedError

    @staticmethod
    def arrange(ranked: list[str]) -> list[str]:
        """The order of a vocabulary, given its symbols from the most to the least frequent."""
        return ranked

    @property
    def vocab_size(self) -> int:
        """V, the number of symbols, the unknown one included."""
        return len(self.symbols)

    def encode(self, text: str) -> np.ndarray:
        """text -> ids (n,), integers. A symbol that has no id is an InputError, or `unknown`."""
        pieces = self.split(checked_text(text))
        missing = -1 if self.unknown is None else self._ids[self.unknown]
        ids = np.array([self._ids.get(piece, missing) for piece in pieces], dtype=np.intp)
        if self.unknown is None and (ids < 0).any():
            n = int(np.argmax(ids < 0))
            some = ", ".join(map(repr, self.symbols[:: max(self.vocab_size // 4, 1)][:4]))
            raise InputError(
                f"text has {pieces[n]!r} {_place(text, pieces, n)}, which is not in the vocabulary "
                f"of {self.vocab_size} symbols ({some}, ...): remove it, or build the tokenizer "
                "from a text that has it (on the command line, train on one), or with an unknown "
                "symbol"
            )
        return ids

    def missing(self, text: str) -> list[str]:
        """The symbols of a text, in order, that have no id."""
        return [piece for piece in self.split(checked_text(text)) if piece not in self._ids]

    def unknown_share(self, ids: ArrayLike) -> float:
        """The share of ids, of any shape, that are the unknown one; 0 where there is none."""
        ids = as_ids("ids", ids)
        if self.unknown is None or not ids.size:
            return 0.0
        return float(np.mean(ids == self._ids[self.unknown]))

    def decode(self, ids: ArrayLike) -> str:
        """ids (n,) -> text. An id that is no integer in 0..V-1 is an InputError."""
        return self.join([self.symbols[i] for i in checked_ids(ids, self.vocab_size)])

    def to_dict(self) -> dict[str, Any]:
        """What `tokenizer_from_dict` needs, ready for JSON."""
        return {"kind": self.kind, "symbols": list(self.symbols), "unknown": self.unknown}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The tokenizer that `to_dict` described; anything else is an InputError."""
        if set(values) != {"kind", "symbols", "unknown"}:
            raise InputError(f"{cls.kind} are described by kind, symbols and unknown alone")
        symbols, unknown = values["symbols"], values["unknown"]
        if not isinstance(symbols, list | tuple):
            raise InputError(f"symbols must be a list of strings, not {type(symbols).__name__}")
        if not isinstance(unknown, str | None):
            raise InputError(f"unknown must be one of the symbols, or None, not {unknown!r}")
        return cls(symbols, unknown)


class CharTokenizer(Tokenizer):
    """One symbol for each Unicode character, in sorted order. U+FFFD (�) is the unknown.

    For a text of known characters decode(encode(text)) == text.
    """

    kind = "characters"
    unknown_symbol = "\ufffd"

    @staticmethod
    def split(text: str) -> list[str]:
        return list(text)

    @staticmethod
    def join(symbols: Sequence[str]) -> str:
        return "".join(symbols)

    @staticmethod
    def arrange(ranked: list[str]) -> list[str]:
        return sorted(ranked)


class WordTokenizer(Tokenizer):
    """Words, single marks of punctuation, and newlines. <unk> is the unknown.

    A word is a run of letters, digits and underscores, with apostrophes inside ("don't"); what a
    reader takes for one character (a letter with its marks, an emoji of several code points) stays
    whole. A letter of a script without spaces between words (Chinese, Japanese, Thai, Lao, Khmer,
    Burmese) is a word of its own. A newline is a symbol, for the line is part of verse and of code;
    other white space only separates.
    For a text of known words decode(encode(text)) == text up to white space.

    Outside ASCII the library `regex` finds the characters.
    """

    kind = "words"
    lossless = False
    unknown_symbol = "<unk>"

    @staticmethod
    def split(text: str) -> list[str]:
        return split_words(text)

    @staticmethod
    def join(symbols: Sequence[str]) -> str:
        return join_words(symbols)


class SegmentedWordTokenizer(WordTokenizer):
    """Words, also of Chinese, Japanese, Thai, Lao, Khmer and Burmese.

    The dictionaries of ICU cut them; the library `icu4py` has them, and is an extra. It is a kind
    of its own, for a model must be given the words that it was trained on. Decoded text has a space
    between two words of such a script.
    """

    kind = "segmented-words"

    @staticmethod
    def split(text: str) -> list[str]:
        return split_segmented(text)

    @staticmethod
    def join(symbols: Sequence[str]) -> str:
        return join_words(symbols, touching=False)


class BytePairTokenizer(Tokenizer):
    """Runs of bytes that occur often; the library `tokenizers` learns them, and is an extra.

    Every text can be written in them, so nothing is unknown, and decode(encode(text)) == text. The
    reverse need not hold: a text has many spellings in byte pairs, and encode finds one of them.
    `symbols` shows a space as Ġ, a newline as Ċ, and other bytes as GPT-2 does.

    Source: Sennrich, Haddow and Birch 2016, Neural Machine Translation of Rare Words with Subword
    Units; over bytes as in Radford et al. 2019, section 2.2.
    """

    kind = "byte-pairs"
    every_byte: ClassVar[bool] = True  # each of the 256 is a symbol
    refused: ClassVar[tuple[str, ...]] = (*CHANGES, "normalizer")

    def __init__(self, description: str) -> None:
        """description: the JSON text in which the library keeps a tokenizer."""
        library = _library()
        _check_description(description, self.refused)
        try:
            self._library = library.Tokenizer.from_str(description)
        except BaseException as error:  # Exception itself, and what Rust's panics become
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            raise InputError(f"this describes no byte-pair tokenizer: {error}") from error
        V = self._library.get_vocab_size()
        self.symbols = tuple(self._library.id_to_token(i) for i in range(V))
        self.unknown = None
        lacking = set(library.pre_tokenizers.ByteLevel.alphabet()) - set(self.symbols)
        if None in self.symbols or (lacking and self.every_byte):
            raise InputError(
                f"this describes no byte-pair tokenizer: {len(lacking)} of the {BYTES} bytes "
                f"and {self.symbols.count(None)} of the ids 0 to {V - 1} stand for nothing"
            )

    @classmethod
    def from_text(
        cls, text: str, max_vocab: int | None = None, unknown: bool = True, min_count: int = 2
    ) -> Self:
        """Learn merges from a text until there are max_vocab symbols, or until no pair occurs
        min_count times, which is at least twice. (Nothing is unknown, whatever `unknown` says.)
        """
        max_vocab = _checked_max_vocab(10_000 if max_vocab is None else max_vocab, BYTES)
        if not checked_text(text):
            raise InputError("text holds no symbols to build a vocabulary from")
        library = _library()
        learned = library.Tokenizer(library.models.BPE())
        learned.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        learned.decoder = library.decoders.ByteLevel()
        trainer = library.trainers.BpeTrainer(
            vocab_size=max_vocab,
            min_frequency=max(min_count, 2),
            initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        cuts = [0, *(run.end() for run in LONG_RUN.finditer(text)), len(text)]
        pieces = (text[a:b] for a, b in pairwise(cuts))
        learned.train_from_iterator(pieces, trainer)
        return cls(learned.to_str())

    def encode(self, text: str) -> np.ndarray:
        """text -> ids (n,), integers."""
        found = self._library.encode(checked_text(text), add_special_tokens=False)
        return np.array(found.ids, dtype=np.intp)

    def missing(self, text: str) -> list[str]:
        """Nothing: every text can be written in bytes."""
        return []

    def decode(self, ids: ArrayLike) -> str:
        """ids (n,) -> text. Bytes that are no UTF-8 show as U+FFFD."""
        ids = checked_ids(ids, self.vocab_size).tolist()
        text: str = self._library.decode(ids, skip_special_tokens=False)
        return text

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "description": self._library.to_str()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        if set(values) != {"kind", "description"}:
            raise InputError("a byte-pair tokenizer is described by kind and description alone")
        return cls(values["description"])


class PretrainedTokenizer(BytePairTokenizer):
    """The byte pairs of a published model, which may lack bytes that its texts never had.

    A text with such a byte, a control character for instance, is an error: the library would drop
    it in silence. So is one that the normalizer would change: decode(encode(text)) == text always.
    Symbols like <|im_end|> stand for themselves in a text.
    """

    kind = "pretrained"
    every_byte = False
    refused = CHANGES

    def encode(self, text: str) -> np.ndarray:
        """text -> ids (n,), integers. InputError for a character that the vocabulary lacks."""
        ids = super().encode(text)
        if self.decode(ids) != text:
            lost = ", ".join(map(repr, self.missing(text)[:4])) or "characters"
            raise InputError(f"text has {lost}, which the vocabulary cannot write: remove it")
        return ids

    def around(self) -> tuple[list[int], list[int]]:
        """The ids that stand before every text, and those after it, by its post-processor."""
        bare, whole = (
            self._library.encode("a", add_special_tokens=added).ids for added in (False, True)
        )
        first = next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
        return whole[:first], whole[first + len(bare) :]

    def special(self) -> list[int]:
        """The ids of symbols that no text is cut into, like <|im_end|>."""
        added = self._library.get_added_tokens_decoder()
        return [i for i, token in added.items() if token.special]

    def missing(self, text: str) -> list[str]:
        """The characters of a text, in order, that cannot be written."""
        return [
            one
            for one in checked_text(text)
            if self.decode(super(PretrainedTokenizer, self).encode(one)) != one
        ]


def _library() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise InputError("byte pairs need the library tokenizers: pip install tokenizers") from None
    return tokenizers


TOKENIZERS: dict[str, type[Tokenizer]] = {
    kind.kind: kind
    for kind in (
        CharTokenizer,
        WordTokenizer,
        SegmentedWordTokenizer,
        BytePairTokenizer,
        PretrainedTokenizer,
    )
}


def tokenizer_from_dict(values: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that a `to_dict` described; anything else is an InputError."""
    kind = values.get("kind") if isinstance(values, Mapping) else None
    if not isinstance(kind, str) or kind not in TOKENIZERS:
        raise InputError(f"kind of tokenizer must be one of {', '.join(TOKENIZERS)}, not {kind!r}")
    return TOKENIZERS[kind].from_dict(values)


def checked_ids(ids: ArrayLike, vocab_size: int) -> np.ndarray:
    """One sequence of ids in 0..vocab_size - 1 as an array; an InputError for anything else."""
    ids = as_ids("ids", ids)
    if ids.ndim != 1:
        raise InputError(f"ids must be one sequence, of shape (n,), not {ids.shape}")
    outside = (ids < 0) | (ids >= vocab_size)
    if outside.any():
        raise InputError(f"ids must be in 0..{vocab_size - 1}, not {ids[outside][0]}")
    return ids


def checked_text(text: str, name: str = "text") -> str:
    """The text, if it is one that can be written in UTF-8."""
    if not isinstance(text, str):
        several = isinstance(text, list | tuple) and all(isinstance(part, str) for part in text)
        raise InputError(
            f"{name} must be a string, not {type(text).__name__}"
            + (": join them, as in '\\n'.join(texts)" if several else "")
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{name} has half a character, {text[error.start]!r} at index {error.start}: it was "
            "not read as UTF-8; decode it anew"
        ) from None
    return text


def prompt_text(tokenizer: Tokenizer, text: str) -> str:
    """A prompt as the files of a corpus are read: line endings as \\n, no byte order mark; and é as
    one code point or as two (Unicode's NFC or NFD), as the vocabulary has it.
    """
    text = clean_text(checked_text(text, "prompt"))
    forms = [text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)]
    return min(forms, key=lambda form: len(tokenizer.missing(form)))


def _checked_max_vocab(max_vocab: Any, least: int) -> int:
    try:
        number = index(max_vocab)
    except TypeError:
        raise InputError(f"max_vocab must be a whole number, not {max_vocab!r}") from None
    if number < least:
        raise InputError(f"max_vocab must be at least {least}, not {number}")
    if number > MAX_VOCAB:
        raise InputError(f"max_vocab must be at most {MAX_VOCAB:,}, not {number}")
    return number


def _check_description(description: Any, refused: Sequence[str]) -> None:
    """That this is the JSON of byte pairs, without what is refused."""
    try:
        parts = json.loads(description)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"this describes no byte-pair tokenizer: {error}") from error
    if not isinstance(parts, dict) or not isinstance(parts.get("model"), dict):
        raise InputError("this describes no byte-pair tokenizer: it has no model")
    if parts["model"].get("type", "BPE") != "BPE":
        raise InputError(f"its model must be BPE, byte pairs, not {parts['model']['type']!r}")
    for name in refused:
        if (parts | parts["model"]).get(name) is not None:
            raise InputError(f"a byte-pair tokenizer must change no text, but has a {name}")


def _place(text: str, pieces: Sequence[str], n: int) -> str:
    """Where piece n stands in the text. Between two pieces there is only white space."""
    start = 0
    for piece in pieces[:n]:
        start = text.index(piece, start) + len(piece)
    start = text.index(pieces[n], start)
    line, column = text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start)
    return f"in line {line}, column {column}"
