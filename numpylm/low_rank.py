"""Low-rank adaptation (LoRA): a trained matrix stays, and the product of two thin ones is added."""

from .arguments import array, number, shaped
from .arrays import Array, Cache
from .errors import InputError


def low_rank_forward(w: Array, u: Array, v: Array, scale: float = 1.0) -> tuple[Array, Cache]:
    """F43: a matrix and a change of low rank.   w, y (I, O)   u (I, R)   v (R, O)

        W' = W + scale u v                      ->   y: W' (I, O)

    W is frozen; u and v have R (I + O) numbers in place of I O. With v = 0, as training begins,
    nothing is changed. x W' = x W + scale (x u) v: merged or not, the numbers are the same.
    Source: Hu et al. 2021, LoRA, section 4.1. Raises InputError for R above I or O.
    """
    w, u, v = shaped("low_rank: w (I, O), u (I, R), v (R, O)", w, u, v)
    scale = number("scale", scale)
    if (R := u.shape[1]) > min(w.shape):
        raise InputError(
            f"rank {R} is above the width of a matrix {w.shape}, whose rank is at most "
            f"{min(w.shape)}: choose a smaller one"
        )
    return w + scale * (u @ v), (u, v, scale)


def low_rank_backward(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """A product of two matrices, behind a sum.   dy: dW' (I, O)  ->  dw, du, dv

    W' = W + scale u v   =>   dW = dW'      du = scale dW' vᵀ      dv = scale uᵀ dW'

    dW' = xᵀ dy, so du = scale xᵀ (dy vᵀ): without dW', where W is never trained.
    """
    u, v, scale = cache
    dy = array("dy", dy, (len(u), v.shape[1]))
    return dy.copy(), scale * (dy @ v.T), scale * (u.T @ dy)
