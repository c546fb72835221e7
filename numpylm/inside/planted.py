"""Models whose mechanism is known, because their weights are set by hand.

    previous     says the token before the last one         one head reads position i − 1
    first        says the first token again ("copy")        one head reads position 0
    induction    says what followed the last token before   a head that reads i − 1, and one that
                                                            reads behind the place it found
    brackets     more "(" than ")" so far?                  one head averages +1 and −1

Each is a GPT. Its stream has named coordinates, each as a pair (x, −x): then every row has mean 0,
and layer normalisation only divides it by a number that is nearly the same for all. Every block has
a second head, the decoy: it reads the first position and writes nothing.
Source of the construction of induction: Elhage et al. 2021, A Mathematical Framework for
Transformer Circuits.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from ..arrays import Array
from ..gpt import GPT, GPTConfig

V, N = 6, 12  # words, places
SHARP, LOUD = 40.0, 12.0  # of a score that decides, and of what is written
TOK, POS, PREV, BIAS = 0, V, V + N, 2 * V + N  # where each kind of coordinate begins
WIDTH = 2 * V + N + 1  # coordinates, and the width of a head: the stream has twice as many columns


@dataclass(frozen=True)
class Planted:
    """A model and what is true of it.

    text: one that shows the mechanism; token: what it says at the end. heads: those without which
    it cannot. reads: the positions that decide what is said.
    """

    name: str
    model: GPT
    text: Array
    token: int
    heads: tuple[str, ...]
    reads: tuple[int, ...]

    def changed(self, at: Iterable[int]) -> Array:
        """The text with another token at these positions, which is not the last token either."""
        other = self.text.copy()
        for t in at:
            if self.name == "brackets":
                other[t] = 1 - other[t]
                continue
            choices = [w for w in range(V) if w not in (self.text[t], self.text[-1])]
            other[t] = choices[self.text[t] % len(choices)]
        return other


def _blank(layers: int) -> GPT:
    """Coordinates that are embedded and predicted, blocks that do nothing yet."""
    config = GPTConfig(V, N, layers=layers, heads=2, width=2 * WIDTH, bias=False)
    model = GPT.blank(config, np.float64)
    p = model.params
    for name in p:
        if name.endswith("gain"):
            p[name] = np.ones(2 * WIDTH)
    p["E"] = _pairs(np.eye(V, WIDTH, TOK) + np.eye(1, WIDTH, BIAS))
    p["P"] = _pairs(np.eye(N, WIDTH, POS))
    for block in range(layers):  # the decoy
        _set_head(model, block, 1, {BIAS: {POS: SHARP}}, {}, {})
    return model


def _pairs(x: Array) -> Array:
    """(..., n) -> (..., 2 n): each number, and its negative behind it."""
    return np.stack([x, -x], axis=-1).reshape(*x.shape[:-1], -1)


Map = dict[int, dict[int, float]]


def _set_head(model: GPT, block: int, head: int, asks: Map, reads: Map, writes: Map) -> None:
    """A head by its coordinates. asks[i][j]: a query with coordinate i looks for keys with j;
    reads[i][j]: of a key's coordinate i it takes j; writes[j][k]: and adds it to coordinate k."""
    p, part = model.params, f"block{block}.attention"
    D, sigma = WIDTH, (3 / WIDTH) ** 0.5  # a row holds three ones: token, place and bias
    w_qkv = p[f"{part}.w_qkv"].reshape(2 * WIDTH, 3, 2, D)
    for i, looked_for in asks.items():
        for j, score in looked_for.items():
            w_qkv[2 * i, 0, head, j] = score * sigma**2 * D**0.5
            w_qkv[2 * j, 1, head, j] = 1.0
    for i, taken in reads.items():
        for j, weight in taken.items():
            w_qkv[2 * i, 2, head, j] += weight * sigma
    w_out = p[f"{part}.w_out"].reshape(2, D, WIDTH, 2)
    for j, places in writes.items():
        for k, weight in places.items():
            w_out[head, j, k] += weight * np.array([1.0, -1.0])


def _tokens(by: float, to: int = TOK) -> Map:
    """The token coordinates, each to its own of those that begin at `to`."""
    return {TOK + w: {to + w: by} for w in range(V)}


def _to_the_place_before() -> Map:
    return {POS + i: {POS + i - 1: SHARP} for i in range(1, N)}


def previous() -> Planted:
    """Head 0 of the only block reads position i − 1 and writes its token, loudly."""
    model = _blank(1)
    _set_head(model, 0, 0, _to_the_place_before(), _tokens(1.0), _tokens(LOUD))
    text = np.array([4, 1, 3, 5, 2, 0, 3, 1])
    return Planted("previous", model, text, 3, ("block0.attention.head0",), (6,))


def first() -> Planted:
    """Head 0 reads position 0, wherever it stands, and writes its token."""
    model = _blank(1)
    _set_head(model, 0, 0, {BIAS: {POS: SHARP}}, _tokens(1.0), _tokens(LOUD))
    text = np.array([4, 1, 3, 5, 2, 0, 3, 1])
    return Planted("first", model, text, 4, ("block0.attention.head0",), (0,))


def induction() -> Planted:
    """Block 0 tells each place the token before it; block 1 looks for places that were told the
    present token, and writes the token that stands there."""
    model = _blank(2)
    _set_head(model, 0, 0, _to_the_place_before(), _tokens(1.0), _tokens(1.0, PREV))
    asks = {TOK + w: {PREV + w: SHARP} for w in range(V)}
    asks[BIAS] = {POS: -SHARP}  # the first place has none before it, and was told its own token
    _set_head(model, 1, 0, asks, _tokens(1.0), _tokens(LOUD))
    text = np.array([4, 1, 3, 5, 2, 0, 4, 1])
    heads = ("block0.attention.head0", "block1.attention.head0")
    return Planted("induction", model, text, 3, heads, (1, 2))


def brackets() -> Planted:
    """Words 0 and 1 are "(" and ")". Head 0 reads all places alike and takes +1 or −1: their mean
    says whether more were opened (word 2) or closed (word 3)."""
    model = _blank(1)
    counted = {TOK: {BIAS: 1.0}, TOK + 1: {BIAS: -1.0}}
    _set_head(model, 0, 0, {}, counted, {BIAS: {TOK + 2: LOUD, TOK + 3: -LOUD}})
    text = np.array([0, 0, 1, 0, 1, 0, 0, 1])
    return Planted("brackets", model, text, 2, ("block0.attention.head0",), tuple(range(8)))


PLANTED: dict[str, Callable[[], Planted]] = {
    "previous": previous,
    "first": first,
    "induction": induction,
    "brackets": brackets,
}
