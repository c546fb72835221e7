"""Who sees which mistake: four oracles that share no code, and the matrix of their kills.

    central      (f(x + h) − f(x − h))/2h, numbers alone          gradcheck.py
    complex      Im f(x + ih)/h, to the last digits               gradcheck.py
    adjoint      ⟨u, Jv⟩ = ⟨Jᵀu, v⟩, J of the formulas, not of the code      second_formulas.py
    invariants   symmetries, without perturbation                 invariants.py

and for optimizers, which have no gradient, `recurrence`: the same in plain floats (recurrences.py).
A check that cannot fail proves nothing, so each of them must see mistakes that no other sees.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Array
from ..errors import InputError
from ..gradcheck import METHODS, Known
from . import invariants_llama, invariants_models, invariants_objectives  # noqa: F401  enlisted
from .dual_numbers import Dual
from .gradient_cases import OpCase, block_cases, model_cases, op_cases
from .invariants import ALONE, OF_CASES, GradientCase, Invariant, subject_of
from .mutants import MUTANTS
from .mutation import Mutant, applied
from .recurrences import RECURRENCES
from .second_formulas import LOSSES, SECOND_FORMULAS
from .second_formulas_llama import LLAMA_FORMULAS, llama
from .second_formulas_objectives import OBJECTIVE_FORMULAS

ORACLES = (*METHODS, "adjoint", "invariants", "recurrence")

ADJOINT = 1e-12  # of sums of at least 1: both add the same few hundred products of order 1

ALL_FORMULAS = SECOND_FORMULAS | LLAMA_FORMULAS | OBJECTIVE_FORMULAS
ALL_LOSSES = LOSSES | {"Llama": llama}

SUBJECTS = {  # helpers are looked at by way of those who use them
    "check_targets": ("cross_entropy", "nll", "smoothed_cross_entropy"),
    "causal_mask": ("causal_mask", "AttentionLM"),
    "softmax": ("softmax", "attention"),
    "BERT": ("BERTForMaskedLM", "BERTForClass", "BERTForSpan"),
    "_add_norm": ("Transformer",),
    "Optimizer": ("Adam", "SGD"),
    "_turned": ("rotary", "grouped_self_attention"),
    "rotation": ("rotary", "Llama"),
    "_scores": ("online_attention",),
    "_stack": ("grouped_query",),
    "rotated_qkv": ("grouped_self_attention",),
}


@cache
def all_cases() -> tuple[GradientCase, ...]:
    """Made once, by the right code, before any mistake is slipped in."""
    return (*op_cases(), *block_cases(), *model_cases())


# ---- the oracles: what each has to say against the code as it now is --------------------------


def numeric(case: GradientCase, method: str, known: Known | None = None) -> bool:
    """Whether the central difference or the complex step contradicts a gradient of the case."""
    return not case.check(methods=[method], known=known, until_wrong=True).passed


class MissingCheckError(InputError):
    """There is nothing that the code could be held to."""


def _second(formulas: Mapping[str, Callable[..., Any]], subject: str) -> Callable[..., Any]:
    """The second formula of an op or model. Raises MissingCheckError where there is none."""
    if subject not in formulas:
        raise MissingCheckError(
            f"the check is missing: {subject} has no second formula to be held to; write one "
            "beside those of second_formulas.py, and add it to ALL_FORMULAS or ALL_LOSSES"
        )
    return formulas[subject]


def adjoint(case: GradientCase) -> bool:
    """Whether ⟨u, J v⟩ ≠ ⟨Jᵀu, v⟩ for random u and v: one number for a model, one for each array
    of an op."""
    rng = np.random.default_rng(12)
    if not isinstance(case, OpCase):
        params = case.model.params
        _, stored = case.model.loss(*deepcopy(case.batch))
        grads = case.model.loss_backward(stored)
        v = {name: rng.normal(size=x.shape) for name, x in params.items()}
        moved = {name: Dual(x, v[name]) for name, x in params.items()}
        loss = _second(ALL_LOSSES, subject_of(case))(
            moved, case.model.config, *deepcopy(case.batch)
        )
        return _differ(loss.slope, [grads[name] * v[name] for name in params])
    places = [i for i, arg in enumerate(case.args) if _is_float(arg)]
    y, stored = case.forward(*deepcopy(case.args))
    u = rng.normal(size=np.shape(y))[()]
    answer = case.backward(deepcopy(u), stored)
    parts = [dx for dx in (answer if isinstance(answer, tuple) else (answer,)) if dx is not None]
    for i, dx in zip(places, parts, strict=True):
        v_i = rng.normal(size=np.shape(case.args[i]))
        args: list[Any] = [
            Dual(arg, v_i if i == j else None) if j in places else deepcopy(arg)
            for j, arg in enumerate(case.args)
        ]
        if np.shape(dx) != v_i.shape or _differ(
            u * _second(ALL_FORMULAS, case.op)(*args).slope, [dx * v_i]
        ):
            return True
    return False


def _differ(left: Array, right: list[Array]) -> bool:
    """Whether two sums differ by more than rounding; said so that nan differs."""
    size = np.abs(left).sum() + sum(np.abs(part).sum() for part in right) + 1.0
    return not abs(np.sum(left) - sum(part.sum() for part in right)) <= ADJOINT * size


def _is_float(arg: Any) -> bool:
    return isinstance(arg, np.ndarray) and arg.dtype.kind == "f"


# ---- all checks ------------------------------------------------------------------------------


class Question(NamedTuple):
    """One question to the code as it now is, and who asks it."""

    oracle: str
    name: str
    contradicts: Callable[[], bool]

    def fails(self) -> bool:
        """An error counts as well: code that does not even run is seen.

        Raises MissingCheckError where there is no second formula: that says nothing of the code.
        """
        try:
            with np.errstate(all="ignore"):
                return self.contradicts()
        except MissingCheckError:
            raise
        except Exception:  # a mistake may lead to any
            return True


def checks(subjects: Iterable[str], memory: dict[str, Known] | None = None) -> Iterator[Question]:
    """Every check of these ops, models and optimizers.

    memory keeps numerical gradients for the next call; give it while no forward is changed. Without
    it they are computed anew, for the smallest case of each model alone: the others take minutes.
    """
    subjects = set(subjects)
    smallest = {
        subject_of(case): case.name for case in sorted(all_cases(), key=_size, reverse=True)
    }
    for case in all_cases():
        if (subject := subject_of(case)) not in subjects:
            continue
        if isinstance(case, OpCase) or memory is not None or smallest[subject] == case.name:
            known = {} if memory is None else memory.setdefault(case.name, {})
            for method in METHODS:
                yield Question(method, case.name, partial(numeric, case, method, known))
        yield Question("adjoint", case.name, partial(adjoint, case))
        for invariant in OF_CASES:
            if invariant.subject == subject or (isinstance(case, OpCase) and not invariant.subject):
                name = f"{case.name}: {invariant.claim}"
                yield Question("invariants", name, partial(invariant.broken, case))
    for invariant in ALONE:
        if invariant.subject in subjects:
            yield Question("invariants", invariant.claim, invariant.broken)
    for name, pairs in RECURRENCES.items():
        if name in subjects:
            yield Question("recurrence", name, Invariant(name, pairs).broken)


def _size(case: GradientCase) -> int:
    return 0 if isinstance(case, OpCase) else case.model.params.flat.size


def all_subjects() -> set[str]:
    """Every op, model and optimizer that is looked at."""
    alone = {invariant.subject for invariant in ALONE}
    return {subject_of(case) for case in all_cases()} | alone | set(RECURRENCES)


# ---- the matrix ------------------------------------------------------------------------------

Sightings = dict[str, list[str]]  # by oracle, the names of the checks that failed


@dataclass(frozen=True)
class Kills:
    """One mutant and who saw it."""

    mutant: Mutant
    seen: Sightings

    @property
    def killers(self) -> tuple[str, ...]:
        return tuple(oracle for oracle in ORACLES if self.seen[oracle])

    def __str__(self) -> str:
        marks = ("x" if oracle in self.killers else "." for oracle in ORACLES)
        columns = (f"{mark:>{len(o) + 2}}" for mark, o in zip(marks, ORACLES, strict=True))
        return f"{str(self.mutant)[:NAME]:<{NAME}}{''.join(columns)}"


NAME = 48  # columns of a mutant's name; with the oracles' names, a row has less than 100

MEMORY: dict[str, Known] = {}  # numerical gradients of the right code


def try_mutant(mutant: Mutant) -> Kills:
    """Slip the mutant in, and let every check of its subject look."""
    subjects = SUBJECTS.get(mutant.subject, (mutant.subject,))
    seen: Sightings = {oracle: [] for oracle in ORACLES}
    all_cases()  # by the right code
    with applied(mutant):
        for check in checks(subjects, None if mutant.changes_forward else MEMORY):
            if check.fails():
                seen[check.oracle].append(check.name)
    return Kills(mutant, seen)


def kill_matrix(mutants: Iterable[Mutant] = MUTANTS) -> Iterator[Kills]:
    """A row for each mutant, one after another, so that a table can grow while it is computed."""
    return map(try_mutant, mutants)


def heading() -> str:
    return f"{'mutant':<{NAME}}" + "".join(f"  {oracle}" for oracle in ORACLES)


def closing(rows: list[Kills]) -> str:
    """How many were killed, and how many by one oracle alone."""
    alone = {oracle: sum(row.killers == (oracle,) for row in rows) for oracle in ORACLES}
    survivors = [str(row.mutant) for row in rows if not row.killers]
    words = ", ".join(f"{oracle} {count}" for oracle, count in alone.items())
    lines = [
        f"{len(rows)} mutants: {len(rows) - len(survivors)} killed, {len(survivors)} survive",
        f"killed by one oracle alone: {words}",
        *(f"SURVIVES  {name}" for name in survivors),
    ]
    return "\n".join(lines)
