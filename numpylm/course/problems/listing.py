"""The article's listing repaired: the exercises of the notebook of that name."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ...ops import IGNORE
from ..exercises import Exercise, case

TEXTS = np.array([[3, 1, 2, 0, 0], [2, 2, 1, 3, 1], [1, 0, 0, 0, 0]])
RNG = np.random.default_rng(10)


def _targets(texts: Any, *, shift: int = 1, ignore: int | None = IGNORE) -> Any:
    targets = texts[:, shift : texts.shape[1] + shift - 1]
    return targets.copy() if ignore is None else np.where(targets == 0, ignore, targets)


TARGETS = Exercise(
    _targets,
    [
        case(TEXTS[1:2], hint="the target of a word is the word after it"),
        case(TEXTS, hint="padding is ignored"),
        case(np.array([[5, 4, 3, 0], [7, 0, 0, 0]])),
        case(RNG.integers(1, 9, size=(4, 7))),
    ],
    {
        "the target of a word is the word itself: the word after it": dict(shift=0),
        "padding counts as a target: IGNORE": dict(ignore=None),
        "padding becomes −1: IGNORE, −100": dict(ignore=-1),
        "the target of a word is the word itself, and padding counts": dict(shift=0, ignore=None),
        "the first padding behind a text counts: a target is ignored where the target, not the "
        "input, is padding": (lambda texts: np.where(texts[:, :-1] == 0, IGNORE, texts[:, 1:])),
        "these are all T + 1 words: the targets of the first T": lambda texts: np.where(
            texts == 0, IGNORE, texts
        ),
        "padding is left out, and not ignored: the shape (N, T) is kept": lambda texts: texts[
            :, 1:
        ][texts[:, 1:] != 0],
        "the words become IGNORE, and padding stays: `==` and `!=` are exchanged": lambda texts: (
            np.where(texts[:, 1:] == 0, 0, IGNORE)
        ),
        "the texts are moved around the end: the last target is the first word": lambda texts: (
            np.where(np.roll(texts, -1, 1) == 0, IGNORE, np.roll(texts, -1, 1))
        ),
        "a text with padding is ignored as a whole: only its padding": lambda texts: np.where(
            (texts == 0).any(axis=1, keepdims=True), IGNORE, texts[:, 1:]
        ),
        "texts are moved down, not words to the left: texts[:, 1:]": lambda texts: np.where(
            texts[1:] == 0, IGNORE, texts[1:]
        ),
        "the last words are two on": lambda texts: np.where(
            np.pad(texts[:, 2:], ((0, 0), (0, 1))) == 0,
            IGNORE,
            np.pad(texts[:, 2:], ((0, 0), (0, 1))),
        ),
    },
)


def _loss(
    logits: Any,
    targets: Any,
    *,
    axis: int = -1,
    over: Callable[..., Any] = np.mean,
    log: Callable[..., Any] = np.log,
) -> Any:
    z = logits - logits.max()
    top = np.log(np.exp(z).sum(axis=axis, keepdims=True))
    logp = np.take_along_axis(z - top, targets[..., None], axis=-1)[..., 0]
    return over(-log(np.exp(logp)))


def _square_prediction() -> tuple[Any, Any]:
    return RNG.normal(size=(2, 6, 6)), RNG.integers(6, size=(2, 6))


WIDE, FIRST = RNG.normal(size=(2, 3, 6)), np.array([[0, 5, 2], [1, 1, 4]])

LOSS = Exercise(
    _loss,
    [
        case(np.zeros((2, 3, 4)), np.zeros((2, 3), int), hint="all are equal: ln V"),
        case(WIDE, FIRST),
        case(*_square_prediction(), hint="here T = V, so the shapes cannot help you"),
        case(3 * RNG.normal(size=(1, 4, 5)), np.array([[4, 0, 2, 2]])),
        case(RNG.normal(size=(3, 3, 3)), RNG.integers(3, size=(3, 3))),
    ],
    {
        "softmax runs over the positions: over the vocabulary, axis −1": dict(axis=1),
        "softmax runs over the texts: over the vocabulary, axis −1": dict(axis=0),
        "softmax runs over everything: over the vocabulary, axis −1": lambda logits, targets: (
            np.log(np.exp(logits).sum()) - _taken(logits, targets).mean()
        ),
        "the losses are added up: their mean is asked for": dict(over=np.sum),
        "this is one loss for each position: their mean is asked for": dict(over=lambda x: x),
        "this is one loss for each text: their mean is asked for": dict(
            over=lambda x: x.mean(axis=1)
        ),
        "the losses of a text are added up: the mean of all positions": dict(
            over=lambda x: x.sum(axis=1).mean()
        ),
        "the mean is taken over positions, and the texts are added up": dict(
            over=lambda x: x.mean(axis=1).sum()
        ),
        "the sign is wrong: −log p": dict(over=lambda x: -np.mean(x)),
        "the logarithm is to base 2: np.log is expected, for nats": dict(log=np.log2),
        "the logarithm is to base 10: np.log is expected, for nats": dict(log=np.log10),
        "the median is taken: the mean": dict(over=np.median),
        "logits[:, :, targets] takes every target at every position: each position has its own": (
            lambda logits, targets: np.mean(
                np.log(np.exp(logits).sum(axis=-1))[..., None, None] - logits[:, :, targets]
            )
        ),
        "log Σ exp is missing: these are the logits of the targets": lambda logits, targets: (
            -_taken(logits, targets).mean()
        ),
        "the target's logit is missing: this is log Σ exp": lambda logits, targets: np.log(
            np.exp(logits).sum(axis=-1)
        ).mean(),
        "the logarithm is missing: these are probabilities": dict(
            over=lambda x: -np.mean(np.exp(-x))
        ),
        "this is the mean probability of the targets: the mean of −log p": dict(
            over=lambda x: np.mean(np.exp(-x))
        ),
        "p is averaged before the logarithm: −log p is averaged": dict(
            over=lambda x: -np.log(np.mean(np.exp(-x)))
        ),
        "this is the perplexity, exp of the loss": dict(over=lambda x: np.exp(np.mean(x))),
        "it is divided by V as well: by the number of positions alone": lambda logits, targets: (
            _loss(logits, targets) / logits.shape[-1]
        ),
        "the logarithms of all words are averaged: of the targets alone": lambda logits, targets: (
            -(logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))).mean()
        ),
        "this is the squared error of the probabilities": lambda logits, targets: np.mean(
            (
                np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
                - np.eye(logits.shape[-1])[targets]
            )
            ** 2
        ),
        "np.exp is missing in the softmax": lambda logits, targets: np.mean(
            np.log(logits.sum(axis=-1)) - _taken(logits, targets)
        ),
        "this is the share of words that are not the likeliest": lambda logits, targets: np.mean(
            logits.argmax(axis=-1) != targets
        ),
    },
)


def _taken(logits: Any, targets: Any) -> Any:
    return np.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]


def _parameters(
    V: int,
    C: int,
    L: int,
    N: int,
    *,
    qkv: int = 3,
    qkv_bias: int = 3,
    out: int = 1,
    out_bias: int = 1,
    w_in: int = 4,
    in_bias: int = 4,
    w_out: int = 4,
    out_bias_2: int = 1,
    norms: int = 4,
    last: int = 2,
    E: int = 1,
    P: int = 1,
) -> int:
    squares, rows = qkv + out + w_in + w_out, qkv_bias + out_bias + in_bias + out_bias_2 + norms
    return L * (squares * C**2 + rows * C) + (E * V + P * N + last) * C


NO_BIASES: dict[str, Any] = dict(qkv_bias=0, out_bias=0, in_bias=0, out_bias_2=0)

PARAMETERS = Exercise(
    _parameters,
    [
        case(12, 16, 1, 8),
        case(12, 16, 2, 8, hint="only E, P and the last norm are in no block"),
        case(10_000, 512, 6, 512),
        case(50, 7, 3, 11),
        case(5, 4, 5, 3),
    ],
    {
        "the biases are missing": NO_BIASES,
        "13 C are missing in each block: its biases, 9 C, and its two norms, 4 C": (
            NO_BIASES | dict(norms=0)
        ),
        "the biases of the feed-forward are missing: 4 C and C": dict(in_bias=0, out_bias_2=0),
        "4 C are missing in each block: the biases of attention (3 C and C), or those of its two "
        "norms, or the first bias of the feed-forward": dict(qkv_bias=0, out_bias=0),
        "3 C are missing in each block: the bias of query, key and value, or 3 C of the first "
        "bias of the feed-forward": dict(qkv_bias=0),
        "2 C are missing in each block: one of its two norms, or 2 C of the 3 C biases of query, "
        "key and value": dict(qkv_bias=1),
        "C is missing in each block: the bias of attention's output, or the second of the "
        "feed-forward": dict(out_bias=0),
        "the second bias of the feed-forward has C numbers": dict(out_bias_2=4),
        "C × C of attention's output is missing": dict(out=0),
        "query, key and value have C × 3 C weights": dict(qkv=1),
        "the feed-forward is C × 4 C and 4 C × C: one of them is missing": dict(w_out=0),
        "the feed-forward is C × 4 C and 4 C × C": dict(w_in=1, w_out=1, in_bias=1),
        "a norm has 2 C numbers, gain and bias: C are counted": dict(norms=2, last=1),
        "the last norm is missing: 2 C": dict(last=0),
        "the last norm has 2 C numbers, gain and bias": dict(last=1),
        "E is missing: V C": dict(E=0),
        "E is counted twice: it embeds and predicts": dict(E=2),
        "P is missing: N C": dict(P=0),
        "P is counted twice": dict(P=2),
        "P has N rows of C numbers: N are counted": lambda V, C, L, N: (
            _parameters(V, C, L, N) - N * C + N
        ),
        "E has V rows of C numbers: V are counted": lambda V, C, L, N: (
            _parameters(V, C, L, N) - V * C + V
        ),
        "L is missing: each layer has a block of its own": lambda V, C, L, N: _parameters(
            V, C, 1, N
        ),
        "everything is multiplied by L: E, P and the last norm exist once": lambda V, C, L, N: (
            L * _parameters(V, C, 1, N)
        ),
        "the last norm is counted in each block": lambda V, C, L, N: (
            _parameters(V, C, L, N) + 2 * C * (L - 1)
        ),
    },
)

# ---- seeing the future -----------------------------------------------------------------------

V = 9
TABLE = RNG.normal(size=(V, V))


def causal(ids: Any) -> Any:
    """The mean of the rows of all words up to here."""
    sums = np.cumsum(TABLE[ids], axis=1)
    return sums / np.arange(1, ids.shape[1] + 1)[:, None]


def open_eyed(ids: Any) -> Any:
    """The mean of the rows of all words."""
    return np.broadcast_to(TABLE[ids].mean(axis=1, keepdims=True), (*ids.shape, V)).copy()


def own_word(ids: Any) -> Any:
    """Reads its own word, and nothing else."""
    return TABLE[ids]


def past_only(ids: Any) -> Any:
    """Reads the words before its own."""
    logits = causal(ids)
    return np.concatenate([np.zeros_like(logits[:, :1]), logits[:, :-1]], axis=1)


def deaf(ids: Any) -> Any:
    return np.ones((*ids.shape, V))


class Peeping:
    """Causal but for one pair: position `at` sees the word at `sees`; with `row`, there alone."""

    def __init__(self, at: int, sees: int, row: int | None = None) -> None:
        self.at, self.sees, self.row = at, sees, row
        where = "" if row is None else f" in text {row}"
        self.__name__ = f"position {at} sees the word at {sees}{where}"

    def __call__(self, ids: Any) -> Any:
        logits, rows = causal(ids), slice(None) if self.row is None else self.row
        logits[rows, self.at] += 0.1 * ids[rows, self.sees, None]
        return logits


def next_word(ids: Any) -> Any:
    """Every position sees the word after it, which it should predict."""
    logits = causal(ids)
    logits[:, :-1] += TABLE[ids[:, 1:]]
    return logits


def mixed_texts(ids: Any) -> Any:
    """Texts see one another, but nobody sees the future."""
    logits = causal(ids)
    return logits + logits[::-1]


def _sees_the_future(
    f: Callable[..., Any],
    ids: Any,
    V: int,
    *,
    changed: Any = None,
    before: Any = None,
    first: int = 0,
) -> bool:
    plain, T = f(ids.copy()), ids.shape[1]
    for j in changed(T) if changed else range(1, T):
        other = ids.copy()
        other[:, j] = (ids[:, j] + 1) % V
        seen = slice(first, j if before is None else before(j))
        if np.any(f(other)[:, seen] != plain[:, seen]):
            return True
    return False


SOME = RNG.integers(V, size=(2, 6))

SEES_THE_FUTURE = Exercise(
    _sees_the_future,
    [
        case(causal, SOME, V, hint="only logits *before* the changed word count"),
        case(open_eyed, SOME, V),
        case(own_word, SOME, V, hint="a word may move the logits of its own position"),
        case(past_only, SOME, V),
        case(deaf, SOME, V, hint="it reads nothing"),
        case(next_word, SOME, V),
        case(mixed_texts, SOME, V, hint="another text is no future"),
        case(Peeping(2, 3), SOME, V, hint="every word must be changed once"),
        case(Peeping(0, 5), SOME, V, hint="every word must be changed once"),
        case(Peeping(0, 1), SOME, V),
        case(Peeping(4, 5), SOME, V),
        case(Peeping(1, 4, row=1), SOME, V, hint="every text must be looked at"),
        case(Peeping(1, 3, row=0), SOME, V, hint="every text must be looked at"),
        case(causal, SOME[:1, :2].copy(), V),
    ],
    {
        "it always says False": lambda f, ids, V: False,
        "it always says True": lambda f, ids, V: True,
        "True and False are exchanged: True if it sees the future": lambda f, ids, V: (
            not _sees_the_future(f, ids, V)
        ),
        "only the last word is changed: every word must be, once": dict(changed=lambda T: [T - 1]),
        "only the second word is changed: every word must be, once": dict(changed=lambda T: [1]),
        "the last word is never changed: every word must be, once": dict(
            changed=lambda T: range(1, T - 1)
        ),
        "only a word in the middle is changed: every word must be, once": dict(
            changed=lambda T: [max(T // 2, 1)]
        ),
        "the logits of the changed word itself are compared: only those before it": dict(
            before=lambda j: j + 1
        ),
        "all logits are compared: only those before the changed word": dict(before=lambda j: None),
        "only the position just before is compared: all that are before": lambda f, ids, V: any(
            _sees_the_future(f, ids, V, changed=lambda T, j=j: [j], first=j - 1)
            for j in range(1, ids.shape[1])
        ),
        "position 0 is never compared": dict(first=1),
        "only position 0 is compared: all that are before": dict(before=lambda j: 1),
        "only the first text is looked at": lambda f, ids, V: _sees_the_future(
            lambda x: f(np.concatenate([x, ids[1:]]))[:1], ids[:1], V
        ),
        "only the last text is looked at": lambda f, ids, V: _sees_the_future(
            lambda x: f(np.concatenate([ids[:-1], x]))[-1:], ids[-1:], V
        ),
        "the logits after the changed word are compared: those before it": lambda f, ids, V: _after(
            f, ids, V
        ),
        "the likeliest words are compared: any change of the logits counts": lambda f, ids, V: (
            _sees_the_future(lambda x: f(x).argmax(axis=-1), ids, V)
        ),
    },
)


def _after(f: Callable[..., Any], ids: Any, V: int) -> bool:
    plain = f(ids.copy())
    for j in range(ids.shape[1]):
        other = ids.copy()
        other[:, j] = (ids[:, j] + 1) % V
        if np.any(f(other)[:, j + 1 :] != plain[:, j + 1 :]):
            return True
    return False
