"""The registry of wrong backwards: mistakes that people make, each in one line of code.

`MUTANTS` are all seen by the checks of oracles.py, which says by which. `EQUIVALENT` look like
mistakes and are none; each has its proof. The lists are data, so their files may be long: a row is
the name, the sentence that a learner reads, and the change to the right code (see mutation.py).
"""

from typing import Any

import numpy as np

from .mutants_llama import LLAMAS
from .mutants_models import MODELS
from .mutants_numbers import NUMBERS
from .mutants_objectives import OBJECTIVES
from .mutants_ops import DS_SUM, OPS, TARGET_TERM, VARIANCE_TERM
from .mutants_optim import OPTIM
from .mutation import Mutant, Wrong, edit, result

# ---- one mistake in two places ---------------------------------------------------------------

HIDDEN = [
    Mutant(
        "√C missing, both ways",
        "E is not multiplied by √C, and neither is its gradient",
        "F1",
        (
            ("Transformer._embed_backward", edit(" * math.sqrt(self.config.width)", "")),
            ("Transformer._embed", edit(" * math.sqrt(self.config.width)", "")),
        ),
    ),
    Mutant(
        "σ is a constant, both ways",
        "σ is treated as a constant, and .real in the forward hides it from the complex step",
        "F13",
        (
            ("layer_norm_backward", edit(VARIANCE_TERM, "")),
            ("layer_norm_forward", edit("row_dot(x_hat, x_hat) /", "row_dot(x_hat, x_hat).real /")),
        ),
    ),
]

MUTANTS: list[Mutant] = [*OPS, *MODELS, *LLAMAS, *HIDDEN, *OPTIM, *NUMBERS, *OBJECTIVES]


# ---- what looks wrong and is right -----------------------------------------------------------


def _equivalent(target: str, formula: str, name: str, proof: str, wrong: Wrong) -> Mutant:
    return Mutant(name, "", formula, ((target, wrong),), proof)


def _without_key_part(db: Any) -> Any:
    if db is None:
        return None
    q, k, v = np.split(db, 3)
    return np.concatenate([q, 0 * k, v])


EQUIVALENT = [
    _equivalent(
        "attention_backward",
        "F3",
        "ds of masked pairs is set to 0",
        "a_ij = 0 where the mask forbids, and ds_ij = a_ij (…), so it is 0 already",
        edit("    ds *= scale\n", "    ds *= scale\n    ds[a == 0] = 0\n"),
    ),
    _equivalent(
        "attention_backward",
        "F3",
        "da is shifted by a number for each query",
        "Σ_j a_ij = 1, so ds_ij = a_ij (da_ij + t_i − Σ_l a_il (da_il + t_i)) does not hold t_i; "
        "and where no key is allowed, a_ij = 0",
        edit(
            f"ds = dc @ v.mT  # so far da_ij\n    {DS_SUM}",
            "ds = dc @ v.mT + dc.sum(axis=-1, keepdims=True)\n"
            "    ds -= (a * ds).sum(axis=-1, keepdims=True)",
        ),
    ),
    _equivalent(
        "attention_backward",
        "F3",
        "Σ_l a_il da_il where dc_i·c_i stands",
        "Σ_l a_il da_il = Σ_l a_il dc_i·v_l = dc_i·Σ_l a_il v_l = dc_i·c_i",
        edit(DS_SUM, "ds -= (a * ds).sum(axis=-1, keepdims=True)"),
    ),
    _equivalent(
        "self_attention_backward",
        "F20",
        "the gradient of the key bias is dropped",
        "a bias b of the keys adds scale q_i·b to every score of row i, which softmax does not "
        "see: its gradient is Σ_j dk_j = scale Σ_i q_i Σ_j ds_ij = 0",
        result(2, _without_key_part),
    ),
    _equivalent(
        "layer_norm_backward",
        "F13",
        "dx̂ is shifted by a number for each row",
        "dx̂ + t − mean(dx̂ + t) does not hold t, and mean(t x̂) = 0 because x̂ has mean 0",
        edit("dx = dy * gain", "dx = dy * gain + dy.sum(axis=-1, keepdims=True)"),
    ),
    _equivalent(
        "cross_entropy_backward",
        "F5",
        "the −1 of an ignored target stands anywhere",
        "its weight is 0, so the row is 0 wherever the −1 stands",
        edit(TARGET_TERM, "dlogits[np.arange(len(y)), np.where(counted, y, 1)] -= weight"),
    ),
    _equivalent(
        "relu_backward",
        "F16",
        "the slope at the corner is 1",
        "max(x, 0) has no derivative at 0: every number in [0, 1] is a subgradient, and a float "
        "that comes from data is exactly 0 with probability 0",
        edit("np.where(positive, dy", "np.where(positive, dy * 1"),
    ),
    _equivalent(
        "embedding_backward",
        "F1",
        "the occurrences of a word are added in another order",
        "addition commutes; rounding differs in the last place",
        edit(
            "sum_by_id(de, ids, V)",
            "sum_by_id(as_rows(de)[::-1], ids.ravel()[::-1], V)",
        ),
    ),
    _equivalent(
        "positions_backward",
        "F18",
        "rows of positions that are not used are not cleared",
        "np.zeros made them 0, and no token stands there",
        edit("np.zeros(table_shape, dy.dtype)", "0 * np.ones(table_shape, dy.dtype)"),
    ),
]
