"""Cards show the formula and the code, each as it is written in its one place."""

import ast
import inspect

import pytest

from numpylm import ops, optim
from numpylm.course import cards
from numpylm.course.cards import card, formula_lines, source_of
from numpylm.course.notation import FORMULAS
from numpylm.errors import InputError
from numpylm.gpt import GPT
from numpylm.gradcheck import central_difference


def body_of(function):
    """The last line of a function's source."""
    return inspect.getsource(function).rstrip().splitlines()[-1].strip()


@pytest.mark.parametrize("f", FORMULAS.values(), ids=lambda f: f.id)
def test_a_card_shows_every_line_of_its_formula_and_the_code_of_both_directions(f):
    for text in (card(f.id)._repr_markdown_(), repr(card(f.id))):
        assert text.lstrip("*").startswith(f"{f.id}: {f.name}")
        assert f.source in text
        for line in (*f.latex, *f.gradient):
            assert line in text
        for function in (*f.code[:1], *f.backwards[:1]):
            assert body_of(function) in text


def test_a_card_of_a_function_shows_all_of_its_formulas_and_no_other_code():
    text = card(ops.attention_backward)._repr_markdown_()
    for line in (*FORMULAS["F2"].gradient, *FORMULAS["F3"].gradient):
        assert f"$${line}$$" in text
    assert "def attention_backward" in text and "def attention_forward" not in text
    assert "**F2 context, F3 attention weights, backward**" in text


def test_a_card_of_a_forward_has_its_formulas_in_the_order_of_the_code():
    text = repr(card(ops.attention_forward))
    assert text.index("s_{ij}") < text.index("a_{ij} =") < text.index("c_i = ")


def test_a_function_that_has_no_formula_is_shown_by_itself():
    code = formula_lines(central_difference)
    assert card(central_difference)._repr_markdown_().startswith(f"```python\n{code}\n```")
    assert repr(card(central_difference)) == code


def test_the_docstring_and_the_checks_are_folded_below_the_lines_of_the_formula():
    text = card(ops.softmax_forward)._repr_markdown_()
    seen, *folded = text.split("<details>")
    assert "shaped(" not in seen and "a /= or_one(row_sum(a))" in seen
    assert inspect.getdoc(ops.softmax_forward) in folded[0]
    assert source_of(ops.softmax_forward) in folded[1]
    assert text.count("<details>") == text.count("</details>") == 2


def test_a_formula_has_neither_types_nor_checks_nor_docstring():
    assert formula_lines(ops.softmax_backward) == (
        "def softmax_backward(da, cache):\n"
        "    a = cache\n"
        "    ds = a * (da - row_dot(a, da))\n"
        "    return ds"
    )
    assert formula_lines(ops.positions_forward) == (
        "def positions_forward(e, table):\n"
        "    T, N = e.shape[-2], len(table)\n"
        "    return e + table[:T], (e.shape, table.shape)"
    )
    assert "whole(" not in formula_lines(optim.learning_rate_at)
    assert "watched(watch, block, h)" not in formula_lines(GPT.forward)


def test_what_a_check_returns_under_a_new_name_stays_in_the_formula():
    assert "y, counted, N = check_targets" in formula_lines(ops.cross_entropy_forward)


@pytest.mark.parametrize("f", FORMULAS.values(), ids=lambda f: f.id)
def test_the_lines_of_every_formula_are_python_and_hold_its_result(f):
    for function in (*f.code, *f.backwards):
        short = formula_lines(function)
        ast.parse(short)
        assert "raise InputError" not in short
        assert short.splitlines()[-1].strip() == body_of(function)


def test_markdown_inside_the_table_has_the_empty_lines_that_it_needs():
    text = card("F3")._repr_markdown_()
    for opening in ("<td align", "```python"):
        assert opening in text
    for part in text.split("</td>")[:-1]:
        cell = part[part.index("<td") :]
        assert cell.split(">", 1)[1].startswith("\n\n") and cell.endswith("\n\n")
    assert text.count("```") % 2 == 0


def test_the_docstring_is_left_out_and_nothing_else():
    whole = inspect.getsource(ops.tanh_backward)
    assert source_of(ops.tanh_backward).splitlines() == [
        line for line in whole.splitlines() if '"""' not in line
    ]
    assert '"""' not in source_of(ops.attention_forward)
    assert source_of(optim.Adam.update).startswith("def update(self")


def test_comments_are_part_of_the_code():
    assert "# x³ as a power costs" in source_of(ops.gelu_forward)


def test_a_function_without_a_docstring_is_shown_whole():
    assert source_of(body_of) != inspect.getsource(body_of)
    assert source_of(answer) == inspect.getsource(answer).rstrip()


def answer():
    return 42


def test_what_has_no_card_is_named():
    with pytest.raises(InputError, match="no formula 'F99'"):
        card("F99")
    with pytest.raises(InputError, match="there is no card of 3: give an ID"):
        card(3)
    assert not hasattr(cards, "IPython")
