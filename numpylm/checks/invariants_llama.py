"""The invariants of Llama's parts, and of attention in blocks: see invariants.py."""

from copy import deepcopy

import numpy as np

from .. import blocks, blockwise_attention, llama_blocks, ops
from .gradient_cases import OpCase
from .invariants import Pairs, alone, of_cases, run


@of_cases("rms_norm")
def what_eps_leaves_of_the_scale_of_a_row(case: OpCase) -> Pairs:
    """x·dx = (dy∘gain)·x ε/(mean(x²) + ε)^(3/2), which is 0 for ε = 0: norm(t x) = norm(x)"""
    x, gain = case.args[:2]
    for eps in (0.0, 1e-5, 0.5):
        y, (dx, _), dy = run(case._replace(args=(x, gain, eps)))
        size = np.mean(x * x, axis=-1) + eps
        yield np.sum(x * dx, axis=-1), np.sum(dy * gain * x, axis=-1) * eps / size**1.5
        longer, _ = llama_blocks.rms_norm_forward(3 * x, gain, 9 * eps)
        yield longer, y


@of_cases("rms_norm")
def the_gain_is_a_linear_map(case: OpCase) -> Pairs:
    y, (_, dgain), dy = run(case)
    yield np.sum(case.args[1] * dgain), np.sum(y * dy)


@of_cases("rotary")
def a_rotation_keeps_lengths(case: OpCase) -> Pairs:
    """Its transpose is its inverse: the backward, asked for y, gives x."""
    y, (dx,), dy = run(case)
    yield np.sum(y * y, axis=-1), np.sum(case.args[0] ** 2, axis=-1)
    yield np.sum(dx * dx, axis=-1), np.sum(dy * dy, axis=-1)
    _, (x,), _ = run(case, y)
    yield x, case.args[0]


@alone("rotary")
def scores_depend_on_the_distance_alone() -> Pairs:
    """q_i·k_j of turned queries and keys is the same wherever i and j stand, i − j being given."""
    q, k = np.random.default_rng(21).normal(size=(2, 1, 6))
    for interleaved in (False, True):
        scores = []
        for start in (0, 5, 1000):
            places = np.arange(start, start + 4)
            turn = llama_blocks.rotation(places, 6, 100.0, np.float64)
            q_turned, k_turned = (
                llama_blocks.rotary_forward(np.repeat(x, 4, axis=0), turn, interleaved)[0]
                for x in (q, k)
            )
            scores.append(q_turned @ k_turned.T)
        yield scores[1], scores[0]
        yield scores[2], scores[0]
        yield np.diag(scores[0], -1), np.full(3, scores[0][1, 0])


@alone("rotary")
def the_first_pair_turns_by_one_radian_a_token() -> Pairs:
    turn = llama_blocks.rotation(np.arange(4), 4, 100.0, np.float64)
    angle = np.array([[0.0, 0.0], [1.0, 0.1], [2.0, 0.2], [3.0, 0.3]])
    yield turn.cos, np.cos(angle)
    yield turn.sin, np.sin(angle)


@of_cases("silu")
def the_slopes_at_x_and_minus_x_add_up_to_1(case: OpCase) -> Pairs:
    """silu(x) − silu(−x) = x"""
    (x,) = case.args
    up, (dx,), dy = run(case)
    down, (dx_down,), _ = run(case._replace(args=(-x,)), dy)
    yield up - down, x
    yield dx + dx_down, dy


@alone("silu")
def far_from_0_silu_is_0_or_x() -> Pairs:
    x = np.array([-1e4, -800.0, 800.0, 1e4])
    y, cache = llama_blocks.silu_forward(x)
    yield y, np.array([0, 0, 800, 1e4])
    yield llama_blocks.silu_backward(np.ones(4), cache), np.array([0, 0, 1, 1])


