"""F7 to F11 and F25: each recurrence is written out again here, entry by entry in Python floats."""

import math
from itertools import pairwise

import numpy as np
import pytest

from numpylm import optim
from numpylm.errors import InputError
from numpylm.model import Parameters
from numpylm.optim import (
    SGD,
    Adam,
    clip_by_global_norm,
    global_norm,
    learning_rate_at,
    transformer_rate,
)

# Both sides round each of about ten float64 operations a step, 25 steps long, on numbers near 1.
ROUNDING = 1e-12
STEPS = 25
SHAPES = {"E": (5, 3), "gain": (3,), "U": (2, 4)}
RATES = [0.1 / (1 + 0.2 * t) for t in range(STEPS)]  # a rate that changes, as a schedule's does


def parameters(rng, shapes=SHAPES, dtype=np.float64):
    params = Parameters(shapes, dtype)
    params.flat[:] = rng.normal(size=params.flat.size)
    return params


def gradients(params, rng):
    """STEPS random gradients whose sizes differ between tensors by three orders of magnitude."""
    grads = [params.like() for _ in range(STEPS)]
    for g in grads:
        for size, name in zip((1e-2, 1.0, 10.0), g, strict=True):
            g[name] = size * rng.normal(size=g[name].shape)
    return grads


def run(optimizer, grads, rates=RATES):
    for g, rate in zip(grads, rates, strict=True):
        optimizer.step(g, rate)


def sgd_by_hand(p, gs, momentum, decay):
    u = 0.0
    for g, rate in zip(gs, RATES, strict=True):
        u = momentum * u + g
        p = p * (1 - rate * decay) - rate * u
    return p


def adam_by_hand(p, gs, beta1, beta2, eps, decay):
    m = v = 0.0
    for t, (g, rate) in enumerate(zip(gs, RATES, strict=True), start=1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        p = p * (1 - rate * decay) - rate * m_hat / (math.sqrt(v_hat) + eps)
    return p


def expected(params, grads, by_hand, decayed):
    """`by_hand` on every entry of every tensor; decay only where the tensor is in `decayed`."""
    result = params.like()
    for name in params:
        for index in np.ndindex(params[name].shape):
            gs = [float(g[name][index]) for g in grads]
            decay = 0.3 if name in decayed else 0.0
            result[name][index] = by_hand(float(params[name][index]), gs, decay)
    return result


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decayed", [(), ("gain", "U")])
def test_f7_sgd_follows_its_recurrence(momentum, decayed):
    rng = np.random.default_rng(1)
    params = parameters(rng)
    grads = gradients(params, rng)
    want = expected(params, grads, lambda p, g, w: sgd_by_hand(p, g, momentum, w), decayed)
    run(SGD(params, momentum, weight_decay=0.3, decayed=decayed), grads)
    np.testing.assert_allclose(params.flat, want.flat, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.8), (0.0, 0.0)])
@pytest.mark.parametrize("eps", [1e-8, 0.1])
@pytest.mark.parametrize("decayed", [(), ("gain", "U")])
def test_f8_adam_follows_algorithm_1(betas, eps, decayed):
    """eps = 0.1 is large enough to tell whether it stands inside the root or outside."""
    rng = np.random.default_rng(2)
    params = parameters(rng)
    grads = gradients(params, rng)
    want = expected(params, grads, lambda p, g, w: adam_by_hand(p, g, *betas, eps, w), decayed)
    run(Adam(params, *betas, eps, weight_decay=0.3, decayed=decayed), grads)
    np.testing.assert_allclose(params.flat, want.flat, rtol=ROUNDING, atol=ROUNDING)


