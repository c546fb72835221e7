"""The notebooks run as they are committed; and the form in which they are committed."""

import ast
import json
import os
import re
from pathlib import Path

import pytest

from numpylm.__main__ import main
from numpylm.course import notebook_files
from numpylm.course.notebook_files import (
    committed,
    dumps,
    execute,
    lacking,
    notebooks_in,
    read,
    refresh,
    texts,
    with_claims_as_code,
)
from numpylm.errors import InputError

FOLDER = Path(__file__).parent.parent / "notebooks"
SOLVED = FOLDER.parent / notebook_files.SOLUTIONS
COURSE, SOLUTIONS = notebooks_in(FOLDER), notebooks_in(SOLVED)
PATHS = COURSE + SOLUTIONS

OFFLINE = """
import socket

def refuse(*address, **options):
    raise OSError("the notebooks must run without a network")

socket.getaddrinfo = socket.create_connection = refuse
"""

NOISE = {
    "an absolute path": r"(?<![\w.])/(home|root|tmp|usr|work|Users|mnt|var|opt)/",
    "a Windows path": r"[A-Z]:\\\\",
    "an address in memory": r" at 0x[0-9a-f]{6,}",
    "a measured time": r"CPU times|Wall time|it/s|steps?/s|ms per loop",
    "colours of a terminal": r"\\u001b|\x1b",
}


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell["outputs"]]


