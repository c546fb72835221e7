"""The gradient check's question to a model: L = model.loss(batch), and its loss_backward."""

import copy
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from .arrays import Array, Rng
from .callables import copied, raised
from .errors import InputError
from .gradient_questions import (
    Claims,
    Terms,
    as_array,
    described,
    differ,
    is_pair,
    quietly,
    same,
)
from .gradient_verdicts import RANDOM_WORDS, Finding, GradientVerdict
from .model import Parameters


class ModelAsked:
    """`loss` and `loss_backward` of a model on a batch: (ids, targets, …), or a dict by name."""

    def __init__(self, model: Any, batch: Any, values: list[Array] | None = None):
        self.model, self.batch, self.repeats = model, batch, False
        self.terms_here: Array | None = None
        self.twins: dict[
            type[Any], tuple[Any, int | None]
        ] = {}  # in a dtype, and which array moved
        arrays = {n: np.asarray(x) for n, x in model.params.items()}
        self.names = [n for n, x in arrays.items() if x.dtype.kind in "fc"]
        self.values = values or [arrays[n].astype(np.float64) for n in self.names]

    def answer(self) -> Claims:
        """What loss_backward says, and what is wrong with it at first sight, in words."""
        try:
            with quietly():
                self._start()
        except (InputError, Finding):
            raise
        except Exception as error:  # the reader's own code may raise any
            raise Finding(GradientVerdict.CANNOT, raised("loss", error)) from error
        try:
            with quietly():
                return self._answer()
        except (InputError, Finding):
            raise
        except Exception as error:
            raise Finding(GradientVerdict.WRONG, raised("loss_backward", error)) from error

    def _start(self) -> None:
        """Finding where the loss itself shows nothing."""
        twin = self._moved_in(None, np.float64)
        if not is_pair(made := self.loss(twin)):
            words = f"loss must return two things, the loss and a cache, not {described(made)}"
            raise Finding(GradientVerdict.CANNOT, words)
        losses = [np.asarray(self.loss(m)[0]) for m in (self.model, twin, twin)]
        if any(loss.shape or loss.dtype.kind != "f" for loss in losses):
            raise Finding(
                GradientVerdict.CANNOT, f"the loss is {described(losses[0])}, not one number"
            )
        if differ(losses[1], losses[2]) or differ(losses[0], self.loss(self.model)[0]):
            raise Finding(GradientVerdict.RANDOM, RANDOM_WORDS)
        if not np.isfinite(losses[0]):
            raise Finding(
                GradientVerdict.CANNOT, f"the loss is {losses[0]}: check at another point"
            )
        if differ(losses[0], losses[1]):
            words = f"a copy of the model gives another loss ({losses[1]:.9g}, not {losses[0]:.9g})"
            raise Finding(GradientVerdict.CANNOT, f"{words}: it keeps numbers outside of params")

    def _answer(self) -> Claims:
        twin = self._moved_in(None, np.float64)
        grads = twin.loss_backward(self.loss(twin)[1])
        if not isinstance(grads, Mapping):
            words = f"loss_backward returned {described(grads)}, not gradients by name"
            raise Finding(GradientVerdict.CANNOT, words)
        if missing := [name for name in self.names if name not in grads]:
            words = f"loss_backward returned no gradient for {', '.join(missing)}"
            raise Finding(GradientVerdict.WRONG, words)
        if extra := [str(name) for name in grads if name not in twin.params]:
            raise Finding(GradientVerdict.WRONG, f"there is no parameter {', '.join(extra)}")
        answers = [as_array(grads[name]) for name in self.names]
        if not all(same(twin.params[n], x) for n, x in zip(self.names, self.values, strict=True)):
            return Claims(
                answers, "loss or loss_backward changed the parameters", [""] * len(answers)
            )
        return Claims(answers, "", [""] * len(answers))

    def loss(self, model: Any) -> tuple[Any, Any]:
        batch = copied(self.batch)
        result: tuple[Any, Any] = (
            model.loss(**batch) if isinstance(batch, Mapping) else model.loss(*batch)
        )
        return result

    def twin(self, dtype: type[Any] = np.float64) -> Any:
        """The model once more, in another dtype, at these values."""
        try:
            twin = self.model.astype(dtype)
        except Exception:  # a subclass made with other arguments, or a class without astype
            twin = _another(self.model, dtype)
        for name, x in zip(self.names, self.values, strict=True):
            _put(twin.params, name, x.astype(dtype))
        return twin

    def base(self) -> Array:
        if self.terms_here is None:
            twin = self._moved_in(None, np.float64)
            self.terms_here = np.reshape(self.loss(twin)[0], -1)
        return self.terms_here

    def along(self, k: int, dtype: type[Any] = np.float64) -> Terms:
        def terms(x: Array) -> Array:
            twin = self._moved_in(k, dtype)
            _put(twin.params, self.names[k], x)
            return np.reshape(self.loss(twin)[0], -1)

        return terms

    def _moved_in(self, k: int | None, dtype: type[Any]) -> Any:
        """The twin in which no other array than k differs from the point."""
        twin, moved = self.twins.get(dtype) or (self.twin(dtype), k)
        if moved is not None and moved != k:
            _put(twin.params, self.names[moved], self.values[moved].astype(dtype))
        self.twins[dtype] = twin, k
        return twin

    def gradients(self) -> list[Any]:
        twin = self._moved_in(None, self.values[0].dtype.type)
        grads = twin.loss_backward(self.loss(twin)[1])
        return [as_array(grads[name]) for name in self.names]

    def at(self, values: list[Array], rng: Rng | None) -> Self:
        return type(self)(self.model, self.batch, values)


def _another(model: Any, dtype: type[Any]) -> Any:
    if dtype is np.float64:
        return copied(model)  # its attributes may be the very arrays that `params` names
    twin = copy.copy(model)
    shapes = {name: np.shape(x) for name, x in model.params.items()}
    twin.params = Parameters(shapes, dtype) if isinstance(model.params, Parameters) else {}
    for name, x in model.params.items():
        twin.params[name] = np.array(x)
    return twin


def _put(params: Any, name: str, x: Array) -> None:
    if np.asarray(params[name]).dtype == x.dtype:
        params[name][...] = x
    else:
        params[name] = x
