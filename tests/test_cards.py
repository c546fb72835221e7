"""Cards show the formula and the code, each as it is written in its one place."""

import inspect

import pytest

from numpylm import ops, optim
from numpylm.course import cards
from numpylm.course.cards import card, source_of
from numpylm.course.notation import FORMULAS
from numpylm.errors import InputError
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
    code = source_of(central_difference)
    assert card(central_difference)._repr_markdown_() == f"```python\n{code}\n```"
    assert repr(card(central_difference)) == code


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
