"""Every text of a small language: what sampling estimates is here a sum without chance.

    J = mean over prompts of  Σ_n p_n (r_n − β (ℓ_n − ref_n))         n runs over all texts
    dJ/dℓ_n = p_n (r_n − β (ℓ_n − ref_n) − β)

With `exact_value` go its gradient, the best value that any policy can reach (F41), and the
expectation of every sampled estimator: a sum over all groups of texts that may be drawn.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from ..allocator import require_memory
from ..arguments import as_ids, number, whole
from ..arrays import Array, ArrayLike
from ..errors import InputError
from ..model import Parameters
from ..objectives import (
    best_policy,
    group_advantages,
    text_logp_backward,
    text_logp_forward,
)
from ..ops import IGNORE
from .rollouts import rows_of

Reward = Callable[[Array, Array], float]  # of a prompt, and of a text without what follows its stop


def every_text(vocab_size: int, length: int, stop: int) -> Array:
    """All texts that end with `stop`, or fill `length`: ids (M, length), IGNORE behind the stop."""
    V, T = whole("vocab_size", vocab_size, at_least=2), whole("length", length, at_least=1)
    if not 0 <= whole("stop", stop) < V:
        raise InputError(f"stop must be a token in [0, {V}), not {stop}")
    require_memory(8 * T * (V - 1) ** T, f"all texts of {T} tokens from {V}")
    others = [w for w in range(V) if w != stop]
    rows = [
        [*start, stop, *[IGNORE] * (T - n - 1)]
        for n in range(T)
        for start in product(others, repeat=n)
    ]
    rows += [[*start] for start in product(others, repeat=T)]
    return np.array(rows)


@dataclass(frozen=True, eq=False)
class Game:
    """Prompts, all texts that may follow them, their rewards, and where the policy started.

    prompts (P, s), texts (M, T), rewards (P, M), reference (P, M): log p when the game was made.
    """

    prompts: Array
    texts: Array
    rewards: Array
    reference: Array
    beta: float

    @property
    def best(self) -> float:
        """F41: the largest J of any policy, the mean over prompts."""
        return float(best_policy(self.reference, self.rewards, self.beta)[1].mean())

    @property
    def lengths(self) -> Array:
        """How many tokens each text has (M,)."""
        count: Array = (self.texts != IGNORE).sum(axis=1)
        return count


def make_game(
    model: Any, prompts: ArrayLike, reward: Reward, length: int, stop: int, beta: float
) -> Game:
    """The game of a model: it is its own reference, frozen as it is now.

    reward(prompt, text): a number; text is without what follows its stop.
    """
    prompts = as_ids("prompts", prompts)
    if prompts.ndim != 2 or not prompts.size:
        raise InputError(f"prompts {prompts.shape} must be (P, s): P prompts of s tokens each")
    texts = every_text(model.config.vocab_size, length, stop)
    own = [text[text != IGNORE] for text in texts]
    rewards = np.array([[float(reward(x, y)) for y in own] for x in prompts])
    game = Game(prompts, texts, rewards, np.zeros(rewards.shape), number("beta", beta, at_least=0))
    reference, _ = log_probabilities(model, game)
    return replace(game, reference=reference)


def log_probabilities(model: Any, game: Game) -> tuple[Array, Any]:
    """ℓ (P, M) of every text after every prompt, and a cache for `towards_parameters`."""
    P, M = len(game.prompts), len(game.texts)
    ids, targets = rows_of(np.repeat(game.prompts, M, axis=0), np.tile(game.texts, (P, 1)))
    logits, cache = model.forward(ids)
    logp, logp_cache = text_logp_forward(logits, targets)
    return logp.reshape(P, M), (model, cache, logp_cache)


def towards_parameters(weights: Array, cache: Any) -> Parameters:
    """Σ weight ∇ℓ over all texts: F34 upwards, then the model.   weights (P, M)"""
    model, forward_cache, logp_cache = cache
    grads: Parameters = model.backward(
        text_logp_backward(weights.ravel(), logp_cache), forward_cache
    )
    return grads


def exact_value(model: Any, game: Game) -> tuple[Any, Any]:
    """J of a model, summed over every text, and a cache for `exact_gradient`."""
    logp, cache = log_probabilities(model, game)
    p, gain = np.exp(logp), game.rewards - game.beta * (logp - game.reference)
    return (p * gain).sum() / len(p), (p, gain, game.beta, cache)


def exact_gradient(cache: Any) -> Parameters:
    """dJ/dparams.

    J = 1/P Σ p_n g_n, p_n = exp ℓ_n, g_n = r_n − β (ℓ_n − ref_n)   =>   dℓ_n = p_n (g_n − β)/P
    """
    p, gain, beta, logp_cache = cache
    return towards_parameters(p * (gain - beta) / len(p), logp_cache)


# ---- what a sampled estimator is, on average ---------------------------------------------------


def expected_weights(
    logp: Array, rewards: Array, size: int, baseline: str = "others", deviation: bool = False
) -> Array:
    """The mean weight (M,) that an estimator gives each text, over all M^size groups.

        E[1/G Σ_n a_n 1[y_n is the text]]        its gradient is then Σ weight ∇ℓ

    logp, rewards (M,) of all texts of one prompt. The advantages are those of F37.
    """
    M = len(logp)
    require_memory(24 * size * M**size, f"all groups of {size} from {M} texts")
    groups = np.indices((M,) * size).reshape(size, -1).T
    chance = np.exp(logp[groups].sum(axis=1))
    a = group_advantages(rewards[groups], baseline, deviation) * chance[:, None] / size
    return np.bincount(groups.ravel(), a.ravel(), minlength=M)
