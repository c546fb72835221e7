"""What must hold exactly of the objectives after pre-training: part of invariants.py."""

import numpy as np

from .. import objectives
from .gradient_cases import OpCase
from .invariants import Pairs, alone, of_cases, run


@of_cases("text_logp", "kl")
def what_one_word_gains_the_others_lose(case: OpCase) -> Pairs:
    """Σ_w dz_w = 0: a shift of all logits changes no probability"""
    _, (dz,), _ = run(case)
    yield dz.sum(axis=-1), np.zeros(dz.shape[:-1])


@alone("clipped")
def a_fresh_text_is_never_clipped() -> Pairs:
    """old = ℓ: every ρ is 1, and the gradient is that of F36"""
    logp, a = np.array([-3.0, -0.5, -2.0]), [2.0, -1.0, 0.5]
    value, cache = objectives.clipped_forward(logp, logp, a)
    yield value, -np.mean(a)
    _, plain = objectives.policy_gradient_forward(logp, a)
    fresh = objectives.clipped_backward(2.0, cache)
    yield fresh, objectives.policy_gradient_backward(2.0, plain)


@of_cases("preference")
def what_the_preferred_gains_the_rejected_loses(case: OpCase) -> Pairs:
    _, (preferred, rejected), _ = run(case)
    yield preferred, -rejected


@alone("preference")
def margins_of_any_size_are_finite() -> Pairs:
    """−log σ(±10⁴) is 0 and 10⁴, and the pull of a pair that is wrong is β."""
    far, near = np.array([1e4, -1e4]), np.zeros(2)
    value, cache = objectives.preference_forward(far, near, near, near, 1.0)
    yield value, 5e3
    yield objectives.preference_backward(1.0, cache)[0], np.array([0.0, -0.5])


@of_cases("low_rank")
def both_thin_factors_are_pulled_alike(case: OpCase) -> Pairs:
    """u v is linear in each   =>   Σ u du = Σ v dv"""
    _, (_, du, dv), _ = run(case)
    yield np.sum(case.args[1] * du), np.sum(case.args[2] * dv)
