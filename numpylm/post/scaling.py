"""How much data, how large a model? Measured where the truth is known.

The language is a chain of V words, each of which follows by a law from the one before: `chain`. Its
entropy is known, so what a model pays above it, its excess, is the KL of its law from the true one.

    counted   n transitions are counted, α is added to every pair. The law of word x, with k_x
              possible successors, is estimated from n π_x of them, and costs (k_x − 1)/(2 n π_x);
              met with π_x, it adds (k_x − 1)/(2n). In sum k/(2n) nats, k = Σ_x (k_x − 1)
    factored  logits e_x·u_y of rank C: 2 V C numbers. What a rank cannot say stays, at any n: the
              floor. What it has not yet learned falls as 1/n

Without α a possible pair that was not seen costs infinity. The law is asymptotic: half a chi-square
for each free number, as n grows. Source: Wilks 1938; for models, Kaplan et al. 2020, Scaling Laws.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import ops
from ..arguments import array, number, whole
from ..arrays import Array, Rng
from ..config import SEEDS, Config, option
from ..errors import InputError
from ..model import Model, ModelConfig, Parameters
from ..optim import Adam

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class ScalingConfig(Config):
    """scaling"""

    vocab_size: int = option(16, "V, the words of the chain", minimum=3, maximum=200)
    ranks: str = option("1,2,4,8", "C of the models, with commas")
    tokens: str = option("500,1000,2000,4000,8000,16000,32000", "n, with commas")
    seeds: int = option(4, "how often each is measured", minimum=2, maximum=10**4)
    steps: int = option(1000, "steps of Adam, each on all counts", minimum=1)
    alpha: float = option(0.5, "added to the count of every pair", above=0)
    seed: int = option(
        0, "seed of the chain; the data take the next ones", minimum=0, maximum=SEEDS
    )


def chain(vocab_size: int, seed: int = 0) -> tuple[Array, Array]:
    """The law P (V, V) of a chain, rows from Dirichlet(1, …, 1), and its stationary π (V,)."""
    V = whole("vocab_size", vocab_size, at_least=2)
    P = np.random.default_rng(seed).dirichlet(np.ones(V), size=V)
    return P, np.linalg.matrix_power(P, 4096)[0]


def pair_counts(P: Array, start: Array, n: int, rng: Rng) -> Array:
    """How often each pair (V, V) follows in one text of n transitions."""
    below = np.cumsum(P, axis=1)
    counts = np.zeros(P.shape)
    x = min(int(np.searchsorted(np.cumsum(start), rng.random())), len(P) - 1)
    for u in rng.random(whole("n", n, at_least=1)):
        y = min(int(np.searchsorted(below[x], u, side="right")), len(P) - 1)
        counts[x, y] += 1
        x = y
    return counts


def excess(P: Array, start: Array, law: Array) -> float:
    """Σ_x π_x KL(P_x, law_x), in nats per token: what the law costs above the entropy."""
    seen = P > 0
    with np.errstate(divide="ignore"):
        ratio = np.log(np.where(seen, P, 1)) - np.log(np.where(seen, law, 1))
    return float(start @ (P * ratio).sum(axis=1))


def counted(counts: Array, alpha: float = 0.5) -> Array:
    """The law (V, V) of counts to which α is added. α = 0 may cost infinity."""
    counts = array("counts", counts) + number("alpha", alpha, at_least=0)
    law: Array = counts / counts.sum(axis=1, keepdims=True)
    return law


def counted_excess(P: Array, n: int) -> float:
    """k/(2n) nats, with k = Σ_x (possible successors of x − 1)."""
    return float((P > 0).sum() - len(P)) / (2 * n)


# ---- a model of any rank -------------------------------------------------------------------------


@dataclass(frozen=True)
class FactoredConfig(ModelConfig):
    """a bigram of rank C"""

    width: int = option(4, "C, the numbers of a word", minimum=1, maximum=10**6)
    init_std: float = option(0.3, "deviation of the initial numbers", above=0)


class Factored(Model):
    """F1, F4: p(y | x) = softmax_y(e_x·u_y), of tables E and U (V, C)."""

    Config = FactoredConfig
    config: FactoredConfig

    @staticmethod
    def shapes(config: FactoredConfig) -> dict[str, tuple[int, ...]]:
        return dict.fromkeys(("E", "U"), (config.vocab_size, config.width))

    def forward(self, ids: Any, rng: Rng | None = None, *, watch: Any = None) -> tuple[Array, Any]:
        """ids (..., T)  ->  logits (..., T, V)"""
        e, embedding = ops.embedding_forward(self.params["E"], ids)
        z, output = ops.output_forward(e, self.params["U"])
        return z, (embedding, output)

    def backward(self, dlogits: Array, cache: Any) -> Parameters:
        """z = e U, e = E[x]"""
        grads, (embedding, output) = self.params.like(), cache
        de, grads["U"] = ops.output_backward(dlogits, output)
        grads["E"] = ops.embedding_backward(de, embedding)
        return grads

    def law(self) -> Array:
        """p(y | x) of every pair (V, V)."""
        return ops.softmax_forward(self.forward(np.arange(self.config.vocab_size))[0])[0]


def fit_counts(counts: Array, width: int, steps: int, rng: Rng) -> Factored:
    """The model of rank `width` that makes pairs of these counts likeliest, by Adam on all at once.

    L = −Σ_xy n_xy log p(y | x) / n   =>   dz_xy = (n_x p(y | x) − n_xy) / n
    """
    V = len(counts)
    model = Factored(vocab_size=V, width=width, rng=rng, dtype=np.float64)
    joint = counts / counts.sum()
    weight = joint.sum(axis=1, keepdims=True)
    optimizer = Adam(model.params)
    for step in range(steps):
        logits, cache = model.forward(np.arange(V))
        p, _ = ops.softmax_forward(logits)
        optimizer.step(model.backward(weight * p - joint, cache), 0.05 * (1 - step / steps) + 1e-4)
    return model


class Point(NamedTuple):
    """One measurement. rank 0 is the counted bigram."""

    rank: int
    tokens: int
    seed: int
    excess: float


class Scaling(NamedTuple):
    """What was measured: points, floors by rank (what no amount of data changes), and k/(2n)."""

    config: ScalingConfig
    points: list[Point]
    floors: dict[int, float]
    theory: dict[int, float]

    def mean(self, rank: int, tokens: int) -> float:
        found = [p.excess for p in self.points if (p.rank, p.tokens) == (rank, tokens)]
        return float(np.mean(found))


def numbers(text: str, name: str) -> list[int]:
    """The whole numbers of "1,2,4". Raises InputError for what is none."""
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError:
        raise InputError(
            f"{name} must be whole numbers with commas, as 1,2,4, not {text!r}"
        ) from None
    if found[0] < 1:
        raise InputError(f"{name} must be at least 1, not {found[0]}")
    return found


def measure(config: ScalingConfig) -> Scaling:
    """Count, and fit every rank, at every number of tokens, on several texts each."""
    ranks, tokens = numbers(config.ranks, "ranks"), numbers(config.tokens, "tokens")
    if ranks[-1] > config.vocab_size:
        raise InputError(f"rank {ranks[-1]} is above the {config.vocab_size} words of the chain")
    P, start = chain(config.vocab_size, config.seed)
    floors = {
        rank: excess(P, start, fit_counts(start[:, None] * P, rank, 4 * config.steps, rng).law())
        for rank, rng in ((rank, np.random.default_rng(config.seed)) for rank in ranks)
    }
    points = [*_points(config, P, start, ranks, tokens)]
    return Scaling(config, points, floors, {n: counted_excess(P, n) for n in tokens})


def _points(
    config: ScalingConfig, P: Array, start: Array, ranks: Sequence[int], tokens: Sequence[int]
) -> Iterator[Point]:
    for seed in range(config.seeds):
        for n in tokens:
            rng = np.random.default_rng([config.seed, seed, n])
            counts = pair_counts(P, start, n, rng)
            yield Point(0, n, seed, excess(P, start, counted(counts, config.alpha)))
            for rank in ranks:
                law = fit_counts(counts + config.alpha, rank, config.steps, rng).law()
                yield Point(rank, n, seed, excess(P, start, law))


# ---- a law, and how sure it is -----------------------------------------------------------------


class PowerLaw(NamedTuple):
    """log y = a + Σ b_i log x_i, by least squares, with the standard error of each number."""

    intercept: float
    slopes: tuple[float, ...]
    errors: tuple[float, ...]


def power_law(xs: Sequence[Sequence[float]], y: Sequence[float]) -> PowerLaw:
    """The exponents of y over one or more x. Raises InputError for numbers that are not above 0.

    xs: a sequence of numbers for each x, as long as y.
    """
    columns = np.array([*xs, y], float)
    if not (columns > 0).all():
        raise InputError("a power law needs numbers above 0: leave out what is not")
    if columns.shape[1] <= len(columns):
        raise InputError(f"{columns.shape[1]} points do not fix {len(columns)} numbers: give more")
    A = np.column_stack([np.ones(columns.shape[1]), *np.log(columns[:-1])])
    found, *_ = np.linalg.lstsq(A, np.log(columns[-1]), rcond=None)
    left = np.log(columns[-1]) - A @ found
    variance = left @ left / (len(left) - len(found))
    errors = np.sqrt(np.diag(variance * np.linalg.inv(A.T @ A)))
    return PowerLaw(float(found[0]), tuple(found[1:].tolist()), tuple(errors[1:].tolist()))


def laws(result: Scaling) -> dict[str, PowerLaw]:
    """How the excess falls with n, and what is not yet learned with n and with C."""
    ranks, tokens = [*result.floors], [*result.theory]
    exponents = {
        "counted over n": power_law([tokens], [result.mean(0, n) for n in tokens]),
    }
    late = [(n, rank, result.mean(rank, n) - result.floors[rank]) for rank in ranks for n in tokens]
    late = [point for point in late if point[2] > 0]
    if len({rank for _, rank, _ in late}) > 1 and len(late) > 3:
        n, rank, unlearned = zip(*late, strict=True)
        exponents["excess − floor over n and C"] = power_law([n, rank], unlearned)
    return exponents


def scaling_text(result: Scaling) -> str:
    """The table of excess nats, the floors, and the exponents with their standard errors."""
    tokens = [*result.theory]
    head = f"{'tokens':>22}" + "".join(f"{n:>9}" for n in tokens) + f"{'any':>9}"
    rows = [head, f"{'k/(2n)':>22}" + "".join(f"{x:9.4f}" for x in result.theory.values())]
    for rank in (0, *result.floors):
        V = result.config.vocab_size
        name = f"C = {rank}, {2 * V * rank} numbers" if rank else "counted"
        cells = "".join(f"{result.mean(rank, n):9.4f}" for n in tokens)
        floor = f"{result.floors[rank]:9.4f}" if rank else f"{0:9.4f}"
        rows.append(f"{name:>22}{cells}{floor}")
    ratios = [result.mean(0, n) / x for n, x in result.theory.items()]
    rows += ["", f"counted over k/(2n): {min(ratios):.3f} to {max(ratios):.3f}"]
    for name, law in laws(result).items():
        pairs = zip(law.slopes, law.errors, strict=True)
        rows.append(f"{name}: exponent " + ", ".join(f"{b:.3f} ± {e:.3f}" for b, e in pairs))
    return "\n".join(rows)


def draw_scaling(result: Scaling) -> "Figure":
    """Excess over tokens, a line for each rank; and both at once as contours."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from ..figures import COLOURS, STYLE

    tokens, ranks = [*result.theory], [*result.floors]
    with rc_context(STYLE):
        figure = Figure(figsize=(9, 3.6))
        left, right = figure.subplots(1, 2)
        left.loglog(tokens, [*result.theory.values()], "--", color="grey", label="k/(2n)")
        for rank, colour in zip((0, *ranks), (*COLOURS, *COLOURS), strict=False):
            name = f"C = {rank}" if rank else "counted"
            left.loglog(
                tokens, [result.mean(rank, n) for n in tokens], "o-", color=colour, label=name
            )
            if rank:
                left.axhline(result.floors[rank], color=colour, linewidth=0.5)
        left.set(xlabel="tokens", ylabel="nats above the entropy", title="a thin line: its floor")
        left.legend(frameon=False, fontsize=7)
        if len(ranks) > 1 and len(tokens) > 1:
            grid = np.log10([[result.mean(rank, n) for n in tokens] for rank in ranks])
            V = result.config.vocab_size
            shown = right.contour(tokens, [2 * V * rank for rank in ranks], grid, levels=8)
            right.clabel(shown, fmt="%.1f", fontsize=7)
            right.set(xscale="log", yscale="log", xlabel="tokens", ylabel="numbers in the model")
            right.set_title("log10 of the excess")
    return figure
