"""post/rollouts.py: what is drawn, and that training on it approaches the best value."""

import numpy as np
import pytest

from numpylm import GPT, train
from numpylm.attention_lm import AttentionLM
from numpylm.errors import InputError
from numpylm.gradcheck import check_model
from numpylm.ops import IGNORE
from numpylm.post.enumeration import exact_value, make_game
from numpylm.post.rollouts import (
    RewardConfig,
    Rewarded,
    Rollouts,
    draw,
    frozen,
    logp_of,
    rows_of,
)

PROMPTS = np.array([[1, 2], [3, 1]])


def small(kind=AttentionLM, **sizes):
    model = kind(vocab_size=4, context_length=6, **sizes, dtype=np.float64)
    model.params.flat[...] = np.random.default_rng(2).normal(0, 0.6, model.params.flat.size)
    return model


def reward(prompt, text):
    return float(np.sum(text == prompt[0]))


def rollouts(model, **options):
    return Rollouts(model, PROMPTS, reward, 3, 0, RewardConfig(**options))


@pytest.mark.parametrize(
    "model", [small(width=3), small(GPT, layers=1, heads=1, width=4)], ids=["plain", "with a cache"]
)
def test_f34_texts_are_drawn_as_often_as_they_are_likely(model):
    game = make_game(model, PROMPTS[:1], reward, 2, 0, 0.1)
    n = 4000
    texts = draw(model, np.tile(PROMPTS[0], (n, 1)), 2, 0, np.random.default_rng(3))
    p = np.exp(game.reference[0])
    found = np.array([(texts == text).all(axis=1).mean() for text in game.texts])
    assert found.sum() == pytest.approx(1)
    assert (np.abs(found - p) < 5 * np.sqrt(p / n)).all()


def test_f34_of_what_was_drawn_is_that_of_the_enumeration():
    model = small(width=3)
    game = make_game(model, PROMPTS, reward, 3, 0, 0.1)
    texts = draw(model, PROMPTS, 3, 0, np.random.default_rng(3))
    logp = logp_of(model, *rows_of(PROMPTS, texts))
    for row, text, found in zip(game.reference, texts, logp, strict=True):
        assert found == pytest.approx(row[(game.texts == text).all(axis=1)][0])
    assert ((texts == IGNORE).cumsum(axis=1) <= (texts == 0).cumsum(axis=1) * 3).all()


@pytest.mark.parametrize("kl", ["reward", "k1", "k2", "k3"])
def test_f38_f39_the_gradient_of_the_whole_loss(kl):
    model = small(width=3)
    source = rollouts(model, group=5, prompts=1, kl=kl, beta=0.3)
    batch = source(np.random.default_rng(1))
    model.params.flat[...] += np.random.default_rng(4).normal(0, 0.2, model.params.flat.size)
    rewarded = Rewarded(model, source.options)
    report = check_model(rewarded, batch, equal_axes=True)
    assert report.passed, f"\n{report}"


def test_f41_training_on_samples_approaches_the_best_value():
    model = small(width=8, tied=False, positions=True)
    game = make_game(model, PROMPTS, reward, 3, 0, 0.5)
    before = exact_value(model, game)[0]
    source = rollouts(model, group=16, prompts=4, beta=0.5)
    train(Rewarded(model, source.options), source, 200, 0.03, progress=False)
    after = exact_value(model, game)[0]
    assert before < after < game.best
    reachable = game.best - before
    assert game.best - after < 0.25 * reachable, (before, after, game.best)
    assert source.kl > 0


def test_f37_equal_rewards_move_nothing():
    model = small(width=3)
    config = RewardConfig(group=4, prompts=2, beta=0.0)
    source = Rollouts(model, PROMPTS, lambda x, y: 0.1, 3, 0, config)
    before = model.params.flat.copy()
    train(Rewarded(model, config), source, 3, progress=False)
    assert (model.params.flat == before).all()
    assert source.silent == 1.0


def test_a_reference_does_not_move():
    model = small(width=3)
    reference = frozen(model)
    model.params.flat[...] += 1
    assert not (reference.params.flat == model.params.flat).any()


def test_what_is_refused_is_named():
    model = small(width=3)
    with pytest.raises(InputError, match="draw at least 2 for each prompt"):
        rollouts(model, group=1)
    assert rollouts(model, group=1, baseline="none")
    other = AttentionLM(vocab_size=5, context_length=6)
    with pytest.raises(InputError, match="a vocabulary of 5, the model one of 4"):
        Rollouts(model, PROMPTS, reward, 3, 0, RewardConfig(), other)
    with pytest.raises(InputError, match=r"must be .N, s."):
        draw(model, [1, 2], 3, 0, np.random.default_rng(0))
