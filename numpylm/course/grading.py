"""Students' notebooks against the exercises' checks: a row and a page for each student.

    grade(Path("submitted"))            submitted/STUDENT/ASSIGNMENT/notebook.ipynb, or flat files

The checks are those of the course's own notebooks, not those that a student hands in. Of a
student's notebook only what a function needs is run: its definition, and what that refers to. It
runs in a process of its own, for at most `limit` seconds an exercise.

This keeps a slip from stopping the others: an endless loop, sys.exit, a flood of output. It keeps
no malice out: the code runs with your rights, and could read your files or report what it likes.
For students whom you do not trust, run it in a container.
"""

import ast
import difflib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import write_whole
from .grading_worker import Asked, asked_in, code_of, defined_in

PROJECT = Path(__file__).parents[2]
WORKER = "numpylm.course.grading_worker"
START = 60.0  # seconds that a process may need before it asks anything


@dataclass(frozen=True)
class Answer:
    """What is said of one exercise; `state` is "right", "wrong", "not written yet" or "missing"."""

    name: str
    state: str
    says: str = ""


@dataclass
class Graded:
    """One notebook of a student: its answers, or why it could not be read."""

    student: str
    assignment: str
    path: Path
    answers: list[Answer] = field(default_factory=list)
    problem: str = ""

    @property
    def right(self) -> int:
        return sum(answer.state == "right" for answer in self.answers)


def grade(folder: Path, notebooks: Path | None = None, limit: float = 30.0) -> list[Graded]:
    """Every notebook in the folder, by student. Raises InputError where there is none.

    notebooks: those that ask, by default the course's. limit: seconds for one exercise.
    """
    asking = assignments(notebooks or PROJECT / "notebooks")
    found = submissions(folder, list(asking))
    if not found:
        raise InputError(f"there are no notebooks in {folder}: name the folder with the students'")
    with ThreadPoolExecutor(max(1, (os.cpu_count() or 1))) as workers:
        jobs = [workers.submit(_grade, *one, asking, limit) for one in found]
        return [job.result() for job in jobs]


def assignments(folder: Path) -> dict[str, Path]:
    """The notebooks of a folder that ask something, by name."""
    paths = sorted(folder.glob("*.ipynb"))
    asking = {path.stem: path for path in paths if asked_in(code_of(path))}
    if not asking:
        raise InputError(f"no notebook in {folder} has an exercise: name those of the course")
    return asking


def submissions(folder: Path, names: Sequence[str]) -> list[tuple[str, str, Path]]:
    """Student, assignment ("" where the name does not tell) and path of each notebook.

    STUDENT/ASSIGNMENT/any.ipynb, as nbgrader has it, with or without submitted/ in front;
    STUDENT/any.ipynb; or flat files such as ana_03_backward.ipynb.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}: name the one with the students' notebooks")
    top = folder / "submitted" if (folder / "submitted").is_dir() else folder
    found = []
    for path in sorted(top.rglob("*.ipynb")):
        inside = path.relative_to(top).parts
        if ".ipynb_checkpoints" in inside or not path.is_file():
            continue
        words = [*inside[1:-1], path.stem] if len(inside) > 1 else [path.stem]
        assignment = next((name for word in reversed(words) for name in _named(word, names)), "")
        student = inside[0] if len(inside) > 1 else _student_of(path, assignment)
        found.append((student, assignment, path))
    return found


def _named(word: str, names: Sequence[str]) -> Iterator[str]:
    """The assignments that a folder or a file is called after: by whole name, else by number."""
    plain = _plain(word)
    yield from (name for name in names if _plain(name) in plain)
    numbers = re.findall(r"\d+", word)
    yield from (name for name in names if numbers and name.startswith(f"{numbers[0]}_"))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower())


def _student_of(path: Path, assignment: str) -> str:
    """Who a flat file is of: what its name has beside the assignment's, else its folder's name."""
    rest = _plain(path.stem).replace(_plain(assignment), "").strip("_") if assignment else path.stem
    return rest or path.parent.name


def _grade(
    student: str, assignment: str, path: Path, asking: dict[str, Path], limit: float
) -> Graded:
    try:
        cells = code_of(path)
    except (InputError, OSError, RecursionError) as error:
        graded = Graded(student, assignment or "?", path, problem=str(error))
        asked = asked_in(code_of(asking[assignment])) if assignment else []
        graded.answers = [Answer(one.name, "missing", "the file is no notebook") for one in asked]
        return graded
    assignment = assignment or _like(cells, asking)
    graded = Graded(student, assignment or "?", path)
    if not assignment:
        graded.problem = "it has none of the course's functions, so it is not known what it answers"
        return graded
    asked, there = asked_in(code_of(asking[assignment])), defined_in(cells)
    named = [one._replace(student=_found(one, cells, there)) for one in asked]
    said = _run(path, asking[assignment], [one for one in named if one.student], limit)
    graded.answers = [
        said[one.name] if one.student else Answer(one.name, "missing", _missing(one, cells, there))
        for one in named
    ]
    return graded


def _like(cells: Sequence[str], asking: dict[str, Path]) -> str:
    """The assignment with most of the names of a notebook; "" where none has any."""
    there = defined_in(cells)
    common = {
        name: sum(one.name in there for one in asked_in(code_of(path)))
        for name, path in asking.items()
    }
    best = max(common, key=lambda name: common[name])
    return best if common[best] else ""


def _found(one: Asked, cells: Sequence[str], there: Iterable[str]) -> str:
    """What the student calls the function: by its name, or as their own check of it does."""
    if one.name in there:
        return one.name
    theirs = [other.name for other in asked_in(cells) if other.about == one.about]
    return next((name for name in theirs if name in there), "")


def _missing(one: Asked, cells: Sequence[str], there: Iterable[str]) -> str:
    """Why there is no function of that name, as far as can be told."""
    for cell in cells:
        if f"def {one.name}(" in cell:
            try:
                ast.parse(cell)
            except (SyntaxError, ValueError) as error:
                return f"the cell of {one.name} is no Python: {error}"
    close = difflib.get_close_matches(one.name, list(there), 1, 0.5)
    hint = f"; is it {close[0]}, which the notebook has?" if close else ""
    return f"there is no function {one.name}{hint}"


# ---- a process of its own ------------------------------------------------------------------------


def _run(path: Path, asking: Path, wanted: list[Asked], limit: float) -> dict[str, Answer]:
    """Ask the wanted, in one process as long as that lasts; one that ends is begun again."""
    said: dict[str, Answer] = {}
    with tempfile.TemporaryDirectory() as scratch:
        while left := [one for one in wanted if one.name not in said]:
            results = Path(scratch) / f"{len(said)}.jsonl"
            ended = _work(path.absolute(), asking.absolute(), left, results, limit)
            for line in _lines(results):
                if line:
                    said[line["name"]] = Answer(**line)
            if left := [one for one in left if one.name not in said]:
                said[left[0].name] = Answer(left[0].name, "wrong", ended)
    return said


def _work(path: Path, asking: Path, left: list[Asked], results: Path, limit: float) -> str:
    """Let a process write its verdicts into `results`; why it ended before the last of them."""
    job = json.dumps([str(path), str(asking), str(results), [list(one) for one in left]])
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    here = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH", "")]))
    environment = os.environ | {"PYTHONPATH": here, "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", WORKER], stdin=subprocess.PIPE, text=True, cwd=results.parent,
        env=environment, start_new_session=True, **quiet,
    )  # fmt: skip
    try:
        if process.stdin:
            process.stdin.write(job)
            process.stdin.close()
        size, since = 0, time.monotonic()
        while process.poll() is None:
            now = results.stat().st_size if results.exists() else 0
            if now != size:
                size, since = now, time.monotonic()
            if time.monotonic() - since > (limit if size else max(START, limit)):
                return f"it did not end within {limit:g} seconds; is there an endless loop?"
            time.sleep(0.02)
        return f"it ended the process (with {process.returncode}) before it returned"
    except OSError as error:
        return f"it could not be asked: {error}"
    finally:
        _end(process)


def _end(process: "subprocess.Popen[str]") -> None:
    """End a process, and those that it has started."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file; one that was being written is left out."""
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError):
                yield json.loads(line)


