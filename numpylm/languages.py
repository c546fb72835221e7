"""Toy languages: small machines that write sentences, and whose entropy is known.

What no model can beat is the entropy of the language. Here it is computed from the machine that
writes the sentences, so the held-out loss of a model can be compared with the truth.
"""

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, product
from typing import Any

import numpy as np

from .arrays import Rng
from .errors import InputError

State = Any  # whatever can be a key: a letter, a pair, the brackets still open
Step = tuple[float, str, State]  # probability, the symbol written, the state after it
Belief = Mapping[State, float]  # a distribution over states


@dataclass(frozen=True)
class Language:
    """A machine with hidden states: in state s it writes a symbol and moves on.

    start: the distribution of the first state. step(s): every (probability, symbol, next state)
    that may follow; the probabilities sum to 1. A sentence starts at `start` and has a given
    length, so each sentence is one window.

    alike(s): states for which it is equal write symbols of the same probabilities from then on, if
    of other names. It only shortens the computation of the entropy.
    """

    summary: str
    symbols: tuple[str, ...]
    start: Belief
    step: Callable[[State], list[Step]]
    alike: Callable[[State], Hashable] = lambda state: state

    def sample(self, rng: Rng, n_sentences: int, length: int) -> list[list[str]]:
        """n_sentences independent sentences, each a list of `length` symbols."""

        @lru_cache(10_000)  # a state that remembers a past seldom returns
        def choices(state: State) -> tuple[list[float], list[Step]]:
            steps = self.step(state)
            return list(accumulate(step[0] for step in steps)), steps

        states = list(self.start)
        start_below = list(accumulate(self.start.values()))

        def pick(u: float, below: list[float]) -> int:
            return min(bisect_right(below, u), len(below) - 1)  # a sum may round to less than 1

        sentences = []
        for first, *uniform in rng.random((n_sentences, 1 + length)).tolist():
            state = states[pick(first, start_below)]
            sentence = []
            for u in uniform:
                below, steps = choices(state)
                _, symbol, state = steps[pick(u, below)]
                sentence.append(symbol)
            sentences.append(sentence)
        return sentences

    def read(self, belief: Belief) -> dict[str, tuple[float, Belief]]:
        """The true prediction: symbol -> its probability, and the belief after reading it.

            p(x)      = Σ_s b(s) Σ_s' p(x, s' | s)             the next symbol
            b(s' | x) = Σ_s b(s) p(x, s' | s) / p(x)           the state after it (Bayes)

        Only symbols that can occur are listed. The belief before the first symbol is `start`.
        """
        joint: dict[str, dict[State, float]] = defaultdict(lambda: defaultdict(float))
        for state, b in belief.items():
            for p, symbol, after in self.step(state):
                if b * p > 0:
                    joint[symbol][after] += b * p
        read: dict[str, tuple[float, Belief]] = {}
        for symbol, states in joint.items():
            p = math.fsum(states.values())
            read[symbol] = p, {state: q / p for state, q in states.items()}
        return read

    def nats(self, sentence: Sequence[str]) -> list[float]:
        """−log p(x_t | x_1..x_{t−1}) for every symbol, also the first: what truth itself pays.

        Raises KeyError for a sentence that the machine never writes.
        """
        belief, nats = self.start, []
        for symbol in sentence:
            p, belief = self.read(belief)[symbol]
            nats.append(-math.log(p))
        return nats

    def entropy_by_position(self, length: int) -> np.ndarray:
        """H(x_{t+1} | x_1..x_t) in nats for t = 1..length-1; shape (length - 1,).

            H(x_{t+1} | x_1..x_t) = −Σ_b P(b) Σ_x p(x | b) log p(x | b)

        The past enters through the belief b alone, so pasts with equal beliefs are counted as one
        (equal to 12 digits, as the order of a sum changes the last ones). That leaves few. Pasts
        that have led to one known state are equal if their states are `alike`.
        """
        if length < 2:
            raise InputError(f"length must be at least 2 to leave a token to predict, not {length}")
        beliefs = [(1.0, self.start)]
        nats = []
        for _ in range(length):
            h = 0.0
            merged: dict[frozenset[Any], tuple[float, Belief]] = {}
            for weight, belief in beliefs:
                for p, after in self.read(belief).values():
                    h -= weight * p * math.log(p)
                    name = self.alike if len(after) == 1 else lambda state: state
                    key = frozenset((name(state), round(b, 12)) for state, b in after.items())
                    before = merged[key][0] if key in merged else 0.0
                    merged[key] = before + weight * p, after
            beliefs = list(merged.values())
            nats.append(h)
        return np.array(nats[1:])

    def entropy(self, length: int) -> float:
        """Mean of `entropy_by_position`: nats per predicted token. The first is given."""
        return float(self.entropy_by_position(length).mean())


def random() -> Language:
    """Eight letters, independent and uniform: entropy ln 8 everywhere. Less is a leak."""
    letters = "abcdefgh"
    return Language(
        "independent, uniform letters: nothing to learn",
        tuple(letters),
        {"": 1.0},
        lambda state: [(1 / 8, letter, "") for letter in letters],
    )


def cycle(letters: str = "abcde") -> Language:
    """Round and round, from a letter drawn uniformly: entropy 0."""
    n = len(letters)
    return Language(
        f"{letters} round and round, from any letter",
        tuple(letters),
        {i: 1 / n for i in range(n)},
        lambda i: [(1.0, letters[i], (i + 1) % n)],
    )


def abab() -> Language:
    """The 2-cycle: ababab... or bababa..."""
    return cycle("ab")


