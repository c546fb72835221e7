"""objectives.py: values by hand, what the formulas promise, and what is refused."""

import math

import numpy as np
import pytest

from numpylm import objectives as o
from numpylm import ops
from numpylm.errors import InputError
from numpylm.ops import IGNORE

rng = np.random.default_rng(0)
Z, Y = rng.normal(size=(4, 3, 5)), np.array([[1, 4, IGNORE], [0, 0, 2], [IGNORE] * 3, [3, 3, 3]])


def close(actual, expected, tolerance=1e-12):
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


# ---- F34, F35 --------------------------------------------------------------------------------


def test_f34_the_log_probability_of_a_text_by_hand():
    """½ ¼ of words that are as likely as the others."""
    logits = np.log([[[2.0, 1.0, 1.0], [1.0, 2.0, 1.0]]])
    logp, cache = o.text_logp_forward(logits, [[0, 2]])
    close(logp, [math.log(1 / 8)])
    close(o.text_logp_backward([2.0], cache), [[[1.0, -0.5, -0.5], [-0.5, -1.0, 1.5]]])


def test_f34_with_equal_weights_is_cross_entropy_upside_down():
    logp, cache = o.text_logp_forward(Z, Y)
    loss, other = ops.cross_entropy_forward(Z, Y)
    N = (Y != IGNORE).sum()
    close(-logp.sum() / N, loss)
    weights = np.full(4, -1 / N)
    close(o.text_logp_backward(weights, cache), ops.cross_entropy_backward(1.0, other))
    assert logp[2] == 0


def test_f34_of_all_texts_sums_to_1():
    texts = np.array([[a, b] for a in range(3) for b in range(3)])
    first, second = rng.normal(size=3), rng.normal(size=(3, 3))
    logits = np.array([[first, second[a]] for a, _ in texts])
    close(np.exp(o.text_logp_forward(logits, texts)[0]).sum(), 1)


def test_f35_the_prompt_is_masked_and_padding_is_no_target():
    no = IGNORE
    ids = [[7, 8, 9, 5, 0], [7, 9, 5, 0, 0]]
    assert o.answer_targets(ids, [2, 1], 0).tolist() == [[no, 9, 5, no], [9, 5, no, no]]
    assert o.answer_targets(ids, 4).tolist() == [[no, no, no, 0]] * 2
    logits = np.random.default_rng(1).normal(size=(2, 4, 10))
    _, cache = ops.cross_entropy_forward(logits, o.answer_targets(ids, [2, 1], 0))
    dz = ops.cross_entropy_backward(1.0, cache)
    assert not dz[0, 0].any() and not dz[0, 3].any() and dz[0, 1].any()


# ---- F36 to F38 ------------------------------------------------------------------------------


def test_f36_the_loss_is_no_measure_and_the_gradient_is():
    """exp(ℓ − ℓ as a number) has the value 1: with a group's mean the public loss is 0."""
    logp, rewards = np.array([-1.0, -2.0, -4.0]), [1.0, 0.0, 2.0]
    a = o.group_advantages(rewards, "group")
    value, cache = o.clipped_forward(logp, logp, a)
    assert value == 0
    close(o.clipped_backward(1.0, cache), -a / 3)
    close(o.policy_gradient_backward(1.0, o.policy_gradient_forward(logp, a)[1]), -a / 3)


def test_f37_others_is_the_group_times_n_over_n_minus_1():
    rewards = rng.normal(size=(3, 5))
    by_hand = [[r - (row.sum() - r) / 4 for r in row] for row in rewards]
    close(o.group_advantages(rewards), by_hand)
    close(o.group_advantages(rewards, "group") * 5 / 4, by_hand)
    close(o.group_advantages(rewards, "group", True).std(axis=1), 1)


@pytest.mark.parametrize("baseline", ["others", "group"])
@pytest.mark.parametrize("deviation", [False, True])
def test_f37_equal_rewards_have_advantages_of_exactly_0(baseline, deviation):
    a = o.group_advantages([[0.1] * 7, [0.3, *[0.1] * 6]], baseline, deviation)
    assert not a[0].any() and a[1].all()


def test_f37_a_group_of_one_has_no_baseline():
    with pytest.raises(InputError, match="draw at least 2 for each prompt"):
        o.group_advantages([[1.0], [2.0]])
    close(o.group_advantages([[1.0], [2.0]], "none"), [[1.0], [2.0]])


@pytest.mark.parametrize(
    ("ratio", "advantage", "value", "slope"),
    [
        (1.0, 2.0, 2.0, 2.0),
        (1.5, 2.0, 2.4, 0.0),
        (1.5, -2.0, -3.0, -3.0),
        (0.5, 2.0, 1.0, 1.0),
        (0.5, -2.0, -1.6, 0.0),
    ],
)
def test_f38_clips_what_has_gone_far_enough(ratio, advantage, value, slope):
    """The five cases of the paper's figure 1, ε = 0.2."""
    loss, cache = o.clipped_forward(np.array([math.log(ratio)]), [0.0], [advantage], 0.2)
    close(loss, -value)
    close(o.clipped_backward(1.0, cache), [-slope])


# ---- F39, F40 --------------------------------------------------------------------------------


def two_policies():
    p, q = rng.dirichlet(np.ones(6)), rng.dirichlet(np.ones(6))
    return np.log(p), np.log(q), float(p @ np.log(p / q))


