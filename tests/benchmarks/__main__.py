"""python -m tests.benchmarks: how fast numpylm is beside PyTorch, and beside what is possible.

All parts together write RESULTS.md and growth.png beside this file; some of them, only what --out
says. On a busy machine take --cpu-time: then processor seconds are counted, which only means
something with one thread.
"""

import argparse
import datetime
import math
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from numpylm.figures import save_figures
from numpylm.gpt import GPT
from numpylm.parallel import ring_all_reduce_seconds

from .cases import (
    CASES,
    CONTEXTS,
    NEW_TOKENS,
    VOCABULARIES,
    gemm_step,
    jax_step,
    numpylm_generation,
    numpylm_step,
    plain_step,
    reading,
    torch_generation,
    torch_step,
)
from .growth import FACTORS, draw_growth, exponent, measure_growth
from .measure import Result, alternate, machine

STEPS = {"one matrix": 100, "nanoGPT": 8, "listing": 2}  # in a row, before the other takes its turn
SAME = 1e-3  # relative: two float32 programs drift apart while they train
NEEDS = {
    "PyTorch": "torch",
    "default": "torch",
    "PyTorch eager": "torch",
    "PyTorch compiled": "torch",
    "JAX": "jax",
}
CORETYPE = (
    f"OPENBLAS_CORETYPE is {os.environ.get('OPENBLAS_CORETYPE', 'not set')} here: on some "
    "processors another kernel than OpenBLAS's own choice is some percent faster, and other bits "
    "come out.\n"
)
HERE = Path(__file__).parent


def row(*cells: Any) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def require_same(results: dict[str, Result]) -> None:
    """Two programs that do not compute the same may not be compared."""
    first, *others = (result.values[0] for result in results.values())
    for other in others:
        for a, b in zip(first, other, strict=True):
            assert abs(a - b) <= SAME * abs(a), f"{list(results)} disagree: {a} and {b}"


def milliseconds(result: Result) -> str:
    ms = result.median * 1e3
    return f"{ms:.3g}" if ms < 1000 else f"{ms:,.0f}"


def megabytes(result: Result) -> str:
    return f"{result.peak / 1e6:.0f}"


def threads_of(options: argparse.Namespace) -> tuple[int, ...]:
    return (1,) if options.cpu_time else (1, 2)


def compared(made: dict[str, tuple], options: argparse.Namespace, steps: int) -> dict[str, Result]:
    """The results of those that can be made here, after it was seen that they compute the same."""
    absent = {name for name, need in NEEDS.items() if not find_spec(need)}
    results = alternate({n: m for n, m in made.items() if n not in absent}, options, steps)
    require_same(results)
    nothing = Result([float("nan")] * options.processes, [], [0])
    return {name: results.get(name, nothing) for name in made}


BESIDE_TORCH = "numpylm ms", "PyTorch ms", "ratio (range)", "MB", "PyTorch MB"


def beside_torch(ours: Result, theirs: Result) -> tuple[str, ...]:
    times = milliseconds(ours), milliseconds(theirs), ours.over(theirs)
    return *times, megabytes(ours), megabytes(theirs)


def training(options: argparse.Namespace) -> Iterator[str]:
    yield "## A training step\n"
    yield (
        "The trainer's own step, and PyTorch's eager one: with its fused Adam, which is its "
        "fastest, and with the Adam that it takes unasked. Memory is the peak beyond the imports.\n"
    )
    yield row("configuration", "threads", *BESIDE_TORCH, "ratio to its default Adam")
    yield row(*["---"] * (3 + len(BESIDE_TORCH)))
    for name, case in CASES.items():
        for threads in threads_of(options):
            made = {
                "numpylm": (numpylm_step, case, threads),
                "PyTorch": (torch_step, case, threads),
                "default": (torch_step, case, threads, False),
            }
            results = compared(made, options, STEPS[name])
            ours = results["numpylm"]
            cells = beside_torch(ours, results["PyTorch"])
            yield row(case.title, threads, *cells, ours.over(results["default"]))


def contexts(options: argparse.Namespace) -> Iterator[str]:
    yield "\n## Longer contexts\n"
    yield (
        "GPT without biases: 4 layers, width 256, 8 heads, V 256, 2,048 tokens a step. PyTorch "
        "eager, its fused attention and Adam. 'Recomputed': the option `recompute` of GPT, with "
        "which attention keeps no weights.\n"
    )
    heads = "recomputed ms", "ratio (range)", "MB"
    yield row("context", "threads", *BESIDE_TORCH, *heads)
    yield row(*["---"] * (2 + len(BESIDE_TORCH) + len(heads)))
    for case in CONTEXTS.values():
        for threads in threads_of(options):
            made = {
                "numpylm": (numpylm_step, case, threads),
                "recomputed": (numpylm_step, case, threads, True, True),
                "PyTorch": (torch_step, case, threads),
            }
            results = compared(made, options, 2)
            ours, again, theirs = results.values()
            cells = beside_torch(ours, theirs)
            more = milliseconds(again), again.over(theirs), megabytes(again)
            yield row(case.title, threads, *cells, *more)


