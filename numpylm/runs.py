"""A training run: what it depends on, what it changes, and the folder that keeps both.

    checkpoint.safetensors   the last good state: parameters, moments, step, generator, configs
    log.jsonl                a line a step: loss, rate, norm of the gradient; at times held-out
    config.json              what was asked for, to be read by people

Resuming continues the very numbers: a run that was killed ends with the same bytes as one that was
not, with the same NumPy on the same kind of machine.
"""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .attention_lm import AttentionLM, AttentionLMConfig
from .batches import sweep
from .checkpoints import load_checkpoint, save_checkpoint, write_whole
from .config import Config, option
from .corpora import Corpus, CorpusConfig, load_corpus
from .errors import InputError
from .gpt import GPT, GPTConfig
from .metrics import Evaluation, evaluate
from .model import Model, ModelConfig, first_non_finite
from .optim import SCHEDULES, SGD, Adam, Optimizer
from .parallel import ALONE, Team, Workers
from .tokenizers import Tokenizer, tokenizer_from_dict

MODELS: dict[str, type[Model]] = {"attention": AttentionLM, "gpt": GPT}  # names in checkpoints
FORMAT = 1  # of the description in a checkpoint; raised when an old one can no longer be read


@dataclass(frozen=True)
class TrainConfig(Config):
    """training"""

    steps: int = option(2000, "how many batches to learn from", minimum=1)
    batch_size: int = option(32, "B, the windows of a batch", minimum=1)
    optimizer: str = option("adam", "F7 or F8", choices=("adam", "sgd"))
    learning_rate: float = option(0.01, "the largest step", above=0)
    schedule: str = option("cosine", "F11: after the warm-up", choices=SCHEDULES)
    warmup: int = option(0, "F11: steps until the learning rate is reached", minimum=0)
    final_rate: float = option(
        0.0, "F11: where the cosine ends, as a share of learning_rate", minimum=0, maximum=1
    )
    momentum: float = option(0.9, "F7: of SGD", minimum=0, below=1)
    beta1: float = option(0.9, "F8: of Adam", minimum=0, below=1)
    beta2: float = option(0.999, "F8: of Adam", minimum=0, below=1)
    weight_decay: float = option(0.0, "F9: decoupled, on matrices", minimum=0)
    clip: float = option(1.0, "F10: largest norm of the gradient; 0 lets it be", minimum=0)
    eval_every: int = option(100, "steps between two looks at held-out text", minimum=1)
    eval_windows: int = option(
        500, "held-out windows of each look; the last look takes all", minimum=1
    )
    seed: int = option(0, "seed of the initial numbers and the order of the data", minimum=0)
    workers: int = option(1, "threads that share every batch; at most the cores", minimum=1)


class Recipe(NamedTuple):
    """What to train, on what, and how: the defaults of `train --model NAME`."""

    kind: str
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
_SEED = replace(_DOCS, tokenizer="words", max_vocab=10_000)

RECIPES = {
    "attention": Recipe("attention", AttentionLMConfig(), CorpusConfig(), TrainConfig()),
    "gpt": Recipe("gpt", GPTConfig(init_std=0.05), _DOCS, _NANOGPT),
    # nanoGPT's README: "train.py config/train_shakespeare_char.py --device=cpu ...", 1.88 nats.
    # Only the initial weights differ: from 0.02 three seeds end at 1.90 to 1.91, from 0.05 at 1.75.
    "nanogpt-cpu": Recipe(
        "gpt",
        GPTConfig(bias=False, init_std=0.05),
        replace(_DOCS, corpus="tinyshakespeare"),
        _NANOGPT,
    ),
    # what the article's listing means to train: its sizes, repaired
    "listing": Recipe("gpt", GPTConfig(width=512, heads=8, layers=6), _SEED, _NANOGPT),
}


