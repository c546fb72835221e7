"""Arrays -> pictures: each function draws one Figure, and saves nothing.

Colours are Okabe and Ito's, which differ for the colour-blind and in grey; text is mathematics and
ASCII, so that no font lacks it.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .attention_lm import AttentionLM, AttentionLMConfig, Paths
from .config import InputError
from .corpora import CorpusConfig
from .gradcheck import central_difference, complex_step
from .languages import TOPICS
from .ops import Array, cross_entropy_backward
from .runs import Run, TrainConfig
from .train import train

BLUE, ORANGE, GREEN, RED, PURPLE, SKY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9",
)  # fmt: skip
COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY)
MARKERS = "os^Dv*"
READABLE = 24  # tokens on the axes of an attention map; more would be a poster
STYLE: dict[Any, Any] = {
    "figure.dpi": 120,
    "figure.constrained_layout.use": True,
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
}


def _figure(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height))
    return figure, list(np.ravel(figure.subplots(1, columns, squeeze=False)))


def loss_curve(lines: Sequence[Mapping[str, Any]], landmarks: Mapping[str, float]) -> Figure:
    """Loss and held-out loss against the step, between horizontal lines that give them a meaning.

    lines: the records of a log.jsonl. landmarks: nats by what they are, such as the entropy.
    """
    with rc_context(STYLE):
        figure, (axes,) = _figure(7, 4)
        steps = [line["step"] for line in lines]
        axes.plot(steps, [line["loss"] for line in lines], color=SKY, lw=0.8, label="batch")
        looks = [line for line in lines if "heldout" in line]
        axes.plot(
            [line["step"] for line in looks],
            [line["heldout"] for line in looks],
            color=BLUE, marker="o", ms=4, label="held-out",
        )  # fmt: skip
        for (name, nats), dash in zip(landmarks.items(), ("--", ":", "-."), strict=False):
            axes.axhline(nats, color="black", ls=dash, lw=1.2, label=f"{name}: {nats:.3f}")
        axes.set(xlabel="step", ylabel="loss (nats per token)", title="Training", xscale="log")
        axes.legend(frameon=False)
    return figure


def attention_map(a: Array, words: Sequence[str], title: str = "") -> Figure:
    """Who reads whom: row i, the query, spreads a weight of 1 over the keys j.   a (T, S)"""
    with rc_context(STYLE | {"axes.grid": False}):
        T, S = a.shape
        figure, (axes,) = _figure(1.6 + 0.75 * S, 1.2 + 0.6 * T)
        image = axes.imshow(a, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(S), words[:S], rotation=45, ha="right")
        axes.set_yticks(range(T), words[:T])
        _write_cells(axes, a, dark_below=0.5)
        axes.set(xlabel="key $j$: who is read", ylabel="query $i$: who reads", title=title)
        figure.colorbar(image, label="$a_{ij}$")
    return figure


def _write_cells(axes: Axes, values: Array, dark_below: float) -> None:
    for i, j in np.ndindex(values.shape):
        if values[i, j]:
            colour = "white" if values[i, j] < dark_below else "black"
            axes.text(j, i, f"{values[i, j]:.2f}", ha="center", va="center", color=colour, size=9)


def principal_plane(table: Array) -> tuple[Array, Array]:
    """The rows of table (V, C) in the plane where they differ most.  ->  (V, 2), shares (2,)

    centred = U S Wᵀ  (singular value decomposition)   =>   coordinates U S, variances ∝ S²

    With C = 1 there is no second component: it is 0, with a share of 0.
    """
    centred = table - table.mean(axis=0)
    if centred.shape[1] == 1:
        centred = np.pad(centred, ((0, 0), (0, 1)))
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    return (u * s)[:, :2], (s**2 / np.sum(s**2))[:2]


def embedding_plane(
    table: Array, symbols: Sequence[str], groups: Mapping[str, Iterable[str]] | None = None
) -> Figure:
    """Each symbol at the place of its row, in the plane of the two principal components.

    groups: sets of symbols by name, drawn in one colour and shape each.
    """
    with rc_context(STYLE):
        figure, (axes,) = _figure(7.5, 5.5)
        places, shares = principal_plane(table)
        groups = groups or {"": symbols}
        for n, (name, members) in enumerate(groups.items()):
            rows = [symbols.index(word) for word in members if word in symbols]
            axes.plot(
                *places[rows].T, MARKERS[n % 6], color=COLOURS[n % 6], ms=8, alpha=0.8, label=name
            )
            if len(symbols) <= 100 and len(groups) == 1:
                for row in rows:
                    axes.annotate(_visible(symbols[row]), places[row], size=8)
        if len(groups) > 1:
            axes.legend(frameon=False, ncols=2)
        for side, share in zip("xy", shares, strict=True):
            number = "first" if side == "x" else "second"
            axes.set(**{f"{side}label": f"{number} principal component ({share:.0%} of variance)"})
        axes.set_title("Embeddings $e_w$ of all words")
    return figure


def _visible(symbol: str) -> str:
    """A symbol as text that every font has and matplotlib does not read as mathematics."""
    shown = (
        symbol if symbol.isascii() and symbol.isprintable() and symbol.strip() else ascii(symbol)
    )
    return shown.replace("$", r"\$")


def v_curve(f: Callable[[Array], Any], x: Array, exact: Array) -> Figure:
    """The error of numerical gradients of f at x against their step h."""

    def one_sided(f: Callable, x: Array, h: float) -> Array:
        basis = np.eye(x.size).reshape(-1, *x.shape)
        return np.array([(f(x + h * e) - f(x)) / h for e in basis]).reshape(x.shape)

    methods: dict[str, tuple[Callable, Any, str, str]] = {
        "one-sided, float64": (one_sided, f, ORANGE, "s"),
        "central, float32": (central_difference, lambda z: f(z.astype(np.float32)), RED, "^"),
        "central, float64": (central_difference, f, BLUE, "o"),
        "complex step": (complex_step, f, GREEN, "D"),
    }
    steps = 10.0 ** np.arange(-15, 0)
    with rc_context(STYLE):
        figure, (axes,) = _figure(7, 4.5)
        for name, (slope, function, colour, marker) in methods.items():
            gaps = [np.abs(slope(function, x, h) - exact).max() for h in steps]
            errors = np.maximum(np.array(gaps, float) / np.abs(exact).max(), 1e-17)
            axes.loglog(steps, errors, color=colour, marker=marker, ms=5, label=name)
        axes.set(xlabel="step $h$", ylabel="relative error of the gradient", ylim=(1e-18, 1e4))
        axes.set_title("How far to trust a numerical gradient")
        axes.legend(frameon=False, loc="upper center", ncols=2)
    return figure


def four_paths(paths: Paths, words: Sequence[str]) -> Figure:
    """The four parts of dE side by side, and their sum: rows are words, columns dimensions."""
    parts = {**paths._asdict(), "sum: dE": sum(paths)}
    largest = max(np.abs(part).max() for part in parts.values())
    with rc_context(STYLE | {"axes.grid": False}):
        figure, axes = _figure(11, 2.9, columns=5)
        for ax, (name, part) in zip(axes, parts.items(), strict=True):
            image = ax.imshow(part, cmap="PuOr", vmin=-largest, vmax=largest, aspect="auto")
            for i, j in np.ndindex(part.shape):
                colour = "white" if abs(part[i, j]) > 0.6 * largest else "black"
                ax.text(j, i, f"{part[i, j]:+.2f}", ha="center", va="center", size=9, color=colour)
            ax.set_title(name)
            ax.set_xticks(range(part.shape[1]), [f"dim {j + 1}" for j in range(part.shape[1])])
            ax.set_yticks(range(len(words)), words if ax is axes[0] else [""] * len(words))
        figure.colorbar(image, ax=axes, label="dL/dE")
    return figure


# ---- what the commands draw ------------------------------------------------------------------


def draw_run(run: Run) -> list[Path]:
    """Put the pictures of a run into its folder."""
    return save_figures(run_pictures(run), run.folder)


def run_pictures(run: Run) -> dict[str, Figure]:
    """The loss so far, the embeddings, and the attention among the first held-out tokens."""
    with run.log.open(encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    corpus, model = run.corpus, run.model
    landmarks = {f"ln {corpus.tokenizer.vocab_size}": np.log(corpus.tokenizer.vocab_size)}
    if corpus.entropy is not None:
        landmarks["entropy"] = corpus.entropy
    symbols = corpus.tokenizer.symbols
    groups = {k: v.split() for k, v in TOPICS.items()} if corpus.name == "topics" else None
    ids = np.ravel(corpus.heldout)[: min(model.config.context_length, READABLE)]
    _, cache = model.forward(ids)
    return {
        "loss": loss_curve(lines, landmarks),
        "embeddings": embedding_plane(model.params["E"], symbols, groups),
        "attention": attention_map(cache.attention.a, [_visible(symbols[i]) for i in ids]),
    }


def draw_course(folder: Path) -> list[Path]:
    """Every figure of the README. Trains the section 4 model on `topics`, in a folder that goes."""
    with tempfile.TemporaryDirectory() as scratch:
        defaults = AttentionLMConfig(), CorpusConfig(), TrainConfig()
        run = Run.start(Path(scratch) / "topics", AttentionLM, *defaults)
        train(run, progress=False)
        pictures = {f"topics_{name}": figure for name, figure in run_pictures(run).items()}
    pictures["v_curve"] = _v_curve_of_section_4()
    pictures["four_paths"] = _four_paths_of_s1_s2_s3()
    return save_figures(pictures, folder)


def s1_s2_s3() -> tuple[AttentionLM, Array, Array]:
    """The seed's example with numbers for paper: the model, "S1 S2 S3", and S1 as the next word."""
    config = AttentionLMConfig(vocab_size=3, context_length=3, width=2, context="last")
    model = AttentionLM(config, np.random.default_rng(0), np.float64)
    model.params["E"] = [[1, 0], [0, 1], [1, 1]]
    return model, np.array([0, 1, 2]), np.array([1, 2, 0])


def _v_curve_of_section_4() -> Figure:
    model, ids, targets = s1_s2_s3()
    exact = model.loss_backward(model.loss(ids, targets)[1])["E"]

    def loss(table: Array) -> Any:
        twin = model.astype(table.dtype)
        twin.params["E"] = table
        return twin.loss(ids, targets)[0]

    return v_curve(loss, model.params["E"], exact)


def _four_paths_of_s1_s2_s3() -> Figure:
    model, ids, targets = s1_s2_s3()
    _, (cache, loss_cache) = model.loss(ids, targets)
    paths = model.backward_paths(cross_entropy_backward(1.0, loss_cache), cache)
    return four_paths(paths, ["S1", "S2", "S3"])


def save_figures(pictures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Write each figure as a PNG of its name; InputError where the folder takes none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{name}.png" for name in pictures]
        for path, figure in zip(paths, pictures.values(), strict=True):
            figure.savefig(path)
    except OSError as error:
        raise InputError(f"cannot draw into {folder}: {error}; choose another --out") from error
    return paths