def test_f8_the_first_step_of_adam_is_the_learning_rate_for_any_gradient():
    """t = 1 gives m̂ = g and v̂ = g²: the step is η g/(|g| + ε). From t = 0 it would be 0/0."""
    params = Parameters({"w": (3,)}, np.float64)
    grads = params.like()
    grads["w"] = [2.0, -1e-3, 0.0]
    Adam(params).step(grads, 0.5)
    want = [-0.5 * 2 / (2 + 1e-8), 0.5 * 1e-3 / (1e-3 + 1e-8), 0.0]
    np.testing.assert_allclose(params["w"], want, rtol=ROUNDING, atol=0)


@pytest.mark.parametrize("make", [lambda p: SGD(p, momentum=0.9), Adam])
def test_moments_are_not_shared_between_tensors(make):
    rng = np.random.default_rng(3)
    params = parameters(rng)
    before = params["U"].copy()
    grads = params.like()
    grads["E"] += 1.0
    optimizer = make(params)
    for _ in range(3):
        optimizer.step(grads, 0.1)
    assert np.array_equal(params["U"], before)


@pytest.mark.parametrize("make", [SGD, lambda p: SGD(p, momentum=0.9), Adam])
def test_blocks_change_nothing(make, monkeypatch):
    """The tensors end off the block boundary, and the last block is a short one."""
    shapes = {"a": (optim.BLOCK - 3,), "b": (2, optim.BLOCK // 2 + 5)}
    rng = np.random.default_rng(4)
    params = parameters(rng, shapes, np.float32)
    grads = params.like()
    grads.flat[:] = rng.normal(size=grads.flat.size)
    whole = params.like()
    whole.flat[:] = params.flat
    blockwise, at_once = make(params), make(whole)
    for _ in range(2):
        blockwise.step(grads, 0.1)
    monkeypatch.setattr(optim, "BLOCK", params.flat.size)
    before = whole.flat.copy()
    for _ in range(2):
        at_once.step(grads, 0.1)
    assert (whole.flat != before).all()
    assert np.array_equal(params.flat, whole.flat)


@pytest.mark.parametrize("make", [SGD, Adam])
def test_f9_by_default_arrays_of_two_or_more_axes_decay(make):
    params = parameters(np.random.default_rng(5))
    before = {name: array.copy() for name, array in params.items()}
    optimizer = make(params, weight_decay=0.5)
    optimizer.step(params.like(), 0.1)
    assert np.array_equal(params["gain"], before["gain"])
    for name in ("E", "U"):
        np.testing.assert_allclose(params[name], before[name] * 0.95, rtol=ROUNDING)


def moments(optimizer):
    return {name: moment for name, moment in optimizer.state().items() if name != "steps"}


def test_f9_decay_stays_out_of_the_moments():
    params = parameters(np.random.default_rng(6))
    optimizer = Adam(params, weight_decay=0.5)
    optimizer.step(params.like(), 0.1)
    assert not any(moment.any() for moment in moments(optimizer).values())


@pytest.mark.parametrize("make", [lambda p: SGD(p, momentum=0.9), Adam])
def test_a_step_keeps_the_dtype_and_the_gradients(make):
    params = parameters(np.random.default_rng(7), dtype=np.float32)
    grads = gradients(params, np.random.default_rng(8))
    before = [g.flat.copy() for g in grads]
    optimizer = make(params)
    run(optimizer, grads)
    assert optimizer.steps == STEPS
    assert params.flat.dtype == np.float32
    assert all(moment.dtype == np.float32 for moment in moments(optimizer).values())
    assert all(np.array_equal(g.flat, b) for g, b in zip(grads, before, strict=True))


@pytest.mark.parametrize(
    "make", [SGD, lambda p: SGD(p, momentum=0.9), lambda p: Adam(p, weight_decay=0.1)]
)
def test_a_resumed_optimizer_is_bit_identical_to_one_that_never_stopped(make):
    rng = np.random.default_rng(9)
    params = parameters(rng)
    grads = gradients(params, rng)
    optimizer = make(params)
    run(optimizer, grads[:10], RATES[:10])
    state = optimizer.state()
    resumed_params = params.like()
    resumed_params.flat[:] = params.flat
    run(optimizer, grads[10:], RATES[10:])  # the state taken before must not move with it

    resumed = make(resumed_params)
    resumed.load_state(state)
    run(resumed, grads[10:], RATES[10:])
    assert resumed.steps == STEPS
    assert np.array_equal(resumed_params.flat, params.flat)
    for name, moment in moments(optimizer).items():
        assert np.array_equal(resumed.state()[name], moment)


def test_a_state_that_does_not_fit_is_rejected_before_anything_changes():
    params = parameters(np.random.default_rng(10))
    size = params.flat.size
    optimizer = Adam(params)
    good = {"steps": 3, "m": np.ones(size), "v": np.ones(size)}
    with pytest.raises(InputError, match="'v' has shape"):
        optimizer.load_state({**good, "v": np.ones(size + 1)})
    with pytest.raises(InputError, match=r"holds \['m', 'steps'\]"):
        optimizer.load_state({"steps": 3, "m": good["m"]})
    with pytest.raises(InputError, match="velocity"):
        optimizer.load_state({**good, "velocity": good["m"]})
    for wrong in (-1, 2.5, "3"):
        with pytest.raises(InputError, match=f"^steps must be .*, not {wrong!r}$"):
            optimizer.load_state({**good, "steps": wrong})
    assert optimizer.steps == 0
    assert not optimizer.state()["m"].any()


UNIT = "at least 0 and below 1"
FINITE = "a finite number"


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (lambda p: SGD(p, momentum=-0.1), f"momentum must be {UNIT}, not -0.1"),
        (lambda p: SGD(p, momentum=1.0), f"momentum must be {UNIT}, not 1.0"),
        (lambda p: SGD(p, momentum=math.nan), f"momentum must be {FINITE}, not nan"),
        (lambda p: SGD(p, weight_decay=-1.0), "weight_decay must be at least 0, not -1.0"),
        (lambda p: SGD(p, weight_decay=math.inf), f"weight_decay must be {FINITE}, not inf"),
        (lambda p: Adam(p, beta1=1.0), f"beta1 must be {UNIT}, not 1.0"),
        (lambda p: Adam(p, beta1=-0.1), f"beta1 must be {UNIT}, not -0.1"),
        (lambda p: Adam(p, beta2=1.0), f"beta2 must be {UNIT}, not 1.0"),
        (lambda p: Adam(p, beta2=math.nan), f"beta2 must be {FINITE}, not nan"),
        (lambda p: Adam(p, eps=0.0), "eps must be at least 1.4916681462400413e-154, not 0.0"),
        (lambda p: Adam(p, eps=math.nan), f"eps must be {FINITE}, not nan"),
        (lambda p: Adam(p, eps=math.inf), f"eps must be {FINITE}, not inf"),
        (lambda p: Adam(p, weight_decay=math.nan), f"weight_decay must be {FINITE}, not nan"),
        (
            lambda p: Adam(p, decayed=["E", "no such"]),
            "decayed names 'no such', which is no parameter; these are: E, gain, U",
        ),
    ],
)
def test_an_option_out_of_range_is_rejected_by_name(make, wanted):
    with pytest.raises(InputError) as error:
        make(parameters(np.random.default_rng(11)))
    assert str(error.value) == wanted


