"""contract_targets: each mistake of a target is named, and no right one is accused."""

import numpy as np
import pytest

from numpylm.checks.contracts import targets_are_shifted
from numpylm.errors import InputError

W = np.random.default_rng(3).integers(0, 20, size=(6, 17))
X, Y = W[:, :-1], W[:, 1:]


def ignored(y, *places):
    y = y.copy()
    y[places] = -100
    return y


def replaced(y, places, by):
    y = y.copy()
    y[places] = by
    return y


@pytest.mark.parametrize(
    "batch",
    [
        (X, Y),
        (X.astype(np.uint8), Y.tolist()),
        (W.ravel()[:-1], W.ravel()[1:]),
        (X, np.eye(20)[Y]),
        (X, ignored(Y, slice(None), slice(0, 5))),
        {"input_ids": X, "labels": Y},
        [(X, Y), (X, Y), (X, Y)],
        lambda: (X, Y),
    ],
)
def test_targets_that_are_the_next_tokens_are_kept(batch):
    verdict = (
        targets_are_shifted(*batch) if isinstance(batch, tuple) else targets_are_shifted(batch)
    )
    assert verdict.passed, verdict


@pytest.mark.parametrize(
    "x, y, words",
    [
        (X, X, "the best model is a copy"),
        (W[:, :-2], W[:, 2:], "2 after its position"),
        (Y, X, "in the wrong direction"),
        (W, np.roll(W, -1, axis=1), "np.roll"),
        (X, Y[[1, 2, 3, 4, 5, 0]], "shuffled apart"),
        (X, replaced(Y, 2, X[2]), "first in row 2"),
        (X, replaced(Y, np.s_[:, 4], X[:, 4]), "position 4"),
        (X, Y[:, ::-1], "not of the same text"),
        (W, W[:, -1], "its own last token"),
    ],
)
def test_targets_that_are_others_are_named(x, y, words):
    verdict = targets_are_shifted(x, y)
    assert verdict.state == "broken" and words in verdict.says, verdict


@pytest.mark.parametrize(
    "x, y",
    [
        (np.ones((4, 8), int), np.ones((4, 8), int)),  # every shift fits
        (np.array([[0, 1] * 4] * 3), np.array([[1, 0] * 4] * 3)),
        (X[:1, :4], Y[:1, :4]),  # three targets, which chance could make
        (X, ignored(Y, ...)),
        (X, Y[:, -1]),  # after the window
    ],
)
def test_targets_of_which_nothing_can_be_told_are_undecided(x, y):
    assert targets_are_shifted(x, y).state == "undecided"


def test_a_masked_language_model_has_no_next_tokens():
    hidden = np.random.default_rng(0).random(X.shape) < 0.15
    verdict = targets_are_shifted(np.where(hidden, 99, X), np.where(hidden, X, -100))
    assert verdict.state == "does not apply"


@pytest.mark.parametrize("batch", [[], (X, Y[:, :4]), (X.astype(float), Y), {"a": X, "b": Y}, 3])
def test_what_is_no_batch_is_an_error(batch):
    with pytest.raises(InputError):
        targets_are_shifted(batch)


def test_tensors_are_read():
    torch = pytest.importorskip("torch")
    assert targets_are_shifted(torch.tensor(X), torch.tensor(Y)).passed
