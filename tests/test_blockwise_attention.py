"""blockwise_attention.py: the numbers of causal attention, for less work or for less memory."""

import tracemalloc

import numpy as np
import pytest
from right_slopes import checked

from numpylm import blockwise_attention, ops
from numpylm.blockwise_attention import BLOCK, WAYS, attend, way_for
from numpylm.checks.gradient_cases import block_cases, order_one
from numpylm.errors import InputError
from numpylm.gpt import GPT
from numpylm.llama import Llama

ROUNDING = 1e-12  # the same products, added up in another order
CASES = [case for case in block_cases() if case.module is blockwise_attention]
PAIRS = {
    "F32": ("causal_attention_forward", "causal_attention_backward"),
    "F33": ("online_attention_forward", "online_attention_backward"),
}


def pair(name):
    return [getattr(blockwise_attention, function) for function in PAIRS[name]]


def numbers(T, S, dtype=np.float64, lead=(2, 3), D=8, O=5):  # noqa: E741
    rng = np.random.default_rng(T + S)
    shapes = (*lead, T, D), (*lead, S, D), (*lead, S, O), (*lead, T, O)
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_gradients_are_the_numerical_ones(case):
    report = checked(case)
    assert report.passed, f"\n{report}"


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(
    ("T", "S"), [(1, 1), (127, 127), (129, 129), (300, 300), (40, 300), (1, 400)]
)
def test_f32_f33_give_the_numbers_of_attention_at_every_length(name, T, S):
    q, k, v, dc = numbers(T, S)
    c, cache = ops.attention_forward(q, k, v, ops.causal_mask(T, S), 0.3)
    forward, backward = pair(name)
    y, found = forward(q, k, v, 0.3)
    np.testing.assert_allclose(y, c, atol=ROUNDING)
    np.testing.assert_allclose(found.a, cache.a, atol=ROUNDING)
    for dx, due in zip(backward(dc, found), ops.attention_backward(dc, cache), strict=True):
        np.testing.assert_allclose(dx, due, atol=ROUNDING)


@pytest.mark.parametrize("name", PAIRS)
def test_f32_f33_nobody_sees_what_comes_later(name):
    """Also across the border of a block: what is changed at place 130 moves nothing before it."""
    q, k, v, _ = numbers(200, 200)
    forward, _ = pair(name)
    before, _ = forward(q, k, v)
    k[..., 130, :] += 1e3
    v[..., 130, :] -= 7.0
    after, _ = forward(q, k, v)
    np.testing.assert_array_equal(after[..., :130, :], before[..., :130, :])
    assert (np.abs(after - before)[..., 130, :].max(axis=-1) > 0).all()


def test_f33_keeps_memory_that_grows_with_t_and_not_with_its_square():
    kept = {}
    for T in (512, 1024):
        q, k, v, _ = numbers(T, T, np.float32, lead=(1,))
        for name in PAIRS:
            forward, _ = pair(name)
            tracemalloc.start()
            _, cache = forward(q, k, v)
            kept[name, T] = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
            del cache
    assert kept["F33", 1024] < 2.2 * kept["F33", 512]
    assert kept["F33", 1024] < kept["F32", 1024] / 10
    square = 4 * 1024 * 1024
    triangle = square * (1 + BLOCK / 1024) / 2
    assert triangle < kept["F32", 1024] < 1.1 * triangle


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("dtype", [np.float32, np.complex128])
def test_the_dtype_follows_the_input(name, dtype):
    q, k, v, dc = numbers(140, 140, dtype)
    forward, backward = pair(name)
    c, cache = forward(q, k, v)
    assert {x.dtype for x in (c, *backward(dc, cache))} == {np.dtype(dtype)}


# ---- in the models -----------------------------------------------------------------------------


def test_long_texts_take_blocks_and_short_ones_the_whole():
    assert way_for(BLOCK, False)[0] == "whole" and way_for(BLOCK, False)[1].shape == (BLOCK, BLOCK)
    assert way_for(BLOCK + 1, False) == ("blocks", None)
    assert way_for(3, True) == ("recomputed", None)


@pytest.mark.parametrize(
    ("kind", "options"),
    [(GPT, {}), (Llama, {"groups": 1}), (Llama, {"groups": 2}), (Llama, {"groups": 4})],
    ids=["GPT", "Llama, 1 group", "Llama, 2 groups", "Llama, 4 groups"],
)
def test_every_way_gives_a_model_the_same_loss_gradients_and_maps(kind, options, monkeypatch):
    rng, T = np.random.default_rng(0), 150
    sizes = dict(vocab_size=11, context_length=T, layers=2, heads=4, width=16)
    model = order_one(kind(dtype=np.float64, **sizes, **options))
    ids, targets = rng.integers(0, 11, (2, 2, T))
    answers = {}
    for way in WAYS:
        mask = ops.causal_mask(T) if way == "whole" else None
        monkeypatch.setattr(blockwise_attention, "way_for", lambda *_, w=way, m=mask: (w, m))
        loss, cache = model.loss(ids, targets)
        grads = model.loss_backward(cache).flat
        answers[way] = loss, grads, model.attention_maps(cache[0])["block1.attention"]
    for way in ("blocks", "recomputed"):
        for x, due in zip(answers[way], answers["whole"], strict=True):
            assert np.shape(x) == np.shape(due)
            np.testing.assert_allclose(x, due, atol=1e-10)


def test_recompute_is_an_option_that_changes_no_number():
    ids = np.random.default_rng(1).integers(0, 11, (2, 60))
    sizes = dict(vocab_size=11, context_length=60, layers=1, heads=2, width=8, dtype=np.float64)
    plain, saving = (GPT(recompute=recompute, **sizes) for recompute in (False, True))
    np.testing.assert_allclose(saving.forward(ids)[0], plain.forward(ids)[0], atol=ROUNDING)


# ---- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAIRS)
def test_sizes_that_do_not_fit_are_named(name):
    q, k, v, _ = numbers(5, 5)
    forward, _ = pair(name)
    with pytest.raises(InputError, match="5 queries need as many keys or more, not 4"):
        forward(q, k[..., :4, :], v[..., :4, :])
    with pytest.raises(InputError, match="block must be at least 1, not 0"):
        forward(q, k, v, 1.0, 0)
    with pytest.raises(InputError, match=r"do not fit; expected q \(\.\.\., T, D\)"):
        forward(q, k[..., :3], v)


def test_an_unknown_way_is_named():
    q, k, v, _ = numbers(5, 5)
    with pytest.raises(InputError, match="way must be one of whole, blocks, recomputed"):
        attend(q, k, v, None, 1.0, "flash")
