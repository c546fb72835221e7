"""The book: the library as one static site, formulas beside the lines that compute them.

    python -m numpylm book

It is written as a whole or not at all: into a folder of its own, which then takes the place of the
old one. It opens from the file system; nothing in it is loaded from anywhere else.
"""

import ctypes
import json
import os
import shutil
import tempfile
from html import unescape
from pathlib import Path

from ..checks.mutants import MUTANTS
from ..course.notation import FORMULAS, resolve
from ..errors import InputError
from ..files import flush_folder, read_json, write_whole
from ..locks import FolderLock
from . import overview
from .index import Index, ids_in, page_of, plain
from .notebook_pages import address, notebook_page, notebooks_page
from .pages import module_page
from .walk import walk_page, walk_script

FILES = Path(__file__).parent / "files"
MARK = "entries.js"
MANIFEST = ".book.json"  # the files that write_book wrote: they alone are its to delete
SCRATCH, OF, LOCK = ".numpylm-book-", ".numpylm-book", ".numpylm-book.lock"  # while it writes
HERE, EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux


def write_book(folder: Path, index: Index | None = None) -> list[Path]:
    """Write the book and return its pages.

    Raises InputError for a formula that does not typeset, a page that cannot be written, and a
    folder that holds something else; the folder is then unchanged.
    """
    folder = Path(os.path.realpath(folder))  # which takes a loop of links for a file
    _require_ours(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FolderLock(folder.parent, LOCK):
            _tidy(folder)
            with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=folder.parent) as scratch:
                (Path(scratch) / OF).write_text(folder.name, encoding="utf-8")
                made = Path(scratch) / "new"
                book = contents(index or Index())
                _write(made / MANIFEST, json.dumps(sorted([*book, MANIFEST]), indent=0))
                for name, content in book.items():
                    _write(made / name, content)
                _require_ours(folder)  # it may have changed while the pages were made
                _put(made, folder)
                flush_folder(folder.parent)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error}; choose another --out") from error
    return sorted(folder.glob("*.html"))


def _require_ours(folder: Path) -> None:
    """InputError where the folder holds anything that write_book has not written."""
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is there and is no book: name another folder with --out")
    there = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if not _only_holds(p)]
    listed = read_json(folder / MANIFEST) if MANIFEST in there else []
    if foreign := sorted(set(there) - {name for name in listed if isinstance(name, str)}):
        raise InputError(
            f"{folder} is there and is no book that this command wrote, for it holds {foreign[0]}: "
            "move that, or name another folder with --out"
        )


def _only_holds(path: Path) -> bool:
    """Whether this is a folder that counts by what is in it: no link, and not empty."""
    return path.is_dir() and not path.is_symlink() and any(path.iterdir())


def _tidy(folder: Path) -> None:
    """Finish what a killed write_book has left beside the folder."""
    for scratch in folder.parent.glob(f"{SCRATCH}*"):
        try:
            ours = (scratch / OF).read_text(encoding="utf-8") == folder.name
        except (OSError, ValueError):
            continue
        if ours and not folder.exists() and (scratch / "old").exists():
            (scratch / "old").rename(folder)
        if ours:
            shutil.rmtree(scratch, ignore_errors=True)


def _put(made: Path, folder: Path) -> None:
    """Put a new folder in the place of an old one: in one step where the system can exchange two.

    Elsewhere the old one is moved away first, and comes back where the second step fails; after a
    kill between the two, the next write_book brings it back. Source: renameat2(2).
    """
    if not folder.exists():
        made.rename(folder)
        return
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None) if os.name == "posix" else None
    if renameat2 and not renameat2(HERE, bytes(made), HERE, bytes(folder), EXCHANGE):
        return
    old = made.with_name("old")
    folder.rename(old)
    try:
        made.rename(folder)
    except OSError:
        old.rename(folder)
        raise


def _write(path: Path, content: str | bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content.encode() if isinstance(content, str) else content)
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
