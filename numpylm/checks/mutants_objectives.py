"""Mistakes in the objectives after pre-training: part of the registry, mutants.py."""

from .mutation import Mutant, edit, mistakes

OBJECTIVES = [
    *mistakes(
        "text_logp_backward",
        "F34",
        (
            "without the truth",
            "dz lacks 1[w = y]: it is −p alone, and pushes every word down",
            edit("    dlogits[np.arange(len(y)), y] += weight\n", ""),
        ),
        (
            "the sign of a loss",
            "dz is p − 1[w = y], which belongs to −log p: here ℓ is log p, which is to grow",
            edit("dlogits.reshape(shape)", "-dlogits.reshape(shape)"),
        ),
        (
            "the weight of another text",
            "the weights of the texts stand in the wrong order: np.tile, not np.repeat",
            edit("np.repeat(dlogp, shape[1])", "np.tile(dlogp, shape[1])"),
        ),
        (
            "masked tokens have a gradient",
            "the words of the prompt are trained as well: their weight is not 0",
            edit(" * counted", ""),
        ),
    ),
    Mutant(
        "divided by the length, both ways",
        "ℓ is a mean over the tokens, a sum is asked for: long answers then weigh less",
        "F34",
        (
            ("text_logp_forward", edit(".sum(axis=-1), (p", ".mean(axis=-1), (p")),
            ("text_logp_backward", edit("* counted", "* counted / shape[1]")),
        ),
    ),
    *mistakes(
        "answer_targets",
        "F35",
        (
            "the prompt is not masked",
            "every token is a target: the model learns to write prompts, too",
            edit("places >= np.broadcast_to(m, len(ids))[:, None]", "places >= 0 * m[..., None]"),
        ),
        (
            "the first token of the answer is missing",
            "t > s in place of t ≥ s: the prompt's last token predicts the first of the answer",
            edit("places >= np", "places > np"),
        ),
        (
            "padding is a target",
            "the model is asked to predict padding",
            edit("        counted &= ids[:, 1:] != padding\n", "        pass\n"),
        ),
    ),
    *mistakes(
        "policy_gradient_backward",
        "F36",
        (
            "down in place of up",
            "the sign: texts that were better than expected become less likely",
            edit("_weights(dL, a, a)", "-_weights(dL, a, a)"),
        ),
        (
            "not divided by N",
            "dℓ is not divided by N, the number of texts",
            edit("_weights(dL, a, a)", "_weights(dL, a, a) * len(a)"),
        ),
    ),
    *mistakes(
        "policy_gradient_forward",
        "F36",
        (
            "an advantage with a gradient",
            "−ℓ has entered the advantage, and is differentiated: an advantage is data",
            edit("(a * logp)", "((a - logp) * logp)"),
        ),
    ),
    *mistakes(
        "group_advantages",
        "F37",
        (
            "no baseline",
            "a is r itself: no baseline is subtracted",
            edit("r - r.mean(axis=-1, keepdims=True)", "r.copy()"),
        ),
        (
            "the mean of the whole batch",
            "the baseline is the mean over all groups, so that easy prompts win",
            edit("r - r.mean(axis=-1, keepdims=True)", "r - r.mean()"),
        ),
        (
            "its own reward in the baseline",
            "the factor N/(N − 1) is missing: the baseline contains r_n",
            edit("a *= N / (N - 1)", "a *= 1"),
        ),
        (
            "the variance as the scale",
            "a is divided by the variance; it should be by the standard deviation",
            edit("r.std(axis", "r.var(axis"),
        ),
    ),
    *mistakes(
        "clipped_backward",
        "F38",
        (
            "clipped texts pull",
            "a clipped ρ is a constant, and its text has no gradient",
            edit(" * free", ""),
        ),
        (
            "the ratio missing",
            "dρ_n = ρ_n dℓ_n: here ρ_n is missing",
            edit("ratio * a * free", "a * free"),
        ),
        (
            "the old policy moves along",
            "old is taken for the present ℓ, with its gradient: ρ stays 1, nothing is learned",
            edit("ratio * a * free", "0 * ratio"),
        ),
    ),
    *mistakes(
        "clipped_forward",
        "F38",
        (
            "clipped on both sides alike",
            "clip(ρ) a alone, without the minimum: a text that has moved the wrong way is lost",
            edit(
                "np.where(a > 0, ratio.real <= 1 + clip, ratio.real >= 1 - clip)",
                "np.abs(ratio.real - 1) <= clip",
            ),
        ),
    ),
    *mistakes(
        "kl_estimate_backward",
        "F39",
        (
            "the wrong sign",
            "the sign: the policy is driven away from the reference",
            edit("_weights(-number", "_weights(number"),
        ),
        (
            "k1: a slope of δ",
            "the slope of k1 is 1, not δ",
            edit("np.ones_like(delta)", "delta"),
        ),
    ),
    *mistakes(
        "kl_estimate_forward",
        "F39",
        (
            "k2: the 2 is missing",
            "k2 is δ²/2; here it is δ², with the slope δ",
            edit("delta * delta / 2", "delta * delta"),
        ),
        (
            "k3: the ratio upside down",
            "k3 has exp(+δ) − 1 − δ: p and ref are exchanged",
            edit("np.exp(-delta) - 1 + delta", "np.exp(delta) - 1 - delta"),
        ),
    ),
    *mistakes(
        "kl_backward",
        "F40",
        (
            "the wrong sign",
            "the sign: the policy is driven away from the reference",
            edit("* p * (delta - kl)", "* p * (kl - delta)"),
        ),
        (
            "the policy as a constant weight",
            "dz is p δ: − KL, by which the weights p move, is missing",
            edit("(delta - kl)", "delta"),
        ),
        (
            "the reference is not frozen",
            "the gradient of the reference is added, as if it were the policy, too",
            edit("(delta - kl)", "(delta - kl - 1 + np.exp(-delta))"),
        ),
    ),
    *mistakes(
        "best_policy",
        "F41",
        (
            "β missing",
            "J* is log Σ exp(...): the factor β is missing",
            edit("top + beta * log_sum", "top + log_sum"),
        ),
        (
            "times β",
            "exp(r β) in place of exp(r/β)",
            edit("(r - top) / beta", "(r - top) * beta"),
        ),
        (
            "without the reference",
            "the reference is left out: every text counts the same",
            edit("tilted = ref + exponent", "tilted = 0 * ref + exponent"),
        ),
    ),
    *mistakes(
        "preference_backward",
        "F42",
        (
            "both up",
            "the rejected text is pulled up as well",
            edit("return down, -down", "return down, down"),
        ),
        ("β missing", "dℓ_n lacks the factor β", edit("beta * s", "s")),
        (
            "right pairs pull",
            "σ(β m) in place of σ(−β m): pairs that are right already pull most",
            edit("beta * s", "beta * (1 - s)"),
        ),
    ),
    *mistakes(
        "preference_forward",
        "F42",
        (
            "no reference",
            "m is ℓ of the preferred − ℓ of the rejected: the reference is left out",
            edit(
                'preferred - _data("reference_preferred", reference_preferred, preferred)',
                "preferred",
            ),
        ),
        (
            "exp of a large margin",
            "log(1 + exp(−u)) overflows for a pair that is very wrong",
            edit(
                "np.log1p(np.exp(np.where(right, -u, u))) - np.where(right, 0, u)",
                "np.log(1 + np.exp(-u))",
            ),
        ),
    ),
    *mistakes(
        "low_rank_backward",
        "F43",
        (
            "scale missing in du",
            "du lacks the factor scale",
            edit("scale * (dy @ v.T)", "(dy @ v.T)"),
        ),
        (
            "scale missing in dv",
            "dv is scale uᵀ dW', and here the scale is missing",
            edit("scale * (u.T @ dy)", "(u.T @ dy)"),
        ),
        (
            "dW scaled",
            "W stands without the scale in W', and so dW = dW'",
            edit("dy.copy()", "scale * dy"),
        ),
    ),
]
