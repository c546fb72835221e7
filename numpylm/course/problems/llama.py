"""What a Llama is made of: the exercises of "What changed since GPT-2"."""

from typing import Any

import numpy as np

from ..exercises import Exercise, case


def _size(x: Any) -> Any:
    return np.sqrt(np.mean(x * x, axis=-1, keepdims=True))


SIZE = Exercise(
    _size,
    [
        case(np.array([[3.0, 4.0]])),
        case(np.array([[1.0, -1.0, 1.0], [2.0, 2.0, 3.0]])),
        case(np.array([[5.0, 1.0, 0.0, 0.0]]), hint="no mean is subtracted"),
        case(np.arange(1.0, 25.0).reshape(2, 3, 4), hint="over the last axis, which stays"),
    ],
    {
        "this is a sum of squares: a mean is asked for": lambda x: np.sqrt(
            np.sum(x * x, axis=-1, keepdims=True)
        ),
        "the root is missing: this is the mean square": lambda x: np.mean(
            x * x, axis=-1, keepdims=True
        ),
        "the mean is subtracted, as in layer normalisation: here it stays": lambda x: x.std(
            axis=-1, keepdims=True
        ),
        "the last axis is gone: keepdims=True": lambda x: _size(x)[..., 0],
        "this is over all of x: axis=-1": lambda x: np.sqrt(np.mean(x * x)),
        "this is over the first axis: axis=-1": lambda x: np.sqrt(
            np.mean(x * x, axis=0, keepdims=True)
        ),
        "this is the mean of |x|: square, mean, root": lambda x: np.abs(x).mean(
            axis=-1, keepdims=True
        ),
        "this is x divided by its size: the size is asked for": lambda x: x / _size(x),
        "this is 1 over the size": lambda x: 1 / _size(x),
    },
)


def _turn(pair: Any, t: float) -> Any:
    a, b = pair
    return np.array([a * np.cos(t) - b * np.sin(t), a * np.sin(t) + b * np.cos(t)])


TURN = Exercise(
    _turn,
    [
        case(np.array([1.0, 0.0]), 0.0, hint="position 0 is not turned"),
        case(np.array([1.0, 0.0]), 1.0, hint="from the first number towards the second"),
        case(np.array([0.0, 2.0]), 0.5, hint="which sign has the sine?"),
        case(np.array([3.0, 4.0]), np.pi / 2),
        case(np.array([-1.0, 0.3]), 2.5),
    ],
    {
        "this turns the other way: −sin stands in the first line": lambda p, t: _turn(p, -t),
        "this is a reflection: one of the two sines has the other sign": lambda p, t: np.array(
            [p[0] * np.cos(t) + p[1] * np.sin(t), p[0] * np.sin(t) - p[1] * np.cos(t)]
        ),
        "both sines have a plus: that is no rotation": lambda p, t: np.array(
            [p[0] * np.cos(t) + p[1] * np.sin(t), p[0] * np.sin(t) + p[1] * np.cos(t)]
        ),
        "sine and cosine are exchanged": lambda p, t: np.array(
            [p[0] * np.sin(t) - p[1] * np.cos(t), p[0] * np.cos(t) + p[1] * np.sin(t)]
        ),
        "the angle is taken for degrees: it is in radians": lambda p, t: _turn(p, np.deg2rad(t)),
        "the second line uses the first number after it was changed": lambda p, t: np.array(
            [_turn(p, t)[0], _turn(p, t)[0] * np.sin(t) + p[1] * np.cos(t)]
        ),
        "every number is multiplied by cos alone: the partner is missing": lambda p, t: (
            p * np.cos(t)
        ),
    },
)


def _cache(layers: int, groups: int, D: int, T: int) -> int:
    return 2 * layers * groups * D * T


CACHE = Exercise(
    _cache,
    [
        case(30, 3, 64, 1),
        case(1, 1, 2, 10),
        case(12, 5, 64, 1024, hint="for every token of the text"),
        case(7, 3, 5, 11),
    ],
    {
        "keys alone are counted: values as well": lambda L, G, D, T: L * G * D * T,
        "one token is counted: T of them": lambda L, G, D, T: 2 * L * G * D,
        "one layer is counted: each has its own": lambda L, G, D, T: 2 * G * D * T,
        "queries are counted as well: they are not kept": lambda L, G, D, T: 3 * L * G * D * T,
        "one group is counted: each has a key and a value": lambda L, G, D, T: 2 * L * D * T,
        "the width of a head is missing": lambda L, G, D, T: 2 * L * G * T,
        "these are bytes of float32: numbers are asked for": lambda L, G, D, T: 8 * L * G * D * T,
        "T is squared: scores are not kept": lambda L, G, D, T: 2 * L * G * D * T * T,
    },
)
