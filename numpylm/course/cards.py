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
            return _code(self.rows[0].function)
        parts = [f"**{self.title}**", "", "<table>"]
        for row in self.rows:
            maths = "\n\n".join(f"$${line}$$" for line in row.latex)
            parts += [
                f'<tr><td align="center">\n\n{row.title}\n\n{maths}\n\n</td>',
                f'<td align="left">\n\n{_code(row.function)}\n\n</td></tr>',
            ]
        return "\n".join([*parts, "</table>", "", f"<sub>{self.source}</sub>"])

    def __repr__(self) -> str:
        parts = [self.title]
        for row in self.rows:
            parts += ["\n".join(f"    {line}" for line in row.latex), formula_lines(row.function)]
        return "\n\n".join(part for part in [*parts, self.source] if part)


def _code(function: Callable[..., Any]) -> str:
    """The lines that are the formula; folded below them, what the docstring says and all lines."""
    short, whole = formula_lines(function), source_of(function)
    parts = [f"```python\n{short}\n```"]
    if doc := inspect.getdoc(function):
        parts.append(_folded("what its docstring says", f"```text\n{doc}\n```"))
    if short != whole:
        parts.append(_folded("all of its lines", f"```python\n{whole}\n```"))
    return "\n\n".join(parts)


def _folded(title: str, text: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>"


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


CHECKS = {  # what asks whether arguments are fit, or lets a reader look in: no part of a formula
    "array",
    "as_ids",
    "as_texts",
    "check_ids",
    "check_mask",
    "check_heads",
    "float_dtype",
    "generator",
    "number",
    "one_of",
    "plain",
    "real_array",
    "shaped",
    "watched",
    "whole",
}


def formula_lines(function: Callable[..., Any]) -> str:
    """The lines of a function that are its formula: without docstring, types and checks.

    A check is what can only raise, and a call of CHECKS that gives an argument its own name again.
    """
    lines = textwrap.dedent(inspect.getsource(function)).splitlines()
    tree = ast.parse("\n".join(lines)).body[0]
    if not isinstance(tree, ast.FunctionDef):
        return source_of(function)
    arguments = {a.arg for a in [*tree.args.posonlyargs, *tree.args.args, *tree.args.kwonlyargs]}
    left_out = set(range(1, tree.body[0].lineno))
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and (_is_docstring(node) or _is_check(node, arguments)):
            left_out |= {*range(node.lineno, (node.end_lineno or node.lineno) + 1)}
        elif isinstance(node, ast.AnnAssign):
            typed = f": {ast.unparse(node.annotation)} ="
            lines[node.lineno - 1] = lines[node.lineno - 1].replace(typed, " =", 1)
    body = [line for n, line in enumerate(lines, start=1) if n not in left_out]
    head = f"def {tree.name}({ast.unparse(_bare(tree.args))}):".replace("'", '"')
    if len(head) > 88:
        head = head.replace("(", "(\n    ", 1).replace("):", "\n):")
    return "\n".join([head, *(body or ["    ..."])]).replace("\n\n\n", "\n\n")


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_check(node: ast.stmt, arguments: set[str]) -> bool:
    if isinstance(node, ast.Raise):
        return True
    if isinstance(node, ast.If | ast.For):
        return not node.orelse and all(_is_check(inner, arguments) for inner in node.body)
    if not isinstance(node, ast.Expr | ast.Assign):
        return False
    calls = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
    targets = [*ast.walk(node.targets[0])] if isinstance(node, ast.Assign) else []
    stored = {n.id for n in targets if isinstance(n, ast.Name)}
    return all(
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and (call.func.id == "watched" or (call.func.id in CHECKS and stored <= arguments))
        for call in calls
    )


def _bare(arguments: ast.arguments) -> ast.arguments:
    for a in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]:
        a.annotation = None
    for one in (arguments.vararg, arguments.kwarg):
        if one is not None:
            one.annotation = None
    return arguments
