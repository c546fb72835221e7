"""Explain this number: any entry of any activation or gradient, as the sum of its terms.

    explain(model, ids, targets, "dE[S1, 0]")                 its terms, in order of size
    explain(model, ids, targets, "c[2, 0]", depth=None)       and theirs, down to the parameters

Nothing here is typed in: the terms are read from the second formulas, which the adjoint oracle
holds the backward to (checks/second_formulas.py). Computed in float64, without dropout.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property
from typing import Any

import numpy as np

from ..arguments import plain
from ..arrays import Array
from ..bert import BERT
from ..checks import second_formulas
from ..checks.second_formulas_llama import llama
from ..errors import InputError
from ..model import Model
from .terms import Factor, Product, gradient_of, number, terms_of
from .traces import Index, Part, Trace, Traced, gradients

LOSSES: dict[str, Callable[..., Any]] = second_formulas.LOSSES | {
    "Llama": llama,
    "BERTForSpan": second_formulas.bert_span_loss,
}
AGREE = 1e-6  # of a loss: what the model computes and what is explained
OF_WORDS = {
    "E": 0,
    "U": 0,
    "predict.b": 0,
    "logits": -1,
    "p": -1,
}  # the axis that is the vocabulary


class Numbers:
    """All numbers of one loss, each of which can be asked where it comes from."""

    def __init__(
        self, model: Model, *batch: Any, words: Sequence[str] | None = None, **more: Any
    ) -> None:
        """model.loss(*batch), explained. words: the symbols of the vocabulary; otherwise S1, S2, ….

        Raises InputError for a model that has no second formula, for inputs that the model itself
        refuses, and for weights with which exp overflows.
        """
        kinds = [kind.__name__ for kind in type(model).__mro__]
        formula = next((LOSSES[name] for name in kinds if name in LOSSES), None)
        if formula is None:
            raise InputError(f"{kinds[0]} cannot be explained; these can: {', '.join(LOSSES)}")
        model = model.astype(np.float64)
        loss = float(model.loss(*batch, **more)[0])
        V = model.config.vocab_size
        self.words = [f"S{w + 1}" for w in range(V)] if words is None else [*words]
        self.trace = Trace()
        params = {name: self.trace.parameter(name, x) for name, x in model.params.items()}
        with np.errstate(all="ignore"):
            self.loss = formula(params, model.config, *_arrays(model, batch, more))
        if not abs(float(self.loss.value) - loss) <= AGREE * (1 + abs(loss)):
            raise InputError(
                f"the loss of this {kinds[0]} is {loss:.6g}, and its formulas give "
                f"{float(self.loss.value):.6g}: its forward is another, or a score is too large "
                "for exp without a shift"
            )

    @cached_property
    def _gradients(self) -> dict[int, Array]:
        return gradients(self.loss)

    @property
    def names(self) -> dict[str, tuple[int, ...]]:
        """What can be asked for, with its shape. Each has a gradient, named with a d in front."""
        return {name: node.value.shape for name, node in self.trace.named.items()}

    def array(self, name: str) -> Array:
        """All entries of a name: array("c"), array("dE")."""
        node, of_loss = self._node(name)
        return self._gradients[id(node)] if of_loss else node.value

    def explain(self, name: str, depth: int | None = 1, terms: int = 8) -> "Explanation":
        """The entry of this name. depth: how many steps back are printed, None for all; terms: how
        many of each sum, the largest; the others are summed."""
        node, of_loss, index = self._entry(name)
        return Explanation(self, node, index, of_loss, depth, terms)

    # ---- names

    def _node(self, name: str) -> tuple[Traced, bool]:
        named = self.trace.named
        if name in named:
            return named[name], False
        if name[:1] == "d" and name[1:] in named:
            return named[name[1:]], True
        every = [*named, *(f"d{n}" for n in named)]
        near = get_close_matches(name, every, 4, 0.3)
        others = [n for n in named if n not in near]
        shown = ", ".join([*near, *others][:24]) + ", …" * (len(near) + len(others) > 24)
        raise InputError(f"there is no number {name!r}; there are {shown}, and d of each")

    def _entry(self, asked: str) -> tuple[Traced, bool, Index]:
        if not isinstance(asked, str):
            raise InputError(f"name must be a text like 'dE[S1, 0]', not {asked!r}")
        parts = re.fullmatch(r"\s*([^\[\]]*?)\s*(?:\[(.*)\])?\s*", asked, re.DOTALL)
        if parts is None:
            raise InputError(f"name must be like 'dE[S1, 0]', not {asked!r}")
        name, inside = parts.groups()
        node, of_loss = self._node(name)
        items = re.findall(r"'[^']*'|\"[^\"]*\"|[^,\s][^,]*", inside or "")
        shape = node.value.shape
        if len(items) != len(shape):
            example = self._name(node, (0,) * len(shape), of_loss)
            raise InputError(
                f"{name} has the shape {shape}: name one entry of it, as {example}, not {asked}"
            )
        axis = self._axis_of_words(node)
        places = enumerate(zip(items, shape, strict=True))
        return node, of_loss, tuple(self._place(name, i, s, n, i == axis) for i, (s, n) in places)

    def _place(self, name: str, axis: int, item: str, size: int, of_words: bool) -> int:
        item = item.strip()
        if re.fullmatch(r"-?\d+", item):
            if not -size <= int(item) < size:
                raise InputError(
                    f"{name}: index {item} is outside; axis {axis} counts from 0 to {size - 1}"
                )
            return int(item) % size
        word = item[1:-1] if item[0] in "'\"" and item[-1] == item[0] and len(item) > 1 else item
        if not of_words:
            raise InputError(f"{name}: axis {axis} takes a number from 0 to {size - 1}, not {item}")
        if word in self.words:
            return self.words.index(word)
        near = get_close_matches(word, self.words, 8, 0.0) or self.words[:8]
        raise InputError(f"{name}: there is no word {word!r}; there are {', '.join(near)}, …")

    def _axis_of_words(self, node: Traced) -> int:
        """Which axis of it counts the words of the vocabulary; -1 for none."""
        axis = OF_WORDS.get(node.name, OF_WORDS.get(node.name.rpartition(".")[2]))
        if axis is None or node.value.shape[axis] != len(self.words):
            return -1
        return axis % node.value.ndim

    def _name(self, node: Traced, index: Index, of_loss: bool = False) -> str:
        axis = self._axis_of_words(node)
        items = [_word(self.words[i]) if n == axis else str(i) for n, i in enumerate(index)]
        return "d" * of_loss + node.name + (f"[{', '.join(items)}]" if items else "")

    def name_of(self, part: Part, of_loss: bool) -> str:
        return self._name(part.node, part.at, of_loss)


class Explanation:
    """One entry: its value, and the terms that add up to it, the largest first. Printed, a tree."""

    def __init__(
        self,
        numbers: Numbers,
        node: Traced,
        index: Index,
        of_loss: bool,
        depth: int | None = 1,
        most: int = 8,
    ):
        self.numbers, self.node, self.index, self.of_loss = numbers, node, index, of_loss
        self.depth, self.most = depth, most
        self.name = numbers._name(node, index, of_loss)
        table = numbers._gradients[id(node)] if of_loss else node.value
        self.value = float(table[index])

    @property
    def is_parameter(self) -> bool:
        """Whether it is given, and so has no terms."""
        return self.node.operation is None and not self.of_loss

    @cached_property
    def terms(self) -> list[Product]:
        """All terms; their values add up to `value`."""
        if not self.of_loss:
            found = terms_of(self.node, self.index)
        elif self.node is self.numbers.loss:
            found = [Product(1.0)]  # dL/dL
        else:
            grads = self.numbers._gradients
            found = gradient_of(self.node, self.index, lambda x, i: float(grads[id(x)][i]))
        return sorted(found, key=lambda term: -abs(term.value))

    def entries(self) -> Iterator["Explanation"]:
        """One step back: every entry that a printed term is made of."""
        for term in self.terms[: self.most]:
            for factor in term.entries():
                yield self._of(factor)

    def _of(self, factor: Factor) -> "Explanation":
        part = factor.part
        below = None if self.depth is None else self.depth - 1
        return Explanation(self.numbers, part.node, part.at, factor.of_loss, below, self.most)

    def __repr__(self) -> str:
        return "\n".join(self._lines("", set()))

    def _lines(self, indent: str, said: set[str]) -> Iterator[str]:
        """Each entry is explained once, where it first stands."""
        said.add(self.name)
        yield f"{indent}{self.name} = {self._heading()}"
        if self.is_parameter:
            return
        yield from (f"{indent}  {line}" for line in self._table())
        if self.depth is not None and self.depth <= 1:
            return
        for entry in self.entries():
            if entry.name not in said and not entry.is_parameter:
                yield from entry._lines(f"{indent}    ", said)

    def _heading(self) -> str:
        value = number(self.value)
        if self.is_parameter:
            return f"{value}, a parameter"
        if not self.terms:
            return f"{value}: nothing reads it" if self.of_loss else f"{value}: masked"
        count = f"{len(self.terms)} term{'s' * (len(self.terms) != 1)}"
        ids = dict.fromkeys(filter(None, (term.formula for term in self.terms)))
        return f"{value}, {count}" + (f", by {', '.join(ids)}" if ids else "")

    def _table(self) -> list[str]:
        """value, formula, the term in names, the term in numbers; the last line sums the others."""
        shown, others = self.terms[: self.most], self.terms[self.most :]
        rows = [
            (number(t.value), t.formula, t.text(self.numbers.name_of), t.numbers()) for t in shown
        ]
        width = [max((len(row[i]) for row in rows), default=0) for i in range(3)]
        lines = [
            f"{value:>{width[0]}}  {formula:<{width[1]}}  {text:<{width[2]}} = {numbers}".rstrip()
            for value, formula, text, numbers in rows
        ]
        if others:
            rest = sum(term.value for term in others)
            lines.append(f"{number(rest):>{width[0]}}  the other {len(others)} together")
        return lines


def explain(
    model: Model,
    *batch: Any,
    depth: int | None = 1,
    terms: int = 8,
    words: Sequence[str] | None = None,
    **more: Any,
) -> Explanation:
    """Where a number of a loss comes from: explain(model, ids, targets, "dE[S1, 0]").

        dE[S1, 0] = −0.5437, 5 terms, by F4, F1
          −0.6004  F4  dlogits[S1]·c[2, 0]  = …

    batch: what model.loss takes (ids and targets; for the Transformer source and target), then the
    name of an entry: of a parameter ("E[S1, 0]"), of what a formula computes ("c[2, 0]",
    "block0.attention.q[1, 3]"), or with a d in front of dL/d of it. Indices count from 0; where an
    axis is the vocabulary, words stand for ids: those of `words`, or S1, S2, ….
    depth: steps back, None for all; terms: how many of each sum are printed.
    more: what model.loss takes by name, such as BERT's segments and attend.
    Raises InputError for a name that does not exist (the nearest are listed), an index outside, and
    what model.loss refuses.
    """
    if not batch:
        raise InputError(
            "explain needs what model.loss takes, then a name: ids, targets, 'c[0, 0]'"
        )
    *given, name = batch
    for option, value in {"depth": depth, "terms": terms}.items():
        if not (value is None and option == "depth") and (type(value) is not int or value < 1):
            raise InputError(f"{option} must be at least 1, not {value!r}")
    return Numbers(model, *given, words=words, **more).explain(name, depth, terms)


def _arrays(model: Model, batch: Sequence[Any], more: Mapping[str, Any]) -> list[Any]:
    """The batch as arrays, with what BERT's second formula takes after it."""
    arrays: list[Any] = [plain("batch", x) for x in batch]
    if isinstance(model, BERT):
        ids = arrays[0]
        segments, attend = more.get("segments"), more.get("attend")
        segments = np.zeros_like(ids) if segments is None else np.asarray(segments)
        arrays += [None, segments, None if attend is None else np.asarray(attend)]
    return arrays


def _word(word: str) -> str:
    """A word as an index: in quotes where it could be misread."""
    return word if word.isidentifier() else repr(word)
