"""gradcheck.py: the methods on known derivatives, what a check says, and what it refuses."""

import re

import numpy as np
import pytest

from numpylm import ops
from numpylm.attention_lm import AttentionLM, AttentionLMConfig
from numpylm.checks import gradient_cases
from numpylm.checks.gradient_cases import block_cases, model_cases, op_cases
from numpylm.errors import InputError
from numpylm.gpt import GPT
from numpylm.gradcheck import (
    METHODS,
    central_difference,
    check_model,
    check_op,
    complex_step,
    gradient_error,
)
from numpylm.gradient_verdicts import Check, GradientVerdict, Report

X = np.random.default_rng(0).normal(size=(3, 4))


# ---- the methods, on a function whose derivative is known ------------------------------------


def wave(x):
    return np.sum(np.sin(x) * np.exp(x))


def error(slope):
    known = np.exp(X) * (np.sin(X) + np.cos(X))
    return np.max(np.abs(slope - known)) / np.max(np.abs(known))


def one_sided(f, x, h):
    steps = h * np.eye(x.size).reshape(-1, *x.shape)
    return np.array([f(x + step) - f(x) for step in steps]).reshape(x.shape) / h


def test_the_central_difference_is_best_near_a_step_of_1e_minus_5():
    best = error(central_difference(wave, X))
    assert best < 1e-10
    assert best < error(central_difference(wave, X, 1e-3)) / 1000  # there the curve errs: h²f‴/6
    assert best < error(central_difference(wave, X, 1e-9)) / 1000  # there rounding errs: ε f/h


def test_a_one_sided_difference_loses_five_digits_and_never_makes_up_for_it():
    best = error(central_difference(wave, X))
    assert error(one_sided(wave, X, 1e-5)) > best * 1e5
    assert min(error(one_sided(wave, X, 10.0**-n)) for n in range(3, 12)) > best * 100


@pytest.mark.parametrize("h", [1e-8, 1e-20, 1e-30, 1e-100, 1e-200])
def test_the_complex_step_is_exact_however_small_the_step(h):
    assert error(complex_step(wave, X, h)) < 1e-15  # a few roundings of 1e-16
    assert error(complex_step(wave, X)) < 1e-15


@pytest.mark.parametrize("method", [central_difference, complex_step])
def test_a_method_leaves_the_point_alone_and_takes_any_shape(method):
    before = X.copy()
    method(wave, X)
    np.testing.assert_array_equal(X, before)
    for x in (np.array(0.3), np.array([0.3])):
        slope = method(lambda x: np.sum(x * x), x)
        assert slope.shape == x.shape
        assert slope == pytest.approx(0.6)


def test_the_error_is_relative_to_the_largest_entry_of_the_array():
    numeric = np.array([4.0, 1e-6, -2.0])
    assert gradient_error(numeric, numeric) == 0
    for entry, gap in ((0, 0.04), (1, 0.04), (2, -0.04)):
        analytic = numeric.copy()
        analytic[entry] += gap
        assert gradient_error(analytic, numeric) == pytest.approx(0.01, rel=1e-3)
    assert np.isnan(gradient_error(numeric * np.nan, numeric))


# ---- what check_op says ----------------------------------------------------------------------


def product_forward(x, w):
    return x * w, (x, w)


def product_backward(dy, cache):
    x, w = cache
    return dy * w, dy * x


W = np.random.default_rng(1).normal(size=(3, 4))


def check_product(backward):
    return check_op(product_forward, backward, X, W)


def problems(report):
    return [check.problem for check in report.checks]


def test_a_right_pair_passes_and_prints_as_a_table():
    report = check_product(product_backward)
    assert report.passed
    assert [(check.name, check.shape) for check in report.checks] == [
        ("dx", (3, 4)),
        ("dw", (3, 4)),
    ]
    head, *rows = str(report).split("\n")
    assert " ".join(head.split()) == (
        "what gradient shape central complex verdict: errors below 1e-07 and 1e-12?"
    )
    assert [row.split()[0] for row in rows] == ["product_forward"] * 2
    for row, check in zip(rows, report.checks, strict=True):
        assert row.endswith("ok")
        for method in METHODS:
            assert f"{check.errors[method]:.1e}" in row


