"""The schematics: how the models are put together, and what flows in them, forward and back.

Forward is blue and solid, backward red and dashed; what is trained is yellow. Data flow downwards.
"""

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from ..arrays import Array
from ..drawings import BACKWARD, FORWARD, QUIET, SIZE, Box, Drawing, Place
from ..ops import attention_forward, causal_mask

SMALL = 12.0  # points of what stands in a corner
DEEP_ORANGE = "#B87A00"

# ---- the one-matrix model ------------------------------------------------------------------------


def one_matrix() -> Drawing:
    """AttentionLM, forward and backward: E is used four times, and dE has four parts."""
    d = Drawing(9.6, 5.85)
    ys = (1.15, 2.4, 3.6, 4.8)
    table = d.box(0.75, 2.4, 0.95, 3.28, "`E", "(V, C)", kind="parameter")
    grad = d.box(8.85, 2.4, 0.95, 3.28, "$dE$", "(V, C)", kind="gradient")
    embed, attend, predict, lose = _column(d, 3.1, ys, 2.65, "forward", {
        "embedding": "$e_i = E_{x_i}$",
        "attention": "$c_i = \\Sigma_j\\, a_{ij}\\, e_j$",
        "output": "logits$_i = E\\, c_i$",
        "cross_entropy": "$L = -$log$\\, p(y)$",
    })  # fmt: skip
    unembed, unattend, unpredict, unlose = _column(d, 6.5, ys, 2.65, "backward", {
        "embedding": "$dE_{x_i}$ += $dq_i + dk_i + dv_i$",
        "attention": "$ds = a\\,(da - dc \\cdot c)$",
        "output": "$dE = \\Sigma_i\\, d$logits$_i\\, c_i$",
        "cross_entropy": "$p$, less 1 at $y$",
    })  # fmt: skip
    d.arrow((3.1, 0.42), embed.top())
    d.note(3.1, 0.25, "ids $x_1 \\ldots x_T$", color=FORWARD)
    for x, name in ((-1.0, "query"), (-0.1, "key"), (0.55, "value")):
        d.arrow(embed.bottom(x), attend.top(x), label=name)
    d.arrow(attend.bottom(), predict.top(), label="$c$")
    d.arrow(predict.bottom(), lose.top(), label="logits")
    d.arrow(table.right(embed.y - table.y), embed.left())
    d.arrow(table.right(predict.y - table.y), predict.left())
    d.arrow((1.3, lose.y), lose.left())
    d.note(0.75, lose.y, "targets $y$", color=FORWARD)
    d.arrow(lose.right(), unlose.left(), colour=BACKWARD, label="$dL$")
    d.arrow(unlose.top(), unpredict.bottom(), colour=BACKWARD, label="$d$logits")
    d.arrow(unpredict.top(), unattend.bottom(), colour=BACKWARD, label="$dc$")
    for n, (x, name) in enumerate(((-0.75, "$dq$"), (0.0, "$dk$"), (0.75, "$dv$"))):
        d.arrow(unattend.top(x), unembed.bottom(x), colour=BACKWARD, label=name)
        y = 0.22 * (n - 1)
        d.arrow(unembed.right(y), grad.left(unembed.y + y - grad.y), colour=BACKWARD)
    d.arrow(unpredict.right(), grad.left(unpredict.y - grad.y), colour=BACKWARD)
    d.note(4.8, 5.57, "E is used four times: $dE$ = query + key + value + output", size=SIZE + 1)
    return d


def _column(
    d: Drawing, x: float, ys: tuple[float, ...], width: float, way: str, said: dict[str, str]
) -> list[Box]:
    """Functions of one way, one below the other, each with a line that is said of it."""
    kind = "code" if way == "forward" else "backward"
    return [
        d.box(x, y, width, 0.78, f"`{name}_{way}", words, kind=kind)
        for y, (name, words) in zip(ys, said.items(), strict=True)
    ]


# ---- attention -----------------------------------------------------------------------------------


