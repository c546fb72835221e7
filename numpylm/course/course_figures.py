"""The README's figures of the one-matrix model, and the picture of the kill matrix."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..arrays import Array
from ..attention_lm import AttentionLM, AttentionLMConfig
from ..checks.oracles import ORACLES, Kills
from ..corpora import CorpusConfig
from ..figures import STYLE, four_paths, panels, run_pictures, save_figures, three_masks, v_curve
from ..ops import attention_forward, causal_mask, cross_entropy_backward
from ..runs import Run
from ..train_config import TrainConfig
from .schematics import draw_schematics


def draw_course(folder: Path) -> list[Path]:
    """The schematics, and the README's figures of the one-matrix model, trained on `topics`."""
    with tempfile.TemporaryDirectory() as scratch:
        defaults = AttentionLMConfig(), CorpusConfig(), TrainConfig()
        run = Run.from_configs(Path(scratch) / "topics", AttentionLM, *defaults)
        run.train(progress=False)
        pictures = {f"topics_{name}": figure for name, figure in run_pictures(run).items()}
    pictures["v_curve"] = _v_curve_of_one_matrix()
    pictures["four_paths"] = _four_paths_of_s1_s2_s3()
    pictures["three_masks"] = three_masks(attention_of_the_family(), source=3)
    return save_figures(pictures | draw_schematics(), folder)


def s1_s2_s3() -> tuple[AttentionLM, Array, Array]:
    """The article's example, for paper: the model, "S1 S2 S3", and S1 as the next word."""
    config = AttentionLMConfig(vocab_size=3, context_length=3, width=2, context="last")
    model = AttentionLM(config, np.random.default_rng(0), np.float64)
    model.params["E"] = [[1, 0], [0, 1], [1, 1]]
    return model, np.array([0, 1, 2]), np.array([1, 2, 0])


def _v_curve_of_one_matrix() -> Figure:
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


def attention_of_the_family() -> dict[str, Array]:
    """The weights a (6, 6) of the same q, k and v, as the three architectures call attention.

    Encoder-decoder: the first three tokens read themselves, the last three read the first three,
    and themselves backwards. That is three calls, and every row of a call sums to 1.
    """
    q, k, v = np.random.default_rng(0).normal(size=(3, 6, 4))
    source, target, text = slice(0, 3), slice(3, 6), slice(0, 6)

    def read(reader: slice, read: slice, mask: Array | None = None) -> Array:
        return attention_forward(q[reader], k[read], v[read], mask, 4**-0.5)[1].a

    both = np.zeros((6, 6))
    both[source, source] = read(source, source)
    both[target, source] = read(target, source)
    both[target, target] = read(target, target, causal_mask(3))
    return {
        "Encoder: BERT": read(text, text),
        "Decoder: GPT": read(text, text, causal_mask(6)),
        "Encoder-decoder: Transformer": both,
    }


def kill_matrix(rows: Sequence[Kills]) -> Figure:
    """Which oracle sees how many of the mistakes in an op, a model or an optimizer.

    In two columns, or a page of it could not be read.
    """
    subjects = list(dict.fromkeys(row.mutant.subject for row in rows))
    counts, seen = np.zeros(len(subjects)), np.zeros((len(subjects), len(ORACLES)))
    for row in rows:
        counts[subjects.index(row.mutant.subject)] += 1
        seen[subjects.index(row.mutant.subject)] += [bool(row.seen[o]) for o in ORACLES]
    alone = {o: sum(row.killers == (o,) for row in rows) for o in ORACLES}
    half = -(-len(subjects) // 2)
    parts = [part for part in (slice(0, half), slice(half, None)) if subjects[part]]
    with rc_context(STYLE | {"axes.grid": False}):
        figure, axes = panels(5.6 * len(parts), 1.5 + 0.33 * half, len(parts))
        for ax, part in zip(axes, parts, strict=True):
            _kills(ax, subjects[part], seen[part], counts[part])
        by = ",  ".join(f"{oracle} {n}" for oracle, n in alone.items())
        unseen = sum(not row.killers for row in rows)
        figure.supxlabel(
            f"{len(rows)} mistakes, {unseen} unseen;  seen by one alone:  {by}", size=12
        )
    return figure


def _kills(axes: Axes, subjects: Sequence[str], seen: Array, counts: Array) -> None:
    axes.imshow(seen / counts[:, None], cmap="Blues", vmin=0, vmax=1.2, aspect="auto")
    for i, j in np.ndindex(seen.shape):
        share = seen[i, j] / counts[i]
        text = f"{seen[i, j]:.0f}/{counts[i]:.0f}" if share else "."
        colour = "white" if share > 0.6 else "black"
        axes.text(j, i, text, ha="center", va="center", color=colour, size=11)
    axes.set_xticks(range(len(ORACLES)), ORACLES, rotation=25, ha="left", size=11)
    axes.set_yticks(range(len(subjects)), subjects, size=11)
    axes.xaxis.tick_top()
