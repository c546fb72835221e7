"""What must hold exactly, whatever the numbers: an oracle that perturbs nothing.

Each invariant yields pairs that must be equal, left and right: a symmetry of the forward makes an
identity of the gradient. They need no second evaluation nearby, so they also look where numerical
gradients cannot: at scores of ±10000, at infinite masks, at float32, at texts of length 1.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import ops
from ..ops import IGNORE
from .gradient_cases import ModelCase, OpCase

Pairs = Iterator[tuple[Any, Any]]
GradientCase = OpCase | ModelCase


def subject_of(case: GradientCase) -> str:
    """The name of an op, or of the class of a model of the library."""
    if isinstance(case, OpCase):
        return case.op
    kinds = [kind for kind in type(case.model).__mro__ if not kind.__name__.startswith("_")]
    return kinds[0].__name__


ROUNDING = 1e-11  # a few hundred float64 operations on numbers of order 1 to 10


@dataclass(frozen=True)
class Invariant:
    """`pairs(case)` or `pairs()` of what must be equal; `subject` is the op or model it is about,
    or "" if about every op that has a backward."""

    subject: str
    pairs: Callable[..., Pairs]

    @property
    def claim(self) -> str:
        return self.pairs.__name__.replace("_", " ")

    def broken(self, *case: Any) -> bool:
        return not all(equal(left, right) for left, right in self.pairs(*case))


def equal(left: Any, right: Any) -> bool:
    """Equal but for rounding; nan equals nothing."""
    size = max(1.0, float(np.max(np.abs(right), initial=0.0)))
    return np.shape(left) == np.shape(right) and bool(
        np.all(np.abs(np.subtract(left, right)) <= ROUNDING * size)
    )


OF_CASES: list[Invariant] = []  # about every case of a subject
ALONE: list[Invariant] = []  # bring their own numbers


def of_cases(*subjects: str) -> Callable[..., Any]:
    """Enlist a function that yields pairs of a case."""

    def enlist(pairs: Callable[..., Pairs]) -> Callable[..., Pairs]:
        OF_CASES.extend(Invariant(subject, pairs) for subject in subjects)
        return pairs

    return enlist


def alone(*subjects: str) -> Callable[..., Any]:
    """Enlist a function that yields pairs of its own numbers."""

    def enlist(pairs: Callable[..., Pairs]) -> Callable[..., Pairs]:
        ALONE.extend(Invariant(subject, pairs) for subject in subjects)
        return pairs

    return enlist


# ---- every op --------------------------------------------------------------------------------


def run(case: OpCase, dy: Any = None) -> tuple[Any, tuple[Any, ...], Any]:
    """y, the gradients, and the upstream gradient (random, unless given)."""
    y, cache = case.forward(*deepcopy(case.args))
    if dy is None:
        dy = np.random.default_rng(7).normal(size=np.shape(y))[()]
    answer = case.backward(deepcopy(dy), cache)
    return y, answer if isinstance(answer, tuple) else (answer,), dy


@of_cases("")
def a_backward_is_linear_in_the_upstream_gradient(case: OpCase) -> Pairs:
    y, first, u = run(case)
    other = np.random.default_rng(8).normal(size=np.shape(y))[()]
    _, second, _ = run(case, other)
    _, both, _ = run(case, u - 3 * other)
    for a, b, c in zip(first, second, both, strict=True):
        if a is not None:
            yield c, a - 3 * b


@of_cases("")
def an_absent_argument_has_no_gradient(case: OpCase) -> Pairs:
    _, grads, _ = run(case)
    given = [arg for arg in case.args if isinstance(arg, np.ndarray) and arg.dtype.kind == "f"]
    yield sum(dx is not None for dx in grads), len(given)


@of_cases("")
def float32_stays_float32(case: OpCase) -> Pairs:
    def small(x: Any) -> Any:
        return x.astype(np.float32) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x

    y, cache = case.forward(*map(small, deepcopy(case.args)))
    answer = case.backward(small(np.random.default_rng(7).normal(size=np.shape(y))), cache)
    parts = answer if isinstance(answer, tuple) else (answer,)
    yield (
        [np.asarray(part).dtype.itemsize for part in (y, *parts) if part is not None],
        [4] * (1 + sum(part is not None for part in parts)),
    )


@of_cases("embedding", "output", "relu", "dropout", "positions", "linear")
def a_linear_map_times_its_argument_is_its_result(case: OpCase) -> Pairs:
    """y linear in x   =>   Σ x dx = Σ y dy   (linear in each of two arguments: in each)"""
    y, grads, dy = run(case)
    given = [arg for arg in case.args if isinstance(arg, np.ndarray) and arg.dtype.kind == "f"]
    products = [np.sum(x * dx) for x, dx in zip(given, grads, strict=False)]
    if case.op == "positions":
        yield sum(products), np.sum(y * dy)
    elif case.op == "linear":  # Σ x dx = Σ w dw, and with the bias the whole of y
        yield products[0], products[1]
        yield products[0] + sum(products[2:]), np.sum(y * dy)
    else:
        for product in products:
            yield product, np.sum(y * dy)


# ---- softmax and attention -------------------------------------------------------------------


@of_cases("softmax")
def each_row_of_ds_sums_to_0(case: OpCase) -> Pairs:
    _, (ds,), _ = run(case)
    yield ds.sum(axis=-1), np.zeros(ds.shape[:-1])


@of_cases("softmax")
def a_uniform_upstream_gradient_moves_nothing(case: OpCase) -> Pairs:
    y, (ds,), _ = run(case, np.ones(case.args[0].shape))
    yield ds, np.zeros_like(y)


@of_cases("softmax")
def the_jacobian_is_symmetric(case: OpCase) -> Pairs:
    u, v = np.random.default_rng(9).normal(size=(2, *case.args[0].shape))
    yield np.sum(v * run(case, u)[1][0], axis=-1), np.sum(u * run(case, v)[1][0], axis=-1)


EXTREME = np.array([[1e4, -1e4, 3.0], [-1e4, -1e4, -1e4], [2e4, 2e4, 0.0]])
ALLOWED = np.array([[False, True, True], [True, True, True], [False, False, False]])


@alone("softmax")
def extreme_scores_have_exact_weights() -> Pairs:
    """exp(±20000) is beyond every float, and e^-10003 is 0 in all of them."""
    a, _ = ops.softmax_forward(EXTREME)
    yield a, np.array([[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [1 / 2, 1 / 2, 0]])
    masked, cache = ops.softmax_forward(EXTREME, ALLOWED)
    yield masked, np.array([[0, 0, 1], [1 / 3, 1 / 3, 1 / 3], [0, 0, 0]])
    ds = ops.softmax_backward(np.arange(9.0).reshape(3, 3), cache)
    yield ds, np.array([[0, 0, 0], [-1 / 3, 0, 1 / 3], [0, 0, 0]])


@alone("softmax")
def one_key_has_weight_1_and_no_gradient() -> Pairs:
    for score in (0.3, 1e4, -1e4):
        a, cache = ops.softmax_forward(np.array([[score]]))
        yield a, np.ones((1, 1))
        yield ops.softmax_backward(np.array([[5.0]]), cache), np.zeros((1, 1))


@of_cases("attention", "multi_head")
def a_shift_of_all_keys_moves_nothing(case: OpCase) -> Pairs:
    """q·(k + t) differs from q·k by the same for every key   =>   Σ_j dk_j = 0"""
    _, (_, dk, _), _ = run(case)
    yield dk.sum(axis=-2), np.zeros(dk.shape[:-2] + dk.shape[-1:])


@of_cases("attention", "multi_head")
def a_shift_of_all_values_shifts_the_result(case: OpCase) -> Pairs:
    """Σ_j a_ij = 1   =>   Σ_j dv_j = Σ_i dc_i, over the queries that may look at something"""
    y, (_, _, dv), dc = run(case)
    sees = np.any(y != 0, axis=-1, keepdims=True)
    yield dv.sum(axis=-2), (dc * sees).sum(axis=-2)


@of_cases("attention", "multi_head")
def queries_times_t_and_keys_by_t_are_the_same(case: OpCase) -> Pairs:
    """=>   Σ q dq = Σ k dk, for every sample"""
    _, (dq, dk, _), _ = run(case)
    q, k = case.args[:2]
    yield np.sum(q * dq, axis=(-2, -1)), np.sum(k * dk, axis=(-2, -1))


@of_cases("attention")
def queries_and_keys_turned_together_are_the_same(case: OpCase) -> Pairs:
    """q_i·k_j does not see a rotation   =>   qᵀdq + kᵀdk is symmetric"""
    _, (dq, dk, _), _ = run(case)
    q, k = case.args[:2]
    turn = q.swapaxes(-1, -2) @ dq + k.swapaxes(-1, -2) @ dk
    yield turn, turn.swapaxes(-1, -2)


@of_cases("multi_head")
def heads_in_another_order_are_the_same(case: OpCase) -> Pairs:
    q, k, v, heads, *mask = case.args
    columns = np.roll(np.arange(q.shape[-1]), q.shape[-1] // heads)
    y, grads, dc = run(case)
    turned = case._replace(args=(q[..., columns], k[..., columns], v[..., columns], heads, *mask))
    y_turned, grads_turned, _ = run(turned, dc[..., columns])
    yield y_turned, y[..., columns]
    for dx, dx_turned in zip(grads, grads_turned, strict=True):
        yield dx_turned, dx[..., columns]


@of_cases("attention", "multi_head")
def samples_do_not_meet(case: OpCase) -> Pairs:
    arrays, rest = case.args[:3], case.args[3:]
    _, grads, dc = run(case)
    _, alone, _ = run(case._replace(args=(*(x[:1] for x in arrays), *rest)), dc[:1])
    for dx, dx_alone in zip(grads, alone, strict=True):
        yield dx[:1], dx_alone


@alone("causal_mask")
def nobody_looks_at_the_future() -> Pairs:
    """A key gets nothing from queries before it, however large its score; with a past likewise."""
    rng = np.random.default_rng(10)
    for T, S in ((4, 4), (3, 5), (1, 1), (1, 6)):
        q, k, v = 1e4 * rng.normal(size=(T, 2)), rng.normal(size=(S, 2)), rng.normal(size=(S, 3))
        c, cache = ops.attention_forward(q, k, v, ops.causal_mask(T, S))
        for i in range(T):
            dc = np.zeros_like(c)
            dc[i] = 1.0
            _, dk, dv = ops.attention_backward(dc, cache)
            late = S - T + i + 1
            yield np.append(dk[late:], dv[late:]), np.zeros(5 * (S - late))
            yield cache.a[i, :late].sum(), 1.0
            yield (
                np.any(ops.causal_mask(T, S)[i, :late]) == np.all(ops.causal_mask(T, S)[i, :late]),
                1,
            )


# ---- the other ops ---------------------------------------------------------------------------


@of_cases("embedding")
def no_gradient_gets_lost_among_the_words(case: OpCase) -> Pairs:
    """Each occurrence adds to one row   =>   Σ_w dtable_w = Σ_i de_i, and 0 for absent words"""
    _, (dtable,), de = run(case)
    ids = case.args[1]
    yield dtable.sum(axis=0), de.reshape(-1, de.shape[-1]).sum(axis=0)
    absent = np.setdiff1d(np.arange(len(dtable)), ids)
    yield dtable[absent], np.zeros((len(absent), dtable.shape[1]))


@of_cases("cross_entropy", "smoothed_cross_entropy")
def each_row_of_dlogits_sums_to_0(case: OpCase) -> Pairs:
    _, (dlogits,), _ = run(case)
    yield dlogits.sum(axis=-1), np.zeros(dlogits.shape[:-1])


@of_cases("cross_entropy", "nll", "smoothed_cross_entropy")
def an_ignored_target_teaches_nothing(case: OpCase) -> Pairs:
    _, (dlogits,), _ = run(case)
    ignored = dlogits[case.args[1] == IGNORE]
    yield ignored, np.zeros_like(ignored)


@of_cases("cross_entropy", "nll", "smoothed_cross_entropy")
def an_ignored_row_is_as_good_as_none(case: OpCase) -> Pairs:
    """The same loss and gradient if it is left out."""
    scores, targets, *rest = case.args
    counted = targets != IGNORE
    loss, (dx,), dL = run(case)
    fewer, (dx_fewer,), _ = run(case._replace(args=(scores[counted], targets[counted], *rest)), dL)
    yield loss, fewer
    yield dx[counted], dx_fewer


@alone("cross_entropy")
def extreme_logits_have_exact_losses() -> Pairs:
    z = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]])
    loss, cache = ops.cross_entropy_forward(z, np.array([1, 2]))
    yield loss, (2e4 + np.log(3)) / 2
    yield (
        ops.cross_entropy_backward(1.0, cache),
        np.array([[0.5, -0.5, 0], [1 / 6, 1 / 6, -1 / 3]]),
    )


@of_cases("layer_norm")
def a_shift_of_a_row_moves_nothing(case: OpCase) -> Pairs:
    _, (dx, *_), _ = run(case)
    yield dx.sum(axis=-1), np.zeros(dx.shape[:-1])


@of_cases("layer_norm")
def the_scale_of_a_row_moves_nothing(case: OpCase) -> Pairs:
    """With ε = 0, norm(t x) = norm(x)   =>   Σ_c x_c dx_c = 0"""
    x, gain = case.args[:2]
    _, (dx, *_), _ = run(case._replace(args=(x, gain, None, 0.0)))
    yield np.sum(x * dx, axis=-1), np.zeros(x.shape[:-1])


@of_cases("layer_norm")
def gain_and_bias_are_a_linear_map(case: OpCase) -> Pairs:
    y, (_, *dw), dy = run(case)
    weights = [w for w in case.args[1:3] if w is not None]
    products = [np.sum(w * g) for w, g in zip(weights, dw, strict=False)]
    yield sum(products), np.sum(y * dy)


@of_cases("gelu", "gelu_exact", "relu")
def y_of_x_minus_y_of_minus_x_is_x(case: OpCase) -> Pairs:
    """=>   the slopes at x and −x add up to 1"""
    (x,) = case.args
    up, (dx,), dy = run(case)
    down, (dx_down,), _ = run(case._replace(args=(-x,)), dy)
    yield up - down, x
    yield dx + dx_down, dy


@alone("gelu", "gelu_exact")
def far_from_0_it_is_0_or_x() -> Pairs:
    x = np.array([-1e4, -50.0, 50.0, 1e4])
    for name in ("gelu", "gelu_exact"):
        y, cache = getattr(ops, f"{name}_forward")(x)
        yield y, np.array([0, 0, 50, 1e4])
        yield getattr(ops, f"{name}_backward")(np.ones(4), cache), np.array([0, 0, 1, 1])


@of_cases("dropout")
def dropout_keeps_the_mean(case: OpCase) -> Pairs:
    """m is 0 or 1/(1 − rate), and the backward has the m of the forward."""
    x, rate, rng = case.args
    y, (dx,), dy = run(case)
    m = y / x
    yield m * (m - (1 if rng is None else 1 / (1 - rate))), np.zeros_like(x)
    yield dx, m * dy


@of_cases("positions")
def each_text_moves_the_positions(case: OpCase) -> Pairs:
    """dtable_t = Σ_b dy_bt at the first T rows"""
    _, (de, dtable), dy = run(case)
    yield dtable[: dy.shape[1]], dy.sum(axis=0)
    yield de, dy


# ---- blocks ----------------------------------------------------------------------------------


@of_cases("self_attention")
def the_bias_of_the_keys_has_no_gradient(case: OpCase) -> Pairs:
    _, grads, _ = run(case)
    if grads[2] is not None:
        yield np.split(grads[2], 3)[1], np.zeros(len(grads[2]) // 3)


@of_cases("cross_attention")
def nor_has_that_of_the_memory(case: OpCase) -> Pairs:
    _, grads, _ = run(case)
    if grads[5] is not None:
        yield np.split(grads[5], 2)[0], np.zeros(len(grads[5]) // 2)


@of_cases("self_attention", "cross_attention")
def the_bias_of_the_values_passes_the_attention(case: OpCase) -> Pairs:
    """Σ_j a_ij = 1   =>   db_v = w_out db_out"""
    _, grads, _ = run(case)
    w_out, db, db_out = (
        (case.args[3], grads[2], grads[4])
        if case.op == "self_attention"
        else (case.args[6], grads[5], grads[7])
    )
    if db is not None:
        yield db[-len(w_out) :], w_out @ db_out


@of_cases("self_attention", "cross_attention", "feed_forward")
def what_enters_a_matrix_equals_what_is_learnt_by_it(case: OpCase) -> Pairs:
    """x only in x w   =>   Σ x dx = Σ w dw"""
    _, grads, _ = run(case)
    pairs = [(0, 2), (1, 4)] if case.op == "cross_attention" else [(0, 1)]
    for x, w in pairs:
        yield np.sum(case.args[x] * grads[x]), np.sum(case.args[w] * grads[w])
