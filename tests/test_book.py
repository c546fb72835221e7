"""The book is whole: every formula, function, test and mistake has its place, and every link ends.

The pages in a browser, and the arithmetic of the walk: test_book_browser.py.
"""

import ast
import inspect
import os
import re
import sys
from collections import Counter
from functools import partial
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from numpylm import ops
from numpylm.__main__ import main
from numpylm.book import text as book_text
from numpylm.book import write as book
from numpylm.book.index import FIGURES, PARTS, Index, ids_in, ids_of_test, page_of, slug
from numpylm.book.notebook_pages import markdown
from numpylm.book.overview import mutant_id
from numpylm.book.pages import partner, pieces_of
from numpylm.book.text import code, linked, prose, shapes, share_glyphs, typeset
from numpylm.book.walk import LIMIT, STEPS
from numpylm.checks.mutants import EQUIVALENT, MUTANTS
from numpylm.course import notation
from numpylm.course.notation import FORMULAS, Formula
from numpylm.errors import InputError

for package in ("ziamath", "mistune", "pygments"):
    pytest.importorskip(package, reason="the book is an extra: pip install .[book]")

ROOT = Path(__file__).parent.parent


def nowhere(word):
    return ""


class Page(HTMLParser):
    """The ids, links, sources and pictures of a page, and its text."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.sources, self.pictures, self.text = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if "id" in values:
            self.ids.append(values["id"])
        if tag == "a":
            self.links.append(values["href"])
        if tag in ("use", "link"):
            self.links.append(values["href"])
        if "src" in values:
            self.sources.append(values["src"])
        if tag == "svg" or tag == "img":
            self.pictures.append(values)

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def index():
    return Index()


@pytest.fixture(scope="module")
def files(index):
    return book.contents(index)


@pytest.fixture(scope="module")
def pages(files):
    return {name: Page(text) for name, text in files.items() if name.endswith(".html")}


# ---- what is in it ---------------------------------------------------------------------------


def test_every_module_has_its_place_in_the_reading_order(index):
    placed = " ".join(PARTS.values()).split()
    assert len(placed) == len(set(placed))
    assert sorted(placed) == sorted(index.modules)


def test_the_reading_order_is_that_of_the_package(index):
    said = inspect.getdoc(__import__("numpylm")).splitlines()
    listed = [name for line in said for name in re.findall(r"^([\w, ]+?)(?: {2,}|$)", line)]
    order = [name for names in listed for name in names.split(", ") if name in index.modules]
    assert len(order) >= 18
    assert order == [name for name in index.modules if name in order]


def test_every_module_has_a_page_with_all_of_its_functions(index, pages):
    for name, module in index.modules.items():
        ids = pages[page_of(name)].ids
        for node in ast.parse(inspect.getsource(module)).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                assert node.name in ids
        for thing in index.defined_in(name):
            assert thing.__qualname__ in ids


def test_no_line_of_code_is_lost(index, files):
    """Every line of a module is on its page, but for docstrings, headings and empty lines."""
    for name, module in index.modules.items():
        shown = set(map(int, re.findall(r'id="L(\d+)"', files[page_of(name)])))
        lines = inspect.getsource(module).splitlines()
        said = set()
        for node in ast.walk(ast.parse("\n".join(lines))):
            kinds = ast.Module | ast.ClassDef | ast.FunctionDef
            if isinstance(node, kinds) and ast.get_docstring(node) is not None:
                said |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
        for n, line in enumerate(lines, start=1):
            if line.strip() and n not in said and not re.match(r" *# -{2,}", line):
                assert n in shown, f"{name}.py, line {n}: {line}"


def test_every_formula_has_a_card_with_everything(index, files):
    cards = re.split(r'<section class="card" id="(F\d+)">', files["formulas.html"])[1:]
    cards = dict(zip(cards[::2], cards[1::2], strict=True))
    assert list(cards) == list(FORMULAS)
    for f in FORMULAS.values():
        card, text = cards[f.id], "".join(Page(cards[f.id]).text)
        for line in (*f.latex, *f.gradient):
            assert typeset_label(line) in card
        for function in (*f.code[:1], *f.backwards[:1]):
            last = inspect.getsource(function).rstrip().splitlines()[-1].strip()
            assert last in text
            for name, sizes in shapes(function.__doc__):
                assert f"{name} {sizes}" in text
        for function in (*f.code, *f.backwards):
            assert f'href="{index.address(function)}"' in card
        for test in index.tests_of(f):
            assert f'href="tests.html#{test.name}"' in card
        for mutant in index.mutants_of(f):
            assert f'href="mistakes.html#{mutant_id(mutant)}"' in card
        for section in index.sections_of(f):
            assert f'href="{section.address}"' in card
        for name, _ in index.figures_of(f):
            assert f'src="figures/{name}.png"' in card
        assert f.source in unescape(text)


def typeset_label(latex):
    return typeset(latex).partition('viewBox="')[0]


def test_links_from_a_formula_lead_back_to_it(index, files):
    for f in FORMULAS.values():
        link = f'href="formulas.html#{f.id}"'
        for function in (*f.code, *f.backwards):
            page, _, name = index.address(function).partition("#")
            section = files[page].partition(f'<section class="function" id="{name}">')[2]
            assert link in section.partition("</section>")[0], name
        for mutant in index.mutants_of(f):
            place = files["mistakes.html"].partition(f'<dt id="{mutant_id(mutant)}">')[2]
            assert link in place.partition("</dt>")[0] or "–" in mutant.formula, mutant
        for test in index.tests_of(f):
            place = files["tests.html"].partition(f'<details id="{test.name}">')[2]
            assert link in place.partition("</summary>")[0], test.name


def test_forward_and_backward_stand_side_by_side(files):
    pairs = re.findall(
        r'<div class="pair"><section class="function" id="([\w.]+)">.*?'
        r'<section class="function" id="([\w.]+)">',
        "".join(text for name, text in files.items() if name.endswith(".html")),
        re.DOTALL,
    )
    expected = {
        (f.__qualname__, b.__qualname__)
        for formula in FORMULAS.values()
        for f, b in zip(formula.code, formula.backwards, strict=bool(formula.gradient))
    }
    assert expected <= set(pairs)
    assert ("GPT.forward", "GPT.backward") in pairs


def test_every_mistake_is_explained(pages, files):
    text = unescape(re.sub(r"<[^>]+>", "", files["mistakes.html"]))
    for mutant in (*MUTANTS, *EQUIVALENT):
        assert mutant_id(mutant) in pages["mistakes.html"].ids
        assert (mutant.sentence or mutant.proof) in text


def test_the_notation_page_has_every_letter(files):
    for letters in (notation.SIZES, notation.MODEL, notation.OPTIMIZER, notation.AFTERWARDS):
        for letter, means in letters.items():
            assert typeset_label(letter) in files["notation.html"]
            assert means.replace("'", "&#x27;") in files["notation.html"]


def test_every_notebook_can_be_read(index, pages, files):
    assert index.notebooks and index.solutions
    for section in index.sections:
        page, _, id = section.address.partition("#")
        assert id in pages[page].ids, section.address
        assert f'href="{section.address}"' in files["notebooks.html"] or id == slug(section.title)


def test_every_figure_of_the_cards_is_there(index, files):
    assert set(ids_in(" ".join(ids for ids, _ in FIGURES.values()))) <= set(FORMULAS)
    for path in index.figures:
        assert files[f"figures/{path.name}"] == path.read_bytes()


# ---- links and loading -----------------------------------------------------------------------


def test_every_link_inside_the_book_ends_at_something(pages, files):
    for name, page in pages.items():
        for link in page.links:
            if re.match(r"https?:|mailto:", link):
                continue
            path, _, id = unquote(link).partition("#")
            assert (path or name) in files, f"{name}: {link}"
            if id:
                assert id in pages[path or name].ids, f"{name}: {link}"


def test_nothing_is_loaded_from_elsewhere(pages, files):
    for name, page in pages.items():
        for source in page.sources:
            assert source in files, f"{name}: {source}"
    for name, text in files.items():
        if name.endswith(".css"):
            assert b"url(" not in text and b"@import" not in text
        if name.endswith(".js"):
            script = text if isinstance(text, str) else text.decode()
            assert not re.search(r"fetch\(|XMLHttp|import\(|https?:", script)


def test_an_address_is_given_once(pages):
    for name, page in pages.items():
        twice = [id for id, count in Counter(page.ids).items() if count > 1]
        assert not twice, name


def test_every_picture_says_in_words_what_it_shows(pages):
    for name, page in pages.items():
        for picture in page.pictures:
            if picture.get("aria-hidden") != "true":
                assert picture.get("aria-label") or picture.get("alt"), name
            if picture.get("class") == "maths":
                assert picture["role"] == "img"


def test_every_page_has_a_language_a_title_one_heading_and_a_way_past_the_menu(files):
    for name, text in files.items():
        if name.endswith(".html"):
            assert '<html lang="en">' in text and text.count("<h1") == 1, name
            assert re.search(r"<title>[^<]+ · numpylm</title>", text)
            assert '<a class="skip" href="#content">' in text and '<main id="content">' in text


def test_the_search_knows_formulas_functions_mistakes_tests_and_notebooks(index, pages):
    found = book.entries(index)
    assert {kind for kind, *_ in found} == {
        "formula", "module", "code", "notebook", "mistake", "test",
    }  # fmt: skip
    for _, name, address, _ in found:
        page, _, id = address.partition("#")
        assert page in pages and (not id or id in pages[page].ids), name
    assert ["F3 attention weights", "formulas.html#F3"] in [entry[1:3] for entry in found]


# ---- LaTeX, docstrings, code -----------------------------------------------------------------


def test_a_formula_is_a_picture_that_carries_its_latex():
    picture = typeset(r"a < b_{i}")
    assert 'role="img" aria-label="a &lt; b_{i}"' in picture
    assert picture.count("<use") == 4 and "currentColor" in picture and "black" not in picture


def test_brackets_around_a_sum_are_as_tall_as_the_sum():
    height = float(re.search(r"height:([\d.]+)em", typeset(r"\left( \sum_l a \right)"))[1])
    assert height < 5, "ziamath stretches a sum in brackets without end"


@pytest.mark.parametrize(
    "latex", [r"\frac{a", r"\foo x", r"a_{", r"\left( x", "", "a}", r"\begin{nothing}"]
)
def test_what_does_not_typeset_is_named(latex):
    with pytest.raises(InputError, match="F99 does not typeset") as error:
        typeset(latex, "F99")
    assert repr(latex) in str(error.value)


def test_a_page_keeps_one_copy_of_each_glyph():
    page = share_glyphs(f"<body>{typeset('x = x')}{typeset('x')}")
    assert len(re.findall("<symbol", page)) == 2
    assert page.startswith('<body><svg class="glyphs" aria-hidden="true"><symbol')
    assert set(re.findall(r'href="#(\w+)"', page)) == set(re.findall(r'symbol id="(\w+)"', page))


def test_shapes_are_read_from_docstrings():
    assert shapes("F: y.   q (..., T, D)   k, v (..., S, 3 A)  ->  c (...)   mask (broadcast)") == [
        ("q", "(..., T, D)"), ("k", "(..., S, 3 A)"), ("v", "(..., S, 3 A)"), ("c", "(...)"),
    ]  # fmt: skip
    assert shapes("    s_ij = q_i·k_j     how well     (..., T, S)") == [("s", "(..., T, S)")]
    assert shapes("broadcast to (..., T, S); b (O,) or None") == [("b", "(O,)")]


def test_docstrings_keep_their_columns_and_link_what_they_name():
    text = prose(ops.softmax_backward.__doc__, nowhere)
    assert text.startswith("<p>Raising one score takes from all the others.</p><pre")
    assert text.endswith("because a_j = 0.</p>")
    assert "<p>F12: y = x w + b.</p>" in prose(ops.linear_forward.__doc__, nowhere)
    assert linked("F3 and `a<b`", lambda word: "there" if word == "F3" else "") == (
        '<a href="there">F3</a> and <code>a&lt;b</code>'
    )


def test_code_is_numbered_lit_and_linked():
    shown = code("x = f(1)\ny = 2", lambda word: "f.html" if word == "f" else "", [7, 9], ("y =",))
    assert '<span class="ln" id="L7">7</span>' in shown and 'id="L9"' in shown
    assert '<a class="n" href="f.html">f</a>' in shown
    assert re.findall(r'class="line( lit)?"', shown) == ["", " lit"]


MODULE = '''"""Doc."""
import ast

# ---- one ----

A = 1
B = 2

# why
@cache
def f():
    """Said."""
    return 1


class C:
    x: int

    def g(self):
        pass
'''


def test_a_module_is_cut_at_its_headings_functions_and_classes():
    pieces = pieces_of(MODULE, inspect)
    assert [(p.kind, p.title) for p in pieces] == [
        ("imports", ""), ("heading", "one"), ("lines", ""), ("function", "f"), ("class", "C"),
    ]  # fmt: skip
    assert list(pieces[2].rows) == [6, 7]
    assert pieces[3].rows == {9: "# why", 10: "@cache", 11: "def f():", 13: "    return 1"}
    assert pieces[3].docstring == "Said."
    assert [p.title for p in pieces[4].inside] == ["g"] and list(pieces[4].rows) == [16, 17]


def test_partners():
    names = ["forward", "backward", "f_forward", "f_backward", "loss", "loss_backward", "g"]
    assert [partner(name, names) for name in names] == [
        "backward", "", "f_backward", "", "loss_backward", "", "",
    ]  # fmt: skip


def test_ids_of_tests():
    assert ids_of_test("test_f14_to_f16_and_f22_hold") == {"F14", "F15", "F16", "F22"}
    assert ids_of_test("test_float32_is_kept") == set()
    assert ids_in("F4–F6, F9") == {"F4", "F5", "F6", "F9"}


def test_markdown_of_notebooks_keeps_formulas_out_of_emphasis():
    html = markdown("## A $a_i$ _b_\n\n$x_1$ and `$code$`: $$y_2$$", "n")
    assert html.count('role="img"') == 3 and "<code>$code$</code>" in html
    assert '<h2 id="a-a_i-_b_">' in html and "<em>b</em>" in html


def test_an_id_leads_to_its_formula_but_not_a_score_of_that_name(index):
    assert index.link("ops", "F1") == "formulas.html#F1"
    assert index.link("metrics", "F1") == ""
    assert index.link("gpt", "attention_forward") == "ops.html#attention_forward"
    assert index.link("ops", "checks/second_formulas.py") == "checks.second_formulas.html"
    assert index.link("ops", "no_such_name") == ""


# ---- writing ---------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch):
    """A book of one page, to be written quickly."""
    monkeypatch.setattr(book, "contents", lambda index: {"index.html": "new", book.MARK: ""})


def test_the_command_writes_the_book_and_says_where(small, tmp_path, capsys):
    assert main(["book", "--out", str(tmp_path / "deep" / "book")]) == 0
    assert (tmp_path / "deep" / "book" / "index.html").read_text(encoding="utf-8") == "new"
    assert capsys.readouterr().out == f"1 pages; open {tmp_path / 'deep' / 'book' / 'index.html'}\n"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["book"]


def test_a_new_book_takes_the_place_of_the_old_one_as_a_whole(monkeypatch, tmp_path):
    folder = tmp_path / "book"
    monkeypatch.setattr(book, "contents", lambda index: {"index.html": "", "gone.html": "old"})
    book.write_book(folder)
    assert (folder / "gone.html").exists()
    monkeypatch.setattr(book, "contents", lambda index: {"index.html": "new"})
    assert [path.name for path in book.write_book(folder)] == ["index.html"]
    assert not (folder / "gone.html").exists()


def test_a_folder_that_holds_something_else_is_left_alone(small, tmp_path):
    (tmp_path / "thesis.txt").write_text("years", encoding="utf-8")
    with pytest.raises(InputError, match="is there and is no book"):
        book.write_book(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("name", ["entries.js", "notes.txt", "figures/mine.png"])
def test_what_the_book_has_not_written_is_never_deleted(small, tmp_path, name):
    folder = tmp_path / "book"
    if name != "entries.js":  # beside a book; otherwise a folder of a reader's own
        book.write_book(folder)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=f"holds {name}"):
        book.write_book(folder)
    assert (folder / name).read_text(encoding="utf-8") == "mine"


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_folders_and_links_of_a_reader_are_never_deleted_either(small, tmp_path):
    folder = tmp_path / "book"
    book.write_book(folder)
    mine = folder / "mine"
    for make, remove in (
        (mine.mkdir, mine.rmdir),
        (partial(os.symlink, folder, mine), mine.unlink),
    ):
        make()
        with pytest.raises(InputError, match="holds mine"):
            book.write_book(folder)
        remove()
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(InputError, match="is there and is no book"):
        book.write_book(loop)


@pytest.mark.parametrize("killed", [False, True])
def test_without_an_exchange_the_old_book_comes_back(small, tmp_path, monkeypatch, killed):
    class Killed(BaseException):
        pass

    folder, rename = tmp_path / "book", Path.rename
    book.write_book(folder)

    def fail(self, target):
        if self.name == "new":
            raise Killed if killed else OSError("no")
        return rename(self, target)

    monkeypatch.setattr(book, "contents", lambda index: {"index.html": "newer"})
    with monkeypatch.context() as patch:
        patch.setattr(book, "EXCHANGE", 1 << 20)  # which no system knows
        patch.setattr(Path, "rename", fail)
        if killed:  # and nothing is tidied up
            patch.setattr(book.tempfile, "TemporaryDirectory", lambda **k: Kept(tmp_path))
        with pytest.raises(Killed if killed else InputError):
            book.write_book(folder)
    if not killed:
        assert (folder / "index.html").read_text(encoding="utf-8") == "new"
    book.write_book(folder)
    assert (folder / "index.html").read_text(encoding="utf-8") == "newer"
    assert [path.name for path in tmp_path.iterdir()] == ["book"]


class Kept:
    """A folder that a kill leaves."""

    def __init__(self, parent):
        self.path = parent / f"{book.SCRATCH}12"

    def __enter__(self):
        self.path.mkdir()
        return str(self.path)

    def __exit__(self, *error):
        return None


def test_a_page_that_cannot_be_written_is_named_and_the_old_book_stays(
    small, tmp_path, monkeypatch
):
    folder = tmp_path / "book"
    book.write_book(folder)
    whole = {"index.html": "newer", book.MARK: "", "index.html/page.html": ""}
    monkeypatch.setattr(book, "contents", lambda index: whole)
    with pytest.raises(InputError, match=r"the page page.html cannot be written"):
        book.write_book(folder)
    assert (folder / "index.html").read_text(encoding="utf-8") == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["book"]


def test_a_folder_below_a_file_is_named(small, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match=r"cannot write .*choose another --out"):
        book.write_book(tmp_path / "file" / "book")


def broken(**changes):
    return Formula(**{
        "id": "F27", "name": "new", "latex": ("y = x",), "gradient": (),
        "names": ("ops.tanh_forward",), "source": "nowhere",
    } | changes)  # fmt: skip


def test_an_id_without_a_function_is_named_before_anything_is_written(monkeypatch, tmp_path):
    monkeypatch.setitem(FORMULAS, "F27", broken())
    with pytest.raises(InputError, match=r"F27 new: no docstring of ops.tanh_forward carries"):
        book.write_book(tmp_path / "book")
    monkeypatch.setitem(FORMULAS, "F27", broken(names=("ops.no_such_function",)))
    with pytest.raises(InputError, match=r"F27 new: there is no function ops.no_such_function"):
        book.write_book(tmp_path / "book")
    assert not list(tmp_path.iterdir())


def test_a_formula_that_does_not_typeset_is_named_and_nothing_is_written(monkeypatch, tmp_path):
    wrong = broken(latex=(r"y = \frac{x",))
    monkeypatch.setitem(FORMULAS, "F22", broken(id="F22", latex=wrong.latex))
    with pytest.raises(InputError, match=r"F22 does not typeset: .*frac"):
        book.write_book(tmp_path / "book")
    assert not list(tmp_path.iterdir())


def test_without_the_project_around_the_package_there_is_no_book(tmp_path):
    with pytest.raises(InputError, match="there is no tests/ in"):
        Index(tmp_path)


def test_a_missing_package_is_named(monkeypatch):
    for module in ("ziamath", "ziamath.tex"):
        monkeypatch.setitem(sys.modules, module, None)
    book_text.typeset.cache_clear()
    with pytest.raises(InputError, match=r'needs ziamath.*pip install "numpylm\[book\]"'):
        typeset("x")


# ---- the walk --------------------------------------------------------------------------------


def test_every_step_of_the_walk_has_a_formula_and_a_line(files):
    steps = re.split(r'<section class="step" id="step-(\w+)"', files["walk.html"])[1:]
    assert steps[::2] == [step.id for step in STEPS]
    for step, text in zip(STEPS, steps[1::2], strict=True):
        shown = text.partition("</section>")[0]
        assert len(re.findall('class="line lit"', shown)) == len(step.lit), step.id
        for id, side, n in step.picks:
            assert typeset_label(getattr(FORMULAS[id], side)[n]) in shown
    assert [x for step in STEPS for x in step.numbers] == [
        *"esaczpL", "dz", "dc", "output", "da", "ds",
        "dq", "query", "dk", "key", "dv", "value", "dE",
    ]  # fmt: skip
    assert LIMIT >= 100
