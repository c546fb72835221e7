"""The book: the library as one static site, formulas beside the lines that compute them.

    python -m numpylm book

It is written as a whole or not at all: into a folder of its own, which then takes the place of the
old one. It opens from the file system; nothing in it is loaded from anywhere else.
"""

import json
import os
import tempfile
from html import unescape
from pathlib import Path

from ..checks.mutants import MUTANTS
from ..course.notation import FORMULAS, resolve
from ..errors import InputError
from . import overview
from .index import Index, ids_in, page_of, plain
from .notebook_pages import address, notebook_page, notebooks_page
from .pages import module_page
from .walk import walk_page, walk_script

FILES = Path(__file__).parent / "files"
MARK = "entries.js"  # a folder that holds it, or that is empty, is ours to replace


def write_book(folder: Path, index: Index | None = None) -> list[Path]:
    """Write the book and return its pages.

    Raises InputError for a formula that does not typeset, a page that cannot be written, and a
    folder that holds something else; the folder is then unchanged.
    """
    folder = folder.resolve()
    if folder.exists() and not _ours(folder):
        raise InputError(f"{folder} is there and is no book: name another folder with --out")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".book-", dir=folder.parent) as scratch:
            made = Path(scratch) / "new"
            for name, content in contents(index or Index()).items():
                _write(made / name, content)
            if folder.exists():
                folder.rename(Path(scratch) / "old")
            made.rename(folder)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error}; choose another --out") from error
    return sorted(folder.glob("*.html"))


def _ours(folder: Path) -> bool:
    return folder.is_dir() and ((folder / MARK).exists() or not os.listdir(folder))


def _write(path: Path, content: str | bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise InputError(f"the page {path.name} cannot be written: {error}") from error


def contents(index: Index) -> dict[str, str | bytes]:
    """Every file of the book by its name."""
    check()
    book: dict[str, str | bytes] = {
        "index.html": overview.contents_page(index),
        "formulas.html": overview.formulas_page(index),
        "notation.html": overview.notation_page(index),
        "mistakes.html": overview.mistakes_page(index),
        "tests.html": overview.tests_page(index),
        "notebooks.html": notebooks_page(index),
        "walk.html": walk_page(index),
        "walk_data.js": walk_script(),
    }
    book |= {page_of(name): module_page(index, name) for name in index.modules}
    for path in [*index.notebooks, *index.solutions]:
        book[address(path)], pictures = notebook_page(index, path)
        book |= {f"figures/{name}": picture for name, picture in pictures.items()}
    book |= {f"figures/{path.name}": path.read_bytes() for path in index.figures}
    book |= {path.name: path.read_bytes() for path in sorted(FILES.iterdir())}
    book[MARK] = f"const ENTRIES = {json.dumps(entries(index), ensure_ascii=False, indent=0)};\n"
    return book


def check() -> None:
    """Raise InputError for a formula without a function whose docstring carries its ID."""
    for f in FORMULAS.values():
        for name in f.names:
            owner = name.rpartition(".")[0]
            try:
                said = [resolve(name).__doc__, resolve(owner).__doc__ if "." in owner else ""]
            except (AttributeError, ImportError) as error:
                raise InputError(f"{f.id} {f.name}: there is no function {name}") from error
            if f.id not in ids_in(" ".join(filter(None, said))):
                raise InputError(f"{f.id} {f.name}: no docstring of {name} carries the ID {f.id}")


def entries(index: Index) -> list[list[str]]:
    """What the search looks through: a kind, a name, its address, and words about it."""
    found = [
        ["formula", f"{f.id} {f.name}", f"formulas.html#{f.id}", f"{f.source} {' '.join(f.names)}"]
        for f in FORMULAS.values()
    ]
    for name, module in index.modules.items():
        found.append(["module", index.file(name), page_of(name), _summary(module)])
        for thing in index.defined_in(name):
            found.append(["code", thing.__qualname__, index.address(thing), _summary(thing)])
    found += [["notebook", plain(s.heading), s.address, plain(s.title)] for s in index.sections]
    found += [
        ["mistake", str(m), f"mistakes.html#{overview.mutant_id(m)}", m.sentence] for m in MUTANTS
    ]
    found += [["test", t.name, t.address, t.file] for t in index.tests]
    return found


def _summary(thing: object) -> str:
    first = (getattr(thing, "__doc__", "") or "").strip().split("\n\n")[0]
    return unescape(" ".join(first.split()))
