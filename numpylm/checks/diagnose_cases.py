"""What `diagnose` asks of a reader's function: the same questions as of the library's own.

A probe is one call: a fixed upstream gradient and the cache of the right forward for a backward, a
dozen steps for an optimizer. Its answer is arrays by name, so that answers can be compared.
"""

from collections.abc import Callable, Mapping
from copy import copy, deepcopy
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from .. import optim
from ..arrays import Array
from ..callables import argument_names
from ..errors import InputError
from ..translate import Translation
from . import gradient_cases, recurrences
from .gradient_cases import ModelCase, OpCase, block_cases, model_cases, op_cases
from .invariants import ALLOWED, EXTREME, subject_of
from .mutation import find
from .raised import NOTHING

OF_MODEL = "(model, dlogits, cache)"  # how the backward of a model is called


class ReturnedNothingError(TypeError):
    """The function returned None."""


class Failure(NamedTuple):
    """The answer of a function that raised."""

    kind: str
    message: str = ""


class Probe(NamedTuple):
    """One question: its name, the sizes that may turn up as factors, and how it is asked."""

    name: str
    sizes: Mapping[str, int]
    ask: Callable[[Callable[..., Any]], Mapping[str, Array]]

    def answer(self, function: Callable[..., Any]) -> Mapping[str, Array] | Failure:
        try:
            with np.errstate(all="ignore"):
                return self.ask(function)
        except Exception as error:  # a mistake may lead to any
            return Failure(type(error).__name__, str(error))


class Subject(NamedTuple):
    """What is asked about, by the name of its function, and in which probes."""

    name: str
    target: str
    signature: str
    probes: list[Probe]


@cache
def subject(name: str) -> Subject:
    """The subject called "attention", "attention_forward", "GPT", "GPT.forward", "Adam", …"""
    ops = {case.op for case in (*op_cases(), *block_cases())}
    models = {subject_of(case) for case in model_cases()}
    if name.removesuffix("_backward") in ops:
        op = name.removesuffix("_backward")
        probes = [_backward_probe(case) for case in _op_cases(op)]
        return Subject(op, f"{op}_backward", "(dy, cache)", probes)
    if name.removesuffix("_forward") in ops:
        op = name.removesuffix("_forward")
        probes = [*map(_forward_probe, _op_cases(op)), *_extreme_probes(op)]
        return Subject(name, f"{op}_forward", f"{_signature(name)}", probes)
    model, _, method = name.partition(".")
    if model in models and method in ("", "backward"):
        probes = [_model_probe(case) for case in _model_cases(model)]
        return Subject(model, f"{model}.backward", OF_MODEL, probes)
    if model in models and method == "forward":
        probes = [_logits_probe(case) for case in _model_cases(model)]
        return Subject(name, name, "(model, ids, …)", probes)
    if name in OTHERS:
        return OTHERS[name]()
    known = ", ".join([*sorted(ops), *sorted(models), *OTHERS])
    raise InputError(
        f"nothing called {name!r} can be diagnosed. These can: {known}; and with _forward behind "
        "an op, or .forward behind a model, their forwards"
    )


def _signature(name: str) -> str:
    code = find(name).__code__
    return f"({', '.join(code.co_varnames[: code.co_argcount])})"


# ---- ops -------------------------------------------------------------------------------------


def _op_cases(op: str) -> list[OpCase]:
    return [case for case in (*op_cases(), *block_cases()) if case.op == op]


def _sizes(args: Any) -> dict[str, int]:
    """B, T, S, C and V where an argument has such an axis, and N, the targets that count."""
    shapes = {size for arg in args if isinstance(arg, np.ndarray) for size in arg.shape}
    sizes = {letter: getattr(gradient_cases, letter) for letter in "BTSCV"}
    sizes = {letter: size for letter, size in sizes.items() if size in shapes}
    for arg in args:
        if isinstance(arg, np.ndarray) and arg.dtype.kind == "i" and (arg < 0).any():
            sizes["N"] = int((arg >= 0).sum())
    return sizes