def markov() -> Language:
    """Each of six letters follows by a fixed law from the one before it: p(y | x) = P[x, y].

    The rows of P are drawn from Dirichlet(0.3, ..., 0.3) with seed 12. x_1 is drawn from the
    stationary distribution π = π P, so the entropy is the same everywhere:
    −Σ_x π_x Σ_y P_xy log P_xy = 1.036 nats.
    """
    letters = "abcdef"
    P = np.random.default_rng(12).dirichlet([0.3] * 6, size=6)
    stationary = np.linalg.matrix_power(P, 1000)[0]
    return Language(
        "each letter depends on the one before it",
        tuple(letters),
        {x: float(stationary[x]) for x in range(6)},
        lambda x: [(float(P[x, y]), letters[x], y) for y in range(6)],
    )


def order2() -> Language:
    """x_t = x_{t-1} - x_{t-2} mod 5, from two uniform digits: ln 5 for the second, then 0.

    The state is the pair of the next two digits.
    """
    return Language(
        "x[t] = x[t-1] - x[t-2] mod 5, from two random digits",
        tuple("01234"),
        {pair: 1 / 25 for pair in product(range(5), range(5))},
        lambda pair: [(1.0, str(pair[0]), (pair[1], (pair[1] - pair[0]) % 5))],
    )


def copy(half: int = 4, letters: str = "abcd") -> Language:
    """`half` uniform letters, then the same again, and so on with the next `half`.

    The state is what has been written of the two halves. ln 4 for a new letter, 0 for a copied.
    """

    def step(written: str) -> list[Step]:
        if len(written) < half:
            return [(1 / len(letters), letter, written + letter) for letter in letters]
        letter = written[len(written) - half]
        done = len(written) + 1 == 2 * half
        return [(1.0, letter, "" if done else written + letter)]

    return Language(
        f"{half} random letters, then the same {half} again", tuple(letters), {"": 1.0}, step
    )


def recall(letters: str = "abcdef", digits: str = "01234567") -> Language:
    """A letter, its digit, a letter, its digit: a letter that comes again has the same digit again.

    Letters are uniform, and so is the digit of a letter that is new. A digit therefore costs ln 8
    the first time and 0 from then on, for whoever finds the letter and reads what followed it.

    The state is what has been found out, as "c5a0", and the letter whose digit comes next, or "".
    How many letters are known, and whether that one is among them, is enough for the entropy.
    """

    def step(state: tuple[str, str]) -> list[Step]:
        known, asked = state
        if not asked:
            return [(1 / len(letters), letter, (known, letter)) for letter in letters]
        if asked in known:
            return [(1.0, known[known.index(asked) + 1], (known, ""))]
        return [(1 / len(digits), digit, (known + asked + digit, "")) for digit in digits]

    return Language(
        "letters, each with a digit of its own that follows it every time",
        (*letters, *digits),
        {("", ""): 1.0},
        step,
        alike=lambda state: (len(state[0]), bool(state[1]), state[1] in state[0]),
    )


def brackets(depth: int = 4) -> Language:
    """A walk among nested brackets of two kinds, at most `depth` deep, from no open bracket.

    The state is what must still be closed. Where both are possible, opening and closing have
    probability 1/2 each; both kinds open equally often. Every sentence starts at depth 0, but its
    end may leave brackets open: the window ends, the walk does not.
    """

    def step(due: str) -> list[Step]:
        if not due:
            return [(0.5, "(", ")"), (0.5, "[", "]")]
        if len(due) == depth:
            return [(1.0, due[0], due[1:])]
        return [(0.25, "(", ")" + due), (0.25, "[", "]" + due), (0.5, due[0], due[1:])]

    return Language(f"nested brackets, at most {depth} deep", tuple("()[]"), {"": 1.0}, step)


TOPICS = {
    "money": "loan coin debt price wage profit tax salary",
    "river": "water boat fish bridge mud flood reed shore",
    "music": "song drum violin choir melody piano rhythm tune",
    "sport": "ball team goal score race coach match stadium",
    "garden": "rose seed leaf soil spade bee lawn flower",
    "factory": "steel engine worker machine smoke wheel boiler crane",
}
SHARED = {  # what replaces a word of TOPICS in `senses`
    "salary": "bank",
    "shore": "bank",
    "tune": "pitch",
    "stadium": "pitch",
    "flower": "plant",
    "crane": "plant",
}


def topics() -> Language:
    """A sentence draws one of six topics, then each word uniformly from the eight of that topic.

    No word is in two topics, so the first word tells the topic and each further one costs ln 8.
    """
    return _from_topics("each sentence keeps to one of six topics", {})


def senses() -> Language:
    """`topics`, where two topics each share a word: bank, pitch, plant. The others tell the sense.

    After "bank" alone the topic is open; the entropy is therefore a little above that of a topic.
    """
    return _from_topics("topics that share the words bank, pitch and plant", SHARED)


def _from_topics(summary: str, renamed: Mapping[str, str]) -> Language:
    words = {
        topic: [renamed.get(word, word) for word in line.split()] for topic, line in TOPICS.items()
    }
    return Language(
        summary,
        tuple(dict.fromkeys(word for row in words.values() for word in row)),
        {topic: 1 / len(words) for topic in words},
        lambda topic: [(1 / len(words[topic]), word, topic) for word in words[topic]],
    )


LANGUAGES: dict[str, Callable[[], Language]] = {
    "random": random,
    "abab": abab,
    "cycle": cycle,
    "markov": markov,
    "order2": order2,
    "copy": copy,
    "recall": recall,
    "brackets": brackets,
    "topics": topics,
    "senses": senses,
}