def attention() -> Drawing:
    """One row of attention_forward with its numbers: S3 reads S1, S2 and itself, not the future."""
    d = Drawing(9.6, 6.3)
    i, e = 2, np.array([[1.0, 0], [0, 1], [1, 1], [1, 0]])
    c, cache = attention_forward(e, e, e, causal_mask(4))
    d.note(0.2, 0.35, "`attention_forward", ha="left", size=SIZE + 1)
    query = d.cells(0.65, 1.3, 0.45, [_whole(e[i])], kind="one")
    d.note(query.x, 0.88, "query $q_3$", color=FORWARD)
    for y, text in ((2.3, "$s_{ij} = q_i \\cdot k_j$"), (3.25, "$a_i = $softmax$(s_i)$"),
                    (5.6, "$c_i = \\Sigma_j\\, a_{ij}\\, v_j$")):  # fmt: skip
        d.note(0.2, y, text, ha="left", size=SIZE + 1)
    out = d.cells(5.55, 5.6, 0.7, [[f"{t:.2f}" for t in c[i]]], kind="four", size=SIZE)
    d.note(out.right()[0] + 0.15, out.y, "context $c_3$", ha="left", color=FORWARD)
    for j, x in enumerate((3.0, 4.7, 6.4, 8.1)):
        seen = j <= i
        colour = FORWARD if seen else QUIET
        d.note(x, 0.35, ("S1", "S2", "S3", "S1: the future")[j], color=colour, size=SIZE + 1)
        d.note(x, 0.88, f"key $k_{j + 1}$", color=colour)
        key = d.cells(x, 1.3, 0.45, [_whole(e[j])], kind="three")
        product = " + ".join(f"{q:.0f}·{k:.0f}" for q, k in zip(e[i], e[j], strict=True))
        words = f"{product} = {e[i] @ e[j]:.0f}" if seen else "masked"
        score = d.box(x, 2.3, 1.5, 0.5, words, kind="data")
        d.arrow(key.bottom(), score.top(), colour=colour)
        a = cache.a[i, j]
        weight = d.cells(x, 3.25, 0.7, [[f"{a:.2f}"]], "one", np.array([[0.7 * a]]), size=SIZE)
        d.arrow(score.bottom(), weight.top(), colour=colour)
        value = d.cells(x, 4.35, 0.45, [_whole(e[j])], kind="two")
        d.arrow(weight.bottom(), value.top(), colour=colour, label="times", at=(0, -0.03))
        d.note(x + 0.52, 4.35, f"$v_{j + 1}$", color=colour, ha="left")
        d.arrow(value.bottom(), out.top(0.3 * (j - 1.5)), colour=colour)
    return d


def _whole(numbers: Array) -> list[str]:
    return [f"{x:.0f}" for x in numbers]


# ---- one block -----------------------------------------------------------------------------------


def block() -> Drawing:
    """A block of GPT, forward and backward: where one branches, the other adds."""
    d = Drawing(9.6, 6.15)
    ys, stream, back = (1.35, 2.4, 3.6, 4.65), 0.8, 8.8
    names = ("layer_norm", "self_attention", "layer_norm", "feed_forward")
    says = ("norm1", "reads the other tokens", "norm2", "each token alone")
    gives = ("and $d$gain, $d$bias", "and $dw$, $db$ of both maps") * 2
    size = 2.75, 0.78
    forward, backward = [], []
    for y, name, said, given in zip(ys, names, says, gives, strict=True):
        forward.append(d.box(3.0, y, *size, f"`{name}_forward", said))
        backward.append(d.box(6.6, y, *size, f"`{name}_backward", given, kind="backward"))
        d.arrow(forward[-1].right(), backward[-1].left(), colour=QUIET, label="cache")
    for n in (0, 2):
        plus = d.plus(stream, ys[n + 1])
        d.arrow((stream, 0.55 if n == 0 else ys[1] + 0.17), plus.top())
        d.arrow((stream, ys[n]), forward[n].left())
        d.arrow(forward[n].bottom(), forward[n + 1].top())
        d.arrow(forward[n + 1].left(), plus.right())
        plus = d.plus(back, ys[n], BACKWARD)
        d.arrow((back, 5.35 if n else ys[2] - 0.17), plus.bottom(), colour=BACKWARD)
        d.arrow((back, ys[n + 1]), backward[n + 1].right(), colour=BACKWARD)
        d.arrow(backward[n + 1].top(), backward[n].bottom(), colour=BACKWARD)
        d.arrow(backward[n].right(), plus.left(), colour=BACKWARD)
    d.arrow((stream, ys[3] + 0.17), (stream, 5.35))
    d.arrow((back, ys[0] - 0.17), (back, 0.55), colour=BACKWARD)
    for x, colour, name in ((stream, FORWARD, "$h$"), (back, BACKWARD, "$dh$")):
        d.note(x, 0.35, name, color=colour, size=SIZE + 2)
        d.note(x, 5.58, name, color=colour, size=SIZE + 2)
    d.note(3.0, 0.5, "forward, downwards", color=FORWARD, size=SIZE + 1)
    d.note(6.6, 0.5, "backward, upwards", color=BACKWARD, size=SIZE + 1)
    d.note(4.8, 5.58, "Where forward branches, backward adds;")
    d.note(4.8, 5.86, "where forward adds, backward branches.")
    return d


