"""post/scaling.py: the law of counting, floors, and exponents with their errors."""

import numpy as np
import pytest

from numpylm.__main__ import main
from numpylm.errors import InputError
from numpylm.gradcheck import check_model
from numpylm.post.scaling import (
    Factored,
    ScalingConfig,
    chain,
    counted,
    counted_excess,
    excess,
    fit_counts,
    measure,
    pair_counts,
    power_law,
)


def test_counting_costs_k_over_2n():
    """k = 4 · 3 = 12 free numbers, 6,000 transitions; the mean of 20 texts."""
    P, start = chain(4, 5)
    n, found = 6000, []
    for seed in range(20):
        counts = pair_counts(P, start, n, np.random.default_rng(seed))
        assert counts.sum() == n
        found.append(excess(P, start, counted(counts, 0.5)))
    ratio = np.mean(found) / counted_excess(P, n)
    error = np.std(found) / np.sqrt(20) / counted_excess(P, n)
    assert counted_excess(P, n) == 12 / 12000
    assert abs(ratio - 1) < 4 * error and error < 0.15


def test_without_smoothing_an_unseen_pair_costs_infinity():
    P, start = chain(4, 5)
    assert excess(P, start, P) == 0
    assert excess(P, start, counted(np.ones((4, 4)) - np.eye(4), 0.0)) == np.inf
    np.testing.assert_allclose(start @ P, start)


def test_f4_a_low_rank_has_a_floor_and_a_full_one_has_none():
    P, start = chain(5, 1)
    rng = np.random.default_rng(0)
    floors = [
        excess(P, start, fit_counts(start[:, None] * P, rank, 1000, rng).law())
        for rank in (1, 2, 5)
    ]
    assert floors[0] > floors[1] > 0.01 > 1e-4 > floors[2] > -1e-12


def test_f4_the_gradient_of_the_factored_model():
    model = Factored(vocab_size=7, context_length=9, width=3, init_std=1.0, dtype=np.float64)
    ids = np.array([[1, 6, 1, 2, 4], [5, 1, 1, 0, 2]])
    report = check_model(model, (ids, np.roll(ids, 1)))
    assert report.passed, f"\n{report}"


def test_a_power_law_is_found_with_its_error():
    x, y = np.array([1.0, 2, 4, 8, 16, 3, 5, 9]), np.array([1.0, 1, 3, 3, 5, 5, 7, 7])
    exact = power_law([x, y], 2 * x**-1.0 * y**0.5)
    np.testing.assert_allclose((exact.intercept, *exact.slopes), (np.log(2), -1, 0.5))
    assert max(exact.errors) < 1e-12
    noisy = power_law([x], x**-1.0 * np.exp(np.random.default_rng(0).normal(0, 0.1, 8)))
    assert abs(noisy.slopes[0] + 1) < 4 * noisy.errors[0] < 0.4


def test_the_command_measures_and_draws(tmp_path, capsys):
    words = ["--ranks", "1,2", "--tokens", "100,300,900", "--seeds", "2", "--steps", "40"]
    assert main(["scaling", *words, "--vocab-size", "4", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "k/(2n)" in out and "exponent" in out and (tmp_path / "scaling.png").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"ranks": "1,99"}, "rank 99 is above the 16 words"),
        ({"ranks": "a"}, "must be whole numbers with commas"),
        ({"tokens": "0,5"}, "tokens must be at least 1"),
    ],
)
def test_what_is_refused_is_named(options, says):
    with pytest.raises(InputError, match=says):
        measure(ScalingConfig(**options))
    with pytest.raises(InputError, match="numbers above 0"):
        power_law([[1, 2, 3]], [1, 0, 2])