class Run:
    """A training run: what changes while it trains, what it depends on, and the folder it fills."""

    def __init__(
        self,
        folder: Path,
        model: Model,
        corpus_config: CorpusConfig,
        corpus: Corpus,
        config: TrainConfig,
        rng: np.random.Generator,
        team: Team = ALONE,
    ):
        if config.workers * team.size > config.batch_size:
            raise InputError(
                f"batch_size {config.batch_size} cannot be shared by {team.size} processes of "
                f"{config.workers} workers: choose a larger batch_size or fewer workers"
            )
        self.folder, self.model, self.config, self.rng = folder, model, config, rng
        self.corpus_config, self.corpus = corpus_config, corpus
        self.team, self.learner = team, Workers(model, config.workers, team)
        self.optimizer = make_optimizer(model, config)
        self.step = 0

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.safetensors"

    @property
    def log(self) -> Path:
        return self.folder / "log.jsonl"

    @property
    def about(self) -> Path:
        return self.folder / "config.json"

    @classmethod
    def start(
        cls,
        folder: Path,
        kind: type[Model],
        model_config: ModelConfig,
        corpus_config: CorpusConfig,
        config: TrainConfig,
        dtype: Any = np.float32,
        team: Team = ALONE,
    ) -> "Run":
        """A new run in a new folder, saved once before its first step.

        Every process of a team makes the same run; only the one that leads looks at the folder.

        The vocab_size of model_config is replaced by that of the corpus.
        """
        corpus = load_corpus(corpus_config, model_config.context_length)
        model_config = replace(model_config, vocab_size=corpus.tokenizer.vocab_size)
        rng = np.random.default_rng(config.seed)
        run = cls(folder, kind(model_config, rng, dtype), corpus_config, corpus, config, rng, team)
        if team.leads:
            run._claim_folder()
        run.save()  # first, so that whatever else is in the folder belongs to a run
        run._open_folder()
        return run

    @classmethod
    def resume(cls, folder: Path, steps: int | None = None, team: Team = ALONE) -> "Run":
        """The run in `folder`, as it was when it was last saved; `steps` may lengthen it."""
        saved = load_trained(folder)
        about = saved.about
        if steps is not None and steps < about["step"]:
            raise InputError(
                f"steps must be at least the {about['step']} that {folder} has done, not "
                f"{steps}: give more, or start a new run"
            )
        try:
            config = TrainConfig.from_dict(about["train"])
            config = config if steps is None else replace(config, steps=steps)
            corpus_config = CorpusConfig.from_dict(about["corpus"])
            rng = np.random.default_rng()
            rng.bit_generator.state = about["rng"]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"the checkpoint in {folder} is damaged: {error}") from error
        corpus = load_corpus(corpus_config, saved.model.config.context_length)
        if corpus.digest != about["corpus_digest"]:
            raise InputError(
                f"the corpus {corpus.name} is not the text that {folder} was trained on: "
                "restore that text, or start a new run"
            )
        run = cls(folder, saved.model, corpus_config, corpus, config, rng, team)
        run.step = about["step"]
        run.optimizer.load_state(saved.moments, run.step)
        run._open_folder()
        return run

    def describe(self) -> dict[str, Any]:
        """What the run depends on, ready for JSON."""
        return {
            "format": FORMAT,
            "model": next(name for name, kind in MODELS.items() if type(self.model) is kind),
            "model_config": self.model.config.to_dict(),
            "tokenizer": self.corpus.tokenizer.to_dict(),
            "corpus": self.corpus_config.to_dict(),
            "corpus_digest": self.corpus.digest,
            "train": self.config.to_dict(),
        }

    def save(self) -> None:
        """Replace the checkpoint by the present state, in one step. Refuses a state with a nan.

        All processes of a team must call it: they compare their parameters, and one of them writes.
        """
        if bad := first_non_finite(self.model.params):
            raise InputError(
                f"after step {self.step} the parameter {bad.name}{list(bad.where)} is {bad.value}: "
                f"training has diverged; {self.checkpoint} is as it was. Start a new run with a "
                "smaller --learning-rate"
            )
        self.team.require_same(self.model.params)
        if not self.team.leads:
            return
        tensors = {f"params.{name}": array for name, array in self.model.params.items()}
        tensors |= {f"moments.{name}": array for name, array in self.optimizer.state().items()}
        state = {"step": self.step, "rng": self.rng.bit_generator.state}
        with self.writing():
            save_checkpoint(self.checkpoint, tensors, self.describe() | state)

    def evaluate(self, windows: int | None = None) -> Evaluation:
        """The model on held-out text: on all of it, or on its first `windows` windows."""
        T, B = self.model.config.context_length, self.config.batch_size
        batches = sweep(self.corpus.heldout, B, T)
        return evaluate(self.model, islice(batches, windows and math.ceil(windows / B)))

    def _claim_folder(self) -> None:
        """Make the folder; InputError where it holds a run."""
        if taken := [p.name for p in (self.checkpoint, self.log, self.about) if p.exists()]:
            raise InputError(
                f"{self.folder} already holds {', '.join(taken)}: continue that run with --resume "
                f"{self.folder}, or choose another folder with --out"
            )
        with self.writing():
            self.folder.mkdir(parents=True, exist_ok=True)

    def _open_folder(self) -> None:
        """Write config.json, and drop the lines of the log that came after the checkpoint."""
        if not self.team.leads:
            return
        with self.writing():
            about = json.dumps(self.describe(), indent=2, ensure_ascii=False)
            write_whole(self.about, about.encode())
            lines = self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
            write_whole(self.log, "".join(line + "\n" for line in lines[: self.step]).encode())

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn a failure to write into words that say what is left and what to do."""
        try:
            yield
        except OSError as error:
            kept = f"; {self.checkpoint} is as it was" if self.checkpoint.exists() else ""
            raise InputError(
                f"cannot write to {self.folder}: {error.strerror or error}{kept}. Make room or "
                "mend the permissions, or choose another folder with --out"
            ) from error


def make_optimizer(model: Model, config: TrainConfig) -> Optimizer:
    """The optimizer that `config` names, for the parameters of `model`."""
    if config.optimizer == "sgd":
        return SGD(model.params, config.momentum, config.weight_decay)
    return Adam(model.params, config.beta1, config.beta2, weight_decay=config.weight_decay)


class Trained(NamedTuple):
    """What a checkpoint holds."""

    model: Model
    tokenizer: Tokenizer
    moments: dict[str, Any]
    about: dict[str, Any]


def load_trained(path: Path | str) -> Trained:
    """The model and tokenizer of a run: `path` is its folder or its checkpoint.

    Raises InputError where there is none, or where it is truncated, foreign or inconsistent.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "checkpoint.safetensors"
    tensors, about = load_checkpoint(path)
    try:
        if about["format"] != FORMAT:
            raise InputError(f"its format is {about['format']}, this numpylm reads {FORMAT}")
        model_class = MODELS[about["model"]]
        config = model_class.Config.from_dict(about["model_config"])
        tokenizer = tokenizer_from_dict(about["tokenizer"])
        if tokenizer.vocab_size != config.vocab_size:
            raise InputError(
                f"its tokenizer has {tokenizer.vocab_size} symbols, its model {config.vocab_size}"
            )
        parts: dict[str, dict[str, Any]] = {"params": {}, "moments": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        if lacking := {"train", "corpus", "corpus_digest", "step", "rng"} - set(about):
            raise InputError(f"its description lacks {', '.join(sorted(lacking))}")
        if not isinstance(about["step"], int) or about["step"] < 0:
            raise InputError(f"its step is {about['step']!r}, which is no count")
        dtype = next(iter(parts["params"].values())).dtype if parts["params"] else np.float32
        model = model_class(config, np.random.default_rng(0), dtype)
        if dtype not in (np.float32, np.float64):
            raise InputError(f"its parameters are {dtype}, which is neither float32 nor float64")
        model.params.load(parts["params"])
        if bad := first_non_finite(model.params):
            raise InputError(f"its parameter {bad.name}{list(bad.where)} is {bad.value}")
    except (KeyError, TypeError, InputError) as error:
        reason = f"it lacks or does not know {error}" if isinstance(error, KeyError) else error
        raise InputError(f"{path} cannot be used: {reason}") from error
    return Trained(model, tokenizer, parts["moments"], about)
