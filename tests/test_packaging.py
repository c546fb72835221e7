"""pyproject.toml, requirements.txt, and the wheel that is made of them."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import numpylm

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_requirements_are_the_dependencies_and_what_the_tests_need():
    requirements = (ROOT / "requirements.txt").read_text(encoding="ascii").split()
    assert requirements == PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]


def test_the_pages_that_every_repository_has_are_there_and_name_this_version():
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "CITATION.cff", "LICENSE"):
        assert (ROOT / name).stat().st_size > 100, name
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {numpylm.__version__}\n" in cited
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+)", changes, re.MULTILINE)[0] in ("Unreleased", numpylm.__version__)


# --- the wheel ---


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with what a wheel of this tree holds, and nothing else."""
    made = tmp_path_factory.mktemp("wheel")
    copy = made / "source"  # a build leaves files behind, and packs those that others left
    for folder in ("numpylm", "tests", "notebooks", "teachers", "figures"):
        shutil.copytree(ROOT / folder, copy / folder)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(made), str(copy)]
    subprocess.run(build, check=True)
    (wheel,) = made.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(made / "site")
    return made / "site"


@pytest.fixture
def call(installed, tmp_path):
    """Run a command with the installed library, from an empty folder."""

    def call(*words):
        settings = os.environ | {"PYTHONPATH": str(installed), "COLUMNS": "1000"}
        command = [sys.executable, "-P", "-m", "numpylm", *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=settings, capture_output=True, text=True, encoding="utf-8"
        )
        return done.returncode, done.stdout, done.stderr

    return call


@pytest.mark.wheel
def test_the_wheel_holds_the_library_and_nothing_beside_it(installed):
    tops = {path.name.split("-")[0] for path in installed.iterdir()}
    assert tops == {"numpylm"}

    def files(folder):
        found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
        return {name for name in found if "__pycache__" not in name}

    assert files(installed / "numpylm") == files(ROOT / "numpylm")


@pytest.mark.wheel
def test_the_console_script_is_declared(installed):
    (entry,) = installed.glob("numpylm-*.dist-info/entry_points.txt")
    assert "numpylm = numpylm.__main__:main" in entry.read_text(encoding="utf-8")


@pytest.mark.wheel
def test_the_commands_work_from_the_wheel(call):
    tiny = ["--steps", "3", "--sentences", "30", "--heldout-sentences", "10"]
    assert call("train", "--out", "run", *tiny)[0] == 0
    assert "held-out" in call("evaluate", "run")[1]
    assert call("generate", "run", "--prompt", "boat water")[1].startswith("boat water")


@pytest.mark.wheel
def test_the_book_is_not_offered_from_the_wheel_and_says_so_in_one_line(call):
    code, out, _ = call("--help")
    listed = re.findall(r"^    (\w+)", out, re.MULTILINE)
    assert code == 0 and "gradcheck" in listed and "book" not in listed
    code, _, err = call("book")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "run this command in a clone of the repository" in err


@pytest.mark.wheel
def test_notebooks_from_the_wheel_are_those_of_a_folder_that_is_named(call):
    code, _, err = call("notebooks")
    assert code == 2 and "there are no notebooks in notebooks: name the folder" in err
