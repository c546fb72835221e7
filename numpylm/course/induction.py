"""Induction heads: what two layers of attention can do and one cannot.

In `recall` every letter has a digit of its own, drawn anew for each sentence: "c5a0f3c5…". Whoever
finds an earlier place s of the present letter, x_s = x_t, knows the next token: x_{s+1}. The head
that reads s + 1 is an induction head. What it looks for belongs to x_s, what it fetches is x_{s+1},
and a single layer makes keys and values from one token each: another layer has to prepare them.
How, is up to the training. Often a head of layer 1 reads the token before; in the figure it reads
all letters but those equal to x_t.

Source: Elhage et al. 2021, A Mathematical Framework for Transformer Circuits; Olsson et al. 2022,
In-context Learning and Induction Heads. That one layer stays above the entropy is measured here;
Sanford, Hsu and Telgarsky 2024, One-layer transformers fail to solve the induction heads task,
derive how large it would have to be.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import Array
from ..config import SEEDS, Config, option
from ..corpora import CorpusConfig, load_corpus
from ..gpt import GPT, GPTConfig
from ..training import Training, train

if TYPE_CHECKING:
    from matplotlib.figure import Figure

T = 24
LANGUAGE = CorpusConfig(corpus="recall", sentences=65536, heldout_sentences=512)


@dataclass(frozen=True)
class InductionConfig(Config):
    """induction"""

    steps: int = option(1200, "how many batches each model learns from", minimum=1)
    seed: int = option(
        0, "seed of the initial numbers and the order of the data", minimum=0, maximum=SEEDS
    )


def train_layers(layers: int, config: InductionConfig) -> Training:
    """A GPT of so many layers, each with one head, trained on `recall`.

    Weights start at 0.1 and batches are large: with 0.02, or 32 sentences, heads form much later.
    """
    corpus = load_corpus(LANGUAGE, T)
    V = corpus.tokenizer.vocab_size
    gpt_config = GPTConfig(V, T, layers=layers, heads=1, width=32, init_std=0.1)
    rng = np.random.default_rng(config.seed)
    training: Training = train(
        GPT(gpt_config, rng),
        corpus,
        config.steps,
        learning_rate=0.005,
        batch_size=128,
        warmup=50,
        eval_every=config.steps,
        progress=False,
        rng=rng,
    ).training
    return training


def after_the_same(ids: Array) -> Array:
    """(N, T) -> (N, T, T) boolean: at [t, j], whether j follows an earlier place of the token x_t.

    j = s + 1 with s < t and x_s = x_t
    """
    same = (ids[:, :, None] == ids[:, None, :]) & np.tri(ids.shape[1], k=-1, dtype=bool)
    after = np.zeros_like(same)
    after[:, :, 1:] = same[:, :, :-1]
    places: Array = after
    return places


def induction_scores(run: Training) -> list[float]:
    """For each layer: how much of its attention goes where an induction head looks.

    Mean of Σ_j a_tj [j is after the same letter] over the letters that came before, in held-out
    sentences: 1 for a perfect induction head.
    """
    ids = run.batches.heldout[:, :-1]
    after = after_the_same(ids)
    after[:, 1::2] = False  # what follows a digit is random
    came_before = after.any(axis=-1)
    weight = [(a * after).sum(axis=-1)[came_before].mean() for a in attention_of(run, ids)]
    return [float(w) for w in weight]


def attention_of(run: Training, ids: Array) -> list[Array]:
    """The weights (N, T, T) of the one head of each layer."""
    _, cache = run.model.forward(ids)
    return [a[:, 0] for a in run.model.attention_maps(cache).values()]


def induction_text(run: Training) -> str:
    """What a model reaches, and the score of each of its layers."""
    loss, entropy = run.final_evaluation().loss, run.batches.entropy or 0.0
    scores = ", ".join(f"{score:.2f}" for score in induction_scores(run))
    return (
        f"layers: {run.model.config.layers}   nats per token: {loss:.3f}, "
        f"{loss - entropy:+.3f} over the entropy   induction score by layer: {scores}"
    )


def draw_induction(run: Training) -> "Figure":
    """What each layer reads in the first held-out sentence, and where an induction head looks."""
    from ..figures import marked_attention

    ids = run.batches.heldout[:1, :-1]
    after = after_the_same(ids)
    after[:, 1::2] = False
    return marked_attention(
        {f"layer {n}": a[0] for n, a in enumerate(attention_of(run, ids), start=1)},
        [run.batches.tokenizer.symbols[i] for i in ids[0]],
        after[0],
    )
