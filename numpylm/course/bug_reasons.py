"""Why each symptom of a mistake does or does not show it: the answers of find-the-bug, measured."""

import numpy as np

from ..arrays import Array
from ..checks.verdicts import BROKEN
from .bug_symptoms import APART, Symptoms, right_training

SAME = 1e-12  # beyond the rounding of a sum in another order, in float64


def reasons(seen: Symptoms) -> list[str]:
    """A line for each symptom."""
    return [
        f"  loss: {_loss(seen)}.",
        f"  gradients: {_gradients(seen)}.",
        f"  contracts: {_contracts(seen)}.",
        *(f"  check, {line}." for line in _check(seen)),
    ]


# ---- loss ------------------------------------------------------------------------------------


def _loss(seen: Symptoms) -> str:
    trained, right = seen.trained, right_training(seen.met.kind)
    if trained.stopped:
        return f"shows it, for the training stops: {trained.stopped}"
    ends = (
        f"the last 20 steps cost {trained.last:.3f} nats, those of the right code {right.last:.3f}"
    )
    return f"{'shows it' if seen.apart > APART else 'silent'}: {ends}; {_first_step(seen)}"


def _first_step(seen: Symptoms) -> str:
    """How the first batch differs from that of the right code: what the optimizer makes of it."""
    mine, other = seen.trained, right_training(seen.met.kind)
    if mine.first is None or other.first is None:
        return "no step was made"
    if not np.isclose(mine.losses[0], other.losses[0], rtol=SAME):
        return "the forward gives other numbers from the first batch on"
    if np.allclose(mine.first.flat, other.first.flat, rtol=SAME, atol=SAME):
        same = np.allclose(mine.losses, other.losses, rtol=SAME)
        return "no batch meets the mistake" if same else "the first gradient is right, the step not"
    wrong = [
        name
        for name, right in other.first.items()
        if not np.allclose(mine.first[name], right, rtol=SAME, atol=SAME)
    ]
    if all(_is_multiple(mine.first[name], other.first[name]) for name in wrong):
        some = _of(len(wrong), len(other.first))
        return f"{some} get a multiple of their gradient, and Adam divides by its size"
    cosine = _cosine(mine.first.flat, other.first.flat)
    return (
        f"{_of(len(wrong), len(other.first))} get another gradient; the cosine of the whole with "
        f"the right one is {cosine:.2f}"
    )


def _of(n: int, total: int) -> str:
    return f"{n} of {total} arrays"


def _is_multiple(mine: Array, right: Array) -> bool:
    """Whether mine = c right for one c > 0."""
    return bool(_cosine(mine.ravel(), right.ravel()) > 1 - SAME)


def _cosine(a: Array, b: Array) -> float:
    """NaN where one of them is 0 everywhere."""
    with np.errstate(invalid="ignore"):
        return float(a @ b / np.sqrt((a @ a) * (b @ b)))


# ---- gradients, contracts, one function ------------------------------------------------------


def _gradients(seen: Symptoms) -> str:
    if isinstance(seen.gradients, str):
        return f"show it: the check {seen.gradients}"
    if not seen.gradients.passed:
        wrong = [check.name for check in seen.gradients.checks if not check.passed]
        return f"show it: {_of(len(wrong), len(seen.gradients.checks))} contradict the forward"
    if seen.oracles["recurrence"]:
        return "silent: they end before the optimizer, where the mistake is"
    if not seen.met.mutant.changes_backward:
        return "silent: the backward agrees with the forward that is there, right or wrong"
    return "silent: this model and batch do not meet the mistake, or by less than 1e-7"


def _contracts(seen: Symptoms) -> str:
    if isinstance(seen.contracts, str):
        return f"show it: asking {seen.contracts}"
    if broken := [v.contract for v in seen.contracts.verdicts if v.state == BROKEN]:
        return f"show it: {', '.join(broken)} broken"
    if seen.oracles["recurrence"]:
        return "silent: they ask what a model reads and predicts, not how it was trained"
    if seen.met.mutant.changes_forward:
        return "silent: the forward is wrong in a way that breaks none of these promises"
    return "silent: they ask what a model reads and predicts, and the forward is right"


SILENT_WHERE = {  # by oracle, why it may have nothing to say
    "central": "the backward fits the forward that is there, or misses it by less than 1e-7",
    "complex": "the backward fits the forward that is there, to the last digit",
    "adjoint": "the formula written a second time has these slopes",
    "invariants": "no symmetry is broken",
}


def _check(seen: Symptoms) -> list[str]:
    lines = [f"{oracle}: contradicts" for oracle, names in seen.oracles.items() if names]
    if seen.oracles["recurrence"]:
        return lines
    return [
        *lines,
        *(
            f"{oracle}: silent: {why}"
            for oracle, why in SILENT_WHERE.items()
            if not seen.oracles[oracle]
        ),
    ]
