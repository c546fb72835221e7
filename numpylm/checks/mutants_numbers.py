"""Mistakes in other numbers that have no gradient: part of the registry, mutants.py."""

from .mutation import edit, mistakes

NUMBERS = [
    *mistakes(
        "perplexity",
        "F6",
        (
            "of the total",
            "exp of all the nats; it should be of their mean, total nats / total tokens",
            edit("np.float64(nats) / tokens", "np.float64(nats)"),
        ),
        (
            "a power of 2",
            "2 to the power of nats: 2 belongs to bits, e to nats",
            edit("np.exp(np.float64", "np.exp2(np.float64"),
        ),
    ),
    *mistakes(
        "sinusoidal_positions",
        "F19",
        (
            "sines only",
            "odd columns hold a second sine; without a cosine a hand has no angle",
            edit("np.cos(angle", "np.sin(angle"),
        ),
        (
            "every column a clock of its own",
            "cosines turn at the speed of the next pair: sine and cosine of a pair share an angle",
            edit("np.cos(angle[:, : C // 2])", "np.cos(angle[:, : C // 2] / 10000 ** (1 / C))"),
        ),
        (
            "half the exponent",
            "column pair r turns at 10000^(−r/C); it should be 10000^(−2r/C)",
            edit("(even / C)", "(even / 2 / C)"),
        ),
    ),
    *mistakes(
        "mask_tokens",
        "F24",
        (
            "every token is a target",
            "every token is a target, so that copying pays: only the chosen ones are",
            edit("targets[chosen] = inputs[chosen]", "targets[:] = inputs"),
        ),
        (
            "all that are chosen are hidden",
            "mask_id stands for every chosen token: a fifth of them may be seen, right or wrong",
            edit("chosen[fate < 0.8]", "chosen"),
        ),
        (
            "special tokens are hidden",
            "padding and separators are chosen as well: only words are",
            edit("np.flatnonzero(~np.isin(ids, special))", "np.arange(ids.size)"),
        ),
        (
            "none stays as it is",
            "a fifth of the chosen become random tokens: a tenth stays as it is",
            edit(" & (fate < 0.9)", ""),
        ),
    ),
    *mistakes(
        "transformer_rate",
        "F25",
        (
            "the width is forgotten",
            "the factor C^−½ is missing: wide models take shorter steps",
            edit("width**-0.5 * ", ""),
        ),
        (
            "it never falls",
            "the rate rises for ever; after the warm-up it should fall as 1/√n",
            edit("min(n**-0.5, n * warmup**-1.5)", "n * warmup**-1.5"),
        ),
        (
            "no warm-up",
            "the first step is the longest; it should be a straight line up to the warm-up",
            edit("min(n**-0.5, n * warmup**-1.5)", "n**-0.5"),
        ),
    ),
    *mistakes(
        "Translation.score",
        "F26",
        (
            "the end is not counted",
            "end_id is left out of the length, though its nats are counted",
            edit(" + self.finished", ""),
        ),
        (
            "long targets pay",
            "log p is multiplied by the penalty, which punishes length twice: divide",
            edit("nats / (", "nats * ("),
        ),
        (
            "divided by the length",
            "log p is divided by |y|; it should be by ((5 + |y|)/6)^α",
            edit("((5 + len(self.ids) + self.finished) / 6)", "(len(self.ids) + self.finished)"),
        ),
    ),
]
