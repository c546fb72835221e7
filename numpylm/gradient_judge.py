"""The verdict on one array: the table of gradient_verdicts.py, applied."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .arrays import Array
from .gradient_evidence import (
    EPS,
    SAFE,
    Slope,
    complex_slope,
    deviations,
    is_rounding,
    more_digits,
    refuting,
    scale_of,
    slope_at,
)
from .gradient_questions import Asked, Claims, differ, largest, or_nan, quietly
from .gradient_verdicts import RANDOM_WORDS, TOLERANCES, Finding, GradientVerdict

UNDERFLOW = 1e-270  # below this the complex step, of 1e-30, reaches the smallest of all numbers
LOST_WORDS = (
    "the gradient is lost in the rounding of the result, which is saturated here: check at another "
    "point"
)
LOST = 1e-10  # of the slope that would change the result as much as x: it cannot be told from 0


class Numeric(NamedTuple):
    """What the methods found."""

    central: Array | None  # None: not asked for
    complex: Array | None  # None: not asked for, or the forward fails; `reason` says why
    reason: str = ""
    smooth: bool = False  # whether it is known that there is no corner here


def judged(
    asked: Asked, k: int, answer: Claims, numeric: Callable[[], Numeric]
) -> tuple[GradientVerdict, str, dict[str, Array]]:
    """The verdict on array k, its reason, and what each method found."""
    x, analytic = asked.values[k], answer.gradients[k]
    if analytic is None:
        return GradientVerdict.DATA, "the backward returned None for it", {}
    if answer.harm:
        return GradientVerdict.WRONG, answer.harm, {}
    if analytic.dtype.kind not in "fciub":
        return GradientVerdict.WRONG, "it is no array of numbers", {}
    if analytic.shape != x.shape:
        return GradientVerdict.WRONG, f"it has shape {analytic.shape}, and its array {x.shape}", {}
    if not x.size:
        return GradientVerdict.NOTHING, "the array is empty", {}
    found = numeric()
    best = found.central if found.complex is None else found.complex
    narrow = analytic.dtype.kind == "c" or (
        analytic.dtype.kind == "f" and analytic.dtype.itemsize < 8
    )
    if narrow and best is not None:
        return _other_dtype(analytic, best)
    judge = Judge(asked, k, analytic.astype(np.float64), *found)
    verdict, words = judge.verdict()
    if answer.of_dy[k]:
        words = (
            f"{words}: {answer.of_dy[k]}" if verdict is GradientVerdict.WRONG else answer.of_dy[k]
        )
        verdict = GradientVerdict.WRONG
    return verdict, words, judge.numeric()


def _other_dtype(analytic: Array, best: Array) -> tuple[GradientVerdict, str, dict[str, Array]]:
    """Right as far as one can see, or wrong: float32 and less, and complex numbers."""
    rounding = 16 * float(np.finfo(analytic.dtype).eps)
    gap = largest(analytic - best) if np.isfinite(analytic).all() else np.inf
    error = gap / (largest(best) or 1.0)
    if analytic.dtype.kind == "c":
        if error <= 1e-7:
            return GradientVerdict.CANNOT, f"it is {analytic.dtype}: return its real part", {}
        return GradientVerdict.WRONG, f"it is {analytic.dtype}, and off by {error:.1g}", {}
    if error <= rounding:
        return (
            GradientVerdict.CANNOT,
            f"right to {error:.0e}, which is the rounding of {analytic.dtype}: leave the dtype to "
            "the input to see more",
            {},
        )
    worst = np.unravel_index(np.argmax(np.abs(analytic - best)), best.shape)
    words = f"at {list(map(int, worst))} the code says {analytic[worst]:.6g}, numerically it is "
    return GradientVerdict.WRONG, f"{words}{best[worst]:.6g}: more than {analytic.dtype} rounds", {}


@dataclass
class Judge:
    """The verdict on array k: first by what every entry shows, then by a closer look at the entries
    that disagree."""

    asked: Asked
    k: int
    analytic: Array
    central: Array | None
    complex: Array | None
    reason: str = ""
    smooth: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        self.x, self.name = self.asked.values[self.k], self.asked.names[self.k]
        self.central = None if self.central is None else self.central.copy()
        with quietly():
            self.base = self.asked.base()
        self.terms = or_nan(self.asked.along(self.k), self.base)
        self.size = float(np.abs(self.base).sum())
        self.natural = self.size / scale_of(self.x)  # what a slope here would be, in round numbers
        self.looked: dict[tuple[int, ...], Slope] = {}

    def verdict(self) -> tuple[GradientVerdict, str]:
        try:
            with quietly():
                self._distrust_complex()
                self._try_all()
                self._find_corners()
                self._refuse_nothing()
        except Finding as finding:
            return finding.verdict, finding.words
        return GradientVerdict.OK, self.note

    def numeric(self) -> dict[str, Array]:
        """What each method found, the closer looks included."""
        found = {"central": self.central, "complex": self.complex}
        return {method: slopes for method, slopes in found.items() if slopes is not None}

    def _try_all(self) -> None:
        trusted = self.complex is not None
        for i in self._suspects():
            self._try(i)
            if trusted and self.complex is None:  # it was found out on the way
                return self._try_all()
        return None

    # -- all entries

    def _noise(self) -> float:
        """Of the central difference: the rounding of L by its step."""
        h = 1e-5 * max(1.0, scale_of(self.x))
        return 8 * EPS * self.size / h

    def _look(self, i: tuple[int, ...]) -> Slope:
        if i not in self.looked:
            point = (self.terms, self.base, self.x, i)
            central = np.nan if self.central is None else self.central[i]
            slope = refuting(*point, self.analytic[i], central) or slope_at(*point)
            self.looked[i] = slope
            if self.central is not None and np.isfinite(slope.value):
                self.central[i] = slope.value
        return self.looked[i]

    def _distrust_complex(self) -> None:
        """Leave the complex step out if the real numbers contradict it."""
        if self.central is None:
            return
        if self.complex is None:
            if self.reason:
                self._by_central_alone()
            return
        z, c = self.complex, self.central
        gap = np.abs(z - c)
        limit = TOLERANCES["central"] * largest(c) + self._noise()
        for i in _worst_first(gap, ~(gap <= limit))[:3]:
            slope = self._look(i)
            off = abs(z[i] - slope.value)
            if not off <= SAFE * slope.error + 1e-6 * abs(slope.value) and not slope.corner:
                if np.isfinite(z[i]) and not np.isfinite(slope.error):
                    continue
                self._drop_complex(i, z[i], slope)
                break

    def _drop_complex(self, i: tuple[int, ...], z: float, slope: Slope) -> None:
        self.reason = (
            f"at {self._entry(i)} the complex step gives {z:.4g}, real numbers "
            f"{slope.value:.4g} (abs, .real, conjugates, sums of squares such as var and norm, and "
            "comparisons do that)"
        )
        self.complex = None
        self._by_central_alone()

    def _by_central_alone(self) -> None:
        self.note = f"by central alone: the forward does not take complex numbers: {self.reason}"

    def _suspects(self) -> list[tuple[int, ...]]:
        """The entries that need a closer look, the worst first."""
        a = self.analytic
        bad = np.zeros(a.shape, bool)
        gaps = np.zeros(a.shape)
        if self.complex is not None:
            gap = np.abs(a - self.complex)
            bad |= ~(gap <= TOLERANCES["complex"] * largest(self.complex))
            bad |= gap > 1e-6 * np.abs(self.complex)
            gaps = np.fmax(gaps, gap)
        if self.central is not None:
            gap = np.abs(a - self.central)
            bad |= ~(gap <= TOLERANCES["central"] * largest(self.central) + self._noise())
            if self.complex is None:
                least = 0.0 if self._mixed() else 1e-9 * largest(self.central)
                bad |= gap > np.maximum(1e-4 * np.abs(self.central), least)
            gaps = np.fmax(gaps, gap)
        bad |= ~np.isfinite(a)
        return _worst_first(np.where(np.isfinite(a), gaps, np.inf), bad)

    def _find_corners(self) -> None:
        """A corner between equal claims: one random direction shows whether there is any."""
        if self.central is None or self.smooth:
            return
        v = np.random.default_rng(7).uniform(0.5, 1, self.x.shape) * max(1e-300, scale_of(self.x))
        bends = []
        for h in (1e-5, 1e-6):
            above, below = self.terms(self.x + h * v), self.terms(self.x - h * v)
            bends.append(abs(float(np.sum(above + below - 2 * self.base))) / h)
        size = float(np.sum(np.abs(self.central * v)))
        noise = 16 * EPS * self.size / 1e-6
        if not (bends[1] > 0.3 * bends[0] and bends[1] > 1e-4 * size + noise):
            return
        for i in np.ndindex(self.x.shape):
            if self._bends(i):
                self._look(i)

    def _bends(self, i: tuple[int, ...]) -> bool:
        step = np.zeros(self.x.shape)
        found = []
        for h in (1e-5, 1e-6):
            step[i] = h * max(abs(self.x[i]), scale_of(self.x))
            change = self.terms(self.x + step) + self.terms(self.x - step) - 2 * self.base
            found.append(abs(float(np.sum(change))) / h)
        return found[1] > 0.3 * found[0] > 0 or not np.isfinite(found[1])

    def _refuse_nothing(self) -> None:
        """Raise what the closer looks left open, and refuse a point where every slope is 0."""
        if corners := [i for i, slope in self.looked.items() if slope.corner]:
            i, slope = corners[0], self.looked[corners[0]]
            more = f" (and at {len(corners) - 1} other entries)" if len(corners) > 1 else ""
            raise Finding(
                GradientVerdict.CORNER,
                f"at {self._entry(i)} the slope is {slope.left:.6g} from the left and "
                f"{slope.right:.6g} from the right{more}: there is no derivative, so check at "
                "another point",
            )
        best = self.complex if self.complex is not None else self.central
        if best is None:
            raise Finding(GradientVerdict.CANNOT, self.reason or "no method has looked at it")
        off = largest(self.analytic - best) > 1e-3 * largest(best)
        if off and largest(best) <= LOST * self.natural:
            raise Finding(GradientVerdict.NOTHING, LOST_WORDS)
        least = 64 * EPS * self.natural
        if largest(best) <= least or (self.complex is None and self._all_noise(best)):
            raise Finding(
                GradientVerdict.NOTHING,
                "the numerical gradient is 0 everywhere, so a gradient that is too small would "
                "pass: check at another point, with weights of order 1",
            )

    def _all_noise(self, central: Array) -> bool:
        """Whether the central difference, looked at closely, cannot be told from 0."""
        if largest(central) > 10 * LOST * self.natural:
            return False
        every = _worst_first(np.abs(central), np.ones(self.x.shape, bool))
        slopes = [slope_at(self.terms, self.base, self.x, i) for i in every[:5]]
        return all(abs(slope.value) <= SAFE * slope.error for slope in slopes)

    # -- one entry

    def _entry(self, i: tuple[int, ...]) -> str:
        return self.name + (f"[{', '.join(map(str, i))}]" if i else "")

    def _wrong(self, i: tuple[int, ...], method: str, value: float) -> Finding:
        a = self.analytic[i]
        digits = next((n for n in (9, 13) if f"{a:.{n}g}" != f"{value:.{n}g}"), 17)
        words = f"at {self._entry(i)} the code says {a:.{digits}g}, the {method} method "
        return Finding(GradientVerdict.WRONG, f"{words}{value:.{digits}g}")

    def _try(self, i: tuple[int, ...]) -> None:
        """Raise what is certain about an entry that disagrees; note what explains it."""
        if self.central is None:
            return self._try_complex(i)
        slope, a = self._look(i), self.analytic[i]
        if slope.corner:
            return None
        if not np.isfinite(slope.value):
            raise Finding(
                GradientVerdict.CANNOT,
                f"at {self._entry(i)} the forward gives no number beside x: check at another point",
            )
        if not np.isfinite(a):
            if slope.error > 0.1 * abs(slope.value):
                raise Finding(
                    GradientVerdict.CANNOT,
                    f"at {self._entry(i)} the code says {a}, and the central difference does not "
                    "settle, as if the slope were infinite: check at another point",
                )
            self._same_forward()
            raise self._wrong(i, "central", slope.value)
        if self.complex is not None:
            return self._try_both(i, slope)
        gap, doubt = abs(a - slope.value), SAFE * slope.error
        if gap <= TOLERANCES["central"] * abs(slope.value) + doubt:
            if doubt > 1e-4 * max(abs(a), 1e-3 * largest(self.central)):
                self._unclear(i, slope)
            return None
        if not self._rounds(i, a - slope.value, slope.size, slope.value):
            self._same_forward()
            raise self._wrong(i, "central", slope.value)
        return None

    def _try_both(self, i: tuple[int, ...], slope: Slope) -> None:
        assert self.complex is not None
        a, z = self.analytic[i], self.complex[i]
        _, size = complex_slope(self.asked.along(self.k, np.complex128), self.x, i)
        if self._rounds(i, a - z, size):
            return
        self._same_forward()
        if abs(a - slope.value) <= 1e-6 * abs(slope.value):
            slope = slope_at(self.terms, self.base, self.x, i, thorough=True)
        doubt = SAFE * slope.error
        if abs(a - slope.value) > doubt + 1e-6 * abs(slope.value):
            raise self._wrong(i, "central", slope.value)
        if abs(a - slope.value) > doubt >= abs(z - slope.value):
            raise self._wrong(i, "complex", z)
        if abs(a - slope.value) <= doubt < abs(z - slope.value):
            return self._drop_complex(i, z, slope)
        raise Finding(
            GradientVerdict.CANNOT,
            f"at {self._entry(i)} the code says {a:.17g}, the complex method {z:.17g}: steadily "
            "apart, and by too little for central differences to decide",
        )

    def _try_complex(self, i: tuple[int, ...]) -> None:
        assert self.complex is not None
        a, z = self.analytic[i], self.complex[i]
        _, size = complex_slope(self.asked.along(self.k, np.complex128), self.x, i)
        near = np.isfinite(a) and abs(a - z) <= 1e-6 * largest(self.complex)
        if near and self._rounds(i, a - z, size):
            return
        self._same_forward()
        raise self._wrong(i, "complex", z)

    def _rounds(
        self, i: tuple[int, ...], gap: float, size: float, reference: float | None = None
    ) -> bool:
        """Whether a gap is of the size and kind of rounding."""
        if abs(gap) <= TOLERANCES["complex"] * abs(self.analytic[i]) + UNDERFLOW:
            return True
        said = more_digits(self.asked, self.k, i, gap) if reference is None else ""
        if said != "rounding":
            if self._lost(i, gap, size or self.size, said):
                return True
            if not is_rounding(gap, deviations(self.asked, self.k, i, gap, reference)):
                return False
        most = max(largest(self.analytic), abs(gap))
        if abs(gap) > 1e-6 * most:
            if most <= LOST * self.natural:
                raise Finding(GradientVerdict.NOTHING, LOST_WORDS)
            raise Finding(
                GradientVerdict.CANNOT,
                f"at {self._entry(i)} rounding alone changes the gradient by {abs(gap):.0e}: it is "
                "lost in cancellation here; check at another point",
            )
        if abs(gap) > TOLERANCES["complex"] * most and not self.note:
            self.note = f"to {abs(gap) / most:.0e}, the rounding at this point"
        return True

    def _lost(self, i: tuple[int, ...], gap: float, size: float, said: str) -> bool:
        """Whether the result is so flat here, saturated, that its rounding hides the slope.

        Where arguments are of mixed scales, a small slope may be the one that matters.
        """
        here = abs(self.x[i]) or scale_of(self.x)
        if not said and abs(gap) <= 8 * EPS * size / here:
            return True
        unsaid, known = (0.0, 1e-22) if self._mixed() else (LOST, 1e-13)
        part = known if said else unsaid
        natural = size / (largest(self.x) or 1.0)
        return bool(max(abs(self.analytic[i]), abs(gap)) <= part * natural)

    def _mixed(self) -> bool:
        lengths = [np.abs(x[x != 0]) for x in self.asked.values]
        return any(bool(one.size and one.max() > 1e6 * one.min()) for one in lengths)

    def _unclear(self, i: tuple[int, ...], slope: Slope) -> None:
        raise Finding(
            GradientVerdict.CANNOT,
            f"at {self._entry(i)} the central difference is {slope.value:.6g} give or take "
            f"{slope.error:.0e}, the code says {self.analytic[i]:.6g}, and the forward does not "
            "take complex numbers: check at another point",
        )

    def _same_forward(self) -> None:
        """Before anyone is accused: a forward that draws random numbers proves nothing."""
        if not self.asked.repeats:
            for _ in range(5):
                if differ(self.base, self.terms(self.x.copy())):
                    raise Finding(GradientVerdict.RANDOM, RANDOM_WORDS)
            self.asked.repeats = True


def _worst_first(gap: Array, bad: Array) -> list[tuple[int, ...]]:
    where: Any = np.argwhere(bad)
    order = np.argsort(-np.where(np.isnan(gap), np.inf, gap)[bad], kind="stable")
    return [tuple(int(n) for n in where[j]) for j in order]
