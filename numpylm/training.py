"""batch -> loss -> backward -> step; now and then: evaluate, write the log, save."""

import json
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .allocator import keep_freed_memory
from .batches import sample_batch
from .corpora import Corpus, bigram_nats, unigram_nats
from .errors import InputError
from .metrics import Evaluation
from .model import first_non_finite
from .optim import clip_by_global_norm, global_norm, learning_rate_at
from .parallel import Shares, Workers, one_thread
from .runs import Run
from .sampling import GenerateConfig, generate
from .unicode_text import printable


def train_step(run: Run) -> dict[str, Any]:
    """Learn from one batch. Returns its line of the log; the loss is that before the step."""
    config, model = run.config, run.model
    x, y = sample_batch(run.rng, run.corpus.train, config.batch_size, model.config.context_length)
    loss, cache = run.learner.loss(x, y, run.rng)
    grads = run.learner.loss_backward(cache)
    norm = global_norm(grads, run.learner.spread)
    _require_finite(run, loss, norm, cache, grads)
    if config.clip:
        clip_by_global_norm(grads, config.clip, norm)
    learning_rate = learning_rate_at(
        run.step,
        peak=config.learning_rate,
        warmup=config.warmup,
        total=config.steps,
        floor=config.learning_rate * config.final_rate,
        schedule=config.schedule,
    )
    run.optimizer.step(grads, learning_rate, run.learner.spread)
    run.step += 1
    return {"step": run.step, "loss": float(loss), "rate": learning_rate, "norm": norm}


def train(run: Run, progress: bool = True) -> bool:
    """Train until the last step. True if it got there, False if Ctrl-C or SIGTERM stopped it.

    A signal is answered between two steps, after saving, so nothing is lost by it; a signal to one
    process stops its whole team after the same step.
    """
    from tqdm import tqdm

    keep_freed_memory()
    config, team = run.config, run.team
    tokens = config.batch_size * run.model.config.context_length
    began, first = time.perf_counter(), run.step
    silent = not (progress and team.leads)
    bar = tqdm(total=config.steps, initial=run.step, unit="step", disable=silent)
    path = run.log if team.leads else Path(os.devnull)
    with (
        run.writing(),
        bar,
        _stop_signals() as stopped,
        one_thread(),
        np.errstate(over="ignore", invalid="ignore", divide="ignore"),  # _require_finite looks
        path.open("a", encoding="utf-8") as log,
    ):
        while run.step < config.steps and not team.any(stopped()):
            line = train_step(run)
            bar.update()
            at_end = run.step == config.steps
            look = at_end or run.step % config.eval_every == 0
            if look:
                line["heldout"] = run.evaluate(None if at_end else config.eval_windows).loss
                seconds = time.perf_counter() - began
                bar.set_postfix_str(_postfix(line, tokens * (run.step - first) / seconds))
            log.write(json.dumps(line) + "\n")
            if look:
                log.flush()
                run.save()
        log.flush()
        run.save()
    return run.step == config.steps


def _postfix(line: dict[str, Any], speed: float) -> str:
    return f"loss {line['loss']:.3f}, held-out {line['heldout']:.3f}, {speed:,.0f} tokens/s"


