"""python -m tests.benchmarks: how fast numpylm is beside PyTorch, and beside what is possible.

All parts together write RESULTS.md and growth.png beside this file; some of them, only what --out
says. On a busy machine take --cpu-time: then processor seconds are counted, which only means
something with one thread.
"""

import argparse
import datetime
import math
import shlex
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from numpylm.figures import save_figures
from numpylm.gpt import GPT
from numpylm.parallel import ring_all_reduce_seconds

from .cases import (
    CASES,
    NEW_TOKENS,
    gemm_step,
    numpylm_generation,
    numpylm_step,
    reading,
    torch_generation,
    torch_step,
)
from .growth import FACTORS, draw_growth, exponent, measure_growth
from .measure import Result, alternate, machine

TARGETS = {
    ("one matrix", 1): 2.5,
    ("nanoGPT", 1): 1.2,
    ("nanoGPT", 2): 1.1,
    ("listing", 1): 1.0,
    ("listing", 2): 1.0,
}
STEPS = {"one matrix": 100, "nanoGPT": 8, "listing": 2}  # in a row, before the other takes its turn
SAME = 1e-3  # relative: two float32 programs drift apart while they train
HERE = Path(__file__).parent


def row(*cells: Any) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def require_same(results: dict[str, Result]) -> None:
    """Two programs that do not compute the same may not be compared."""
    first, *others = results.values()
    for other in others:
        for a, b in zip(first.values, other.values, strict=True):
            assert abs(a - b) <= SAME * abs(a), f"{list(results)} disagree: {a} and {b}"


def milliseconds(result: Result) -> str:
    return f"{result.median * 1e3:.3g}"


def training(options: argparse.Namespace) -> Iterator[str]:
    yield "## A training step\n"
    yield (
        "Time and peak memory (beyond the imports) of the trainer's own step, and PyTorch's: with "
        "its fused Adam, which is its fastest, and with the Adam that it takes unasked. For memory "
        "too, a ratio above 1 is numpylm's gain, and 1 the target.\n"
    )
    heads = "configuration", "threads", "numpylm ms", "PyTorch ms", "ratio", "target"
    yield row(*heads, "its default Adam, ms", "ratio", "MB", "PyTorch MB", "memory")
    yield row(*["---"] * 11)
    for name, case in CASES.items():
        for threads in (1,) if options.cpu_time else (1, 2):
            contenders: dict[str, tuple] = {"numpylm": (numpylm_step, case, threads)}
            if find_spec("torch"):
                contenders["torch"] = (torch_step, case, threads)
                contenders["default"] = (torch_step, case, threads, False)
            results = alternate(contenders, options.rounds, STEPS[name], options.clock)
            require_same(results)
            none = Result([float("nan")], [], 0)
            ours, theirs = results["numpylm"], results.get("torch", none)
            default = results.get("default", none)
            yield row(
                case.title,
                threads,
                milliseconds(ours),
                milliseconds(theirs),
                f"{theirs.median / ours.median:.2f}",
                TARGETS.get((name, threads), ""),
                milliseconds(default),
                f"{default.median / ours.median:.2f}",
                f"{ours.peak / 1e6:.0f}",
                f"{theirs.peak / 1e6:.0f}",
                f"{theirs.peak / ours.peak:.2f}" if ours.peak else "",
            )


def floor(options: argparse.Namespace) -> Iterator[str]:
    yield "\n## Beside the matrix products alone, one thread\n"
    yield row("configuration", "step ms", "products ms", "share of the products", "target")
    yield row(*["---"] * 5)
    for name in ("nanoGPT", "listing"):
        case = CASES[name]
        contenders = {"step": (numpylm_step, case, 1), "products": (gemm_step, case)}
        results = alternate(contenders, options.rounds, STEPS[name], options.clock)
        share = results["products"].median / results["step"].median
        target = "65 %" if name == "nanoGPT" else ""
        yield row(case.title, *map(milliseconds, results.values()), f"{share:.0%}", target)


def generation(options: argparse.Namespace) -> Iterator[str]:
    yield "\n## Generation, GPT-2's smallest shape, key/value cache, tokens/s\n"
    yield row("threads", "numpylm", "PyTorch", "ratio", "target", "if weights are read once, only")
    yield row(*["---"] * 6)
    for threads in (1,) if options.cpu_time else (1, 2):
        contenders: dict[str, tuple] = {"numpylm": (numpylm_generation, threads)}
        if find_spec("torch"):
            contenders["torch"] = (torch_generation, threads)
        results = alternate(
            contenders | {"reading": (reading, threads)}, options.rounds, 1, options.clock
        )
        bound = results.pop("reading")
        require_same(results)
        speed = {name: NEW_TOKENS / result.median for name, result in results.items()}
        ours, theirs = speed["numpylm"], speed.get("torch", float("nan"))
        most = NEW_TOKENS / bound.median
        yield row(
            threads, f"{ours:.1f}", f"{theirs:.1f}", f"{ours / theirs:.2f}", 1.0, f"{most:.1f}"
        )


def allocator(options: argparse.Namespace) -> Iterator[str]:
    yield "\n## The allocator: freed memory kept, or given back to the kernel\n"
    yield row("configuration", "kept ms", "given back ms", "ratio")
    yield row(*["---"] * 4)
    for name, case in CASES.items():
        contenders = {str(keep): (numpylm_step, case, 1, keep) for keep in (True, False)}
        results = alternate(contenders, options.rounds, STEPS[name], options.clock)
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
        step = alternate(contenders, options.rounds, STEPS[name], options.clock)["step"].median
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
    table = measure_growth(options.rounds, options.clock)
    for size, seconds in table.items():
        yield row(size, *(f"{s * 1e3:.3g}" for s in seconds), f"{exponent(seconds):.2f}")
    save_figures({"growth": draw_growth(table)}, HERE)
    yield "\n![The same, drawn](growth.png)"


PARTS = {part.__name__: part for part in (training, floor, generation, allocator, machines, growth)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all, if none is named")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contender")
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
        f"Medians over {options.rounds} turns of each contender; "
        f"{'processor' if options.cpu_time else 'wall-clock'} time. Written by "
        f"`{shlex.join(['python', '-m', 'tests.benchmarks', *sys.argv[1:]])}`.\n",
        "A ratio is PyTorch's time / numpylm's: above 1, numpylm is faster.\n",
    ]
    print(*lines, sep="\n")
    for part in options.parts or PARTS:
        for line in PARTS[part](options):
            print(line, flush=True)
            lines.append(line)
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