@of_cases("gated_feed_forward")
def the_second_factor_is_linear(case: OpCase) -> Pairs:
    """m = silu(g) u   =>   Σ w_u dw_u = Σ y dy = Σ w_out dw_out;  Σ x dx = Σ w_in dw_in"""
    y, (dx, dw_in, dw_out), dy = run(case)
    x, w_in, w_out = case.args
    F = len(w_out)
    yield np.sum(w_in[:, F:] * dw_in[:, F:]), np.sum(y * dy)
    yield np.sum(w_out * dw_out), np.sum(y * dy)
    yield np.sum(x * dx), np.sum(w_in * dw_in)


@of_cases("grouped_query")
def a_group_is_heads_with_equal_keys(case: OpCase) -> Pairs:
    """Copied keys give the same; the gradient of a key is the sum of those of its copies."""
    q, k, v, H, G, *mask = deepcopy(case.args)
    D, copies = q.shape[-1] // H, np.repeat(np.arange(G), H // G)
    columns = (copies[:, None] * D + np.arange(D)).ravel()
    y, (dq, dk, dv), dc = run(case)
    c, cache = blocks.multi_head_forward(q, k[..., columns], v[..., columns], H, *mask)
    each = blocks.multi_head_backward(dc, cache)
    yield y, c
    yield dq, each[0]
    for dx, copied in zip((dk, dv), each[1:], strict=True):
        added = copied.reshape(*copied.shape[:-1], G, H // G, D).sum(axis=-2)
        yield dx, added.reshape(dx.shape)


@of_cases("grouped_query")
def groups_keep_the_invariants_of_attention(case: OpCase) -> Pairs:
    """Σ_j dk_j = 0 and Σ q dq = Σ k dk, for every sample"""
    q, k = case.args[:2]
    _, (dq, dk, _), _ = run(case)
    yield dk.sum(axis=-2), np.zeros(dk.shape[:-2] + dk.shape[-1:])
    yield np.sum(q * dq, axis=(-2, -1)), np.sum(k * dk, axis=(-2, -1))


@of_cases("grouped_self_attention")
def the_place_of_a_text_does_not_matter(case: OpCase) -> Pairs:
    """All positions moved on by 7   =>   the same y and the same gradients"""
    x, w_qkv, w_out, H, G, _, *mask = case.args
    D = w_qkv.shape[-1] // (H + 2 * G)
    y, grads, dy = run(case)
    later = llama_blocks.rotation(np.arange(7, 7 + x.shape[-2]), D, dtype=np.float64)
    moved = case._replace(args=(x, w_qkv, w_out, H, G, later, *mask))
    y_moved, grads_moved, _ = run(moved, dy)
    yield y_moved, y
    for dx, dx_moved in zip(grads, grads_moved, strict=True):
        yield dx_moved, dx
    yield np.sum(x * grads[0]), np.sum(w_qkv * grads[1])
    yield np.sum(w_out * grads[2]), np.sum(y * dy)


@of_cases("causal_attention", "online_attention")
def blocks_of_any_size_are_attention_under_the_mask(case: OpCase) -> Pairs:
    q, k, v, scale, _ = case.args
    mask = ops.causal_mask(q.shape[-2], k.shape[-2])
    c, cache = ops.attention_forward(q, k, v, mask, scale)
    _, _, dc = run(case)
    grads = ops.attention_backward(dc, cache)
    for block in (1, 2, 3, 100):
        y, found, _ = run(case._replace(args=(q, k, v, scale, block)), dc)
        yield y, c
        yield from zip(found, grads, strict=True)
        made, in_blocks = case.module.__dict__[f"{case.op}_forward"](q, k, v, scale, block)
        yield made, c
        yield in_blocks.a, cache.a


@alone("online_attention", "causal_attention")
def extreme_scores_in_blocks_have_exact_weights() -> Pairs:
    """A later block with a score that is larger by 20000 leaves nothing of the earlier ones."""
    q, v = np.ones((3, 1)), np.array([[1.0], [10.0], [100.0]])
    for k, due in (([0, 1e4, 2e4], [1, 10, 100]), ([2e4, 1e4, -1e4], [1, 1, 1])):
        for name in ("causal", "online"):
            attention = getattr(blockwise_attention, f"{name}_attention_forward")
            c, _ = attention(q, np.array(k, float)[:, None], v, 1.0, 1)
            yield c[:, 0], np.array(due, float)
