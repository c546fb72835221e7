"""The frame of every page of the book, and a page for each module: prose beside the very lines.

A page is text in, text out: nothing is read or written here but what the Index has read.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from ..course.notation import formulas_of
from .index import ACROSS, PARTS, Index, page_of, slug
from .text import Link, code, formula_lines, prose, share_glyphs


def page(name: str, title: str, body: str, scripts: Sequence[str] = ()) -> str:
    """A whole page around its body."""
    menu = "".join(
        f'<li><a href="{key}.html"{" aria-current=page" * (key == name)}>{text}</a></li>'
        for key, text in ACROSS.items()
    )
    loads = "".join(
        f'<script src="{s}" defer></script>' for s in ("entries.js", "book.js", *scripts)
    )
    return share_glyphs(f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} · numpylm</title>
<link rel="stylesheet" href="book.css">
{loads}
</head>
<body>
<a class="skip" href="#content">Skip to the text</a>
<header>
<a class="home" href="index.html">numpylm</a>
<nav aria-label="Book"><ul>{menu}</ul></nav>
<form class="search" role="search">
<label for="search">Search</label>
<input id="search" type="search" autocomplete="off" aria-controls="found" disabled>
<div id="found" role="region" aria-label="What was found" aria-live="polite" hidden></div>
</form>
</header>
<main id="content">
{body}
</main>
</body>
</html>
""")


# ---- what stands in a module -----------------------------------------------------------------


@dataclass
class Piece:
    """A heading, some lines of code, a function, or a class with pieces of its own."""

    kind: str  # "heading", "lines", "imports", "function", "class"
    title: str = ""
    thing: Any = None
    docstring: str = ""
    rows: dict[int, str] = field(default_factory=dict)  # lines of code by their number
    inside: list["Piece"] = field(default_factory=list)

    def code(self, link: Link) -> str:
        return code(textwrap.dedent("\n".join(self.rows.values())), link, list(self.rows))


HEADING = re.compile(r"^ *# -{2,} (.*?) -{2,}$")


def pieces_of(source: str, module: Any) -> list[Piece]:
    """A module, cut where it means something."""
    return _pieces(ast.parse(source).body, source.splitlines(), 0, module)


def _pieces(body: list[ast.stmt], lines: list[str], start: int, owner: Any) -> list[Piece]:
    """`start` lines are done with. Comments belong to what stands below them."""
    pieces: list[Piece] = []
    for node in body:
        decorated = [d.lineno for d in getattr(node, "decorator_list", [])]
        first, end = min([node.lineno, *decorated]) - 1, node.end_lineno or node.lineno
        above = lines[start:first]
        pieces += [Piece("heading", found[1]) for line in above if (found := HEADING.match(line))]
        while (
            first > start
            and re.match(r"^ *#", lines[first - 1])
            and not HEADING.match(lines[first - 1])
        ):
            first -= 1
        start, kind = end, _kind(node)
        if _is_docstring(node, body):
            continue
        rows = {n + 1: lines[n] for n in range(first, end)}
        if kind in ("function", "class"):
            pieces.append(_definition(kind, node, lines, rows, owner))
        elif pieces and pieces[-1].kind == kind:
            last = max(pieces[-1].rows)
            pieces[-1].rows |= {n + 1: lines[n] for n in range(last, first)} | rows
        else:
            pieces.append(Piece(kind, rows=rows))
    return pieces


def _definition(kind: str, node: Any, lines: list[str], rows: dict[int, str], owner: Any) -> Piece:
    """A function without its docstring; of a class, what stands before its methods."""
    thing = inspect.getattr_static(owner, node.name, None)
    for wrapped in ("__func__", "fget", "func"):  # of a static method, and of properties
        thing = getattr(thing, wrapped, None) or thing
    docstring, inside = ast.get_docstring(node) or "", []
    if docstring:
        said = node.body[0]
        rows = {n: row for n, row in rows.items() if not said.lineno <= n <= said.end_lineno}
    if kind == "class":
        inside = _pieces(node.body, lines, node.body[0].lineno - 1, thing)
        rows = {n: row for n, row in rows.items() if n < node.body[0].lineno}
        if inside and inside[0].kind == "lines":
            rows |= inside.pop(0).rows
    return Piece(kind, node.name, thing, docstring, rows, inside)


