"""Numbers that remember how they were made: run on these, a second formula says it of each entry.

    y[j] = Σ coefficient Π parts          Operation.terms: what an entry is made of
    ∂y[j]/∂x[i] = coefficient Π parts     Operation.readers: who was made of it
    dx = Jᵀ dy                            Operation.upwards: the same for a whole array

The three are written apart from one another, so that each checks the others.
Source: Griewank and Walther 2008, Evaluating Derivatives, chapter 3 (reverse mode).
"""

import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Array
from ..checks.dual_numbers import PART, Dual, Function

Index = tuple[int, ...]

WRITTEN = {  # a function, and its derivative
    "exp": ("exp({})", "exp({})"),
    "log": ("log {}", "1/{}"),
    "sqrt": ("√{}", "1/(2 √{})"),
    "tanh": ("tanh({})", "1/cosh²({})"),
    "erf": ("erf({})", "2/√π exp(−{}²)"),
}
POWERS = {-1: "1/{}", -2: "1/{}²", 2: "{}²", 3: "{}³"}


class Part(NamedTuple):
    """An entry of an array, or a function of it: `written` has {} where the entry stands."""

    node: "Traced"
    at: Index
    value: float
    written: str = "{}"


class Term(NamedTuple):
    """coefficient Π parts"""

    coefficient: float
    parts: tuple[Part, ...] = ()


@dataclass
class Trace:
    """All arrays of one computation, in its order, and those that have names."""

    nodes: list["Traced"] = field(default_factory=list)
    named: dict[str, "Traced"] = field(default_factory=dict)

    def parameter(self, name: str, value: Array) -> "Traced":
        node = Traced(self, value)
        node.name = name
        self.named[name] = node
        return node


class Traced(Dual):
    """An array, the operation that made it, and who reads it. Without an operation it is given: a
    parameter if it has a name, otherwise a constant."""

    def __init__(
        self, trace: Trace, value: Any, operation: Any = None, inputs: tuple["Traced", ...] = ()
    ):
        self.trace, self.operation, self.inputs = trace, operation, inputs
        self.value = np.asarray(value, np.float64)
        self.name, self.formula = "", ""
        self.readers: list[tuple[Traced, int]] = []
        trace.nodes.append(self)
        for slot, x in enumerate(inputs):
            x.readers.append((self, slot))

    @property
    def is_constant(self) -> bool:
        return self.operation is None and not self.name

    def part(self, index: Index) -> Part:
        return Part(self, index, float(self.value[index]))

    def constant(self, x: Any) -> "Traced":
        return x if isinstance(x, Traced) else Traced(self.trace, x)

    def _made(self, value: Any, operation: Any, *others: "Traced") -> "Traced":
        return Traced(self.trace, value, operation, (self, *others))

    def __add__(self, other: Any) -> "Traced":
        other = self.constant(other)
        return self._made(self.value + other.value, Add(), other)

    def __mul__(self, other: Any) -> "Traced":
        other = self.constant(other)
        return self._made(self.value * other.value, Multiply(), other)

    def __pow__(self, n: int) -> "Traced":
        return self._made(self.value**n, Power(n))

    def each(self, linear: Any) -> Any:
        raise NotImplementedError("a linear map is written with sums, slices and products")

    def __getitem__(self, key: Any) -> Any:
        places = np.arange(self.value.size).reshape(self.value.shape)[key]
        return self._made(self.value[key], Take(np.asarray(places)))

    def sum(self, axis: int = -1) -> Any:
        assert axis == -1
        return self._made(self.value.sum(axis=-1, keepdims=True), RowSum())

    def total(self) -> Any:
        return self._made(np.sum(self.value), Total())

    def product(self, indices: str, other: Any) -> Any:
        operation = Einsum(indices, self.value, other.value)
        return self._made(np.einsum(indices, self.value, other.value), operation, other)

    def joined(self, parts: list[Any]) -> Any:
        values = [x.value for x in (self, *parts)]
        return self._made(np.concatenate(values, axis=-1), Join(), *parts)

    def through(self, function: Function) -> Any:
        return self._made(function.value(self.value), Through(function))

    def called(self, formula: str, name: str) -> Any:
        """The first name and formula are shown; the others find it too."""
        full = PART.get() + name
        self.trace.named.setdefault(full, self)
        if not self.name and self.operation is not None:
            self.name, self.formula = full, formula
        return self


# ---- the operations ----------------------------------------------------------------------------


class Add:
    """y = x_0 + x_1, of any shapes that fit"""

    def terms(self, node: Traced, index: Index) -> Iterator[Term]:
        for x in node.inputs:
            yield Term(1.0, (x.part(_reduced(index, x)),))

    def readers(self, node: Traced, slot: int, index: Index) -> Iterator[tuple[Index, Term]]:
        for j in _spread(index, node.inputs[slot], node):
            yield j, Term(1.0)

    def upwards(self, node: Traced, slot: int, dy: Array) -> Array:
        return _summed_to(dy, node.inputs[slot].value.shape)


