"""What `diagnose` asks of a reader's function: the same questions as of the library's own.

A probe is one call: a fixed upstream gradient and the cache of the right forward for a backward, a
dozen steps for an optimizer. Its answer is arrays by name, so that answers can be compared.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy, deepcopy
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from .. import optim
from ..arrays import Array
from ..callables import argument_names
from ..errors import InputError
from ..model import Model
from ..translate import Translation
from . import recurrences
from .diagnose_sizes import cache_names, other_cases, other_model, sizes_of
from .gradient_cases import ModelCase, OpCase, block_cases, model_cases, op_cases
from .invariants import ALLOWED, EXTREME, subject_of
from .mutation import find
from .raised import NOTHING, raised

OF_MODEL = "(model, dlogits, cache)"  # how the backward of a model is called


class ReturnedNothingError(TypeError):
    """The function returned None."""


class Failure(NamedTuple):
    """The answer of a function that raised: what, and where in the reader's code."""

    kind: str
    message: str = ""


class Probe(NamedTuple):
    """One question: its name, the sizes that may turn up as factors, and how it is asked.

    Where the function is called but once, `args` are what it is called with, `parts` the names of
    what the last of them, the cache, holds, and `read` makes arrays by name of what it returns.
    """

    name: str
    sizes: Mapping[str, int]
    ask: Callable[[Callable[..., Any]], Mapping[str, Array]]
    signature: str = ""
    args: tuple[Any, ...] = ()
    parts: tuple[str, ...] = ()
    read: Callable[[Any], Mapping[str, Array]] = dict

    def answer(self, function: Callable[..., Any]) -> Mapping[str, Array] | Failure:
        try:
            with np.errstate(all="ignore"):
                return self.ask(function)
        except Exception as error:  # a mistake may lead to any
            kind = type(error).__name__
            if isinstance(error, ReturnedNothingError | NotRealError):
                return Failure(kind, str(error))
            return Failure(kind, raised(error, f"f{self.signature}" if self.signature else ""))


class NotRealError(TypeError):
    """The function returned something that is not an array of real numbers."""


