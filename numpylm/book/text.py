"""LaTeX, docstrings and code -> HTML: what the pages of the book are made of.

LaTeX becomes a picture (SVG, by ziamath) that carries its LaTeX as text; code is coloured by
pygments. Neither needs a network, and no page loads anything that is not in its folder.
"""

import re
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha256
from html import escape
from xml.etree import ElementTree

from ..errors import InputError

SIZE = 18  # of a formula, in pixels, where text has 16

Link = Callable[[str], str]  # a name of the library -> the address of its place, "" if it has none


# ---- formulas --------------------------------------------------------------------------------


@cache
def typeset(latex: str, owner: str = "", size: int = SIZE) -> str:
    """The picture of a line of LaTeX, which is also its text for those who cannot see it.

    Its glyphs are symbols named by their content, so that a page can keep one copy of each.
    Raises InputError that names the owner (a formula's ID, a letter) where LaTeX is not understood.
    """
    try:
        from ziamath.tex import tex2mml
        from ziamath.zmath import Math
    except ImportError as error:
        raise needs(error) from error
    try:
        tree = ElementTree.fromstring(tex2mml(latex))
        _refuse_what_is_left_over(latex, tree)
        svg = ElementTree.fromstring(Math(tree, size=size).svg().replace(' xmlns="', ' was="'))
    except Exception as error:  # its parser raises many kinds, some without a word
        why = str(error) or type(error).__name__
        raise InputError(f"{owner or 'a formula'} does not typeset: {latex!r}: {why}") from error
    names = {}
    for symbol in svg.findall("symbol"):
        drawing = symbol.get("viewBox", "") + "".join(path.get("d", "") for path in symbol)
        names[f"#{symbol.get('id')}"] = name = f"g{sha256(drawing.encode()).hexdigest()[:10]}"
        symbol.set("id", name)
    for element in svg.iter():
        if element.tag == "use":
            element.set("href", f"#{names[element.attrib['href']]}")
        for paint in ("fill", "stroke"):
            if element.get(paint) == "black":
                element.set(paint, "currentColor")
    _, top, width, height = map(float, svg.attrib["viewBox"].split())
    drawn = "".join(ElementTree.tostring(element, encoding="unicode") for element in svg)
    return (
        f'<svg class="maths" role="img" aria-label="{escape(latex)}" viewBox="'
        f'{svg.attrib["viewBox"]}" style="width:{width / 16:.3f}em;height:{height / 16:.3f}em;'
        f'vertical-align:{-(top + height) / 16:.3f}em">{drawn}</svg>'
    )


def _refuse_what_is_left_over(latex: str, tree: ElementTree.Element) -> None:
    """An unknown command comes through as text, and so does a brace without a partner."""
    if latex.count("{") != latex.count("}"):
        raise ValueError("a brace has no partner")
    for element in tree.iter():
        if "\\" in (element.text or ""):
            raise ValueError(f"unknown command {element.text}")
        if element.tag.endswith("mo") and element.text == "∑":
            element.set("stretchy", "false")  # ziamath would stretch it without end in brackets


def share_glyphs(page: str) -> str:
    """The page with one copy of each glyph, in front, instead of one in every picture."""
    symbols = re.compile(r'<symbol id="(\w+)"[^>]*?(?:/>|>.*?</symbol>)')
    glyphs = {found[1]: found[0] for found in symbols.finditer(page)}
    store = f'<svg class="glyphs" aria-hidden="true">{"".join(glyphs.values())}</svg>'
    return symbols.sub("", page).replace("<body>", f"<body>{store}" if glyphs else "<body>", 1)


def formula_lines(lines: tuple[str, ...], owner: str) -> str:
    return "".join(f'<p class="formula">{typeset(line, owner)}</p>' for line in lines)


def needs(error: ImportError) -> InputError:
    return InputError(f'the book needs {error.name}: pip install "numpylm[book]"')


# ---- docstrings ------------------------------------------------------------------------------

DIMENSIONS = r"\((?:\.\.\.|(?:\d )?[A-Z])?(?:, (?:\d )?[A-Z])*,?\)"
NAMES = r"[A-Za-z_]\w*(?:, [A-Za-z_]\w*)*"


