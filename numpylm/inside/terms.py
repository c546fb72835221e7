"""From an array that remembers to the terms of one entry, in numbers that have names.

    terms_of       c[2, 0] = a[2, 0]·e[0, 0] + a[2, 1]·e[1, 0] + …
    gradient_of    de[1, 0] = Σ over all who read e[1, 0] of d(reader) · ∂(reader)/∂e[1, 0]

What has no name (a product before its bias is added, say) is replaced by its own terms.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from .traces import Index, Part, Term, Traced

Namer = Callable[[Part, bool], str]


class Factor(NamedTuple):
    """A part of a product. inner: its own terms, where the part has no name. of_loss: what stands
    here is dL/dpart, and its value."""

    part: Part
    value: float
    inner: tuple["Product", ...] | None = None
    of_loss: bool = False

    def text(self, name: Namer) -> str:
        if self.inner is None:
            return self.part.written.format(name(self.part, self.of_loss))
        inside = " + ".join(product.text(name) for product in self.inner) or "0"
        if len(self.inner) > 1 and not self.part.written.endswith("({})"):
            inside = f"({inside})"
        return self.part.written.format(inside.replace("+ −", "− "))

    def numbers(self) -> str:
        value = self.value if self.of_loss else float(self.part.node.value[self.part.at])
        return self.part.written.format(_bracketed(value))

    def entries(self) -> Iterator["Factor"]:
        """The entries with names that it is made of."""
        if self.inner is None:
            yield self
        else:
            for product in self.inner:
                yield from product.entries()


class Product(NamedTuple):
    """coefficient Π factors, one term of a sum; the formula is that of the number it belongs to."""

    coefficient: float
    factors: tuple[Factor, ...] = ()
    formula: str = ""

    @property
    def value(self) -> float:
        value = self.coefficient
        for factor in self.factors:
            value *= factor.value
        return value

    def text(self, name: Namer) -> str:
        return _joined(self.coefficient, [factor.text(name) for factor in self.factors])

    def numbers(self) -> str:
        return _joined(self.coefficient, [factor.numbers() for factor in self.factors])

    def entries(self) -> Iterator[Factor]:
        for factor in self.factors:
            yield from factor.entries()

    def times(self, other: "Product") -> "Product":
        return Product(
            self.coefficient * other.coefficient, self.factors + other.factors, self.formula
        )


def terms_of(node: Traced, index: Index) -> list[Product]:
    """Products of named entries that add up to the entry; none for what is given."""
    if node.operation is None:
        return []
    found: list[Product] = []
    for term in node.operation.terms(node, index):
        found += _in_names(term)
    return [product._replace(formula=node.formula) for product in found]


def gradient_of(
    node: Traced, index: Index, slopes: Callable[[Traced, Index], float]
) -> list[Product]:
    """Products, each with one dL/d(reader) in front, that add up to dL/d(entry)."""
    found = []
    for reader, slot in node.readers:
        for j, term in reader.operation.readers(reader, slot, index):
            slope = _in_names(term)
            if not slope:
                continue
            for front in _fronts(reader, j, slopes):
                found += [front.times(product) for product in slope]
    return found


def _fronts(
    reader: Traced, j: Index, slopes: Callable[[Traced, Index], float]
) -> Iterable[Product]:
    if not reader.name:
        return gradient_of(reader, j, slopes)
    front = Factor(reader.part(j), slopes(reader, j), of_loss=True)
    return [Product(1.0, (front,), reader.formula)]


def _in_names(term: Term) -> list[Product]:
    """The term as a sum of products of named entries; none where a constant makes it 0."""
    coefficient, factors, sums = term.coefficient, [], []
    for part in term.parts:
        if part.node.is_constant:
            coefficient *= part.value
        elif part.node.name:
            factors.append(Factor(part, part.value))
        else:
            inner = terms_of(part.node, part.at)
            if part.written != "{}":
                factors.append(_function_of(part, inner))
            elif len(inner) == 1:
                coefficient *= inner[0].coefficient
                factors += inner[0].factors
            else:
                sums.append(Factor(part, part.value, tuple(inner)))
    if not coefficient or any(not factor.inner for factor in sums):
        return []
    if len(sums) == 1 and not factors:  # a constant times a sum is a sum
        return [p._replace(coefficient=p.coefficient * coefficient) for p in sums[0].inner or ()]
    return [Product(coefficient, (*factors, *sums))]


def _function_of(part: Part, inner: list[Product]) -> Factor:
    """f(part), said with the one entry that the part is equal to where that is so."""
    if len(inner) == 1 and inner[0].coefficient == 1 and len(inner[0].factors) == 1:
        (only,) = inner[0].factors
        if only.inner is None and only.part.written == "{}":
            return Factor(only.part._replace(written=part.written), part.value)
    return Factor(part, part.value, tuple(inner))


# ---- as text -----------------------------------------------------------------------------------


def number(x: float) -> str:
    """Four digits, and a real minus."""
    return f"{x:.4g}".replace("-", "−")


def _bracketed(x: float) -> str:
    return f"({number(x)})" if x < 0 else number(x)


def _joined(coefficient: float, factors: list[str]) -> str:
    """a·b/c: what begins with 1/ is divided by."""
    text = ""
    for factor in sorted(factors, key=lambda f: f.startswith("1/")):
        divides = factor.startswith("1/") and text
        text += f"/{factor[2:]}" if divides else f"·{factor}" if text else factor
    if coefficient == -1 and text:
        return f"−{text}"
    if coefficient != 1 or not text:
        return number(coefficient) + (
            text[1:] if text.startswith("1/") else f"·{text}" * bool(text)
        )
    return text
