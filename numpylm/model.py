"""A model is named parameters in one flat vector.

Mathematics lives in ops.py; what has a lifetime, the parameters, lives here. A model owns arrays,
never activations: `forward` returns its cache and `backward` returns its gradients, so two threads
may use one model at once, and a second call destroys nothing.
"""

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np

from . import ops
from .allocator import require_memory
from .arrays import Array, ArrayLike, DTypeLike, Rng
from .config import Config, option
from .errors import InputError
from .watching import Watch


class Parameters(Mapping[str, Array]):
    """Named arrays that are views into one vector, `flat`.

    `params["E"]` reads and `params["E"] = x` copies into the view: a name never leaves the vector,
    so an optimizer may work on `flat` alone. Gradients are a twin with the same layout.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], dtype: DTypeLike = np.float32):
        if wrong := [name for name, shape in shapes.items() if isinstance(shape, int)]:
            raise InputError(f"the shape of {wrong[0]} must be a tuple, as (3,), not a number")
        size = sum(map(math.prod, shapes.values()))
        require_memory(size * np.dtype(dtype).itemsize, f"{size:,} parameters")
        self.flat = np.zeros(size, dtype)
        if self.flat.dtype.kind not in "fc":
            raise InputError(f"dtype must be of floats, as numpy.float32, not {self.flat.dtype}")
        self._views, start = {}, 0
        for name, shape in shapes.items():
            stop = start + math.prod(shape)
            self._views[name] = self.flat[start:stop].reshape(shape)
            start = stop

    def __getitem__(self, name: str) -> Array:
        return self._views[name]

    def __setitem__(self, name: str, value: Any) -> None:
        view = self._views[name]
        if value is not view:  # `params[name] += x` has already written into the view
            if np.shape(value) != view.shape:
                raise InputError(f"{name} has shape {view.shape}; it cannot take {np.shape(value)}")
            view[...] = value

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape, in the order of the vector."""
        return {name: view.shape for name, view in self.items()}

    def __repr__(self) -> str:
        arrays = [f"{name} {shape}" for name, shape in self.shapes.items()]
        shown = arrays if len(arrays) <= 6 else [*arrays[:2], "…", arrays[-1]]
        plural = "s" * (len(arrays) != 1)
        sizes = f"{self.flat.size:,} numbers, {self.flat.dtype}, {len(arrays)} array{plural}"
        return f"Parameters({sizes}: {', '.join(shown)})"

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, or one unpickled, has views into a vector of its own."""
        return _restored, (self.shapes, self.flat)

    def like(self) -> "Parameters":
        """Zeros with the same names and shapes: a home for gradients or moments."""
        return Parameters(self.shapes, self.flat.dtype)

    def load(self, tensors: Mapping[str, Array]) -> None:
        """Copy every tensor in. Missing, extra or wrongly shaped ones are an InputError, and then
        nothing has been copied."""
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        if missing := [name for name in self if name not in shapes]:
            raise InputError(f"the file lacks the tensors {missing}: it is of another model")
        if extra := [name for name in shapes if name not in self]:
            raise InputError(f"the file has tensors unknown to this model: {extra}")
        for name, shape in self.shapes.items():
            if shapes[name] != shape:
                raise InputError(f"tensor {name} has shape {shapes[name]}, the model needs {shape}")
        for name, tensor in tensors.items():
            self[name] = tensor


def _restored(shapes: Mapping[str, tuple[int, ...]], flat: Array) -> Parameters:
    params = Parameters(shapes, flat.dtype)
    params.flat[...] = flat
    return params


@dataclass(frozen=True)
class ModelConfig(Config):
    """the model"""

    vocab_size: int = option(64, "V, the number of symbols", minimum=2, flag=False)
    context_length: int = option(8, "T, the most tokens it looks at", minimum=1, maximum=10**7)


class Model:
    """Base of the language models: parameters, and a loss made of `forward` and cross-entropy.

    A model of your own defines `shapes`, `forward` and `backward`:

        class Bigram(Model):
            def shapes(self, config):
                return {"table": (config.vocab_size, config.vocab_size)}

            def forward(self, ids, rng=None):
                return ops.embedding_forward(self.params["table"], ids)

            def backward(self, dlogits, cache):
                grads = self.params.like()
                grads["table"] = ops.embedding_backward(dlogits, cache)
                return grads

    and, where it needs them, `initialise`, and a Config with fields of its own. The config is given
    whole or by its fields: GPT(config) or GPT(layers=2). Without an rng it is default_rng(0).

    An rng given to `forward` or `loss` means training: a model with dropout draws it from there.
    Without one, nothing is random. A watch given to `forward` sees what flows between its parts and
    may replace it: see watching.py.
    """

    Config: type[ModelConfig] = ModelConfig

    def __init__(
        self,
        config: Any = None,
        rng: Rng | None = None,
        dtype: DTypeLike = np.float32,
        **fields: Any,
    ):
        config = self.Config() if config is None else config
        if not isinstance(config, self.Config):
            raise InputError(
                f"config must be a {self.Config.__name__}, not {config!r}: "
                f"give one, or its fields, as in {type(self).__name__}(vocab_size=65)"
            )
        if not isinstance(rng, np.random.Generator | None):
            raise InputError(f"rng must be like numpy.random.default_rng(0), not {rng!r}")
        self.config: Any = replace(config, **fields) if fields else config
        self.params = Parameters(self.shapes(self.config), dtype)
        self.initialise(np.random.default_rng(0) if rng is None else rng)

    def __repr__(self) -> str:
        """Its sizes, and what else differs from the defaults."""
        values = self.config.to_dict().items()
        shown = [f"{k}={v!r}" for k, v in values if type(v) is int or v != getattr(self.Config, k)]
        flat = self.params.flat
        sizes = f"{flat.size:,} parameters, {flat.dtype}"
        return f"{type(self).__name__}({', '.join([*shown, sizes])})"

    @classmethod
    def blank(cls, config: Any, dtype: DTypeLike = np.float32) -> Self:
        """A model whose parameters are all 0, for one who loads them: nothing is drawn."""
        model = cls.__new__(cls)
        model.config, model.params = config, Parameters(cls.shapes(config), dtype)
        return model

    @staticmethod
    def shapes(config: Any) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every parameter, in the order in which they act."""
        raise NotImplementedError("a model defines shapes(config)")

    def initialise(self, rng: Rng) -> None:
        """Matrices from a normal distribution, vectors 0, and 1 where they are called gain.

        The deviation is the config's init_std, and 0.02 where it has none.
        """
        std = getattr(self.config, "init_std", 0.02)
        for name, shape in self.params.shapes.items():
            if len(shape) > 1:
                self.params[name] = rng.normal(0.0, std, shape)
            elif name.endswith("gain"):
                self.params[name] = np.ones(shape)

    def forward(
        self, ids: ArrayLike, rng: Rng | None = None, *, watch: Watch | None = None
    ) -> tuple[Array, Any]:
        """ids (..., T) -> logits (..., T, V), cache."""
        raise NotImplementedError("a model defines forward(ids, rng=None) -> logits, cache")

    def backward(self, dlogits: Array, cache: Any) -> Parameters:
        """dL/dlogits -> dL/dparams, named and shaped like `params`."""
        raise NotImplementedError("a model defines backward(dlogits, cache) -> gradients")

    def loss(self, ids: ArrayLike, targets: ArrayLike, rng: Rng | None = None) -> tuple[Any, Any]:
        """F5: mean −log p(target) in nats per predicted token.   ids, targets (..., T)"""
        logits, cache = self.forward(ids, rng)
        loss, loss_cache = ops.cross_entropy_forward(logits, targets)
        return loss, (cache, loss_cache)

    def loss_backward(self, cache: Any, dL: float = 1.0) -> Parameters:
        """dL/dparams of `loss`, times dL: how much this loss weighs in a sum of several."""
        forward_cache, loss_cache = cache
        return self.backward(ops.cross_entropy_backward(dL, loss_cache), forward_cache)

    def next_logits(self, ids: ArrayLike) -> Array:
        """Logits (..., V) of the token that follows ids (..., T)."""
        return self.forward(ids)[0][..., -1, :]

    def attention_maps(self, cache: Any) -> dict[str, Array]:
        """Who reads whom in a forward: name of the attention -> its weights (..., H, T, S)."""
        return {}

    def astype(self, dtype: DTypeLike) -> Self:
        """The same model in another dtype: float64 to check it, complex128 for the complex step."""
        twin = copy.copy(self)
        twin.params = Parameters(self.params.shapes, dtype)
        twin.params.flat[...] = self.params.flat
        return twin


class NonFinite(NamedTuple):
    """The first array that holds a nan or an infinity, and where."""

    name: str
    where: tuple[int, ...]
    value: float


def first_non_finite(tree: Any, name: str = "") -> NonFinite | None:
    """Search names, tuples and arrays in order: a model's caches keep the order of computation."""
    if isinstance(tree, np.ndarray) and tree.dtype.kind in "fc":
        bad = ~np.isfinite(tree)
        if bad.any():
            where = tuple(int(i) for i in np.unravel_index(bad.argmax(), tree.shape))
            return NonFinite(name, where, tree[where].item())
    elif isinstance(tree, Mapping | tuple):
        items = tree.items() if isinstance(tree, Mapping) else _named_items(tree)
        for key, part in items:
            if found := first_non_finite(part, f"{name}.{key}" if name else key):
                return found
    return None


def _named_items(parts: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    names = getattr(parts, "_fields", [str(i) for i in range(len(parts))])
    return zip(names, parts, strict=True)
