"""Is dL/dx what the code says? Numerical gradients, and checks that refuse to prove nothing.

    print(check_op(attention_forward, attention_backward, q, k, v))       # or your own pair
    print(check_model(model, (ids, targets)))

Two methods look at every gradient. The central difference needs only numbers, and loses half of the
digits to cancellation. The complex step has no subtraction to lose them in, and agrees to the last
digits, but asks that the forward be written for complex numbers: no abs, no conjugate, comparisons
on the real part.
"""

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from .errors import InputError
from .model import Model
from .ops import Array

Known = dict[tuple[str, str], Array]  # a numerical gradient by array and method

FLOOR = 1e-3  # central differences of a whole model carry 3e-11 of noise: 1e-7 of this and no less
ZERO = 1e-9  # a numerical gradient below this is rounding noise around 0


def central_difference(f: Callable[[Array], float], x: Array, h: float = 1e-5) -> Array:
    """(f(x + h) − f(x − h)) / 2h for every entry of x.

    Its error is h²f‴/6 from the curve and ε f/h from rounding; the two meet near h = 1e-5 in
    float64. A one-sided difference has h f″/2 from the curve, and loses five digits.
    """
    x = x.copy()
    slope = np.empty(x.shape)
    for i in np.ndindex(x.shape):
        here = x[i]
        x[i] = here + h
        above = f(x)
        x[i] = here - h
        slope[i] = (above - f(x)) / (2 * h)
        x[i] = here
    return slope


def complex_step(f: Callable[[Array], complex], x: Array, h: float = 1e-30) -> Array:
    """Im f(x + ih) / h for every entry of x, since f(x + ih) = f(x) + ih f′(x) − h²f″(x)/2 − …

    Nothing is subtracted, so h may be so small that h² vanishes. Source: Squire and Trapp, SIAM
    Review 40 (1998).
    """
    z = x.astype(np.complex128)
    slope = np.empty(x.shape)
    for i in np.ndindex(x.shape):
        z[i] = complex(x[i], h)
        slope[i] = f(z).imag / h
        z[i] = x[i]
    return slope


@dataclass(frozen=True)
class Method:
    """A way to get dL/dx from L alone, the dtype it works in, and the error it must stay below."""

    slope: Callable[[Callable, Array], Array]
    dtype: type
    tolerance: float


METHODS = {
    "central": Method(central_difference, np.float64, 1e-7),  # rounding: about 1e-10 is seen
    "complex": Method(complex_step, np.complex128, 1e-12),  # rounding: about 1e-15 is seen
}


def gradient_error(analytic: Array, numeric: Array) -> float:
    """max |analytic − numeric| / (max |numeric| + floor).

    Per array, so that an entry near 0 raises no false alarm. Raises InputError where the numeric
    gradient is 0 everywhere: such a check shows nothing.
    """
    largest = np.max(np.abs(numeric), initial=0.0)
    if largest < ZERO:
        raise InputError(
            "the numerical gradient is 0 everywhere, so any gradient that is too small would pass: "
            "check at another point, with a random upstream gradient and weights of order 1"
        )
    return float(np.max(np.abs(analytic - numeric)) / (largest + FLOOR))


ROW = "{:<38} {:<27} {:<9} {:>8} {:>8}  {}"  # of the table: what, array, shape, errors, verdict


@dataclass(frozen=True)
class Check:
    """One array's gradient, looked at by each method."""

    subject: str
    name: str
    shape: tuple[int, ...]
    errors: dict[str, float] = field(default_factory=dict)
    problem: str = ""  # what is wrong with it, if anything, in words

    @property
    def passed(self) -> bool:
        return not self.problem

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape)) or "scalar"
        errors = [f"{self.errors[m]:.1e}" if m in self.errors else "" for m in METHODS]
        verdict = "ok" if self.passed else "WRONG: " + self.problem
        return ROW.format(self.subject, self.name, shape, *errors, verdict)


