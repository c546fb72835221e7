"""A reader's function, whatever it is: what its arguments are called, which of them have a
gradient, which gradient belongs to which, and what its exceptions say.

    leaves(args)                     the floats among the arguments, in lists and dicts as well
    rebuilt(args, {path: x})         the arguments, copied, with other numbers at some of them
    matched(answer, args, leaves)    gradient by route; NoMatch, a sentence, where that is unclear
"""

import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .arrays import Array

Route = tuple[Any, ...]  # the position or name of an argument, and the keys within it


def title(function: Callable[..., Any]) -> str:
    """What to call it."""
    while isinstance(function, partial):
        function = function.func
    return getattr(function, "__name__", type(function).__name__)


def argument_names(function: Callable[..., Any], places: Sequence[int]) -> list[str]:
    """The names of the positional arguments at these places: xs[0], xs[1] for those of *xs."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some builtins do not tell
        parameters = []
    of_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [one.name for one in parameters if one.kind in of_place]
    rest = [one.name for one in parameters if one.kind is inspect.Parameter.VAR_POSITIONAL]
    rest = rest or ["argument"]
    return [names[i] if i < len(names) else f"{rest[0]}[{i - len(names)}]" for i in places]


# ---- the floats among the arguments ----------------------------------------------------------


class Leaf(NamedTuple):
    """An argument, or a part of one, that may have a gradient."""

    route: Route
    name: str
    value: Array
    kind: str  # "array"; "list", "number": these have a gradient only where one is returned


def leaves(args: Mapping[Any, Any], names: Mapping[Any, str]) -> list[Leaf]:
    """Every float array, number and nested list among the arguments, which come by place or name.

    Integers and booleans, tuples of plain numbers and everything else are data.
    """
    return [leaf for key, arg in args.items() for leaf in _leaves(arg, names[key], (key,))]


def _leaves(tree: Any, name: str, route: Route) -> Iterator[Leaf]:
    if isinstance(tree, np.ndarray | np.floating):
        if tree.dtype.kind in "fc":
            yield Leaf(route, name, np.asarray(tree), "array")
    elif isinstance(tree, float):
        yield Leaf(route, name, np.asarray(tree), "number")
    elif isinstance(tree, list) and (numbers := _numbers(tree)) is not None:
        if numbers.dtype.kind in "fc":
            yield Leaf(route, name, numbers, "list")
    elif isinstance(tree, Mapping):
        for key, part in tree.items():
            yield from _leaves(part, f"{name}[{key!r}]", (*route, key))
    elif isinstance(tree, list | tuple) and _numbers(tree) is None:
        for i, part in enumerate(tree):
            yield from _leaves(part, f"{name}[{i}]", (*route, i))


def _numbers(tree: list[str] | tuple[Any, ...]) -> Array | None:
    """A nested list of plain numbers as an array; None for anything else."""
    flat: list[Any] = list(tree)
    while any(isinstance(part, list | tuple) for part in flat):
        flat = [p for part in flat for p in (part if isinstance(part, list | tuple) else [part])]
    if not flat or not all(isinstance(part, int | float | np.number) for part in flat):
        return None
    try:
        return np.array(tree)
    except ValueError:  # rows of different lengths
        return None


def rebuilt(tree: Any, values: Mapping[Route, Any], route: Route = ()) -> Any:
    """A copy of the arguments with `values` in their places."""
    if route in values:
        return values[route]
    if isinstance(tree, np.ndarray):
        return tree.copy()
    if isinstance(tree, Mapping):
        return {key: rebuilt(part, values, (*route, key)) for key, part in tree.items()}
    if isinstance(tree, list | tuple):
        parts = [rebuilt(part, values, (*route, i)) for i, part in enumerate(tree)]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return copied(tree)


def copied(thing: Any) -> Any:
    """A deep copy, or the thing itself where it cannot be copied."""
    try:
        return deepcopy(thing)
    except Exception:  # a lock, an open file, a module: no number of ours
        return thing


def handed_on(leaf: Leaf, x: Array) -> Any:
    """x in the form in which the reader gave this argument."""
    if leaf.kind == "list":
        return x.tolist()
    return x.item() if leaf.kind == "number" else x.copy()[()]


# ---- whose gradient is it? -------------------------------------------------------------------


class NoMatch(Exception):
    """A sentence that says why an answer cannot be assigned to the arguments."""


def matched(answer: Any, args: Mapping[Any, Any], found: list[Leaf]) -> dict[Route, Any]:
    """The gradient of each leaf by its route, None for what the backward calls data.

    One for each float array in the order of the arguments, alone, in a tuple, in a list or in a
    dict by name. None stands for an argument that was not given, or is data. Plain floats and lists
    of them take part where there is a gradient for them.
    """
    arrays = [leaf for leaf in found if leaf.kind == "array"] or found
    for chosen in (arrays, found):
        whole = list(dict.fromkeys(leaf.route[0] for leaf in chosen))
        if (by_argument := _by_argument(answer, args, chosen, whole)) is not None:
            return {
                leaf.route: _part(by_argument[leaf.route[0]], leaf)
                for leaf in chosen
                if leaf.route[0] in by_argument
            }
        parts = _parts(answer, chosen)
        if parts is not None and len(parts) == len(chosen):  # one for each part of a list
            return dict(zip((leaf.route for leaf in chosen), parts, strict=True))
    raise NoMatch(_miscounted(answer, args, arrays))


def _parts(answer: Any, chosen: list[Leaf]) -> list[Any] | None:
    """The gradients in a row; None where they come by name."""
    if isinstance(answer, Mapping):
        return None
    if isinstance(answer, list) and len(chosen) == 1:
        numbers = _numbers(answer)
        if numbers is not None and (numbers.shape == chosen[0].value.shape or len(answer) != 1):
            return [answer]  # a nested list is one gradient
    if isinstance(answer, np.ndarray) and answer.dtype == object:
        return list(answer.flat)
    if isinstance(answer, tuple | list | Iterator):
        return list(answer)
    return [answer]


def _by_argument(
    answer: Any, args: Mapping[Any, Any], chosen: list[Leaf], whole: list[Any]
) -> dict[Any, Any] | None:
    if isinstance(answer, Mapping):
        return _by_name(answer, chosen, whole)
    parts = _parts(answer, chosen) or []
    given = [part for part in parts if part is not None]
    if len(given) == len(whole):
        return dict(zip(whole, given, strict=True))
    if len(parts) == len(whole):
        return dict(zip(whole, parts, strict=True))
    for places in (list(args), [key for key in args if key in whole or args[key] is None]):
        if len(parts) == len(places):
            by_place = dict(zip(places, parts, strict=True))
            if all(part is None or key in whole for key, part in by_place.items()):
                return {key: by_place[key] for key in whole}
    return None


def _by_name(
    answer: Mapping[Any, Any], chosen: list[Leaf], whole: list[Any]
) -> dict[Any, Any] | None:
    names = {leaf.route[0]: leaf.name.partition("[")[0] for leaf in chosen}
    spelled = {
        spelling: key
        for key, name in names.items()
        for spelling in (name, f"d{name}", f"d_{name}", f"grad_{name}", f"{name}_grad")
    }
    if set(answer) <= set(spelled) and len({spelled[one] for one in answer}) == len(whole):
        return {spelled[one]: part for one, part in answer.items()}
    if len(whole) == 1 and len(chosen[0].route) > 1:  # a dict of parameters, and one of gradients
        return {whole[0]: answer}
    return None


def _part(gradient: Any, leaf: Leaf) -> Any:
    """The gradient of a leaf within that of its argument."""
    for key in leaf.route[1:]:
        if gradient is None:
            return None
        try:
            gradient = gradient[key]
        except (KeyError, IndexError, TypeError):
            raise NoMatch(f"backward returned no gradient for {leaf.name}") from None
    return gradient


def _miscounted(answer: Any, args: Mapping[Any, Any], arrays: list[Leaf]) -> str:
    names = ", ".join(dict.fromkeys(leaf.name for leaf in arrays))
    if isinstance(answer, Mapping):
        return (
            f"backward returned gradients named {', '.join(map(str, answer))}; expected one for "
            f"each of {names}"
        )
    parts = _parts(answer, arrays) or []
    if len(parts) == 1 and parts[0] is None:
        return "backward returned None: a `return` is missing"
    integers = [arg.dtype for arg in args.values() if _is_integer_array(arg)]
    hint = f"; an argument of {integers[0]} is data: pass floats" if integers else ""
    gradients = "gradient" if len(parts) == 1 else "gradients"
    word = "array" if len(arrays) == 1 else "arrays"
    return (
        f"backward returned {len(parts)} {gradients} for {len(arrays)} {word} ({names}): "
        f"return one for each, in their order, and None for what is data{hint}"
    )


def _is_integer_array(arg: Any) -> bool:
    return isinstance(arg, np.ndarray) and arg.dtype.kind in "iub"


# ---- exceptions ------------------------------------------------------------------------------

HERE = Path(__file__).parent
ENGINE = (
    "gradcheck",
    "gradient_questions",
    "gradient_evidence",
    "gradient_judge",
    "gradient_of_models",
    "gradient_hidden",
    "callables",
)


def raised(who: str, error: Exception) -> str:
    """An exception as a sentence, with the reader's own line."""
    frames = traceback.extract_tb(error.__traceback__)
    engine = {str(HERE / f"{name}.py") for name in ENGINE}
    outside = [frame for frame in frames if frame.filename not in engine]
    own = [
        frame
        for frame in outside
        if "site-packages" not in frame.filename and HERE not in Path(frame.filename).parents
    ]
    where = ""
    if shown := own or outside:
        frame = shown[-1]
        code = f": `{frame.line}`" if frame.line else ""
        where = f" (line {frame.lineno} of {Path(frame.filename).name}{code})"
    lines = str(error).strip().splitlines()
    words = f": {lines[0][:120]}" if lines else ""
    return f"{who} raises {type(error).__name__}{words}{where}"