# ---- several heads -------------------------------------------------------------------------------


def heads() -> Drawing:
    """F20 with H = 2 and D = 2: the columns of q, k and v are shared out, and c is put together."""
    d = Drawing(10.2, 5.3)
    side, y, T, kinds = 0.25, 2.6, 3, ("one", "two")
    x = d.cells(0.7, y, side, [[""] * 4] * T)
    d.note(x.x, y + 0.62, "$x$  (T, C)")
    to_qkv = d.box(1.95, y, 0.9, 0.7, "`w_qkv", kind="parameter")
    d.arrow(x.right(), to_qkv.left())
    d.frame(5.28, y, 4.95, 4.5, "`multi_head_forward")
    halves = [_halves(d, 3.6, y + 1.2 * (n - 1) + 0.2, side, T, name)
              for n, name in enumerate("qkv")]  # fmt: skip
    for pair in halves:
        d.arrow(to_qkv.right(), pair[0].left())
    merged = _halves(d, 7.2, y, side, T, "c")
    reads_of = np.array([[1, 0, 0], [0.9, 0.1, 0], [0.1, 0.8, 0.1]]), np.tri(3) / [[1], [2], [3]]
    for n, kind in enumerate(kinds):
        at, colour = y + 1.9 * n - 0.8, (FORWARD, DEEP_ORANGE)[n]
        reads = d.box(5.5, at, 1.9, 1.6, kind=kind)
        d.note(5.5, at - 0.58, "`attention_forward", size=SMALL)
        d.cells(5.85, at + 0.17, 0.28, [[""] * T] * T, kind, 0.8 * reads_of[n], size=SMALL)
        d.note(5.0, at + 0.17, f"$a^{n + 1}$")
        for m, pair in enumerate(halves):
            start = pair[1].right(0.14 * (2 * n - 1))
            d.arrow(start, reads.left(0.3 * (m - 1)), colour=colour)
        d.arrow(reads.right(), merged[n].top() if n == 0 else merged[n].bottom(), colour=colour)
    d.note(3.6, 4.6, "`split_heads", size=SMALL)
    d.note(7.0, 4.6, "`merge_heads", size=SMALL)
    out = d.box(8.45, y, 0.9, 0.7, "`w_out", kind="parameter")
    d.arrow(merged[1].right(), out.left())
    last = d.cells(9.6, y, side, [[""] * 4] * T)
    d.arrow(out.right(), last.left())
    d.note(last.x, y + 0.62, "$y$  (T, C)")
    d.note(
        5.1,
        5.08,
        "Head 1 has the first D columns of q, k and v, head 2 the others; w_out mixes them",
    )
    return d


def _halves(d: Drawing, x: float, y: float, side: float, T: int, name: str) -> list[Box]:
    """A table (T, 4) of two heads, and its name above it."""
    d.note(x, y - 0.54, f"${name}$")
    return [
        d.cells(x + way * side, y, side, [[""] * 2] * T, kind)
        for way, kind in ((-1, "one"), (1, "two"))
    ]


# ---- whole models --------------------------------------------------------------------------------


def gpt() -> Drawing:
    """GPT: the norms come first, and nobody reads what comes after."""
    d = Drawing(9.6, 6.1)
    x = 1.7
    embed = d.box(x, 0.98, 2.5, 0.72, "`embedding", "$h_t = E_{x_t} + P_t$")
    d.arrow((x, 0.4), embed.top())
    d.note(x, 0.25, "ids", color=FORWARD)
    d.frame(3.15, 2.9, 5.7, 2.66, "for each of the layers", side="right")
    start = embed.bottom()
    for n, part in enumerate(("attention", "feed_forward")):
        y = 2.15 + 1.2 * n
        norm = d.box(3.3, y, 0.95, 0.5, f"`norm{n + 1}")
        f = d.box(5.0, y, 1.6, 0.5, f"`{part}")
        plus = d.plus(x, y + 0.5)
        d.arrow(start, plus.top())
        d.arrow((x, y), norm.left())
        d.arrow(norm.right(), f.left())
        d.arrow(f.bottom(), (f.x, plus.y), plus.right())
        start = plus.bottom()
    norm = d.box(x, 4.62, 2.5, 0.46, "`norm")
    d.arrow(start, norm.top())
    out = d.box(x, 5.6, 2.5, 0.72, "`output_forward", "logits$_t = E\\, y_t$")
    d.arrow(norm.bottom(), out.top(), label="$y$")
    d.arrow(out.right(), (3.55, out.y))
    d.note(3.65, out.y, "the next token", ha="left", color=FORWARD)
    _reading(d, 8.2, 2.0, ["the", "cat", "sat", "on", "the"], np.tri(5) > 0)
    _rows(d, 6.2, 4.4, {"ids": "the cat sat on the", "targets": "cat sat on the mat"})
    return d


