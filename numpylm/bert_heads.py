"""What BERT is trained further for: the class of a text, and where the answer stands in it.

h  --first token--> tanh --> K logits          h  --every token--> two logits: start and end
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from . import ops
from .arguments import check_ids, real_array
from .arrays import Array, ArrayLike, Cache, Rng
from .bert import BERT, LINEAR, BERTConfig
from .blocks import Shapes, put, weights
from .config import option
from .errors import InputError
from .model import Parameters


@dataclass(frozen=True)
class BERTForClassConfig(BERTConfig):
    """BERT for the class of a text"""

    classes: int = option(2, "K, the classes that a text may have", minimum=2, maximum=10**6)


class ClassCache(NamedTuple):
    """In the order of computation; h_shape is that of the encoder's h."""

    pooler: Cache
    tanh: Array
    dropout: Array | None
    classes: Cache
    h_shape: tuple[int, ...]


class BERTForClass(BERT):
    """y = tanh(h_1 w + b)    p = softmax(y u + c): the class of the text, read from its first token

    loss takes ids (..., T) and one target (...) for each text, in [0, K); logits are (..., K).
    Dropout, in training, comes before u. The first token is one that stands before every text.
    Parameters of the head: pooler.w (C, C), .b (C,); classes.w (C, K), .b (K,).
    Source: Devlin et al. 2019, BERT, section 4.1; tanh and dropout are those of its published code.
    """

    Config = BERTForClassConfig
    config: BERTForClassConfig

    @staticmethod
    def head_shapes(config: BERTForClassConfig) -> Shapes:
        C, K = config.width, config.classes
        return {"pooler.w": (C, C), "pooler.b": (C,), "classes.w": (C, K), "classes.b": (K,)}

    def check_targets(self, targets: ArrayLike, ids: Array, attend: Array) -> Array:
        return check_ids("targets", targets, self.config.classes, ops.IGNORE, "the classes")

    def head_forward(self, h: Array, attend: Array, rng: Rng | None) -> tuple[Array, ClassCache]:
        p = self.params
        y, pooler = ops.linear_forward(h[..., 0, :], *weights(p, "pooler", LINEAR))
        y, tanh = ops.tanh_forward(y)
        y, dropout = ops.dropout_forward(y, self.config.dropout, rng)
        logits, classes = ops.linear_forward(y, *weights(p, "classes", LINEAR))
        return logits, ClassCache(pooler, tanh, dropout, classes, h.shape)

    def head_backward(self, dlogits: Array, cache: ClassCache, grads: Parameters) -> Array:
        """Only h_1 is read   =>   dh_t = 0 for every other token."""
        dy, *dw = ops.linear_backward(dlogits, cache.classes)
        put(grads, "classes", LINEAR, dw)
        dy = ops.tanh_backward(ops.dropout_backward(dy, cache.dropout), cache.tanh)
        dh_1, *dw = ops.linear_backward(dy, cache.pooler)
        put(grads, "pooler", LINEAR, dw)
        dh = np.zeros(cache.h_shape, dh_1.dtype)
        dh[..., 0, :] = dh_1
        return dh


class BERTForSpan(BERT):
    """z_t = h_t w + b, two numbers    p_start = softmax_t(z_t1),  p_end = softmax_t(z_t2)

    loss takes ids (..., T) and targets (..., 2): where the answer starts and where its last token
    stands; it is the mean over the two. logits are (..., 2, T): the softmax is over the tokens, and
    a padded one has −∞, so it cannot be an answer. best_span reads them.
    Parameters of the head: span.w (C, 2), .b (2,). Both b and the last norm's bias raise all tokens
    alike, which softmax does not see: their gradient is 0, and they stay what they are.
    Source: Devlin et al. 2019, BERT, section 4.2, where the columns of w are S and E; b is that of
    its published code.
    """

    @staticmethod
    def head_shapes(config: BERTConfig) -> Shapes:
        return {"span.w": (config.width, 2), "span.b": (2,)}

    def check_targets(self, targets: ArrayLike, ids: Array, attend: Array) -> Array:
        """Spans (start, end), start ≤ end, whose tokens are real; IGNORE for a text without one."""
        T = ids.shape[-1]
        targets = check_ids("targets", targets, T, ops.IGNORE, "the tokens of a text")
        if targets.shape != (*ids.shape[:-1], 2):
            raise InputError(
                f"targets {targets.shape} must be (..., 2), a start and an end for each text of "
                f"ids {ids.shape}"
            )
        counted = targets != ops.IGNORE
        real = np.take_along_axis(attend, np.where(counted, targets, 0), axis=-1)
        backwards = (targets[..., 0] > targets[..., 1]) & counted[..., 1]
        wrong = targets[backwards | (counted & ~real).any(axis=-1)]
        if wrong.size:
            start, end = wrong[0]
            raise InputError(
                f"targets ({start}, {end}) are no answer: it must start before it ends, and on "
                "tokens that attend calls real"
            )
        result: Array = targets
        return result

    def head_forward(self, h: Array, attend: Array, rng: Rng | None) -> tuple[Array, Cache]:
        z, span = ops.linear_forward(h, *weights(self.params, "span", LINEAR))
        if not attend.any(axis=-1).all():
            raise InputError("attend is False for a whole text: there is no answer to find in it")
        no = z.dtype.type(-np.inf)
        return np.where(attend[..., None, :], z.swapaxes(-1, -2), no), span

    def head_backward(self, dlogits: Array, cache: Cache, grads: Parameters) -> Array:
        """Where z is replaced by −∞, p = 0, so dlogits = 0 there, and so is dz."""
        dh, *dw = ops.linear_backward(dlogits.swapaxes(-1, -2), cache)
        put(grads, "span", LINEAR, dw)
        return dh


def best_span(logits: Array) -> Array:
    """The likeliest answer: start ≤ end with the largest sum.   logits (..., 2, T)  ->  (..., 2)

    The start whose logit is largest among those up to t, for every t; then the end t that makes the
    sum largest: no pair is looked at twice. Of equal sums the earliest end, then start, is taken.
    Source: Devlin et al. 2019, BERT, section 4.2.
    """
    logits = real_array("logits", logits)
    if logits.ndim < 2 or logits.shape[-2] != 2 or not logits.size:
        raise InputError(f"logits {logits.shape} must be (..., 2, T): of the start, of the end")
    start, end = logits[..., 0, :], logits[..., 1, :]
    best = np.maximum.accumulate(start, axis=-1) + end
    stop = best.argmax(axis=-1)
    allowed = np.arange(start.shape[-1]) <= stop[..., None]
    return np.stack([np.where(allowed, start, -np.inf).argmax(axis=-1), stop], axis=-1)
