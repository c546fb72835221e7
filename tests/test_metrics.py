"""F6 and the classifier's metrics, against closed forms and counts made by hand."""

import math

import numpy as np
import pytest

from numpylm.attention_lm import AttentionLM, AttentionLMConfig
from numpylm.config import InputError
from numpylm.metrics import (
    Evaluation,
    accuracy,
    confusion_matrix,
    evaluate,
    perplexity,
    precision_recall_f1,
    token_nats,
)
from numpylm.ops import IGNORE, cross_entropy_forward

# A few hundred float64 numbers near 1 are added up, in an order that may differ.
ROUNDING = 1e-12
V, T = 7, 5


def model(context="all"):
    config = AttentionLMConfig(
        vocab_size=V, context_length=T, width=4, context=context, init_std=1.0
    )
    return AttentionLM(config, np.random.default_rng(0), np.float64)


def corpus(samples=24):
    """Windows (samples, T) and targets, of which some are IGNORE, unevenly over the samples."""
    rng = np.random.default_rng(1)
    ids, targets = rng.integers(V, size=(2, samples, T))
    targets[rng.random(targets.shape) < np.linspace(0, 0.8, samples)[:, None]] = IGNORE
    return ids, targets


def batches(ids, targets, size):
    return [(ids[i : i + size], targets[i : i + size]) for i in range(0, len(ids), size)]


# ---- F6 --------------------------------------------------------------------------------------


def test_f6_guessing_among_v_words_has_perplexity_v():
    nats, counted = token_nats(np.zeros((3, V)), [0, 2, 6])
    assert perplexity(nats.sum(), counted.sum()) == pytest.approx(V, rel=ROUNDING)


def test_f6_perplexity_divides_totals_and_is_infinite_where_exp_overflows():
    assert perplexity(0.0, 5) == 1.0
    assert perplexity(6 * math.log(3), 6) == pytest.approx(3, rel=ROUNDING)
    assert perplexity(1e4, 1) == math.inf


@pytest.mark.parametrize("tokens", [0, -1, math.nan])
def test_f6_perplexity_of_nothing_is_rejected(tokens):
    with pytest.raises(InputError, match="tokens"):
        perplexity(1.0, tokens)


@pytest.mark.parametrize("context", ["all", "last"])
@pytest.mark.parametrize("size", [1, 5, 7, 24])
def test_f6_perplexity_does_not_depend_on_the_batch_size(context, size):
    ids, targets = corpus()
    whole = evaluate(model(context), [(ids, targets)])
    parts = evaluate(model(context), batches(ids, targets, size))
    assert (parts.tokens, parts.correct) == (whole.tokens, whole.correct)
    assert parts.nats == pytest.approx(whole.nats, rel=ROUNDING)
    assert parts.perplexity == pytest.approx(whole.perplexity, rel=ROUNDING)


def test_f6_the_mean_of_batch_perplexities_would_depend_on_it():
    """The corpus above can tell: its batches differ in what they hold and in how much counts."""
    ids, targets = corpus()
    whole = evaluate(model(), [(ids, targets)]).perplexity
    mean = np.mean([evaluate(model(), [batch]).perplexity for batch in batches(ids, targets, 5)])
    assert abs(mean - whole) > 0.1


# ---- token by token --------------------------------------------------------------------------


def test_f5_nats_are_minus_the_log_of_the_probability():
    p = np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]])
    nats, counted = token_nats(np.log(p) + 11.0, [1, 2])  # a shift of all logits changes nothing
    assert nats == pytest.approx([math.log(4), -math.log(0.7)], rel=ROUNDING)
    assert counted.tolist() == [True, True]


def test_f5_nats_do_not_overflow_or_underflow():
    nats, _ = token_nats(np.array([[1e4, 0.0], [-1e4, 0.0]]), [1, 1])
    assert nats.tolist() == [1e4, 0.0]


def test_f5_an_ignored_target_has_no_nats():
    logits = np.random.default_rng(2).normal(size=(2, 3, V))
    nats, counted = token_nats(logits, [[1, IGNORE, 2], [IGNORE, IGNORE, 0]])
    assert counted.tolist() == [[True, False, True], [False, False, True]]
    assert ((nats > 0) == counted).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_f5_nats_are_computed_in_float64_and_leave_the_logits_unchanged(dtype):
    logits = np.random.default_rng(3).normal(size=(4, V)).astype(dtype)
    before = logits.copy()
    nats, _ = token_nats(logits, [0, 1, 2, 3])
    exact, _ = token_nats(before.astype(np.float64), [0, 1, 2, 3])
    assert nats.dtype == np.float64
    assert np.array_equal(nats, exact)
    assert np.array_equal(logits, before)


def test_f5_the_mean_of_the_nats_is_the_loss_that_is_trained():
    ids, targets = corpus()
    logits, _ = model().forward(ids)
    loss, _ = cross_entropy_forward(logits, targets)
    nats, counted = token_nats(logits, targets)
    assert nats.sum() / counted.sum() == pytest.approx(loss, rel=ROUNDING)


def test_f5_targets_that_do_not_fit_are_rejected():
    with pytest.raises(InputError, match="shape"):
        token_nats(np.zeros((2, V)), [1, 2, 3])
    with pytest.raises(InputError, match="targets"):
        token_nats(np.zeros((2, V)), [1, V])


# ---- evaluate --------------------------------------------------------------------------------


@pytest.mark.parametrize("context", ["all", "last"])
def test_evaluate_measures_the_loss_of_the_model(context):
    ids, targets = corpus()
    targets[0, -1] = 1
    loss, _ = model(context).loss(ids, targets)
    assert evaluate(model(context), [(ids, targets)]).loss == pytest.approx(loss, rel=ROUNDING)


