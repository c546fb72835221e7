"""The checkers of the notebooks: silent about nothing, and never wrong about a right answer."""

from functools import partial

import numpy as np
import pytest

from numpylm import ops
from numpylm.course.exercises import Case, Exercise, case, check, check_backward
from numpylm.errors import InputError


def double(x):
    return 2 * x


def doubles(expected=(2.0, 4.0), hint="twice"):
    return [Case((np.array([1.0, 2.0]),), np.array(expected), hint)]


def test_a_right_answer_is_right():
    verdict = check(double, [*doubles(), ((3,), 6)])
    assert verdict.passed
    assert repr(verdict) == "double: right\n2 cases, all as expected."


def test_a_right_answer_may_be_a_list_in_float32_and_of_another_order_of_rounding():
    def lists(x):
        return [2 * v * (1 + 1e-15) for v in x]

    assert check(lists, doubles()).passed
    assert check(lambda x: np.float32(2.2) * x.astype(np.float32), doubles((2.2, 4.4))).passed


class Doubler:
    def __init__(self, factor=2):
        self.factor = factor

    def __call__(self, x):
        return self.factor * x

    def times(self, x):
        return self.factor * x


@pytest.mark.parametrize("yours", [Doubler(), Doubler().times, partial(np.multiply, 2)])
def test_anything_that_can_be_called_is_an_answer(yours):
    assert check(yours, doubles()).passed


def test_what_cannot_be_called_is_refused():
    with pytest.raises(InputError, match="must be a function, not 6"):
        check(double(3), doubles())


# ---- not written yet, and forgotten ----------------------------------------------------------


def stub(x): ...


def passing(x):
    pass


def described(x):
    """What it shall do."""


def refusing(x):
    raise NotImplementedError


@pytest.mark.parametrize("yours", [stub, passing, described, refusing])
def test_a_stub_is_not_written_yet(yours):
    assert check(yours, doubles()).state == "not written yet"
    with_two = lambda dy, cache: yours(dy)  # noqa: E731
    expected = "not written yet" if yours is refusing else "wrong"
    assert check_backward(with_two, "softmax").state == expected


def test_a_stub_of_a_backward_is_not_written_yet():
    def mine(dy, cache): ...

    assert check_backward(mine, "softmax").state == "not written yet"


def test_a_forgotten_return_is_called_that():
    def forgotten(x):
        y = 2 * x  # noqa: F841

    verdict = check(forgotten, doubles())
    assert verdict.state == "wrong"
    assert "your function returned None: is the `return` missing?" in verdict.says
    verdict = check_backward(lambda da, a: None, "softmax")
    assert verdict.state == "wrong"
    assert "your function returned None: is the `return` missing?" in verdict.says


# ---- what is wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong, says",
    [
        (lambda x: 2 * x + [0, 1], "for x = [1., 2.]\nat [1] it returned 5; expected 4\nAbout"),
        (lambda x: (2 * x)[:1], "returned an array of shape (1,); expected an array of shape (2,)"),
        (lambda x: x * np.nan, "it returned nan; expected 2"),
        (lambda x: "four", "'four', which is no number"),
        (lambda x: [[1], [2, 3]], "which is no number and no array of numbers"),
        (lambda x: x.no_such, "it raises AttributeError in line "),
        (lambda x: np.multiply(x, 2, out=x), "it changes its argument x"),
        (lambda x: 2 * x + 0j, "returned complex numbers; expected real ones"),
        (lambda x: x, "every number is exactly 2 times too small"),
        (lambda x: np.inf, "returned a single number; expected an array of shape (2,)"),
    ],
)
def test_a_wrong_answer_is_told_what_is_wrong(wrong, says):
    verdict = check(wrong, doubles())
    assert verdict.state == "wrong"
    assert says in verdict.says, verdict.says


def test_a_wrong_number_is_shown_beside_the_expected_one():
    assert "it returned 7; expected 6" in check(lambda x: 7, [((3,), 6)]).says
    near = check(lambda x: 6.0000001, [((3,), 6)]).says
    assert "it returned 6.0000001; expected 6" in near


def test_an_infinity_may_be_expected():
    assert check(lambda x: np.inf, [((0,), np.inf)]).passed
    assert not check(lambda x: 1.0, [((0,), np.inf)]).passed
    assert not check(lambda x: -np.inf, [((0,), np.inf)]).passed


def test_arguments_are_shown_by_name_and_long_ones_by_shape():
    assert "for f = double, x = 1\n" in check(lambda f, x: 0, [((double, 1), 2)]).says
    long = check(lambda x, n: 0, [((np.zeros((9, 9)), [1, 2]), 2)]).says
    assert "for x = an array (9, 9) of float64, n = [1, 2]\n" in long


def test_an_error_keeps_its_line_its_input_and_the_hint():
    def divided(x):
        total = x.sum()
        return 1 / (int(total) - 3)

    verdict = check(divided, doubles())
    assert "for x = [1., 2.]\nit raises ZeroDivisionError in line " in verdict.says
    assert "`return 1 / (int(total) - 3)`: division by zero" in verdict.says
    assert "About this case: twice." in verdict.says


def test_an_error_in_a_later_case_is_shown_if_nothing_else_explains():
    def odd(x):
        return x[0] * 2.5 if len(x) == 1 else x[7]

    cases = [((np.array([2.0]),), 4.0), ((np.array([1.0, 2.0]),), 2.0)]
    assert "it raises IndexError in line" in check(odd, cases).says


def test_a_mistake_is_told_by_its_own_sentence_and_not_by_the_hint_of_a_case():
    def solution(x, *, factor=2, add=0.0):
        return factor * x + add

    exercise = Exercise(
        solution,
        [case(np.array([1.0, 2.5]), hint="twice"), case(np.array([3.0]))],
        {"it is tripled": dict(factor=3), "one is added": dict(add=1.0)},
    )
    assert check(solution, exercise).passed
    tripled = check(lambda x: x + x + x, exercise).says
    assert "The reason: it is tripled." in tripled and "twice" not in tripled
    assert "it is tripled; and one is added" in check(lambda x: 3 * x + 1, exercise).says
    assert "About this case: twice." in check(lambda x: x**3 + 1.25, exercise).says


def test_cases_that_are_tried_leave_their_arguments_alone():
    cases = doubles()
    check(lambda x: np.multiply(x, 2, out=x), cases)
    assert np.array_equal(cases[0].args[0], [1, 2])


# ---- backwards -------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["softmax", "attention", "output", "embedding", "layer_norm"])
def test_the_librarys_own_backward_is_right(op):
    assert check_backward(getattr(ops, f"{op}_backward"), op).passed


def test_a_known_mistake_is_called_by_its_name():
    verdict = check_backward(lambda da, a: a * da, "softmax")
    assert verdict.state == "wrong" and "the term −Σ_l a_l da_l is missing" in verdict.says


def test_a_backward_that_raises_is_told_so():
    verdict = check_backward(lambda dy: dy, "softmax")
    assert verdict.state == "wrong" and "TypeError" in verdict.says
