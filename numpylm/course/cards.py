"""A formula beside the code that computes it, in a notebook: each from the one place it is written.

    card("F3")                         the formula and its forward, the gradient and its backward
    card(attention_backward)           one function, beside the formulas that it is about
    card(central_difference)           any other function of the library by itself

A card is Markdown, which Jupyter, VS Code, nbconvert and GitHub typeset alike, and plain text where
nothing is typeset.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from .notation import Formula, formula, formulas_of


@dataclass(frozen=True)
class CardRow:
    """Lines of LaTeX, and the function that they are."""

    title: str
    latex: tuple[str, ...]
    function: Callable[..., Any]


@dataclass(frozen=True)
class Card:
    """What a notebook shows. `rows` stand below one another, formula left and code right."""

    title: str
    rows: tuple[CardRow, ...]
    source: str

    def _repr_markdown_(self) -> str:
        """A table whose cells hold Markdown: that needs the empty lines."""
        if not self.title:
            return f"```python\n{source_of(self.rows[0].function)}\n```"
        parts = [f"**{self.title}**", "", "<table>"]
        for row in self.rows:
            maths = "\n\n".join(f"$${line}$$" for line in row.latex)
            code = f"```python\n{source_of(row.function)}\n```"
            parts += [
                f'<tr><td align="center">\n\n{row.title}\n\n{maths}\n\n</td>',
                f'<td align="left">\n\n{code}\n\n</td></tr>',
            ]
        return "\n".join([*parts, "</table>", "", f"<sub>{self.source}</sub>"])

    def __repr__(self) -> str:
        parts = [self.title]
        for row in self.rows:
            parts += ["\n".join(f"    {line}" for line in row.latex), source_of(row.function)]
        return "\n\n".join(part for part in [*parts, self.source] if part)


def card(what: str | Callable[..., Any]) -> Card:
    """The card of a formula's ID, or of a function.

    Raises InputError for an unknown ID, and for what is neither an ID nor a function.
    """
    if isinstance(what, str):
        return _of_formula(formula(what))
    if not inspect.isroutine(what):
        raise InputError(f"there is no card of {what!r}: give an ID like 'F3', or a function")
    return _of_function(what, formulas_of(what))


def _of_formula(f: Formula) -> Card:
    rows = [CardRow("", f.latex, f.code[0])]
    if f.gradient:
        rows.append(CardRow("backward", f.gradient, f.backwards[0]))
    return Card(f"{f.id}: {f.name}", tuple(rows), f"Source: {f.source}")


def _of_function(function: Callable[..., Any], formulas: Sequence[Formula]) -> Card:
    if not formulas:
        return Card("", (CardRow("", (), function),), "")
    title = ", ".join(f"{f.id} {f.name}" for f in formulas)
    backward = function.__name__.endswith("_backward")
    title += ", backward" * backward
    in_order = formulas if backward else formulas[::-1]  # F2 is made of F3, and so on
    latex = tuple(line for f in in_order for line in f.lines_of(function))
    sources = dict.fromkeys(part for f in formulas for part in f.source.split("; "))
    return Card(title, (CardRow("", latex, function),), f"Source: {'; '.join(sources)}")


def source_of(function: Callable[..., Any]) -> str:
    """The lines of a function as they stand in its file, without the docstring."""
    lines = textwrap.dedent(inspect.getsource(function)).splitlines()
    body = ast.parse("\n".join(lines)).body[0].body  # type: ignore[attr-defined]
    if ast.get_docstring(ast.parse("\n".join(lines)).body[0]) is not None:  # type: ignore[arg-type]
        del lines[body[0].lineno - 1 : body[0].end_lineno]
    return "\n".join(lines)