@dataclass(frozen=True)
class Report:
    """The checks of one subject or of many; prints as a table."""

    checks: list[Check]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    def __str__(self) -> str:
        limits = " and ".join(f"{method.tolerance:.0e}" for method in METHODS.values())
        verdict = f"verdict: errors below {limits}?"
        head = ROW.format("what", "gradient", "shape", *METHODS, verdict)
        return "\n".join([head, *map(str, self.checks)])


def check_op(
    forward: Callable,
    backward: Callable,
    *args: Any,
    name: str = "",
    rng: np.random.Generator | None = None,
    methods: Iterable[str] = tuple(METHODS),
    known: Known | None = None,
) -> Report:
    """Check `backward` against numerical gradients of L = Σ dy·y, with dy random.

    `y, cache = forward(*args)`; `backward(dy, cache)` returns one gradient for each float64 array
    among `args`, in their order (alone or in a tuple; None is passed over). All other arguments are
    handed on as they are. Raises InputError for a check that could show nothing: float32 inputs, an
    array with two axes of the same size, a gradient that is 0 everywhere.

    known, a dict that starts empty, keeps the numerical gradients for another check of the same
    forward at the same arguments.
    """
    subject = name or forward.__name__
    places = [i for i, arg in enumerate(args) if _is_float(arg)]
    for i in places:
        _refuse_weak_input(f"argument {i} of {subject}", args[i])
    if not places:
        raise InputError(
            f"{subject}: no argument is a float64 array, so there is nothing to check: "
            "use np.asarray(x, float)"
        )
    before = deepcopy(args)
    made = forward(*deepcopy(args))
    if not (isinstance(made, tuple) and len(made) == 2):
        raise InputError(f"{subject}: the forward must return two things, y and its cache")
    y, cache = made
    _refuse_coinciding_axes(f"the result of {subject}", np.shape(y))
    dy = (rng or np.random.default_rng(0)).normal(size=np.shape(y))[()]
    answer = _as_tuple(backward(deepcopy(dy), cache))
    names = argument_names(forward, places)
    if len(answer) != len(places):
        problem = f"backward returned {len(answer)} gradients for {len(places)} arrays {names}"
        return Report([Check(subject, "all", (), problem=problem)])
    changed = _changed(forward, backward, dy, answer, before)

    def loss_of(i: int, dtype: type) -> Callable[[Array], Any]:
        def loss(x: Array) -> Any:
            inputs = [
                arg.astype(dtype) if j in places else deepcopy(arg) for j, arg in enumerate(args)
            ]
            inputs[i] = x
            return np.sum(dy * forward(*inputs)[0])

        return loss

    return Report(
        [
            _compare(
                subject,
                "d" + n,
                args[i],
                dx,
                partial(loss_of, i),
                methods,
                changed,
                known,
            )
            for i, n, dx in zip(places, names, answer, strict=True)
        ]
    )


def check_model(
    model: Model,
    batch: Sequence[Any],
    *,
    name: str = "",
    methods: Iterable[str] = tuple(METHODS),
    known: Known | None = None,
) -> Report:
    """Check `loss_backward` of a float64 model on a batch (ids, targets), array by array.

    A batch (ids, targets, rng) checks it in training: every look draws the same dropout.

    Raises InputError as check_op does; the sizes that must differ are those of the batch, B and T,
    and the model's own: its vocabulary, its width and the like.
    """
    subject = name or type(model).__name__
    if model.params.flat.dtype != np.float64:
        raise InputError(
            f"{subject} is {model.params.flat.dtype}, whose rounding hides wrong gradients: "
            "check model.astype(np.float64)"
        )
    own = ("vocab_size", "width", "hidden", "heads")
    sizes = tuple(getattr(model.config, size) for size in own if hasattr(model.config, size))
    _refuse_coinciding_axes(f"{subject}: batch and model", (*np.shape(batch[0]), *sizes))
    _, cache = model.loss(*deepcopy(batch))
    grads = model.loss_backward(cache)

    def loss_of(parameter: str, dtype: type) -> Callable[[Array], Any]:
        twin = model.astype(dtype)

        def loss(x: Array) -> Any:
            twin.params[parameter] = x
            return twin.loss(*deepcopy(batch))[0]

        return loss

    return Report(
        [
            _compare(subject, n, x, grads[n], partial(loss_of, n), methods, known=known)
            for n, x in model.params.items()
        ]
    )


