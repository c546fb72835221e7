"""Translation: the Transformer, from English to Latin, or of names and dates.

The right translation of each is known. Latin is generated here, with the endings of its first two
declensions. Names and dates are real: they are those of the Unicode CLDR, as the library babel has
them. The baseline, a dictionary, must fail: it keeps the order of the source, and has one form for
each word.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import product
from typing import Any, NamedTuple

from ..arrays import Rng
from ..errors import InputError
from ..metrics import bleu, exact_match
from ..transformer import Transformer
from ..translate import greedy
from .compositions import Split, pick, split_by_composition
from .tools import (
    BEGIN,
    SPECIAL,
    STOP,
    Answer,
    Outcome,
    TranslationConfig,
    Vocabulary,
    chosen,
    fit,
    longest,
    mean_heads,
    table,
)

# ---- the corpus: sentences in Latin ----------------------------------------------------------


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


def draw_clause(rng: Rng) -> Clause:
    """Every word equally likely; an adjective in two phrases of three."""

    def phrase() -> NounPhrase:
        adjective = pick(rng, ADJECTIVES) if rng.random() < 2 / 3 else ""
        return NounPhrase(pick(rng, NOUNS), adjective, rng.random() < 1 / 2)

    return Clause(phrase(), pick(rng, VERBS), phrase())


def latin_corpus(rng: Rng, n_train: int, n_heldout: int) -> Split:
    """Pairs: English, Latin. Adjective and noun of a held-out phrase never meet in training."""
    split = split_by_composition(
        lambda: draw_clause(rng), lambda clause: clause.is_new, n_train, n_heldout
    )
    return split.map(Clause.pair)


# ---- the corpus: names and dates, from babel -------------------------------------------------

LANGUAGE_CODES = "en fr de es it pt nl sv da fi pl cs hu tr ru el ar he hi zh ja ko sw fa"
COUNTRY_CODES = "US GB FR DE ES IT PT NL SE DK FI PL CZ HU TR RU GR EG IL IN CN JP KR NZ ZA"
DAYS = date(1990, 1, 1).toordinal(), date(2030, 1, 1).toordinal()
# A number, one Chinese or Japanese character, a run of letters, or any other mark.
PIECE = re.compile(r"\d+|[\u3040-\u30ff\u4e00-\u9fff]|[^\W\d_\u3040-\u30ff\u4e00-\u9fff]+|[^\w\s]")


def names_corpus(rng: Rng, n_train: int, n_heldout: int, locale: str) -> Split:
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


# ---- the baseline: a dictionary --------------------------------------------------------------


def word_by_word(pairs: Iterable[Pair]) -> dict[str, str]:
    """A dictionary learned from translations: source word -> target word, or "" for none.

        Dice(s, t) = 2 n(s, t) / (n(s) + n(t))       n counts the pairs that hold s, t, or both

    In each pair the two words of highest Dice are linked, then the next two of those left, and so
    on until one side has none; a word is translated by what it is linked with most often, which may
    be nothing.
    Source: competitive linking, Melamed 2000, Models of Translational Equivalence, section 4.
    """
    texts = [(pair.source.split(), pair.target.split()) for pair in pairs]
    source, target, both = Counter[str](), Counter[str](), Counter[tuple[str, str]]()
    for one, other in texts:
        source.update(set(one))
        target.update(set(other))
        both.update(product(set(one), set(other)))
    dice = {(s, t): 2 * n / (source[s] + target[t]) for (s, t), n in both.items()}
    links: dict[str, Counter[str]] = defaultdict(Counter)
    for one, other in texts:
        left, right = set(one), set(other)
        for s, t in sorted(product(left, right), key=lambda pair: (-dice[pair], pair)):
            if s in left and t in right:
                links[s][t] += 1
                left.remove(s)
                right.remove(t)
        for s in left:
            links[s][""] += 1
    return {s: counts.most_common(1)[0][0] for s, counts in links.items()}


def look_up(dictionary: dict[str, str], text: str) -> str:
    """Each word by its translation, in the order of the text; unknown words stay as they are."""
    return " ".join(filter(None, (dictionary.get(word, word) for word in text.split())))


# ---- the task --------------------------------------------------------------------------------


def translation(config: TranslationConfig, rng: Rng) -> Outcome:
    """English to Latin; or dates and names, to another language."""
    sizes = config.examples, config.heldout_examples
    split = names_corpus(rng, *sizes, config.locale) if config.locale else latin_corpus(rng, *sizes)
    texts = [text for part in split for pair in part for text in pair]
    vocabulary, context = Vocabulary(texts), longest(texts) + 8  # a wrong one may be longer
    source = table([vocabulary.encode(pair.source) for pair in split.train])
    target = table([[BEGIN, *vocabulary.encode(pair.target), STOP] for pair in split.train])
    options = {"vocab_size": len(vocabulary), "context_length": context} | config.size()
    model = Transformer(rng=rng, **options)
    fit(model, {"source": source, "target": target}, config, rng)

    sources, references = zip(*split.heldout, strict=True)
    found = translate(model, vocabulary, sources)
    dictionary = word_by_word(split.train)
    scores = {
        "Transformer": translation_scores(found, references),
        "word by word": translation_scores(
            [look_up(dictionary, text) for text in sources], references
        ),
    }

    def answer(n: int) -> Answer:
        """Rows are the words found, and the end; row t shows what was read to find word t."""
        words = [vocabulary.ids[word] for word in found[n].split()]
        _, cache = model.forward(vocabulary.encode(sources[n]), [BEGIN, *words])
        lines = [sources[n], f"-> {found[n]}", f"   {references[n]}"]
        readers = [*found[n].split(), SPECIAL[STOP]]
        maps = model.attention_maps(cache)
        a = mean_heads(a for name, a in maps.items() if name.endswith("cross"))
        return Answer(found[n] == references[n], lines, readers, sources[n].split(), a)

    right = [one == other for one, other in zip(found, references, strict=True)]
    return Outcome(scores, [answer(n) for n in chosen(right, config.show)])


def translate(model: Transformer, vocabulary: Vocabulary, sources: Sequence[str]) -> list[str]:
    """The likeliest words, one after another. Raises InputError for an empty or unknown text."""
    source = table([vocabulary.encode(text) for text in sources])
    most = model.config.context_length - 1  # so that begin_id and the words fit in again
    return [" ".join(vocabulary.decode(one.ids)) for one in greedy(model, source, most)]


def translation_scores(found: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """right words: exact match where the order does not count."""
    bags = [[sorted(text.split()) for text in texts] for texts in (found, references)]
    return {
        "exact match": exact_match(found, references),
        "right words": exact_match(*bags),
        "BLEU": bleu(found, references),
    }
