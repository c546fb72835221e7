"""Generation: GPT writes sentences whose verb agrees with a subject far away.

The corpus is a language whose law is known, and with it the best perplexity there is; its
baselines, counts of n words in a row, must fail because the subject may stand further back.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, product
from typing import Any

import numpy as np

from ..arrays import Array, Rng
from ..errors import InputError
from ..gpt import GPT
from ..languages import Language, Step
from ..metrics import evaluate, perplexity
from ..ops import IGNORE
from ..sampling import GenerateConfig, generate_batch
from .compositions import Split, split_by_composition
from .tools import PADDING, Answer, Outcome, TaskConfig, Vocabulary, chosen, fit, mean_heads, table

# ---- the corpus: a language whose verbs agree with a noun far away ---------------------------

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

    Between the two stand up to two other nouns, in either number, to mislead. A state is the kind
    of word that comes next and what must be remembered for it. After the sentence the mark repeats
    for ever, which costs nothing. allowed: which subject, verb and object may meet, by their places
    in PEOPLE and DEEDS.
    """
    N = len(PEOPLE)

    def nouns(
        after: Callable[[int, bool], tuple[Any, ...]], choices: Iterable[int] = range(N)
    ) -> list[Step]:
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

    def described(*following: Any) -> list[Step]:
        """What comes next, or first an adjective."""
        adjectives: list[Step] = [(1 / 2 / len(LOOKS), look, following) for look in LOOKS]
        return adjectives + [(p / 2, word, after) for p, word, after in step(following)]

    def step(state: tuple[Any, ...]) -> list[Step]:
        match state:
            case ("begin",):
                return [(1.0, END, ("the", "subject"))]
            case ("the", *following):
                return [(1.0, "the", ("described", *following))]
            case ("described", *following):
                return described(*following)
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


def sentences(language: Language, rng: Rng) -> Iterator[list[str]]:
    """Without end: sentences of `agreement`, from mark to mark."""
    while True:
        yield from map(until_end, language.sample(rng, 1000, SENTENCE_LENGTH))


def until_end(words: Sequence[str]) -> list[str]:
    """The first sentence: up to the first mark that is not the one before it."""
    return list(words[: words.index(END, 1) + 1] if END in words[1:] else words)


def agreement_corpus(rng: Rng, n_train: int, n_heldout: int) -> Split:
    """Sentences as lists of words. The trio of a held-out one never meets in training."""
    drawn, known = sentences(agreement(), rng), agreement(trained)
    return split_by_composition(
        lambda: next(drawn),
        lambda sentence: math.isinf(law_nats(known, sentence)),
        n_train,
        n_heldout,
    )


# ---- the baseline: counts of words in a row --------------------------------------------------


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

    def sample(self, first: str, last: str, length: int, rng: Rng) -> list[str]:
        """A text from `first` to the next `last`, or of `length` tokens; counts as they are."""
        text = [first]
        while len(text) < length and (len(text) == 1 or text[-1] != last):
            counts = self.after[self.context(text, len(text))]
            p = np.array([*counts.values()]) / counts.total()
            text.append(str(rng.choice([*counts], p=p)))
        return text


# ---- the task --------------------------------------------------------------------------------


def generation(config: TaskConfig, rng: Rng) -> Outcome:
    """Sentences whose verb agrees with a subject far away."""
    split = agreement_corpus(rng, config.examples, config.heldout_examples)
    known = list(islice(sentences(agreement(trained), rng), config.heldout_examples))
    vocabulary = Vocabulary(agreement().symbols)
    context = SENTENCE_LENGTH - 1
    sizes = {"vocab_size": len(vocabulary), "context_length": context} | config.size()
    model = GPT(rng=rng, **sizes)
    fit(model, next_words(vocabulary, split.train), config, rng)

    def row(nats: Callable[[Any], float], written: list[list[str]]) -> dict[str, float]:
        """What the method pays for sentences, and what it writes, as scores."""
        costs = {
            name: perplexity(nats(part), sum(len(text) - 1 for text in part))
            for name, part in (("perplexity", known), ("perplexity, new trios", split.heldout))
        }
        return costs | writing_scores(written)

    N, laws = config.heldout_examples, (agreement(), agreement(trained))
    written = write(model, vocabulary, N, rng)
    scores = {"GPT": row(lambda part: model_nats(model, vocabulary, part), written)}
    for n in (2, 4):
        counts = Ngram(split.train, n)
        drawn = [counts.sample(END, END, SENTENCE_LENGTH, rng) for _ in range(N)]
        scores[f"{n} words in a row"] = row(counts.nats, drawn)
    scores["the law itself"] = row(
        lambda part: sum(min(law_nats(law, text) for law in laws) for text in part),
        [*islice(sentences(laws[0], rng), N)],
    )

    def answer(n: int) -> Answer:
        """Row t shows what was read to find the word after word t."""
        text = written[n]
        _, cache = model.forward(vocabulary.encode(" ".join(text[:-1])))
        a = mean_heads(model.attention_maps(cache).values())
        return Answer(right[n], ["-> " + described(text)], text[:-1], text[:-1], a)

    right = [bool(math.isfinite(law_nats(laws[0], text))) for text in written]
    return Outcome(scores, [answer(n) for n in chosen(right, config.show)])


def next_words(vocabulary: Vocabulary, texts: Sequence[list[str]]) -> dict[str, Array]:
    """ids and targets (N, T) for GPT; what is behind the end of a sentence is not predicted."""
    rows = table([vocabulary.encode(" ".join(text)) for text in texts])
    return {"ids": rows[:, :-1], "targets": np.where(rows == PADDING, IGNORE, rows)[:, 1:]}


def model_nats(model: GPT, vocabulary: Vocabulary, texts: Sequence[list[str]]) -> float:
    """−log p of the sentences, but for the first token of each."""
    examples = next_words(vocabulary, texts)
    return evaluate(model, [(examples["ids"], examples["targets"])]).nats


def write(model: GPT, vocabulary: Vocabulary, n: int, rng: Rng) -> list[list[str]]:
    """n sentences, each token drawn with the probability that the model gives it."""
    begin, draw = vocabulary.encode(END), GenerateConfig(tokens=SENTENCE_LENGTH - 1)
    drawn = generate_batch(model, [begin] * n, draw, rng.spawn(n))
    return [until_end([END, *vocabulary.decode(one.ids)]) for one in drawn]


def writing_scores(written: Sequence[list[str]]) -> dict[str, float]:
    """in the language: it could have been said.   new trios: and was not in training."""
    law, known = agreement(), agreement(trained)
    could = [text for text in written if text[-1] == END and math.isfinite(law_nats(law, text))]
    new = [text for text in could if math.isinf(law_nats(known, text))]
    return {"in the language": len(could) / len(written), "new trios": len(new) / len(written)}


def described(text: list[str]) -> str:
    """The sentence, with a bar before the first word that could not stand there."""
    law = agreement()
    for n in range(len(text)):
        if math.isinf(law_nats(law, text[: n + 1])):
            return " ".join([*text[:n], "|", *text[n:]])
    return " ".join(text)