class Multiply:
    """y = x_0 x_1, entry by entry"""

    def terms(self, node: Traced, index: Index) -> Iterator[Term]:
        yield Term(1.0, tuple(x.part(_reduced(index, x)) for x in node.inputs))

    def readers(self, node: Traced, slot: int, index: Index) -> Iterator[tuple[Index, Term]]:
        other = node.inputs[1 - slot]
        for j in _spread(index, node.inputs[slot], node):
            yield j, Term(1.0, (other.part(_reduced(j, other)),))

    def upwards(self, node: Traced, slot: int, dy: Array) -> Array:
        return _summed_to(dy * node.inputs[1 - slot].value, node.inputs[slot].value.shape)


@dataclass
class Power:
    """y = xⁿ"""

    n: int

    def terms(self, node: Traced, index: Index) -> Iterator[Term]:
        yield Term(1.0, (_power(node.inputs[0], index, self.n),))

    def readers(self, node: Traced, slot: int, index: Index) -> Iterator[tuple[Index, Term]]:
        yield index, Term(self.n, (_power(node.inputs[0], index, self.n - 1),))

    def upwards(self, node: Traced, slot: int, dy: Array) -> Array:
        result: Array = dy * self.n * node.inputs[0].value ** (self.n - 1)
        return result


def _power(x: Traced, index: Index, n: int) -> Part:
    return Part(x, index, float(x.value[index] ** n), POWERS.get(n, "{}" + f"^{n}" * (n != 1)))


@dataclass
class Take:
    """y = x[key]: places (shape of y) are the places of its entries in x, counted through"""

    places: Array

    def terms(self, node: Traced, index: Index) -> Iterator[Term]:
        (x,) = node.inputs
        yield Term(1.0, (x.part(_whole(np.unravel_index(self.places[index], x.value.shape))),))

    def readers(self, node: Traced, slot: int, index: Index) -> Iterator[tuple[Index, Term]]:
        place = np.ravel_multi_index(index, node.inputs[0].value.shape)
        for j in np.argwhere(self.places == place):
            yield _whole(j), Term(1.0)

    def upwards(self, node: Traced, slot: int, dy: Array) -> Array:
        dx = np.zeros(node.inputs[0].value.shape)
        np.add.at(dx.reshape(-1), self.places, dy)
        return dx


class RowSum:
    """y = Σ_r x_r, with an axis of length 1 in place of the last one"""

    def terms(self, node: Traced, index: Index) -> Iterator[Term]:
        (x,) = node.inputs
        for r in range(x.value.shape[-1]):
            yield Term(1.0, (x.part((*index[:-1], r)),))

    def readers(self, node: Traced, slot: int, index: Index) -> Iterator[tuple[Index, Term]]:
        yield (*index[:-1], 0), Term(1.0)

    def upwards(self, node: Traced, slot: int, dy: Array) -> Array:
        return np.broadcast_to(dy, node.inputs[0].value.shape)


class Total:
    """y = Σ x, of all entries"""

    def terms(self, node: Traced, index: Index) -> Iterator[Term]:
        (x,) = node.inputs
        for i in np.ndindex(x.value.shape):
            yield Term(1.0, (x.part(i),))

    def readers(self, node: Traced, slot: int, index: Index) -> Iterator[tuple[Index, Term]]:
        yield (), Term(1.0)

    def upwards(self, node: Traced, slot: int, dy: Array) -> Array:
        return np.broadcast_to(dy, node.inputs[0].value.shape)


class Join:
    """y = [x_0 x_1 …], along the last axis"""

    def terms(self, node: Traced, index: Index) -> Iterator[Term]:
        column = index[-1]
        for x in node.inputs:
            if column < x.value.shape[-1]:
                yield Term(1.0, (x.part((*index[:-1], column)),))
                return
            column -= x.value.shape[-1]

    def readers(self, node: Traced, slot: int, index: Index) -> Iterator[tuple[Index, Term]]:
        yield (*index[:-1], self._start(node, slot) + index[-1]), Term(1.0)

    def upwards(self, node: Traced, slot: int, dy: Array) -> Array:
        start = self._start(node, slot)
        return dy[..., start : start + node.inputs[slot].value.shape[-1]]

    def _start(self, node: Traced, slot: int) -> int:
        return sum(x.value.shape[-1] for x in node.inputs[:slot])


