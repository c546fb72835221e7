"""What one matrix cannot learn: the exercises of the notebook of that name."""

from typing import Any

import numpy as np

from ..exercises import Exercise, case

RNG = np.random.default_rng(6)
SQUARE = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])


def _first_loss(
    E: Any, *, next: int = 1, log: Any = np.log, mean: Any = np.mean, scale: float = 1.0
) -> Any:
    n, z = len(E), scale * E @ E.T
    target = z[np.arange(n), (np.arange(n) + next) % n]
    return mean(log(np.exp(z).sum(axis=1)) - target)


def _without_the_last(E: Any) -> Any:
    n, z = len(E), E @ E.T
    lost = np.log(np.exp(z).sum(axis=1))[:-1] - z[np.arange(n - 1), np.arange(1, n)]
    return lost


FIRST_LOSS = Exercise(
    _first_loss,
    [
        case(np.zeros((5, 2)), hint="all logits are 0 here"),
        case(SQUARE, hint="the target of word 3 is word 0"),
        case(2 * SQUARE[:3]),
        case(RNG.normal(size=(6, 3))),
        case(RNG.normal(size=(3, 4))),
    ],
    {
        "the target is the word itself: after x comes x + 1": dict(next=0),
        "the target is two words on: after x comes x + 1": dict(next=2),
        "the logarithm is to base 2: np.log is expected, for nats": dict(log=np.log2),
        "the losses are added up: their mean is asked for": dict(mean=np.sum),
        "this is one loss for each word: their mean is asked for": dict(mean=lambda x: x),
        "the sign is wrong: the loss is −log p": dict(mean=lambda x: -np.mean(x)),
        "the logits are divided by √C: this model has no scale": lambda E: _first_loss(
            E, scale=E.shape[1] ** -0.5
        ),
        "log Σ exp is missing: this is the logit of the target alone": lambda E: (
            -np.mean((E @ np.roll(E, -1, axis=0).T)[np.arange(len(E)), np.arange(len(E))])
        ),
        "the logit of the target is missing: this is log Σ exp": lambda E: np.mean(
            np.log(np.exp(E @ E.T).sum(axis=1))
        ),
        "the last word is left out: after it comes the first": lambda E: _without_the_last(
            E
        ).mean(),
        "the last word is left out, and it is divided by all n": lambda E: (
            _without_the_last(E).sum() / len(E)
        ),
        "p is averaged before the logarithm: −log p is averaged": lambda E: (
            -np.log(np.mean(np.exp(-_each(E))))
        ),
        "this is the perplexity, exp of the loss": lambda E: np.exp(_first_loss(E)),
        "this is the mean of p: the mean of −log p is asked for": lambda E: np.mean(
            np.exp(-_each(E))
        ),
        "softmax runs over the whole table: each word has a distribution of its own": lambda E: (
            np.mean(np.log(np.exp(E @ E.T).sum()) - np.sum(E * np.roll(E, -1, axis=0), axis=1))
        ),
        "this is log n, the loss of a model that knows nothing": lambda E: np.log(len(E)),
    },
)


def _each(E: Any) -> Any:
    return _first_loss(E, mean=lambda x: x)


E3 = np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 1.0], [1.0, 0.0, 1.0]])
CYCLE = np.roll(np.eye(3), 1, axis=1)  # after 0 comes 1, after 1 comes 2, after 2 comes 0


def _value_map(E: Any, Z: Any) -> Any:
    inverse = np.linalg.inv(E)
    return inverse @ Z @ inverse.T


VALUE_MAP = Exercise(
    _value_map,
    [
        case(np.eye(3), CYCLE),
        case(E3, E3 @ E3.T, hint="W_v = 1 gives the logits of the one-matrix model"),
        case(2 * E3, E3 @ CYCLE @ E3.T, hint="2 E has half the inverse, and it stands there twice"),
        case(E3, np.diag([1.0, 2.0, 3.0]) @ CYCLE),
        case(RNG.normal(size=(4, 4)) + 2 * np.eye(4), RNG.normal(size=(4, 4))),
    ],
    {
        "the inverse on the right must be transposed: Z = E W Eᵀ gives W = E⁻¹ Z (E⁻¹)ᵀ": (
            lambda E, Z: np.linalg.inv(E) @ Z @ np.linalg.inv(E)
        ),
        "the transpose stands on the wrong side: W = E⁻¹ Z (E⁻¹)ᵀ": lambda E, Z: (
            np.linalg.inv(E).T @ Z @ np.linalg.inv(E)
        ),
        "these are the logits of W_v = Z: E must be inverted, W = E⁻¹ Z (E⁻¹)ᵀ": lambda E, Z: (
            E @ Z @ E.T
        ),
        "the transpose is taken for the inverse: W = E⁻¹ Z (E⁻¹)ᵀ": lambda E, Z: E.T @ Z @ E,
        "only E on the left is inverted: W = E⁻¹ Z (E⁻¹)ᵀ": lambda E, Z: np.linalg.inv(E) @ Z,
        "only E on the right is inverted: W = E⁻¹ Z (E⁻¹)ᵀ": lambda E, Z: Z @ np.linalg.inv(E).T,
        "Z, or the result, is transposed: W = E⁻¹ Z (E⁻¹)ᵀ": lambda E, Z: _value_map(E, Z.T),
        "it is multiplied by E on the right, not by its inverse: W = E⁻¹ Z (E⁻¹)ᵀ": lambda E, Z: (
            np.linalg.inv(E) @ Z @ E.T
        ),
        "nothing is inverted: this is Z": lambda E, Z: Z.copy(),
        "the two inverses stand on one side: W = E⁻¹ Z (E⁻¹)ᵀ": lambda E, Z: (
            np.linalg.inv(E @ E.T) @ Z
        ),
        "Z is inverted, too: W = E⁻¹ Z (E⁻¹)ᵀ": lambda E, Z: np.linalg.pinv(E @ Z @ E.T),
        "each entry of E is inverted, 1/E: the inverse of the matrix is np.linalg.inv(E)": (
            lambda E, Z: (1 / E) @ Z @ (1 / E).T
        ),
        "E is divided out twice on the left": lambda E, Z: np.linalg.inv(E) @ np.linalg.inv(E) @ Z,
    },
)
