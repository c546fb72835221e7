"""The pages that go across the modules: contents, formulas, notation, mistakes, tests."""

import inspect
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from .. import __doc__ as about
from .. import ops
from ..checks.mutants import EQUIVALENT, MUTANTS
from ..checks.mutation import Mutant, find
from ..course.cards import source_of
from ..course.notation import AFTERWARDS, FORMULAS, MODEL, OPTIMIZER, SIZES, Formula
from .index import PARTS, Index, page_of, plain, slug
from .pages import page
from .text import Link, code, formula_lines, linked, prose, shapes, typeset


def contents_page(index: Index) -> str:
    parts = dict(PARTS)
    listed = " ".join(parts.values()).split()
    if more := [name for name in index.modules if name not in listed]:
        parts["More"] = " ".join(more)
    rows = []
    for part, names in parts.items():
        items = "".join(
            f'<li><a href="{page_of(name)}"><code>{index.file(name)}</code></a> '
            f"{_first_line(index, name)}</li>"
            for name in names.split()
            if name in index.modules
        )
        rows.append(f"<h2>{part}</h2><ul class=modules>{items}</ul>")
    title = (about or "").split(".")[0]
    return page(
        "index",
        "Contents",
        f"<h1>{escape(title)}</h1><p>Every formula of this library stands here beside the lines "
        "that compute it, and every forward beside its backward. A formula knows its tests, the "
        "mistakes that they see, and the notebook that shows it; each of these knows the "
        'formula.</p><ul class="ways"><li><a href="walk.html">The walk</a>: the one-matrix '
        "model on three words, one step at a time, with numbers that you can change.</li>"
        f'<li><a href="formulas.html">The formulas</a>, F1 to F{len(FORMULAS)}, a card for each.'
        '</li><li><a href="notation.html">The notation</a>: one meaning for each letter.</li>'
        '<li><a href="notebooks.html">The notebooks</a>, to read here and to run.</li>'
        "<li>The modules, in reading order:</li></ul>" + "".join(rows),
    )


def _first_line(index: Index, name: str) -> str:
    paragraph = (index.modules[name].__doc__ or "").strip().split("\n\n")[0]
    return linked(" ".join(paragraph.split()), lambda word: "")


def formulas_page(index: Index) -> str:
    rows = "".join(f'<li><a href="#{f.id}">{f.id}</a> {f.name}</li>' for f in FORMULAS.values())
    cards = "".join(formula_card(index, f) for f in FORMULAS.values())
    head = f'<h1>Formulas</h1><nav class="here" aria-label="On this page"><ol>{rows}</ol></nav>'
    return page("formulas", "Formulas", head + cards)


def formula_card(index: Index, f: Formula) -> str:
    """LaTeX, shapes, code, derivation, tests, mutants, notebooks and figures of one formula."""

    def link(word: str) -> str:
        return index.link(f.names[0].split(".")[0], word)

    rows = [_row("forward" if f.gradient else "", f.latex, f.code[0], f, link, False)]
    if f.gradient:
        rows.append(_row("backward", f.gradient, f.backwards[0], f, link, True))
    facts = {
        "Computed by": _functions(index, [*f.code, *f.backwards]),
        "Gradient checks": _list(
            f'<a href="{page_of("checks.gradient_cases")}'
            f'#{"op" if c.module is ops else "block"}_cases">{escape(c.name)}</a>'
            for c in index.cases_of(f)
        ),
        "Tests": _list(f'<a href="{t.address}">{t.name}</a>' for t in index.tests_of(f)),
        "Mistakes that the tests see": _list(
            f'<a href="mistakes.html#{mutant_id(m)}">{escape(str(m))}</a>'
            for m in index.mutants_of(f)
        ),
        "Notebooks": _list(
            f'<a href="{s.address}">{escape(s.title)}: {escape(plain(s.heading))}</a>'
            for s in index.sections_of(f)
        ),
        "Source": escape(f.source),
    }
    shown = "".join(
        f'<figure><img src="figures/{name}.png" alt="{escape(words)}" loading="lazy">'
        f"<figcaption>{escape(words)}</figcaption></figure>"
        for name, words in index.figures_of(f)
    )
    told = "".join(f"<dt>{what}</dt><dd>{text}</dd>" for what, text in facts.items() if text)
    return (
        f'<section class="card" id="{f.id}"><h2><a href="#{f.id}">{f.id}</a> {f.name}</h2>'
        f"{''.join(rows)}<dl>{told}</dl>{shown}</section>"
    )