@dataclass
class Through:
    """y = f(x), entry by entry"""

    function: Function

    def terms(self, node: Traced, index: Index) -> Iterator[Term]:
        value = float(node.value[index])
        yield Term(1.0, (Part(node.inputs[0], index, value, WRITTEN[self.function.name][0]),))

    def readers(self, node: Traced, slot: int, index: Index) -> Iterator[tuple[Index, Term]]:
        (x,) = node.inputs
        slope = float(self.function.slope(x.value[index]))
        yield index, Term(1.0, (Part(x, index, slope, WRITTEN[self.function.name][1]),))

    def upwards(self, node: Traced, slot: int, dy: Array) -> Array:
        result: Array = dy * self.function.slope(node.inputs[0].value)
        return result


class Einsum:
    """y = einsum(indices, x_0, x_1). A letter for each axis; "..." becomes capital letters."""

    def __init__(self, indices: str, x: Array, y: Array):
        spelled, to = indices.split("->")
        ins = spelled.split(",")
        extra = [
            v.ndim - len(s.replace("...", "")) if "..." in s else 0
            for s, v in zip(ins, (x, y), strict=True)
        ]
        most = max(extra)
        dots = string.ascii_uppercase[:most]
        self.labels = [s.replace("...", dots[most - n :]) for s, n in zip(ins, extra, strict=True)]
        self.to = to.replace("...", dots)
        self.sizes: dict[str, int] = {}
        for labels, v in zip(self.labels, (x, y), strict=True):
            for label, size in zip(labels, v.shape, strict=True):
                self.sizes[label] = max(size, self.sizes.get(label, 1))

    def _all(self, known: dict[str, int]) -> Iterator[dict[str, int]]:
        """Every way to give the letters that are not known a number."""
        free = [label for label in self.sizes if label not in known]
        for numbers in product(*(range(self.sizes[label]) for label in free)):
            yield known | dict(zip(free, numbers, strict=True))

    def _part(self, node: Traced, slot: int, at: dict[str, int]) -> Part:
        x = node.inputs[slot]
        return x.part(_reduced(tuple(at[label] for label in self.labels[slot]), x))

    def terms(self, node: Traced, index: Index) -> Iterator[Term]:
        for at in self._all(dict(zip(self.to, index, strict=True))):
            yield Term(1.0, (self._part(node, 0, at), self._part(node, 1, at)))

    def readers(self, node: Traced, slot: int, index: Index) -> Iterator[tuple[Index, Term]]:
        shape = node.inputs[slot].value.shape
        known = {
            label: i
            for label, i, size in zip(self.labels[slot], index, shape, strict=True)
            if size == self.sizes[label]
        }
        for at in self._all(known):
            yield (
                tuple(at[label] for label in self.to),
                Term(1.0, (self._part(node, 1 - slot, at),)),
            )

    def upwards(self, node: Traced, slot: int, dy: Array) -> Array:
        own, other = self.labels[slot], self.labels[1 - slot]
        missing = [label for label in own if label not in self.to + other]
        assert not missing
        dx = np.einsum(f"{self.to},{other}->{own}", dy, _full(node.inputs[1 - slot], other, self))
        return _summed_to(dx, node.inputs[slot].value.shape)


# ---- indices ------------------------------------------------------------------------------------


def _whole(index: Any) -> Index:
    return tuple(int(i) for i in index)


def _reduced(index: Index, x: Traced) -> Index:
    """Where x, broadcast to a larger shape, has what stands at `index` there."""
    shape = x.value.shape
    return tuple(
        0 if n == 1 else i for i, n in zip(index[len(index) - len(shape) :], shape, strict=True)
    )


def _spread(index: Index, x: Traced, y: Traced) -> Iterator[Index]:
    """Every place of y at which x, broadcast, has its entry `index`."""
    more = y.value.ndim - x.value.ndim
    shape = (1,) * more + x.value.shape
    ranges = [
        range(size) if n == 1 else (i,)
        for i, n, size in zip((0,) * more + index, shape, y.value.shape, strict=True)
    ]
    return product(*ranges)


def _summed_to(dy: Array, shape: Index) -> Array:
    """The transpose of broadcasting."""
    dy = dy.sum(axis=tuple(range(dy.ndim - len(shape))))
    axes = tuple(i for i, n in enumerate(shape) if n == 1 and dy.shape[i] != 1)
    result: Array = dy.sum(axis=axes, keepdims=True)
    return result


def _full(x: Traced, labels: str, einsum: Einsum) -> Array:
    """x with every axis as long as its letter says."""
    return np.broadcast_to(x.value, [einsum.sizes[label] for label in labels])


def gradients(loss: Traced) -> dict[int, Array]:
    """dL/dx of every array x of the trace, by its id(): 1 for the loss, then from the end."""
    grads = {id(x): np.zeros(x.value.shape) for x in loss.trace.nodes}
    grads[id(loss)] += 1.0
    for y in reversed(loss.trace.nodes):
        for slot, x in enumerate(y.inputs):
            if not x.is_constant:
                grads[id(x)] += y.operation.upwards(y, slot, grads[id(y)])
    return grads
