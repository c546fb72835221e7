"""One ID per formula, one meaning per letter, and each formula where its code is."""

import ast
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from formula_texts import SAID
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import MathTextParser

from numpylm import blocks, blockwise_attention, llama_blocks, low_rank, objectives, ops
from numpylm.book.index import Index
from numpylm.book.text import shapes
from numpylm.checks import gradient_cases
from numpylm.checks.mutants import MUTANTS
from numpylm.course import notation
from numpylm.course.notation import (
    AFTERWARDS,
    FORMULAS,
    INDICES,
    MODEL,
    OPTIMIZER,
    SIZES,
    formula,
    formulas_of,
    letters_of,
    own_letters,
)
from numpylm.errors import InputError

ROOT = Path(__file__).parent.parent
ALL = list(FORMULAS.values())
DIFFERENTIABLE = [f for f in ALL if f.gradient]

# What is typeset but is no letter with a meaning of its own.
COMMANDS = {
    rf"\{name}"
    for name in (
        "frac", "sqrt", "sum", "exp", "log", "sin", "cos", "tanh", "max", "min", "cdot", "left",
        "right", "quad", "leftarrow", "ldots", "geq", "leq", "neq", "hat", "bar",
        "lfloor", "rfloor",
    )
}  # fmt: skip


INDEX = Index(ROOT)
CASES = [*gradient_cases.op_cases(), *gradient_cases.block_cases()]
PAIRS = list(dict.fromkeys(f for case in CASES for f in (case.forward, case.backward)))


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
    for module in (ops, blocks, llama_blocks, blockwise_attention, objectives, low_rank):
        for name, function in vars(module).items():
            if name.endswith("_forward") and function.__module__ == module.__name__:
                assert formulas_of(function), name


@all_of(DIFFERENTIABLE)
def test_every_differentiable_formula_has_backwards_that_are_checked(f):
    checked = {case.op for case in (*gradient_cases.op_cases(), *gradient_cases.block_cases())}
    assert len(f.backwards) == len(f.names)
    for forward, backward in zip(f.code, f.backwards, strict=True):
        op = forward.__name__.removesuffix("_forward")
        assert backward.__name__ == f"{op}_backward"
        assert op in checked


@all_of([f for f in ALL if not f.gradient])
def test_a_formula_without_a_gradient_has_no_backward(f):
    assert not f.backwards
    assert not any(name.endswith("_forward") for name in f.names)


@all_of(ALL)
def test_every_formula_has_a_mutant_of_its_own_code(f):
    functions = {function.__qualname__ for function in (*f.code, *f.backwards)}
    assert any(m.target in functions for m in MUTANTS)


@all_of(ALL)
def test_every_formula_has_a_test_that_carries_its_id(f):
    assert INDEX.tests_of(f)


@all_of(ALL)
def test_every_formula_has_a_place_in_a_notebook(f):
    assert INDEX.sections_of(f)


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


# ---- LaTeX and docstrings say the same -------------------------------------------------------


def squeezed(text):
    return re.sub(r"\s+", "", text)


def sides(f):
    """Lines of LaTeX, and the docstrings of the functions that compute them, both ways."""
    for name, forward in zip(f.names, f.code, strict=True):
        yield f.lines_of(forward), [owner.__doc__ or "" for owner in owners(name)]
    for backward in f.backwards:
        yield f.lines_of(backward), [backward.__doc__]


@all_of(ALL)
def test_every_line_of_latex_stands_in_a_docstring_too(f):
    """A line that is changed in the table, or in the docstring, has to be changed in both."""
    said = {}
    for latex, docstrings in sides(f):
        for line in latex:
            said[line] = said.get(line, "") + squeezed(" ".join(docstrings))
    assert set(said) == set(SAID[f.id]), "tests/formula_texts.py lists each line once"
    for line, text in SAID[f.id].items():
        for part in [text] if isinstance(text, str) else text:
            assert squeezed(part) in said[line], f"{line} is {part}"


# ---- shapes ----------------------------------------------------------------------------------


def watched(function, *args):
    """What the function returns, and its arguments and local arrays by name."""
    seen = {}

    def watch(frame, event, _):
        if frame.f_code is function.__code__ and event in ("call", "return"):
            seen[event] = dict(frame.f_locals)

    sys.setprofile(watch)
    try:
        result = function(*args)
    finally:
        sys.setprofile(None)
    return result, seen["call"], seen["return"]