def vocabularies(options: argparse.Namespace) -> Iterator[str]:
    yield "\n## Larger vocabularies\n"
    yield "GPT without biases: 2 layers, width 128, 4 heads, T 64, B 8; one thread.\n"
    yield row("vocabulary", *BESIDE_TORCH)
    yield row(*["---"] * (1 + len(BESIDE_TORCH)))
    for case in VOCABULARIES.values():
        made = {"numpylm": (numpylm_step, case, 1), "PyTorch": (torch_step, case, 1)}
        yield row(case.title, *beside_torch(*compared(made, options, 3).values()))


def peers(options: argparse.Namespace) -> Iterator[str]:
    yield "\n## Other ways to compute the same, one thread\n"
    yield (
        "The models of 'longer contexts'. A ratio is the peer's time / numpylm's. 'Plain NumPy' is "
        "peers.py: layers that remember, whole squares of scores, new arrays everywhere. JAX "
        "compiles a whole step, and keeps to one core; PyTorch compiles the loss. The compilation "
        "is not measured.\n"
    )
    names = "PyTorch eager", "PyTorch compiled", "JAX", "plain NumPy"
    yield row("context", "numpylm ms", *names)
    yield row(*["---"] * (2 + len(names)))
    for T in (64, 512, 2048):
        case = CONTEXTS[T]
        made = {
            "numpylm": (numpylm_step, case, 1),
            "PyTorch eager": (torch_step, case, 1),
            "PyTorch compiled": (torch_step, case, 1, True, True),
            "JAX": (jax_step, case, 1),
            "plain NumPy": (plain_step, case, 1),
        }
        ours, *others = compared(made, options, 2).values()
        yield row(case.title, milliseconds(ours), *(ours.over(other) for other in others))


def floor(options: argparse.Namespace) -> Iterator[str]:
    yield "\n## Beside the matrix products alone, one thread\n"
    yield row("configuration", "step ms", "products ms", "share of the products")
    yield row(*["---"] * 4)
    for name in ("nanoGPT", "listing"):
        case = CASES[name]
        contenders = {"step": (numpylm_step, case, 1), "products": (gemm_step, case)}
        results = alternate(contenders, options, STEPS[name])
        share = results["products"].median / results["step"].median
        yield row(case.title, *map(milliseconds, results.values()), f"{share:.0%}")


def generation(options: argparse.Namespace) -> Iterator[str]:
    yield "\n## Generation, GPT-2's smallest shape, key/value cache, tokens/s\n"
    yield row("threads", "numpylm", "PyTorch", "ratio (range)", "if weights are read once, only")
    yield row(*["---"] * 5)
    for threads in threads_of(options):
        made = {"numpylm": (numpylm_generation, threads), "PyTorch": (torch_generation, threads)}
        results = compared(made, options, 1)
        bound = alternate({"reading": (reading, threads)}, options, 1)["reading"]
        ours, theirs, most = (NEW_TOKENS / r.median for r in (*results.values(), bound))
        ratio = results["numpylm"].over(results["PyTorch"])
        yield row(threads, f"{ours:.1f}", f"{theirs:.1f}", ratio, f"{most:.1f}")


def start_up(options: argparse.Namespace) -> Iterator[str]:
    yield "\n## Start-up, seconds from a new process on\n"
    yield row("what", "median (range)")
    yield row(*["---"] * 2)
    for title, words in STARTS.items():
        if "torch" in title and not find_spec("torch"):
            continue
        seconds = sorted(run_seconds(words) for _ in range(options.rounds))
        median = statistics.median(seconds)
        yield row(title, f"{median:.2f} ({seconds[0]:.2f}–{seconds[-1]:.2f})")


STARTS = {
    "Python alone": ["-c", "pass"],
    "`import numpy`": ["-c", "import numpy"],
    "`import numpylm`": ["-c", "import numpylm"],
    "`numpylm --help`": ["-m", "numpylm", "--help"],
    "`numpylm train`, the README's first command": ["-m", "numpylm", "train"],
    "`import torch`": ["-c", "import torch"],
}


