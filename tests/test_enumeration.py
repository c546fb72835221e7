"""post/enumeration.py: exact objectives and gradients, and what the estimators are on average."""

import numpy as np
import pytest

from numpylm import GPT
from numpylm.attention_lm import AttentionLM
from numpylm.errors import InputError
from numpylm.gradcheck import central_difference, complex_step
from numpylm.objectives import best_policy, group_advantages
from numpylm.post.enumeration import (
    every_text,
    exact_gradient,
    exact_value,
    expected_weights,
    log_probabilities,
    make_game,
    towards_parameters,
)

PROMPTS = np.array([[1, 2], [3, 1], [2, 2]])
SIZES = {"vocab_size": 4, "context_length": 6}


def reward(prompt, text):
    return float(np.sum(text == prompt[0]) - 0.3 * np.sum(text == prompt[1]))


def moved(kind, **sizes):
    """A model, and the game of what it was before it was moved."""
    rng = np.random.default_rng(2)
    model = kind(**SIZES, **sizes, dtype=np.float64)
    model.params.flat[...] = rng.normal(0, 0.5, model.params.flat.size)
    game = make_game(model, PROMPTS, reward, 3, 0, 0.4)
    model.params.flat[...] += rng.normal(0, 0.3, model.params.flat.size)
    return model, game


SMALL = moved(AttentionLM, width=3)


def test_every_text_is_there_once_and_ends_where_it_stops():
    texts = every_text(4, 3, 0)
    assert len(texts) == 1 + 3 + 9 + 27 == len(np.unique(texts, axis=0))
    for text in texts:
        own = text[text != -100].tolist()
        assert own.index(0) == len(own) - 1 if 0 in own else len(own) == 3


@pytest.mark.parametrize(
    "kind, sizes",
    [(AttentionLM, {"width": 3}), (GPT, {"layers": 1, "heads": 1, "width": 4, "bias": False})],
)
def test_f36_the_exact_gradient_is_the_numerical_one(kind, sizes):
    model, game = moved(kind, **sizes)
    value, cache = exact_value(model, game)
    gradient = exact_gradient(cache).flat

    def value_at(flat):
        twin = model.astype(flat.dtype)
        twin.params.flat[...] = flat
        return exact_value(twin, game)[0]

    flat = model.params.flat
    assert np.abs(central_difference(value_at, flat) - gradient).max() < 1e-9
    assert np.abs(complex_step(value_at, flat) - gradient).max() < 1e-13
    assert value < game.best


def test_f41_the_distance_to_the_best_value_is_a_kl():
    model, game = SMALL
    logp, _ = log_probabilities(model, game)
    np.testing.assert_allclose(np.exp(logp).sum(axis=1), 1)
    best, _ = best_policy(game.reference, game.rewards, game.beta)
    kl = (np.exp(logp) * (logp - best)).sum() / len(logp)
    assert exact_value(model, game)[0] == pytest.approx(game.best - game.beta * kl, abs=1e-12)


def gradient_of(model, game, size, **how):
    """The expectation of a sampled gradient, over all groups that can be drawn."""
    logp, cache = log_probabilities(model, game)
    gain = game.rewards - game.beta * (logp - game.reference)
    weights = [expected_weights(*row, size, **how) for row in zip(logp, gain, strict=True)]
    return towards_parameters(np.array(weights) / len(logp), cache).flat


def test_f37_what_each_baseline_leaves_of_the_gradient():
    """The others of the group: all. None: all. The group's mean: (G − 1)/G, exactly."""
    model, game = SMALL
    exact = exact_gradient(exact_value(model, game)[1]).flat
    for size in (2, 3):
        for baseline, left in (("others", 1), ("group", (size - 1) / size)):
            found = gradient_of(model, game, size, baseline=baseline)
            np.testing.assert_allclose(found, left * exact, atol=1e-13)
    np.testing.assert_allclose(gradient_of(model, game, 1, baseline="none"), exact, atol=1e-13)


def test_f37_divided_by_the_deviation_it_is_the_gradient_of_something_else():
    """Of a pair, the better text has the advantage 1: of which one is better, not by how much."""
    model, game = SMALL
    exact = exact_gradient(exact_value(model, game)[1]).flat
    found = gradient_of(model, game, 2, baseline="group", deviation=True)
    parallel = found @ exact / (found @ found)
    assert np.abs(parallel * found - exact).max() > 0.05 * np.abs(exact).max()
    logp, cache = log_probabilities(model, game)
    gain = game.rewards - game.beta * (logp - game.reference)
    better = np.sign(np.round(gain[:, :, None] - gain[:, None, :], 12))
    weights = np.exp(logp) * np.einsum("pnm,pm->pn", better, np.exp(logp)) / len(logp)
    np.testing.assert_allclose(found, towards_parameters(weights, cache).flat, atol=1e-12)


def test_f37_divided_by_lengths_it_is_the_gradient_of_something_else():
    model, game = SMALL
    logp, cache = log_probabilities(model, game)
    gain = game.rewards - game.beta * (logp - game.reference)
    weights = np.array([expected_weights(*row, 2) for row in zip(logp, gain, strict=True)])
    divided = towards_parameters(weights / game.lengths / len(logp), cache).flat
    exact = exact_gradient(exact_value(model, game)[1]).flat
    cosine = divided @ exact / np.linalg.norm(divided) / np.linalg.norm(exact)
    assert 0 < cosine < 0.999


def test_f37_groups_that_are_drawn_agree_with_their_own_expectation():
    """20,000 groups of 3: every weight within 5 standard errors."""
    rng = np.random.default_rng(4)
    p, rewards = rng.dirichlet(np.ones(6)), rng.normal(size=6)
    groups = rng.choice(6, size=(20_000, 3), p=p)
    for how in ({}, {"baseline": "group"}, {"baseline": "group", "deviation": True}):
        a = group_advantages(rewards[groups], **how) / 3
        each = np.stack([(a * (groups == n)).sum(axis=1) for n in range(6)])
        error = each.std(axis=1) / np.sqrt(len(groups))
        expected = expected_weights(np.log(p), rewards, 3, **how)
        assert (np.abs(each.mean(axis=1) - expected) < 5 * error).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: every_text(4, 3, 4), r"stop must be a token in \[0, 4\)"),
        (lambda: every_text(1, 3, 0), "vocab_size must be at least 2"),
        (lambda: make_game(SMALL[0], [1, 2], reward, 3, 0, 0.1), "must be .P, s."),
        (lambda: make_game(SMALL[0], PROMPTS, reward, 3, 0, -1.0), "beta must be at least 0"),
    ],
)
def test_what_is_refused_is_named(call, words):
    with pytest.raises(InputError, match=words):
        call()
