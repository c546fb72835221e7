"""What a prediction reads: the order of the tokens, padding, and a past that was cached."""

import math
from itertools import product
from typing import Any

import numpy as np

from ..arrays import Array, Rng
from ..errors import InputError
from .contender_calls import as_array, guarded
from .contenders import BOTH, ORDINARY, Contender
from .contract_causality import generator
from .contract_trials import FINE, LOUD, SEEN
from .verdicts import BROKEN, KEPT, NOT_APPLICABLE, Verdict

PADDED = "padded", "It is called with ids and real, both (B, T), and returns the logits of ids"
PADDING, CACHED = "padding is unread", "cache changes nothing"
ORDER = 1e-3  # float32 leaves 1e-6 of what other words do; positions that count, 1e-2 and more
TEXTS = 32  # in some, an attention that is sure of itself reads more than one word
READ = 64  # tokens of a text, at most
ROUNDING = {"float64": 1e-9, "float32": 1e-3, "float16": 0.1}  # relative, of other shapes
CACHE = {"float64": 1e-12, "float32": 1e-4}  # relative to the largest logit


def order_is_used(model: Any, rng: Rng | None = None) -> Verdict:
    """The earlier tokens in another order give another prediction.

    The earlier tokens change places, and the last logits move by more than they round. That is
    asked in float64; where the weights cannot be had so, a move below ORDER of what other words do
    is rounding too.

    One attention without positions breaks this by design, the one-matrix model's too: c_n is a sum
    over x_1 … x_{n−1} and x_n. Two causal layers keep it even without positions, though they know
    order only by how much past a token has read.
    """
    contender, rng = Contender.of(model), generator(rng)
    T = min(contender.length, READ)
    T = T if contender.reads(T) else contender.length
    kinds = rng.permutation(contender.words)[np.arange(T) % len(contender.words)]
    ids = rng.permuted(np.tile(kinds, (TEXTS, 1)), axis=1)
    turned, other, last = ids.copy(), ids.copy(), ids.copy()
    early = np.s_[:, contender.kind == BOTH : -1]  # an encoder may be read at its first token
    turned[early] = np.roll(ids[early], 1, axis=1)
    other[early] = contender.others(rng, ids[early])
    last[:, -1] = contender.others(rng, ids[:, -1])
    with contender.in_precision(np.float64) as wide:
        before = _prediction(wide, ids)
        by_order, by_words, by_last = (
            float(np.abs(_prediction(wide, x) - before).max()) for x in (turned, other, last)
        )
    noise = ORDINARY * wide.eps * float(np.abs(before).max())
    least = noise if wide.eps < FINE else max(ORDER * by_words, noise / 64)
    numbers = {"order": by_order, "words": by_words}
    says = (
        f"another order of the earlier tokens moves the prediction by {by_order:.3g}, other words "
        f"by {by_words:.3g}"
    )
    if by_order > least:
        return Verdict("order is used", KEPT, says + contender.remark, numbers)
    if by_words > least:
        says += (
            ": it sees a bag of words. Usual cause: positions that are missing, or made and never "
            "added; the one-matrix model has none by design"
        )
    elif by_last:
        says += ": only the last token is read"
    else:
        says += ": no token is read at all, the prediction is always the same"
    return Verdict("order is used", BROKEN, says + contender.remark, numbers)


def _prediction(contender: Contender, ids: Array) -> Array:
    """What is predicted last: the logits after the last token, or those of the text."""
    if contender.kind != BOTH:
        return contender.last(ids)
    logits = contender.raw(ids)
    if ids.shape[1] not in logits.shape[1:]:
        return logits
    return logits[:, -1] if logits.shape[1] == ids.shape[1] else logits[..., -1]


# ---- padding ---------------------------------------------------------------------------------


