"""Answers and the right ones for them, as a metric takes them: texts, numbers, or lists of tokens.

Two answers that could never be equal (a text and a list of ids, 3 and "3") are refused, for a score
of 0 would be believed.
"""

import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np

from .errors import InputError
from .unicode_text import unspaced_run

TOKENISATIONS = ("spaces", "characters")
Tokenise = str | Callable[[str], Sequence[Any]] | None


def short(value: Any) -> str:
    """A value as it may stand in a sentence."""
    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array {value.shape} of {value.dtype}"
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _answer(name: str, value: Any) -> Any:
    """A text or a number as it is; tokens in an array or a list as a list of them."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, str) or (isinstance(value, numbers.Real) and value == value):
        return value
    if isinstance(value, list | tuple):
        tokens = [token.item() if isinstance(token, np.generic) else token for token in value]
        if all(isinstance(token, str | numbers.Real) and token == token for token in tokens):
            return tokens
    raise InputError(f"{name} must be a text, a number or a list of tokens, not {short(value)}")


def _alike(one: Any, other: Any) -> bool:
    """Whether two answers, or tokens, are of one kind, so that they could be equal."""
    if isinstance(one, list) and isinstance(other, list):
        return not one or not other or _alike(one[0], other[0])
    kinds = (str, list, numbers.Real)
    return any(isinstance(one, kind) and isinstance(other, kind) for kind in kinds)


def answer_pairs(predictions: Any, references: Any) -> list[tuple[Any, list[Any]]]:
    """Each prediction with its right answers: one, or a list of several.

    What a list of strings is, one answer in tokens or several texts, the prediction tells.
    Raises InputError where their numbers differ, there are none, or they could never be equal.
    """
    lists = []
    for name, given in (("predictions", predictions), ("references", references)):
        one = isinstance(given, str | bytes | Mapping | Set) or not isinstance(given, Iterable)
        if one or (isinstance(given, np.ndarray) and not given.ndim):
            raise InputError(f"{name} must be a list of answers, not {short(given)}")
        lists.append(list(given))
    predictions, references = lists
    if len(predictions) != len(references):
        raise InputError(
            f"there are {len(predictions)} predictions and {len(references)} references: give one "
            "reference, or one list of them, for each prediction"
        )
    if not predictions:
        raise InputError("there is nothing to measure: give at least one prediction")
    pairs = []
    for n, (prediction, given) in enumerate(zip(predictions, references, strict=True)):
        answer = _answer(f"predictions[{n}]", prediction)
        several = isinstance(given, list | tuple | np.ndarray) and (
            not isinstance(answer, list)
            or any(isinstance(one, list | tuple | np.ndarray) for one in given)
        )
        choices = [_answer(f"references[{n}]", one) for one in (given if several else [given])]
        if not choices:
            raise InputError(f"predictions[{n}], {answer!r}, has no reference: give at least one")
        for choice in choices:
            if not _alike(answer, choice):
                raise InputError(
                    f"predictions[{n}] is {short(answer)} and references[{n}] {short(choice)}, "
                    "which are never equal: give both as texts, or both as numbers"
                )
        pairs.append((answer, choices))
    return pairs


def tokens_of(name: str, answer: Any, tokenise: Tokenise) -> list[Any]:
    """The tokens of an answer. White space must not be taken to cut what has none."""
    if isinstance(answer, list):
        return answer
    if not isinstance(answer, str):
        raise InputError(f"{name} must hold texts or lists of tokens, not {short(answer)}")
    if callable(tokenise):
        return list(tokenise(answer))
    if tokenise == "characters":
        return [character for character in answer if not character.isspace()]
    if tokenise is None and (run := unspaced_run(answer)):
        raise InputError(
            f"{name} hold {run!r}, of a script without spaces between words, so that white space "
            'does not cut it into words: give tokenise="characters", a function text -> tokens '
            'such as WordTokenizer.split, or lists of tokens; "spaces" if it is cut already'
        )
    if tokenise not in (None, "spaces"):
        raise InputError(
            f"tokenise must be one of {', '.join(TOKENISATIONS)} or a function text -> tokens, "
            f"not {tokenise!r}"
        )
    return answer.split()
