"""low_rank.py: a change of low rank, merged or not."""

import numpy as np
import pytest

from numpylm import GPT, train
from numpylm.errors import InputError
from numpylm.gradcheck import check_model
from numpylm.low_rank import Adapted, low_rank_backward, low_rank_forward

rng = np.random.default_rng(0)
W, U, V = rng.normal(size=(5, 4)), rng.normal(size=(5, 2)), rng.normal(size=(2, 4))


def test_f43_merged_or_not_the_numbers_are_the_same():
    x, dy = rng.normal(size=(7, 5)), rng.normal(size=(7, 4))
    merged, cache = low_rank_forward(W, U, V, 0.5)
    np.testing.assert_allclose(x @ merged, x @ W + 0.5 * (x @ U) @ V, atol=1e-12)
    dw, du, dv = low_rank_backward(x.T @ dy, cache)
    np.testing.assert_allclose(dw, x.T @ dy, atol=1e-12)
    np.testing.assert_allclose(du, 0.5 * x.T @ (dy @ V.T), atol=1e-12)
    np.testing.assert_allclose(dv, 0.5 * (x @ U).T @ dy, atol=1e-12)


def test_f43_changes_by_its_rank_and_by_nothing_at_the_start():
    merged, _ = low_rank_forward(W, U, V)
    assert np.linalg.matrix_rank(merged - W) == 2
    assert (low_rank_forward(W, U, 0 * V)[0] == W).all()


def test_f43_a_rank_above_the_width_is_refused():
    with pytest.raises(InputError, match=r"rank 5 is above the width of a matrix \(5, 4\)"):
        low_rank_forward(W, np.zeros((5, 5)), np.zeros((5, 4)))


# ---- a model of which little is trained ------------------------------------------------------


def gpt():
    model = GPT(vocab_size=7, context_length=9, layers=1, heads=2, width=6, dtype=np.float64)
    model.params.flat[...] = np.random.default_rng(2).normal(0, 0.7, model.params.flat.size)
    return model


IDS = np.array([[1, 6, 1, 2, 4], [5, 1, 1, 0, 2]])


def test_f43_the_gradient_of_an_adapted_model():
    adapted = Adapted(gpt(), 3, 0.7, whole=("norm.gain",))
    adapted.params.flat[...] += np.random.default_rng(3).normal(0, 0.5, adapted.params.flat.size)
    report = check_model(adapted, (IDS, np.roll(IDS, 1)), equal_axes=True)
    assert report.passed, f"\n{report}"


def test_f43_training_leaves_the_model_and_merging_keeps_the_numbers():
    model = gpt()
    before = model.params.flat.copy()
    adapted = Adapted(model, 1)
    start = adapted.loss(IDS, IDS)[0]
    assert start == model.loss(IDS, IDS)[0] and adapted.share < 0.5
    train(adapted, (IDS, IDS), 20, 0.02, 2, progress=False)
    assert (model.params.flat == before).all()
    merged = adapted.merged()
    assert merged.loss(IDS, IDS)[0] < start - 0.1
    change = merged.params["block0.attention.w_qkv"] - model.params["block0.attention.w_qkv"]
    assert np.linalg.matrix_rank(change) == 1
    assert np.abs(merged.forward(IDS)[0] - adapted.merged().forward(IDS)[0]).max() < 1e-12


def test_f43_what_does_not_fit_is_refused():
    for call, words in (
        (lambda: Adapted(gpt(), 7), "rank 7 is above the width"),
        (lambda: Adapted(gpt(), 0), "rank must be at least 1"),
        (lambda: Adapted(gpt(), 1, names=["norm.gain"]), "'norm.gain' is no matrix"),
        (lambda: Adapted(gpt(), 1, names=[]), "no matrix to adapt"),
    ):
        with pytest.raises(InputError, match=words):
            call()
