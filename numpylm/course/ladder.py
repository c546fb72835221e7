"""The ladder: from the one-matrix model to a Transformer block, one repair at a time.

Every rung is a configuration of AttentionLM or GPT, and every language below was chosen because
some rung cannot learn it while a later one can. All are judged by nats over the entropy.

What is derived, for any E and after any training (G = E Eᵀ, so G_xy = e_x·e_y = G_yx):

1. One token is no rule of succession. After x alone, tied models have the logits G_xw, plus b_w if
   there are positions. On the cycle of n words, summed over x, the right word beats x itself by

       Σ_x (G_x,x+1 + b_x+1 − G_xx − b_x) = Σ_x (e_x·e_x+1 − |e_x|²) ≤ 0

   and beats x − 1 by 0, because G is symmetric. log(1 + Σ exp(−margin)) is convex, so the mean loss
   is at least ln 2 for n = 2 and ln 3 for n > 2: for the first of the T predictions.
2. On "ababab…" without positions no later prediction is cheaper. Let x be the last word, y the
   other, and w_x the weight on all the x; the margin of y is (1 − w_x)(G_yy − G_xy) − w_x (G_xx −
   G_xy). The margins after a and after b add up to |e_a − e_b|² (1 − w_a − w_b). The last word is
   seen as often as the other or once more, so w = sigmoid(≥ 0 + scale (G_xx − G_xy)), and the two
   arguments sum to at least scale |e_a − e_b|² ≥ 0: w_a + w_b ≥ 1, and every prediction costs ln 2.
3. Without positions c_i is the same for every order of the tokens before i, whatever the tables and
   projections: no loss is below H(x_{i+1} | x_i, the unordered x_1 … x_{i−1}).
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..attention_lm import AttentionLM
from ..config import Config, option
from ..corpora import Corpus, CorpusConfig, load_corpus
from ..errors import InputError
from ..gpt import GPT
from ..languages import LANGUAGES, Language, State
from ..model import Model
from ..processes import side_by_side
from ..training import Training, train

if TYPE_CHECKING:
    from matplotlib.figure import Figure

T, C = 8, 16
SCALED = {"scale": C**-0.5}
SENTENCES, HELDOUT = 32768, 2048  # more than a training sees: nothing can be learned by heart


class Limit(NamedTuple):
    """Why a rung stays above the entropy of a language: by at least `excess` nats, if derived."""

    reason: str
    excess: float = 0.0


FIRST = Limit("derived (1): the first prediction alone costs ln 3", math.log(3) / T)
FIRST_AB = Limit(
    "derived (1): the first prediction alone costs ln 2; numbers set by hand reach 0.377, h(1/8), "
    "where training seldom leaves ln 2",
    math.log(2) / T,
)
ALWAYS_AB = Limit("derived (2): every prediction costs ln 2", math.log(2))
SYMMETRIC = Limit("measured: the law of succession is not symmetric, G is")
NO_ORDER = {  # order_free_entropy minus entropy, which a test computes
    "order2": Limit("derived (3): the order of the tokens is not seen", math.log(2) / 5),
    "copy": Limit("derived (3): the order of the tokens is not seen", 0.27373289),
}
ONE_MATRIX = {"abab": ALWAYS_AB, "cycle": FIRST, "markov": SYMMETRIC, **NO_ORDER}
# Without feed-forward the logits add up what is read. The second prediction of order2, x_2 − x_1,
# is no sum of two laws and costs about ln 5. The later ones equal −x_{t−2}: a position may read the
# one two before it and say the negative. But then the first, which can read only itself, says the
# same where nothing is known, because c_1 and c_3 are one vector. So it is in trained models. In
# copy c_1, where a new letter follows, equals c_4, where x_1 follows.
ADDED = Limit("measured: logits only add up what is read, and the first token can only read itself")
TOO_EARLY = Limit("measured: the first token can only read itself, and repeats it before its turn")


class Rung(NamedTuple):
    """A model of the ladder, what it repairs, and the languages that it cannot learn."""

    title: str
    model: type[Model]
    options: Mapping[str, Any]
    repairs: str
    limits: Mapping[str, Limit] = {}


RUNGS = {
    "one-matrix": Rung(
        "one matrix, causal",
        AttentionLM,
        {},
        "nothing yet: a word predicts words like itself, which is all that `topics` asks for",
        ONE_MATRIX,
    ),
    "scale": Rung(
        "+ scale",
        AttentionLM,
        SCALED,
        "scores stay of one size for every width: easier to train, nothing new can be said",
        ONE_MATRIX,
    ),
    "positions": Rung(
        "+ positions (tied)",
        AttentionLM,
        SCALED | {"positions": True},
        "the order of the tokens is seen",
        {"abab": FIRST_AB, "cycle": FIRST, "markov": SYMMETRIC, "order2": ADDED, "copy": TOO_EARLY},
    ),
    "table": Rung(
        "separate output table",
        AttentionLM,
        SCALED | {"tied": False},
        "x may be followed by y and not y by x: any law of succession can be learned",
        NO_ORDER,
    ),
    "table-positions": Rung(
        "separate output + positions",
        AttentionLM,
        SCALED | {"tied": False, "positions": True},
        "succession and order, but a word that is read still says what it says about itself",
        {"order2": ADDED, "copy": TOO_EARLY},
    ),
    "qkv": Rung(
        "Q, K, V (tied)",
        AttentionLM,
        SCALED | {"projections": True},
        "what a word asks, answers and says are three things; succession needs no second table",
        NO_ORDER,
    ),
    "qkv-positions": Rung(
        "Q, K, V + positions (tied)",
        AttentionLM,
        SCALED | {"projections": True, "positions": True},
        "a position may ask for another one: the token before, or the one four before",
        {"order2": ADDED, "copy": TOO_EARLY},
    ),
    "block": Rung(
        "+ residual + feed-forward",
        GPT,
        {"layers": 1, "heads": 1},
        "a Transformer block: what was read and the word itself are combined, not only added",
    ),
}


@dataclass(frozen=True)
class LadderConfig(Config):
    """the ladder"""

    languages: str = option(
        "random,topics,abab,cycle,markov,order2,copy", "which toy languages, with commas"
    )
    rungs: str = option(",".join(RUNGS), "which models, with commas")
    steps: int = option(1500, "how many batches each learns from", minimum=1)
    seeds: int = option(
        3, "how often each is trained, from other initial numbers", minimum=1, maximum=10**4
    )
    processes: int = option(2, "how many are trained at the same time", minimum=1, maximum=1024)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, known in (("languages", LANGUAGES), ("rungs", RUNGS)):
            for one in getattr(self, name).split(","):
                if one not in known:
                    raise InputError(f"{name} has no {one!r}: choose from {', '.join(known)}")


class Job(NamedTuple):
    """One training; plain data, so that another process can take it over."""

    rung: str
    language: str
    seed: int
    steps: int


def train_rung(job: Job) -> Training:
    """Train one rung on one language."""
    rung, corpus = RUNGS[job.rung], _corpus(job.language)
    V = corpus.tokenizer.vocab_size
    config = rung.model.Config.from_dict(
        {"vocab_size": V, "context_length": T, "width": C, **rung.options}
    )
    rng = np.random.default_rng(job.seed)
    model = rung.model(config, rng)
    training: Training = train(
        model, corpus, job.steps, eval_every=job.steps, progress=False, rng=rng
    ).training
    return training


def excess_of(job: Job) -> float:
    """Nats per token that a rung, trained, pays over the true law on the same held-out sentences.

    In the mean over all sentences that is loss minus entropy; on the same ones, chance cancels.
    """
    return train_rung(job).final_evaluation().loss - _truth(job.language)


@cache
def _corpus(language: str) -> Corpus:
    return load_corpus(
        CorpusConfig(corpus=language, sentences=SENTENCES, heldout_sentences=HELDOUT), T
    )


@cache
def _truth(language: str) -> float:
    """Nats per token that the true law pays on the held-out sentences, as evaluate counts them."""
    corpus, law = _corpus(language), LANGUAGES[language]()
    symbols = np.array(corpus.tokenizer.symbols)
    return float(np.mean([law.nats(sentence)[1:] for sentence in symbols[corpus.heldout]]))


def climb(config: LadderConfig) -> dict[tuple[str, str], list[float]]:
    """(rung, language) -> its excess over the entropy, in nats per token, for each seed, sorted."""
    cells = [*product(config.rungs.split(","), config.languages.split(","))]
    jobs = [Job(*cell, seed, config.steps) for cell in cells for seed in range(config.seeds)]
    jobs.sort(key=lambda job: RUNGS[job.rung].model is GPT, reverse=True)  # the slow ones first
    results = side_by_side(excess_of, [(job,) for job in jobs], config.processes)
    table: dict[tuple[str, str], list[float]] = {cell: [] for cell in cells}
    for job, excess in zip(jobs, results, strict=True):
        table[job.rung, job.language].append(excess)
    return {cell: sorted(excesses) for cell, excesses in table.items()}


def order_free_entropy(language: Language, length: int) -> float:
    """Mean of H(x_{i+1} | x_i, the unordered x_1 … x_{i-1}) over i = 1 … length-1, in nats.

    Derivation 3: no model without positions is better. Every reachable (state, x_i, unordered past)
    is visited, so the language must have few.
    """
    reached: dict[tuple[State, str, tuple[Any, ...]], float] = defaultdict(float)
    for first, b in language.start.items():
        for p, symbol, state in language.step(first):
            reached[state, symbol, ()] += b * p
    nats = 0.0
    for _ in range(length - 1):
        following: dict[tuple[Any, ...], dict[str, float]] = defaultdict(lambda: defaultdict(float))
        longer: dict[tuple[State, str, tuple[Any, ...]], float] = defaultdict(float)
        for (state, last, before), b in reached.items():
            for p, symbol, after in language.step(state):
                following[last, before][symbol] += b * p
                longer[after, symbol, tuple(sorted((*before, last)))] += b * p
        for law in following.values():
            total = math.fsum(law.values())
            nats -= math.fsum(p * math.log(p / total) for p in law.values() if p > 0)
        reached = longer
    return nats / (length - 1)


# ---- what a person is told -------------------------------------------------------------------


def spread(excesses: Sequence[float]) -> str:
    """The best and the worst seed, or one number where they agree to three digits."""
    best, worst = (f"{round(x, 3) + 0.0:.3f}" for x in (min(excesses), max(excesses)))
    return best if best == worst else f"{best}-{worst}"


def ladder_text(table: Mapping[tuple[str, str], Sequence[float]]) -> str:
    """The table of excess nats, and below it what each rung repairs and cannot learn."""
    rungs, languages = _names(table)
    lines = [" " * 29 + "".join(f"{name:>13}" for name in languages)]
    for rung in rungs:
        cells = "".join(f"{spread(table[rung, language]):>13}" for language in languages)
        lines.append(f"{RUNGS[rung].title:29}{cells}")
    entropies = "".join(f"{_corpus(language).entropy:13.3f}" for language in languages)
    lines += [f"{'entropy of the language':29}{entropies}", ""]
    for rung in rungs:
        lines.append(f"{RUNGS[rung].title}: {RUNGS[rung].repairs}")
        for language, limit in RUNGS[rung].limits.items():
            if language in languages:
                least = f" (at least {limit.excess:.3f})" if limit.excess else ""
                lines.append(f"    not {language}{least}, {limit.reason}")
    return "\n".join(lines)


def draw_ladder(table: Mapping[tuple[str, str], Sequence[float]]) -> "Figure":
    """The table as a picture, with the derived limits in its cells."""
    from ..figures import ladder_map

    rungs, languages = _names(table)
    none = Limit("")
    return ladder_map(
        [RUNGS[rung].title for rung in rungs],
        languages,
        np.array([[min(table[rung, language]) for language in languages] for rung in rungs]),
        [[spread(table[rung, language]) for language in languages] for rung in rungs],
        np.array([[RUNGS[r].limits.get(x, none).excess for x in languages] for r in rungs]),
    )


def _names(table: Mapping[tuple[str, str], Any]) -> tuple[list[str], list[str]]:
    rungs, languages = (list(dict.fromkeys(names)) for names in zip(*table, strict=True))
    return rungs, languages
