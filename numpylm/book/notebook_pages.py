"""Notebooks as pages of the book: what a reader sees of them, formulas typeset.

The words are Markdown (mistune). Formulas are taken out before it and put back after it, so that
no underscore of theirs is read as emphasis.
"""

import base64
import re
from collections.abc import Iterator
from html import escape, unescape
from pathlib import Path
from typing import Any

from ..course.links import links, repository
from ..course.notation import FORMULAS
from ..course.notebook_files import SOLUTIONS, read
from .index import Index, Section, headings, page_of, plain, slug
from .pages import page
from .text import code, needs, typeset

MATHS = re.compile(
    r"(```.*?```|`[^`\n]+`)|\$\$(.+?)\$\$|(?<![\w\\])\$([^$\n]+?)\$(?!\d)", re.DOTALL
)
INLINE = 17  # pixels: as large as the words around it look


def notebooks_page(index: Index) -> str:
    """The course: each notebook, its headings, and the formulas that it speaks of."""
    rows = []
    for path in index.notebooks:
        mine = [s for s in index.sections if s.notebook == path.stem]
        items = "".join(
            f'<li><a href="{s.address}">{escape(plain(s.heading))}</a>{_ids(index, s)}</li>'
            for s in mine[1:]
        )
        solved = index.root / SOLUTIONS / path.name
        link = f' · <a href="{address(solved)}">solutions</a>' if solved.exists() else ""
        for where, online in links(repository(index.root), f"notebooks/{path.name}").items():
            link += f' · <a href="{escape(online)}">run it in {where}</a>'
        rows.append(
            f'<section><h2><a href="{address(path)}">{escape(mine[0].title)}</a></h2>'
            f"<p><code>notebooks/{path.name}</code>{link}</p><ul>{items}</ul></section>"
        )
    return page(
        "notebooks",
        "Notebooks",
        "<h1>Notebooks</h1><p>The course. Here it can be read; to run it, open the files in "
        f"Jupyter.</p>{''.join(rows)}",
    )


def _ids(index: Index, section: Section) -> str:
    found = [f.id for f in FORMULAS.values() if section in index.sections_of(f)]
    return "".join(f' <a class="id" href="formulas.html#{id}">{id}</a>' for id in found)


def address(path: Path) -> str:
    prefix = "solution" if path.parent.name == "solutions" else "notebook"
    return f"{prefix}_{path.stem}.html"


def notebook_page(index: Index, path: Path) -> tuple[str, dict[str, bytes]]:
    """The page of a notebook, and its pictures by name."""
    pictures: dict[str, bytes] = {}
    cells = [_cell(index, cell, path, pictures) for cell in read(path)["cells"] if _shown(cell)]
    title = next((s.title for s in index.sections if s.notebook == path.stem), path.stem)
    body = f'<article class="notebook">{"".join(cells)}</article>'
    return page("notebooks", plain(title), body), pictures


def _shown(cell: dict[str, Any]) -> bool:
    return bool("".join(cell["source"]).strip())


def _cell(index: Index, cell: dict[str, Any], path: Path, pictures: dict[str, bytes]) -> str:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return markdown(source, path.name)
    shown = "".join(_outputs(cell["outputs"], path, pictures))
    return f"{code(source, lambda word: index.link('', word))}{shown}"


def _outputs(
    outputs: list[dict[str, Any]], path: Path, pictures: dict[str, bytes]
) -> Iterator[str]:
    for output in outputs:
        data = {kind: "".join(value) for kind, value in output.get("data", {}).items()}
        if "image/png" in data:
            name = f"{address(path).removesuffix('.html')}_{len(pictures) + 1}.png"
            pictures[name] = base64.b64decode(data["image/png"])
            yield f'<img src="figures/{name}" alt="{escape(_words_of(data))}" loading="lazy">'
        elif "text/markdown" in data:
            yield f'<div class="shown">{markdown(data["text/markdown"], path.name)}</div>'
        else:
            text = data.get("text/plain") or "".join(output.get("text", []))
            yield f'<pre class="output">{escape(text, False)}</pre>'


def _words_of(data: dict[str, str]) -> str:
    text = data.get("text/plain", "")
    return "a figure, explained in the text around it" if text.startswith("<") else text


def markdown(text: str, owner: str) -> str:
    """Markdown with $formulas$ as HTML; headings get addresses."""
    try:
        import mistune
    except ImportError as error:
        raise needs(error) from error
    kept: list[str] = []

    def take(found: re.Match[str]) -> str:
        if found[1]:
            return found[0]
        block = found[2] is not None
        picture = typeset((found[2] or found[3]).strip(), owner, *(() if block else (INLINE,)))
        kept.append(f'<span class="formula block">{picture}</span>' if block else picture)
        return f"@@{len(kept) - 1}@@"

    html = str(mistune.create_markdown(escape=False, plugins=["table"])(MATHS.sub(take, text)))
    html = re.sub(
        r'<pre><code class="language-python">(.*?)</code></pre>',
        lambda m: code(unescape(m[1]).rstrip("\n"), lambda word: ""),
        html,
        flags=re.DOTALL,
    )
    ids = [slug(words) for _, words in headings(text)]
    html = re.sub(r"<h(\d)>", lambda m: f'<h{m[1]} id="{ids.pop(0)}">', html)
    html = re.sub(r'href="(?:\.\./)?(\w+)\.ipynb"', r'href="notebook_\1.html"', html)
    html = re.sub(
        r'href="\.\./numpylm/([\w/]+)\.py"',
        lambda m: f'href="{page_of(m[1].replace("/", "."))}"',
        html,
    )
    return re.sub(r"@@(\d+)@@", lambda m: kept[int(m[1])], html)
