"""Gradients measured: the exercises of "How to know that it is right"."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ...ops import softmax_backward
from ..exercises import Case, Exercise, case


def cubes(x: Any) -> Any:
    return np.sum(x**3)


def product(x: Any) -> Any:
    return np.prod(x)


def wave(x: Any) -> Any:
    """Steep and far from 0, so that a difference quotient shows its error."""
    return np.sum(np.sin(50 * x)) + 1000


def one_and_all(x: Any) -> Any:
    return np.sum(x) ** 2 + np.sum(x**4)


def _central(
    f: Callable[..., Any],
    x: Any,
    h: float = 1e-5,
    *,
    up: float = 1,
    down: float = 1,
    over: Callable[[float], float] = lambda h: 2 * h,
    restored: bool = True,
) -> Any:
    x, slope = x.copy(), np.empty(x.shape)
    for i in np.ndindex(x.shape):
        here = x[i]
        x[i] = here + up * h
        above = f(x)
        x[i] = here - down * h
        slope[i] = (above - f(x)) / over(h)
        if restored:
            x[i] = here
    return slope


class _Halves:
    """f, of which every second value is divided by 2h."""

    def __init__(self, f: Callable[..., Any], h: float) -> None:
        self.f, self.h, self.calls = f, h, 0

    def __call__(self, x: Any) -> Any:
        self.calls += 1
        return self.f(x) if self.calls % 2 else self.f(x) / (2 * self.h)


def _all_at_once(f: Callable[..., Any], x: Any, h: float = 1e-5) -> Any:
    return (f(x + h) - f(x - h)) / (2 * h)


CENTRAL_DIFFERENCE = Exercise(
    _central,
    [
        case(cubes, np.array([1.0, 2.0]), 0.1, hint="3 x² + h², because both sides count"),
        case(product, np.array([[1.0, 2.0, 3.0]]), 0.5),
        case(one_and_all, np.array([[1.0, 0.5], [2.0, -1.0], [0.3, 0.1]]), 0.2),
        case(cubes, np.array(2.0), 0.25, hint="x may be a single number"),
        case(wave, np.array([0.3, -0.7]), 0.02),
    ],
    {
        "this is one-sided, (f(x + h) − f(x))/h: take both sides, (f(x + h) − f(x − h))/2h": dict(
            down=0, over=lambda h: h
        ),
        "this is one-sided, (f(x) − f(x − h))/h: take both sides, (f(x + h) − f(x − h))/2h": dict(
            up=0, over=lambda h: h
        ),
        "the 2 is missing: x + h and x − h stand 2h apart": dict(over=lambda h: h),
        "it is divided by 2 where 2h is expected": dict(over=lambda h: 2.0),
        "it is not divided by 2h": dict(over=lambda h: 1.0),
        "(…)/2*h multiplies by h: write / (2 * h)": dict(over=lambda h: 2 / h),
        "a bracket is missing: (f(x + h) − f(x − h)) / (2h) divides the whole difference": (
            lambda f, x, h=1e-5: _central(_Halves(f, h), x, h, over=lambda h: 1.0)
        ),
        "it is divided by h²": dict(over=lambda h: h * h),
        "the sign is wrong: f(x + h) − f(x − h)": dict(up=-1, down=-1),
        "an entry is not put back before the next one is moved": dict(restored=False),
        "both sides stand h/2 away: the distances are h": dict(up=0.5, down=0.5, over=lambda h: h),
        "this is one-sided and divided by 2h: f(x + h) − f(x − h) is expected": dict(down=0),
        "h is not used: 1e-5 stands in its place": lambda f, x, h=1e-5: _central(f, x),
        "all entries are moved at once: one slope for each entry is asked for": _all_at_once,
        "all entries are moved at once: each must be moved by itself": lambda f, x, h=1e-5: np.full(
            x.shape, _all_at_once(f, x, h)
        ),
        "this is the second derivative, (f(x + h) − 2 f(x) + f(x − h))/h²: the first": (
            lambda f, x, h=1e-5: (
                (
                    _central(f, x, h, down=0, over=lambda h: 1.0)
                    - _central(f, x, h, up=0, over=lambda h: 1.0)
                )
                / h**2
            )
        ),
        "the step is relative to x, h x: h alone is expected": lambda f, x, h=1e-5: _relative(
            f, x, h
        ),
        "this is a quotient of four points, more exact than the one that is asked for": (
            lambda f, x, h=1e-5: (4 * _central(f, x, h) - _central(f, x, 2 * h)) / 3
        ),
    },
)


def _relative(f: Callable[..., Any], x: Any, h: float) -> Any:
    slope = np.empty(x.shape)
    for i in np.ndindex(x.shape):
        above, below = x.copy(), x.copy()
        step = h * abs(x[i])
        above[i] += step
        below[i] -= step
        slope[i] = (f(above) - f(below)) / (2 * step)
    return slope


def _complex(
    f: Callable[..., Any],
    x: Any,
    h: float = 1e-30,
    *,
    part: Callable[..., Any] = np.imag,
    over: Callable[[float], float] = lambda h: h,
    restored: bool = True,
) -> Any:
    z, slope = x.astype(complex), np.empty(x.shape)
    for i in np.ndindex(x.shape):
        z[i] += 1j * h
        slope[i] = part(f(z)) / over(h)
        if restored:
            z[i] = x[i]
    return slope


def _complex_answer(f: Callable[..., Any], x: Any, h: float = 1e-30) -> Any:
    z, slope = x.astype(complex), np.empty(x.shape, complex)
    for i in np.ndindex(x.shape):
        z[i] += 1j * h
        slope[i] = f(z) / h
        z[i] = x[i]
    return slope


COMPLEX_STEP = Exercise(
    _complex,
    [
        case(cubes, np.array([1.0, 2.0])),
        case(product, np.array([[1.0, 2.0, 3.0]])),
        case(wave, np.array([0.1, 0.7, 1.3]), hint="this f is steep: differences are not exact"),
        case(one_and_all, np.array([[1.0, 0.5], [2.0, -1.0], [0.3, 0.1]])),
        case(cubes, np.array([3.0, 1.0]), 1e-20),
        case(product, np.array([2.0, -1.0]), hint="here f is negative"),
    ],
    {
        "the imaginary part is expected, f(x + ih).imag: this is the real one": dict(part=np.real),
        "the absolute value is taken: the imaginary part is expected, f(x + ih).imag": dict(
            part=np.abs
        ),
        "it is not divided by h": dict(over=lambda h: 1.0),
        "it is divided by 2h: there is only one side, so divide by h": dict(over=lambda h: 2 * h),
        "it is divided by h²": dict(over=lambda h: h * h),
        "it is multiplied by h: divide": dict(over=lambda h: 1 / h),
        "the sign is wrong": dict(over=lambda h: -h),
        "an entry is not put back before the next one is moved": dict(restored=False),
        "the answer is complex: read the imaginary part, f(x + ih).imag": _complex_answer,
        "this is a difference quotient, with its error: step into the imaginary, x + ih": (
            lambda f, x, h=1e-30: _central(f, x)
        ),
        "this is a one-sided difference quotient, with its error: step into the imaginary, x + "
        "ih": (lambda f, x, h=1e-30: _central(f, x, 1e-5, down=0, over=lambda h: h)),
        "all entries are moved at once: one slope for each entry is asked for": (
            lambda f, x, h=1e-30: f(x + 1j * h).imag / h
        ),
        "all entries are moved at once: each must be moved by itself": lambda f, x, h=1e-30: (
            np.full(x.shape, f(x + 1j * h).imag / h)
        ),
        "f does not move: the step must be imaginary, x + 1j * h, and the slope that of f": (
            lambda f, x, h=1e-30: np.zeros(x.shape)
        ),
    },
)


def _error(
    analytic: Any,
    numeric: Any,
    *,
    worst: Callable[..., Any] = np.max,
    floor: float = 0.001,
    size: Callable[..., Any] = lambda a, n: np.abs(n).max(),
    distance: Callable[..., Any] = np.abs,
) -> Any:
    return worst(distance(analytic - numeric)) / (size(analytic, numeric) + floor)


GRADIENT_ERROR = Exercise(
    _error,
    [
        case(np.array([1.0, -2.0]), np.array([1.0, -2.0]), hint="they are equal: the error is 0"),
        case(np.array([1.0, 0.1]), np.array([1.0, 0.0]), hint="not entry by entry"),
        case(np.array([-3.0]), np.array([-2.0])),
        case(np.array([[0.5, 1.0], [-4.0, 2.0]]), np.array([[0.7, 0.5], [-3.0, 2.5]])),
        case(np.array([2.0, -1.0, 0.0]), np.array([-0.5, 0.25, 0.1])),
        case(np.array([0.5, 0.1]), np.array([2.5, -0.2])),
    ],
    {
        "the mean of the differences is taken: the largest is asked for": dict(worst=np.mean),
        "the differences are added up: the largest is asked for": dict(worst=np.sum),
        "this is one error for each entry: the largest is asked for": dict(worst=lambda x: x),
        "the smallest difference is taken: the largest is asked for": dict(worst=np.min),
        "the largest difference must be that of the absolute values: np.abs is missing": dict(
            distance=lambda x: x
        ),
        "the differences are squared: their absolute values are expected": dict(
            distance=lambda x: x * x
        ),
        "0.001 is missing in the denominator": dict(floor=0.0),
        "the denominator holds 1e-8 where 0.001 is expected": dict(floor=1e-8),
        "the size is that of the analytic gradient: the numerical one is asked for": dict(
            size=lambda a, n: np.abs(a).max()
        ),
        "the size is the largest of both gradients: that of the numerical one is asked for": dict(
            size=lambda a, n: max(np.abs(a).max(), np.abs(n).max())
        ),
        "the size is that of both gradients together: that of the numerical one is asked for": dict(
            size=lambda a, n: np.abs(a).max() + np.abs(n).max()
        ),
        "the size is the largest number, and the largest in absolute value is expected": dict(
            size=lambda a, n: n.max()
        ),
        "the size is the mean of the numerical gradient: its largest entry is asked for": dict(
            size=lambda a, n: np.abs(n).mean()
        ),
        "the size is the sum of the numerical gradient: its largest entry is asked for": dict(
            size=lambda a, n: np.abs(n).sum()
        ),
        "it is divided entry by entry, so an entry near 0 raises a false alarm: divide the largest "
        "difference by the largest entry": lambda a, n: np.max(np.abs(a - n) / (np.abs(n) + 0.001)),
        "the lengths (norms) are compared: the largest entries are asked for": lambda a, n: (
            np.linalg.norm(a - n) / (np.linalg.norm(n) + 0.001)
        ),
        "the largest entries are subtracted: subtract first, then take the largest difference": (
            lambda a, n: abs(np.abs(a).max() - np.abs(n).max()) / (np.abs(n).max() + 0.001)
        ),
        "the largest difference is not divided by the size": lambda a, n: np.abs(a - n).max(),
        "0.001 is added to the fraction: it belongs into the denominator": lambda a, n: (
            np.abs(a - n).max() / np.abs(n).max() + 0.001
        ),
    },
)

# ---- a check that can fail -------------------------------------------------------------------


def _by_jacobian(da: Any, a: Any) -> Any:
    """Right, in another style."""
    jacobian = np.eye(a.shape[-1]) * a[..., None] - a[..., None] * a[..., None, :]
    return np.einsum("...j,...jl->...l", da, jacobian)


def _by_rows(da: Any, a: Any) -> Any:
    """Right, in another style."""
    return np.array([w * (d - w @ d) for d, w in zip(da, a, strict=True)])


def _holds_the_formula(backward: Callable[..., Any]) -> int:
    rng = np.random.default_rng(0)
    a = rng.random((3, 5)) * np.tri(3, 5, 2)
    a, da = a / a.sum(axis=1, keepdims=True), rng.normal(size=(3, 5))
    try:
        ds = backward(da.copy(), a.copy())
    except Exception:
        return 0
    due = a * (da - (a * da).sum(axis=1, keepdims=True))
    return int(np.shape(ds) == (3, 5) and np.allclose(ds, due, rtol=1e-9, atol=1e-12))


WRONG: dict[str, Callable[..., Any]] = {
    "one where a da stands without the sum": lambda da, a: a * da,
    "one that sums over the wrong axis": lambda da, a: (
        a * (da - (a * da).sum(axis=0, keepdims=True))
    ),
    "one that is 1 % too large": lambda da, a: 1.01 * softmax_backward(da, a),
    "one with the wrong sign": lambda da, a: -softmax_backward(da, a),
    "one that returns 0": lambda da, a: np.zeros_like(a),
    "one that returns da": lambda da, a: da.copy(),
    "one that subtracts the mean of da, not its average by a": lambda da, a: (
        a * (da - da.mean(axis=-1, keepdims=True))
    ),
    "one that uses the slope of the logistic function": lambda da, a: da * a * (1 - a),
    "one that is wrong in the last row alone": lambda da, a: np.concatenate(
        [softmax_backward(da[:-1], a[:-1]), a[-1:] * da[-1:]]
    ),
    "one that is wrong only where a score is masked": lambda da, a: (
        softmax_backward(da, a) + 0.1 * (a == 0)
    ),
}


def check_cases() -> list[Case]:
    """The right backward in three styles, the registry's mistakes, and more."""
    from ...checks.mutants import MUTANTS  # it loads every model

    suspects = [m for m in MUTANTS if m.target == "softmax_backward" and len(m.changes) == 1]
    known = {m.sentence: m.changes[0][1](softmax_backward) for m in suspects}
    wrong = sorted({**WRONG, **known}.items(), key=lambda item: "mask" in item[0])
    return [
        *(
            Case((f,), 1, f"this one is right{style}")
            for f, style in (
                (softmax_backward, ""),
                (_by_jacobian, ", and written with the matrix of all slopes"),
                (_by_rows, ", and written row by row"),
            )
        ),
        *(Case((f,), 0, f"it survives: {sentence}") for sentence, f in wrong),
    ]


A_CHECK = Exercise(
    _holds_the_formula,
    check_cases,
    {
        "it calls everything right: a check must be able to fail": lambda backward: 1,
        "it calls everything wrong": lambda backward: 0,
        "1 and 0 are exchanged: 1 stands for right": lambda backward: (
            1 - _holds_the_formula(backward)
        ),
    },
)