def test_a_wrong_gradient_fails_and_the_worst_entry_is_shown():
    def wrong(dy, cache):
        dx, dw = product_backward(dy, cache)
        dw[2, 1] += 0.5
        return dx, dw

    report = check_product(wrong)
    assert not report.passed
    fine, problem = problems(report)
    assert fine == ""
    said, method = re.fullmatch(
        r"at dw\[2, 1\] the code says (\S+), the central method (\S+): .*", problem
    ).groups()
    assert float(said) == pytest.approx(float(method) + 0.5, abs=1e-8)
    assert "WRONG: at dw[2, 1]" in str(report)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_alone_sees_one_part_in_a_million(method):
    def wrong(dy, cache):
        dx, dw = product_backward(dy, cache)
        return dx, dw * (1 + 1e-6)

    report = check_op(product_forward, wrong, X, W, methods=[method])
    assert [check.passed for check in report.checks] == [True, False]
    assert [list(check.errors) for check in report.checks] == [[method]] * 2


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_fails_at_its_entry(bad):
    def wrong(dy, cache):
        dx, dw = product_backward(dy, cache)
        dx[1, 3] = bad
        return dx, dw

    report = check_product(wrong)
    assert not report.passed
    assert f"at dx[1, 3] the code says {bad}" in problems(report)[0]


def test_a_missing_gradient_fails():
    report = check_product(lambda dy, cache: product_backward(dy, cache)[0])
    assert not report.passed
    assert problems(report) == [
        "backward returned 1 gradient for 2 arrays (x, w): return one for each, in their order, "
        "and None for what is data"
    ]


def test_a_gradient_of_another_shape_fails():
    report = check_product(lambda dy, cache: (dy * cache[1], (dy * cache[0]).T))
    assert problems(report) == ["", "it has shape (4, 3), and its array (3, 4)"]


def test_a_backward_that_changes_an_input_fails():
    def wrong(dy, cache):
        x, w = cache
        dx, dw = dy * w, dy * x
        x *= 1.5
        return dx, dw

    report = check_product(wrong)
    assert not report.passed
    assert all("changed one of its inputs" in problem for problem in problems(report))


def test_a_backward_that_changes_its_upstream_gradient_fails():
    def wrong(dy, cache):
        answer = product_backward(dy, cache)
        dy *= 2
        return answer

    assert "changed one of its inputs" in problems(check_product(wrong))[0]


def test_a_forward_that_changes_its_input_fails():
    def wrong(x):
        x *= 2
        return x.copy(), None

    assert not check_op(wrong, lambda dy, cache: 2 * dy, X).passed


def test_a_backward_that_changes_its_cache_fails():
    def forward(x):
        return x * x, 2 * x

    def wrong(dy, cache):
        cache *= dy
        return cache.copy()

    report = check_op(forward, wrong, X)
    assert not report.passed
    assert "the first one changed the cache" in problems(report)[0]


def test_a_gradient_of_none_belongs_to_an_absent_argument():
    x = np.random.default_rng(2).normal(size=(2, 3))
    assert check_op(ops.linear_forward, ops.linear_backward, x, W, None).passed


def test_arguments_that_are_not_floats_are_handed_on():
    ids = np.array([[1, 6, 1], [0, 1, 3]])
    table = np.random.default_rng(0).normal(size=(7, 4))
    report = check_op(ops.embedding_forward, ops.embedding_backward, table, ids)
    assert [check.name for check in report.checks] == ["dtable"]
    assert report.passed


# ---- what it refuses, because it would prove nothing -----------------------------------------


def test_float32_is_refused():
    with pytest.raises(InputError, match=r"argument w of product_forward is float32.*astype"):
        check_op(product_forward, product_backward, X, W.astype(np.float32))


def test_axes_of_one_size_are_refused():
    with pytest.raises(InputError, match=r"argument x of.*\(3, 3\).*equal_axes=True"):
        check_op(product_forward, product_backward, X[:, :3], W[:, :3])


def test_a_result_with_axes_of_one_size_is_refused():
    with pytest.raises(InputError, match=r"the result of outer.*\(4, 4\)"):
        check_op(lambda x: (np.outer(x, x), None), lambda dy, _: dy[0], X[0], name="outer")


def test_a_gradient_of_0_everywhere_is_refused():
    report = check_op(lambda x: (0.0 * x, None), lambda dy, _: 0.0 * dy, X)
    assert not report.passed
    assert [check.verdict for check in report.checks] == [GradientVerdict.NOTHING]
    assert "0 everywhere" in str(report)
    with pytest.raises(InputError, match="0 everywhere"):
        gradient_error(np.zeros(3), np.zeros(3))


def test_arguments_without_a_float_array_are_refused():
    with pytest.raises(InputError, match="product_forward: no argument is a float64 array"):
        check_op(product_forward, product_backward, np.arange(3), 2.0)


