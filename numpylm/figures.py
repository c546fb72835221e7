"""Arrays -> pictures: a function draws one Figure; at the end, those of a run, and where they go.

Colours are Okabe and Ito's, which differ for the colour-blind and in grey. Labels go through
labels.py, so that any token can be drawn.
"""

import io
import os
import tempfile
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .arrays import Array
from .attention_lm import Paths
from .corpora import landmarks
from .errors import InputError
from .files import write_whole
from .gradcheck import central_difference, complex_step
from .labels import font_family, in_legend, literal, mathematics, room, short_name
from .languages import TOPICS
from .log_files import log_lines

BLUE, ORANGE, GREEN, RED, PURPLE, SKY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9",
)  # fmt: skip
COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY)
MARKERS = "os^Dv*"
AROUND = "central, float64"  # the line that is drawn in rings, because others run along it
READABLE = 24  # tokens on the axes of an attention map; more would be a poster
STYLE: dict[Any, Any] = {
    "figure.dpi": 120,
    "figure.constrained_layout.use": True,
    "font.family": font_family(),
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
}


def panels(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height))
    return figure, list(np.ravel(figure.subplots(1, columns, squeeze=False)))


def loss_curve(lines: Sequence[Mapping[str, Any]], marks: Mapping[str, float]) -> Figure:
    """Loss and held-out loss against the step, between horizontal lines that give them a meaning.

    lines: the records of a log.jsonl. marks: nats by what they are, such as the entropy.
    """
    with rc_context(STYLE):
        figure, (axes,) = panels(7, 4)
        steps = [line["step"] for line in lines]
        axes.plot(steps, [line["loss"] for line in lines], color=SKY, lw=0.8, label="batch")
        looks = [line for line in lines if "heldout" in line]
        axes.plot(
            [line["step"] for line in looks],
            [line["heldout"] for line in looks],
            color=BLUE, marker="o", ms=4, label="held-out",
        )  # fmt: skip
        for (name, nats), dash in zip(marks.items(), ("--", ":", "-."), strict=False):
            label = f"{in_legend(name)}: {nats:.3f}"
            axes.axhline(nats, color="black", ls=dash, lw=1.2, label=label)
        axes.set(xlabel="step", ylabel="loss (nats per token)", title="Training", xscale="log")
        axes.legend(frameon=False)
    return figure


def compare_runs(logs: Mapping[str, Mapping[str, Array]]) -> Figure:
    """Held-out losses of several runs against the step; batch losses, faint, in the same colours.

    logs: the columns of each log by the name of its run, as logs.read_log gives them.
    """
    with rc_context(STYLE):
        figure, (axes,) = panels(7, 4)
        for (name, log), colour in zip(logs.items(), cycle(COLOURS), strict=False):
            steps, heldout = (log.get(column, np.array([])) for column in ("step", "heldout"))
            axes.plot(steps, log.get("loss", []), color=colour, lw=0.8, alpha=0.4)
            there = np.isfinite(heldout)
            at: list[Any] = [np.asarray(steps)[there], heldout[there]] if there.any() else [[], []]
            axes.plot(*at, color=colour, marker="o", ms=4, label=name)
        axes.set(xlabel="step", ylabel="loss (nats per token)", title="Runs", xscale="log")
        axes.legend(frameon=False, title="held-out; faint: batches")
    return figure


def attention_map(a: Array, words: Sequence[str], title: str = "") -> Figure:
    """Who reads whom: row i, the query, spreads a weight of 1 over the keys j.   a (T, S)"""
    with rc_context(STYLE | {"axes.grid": False}):
        T, S = a.shape
        labels = _labels("words", words, max(T, S))
        more = room(labels)
        figure, (axes,) = panels(1.6 + 0.75 * S + more, 1.2 + 0.6 * T + 0.7 * more)
        image = axes.imshow(a, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(S), labels[:S], rotation=45, ha="right")
        axes.set_yticks(range(T), labels[:T])
        _write_cells(axes, a, dark_below=0.5)
        axes.set(xlabel="key $j$: who is read", ylabel="query $i$: who reads")
        axes.set_title(mathematics(title))
        figure.colorbar(image, label="$a_{ij}$")
    return figure


