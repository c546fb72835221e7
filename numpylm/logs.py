"""Logs as columns of numbers, and runs side by side."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import Array
from .errors import InputError
from .files import read_json
from .log_files import log_lines
from .reports import columns


def read_log(path: Path | str) -> dict[str, Array]:
    """The columns of a run's log as arrays by name: step, loss, rate, norm, heldout.

    path: a folder, or a log.jsonl. Where a line lacks a number, nan. Raises InputError for a file
    that is missing or no log.
    """
    return columns(log_lines(path))


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
