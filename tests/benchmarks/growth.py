"""How a step's time grows with each size of GPT, and the exponent that fits."""

from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from numpylm.gpt import GPT, GPTConfig

from .cases import Case, numpylm_step
from .measure import alternate

BASE = Case("", GPT, GPTConfig(vocab_size=512, context_length=32, layers=2, heads=4, width=64), 8)
FACTORS = (1, 2, 4, 8)
SIZES = {"T": "context_length", "V": "vocab_size", "C": "width", "layers": "layers", "B": "B"}


def grown(size: str, factor: int) -> Case:
    """BASE with one size times `factor`."""
    if size == "B":
        return BASE._replace(batch_size=BASE.batch_size * factor)
    name = SIZES[size]
    larger = {name: getattr(BASE.config, name) * factor}
    return BASE._replace(config=replace(BASE.config, **larger))


def measure_growth(options: Any) -> dict[str, list[float]]:
    """Size -> median seconds of a step at each of FACTORS."""
    cases = {(size, f): grown(size, f) for size in SIZES for f in FACTORS[1:]}
    contenders: dict[Any, tuple] = {"base": (numpylm_step, BASE, 1)}
    contenders |= {key: (numpylm_step, case, 1) for key, case in cases.items()}
    results = alternate(contenders, options, 10)
    base = results["base"].median
    return {size: [base, *(results[size, f].median for f in FACTORS[1:])] for size in SIZES}


def exponent(seconds: list[float]) -> float:
    """k of time ∝ size^k, by least squares on the logarithms."""
    return float(np.polyfit(np.log(FACTORS), np.log(seconds), 1)[0])


def draw_growth(table: dict[str, list[float]]) -> Figure:
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes: Any = figure.subplots()
    for size, seconds in table.items():
        label = f"{size}: exponent {exponent(seconds):.2f}"
        axes.plot(FACTORS, 1e3 * np.array(seconds), marker="o", label=label)
    axes.set(xscale="log", yscale="log", xticks=FACTORS, xlabel="size, times that of the base")
    axes.set_xticklabels([str(f) for f in FACTORS])
    axes.minorticks_off()
    sizes = BASE.config
    axes.set(
        ylabel="milliseconds a step",
        title=f"Base: T {sizes.context_length}, V {sizes.vocab_size}, C {sizes.width}, "
        f"{sizes.layers} layers, B {BASE.batch_size}",
    )
    axes.legend()
    return figure
