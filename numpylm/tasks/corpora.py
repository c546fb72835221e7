"""What the four tasks learn from: generated texts whose right answer is known.

The held-out part of each holds *compositions* that the part to train on does not: two or three
words, each of them well known from training, that were never seen together. A model that is right
about them has learned a rule; one that remembers what it read has nothing to remember.

    translation  an adjective and the noun it belongs to       "parvus" and "equus"
                 a day and its month; a language and a country  "3" and "March"
    generation   who, does what, to whom                       "cat", "sees" and "queen"
    sentiment    an adjective and the negation over it         "dull" and "nobody said … not"
    qa           who brought what where                        "Anna", "ball" and "cellar"
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..errors import InputError
from ..languages import Language, Step

Example = TypeVar("Example")


class Split(NamedTuple):
    """Examples to learn from, and examples of compositions that are not among them."""

    train: list[Any]
    heldout: list[Any]

    def map(self, change: Callable[[Any], Any]) -> "Split":
        """Both parts with `change` done to every example."""
        return Split(*([change(example) for example in part] for part in self))


def split_by_composition(
    draw: Callable[[], Example],
    is_new: Callable[[Example], bool],
    n_train: int,
    n_heldout: int,
) -> Split:
    """Draw until both parts are full; an example that `is_new` can go to the held-out part only."""
    split = Split([], [])
    while len(split.train) < n_train or len(split.heldout) < n_heldout:
        example = draw()
        part, size = (split.heldout, n_heldout) if is_new(example) else (split.train, n_train)
        if len(part) < size:
            part.append(example)
    return split


def pick(rng: np.random.Generator, choices: Iterable[Any]) -> Any:
    """One of them, all equally likely."""
    choices = list(choices)
    return choices[rng.integers(len(choices))]


# ---- generation: a language whose verbs agree with a noun far away ---------------------------

PEOPLE = ("cat", "dog", "bird", "boy", "girl", "king", "queen", "horse")
DEEDS = ("see", "hear", "follow", "like", "help", "know")
LOOKS = ("small", "old", "young", "black")
END = "."  # stands before and after a sentence
SENTENCE_LENGTH = 17  # of the longest, both marks included


def trained(who: int, deed: int, whom: int) -> bool:
    """Whether the three may meet in training: of each two, at most one third is held out."""
    return (who + deed + whom) % len(PEOPLE) != 0


def everything(who: int, deed: int, whom: int) -> bool:
    return True


def agreement(allowed: Callable[[int, int, int], bool] = everything) -> Language:
    """ ". the cats near the old dog see the queen . . .": the verb agrees with its subject.

    Between the two stand up to two other nouns, in either number, to mislead. A state is the word
    that is due and what must be remembered for it. After the sentence the mark repeats for ever,
    which costs nothing. allowed: which subject, verb and object may meet, by their places in PEOPLE
    and DEEDS.
    """
    N = len(PEOPLE)

    def nouns(after: Callable[[int, bool], tuple], choices: Iterable[int] = range(N)) -> list[Step]:
        pairs = list(product(choices, (False, True)))
        return [(1 / len(pairs), PEOPLE[n] + "s" * plural, after(n, plural)) for n, plural in pairs]

    def verb(who: int, plural: bool, left: int) -> list[Step]:
        """The verb, or, if there is room for `left` more neighbours, another of these."""
        near = 1 / 2 if left else 0.0
        verbs: list[Step] = [
            ((1 - near) / len(DEEDS), deed + "s" * (not plural), ("the", "object", who, n))
            for n, deed in enumerate(DEEDS)
        ]
        return [*verbs, (near, "near", ("the", "neighbour", who, plural, left - 1))]

    def described(*due: Any) -> list[Step]:
        """What is due, or first an adjective."""
        adjectives: list[Step] = [(1 / 2 / len(LOOKS), look, due) for look in LOOKS]
        return adjectives + [(p / 2, word, after) for p, word, after in step(due)]

    def step(state: tuple) -> list[Step]:
        match state:
            case ("begin",):
                return [(1.0, END, ("the", "subject"))]
            case ("the", *due):
                return [(1.0, "the", ("described", *due))]
            case ("described", *due):
                return described(*due)
            case ("subject",):
                return nouns(lambda n, plural: ("verb", n, plural, 2))
            case ("neighbour", who, plural, left):
                return nouns(lambda *_: ("verb", who, plural, left))
            case ("verb", who, plural, left):
                return verb(who, plural, left)
            case ("object", who, deed):
                return nouns(lambda *_: ("end",), [n for n in range(N) if allowed(who, deed, n)])
        return [(1.0, END, ("end",))]

    words = [noun + ending for noun in PEOPLE + DEEDS for ending in ("", "s")]
    symbols = (END, "the", "near", *LOOKS, *words)
    return Language("verbs agree with a subject far away", symbols, {("begin",): 1.0}, step)


def law_nats(language: Language, sentence: Iterable[str]) -> float:
    """−log p of a sentence by the law of its language; infinite where it is not in the language.

    So this is what an all-knowing model would pay, and it recognises what the generator may write.
    """
    belief, nats = language.start, 0.0
    for symbol in sentence:
        read = language.read(belief)
        if symbol not in read:
            return math.inf
        p, belief = read[symbol]
        nats -= math.log(p)
    return nats


def sentences(language: Language, rng: np.random.Generator) -> Iterator[list[str]]:
    """Without end: sentences of `agreement`, from mark to mark."""
    while True:
        yield from map(until_end, language.sample(rng, 1000, SENTENCE_LENGTH))


def until_end(words: Sequence[str]) -> list[str]:
    """The first sentence: up to the first mark that is not the one before it."""
    return list(words[: words.index(END, 1) + 1] if END in words[1:] else words)


def agreement_corpus(rng: np.random.Generator, n_train: int, n_heldout: int) -> Split:
    """Sentences as lists of words. The trio of a held-out one never meets in training."""
    drawn, known = sentences(agreement(), rng), agreement(trained)
    return split_by_composition(
        lambda: next(drawn),
        lambda sentence: math.isinf(law_nats(known, sentence)),
        n_train,
        n_heldout,
    )


# ---- sentiment: two clauses of opposite sentiment, of which one counts -----------------------


class Review(NamedTuple):
    """A text, tokens separated by a space, and its class: 1 is praise, 0 is not."""

    text: str
    label: int


ASPECTS = ("food", "room", "staff", "music", "view", "wine", "service", "garden")
PRAISE = ("good", "great", "fine", "nice", "lovely", "pleasant", "superb", "perfect")
BLAME = ("bad", "poor", "awful", "nasty", "terrible", "horrible", "dreadful", "dull")
NEGATIONS = (  # each and how often it turns the sentiment round
    ("the {} was {}", 0),
    ("the {} was not {}", 1),
    ("nobody said the {} was {}", 1),
    ("nobody said the {} was not {}", 2),
)
CONNECTIVES = {"but": 1, "although": 0}  # which of the two clauses then counts


class Opinion(NamedTuple):
    """One clause of a review: aspect, adjective, and which of NEGATIONS."""

    aspect: str
    adjective: str
    negation: int

    @property
    def text(self) -> str:
        return NEGATIONS[self.negation][0].format(self.aspect, self.adjective)

    @property
    def label(self) -> int:
        return (self.adjective in PRAISE) ^ (NEGATIONS[self.negation][1] % 2)

    @property
    def is_new(self) -> bool:
        """Held out: one of the 4 negations with each adjective."""
        n = (PRAISE + BLAME).index(self.adjective)
        return n % len(NEGATIONS) == self.negation


def review(first: Opinion, connective: str, second: Opinion) -> Review:
    """After "but" the second clause counts, before "although" the first."""
    counts = (first, second)[CONNECTIVES[connective]]
    return Review(f"{first.text} {connective} {second.text}", counts.label)


def reviews_corpus(rng: np.random.Generator, n_train: int, n_heldout: int) -> Split:
    """Reviews in twins: "A but B" and "B but A", where A praises and B blames.

    A twin has the same words in another order, and the opposite class. So whoever counts words
    alone answers both alike, and is right about one of the two: 50 %, whatever was learned. The
    negation of an adjective in a held-out review is one that it never has in training.
    n_train and n_heldout count reviews; both parts are whole twins.
    """

    def opinion() -> Opinion:
        return Opinion(
            pick(rng, ASPECTS), pick(rng, PRAISE + BLAME), int(rng.integers(len(NEGATIONS)))
        )

    def draw() -> tuple[Opinion, str, Opinion]:
        first, second = opinion(), opinion()
        while first.label == second.label or first.aspect == second.aspect:
            second = opinion()
        return first, pick(rng, CONNECTIVES), second

    def is_new(drawn: tuple[Opinion, str, Opinion]) -> bool:
        return drawn[0].is_new or drawn[2].is_new

    split = split_by_composition(draw, is_new, n_train // 2, n_heldout // 2)
    return Split(
        *([review(*order) for drawn in part for order in (drawn, drawn[::-1])] for part in split)
    )


# ---- question answering: who moved what where ------------------------------------------------


class Story(NamedTuple):
    """A story, a question about it, and its answer, which starts at the token `start` of the text.

    Tokens are separated by a space. who: the person who brought the thing to the place, if told.
    """

    text: str
    question: str
    answer: str
    start: int
    who: str = ""

    def span(self) -> tuple[int, int]:
        """First and last token of the answer. Raises InputError where it does not stand there."""
        words, answer = self.text.split(), self.answer.split()
        end = self.start + len(answer)
        if not answer or self.start < 0 or words[self.start : end] != answer:
            raise InputError(
                f"the answer {self.answer!r} is not in the text at token {self.start}: an answer "
                f"must be a span of its text {self.text!r}"
            )
        return self.start, end - 1


ACTORS = ("Anna", "Ben", "Clara", "Dan")
THINGS = ("ball", "book", "key", "lamp")
PLACES = ("kitchen", "garden", "cellar", "office", "attic", "stable")
EVENTS = (2, 3, 4, 5)  # how many a story may have; one that cannot be is left out


def draw_story(rng: np.random.Generator) -> Story | None:
    """A story of people who walk, take and drop; None where nobody ever touched a thing.

    Each event is a walk (60 %), or a thing taken or dropped by somebody whose place was told. A
    thing lies where it was dropped, and is where its carrier is; where it was at first is unknown.
    """
    words: list[str] = []
    at: dict[str, int] = {}  # person or thing -> the token of the text that names its place
    place: dict[str, str] = {}
    carrier: dict[str, str] = {}
    toucher: dict[str, str] = {}
    for _ in range(pick(rng, EVENTS)):
        who, thing = pick(rng, ACTORS), pick(rng, THINGS)
        if rng.random() < 0.6 or who not in at:
            elsewhere = [one for one in PLACES if one != place.get(who)]
            place[who], at[who] = pick(rng, elsewhere), len(words) + 2
            words += f"{who} entered the {place[who]} .".split()
            moved = [who, *(each for each, by in carrier.items() if by == who)]
        elif carrier.get(thing) == who:
            del carrier[thing]
            words += f"{who} dropped the {thing} .".split()
            moved = []
        elif thing in carrier or place.get(thing, place[who]) != place[who]:
            continue
        else:
            carrier[thing] = toucher[thing] = who
            words += f"{who} took the {thing} .".split()
            moved = [thing]
        for each in moved:
            place[each], at[each] = place[who], at[who]
    if not toucher:
        return None
    asked = pick(rng, toucher)
    return Story(
        " ".join(words), f"where is the {asked} ?", f"the {place[asked]}", at[asked], toucher[asked]
    )


def is_new_answer(story: Story) -> bool:
    """Held out: for each two of person, thing and place, 1 or 2 of the third."""
    thing = story.question.split()[3]
    places = ACTORS.index(story.who), THINGS.index(thing), PLACES.index(story.answer.split()[1])
    return sum(places) % 4 == 0


def stories_corpus(rng: np.random.Generator, n_train: int, n_heldout: int) -> Split:
    """Stories with a question. In training, the trio of a held-out one never meets: who brought
    what, asked for, to where, the answer."""

    def draw() -> Story:
        while not (story := draw_story(rng)):
            pass
        return story

    return split_by_composition(draw, is_new_answer, n_train, n_heldout)