def test_looking_with_no_method_passes_nothing():
    report = check_op(product_forward, product_backward, X, W, methods=[])
    assert not report.passed
    assert "no method has looked at it" in str(report)


# ---- check_model -----------------------------------------------------------------------------

BATCH = (
    np.array([[1, 6, 1, 2, 4], [5, 1, 1, 0, 2]]),
    np.array([[6, 1, 2, 4, 1], [1, -100, 0, 2, 6]]),
)


def a_model(width=4, **options):
    config = AttentionLMConfig(vocab_size=7, width=width, init_std=1.0, **options)
    return AttentionLM(config, np.random.default_rng(2), np.float64)


def test_a_right_model_passes_parameter_by_parameter():
    report = check_model(a_model(tied=False), BATCH, name="untied")
    assert report.passed
    assert [(c.subject, c.name, c.shape) for c in report.checks] == [
        ("untied", "E", (7, 4)),
        ("untied", "U", (7, 4)),
    ]


def test_a_wrong_model_fails_at_the_parameter_and_its_entry(monkeypatch):
    right = AttentionLM.backward

    def wrong(self, dlogits, cache):
        grads = right(self, dlogits, cache)
        grads["U"][3, 2] = 9.0
        return grads

    monkeypatch.setattr(AttentionLM, "backward", wrong)
    report = check_model(a_model(tied=False), BATCH)
    assert [check.passed for check in report.checks] == [True, False]
    assert problems(report)[1].startswith("at U[3, 2] the code says 9, the ")
    assert "AttentionLM" in str(report)


def test_checking_a_model_leaves_it_unchanged():
    checked = a_model()
    before = checked.params.flat.copy()
    check_model(checked, BATCH)
    np.testing.assert_array_equal(checked.params.flat, before)


def test_a_float32_model_is_refused():
    with pytest.raises(InputError, match=r"float32.*astype\(np\.float64\)"):
        check_model(a_model().astype(np.float32), BATCH)


def test_a_batch_as_long_as_the_model_is_wide_is_refused():
    with pytest.raises(InputError, match=r"batch and model.*\(2, 5, 7, 5\)"):
        check_model(a_model(width=5), BATCH)


def test_a_model_with_nothing_to_learn_is_refused():
    constant = a_model(tied=False)
    constant.params["U"] = np.zeros((7, 4))  # then E has no way to the loss
    report = check_model(constant, BATCH)
    assert [check.verdict for check in report.checks] == [
        GradientVerdict.NOTHING,
        GradientVerdict.OK,
    ]
    assert not report.passed


class OfReaders:
    """A model of a reader's own: no base class, weights as attributes and by name."""

    def __init__(self):
        rng = np.random.default_rng(3)
        self.w, self.b = rng.normal(size=(4, 3)), np.zeros(3)
        self.params = {"w": self.w, "b": self.b}

    def loss(self, x, y):
        error = np.abs(x @ self.w + self.b - y)
        return (error**2).mean(), (x, x @ self.w + self.b - y)

    def loss_backward(self, cache):
        x, error = cache
        return {"w": 2 * x.T @ error / error.size, "b": 2 * error.sum(0) / error.size}


DATA = np.random.default_rng(4).normal(size=(5, 4)), np.random.default_rng(5).normal(size=(5, 3))


@pytest.mark.parametrize("batch", [DATA, {"x": DATA[0], "y": DATA[1]}], ids=["tuple", "dict"])
def test_a_model_of_a_readers_own_is_checked(batch):
    model = OfReaders()
    before = model.w.copy()
    report = check_model(model, batch)
    assert report.passed and [*report.errors] == ["w", "b"], report
    assert "by central alone" in str(report)
    np.testing.assert_array_equal(model.w, before)


def changed(**methods):
    return type("Changed", (OfReaders,), methods)()


