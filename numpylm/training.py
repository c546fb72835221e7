"""batch -> loss -> backward -> step, again and again; in memory. runs.py gives it a folder."""

import copy
import math
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .allocator import activation_bytes, keep_freed_memory, require_memory
from .arrays import Array, Rng
from .batches import (
    Windows,
    arguments,
    batch_size_for,
    check_fit,
    held_out,
    obstacle,
    source_of,
)
from .divergence import blame_step, require_finite
from .errors import InputError
from .metrics import Evaluation, evaluate
from .optim import Adam, clip_by_global_norm, global_norm, optimizer_of
from .parallel import ALONE, Team, Workers, one_thread, takes
from .reports import TrainResult, postfix
from .terminals import Progress
from .train_config import config_for

SMALL = 4096  # tokens of a batch that need not be asked about their memory
OVERFLOWS = 1e18  # a norm of g from which g², in Adam's v, may not fit into float32


class Training:
    """A model, where its batches come from, its optimizer, and the step that they take together.

    batches: whatever batches.source_of takes. optimizer: for model.params, or a function that makes
    it of them; it has step(grads, learning_rate), and state() and load_state(state) if it is to be
    resumed. learning_rate: a number, or a function of the step 0, 1, ... clip: F10; 0 disables it.
    heldout: what to evaluate on, by default that of the corpus. InputError where they do not fit.
    """

    def __init__(
        self,
        model: Any,
        batches: Any,
        optimizer: Any = Adam,
        learning_rate: float | Callable[[int], float] = 0.01,
        clip: float = 1.0,
        *,
        batch_size: int = 32,
        heldout: Any = None,
        rng: Rng | None = None,
        workers: int = 1,
        team: Team = ALONE,
    ):
        check_fit(model, batches, heldout)
        self.model, self.batches, self.batch_size = model, batches, batch_size
        self.clip, self.team = clip, team
        self.source = source_of(batches, batch_size, model)
        self.heldout = held_out(batches, heldout, batch_size, model)
        optimizer = optimizer_of(optimizer, model.params)
        self.optimizer, self.learning_rate = optimizer, learning_rate
        self.learner = Workers(model, workers, team)
        self.spread = {"spread": self.learner.spread} if takes(optimizer.step, "spread") else {}
        self.rng = np.random.default_rng(0) if rng is None else rng
        if isinstance(self.source, Windows) and self.source.tokens > SMALL:
            require_room(model, self.source.data.ravel(), self.source.B, self.source.T)
        self.steps_done = 0
        self.evaluation: tuple[int, Evaluation] | None = None

    def step(self) -> dict[str, Any]:
        """Learn from one batch. Returns its line of the log; the loss is that before the step."""
        ordered, named = arguments(self.source(self.rng))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # and told
            loss, cache = self.learner.loss(*ordered, **named, rng=self.rng)
            grads = self.learner.loss_backward(cache)
            norm = global_norm(grads, self.learner.spread)
            if not (math.isfinite(loss) and math.isfinite(norm)):
                blame_step(self, cache, grads, loss, norm)
            if self.clip:
                clip_by_global_norm(grads, self.clip, norm)
            rate = self.learning_rate
            rate = float(rate(self.steps_done) if callable(rate) else rate)
            self.optimizer.step(grads, rate, **self.spread)
        self.steps_done += 1
        if norm > OVERFLOWS:
            require_finite(self)
        return {"step": self.steps_done, "loss": float(loss), "rate": rate, "norm": norm}

    def repeat(
        self,
        steps: int,
        note: Callable[[dict[str, Any], bool], Any],
        every: int = 100,
        windows: int | None = None,
        progress: bool = True,
        stopped: Callable[[], bool] = lambda: False,
    ) -> bool:
        """step() until `steps` are done, True, or until one of the team has been stopped, False.

        note(line, pause) takes each line of the log. Every so many steps and at the end there is a
        pause: held-out text is evaluated, at the end all of it.
        """
        keep_freed_memory()
        began, first, silent = time.perf_counter(), self.steps_done, not progress
        shown = Progress(steps, first, silent or not self.team.leads)
        with shown, one_thread():
            while self.steps_done < steps and not self.team.any(stopped()):
                line = self.step()
                shown.step()
                at_end = self.steps_done == steps
                pause = at_end or self.steps_done % every == 0
                if pause:
                    require_finite(self)
                if pause and self.heldout is not None:
                    line["heldout"] = self.evaluate(None if at_end else windows).loss
                    speed = (self.steps_done - first) / (time.perf_counter() - began)
                    shown.evaluated(postfix(line, speed * getattr(self.source, "tokens", 0)))
                note(line, pause)
        return self.steps_done == steps

    def evaluate(self, windows: int | None = None) -> Evaluation:
        """The model on all that is held out, or on its first `windows` windows."""
        if self.heldout is None:
            raise InputError("nothing is held out: give heldout, or a corpus, which holds text out")
        result = evaluate(self.model, self.heldout, self.batch_size, windows)
        self.evaluation = None if windows else (self.steps_done, result)  # not to make it twice
        return result

    def final_evaluation(self) -> Evaluation:
        """On all that is held out, after the last step: the one that was made, or a new one."""
        step, result = self.evaluation or (None, None)
        return self.evaluate() if result is None or step != self.steps_done else result

    def state(self) -> dict[str, Any]:
        """Copies of all that the next steps depend on: dicts of arrays, numbers and texts.

        Raises InputError where the optimizer or the batches cannot say theirs.
        """
        if reason := self.obstacle():
            raise InputError(f"this training cannot be resumed: {reason}")
        return copy.deepcopy(
            {
                "step": self.steps_done,
                "rng": self.rng.bit_generator.state,
                "params": dict(self.model.params),
                **self.parts(),
            }
        )

    def parts(self) -> dict[str, Any]:
        """The states that the optimizer and the batches say themselves; {} where one cannot."""
        if self.obstacle():
            return {}
        batches = {"batches": self.source.state()} if hasattr(self.source, "state") else {}
        return {"optimizer": self.optimizer.state(), **batches}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state()`, as if there had been no break."""
        self.model.params.load(state["params"])
        self.rng.bit_generator.state = state["rng"]
        self.optimizer.load_state(state["optimizer"])
        if "batches" in state:
            self.source.load_state(state["batches"])
        self.steps_done = state["step"]

    def obstacle(self) -> str:
        """Why this training cannot be resumed, or nothing."""
        return obstacle("optimizer", self.optimizer) or obstacle("batches", self.source)

    def __repr__(self) -> str:
        model = f"{type(self.model).__name__}, {self.model.params.flat.size:,} parameters"
        optimizer = type(self.optimizer).__name__
        return (
            f"{type(self).__name__}({model}; {self.source}; {optimizer}; step {self.steps_done:,})"
        )


def require_room(model: Any, ids: Array, B: int, T: int) -> None:
    """InputError where a step's windows are so many, or so long, that its memory cannot be had.

    Beside what is kept of B windows: the parameters, their gradient and two moments.
    """
    size = activation_bytes(model, ids, B, T) + 4 * model.params.flat.nbytes
    require_memory(size, f"a step with {B:,} windows of {T:,} tokens")


def train(
    model: Any,
    batches: Any,
    steps: int = 2000,
    learning_rate: float | Callable[[int], float] | None = None,
    batch_size: int | None = None,
    optimizer: Any = "adam",
    *,
    seed: int = 0,
    rng: Rng | None = None,
    heldout: Any = None,
    progress: bool = True,
    **options: Any,
) -> TrainResult:
    """Train a model in memory, in place; nothing is written.

    batches: a corpus, ids, examples, a list of batches, a function of an rng: batches.source_of.
    learning_rate: the peak of a schedule, or a function of the step; by default 0.01, and of a
    model with layers 0.003 after a warm-up of a tenth of the steps. options: other fields of
    TrainConfig, such as weight_decay and eval_every. Raises InputError before any work where they
    do not fit together.
    """
    given = {
        "steps": steps,
        "batch_size": batch_size_for(batches, model, batch_size),
        "learning_rate": None if callable(learning_rate) else learning_rate,
        "optimizer": optimizer if isinstance(optimizer, str) else None,
        "seed": seed,
        **options,
    }
    config = config_for(model, given)
    training = Training(
        model,
        batches,
        config.optimizer_for if isinstance(optimizer, str) else optimizer,
        learning_rate if callable(learning_rate) else config.rate,
        config.clip,
        batch_size=config.batch_size,
        heldout=heldout,
        rng=np.random.default_rng(seed) if rng is None else rng,
        workers=config.workers,
    )
    result = TrainResult(training, config)
    every, windows = config.eval_every, config.eval_windows
    training.repeat(
        config.steps, lambda line, pause: result.log.append(line), every, windows, progress
    )
    if progress and result.remark:
        print(result.remark, file=sys.stderr)
    return result
