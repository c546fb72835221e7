"""What a gradient check asks: L as a function of several arrays, and what the code says of its
slopes.

    OpAsked     L = Σ dy·y of a forward, with dy random     and its backward
    ModelAsked  L = model.loss(batch)                       and its loss_backward

L comes as its terms dy·y, not summed: two of them are subtracted first and added up then, so that
an entry's slope carries the rounding of those terms alone that the entry moves.
"""

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, Self

import numpy as np

from .arrays import Array, Rng
from .callables import Leaf, NoMatch, handed_on, matched, raised, rebuilt
from .errors import InputError
from .gradient_verdicts import RANDOM_WORDS, Finding, GradientVerdict

Terms = Callable[[Array], Array]  # the terms of L with one array replaced, in its dtype


class Asked(Protocol):
    """L at a point: `values`, one array for each of `names`."""

    names: list[str]
    values: list[Array]
    repeats: bool  # whether more than a second forward has given the same

    def base(self) -> Array:
        """L's terms at the point."""

    def along(self, k: int, dtype: type[Any] = np.float64) -> Terms:
        """L's terms as a function of array k; the others stay, in `dtype`."""

    def gradients(self) -> list[Any]:
        """What the code says, for each array."""

    def at(self, values: list[Array], rng: Rng | None) -> Self:
        """The same question at another point; an rng moves dy too, in its last digits."""


class Claims(NamedTuple):
    """What the code says of the slopes, and what is wrong with it at first sight."""

    gradients: list[Any]
    harm: str  # what the calls left changed, in words; "" if nothing
    of_dy: list[str]  # for each gradient, how it depends on dy, if not as it should