def _backward_probe(case: OpCase) -> Probe:
    places = [i for i, arg in enumerate(case.args) if isinstance(arg, np.ndarray)]
    places = [i for i in places if case.args[i].dtype.kind == "f"]
    names = ["d" + name for name in argument_names(case.forward, places)]
    y, stored = case.forward(*deepcopy(case.args))
    dy = np.random.default_rng(14).normal(size=np.shape(y))[()]

    def ask(backward: Callable[..., Any]) -> Mapping[str, Array]:
        return _by_name(backward(deepcopy(dy), deepcopy(stored)), names)

    return Probe(case.name, _sizes(case.args), ask)


def _by_name(answer: Any, names: list[str]) -> Mapping[str, Array]:
    """What a backward returned, by name; by number where there are too many or too few."""
    if answer is None:
        raise ReturnedNothingError(NOTHING)
    if isinstance(answer, Mapping):
        return {name: _array(dx) for name, dx in answer.items()}
    several = answer if isinstance(answer, tuple | list) else (answer,)
    parts = [_array(dx) for dx in several if dx is not None]
    if len(parts) != len(names):
        names = [f"number {i + 1}" for i in range(len(parts))]
    return dict(zip(names, parts, strict=True))


def _array(x: Any) -> Array:
    x = np.asarray(x)
    if x.dtype.kind not in "biuf":
        raise TypeError(f"a gradient is an array of real numbers, not of {x.dtype}")
    result: Array = x
    return result


def _forward_probe(case: OpCase) -> Probe:
    def ask(forward: Callable[..., Any]) -> Mapping[str, Array]:
        answer = forward(*deepcopy(case.args))
        return {"y": _array(answer[0] if isinstance(answer, tuple) else answer)}

    return Probe(case.name, _sizes(case.args), ask)


def _extreme_probes(op: str) -> list[Probe]:
    cases: dict[str, list[tuple[Any, ...]]] = {
        "softmax": [(EXTREME, ALLOWED), (EXTREME,)],
        "cross_entropy": [(EXTREME, np.array([1, 2, 0]))],
    }
    named = [OpCase(op, "extreme numbers", args) for args in cases.get(op, [])]
    return [_forward_probe(case) for case in named]


# ---- models ----------------------------------------------------------------------------------


def _model_cases(name: str) -> list[ModelCase]:
    """The one-matrix model first as the article writes it, then with its repairs."""
    cases = [case for case in model_cases() if subject_of(case) == name]
    extras = ("positions", "projections")
    return sorted(
        cases,
        key=lambda case: (
            not getattr(case.model.config, "tied", True),
            any(getattr(case.model.config, extra, False) for extra in extras),
        ),
    )


def _batch_sizes(case: ModelCase) -> dict[str, int]:
    B, T = np.shape(case.batch[0])
    return {"B": B, "T": T, "V": case.model.config.vocab_size}


def _model_probe(case: ModelCase) -> Probe:
    _, stored = case.model.loss(*deepcopy(case.batch))

    def ask(backward: Callable[..., Any]) -> Mapping[str, Array]:
        model = copy(case.model)
        model.backward = partial(backward, model)  # type: ignore[method-assign]
        answer: Any = model.loss_backward(deepcopy(stored))
        return _by_name(answer, list(case.model.params))

    return Probe(case.name, _batch_sizes(case), ask)


def _logits_probe(case: ModelCase) -> Probe:
    def ask(forward: Callable[..., Any]) -> Mapping[str, Array]:
        model, logits = copy(case.model), []

        def record(*args: Any) -> Any:
            answer = forward(model, *args)
            logits.append(answer[0])
            return answer

        model.forward = record  # type: ignore[assignment,method-assign]
        model.loss(*deepcopy(case.batch))
        return {"logits": _array(logits[0])}

    return Probe(case.name, _batch_sizes(case), ask)


# ---- optim.py and masks ----------------------------------------------------------------------


