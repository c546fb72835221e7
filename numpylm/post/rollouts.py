"""Texts that a model draws, and what it learns from their rewards.

`Rollouts` draws for every prompt a group of texts and has them judged: batches for `Training` and
`Run`. `Rewarded` is the model with another loss, F38 plus β times F39. Together they are GRPO where
advantages are divided by the group's deviation and KL is k3; with one step for each batch and
KL in the reward, the policy gradient (F36).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import objectives
from ..arguments import as_ids, generator, whole
from ..arrays import Array, ArrayLike, Rng
from ..config import Config, option
from ..errors import InputError
from ..model import Parameters
from ..objectives import BASELINES, ESTIMATES, group_advantages, text_logp_forward
from ..ops import IGNORE, softmax_forward


@dataclass(frozen=True)
class RewardConfig(Config):
    """learning from rewards"""

    group: int = option(8, "texts that are drawn for each prompt", minimum=1, maximum=10**6)
    prompts: int = option(16, "prompts in a batch", minimum=1, maximum=10**6)
    baseline: str = option("others", "what a reward is compared with", choices=BASELINES)
    deviation: bool = option(False, "divide advantages by the deviation of the group, as GRPO does")
    beta: float = option(0.02, "what a nat of KL from the reference costs; 0 disables", minimum=0)
    kl: str = option(
        "reward",
        "where KL enters: subtracted from the reward, or a term of the loss (k1, k2, k3)",
        choices=("reward", *ESTIMATES),
    )
    clip: float = option(0.2, "ε: how far a probability may move away from when it drew", above=0)


def frozen(model: Any) -> Any:
    """A copy with parameters of its own, which no training of `model` moves: a reference."""
    return model.astype(model.params.flat.dtype)


def require_same_words(model: Any, reference: Any) -> None:
    """InputError where a reference has another vocabulary."""
    V, other = model.config.vocab_size, reference.config.vocab_size
    if other != V:
        raise InputError(
            f"the reference has a vocabulary of {other}, the model one of {V}: their "
            "log-probabilities are of different texts; freeze a copy of the model itself"
        )


def draw(model: Any, prompts: ArrayLike, length: int, stop: int, rng: Rng) -> Array:
    """A text for each prompt, drawn token by token.   prompts (N, s)  ->  texts (N, length)

    Behind its stop, and only there, a text is IGNORE.
    """
    prompts, rng = as_ids("prompts", prompts), generator("rng", rng)
    length = whole("length", length, at_least=1)
    if prompts.ndim != 2 or not prompts.size:
        raise InputError(f"prompts {prompts.shape} must be (N, s): N prompts of s tokens each")
    texts = np.full((len(prompts), length), IGNORE)
    going = np.ones(len(prompts), bool)
    past = model.start(len(prompts)) if hasattr(model, "extend") else None
    new = rows = prompts
    for t in range(length):
        logits = model.next_logits(rows) if past is None else model.extend(new, past)[:, -1]
        below = np.cumsum(softmax_forward(logits)[0], axis=1, dtype=np.float64)
        u = rng.random(len(rows)) * below[:, -1]
        words = np.minimum((below <= u[:, None]).sum(axis=1), logits.shape[1] - 1)
        texts[going, t] = words[going]
        going &= words != stop
        if not going.any():
            break
        new = words[:, None]
        rows = np.concatenate([rows, new], axis=1)
    return texts


def rows_of(prompts: Array, texts: Array) -> tuple[Array, Array]:
    """ids and targets (N, s + T − 1) of prompts and the texts that follow them (F35)."""
    rows = np.concatenate([prompts, texts], axis=1)
    targets = rows[:, 1:].copy()
    targets[:, : prompts.shape[1] - 1] = IGNORE
    return np.where(rows == IGNORE, 0, rows)[:, :-1], targets


def logp_of(model: Any, ids: Array, targets: Array) -> Array:
    """F34 of every row, as numbers."""
    return text_logp_forward(model.forward(ids)[0], targets)[0]


class Rewarded:
    """A model whose loss is F38 + β F39: what its rewards, of texts it has drawn, ask for.

    It owns nothing: its parameters and config are the model's.
    """

    def __init__(self, model: Any, config: RewardConfig):
        self.model, self.options = model, config
        self.params, self.config = model.params, model.config

    def loss(
        self,
        ids: ArrayLike,
        targets: ArrayLike,
        advantages: ArrayLike,
        old: ArrayLike,
        reference: ArrayLike,
        rng: Rng | None = None,
    ) -> tuple[Any, Any]:
        """−(the clipped objective) + β KL.   ids, targets (N, T), the others (N,)"""
        logits, cache = self.model.forward(ids, rng)
        logp, logp_cache = text_logp_forward(logits, targets)
        loss, clipped = objectives.clipped_forward(logp, old, advantages, self.options.clip)
        kl = None
        if self.options.beta and self.options.kl != "reward":
            value, kl = objectives.kl_estimate_forward(logp, reference, self.options.kl)
            loss += self.options.beta * value
        return loss, (cache, logp_cache, clipped, kl)

    def loss_backward(self, cache: Any, dL: float = 1.0) -> Parameters:
        """The two weights of each text added, then F34 and the model."""
        forward_cache, logp_cache, clipped, kl = cache
        weights = objectives.clipped_backward(dL, clipped)
        if kl is not None:
            weights = weights + objectives.kl_estimate_backward(dL * self.options.beta, kl)
        grads: Parameters = self.model.backward(
            objectives.text_logp_backward(weights, logp_cache), forward_cache
        )
        return grads

    def astype(self, dtype: Any) -> "Rewarded":
        """The same in another dtype."""
        return Rewarded(self.model.astype(dtype), self.options)


class Rollouts:
    """Batches for `Rewarded`: a function of an rng that lets the model draw, and judges.

    prompts (P, s): what is drawn from. reward(prompt, text): a number; text is a row of `draw`
    without what follows its stop. reference: a frozen model. Counts what it has seen: `mean_reward`
    of the last batch, and `silent`, the share of its groups in which all rewards are equal: their
    part of the gradient is exactly 0.
    """

    def __init__(
        self,
        model: Any,
        prompts: ArrayLike,
        reward: Callable[[Array, Array], float],
        length: int,
        stop: int,
        config: RewardConfig,
        reference: Any = None,
    ):
        self.model, self.options, self.reward = model, config, reward
        self.prompts = as_ids("prompts", prompts)
        self.length, self.stop = length, stop
        self.reference = frozen(model) if reference is None else reference
        require_same_words(model, self.reference)
        group_advantages(np.zeros(config.group), config.baseline, config.deviation)  # may refuse
        self.mean_reward, self.kl, self.silent, self.drawn = 0.0, 0.0, 0.0, 0

    def __call__(self, rng: Rng) -> dict[str, Array]:
        """The texts of one batch, their advantages, and their log-probabilities."""
        o = self.options
        rows = self.prompts[rng.integers(len(self.prompts), size=o.prompts)]
        prompts = np.repeat(rows, o.group, axis=0)
        texts = draw(self.model, prompts, self.length, self.stop, rng)
        ids, targets = rows_of(prompts, texts)
        old, reference = (logp_of(m, ids, targets) for m in (self.model, self.reference))
        rewards = np.array(
            [float(self.reward(x, y[y != IGNORE])) for x, y in zip(prompts, texts, strict=True)]
        )
        groups = rewards.reshape(o.prompts, o.group)
        self.drawn += len(rewards)
        self.mean_reward, self.kl = float(rewards.mean()), float((old - reference).mean())
        self.silent = float((groups == groups[:, :1]).all(axis=1).mean())
        if o.kl == "reward":
            groups = groups - o.beta * (old - reference).reshape(groups.shape)
        advantages = group_advantages(groups, o.baseline, o.deviation).ravel()
        return {
            "ids": ids,
            "targets": targets,
            "advantages": advantages,
            "old": old,
            "reference": reference,
        }

    def __repr__(self) -> str:
        return f"{self.options.prompts} groups of {self.options.group} texts that the model draws"
