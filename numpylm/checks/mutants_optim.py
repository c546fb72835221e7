"""Mistakes in optim.py, which recurrences find: part of the registry, mutants.py."""

from .mutation import edit, mistakes

OPTIM = [
    *mistakes(
        "Adam.update",
        "F8",
        (
            "no bias correction",
            "m and v are used as they are: both start at 0 and need m̂ and v̂",
            edit("1 - self.beta1**self.steps, 1 - self.beta2**self.steps", "1.0, 1.0"),
        ),
        (
            "no bias correction of v",
            "v is used as it is: it starts at 0 and needs v̂ = v/(1 − β2^t)",
            edit("1 - self.beta2**self.steps", "1.0"),
        ),
        (
            "steps counted from 0",
            "t is one too small: the first step is t = 1",
            edit(
                "1 - self.beta1**self.steps, 1 - self.beta2**self.steps",
                "1 - self.beta1**(self.steps - 1) + 1e-9, 1 - self.beta2**(self.steps - 1) + 1e-9",
            ),
        ),
        (
            "eps inside the root",
            "ε stands inside the root; it should be √v̂ + ε",
            edit(
                "np.sqrt(v, out=change)\n        change += self.eps * math.sqrt(v_part)",
                "np.sqrt(v + self.eps * v_part, out=change)",
            ),
        ),
        (
            "no root",
            "m̂ is divided by v̂; it should be its root",
            edit(
                "np.sqrt(v, out=change)\n        change += self.eps * math.sqrt(v_part)",
                "change = v / math.sqrt(v_part) + self.eps * math.sqrt(v_part)",
            ),
        ),
        (
            "moments shared between tensors",
            "all tensors write into the same moments: each entry has its own",
            edit(
                'self._moments["m"][block], self._moments["v"][block]',
                'self._moments["m"][: g.size], self._moments["v"][: g.size]',
            ),
        ),
        (
            "v with beta1",
            "the second moment decays by β1: β2 is its own",
            edit("v *= self.beta2", "v *= self.beta1"),
        ),
        (
            "v of g, not g²",
            "the second moment averages g; it should be g²",
            edit("np.multiply(g, g, out=change)", "np.abs(g, out=change)"),
        ),
        ("uphill", "the step goes uphill: p ← p − η …", edit("p -= change", "p += change")),
    ),
    *mistakes(
        "SGD.update",
        "F7",
        (
            "velocity averaged",
            "u ← μ u + (1 − μ) g is another recurrence; it should be u ← μ u + g",
            edit("u += g", "u += (1 - self.momentum) * g"),
        ),
        (
            "velocity forgotten",
            "the velocity starts anew at every step",
            edit("u *= self.momentum", "u *= 0"),
        ),
        (
            "learning rate inside the velocity",
            "η multiplies g before it enters the velocity: it multiplies the whole velocity",
            edit(
                "u += g\n        p -= learning_rate * u",
                "u += learning_rate * g\n            g = u\n        p -= u",
            ),
        ),
    ),
    *mistakes(
        "Optimizer._begin",
        "F9",
        (
            "decay inside the gradient",
            "the decay is added to the gradient and enters the moments: it acts on p alone",
            edit(
                "self.params[name] *= 1 - learning_rate * self.weight_decay",
                "grads[name] += self.weight_decay * self.params[name]",
            ),
        ),
        (
            "decay without the learning rate",
            "p ← (1 − λ) p; it should be η λ",
            edit("1 - learning_rate * self.weight_decay", "1 - self.weight_decay"),
        ),
        (
            "everything decays",
            "biases and gains decay as well: only the arrays in `decayed` do",
            edit("for name in self.decayed:", "for name in self.params:"),
        ),
        (
            "a step is not counted",
            "the count of steps stands still, and with it the bias correction",
            edit("self.steps += 1", "self.steps = 1"),
        ),
    ),
    *mistakes(
        "clip_by_global_norm",
        "F10",
        (
            "a norm for each tensor",
            "each tensor is clipped by its own norm, which changes the direction: one norm for all",
            edit(
                "grads.flat *= max_norm / norm",
                "for g in grads.values():\n"
                "            g *= min(1.0, max_norm / math.sqrt(float((g * g).sum())))",
            ),
        ),
        (
            "short gradients lengthened",
            "a gradient shorter than max_norm is stretched to it: leave it alone",
            edit("if norm > max_norm:", "if norm > 0:"),
        ),
        (
            "entries clipped",
            "each entry is clipped by itself, which changes the direction",
            edit(
                "grads.flat *= max_norm / norm", "grads.flat.clip(-max_norm, max_norm, grads.flat)"
            ),
        ),
        (
            "divided by the squared norm",
            "the gradient is divided by |g|²; it should be by |g|",
            edit("max_norm / norm", "max_norm / norm**2"),
        ),
    ),
    *mistakes(
        "learning_rate_at",
        "F11",
        (
            "warm-up from 0",
            "the first step is wasted at a learning rate of 0; it should be (s + 1)/(warmup + 1)",
            edit("(step + 1) / (warmup + 1)", "step / warmup"),
        ),
        (
            "the floor is forgotten",
            "the cosine falls to 0: it ends at `floor`",
            edit("floor + (peak - floor) * (1 +", "peak * (1 +"),
        ),
        (
            "warm-up counted in the cosine",
            "the cosine starts at step 0: it starts after the warm-up",
            edit("(step - warmup) / (total - warmup)", "step / total"),
        ),
    ),
]