def _labels(name: str, words: Sequence[str], n: int) -> list[str]:
    """Words as the labels of n rows or columns; InputError where they are fewer."""
    if len(words) < n:
        raise InputError(f"{name} must name each of {n} rows or columns, but are {len(words)}")
    return [literal(word) for word in words[:n]]


def _write_cells(axes: Axes, values: Array, dark_below: float) -> None:
    for i, j in np.ndindex(values.shape):
        if values[i, j]:
            colour = "white" if values[i, j] < dark_below else "black"
            axes.text(j, i, f"{values[i, j]:.2f}", ha="center", va="center", color=colour, size=9)


def heatmaps(
    tables: Mapping[str, Array], rows: Sequence[str], columns: Sequence[str], digits: int = 2
) -> Figure:
    """Tables (R, C) side by side, each with a title and a scale of its own, every number written.

    A table without negative numbers goes from 0, dark, to its maximum, light; one with negative
    numbers from orange over white, which is 0, to purple.
    """
    with rc_context(STYLE | {"axes.grid": False}):
        width, height = 1.6 + 0.55 * len(columns), 1.0 + 0.4 * len(rows)
        names, across = ([short_name(text) for text in texts] for texts in (rows, columns))
        more = room(across)
        size = width * len(tables) + room(names), height + 0.7 * more
        figure, axes = panels(*size, columns=len(tables))
        for ax, (title, table) in zip(axes, tables.items(), strict=True):
            signed, top = bool(table.min() < 0), np.abs(table).max() or 1.0
            low, cmap = (-top, "PuOr") if signed else (0, "cividis")
            image = ax.imshow(table, vmin=low, vmax=top, cmap=cmap, aspect="auto")
            for i, j in np.ndindex(table.shape):
                x = table[i, j]
                white = abs(x) > 0.6 * top if signed else x < 0.5 * top
                text = f"{x:+.{digits}f}" if signed else f"{x:.{digits}f}"
                colour = "white" if white else "black"
                ax.text(j, i, text, ha="center", va="center", color=colour, size=9)
            ax.set_title(mathematics(title))
            angle, side = (45, "right") if more else (0, "center")
            ax.set_xticks(range(len(columns)), across, rotation=angle, ha=side)
            ax.set_yticks(range(len(rows)), names if ax is axes[0] else [""] * len(rows))
            figure.colorbar(image, ax=ax)
    return figure


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

    groups: sets of symbols by name, drawn in one colour and shape each. Up to 100 symbols are
    written: each at its place, or those of a group beside its middle, because a group that was
    learned is too tight for words.
    """
    with rc_context(STYLE):
        figure, (axes,) = panels(9, 6)
        places, shares = principal_plane(table)
        written = len(symbols) <= 100
        groups = groups or {"": symbols}
        for n, (name, members) in enumerate(groups.items()):
            rows = [symbols.index(word) for word in members if word in symbols]
            x, y = places[rows].T
            colour, label = COLOURS[n % 6], in_legend(name)
            axes.plot(x, y, MARKERS[n % 6], color=colour, ms=8, alpha=0.8, label=label)
            if written and len(groups) == 1:
                for row in rows:
                    axes.annotate(literal(symbols[row]), places[row], size=8)
            elif written and rows:
                _write_group(axes, name, [symbols[row] for row in rows], places[rows])
        if len(groups) > 1 and not written:
            axes.legend(frameon=False, ncols=2)
        for side, share in zip("xy", shares, strict=True):
            number = "first" if side == "x" else "second"
            axes.set(**{f"{side}label": f"{number} principal component ({share:.0%} of variance)"})
        axes.margins(0.06, 0.1)
        axes.set_title("Embeddings $e_w$ of all words")
    return figure


def _write_group(axes: Axes, name: str, words: Sequence[str], places: Array) -> None:
    """The name of a group and its words, on that side of its places where the middle is."""
    left = places[:, 0].mean() > 0
    at = places[:, 0].min() if left else places[:, 0].max()
    anchor = at, places[:, 1].mean()
    shown = textwrap.wrap(" ".join(literal(word).replace(" ", "\u00a0") for word in words), 24)
    style: dict[str, Any] = {
        "textcoords": "offset points",
        "ha": "right" if left else "left",
        "xytext": (-10 if left else 10, 0),
    }
    down = 6.0 * len(shown)
    gap = style["xytext"][0]
    for text, y, side, weight in (
        (short_name(name), down, "bottom", "bold"),
        ("\n".join(shown), down, "top", "normal"),
    ):
        style["xytext"] = gap, y
        axes.annotate(text, anchor, va=side, weight=weight, size=11, **style)


def v_curve(f: Callable[[Array], Any], x: Array, exact: Array) -> Figure:
    """The error of numerical gradients of f at x against their step h."""

    def one_sided(f: Callable[..., Any], x: Array, h: float) -> Array:
        basis = np.eye(x.size).reshape(-1, *x.shape)
        return np.array([(f(x + h * e) - f(x)) / h for e in basis]).reshape(x.shape)

    methods: dict[str, tuple[Callable[..., Any], Any, str, str]] = {
        "one-sided, float64": (one_sided, f, ORANGE, "s"),
        "central, float32": (central_difference, lambda z: f(z.astype(np.float32)), RED, "^"),
        AROUND: (central_difference, f, BLUE, "o"),
        "complex step": (complex_step, f, GREEN, "D"),
    }
    steps = 10.0 ** np.arange(-15, 0)
    with rc_context(STYLE):
        figure, (axes,) = panels(7, 4.5)
        for name, (slope, function, colour, marker) in methods.items():
            gaps = [np.abs(slope(function, x, h) - exact).max() for h in steps]
            errors = np.maximum(np.array(gaps, float) / np.abs(exact).max(), 1e-17)
            ring: dict[str, Any] = {"mfc": "none", "ms": 11, "mew": 1.8, "zorder": 3}
            style = ring if name == AROUND else {"ms": 6}  # so that both can be seen in one place
            axes.loglog(steps, errors, color=colour, marker=marker, label=name, **style)
        axes.set(xlabel="step $h$", ylabel="relative error of the gradient", ylim=(1e-18, 1e4))
        axes.set_title("How far to trust a numerical gradient")
        axes.legend(frameon=False, loc="upper center", ncols=2)
    return figure


def four_paths(paths: Paths, words: Sequence[str]) -> Figure:
    """The four parts of dE side by side, and their sum: rows are words, columns dimensions."""
    parts = {**paths._asdict(), "sum: dE": sum(paths)}
    largest = max(np.abs(part).max() for part in parts.values())
    with rc_context(STYLE | {"axes.grid": False}):
        names = _labels("words", words, len(paths[0]))
        figure, axes = panels(11 + room(names), 2.9, columns=5)
        for ax, (name, part) in zip(axes, parts.items(), strict=True):
            image = ax.imshow(part, cmap="PuOr", vmin=-largest, vmax=largest, aspect="auto")
            for i, j in np.ndindex(part.shape):
                colour = "white" if abs(part[i, j]) > 0.6 * largest else "black"
                text = f"{part[i, j]:+.2f}"
                ax.text(j, i, text, ha="center", va="center", size=11, color=colour)
            ax.set_title(name)
            ax.set_xticks(range(part.shape[1]), [f"dim {j + 1}" for j in range(part.shape[1])])
            ax.set_yticks(range(len(part)), names if ax is axes[0] else [""] * len(part))
        figure.colorbar(image, ax=axes, label="dL/dE")
    return figure


def three_masks(maps: Mapping[str, Array], source: int) -> Figure:
    """Encoder, decoder, and both together: their weights (T, T), a cross where the mask forbids.

    In the third panel the first `source` tokens are the source, the others the target.
    """
    masks = (
        "$x_i$ reads every $x_j$",
        r"$x_i$ reads $x_j$ with $j \leq i$",
        r"$x_i$ reads every $x_j$;  $y_i$ every $x_j$, and $y_j$ with $j \leq i$"
        "\na row of $y$ holds two softmaxes: each side of the line sums to 1",
    )
    with rc_context(STYLE | {"axes.grid": False, "font.size": 14}):
        figure, axes = panels(13.5, 5.6, columns=3)
        for ax, (title, a), mask in zip(axes, maps.items(), masks, strict=True):
            image = ax.imshow(np.ma.masked_equal(a, 0), cmap="cividis", vmin=0, vmax=1)
            i, j = np.nonzero(a == 0)
            ax.plot(j, i, "x", color="0.5", ms=9, mew=1.5)
            T = len(a)
            words, who = [f"$x_{n + 1}$" for n in range(T)], "who is read"
            if ax is axes[2]:
                who = "source $x$, target $y$"
                words[source:] = [f"$y_{n + 1}$" for n in range(T - source)]
                ax.axhline(source - 0.5, color=ORANGE, lw=4)
                ax.axvline(source - 0.5, color=ORANGE, lw=4)
            ax.set(title=mathematics(title), xlabel=f"key $j$: {who}\n{mask}")
            ax.set_xticks(range(T), words)
            ax.set_yticks(range(T), words)
        axes[0].set_ylabel("query $i$: who reads")
        figure.colorbar(image, ax=axes, label="weight $a_{ij}$", shrink=0.75)
        figure.suptitle("One function, three masks: attention_forward(q, k, v, mask)")
    return figure


def ladder_map(
    rungs: Sequence[str],
    languages: Sequence[str],
    excess: Array,
    written: Sequence[Sequence[str]],
    derived: Array,
) -> Figure:
    """Nats over the entropy, a rung a row, a language a column: light where it is reached.

    written: what stands in each cell, such as the spread over seeds. Under it stands `derived`,
    the least excess that was derived, where that is not 0.
    """
    with rc_context(STYLE | {"axes.grid": False}):
        figure, (axes,) = panels(2.9 + 1.1 * len(languages), 1.2 + 0.62 * len(rungs))
        top = max(excess.max(), 0.1)
        axes.imshow(excess, cmap="cividis_r", vmin=0, vmax=top, aspect="auto")
        for i, j in np.ndindex(excess.shape):
            bound = f"\n$\\geq$ {derived[i, j]:.3f}" if derived[i, j] else ""
            colour = "white" if excess[i, j] > 0.5 * top else "black"
            text = short_name(written[i][j]) + bound
            axes.text(j, i, text, ha="center", va="center", color=colour, size=12)
        axes.set_xticks(range(len(languages)), [*map(literal, languages)], size=13)
        axes.set_yticks(range(len(rungs)), [*map(short_name, rungs)], size=12)
        axes.set_title("Nats per token above the entropy, best to worst seed;  $\\geq$ is derived")
    return figure


def marked_attention(maps: Mapping[str, Array], words: Sequence[str], marks: Array) -> Figure:
    """Attention maps (T, T) of one text side by side, a square around each pair where `marks`."""
    with rc_context(STYLE | {"axes.grid": False}):
        n, labels = len(words), [literal(word) for word in words]
        more = room(labels, usual=2)
        size = (1.0 + 0.22 * n + more) * len(maps), 1.3 + 0.22 * n + more
        figure, axes = panels(*size, columns=len(maps))
        queries, keys = np.nonzero(marks)
        for ax, (title, a) in zip(axes, maps.items(), strict=True):
            image = ax.imshow(a, cmap="cividis", vmin=0, vmax=1)
            ax.plot(keys, queries, "s", ms=11, mfc="none", mec=ORANGE, mew=1.2)
            ax.set_xticks(range(n), labels, rotation=90 if more else 0)
            ax.set_yticks(range(n), labels)
            ax.set(xlabel="key: who is read", ylabel="query: who reads", title=mathematics(title))
        figure.colorbar(image, ax=axes, label="$a_{ij}$", shrink=0.8)
    return figure


def reading_maps(a: Array, readers: Sequence[str], words: Sequence[str], title: str) -> Figure:
    """Who reads whom in each block: a (L, T, S) as L maps, one above the other."""
    with rc_context(STYLE | {"axes.grid": False}):
        L, T, S = a.shape
        across, down = _labels("words", words, S), _labels("readers", readers, T)
        size = 2.6 + 0.3 * S + room(down), 1.3 + L * (0.6 + 0.27 * T) + room(across)
        figure = Figure(figsize=size)
        axes = figure.subplots(L, 1, sharex=True, squeeze=False)[:, 0]
        for n, ax in enumerate(axes):
            image = ax.imshow(a[n], cmap="cividis", vmin=0, vmax=a.max(), aspect="auto")
            ax.set_yticks(range(T), down)
            ax.set(ylabel="who reads", title=f"{mathematics(title)}, block {n + 1}")
        axes[-1].set_xticks(range(S), across, rotation=90)
        axes[-1].set_xlabel("who is read")
        figure.colorbar(image, ax=[*axes], label="mean weight of the heads")
    return figure


def score_dots(scores: Mapping[str, Mapping[str, Sequence[float]]], title: str) -> Figure:
    """A panel for each metric: a dot for each seed of each method, and a line at the median.

    scores: method -> metric -> a score for each seed.
    """
    methods, metrics = list(scores), list(next(iter(scores.values())))
    with rc_context(STYLE):
        figure, axes = panels(1.6 + 2.4 * len(metrics), 1.3 + 0.4 * len(methods), len(metrics))
        for ax, metric in zip(axes, metrics, strict=True):
            for n, method in enumerate(methods):
                seeds = scores[method][metric]
                ax.plot(seeds, [n] * len(seeds), "o", color=COLOURS[n % 6], alpha=0.6)
                ax.plot(np.median(seeds), n, "|", color="black", ms=16)
            names = [*map(short_name, methods)] if ax is axes[0] else [""] * len(methods)
            ax.set_yticks(range(len(methods)), names)
            ax.set_ylim(len(methods) - 0.5, -0.5)
            ax.set_xlabel(short_name(metric))
            if max(max(row[metric]) for row in scores.values()) <= 1:  # a share
                ax.set_xlim(-0.05, 1.05)
        figure.suptitle(mathematics(title))
    return figure


# ---- what the commands draw ------------------------------------------------------------------


def draw_run(run: Any) -> list[Path]:
    """Put the pictures of a run into its folder."""
    return save_figures(run_pictures(run), run.folder)


def run_pictures(run: Any) -> dict[str, Figure]:
    """The loss so far, the embeddings E, and the attention among the first held-out tokens.

    A model without one of them is drawn without it. Of several attentions it is the last. What is
    not a corpus with a tokenizer has no words: then it is the loss alone.
    """
    lines = log_lines(run.log)
    corpus, model = run.corpus, run.model
    pictures = {"loss": loss_curve(lines, landmarks(corpus))}
    symbols = getattr(getattr(corpus, "tokenizer", None), "symbols", None)
    if symbols is None:
        return pictures
    if "E" in model.params:
        topics = getattr(corpus, "name", "") == "topics"
        groups = {k: v.split() for k, v in TOPICS.items()} if topics else None
        pictures["embeddings"] = embedding_plane(model.params["E"], symbols, groups)
    ids = np.ravel(corpus.heldout)[: min(model.config.context_length, READABLE)]
    _, cache = model.forward(ids)
    for name, a in [*model.attention_maps(cache).items()][-1:]:
        title = f"{name}, first of {len(a)} heads" if len(a) > 1 else ""
        words = [symbols[i] for i in ids]
        pictures["attention"] = attention_map(a[0], words, title)
    return pictures


def drawing_folder(folder: Path) -> Path:
    """`folder`, where files can be made in it or in what is there of its path. Nothing is left.

    To be asked before what will be drawn is computed; InputError if they cannot.
    """
    try:
        tempfile.TemporaryFile(dir=_there(folder)).close()
    except OSError as error:
        raise InputError(
            f"cannot draw into {folder}: {error.strerror or error}. Nothing has been computed yet: "
            "make room, or choose another --out"
        ) from error
    return folder


def _there(folder: Path) -> Path:
    """The first of a path and its parents that is there, if only as a link that leads nowhere."""
    for path in (folder, *folder.absolute().parents):
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        return path
    return folder


def save_figures(pictures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Write each figure as a PNG of its name; InputError where the folder takes none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{name}.png" for name in pictures]
        for path, figure in zip(paths, pictures.values(), strict=True):
            png = io.BytesIO()
            figure.savefig(png)
            write_whole(path, png.getvalue())
    except OSError as error:
        raise InputError(
            f"cannot draw into {folder}: {error.strerror or error}. What was trained is whole: "
            "make room, or choose another --out, and give the command again"
        ) from error
    return paths
