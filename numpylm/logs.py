"""Logs as columns of numbers, and runs side by side."""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import Array
from .errors import InputError
from .files import read_file, read_json, write_whole
from .reports import columns


def read_log(path: Path | str) -> dict[str, Array]:
    """The columns of a run's log as arrays by name: step, loss, rate, norm, heldout.

    path: a folder, or a log.jsonl. Where a line lacks a number, nan. Raises InputError for a file
    that is missing or no log.
    """
    return columns(log_lines(path))


def log_lines(path: Path | str) -> list[dict[str, float]]:
    """The lines of a log, in the order of their steps; a last line that is being written is left.

    Raises InputError as read_log does: also where a step stands before an earlier one.
    """
    path = Path(path)
    path = path / "log.jsonl" if path.is_dir() else path
    if not path.exists():
        raise InputError(f"no log at {path} (there is no such file): give the folder of a run")
    *whole, torn = read_file(path, "the log").split(b"\n")
    lines: list[dict[str, float]] = []
    for number, text in enumerate([*whole, torn], 1):
        line = _line(text)
        if line is None and number > len(whole):
            break
        if line is None:
            raise InputError(f"{path} is not the log of a run: line {number} is {text!r:.60}")
        if lines and line["step"] <= lines[-1]["step"]:
            raise InputError(
                f"{path} is not the log of one run: line {number} is of step {line['step']}, after "
                f"step {lines[-1]['step']}"
            )
        lines.append(line)
    return lines


def _line(text: bytes) -> dict[str, float] | None:
    """A line of a log: names and numbers, its step among them. None for anything else."""
    try:
        line = json.loads(text)
        numbers = all(isinstance(value, int | float) for value in line.values())
        return line if numbers and type(line["step"]) is int and line["step"] > 0 else None
    except (ValueError, RecursionError, AttributeError, KeyError):
        return None


def mended(path: Path, steps: int) -> tuple[bytes, str]:
    """The log of a run that has done so many steps: one line for each; and what is missing, if any.

    Lines of later steps, which a killed run wrote after its last checkpoint, are dropped; so are
    those that are torn, no log, or there twice.
    """
    data = read_file(path, "the log") if path.exists() else b""
    found: dict[int, bytes] = {}
    for text in data.split(b"\n"):
        line = _line(text)
        if line is not None and line["step"] <= steps:
            found.setdefault(int(line["step"]), text)
    missing = [step for step in range(1, steps + 1) if step not in found]
    note = (
        f"{path.name} lacks {len(missing):,} of {steps:,} steps, the first is {missing[0]:,}: "
        "they were lost, and are left out"
        if missing
        else ""
    )
    return b"".join(found[step] + b"\n" for step in sorted(found)), note


class LogFile:
    """A log that lines are added to; where it is deleted meanwhile, it is written again."""

    def __init__(self, path: Path):
        self.path, self.file = path, path.open("a+b")

    def write(self, line: dict[str, Any]) -> None:
        """Add a line."""
        self.file.write(json.dumps(line).encode() + b"\n")

    def flush(self) -> None:
        """Hand all lines to the system, in a file of that name."""
        self.file.flush()
        try:
            there = os.path.samestat(os.fstat(self.file.fileno()), self.path.stat())
        except FileNotFoundError:
            there = False
        if not there:
            self.file.seek(0)
            write_whole(self.path, self.file.read())
            self.file.close()
            self.file = self.path.open("a+b")

    def __enter__(self) -> "LogFile":
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()


@dataclass(frozen=True, repr=False)
class Comparison:
    """Two runs or more: their logs by name, and in what their settings differ."""

    logs: dict[str, dict[str, Array]]
    differences: dict[str, list[str]]

    def __str__(self) -> str:
        """A table: a row for each run, with its last losses, and below it what differs."""
        width = max(map(len, self.logs))
        rows = [f"{'':{width}}  {'steps':>7}  {'loss':>8}  {'held-out':>8}  {'best':>8}"]
        for name, log in self.logs.items():
            heldout = log.get("heldout", np.array([]))
            heldout = heldout[np.isfinite(heldout)]
            cells = [log["loss"][-1:].mean() if len(log.get("loss", ())) else math.nan]
            cells += [heldout[-1], heldout.min()] if len(heldout) else [math.nan, math.nan]
            numbers = "".join(f"  {cell:8.4f}" for cell in cells)
            rows.append(f"{name:{width}}  {len(log.get('step', ())):7,}{numbers}")
        for option, values in self.differences.items():
            rows.append(f"{option}: {', '.join(values)}")
        return "\n".join(rows)

    def __repr__(self) -> str:
        return str(self)

    def plot(self) -> Any:
        """The losses of all in one figure of matplotlib."""
        from .figures import compare_runs

        return compare_runs(self.logs)


def compare(*runs: Any) -> Comparison:
    """Runs side by side: their losses, what differs in their settings, and a picture, `plot()`.

    runs: folders, Runs, or results of `train`. Raises InputError where there are none, or no log.
    """
    if not runs:
        raise InputError("there is nothing to compare: give at least one run")
    logs: dict[str, dict[str, Array]] = {}
    settings = []
    for run in runs:
        if hasattr(run, "training"):
            log, name = columns(run.log), type(run.training.model).__name__
            model = getattr(run.training.model, "config", None)
            settings.append(vars(model or run.config) | vars(run.config))
        else:
            folder = Path(getattr(run, "folder", run))
            log, name = read_log(folder), folder.name
            settings.append(_settings(folder))
        while name in logs:
            name += "'"
        logs[name] = log
    names = dict.fromkeys(name for about in settings for name in about)
    values = {name: [str(about.get(name, "-")) for about in settings] for name in names}
    return Comparison(logs, {name: row for name, row in values.items() if len(set(row)) > 1})


def _settings(folder: Path) -> dict[str, Any]:
    """What config.json says about model, corpus and training, by name."""
    try:
        about = read_json(folder / "config.json")
        parts = [about.get(part) or {} for part in ("model_config", "corpus", "train")]
        return {"model": about["model"]} | {k: v for part in parts for k, v in part.items()}
    except (ValueError, KeyError, AttributeError, TypeError):
        return {}
