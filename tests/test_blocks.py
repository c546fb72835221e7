"""blocks.py: every pair against numbers and against its formula; the key/value cache; the names."""

import inspect
from copy import deepcopy

import numpy as np
import pytest
from right_slopes import checked

from numpylm import blocks, blockwise_attention, llama_blocks, low_rank, objectives, ops
from numpylm.blocks import (
    ACTIVATIONS,
    CROSS_ATTENTION,
    FEED_FORWARD,
    NORM,
    SELF_ATTENTION,
    KeyValueCache,
    check_heads,
    cross_attention_forward,
    cross_attention_shapes,
    feed_forward_forward,
    feed_forward_shapes,
    is_bias,
    multi_head_forward,
    norm_shapes,
    put,
    self_attention_backward,
    self_attention_cached,
    self_attention_forward,
    self_attention_shapes,
    weights,
)
from numpylm.checks.gradient_cases import block_cases
from numpylm.errors import InputError
from numpylm.model import Parameters
from numpylm.ops import attention_forward, causal_mask

# Two ways to sum a few dozen float64 products of numbers near 1; each rounds by about 1e-16.
ROUNDING = 1e-13

B, T, S, C, H, D = 2, 3, 5, 7, 4, 6
A = H * D
CASES = block_cases()
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.fixture
def normal():
    return np.random.default_rng(0).normal


def close(actual, expected, tolerance=ROUNDING):
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def as_dtype(value, dtype):
    if isinstance(value, llama_blocks.Rotation):
        return llama_blocks.Rotation(as_dtype(value.cos, dtype), as_dtype(value.sin, dtype))
    return value.astype(dtype) if getattr(value, "dtype", None) == np.float64 else value


def floats(tree):
    """Every array of floating point numbers in a cache."""
    if isinstance(tree, np.ndarray):
        return [tree] if tree.dtype.kind in "fc" else []
    return [x for part in tree for x in floats(part)] if isinstance(tree, tuple) else []


# ---- what holds for every pair ---------------------------------------------------------------


def own_names_that_end_in(ending):
    return {
        name.removesuffix(ending)
        for module in (blocks, llama_blocks, blockwise_attention, objectives, low_rank)
        for name, value in vars(module).items()
        if name.endswith(ending) and value.__module__ == module.__name__
    }


def test_every_block_is_checked():
    checked = {case.op for case in CASES}
    assert own_names_that_end_in("_forward") == own_names_that_end_in("_backward") == checked


@every_case
def test_the_backward_is_the_numerical_gradient(case):
    report = checked(case)
    assert report.passed, f"\n{report}"


@every_case
def test_float32_stays_float32_in_results_caches_and_gradients(case):
    args = [as_dtype(arg, np.float32) for arg in case.args]
    y, cache = case.forward(*args)
    grads = case.backward(y, cache)
    assert {x.dtype for x in floats((y, cache, tuple(grads)))} == {np.dtype(np.float32)}


@every_case
def test_inputs_are_untouched_and_the_cache_serves_twice(case):
    args = deepcopy(case.args)
    y, cache = case.forward(*args)
    backward, dy = case.backward, np.full(y.shape, 0.5)
    np.testing.assert_equal(backward(dy, cache), backward(dy, cache))
    assert (dy == 0.5).all()
    np.testing.assert_equal(
        *([getattr(x, "__dict__", x) for x in some] for some in (args, case.args))
    )


def heads_before_time_are_merged_as_they_lie(x):
    *lead, H, T, D = x.shape
    return x.reshape(*lead, T, H * D)


