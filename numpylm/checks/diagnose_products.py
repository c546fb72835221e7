"""Products that stand in place of the right one: "dk is ds @ q, without its transpose".

The gradient of a product of matrices is a product again. What can be multiplied is what a reader
has at hand: the upstream gradient, the parts of the cache, and what the formulas make of them.
Every product of two of these, with and without transposes, is tried against an array that is wrong.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Array, as_rows
from .diagnose_compare import FLOAT32, gap_of


class Products(NamedTuple):
    """Of an op: what can be multiplied, by name, and the factors that are right.

    parts(dy, cache)   arrays by name, and the scale under "scale"
    right              for each gradient its two factors, ".T" behind one that is transposed, and
                       whether the scale belongs to it
    """

    parts: Callable[[Any, Any], dict[str, Any]]
    right: dict[str, tuple[str, str, bool]]


def _of_attention(dc: Array, cache: Any) -> dict[str, Any]:
    q, k, v, a, c, scale = cache
    da = dc @ v.swapaxes(-1, -2)
    ds = a * (da - (a * da).sum(axis=-1, keepdims=True))
    return dict(ds=ds, a=a, da=da, q=q, k=k, v=v, dc=dc, c=c, scale=scale)


def _of_linear(dy: Array, cache: Any) -> dict[str, Any]:
    x, w = cache[:2]
    return dict(dy=as_rows(dy), x=as_rows(x), w=w)


def _of_output(dlogits: Array, cache: Any) -> dict[str, Any]:
    c, table = cache
    return dict(dlogits=as_rows(dlogits), c=as_rows(c), table=table)


PRODUCTS = {
    "attention": Products(
        _of_attention,
        {"dq": ("ds", "k", True), "dk": ("ds.T", "q", True), "dv": ("a.T", "dc", False)},
    ),
    "linear": Products(_of_linear, {"dx": ("dy", "w.T", False), "dw": ("x.T", "dy", False)}),
    "output": Products(
        _of_output, {"dc": ("dlogits", "table", False), "dtable": ("dlogits.T", "c", False)}
    ),
}


def product_instead(
    op: str, name: str, asked: Sequence[tuple[tuple[Any, ...], Array, Array]]
) -> str:
    """What stands there, if it is the same product wherever the function answered.

    asked: for each answer what the function was given, what it returned as `name`, and the right
    one.
    """
    known = PRODUCTS[op]
    if name not in known.right:
        return ""
    settings = [(known.parts(*args), mine, right) for args, mine, right in asked]
    for left, other, factor in _candidates(list(settings[0][0])):
        if all(_is(parts, left, other, factor, mine, right) for parts, mine, right in settings):
            due = known.right[name]
            same = (left, other, factor) == (*due[:2], "scale" if due[2] else "1")
            return "" if same else _words(name, (left, other, factor), due)
    return ""


def _candidates(names: list[str]) -> Iterator[tuple[str, str, str]]:
    """Pairs of factors, and what is done with the scale."""
    factors = [n + t for n in names if n != "scale" for t in ("", ".T")]
    scales = ("1", "scale", "1/scale", "scale²") if "scale" in names else ("1",)
    for scale, left, right in product(scales, factors, factors):
        yield left, right, scale


def _is(
    parts: dict[str, Any], left: str, other: str, factor: str, mine: Array, right: Array
) -> bool:
    x, y = _part(parts, left), _part(parts, other)
    if x.shape[-1] != y.shape[-2] or x.shape[:-2] != y.shape[:-2]:
        return False
    scale = parts.get("scale", 1.0)
    times = {"1": 1.0, "scale": scale, "1/scale": 1 / scale, "scale²": scale * scale}[factor]
    made = times * (x @ y)
    if made.size == mine.size and made.ndim != mine.ndim:
        made = made.reshape(mine.shape)
    return gap_of(mine, made, right) <= (FLOAT32 if mine.dtype == np.float32 else 1e-10)


def _part(parts: dict[str, Any], name: str) -> Array:
    x: Array = parts[name.removesuffix(".T")]
    return x.swapaxes(-1, -2) if name.endswith(".T") else x


def _words(name: str, found: tuple[str, str, str], right: tuple[str, str, bool]) -> str:
    left, other, factor = found
    wanted = [right[0], right[1]]
    expected = f"{_shown(right[0])} @ {_shown(right[1])}" + (
        ", times the scale" if right[2] else ""
    )
    scaled = "" if factor == "1" else f", times {factor}"
    here = f"{name} is {_shown(left)} @ {_shown(other)}{scaled}"
    plain = [n.removesuffix(".T") for n in (left, other)]
    reasons = []
    if plain == [n.removesuffix(".T") for n in wanted]:
        for mine, due in zip((left, other), wanted, strict=True):
            if mine != due:
                how = "without its transpose" if due.endswith(".T") else "with a transpose too many"
                reasons.append(f"{mine.removesuffix('.T')} stands there {how}")
    elif [right[1], right[0]] == [_turned(left), _turned(other)]:
        reasons.append("this is the transpose of the whole product")
    else:
        for mine, due in zip(plain, wanted, strict=True):
            if mine != due.removesuffix(".T"):
                reasons.append(f"{mine} stands where {due.removesuffix('.T')} is expected")
    if factor != ("scale" if right[2] else "1") and found[:2] != ("", ""):
        reasons.append(_of_scale(factor, right[2]))
    return f"{here}: {' and '.join(r for r in reasons if r)}; expected {expected}"


def _of_scale(factor: str, belongs: bool) -> str:
    if factor == "1":
        return "the scale is missing"
    if not belongs and factor == "scale":
        return "the scale does not belong there"
    return {"1/scale": "it is divided by the scale", "scale²": "the scale is there twice"}.get(
        factor, ""
    )


def _turned(name: str) -> str:
    return name.removesuffix(".T") if name.endswith(".T") else name + ".T"


def _shown(name: str) -> str:
    return name.replace(".T", "ᵀ")
