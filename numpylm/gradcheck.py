"""Is dL/dx what the code says? Numerical gradients, and checks that refuse to prove nothing.

    print(check_op(attention_forward, attention_backward, q, k, v))       # or your own pair
    print(check_model(model, (ids, targets)))
    assert check_op(f_forward, f_backward, x)                             # in your tests

Two methods look at every gradient. The central difference needs only numbers, and loses half of the
digits to cancellation. The complex step has no subtraction to lose them in, and agrees to the last
digits, but asks that the forward be written for complex numbers: no abs, no conjugate, comparisons
on the real part. What is said when they disagree: the table in gradient_verdicts.py.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .arrays import Array, Rng
from .callables import argument_names, leaves, raised, title
from .errors import InputError
from .gradient_hidden import with_hidden_factors
from .gradient_judge import Numeric, judged
from .gradient_of_models import ModelAsked
from .gradient_questions import Asked, Claims, OpAsked, differ, or_nan, quietly
from .gradient_verdicts import SPARED, TOLERANCES, Check, Finding, Report

Known = dict[tuple[str, str], Array]  # a numerical gradient by array and method
TERMS = ("L", "terms")  # beside them, the result that they are the slopes of

FLOOR = 1e-3  # central differences of a whole model carry 3e-11 of noise: 1e-7 of this and no less
ZERO = 1e-9  # a numerical gradient below this is rounding noise around 0


def central_difference(f: Callable[[Array], Any], x: Array, h: float | None = None) -> Array:
    """(f(x + h) − f(x − h)) / 2h for every entry of x.

    Its error is h²f‴/6 from the curve and ε f/h from rounding; the two meet near h = 1e-5 in
    float64, for x of order 1: larger and much smaller x want steps in proportion, and get them.
    A one-sided difference has h f″/2 from the curve, and loses five digits. f may return the terms
    of a sum: what an entry does not move then drops out exactly.
    """
    x = x.copy()
    slope, largest = np.empty(x.shape), np.max(np.abs(x), initial=0.0)
    unit = largest if 0 < largest < 0.01 else 1.0
    for i in np.ndindex(x.shape):
        here = x[i]
        step = 1e-5 * max(abs(here) / 10, unit) if h is None else h
        x[i] = here + step
        above = f(x)
        x[i] = here - step
        slope[i] = np.sum(above - f(x)) / (2 * step)
        x[i] = here
    return slope


def complex_step(f: Callable[[Array], Any], x: Array, h: float | None = None) -> Array:
    """Im f(x + ih) / h for every entry of x, since f(x + ih) = f(x) + ih f′(x) − h²f″(x)/2 − …

    Nothing is subtracted, so h may be so small that h² vanishes: 1e-30 of x, or 1e-30. Source:
    Squire and Trapp, SIAM Review 40 (1998).
    """
    z = x.astype(np.complex128)
    slope = np.empty(x.shape)
    for i in np.ndindex(x.shape):
        step = 1e-30 * min(1.0, abs(x[i]) or 1.0) if h is None else h
        z[i] = complex(x[i], step)
        slope[i] = np.sum(f(z)).imag / step
        z[i] = x[i]
    return slope


@dataclass(frozen=True)
class Method:
    """A way to get dL/dx from L alone, the dtype it works in, and the error it must stay below."""

    slope: Callable[[Callable[..., Any], Array], Array]
    dtype: type
    tolerance: float


METHODS = {
    "central": Method(central_difference, np.float64, TOLERANCES["central"]),
    "complex": Method(complex_step, np.complex128, TOLERANCES["complex"]),
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


def check_op(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    *args: Any,
    keywords: Mapping[str, Any] | None = None,
    name: str = "",
    rng: Rng | None = None,
    methods: str | Iterable[str] = tuple(METHODS),
    equal_axes: bool = False,
    known: Known | None = None,
    until_wrong: bool = False,
) -> Report:
    """Check `backward` against numerical gradients of L = Σ dy·y, with dy random.

    `y, cache = forward(*args, **keywords)`; `backward(dy, cache)` returns one gradient for each
    float64 array among the arguments, in their order, alone, in a tuple or in a dict by name; None
    for one that is data (a mask, a one-hot target). Floats and lists of them are checked too where
    it returns a gradient for them. Lists and dicts of arrays have gradients of the same form. Of
    several results, `return (y1, y2), cache`, and the backward gets (dy1, dy2).

    The report holds a verdict for each array: the table in gradient_verdicts.py. Raises InputError
    for a check that could show nothing: float32 inputs, nan, an array with two axes of the same
    size (equal_axes=True allows them, where they must be equal), a forward without a cache.

    known, a dict that starts empty, keeps the numerical gradients for another check at the same
    arguments; it is not used where the forward gives another result than then. until_wrong=True
    ends with the first array that is not ok.
    """
    subject = name or title(forward)
    given: dict[Any, Any] = dict(enumerate(args)) | dict(keywords or {})
    names = dict(enumerate(argument_names(forward, range(len(args)))))
    found = leaves(given, names | {key: key for key in keywords or {}})
    integers = any(isinstance(arg, np.ndarray) for arg in given.values())
    if not found or (integers and all(leaf.kind == "number" for leaf in found)):
        raise InputError(
            f"{subject}: no argument is a float64 array, so there is nothing to check: "
            "use np.asarray(x, float)"
        )
    pair = OpAsked(forward, backward, given, found)
    try:
        results = pair.start(subject, rng)
        answer = pair.answer()
    except Finding as finding:
        _refuse_weak_inputs(subject, pair, found, equal_axes)  # they may be the cause
        return Report([Check(subject, "all", (), {}, finding.verdict, str(finding))])
    _refuse_weak_inputs(subject, pair, answer.gradients, equal_axes)
    for y in results:
        _refuse_coinciding_axes(f"the result of {subject}", y.shape, equal_axes)
    return _report(subject, pair, answer, methods, known, until_wrong)


def check_model(
    model: Any,
    batch: Sequence[Any] | Mapping[str, Any],
    *,
    name: str = "",
    methods: str | Iterable[str] = tuple(METHODS),
    equal_axes: bool = False,
    known: Known | None = None,
    until_wrong: bool = False,
) -> Report:
    """Check `loss_backward` of a float64 model on a batch (ids, targets), array by array.

    A batch (ids, targets, rng) checks it in training: every evaluation draws the same dropout. A
    dict is handed to `loss` by name. The model is a Model, or anything with `params` (arrays by
    name), `loss(*batch) -> loss, cache` and `loss_backward(cache)` -> gradients by name.

    Says and raises what check_op does; the sizes that must differ are those of the batch, B and T,
    and the model's own: its vocabulary, its width and the like.
    """
    subject = name or type(model).__name__
    if not isinstance(getattr(model, "params", None), Mapping):
        raise InputError(
            f"{subject} has no params, a dict of arrays by name: check_op checks pairs"
        )
    asked = ModelAsked(model, batch)
    for array in model.params:
        if (dtype := np.asarray(model.params[array]).dtype) != np.float64 and dtype.kind == "f":
            raise InputError(
                f"{subject} is {dtype}, whose rounding hides wrong gradients: "
                "check model.astype(np.float64)"
            )
    own = ("vocab_size", "width", "hidden", "heads")
    config = getattr(model, "config", None)
    sizes = tuple(getattr(config, size) for size in own if hasattr(config, size))
    first = next(iter(batch.values() if isinstance(batch, Mapping) else batch))
    what = f"{subject}: batch and model"
    _refuse_coinciding_axes(what, (*np.shape(first), *sizes), equal_axes)
    try:
        answer = asked.answer()
    except Finding as finding:
        return Report([Check(subject, "all", (), {}, finding.verdict, str(finding))])
    return _report(subject, asked, answer, methods, known, until_wrong)


def _report(
    subject: str,
    asked: Asked,
    answer: Claims,
    methods: str | Iterable[str],
    known: Known | None,
    until_wrong: bool,
) -> Report:
    """A Check for each array."""
    chosen = (methods,) if isinstance(methods, str) else tuple(methods)
    if unknown := [method for method in chosen if method not in METHODS]:
        raise InputError(f"there is no method {unknown[0]!r}: choose among {', '.join(METHODS)}")
    known, checks = {} if known is None else known, []
    with quietly():
        here = asked.base()
    if differ(known.setdefault(TERMS, here), here):
        known = {}  # of another forward
    for k, (name, analytic) in enumerate(zip(asked.names, answer.gradients, strict=True)):
        smooth = (name, "smooth")  # a forward without corners here has none in another check either
        work = partial(_numeric, asked, k, chosen, known)
        verdict, words, numeric = judged(asked, k, answer, work)
        errors = {m: _error(analytic, slopes) for m, slopes in numeric.items()}
        if verdict == "ok":
            known[smooth] = np.ones(1)
        checks.append(Check(subject, name, asked.values[k].shape, errors, verdict, words))
        if until_wrong and verdict not in SPARED:
            return Report(checks)
    return Report(with_hidden_factors(asked, checks))


def _numeric(asked: Asked, k: int, methods: Iterable[str], known: Known) -> Numeric:
    """What each method finds for array k, and why the complex step does not, if it does not."""
    reason = ""
    for key in methods:
        if (asked.names[k], key) in known:
            continue
        method = METHODS[key]
        try:
            with quietly(complex_numbers=key == "complex"):
                terms = asked.along(k, method.dtype)
                if key == "central":
                    terms = or_nan(terms, asked.base())
                known[asked.names[k], key] = method.slope(terms, asked.values[k])
        except Exception as error:  # NumPy and the reader's code have many ways to say it
            reason = raised("the forward", error)
    found = {key: known.get((asked.names[k], key)) for key in METHODS if key in methods}
    smooth = (asked.names[k], "smooth") in known
    return Numeric(found.get("central"), found.get("complex"), reason, smooth)


def _error(analytic: Any, numeric: Array) -> float:
    try:
        return gradient_error(np.asarray(analytic), numeric)
    except InputError:  # the gradient is 0 everywhere
        return float(np.max(np.abs(analytic - numeric), initial=0.0) / FLOOR)


def _refuse_weak_inputs(
    subject: str, pair: OpAsked, answers: Iterable[Any], equal_axes: bool
) -> None:
    """Those that have a gradient; what is data may be of any kind."""
    for leaf, answer in zip(pair.leaves, answers, strict=False):
        if leaf.kind != "number" and answer is not None:
            _refuse_weak_input(f"argument {leaf.name} of {subject}", leaf.value, equal_axes)


def _refuse_weak_input(what: str, x: Array, equal_axes: bool) -> None:
    if x.dtype != np.float64:
        raise InputError(
            f"{what} is {x.dtype}: differences in it are mostly rounding and prove nothing; "
            "use .astype(np.float64)"
        )
    if not np.isfinite(x).all():
        raise InputError(f"{what} holds {x[~np.isfinite(x)][0]}: check at finite numbers")
    _refuse_coinciding_axes(what, x.shape, equal_axes)


def _refuse_coinciding_axes(what: str, sizes: tuple[int, ...], equal_axes: bool) -> None:
    if len(set(sizes)) < len(sizes) and not equal_axes:
        raise InputError(
            f"{what} has equal sizes {sizes}, behind which two axes could be swapped unseen: "
            "make all sizes different, or pass equal_axes=True if they have to be equal"
        )