def test_f7_without_momentum_no_velocity_is_kept():
    assert SGD(parameters(np.random.default_rng(11))).state() == {"steps": 0}


@pytest.mark.parametrize("make", [SGD, Adam])
@pytest.mark.parametrize("rate", [-1e-3, math.nan, math.inf])
def test_a_learning_rate_out_of_range_is_rejected_before_anything_changes(make, rate):
    params = parameters(np.random.default_rng(12))
    before = params.flat.copy()
    optimizer = make(params, weight_decay=0.1)
    with pytest.raises(InputError, match=f"^learning_rate must be .*, not {rate}$"):
        optimizer.step(params.like(), rate)
    assert optimizer.steps == 0
    assert np.array_equal(params.flat, before)


@pytest.mark.parametrize("make", [SGD, Adam])
def test_a_learning_rate_of_0_counts_a_step_and_moves_nothing(make):
    params = parameters(np.random.default_rng(12))
    before, grads = params.flat.copy(), params.like()
    grads.flat[:] = 1.0
    optimizer = make(params, weight_decay=0.1)
    optimizer.step(grads, 0.0)
    assert optimizer.steps == 1
    assert np.array_equal(params.flat, before)


def test_a_state_from_before_the_first_step_starts_anew():
    params = parameters(np.random.default_rng(12))
    optimizer = Adam(params)
    start = optimizer.state()
    optimizer.step(params.like(), 0.1)
    optimizer.load_state(start)
    assert optimizer.steps == 0