def shapes(docstring: str) -> list[tuple[str, str]]:
    """What a docstring says of shapes: a name and its sizes, in order, each once.

    q (..., T, D)   k, v (..., S, D)             each name before sizes
    s_ij = scale q_i·k_j      (..., T, S)        the name of a line that sizes end
    """
    found = []
    for line in docstring.splitlines():
        named = re.findall(rf"(?<![\w(])(?!to\b)({NAMES}) +({DIMENSIONS})", line)
        if end := re.search(rf"^\s*(\w+?)(?:_\w+)? += .*\s{{2,}}({DIMENSIONS})$", line):
            named = [(end[1], end[2])]
        found += [(name, sizes) for names, sizes in named for name in names.split(", ")]
    return list(dict.fromkeys(found))


def prose(docstring: str, link: Link) -> str:
    """A docstring as HTML: paragraphs of words, and formulas that keep their columns.

    Shapes that follow the first sentence, three spaces apart, become a line of their own.
    """
    lines = docstring.expandtabs().strip("\n").splitlines()
    margin = min((_indent(line) for line in lines[1:] if line.strip()), default=0)
    text = "\n".join(
        [*(line.lstrip() for line in lines[:1]), *(line[margin:] for line in lines[1:])]
    )
    first, *rest = [part for part in re.split(r"\n\s*\n", text) if part.strip()] or [""]
    said, *stated = re.split(r" {2,}", first)
    if stated and "\n" not in first and "=>" not in first:
        words = "" if re.search(DIMENSIONS, said) else f"<p>{linked(said, link)}</p>"
        if not words:
            stated.insert(0, said)
        items = " ".join(f"<code>{linked(item, link)}</code>" for item in stated)
        first = f'{words}<p class="stated">{items}</p>'
    else:
        first = _paragraph(first, link)
    return first + "".join(_paragraph(part, link) for part in rest)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _paragraph(part: str, link: Link) -> str:
    """Lines with columns or an indentation keep both; a first line of words stands before them."""
    words: list[str] = []
    lines = part.splitlines()
    while lines and not _keeps_its_form(lines[0]):
        words.append(lines.pop(0))
    before = f"<p>{linked(' '.join(words), link)}</p>" if words else ""
    if not lines:
        return before
    margin = min(_indent(line) for line in lines if line.strip())
    kept = "\n".join(linked(line[margin:].rstrip(), link) for line in lines)
    return before + f'<pre class="said">{kept}</pre>'


def _keeps_its_form(line: str) -> bool:
    return bool(re.search(r"^\s|\S {3,}\S|^\S+ = .*[^.:;,]$|=>", line))


def linked(text: str, link: Link) -> str:
    """Escaped text with links for IDs and for names of the library, `code` marked as such."""

    def mark(found: re.Match[str]) -> str:
        word = found[0]
        if word.startswith("`"):
            inner = word.strip("`")
            return f"<code>{_anchor(inner, link(inner))}</code>"
        return _anchor(word, link(word))

    return re.sub(r"`[^`]+`|\bF\d+\b|\b[\w/]+\.py\b|\b[A-Za-z]\w*_\w+\b", mark, escape(text, False))


def _anchor(text: str, address: str) -> str:
    return f'<a href="{address}">{text}</a>' if address else text


# ---- code ------------------------------------------------------------------------------------


def code(source: str, link: Link, numbers: Sequence[int] = (), lit: tuple[str, ...] = ()) -> str:
    """Lines of Python, coloured, names of the library linked.

    numbers   of the lines in their file, which give each an address
    lit       texts: the lines that hold one of them are marked
    """
    rows = []
    for n, (plain, line) in enumerate(zip(source.splitlines(), _coloured(source), strict=False)):
        line = re.sub(r'<span class="(n|nf|nc)">(\w+)</span>', lambda m: _name(m, link), line)
        number = f'<span class="ln" id="L{numbers[n]}">{numbers[n]}</span>' if numbers else ""
        marked = any(text in f"{plain}\n" for text in lit)
        rows.append(f'<span class="line{" lit" * marked}">{number}{line}\n</span>')
    return f'<pre class="code"><code>{"".join(rows)}</code></pre>'


@cache
def _coloured(source: str) -> list[str]:
    try:
        from pygments import highlight
        from pygments.formatters import HtmlFormatter
        from pygments.lexers import PythonLexer
    except ImportError as error:
        raise needs(error) from error
    result: list[str] = highlight(
        source, PythonLexer(stripnl=False), HtmlFormatter(nowrap=True)
    ).split("\n")
    return result


def _name(found: re.Match[str], link: Link) -> str:
    address = link(found[2])
    return f'<a class="{found[1]}" href="{address}">{found[2]}</a>' if address else found[0]