def _is_docstring(node: ast.stmt, body: list[ast.stmt]) -> bool:
    return (
        node is body[0]
        and isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _kind(node: ast.stmt) -> str:
    if isinstance(node, ast.FunctionDef):
        return "function"
    if isinstance(node, ast.ClassDef):
        return "class"
    return "imports" if isinstance(node, ast.Import | ast.ImportFrom) else "lines"


def partner(name: str, names: Sequence[str]) -> str:
    """The backward of a forward among `names`, or ""."""
    stem = name.removesuffix("forward") if name.endswith("forward") else f"{name}_"
    backward = f"{stem}backward"
    return backward if backward in names and backward != name else ""


# ---- module pages ----------------------------------------------------------------------------


def module_page(index: Index, name: str) -> str:
    module = index.modules[name]
    source = inspect.getsource(module)

    def link(word: str) -> str:
        return index.link(name, word)

    pieces = pieces_of(source, module)
    body = "".join(_shown(index, name, pieces, link, 2))
    names = list(index.modules)
    place = names.index(name)
    before = names[place - 1] if place else ""
    after = names[place + 1] if place + 1 < len(names) else ""
    turns = "".join(
        f'<a rel="{rel}" href="{page_of(other)}">{arrow}{index.file(other)}{tail}</a>'
        for rel, other, arrow, tail in (("prev", before, "← ", ""), ("next", after, "", " →"))
        if other
    )
    part = next((part for part, held in PARTS.items() if name in held.split()), "More")
    contents = _contents(pieces)
    text = (
        f'<p class="part">{part}</p><h1>{index.file(name)}</h1>'
        f'<div class="lead">{prose(module.__doc__ or "", link)}</div>'
        f'{contents}{body}<nav class="turns" aria-label="Other modules">{turns}</nav>'
    )
    return page("", index.file(name), text)


def _contents(pieces: Sequence[Piece]) -> str:
    """A line for each heading, with what stands below it."""
    groups: list[list[str]] = [[]]
    for piece in pieces:
        if piece.kind == "heading":
            groups.append([f'<a href="#part-{slug(piece.title)}">{escape(piece.title)}</a>'])
        elif piece.kind in ("function", "class"):
            groups[-1].append(f'<a href="#{piece.title}"><code>{piece.title}</code></a>')
    items = "".join(f"<li>{' '.join(group)}</li>" for group in groups if group)
    return f'<nav class="here" aria-label="On this page"><ul>{items}</ul></nav>' if items else ""


def _shown(
    index: Index, module: str, pieces: Sequence[Piece], link: Link, level: int
) -> Iterator[str]:
    by_name = {piece.title: piece for piece in pieces if piece.kind == "function"}
    done: set[str] = set()
    for piece in pieces:
        if piece.title in done and piece.kind == "function":
            continue
        if piece.kind == "heading":
            title = escape(piece.title)
            yield f'<h{level} id="part-{slug(piece.title)}">{title}</h{level}>'
        elif piece.kind == "imports":
            yield f"<details><summary>imports</summary>{piece.code(link)}</details>"
        elif piece.kind == "lines":
            yield f'<div class="lines">{piece.code(link)}</div>'
        elif piece.kind == "class":
            yield _class(index, module, piece, link, level)
        elif (other := partner(piece.title, list(by_name))) and other not in done:
            done |= {piece.title, other}
            two = (_function(index, by_name[n], link, level) for n in (piece.title, other))
            yield f'<div class="pair">{"".join(two)}</div>'
        else:
            yield f'<div class="single">{_function(index, piece, link, level)}</div>'


def _class(index: Index, module: str, piece: Piece, link: Link, level: int) -> str:
    name = piece.title
    inside = "".join(_shown(index, module, piece.inside, link, level + 1))
    maths = f'<div class="said-of">{prose(piece.docstring, link)}</div>' if piece.docstring else ""
    return (
        f'<section class="class" id="{name}"><h{level + 1}><a href="#{name}">class '
        f"<code>{name}</code></a></h{level + 1}>{maths}"
        f'<div class="lines">{piece.code(link)}</div>{inside}</section>'
    )


def _function(index: Index, piece: Piece, link: Link, level: int) -> str:
    thing, name = piece.thing, getattr(piece.thing, "__qualname__", piece.title)
    formulas = formulas_of(thing) if inspect.isroutine(thing) else []
    backward = piece.title.endswith("_backward")
    in_order = formulas if backward else formulas[::-1]
    maths = "".join(formula_lines(f.lines_of(thing), f.id) for f in in_order)
    badges = "".join(
        f' <a class="id" href="formulas.html#{f.id}" title="{f.name}">{f.id}</a>' for f in formulas
    )
    wrong = index.mutants_in(thing)
    if wrong:
        count = f"{len(wrong)} known mistake{'s' * (len(wrong) > 1)}"
        badges += f' <a class="wrong" href="mistakes.html#{wrong[0].target}">{count}</a>'
    said = prose(piece.docstring, link) if piece.docstring else ""
    heading = f"h{min(level + 1, 6)}"
    return (
        f'<section class="function" id="{name}"><{heading}><a href="#{name}"><code>{piece.title}'
        f'</code></a>{badges}</{heading}><div class="maths-of">{maths}</div>'
        f'<div class="said-of">{said}</div>'
        f"{piece.code(link)}</section>"
    )
