"""A training run: what it depends on, what it changes, and the folder that keeps both.

    checkpoint.safetensors   the last good state: parameters, moments, step, generator, configs
    log.jsonl                a line a step: loss, rate, norm of the gradient; at times held-out
    config.json              what was asked for, to be read by people

Resuming continues the very numbers: a run that was killed ends with the same bytes as one that was
not, with the same NumPy on the same kind of machine.
"""

import hashlib
import json
import os
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import Array, DTypeLike, Rng
from .batches import ids_of
from .checkpoints import pack, save_checkpoint
from .corpora import CorpusConfig, load_corpus
from .divergence import Diverged, require_finite
from .errors import InputError
from .files import remove_leftovers, write_whole
from .locks import FolderLock
from .log_files import LogFile, mended
from .logs import read_log
from .model import Model, ModelConfig
from .parallel import ALONE, Team
from .signals import Stop, stop_signals
from .train_config import TrainConfig
from .trained import FORMAT, MODELS, Trained, load_trained
from .training import Training, require_room

MANY = 10**6  # tokens of a context that is asked about its memory before its corpus
OWN = ("model", "corpus", "optimizer", "learning_rate", "heldout")  # what only the caller may have


class Run(Training):
    """A training with a folder: a log, a config.json, and a checkpoint to continue from.

    Run.start begins one; Run.resume continues one that was stopped or killed; `train` trains.
    corpus: a corpus, or what else batches.source_of takes. optimizer: None for that of `config`, or
    a function that makes one of model.params. learning_rate: a function of the step instead of the
    schedule of `config`. What is the caller's own is not in the files: `resume` wants it again.
    """

    def __init__(
        self,
        folder: Path | str,
        model: Any,
        corpus: Any,
        config: TrainConfig,
        rng: Rng,
        *,
        optimizer: Any = None,
        learning_rate: Callable[[int], float] | None = None,
        heldout: Any = None,
        team: Team = ALONE,
    ):
        if config.workers * team.size > config.batch_size:
            raise InputError(
                f"batch_size {config.batch_size} cannot be shared by {team.size} processes of "
                f"{config.workers} workers: choose a larger batch_size or fewer workers"
            )
        super().__init__(
            model,
            corpus,
            optimizer or config.optimizer_for,
            learning_rate or config.rate,
            config.clip,
            batch_size=config.batch_size,
            heldout=heldout,
            rng=rng,
            workers=config.workers,
            team=team,
        )
        self.folder, self.corpus, self.config = Path(folder), corpus, config
        own = {
            "model": MODELS.get(type(model).__name__) is not type(model),
            "corpus": getattr(corpus, "config", None) is None,
            "optimizer": optimizer is not None,
            "learning_rate": learning_rate is not None,
            "heldout": heldout is not None,
        }
        self.own = [name for name in OWN if own[name]]
        self.lock = FolderLock(self.folder)
        self.saved_as: tuple[int, ...] | None = None  # the checkpoint that this run continues
        self.log_note = ""  # what is missing in the log
        self.stop = Stop()
        self.line: dict[str, Any] = {}  # of a step that is not in the log yet

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
        folder: Path | str,
        model: Any,
        corpus: Any,
        config: TrainConfig | None = None,
        *,
        rng: Rng | None = None,
        team: Team = ALONE,
        **own: Any,
    ) -> "Run":
        """A new run in a new folder, saved once before its first step.

        own: optimizer, learning_rate, heldout. Every process of a team makes the same run; only
        the one that leads looks at the folder. Warns where the run could not be resumed.
        """
        config = config or TrainConfig()
        rng = np.random.default_rng(config.seed) if rng is None else rng
        run = cls(folder, model, corpus, config, rng, team=team, **own)
        if reason := run.obstacle():
            warnings.warn(f"this run cannot be resumed: {reason}", stacklevel=2)
        team.require_same(run.asked())
        if team.leads:
            run._make_folder()
        with run._alone():
            run._require_free()
            run.save()  # first, so that whatever else is in the folder belongs to a run
            run._open_folder()
        return run

    @classmethod
    def from_configs(
        cls,
        folder: Path | str,
        kind: type[Model],
        model_config: ModelConfig,
        corpus_config: CorpusConfig,
        config: TrainConfig,
        dtype: DTypeLike = np.float32,
        team: Team = ALONE,
    ) -> "Run":
        """`start` for what a command line says: model and corpus are made of their configs.

        The vocab_size of model_config is replaced by that of the corpus.
        """
        T = model_config.context_length
        if T > MANY:  # before as long a corpus is read or drawn
            require_room(kind(replace(model_config, vocab_size=2)), np.zeros(2, int), 1, T)
        corpus = load_corpus(corpus_config, model_config.context_length)
        model_config = replace(model_config, vocab_size=corpus.tokenizer.vocab_size)
        rng = np.random.default_rng(config.seed)
        return cls.start(folder, kind(model_config, rng, dtype), corpus, config, rng=rng, team=team)

    @classmethod
    def resume(
        cls,
        folder: Path | str,
        steps: int | None = None,
        team: Team = ALONE,
        *,
        model: Any = None,
        corpus: Any = None,
        **own: Any,
    ) -> "Run":
        """The run in `folder`, as it was when it was last saved; `steps` may lengthen it.

        model, corpus, and own (optimizer, learning_rate, heldout): those that the run was started
        with, where they are not the library's. model: its class, or a model of the same sizes.
        Raises InputError where one of them is missing or another.
        """
        saved = load_trained(folder, model)
        about = saved.about
        given = {"model": model, "corpus": corpus, **own}
        if missing := [name for name in about.get("own", ()) if given.get(name) is None]:
            again = ", ".join(f"{name}=..." for name in missing)
            raise InputError(
                f"{folder} was started with a {missing[0]} of its own, which is not in its files: "
                f"give it again, Run.resume(folder, {again})"
            )
        if steps is not None and steps < about["step"]:
            raise InputError(
                f"steps must be at least the {about['step']} that {folder} has done, not "
                f"{steps}: give more, or start a new run"
            )
        try:
            config = TrainConfig.from_dict(about["train"])
            config = config if steps is None else replace(config, steps=steps)
            if config.steps < about["step"]:
                raise InputError(f"it has done {about['step']} steps of {config.steps}")
            rng = np.random.default_rng()
            rng.bit_generator.state = about["rng"]
            if corpus is None:
                corpus_config = CorpusConfig.from_dict(about["corpus"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"the checkpoint in {folder} is damaged: {error}") from error
        if corpus is None:
            length = saved.model.config.context_length
            corpus = load_corpus(corpus_config, length, saved.tokenizer)
        if digest_of(corpus) != about["corpus_digest"]:
            name = getattr(corpus, "name", type(corpus).__name__)
            raise InputError(
                f"the corpus {name} is not the text that {folder} was trained on: "
                "restore that text, or start a new run"
            )
        run = cls(folder, saved.model, corpus, config, rng, team=team, **own)
        run._restore(saved)
        team.require_same(run.asked())
        with run._alone():
            if load_trained(folder, model).about["step"] != about["step"]:
                raise InputError(f"{folder} was trained while it was read: give the command again")
            run.saved_as = run._identity()
            run._open_folder()
        return run

    def _restore(self, saved: "Trained") -> None:
        optimizer = type(self.optimizer).__name__
        before = saved.about.get("optimizer_class", optimizer)
        if before != optimizer:
            raise InputError(
                f"{self.folder} was started with the optimizer {before}, not {optimizer}: give "
                "that one, Run.resume(folder, optimizer=...)"
            )
        if reason := saved.about.get("obstacle") or self.obstacle():
            raise InputError(f"{self.folder} cannot be resumed: {reason}. Its model can be used")
        self.optimizer.load_state(saved.state["optimizer"])
        if "batches" in saved.state:
            self.source.load_state(saved.state["batches"])
        self.steps_done = saved.about["step"]

    def train(self, progress: bool = True) -> bool:
        """Train until the last step. True if it got there, False if Ctrl-C or SIGTERM stopped it.

        A signal is answered between two steps, after saving, so nothing is lost by it.
        """
        path = self.log if self.team.leads else Path(os.devnull)
        with self.writing(), self._alone(), stop_signals() as self.stop, LogFile(path) as log:
            self._require_unchanged()

            def note(line: dict[str, Any], pause: bool) -> None:
                log.write(line)
                self.line = {}
                if pause:
                    log.flush()
                    self.save()

            config = self.config
            every, windows = config.eval_every, config.eval_windows
            try:
                finished = self.repeat(config.steps, note, every, windows, progress, self.stop)
            except Diverged as error:
                raise self._unchanged(error) from None
            except KeyboardInterrupt:
                if not self.stop.safe:  # within a step: half of its numbers are new
                    raise
                finished = False
                if self.line:
                    log.write(self.line)
            log.flush()
            self.save()
        return finished

    def step(self) -> dict[str, Any]:
        """Training.step, which a second Ctrl-C does not interrupt."""
        self.stop.safe = False
        self.line = super().step()
        self.stop.safe = True
        return self.line

    def describe(self) -> dict[str, Any]:
        """What the run depends on, ready for JSON."""
        corpus, model = self.corpus, self.model
        tokenizer: Any = getattr(corpus, "tokenizer", None)
        corpus_config = getattr(corpus, "config", None)
        return {
            "format": FORMAT,
            "model": type(model).__name__,
            "model_config": model.config.to_dict() if hasattr(model.config, "to_dict") else None,
            "tokenizer": tokenizer.to_dict() if hasattr(tokenizer, "to_dict") else None,
            "corpus": corpus_config.to_dict() if corpus_config is not None else None,
            "corpus_digest": digest_of(corpus),
            "optimizer_class": type(self.optimizer).__name__,
            "own": self.own,
            "obstacle": self.obstacle(),
            "train": self.config.to_dict(),
        }

    def asked(self) -> dict[str, Any]:
        """What every process of a team must have been given alike, by the names of options."""
        about = self.describe() | {"step": self.steps_done}
        return {
            option: value
            for name, part in about.items()
            for option, value in (part if isinstance(part, dict) else {name: part}).items()
            if option != "text"  # which may lie elsewhere on another machine
        }

    def save(self) -> None:
        """Replace the checkpoint by the present state, in one step. Refuses a state with a nan.

        All processes of a team must call it: they compare their parameters, and one of them writes.
        """
        try:
            require_finite(self)
        except Diverged as error:
            raise self._unchanged(error) from None
        self.team.require_same({"parameters": zlib.crc32(self.model.params.flat.data)})
        if not self.team.leads:
            return
        tensors = {f"params.{name}": array for name, array in self.model.params.items()}
        state = {"step": self.steps_done, "rng": self.rng.bit_generator.state}
        state |= {name: pack(part, name, tensors) for name, part in self.parts().items()}
        with self.writing(), self._alone():
            self._require_unchanged()
            save_checkpoint(self.checkpoint, tensors, self.describe() | state)
            self.saved_as = self._identity()

    def read_log(self) -> dict[str, Array]:
        """The columns of the log so far."""
        return read_log(self.folder)

    def _unchanged(self, error: Diverged) -> Diverged:
        """The error, and where the last good state is."""
        kept = f". The last good checkpoint, {self.checkpoint}, is unchanged"
        return Diverged(f"{error}{kept if self.checkpoint.exists() else ''}")

    def _make_folder(self) -> None:
        self._require_free()
        with self.writing():
            self.folder.mkdir(parents=True, exist_ok=True)

    def _require_free(self) -> None:
        """InputError where the folder holds a run."""
        paths = (self.checkpoint, self.log, self.about) if self.team.leads else ()
        if taken := [path.name for path in paths if path.exists()]:
            raise InputError(
                f"{self.folder} already holds {', '.join(taken)}: continue that run with --resume "
                f"{self.folder}, or choose another folder with --out"
            )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process writes to the folder meanwhile."""
        if not self.team.leads:
            yield
            return
        with self.writing():
            self.lock.__enter__()
        try:
            yield
        finally:
            self.lock.__exit__(None, None, None)

    def _identity(self) -> tuple[int, ...]:
        """What tells the checkpoint that is there from any other."""
        info = self.checkpoint.stat()
        return info.st_ino, info.st_size, info.st_mtime_ns

    def _require_unchanged(self) -> None:
        """InputError where another process has continued the run since this one was loaded."""
        if self.saved_as is None or not self.team.leads or not self.checkpoint.exists():
            return
        if self.saved_as != self._identity():
            raise InputError(
                f"{self.checkpoint} is not the one that this run has saved: another process has "
                "trained it meanwhile. Resume it again"
            )

    def _open_folder(self) -> None:
        """Write config.json, and mend the log: one line for each step of the checkpoint."""
        if not self.team.leads:
            return
        with self.writing():
            remove_leftovers(self.folder)
            about = json.dumps(self.describe(), indent=2, ensure_ascii=False)
            write_whole(self.about, about.encode(errors="backslashreplace"))
            kept, self.log_note = mended(self.log, self.steps_done)
            write_whole(self.log, kept)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn a failure to write into words that say what is left and what to do."""
        try:
            yield
        except OSError as error:
            kept = f"; {self.checkpoint} is unchanged" if self.checkpoint.exists() else ""
            raise InputError(
                f"cannot write to {self.folder}: {error.strerror or error}{kept}. Make room or "
                "mend the permissions, or choose another folder with --out"
            ) from error

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]} of {self.config.steps:,}; {str(self.folder)!r})"


def digest_of(corpus: Any) -> str | None:
    """SHA-256 of what batches are made of: that of a corpus, or of arrays; None of other things."""
    if hasattr(corpus, "digest"):
        known: str | None = corpus.digest
        return known
    parts = [ids_of(corpus), ids_of(corpus, "heldout") if hasattr(corpus, "heldout") else None]
    if isinstance(corpus, Mapping | tuple):
        parts = list(corpus.values() if isinstance(corpus, Mapping) else corpus)
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if not arrays:
        return None
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape} {array.dtype.str}".encode() + array.tobytes())
    return digest.hexdigest()
