"""The graph of a computation with its numbers: every value, and below it dL by that value."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Node(NamedTuple):
    """A quantity at a place of the drawing: x counts steps to the right, y upwards."""

    x: float
    y: float
    value: float
    slope: float | None = None


def value_graph(
    nodes: Mapping[str, Node], edges: Sequence[tuple[str, str, str]], title: str = ""
) -> "Figure":
    """Boxes with a value and, in red, dL by it; arrows (from, to, what happens on the way).

    Raises InputError where an arrow names a quantity that is not in `nodes`.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from ..figures import RED, STYLE

    if missing := {name for a, b, _ in edges for name in (a, b)} - nodes.keys():
        raise InputError(f"edges name {', '.join(sorted(missing))}, which nodes does not have")
    xs, ys = [node.x for node in nodes.values()], [node.y for node in nodes.values()]
    with rc_context(STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(2.1 * (max(xs) - min(xs) + 1), 1.25 * (max(ys) - min(ys) + 1.2)))
        axes = figure.subplots()
        axes.set(xlim=(min(xs) - 0.5, max(xs) + 0.5), ylim=(min(ys) - 0.55, max(ys) + 0.55))
        axes.set_axis_off()
        axes.set_title(title)
        for name, node in nodes.items():
            axes.text(
                node.x, node.y + 0.12, f"{name} = {node.value:g}", ha="center", va="center",
                size=13, bbox={"boxstyle": "round,pad=0.35", "fc": "white", "ec": "0.4"},
            )  # fmt: skip
            if node.slope is not None:
                axes.text(
                    node.x, node.y - 0.32, f"d{name} = {node.slope:g}", ha="center", va="center",
                    size=12, color=RED,
                )  # fmt: skip
        for a, b, what in edges:
            start, end = ((nodes[n].x, nodes[n].y + 0.12) for n in (a, b))
            axes.annotate(
                "", end, start, zorder=0,
                arrowprops={"arrowstyle": "->", "color": "0.4", "shrinkA": 34, "shrinkB": 34},
            )  # fmt: skip
            middle = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.14
            axes.text(*middle, what, ha="center", size=11, color="0.3")
    return figure