def bert() -> Drawing:
    """BERT: everybody reads every real token, and each norm comes behind a sum."""
    d = Drawing(9.6, 6.65)
    x = 1.9
    embed = d.box(x, 0.98, 3.1, 0.72, "`embedding", "norm$(E_{x_t} + G_{g_t} + P_t)$")
    d.arrow((x, 0.4), embed.top())
    d.note(x, 0.25, "ids, segments", color=FORWARD)
    d.frame(2.85, 3.25, 5.2, 3.3, "for each of the layers", side="right")
    last = _post_norm(d, x, 2.4, embed.bottom(), {"attention": "", "feed_forward": ""}, 4.2)
    d.note(x, 5.3, "$h$  (T, C)", color=FORWARD)
    d.arrow(last.bottom(), (x, 5.15))
    for n, (name, words) in enumerate((("MaskedLM", "the hidden token"), ("Class", "one class"),
                                       ("Span", "begin and end"))):  # fmt: skip
        head = d.box(1.3 + 2.4 * n, 6.18, 2.2, 0.72, f"`BERTFor{name}", words)
        d.arrow((x + 0.3 * (n - 1), 5.48), head.top())
    tokens = ["[CLS]", "the", "[MASK]", "sat", "[PAD]"]
    _reading(d, 8.2, 2.0, tokens, np.ones((5, 5)) * [1, 1, 1, 1, 0] > 0)
    _rows(d, 5.55, 4.4, {"ids": "[CLS] the [MASK] sat [PAD]", "targets": "– – cat – –"}, step=0.66)
    return d


def encoder_decoder() -> Drawing:
    """The Transformer: the decoder reads its own past, and all of what the encoder made."""
    d = Drawing(9.6, 7.4)
    left, right = 1.4, 8.2
    for x, name in ((left, "source"), (right, "target_in")):
        d.note(x, 0.25, f"`{name}", color=FORWARD)
        d.arrow((x, 0.42), (x, 0.68))
        d.box(x, 1.03, 2.45, 0.7, "`embedding", "$\\sqrt{C}\\, E_{x_t} + P_t$")
    d.frame(2.35, 3.28, 4.4, 3.36, "for each of the layers", side="right")
    d.frame(7.2, 3.98, 4.4, 4.76, "for each of the layers")
    own = {"attention": "every token", "feed_forward": "each token alone"}
    memory = _post_norm(d, left, 2.43, (left, 1.38), own, 3.5)
    reads = {"attention": "its past, $j \\leq i$", "cross": "all of memory",
             "feed_forward": "each token alone"}  # fmt: skip
    last = _post_norm(d, right, 2.43, (right, 1.38), reads, 6.05)
    d.arrow(memory.bottom(), (left, 5.4), (4.78, 5.4), (4.78, 3.83), (5.15, 3.83))
    d.note(3.1, 5.2, "memory  (S, C)", color=FORWARD)
    d.note(left, 5.75, "encoder", size=SIZE + 2)
    d.note(5.45, 6.6, "decoder", size=SIZE + 2, ha="left")
    out = d.box(right, 6.95, 2.45, 0.7, "`output_forward", "logits$_t = E\\, h_t$")
    d.arrow(last.bottom(), out.top())
    d.arrow(out.left(), (6.4, out.y))
    d.note(6.3, out.y, "the next token of the target", ha="right", color=FORWARD)
    return d


