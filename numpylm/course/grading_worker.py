"""What grading.py runs in a process of its own: one notebook, one exercise after the other.

Of the notebook only those statements are run that a function needs: definitions, imports and
assignments of the names that it refers to, and what these refer to. So no training is waited for.
"""

import ast
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import InputError
from .notebook_files import read

MEMORY = 4 << 30  # bytes that a student's process may have
FILES = 50 << 20  # bytes that a file may have
MOST_SAID = 2000  # characters of what is said of one exercise


class Asked(NamedTuple):
    """An exercise: what is asked for, and the call that checks it."""

    name: str
    call: str  # check(my_bigram, BIGRAM)
    student: str = ""  # what the student calls it

    @property
    def about(self) -> str:
        """The call without that name."""
        return re.sub(rf"\b{self.name}\b", "_", self.call)


def code_of(path: Path) -> list[str]:
    """The code cells of a notebook, without the lines that only IPython reads.

    Raises InputError for what is no notebook.
    """
    cells = read(path)["cells"]
    if not isinstance(cells, list):
        raise InputError(f"{path} is not a notebook: its cells are no list")
    return [
        _python(_text(cell.get("source", "")))
        for cell in cells
        if isinstance(cell, dict) and cell.get("cell_type") == "code"
    ]


def _text(source: Any) -> str:
    return "".join(map(str, source)) if isinstance(source, list) else str(source)


def _python(text: str) -> str:
    """A cell without magic; one in another language, such as %%bash, is left out."""
    if text.startswith("%%") and not text.startswith(("%%time", "%%capture", "%%prun")):
        return ""
    lines = text.splitlines()
    return "\n".join("" if line.lstrip()[:1] in ("%", "!", "?") else line for line in lines)


def statements(cells: Iterable[str]) -> Iterator[ast.stmt]:
    """The statements of all cells; a cell that is no Python is left out."""
    for cell in cells:
        try:
            yield from ast.parse(cell).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue


def asked_in(cells: Iterable[str]) -> list[Asked]:
    """The exercises: every statement like check(my_bigram, BIGRAM) or lines.check("dz", my_dz)."""
    found = {}
    for node in statements(cells):
        call = node.value if isinstance(node, ast.Expr) else None
        if not isinstance(call, ast.Call) or len(call.args) < 2:
            continue
        checker = ast.unparse(call.func).split(".")[-1]
        names = [argument.id for argument in call.args if isinstance(argument, ast.Name)]
        if checker.startswith("check") and names:
            found[names[0]] = Asked(names[0], ast.unparse(call))
    return list(found.values())


def defined_in(cells: Iterable[str]) -> list[str]:
    """The names that the statements of the cells bind, in their order."""
    return list(dict.fromkeys(name for node in statements(cells) for name in bound_by(node)))


def bound_by(statement: ast.stmt) -> set[str]:
    """The names that a statement gives a value to, or changes: x = …, x[0] = …, def x, import x."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    names = _changed_by(statement.value) if isinstance(statement, ast.Expr) else set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store):
            base = node.value
            while isinstance(base, ast.Subscript | ast.Attribute):
                base = base.value
            names |= {base.id} if isinstance(base, ast.Name) else set()
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    return names


def _changed_by(call: ast.expr) -> set[str]:
    """What a call on a line of its own may change: table.append(x), np.add.at(table, ids, x)."""
    if not isinstance(call, ast.Call):
        return set()
    if ast.unparse(call.func).split(".")[-1].startswith(("check", "print", "display")):
        return set()
    places = [call.func, *call.args[:1]] if isinstance(call.func, ast.Attribute) else call.args[:1]
    return {names[0] for place in places if (names := re.findall(r"^\w+", ast.unparse(place)))}


def needed_for(name: str, body: Sequence[ast.stmt]) -> list[ast.stmt]:
    """The statements that bind a name, those that bind what these refer to, and so on, in order.

    Imports with a star are always among them.
    """
    wanted, done, chosen = {name}, set[str](), set[int]()
    while new := wanted - done:
        done |= new
        for n, statement in enumerate(body):
            if n not in chosen and bound_by(statement) & (new | {"*"}):
                chosen.add(n)
                wanted |= {x.id for x in ast.walk(statement) if isinstance(x, ast.Name)}
    return [body[n] for n in sorted(chosen)]


def run(name: str, cells: Sequence[str]) -> Any:
    """The function of that name, after what it needs has run. Raises what the code raises."""
    space: dict[str, Any] = {"__name__": "notebook"}
    for statement in needed_for(name, list(statements(cells))):
        exec(compile(ast.Module([statement], []), "<notebook>", "exec"), space)
    return space[name]


def course_space(one: Asked, asking: Sequence[str]) -> tuple[dict[str, Any], ast.stmt]:
    """The names that the course's own check needs, and that check: verdict = check(…)."""
    (call,) = statements([f"verdict = {one.call}"])
    space: dict[str, Any] = {"__name__": "notebook"}
    for statement in needed_for("verdict", [*statements(asking), call]):
        if statement is not call and one.name not in bound_by(statement):
            exec(compile(ast.Module([statement], []), "<course>", "exec"), space)
    return space, call


def ask(one: Asked, cells: Sequence[str], space: dict[str, Any], call: ast.stmt) -> dict[str, str]:
    """The verdict on one exercise, whatever the student's code does except to end the process."""
    try:
        space[one.name] = run(one.student or one.name, cells)
        exec(compile(ast.Module([call], []), "<course>", "exec"), space)
        verdict = space["verdict"]
        state, says = str(verdict.state), str(verdict.says)
    except BaseException as error:  # SystemExit too: it would end the process
        state, says = "wrong", _raised(error)
    return {"name": one.name, "state": state, "says": says[:MOST_SAID]}


def _raised(error: BaseException) -> str:
    try:
        return f"it raised {type(error).__name__}: {error}"
    except BaseException:  # whose text raises
        return f"it raised {type(error).__name__}"


def main() -> None:
    """Read a job from standard input, and write a line for each verdict."""
    path, asking, results, asked = json.load(sys.stdin)
    sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115  # input() finds nothing
    sys.path[:0] = [str(Path(asking).parent)]
    cells, course = code_of(Path(path)), code_of(Path(asking))
    jobs = [(one, *course_space(one, course)) for one in (Asked(*fields) for fields in asked)]
    _limit()
    with open(results, "a", encoding="utf-8") as file:
        print("{}", file=file, flush=True)  # from here the time counts
        for job, space, call in jobs:
            print(json.dumps(ask(job, cells, space, call)), file=file, flush=True)
    os._exit(0)  # whatever threads the student's code has begun


def _limit() -> None:
    """No more memory and no larger files than a student's answer can need, where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for what, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_FSIZE, FILES)):
        hard = resource.getrlimit(what)[1]
        if hard == resource.RLIM_INFINITY or most < hard:
            resource.setrlimit(what, (most, hard))


if __name__ == "__main__":
    main()