def columns_are_dealt_out_in_turn(x, heads):
    *lead, T, A = x.shape
    return np.moveaxis(x.reshape(*lead, T, A // heads, heads), -1, -3)


def attention_backward_in_reverse(dc, cache, right=ops.attention_backward):
    return right(dc, cache)[::-1]


WRONG = [
    ("multi_head", "merge_heads", heads_before_time_are_merged_as_they_lie),
    ("multi_head", "split_heads", columns_are_dealt_out_in_turn),
    ("multi_head", "ops.attention_backward", attention_backward_in_reverse),
    ("self_attention", "merge_heads", heads_before_time_are_merged_as_they_lie),
    ("cross_attention", "merge_heads", heads_before_time_are_merged_as_they_lie),
    ("feed_forward", "ops.linear_backward", lambda dy, c: (dy @ c[1].T, 0 * c[1], None)),
]


@pytest.mark.parametrize(("op", "target", "wrong"), WRONG, ids=lambda part: str(part)[:24])
def test_a_wrong_backward_is_seen(op, target, wrong, monkeypatch):
    """The forward runs as it is; what the backward calls is wrong."""
    right_backward = getattr(blocks, f"{op}_backward")

    def backward(dy, cache):
        with monkeypatch.context() as patch:
            patch.setattr(f"{blocks.__name__}.{target}", wrong)
            return right_backward(dy, cache)

    monkeypatch.setattr(blocks, f"{op}_backward", backward)
    assert not all(checked(case).passed for case in CASES if case.op == op)


def test_the_derivative_of_the_other_gelu_is_seen(monkeypatch):
    exact = ACTIVATIONS["gelu_exact"]
    monkeypatch.setitem(ACTIVATIONS, "gelu", (ops.gelu_forward, lambda dy, c: wrong(dy, c[0])))

    def wrong(dy, x):
        return exact[1](dy, exact[0](x)[1])

    assert not all(checked(case).passed for case in CASES if case.name == "feed_forward, gelu")


# ---- F20: multi-head attention ---------------------------------------------------------------


@pytest.mark.parametrize("mask", [None, causal_mask(T, S)])
def test_f20_every_head_attends_to_its_own_columns(mask, normal):
    q, k, v = normal(size=(B, T, A)), normal(size=(B, S, A)), normal(size=(B, S, A))
    c, cache = multi_head_forward(q, k, v, H, mask)
    for h in range(H):
        own = slice(h * D, (h + 1) * D)
        c_h, alone = attention_forward(q[..., own], k[..., own], v[..., own], mask, D**-0.5)
        close(c[..., own], c_h)
        close(cache.a[:, h], alone.a)


def test_f20_one_text_needs_no_batch(normal):
    q, k, v = normal(size=(B, T, A)), normal(size=(B, S, A)), normal(size=(B, S, A))
    close(multi_head_forward(q[0], k[0], v[0], H)[0], multi_head_forward(q, k, v, H)[0][0])


def test_f20_splitting_moves_no_number(normal):
    q = normal(size=(B, T, A))
    _, cache = multi_head_forward(q, q, q, H)
    assert all(np.shares_memory(part, q) for part in (cache.q, cache.k, cache.v))


@pytest.mark.parametrize("heads", [5, 48, 0, -4])
def test_f20_a_width_that_heads_cannot_share_is_refused(heads, normal):
    q = normal(size=(B, T, A))
    with pytest.raises(
        InputError, match=rf"^(width 24 cannot be shared by {heads} heads|heads must be at least 1)"
    ):
        multi_head_forward(q, q, q, heads)


def test_f20_columns_that_cannot_be_parted_into_q_k_and_v_are_named(normal):
    x = normal(size=(T, C))
    with pytest.raises(InputError, match=r"^w_qkv must have 3 A columns, not 4$"):
        blocks.self_attention_forward(x, normal(size=(C, 4)), None, normal(size=(C, C)), None, 1)
    with pytest.raises(InputError, match=r"^w_kv must have 2 A columns, not 3$"):
        w, w_kv = normal(size=(C, C)), normal(size=(C, 3))
        blocks.cross_attention_forward(x, x, w, None, w_kv, None, w, None, 1)


def self_weights(normal):
    return [normal(size=size) / 2 for size in ((C, 3 * A), 3 * A, (A, C), C)]


def test_f20_self_attention_is_its_three_lines(normal):
    x, (w_qkv, b_qkv, w_out, b_out) = normal(size=(B, T, C)), self_weights(normal)
    q, k, v = (x @ w_qkv[:, i * A : (i + 1) * A] + b_qkv[i * A : (i + 1) * A] for i in range(3))
    y, _ = self_attention_forward(x, w_qkv, b_qkv, w_out, b_out, H, causal_mask(T))
    close(y, multi_head_forward(q, k, v, H, causal_mask(T))[0] @ w_out + b_out)


@pytest.mark.parametrize("mask", [None, causal_mask(T)])
def test_f20_cross_attention_on_itself_is_self_attention(mask, normal):
    x, (w_qkv, b_qkv, *out) = normal(size=(B, T, C)), self_weights(normal)
    into = w_qkv[:, :A], b_qkv[:A], w_qkv[:, A:], b_qkv[A:]
    y, cache = cross_attention_forward(x, x, *into, *out, H, mask)
    expected, _ = self_attention_forward(x, w_qkv, b_qkv, *out, H, mask)
    close(y, expected)
    assert cache.attention.a.shape == (B, H, T, T)


def test_f20_the_gradient_of_the_key_bias_is_0(normal):
    y, cache = self_attention_forward(normal(size=(B, T, C)), *self_weights(normal), H)
    _, _, db_qkv, _, _ = self_attention_backward(normal(size=y.shape), cache)
    query, key, value = np.split(db_qkv, 3)
    close(key, 0)
    assert np.abs(query).max() > 0.1
    assert np.abs(value).max() > 0.1


def test_f20_a_token_that_may_look_at_nothing_gets_the_output_bias(normal):
    own = self_weights(normal)
    mask = causal_mask(T) & (np.arange(T) != 1)[:, None]
    y, _ = self_attention_forward(normal(size=(B, T, C)), *own, H, mask)
    np.testing.assert_array_equal(y[:, 1], np.broadcast_to(own[3], (B, C)))


# ---- F21: feed-forward -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_f21_feed_forward_is_linear_activation_linear_for_each_token(name, normal):
    x, w_in, b_in = normal(size=(B, T, C)), normal(size=(C, A)), normal(size=A)
    w_out, b_out = normal(size=(A, C)), normal(size=C)
    y, _ = feed_forward_forward(x, w_in, b_in, w_out, b_out, name)
    activation = getattr(ops, f"{name}_forward")
    for b in range(B):
        for t in range(T):
            close(y[b, t], activation(x[b, t] @ w_in + b_in)[0] @ w_out + b_out, 1e-12)


def test_f21_an_unknown_activation_is_refused_with_the_known_ones(normal):
    w = normal(size=(C, C))
    with pytest.raises(InputError, match="one of gelu, gelu_exact, relu, not 'tanh'"):
        feed_forward_forward(w, w, None, w, None, "tanh")


# ---- the key/value cache ---------------------------------------------------------------------

N = 8


def test_attention_with_a_past_is_attention_on_the_whole(normal):
    x, own = normal(size=(B, N, C)), self_weights(normal)
    whole, _ = self_attention_forward(x, *own, H, causal_mask(N))
    past = KeyValueCache(1, B, N, A, np.float64)
    for start, end in ((0, 3), (3, 4), (4, 8)):
        _, mask = past.place((B, end - start))
        y = self_attention_cached(x[:, start:end], *own, H, mask, past, 0)
        past.advance(end - start)
        close(y, whole[:, start:end])
    assert past.length == N


def test_the_cache_has_the_dtype_that_is_asked_for():
    past = KeyValueCache(1, B, N, A, np.float32)
    assert past.keys.dtype == past.values.dtype == np.float32


def test_the_cache_keeps_layers_apart(normal):
    past = KeyValueCache(2, B, N, A, np.float64)
    first, second = normal(size=(2, B, T, A)), normal(size=(2, B, T, A))
    for layer in range(2):
        keys, values = past.append(layer, first[layer], second[layer])
        np.testing.assert_array_equal(keys, first[layer])
        np.testing.assert_array_equal(values, second[layer])
    np.testing.assert_array_equal(past.append(0, first[0], second[0])[0], first[0])


def test_positions_count_from_the_first_token_that_is_not_padding():
    past = KeyValueCache(1, 3, N, A, np.float64, padding=[0, 2, 5])
    positions, mask = past.place((3, 4))
    np.testing.assert_array_equal(positions, [[0, 1, 2, 3], [0, 0, 0, 1], [0, 0, 0, 0]])
    np.testing.assert_array_equal(mask[0, 0], causal_mask(4))
    np.testing.assert_array_equal(mask[1, 0], [[0] * 4, [0] * 4, [0, 0, 1, 0], [0, 0, 1, 1]])
    assert not mask[2].any()
    past.advance(4)
    positions, mask = past.place((3, 2))
    np.testing.assert_array_equal(positions, [[4, 5], [2, 3], [0, 0]])
    np.testing.assert_array_equal(mask[2, 0], [[0] * 6, [0, 0, 0, 0, 0, 1]])


@pytest.mark.parametrize("shape", [(B, 6), (B, 0), (3, 1), (B,), (1, B, 1)])
def test_tokens_that_do_not_fit_the_cache_are_refused(shape):
    past = KeyValueCache(1, B, N, A, np.float64)
    past.advance(3)
    with pytest.raises(InputError, match=r"B = 2 and 1 ≤ T ≤ 5: the cache holds 3 of 8 tokens"):
        past.place(shape)


@pytest.mark.parametrize("padding", [[0], [0, -1], [0.0, 1.0], 2, [[0, 1]]])
def test_padding_that_is_not_one_count_per_sample_is_refused(padding):
    with pytest.raises(InputError, match=r"^padding must be (2 counts|integers)"):
        KeyValueCache(1, B, N, A, np.float64, padding)


# ---- weights by name -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shapes_of", "widths", "names", "forward"),
    [
        (norm_shapes, (C,), NORM, ops.layer_norm_forward),
        (self_attention_shapes, (C,), SELF_ATTENTION, self_attention_forward),
        (cross_attention_shapes, (C,), CROSS_ATTENTION, cross_attention_forward),
        (feed_forward_shapes, (C, A), FEED_FORWARD, feed_forward_forward),
    ],
)
def test_names_are_the_arguments_of_the_forward_and_shapes_fit_it(
    shapes_of, widths, names, forward, normal
):
    shapes = shapes_of("part", *widths)
    assert list(shapes) == [f"part.{name}" for name in names]
    assert [len(shape) for shape in shapes.values()] == [1 + (name[0] == "w") for name in names]
    arguments = tuple(inspect.signature(forward).parameters)
    first = arguments.index(names[0])
    assert arguments[first : first + len(names)] == names
    heads = [1] if "heads" in arguments else []
    x = [normal(size=(B, T, C))] * first
    assert forward(*x, *(normal(size=size) for size in shapes.values()), *heads)[0].shape == (
        B,
        T,
        C,
    )


def test_a_bias_left_out_is_none_and_gets_no_gradient(normal):
    params = Parameters({"part.gain": (C,), "other.gain": (C,)})
    gain, bias = weights(params, "part", NORM)
    assert gain is params["part.gain"]
    assert bias is None
    put(params, "part", NORM, (np.ones(C), None))
    assert (params["part.gain"] == 1).all()
    assert (params["other.gain"] == 0).all()


@pytest.mark.parametrize(
    ("name", "answer"),
    [("block0.attention.b_qkv", True), ("norm.bias", True), ("block0.norm1.gain", False)],
)
def test_a_bias_is_known_by_the_last_part_of_its_name(name, answer):
    assert is_bias(name) == answer


def test_heads_must_share_the_width_equally():
    check_heads(12, 3)
    with pytest.raises(InputError, match="width 50 cannot be shared by 4 heads"):
        check_heads(50, 4)