def answers(notebook):
    """What the checkers said: the first line of each answer."""
    said = ["".join(o.get("data", {}).get("text/plain", [])) for o in outputs(notebook)]
    return re.findall(r"^(?:my_\w+): (right|wrong|not written yet)$", "\n".join(said), re.MULTILINE)


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """Kernels of this test have no network, no cache of ours, and one font cache made before."""
    import matplotlib.font_manager

    (tmp_path / "sitecustomize.py").write_text(OFFLINE, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("MPLCONFIGDIR", matplotlib.get_configdir())


# ---- executed: pytest -m notebooks -----------------------------------------------------------


@pytest.mark.notebooks
@pytest.mark.parametrize("path", PATHS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_notebook_runs_to_its_end_and_says_what_is_committed(path, offline):
    if absent := lacking(read(path)):
        pytest.skip(f"needs {', '.join(absent)}")
    assert texts(execute(path)) == texts(read(path))


@pytest.mark.notebooks
def test_no_network_is_really_refused(offline, tmp_path):
    path = write(
        tmp_path / "n.ipynb", "import urllib.request\nurllib.request.urlopen('http://a.b')"
    )
    with pytest.raises(InputError, match="must run without a network"):
        execute(path)


@pytest.mark.notebooks
def test_executing_twice_changes_no_byte(tmp_path):
    drawn = (
        "%matplotlib inline\nfrom matplotlib.figure import Figure\nf = Figure(); f.subplots(); f"
    )
    path = write(tmp_path / "n.ipynb", "print(1)\nprint(2)", drawn)
    assert refresh(path)
    assert not refresh(path)
    assert {kind for o in outputs(read(path)) for kind in o.get("data", {})} >= {"image/png"}


@pytest.mark.notebooks
def test_a_notebook_that_stops_is_named_with_its_cell(tmp_path, capsys):
    path = write(tmp_path / "n.ipynb", "x = 1", "x / 0")
    before = path.read_text(encoding="utf-8")
    assert main(["notebooks", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "n.ipynb stops" in message and "x / 0" in message and "\x1b" not in message
    assert path.read_text(encoding="utf-8") == before


# ---- as committed ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_notebook_is_in_the_committed_form(path):
    assert path.read_text(encoding="utf-8") == dumps(committed(read(path)))


@pytest.mark.parametrize("path", PATHS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_nothing_of_the_machine_is_committed(path):
    notebook = read(path)
    for output in outputs(notebook):
        output.get("data", {}).pop("image/png", None)  # its letters mean nothing
        assert output["output_type"] != "error" and output.get("name") != "stderr"
    text = json.dumps(notebook)
    for what, pattern in NOISE.items():
        assert not (found := re.search(pattern, text)), f"{what}: {found}"


@pytest.mark.parametrize("path", COURSE, ids=lambda p: p.stem)
def test_a_notebook_begins_with_what_it_needs_and_gives(path):
    first = "".join(read(path)["cells"][0]["source"])
    number = path.stem.split("_")[0].removeprefix("0")
    assert first.startswith(f"# {number}. ")
    assert "*Needs:*" in first and "*Reading:*" in first and "*Computing:*" in first
    assert "fterwards you" in " ".join(first.split())


@pytest.mark.parametrize("path", COURSE, ids=lambda p: p.stem)
def test_a_notebook_imports_the_library_and_redefines_nothing(path):
    import numpylm.ops

    source = "\n".join("".join(cell["source"]) for cell in code_cells(read(path)))
    assert "numpylm" in source
    for name in re.findall(r"^def (\w+)", source, re.MULTILINE):
        there = getattr(getattr(numpylm.ops, name, None), "__module__", "")
        assert there != "numpylm.ops", f"{name} is the library's"


@pytest.mark.parametrize("path", COURSE, ids=lambda p: p.stem)
def test_every_notebook_ends_with_exercises_that_are_solved_apart(path):
    asked = answers(read(path))
    assert len(asked) >= 3 and set(asked) == {"not written yet"}
    solved = answers(read(SOLVED / path.name))
    assert solved == ["right"] * len(asked)


def test_there_is_no_solution_without_a_notebook():
    assert [path.name for path in SOLUTIONS] == [path.name for path in COURSE]


# ---- the form itself -------------------------------------------------------------------------


def write(path, *sources):
    cells = [{"cell_type": "code", "metadata": {}, "source": s, "outputs": []} for s in sources]
    path.write_text(dumps(committed({"cells": cells})), encoding="utf-8")
    return path


def test_the_committed_form_keeps_what_is_seen_and_drops_what_is_not():
    stream = {"output_type": "stream", "name": "stdout"}
    shown = {"output_type": "execute_result", "data": {"text/plain": "3"}, "metadata": {"a": 1}}
    cell = {
        "cell_type": "code",
        "id": "abc",
        "execution_count": 7,
        "metadata": {"tags": ["varies"], "execution": {"iopub.execute_input": "2020"}},
        "source": "a\nb",
        "outputs": [
            stream | {"text": "one\n"},
            stream | {"text": ["two\n"]},
            shown | {"execution_count": 7},
        ],
    }
    kept = committed({"cells": [cell], "metadata": {"kernelspec": {"name": "mine"}}})
    assert kept["cells"] == [
        {
            "cell_type": "code",
            "execution_count": None,
            "metadata": {"tags": ["varies"]},
            "source": ["a\n", "b"],
            "outputs": [
                stream | {"text": ["one\n", "two\n"]},
                shown | {"data": {"text/plain": ["3"]}, "metadata": {}, "execution_count": None},
            ],
        }
    ]
    assert "mine" not in dumps(kept)
    assert committed(json.loads(dumps(kept))) == kept


def test_what_is_printed_to_two_streams_stays_in_order():
    streams = [
        {"output_type": "stream", "name": name, "text": name} for name in ("stdout", "stderr")
    ]
    cell = {"cell_type": "code", "metadata": {}, "source": "", "outputs": [*streams, *streams]}
    kept = committed({"cells": [cell]})["cells"][0]["outputs"]
    assert [output["name"] for output in kept] == ["stdout", "stderr"] * 2


def test_cells_that_vary_are_not_compared():
    def notebook(text, tags):
        output = {"output_type": "stream", "name": "stdout", "text": text}
        cell = {"cell_type": "code", "metadata": {"tags": tags}, "source": "", "outputs": [output]}
        return committed({"cells": [cell]})

    assert texts(notebook("1", [])) != texts(notebook("2", []))
    assert texts(notebook("1", ["varies"])) == texts(notebook("2", ["varies"]))


def test_claims_run_as_code_and_stay_folded_text():
    claims = {
        "cell_type": "markdown",
        "metadata": {"tags": ["claims"]},
        "source": "<details><summary>claims, checked</summary>\n\n```python\nassert 1\n```\n",
    }
    text = claims | {"metadata": {}}
    running = with_claims_as_code({"cells": [claims, text]})["cells"]
    assert [cell["cell_type"] for cell in running] == ["code", "markdown"]
    assert running[0]["source"] == "assert 1\n"
    with pytest.raises(InputError, match="holds no ```python block"):
        with_claims_as_code({"cells": [claims | {"source": "assert 1"}]})


@pytest.mark.notebooks
def test_a_claim_that_does_not_hold_stops_the_notebook(tmp_path):
    path = write(tmp_path / "n.ipynb", "x = 1")
    notebook = read(path)
    cell = {"cell_type": "markdown", "metadata": {"tags": ["claims"]}}
    for claim in ("x == 1", "x == 2"):
        notebook["cells"][1:] = [cell | {"source": f"```python\nassert {claim}\n```"}]
        path.write_text(dumps(committed(notebook)), encoding="utf-8")
        if claim == "x == 1":
            assert execute(path) == read(path)
    with pytest.raises(InputError, match="x == 2"):
        execute(path)


@pytest.mark.parametrize("path", COURSE, ids=lambda p: p.stem)
def test_assertions_do_not_stand_in_the_readers_face(path):
    top = [
        node
        for cell in code_cells(read(path))
        for node in ast.parse(re.sub(r"^%.*", "", "".join(cell["source"]), flags=re.M)).body
    ]
    assert not [ast.unparse(node) for node in top if isinstance(node, ast.Assert)]


def test_a_notebook_whose_packages_are_absent_is_left_as_it_is(tmp_path, capsys):
    path = write(tmp_path / "n.ipynb", "1 / 0")
    notebook = read(path)
    notebook["cells"][0]["metadata"]["tags"] = ["needs json no_such_package"]
    path.write_text(dumps(committed(notebook)), encoding="utf-8")
    assert lacking(read(path)) == ["no_such_package"]
    assert main(["notebooks", str(tmp_path)]) == 0
    assert "as it needs no_such_package" in capsys.readouterr().out


def test_a_folder_without_notebooks_and_a_file_that_is_none_are_named(tmp_path, capsys):
    assert main(["notebooks", str(tmp_path)]) == 2
    assert "there are no notebooks in" in capsys.readouterr().err
    for text in ("{}", "not JSON", "[]"):
        (tmp_path / "n.ipynb").write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=r"n\.ipynb is not a notebook"):
            read(tmp_path / "n.ipynb")
