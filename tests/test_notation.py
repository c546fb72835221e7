"""One ID per formula, one meaning per letter, and each formula where its code is."""

import ast
import re
from pathlib import Path

import pytest
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import MathTextParser

from numpylm import blocks, gradcases, notation, ops
from numpylm.config import InputError
from numpylm.mutants import MUTANTS
from numpylm.notation import FORMULAS, MODEL, OPTIMIZER, SIZES, formula, formulas_of, letters_of

ROOT = Path(__file__).parent.parent
ALL = list(FORMULAS.values())
DIFFERENTIABLE = [f for f in ALL if f.gradient]

# What is typeset but is no letter with a meaning of its own.
COMMANDS = {
    rf"\{name}"
    for name in (
        "frac", "sqrt", "sum", "exp", "log", "sin", "cos", "tanh", "max", "min", "cdot", "left",
        "right", "quad", "leftarrow", "ldots", "geq", "leq", "hat", "bar",
    )
}  # fmt: skip


def all_of(formulas):
    return pytest.mark.parametrize("f", formulas, ids=lambda f: f.id)


def docstrings():
    for path in (ROOT / "numpylm").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            kinds = ast.Module | ast.ClassDef | ast.FunctionDef
            if isinstance(node, kinds) and (text := ast.get_docstring(node)):
                yield path.name, text


def ids_in(text):
    return set(re.findall(r"\bF\d+\b", text))


def owners(name):
    """The function of this name and, if it is a method, its class."""
    yield notation.resolve(name)
    if name.count(".") == 2:
        yield notation.resolve(name.rpartition(".")[0])


def lines(f):
    own = [line for pair in f.parts.values() for part in pair for line in part]
    return [*f.latex, *f.gradient, *own]


# ---- IDs -------------------------------------------------------------------------------------


def test_every_id_in_a_docstring_is_in_the_table():
    for file, text in docstrings():
        assert ids_in(text) <= set(FORMULAS), file


def test_every_id_in_the_readme_and_the_notebooks_is_in_the_table():
    for path in [ROOT / "README.md", *(ROOT / "notebooks").rglob("*.ipynb")]:
        text = re.sub(r'"image/png": "[^"]*"', "", path.read_text(encoding="utf-8"))
        assert ids_in(text) <= set(FORMULAS), path.name


def test_ids_count_from_1_without_a_gap():
    assert list(FORMULAS) == [f"F{n}" for n in range(1, len(FORMULAS) + 1)]


@all_of(ALL)
def test_every_function_of_the_table_carries_the_id_in_its_docstring(f):
    for name in f.names:
        assert f.id in ids_in("\n".join(owner.__doc__ or "" for owner in owners(name))), name


def test_every_forward_belongs_to_a_formula():
    for module in (ops, blocks):
        for name, function in vars(module).items():
            if name.endswith("_forward") and function.__module__ == module.__name__:
                assert formulas_of(function), name


@all_of(DIFFERENTIABLE)
def test_every_differentiable_formula_has_backwards_that_are_checked(f):
    checked = {case.op for case in (*gradcases.op_cases(), *gradcases.block_cases())}
    assert len(f.backwards) == len(f.names)
    for forward, backward in zip(f.code, f.backwards, strict=True):
        op = forward.__name__.removesuffix("_forward")
        assert backward.__name__ == f"{op}_backward"
        assert op in checked


@all_of([f for f in ALL if not f.gradient])
def test_a_formula_without_a_gradient_has_no_backward(f):
    assert not f.backwards
    assert not any(name.endswith("_forward") for name in f.names)


@all_of(DIFFERENTIABLE)
def test_every_differentiable_formula_has_a_mutant(f):
    functions = {function.__name__ for function in (*f.code, *f.backwards)}
    assert any(m.target in functions for m in MUTANTS)


def test_every_mutant_names_formulas_of_the_table():
    for mutant in MUTANTS:
        assert ids_in(mutant.formula) <= set(FORMULAS), mutant


def test_the_lines_of_a_part_are_those_of_its_function():
    whole = formula("F3")
    assert whole.lines_of(ops.attention_forward) == whole.latex
    assert whole.lines_of(ops.attention_backward) == whole.gradient
    assert "s_j" in whole.lines_of(ops.softmax_forward)[0]
    assert "ds_j" in whole.lines_of(ops.softmax_backward)[0]
    assert whole.lines_of(ops.linear_forward) == ()
    assert [f.id for f in formulas_of(ops.attention_backward)] == ["F2", "F3"]


def test_an_unknown_id_is_named():
    with pytest.raises(InputError, match="no formula 'F0'; there are F1, F2"):
        formula("F0")


# ---- LaTeX -----------------------------------------------------------------------------------


@all_of(ALL)
def test_latex_is_well_formed(f):
    parser = MathTextParser("path")
    for line in lines(f):
        parser.parse(f"${line}$", prop=FontProperties())
        assert "|" not in line.replace("|g|", "").replace("|y|", "")
        assert not re.search(r"\\[^A-Za-z_ ]", line), "GitHub's Markdown takes the backslash away"


def symbols_in(line):
    """The letters, Greek letters and accents of a line of LaTeX."""
    line = re.sub(r"\\mathrm\{[^{}]*\}", "", line)
    accented = re.findall(r"\\(?:hat|bar)\{[^{}]*\}", line)
    found = {symbol for symbol in accented if symbol in MODEL or symbol in OPTIMIZER}
    for symbol in found:
        line = line.replace(symbol, "")
    commands = set(re.findall(r"\\[A-Za-z]+", line)) - COMMANDS
    return found | commands | set(re.findall(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", line)))


@all_of(ALL)
def test_every_letter_of_a_formula_has_a_meaning(f):
    known = letters_of(f)
    for line in lines(f):
        assert symbols_in(line) - {"T"} <= set(known), line  # T is also "transposed"


def test_no_letter_means_two_things():
    tree = ast.parse(Path(notation.__file__).read_text(encoding="utf-8"))
    tables = {
        node.targets[0].id: [key.value for key in node.value.keys]
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
    }
    assert set(tables) == {"SIZES", "MODEL", "OPTIMIZER"}
    for keys in tables.values():
        assert len(keys) == len(set(keys))  # a dictionary would drop the first without a word
    for letters in (MODEL, OPTIMIZER):
        assert not set(SIZES) & set(letters)
        assert len(set(letters.values())) == len(letters)


def test_every_letter_of_the_table_is_used():
    for letters, belongs in ((MODEL, False), (OPTIMIZER, True)):
        formulas = [f for f in ALL if f.names[0].startswith("optim.") is belongs]
        used = {symbol for f in formulas for line in lines(f) for symbol in symbols_in(line)}
        unused = set(letters) - used - {"1", "a"}
        assert not unused


def test_the_notation_table_lists_every_letter():
    rows = notation.notation_table().splitlines()[2:]
    assert len(rows) == len(SIZES) + len(MODEL) + len(OPTIMIZER)
    assert any("| model | $v$ |" in row for row in rows)
