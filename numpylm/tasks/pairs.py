"""Pairs to translate whose right translation is known: English to Latin, and names and dates.

Latin is generated here, with the endings of its first two declensions. Names and dates are real:
they are those of the Unicode CLDR, as the library babel has them.
"""

import re
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from .corpora import Split, pick, split_by_composition


class Pair(NamedTuple):
    """A text and its translation, both with a space between tokens."""

    source: str
    target: str


NOUNS = {  # English -> the Latin stem and its gender; nouns in -us, -a and -um
    "friend": ("amic", "m"),
    "horse": ("equ", "m"),
    "servant": ("serv", "m"),
    "doctor": ("medic", "m"),
    "girl": ("puell", "f"),
    "queen": ("regin", "f"),
    "eagle": ("aquil", "f"),
    "frog": ("ran", "f"),
    "monster": ("monstr", "n"),
    "temple": ("templ", "n"),
    "town": ("oppid", "n"),
    "star": ("astr", "n"),
}
ADJECTIVES = {  # English -> the Latin stem
    "big": "magn",
    "small": "parv",
    "good": "bon",
    "new": "nov",
    "white": "alb",
    "old": "antiqu",
    "dear": "car",
    "famous": "clar",
}
VERBS = {  # English -> the stem of the Latin perfect
    "saw": "vid",
    "feared": "timu",
    "praised": "laudav",
    "loved": "amav",
    "carried": "portav",
    "called": "vocav",
}
ENDINGS = {  # gender -> subject: one, several; object: one, several
    "m": ("us", "i", "um", "os"),
    "f": ("a", "ae", "am", "as"),
    "n": ("um", "a", "um", "a"),
}


@dataclass(frozen=True)
class NounPhrase:
    """A noun, one or several, with an adjective or without ("")."""

    noun: str
    adjective: str
    plural: bool

    def english(self) -> str:
        return " ".join(["the", *self.adjective.split(), self.noun + "s" * self.plural])

    def latin(self, is_object: bool) -> str:
        """The noun, then its adjective, which has its gender, number and case. No article."""
        stem, gender = NOUNS[self.noun]
        ending = ENDINGS[gender][2 * is_object + self.plural]
        adjective = [ADJECTIVES[self.adjective] + ending] if self.adjective else []
        return " ".join([stem + ending, *adjective])

    @property
    def is_new(self) -> bool:
        """Held out: 2 of the 8 adjectives with each noun, 3 of the 12 nouns with each adjective."""
        if not self.adjective:
            return False
        return (list(ADJECTIVES).index(self.adjective) + list(NOUNS).index(self.noun)) % 4 == 0


@dataclass(frozen=True)
class Clause:
    """Somebody did something to somebody: "the big horses saw the frog"."""

    subject: NounPhrase
    verb: str
    object: NounPhrase

    def pair(self) -> Pair:
        """English, and Latin: subject, object, verb, which agrees with the subject in number."""
        english = self.subject.english(), self.verb, self.object.english()
        verb = VERBS[self.verb] + ("erunt" if self.subject.plural else "it")
        latin = self.subject.latin(False), self.object.latin(True), verb
        return Pair(" ".join(english), " ".join(latin))

    @property
    def is_new(self) -> bool:
        return self.subject.is_new or self.object.is_new


def draw_clause(rng: np.random.Generator) -> Clause:
    """Every word equally likely; an adjective in two phrases of three."""

    def phrase() -> NounPhrase:
        adjective = pick(rng, ADJECTIVES) if rng.random() < 2 / 3 else ""
        return NounPhrase(pick(rng, NOUNS), adjective, rng.random() < 1 / 2)

    return Clause(phrase(), pick(rng, VERBS), phrase())


def latin_corpus(rng: np.random.Generator, n_train: int, n_heldout: int) -> Split:
    """Pairs: English, Latin. Adjective and noun of a held-out phrase never meet in training."""
    split = split_by_composition(
        lambda: draw_clause(rng), lambda clause: clause.is_new, n_train, n_heldout
    )
    return split.map(Clause.pair)


# ---- names and dates, from babel -------------------------------------------------------------

LANGUAGE_CODES = "en fr de es it pt nl sv da fi pl cs hu tr ru el ar he hi zh ja ko sw fa"
COUNTRY_CODES = "US GB FR DE ES IT PT NL SE DK FI PL CZ HU TR RU GR EG IL IN CN JP KR NZ ZA"
DAYS = date(1990, 1, 1).toordinal(), date(2030, 1, 1).toordinal()
# A number, one Chinese or Japanese character, a run of letters, or any other mark.
PIECE = re.compile(r"\d+|[\u3040-\u30ff\u4e00-\u9fff]|[^\W\d_\u3040-\u30ff\u4e00-\u9fff]+|[^\w\s]")


def names_corpus(rng: np.random.Generator, n_train: int, n_heldout: int, locale: str) -> Split:
    """Pairs: English dates and "Swedish (South Korea)", and the same as `locale` writes them.

    Day and month of a held-out date, language and country of a held-out name never meet in
    training. Raises InputError where babel is missing or does not know the locale.
    """
    english, other = _babel_locale("en"), _babel_locale(locale)
    languages, countries = LANGUAGE_CODES.split(), COUNTRY_CODES.split()
    from babel.dates import format_date

    def name(locale: Any, language: str, country: str) -> str:
        return f"{locale.languages[language]} ({locale.territories[country]})"

    def draw() -> tuple[bool, Pair]:
        if rng.random() < 1 / 2:
            i, j = rng.integers(len(languages)), rng.integers(len(countries))
            codes = languages[i], countries[j]
            return (i + j) % 5 == 0, Pair(*(name(one, *codes) for one in (english, other)))
        day = date.fromordinal(int(rng.integers(*DAYS)))
        texts = (format_date(day, "full", one) for one in (english, other))
        return (day.day + day.month) % 5 == 0, Pair(*texts)

    split = split_by_composition(draw, lambda drawn: drawn[0], n_train, n_heldout)
    return split.map(lambda drawn: Pair(*map(pieces, drawn[1])))


def pieces(text: str) -> str:
    """The text with a space between its pieces: "3. März" -> "3 . März"."""
    return " ".join(PIECE.findall(text))


def _babel_locale(name: str) -> Any:
    try:
        from babel import Locale, UnknownLocaleError
    except ImportError:
        raise InputError("names and dates come from the library babel: pip install babel") from None
    try:
        return Locale.parse(name)
    except (UnknownLocaleError, ValueError) as error:
        raise InputError(f"locale {name!r} is not known: give one like de, fr or zh") from error
