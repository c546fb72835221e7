"""From gradients to better parameters: SGD, Adam, clipping, and the learning rate over time.

Every formula here works entry by entry, so it needs neither names nor shapes: it runs over the flat
vector of all parameters, in blocks that stay in the processor's cache. Letters: p a parameter,
g its gradient, η the learning rate, t the number of the step, counted from 1.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any

import numpy as np

from .arguments import array, number, one_of, whole
from .arrays import Array
from .errors import InputError
from .model import Parameters

BLOCK = 2**18  # entries worked on at a time: p, g, m, v and one temporary share the cache


def blocks_of(vector: Array) -> list[slice]:
    """Slices of at most BLOCK entries that cover a vector."""
    return [slice(i, min(i + BLOCK, vector.size)) for i in range(0, vector.size, BLOCK)]


def in_turn(function: Callable[[slice], Any], blocks: list[slice]) -> list[Any]:
    """function(block) for every block."""
    return [function(block) for block in blocks]


Spread = Callable[[Callable[[slice], Any], list[slice]], list[Any]]  # in_turn, or Workers.spread


def _check_parameters(name: str, value: Any) -> None:
    if not isinstance(value, Parameters):
        raise InputError(
            f"{name} must be Parameters, not {type(value).__name__}: pass model.params, or "
            "gradients from model.loss_backward"
        )


class Optimizer:
    """What SGD and Adam share: F9, the count of steps, and the moments a checkpoint must keep.

    F9, decoupled weight decay: before the step,

        p ← (1 − η λ) p            for the parameters named in `decayed`

    λ is `weight_decay`. The decay never enters the moments, where Adam would divide it by √v̂. By
    default the arrays of two or more axes decay; biases and gains are left alone.

    Source: Loshchilov & Hutter 2019, Decoupled Weight Decay Regularization, Algorithms 1 and 2;
    λ multiplied by η as in PyTorch.
    Raises InputError for a negative or non-finite weight_decay and for a name it does not know.
    """

    def __init__(
        self,
        params: Parameters,
        moments: tuple[str, ...],
        weight_decay: float,
        decayed: Iterable[str] | None,
    ) -> None:
        _check_parameters("params", params)
        if decayed is None:
            decayed = [name for name, array in params.items() if array.ndim >= 2]
        try:
            self.decayed = tuple(decayed)
        except TypeError:
            raise InputError(f"decayed must be names of parameters, not {decayed!r}") from None
        for name in self.decayed:
            if not isinstance(name, str) or name not in params:
                raise InputError(
                    f"decayed names {name!r}, which is no parameter; these are: {', '.join(params)}"
                )
        self.params = params
        self.weight_decay = number("weight_decay", weight_decay, at_least=0)
        self.steps = 0
        self._moments = {name: np.zeros_like(params.flat) for name in moments}

    def step(self, grads: Parameters, learning_rate: float, spread: Spread = in_turn) -> None:
        """Change the parameters in place, once.

        No entry looks at another, so after the decay, which is one product, the blocks may be
        spread over threads: the bits are the same.
        Raises InputError for grads of another layout, for a bad learning_rate, and for a gradient
        that is not finite or whose square is not, before its block changes.
        """
        self._begin(grads, learning_rate)
        spread(
            lambda block: self._update(block, grads.flat[block], float(learning_rate)),
            blocks_of(grads.flat),
        )

    def _update(self, block: slice, g: Array, learning_rate: float) -> None:
        """`update`, unless a square would be infinite: it would stay in Adam's v for ever."""
        with np.errstate(over="ignore", invalid="ignore"):
            square = g @ g
        if not np.isfinite(square):
            raise InputError(
                f"grads hold numbers that are not finite or whose squares exceed {g.dtype}: "
                "training diverged; clip them, or lower the learning rate"
            )
        self.update(block, g, learning_rate)

    def update(self, block: slice, g: Array, learning_rate: float) -> None:
        """The formula, on one block of the vector. SGD and Adam say how."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """All that a step depends on: the count of steps, and copies of the moments by name."""
        moments = {name: moment.copy() for name, moment in self._moments.items()}
        return {"steps": self.steps, **moments}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state()`, as if there had been no break.

        Raises InputError, before anything is changed, where a name, a shape or steps is wrong.
        """
        if not isinstance(state, Mapping):
            raise InputError(f"state must be that of an optimizer, not {state!r}")
        if set(state) != {"steps", *self._moments}:
            raise InputError(
                f"state holds {sorted(state)}, but this {type(self).__name__} keeps "
                f"{sorted(['steps', *self._moments])}: load it into the optimizer that it came from"
            )
        steps = whole("steps", state["steps"], at_least=0)
        state = {name: array(f"state {name!r}", state[name]) for name in self._moments}
        for name, moment in self._moments.items():
            if state[name].shape != moment.shape:
                raise InputError(
                    f"state {name!r} has shape {state[name].shape}, but the parameters need "
                    f"{moment.shape}: load it beside the model that it came from"
                )
            if not np.isfinite(state[name]).all():
                raise InputError(f"state {name!r} holds numbers that are not finite")
        for name, moment in self._moments.items():
            moment[...] = state[name]
        self.steps = steps

    def _begin(self, grads: Parameters, learning_rate: float) -> None:
        """The checks, the count and the decay with which every step starts."""
        _check_parameters("grads", grads)
        p, g = self.params.flat, grads.flat
        if g.shape != p.shape or g.dtype != p.dtype:
            raise InputError(
                f"grads {g.shape} {g.dtype} must be laid out like the parameters {p.shape} "
                f"{p.dtype}: make them with params.like()"
            )
        learning_rate = number("learning_rate", learning_rate, at_least=0)
        self.steps += 1
        if self.weight_decay:
            for name in self.decayed:
                self.params[name] *= 1 - learning_rate * self.weight_decay