@contextmanager
def fresh(args: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """The arguments to do anything with: copies, and a model whose parameters are put back."""
    models = [arg for arg in args if isinstance(arg, Model)]
    before = [model.params.flat.copy() for model in models]
    try:
        yield tuple(copy(arg) if isinstance(arg, Model) else deepcopy(arg) for arg in args)
    finally:
        for model, flat in zip(models, before, strict=True):
            model.params.flat[...] = flat


def calling(
    name: str,
    sizes: Mapping[str, int],
    args: tuple[Any, ...],
    read: Callable[[Any], Mapping[str, Array]],
    signature: str,
    parts: Iterable[str] = (),
) -> Probe:
    """A probe that is one call."""

    def ask(function: Callable[..., Any]) -> Mapping[str, Array]:
        with fresh(args) as mine:
            return {name: np.array(x) for name, x in read(function(*mine)).items()}

    return Probe(name, sizes, ask, signature, args, tuple(parts), read)


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
        cases = _op_cases(op)
        probes = [_backward_probe(case) for case in (*cases, *other_cases(cases))]
        return Subject(op, f"{op}_backward", "(dy, cache)", probes)
    if name.removesuffix("_forward") in ops:
        op = name.removesuffix("_forward")
        cases = _op_cases(op)
        probes = [*map(_forward_probe, (*cases, *other_cases(cases))), *_extreme_probes(op)]
        return Subject(name, f"{op}_forward", f"{_signature(name)}", probes)
    model, _, method = name.partition(".")
    if model in models and method in ("", "backward"):
        cases_of_model = _model_cases(model)
        other = other_model(cases_of_model[0])
        probes = [_model_probe(case) for case in (*cases_of_model, *([other] if other else []))]
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


def _backward_probe(case: OpCase) -> Probe:
    places = [i for i, arg in enumerate(case.args) if isinstance(arg, np.ndarray)]
    places = [i for i in places if case.args[i].dtype.kind == "f"]
    names = ["d" + name for name in argument_names(case.forward, places)]
    y, stored = case.forward(*deepcopy(case.args))
    dy = np.random.default_rng(14).normal(size=np.shape(y))[()]
    if case.variant == "other sizes":
        dy = -dy  # so that a loss, which has but one number above it, is asked with both signs
    parts = cache_names(case.backward, stored)
    read = partial(by_name, names=names)
    return calling(
        case.name,
        sizes_of(case),
        (dy, stored),
        read,
        f"(dy, cache), like {case.op}_backward",
        parts,
    )


def by_name(answer: Any, names: list[str]) -> Mapping[str, Array]:
    """What a backward returned, by name; by number where there are too many or too few."""
    if answer is None:
        raise ReturnedNothingError(NOTHING)
    if isinstance(answer, Mapping):
        return {_name(key, names): _array(dx) for key, dx in answer.items() if dx is not None}
    several = answer if isinstance(answer, tuple | list) else (answer,)
    if isinstance(answer, list) and len(names) == 1:  # the one gradient, as a list of rows
        several = (answer,)
    parts = [_array(dx) for dx in several if dx is not None]
    if len(parts) != len(names):
        names = [f"number {i + 1}" for i in range(len(parts))]
    return dict(zip(names, parts, strict=True))


def _name(key: Any, names: list[str]) -> str:
    """ "dq" for "dq", "q", "grad_q" and "d_q"."""
    plain = str(key).removeprefix("grad_").removeprefix("d_")
    for name in (str(key), "d" + plain, plain):
        if name in names:
            return name
    return str(key)


def _array(x: Any) -> Array:
    try:
        x = np.asarray(x)
    except (ValueError, TypeError):
        raise NotRealError("a gradient is an array; rows of different lengths are none") from None
    if x.dtype.kind not in "biuf":
        what = "complex numbers" if x.dtype.kind == "c" else f"{x.dtype}"
        raise NotRealError(f"a gradient is an array of real numbers, not of {what}")
    result: Array = x
    return result


def _forward_probe(case: OpCase) -> Probe:
    def read(answer: Any) -> Mapping[str, Array]:
        if answer is None:
            raise ReturnedNothingError(NOTHING)
        return {"y": _array(answer[0] if isinstance(answer, tuple) else answer)}

    signature = _signature(f"{case.op}_forward")
    return calling(case.name, sizes_of(case), case.args, read, signature)


def _extreme_probes(op: str) -> list[Probe]:
    cases: dict[str, list[tuple[Any, ...]]] = {
        "softmax": [(EXTREME, ALLOWED), (EXTREME,)],
        "cross_entropy": [(EXTREME, np.array([1, 2, 0]))],
        "preference": [(np.array([1e4, -1e4]), np.zeros(2), [0.0, 0.0], [0.0, 0.0], 1.0)],
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
    asked: list[tuple[Any, ...]] = []

    def record(*args: Any) -> Any:
        asked.append(args)
        return type(model).backward(model, *args)

    model = copy(case.model)
    model.backward = record  # type: ignore[method-assign,assignment]
    model.loss_backward(stored)
    read = partial(by_name, names=list(case.model.params))
    name = type(case.model).__name__
    signature = f"{OF_MODEL}, like {name}.backward"
    return calling(case.name, _batch_sizes(case), (case.model, *asked[0]), read, signature)


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


def _clocks() -> Subject:
    def ask(rotation: Callable[..., Any], positions: Array, D: int) -> Mapping[str, Array]:
        turn = rotation(positions, D, dtype=np.float64)
        return {"cos": _array(turn.cos), "sin": _array(turn.sin)}

    calls = [(np.arange(5), 6), (np.array([[2, 0], [7, 3]]), 4)]
    probes = [Probe(f"D = {D}", {}, partial(ask, positions=t, D=D)) for t, D in calls]
    return Subject("rotation", "rotation", _signature("rotation"), probes)


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


def _answers() -> Subject:
    def ask(targets: Callable[..., Any], texts: Any, prompts: Any) -> Mapping[str, Array]:
        return {"the targets": _array(targets(texts, prompts, 0)) * 1.0}

    calls = [(recurrences.PROMPTED, [2, 1, 3]), (recurrences.PROMPTED[:1], 1)]
    probes = [Probe(f"{len(t)} texts", {}, partial(ask, texts=t, prompts=s)) for t, s in calls]
    return Subject("answer_targets", "answer_targets", "(ids, prompts, padding)", probes)


def _best() -> Subject:
    def ask(best: Callable[..., Any], beta: float) -> Mapping[str, Array]:
        logp, value = best(np.log([[0.2, 0.8], [0.5, 0.5]]), [[1.0, 0.3], [0.0, 2.0]], beta)
        return {"the log-probabilities": _array(logp), "the value": _array(value)}

    probes = [Probe(f"β = {beta}", {}, partial(ask, beta=beta)) for beta in (0.4, 2.0)]
    return Subject("best_policy", "best_policy", "(reference, rewards, beta)", probes)


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
    "rotation": _clocks,
    "answer_targets": _answers,
    "group_advantages": _numbers(
        "group_advantages",
        "(rewards, baseline, deviation)",
        *((recurrences.REWARDS, *how) for how in ((), ("group",), ("none",), ("group", True))),
    ),
    "best_policy": _best,
}