def letters_at_run_time(case):
    """The size of each letter of the docstrings of a pair. "..." stands for several axes."""
    sizes = {}
    (y, cache), *names = watched(case.forward, *case.args)
    state(sizes, case.forward, y, *names)
    dy = np.random.default_rng(0).normal(size=np.shape(y))[()]
    state(sizes, case.backward, *watched(case.backward, dy, cache))
    return sizes


def state(sizes, function, result, arguments, local):
    """Compare every shape that is written with the array of that name."""
    _, arrow, after = function.__doc__.partition("->")
    returned = shapes(f"->{after}")[0][0] if arrow and shapes(after) else ""
    kept = getattr(local.get("cache"), "_asdict", dict)()
    known = {**kept, **local, **arguments}
    for name, written in shapes(function.__doc__):
        array = known.get(name, result) if name != returned else result
        array = array[0] if isinstance(array, tuple) else array
        if array is not None:
            fit(sizes, written, np.shape(array), f"{function.__name__}: {name}")


def fit(sizes, written, shape, where):
    axes = [axis.strip() for axis in written.strip("()").split(",") if axis.strip()]
    if axes and axes[0] == "...":
        lead = len(shape) - len(axes) + 1
        assert sizes.setdefault("...", shape[:lead]) == shape[:lead], where
        axes, shape = axes[1:], shape[lead:]
    assert len(axes) == len(shape), where
    for axis, size in zip(axes, shape, strict=True):
        times, letter = int(axis[:-1] or 1), axis[-1]
        assert sizes.setdefault(letter, size // times) * times == size, (where, axis)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_shapes_in_docstrings_are_those_at_run_time(case):
    assert shapes(case.forward.__doc__)
    sizes = letters_at_run_time(case)
    letters = {letter: size for letter, size in sizes.items() if letter != "..."}
    assert len(set(letters.values())) == len(letters), "sizes that are equal can be exchanged"


def test_every_array_of_a_forward_has_its_shape_in_the_docstring():
    for case in CASES:
        _, arguments, _ = watched(case.forward, *case.args)
        arrays = {name for name, value in arguments.items() if isinstance(value, np.ndarray)}
        written = {name for name, _ in shapes(case.forward.__doc__)}
        told = {
            name for name in arrays if re.search(rf"\b{name} \(broadcast", case.forward.__doc__)
        }
        biases = {name for name in arrays if name.startswith("b")}  # as wide as their product
        assert arrays <= written | told | biases | {"mask"}, case.name


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


@pytest.mark.parametrize("function", PAIRS, ids=lambda function: function.__name__)
def test_what_counts_in_a_docstring_is_an_index_of_the_table(function):
    """x_c would say that c, the context, is a column; a_k that k, the key, is a position."""
    named = {"w_q", "b_q", "w_kv", "b_kv", "w_in", "b_in"}  # arguments
    found = re.findall(
        r"(?<![\w.])(?:d|∂)?([^\W\d_]\u0302?)_([a-z]{1,2}'?)(?!\w)", function.__doc__
    )
    for letter, index in found:
        if f"{letter}_{index}" not in named:
            assert set(index) <= {*INDICES, "y", "'"}, f"{letter}_{index}"
    assert set(INDICES) <= set(MODEL)


def test_every_size_in_a_docstring_is_in_the_table():
    for function in PAIRS:
        letters = {letter for _, sizes in shapes(function.__doc__) for letter in sizes}
        assert letters - set("(.,)23 ") <= set(SIZES), function.__name__


def test_no_letter_means_two_things():
    tree = ast.parse(Path(notation.__file__).read_text(encoding="utf-8"))
    tables = {
        node.targets[0].id: [key.value for key in node.value.keys]
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
    }
    assert set(tables) == {"SIZES", "MODEL", "OPTIMIZER", "AFTERWARDS"}
    for keys in tables.values():
        assert len(keys) == len(set(keys))  # a dictionary would drop the first without a word
    for letters in (MODEL, OPTIMIZER, AFTERWARDS):
        assert not set(SIZES) & set(letters)
        assert len(set(letters.values())) == len(letters)


def test_every_letter_of_the_table_is_used():
    for letters in (MODEL, OPTIMIZER, AFTERWARDS):
        formulas = [f for f in ALL if own_letters(f) is letters]
        used = {symbol for f in formulas for line in lines(f) for symbol in symbols_in(line)}
        unused = set(letters) - used - {"1", "a"}
        assert not unused


def test_the_notation_table_lists_every_letter():
    rows = notation.notation_table().splitlines()[2:]
    assert len(rows) == len(SIZES) + len(MODEL) + len(OPTIMIZER) + len(AFTERWARDS)
    assert any("| model | $v$ |" in row for row in rows)
