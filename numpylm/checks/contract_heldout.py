"""A promise of the data: held-out text was not trained on."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Array, Rng
from ..errors import InputError
from .contract_causality import generator
from .verdicts import BROKEN, KEPT, UNDECIDED, Verdict

APART = "held-out is apart"
SIZES = 4, 8, 16, 32, 64, 128  # n of the n-grams: one hash of 2n is made of two
RARE = 0.02  # an n is long enough where a text shares so little with others by itself
COMMON = 0.9  # and a language repeats itself too much where so much is shared at every n
UNSURE = 0.2  # more by chance is no measure
BLOCKS = 5  # parts of the training text that are compared with the rest of it
EXCESS = 0.01  # more than usual of the held-out tokens, in copied passages, is an overlap
LONG = 3  # a passage this many times as long as the longest usual one was copied
FEW = 4  # n-grams of held-out text, side by side, are the least to judge by
MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


class Texts(NamedTuple):
    """Texts one after another: tokens (n,), and which text each belongs to (n,)."""

    tokens: Array
    text: Array

    def __len__(self) -> int:
        return len(self.tokens)


class Copied(NamedTuple):
    """How much of some text stands in another, in passages of at least n tokens."""

    share: float  # of the tokens
    longest: int  # tokens of the longest passage
    at: int  # where it starts


def heldout_is_apart(train: Any, heldout: Any = None, rng: Rng | None = None) -> Verdict:
    """No more of the held-out text stands in the training text than the language repeats anyhow.

    Each is a stream of ids (n,), a table (N, T) of one text a row, a string, or a list of texts;
    or one Corpus holds both. Texts share short passages by chance, and in a small language long
    ones too: so parts of the training text are compared with the rest of it in the same way. n is
    the least of SIZES at which these share less than RARE of their tokens in passages of n, or the
    longest. A held-out text that shares clearly more, or one passage far longer, was trained on;
    where everything is shared at every n, as in a b a b a b, nothing can be told.

    Windows cut from one stream so that they overlap, and only then parted, are known by their
    neighbours: most rows are other rows moved on by a few tokens, and hardly any are the same.
    """
    if heldout is None:
        train, heldout = train.train, train.heldout
    ours, theirs = _texts("train", train), _texts("heldout", heldout)
    longest = min(int(np.bincount(texts.text).max()) for texts in (ours, theirs))
    part = min(len(theirs), len(ours) // BLOCKS)
    sizes = [n for n in SIZES if n <= min(longest, part // 2)]
    if not sizes or len(theirs) < FEW * SIZES[0]:
        says = (
            f"{len(theirs)} tokens of held-out text and {len(ours)} of training text, at most "
            f"{longest} in a row, are too few to tell copying from chance"
        )
        return Verdict(APART, UNDECIDED, says, {"tokens": len(theirs)})
    moved = _moved_windows(ours, theirs)
    if moved is not None:
        return moved
    parts = _parts(ours, len(theirs), generator(rng))
    for n in sizes:
        usual = _usual(ours, parts, n)
        if np.mean([copied.share for copied in usual]) <= RARE:
            break
    return _compared(_copied(theirs, ours, n), usual, n, len(theirs))


def _compared(found: Copied, usual: list[Copied], n: int, tokens: int) -> Verdict:
    shares = [copied.share for copied in usual]
    mean, spread = float(np.mean(shares)), float(np.std(shares, ddof=1))
    chance = 4 * np.sqrt(mean * (1 - mean) * n / tokens) + 3 * spread
    numbers = {"share": found.share, "usual": mean, "n": n, "longest": found.longest}
    much = (
        f"{found.share:.1%} of the held-out text stands in the training text in passages of {n} "
        f"tokens or more; of parts of the training text, {mean:.1%} stands in the rest"
    )
    least = max(EXCESS, chance)
    if found.share > mean + least:
        says = (
            f"{much}. The longest passage is of {found.longest} tokens, at {found.at} of the "
            "held-out text. Usual cause: windows were cut, or texts copied, before the split"
        )
        return Verdict(APART, BROKEN, says, numbers)
    most = max(copied.longest for copied in usual)
    if found.longest > LONG * max(most, n):
        says = (
            f"a passage of {found.longest} tokens, at {found.at} of the held-out text, stands in "
            f"the training text too, where passages of {most} repeat by themselves. Usual cause: "
            "a text that was copied, or a split that shares tokens at the border"
        )
        return Verdict(APART, BROKEN, says, numbers)
    if mean > COMMON or (chance > UNSURE and found.share > mean):
        says = f"{much}. A language that repeats itself so much does not tell copying from chance"
        return Verdict(APART, UNDECIDED, says, numbers)
    says = f"{much}. An overlap of less than {least:.1%} would not be noticed"
    return Verdict(APART, KEPT, says, numbers)


# ---- windows that overlap --------------------------------------------------------------------


def _moved_windows(ours: Texts, theirs: Texts) -> Verdict | None:
    """The verdict where training rows are windows that overlap one another; None elsewhere."""
    table, other = _table(ours), _table(theirs)
    if table is None or other is None or table.shape[1] != other.shape[1]:
        return None
    T = table.shape[1]
    for s in range(1, T // 2 + 1):
        if T - s < SIZES[0]:
            break
        ends, starts = _rows(table[:, s:]), _rows(table[:, : T - s])
        moved = float(np.isin(ends, starts).mean())
        _, place, counts = np.unique(starts, return_inverse=True, return_counts=True)
        same = float((counts[place] > 1).mean())
        if moved > 0.5 and same < moved / 2:
            after = np.isin(_rows(other[:, s:]), starts)
            before = np.isin(_rows(other[:, : T - s]), ends)
            return _of_windows(float((after | before).mean()), same, s)
    return None


def _of_windows(share: float, same: float, s: int) -> Verdict:
    numbers = {"share": share, "usual": same, "moved by": s}
    says = (
        f"training rows are windows that overlap, each moved on by {s}; {share:.1%} of the "
        "held-out rows are such neighbours of a training row"
    )
    if share > max(EXCESS, 2 * same):
        says += ". Usual cause: windows were cut before the split: split the text first"
        return Verdict(APART, BROKEN, says, numbers)
    return Verdict(APART, KEPT, says, numbers)


def _table(texts: Texts) -> Array | None:
    """Texts of one length as a table (N, T)."""
    lengths = np.bincount(texts.text)
    same = len(lengths) > 1 and (lengths == lengths[0]).all()
    return texts.tokens.reshape(len(lengths), -1) if same else None


def _rows(table: Array) -> Array:
    """One number for each row."""
    h = np.zeros(len(table), np.uint64)
    for column in table.T:
        h = _mixed(h * MIX[0] + _mixed(column.astype(np.uint64)))
    return h


# ---- passages that two texts share -----------------------------------------------------------


def _parts(texts: Texts, tokens: int, rng: Rng) -> list[Array]:
    """BLOCKS parts, as masks (n,), of about `tokens` tokens, at most a fifth of the text."""
    n, size = len(texts), max(min(tokens, len(texts) // BLOCKS), 1)
    number = int(texts.text[-1]) + 1
    if number < 2 * BLOCKS:
        starts = np.linspace(0, n - size, BLOCKS).astype(int)
        where = np.arange(n)
        return [(where >= start) & (where < start + size) for start in starts]
    each = max(round(size / n * number), 1)
    order = rng.permutation(number)
    groups = [order[i * each : (i + 1) * each] for i in range(BLOCKS)]
    return [np.isin(texts.text, group) for group in groups]


def _usual(texts: Texts, parts: list[Array], n: int) -> list[Copied]:
    """How much of each part stands in the rest: an n-gram that occurs outside it too."""
    hashes, valid = _ngrams(texts, n)
    _, place, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    found = []
    for part in parts:
        inside = part[: len(hashes)] & part[n - 1 :] & valid
        own = np.bincount(place[inside], minlength=len(counts))
        crossing = valid & ~inside & (part[: len(hashes)] | part[n - 1 :])
        cut = np.bincount(place[crossing], minlength=len(counts))
        others = np.bincount(place[valid], minlength=len(counts)) - own - cut
        found.append(_covered((others[place] > 0) & inside, inside, part, n))
    return found


def _copied(theirs: Texts, ours: Texts, n: int) -> Copied:
    (wanted, fits), (known, valid) = _ngrams(theirs, n), _ngrams(ours, n)
    hits = np.isin(wanted, known[valid]) & fits
    return _covered(hits, fits, np.ones(len(theirs), bool), n)


def _covered(hits: Array, possible: Array, part: Array, n: int) -> Copied:
    """hits, possible: the n-grams, by where they start; of the tokens of `part`."""
    covered, able = (_spread(x, n) & part for x in (hits, possible))
    if not hits.any():
        return Copied(0.0, 0, 0)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], hits.astype(np.int8), [0]])))
    lengths = edges[1::2] - edges[::2]
    longest = int(lengths.argmax())
    return Copied(
        float(covered.sum() / able.sum()), int(lengths[longest]) + n - 1, int(edges[2 * longest])
    )


def _spread(starts: Array, n: int) -> Array:
    """The tokens of the n-grams that start where `starts` is true."""
    change = np.zeros(len(starts) + n, np.int64)
    change[: len(starts)] += starts
    change[n:] -= starts
    return np.cumsum(change)[: len(starts) + n - 1] > 0


def _ngrams(texts: Texts, n: int) -> tuple[Array, Array]:
    """A hash for each n-gram, and whether it stands within one text; n a power of two."""
    h, k = _mixed(texts.tokens.astype(np.uint64)), 1
    while k < n:
        h, k = _mixed(h[:-k] * MIX[0] + h[k:]), 2 * k
    return h, texts.text[: len(h)] == texts.text[n - 1 :]


def _mixed(x: Array) -> Array:
    """A 64-bit number that looks random. Source: Steele et al. 2014, SplitMix."""
    x = x + MIX[0]
    x = (x ^ (x >> np.uint64(30))) * MIX[1]
    x = (x ^ (x >> np.uint64(27))) * MIX[2]
    result: Array = x ^ (x >> np.uint64(31))
    return result


# ---- reading them ----------------------------------------------------------------------------


def _texts(name: str, given: Any) -> Texts:
    if hasattr(given, "detach"):
        given = given.detach().cpu().numpy()
    if isinstance(given, str):
        parts = [_of_string(given)]
    elif isinstance(given, np.ndarray) and given.ndim == 1 and given.dtype.kind in "iu":
        parts = [given]
    elif isinstance(given, Sequence | np.ndarray) and len(given):
        parts = _of_list(name, list(given))
    else:
        parts = []
    parts = [part for part in parts if len(part)]
    if not parts:
        raise InputError(f"{name} must hold ids, (n,) or (N, T), or texts; it is empty or another")
    lengths = [len(part) for part in parts]
    tokens = np.concatenate([part.astype(np.int64) for part in parts])
    return Texts(tokens, np.repeat(np.arange(len(parts)), lengths))


def _of_list(name: str, given: list[Any]) -> list[Array]:
    """Texts, or the words of one text."""
    if all(isinstance(x, str) for x in given):
        if len(given) >= 2 * SIZES[0] and not any(any(c.isspace() for c in x) for x in given):
            return [np.array([_word_id(x) for x in given])]
        return [_of_string(x) for x in given]
    if all(isinstance(x, int | np.integer) for x in given):
        return [np.array(given)]
    arrays = [np.asarray(x.tolist() if hasattr(x, "tolist") else x) for x in given]
    if any(x.ndim != 1 or (x.size and x.dtype.kind not in "iu") for x in arrays):
        raise InputError(f"{name} must hold integer ids, (n,) or (N, T), or texts")
    return arrays


def _of_string(text: str) -> Array:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _word_id(word: str) -> int:
    """The same number for the same word, in every process."""
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=7).digest())
