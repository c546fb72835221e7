"""What a pre-trained model is trained for next: to answer, to be rewarded, to be preferred.

Every objective here is a function of ℓ_n, the log-probability of a text, and its gradient is a
weight for each text. F34 turns weights into scores, the same way for all:

    F34   ℓ_n                              dz_t = weight (1[w = y_t] − p_t)
    F36   policy gradient with a baseline  weight  a_n / N
    F38   PPO's clip                       weight  ρ_n a_n / N, or 0
    F39   KL, estimated from samples       weight  −1/N, −(ℓ_n − ref_n)/N, (exp(ref_n − ℓ_n) − 1)/N
    F42   preference (DPO)                 weight  ±β σ(−β m_n) / N
    F35   fine-tuning with the prompt masked is F5 on fewer targets: weight 1/N

As gradients of what is to grow; a loss has the other sign. The KL that is summed exactly, F40, has
a term of its own. What was recorded when the texts were drawn (rewards, advantages, `old` and
`reference`) is data: it has no gradient.

Letters: N texts, T tokens of each, V vocabulary; x a prompt, y what follows it.
"""

from typing import Any

import numpy as np

from .arguments import array, as_ids, check_targets, number, one_of, plain, shaped
from .arrays import Array, ArrayLike, Cache, as_rows, below_max, row_dot, row_sum
from .errors import InputError
from .ops import IGNORE

# ---- F34: the log-probability of a text ------------------------------------------------------


def text_logp_forward(logits: Array, targets: ArrayLike) -> tuple[Array, Cache]:
    """F34: how likely a model is to write a text.   logits (N, T, V)   targets (N, T)  ->  ℓ (N,)

        ℓ_n = Σ_t log softmax(z_nt)[y_nt]

    In nats, the sum over the text, not the mean. A target that is IGNORE adds nothing.
    Raises InputError where shapes disagree, a target is out of range, or all are ignored.
    """
    (logits,) = shaped("text_logp: logits (N, T, V)", logits)
    y, counted, _ = check_targets(targets, logits, IGNORE)
    rows = np.arange(len(y))
    p = below_max(as_rows(logits))
    z_y = p[rows, y]
    np.exp(p, out=p)
    total = row_sum(p)
    p /= total
    logp = np.where(counted, z_y - np.log(total[:, 0]), p.dtype.type(0))
    return logp.reshape(logits.shape[:-1]).sum(axis=-1), (p, y, counted, logits.shape)


def text_logp_backward(dlogp: Array, cache: Cache) -> Array:
    """The truth minus the prediction, times the weight of the text.   dlogp (N,)  ->  dz

    ℓ_n = Σ_t (z_nty − log Σ_w exp(z_ntw))   =>   dz_ntw = dℓ_n (1[w = y_nt] − p_ntw)
    """
    p, y, counted, shape = cache
    dlogp = array("dlogp", dlogp, shape[:1])
    weight = np.repeat(dlogp, shape[1]) * counted
    dlogits = -p * weight[:, None]
    dlogits[np.arange(len(y)), y] += weight
    dz: Array = dlogits.reshape(shape)
    return dz


# ---- F35: fine-tuning with the prompt masked -------------------------------------------------


def answer_targets(ids: ArrayLike, prompts: ArrayLike, padding: int | None = None) -> Array:
    """F35: what a model is asked to predict of prompt and answer.   ids (N, T)  ->  (N, T − 1)

        y_t = x_{t+1} if t ≥ s, else IGNORE          s tokens are the prompt, t counts from 1

    prompts: s of every text, one number or (N,). The last token of the prompt predicts the first of
    the answer. Tokens that are `padding` are no targets. With these targets F5 is supervised
    fine-tuning. Raises InputError for a text without an answer.
    """
    ids = as_ids("ids", ids)
    if ids.ndim != 2:
        raise InputError(f"ids {ids.shape} must be texts (N, T): fill them up with padding")
    m = as_ids("prompts", prompts)
    if m.shape not in ((), (len(ids),)):
        raise InputError(
            f"prompts {m.shape} must be one number, or one for each text {(len(ids),)}"
        )
    places = np.arange(1, ids.shape[1])
    counted = places >= np.broadcast_to(m, len(ids))[:, None]
    if padding is not None:
        counted &= ids[:, 1:] != padding
    wrong = (m < 1) | ~counted.any(axis=1)
    if wrong.any():
        n = int(np.argmax(wrong))
        raise InputError(
            f"text {n} has {ids.shape[1]} tokens with its padding, and its prompt has "
            f"{np.broadcast_to(m, len(ids))[n]}: a prompt has at least 1, and an answer follows it"
        )
    return np.where(counted, ids[:, 1:], IGNORE)