def test_f39_k1_and_k3_are_unbiased_k2_is_not_and_k3_is_never_negative():
    logp, ref, kl = two_policies()
    means, lowest, spread = {}, {}, {}
    for name in o.ESTIMATES:
        each = np.array(
            [o.kl_estimate_forward(logp[n : n + 1], ref[n : n + 1], name)[0] for n in range(6)]
        )
        means[name], lowest[name] = np.exp(logp) @ each, each.min()
        spread[name] = np.exp(logp) @ (each - means[name]) ** 2
    close([means["k1"], means["k3"]], kl)
    assert abs(means["k2"] - kl) > 0.01 and lowest["k1"] < 0 <= lowest["k3"]


def test_f39_the_expected_gradients_are_0_of_kl_and_of_kl_reversed():
    """Over logits: Σ_y p(y) slope(y) (1[w = y] − p_w)."""
    logp, ref, kl = two_policies()
    p, q = np.exp(logp), np.exp(ref)
    expected = {"k1": np.zeros(6), "k2": p * (logp - ref - kl), "k3": p - q}
    for name in o.ESTIMATES:
        slopes = 6 * o.kl_estimate_backward(1.0, o.kl_estimate_forward(logp, ref, name)[1])
        close(p * slopes - p * (p @ slopes), expected[name])


def test_f40_the_summed_kl_has_the_gradient_of_k2():
    logp, ref, kl = two_policies()
    value, cache = o.kl_forward(logp[None] + 3, ref[None] - 1)
    close(value, kl)
    close(o.kl_backward(1.0, cache)[0], np.exp(logp) * (logp - ref - kl))
    assert o.kl_forward(logp[None], logp[None])[0] == 0


# ---- F41, F42 --------------------------------------------------------------------------------


def test_f41_the_best_value_is_reached_by_the_best_policy_alone():
    ref, rewards, beta = np.log(rng.dirichlet(np.ones(9))), rng.normal(size=9), 0.3
    best, value = o.best_policy(ref, rewards, beta)

    def objective(logp):
        return np.exp(logp) @ (rewards - beta * (logp - ref))

    close(np.exp(best).sum(), 1)
    close(objective(best), value)
    for _ in range(20):
        p = np.log(rng.dirichlet(np.ones(9)))
        close(value - objective(p), beta * (np.exp(p) @ (p - best)))


def test_f41_without_a_price_it_is_the_best_reward_that_can_be_written():
    with np.errstate(divide="ignore"):
        ref = np.log([0.5, 0.2, 0.3, 0.0])
    best, value = o.best_policy(ref, [1.0, 2.0, 2.0, 9.0], 0.0)
    assert value == 2.0
    close(np.exp(best), [0, 0.4, 0.6, 0])
    assert o.best_policy(ref, [0.0, 1e6, 0.0, 0.0], 1e-3)[1] == pytest.approx(1e6)


def test_f42_at_the_best_policy_a_pair_is_as_likely_as_its_rewards_say():
    ref, rewards, beta = np.log(rng.dirichlet(np.ones(4))), rng.normal(size=4), 0.7
    best, _ = o.best_policy(ref, rewards, beta)
    loss, _ = o.preference_forward(best[:1], best[1:2], ref[:1], ref[1:2], beta)
    close(math.exp(-loss), 1 / (1 + math.exp(rewards[1] - rewards[0])))


def test_f42_a_pair_that_is_not_told_apart_costs_ln_2():
    logp = np.array([-3.0, -1.0])
    loss, cache = o.preference_forward(logp, logp - 1, logp, logp - 1, 0.5)
    close(loss, math.log(2))
    close(o.preference_backward(1.0, cache), [[-1 / 8] * 2, [1 / 8] * 2])


# ---- what is refused -------------------------------------------------------------------------

ONE = np.zeros(2)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: o.text_logp_forward(Z[0], Y[0]), "expected logits"),
        (lambda: o.text_logp_forward(Z, Y[:, :2]), "one target for each prediction"),
        (lambda: o.answer_targets([1, 2], 1), "must be texts"),
        (lambda: o.answer_targets([[1, 2], [1, 2]], [1, 2]), "text 1 has 2 tokens .* prompt has 2"),
        (lambda: o.answer_targets([[1, 2]], 0), "a prompt has at least 1"),
        (lambda: o.answer_targets([[1, 2], [1, 2]], [1, 0]), "text 1 has .* its prompt has 0"),
        (lambda: o.answer_targets([[1, 2]], [1, 1]), "one number, or one for each text"),
        (lambda: o.policy_gradient_forward(ONE, [1.0]), "advantages must be finite numbers"),
        (lambda: o.policy_gradient_forward(ONE, [1.0, np.nan]), "advantages must be finite"),
        (lambda: o.group_advantages([1.0, 2.0], "mean"), "one of others, group, none"),
        (lambda: o.group_advantages([1.0, np.inf]), "finite numbers"),
        (lambda: o.clipped_forward(ONE, ONE, ONE, 0), "clip must be above 0"),
        (lambda: o.kl_estimate_forward(ONE, ONE, "k4"), "one of k1, k2, k3"),
        (lambda: o.kl_forward(np.zeros((2, 5)), np.zeros((2, 6))), r"shape \(2, 5\), not"),
        (lambda: o.preference_forward(ONE, ONE, ONE, ONE, 0), "beta must be above 0"),
        (lambda: o.best_policy(ONE, ONE, 1.0), "whose sum of p is 1"),
        (lambda: o.best_policy(np.log([0.5, 0.5]), ONE, -1), "beta must be at least 0"),
    ],
)
def test_what_is_refused_is_named(call, words):
    with pytest.raises(InputError, match=words):
        call()