def padding_is_unread(model: Any, rng: Rng | None = None) -> Verdict:
    """What stands in the padding, and how much there is of it, moves no logit of the text.

    Texts of different lengths are read side by side, with other words in the padding, and each
    alone, without any. Asked is padded(ids, real), or f with padding_id put into the padding. For
    a model of numpylm this is its own way to pad: `attend` in BERT, the cache in GPT.
    """
    contender, rng = Contender.of(model), generator(rng)
    if contender.padded is None and contender.padding_id is None:
        says = (
            "this model has no padding that is known of: give Contender padded(ids, real), or the "
            "padding_id that f recognises"
        )
        return Verdict(PADDING, NOT_APPLICABLE, says)
    T = min(contender.length, READ)
    lengths = np.array([T, T // 2, T - 1, 2, 2, 1, 1, 1])
    if contender.padding_side == "right":
        real = np.arange(T) < lengths[:, None]
    else:
        real = np.arange(T) >= T - lengths[:, None]
    words = contender.words[contender.words != contender.padding_id]
    ids = contender.texts(rng, len(lengths), T, words)
    other = np.where(real, ids, contender.others(rng, ids))
    with contender.in_precision(np.float64) as wide:
        content, size, dtype = _moved_by_content(wide, ids, other, real)
        alone, row = _moved_by_amount(wide, ids, real)
        loud = _moved_when_loud(wide, ids, other, real)
    numbers = {"content": content / size, "amount": alone / size, "loud": loud}
    return _padding_verdict(numbers, ROUNDING[dtype.name], int(lengths[row]), contender)


def _padding_verdict(
    numbers: dict[str, float], rounding: float, tokens: int, contender: Contender
) -> Verdict:
    if numbers["content"] > rounding:
        says = (
            f"other words in the padding move the logits of the text by {numbers['content']:.2g} "
            "of their size. Usual cause: attention has no mask for padded keys, or a mean is taken "
            "over padding too"
        )
    elif numbers["amount"] > rounding:
        says = (
            f"a text of {tokens} tokens has other logits with padding than without, by "
            f"{numbers['amount']:.2g} of their size. Usual cause: padding counts as positions, is "
            "read, or is divided by in a mean"
        )
    elif numbers["loud"] > SEEN:
        says = (
            f"with larger weights, other words in the padding move the logits by "
            f"{numbers['loud']:.2g} of their size. Usual cause: the mask of the padding is a "
            "finite number, which large scores outdo: set masked scores to −∞ by `where`"
        )
    else:
        says = (
            "neither what stands in the padding nor how much there is moves a logit of the text, "
            f"beyond {max(numbers['content'], numbers['amount']):.1g} of its size"
        )
        return Verdict(PADDING, KEPT, says + contender.remark, numbers)
    return Verdict(PADDING, BROKEN, says + contender.remark, numbers)


def _padded(contender: Contender, ids: Array, real: Array) -> Array:
    if contender.padded is not None:
        padded = contender.padded
        given = guarded(lambda x: padded(x, real), ids.copy(), ids, PADDED)
        return as_array(contender.find(given, ids))
    filler = np.asarray(contender.padding_id)
    return contender.raw(np.where(real, ids, filler))


def _of_text(logits: Array, real: Array) -> Array:
    """Of logits of one row, those of its text; all, where there is not one for each position."""
    if logits.shape[0] == real.size:
        return logits[real]
    return logits[..., real] if logits.shape[-1] == real.size else logits


def _moved_by_content(
    contender: Contender, ids: Array, other: Array, real: Array
) -> tuple[float, float, Any]:
    """The largest move by other words in the padding; the largest logit; their precision."""
    before, after = _padded(contender, ids, real), _padded(contender, other, real)
    rows = range(len(ids))
    kept = [_of_text(before[row], real[row]) for row in rows]
    moved = [np.abs(_of_text(after[row], real[row]) - kept[row]).max() for row in rows]
    size = max(np.finfo(before.dtype).tiny, *(np.abs(x).max() for x in kept))
    return float(max(moved)), float(size), before.dtype


def _moved_when_loud(contender: Contender, ids: Array, other: Array, real: Array) -> float:
    """The largest move beside the logits at larger weights, where these are finite."""
    most = 0.0
    for factor, signs in product(LOUD, (False, True)):
        with contender.louder(factor, signs), np.errstate(all="ignore"):
            try:
                moved, size, _ = _moved_by_content(contender, ids, other, real)
            except InputError:  # no finite logits
                continue
        if math.isfinite(moved) and math.isfinite(size):
            most = max(most, moved / size)
    return most


def _moved_by_amount(contender: Contender, ids: Array, real: Array) -> tuple[float, int]:
    """The largest move of a text's logits when it is read without padding; its row."""
    together = _padded(contender, ids, real)
    most, where = 0.0, 0
    for row in range(len(ids)):
        text = ids[row : row + 1, real[row]]
        single = _padded(contender, text, np.ones(text.shape, bool))[0]
        gap = float(np.abs(_of_text(together[row], real[row]) - single).max())
        if gap > most:
            most, where = gap, row
    return most, where


# ---- the cache -------------------------------------------------------------------------------


def cache_changes_nothing(model: Any, rng: Rng | None = None) -> Verdict:
    """Tokens that are read a few at a time after a past give the logits of the whole text.

    past = model.start(B, padding), model.extend(ids, past) -> logits, as in gpt.py; against
    model.forward. Then the same with texts of different lengths, padded on the left: what stands in
    the padding changes nothing. Read is the whole context, up to READ tokens, in float64.
    """
    contender, rng = Contender.of(model), generator(rng)
    if not hasattr(contender.model, "extend"):
        raise InputError(
            "there is no cache to look at: give Contender a model with start and extend"
        )
    B, T = 3, min(contender.length, READ)
    ids, padding = contender.texts(rng, B, T), np.minimum(np.arange(B), T - 1)
    with contender.in_precision(np.float64) as wide:
        cached, whole = wide.model, wide.logits(ids)
        plain = max(
            float(np.abs(_in_steps(cached, ids, cached.start(B), first) - whole).max())
            for first in {1, (T + 1) // 2, T - 1}
        )
        parts = _in_steps(cached, ids, cached.start(B, padding), (T + 1) // 2)
        padded = max(
            float(np.abs(parts[b, pad:] - wide.logits(ids[b : b + 1, pad:])[0]).max())
            for b, pad in enumerate(padding)
        )
    size = max(float(np.abs(whole).max()), np.finfo(whole.dtype).tiny)
    rounding = CACHE[whole.dtype.name]
    numbers = {"plain": plain / size, "padded": padded / size}
    says = f"differences of {numbers['plain']:.1e}, with padding {numbers['padded']:.1e}"
    if max(numbers.values()) <= rounding:
        return Verdict(CACHED, KEPT, f"relative {says}, over {T} tokens", numbers)
    cause = (
        "padding that is looked at, or counted as positions"
        if numbers["plain"] <= rounding
        else "positions that start anew at 0, or a mask that forgets the past"
    )
    says = f"with a past the logits are others: relative {says}. Usual cause: {cause}"
    return Verdict(CACHED, BROKEN, says, numbers)


def _in_steps(model: Any, ids: Array, past: Any, first: int) -> Array:
    """Logits of ids (B, T): `first` tokens at once, as a prompt, and then one after another."""
    parts = np.split(ids, np.arange(first, ids.shape[1]), axis=1)
    return np.concatenate([np.asarray(model.extend(part, past)) for part in parts], axis=1)