def run_seconds(words: list[str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        paths = os.pathsep.join([str(HERE.parent.parent), os.environ.get("PYTHONPATH", "")])
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, *words],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": paths},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        return time.perf_counter() - began


def allocator(options: argparse.Namespace) -> Iterator[str]:
    yield "\n## The allocator: freed memory kept, or given back to the kernel\n"
    yield row("configuration", "kept ms", "given back ms", "ratio")
    yield row(*["---"] * 4)
    for name, case in CASES.items():
        contenders = {str(keep): (numpylm_step, case, 1, keep) for keep in (True, False)}
        results = alternate(contenders, options, STEPS[name])
        ratio = results["False"].median / results["True"].median
        yield row(case.title, *map(milliseconds, results.values()), f"{ratio:.2f}")


NETWORKS = {  # bytes/s, seconds for a message: round figures for the kind, not measured
    "1 Gbit/s Ethernet": (0.125e9, 100e-6),
    "10 Gbit/s Ethernet": (1.25e9, 50e-6),
    "100 Gbit/s InfiniBand": (12.5e9, 5e-6),
}
MACHINES = (2, 4, 8, 16, 64)
PAYS = 0.5  # of the machines' time is spent on learning; below that, another is poorly used


def machines(options: argparse.Namespace) -> Iterator[str]:
    yield "\n## Many machines, simulated\n"
    yield (
        "Each machine takes the measured time for a batch of its own and then adds up the gradient "
        "with the others in a ring, 2 (n − 1)/n bytes/bandwidth + 2 (n − 1) latency. The share of "
        "the time that is spent on learning; 'pays to' is the most machines for which this is at "
        f"least {PAYS:.0%}.\n"
    )
    yield row("configuration", "network", *(f"n = {n}" for n in MACHINES), "pays to")
    yield row(*["---"] * (3 + len(MACHINES)))
    for name in ("nanoGPT", "listing"):
        case = CASES[name]
        contenders = {"step": (numpylm_step, case, 1)}
        step = alternate(contenders, options, STEPS[name])["step"].median
        size = 4 * sum(map(math.prod, GPT.shapes(case.config).values()))
        for network, figures in NETWORKS.items():

            def learning(n: int, size: int = size, step: float = step, f: Any = figures) -> float:
                return step / (step + ring_all_reduce_seconds(n, size, *f))

            last = next((n for n in range(2, 10_001) if learning(n) < PAYS), 10_001) - 1
            shares = [f"{learning(n):.0%}" for n in MACHINES]
            yield row(case.title, network, *shares, last if last < 10_000 else "10,000 and more")


def growth(options: argparse.Namespace) -> Iterator[str]:
    yield "\n## Growth of a step with each size\n"
    yield row("size", *(f"ms at {f} x" for f in FACTORS), "exponent")
    yield row(*["---"] * (2 + len(FACTORS)))
    table = measure_growth(options)
    for size, seconds in table.items():
        yield row(size, *(f"{s * 1e3:.3g}" for s in seconds), f"{exponent(seconds):.2f}")
    save_figures({"growth": draw_growth(table)}, HERE)
    yield "\n![The same, drawn](growth.png)"


PARTS = {
    part.__name__: part
    for part in (
        training,
        contexts,
        vocabularies,
        peers,
        floor,
        generation,
        start_up,
        allocator,
        machines,
        growth,
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all, if none is named")
    parser.add_argument("--processes", type=int, default=3, help="fresh ones of each contender")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each process")
    parser.add_argument("--cpu-time", action="store_true", help="processor time, one thread")
    parser.add_argument("--out", type=Path, help="file of the results")
    options = parser.parse_args()
    if unknown := sorted(set(options.parts) - set(PARTS)):
        parser.error(f"there is no part {unknown[0]}; there are {', '.join(PARTS)}")
    if options.out is None and options.parts:
        parser.error("name a file with --out: RESULTS.md keeps all parts together")
    options.out = options.out or HERE / "RESULTS.md"
    if options.out.is_dir():
        parser.error(f"--out {options.out} is a folder: name the file to write, such as RESULTS.md")
    if not options.out.parent.is_dir():
        parser.error(f"--out {options.out}: there is no folder {options.out.parent}: make it first")
    options.clock = "process_time" if options.cpu_time else "perf_counter"
    lines = [
        "# How fast numpylm is\n",
        f"{datetime.date.today()}; {machine()}.\n",
        f"Medians over {options.processes} fresh processes of each contender, of {options.rounds} "
        f"turns each, and the range over the processes; "
        f"{'processor' if options.cpu_time else 'wall-clock'} time. Written by "
        f"`{shlex.join(['python', '-m', 'tests.benchmarks', *sys.argv[1:]])}`.\n",
        "A ratio is PyTorch's time / numpylm's: above 1, numpylm is faster.\n",
        CORETYPE,
    ]
    print(*lines, sep="\n")
    for part in options.parts or PARTS:
        for line in PARTS[part](options):
            print(line, flush=True)
            lines.append(line)
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
