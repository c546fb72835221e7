"""The checkers of the notebooks: silent about nothing, and never wrong about a right answer."""

import numpy as np
import pytest

from numpylm import ops
from numpylm.course.exercises import Case, check, check_backward


def double(x):
    return 2 * x


def doubles(due=(2.0, 4.0), hint="twice"):
    return [Case((np.array([1.0, 2.0]),), np.array(due), hint)]


def test_a_right_answer_is_right():
    answer = check(double, [*doubles(), ((3,), 6)])
    assert answer.passed
    assert repr(answer) == "double: right\n2 cases, all as they should be."


def test_a_right_answer_may_be_a_list_and_of_another_order_of_rounding():
    def lists(x):
        return [2 * v * (1 + 1e-15) for v in x]

    assert check(lists, doubles()).passed


def test_a_stub_is_not_written_yet():
    def stub(x): ...

    assert check(stub, doubles()).state == "not written yet"

    def stub(dy, cache): ...

    assert check_backward(stub, "softmax").state == "not written yet"


@pytest.mark.parametrize(
    "wrong, says",
    [
        (lambda x: 2 * x + [0, 1], r"for \[1. 2.\]\nat \[1\] it returns 5; 4 is due\ntwice"),
        (lambda x: (2 * x)[:1], r"shape \(1,\); \(2,\) is due"),
        (lambda x: x * np.nan, "a nan or an infinity"),
        (lambda x: "four", "'four', which is no number"),
        (lambda x: x.no_such, "it raises AttributeError: .*no_such"),
        (lambda x: np.multiply(x, 2, out=x), "changes one of its arguments"),
    ],
)
def test_a_wrong_answer_is_told_what_is_wrong(wrong, says):
    answer = check(wrong, doubles())
    assert answer.state == "wrong"
    import re

    assert re.search(says, answer.says), answer.says


def test_a_wrong_number_is_shown_beside_the_one_that_is_due():
    assert "it returns 7; 6 is due" in check(lambda x: 7, [((3,), 6)]).says


def test_an_infinity_that_is_due_is_right():
    assert check(lambda x: np.inf, [((0,), np.inf)]).passed


def test_functions_among_the_arguments_are_named():
    assert "for double, 1" in check(lambda f, x: 0, [((double, 1), 2)]).says


def test_cases_that_are_tried_leave_their_arguments_alone():
    cases = doubles()
    check(lambda x: np.multiply(x, 2, out=x), cases)
    assert np.array_equal(cases[0].args[0], [1, 2])


@pytest.mark.parametrize("op", ["softmax", "attention", "output", "embedding", "layer_norm"])
def test_the_librarys_own_backward_is_right(op):
    assert check_backward(getattr(ops, f"{op}_backward"), op).passed


def test_a_known_mistake_is_called_by_its_name():
    answer = check_backward(lambda da, a: a * da, "softmax")
    assert answer.state == "wrong" and "the term −Σ_l a_l da_l is missing" in answer.says


def test_a_backward_that_raises_is_told_so():
    answer = check_backward(lambda dy: dy, "softmax")
    assert answer.state == "wrong" and "TypeError" in answer.says
