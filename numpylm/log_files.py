"""log.jsonl: a line a step, judged by the steps in it."""

import json
import os
from itertools import count
from pathlib import Path
from typing import Any

from .config import MOST
from .errors import InputError
from .files import read_file, write_whole


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
        numbers = {name: float(n) for name, n in line.items() if isinstance(n, int | float)}
        counted = type(line["step"]) is int and 0 < line["step"] <= MOST
        return numbers | {"step": line["step"]} if counted and len(numbers) == len(line) else None
    except (ValueError, RecursionError, AttributeError, KeyError, OverflowError):
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
    note = ""
    if missing := steps - len(found):
        first = next(step for step in count(1) if step not in found)
        note = (
            f"{path.name} lacks {missing:,} of {steps:,} steps, the first is {first:,}: they were "
            "lost, and are left out"
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
