"""What the command line trains by name: a model, a corpus, and how; each with its options."""

from dataclasses import replace
from typing import NamedTuple

from .attention_lm import AttentionLM, AttentionLMConfig
from .corpora import CorpusConfig
from .gpt import GPT, GPTConfig
from .llama import Llama, LlamaConfig
from .model import Model, ModelConfig
from .train_config import TrainConfig


class Recipe(NamedTuple):
    """What to train, on what, and how: the defaults of `train --model NAME`."""

    kind: type[Model]
    model: ModelConfig
    corpus: CorpusConfig
    train: TrainConfig


_NANOGPT = TrainConfig(
    steps=2000,
    batch_size=12,
    learning_rate=1e-3,
    warmup=100,
    final_rate=0.1,
    beta2=0.99,
    weight_decay=0.1,
    eval_every=250,
    eval_windows=240,
)
_DOCS = CorpusConfig(corpus="python-docs")
_LISTING = replace(_DOCS, tokenizer="words", max_vocab=10_000)

RECIPES = {
    "attention": Recipe(AttentionLM, AttentionLMConfig(), CorpusConfig(), TrainConfig()),
    "gpt": Recipe(GPT, GPTConfig(init_std=0.05), _DOCS, _NANOGPT),
    "llama": Recipe(Llama, LlamaConfig(groups=2, init_std=0.05), _DOCS, _NANOGPT),
    # nanoGPT's README: "train.py config/train_shakespeare_char.py --device=cpu ...", 1.88 nats.
    # Only the initial weights differ: from 0.02 three seeds end at 1.90 to 1.91, from 0.05 at 1.75.
    "nanogpt-cpu": Recipe(
        GPT,
        GPTConfig(bias=False, init_std=0.05),
        replace(_DOCS, corpus="tinyshakespeare"),
        _NANOGPT,
    ),
    # what the article's listing means to train: its sizes, repaired
    "listing": Recipe(GPT, GPTConfig(width=512, heads=8, layers=6), _LISTING, _NANOGPT),
}