class SGD(Optimizer):
    """F7: gradient descent with momentum.

        u ← μ u + g                the velocity, 0 at first
        p ← p − η u

    μ is `momentum`, in [0, 1); 0, the default, is plain gradient descent and keeps no velocity.
    Weight decay is decoupled (F9), not the L2 term inside g that PyTorch's SGD has.

    Source: Polyak 1964 (heavy ball), in the form of PyTorch's SGD, where η multiplies the whole
    velocity. Raises InputError for an option out of its range.
    """

    def __init__(
        self,
        params: Parameters,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        decayed: Iterable[str] | None = None,
    ) -> None:
        momentum = number("momentum", momentum, at_least=0, below=1)
        super().__init__(params, ("velocity",) if momentum else (), weight_decay, decayed)
        self.momentum = momentum

    def update(self, block: slice, g: Array, learning_rate: float) -> None:
        """F7, in place."""
        p, u = self.params.flat[block], g
        if self.momentum:
            u = self._moments["velocity"][block]
            u *= self.momentum
            u += g
        p -= learning_rate * u


class Adam(Optimizer):
    """F8: each entry takes steps of about η, whatever the size of its gradient.

        m ← β1 m + (1 − β1) g              running mean of g, 0 at first
        v ← β2 v + (1 − β2) g²             running mean of g², 0 at first
        m̂ = m / (1 − β1^t)                 both start at 0 and are too small at first,
        v̂ = v / (1 − β2^t)                 by exactly these factors
        p ← p − η m̂ / (√v̂ + ε)

    In code m̂ / (√v̂ + ε) is m / (√v + ε√(1 − β2^t)), times √(1 − β2^t)/(1 − β1^t): numbers that
    are the same for all entries are worked out once (end of the paper's section 2).

    β1 and β2 in [0, 1) and ε, outside the root, have the paper's values, which are PyTorch's. ε is
    at least the root of the smallest number (float32: 1e-19): the square of a gradient far below ε
    is then 0, and the step η g/ε. With weight_decay (F9) this is AdamW.

    Source: Kingma & Ba 2015, Adam, Algorithm 1. Raises InputError for an option out of its range.
    """

    def __init__(
        self,
        params: Parameters,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decayed: Iterable[str] | None = None,
    ) -> None:
        super().__init__(params, ("m", "v"), weight_decay, decayed)
        self.beta1 = number("beta1", beta1, at_least=0, below=1)
        self.beta2 = number("beta2", beta2, at_least=0, below=1)
        self.eps = number("eps", eps, at_least=float(np.finfo(params.flat.dtype).tiny) ** 0.5)

    def update(self, block: slice, g: Array, learning_rate: float) -> None:
        """F8, in place."""
        m_part, v_part = 1 - self.beta1**self.steps, 1 - self.beta2**self.steps
        p = self.params.flat[block]
        m, v = self._moments["m"][block], self._moments["v"][block]

        change = g * (1 - self.beta1)
        m *= self.beta1
        m += change
        np.multiply(g, g, out=change)
        change *= 1 - self.beta2
        v *= self.beta2
        v += change

        np.sqrt(v, out=change)
        change += self.eps * math.sqrt(v_part)
        np.divide(m, change, out=change)
        change *= learning_rate * math.sqrt(v_part) / m_part
        p -= change


