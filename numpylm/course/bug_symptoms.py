"""What find-the-bug shows: a short training with a mistake in it, and what is asked of it.

bug.py is the game, bug_reasons.py its answers. Which mistakes a training meets, and what sees each
of them, is measured here; bug_levels.py keeps what was found.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Array
from ..checks.contracts import (
    cache_changes_nothing,
    causality,
    independence,
    order_is_used,
)
from ..checks.mutants import MUTANTS
from ..checks.mutation import Mutant, applied
from ..checks.oracles import SUBJECTS, all_cases
from ..checks.verdicts import BROKEN, Contracts
from ..gpt import GPT, GPTConfig
from ..gradcheck import check_model
from ..languages import order2
from ..llama import Llama, LlamaConfig
from ..model import Model, Parameters
from ..optim import Adam, clip_by_global_norm, learning_rate_at
from ..sampling import GenerateConfig, generate_ids
from .bug_functions import attempt, contradictions, said

STEPS, BATCH, WARMUP, T, LAYERS = 120, 32, 20, 10, 2
APART = 0.05  # nats between the last losses; equal seeds make equal ones where nothing is wrong
CONTRACTS: tuple[Callable[[Any], Any], ...] = (
    causality,
    independence,
    order_is_used,
    cache_changes_nothing,
)

# ---- a training that is over in a moment -----------------------------------------------------


class Trained(NamedTuple):
    """A short training. It stops early if the mistake breaks it; `stopped` says how.

    first  the gradient of the first batch
    """

    model: Model
    losses: list[float]
    stopped: str
    first: Parameters | None

    @property
    def last(self) -> float:
        """Mean loss of the last 20 steps, in nats."""
        return float(np.mean(self.losses[-20:] or np.nan))


def _model(kind: str, width: int = 12) -> Model:
    V, rng = len(order2().symbols), np.random.default_rng(0)
    if kind == "GPT":
        return GPT(GPTConfig(V, T, layers=LAYERS, heads=2, width=width, init_std=0.1), rng)
    config = LlamaConfig(V, T, layers=LAYERS, heads=2, groups=1, width=width, hidden=width + 2)
    return Llama(config, rng)


@cache
def _sentences() -> Array:
    """(STEPS, BATCH, T + 1) ids: drawn by the language, before any mistake is slipped in."""
    language = order2()
    ids = {symbol: i for i, symbol in enumerate(language.symbols)}
    drawn = language.sample(np.random.default_rng(1), BATCH * STEPS, T + 1)
    sentences = np.array([[ids[symbol] for symbol in sentence] for sentence in drawn])
    return sentences.reshape(STEPS, BATCH, T + 1)


@cache
def entropy() -> float:
    """Of the tokens that are predicted, in nats: what no model can beat."""
    return float(np.mean(order2().entropy_by_position(T + 1)))


def _train(kind: str, steps: int = STEPS) -> Trained:
    """By the code as it now is."""
    model, losses, first = _model(kind).astype(np.float64), list[float](), None
    optimizer = Adam(model.params, weight_decay=0.01)
    try:
        for step, ids in enumerate(_sentences()[:steps]):
            loss, stored = model.loss(ids[:, :-1], ids[:, 1:])
            losses.append(float(loss))
            grads = model.loss_backward(stored)
            first = first or deepcopy(grads)
            clip_by_global_norm(grads, 1.0)
            optimizer.step(grads, learning_rate_at(step, 0.02, WARMUP, STEPS))
    except Exception as error:  # a mistake may lead to any
        return Trained(model, losses, said(error), first)
    return Trained(model, losses, "", first)


@cache
def right_training(kind: str) -> Trained:
    return _train(kind)


# ---- the mistakes that such a training meets -------------------------------------------------


class Met(NamedTuple):
    mutant: Mutant
    kind: str  # the model whose training calls what is mistaken

    @property
    def subjects(self) -> tuple[str, ...]:
        """The ops, models and optimizers by which the mistaken function is checked."""
        return SUBJECTS.get(self.mutant.subject, (self.mutant.subject,))


@cache
def pool() -> tuple[Met, ...]:
    """The mistakes of the registry whose function the training of a GPT or a Llama calls."""
    called = {kind: _called(kind) for kind in ("GPT", "Llama")}
    return tuple(
        Met(mutant, kind)
        for mutant in MUTANTS
        for kind in [next((k for k in called if mutant.target in called[k]), "")]
        if kind
    )


def _called(kind: str) -> set[str]:
    """Which targets of the registry two steps of training call."""
    called: set[str] = set()
    targets = sorted({mutant.target for mutant in MUTANTS})
    spies = [Mutant("", "", "", ((t, partial(_spy, t, called)),)) for t in targets]
    _sentences()
    with applied(*spies):
        _train(kind, steps=2)
    return called


def _spy(target: str, called: set[str], right: Callable[..., Any]) -> Callable[..., Any]:
    def function(*args: Any, **options: Any) -> Any:
        called.add(target)
        return right(*args, **options)

    return function


# ---- what sees a mistake ---------------------------------------------------------------------


@dataclass(frozen=True)
class Symptoms:
    """What each kind of evidence shows of one mistake.

    Each is computed when it is first asked for: the mistake is slipped in, and taken out again
    whatever happens.
    """

    met: Met

    def with_it(self, ask: Callable[[], Any]) -> Any:
        """What `ask` answers while the mistake is slipped in."""
        right_training(self.met.kind)
        all_cases()
        with applied(self.met.mutant), np.errstate(all="ignore"):
            return ask()

    @cached_property
    def trained(self) -> Trained:
        trained: Trained = self.with_it(lambda: _train(self.met.kind))
        return trained

    @cached_property
    def sample(self) -> str:
        model = self.trained.model
        return str(self.with_it(lambda: attempt(lambda: sample_of(model))))

    @cached_property
    def contracts(self) -> Contracts | str:
        model = self.trained.model
        found: Contracts | str = self.with_it(
            lambda: attempt(lambda: Contracts(tuple(ask(model) for ask in CONTRACTS)))
        )
        return found

    @cached_property
    def gradients(self) -> Any:
        """A Report, or in a line why there is none."""
        return self.with_it(lambda: attempt(lambda: _gradients(self.met.kind)))

    @cached_property
    def oracles(self) -> dict[str, list[str]]:
        """What contradicts the mistaken function: by oracle, the questions it failed."""
        found: dict[str, list[str]] = self.with_it(lambda: contradictions(self.met.subjects))
        return found

    @property
    def apart(self) -> float:
        """|last loss − that of the right code|, in nats; infinite if the training stops."""
        if self.trained.stopped or not np.isfinite(self.trained.last):
            return np.inf
        return abs(self.trained.last - right_training(self.met.kind).last)

    @property
    def contracts_show(self) -> bool:
        found = self.contracts
        return isinstance(found, str) or any(v.state == BROKEN for v in found.verdicts)

    @property
    def gradients_show(self) -> bool:
        return isinstance(self.gradients, str) or not self.gradients.passed

    @property
    def central_shows(self) -> bool:
        return self.gradients_show or bool(self.oracles["central"])

    @property
    def silent(self) -> bool:
        """Whether loss, gradient table and contracts show nothing."""
        return not self.gradients_show and self.apart <= APART and not self.contracts_show

    @property
    def model_shows(self) -> bool:
        return self.apart <= APART and (self.gradients_show or self.contracts_show)


class Level(NamedTuple):
    says: str
    holds: Callable[[Symptoms], bool]  # cheap questions first, for many mistakes are asked


LEVELS = {
    1: Level("a sign: the loss shows it", lambda seen: seen.apart > APART),
    2: Level(
        "the loss is silent; the gradients of the model, or a contract, are not",
        lambda seen: seen.model_shows,
    ),
    3: Level(
        "this training is silent; central differences of one function are not",
        lambda seen: seen.silent and seen.central_shows,
    ),
    4: Level(
        "nothing shows it but the complex step, a formula, an invariant or a recurrence",
        lambda seen: not seen.oracles["central"] and seen.silent,
    ),
}


@cache
def symptoms_of(met: Met) -> Symptoms:
    return Symptoms(met)


def sample_of(model: Model) -> str:
    config = GenerateConfig(tokens=40)
    ids = generate_ids(model, [0], config, np.random.default_rng(0)).ids
    return "".join(order2().symbols[i] for i in ids)


def _gradients(kind: str) -> Any:
    """Central differences of a model that has not been trained, array by array."""
    ids = _sentences()[0, :3, :6]
    model = _model(kind, width=4).astype(np.float64)
    return check_model(model, (ids[:, :-1], ids[:, 1:]), methods="central", equal_axes=True)