# ---- what a teacher reads ------------------------------------------------------------------------


def table(graded: Sequence[Graded]) -> str:
    """A row for each student, a column for each assignment: how many are right of how many."""
    students = sorted({one.student for one in graded})
    names = sorted({one.assignment for one in graded})
    numbers = [name.partition("_")[0] for name in names]
    short = len(set(numbers)) == len(names) and all(re.fullmatch(r"\d+\w?", n) for n in numbers)
    rows = [["student", *(numbers if short else names), "right"]]
    for student in students:
        mine = [one for one in graded if one.student == student]
        cells = []
        for name in names:
            tries = [one for one in mine if one.assignment == name]
            best = max(tries, key=lambda one: (one.right, not one.problem), default=None)
            cells.append("" if best is None else _share([best]) if best.answers else "?")
        rows.append([student, *cells, _share(mine)])
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _share(graded: Sequence[Graded]) -> str:
    return f"{sum(g.right for g in graded)}/{sum(len(g.answers) for g in graded)}"


def feedback(student: str, graded: Sequence[Graded]) -> str:
    """The page of one student, in Markdown."""
    lines = [f"# {student}", "", f"{_share(graded)} exercises are right.", ""]
    for one in graded:
        lines += [f"## {one.assignment}", "", f"From {one.path.name}.", ""]
        if one.problem:
            lines += [f"Could not be graded: {one.problem}", ""]
        for answer in one.answers:
            lines += [f"- **{answer.name}**: {answer.state}"]
            if answer.says and answer.state != "right":
                lines += ["", *(f"      {line}" for line in answer.says.splitlines()), ""]
        lines += [""]
    return "\n".join(lines).rstrip() + "\n"


def write_feedback(graded: Sequence[Graded], folder: Path) -> list[Path]:
    """A page for each student, and grades.csv with a line for each exercise.   ->  the paths"""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [*_write_pages(graded, folder), _write_csv(graded, folder / "grades.csv")]
    except OSError as error:
        raise InputError(f"the feedback cannot be written into {folder}: {error}") from error


def _write_pages(graded: Sequence[Graded], folder: Path) -> list[Path]:
    paths: list[Path] = []
    for student in sorted({one.student for one in graded}):
        name = re.sub(r"[^\w.-]+", "_", student)
        path = folder / f"{name}.md"
        if path in paths:  # "a b" and "a_b"
            path = folder / f"{name}-{len(paths) + 1}.md"
        mine = [one for one in graded if one.student == student]
        write_whole(path, feedback(student, mine).encode())
        paths.append(path)
    return paths


def _write_csv(graded: Sequence[Graded], path: Path) -> Path:
    lines = ["student,assignment,exercise,state"]
    for one in graded:
        answers = one.answers or [Answer("", "unreadable")]
        lines += [
            ",".join(map(_quoted, (one.student, one.assignment, answer.name, answer.state)))
            for answer in answers
        ]
    write_whole(path, ("\n".join(lines) + "\n").encode())
    return path


def _quoted(text: str) -> str:
    """A field of a CSV file; in quotes, so that no spreadsheet takes it for a formula."""
    text = f"'{text}" if text[:1] in {*"=+-@"} else text
    return '"' + text.replace('"', '""') + '"' if re.search(r'[",\n]', text) else text
