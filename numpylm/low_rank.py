"""Low-rank adaptation (LoRA): a trained matrix stays, and the product of two thin ones is added."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import arguments
from .arguments import array, number, shaped
from .arrays import Array, Cache, Rng
from .errors import InputError
from .model import Parameters


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


class Adapted:
    """A model of which little is trained: thin factors of its matrices, and what is named whole.

    names: the matrices that get u and v of this rank, by default every one inside a block. whole:
    parameters that are trained as they are, such as a new head. The model itself stays as it was;
    `merged` gives it with the change added. `Training` and `Run` take an Adapted for a model.
    Raises InputError for a name that is no matrix of the model, and a rank above its width.
    """

    def __init__(
        self,
        model: Any,
        rank: int,
        scale: float = 1.0,
        names: Sequence[str] | None = None,
        whole: Sequence[str] = (),
        rng: Rng | None = None,
    ):
        params = model.params
        matrices = [name for name, x in params.items() if x.ndim == 2]
        if names is None:
            names = [name for name in matrices if name.startswith("block") and name not in whole]
        for name in (*names, *whole):
            if name not in (matrices if name in names else params):
                raise InputError(f"{name!r} is no matrix of the model; it has {matrices}")
        if not names:
            raise InputError(f"no matrix to adapt: name some of {', '.join(matrices)}")
        self.model, self.scale, self.config = model, number("scale", scale), model.config
        self.names, self.whole = tuple(names), tuple(whole)
        rank = arguments.whole("rank", rank, at_least=1)
        shapes = {name: params[name].shape for name in whole}
        for name in names:
            I, O = params[name].shape  # noqa: E741
            shapes |= {f"{name}.u": (I, rank), f"{name}.v": (rank, O)}
        self.params = Parameters(shapes, params.flat.dtype)
        rng = np.random.default_rng(0) if rng is None else rng
        for name in names:
            u = self.params[f"{name}.u"]
            u[...] = rng.normal(0.0, len(u) ** -0.5, u.shape)
            self._merge(name)  # says where the rank does not fit
        for name in whole:
            self.params[name] = params[name]

    @property
    def share(self) -> float:
        """How much of the model's numbers is trained."""
        return float(self.params.flat.size / self.model.params.flat.size)

    def _merge(self, name: str) -> tuple[Array, Cache]:
        factors = self.params[f"{name}.u"], self.params[f"{name}.v"]
        return low_rank_forward(self.model.params[name], *factors, self.scale)

    def merged(self) -> Any:
        """The model with W + scale u v in place of each W: a plain model, as large as before."""
        return self._merged()[0]

    def _merged(self) -> tuple[Any, dict[str, Cache]]:
        """The merged model, and for each name the cache of F43."""
        twin, caches = self.model.astype(self.params.flat.dtype), {}
        for name in self.names:
            twin.params[name], caches[name] = self._merge(name)
        for name in self.whole:
            twin.params[name] = self.params[name]
        return twin, caches

    def loss(self, *batch: Any, **named: Any) -> tuple[Any, Any]:
        """The loss of the merged model."""
        twin, caches = self._merged()
        loss, cache = twin.loss(*batch, **named)
        return loss, (twin, cache, caches)

    def loss_backward(self, cache: Any, dL: float = 1.0) -> Parameters:
        """The model's own gradients dW', and from each the two of F43."""
        twin, model_cache, caches = cache
        grads, of_model = self.params.like(), twin.loss_backward(model_cache, dL)
        for name in self.names:
            _, du, dv = low_rank_backward(of_model[name], caches[name])
            grads[f"{name}.u"], grads[f"{name}.v"] = du, dv
        for name in self.whole:
            grads[name] = of_model[name]
        return grads

    def astype(self, dtype: Any) -> "Adapted":
        """The same in another dtype."""
        twin = copy.copy(self)
        twin.model = self.model.astype(dtype)
        twin.params = Parameters(self.params.shapes, dtype)
        twin.params.flat[...] = self.params.flat
        return twin