def _compare(
    subject: str,
    name: str,
    x: Array,
    analytic: Any,
    loss_in: Callable[[type], Callable],
    methods: Iterable[str],
    problem: str = "",
    known: Known | None = None,
) -> Check:
    """One Check: `analytic` beside what each method finds, and the entry where they differ most."""
    if np.shape(analytic) != x.shape:
        problem = f"it has shape {np.shape(analytic)}, and its array {x.shape}"
        return Check(subject, name, x.shape, problem=problem)
    errors: dict[str, float] = {}
    for key in methods:
        method = METHODS[key]
        numeric = None if known is None else known.get((name, key))
        if numeric is None:
            numeric = method.slope(loss_in(method.dtype), x)
        if known is not None:
            known[name, key] = numeric
        if key == "complex" and errors and not numeric.any():
            raise InputError(
                f"{subject}: the complex step sees no slope in {name}, and the central difference "
                "does: the forward takes an absolute value, .real or a conjugate, or compares "
                "complex numbers. Write it without, or pass methods=('central',)"
            )
        errors[key] = gradient_error(analytic, numeric)
        if not errors[key] < method.tolerance:  # so that nan is wrong too
            gap = np.abs(analytic - numeric)
            worst = np.unravel_index(np.nanargmax(np.where(np.isfinite(gap), gap, np.inf)), x.shape)
            problem = (
                f"at {name}[{', '.join(map(str, worst))}] the code says {analytic[worst]:.9g}, "
                f"the {key} method {numeric[worst]:.9g}"
            )
    if not errors:
        problem = problem or "no method has looked at it"
    return Check(subject, name, x.shape, errors, problem)


def _changed(forward: Callable, backward: Callable, dy: Any, answer: tuple, before: tuple) -> str:
    """What a pair of functions leaves changed behind it, in words; "" if nothing."""
    args, upstream = deepcopy(before), deepcopy(dy)
    _, cache = forward(*args)
    backward(upstream, cache)
    again = _as_tuple(backward(upstream, cache))
    arrays = [(a, b) for a, b in zip(args, before, strict=True) if isinstance(a, np.ndarray)]
    if any(not np.array_equal(a, b) for a, b in [*arrays, (upstream, dy)]):
        return "forward or backward changed one of its inputs: work on a copy"
    if any(not np.array_equal(a, b) for a, b in zip(answer, again, strict=True)):
        return "a second backward gives another result: the first one changed the cache"
    return ""


def _is_float(arg: Any) -> bool:
    return isinstance(arg, np.ndarray) and arg.dtype.kind in "fc"


def _as_tuple(answer: Any) -> tuple:
    parts = answer if isinstance(answer, tuple | list) else (answer,)
    return tuple(part for part in parts if part is not None)


def argument_names(forward: Callable, places: Sequence[int]) -> list[str]:
    names = forward.__code__.co_varnames if hasattr(forward, "__code__") else ()
    return [names[i] if i < len(names) else str(i) for i in places]


def _refuse_weak_input(what: str, x: Array) -> None:
    if x.dtype != np.float64:
        raise InputError(
            f"{what} is {x.dtype}: differences in it are mostly rounding and prove nothing; "
            "use .astype(np.float64)"
        )
    _refuse_coinciding_axes(what, x.shape)


def _refuse_coinciding_axes(what: str, sizes: tuple[int, ...]) -> None:
    if len(set(sizes)) < len(sizes):
        raise InputError(
            f"{what} has equal sizes {sizes}, behind which two axes could be swapped unseen: "
            "make all sizes different"
        )
