"""From a source to a target: the likeliest next token each time, or several tries side by side.

Both look for the target that the model finds likeliest; neither is sure to find it. Random choice,
as in sampling.py, is for text that may go on in many ways; a translation has few.
"""

from dataclasses import dataclass

import numpy as np

from .arguments import as_ids, as_texts, number, whole
from .arrays import Array, ArrayLike
from .errors import InputError
from .metrics import token_nats
from .ops import IGNORE
from .transformer import Transformer


@dataclass(frozen=True)
class Translation:
    """A target without its begin_id and end_id, and −log p of all of it in nats.

    ids (n,)   finished: whether it ended with end_id, whose nats are then included
    """

    ids: Array
    nats: float
    finished: bool

    def score(self, length_penalty: float = 0.0) -> float:
        """F26: log p(y) / ((5 + |y|)/6)^α, |y| the tokens that were chosen, end_id among them.

        α = `length_penalty`. log p only falls as y grows, which favours short targets; dividing by
        a power of the length makes up for it. α = 0 is log p itself.
        Source: Wu et al. 2016, Google's Neural Machine Translation System, equation 14, without
        its coverage penalty.
        """
        result: float = -self.nats / ((5 + len(self.ids) + self.finished) / 6) ** length_penalty
        return result


def greedy(
    model: Transformer, source: ArrayLike, max_tokens: int | None = None
) -> list[Translation]:
    """The likeliest token each time, until end_id.   source (B, S)  ->  B translations

    At most max_tokens are chosen, end_id included; None is context_length. padding_id and begin_id
    are never chosen; of equally likely tokens the lower id is. Raises InputError as forward does.
    """
    source, limit = _check(model, source, max_tokens)
    config, B = model.config, len(source)
    memory, _ = model.encode(source)
    target = np.full((B, limit + 1), config.padding_id)
    target[:, 0] = config.begin_id
    nats, going = np.zeros(B), np.ones(B, bool)
    for t in range(limit):
        log_p = _next_log_p(model, target[going, : t + 1], memory[going], source[going])
        target[going, t + 1] = token = log_p.argmax(axis=-1)
        nats[going] -= np.take_along_axis(log_p, token[:, None], axis=-1)[:, 0]
        going[going] = token != config.end_id
        if not going.any():
            break
    return [_translation(model, *pair) for pair in zip(target, nats, strict=True)]


def beam_search(
    model: Transformer,
    source: ArrayLike,
    width: int = 4,
    length_penalty: float = 0.6,
    max_tokens: int | None = None,
) -> list[Translation]:
    """The best of several tries, kept side by side.   source (B, S)  ->  B translations

    At each step every try is continued by every token, and the `width` likeliest continuations are
    kept. One that ends takes its place out of the beam, and the search is over when all have ended
    or max_tokens are chosen. Of all, the one with the highest F26 score is the answer.

    width 1 is greedy. A beam can lose the greedy target on the way and end with a worse one; so the
    greedy target is one of the candidates, and no answer has a lower score than it.
    Source: Sutskever et al. 2014, Sequence to Sequence Learning, section 3.2; width 4 and
    length_penalty 0.6 as in Vaswani et al. 2017, section 6.1.
    Raises InputError for width < 1 or a negative length_penalty, and as forward does.
    """
    width = whole("width", width, at_least=1)
    length_penalty = number("length_penalty", length_penalty, at_least=0, at_most=100)
    source, limit = _check(model, source, max_tokens)
    found = [_beam(model, one, width, limit) for one in source]
    for tries, greedy_try in zip(found, greedy(model, source, max_tokens), strict=True):
        tries.append(greedy_try)
    return [max(tries, key=lambda one: one.score(length_penalty)) for tries in found]


def _beam(model: Transformer, source: Array, width: int, limit: int) -> list[Translation]:
    """All tries that ended, and those still open after `limit` tokens.   source (S,)"""
    memory, _ = model.encode(source[None])
    target, nats = np.array([[model.config.begin_id]]), np.zeros(1)
    ended: list[Translation] = []
    for _ in range(limit):
        n = len(target)
        log_p = _next_log_p(model, target, memory.repeat(n, axis=0), source[None].repeat(n, axis=0))
        total = nats[:, None] - log_p
        best = np.argsort(total, axis=None, kind="stable")[: width - len(ended)]
        parent, token = np.divmod(best, log_p.shape[-1])
        target = np.concatenate([target[parent], token[:, None]], axis=-1)
        nats = total[parent, token]
        end = token == model.config.end_id
        pairs = zip(target[end], nats[end], strict=True)
        ended += [_translation(model, *pair) for pair in pairs]
        target, nats = target[~end], nats[~end]
        if not len(target):
            break
    return ended + [_translation(model, *pair) for pair in zip(target, nats, strict=True)]


def target_nats(model: Transformer, source: ArrayLike, target: ArrayLike) -> Array:
    """F5: −log p of whole targets.   source (B, S)   target (B, T + 1)  ->  nats (B,), float64

    target is that of Transformer.loss, and there is no smoothing.
    """
    target = as_texts(target, "target")
    logits, _ = model.forward(source, target[..., :-1])
    targets = np.where(target == model.config.padding_id, IGNORE, target)[..., 1:]
    result: Array = token_nats(logits, targets)[0].sum(axis=-1)
    return result


def _next_log_p(model: Transformer, target_in: Array, memory: Array, source: Array) -> Array:
    """log p (n, V) of the next token, in float64; −∞ where it is padding_id or begin_id."""
    logits, _ = model.decode(target_in, memory, source != model.config.padding_id)
    z = logits[:, -1].astype(np.float64)
    z -= z.max(axis=-1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
    log_p[:, [model.config.padding_id, model.config.begin_id]] = -np.inf
    result: Array = log_p
    return result


def _translation(model: Transformer, target: Array, nats: float) -> Translation:
    """target (n,): begin_id, the text, and end_id and padding if it was finished."""
    ids = target[1:][target[1:] != model.config.padding_id]
    finished = bool(ids.size and ids[-1] == model.config.end_id)
    return Translation(ids[:-1] if finished else ids, float(nats), finished)


def _check(model: Transformer, source: ArrayLike, max_tokens: int | None) -> tuple[Array, int]:
    """source as an array (B, S), and how many tokens may be chosen."""
    source, N = as_ids("source", source), model.config.context_length
    if source.ndim != 2:
        raise InputError(f"source must be (B, S), padded texts, not {source.shape}")
    begin = np.full((len(source), 1), model.config.begin_id)
    model.check_pair(source, begin)
    limit = N if max_tokens is None else whole("max_tokens", max_tokens, at_least=1, at_most=N)
    return source, limit
