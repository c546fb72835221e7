"""The notebooks, executed: from a clean kernel into the form that is committed.

The committed form holds what a reader sees and nothing of the machine that ran it: no counts, no
times, no identifiers. Executed twice, a notebook changes no byte.

What the prose claims is held by assertions. They stand in Markdown cells with the tag "claims",
folded for the reader, and run here as code.
"""

import json
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

from ..errors import InputError
from ..files import read_json, reason, write_whole

LIMIT = 300  # seconds for one notebook; each says at its start what it needs, at most 120
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
SOLUTIONS = Path("teachers/solutions")  # from the folder of the project
NEEDS = "needs "  # begins the tag of a cell that names packages which are optional
VARIES = "varies"  # the tag of a cell whose output differs between machines
CLAIMS = "claims"  # the tag of a Markdown cell whose Python holds what the text says


def notebooks_in(folder: Path) -> list[Path]:
    """Every notebook below `folder`, in reading order. Raises InputError where there is none."""
    paths = sorted(p for p in folder.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
    if not paths:
        raise InputError(f"there are no notebooks in {folder}: name the folder that holds them")
    return paths


def read(path: Path) -> dict[str, Any]:
    """The notebook as JSON. Raises InputError where it is none."""
    try:
        notebook: dict[str, Any] = read_json(path)
        notebook["cells"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a notebook: {error}") from error
    result: dict[str, Any] = notebook
    return result


def lacking(notebook: dict[str, Any]) -> list[str]:
    """The packages that a notebook needs, by the tag `needs …` of a cell, and that are absent."""
    tags = [tag for cell in notebook["cells"] for tag in cell["metadata"].get("tags", [])]
    needed = [name for tag in tags if tag.startswith(NEEDS) for name in tag.split()[1:]]
    return [name for name in needed if find_spec(name) is None]


def execute(path: Path) -> dict[str, Any]:
    """The notebook, run from a clean kernel in its own folder, in the committed form.

    Raises InputError naming the cell where one fails, and where the packages of Jupyter are
    missing.
    """
    try:
        import nbformat
        from nbclient import NotebookClient
        from nbclient.exceptions import CellExecutionError, CellTimeoutError
    except ImportError as error:
        raise InputError(f"notebooks need {error.name}: pip install -r requirements.txt") from error
    reads: Callable[..., Any] = nbformat.reads  # which has no types
    written = committed(read(path))
    notebook = reads(dumps(with_claims_as_code(written)), as_version=4)
    client = NotebookClient(
        notebook,
        timeout=LIMIT,
        kernel_name="python3",
        resources={"metadata": {"path": path.parent}},
    )
    try:
        client.execute(stderr=DEVNULL)  # what the kernel says about itself; cells speak elsewhere
    except (CellExecutionError, CellTimeoutError) as error:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))  # IPython colours its errors
        raise InputError(f"{path.name} stops: {plain}") from None
    new = committed(json.loads(json.dumps(notebook)))
    pairs = zip(written["cells"], new["cells"], strict=True)
    return new | {"cells": [old if is_claims(old) else cell for old, cell in pairs]}


def is_claims(cell: dict[str, Any]) -> bool:
    """Whether a cell holds claims, which run here and are folded for the reader."""
    return cell["cell_type"] == "markdown" and CLAIMS in cell.get("metadata", {}).get("tags", [])


def claims_of(cell: dict[str, Any]) -> str:
    """The Python of a cell that holds claims. Raises InputError where there is none."""
    code = re.findall(r"```python\n(.*?)^```", "".join(cell["source"]), re.DOTALL | re.MULTILINE)
    if not code:
        raise InputError(f"a cell tagged {CLAIMS!r} holds no ```python block: {cell['source']}")
    return "\n".join(code)


def with_claims_as_code(notebook: dict[str, Any]) -> dict[str, Any]:
    """The notebook with its claims as cells that run."""
    empty: dict[str, Any] = {"cell_type": "code", "metadata": {}, "outputs": []}
    return notebook | {
        "cells": [
            empty | {"source": claims_of(cell)} if is_claims(cell) else cell
            for cell in notebook["cells"]
        ]
    }


def committed(notebook: dict[str, Any]) -> dict[str, Any]:
    """The same notebook without anything that a machine or an hour has left in it."""
    return {
        "cells": [_cell(cell) for cell in notebook["cells"]],
        "metadata": METADATA,
        "nbformat": 4,
        "nbformat_minor": 4,  # the last one whose cells need no identifiers
    }


def _cell(cell: dict[str, Any]) -> dict[str, Any]:
    tags = cell.get("metadata", {}).get("tags", [])
    kept: dict[str, Any] = {
        "cell_type": cell["cell_type"],
        "metadata": {"tags": tags} if tags else {},
        "source": _lines(cell["source"]),
    }
    if "attachments" in cell:
        kept["attachments"] = cell["attachments"]
    if cell["cell_type"] == "code":
        kept |= {"execution_count": None, "outputs": _outputs(cell.get("outputs", []))}
    return kept


def _outputs(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is printed arrives in pieces that depend on the hour: they are put together."""
    kept: list[dict[str, Any]] = []
    for output in outputs:
        if output["output_type"] == "stream":
            text = "".join(output["text"])
            if kept and kept[-1].get("name") == output["name"]:
                text = "".join(kept.pop()["text"]) + text
            kept.append({"output_type": "stream", "name": output["name"], "text": _lines(text)})
        else:
            output = {k: v for k, v in output.items() if k != "transient"}
            output["metadata"] = {}
            if "execution_count" in output:
                output["execution_count"] = None
            output["data"] = {
                kind: _lines(value) if kind.startswith("text/") else value
                for kind, value in output.get("data", {}).items()
            }
            kept.append(output)
    return kept


def _lines(text: str | list[str]) -> list[str]:
    return "".join(text).splitlines(keepends=True)


def dumps(notebook: dict[str, Any]) -> str:
    """One line of text a line, so that a change is a change of few lines."""
    return json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def texts(notebook: dict[str, Any]) -> list[list[str]]:
    """What each code cell says in words, but for those that vary; pictures are left out."""
    said = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and VARIES not in cell["metadata"].get("tags", []):
            outputs = [
                output.get("text") or output.get("data", {}).get("text/plain", [])
                for output in cell["outputs"]
            ]
            said.append(["".join(text) for text in outputs])
    return said


def refresh(path: Path) -> bool:
    """Execute a notebook and write it back. Whether that changed the file."""
    new = dumps(execute(path))
    if path.read_text(encoding="utf-8") == new:
        return False
    try:
        write_whole(path, new.encode())
    except OSError as error:
        raise InputError(f"{path} cannot be written, and is unchanged: {reason(error)}") from error
    return True