@pytest.mark.parametrize("make", [SGD, Adam])
def test_gradients_of_another_layout_are_rejected(make):
    params = parameters(np.random.default_rng(13))
    optimizer = make(params)
    with pytest.raises(InputError, match="grads"):
        optimizer.step(Parameters({"E": (5, 3)}, np.float64), 0.1)
    with pytest.raises(InputError, match="float32"):
        optimizer.step(Parameters(SHAPES, np.float32), 0.1)


@pytest.mark.parametrize("make", [SGD, lambda p: SGD(p, momentum=0.9), Adam])
@pytest.mark.parametrize("size", [optim.BLOCK, optim.BLOCK + 1, 2 * optim.BLOCK + 1, 1])
def test_every_entry_learns_also_the_last_of_a_vector_one_longer_than_its_blocks(make, size):
    params = Parameters({"w": (size,)}, np.float32)
    grads = params.like()
    grads.flat[:] = 1.0
    make(params).step(grads, 0.5)
    assert (params.flat == params.flat[0]).all()
    assert params.flat[-1] == pytest.approx(-0.5)


@pytest.mark.parametrize("value", [1e20, math.inf, math.nan])
@pytest.mark.parametrize("make", [SGD, Adam])
@pytest.mark.parametrize("place", [0, -1])
def test_a_gradient_whose_square_overflows_is_refused_before_its_block_changes(make, value, place):
    params = Parameters({"w": (optim.BLOCK + 1,)}, np.float32)
    optimizer, grads = make(params), params.like()
    grads.flat[place] = value
    with pytest.raises(InputError, match=r"^grads hold .*exceed float32"):
        optimizer.step(grads, 0.1)
    assert not params.flat.any()
    assert not any(np.any(optimizer.state().get(name, 0)) for name in ("m", "v"))


@pytest.mark.parametrize("value", [0.0, 1e-300, 1e-25, 1e-19, 1e18])
def test_f8_an_eps_that_is_allowed_gives_finite_steps_of_at_most_about_the_rate(value):
    for dtype, eps in ((np.float32, 1.1e-19), (np.float32, 1e-8), (np.float64, 1.5e-154)):
        params = Parameters({"w": (3,)}, dtype)
        optimizer, grads = Adam(params, eps=eps), params.like()
        grads.flat[:] = value
        for _ in range(3):
            optimizer.step(grads, 0.1)
            assert np.isfinite(optimizer.state()["v"]).all()
        assert (np.abs(params.flat) <= 0.31).all()


def test_f8_an_eps_that_is_0_in_the_dtype_is_refused():
    for dtype, eps in ((np.float32, 1e-300), (np.float32, 1e-30), (np.float64, 1e-200)):
        with pytest.raises(InputError, match=r"^eps must be at least 1\.\d+e-"):
            Adam(Parameters(SHAPES, dtype), eps=eps)


@pytest.mark.parametrize("wrong", [None, "params", np.zeros(3), {"w": np.zeros(3)}, 3])
def test_what_is_not_parameters_is_named(wrong):
    params = parameters(np.random.default_rng(11))
    for call in (
        lambda: SGD(wrong),
        lambda: Adam(wrong),
        lambda: Adam(params).step(wrong, 0.1),
        lambda: global_norm(wrong),
        lambda: clip_by_global_norm(wrong, 1.0),
    ):
        with pytest.raises(InputError, match=r"^(params|grads) must be Parameters, not \w+: pass"):
            call()