@contextmanager
def quietly(complex_numbers: bool = False) -> Iterator[None]:
    """Without warnings, except that a discarded imaginary part is an error."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        if complex_numbers:
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
        yield


def or_nan(terms: Terms, base: Array) -> Terms:
    """The terms, nan where the forward fails: outside of what it accepts there is no slope."""

    def or_nan(x: Array) -> Array:
        try:
            moved = terms(x)
        except Exception:  # the reader's own code may raise any
            return np.full(base.shape, np.nan)
        return moved if moved.shape == base.shape else np.full(base.shape, np.nan)

    return or_nan


def differ(one: Array, other: Array) -> bool:
    """Whether two results differ by more than the last digits."""
    if one.shape != other.shape:
        return True
    gap = np.abs(one - other) > 1e-12 * max(largest(one), largest(other))
    return bool((gap | (np.isnan(one) != np.isnan(other))).any())


def largest(x: Array) -> float:
    """The largest finite absolute value; 0 if there is none."""
    finite = np.abs(x[np.isfinite(x)])
    return float(finite.max()) if finite.size else 0.0


# ---- a pair of functions ---------------------------------------------------------------------


class OpAsked:
    """`forward` and `backward` at arguments given by place or by name."""

    def __init__(
        self,
        forward: Callable[..., Any],
        backward: Callable[..., Any],
        args: Mapping[Any, Any],
        chosen: list[Leaf],
    ):
        self.forward, self.backward, self.args, self.leaves = forward, backward, args, chosen
        self.values = [leaf.value for leaf in chosen]
        self.names = ["d" + leaf.name for leaf in chosen]
        self.dy: Any = None
        self.terms_here: Array | None = None
        self.repeats = False

    def call(self, values: list[Array]) -> Any:
        """What the forward returns."""
        return self.call_with(self.filled(values))

    def call_with(self, filled: Mapping[Any, Any]) -> Any:
        places = [arg for key, arg in filled.items() if isinstance(key, int)]
        return self.forward(
            *places, **{key: arg for key, arg in filled.items() if isinstance(key, str)}
        )

    def filled(self, values: list[Array]) -> dict[Any, Any]:
        """New copies of the arguments, with these arrays among them."""
        forms = {
            leaf.route: handed_on(leaf, x) for leaf, x in zip(self.leaves, values, strict=True)
        }
        result: dict[Any, Any] = rebuilt(self.args, forms)
        return result

    def start(self, subject: str, rng: Rng | None) -> list[Array]:
        """Draw dy for the forward's results, and return them. Finding where they show nothing."""
        try:
            with quietly():
                made, again = self.call(self.values), self.call(self.values)
        except InputError:
            raise
        except Exception as error:  # the reader's own code may raise any
            raise Finding(GradientVerdict.CANNOT, raised("forward", error)) from error
        if not is_pair(made):
            raise InputError(
                f"{subject}: the forward must return two things, y and its cache, not "
                f"{described(made)}; of several results, return ((y1, y2), cache), and the "
                "backward gets (dy1, dy2)"
            )
        y, results = made[0], outputs(made[0])
        if not results:
            raise Finding(
                GradientVerdict.CANNOT, f"the result is {described(y)}, which has no slope"
            )
        for one in results:
            _refuse_result(one)
        if any(differ(*both) for both in zip(results, outputs(again[0]), strict=True)):
            raise Finding(GradientVerdict.RANDOM, RANDOM_WORDS)
        self.dy = upstream(y, [leaf.value for leaf in self.leaves], rng)
        return results

    def answer(self) -> Claims:
        """The backward's gradients, and what is wrong with them at first sight, in words."""
        try:
            with quietly():
                return self._answer()
        except NoMatch as unclear:
            raise Finding(GradientVerdict.CANNOT, str(unclear)) from unclear
        except Exception as error:
            raise Finding(GradientVerdict.WRONG, raised("backward", error)) from error

    def _answer(self) -> Claims:
        filled, dy = self.filled(self.values), upstream_copy(self.dy)
        _, cache = self.call_with(filled)
        answer = self.backward(dy, cache)
        by_route = matched(answer, self.args, self.leaves)
        self._keep(by_route)
        first = [as_array(by_route[leaf.route]) for leaf in self.leaves]
        before = [*_arrays(self.filled(self.values)), *_arrays(self.dy)]
        after = [*_arrays(filled), *_arrays(dy)]
        if not all(map(same, before, after)):
            return Claims(
                first, "forward or backward changed one of its inputs: work on a copy", []
            )
        try:
            second = self._matched(self.backward(dy, cache))
        except Exception as error:
            words = raised("a second backward", error) + ": the first one changed the cache"
            return Claims(first, words, [])
        fresh = self.gradients()
        if not all(map(same, first, fresh)):
            return Claims(
                first, "two backwards differ: it draws random numbers, or keeps something", []
            )
        if not all(map(same, first, second)):
            return Claims(
                first, "a second backward gives another result: the first one changed the cache", []
            )
        return Claims(first, "", self._of_dy(first))

    def _of_dy(self, first: list[Any]) -> list[str]:
        """What is wrong with each as a function of dy, in words.

        dx = Jᵀ dy is linear in dy: 1024 times as much, the other way round, to the last bit.
        """
        other = copy.copy(self)
        other.dy = map_outputs(lambda d: -1024.0 * d, self.dy)
        return list(map(_not_linear, self.names, first, other.gradients()))

    def _keep(self, by_route: Mapping[Any, Any]) -> None:
        """Leave out the plain numbers for which there is no gradient."""
        kept = [n for n, leaf in enumerate(self.leaves) if leaf.route in by_route]
        for name in ("leaves", "values", "names"):
            setattr(self, name, [getattr(self, name)[n] for n in kept])

    def _matched(self, answer: Any) -> list[Any]:
        by_route = matched(answer, self.args, self.leaves)
        return [as_array(by_route.get(leaf.route)) for leaf in self.leaves]

    def base(self) -> Array:
        if self.terms_here is None:
            self.terms_here = weighed(self.dy, self.call(self.values)[0])
        return self.terms_here

    def along(self, k: int, dtype: type[Any] = np.float64) -> Terms:
        values: list[Array] = [x.astype(dtype) for x in self.values]

        def terms(x: Array) -> Array:
            return weighed(self.dy, self.call([*values[:k], x, *values[k + 1 :]])[0])

        return terms

    def gradients(self) -> list[Any]:
        _, cache = self.call(self.values)
        return self._matched(self.backward(upstream_copy(self.dy), cache))

    def at(self, values: list[Array], rng: Rng | None) -> Self:
        other = copy.copy(self)
        other.values, other.terms_here = values, None
        if rng is not None:
            other.dy = map_outputs(
                lambda d: d * (1 + 2.0**-44 * rng.uniform(-1, 1, d.shape)), self.dy
            )
        return other


def _not_linear(name: str, one: Any, many: Any) -> str:
    if one is None or one.dtype.kind not in "fc" or one.shape != many.shape:
        return ""
    scale = 1024 * largest(one) * (1e-9 if one.dtype.itemsize >= 8 else 1e-3)
    if not np.isfinite(one).all() or np.abs(many + 1024.0 * one).max(initial=0) <= scale:
        return ""
    if same(one, many):
        return f"{name} ignores dy: another dy gives the same"
    return f"{name} is not proportional to dy: −1024 dy does not give −1024 {name}"


def is_pair(made: Any) -> bool:
    return isinstance(made, tuple | list) and len(made) == 2


def described(thing: Any) -> str:
    if isinstance(thing, tuple | list):
        return f"{len(thing)} ({', '.join(type(part).__name__ for part in thing)})"
    if isinstance(thing, np.ndarray | np.generic):
        return f"{thing.dtype} of shape {thing.shape}"
    return "nothing (None)" if thing is None else type(thing).__name__


