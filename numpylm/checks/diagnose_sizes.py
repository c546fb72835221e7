"""The same questions at other sizes: so that a factor is told from a size that happens to equal it,
and a mistake is recognised that only equal sizes let run.
"""

import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import numpy as np

from ..errors import InputError
from ..ops import IGNORE
from .gradient_cases import B, C, ModelCase, OpCase, S, T, V, order_one

OTHER = {B: 4, T: 6, S: 9, C: 8, V: 11}  # B, T, S, C and V, none of them as before
EQUAL = dict.fromkeys((B, T, S, C, C + 2, V), 3)
EQUAL_IN_A_HEAD = dict.fromkeys((T, S, C, 8, 9, 10), 7)  # with the D = 7 of block_cases()
SCALE = 0.7  # of attention, told apart from 1 and from a root of a size


def other_cases(cases: list[OpCase]) -> Iterator[OpCase]:
    """One of an op's cases with other sizes that all differ, and with equal ones."""
    case = min(cases, key=lambda case: (_masked(case), case.variant != ""))
    equal = EQUAL if case.module.__name__.endswith(".ops") else EQUAL_IN_A_HEAD
    for words, sizes in (("other sizes", OTHER), ("equal sizes", equal)):
        resized = case._replace(args=_resized(case.args, sizes), variant=words)
        if case.op == "attention":
            resized = resized._replace(args=(*resized.args[:3], None, SCALE))
        try:
            resized.forward(*deepcopy(resized.args))
        except (InputError, ValueError):  # sizes that hang together otherwise
            continue
        yield resized


def _masked(case: OpCase) -> bool:
    return any(isinstance(arg, np.ndarray) and arg.dtype == bool for arg in case.args)


def _resized(args: tuple[Any, ...], sizes: Mapping[int, int]) -> tuple[Any, ...]:
    """Arrays drawn anew with every size replaced; numbers and names stay."""
    rng = np.random.default_rng(15)
    ids = sizes.get(V, V)

    def again(arg: Any) -> Any:
        if not isinstance(arg, np.ndarray) or arg.dtype.kind not in "fi":
            return arg
        shape = tuple(sizes.get(n, n) for n in arg.shape)
        if arg.dtype.kind == "i":
            drawn = rng.integers(ids, size=shape)
            if (arg == IGNORE).any():
                drawn.flat[1] = IGNORE
            return drawn
        x = rng.normal(size=shape) * np.std(arg)
        return np.abs(x) + 0.1 if (arg > 0).all() else x

    return tuple(map(again, args))


def letters(args: tuple[Any, ...], sizes: Mapping[str, int]) -> dict[str, int]:
    """B, T, S, C and V where an argument has such an axis, and N, the targets that count."""
    arrays = [arg for arg in args if isinstance(arg, np.ndarray)]
    shapes = {size for x in arrays for size in x.shape}
    found = {letter: size for letter, size in sizes.items() if size in shapes}
    for x in arrays:
        if x.dtype.kind == "i" and (x < 0).any():
            found["N"] = int((x >= 0).sum())
    return found


def sizes_of(case: OpCase) -> dict[str, int]:
    """The letters of a case; none where several sizes are equal."""
    before = {"B": B, "T": T, "S": S, "C": C, "V": V}
    if case.variant == "equal sizes":
        return {}
    if case.variant == "other sizes":
        return letters(case.args, {letter: OTHER[n] for letter, n in before.items()})
    return letters(case.args, before)


def other_model(case: ModelCase) -> ModelCase | None:
    """A model of another vocabulary and context, on a batch of other sizes, where it can be made.

    Its texts are those of the case, drawn 3 B + 1 times, and shorter by a token.
    """
    rng = np.random.default_rng(15)
    config = dataclasses.replace(case.model.config, vocab_size=11)
    model = type(case.model)(config, np.random.default_rng(2), np.float64)
    size = len(case.batch[0])
    rows = rng.integers(size, size=3 * size + 1)

    def more(x: Any) -> Any:
        if not isinstance(x, np.ndarray):
            return x
        return x[rows][..., :-1] if x.ndim > 1 else x[rows]

    made = ModelCase("other sizes", order_one(model), tuple(map(more, case.batch)))
    try:
        made.model.loss(*made.batch)
    except (InputError, ValueError, IndexError):
        return None
    return made


# ---- the parts of a cache, by name -----------------------------------------------------------


def cache_names(backward: Any, stored: Any) -> list[str]:
    """What the library's own backward calls the parts of its cache."""
    if hasattr(stored, "_fields"):
        return list(stored._fields)
    found = re.search(r"^\s*([\w, ()]+?) = cache$", inspect.getsource(backward), re.MULTILINE)
    return re.findall(r"\w+", found[1]) if found else []