@pytest.mark.parametrize(
    ("model", "verdict", "words"),
    [
        (
            changed(
                loss=lambda m, x, y: (
                    OfReaders.loss(m, x, y)[0] * np.random.default_rng().random(),
                    None,
                )
            ),
            GradientVerdict.RANDOM,
            "two forwards",
        ),
        (
            changed(loss_backward=lambda m, c: {"w": OfReaders.loss_backward(m, c)["w"]}),
            GradientVerdict.WRONG,
            "no gradient for b",
        ),
        (
            changed(loss_backward=lambda m, c: OfReaders.loss_backward(m, c) | {"u": 1}),
            GradientVerdict.WRONG,
            "there is no parameter u",
        ),
        (
            changed(loss_backward=lambda m, c: {"w": c[0] @ c[1], "b": 0}),
            GradientVerdict.WRONG,
            "loss_backward raises ValueError: matmul.* of test_gradcheck.py",
        ),
        (
            changed(loss_backward=lambda m, c: None),
            GradientVerdict.CANNOT,
            r"returned nothing \(None\), not gradients by name",
        ),
        (
            changed(loss=lambda m, x, y: (x @ m.w - y, None)),
            GradientVerdict.CANNOT,
            r"the loss is float64 of shape \(5, 3\), not one number",
        ),
        (
            changed(loss=lambda m, x, y: OfReaders.loss(m, x, y)[0]),
            GradientVerdict.CANNOT,
            "loss must return two things",
        ),
        (
            changed(loss=lambda m, x, y: x @ y),
            GradientVerdict.CANNOT,
            "loss raises ValueError",
        ),
    ],
)
def test_a_model_that_is_not_right_is_told_why(model, verdict, words):
    (check,) = check_model(model, DATA).checks
    assert check.verdict is verdict
    assert re.search(words, check.words), check.words


def test_a_model_whose_step_is_in_its_backward_is_told_so():
    def step(model, cache):
        grads = OfReaders.loss_backward(model, cache)
        model.w -= 0.1 * grads["w"]
        return grads

    report = check_model(changed(loss_backward=step), DATA)
    assert "changed the parameters" in str(report) and not report.passed


def test_a_gpt_as_it_is_made_passes():
    gpt = GPT(vocab_size=7, context_length=5, layers=1, heads=1, width=4, dtype=np.float64)
    ids = np.random.default_rng(0).integers(7, size=(2, 3))
    report = check_model(gpt, {"ids": ids, "targets": (ids + 1) % 7})
    assert report.passed, report


def test_something_without_params_is_refused():
    with pytest.raises(InputError, match="function has no params, a dict of arrays by name"):
        check_model(product_forward, DATA)


def test_everything_means_every_case_once(monkeypatch):
    """Only the walk is looked at here: each case is computed in the tests of its own module."""

    def only_named(*_, name):
        return Report([Check(name, "all", ())])

    monkeypatch.setattr(gradient_cases, "check_op", only_named)
    monkeypatch.setattr(gradient_cases, "check_model", only_named)
    walked = [report.checks[0].subject for report in gradient_cases.check_everything()]
    cases = [*op_cases(), *block_cases(), *model_cases()]
    assert walked == [case.name for case in cases]
    assert len(set(walked)) == len(walked)


def test_known_slopes_are_used_again_and_not_for_another_forward():
    calls, known = [], {}

    def forward(x):
        calls.append(x)
        return factor * x * x, x

    def backward(dy, x):
        return 2 * factor * dy * x

    factor, x = 1.0, np.random.default_rng(0).normal(size=(2, 3))
    assert check_op(forward, backward, x, known=known)
    first = len(calls)
    assert check_op(forward, backward, x, known=known)
    assert len(calls) - first < first - 3 * x.size  # central differences and the complex step
    factor, used = 3.0, {place: slopes.copy() for place, slopes in known.items()}
    assert check_op(forward, backward, x, known=known)
    assert not check_op(forward, lambda dy, x: 2 * dy * x, x, known=known)
    np.testing.assert_equal(known, used)


def test_a_check_may_end_with_the_first_wrong_array():
    x, y, z = np.random.default_rng(0).normal(size=(3, 2, 5))

    def backward(dy, cache):
        return dy, 2 * dy, 3 * dy

    report = check_op(lambda *xs: (sum(xs), None), backward, x, y, z, until_wrong=True)
    assert [check.passed for check in report.checks] == [True, False]
    assert not report


def test_a_forward_that_is_not_written_for_complex_numbers_is_told_so():
    def forward(x):
        return np.abs(x), x

    def backward(dy, x):
        return dy * np.sign(x)

    report = check_op(forward, backward, np.random.default_rng(0).normal(size=(2, 3)))
    assert report.passed and list(report.errors["dx"]) == ["central"]
    assert "ok, by central alone: the forward does not take complex numbers" in str(report)


def test_a_forward_without_a_cache_is_told_so():
    with pytest.raises(InputError, match="must return two things, y and its cache"):
        check_op(lambda x: x * x, lambda dy, x: dy, np.ones((2, 3)), name="square")