def global_norm(grads: Parameters, spread: Spread = in_turn) -> float:
    """|g| = √(Σ g²) over every entry of every gradient, summed in float64."""

    _check_parameters("grads", grads)

    def squares(block: slice) -> float:
        g = grads.flat[block].astype(np.float64)
        return float(g @ g)

    return math.sqrt(sum(spread(squares, blocks_of(grads.flat))))


def clip_by_global_norm(grads: Parameters, max_norm: float, norm: float | None = None) -> float:
    """F10: shorten the gradient, seen as one long vector, to at most max_norm. Returns |g| before.

        g ← g max_norm / |g|       if |g| > max_norm; otherwise g is untouched

    In place. One factor for all entries keeps the direction; a norm for each tensor would not.
    norm: |g|, where it is known already.
    PyTorch's clip_grad_norm_ divides by |g| + 1e-6 instead and so ends slightly below max_norm.

    Source: Pascanu, Mikolov & Bengio 2013, On the difficulty of training RNNs, Algorithm 1.
    Raises InputError for a max_norm that is not finite and above 0, and, with the gradients
    untouched, for a norm that is nan or infinite: no factor could repair them.
    """
    max_norm = number("max_norm", max_norm, above=0)
    if norm is None:
        norm = global_norm(grads)
    if not isinstance(norm, Real) or not math.isfinite(norm):
        raise InputError(f"the norm of grads is {norm}: training diverged; lower the learning rate")
    if norm > max_norm:
        grads.flat *= max_norm / norm
    return norm


def optimizer_of(given: Any, params: Parameters) -> Any:
    """An optimizer for these parameters: `given`, or what it makes of them, such as a class.

    Raises InputError for something without step(grads, learning_rate), or of other parameters.
    """
    if isinstance(given, type) or (callable(given) and not hasattr(given, "step")):
        given = given(params)
    if not hasattr(given, "step"):
        raise InputError(
            "optimizer must have step(grads, learning_rate), or be a function that makes such a "
            f"one of model.params, not a {type(given).__name__}"
        )
    if getattr(given, "params", params) is not params:
        raise InputError("the optimizer was made for other parameters: give it model.params")
    return given


SCHEDULES = ("constant", "cosine", "inverse_sqrt")


def learning_rate_at(
    step: int,
    peak: float,
    warmup: int = 0,
    total: int = 0,
    floor: float = 0.0,
    schedule: str = "cosine",
) -> float:
    """F11: the learning rate of step s = 0, 1, ...: a straight line up, then half a cosine down.

        η = peak (s + 1) / (warmup + 1)                                     s < warmup
        η = floor + (peak − floor) (1 + cos(π (s − warmup) / (total − warmup))) / 2
        η = floor                                                           s ≥ total

    The warm-up starts above 0, so that no step is wasted, and step `warmup` is the first at `peak`.
    schedule="constant" stays at peak after the warm-up; schedule="inverse_sqrt" is F25 scaled so
    that it reaches peak at n = warmup, or at once if that is 0. For both, total and floor play no
    part.

    Source: Loshchilov & Hutter 2017, SGDR, equation 5, without restarts; warm-up as in nanoGPT.
    Raises InputError for a negative step, warmup or total, a peak that is negative or not finite,
    a floor outside [0, peak], or an unknown schedule.
    """
    peak = number("peak", peak, at_least=0)
    floor = number("floor", floor, at_least=0, at_most=peak)
    step = whole("step", step, at_least=0)
    warmup, total = whole("warmup", warmup, at_least=0), whole("total", total, at_least=0)
    one_of("schedule", schedule, SCHEDULES)
    if schedule == "inverse_sqrt":
        w = max(warmup, 1)
        rate: float = peak * w**0.5 * transformer_rate(step, 1, w)
        return rate
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    if schedule == "constant":
        return peak
    if step >= total:
        return floor
    progress = (step - warmup) / (total - warmup)
    return floor + (peak - floor) * (1 + math.cos(math.pi * progress)) / 2


def transformer_rate(step: int, width: int, warmup: int = 4000) -> float:
    """F25: the learning rate of step s = 0, 1, ... in Attention Is All You Need.   width C

        η = C^−½ min(n^−½, n w^−3/2)        n = s + 1,   w = warmup

    A straight line up to (C w)^−½ at n = w, where the two meet, then down as 1/√n without end.
    Source: Vaswani et al. 2017, section 5.3, equation 3, with w = 4000.
    Raises InputError for a negative step, and for a width or warmup below 1.
    """
    n = whole("step", step, at_least=0) + 1
    width, warmup = whole("width", width, at_least=1), whole("warmup", warmup, at_least=1)
    rate: float = width**-0.5 * min(n**-0.5, n * warmup**-1.5)
    return rate
