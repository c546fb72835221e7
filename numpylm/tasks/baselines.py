"""What each task is compared with: methods that know the words, and must fail for a stated reason.

word_by_word    a dictionary. It keeps the order of the source, and has one form for each word
Ngram           counts of n words in a row. The subject of a verb may stand further back
NaiveBayes      counts of words. Twins have the same words, and opposite classes
last_place      the place told last. Others walk on after the thing was left behind
place_at_touch  the place told last before the thing was. Its carrier walks on, or others did
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise, product

import numpy as np

from ..errors import InputError
from ..ops import Array
from .corpora import PLACES, Review, Story
from .pairs import Pair


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


class Ngram:
    """p(x_t | x_{t−n+1} … x_{t−1}) = (count + α p(x_t)) / (count of the context + α)

    α = 0.1 gives what was never counted a share of p(x_t) = count(x_t) / tokens. The first token of
    a text is given; further contexts that reach before it are as short as the text there is.
    """

    ALPHA = 0.1

    def __init__(self, texts: Iterable[Sequence[str]], n: int):
        if n < 2:
            raise InputError(f"n must be at least 2, not {n}: a word and the one before it")
        self.n = n
        self.after: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        self.words = Counter[str]()
        for text in texts:
            self.words.update(text[1:])
            for t in range(1, len(text)):
                self.after[self.context(text, t)][text[t]] += 1

    def context(self, text: Sequence[str], t: int) -> tuple[str, ...]:
        return tuple(text[max(0, t - self.n + 1) : t])

    def nats(self, texts: Iterable[Sequence[str]]) -> float:
        """−log p of all tokens but the first of each text; infinite if one was never counted."""
        return -sum(self.log_p(text, t) for text in texts for t in range(1, len(text)))

    def log_p(self, text: Sequence[str], t: int) -> float:
        counts, word = self.after.get(self.context(text, t), Counter()), text[t]
        share = self.ALPHA * self.words[word] / self.words.total()
        p = (counts[word] + share) / (counts.total() + self.ALPHA)
        return math.log(p) if p else -math.inf

    def sample(self, first: str, last: str, length: int, rng: np.random.Generator) -> list[str]:
        """A text from `first` to the next `last`, or of `length` tokens; counts as they are."""
        text = [first]
        while len(text) < length and (len(text) == 1 or text[-1] != last):
            counts = self.after[self.context(text, len(text))]
            p = np.array([*counts.values()]) / counts.total()
            text.append(str(rng.choice([*counts], p=p)))
        return text


class NaiveBayes:
    """p(class | text) ∝ p(class) Π p(feature | class)^count, with add-one smoothing.

    features: what is counted in a text; its words, or pairs of them. A class that is never seen in
    training keeps its smoothed share, and features that are never seen count for nothing.
    """

    def __init__(
        self, reviews: Sequence[Review], features: Callable[[str], list[str]], classes: int = 2
    ):
        self.features = features
        vocabulary = sorted({f for review in reviews for f in features(review.text)})
        self.ids = {feature: n for n, feature in enumerate(vocabulary)}
        counts, texts = np.ones((classes, len(vocabulary))), np.ones(classes)
        for review in reviews:
            counts[review.label] += self.count(review.text)
            texts[review.label] += 1
        self.log_p = np.log(counts / counts.sum(axis=1, keepdims=True))
        self.log_prior = np.log(texts / texts.sum())

    def count(self, text: str) -> Array:
        """How often each known feature occurs in the text; shape (features,)."""
        known = [self.ids[feature] for feature in self.features(text) if feature in self.ids]
        return np.bincount(known, minlength=len(self.ids))

    def predict(self, text: str) -> int:
        """The likeliest class; of two equally likely ones the first."""
        return int(np.argmax(self.log_prior + self.log_p @ self.count(text)))


def single_words(text: str) -> list[str]:
    return text.split()


def word_pairs(text: str) -> list[str]:
    words = text.split()
    return [f"{one} {two}" for one, two in pairwise(words)]


def last_place(text: str) -> str:
    """The place told last, as "the kitchen"; "" where none is."""
    places = [word for word in text.split() if word in PLACES]
    return f"the {places[-1]}" if places else ""


def place_at_touch(story: Story) -> str:
    """The place told last before the last mention of the thing that is asked for."""
    thing = story.question.split()[3]
    return last_place(story.text[: story.text.rfind(thing)])
