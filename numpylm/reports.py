"""What a person is told about a training: before it, after it, and out of its log."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .allocator import keep_freed_memory
from .arrays import Array
from .batches import arguments, source_of
from .corpora import landmarks
from .divergence import remark
from .metrics import Evaluation
from .parallel import Workers, one_thread
from .sampling import GenerateConfig, generate_ids
from .train_config import TrainConfig
from .unicode_text import printable

Lines = Sequence[Mapping[str, Any]]


def columns(lines: Lines) -> dict[str, Array]:
    """The columns of a log by name; nan where a line does not have one."""
    names = dict.fromkeys(name for line in lines for name in line)
    return {name: np.array([line.get(name, math.nan) for line in lines]) for name in names}


def chance_of(corpus: Any) -> float | None:
    """ln V, what knowing nothing costs; None where V is not known."""
    tokenizer = getattr(corpus, "tokenizer", None)
    return math.log(tokenizer.vocab_size) if tokenizer is not None else None


@dataclass(frozen=True)
class TrainResult:
    """What `train` gives back: its log, and the training, which may go on with step().

    losses (n,): of each batch before its step, in nats. heldout: on held-out text, after the steps
    heldout_steps. config: the options of the training.
    """

    training: Any
    config: TrainConfig
    log: list[dict[str, float]] = field(default_factory=list)

    @property
    def losses(self) -> Array:
        return np.array([line["loss"] for line in self.log])

    @property
    def heldout(self) -> Array:
        return np.array([line["heldout"] for line in self.log if "heldout" in line])

    @property
    def heldout_steps(self) -> Array:
        return np.array([line["step"] for line in self.log if "heldout" in line], int)

    @property
    def evaluation(self) -> Evaluation | None:
        """On all held-out text, at the end."""
        training = self.training
        return None if training.heldout is None else training.final_evaluation()

    @property
    def remark(self) -> str:
        """A sentence about losses that are absurd; "" for others."""
        return remark(self.losses, chance_of(self.training.batches), self.training.clip)

    def plot(self) -> Any:
        """The losses as a figure of matplotlib, between lines that give them a meaning."""
        from .figures import loss_curve

        return loss_curve(self.log, landmarks(self.training.batches))

    def __repr__(self) -> str:
        last = f": loss {self.losses[-1]:.4f}" if self.log else ""
        heldout = f", held-out {self.heldout[-1]:.4f} nats" if len(self.heldout) else ""
        return f"TrainResult({len(self.log):,} steps{last}{heldout})"


def postfix(line: Mapping[str, Any], speed: float) -> str:
    """What stands behind the progress bar. speed: tokens a second, or 0 where nobody counts."""
    tokens = f", {speed:,.0f} tokens/s" if speed else ""
    return f"loss {line['loss']:.3f}, held-out {line['heldout']:.3f}{tokens}"


def introduction(run: Any) -> str:
    """Before training: what, on what, how large, what to compare the loss with, and how long."""
    model, config, corpus = run.model, run.config, run.corpus
    options = ", ".join(f"{name} {value}" for name, value in model.config.to_dict().items())
    about = corpus.describe() if hasattr(corpus, "describe") else repr(run.source)
    needed = f"; about {_time(seconds_needed(run))}" if hasattr(corpus, "train") else ""
    optimizer = config.optimizer if "optimizer" not in run.own else type(run.optimizer).__name__
    lines = [
        f"model   {type(model).__name__}, {model.params.flat.size:,} parameters: {options}",
        f"corpus  {about}",
        *(f"        {note}" for note in getattr(corpus, "unknown_notes", list)()),
        *(f"        {nats:.4f} nats  {what}" for what, nats in landmarks(corpus).items()),
        f"train   steps {run.steps_done} to {config.steps}, {config.batch_size} windows each, "
        f"{optimizer} at {config.learning_rate:g}{needed}",
        f"folder  {run.folder}",
    ]
    if getattr(model.config, "context", "") == "all" and not model.config.causal:
        lines.append("note    without the causal mask every position sees the token it predicts")
    if run.log_note:
        lines.append(f"note    {run.log_note}")
    if reason := run.obstacle():
        lines.append(f"note    this run cannot be resumed: {reason}")
    return "\n".join(lines)


def verdict(result: Evaluation, corpus: Any, part: str = "held-out") -> str:
    """One result in words, beside the entropy, or per character, so that tokenizers compare."""
    extra = unknown = ""
    if getattr(corpus, "entropy", None) is not None:
        extra = f", {result.loss - corpus.entropy:+.4f} over the entropy"
    elif part == "held-out" and hasattr(corpus, "comparable"):
        other = corpus.comparable(result.nats, result.tokens)
        extra = f", {other}" if other else ""
    if hasattr(corpus, "unknown_share") and corpus.tokenizer.unknown is not None:
        unknown = f", {corpus.unknown_share(part):.2%} unknown"
    return (
        f"{part:<9} {result.loss:.4f} nats per token{extra}; perplexity {result.perplexity:.3f}, "
        f"accuracy {result.accuracy:.1%}; {result.tokens:,} tokens{unknown}"
    )


def summary(run: Any) -> str:
    """After training: how good it is on all held-out text, a sample, and where everything is."""
    lines, corpus = [], run.corpus
    if run.heldout is not None:
        lines.append(verdict(run.final_evaluation(), corpus))
    if absurd := remark(run.read_log().get("loss", ()), chance_of(corpus), run.clip):
        lines.append(f"note      {absurd}")
    if hasattr(corpus, "tokenizer") and run.heldout is not None:
        lines.append(f"sample    {printable(_sample(run))}")
    names = ", ".join(sorted(p.name for p in run.folder.iterdir() if not p.name.startswith(".")))
    return "\n".join([*lines, f"folder    {run.folder}: {names}"])


def _sample(run: Any) -> str:
    """What the model writes after the first token that is held out."""
    heldout = run.corpus.heldout
    prompt = heldout[0, :1] if heldout.ndim == 2 else heldout[:1]
    tokens = run.model.config.context_length if heldout.ndim == 2 else 200
    drawn = generate_ids(run.model, prompt, GenerateConfig(tokens=tokens), np.random.default_rng(0))
    text: str = run.corpus.tokenizer.decode(np.concatenate([prompt, drawn.ids]))
    return text


def seconds_needed(run: Any) -> float:
    """About how long the rest takes: a few steps of a copy are timed."""
    config = run.config
    model = Workers(run.model.astype(run.model.params.flat.dtype), config.workers)
    source = source_of(run.corpus, config.batch_size // run.team.size, run.model)
    ordered, named = arguments(source(np.random.default_rng(0)))
    keep_freed_memory()
    times = []
    with one_thread(), np.errstate(all="ignore"):  # what is not finite is told by the first step
        for _ in range(3):
            began = time.perf_counter()
            _, cache = model.loss(*ordered, **named)
            forward = time.perf_counter() - began
            model.loss_backward(cache)
            times.append((time.perf_counter() - began, forward))
    step, forward = min(times)
    left = config.steps - run.steps_done
    evaluations = left / config.eval_every * math.ceil(config.eval_windows / config.batch_size)
    seconds: float = left * step + evaluations * forward
    return seconds


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
