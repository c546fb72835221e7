"""Where text comes from: toy languages of known entropy (languages.py), and real text.

Every corpus has a part to train on and a held-out part to judge by. They are parted before
anything else happens to the text, so no window and no vocabulary sees both.
"""

import hashlib
import json
import math
import os
import urllib.request
from dataclasses import dataclass, replace
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np

from .allocator import require_memory
from .arguments import check_ids, whole
from .config import SEEDS, Config, option
from .encodings import decode_text
from .errors import InputError
from .files import read_file, write_whole
from .languages import LANGUAGES, Language
from .tokenizers import (
    MAX_VOCAB,
    TOKENIZERS,
    CharTokenizer,
    Tokenizer,
    WordTokenizer,
    checked_text,
)
from .unicode_text import printable

TEXTS = ("python-docs", "tinyshakespeare")
SHAKESPEARE_URL = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
)
DRAWN = 64  # bytes at least of a symbol that is drawn, as a text and as an id
CHARACTERS = 0x110000 - 0x800  # of Unicode that a text may hold: all but the surrogates
SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


def corpus_names() -> tuple[str, ...]:
    """Every corpus that has a name: the toy languages, then the texts."""
    return (*LANGUAGES, *TEXTS)


@dataclass(frozen=True)
class CorpusConfig(Config):
    """What to learn from"""

    corpus: str = option("topics", "a toy language or a text", choices=corpus_names())
    text: str = option("", "a UTF-8 text file to learn from, in place of a named corpus")
    download: bool = option(False, "fetch tinyshakespeare (1.1 MB) if it is not in the cache")
    tokenizer: str = option(
        "auto",
        "the symbols of a text; auto: characters. A toy language has its own",
        choices=("auto", *TOKENIZERS),
    )
    max_vocab: int = option(
        10_000, "symbols kept of a text, the most frequent ones", minimum=3, maximum=MAX_VOCAB
    )
    min_count: int = option(
        2, "words seen less often are <unk>, so that it is learned; 1 keeps every word", minimum=1
    )
    sentences: int = option(4096, "sentences of a toy language to train on", minimum=1)
    heldout_sentences: int = option(1024, "sentences of a toy language held out", minimum=1)
    data_seed: int = option(
        0, "seed that the sentences of a toy language are drawn with", minimum=0, maximum=SEEDS
    )