def _post_norm(
    d: Drawing, x: float, y: float, start: Place, parts: dict[str, str], side: float
) -> Box:
    """h ← norm(h + f(h)) for each part f, which stands at `side` of x.   ->  the last norm"""
    for n, (part, words) in enumerate(parts.items()):
        f = d.box(side, y, 1.8, 0.78, f"`{part}", *filter(None, [words]))
        plus = d.plus(x, y + 0.2)
        d.arrow(start, plus.top())
        near, back = (f.left, plus.right) if side > x else (f.right, plus.left)
        d.arrow((x, y - 0.2), near(-0.2))
        d.arrow(near(0.2), back())
        norm = d.box(x, y + 0.8, 1.5, 0.42, f"`norm{n + 1}")
        d.arrow(plus.bottom(), norm.top())
        start, y = norm.bottom(), y + 1.4
    return norm


def _reading(d: Drawing, x: float, y: float, words: list[str], mask: Array) -> None:
    """Who reads whom: a row for each reader, and a square in colour where it may look."""
    side = 0.4
    marks = [["" if may else "×" for may in row] for row in mask]
    grid = d.cells(x, y, side, marks, "one", 0.5 * mask)
    for n, word in enumerate(words):
        at = side * (n - (len(words) - 1) / 2)
        d.note(grid.left()[0] - 0.1, y + at, word, ha="right", size=SMALL)
    d.note(x, grid.top()[1] - 0.25, "who is read", size=SMALL, color=QUIET)
    d.note(x, grid.bottom()[1] + 0.25, "× is masked", size=SMALL, color=QUIET)


def _rows(d: Drawing, x: float, y: float, rows: dict[str, str], step: float = 0.5) -> None:
    """Words one below the other, a row for each name."""
    for n, (name, words) in enumerate(rows.items()):
        at = y + 0.42 * n
        d.note(x + 0.65, at, name, ha="right", size=SMALL, color=QUIET)
        for m, word in enumerate(words.split()):
            d.note(x + 1.1 + step * m, at, word, size=SMALL)


# ---- the key/value cache -------------------------------------------------------------------------


def key_value_cache() -> Drawing:
    """KeyValueCache: a new token brings one query, one key and one value; the others are kept."""
    d = Drawing(9.6, 5.5)
    side, past, free = 0.27, 4, 1
    y = 2.6
    x = d.cells(0.75, y, side, [[""] * 4], kind="two")
    d.note(0.75, y - 0.35, "a new token", size=SMALL)
    to_qkv = d.box(2.05, y, 0.9, 0.7, "`w_qkv", kind="parameter")
    d.arrow(x.right(), to_qkv.left())
    reads = d.box(8.05, 1.7, 2.3, 0.8, "`attention_forward", "one row of $a$")
    rows = {}
    for name, at in (("q", 0.7), ("k", 2.6), ("v", 4.6)):
        rows[name] = d.cells(3.5, at, side, [[""] * 4], kind="two")
        d.note(3.5, at - 0.3, f"${name}$")
        d.arrow(to_qkv.right(), rows[name].left())
    d.arrow(rows["q"].right(), (reads.x, 0.7), reads.top())
    for name, row, to in (("keys", rows["k"], -0.15), ("values", rows["v"], 0.15)):
        top = row.y - (past + 0.5) * side
        d.note(5.6, top - 0.2, f"`{name}")
        d.cells(5.6, top + past * side / 2, side, [[""] * 4] * past, kind="one")
        new = d.cells(5.6, row.y, side, [[""] * 4], kind="two")
        d.cells(5.6, row.y + (free + 1) / 2 * side, side, [[""] * 4] * free)
        d.arrow(row.right(), new.left(), label="`append", at=(0.0, -0.02))
        d.arrow((5.6 + 2 * side, top + past * side / 2), reads.left(to))
    for y, word in ((rows["k"].y - 0.68, "the past"), (rows["k"].y + 0.28, "still free")):
        d.note(4.95, y, word, ha="right", size=SMALL, color=QUIET)
    c = d.cells(8.05, 3.1, side, [[""] * 4], kind="four")
    d.arrow(reads.bottom(), c.top())
    d.note(8.05, c.y + 0.38, "$c$ of the new token", size=SMALL)
    d.note(4.8, 5.25, "The keys and values of the past are kept, so a new token costs one row")
    return d


SCHEMATICS: dict[str, Callable[[], Drawing]] = {
    "one_matrix": one_matrix,
    "attention": attention,
    "block": block,
    "heads": heads,
    "gpt": gpt,
    "bert": bert,
    "encoder_decoder": encoder_decoder,
    "key_value_cache": key_value_cache,
}


def draw_schematics() -> dict[str, Figure]:
    """Every schematic by the name of its file."""
    return {name: draw().figure for name, draw in SCHEMATICS.items()}
