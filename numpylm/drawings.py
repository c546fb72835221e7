"""Boxes, arrows and numbers -> a schematic: the few things of which course/schematics.py draws.

Lengths are inches, from the upper left corner: x to the right, y downwards. A text that begins with
` is a name in the code, and is drawn as code. What is drawn is kept, so that a test can ask whether
texts fit, and whether code has these names.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.text import Text

from .arrays import Array
from .figures import BLUE, GREEN, ORANGE, PURPLE, RED
from .labels import font_family

FORWARD, BACKWARD, QUIET = BLUE, RED, "0.45"
KINDS = {  # what a box stands for: its fill and its border
    "data": ("white", "0.45"),
    "code": ("#E8F1F8", FORWARD),
    "backward": ("#FBEAE0", BACKWARD),
    "parameter": ("#FFF4DA", ORANGE),
    "gradient": ("#FBEAE0", BACKWARD),
    "one": ("#E8F1F8", BLUE),
    "two": ("#FFF4DA", ORANGE),
    "three": ("#E0F3EC", GREEN),
    "four": ("#F8EBF2", PURPLE),
    "frame": ("none", "0.7"),
}
SIZE = 13.0  # points of a text; README.md shows most drawings at a fifth less
LEADING = 1.55  # from line to line, in sizes of the text
POINT = 1 / 72  # inches
HEAD = 0.12  # inches of an arrow that are its head

Place = tuple[float, float]


class Box(NamedTuple):
    """A rectangle by its centre; its sides are where arrows begin and end."""

    x: float
    y: float
    width: float
    height: float

    def left(self, at: float = 0.0) -> Place:
        return self.x - self.width / 2, self.y + at

    def right(self, at: float = 0.0) -> Place:
        return self.x + self.width / 2, self.y + at

    def top(self, at: float = 0.0) -> Place:
        return self.x + at, self.y - self.height / 2

    def bottom(self, at: float = 0.0) -> Place:
        return self.x + at, self.y + self.height / 2


class Written(NamedTuple):
    """A text, and the box that it belongs into, if any."""

    text: Text
    box: Box | None
    is_code: bool


class Drawing:
    """A figure of `width` by `height` inches, and what has been drawn on it."""

    def __init__(self, width: float, height: float):
        self.figure = Figure(figsize=(width, height), dpi=120)
        self.axes = self.figure.add_axes((0.0, 0.0, 1.0, 1.0))
        self.axes.set(xlim=(0, width), ylim=(height, 0))
        self.axes.axis("off")
        self.boxes: list[Box] = []
        self.frames: list[Box] = []
        self.written: list[Written] = []
        self.arrows: list[FancyArrowPatch] = []

    def box(
        self, x: float, y: float, width: float, height: float, *lines: str,
        kind: str = "code", size: float = SIZE,
    ) -> Box:  # fmt: skip
        """A box with its lines of text in the middle."""
        box = Box(x, y, width, height)
        self.boxes.append(box)
        self._rectangle(box, kind)
        step = LEADING * size * POINT
        for n, line in enumerate(lines):
            at = y + (n - (len(lines) - 1) / 2) * step
            self._write(x, at, line, box, ha="center", va="center", size=size)
        return box

    def frame(
        self, x: float, y: float, width: float, height: float, title: str = "", side: str = "left"
    ) -> Box:
        """A rectangle around other things, with a title in its upper left or right corner."""
        frame = Box(x, y, width, height)
        self.frames.append(frame)
        self._rectangle(frame, "frame", zorder=0)
        at = x + (0.12 - width / 2 if side == "left" else width / 2 - 0.12)
        self._write(at, y + 0.08 - height / 2, title, frame, ha=side, va="top", color="0.3")
        return frame

    def _rectangle(self, box: Box, kind: str, zorder: float = 2) -> None:
        fill, border = KINDS[kind]
        corner = box.x - box.width / 2, box.y - box.height / 2
        style = "round,pad=0,rounding_size=0.08"
        dash = (0, (5, 3)) if kind in ("backward", "gradient", "frame") else "solid"
        rectangle = FancyBboxPatch(
            corner, box.width, box.height, boxstyle=style,
            fc=fill, ec=border, lw=1.6, ls=dash, zorder=zorder,
        )  # fmt: skip
        self.axes.add_patch(rectangle)

    def arrow(
        self, *places: Place, colour: str = FORWARD, label: str = "", at: Place = (0.0, 0.0),
        side: str = "left", head: bool = True,
    ) -> None:  # fmt: skip
        """Through the places, in straight lines; dashed where it carries a gradient.

        The label stands beside the middle of the last line, moved by `at`; `side` is its alignment.
        """
        dash = (0, (4, 2)) if colour == BACKWARD else "solid"
        for start, end in pairwise(places):
            self._line(start, end, colour, "-", dash)
        if head:
            before, tip = np.array(places[-2]), np.array(places[-1])
            x, y = tip + (before - tip) / np.hypot(*(before - tip)) * HEAD
            style = "-|>,head_length=8,head_width=4"
            self._line((x, y), places[-1], colour, style, "solid")
        if label:
            (x, y), (x2, y2) = places[-2:]
            upright = abs(x2 - x) < abs(y2 - y)
            move = ((0.09 if side == "left" else -0.09) if upright else 0, 0 if upright else -0.15)
            place = (x + x2) / 2 + move[0] + at[0], (y + y2) / 2 + move[1] + at[1]
            self.note(*place, label, ha=side if upright else "center", color=colour)

    def _line(self, start: Place, end: Place, colour: str, style: str, dash: Any) -> None:
        drawn = FancyArrowPatch(
            start, end, arrowstyle=style, color=colour, lw=1.8, ls=dash,
            shrinkA=0, shrinkB=0, mutation_scale=1, zorder=1.5,
        )  # fmt: skip
        self.axes.add_patch(drawn)
        self.arrows.append(drawn)

    def plus(self, x: float, y: float, colour: str = FORWARD) -> Box:
        """Where two arrows are added: a circle with a plus."""
        circle = Box(x, y, 0.34, 0.34)
        self.boxes.append(circle)
        self.axes.add_patch(Circle((x, y), 0.17, fc="white", ec=colour, lw=1.6, zorder=2))
        for dx, dy in ((0.09, 0), (0, 0.09)):
            self.axes.plot([x - dx, x + dx], [y - dy, y + dy], color=colour, lw=1.8, zorder=3)
        return circle

    def note(self, x: float, y: float, text: str, **properties: Any) -> None:
        """A text of its own, centred at (x, y) unless its properties say otherwise."""
        self._write(x, y, text, None, **({"ha": "center", "va": "center"} | properties))

    def cells(
        self, x: float, y: float, side: float, values: Sequence[Sequence[Any]] | Array,
        kind: str = "data", shade: Array | None = None, size: float = SIZE - 1,
    ) -> Box:  # fmt: skip
        """A table of small squares with (x, y) in its middle; what is "" stays empty.

        shade: numbers from 0, white, to 1, in the colour of the kind.
        """
        rows, columns = len(values), len(values[0])
        table = Box(x, y, columns * side, rows * side)
        self.boxes.append(table)
        fill, border = KINDS[kind]
        for i in range(rows):
            for j in range(columns):
                corner = table.left()[0] + j * side, table.top()[1] + i * side
                self.axes.add_patch(
                    Rectangle(corner, side, side, fc="white", ec=border, lw=1.2, zorder=2)
                )
                if shade is None:
                    self.axes.add_patch(Rectangle(corner, side, side, fc=fill, ec="none", zorder=2))
                else:
                    alpha = float(shade[i, j])
                    self.axes.add_patch(
                        Rectangle(corner, side, side, fc=border, alpha=alpha, lw=0, zorder=2)
                    )
                if values[i][j] != "":
                    cell = Box(corner[0] + side / 2, corner[1] + side / 2, side, side)
                    place = {"ha": "center", "va": "center", "size": size}
                    self._write(cell.x, cell.y, str(values[i][j]), cell, **place)
        return table

    def _write(self, x: float, y: float, text: str, box: Box | None, **properties: Any) -> None:
        if not text:
            return
        is_code = text.startswith("`")
        family = "DejaVu Sans Mono" if is_code else font_family()
        properties = {"size": SIZE, "family": family, "zorder": 4} | properties
        if is_code:
            properties["size"] *= 0.92
        drawn = self.axes.text(x, y, text.strip("`"), **properties)
        self.written.append(Written(drawn, box, is_code))