@pytest.mark.parametrize("wrong", ["0.1", None, [0.1], True, 1j, np.zeros(2)])
def test_what_is_not_a_number_is_named(wrong):
    params = parameters(np.random.default_rng(11))
    for call in (
        lambda: Adam(params, beta1=wrong),
        lambda: SGD(params, momentum=wrong),
        lambda: SGD(params, weight_decay=wrong),
        lambda: SGD(params).step(params.like(), wrong),
        lambda: clip_by_global_norm(params.like(), wrong),
        lambda: learning_rate_at(0, wrong),
        lambda: learning_rate_at(wrong, 0.1),
        lambda: transformer_rate(0, wrong),
    ):
        with pytest.raises(InputError, match=r"^\w+ must be (a finite number|an integer), not "):
            call()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_state_that_is_not_finite_is_refused(value):
    params = parameters(np.random.default_rng(10))
    optimizer, bad = Adam(params), np.zeros(params.flat.size)
    bad[-1] = value
    with pytest.raises(InputError, match="state 'v' holds numbers that are not finite"):
        optimizer.load_state({"steps": 3, "m": np.ones(params.flat.size), "v": bad})
    assert not optimizer.state()["m"].any()


# ---- F10 -------------------------------------------------------------------------------------


def test_f10_one_norm_for_all_tensors():
    """|g| = √(3² + 4² + 12²) = 13: clipping to 6.5 halves every entry, also of the tensors that are
    shorter than 6.5 by themselves."""
    grads = Parameters(SHAPES, np.float64)
    grads["E"][0, 0], grads["gain"][1], grads["U"][1, 2] = 3.0, -4.0, 12.0
    assert clip_by_global_norm(grads, 6.5) == 13.0
    assert (grads["E"][0, 0], grads["gain"][1], grads["U"][1, 2]) == (1.5, -2.0, 6.0)
    assert global_norm(grads) == 6.5


def test_f10_the_bound_may_be_below_1():
    grads = Parameters(SHAPES, np.float64)
    grads["E"][0, 0] = 2.0
    clip_by_global_norm(grads, 0.5)
    assert grads["E"][0, 0] == 0.5


@pytest.mark.parametrize("max_norm", [13.0, 100.0])
def test_f10_a_short_gradient_is_untouched(max_norm):
    grads = Parameters(SHAPES, np.float32)
    grads["E"][0, 0], grads["gain"][1], grads["U"][1, 2] = 3.0, -4.0, 12.0
    before = grads.flat.copy()
    assert clip_by_global_norm(grads, max_norm) == 13.0
    assert np.array_equal(grads.flat, before)


def test_f10_the_norm_is_summed_in_float64_over_all_blocks():
    """Squares of 1e30 overflow float32. The vector is longer than one block."""
    grads = Parameters({"w": (optim.BLOCK + 7,)}, np.float32)
    grads.flat[:] = 1e30
    value = float(np.float32(1e30))
    assert global_norm(grads) == pytest.approx(value * math.sqrt(grads.flat.size), rel=ROUNDING)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_f10_a_gradient_that_is_not_finite_is_rejected_untouched(value):
    grads = Parameters(SHAPES, np.float64)
    grads.flat[:] = 5.0
    grads["U"][0, 0] = value
    with pytest.raises(InputError, match="norm"):
        clip_by_global_norm(grads, 1.0)
    assert grads["E"][0, 0] == 5.0


@pytest.mark.parametrize("max_norm", [0.0, -1.0, math.nan, math.inf])
def test_f10_a_bound_out_of_range_is_rejected(max_norm):
    with pytest.raises(InputError, match=f"^max_norm must be (above 0|{FINITE}), not {max_norm}$"):
        clip_by_global_norm(Parameters(SHAPES), max_norm)


