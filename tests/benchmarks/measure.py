"""Contenders in processes of their own, which take turns: while one works, the others sleep.

A busy machine slows all of them alike, so ratios can be trusted where milliseconds cannot.
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


class Result(NamedTuple):
    """Seconds and returned value of every step; the most memory, in bytes, beyond the imports."""

    seconds: list[float]
    values: list[float]
    peak: int

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


class Contender:
    """A process that makes its step once and then runs as many as it is asked for."""

    def __init__(self, make: Callable, *args: Any, clock: str = "perf_counter"):
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, make, args, clock), daemon=True)
        self.process.start()
        self.ask(2)  # what happens once is not measured

    def ask(self, steps: int) -> Result:
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
            connection.send(Result(seconds, values, _memory("VmHWM") - imports))
    except Exception as error:
        connection.send(error)


def alternate(contenders: dict[str, tuple], rounds: int, steps: int, clock: str) -> dict:
    """Results by name: `rounds` times, each contender in turn runs `steps` steps."""
    running = {name: Contender(*made, clock=clock) for name, made in contenders.items()}
    parts: dict[str, list[Result]] = {name: [] for name in running}
    for _ in range(rounds):
        for name, contender in running.items():
            contender.ask(1)  # its caches are cold after the others
            parts[name].append(contender.ask(steps))
    for contender in running.values():
        contender.end()
    return {
        name: Result(
            [s for result in results for s in result.seconds],
            [v for result in results for v in result.values],
            results[-1].peak,
        )
        for name, results in parts.items()
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
