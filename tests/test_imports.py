"""Imports run one way: no circle, and nothing of the folders in the core."""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import numpylm

ROOT = Path(numpylm.__file__).parent
FOLDERS = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
ENTRANCES = {"numpylm", "numpylm.__main__", "numpylm.commands", "numpylm.course_commands"}
LAZY = "numpylm"  # the front door names everything, and imports it when it is asked for


def name_of(path):
    parts = ["numpylm", *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def for_type_checkers(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports_of(name, source):
    """Every module of the package that a file imports, at its top or inside of its functions."""
    package = name.split(".") if FILES[name].stem == "__init__" else name.split(".")[:-1]
    found, nodes = set(), [ast.parse(source)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            inner = {f"{module}.{alias.name}" for alias in node.names} & set(FILES)
            found |= inner or {module}
        if not for_type_checkers(node):
            nodes += ast.iter_child_nodes(node)
    return found & set(FILES)


@cache
def graph():
    return {
        name: imports_of(name, path.read_text(encoding="utf-8"))
        for name, path in FILES.items()
        if name != LAZY
    }


def test_no_import_runs_in_a_circle_not_even_inside_of_functions():
    modules = {name: found - {LAZY} for name, found in graph().items()}
    try:
        order = [*TopologicalSorter(modules).static_order()]
    except CycleError as circle:
        pytest.fail(" -> ".join(circle.args[1]))
    assert len(order) == len(FILES) - 1


def test_the_core_imports_nothing_of_the_folders():
    core = {name: found for name, found in graph().items() if name.count(".") == 1}
    folders = {f"numpylm.{folder}" for folder in FOLDERS}
    for name in set(core) - ENTRANCES - folders:
        inside = [m for m in core[name] if any(f"{m}.".startswith(f"{f}.") for f in folders)]
        assert not inside, f"{name} imports {inside}"


def test_training_knows_no_folder_and_no_file():
    needed, reached = ["numpylm.training"], set()
    modules = graph()
    while needed:
        name = needed.pop()
        if name not in reached:
            reached.add(name)
            needed += modules[name]
    assert not reached & {"numpylm.runs", "numpylm.trained", "numpylm.logs"}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from .ops import Array", {"numpylm.ops"}),
        ("from . import ops", {"numpylm.ops"}),
        ("import numpylm.ops", {"numpylm.ops"}),
        ("from numpylm.ops import Array", {"numpylm.ops"}),
        ("def f():\n    from .ops import Array", {"numpylm.ops"}),
        ("from .tasks.tools import fit", {"numpylm.tasks.tools"}),
        ("from .tasks import tools", {"numpylm.tasks.tools"}),
        ("if TYPE_CHECKING:\n    from .ops import Array", set()),
        ("import numpy", set()),
    ],
)
def test_every_form_of_import_is_seen(source, found):
    assert imports_of("numpylm.gpt", source) == found


def test_imports_of_a_folder_are_seen_from_where_they_stand():
    source = "from ..ops import Array\nfrom .tools import fit"
    assert imports_of("numpylm.tasks.run", source) == {"numpylm.ops", "numpylm.tasks.tools"}