def _steps(make: Callable[..., Any]) -> Probe:
    def ask(step: Callable[..., Any]) -> Mapping[str, Array]:
        params, grads = recurrences.start()
        optimizer = make(params, weight_decay=recurrences.DECAY, decayed=recurrences.DECAYED)
        with recurrences.small_blocks():
            for g, rate in zip(grads, recurrences.RATES, strict=True):
                step(optimizer, g, rate)
        return dict(params)

    return Probe("12 steps", {}, ask)


def _optimizer(name: str, make: Callable[..., Any]) -> Callable[[], Subject]:
    return lambda: Subject(
        name, f"{name}.step", "(optimizer, grads, learning_rate)", [_steps(make)]
    )


def _clip() -> Subject:
    def ask(clip: Callable[..., Any], bound: float) -> Mapping[str, Array]:
        grads = recurrences.norm_13()
        return {"the norm": _array(clip(grads, bound)), **grads}

    probes = [Probe(f"max_norm {b}", {}, partial(ask, bound=b)) for b in (6.5, 20.0)]
    return Subject("clip_by_global_norm", "clip_by_global_norm", "(grads, max_norm)", probes)


def _schedule() -> Subject:
    def ask(rate_at: Callable[..., Any]) -> Mapping[str, Array]:
        rates = [rate_at(s, 0.9, warmup=3, total=11, floor=0.1) for s in range(14)]
        return {"the learning rate": _array(rates)}

    name = "learning_rate_at"
    return Subject(name, name, _signature(name), [Probe("14 steps", {}, ask)])


def _mask() -> Subject:
    def ask(mask: Callable[..., Any], T: int, S: int) -> Mapping[str, Array]:
        return {"the mask": _array(mask(T, S)) * 1.0}

    probes = [Probe(f"T = {T}, S = {S}", {}, partial(ask, T=T, S=S)) for T, S in ((4, 4), (3, 5))]
    return Subject("causal_mask", "causal_mask", "(T, S)", probes)


def _numbers(name: str, signature: str, *calls: tuple[Any, ...]) -> Callable[[], Subject]:
    """A function that is asked for a few numbers, or for tables of them."""

    def ask(function: Callable[..., Any]) -> Mapping[str, Array]:
        return {f"call {n + 1}": _array(function(*args)) for n, args in enumerate(calls)}

    return lambda: Subject(name.partition(".")[0], name, signature, [Probe("calls", {}, ask)])


def _hidden_tokens() -> Subject:
    def ask(mask_tokens: Callable[..., Any]) -> Mapping[str, Array]:
        rng = np.random.default_rng(9)
        inputs, targets = mask_tokens(recurrences.MANY, rng, *recurrences.MASKING.values())
        return {"the inputs": _array(inputs) * 1.0, "the targets": _array(targets) * 1.0}

    return Subject("mask_tokens", "mask_tokens", _signature("mask_tokens"), [Probe("", {}, ask)])


TRANSLATION = Translation(np.array([5, 4, 6]), 3.0, True)

OTHERS: dict[str, Callable[[], Subject]] = {
    "Adam": _optimizer("Adam", lambda params, **o: optim.Adam(params, 0.5, 0.8, 0.1, **o)),
    "SGD": _optimizer("SGD", lambda params, **o: optim.SGD(params, 0.9, **o)),
    "clip_by_global_norm": _clip,
    "learning_rate_at": _schedule,
    "transformer_rate": _numbers(
        "transformer_rate", "(step, width, warmup)", *((s, 16, 4) for s in range(9))
    ),
    "perplexity": _numbers("perplexity", "(nats, tokens)", (8 * np.log(4), 8), (6.0, 4)),
    "sinusoidal_positions": _numbers(
        "sinusoidal_positions", "(T, C, dtype)", (6, 5, np.float64), (3, 8, np.float64)
    ),
    "mask_tokens": _hidden_tokens,
    "Translation": _numbers(
        "Translation.score", "(translation, length_penalty)", (TRANSLATION, 1.0), (TRANSLATION, 2.0)
    ),
    "causal_mask": _mask,
}