# ---- F11 -------------------------------------------------------------------------------------


def test_f11_warm_up_is_a_straight_line_that_reaches_the_peak_at_step_warmup():
    rates = [learning_rate_at(s, 0.8, warmup=3, total=10, floor=0.1) for s in range(4)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8], rel=ROUNDING)


def test_f11_the_cosine_runs_from_peak_to_floor():
    rates = {s: learning_rate_at(s, 0.9, warmup=2, total=10, floor=0.1) for s in range(14)}
    assert rates[2] == pytest.approx(0.9, rel=ROUNDING)
    assert rates[4] == pytest.approx(0.1 + 0.8 * (1 + math.sqrt(0.5)) / 2, rel=ROUNDING)
    assert rates[6] == pytest.approx(0.5, rel=ROUNDING)  # half-way, the mean of both
    assert rates[10] == rates[13] == 0.1
    assert all(rates[s] > rates[s + 1] for s in range(2, 10))


def test_f11_without_warm_up_the_first_step_is_at_the_peak():
    assert learning_rate_at(0, 0.7, total=5) == pytest.approx(0.7, rel=ROUNDING)
    assert learning_rate_at(5, 0.7, total=5) == 0.0


def test_f11_a_run_that_ends_with_its_warm_up_has_no_cosine():
    rates = [learning_rate_at(s, 0.8, warmup=3, total=3, floor=0.1) for s in range(5)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.1, 0.1], rel=ROUNDING)


def test_f11_a_floor_as_high_as_the_peak_is_a_rate_that_never_falls():
    rates = [learning_rate_at(s, 0.8, total=4, floor=0.8) for s in range(6)]
    assert rates == pytest.approx([0.8] * 6, rel=ROUNDING)
    assert learning_rate_at(0, 0.0) == 0.0


def test_f11_a_run_of_no_steps_is_at_its_floor():
    assert learning_rate_at(0, 0.8, floor=0.1) == 0.1


def test_f11_constant_stays_at_the_peak_after_the_warm_up():
    rates = [learning_rate_at(s, 0.6, warmup=2, total=4, schedule="constant") for s in range(9)]
    assert rates == pytest.approx([0.2, 0.4] + [0.6] * 7, rel=ROUNDING)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ({"step": -1, "peak": 1.0}, "step must be at least 0, not -1"),
        ({"step": 0, "peak": -1.0}, "peak must be at least 0, not -1.0"),
        ({"step": 0, "peak": math.nan}, f"peak must be {FINITE}, not nan"),
        ({"step": 0, "peak": math.inf}, f"peak must be {FINITE}, not inf"),
        (
            {"step": 0, "peak": 1.0, "floor": 1.5},
            "floor must be at least 0 and at most 1.0, not 1.5",
        ),
        (
            {"step": 0, "peak": 1.0, "floor": -0.1},
            "floor must be at least 0 and at most 1.0, not -0.1",
        ),
        ({"step": 0, "peak": 1.0, "warmup": -1}, "warmup must be at least 0, not -1"),
        ({"step": 0, "peak": 1.0, "total": -1}, "total must be at least 0, not -1"),
        (
            {"step": 0, "peak": 1.0, "schedule": "linear"},
            "schedule must be one of constant, cosine, inverse_sqrt, not 'linear'",
        ),
    ],
)
def test_f11_an_argument_out_of_range_is_rejected_by_name(arguments, wanted):
    with pytest.raises(InputError) as error:
        learning_rate_at(**arguments)
    assert str(error.value) == wanted


# ---- F25 -------------------------------------------------------------------------------------


def test_f25_the_rate_is_that_of_the_paper():
    for step in (0, 1, 9, 3998, 3999, 4000, 10**5):
        n = step + 1
        want = 512**-0.5 * min(n**-0.5, n * 4000**-1.5)
        assert transformer_rate(step, 512) == pytest.approx(want, rel=ROUNDING)