# ---- F36: policy gradient --------------------------------------------------------------------


def policy_gradient_forward(logp: Array, advantages: ArrayLike) -> tuple[Any, Cache]:
    """F36: make texts likelier that were better than expected.   ℓ: logp (N,)   advantages (N,)

        L = −1/N Σ_n a_n ℓ_n

    L itself means nothing: its gradient is what counts. The reward is no function of the
    parameters, its expectation is: ∇ Σ_y p(y) r(y) = Σ_y p(y) r(y) ∇ log p(y), a mean over texts
    drawn from p. Written exp(ℓ_n − ℓ_n as a number) a_n, as public code has it, every factor has
    the value 1 and the slope dℓ_n, so that the value is the mean advantage, 0 with a group's mean
    as the baseline, and the gradient is this one.
    Source: Williams 1992, Simple Statistical Gradient-Following Algorithms, theorem 1.
    """
    (logp,) = shaped("policy_gradient: logp (N)", logp)
    a = _data("advantages", advantages, logp)
    return -(a * logp).sum() / len(a), (a,)


def policy_gradient_backward(dL: Any, cache: Cache) -> Array:
    """L = −1/N Σ_n a_n ℓ_n   =>   dℓ_n = −dL/N a_n,  and a_n is data"""
    (a,) = cache
    return _weights(dL, a, a)


# ---- F37: advantages -------------------------------------------------------------------------

BASELINES = ("others", "group", "none")


def group_advantages(
    rewards: ArrayLike, baseline: str = "others", deviation: bool = False
) -> Array:
    """F37: how much better than its group was each text?   rewards (..., N)  ->  a (..., N)

        a_n = r_n − 1/(N − 1) Σ_{j ≠ n} r_j       "others": unbiased, N texts of one prompt
            = N/(N − 1) (r_n − mean(r))           "group" leaves out N/(N − 1), "none" the mean

    A baseline that does not depend on y_n changes no expectation: Σ_y p(y) ∇ log p(y) = 0. The
    group's mean contains r_n, so it takes 1/N of the gradient away: (N − 1)/N of it is left.
    deviation: divide by the standard deviation of the group, as GRPO does; that is the gradient of
    another objective. Where all rewards of a group are equal, its advantages are exactly 0.
    Source: Kool et al. 2019, Buy 4 REINFORCE Samples, Get a Baseline for Free!; Shao et al. 2024,
    DeepSeekMath, section 4.1.2. Raises InputError for a group of one, which has no baseline.
    """
    one_of("baseline", baseline, BASELINES)
    r = array("rewards", rewards)
    if not r.ndim or not r.size or not np.isfinite(r).all():
        raise InputError(f"rewards {r.shape} must be finite numbers (..., N), N of each group")
    N = r.shape[-1]
    if N == 1 and (baseline != "none" or deviation):
        raise InputError(
            "a group of one text has no baseline: draw at least 2 for each prompt, or take "
            "baseline='none'"
        )
    differs = (r != r[..., :1]).any(axis=-1, keepdims=True) | (baseline == "none")
    a = r.copy() if baseline == "none" else r - r.mean(axis=-1, keepdims=True)
    if baseline == "others":
        a *= N / (N - 1)
    if deviation:
        a /= np.where(differs, r.std(axis=-1, keepdims=True), 1) + np.finfo(r.dtype).tiny
    return np.where(differs, a, 0)


# ---- F38: PPO's clip -------------------------------------------------------------------------


def clipped_forward(
    logp: Array, old: ArrayLike, advantages: ArrayLike, clip: float = 0.2
) -> tuple[Any, Cache]:
    """F38: the policy gradient, for texts that an older policy has drawn.   logp, old (N,)

        ρ_n = exp(ℓ_n − old_n)                            old: ℓ when the text was drawn
        L = −1/N Σ_n min(ρ_n a_n, clip(ρ_n, 1 − ε, 1 + ε) a_n)           ε = clip

    The weights ρ make the mean over old texts one over present ones. Where the text has already
    moved by ε in the direction that its advantage asks for, it stops pulling. At old = ℓ every ρ is
    1, and the gradient is that of F36.
    Source: Schulman et al. 2017, Proximal Policy Optimization Algorithms, equation 7.
    """
    (logp,) = shaped("clipped: logp (N)", logp)
    clip = number("clip", clip, above=0)
    a, old = _data("advantages", advantages, logp), _data("old", old, logp)
    ratio = np.exp(logp - old)
    free = np.where(a > 0, ratio.real <= 1 + clip, ratio.real >= 1 - clip)
    bound = np.where(a > 0, 1 + clip, 1 - clip).astype(a.dtype)
    return -(np.where(free, ratio, bound) * a).sum() / len(a), (ratio, a, free)