@dataclass(frozen=True, eq=False)
class Corpus:
    """Ids to train on, ids held out, and the tokenizer that turns them back into text.

    A text is two streams of ids, (n,): its first 90 % and its last 10 %. A toy language is two
    tables, (N, length), one sentence a row, drawn independently of each other. entropy: nats per
    predicted token that no model can beat; None where nobody knows it. heldout_characters: how
    many characters are predicted in it, for comparing tokenizers; None for a toy language, and for
    words, which do not predict the white space between them. heldout_spelling: the nats that its
    unknown tokens cost beside the model's, by `spelling_nats`.
    """

    name: str
    summary: str
    tokenizer: Tokenizer
    train: np.ndarray
    heldout: np.ndarray
    entropy: float | None = None
    heldout_characters: int | None = None
    heldout_spelling: float = 0.0
    config: CorpusConfig | None = None  # what load_corpus was asked for, so that it can be again

    @classmethod
    def from_text(
        cls,
        text: str,
        tokenizer: Tokenizer | str = "characters",
        max_vocab: int = 10_000,
        min_count: int = 2,
        name: str = "text",
        summary: str = "a text",
    ) -> "Corpus":
        """A text: its first 90 % to train on, its last 10 % held out.

        tokenizer: one that exists, or the kind of one to make from the training part, with the
        options of CorpusConfig. Raises InputError for a text of which a part has no token.
        """
        cut = len(checked_text(text)) * 9 // 10
        if isinstance(tokenizer, str):
            if tokenizer not in TOKENIZERS:
                raise InputError(
                    f"tokenizer must be one of {', '.join(TOKENIZERS)}, not {tokenizer!r}"
                )
            kind = TOKENIZERS[tokenizer]
            rare = min_count if issubclass(kind, WordTokenizer) else 1
            tokenizer = kind.from_text(text[:cut], max_vocab, unknown=True, min_count=rare)
        train, heldout = tokenizer.encode(text[:cut]), tokenizer.encode(text[cut:])
        if not (len(train) and len(heldout)):
            raise InputError(
                f"text has {len(train)} tokens to train on and {len(heldout)} held out: use a "
                "longer text"
            )
        predicted = len(tokenizer.decode(heldout[1:])) if tokenizer.lossless else None
        spelling = spelling_nats(tokenizer, text[cut:])
        return cls(name, summary, tokenizer, train, heldout, None, predicted, spelling)

    @classmethod
    def from_language(
        cls,
        language: Language,
        length: int,
        sentences: int = 4096,
        heldout_sentences: int = 1024,
        seed: int = 0,
        tokenizer: Tokenizer | None = None,
        name: str = "language",
    ) -> "Corpus":
        """Sentences of `length` symbols that a language writes, ours or a reader's own."""
        tokenizer = tokenizer or tokenizer_of(language)
        drawn = (sentences + heldout_sentences) * length
        require_memory(drawn * DRAWN, f"{drawn:,} tokens of sentences")
        rng = np.random.default_rng(seed)

        def draw(n_sentences: int) -> np.ndarray:
            drawn = language.sample(rng, n_sentences, length)
            symbols = [symbol for sentence in drawn for symbol in sentence]
            return tokenizer.encode(tokenizer.join(symbols)).reshape(n_sentences, length)

        # Held out first: with more sentences to train on, the yardstick stays the same.
        heldout = draw(heldout_sentences)
        train = draw(sentences)
        entropy = language.entropy(length)
        return cls(name, language.summary, tokenizer, train, heldout, entropy)

    def __repr__(self) -> str:
        return f"Corpus({self.describe()})"

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the vocabulary and of all ids: two corpora with one digest are the same."""
        digest = hashlib.sha256(json.dumps(self.tokenizer.to_dict()).encode())
        for ids in (self.train, self.heldout):
            digest.update(repr(ids.shape).encode())
            digest.update(ids.astype("<i8").tobytes())
        return digest.hexdigest()

    def describe(self) -> str:
        """One line: what it is, how much of it there is, and what may be hoped for."""
        sizes = f"{self.train.size:,} + {self.heldout.size:,} tokens"
        if self.train.ndim == 2:
            length = self.train.shape[1]
            sizes = f"{len(self.train):,} + {len(self.heldout):,} sentences of {length} tokens"
        known = "unknown" if self.entropy is None else f"{self.entropy:.3f} nats"
        if self.tokenizer.unknown is not None:
            shares = (f"{self.unknown_share(part):.2%}" for part in ("training", "held-out"))
            sizes = f"{sizes}, of which {' + '.join(shares)} are {self.tokenizer.unknown}"
        return (
            f"{self.name} ({self.summary}): {sizes}; "
            f"vocabulary {self.tokenizer.vocab_size:,}, entropy {known}"
        )

    def unknown_share(self, part: str) -> float:
        """The share of unknown tokens in the "training" or the "held-out" part."""
        return self.tokenizer.unknown_share(self.train if part == "training" else self.heldout)

    def comparable(self, nats: float, tokens: int) -> str:
        """The total nats of the held-out part in a unit that other tokenizers share, in words.

        Unknown tokens are spelled out. Words, which leave out white space, share nats per token
        among each other, whatever their max_vocab. "" where nothing is added to nats per token.
        """
        spelled = " with the unknown spelled out" if self.heldout_spelling else ""
        if self.heldout_characters:
            loss = (nats + self.heldout_spelling) / self.heldout_characters
            return f"{loss:.4f} per character{spelled}"
        return f"{(nats + self.heldout_spelling) / tokens:.4f}{spelled}" if spelled else ""

    def unknown_notes(self) -> list[str]:
        """What an unknown token costs, in a line each; none where nothing held out is unknown."""
        if not self.unknown_share("held-out"):
            return []
        symbol, lossless = self.tokenizer.unknown, self.tokenizer.lossless
        lines = [
            f"{symbol} {'is one character' if lossless else 'names a word without spelling it'}: "
            f"spelled out, it costs {math.log(CHARACTERS):.2f} nats more "
            f"{'' if lossless else 'for each letter and its end '}(ln {CHARACTERS:,}, any "
            "character of Unicode)"
        ]
        if not self.unknown_share("training"):
            lines.append(f"{symbol} never occurs in training: nothing is learned about it")
        return lines


def load_corpus(
    config: CorpusConfig | str, context_length: int = 8, tokenizer: Tokenizer | None = None
) -> Corpus:
    """The corpus that `config` asks for, for windows of `context_length` tokens and one more.

    config: a CorpusConfig, or the name of one of its corpora, such as "topics".
    Its tokenizer is made from its training part, unless one is given: that of a trained model.
    """
    config = CorpusConfig(corpus=config) if isinstance(config, str) else config
    if not isinstance(config, CorpusConfig):
        raise InputError(
            f"config must be a CorpusConfig or the name of a corpus, not {type(config).__name__}; "
            "for a text of yours there is Corpus.from_text"
        )
    whole("context_length", context_length, at_least=1)
    if config.text:
        path = Path(config.text)  # found from any folder again:
        config = replace(config, text=os.path.abspath(path))
        text, name, summary = _read(path), printable(path.name), "a text file"
    elif config.corpus == "python-docs":
        text, name, summary = python_docs(), config.corpus, "help texts of Python, in English"
    elif config.corpus == "tinyshakespeare":
        text, name, summary = tinyshakespeare(config.download), config.corpus, "plays, in verse"
    else:
        return _toy_corpus(config, context_length, tokenizer)

    kind = "characters" if config.tokenizer == "auto" else config.tokenizer
    corpus = Corpus.from_text(
        text, tokenizer or kind, config.max_vocab, config.min_count, name, summary
    )
    shorter = min(len(corpus.train), len(corpus.heldout))
    if shorter < context_length + 1:
        raise InputError(
            f"{name} is too short: {len(corpus.train)} tokens to train on and "
            f"{len(corpus.heldout)} held out, but context_length = {context_length} needs "
            f"{context_length + 1} of each: use a longer text or a shorter context"
        )
    return replace(corpus, config=config)


def spelling_nats(tokenizer: Tokenizer, text: str) -> float:
    """The nats of writing out what has no id in a text; its first symbol is given, not predicted.

        ln N for each character, N = 1,112,064: any character of Unicode, and none is likelier

    A word pays ln N for its end as well. Added to a model's nats it makes losses comparable: a
    model with few symbols must not win by calling more of the text unknown.
    """
    missing = tokenizer.missing(text)
    if missing and tokenizer.split(text)[0] == missing[0]:
        missing = missing[1:]
    ends = 0 if tokenizer.lossless else len(missing)
    return (sum(map(len, missing)) + ends) * math.log(CHARACTERS)


def tokenizer_of(language: Language) -> Tokenizer:
    """Characters where every symbol of a language is one, otherwise words."""
    letters = all(len(symbol) == 1 for symbol in language.symbols)
    return (CharTokenizer if letters else WordTokenizer)(language.symbols)


def _toy_corpus(config: CorpusConfig, context_length: int, tokenizer: Tokenizer | None) -> Corpus:
    language = LANGUAGES[config.corpus]()
    own = tokenizer_of(language)
    tokenizer = tokenizer or own
    if tokenizer.to_dict() != own.to_dict():
        raise InputError(
            f"the model was trained with other symbols than those of {config.corpus}: "
            "evaluate it on its own corpus"
        )
    if config.tokenizer not in ("auto", tokenizer.kind):
        raise InputError(
            f"tokenizer must be auto for the toy language {config.corpus}, whose symbols are "
            f"{tokenizer.kind}, not {config.tokenizer}"
        )
    corpus = Corpus.from_language(
        language,
        context_length + 1,
        config.sentences,
        config.heldout_sentences,
        config.data_seed,
        tokenizer,
        config.corpus,
    )
    return replace(corpus, config=config)


def python_docs() -> str:
    """The English of Python's own `help()` topics, about 465 kB. It differs between versions."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise InputError(
            "python-docs needs the help topics of Python (pydoc_data), which this Python lacks: "
            "choose another corpus, or a text file with --text"
        ) from None
    return "\n\n".join(topics[key].strip() for key in sorted(topics)) + "\n"


