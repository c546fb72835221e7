"""Text in every script: what is one character to a reader, where words end, what may be printed.

A reader's character is a grapheme cluster: a letter with its marks, a family of emoji, a flag.
Python's strings are code points, several to a cluster; the library `regex` finds the clusters.
ASCII needs no library: there every code point is a cluster.

Source: Unicode Standard Annex 29, Unicode Text Segmentation.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import accumulate, pairwise
from typing import Any

from .errors import InputError

# Letters and marks of the scripts that put no space between words, in which white space ends a
# clause: Thai, Lao, Burmese, Khmer, the Tai scripts, Balinese, Javanese, Yi, Han, kana, Bopomofo,
# Tangut and Nüshu. Their digits are left out: 2566 is one number in Thai digits too.
UNSPACED = (
    r"\u0e01-\u0e4e\u0e81-\u0ecf\u0edc-\u0edf\u1000-\u103f\u1050-\u108f\u109a-\u109f"
    r"\u1780-\u17d3\u17d7\u17dc\u17dd\u1950-\u197f\u1980-\u19cf\u1a20-\u1a7f\u1b00-\u1b4f"
    r"\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c\u3041-\u30ff"
    r"\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\ua48c\ua980-\ua9c0"
    r"\ua9e0-\ua9ef\ua9fa-\ua9fe\uaa60-\uaadf\uf900-\ufaff\uff66-\uff9f"
    r"\U00016fe0-\U00018dff\U0001aff0-\U0001b2ff\U00020000-\U0003ffff"
)
CLOSING = ".,;:!?)\n…।॥،؛؟۔።၊။។、。，．；：！？）」』】》〉"  # no space stands before these
FULL_WIDTH = r"\u3001-\u3003\u3008-\u3011\u3014-\u301f\uff01-\uff0f\uff1a-\uff1f"
ASCII_WORDS = re.compile(r"<unk>|\w+(?:'\w+)*|[^\w\s]|\n")
ASCII_NEEDLESS = re.compile(r" (?=[.,;:!?)\n])|(?<=\n) ")
_TIGHT = re.compile(f"[{UNSPACED}{FULL_WIDTH}]")
_UNSPACED_RUN = re.compile(f"[{UNSPACED}]{{2}}")

# ---- words -----------------------------------------------------------------------------------


def split_words(text: str) -> list[str]:
    """Words, single marks of punctuation and newlines; a letter of an unspaced script is a word.

    A word is a run of letters, digits and underscores, with apostrophes inside ("don't", "don’t").
    Clusters stay whole. Other white space than newlines is lost.
    """
    return ASCII_WORDS.findall(text) if text.isascii() else _words("").findall(text)


def split_segmented(text: str) -> list[str]:
    """`split_words`, but runs of unspaced scripts are cut into words by the dictionaries of ICU.

    Each word is cut again as if it stood alone, until nothing changes: a word is then one word
    wherever it stands.
    """
    if text.isascii():
        return split_words(text)
    return [word for piece in _words("+").findall(text) for word in _segments(piece)]


def join_words(symbols: Sequence[str], touching: bool = True) -> str:
    """The text that is cut into these words again, with spaces where they are needed or usual.

    touching=False keeps the space between two words of an unspaced script.
    """
    text = " ".join(symbols)
    if text.isascii():
        return ASCII_NEEDLESS.sub("", text)
    pieces = list(symbols[:1])
    for before, after in pairwise(symbols):
        pieces += [after] if _touch(before, after, touching) else [" ", after]
    return "".join(pieces)


def unspaced_run(text: str) -> str:
    """Two letters of an unspaced script that stand side by side in the text, or ""."""
    found = _UNSPACED_RUN.search(text)
    return found.group() if found else ""


@lru_cache(maxsize=1 << 16)
def _touch(before: str, after: str, touching: bool) -> bool:
    """Whether no space is to stand between two words: a usage, and cut as they were."""
    tight = touching and _TIGHT.match(before) and _TIGHT.match(after)
    usual = after[0] in CLOSING or before == "\n" or tight
    return bool(usual) and split_words(before + after) == [before, after]


@cache
def _words(run: str) -> Any:
    """The pattern of a word; run="+" takes a whole run of an unspaced script for one.

    (?=[a])\\X(?<![b]) is a cluster that begins with an a and does not end with a b.
    """
    # U+20E3 makes a key of a digit, which is no letter of a word. Some marks of Arabic and the
    # Brahmic scripts (Prepend) form a cluster with whatever follows, with a space as well.
    space = r"\s\x1c-\x1f"
    letter = rf"(?=[\p{{L}}\p{{N}}_])(?![{UNSPACED}])\X(?<![\u20e3{space}])"
    return _regex().compile(
        r"<unk(?=>)\X(?<=>)"
        rf"|(?:{letter})+(?:(?=['’])\X(?<=['’])(?:{letter})+)*"
        rf"|\p{{GCB=Prepend}}+(?=[{space}])"
        rf"|(?:(?=[{UNSPACED}])\X){run}"
        rf"|(?=[^{space}])\X"
        r"|\n"
    )


@lru_cache(maxsize=1 << 16)
def _segments(piece: str) -> tuple[str, ...]:
    """A run of an unspaced script as words, each of whole clusters; any other piece as it is."""
    if not _TIGHT.match(piece):
        return (piece,)
    clusters = _regex().findall(r"\X", piece)
    if len(clusters) == 1 or max(piece) > "\uffff":  # beyond it, icu4py counts UTF-16 units
        return tuple(clusters)
    ends = set(accumulate(map(len, clusters)))
    cuts = [0, *(end for _, end in _breaker()(piece, "en").segments() if end in ends)]
    words = [piece[a:b] for a, b in pairwise(cuts)]
    return (piece,) if len(words) == 1 else tuple(w for word in words for w in _segments(word))


def _regex() -> Any:
    try:
        import regex
    except ImportError:
        raise InputError(
            "words outside ASCII need the library regex: pip install regex, or cut the text into "
            "characters"
        ) from None
    return regex


def _breaker() -> Any:
    try:
        from icu4py.breakers import WordBreaker
    except ImportError:
        raise InputError(
            "segmented-words need the library icu4py, which has the dictionaries: "
            "pip install icu4py, or choose words, which takes each letter of such a script for one"
        ) from None
    return WordBreaker


# ---- what comes in, what goes out ------------------------------------------------------------


def clean_text(text: str) -> str:
    """The text with every line ending as \\n and no byte order mark, as text files are read."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def printable(text: str) -> str:
    """The text as a terminal may see it: what would steer the terminal is shown as an escape.

    Newlines and tabs stay. Escaped are control characters (the codes for colours, titles and the
    cursor begin with one), line separators, changes of the writing direction, and surrogates.
    """
    return text if text.isprintable() else "".join(map(_printable, text))


@lru_cache(maxsize=1 << 12)
def _printable(character: str) -> str:
    steers = unicodedata.category(character) in ("Cc", "Zl", "Zp", "Cs") or (
        unicodedata.bidirectional(character)
        in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    )
    return ascii(character)[1:-1] if steers and character not in "\n\t" else character
