"""See what flows between the parts of a model, and put something else in its place.

    seen = {}
    model.forward(ids, watch=seen.__setitem__)                   keeps every array by its name

    def without_attention(name, x):                                   None leaves x
        return 0 * x if name == "block0.attention" else None
    logits, _ = model.forward(ids, watch=without_attention)

Inside a forward it is one line for each: `h = watched(watch, "block0", h)`. The backward knows
nothing of it: it is right where what was put in is x plus a constant.
"""

from collections.abc import Callable

import numpy as np

from .arrays import Array
from .errors import InputError

Watch = Callable[[str, Array], Array | None]


def watched(watch: Watch | None, name: str, x: Array) -> Array:
    """x, or what watch(name, x) returns for it, in x's dtype. InputError where that does not fit.

    Every forward calls this in the order of computation, with the same names in every model:

        "embedding"             what enters the first block             (..., T, C)
        "block0.attention"      what a part of block 0 adds to h, before dropout (F17);
        "block0.feed_forward"   in the Transformer's decoder also "decoder0.cross"
        "block0"                h behind the block
        "norm"                  h behind the last norm of GPT or Llama
        "logits"                                                        (..., T, V)

    In the Transformer the blocks are "encoder0" and "decoder0", and there are two embeddings,
    "encoder.embedding" and "decoder.embedding". Where others have blocks, the one-matrix model has
    "attention", its c.
    """
    if watch is None:
        return x
    if not callable(watch):
        raise InputError(
            f"watch must be a function of (name, array), not {type(watch).__name__}; "
            "a dict `seen` keeps everything with watch=seen.__setitem__"
        )
    if (found := watch(name, x)) is None:
        return x
    y = np.asarray(found)
    if y.shape != x.shape or not np.can_cast(y.dtype, x.dtype, "same_kind"):
        raise InputError(
            f"watch returned {y.dtype} {y.shape} for {name}, which is {x.dtype} {x.shape}: "
            "return an array of that shape, or None to leave it"
        )
    return y.astype(x.dtype, copy=False)