def _row(
    title: str, lines: tuple[str, ...], function: Any, f: Formula, link: Link, derive: bool
) -> str:
    said = inspect.getdoc(function) or ""
    stated = "".join(f"<li><code>{name} {sizes}</code></li>" for name, sizes in shapes(said))
    if stated:
        stated = f'<h4>Shapes</h4><ul class="shapes">{stated}</ul>'
    derivation = f"<h4>Derivation</h4>{prose(said, link)}" if derive else ""
    heading = f"<h3>{title}</h3>" if title else ""
    return (
        f'<div class="row"><div>{heading}{formula_lines(lines, f.id)}{stated}{derivation}</div>'
        f"{code(source_of(function), link)}</div>"
    )


def _functions(index: Index, functions: Sequence[Any]) -> str:
    return ", ".join(
        f'<a href="{index.address(g)}"><code>{g.__qualname__}</code></a>' for g in functions
    )


def _list(items: Iterable[str]) -> str:
    items = [f"<li>{item}</li>" for item in items]
    if len(items) <= 6:
        return f"<ul>{''.join(items)}</ul>" if items else ""
    return (
        f"<ul>{''.join(items[:4])}</ul><details><summary>and {len(items) - 4} more</summary>"
        f"<ul>{''.join(items[4:])}</ul></details>"
    )


def notation_page(index: Index) -> str:
    """Every letter and its one meaning."""
    tables = []
    kinds = {"Sizes": SIZES, "Models": MODEL, "Optimizers": OPTIMIZER, "Afterwards": AFTERWARDS}
    for title, letters in kinds.items():
        rows = "".join(
            f"<tr><td>{typeset(letter, f'the letter {letter}')}</td><td>{escape(means)}</td></tr>"
            for letter, means in letters.items()
        )
        tables.append(
            f'<section><h2 id="{title.lower()}">{title}</h2><table><thead><tr><th scope="col">'
            f'letter</th><th scope="col">meaning</th></tr></thead>{rows}</table></section>'
        )
    return page(
        "notation",
        "Notation",
        "<h1>Notation</h1><p>One meaning for each letter, in the formulas as in the code. An "
        "optimizer sees one long vector, and neither words nor attention: its letters are its "
        f"own.</p><div class=tables>{''.join(tables)}</div>",
    )


def mutant_id(mutant: Mutant) -> str:
    return f"{mutant.target}-{slug(mutant.name)}"


def mistakes_page(index: Index) -> str:
    """The registry of mutants, by what is mistaken."""
    groups: dict[str, list[Mutant]] = {}
    for mutant in MUTANTS:
        groups.setdefault(mutant.target, []).append(mutant)
    sections = []
    for target, mutants in groups.items():
        rows = "".join(_mistake(m) for m in mutants)
        place = index.address(find(target))
        sections.append(
            f'<section id="{target}"><h2><a href="{place}"><code>{target}</code></a></h2>'
            f'<dl class="mistakes">{rows}</dl></section>'
        )
    none = "".join(_mistake(m) for m in EQUIVALENT)
    return page(
        "mistakes",
        "Mistakes",
        f"<h1>Mistakes</h1><p>{len(MUTANTS)} wrong versions of the code, each in one line. The "
        'tests slip each of them in and demand that an <a href="checks.oracles.html">oracle</a> '
        "sees it: numerical gradients, slopes of the formulas, or symmetries. "
        "<code>python -m numpylm gradcheck --mutants</code> shows which.</p>"
        + "".join(sections)
        + "<section id=equivalent><h2>What looks wrong and is right</h2>"
        f'<dl class="mistakes">{none}</dl></section>',
    )


def _mistake(m: Mutant) -> str:
    ids = re.sub(
        r"F\d+", lambda f: f'<a class="id" href="formulas.html#{f[0]}">{f[0]}</a>', m.formula
    )
    name = f"{m.target}: {m.name}" if m.proof else m.name
    return (
        f'<dt id="{mutant_id(m)}">{escape(name)} {ids}</dt><dd>{escape(m.sentence or m.proof)}</dd>'
    )


def tests_page(index: Index) -> str:
    """Every test that carries the ID of a formula, with its code."""
    files: dict[str, list[str]] = {}
    for test in index.tests:
        ids = " ".join(f'<a class="id" href="formulas.html#{id}">{id}</a>' for id in FORMULAS
                       if id in test.ids)  # fmt: skip
        files.setdefault(test.file, []).append(
            f'<details id="{test.name}"><summary><code>{test.name}</code> {ids}</summary>'
            f"{code(test.source, lambda word: index.link('', word))}</details>"
        )
    text = "".join(
        f'<section><h2 id="{file}">{file}.py</h2>{"".join(rows)}</section>'
        for file, rows in files.items()
    )
    return page(
        "tests",
        "Tests",
        "<h1>Tests</h1><p>The tests whose names carry the ID of a formula. Beside them, every "
        'gradient is checked numerically (<a href="checks.gradient_cases.html">'
        "checks/gradient_cases.py</a>)"
        f', and every <a href="mistakes.html">known mistake</a> must be seen.</p>{text}',
    )