def clipped_backward(dL: Any, cache: Cache) -> Array:
    """ρ_n = exp(ℓ_n − old_n)   =>   dρ_n = ρ_n dℓ_n, and a clipped ρ is a constant

    dℓ_n = −dL/N ρ_n a_n 1[ρ_n is not clipped]
    """
    ratio, a, free = cache
    return _weights(dL, ratio * a * free, a)


# ---- F39: KL, estimated ----------------------------------------------------------------------

ESTIMATES = ("k1", "k2", "k3")


def kl_estimate_forward(
    logp: Array, reference: ArrayLike, estimate: str = "k3"
) -> tuple[Any, Cache]:
    """F39: how far a policy has moved, from samples of its own.   logp, reference (N,)  ->  nats

        δ_n = ℓ_n − ref_n                       ref: ℓ under the reference, which is frozen
        k1_n = δ_n      k2_n = δ_n²/2      k3_n = exp(−δ_n) − 1 + δ_n
        L = 1/N Σ_n k_n

    Texts drawn from p: the means of k1 and of k3 are KL(p, ref), and k3 is never negative; k2 is
    biased. Their gradients, taken with the texts as data, are another matter: in expectation that
    of k1 is 0, that of k2 is ∇ KL(p, ref), and that of k3, which GRPO uses, is ∇ KL(ref, p).
    Source: Schulman 2020, Approximating KL Divergence; Shao et al. 2024, DeepSeekMath, equation 4.
    """
    one_of("estimate", estimate, ESTIMATES)
    (logp,) = shaped("kl_estimate: logp (N)", logp)
    delta = logp - _data("reference", reference, logp)
    if estimate == "k1":
        k = delta
    else:
        k = delta * delta / 2 if estimate == "k2" else np.exp(-delta) - 1 + delta
    return k.sum() / len(k), (delta, estimate)


def kl_estimate_backward(dL: Any, cache: Cache) -> Array:
    """k1: dℓ_n = dL/N      k2: dℓ_n = dL/N δ_n      k3: dℓ_n = dL/N (1 − exp(−δ_n))"""
    delta, estimate = cache
    if estimate == "k1":
        slope = np.ones_like(delta)
    else:
        slope = delta if estimate == "k2" else 1 - np.exp(-delta)
    return _weights(-number("dL", dL), slope, delta)


# ---- F40: KL, summed exactly -----------------------------------------------------------------


def kl_forward(logits: Array, reference: ArrayLike) -> tuple[Any, Cache]:
    """F40: KL of the next word, summed over the vocabulary.   logits (N, V)   reference (N, V)

    p = softmax(z)      q = softmax(reference), which is frozen
    KL_n = Σ_w p_nw (log p_nw − log q_nw)
    L = 1/N Σ_n KL_n                                 in nats per token
    """
    (logits,) = shaped("kl: logits (N, V)", logits)
    z = below_max(logits)
    log_p = z - np.log(row_sum(np.exp(z)))
    q = below_max(_data("reference", reference, logits))
    delta = log_p - (q - np.log(row_sum(np.exp(q))))
    p = np.exp(log_p)
    kl = row_dot(p, delta)
    return kl.sum() / len(kl), (p, delta, kl)


def kl_backward(dL: Any, cache: Cache) -> Array:
    """The weights are probabilities of the policy itself, so that they move, too.

    KL_n = Σ_w p_nw δ_nw, δ = log p − log q   =>   ∂KL_n/∂p_nw = δ_nw + 1,  through F3:
    dz_nw = dL/N p_nw (δ_nw − KL_n)           because Σ_w p_nw (δ_nw + 1) = KL_n + 1
    """
    p, delta, kl = cache
    dz: Array = number("dL", dL) / len(p) * p * (delta - kl)
    return dz


# ---- F41: the best value ---------------------------------------------------------------------


