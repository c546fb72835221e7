"""Contenders in processes of their own, which take turns: while one works, the others sleep.

A busy machine slows all of them alike, so ratios can be trusted where milliseconds cannot. How a
process happens to lie in memory moves its time by some percent for as long as it lives: so each
contender has several fresh ones, whose medians are one figure each.
"""

import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_info


class Turns(NamedTuple):
    """Seconds and returned value of every step; the most memory, in bytes, beyond the imports."""

    seconds: list[float]
    values: list[float]
    peak: int


class Result(NamedTuple):
    """Of each fresh process of a contender: its median, what its steps returned, its memory."""

    medians: list[float]
    values: list[list[float]]
    peaks: list[int]

    @property
    def median(self) -> float:
        return statistics.median(self.medians)

    @property
    def peak(self) -> float:
        return statistics.median(self.peaks)

    def over(self, other: "Result") -> str:
        """other's time / this one's: its median over the processes, and its range."""
        ratios = sorted(b / a for a, b in zip(self.medians, other.medians, strict=True))
        return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})"


class Contender:
    """A process that makes its step once and then runs as many as it is asked for."""

    def __init__(self, make: Callable, *args: Any, clock: str = "perf_counter"):
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, make, args, clock), daemon=True)
        self.process.start()
        self.ask(2)  # what happens once is not measured

    def ask(self, steps: int) -> Turns:
        self.connection.send(steps)
        answer = self.connection.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def end(self) -> None:
        self.connection.send(0)
        self.process.join()


def _serve(connection: Any, make: Callable, args: tuple, clock: str) -> None:
    imports, now = _memory("VmRSS"), getattr(time, clock)
    try:
        step = make(*args)
        while steps := connection.recv():
            seconds, values = [], []
            for _ in range(steps):
                began = now()
                values.append(step())
                seconds.append(now() - began)
            connection.send(Turns(seconds, values, _memory("VmHWM") - imports))
    except Exception as error:
        connection.send(error)


def alternate(contenders: dict[str, tuple], options: Any, steps: int) -> dict[str, Result]:
    """Results by name: in `options.processes` fresh processes of each, which take turns.

    `options.rounds` times each of them in turn runs `steps` steps.
    """
    fresh = [_turns(contenders, options, steps) for _ in range(options.processes)]
    return {
        name: Result(
            [statistics.median(turns[name].seconds) for turns in fresh],
            [turns[name].values for turns in fresh],
            [turns[name].peak for turns in fresh],
        )
        for name in contenders
    }


def _turns(contenders: dict[str, tuple], options: Any, steps: int) -> dict[str, Turns]:
    running = {name: Contender(*made, clock=options.clock) for name, made in contenders.items()}
    parts: dict[str, list[Turns]] = {name: [] for name in running}
    for _ in range(options.rounds):
        for name, contender in running.items():
            contender.ask(1)  # its caches are cold after the others
            parts[name].append(contender.ask(steps))
    for contender in running.values():
        contender.end()
    return {
        name: Turns(
            [second for turn in turns for second in turn.seconds],
            [value for turn in turns for value in turn.values],
            turns[-1].peak,
        )
        for name, turns in parts.items()
    }


def _memory(field: str) -> int:
    """VmRSS or VmHWM of this process in bytes; 0 where there is no /proc."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    line = next(s for s in status.read_text(encoding="utf-8").splitlines() if s.startswith(field))
    return int(line.split()[1]) * 1024


def machine() -> str:
    """The kind of processor and how many, and the versions that matter; no names of hosts."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        cpu = next((s.split(":")[1].strip() for s in lines if s.startswith("model name")), cpu)
    found = (
        f"{i['internal_api']} {i['version']}" for i in threadpool_info() if i["user_api"] == "blas"
    )
    blas = next(found, "BLAS unknown")
    torch = f"PyTorch {version('torch')}" if find_spec("torch") else "no PyTorch"
    return (
        f"{cpu}, {os.cpu_count()} cores; {platform.system()}, Python "
        f"{platform.python_version()}, NumPy {np.__version__} with {blas}, {torch}"
    )