def test_evaluate_counts_what_the_likeliest_word_got_right():
    """Each target is the model's first choice, but for one wrong and two ignored."""
    ids, _ = corpus(samples=4)
    targets = model().forward(ids)[0].argmax(axis=-1)
    targets[0, 0] = (targets[0, 0] + 1) % V
    targets[1, :2] = IGNORE
    result = evaluate(model(), [(ids, targets)])
    assert (result.correct, result.tokens) == (17, 18)
    assert result.accuracy == 17 / 18


def test_evaluate_with_the_last_context_counts_the_last_targets_only():
    ids, targets = corpus(samples=6)
    targets[:, -1] = [0, 1, IGNORE, 3, 4, 5]
    assert evaluate(model("last"), [(ids, targets)]).tokens == 5
    assert evaluate(model("last"), [(ids, targets)]) == evaluate(
        model("last"), [(ids, targets[:, -1])]
    )


def test_an_evaluation_derives_its_figures_from_the_totals():
    result = Evaluation(nats=8 * math.log(5), tokens=8, correct=6)
    assert result.loss == pytest.approx(math.log(5), rel=ROUNDING)
    assert result.perplexity == pytest.approx(5, rel=ROUNDING)
    assert result.accuracy == 0.75


def test_evaluate_needs_a_target_that_counts():
    ids, targets = corpus(samples=2)
    with pytest.raises(InputError, match="batches"):
        evaluate(model(), [])
    with pytest.raises(InputError, match="batches"):
        evaluate(model(), [(ids, np.full_like(targets, IGNORE))])


# ---- classification --------------------------------------------------------------------------


TARGETS = [0, 0, 0, 0, 1, 1, 2, 2, 2, IGNORE]
PREDICTIONS = [0, 0, 1, 2, 1, 0, 2, 2, 2, 1]


def test_accuracy_is_the_share_of_targets_that_were_predicted():
    assert accuracy(PREDICTIONS, TARGETS) == 6 / 9
    assert accuracy([[1, 2], [3, 4]], [[1, 0], [3, IGNORE]]) == 2 / 3


def test_the_confusion_matrix_has_a_row_for_each_true_class():
    assert confusion_matrix(PREDICTIONS, TARGETS, 3).tolist() == [[2, 1, 1], [1, 1, 0], [0, 0, 3]]


def test_precision_recall_f1_by_hand():
    """Class 0: 2 of 3 predicted, 2 of 4 found. Class 1: 1 of 2, 1 of 2. Class 2: 3 of 4, 3 of 3."""
    precision = (2 / 3 + 1 / 2 + 3 / 4) / 3
    recall = (2 / 4 + 1 / 2 + 3 / 3) / 3
    f1 = (4 / 7 + 1 / 2 + 6 / 7) / 3
    got = precision_recall_f1(PREDICTIONS, TARGETS, 3)
    assert got == pytest.approx((precision, recall, f1), rel=ROUNDING)


def test_micro_precision_recall_and_f1_are_the_accuracy():
    got = precision_recall_f1(PREDICTIONS, TARGETS, 3, average="micro")
    assert got == (6 / 9, 6 / 9, 6 / 9)


def test_nothing_over_nothing_is_zero():
    """Class 1 is never predicted, class 2 never occurs, class 3 neither: it still weighs 1/4."""
    precision, recall, f1 = precision_recall_f1([0, 0, 2], [0, 1, 0], 4)
    assert precision == pytest.approx((1 / 2) / 4, rel=ROUNDING)
    assert recall == pytest.approx((1 / 2) / 4, rel=ROUNDING)
    assert f1 == pytest.approx((1 / 2) / 4, rel=ROUNDING)


def test_a_perfect_classifier_scores_one():
    assert precision_recall_f1([0, 1, 2, 1], [0, 1, 2, 1], 3) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("average", ["macro", "micro"])
def test_precision_recall_f1_agree_with_scikit_learn(average):
    sklearn = pytest.importorskip("sklearn.metrics")
    predictions, targets = np.random.default_rng(4).integers(5, size=(2, 60))
    targets[targets == 3] = 2  # a class that never occurs
    want = sklearn.precision_recall_fscore_support(
        targets, predictions, labels=range(5), average=average, zero_division=0
    )[:3]
    got = precision_recall_f1(predictions, targets, 5, average)
    assert got == pytest.approx(want, rel=ROUNDING)


@pytest.mark.parametrize(
    "measure",
    [accuracy, lambda p, t: confusion_matrix(p, t, 3), lambda p, t: precision_recall_f1(p, t, 3)],
)
def test_pairs_that_cannot_be_compared_are_rejected(measure):
    with pytest.raises(InputError, match="same shape"):
        measure([0, 1], [0, 1, 2])
    with pytest.raises(InputError, match="nothing to measure"):
        measure([], [])
    with pytest.raises(InputError, match="nothing to measure"):
        measure([1], [IGNORE])


def test_a_class_out_of_range_is_rejected():
    with pytest.raises(InputError, match="predictions"):
        precision_recall_f1([0, 3], [0, 1], 3)
    with pytest.raises(InputError, match="targets"):
        precision_recall_f1([0, 1], [0, -1], 3)
    with pytest.raises(InputError, match="predictions"):
        precision_recall_f1([0.5, 1.0], [0, 1], 3)
    with pytest.raises(InputError, match="average"):
        precision_recall_f1([0, 1], [0, 1], 3, average="weighted")