def _require_finite(run: Run, loss: Any, norm: float, cache: Any, grads: Any) -> None:
    """Raise InputError naming the first array that went bad, in the order of computation."""
    if math.isfinite(loss) and math.isfinite(norm):
        return
    what, place, value = "the loss", "", float(loss)
    if math.isfinite(loss):
        what, value = "the norm of the gradient", norm
    trees: list[tuple[str, Any]] = [("parameter", run.model.params)]
    for forward_cache, loss_cache in cache.caches if isinstance(cache, Shares) else [cache]:
        trees += [("activation", forward_cache), ("output p(w)", loss_cache[0])]
    for kind, tree in [*trees, ("gradient", grads)]:
        if bad := first_non_finite(tree):
            what, place, value = f"{kind} {bad.name}".strip(), f" at {list(bad.where)}", bad.value
            break
    raise InputError(
        f"step {run.step + 1}: {what} is {value}{place}; training has diverged. The last good "
        f"checkpoint, {run.checkpoint}, is as it was. Start a new run with a smaller "
        f"--learning-rate, a longer --warmup, or a --clip below {run.config.clip or 'infinity'}"
    )


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Remember Ctrl-C and SIGTERM until the loop asks; a second one interrupts at once."""
    seen: list[int] = []

    def remember(signum: int, frame: Any) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(signum)

    signals = (signal.SIGINT, signal.SIGTERM)
    try:
        before = [signal.signal(signum, remember) for signum in signals]
    except ValueError:  # only the main thread may answer signals
        yield lambda: False
        return
    try:
        yield lambda: bool(seen)
    finally:
        for signum, handler in zip(signals, before, strict=True):
            signal.signal(signum, handler)


# ---- what a person is told -------------------------------------------------------------------


def introduction(run: Run) -> str:
    """Before training: what, on what, how large, what to compare the loss with, and how long."""
    model, config = run.model, run.config
    options = ", ".join(f"{name} {value}" for name, value in model.config.to_dict().items())
    lines = [
        f"model   {type(model).__name__}, {model.params.flat.size:,} parameters: {options}",
        f"corpus  {run.corpus.describe()}",
        *(f"        {note}" for note in run.corpus.unknown_notes()),
        *(f"        {nats:.4f} nats  {what}" for what, nats in landmarks(run.corpus).items()),
        f"train   steps {run.step} to {config.steps}, {config.batch_size} windows each, "
        f"{config.optimizer} at {config.learning_rate:g}; about {_time(seconds_needed(run))}",
        f"folder  {run.folder}",
    ]
    if getattr(model.config, "context", "") == "all" and not model.config.causal:
        lines.append("note    without the causal mask every position sees the token it predicts")
    return "\n".join(lines)


def landmarks(corpus: Corpus) -> dict[str, float]:
    """Losses, in nats per token, that need no model: a loss means something only beside them."""
    V = corpus.tokenizer.vocab_size
    known = {f"knowing nothing: ln {V}": math.log(V)}
    if corpus.entropy is not None:
        return known | {"knowing everything: the entropy": corpus.entropy}
    return known | {
        "counting tokens (unigram)": unigram_nats(corpus.train, corpus.heldout, V),
        "counting pairs (bigram)": bigram_nats(corpus.train, corpus.heldout, V),
    }


def verdict(result: Evaluation, corpus: Corpus, part: str = "held-out") -> str:
    """One result in words, beside the entropy, or per character, so that tokenizers compare."""
    extra = unknown = ""
    if corpus.entropy is not None:
        extra = f", {result.loss - corpus.entropy:+.4f} over the entropy"
    elif part == "held-out" and (other := corpus.comparable(result.nats, result.tokens)):
        extra = f", {other}"
    if corpus.tokenizer.unknown is not None:
        unknown = f", {corpus.unknown_share(part):.2%} unknown"
    return (
        f"{part:<9} {result.loss:.4f} nats per token{extra}; perplexity {result.perplexity:.3f}, "
        f"accuracy {result.accuracy:.1%}; {result.tokens:,} tokens{unknown}"
    )


def summary(run: Run) -> str:
    """After training: how good it is on all held-out text, a sample, and where everything is."""
    result = run.evaluate()
    prompt = run.corpus.heldout[0, :1] if run.corpus.heldout.ndim == 2 else run.corpus.heldout[:1]
    tokens = run.model.config.context_length if run.corpus.heldout.ndim == 2 else 200
    sample = generate(run.model, prompt, GenerateConfig(tokens=tokens), np.random.default_rng(0))
    text = run.corpus.tokenizer.decode(np.concatenate([prompt, sample.ids]))
    return (
        f"{verdict(result, run.corpus)}\n"
        f"sample    {printable(text)}\n"
        f"folder    {run.folder}: {', '.join(sorted(p.name for p in run.folder.iterdir()))}"
    )


def seconds_needed(run: Run) -> float:
    """About how long the rest takes: a few steps of a copy are timed."""
    config = run.config
    model = Workers(run.model.astype(run.model.params.flat.dtype), config.workers)
    T, B = run.model.config.context_length, config.batch_size // run.team.size
    x, y = sample_batch(np.random.default_rng(0), run.corpus.train, B, T)
    keep_freed_memory()
    times = []
    with one_thread():
        for _ in range(3):
            began = time.perf_counter()
            _, cache = model.loss(x, y)
            forward = time.perf_counter() - began
            model.loss_backward(cache)
            times.append((time.perf_counter() - began, forward))
    step, forward = min(times)
    left = config.steps - run.step
    looks = left / config.eval_every * math.ceil(config.eval_windows / config.batch_size)
    return left * step + looks * forward


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