def tinyshakespeare(download: bool = False) -> str:
    """1.1 MB of Shakespeare's plays, from the cache folder; download=True may fetch it first.

    The cache is numpylm/ in $XDG_CACHE_HOME, else in ~/.cache. Only the one known text, told by its
    SHA-256, is ever stored or read.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "numpylm"
    path = folder / "tinyshakespeare.txt"
    by_hand = f"get it from {SHAKESPEARE_URL} and name the file with --text"
    if not path.exists():
        if not download:
            raise InputError(f"tinyshakespeare is not in {path}: add --download, or {by_hand}")
        try:
            _fetch_shakespeare(path)
        except (OSError, HTTPException) as error:
            raise InputError(f"tinyshakespeare cannot be fetched ({error}): {by_hand}") from error
    text = _read(path)
    if hashlib.sha256(text.encode("utf-8")).hexdigest() != SHAKESPEARE_SHA256:
        raise InputError(f"{path} is not the known text (its SHA-256 differs): delete it")
    return text


def _fetch_shakespeare(path: Path) -> None:
    """Write the file whole or not at all: a reader never meets half of it."""
    with urllib.request.urlopen(SHAKESPEARE_URL, timeout=30) as response:
        content = response.read()
    found = hashlib.sha256(content).hexdigest()
    if found != SHAKESPEARE_SHA256:
        raise InputError(
            f"{SHAKESPEARE_URL} is not the known text: SHA-256 {found}, not {SHAKESPEARE_SHA256}; "
            "nothing was stored"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)


def _read(path: Path) -> str:
    """The text of a UTF-8 file, every line ending in \\n, without a byte order mark."""
    data = read_file(path, "text")
    text = decode_text(data, f"text {path}")
    if not text.strip():
        raise InputError(f"text {path} is empty: name a file that holds some text")
    return text


def landmarks(corpus: Any) -> dict[str, float]:
    """Losses, in nats per token, that need no model: a loss means something only beside them.

    None for a corpus without a tokenizer: then nobody knows V.
    """
    if not hasattr(corpus, "tokenizer"):
        return {}
    V = corpus.tokenizer.vocab_size
    known = {f"knowing nothing: ln {V}": math.log(V)}
    if getattr(corpus, "entropy", None) is not None:
        return known | {"knowing everything: the entropy": corpus.entropy}
    return known | {
        "counting tokens (unigram)": unigram_nats(corpus.train, corpus.heldout, V),
        "counting pairs (bigram)": bigram_nats(corpus.train, corpus.heldout, V),
    }


def unigram_nats(train: np.ndarray, heldout: np.ndarray, vocab_size: int) -> float:
    """Held-out cross-entropy of single counts: what is won by knowing how frequent a token is.

        p(w) = (n_w + 1) / (n + V)          n_w of the n training tokens are w

    Add-one (Laplace) smoothing. Nats per predicted token: the first of a stream or sentence is
    given, as for a model.
    """
    vocab_size = whole("vocab_size", vocab_size, at_least=1, at_most=2**31 - 1)
    train = np.ravel(check_ids("train", train, vocab_size))
    counts = np.bincount(train, minlength=vocab_size)
    _, w = _pairs("heldout", heldout, vocab_size)
    return float(np.mean(np.log(train.size + vocab_size) - np.log(counts[w] + 1)))


def bigram_nats(train: np.ndarray, heldout: np.ndarray, vocab_size: int) -> float:
    """Held-out cross-entropy of counted pairs: what is won by looking one token back.

        p(w | v) = (n_vw + 1) / (n_v + V)   n_vw training pairs are v, w;  n_v = Σ_w n_vw

    Add-one (Laplace) smoothing. Nats per predicted token. Pairs stay within a sentence. Where
    words are many and the text is short, most pairs are new and the smoothing decides: this may
    then be worse than `unigram_nats`. Only pairs that occur are stored, never all V x V.
    """
    vocab_size = whole("vocab_size", vocab_size, at_least=1, at_most=2**31 - 1)
    v, w = _pairs("train", train, vocab_size)
    pairs, counts = np.unique(_numbered(v, w, vocab_size), return_counts=True)
    n_v = np.bincount(v, minlength=vocab_size)
    v, w = _pairs("heldout", heldout, vocab_size)
    wanted = _numbered(v, w, vocab_size)
    at = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
    n_vw = np.where(pairs[at] == wanted, counts[at], 0)
    return float(np.mean(np.log(n_v[v] + vocab_size) - np.log(n_vw + 1)))


def _pairs(name: str, ids: np.ndarray, vocab_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Each token (N,) and the one after it (N,)."""
    ids = check_ids(name, ids, vocab_size)
    if not ids.ndim or ids.shape[-1] < 2:
        raise InputError(f"{name} {ids.shape} hold no pair of tokens: give at least two in a row")
    return ids[..., :-1].ravel(), ids[..., 1:].ravel()


def _numbered(v: np.ndarray, w: np.ndarray, vocab_size: int) -> np.ndarray:
    """A number for each pair, below V²: in int64, for intp has 32 bits on some platforms."""
    result: np.ndarray = v.astype(np.int64) * vocab_size + w
    return result