def best_policy(reference: ArrayLike, rewards: ArrayLike, beta: float) -> tuple[Array, Any]:
    """F41: the most that reward minus β KL can be.   reference, rewards (..., N)  ->  ℓ*, J* (...)

        J  = Σ_n p_n (r_n − β (ℓ_n − ref_n))              over all N texts that may follow a prompt
        J* = β log Σ_n exp(ref_n + r_n/β)
        ℓ*_n = ref_n + r_n/β − J*/β                       J = J* − β KL(p, p*)

    reference: log-probabilities of all texts, which sum to 1. For several prompts J* is the mean.
    β = 0 is the largest reward that the reference can write: then ℓ* is spread over those evenly
    as the reference is.
    Source: Peters, Mülling and Altün 2010, Relative Entropy Policy Search; Rafailov et al. 2023.
    """
    beta = number("beta", beta, at_least=0)
    ref, r = array("reference", reference), array("rewards", rewards)
    if ref.shape != r.shape or not ref.ndim or not np.isfinite(r).all():
        raise InputError(f"reference {ref.shape} and finite rewards {r.shape} must be (..., N)")
    total = np.exp(ref).sum(axis=-1)
    if not np.allclose(total, 1, atol=1e-4):
        raise InputError(
            f"reference must be log p of every text, whose sum of p is 1, not {np.ravel(total)[0]}"
        )
    top = np.where(np.isfinite(ref), r, -np.inf).max(axis=-1, keepdims=True)
    exponent = np.where(r == top, 0.0, -np.inf) if beta == 0 else (r - top) / beta
    tilted = ref + exponent
    log_sum = np.log(np.exp(tilted).sum(axis=-1, keepdims=True))
    return tilted - log_sum, (top + beta * log_sum)[..., 0]


# ---- F42: preference -------------------------------------------------------------------------


def preference_forward(
    preferred: Array,
    rejected: Array,
    reference_preferred: ArrayLike,
    reference_rejected: ArrayLike,
    beta: float = 0.1,
) -> tuple[Any, Cache]:
    """F42: direct preference optimisation.   preferred, rejected (N,): ℓ of the two texts of a pair

        m_n = (ℓ_n − ref_n) of the preferred − (ℓ_n − ref_n) of the rejected
        L = −1/N Σ_n log σ(β m_n)

    F41 upside down: the policy that is best for a reward says what the reward was,
    r(y) = β (ℓ*(y) − ref(y)) + J*, and J* cancels between two answers to one prompt. So the
    probability σ(r − r') that the first is preferred is one of ℓ alone.
    Source: Rafailov et al. 2023, Direct Preference Optimization, equation 7. Raises InputError for
    β = 0, with which no pair would pull at all.
    """
    signature = "preference: preferred (N), rejected (N)"
    preferred, rejected = shaped(signature, preferred, rejected)
    beta = number("beta", beta, above=0)
    m = preferred - _data("reference_preferred", reference_preferred, preferred)
    m = m - (rejected - _data("reference_rejected", reference_rejected, rejected))
    u = beta * m
    s = 0.5 - 0.5 * np.tanh(u / 2)  # σ(−u)
    right = u.real > 0
    softplus = np.log1p(np.exp(np.where(right, -u, u))) - np.where(right, 0, u)
    return softplus.sum() / len(u), (s, beta)


def preference_backward(dL: Any, cache: Cache) -> tuple[Array, Array]:
    """−log σ(u) = log(1 + exp(−u)), whose slope is −σ(−u)   =>   a pair that is right pulls less

    dℓ_n = −dL/N β σ(−β m_n) of the preferred, and the same with + of the rejected
    """
    s, beta = cache
    down = _weights(dL, beta * s, s)
    return down, -down


# ---- what they share -------------------------------------------------------------------------


def _data(name: str, value: ArrayLike, like: Array) -> Array:
    """What was recorded, as real numbers of the shape and precision of `like`."""
    x = plain(name, value)
    if x.shape != like.shape or x.dtype.kind not in "fiu" or not np.isfinite(x).all():
        raise InputError(
            f"{name} must be finite numbers of shape {like.shape}, not {x.dtype} {x.shape}: data, "
            "recorded when the texts were drawn"
        )
    return x.astype(like.real.dtype)


def _weights(dL: Any, x: Array, like: Array) -> Array:
    """−dL/N x_n, in the precision of `like`."""
    weights: Array = (-number("dL", dL) / len(x) * x).astype(like.dtype, copy=False)
    return weights