def test_f25_the_rate_rises_in_a_line_to_its_peak_and_falls_as_a_root():
    rates = [transformer_rate(step, 64, warmup=10) for step in range(80)]
    assert rates[:10] == pytest.approx([n * rates[0] for n in range(1, 11)], rel=ROUNDING)
    assert max(rates) == rates[9] == pytest.approx((64 * 10) ** -0.5, rel=ROUNDING)
    assert rates[39] == pytest.approx(rates[9] / 2, rel=ROUNDING)
    assert all(after < before for before, after in pairwise(rates[9:]))


@pytest.mark.parametrize("warmup", [0, 1, 7])
def test_f25_as_a_schedule_it_reaches_the_peak(warmup):
    w = max(warmup, 1)
    for step in range(30):
        rate = learning_rate_at(step, 0.3, warmup, schedule="inverse_sqrt")
        want = 0.3 * min((step + 1) / w, (w / (step + 1)) ** 0.5)
        assert rate == pytest.approx(want, rel=ROUNDING)
    paper = learning_rate_at(20, (64 * w) ** -0.5, warmup, schedule="inverse_sqrt")
    assert paper == pytest.approx(transformer_rate(20, 64, w), rel=ROUNDING)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ((-1, 64, 10), "step must be at least 0, not -1"),
        ((0, 0, 10), "width must be at least 1, not 0"),
        ((0, 64, 0), "warmup must be at least 1, not 0"),
    ],
)
def test_f25_an_argument_out_of_range_is_rejected_by_name(arguments, wanted):
    with pytest.raises(InputError) as error:
        transformer_rate(*arguments)
    assert str(error.value) == wanted


# ---- PyTorch, if it is there -----------------------------------------------------------------


def torch_run(torch, params, grads, make):
    """The same parameters after the same gradients, by PyTorch; `make` turns tensors into one."""
    tensors = {name: torch.tensor(array) for name, array in params.items()}
    optimizer = make(tensors)
    for g, rate in zip(grads, RATES, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        for name, tensor in tensors.items():
            tensor.grad = torch.tensor(g[name])
        optimizer.step()
    return np.concatenate([tensor.numpy().ravel() for tensor in tensors.values()])


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_f7_sgd_agrees_with_pytorch(momentum):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(14)
    params = parameters(rng)
    grads = gradients(params, rng)
    want = torch_run(
        torch, params, grads, lambda t: torch.optim.SGD(t.values(), lr=1.0, momentum=momentum)
    )
    run(SGD(params, momentum), grads)
    np.testing.assert_allclose(params.flat, want, rtol=ROUNDING, atol=ROUNDING)


def test_f8_f9_adam_and_its_defaults_agree_with_pytorch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(15)
    params = parameters(rng)
    grads = gradients(params, rng)

    def adamw(tensors):
        tables = {"params": [tensors["E"], tensors["U"]], "weight_decay": 0.3}
        return torch.optim.AdamW([tables, {"params": [tensors["gain"]], "weight_decay": 0.0}])

    want = torch_run(torch, params, grads, adamw)
    run(Adam(params, weight_decay=0.3), grads)
    np.testing.assert_allclose(params.flat, want, rtol=ROUNDING, atol=ROUNDING)


def test_f10_clipping_agrees_with_pytorch_up_to_its_1e_6():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(16)
    grads = parameters(rng)
    tensors = [torch.zeros(array.shape, dtype=torch.float64) for array in grads.values()]
    for tensor, array in zip(tensors, grads.values(), strict=True):
        tensor.grad = torch.tensor(array)
    norm = torch.nn.utils.clip_grad_norm_(tensors, 0.5).item()
    want = np.concatenate([tensor.grad.numpy().ravel() for tensor in tensors])
    assert clip_by_global_norm(grads, 0.5) == pytest.approx(norm, rel=ROUNDING)
    np.testing.assert_allclose(grads.flat * norm / (norm + 1e-6), want, rtol=ROUNDING)