def _refuse_result(y: Array) -> None:
    if y.dtype.kind == "c":
        advice = "return ((y.real, y.imag), cache): a slope is that of a real number"
        raise Finding(GradientVerdict.CANNOT, f"the result is {y.dtype}: {advice}")
    if y.dtype != np.float64:
        raise Finding(
            GradientVerdict.CANNOT,
            f"the result is {y.dtype} for arguments of float64: its rounding hides wrong "
            "gradients; leave the dtype to the input",
        )
    if not np.isfinite(y).all():
        where = tuple(map(int, np.argwhere(~np.isfinite(y))[0]))
        value = float(y[where])
        words = f"the forward gives {value} at {list(where)}: choose another point"
        raise Finding(GradientVerdict.CANNOT, words)
    if not y.size:
        raise Finding(GradientVerdict.NOTHING, f"the result is empty, of shape {y.shape}")


def as_array(gradient: Any) -> Any:
    """A copy as an array, for later calls may overwrite it; None stays."""
    if gradient is None:
        return None
    try:
        return np.array(gradient)
    except ValueError:  # rows of different lengths
        return np.array(None)


def _arrays(tree: Any) -> Iterator[Array]:
    if isinstance(tree, np.ndarray | np.generic):
        yield np.asarray(tree)
    elif isinstance(tree, Mapping | tuple | list):
        for part in tree.values() if isinstance(tree, Mapping) else tree:
            yield from _arrays(part)


def same(one: Any, other: Any) -> bool:
    """Up to the last digits; nan is the same as nan."""
    if one is None or other is None:
        return one is other
    if one.dtype.kind not in "fc" or other.dtype.kind not in "fc":
        return np.array_equal(one, other)
    return not differ(one, other)


def map_outputs(change: Callable[[Array], Any], y: Any) -> Any:
    """`change` for every array of one result or several; None for what has no slope."""
    if isinstance(y, Mapping):
        return {key: map_outputs(change, part) for key, part in y.items()}
    if isinstance(y, tuple | list) and not plain_numbers(y):
        parts = [map_outputs(change, part) for part in y]
        return type(y)(*parts) if hasattr(y, "_fields") else type(y)(parts)
    if y is None or np.asarray(y).dtype.kind not in "fc":
        return None
    return change(np.asarray(y))


def plain_numbers(y: Any) -> bool:
    """Whether it is a nested list of plain numbers, which is one array."""
    if isinstance(y, list):
        return bool(y) and all(
            isinstance(part, int | float | complex) or plain_numbers(part) for part in y
        )
    return False


def outputs(y: Any) -> list[Array]:
    """The arrays of one result or of several, those without slope left out."""
    found: list[Array] = []
    map_outputs(found.append, y)
    return found


def weighed(dy: Any, y: Any) -> Array:
    """The terms dy·y of L, one after another."""
    weights, results = outputs(dy), outputs(y)
    if len(weights) != len(results) or any(
        d.shape != r.shape for d, r in zip(weights, results, strict=True)
    ):
        raise ValueError("the result has another shape than before")
    terms = [(d * r).ravel() for d, r in zip(weights, results, strict=True)]
    return terms[0] if len(terms) == 1 else np.concatenate(terms)


def upstream_copy(dy: Any) -> Any:
    return map_outputs(lambda d: d.copy()[()], dy)


KEY = 0x6E756D70796C6D  # seeds that no reader takes: dy must not be the argument once more


def upstream(y: Any, args: list[Array], rng: Rng | None) -> Any:
    """dy: random, the shape of y, no number in common with an argument and in no ratio to one."""
    given = int(rng.integers(2**62)) if rng is not None else 0
    numbers = np.concatenate([np.zeros(1), *(x.real.ravel() for x in args)])
    for attempt in range(100):
        draw = np.random.default_rng([KEY, given, attempt])

        def drawn(part: Any, draw: Rng = draw) -> Array:
            made: Array = draw.normal(size=part.shape)
            return made

        dy = map_outputs(drawn, y)
        flat = np.concatenate([d.ravel() for d in outputs(dy)])
        lengths = np.abs(flat)
        distinct = not np.isin(lengths, np.abs(numbers)).any()
        if flat.size <= 2:  # neither 0 nor 1, whose squares are themselves
            distinct &= bool(lengths.min() > 0.3 and lengths.max() < 0.8)
        if distinct and not any(_proportional(d, x) for d in outputs(dy) for x in args):
            break
    return map_outputs(lambda d: d[()], dy)


def _proportional(d: Array, x: Array) -> bool:
    if d.size != x.size or d.size < 2:
        return False
    d, x = d.ravel(), x.real.ravel()
    return bool(abs(d @ x) > 0.999999 * np.linalg.norm(d) * np.linalg.norm(x) > 0)
