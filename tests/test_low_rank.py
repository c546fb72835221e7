"""low_rank.py: a change of low rank, merged or not."""

import numpy as np
import pytest

from numpylm.errors import InputError
from numpylm.low_rank import low_rank_backward, low_rank_forward

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
