"""oracles.py, invariants.py, second_formulas.py, dual_numbers.py: the checks agree with the right
code, and each of them sees mistakes that no other sees."""

import math
import re
from collections import defaultdict
from functools import cache, partial
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numpylm import ops
from numpylm.__main__ import main
from numpylm.checks import dual_numbers, oracles
from numpylm.checks.gradient_cases import ModelCase, OpCase
from numpylm.checks.invariants import ALONE, OF_CASES, equal, run, subject_of
from numpylm.checks.mutants import MUTANTS
from numpylm.checks.mutation import Mutant, result
from numpylm.checks.oracles import (
    MEMORY,
    ORACLES,
    SUBJECTS,
    Kills,
    Question,
    adjoint,
    all_cases,
    all_subjects,
    checks,
    closing,
    heading,
    try_mutant,
)
from numpylm.course import course_figures
from numpylm.course.notation import FORMULAS
from numpylm.errors import InputError

tried = cache(try_mutant)
MODELS = {subject_of(case) for case in all_cases() if isinstance(case, ModelCase)}
FEW = [  # all mistakes in ops and optimizers, and of each model the first of each function
    mutant
    for i, mutant in enumerate(MUTANTS)
    if not MODELS.intersection(SUBJECTS.get(mutant.subject, (mutant.subject,)))
    or mutant.target not in {other.target for other in MUTANTS[:i]}
]
EVERY = pytest.param(MUTANTS, marks=pytest.mark.slow, id="every")


@pytest.fixture(scope="module", params=[pytest.param(FEW, id="few"), EVERY])
def rows(request):
    return [tried(mutant) for mutant in request.param]


@pytest.fixture(scope="module", params=[EVERY])
def every_row(request):
    return [tried(mutant) for mutant in request.param]


# ---- the right code, and every mutant --------------------------------------------------------


def test_the_right_code_passes_every_check():
    assert not [check[:2] for check in checks(all_subjects(), MEMORY) if check.fails()]


def test_every_mutant_is_killed(rows):
    assert len(rows) > 0.6 * len(MUTANTS)
    assert not [str(row.mutant) for row in rows if not row.killers]


# By whom: a wrong backward is seen by central, complex and adjoint; a wrong step,
# or another number that has no gradient, by recurrence.
# What follows is all the rest; "invariants" come on top of it.
OTHERWISE = {
    "linear_backward: dw one part in 10^9 too large": {"complex", "adjoint"},
    "softmax_forward: not shifted by the maximum": set(),
    "softmax_forward: shifted by the maximum of all rows": set(),
    "softmax_forward: the mask adds -10000": {"adjoint"},
    "softmax_forward: weights in float64": set(),
    "causal_mask: sees the next token": {"adjoint"},
    "causal_mask: counts from the front": set(),
    "attention_forward: the mask is forgotten": {"adjoint"},
    "cross_entropy_forward: not shifted by the maximum": set(),
    "cross_entropy_forward: logarithm of the probability": set(),
    "check_targets: ignored targets in N, both ways": {"adjoint"},
    "nll_forward: log(p + 1e-9)": {"complex"},
    "layer_norm_forward: the eps asked for is ignored": {"adjoint"},
    "relu_forward: negative numbers leak": {"central"},
    "tanh_forward: rounded, straight through": {"central"},
    "dropout_forward: without 1/(1 − p), both ways": {"adjoint"},
    "dropout_forward: the rate is what is kept": {"adjoint"},
    "positions_forward: position 0 for all": {"central", "complex"},
    "multi_head_forward: scaled by 1/D, both ways": {"adjoint"},
    "multi_head_forward: scaled by the whole width": {"adjoint"},
    "multi_head_forward: the mask is forgotten": {"adjoint"},
    "AttentionLM.forward: the mask is forgotten": {"adjoint"},
    "AttentionLM.forward: always masked": {"adjoint"},
    "AttentionLM.forward: the scale is forgotten": {"adjoint"},
    "GPT.forward: no mask": {"adjoint"},
    "Transformer._embed_backward: √C missing, both ways": {"adjoint"},
    "layer_norm_backward: σ is a constant, both ways": {"central", "adjoint"},
    "_turned: a reflection": {"adjoint"},
    "rotation: positions from 1": set(),
    "rotation: clocks by D/2": set(),
    "rotation: one clock for all pairs": set(),
    "grouped_query_forward: scale of all heads": {"adjoint"},
    "Llama._turn: no rotation": {"adjoint"},
    "Llama._norm: norms without eps": {"adjoint"},
    "causal_attention_forward: no mask inside a block": {"adjoint"},
    "online_attention_forward: the maximum of the block alone": set(),
    "_scores: one step into the future": {"adjoint"},
    "text_logp_forward: divided by the length, both ways": {"adjoint"},
    "policy_gradient_forward: an advantage with a gradient": {"central", "complex"},
    "clipped_forward: clipped on both sides alike": {"adjoint"},
    "kl_estimate_forward: k2: the 2 is missing": {"central", "complex"},
    "kl_estimate_forward: k3: the ratio upside down": {"central", "complex"},
    "preference_forward: no reference": {"adjoint"},
    "preference_forward: exp of a large margin": set(),
}


def test_each_mutant_is_killed_by_the_oracles_that_should_see_it(rows):
    for row in rows:
        differentiable = FORMULAS[re.match(r"F\d+", row.mutant.formula)[0]].gradient
        usual = {"central", "complex", "adjoint"} if differentiable else {"recurrence"}
        expected = OTHERWISE.get(str(row.mutant), usual)
        assert set(row.killers) - {"invariants"} == expected, row.mutant


def test_what_is_seen_otherwise_is_among_the_mutants():
    assert set(OTHERWISE) <= {str(mutant) for mutant in MUTANTS}


EVERY_GRADIENT = sorted(
    {
        (case.op, i)
        for case in all_cases()
        if isinstance(case, OpCase)
        for i, dx in enumerate(run(case)[1])
        if dx is not None
    }
)


@pytest.mark.parametrize(("op", "i"), EVERY_GRADIENT, ids=str)
def test_no_gradient_of_any_op_can_be_one_part_in_a_thousand_too_large(op, i):
    larger = result(i, lambda dx: None if dx is None else 1.001 * dx)
    row = try_mutant(Mutant("", "", "", ((f"{op}_backward", larger),)))
    assert {"central", "complex", "adjoint"} <= set(row.killers)


# ---- removing any one check leaves a survivor ------------------------------------------------


@pytest.mark.parametrize("oracle", ORACLES)
def test_without_any_one_oracle_a_mutant_survives(oracle, rows):
    assert any(row.killers == (oracle,) for row in rows)


STAYS = {
    "softmax": "the formula as it is written; what is wrong here is wrong with a mask as well",
    "softmax, masked": "what only a mask shows is also asked with extreme scores, as an invariant",
    "feed_forward, gelu": "its activation is also that of the case without biases",
    "feed_forward, gelu_exact": "one of three activations; what is wrong in it is in GELU's too",
    "feed_forward, relu": "one of three activations",
    "rms_norm": "the eps that models have; what is wrong here is wrong with a large eps as well",
    "rms_norm, a large eps": "only a large eps shows how it enters the gradient",
    "rotary": "one of two layouts, which share their code",
    "rotary, interleaved": "the other layout",
    "grouped_query": "without a mask; what is wrong here is wrong with one as well",
    "grouped_query, causal": "the mask is laid out anew for the heads of a group",
    "grouped_self_attention, causal": "as a model calls it",
    "grouped_self_attention, all": "without a mask",
    "causal_attention, blocks of 2": "a key is read by several blocks",
    "causal_attention, one block": "a block that is larger than the text",
    "online_attention, blocks of 2": "a row is put together from several blocks",
    "online_attention, one block": "a block that is larger than the text",
    "Llama a key each": "G = H, where no key is shared",
}  # and AttentionLM, whose options act together: see the test behind this one


def test_every_case_is_needed_for_a_mutant_or_says_why_it_stays(every_row):
    needed = set()
    for row in every_row:
        cases = {name.split(": ")[0] for names in row.seen.values() for name in names}
        if len(cases) == 1:
            needed |= cases
    idle = {case.name for case in all_cases()} - needed
    assert {name for name in idle if not name.startswith("AttentionLM")} == set(STAYS)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("context", "all"),
        ("context", "last"),
        ("causal", True),
        ("causal", False),
        ("scale", 0.5),
        ("tied", True),
        ("tied", False),
        ("positions", True),
        ("projections", True),
    ],
)
def test_every_option_of_the_one_matrix_model_is_needed_for_a_mutant(option, value, every_row):
    with_it = {
        case.name
        for case in all_cases()
        if isinstance(case, ModelCase) and getattr(case.model.config, option, None) == value
    }
    alone = []
    for row in every_row:
        cases = {name.split(": ")[0] for names in row.seen.values() for name in names}
        if row.mutant.subject == "AttentionLM" and cases <= with_it:
            alone.append(row.mutant)
    assert alone


def test_every_invariant_kills_a_mutant(every_row):
    kills = defaultdict(int)
    for row in every_row:
        for claim in {name.split(": ")[-1] for name in row.seen["invariants"]}:
            kills[claim] += 1
    assert not [i.claim for i in (*OF_CASES, *ALONE) if not kills[i.claim]]


# ---- the matrix in print and as a picture ----------------------------------------------------


def survivor():
    return Kills(MUTANTS[0], {oracle: [] for oracle in ORACLES})


def test_the_matrix_fits_100_columns_and_counts(rows):
    lines = [heading(), *map(str, rows)]
    assert {len(line) for line in lines} == {len(heading())}
    assert len(heading()) <= 100
    assert closing(rows).startswith(f"{len(rows)} mutants: {len(rows)} killed, 0 survive\n")
    assert closing([*rows, survivor()]).endswith(f"SURVIVES  {MUTANTS[0]}")


@pytest.mark.parametrize(("seen", "code"), [({"central": ["a case"]}, 0), ({}, 1)])
def test_the_command_prints_the_matrix_draws_it_and_ends_with_1_on_a_survivor(
    seen, code, monkeypatch, tmp_path, capsys
):
    row = Kills(MUTANTS[0], survivor().seen | seen)
    monkeypatch.setattr(oracles, "kill_matrix", lambda: [row])
    assert main(["gradcheck", "--mutants", "--out", str(tmp_path)]) == code
    out = capsys.readouterr().out.split("\n")
    assert out[0] == heading()
    assert out[1] == str(row)
    assert (tmp_path / "kill_matrix.png").stat().st_size > 10_000


def test_the_picture_says_how_many_of_each_subject_an_oracle_sees(rows):
    figure = course_figures.kill_matrix(rows)
    subjects, written = [], {}
    for axes in figure.axes:
        names = [label.get_text() for label in axes.get_yticklabels()]
        places = {
            (names[t.get_position()[1]], t.get_position()[0]): t.get_text() for t in axes.texts
        }
        subjects, written = subjects + names, written | places
    assert subjects == list(dict.fromkeys(row.mutant.subject for row in rows))
    attention = [row for row in rows if row.mutant.subject == "attention"]
    seen = sum(bool(row.seen["invariants"]) for row in attention)
    assert written["attention", ORACLES.index("invariants")] == f"{seen}/{len(attention)}"
    said = figure._supxlabel.get_text()
    assert f"{len(rows)} mistakes, 0 unseen" in said
    alone = sum(row.killers == ("adjoint",) for row in rows)
    assert f"adjoint {alone}," in said


# ---- dual numbers ----------------------------------------------------------------------------


def test_dual_numbers_carry_the_slopes_of_calculus():
    x = dual_numbers.Dual(0.7, np.array(1.0))
    twice = dual_numbers.concatenate([x[None], x[None]])
    for y, slope in (
        (3 * x - 2, 3),
        (x * x / 2, 0.7),
        (dual_numbers.dual(1) / (x + 1), -1 / 1.7**2),
        (x**3, 3 * 0.49),
        (dual_numbers.exp(x), math.exp(0.7)),
        (dual_numbers.log(x), 1 / 0.7),
        (dual_numbers.sqrt(x), 0.5 / math.sqrt(0.7)),
        (dual_numbers.erf(x), 2 / math.sqrt(math.pi) * math.exp(-0.49)),
        (dual_numbers.concatenate([x[None], x[None] * 2]).sum(), 3),
        (dual_numbers.einsum("i,i->", np.array([2.0, 5.0]), twice), 7),
    ):
        assert np.ravel(y.slope)[0] == pytest.approx(slope, rel=1e-14)


# ---- any shape, mask and dtype ---------------------------------------------------------------

properties = settings(derandomize=True, deadline=None, max_examples=25)
sizes = st.integers(1, 4)
seeds = st.integers(0, 2**32 - 1)


def draw(seed, *shape, scale=1.0):
    return scale * np.random.default_rng([seed, *shape]).normal(size=shape)


def agrees(*case):
    """No oracle but the numerical ones, which want more of their inputs, accuses the case."""
    case = OpCase(*case)
    assert not adjoint(case)
    for invariant in OF_CASES:
        if invariant.subject in ("", case.op):
            assert not invariant.broken(case), invariant.claim


@properties
@given(sizes, sizes, sizes, seeds)
def test_f1_embedding_for_any_ids(B, T, V, seed):
    ids = np.random.default_rng(seed).integers(V, size=(B, T))
    agrees("embedding", "", (draw(seed, V, 3), ids))


@properties
@given(sizes, sizes, sizes, sizes, seeds)
def test_f12_linear_for_any_shape(B, T, I, O, seed):  # noqa: E741
    agrees("linear", "", (draw(seed, B, T, I), draw(seed, I, O), draw(seed, O)))
    agrees("linear", "", (draw(seed, T, I), draw(seed, I, O)))


@properties
@given(sizes, sizes, seeds, st.floats(0, 1))
def test_f3_softmax_for_any_mask(T, S, seed, allowed):
    mask = np.random.default_rng(seed).random((T, S)) < allowed
    agrees("softmax", "", (draw(seed, T, S, scale=3.0), mask))


@properties
@given(sizes, sizes, sizes, sizes, seeds, st.floats(0, 1))
def test_f3_attention_for_any_shape_and_mask(B, T, S, D, seed, allowed):
    mask = np.random.default_rng(seed).random((B, T, S)) < allowed
    q, k, v = draw(seed, B, T, D), draw(seed, B, S, D), draw(seed, B, S, D + 1)
    agrees("attention", "", (q, k, v))
    c, grads, dc = run(OpCase("attention", "", (q, k, v, mask, 0.7)))
    assert not adjoint(OpCase("attention", "", (q, k, v, mask, 0.7)))
    blind = ~mask.any(axis=-1)
    assert not c[blind].any()
    assert not grads[0][blind].any()
    assert not grads[1][~mask.any(axis=-2)].any()
    assert not grads[2][~mask.any(axis=-2)].any()
    assert np.isfinite(dc).all()


@properties
@given(sizes, sizes, sizes, seeds, st.sampled_from([1e2, 1e4]), st.sampled_from([64, 32]))
def test_f3_attention_at_extreme_scores(T, S, D, seed, size, bits):
    """Scores of ±size: weights are 0 and 1 but for ties, and every number stays finite."""
    dtype = np.dtype(f"float{bits}")
    q, k, v = (draw(seed, n, D).astype(dtype) for n in (T, S, S))
    mask = np.random.default_rng(seed).random((T, S)) < 0.7
    c, cache = ops.attention_forward(q, k, v, mask, size)
    grads = ops.attention_backward(np.ones_like(c), cache)
    for x in (c, cache.a, *grads):
        assert np.isfinite(x).all()
        assert x.dtype == dtype
    assert not cache.a[~mask].any()
    np.testing.assert_allclose(cache.a.sum(axis=-1), mask.any(axis=-1), rtol=1e-6)


@properties
@given(sizes, sizes, st.integers(2, 5), seeds, st.sampled_from([1.0, 1e4]))
def test_f5_cross_entropy_for_any_targets_and_size(B, T, V, seed, size):
    rng = np.random.default_rng(seed)
    targets = np.where(rng.random((B, T)) < 0.3, ops.IGNORE, rng.integers(V, size=(B, T)))
    targets[0, 0] = 0  # at least one must count
    logits = draw(seed, B, T, V, scale=size)
    loss, (dlogits,), _ = run(OpCase("cross_entropy", "", (logits, targets)))
    assert np.isfinite(loss)
    assert equal(dlogits.sum(axis=-1), np.zeros((B, T)))
    if size == 1:
        agrees("cross_entropy", "", (logits, targets))
        agrees("smoothed_cross_entropy", "", (logits, targets, 0.2))


@properties
@given(sizes, sizes, st.integers(2, 6), seeds)
def test_f13_layer_norm_for_any_width(B, T, C, seed):
    """Rows are spread out, because a row of equal numbers has no direction to normalise."""
    x = draw(seed, B, T, C) + 3.0 * np.arange(C)
    agrees("layer_norm", "", (x, draw(seed, C), draw(seed, C)))


@properties
@given(st.sampled_from(["gelu", "gelu_exact", "relu", "tanh"]), sizes, seeds, st.floats(0.1, 5.0))
def test_f14_to_f16_and_f22_activations_at_any_number(op, n, seed, scale):
    agrees(op, "", (draw(seed, n, 3, scale=scale),))


@properties
@given(sizes, sizes, st.floats(0.0, 0.9), seeds)
def test_f17_dropout_at_any_rate(B, T, rate, seed):
    agrees("dropout", "", (draw(seed, B, T, 3), rate, np.random.default_rng(seed)))


@properties
@given(sizes, sizes, st.integers(0, 3), seeds)
def test_f18_positions_of_any_text_that_fits(B, T, more, seed):
    agrees("positions", "", (draw(seed, B, T, 2), draw(seed, T + more, 2)))


@properties
@given(st.sampled_from([np.float32, np.float64]), sizes, sizes, sizes, seeds)
def test_float32_gives_the_gradients_of_float64_but_for_rounding(dtype, T, S, D, seed):
    """32-bit rounding is 6e-8 of numbers near 1, in a few dozen operations."""
    q, k, v, dc = (draw(seed, n, D) for n in (T, S, S, T))
    _, cache = ops.attention_forward(q, k, v)
    _, small = ops.attention_forward(*(x.astype(dtype) for x in (q, k, v)))
    whole = ops.attention_backward(dc, cache)
    for dx, dx_small in zip(whole, ops.attention_backward(dc.astype(dtype), small), strict=True):
        assert dx_small.dtype == dtype
        np.testing.assert_allclose(dx_small, dx, atol=2e-5, rtol=2e-5)


# ---- a fifth oracle, where it is installed ---------------------------------------------------


def torch_functions(torch):
    F = torch.nn.functional

    def attention(q, k, v, mask=None, scale=1.0):
        s = scale * q @ k.transpose(-1, -2)
        if mask is not None:
            s = s.masked_fill(~mask, -torch.inf)
        return s.softmax(-1).nan_to_num(0.0) @ v

    def cross_entropy(z, y, smoothing=0.0):
        return F.cross_entropy(z.flatten(0, 1), y.flatten(), label_smoothing=smoothing)

    return {
        "embedding": lambda table, ids: table[ids],
        "linear": lambda x, w, b=None: x @ w if b is None else x @ w + b,
        "softmax": lambda s, mask=None: (
            s if mask is None else s.masked_fill(~mask, -torch.inf)
        ).softmax(-1),
        "attention": attention,
        "output": lambda c, table: c @ table.T,
        "cross_entropy": cross_entropy,
        "smoothed_cross_entropy": cross_entropy,
        "nll": lambda p, y: F.nll_loss(p.log().flatten(0, 1), y.flatten()),
        "layer_norm": lambda x, gain, bias=None, eps=1e-5: F.layer_norm(
            x, gain.shape, gain, bias, eps
        ),
        "gelu": lambda x: F.gelu(x, approximate="tanh"),
        "gelu_exact": F.gelu,
        "relu": torch.relu,
        "tanh": torch.tanh,
        "positions": lambda e, table: e + table[: e.shape[-2]],
    }


def test_every_formula_of_pytorch_has_the_gradients_of_ops():
    torch = pytest.importorskip("torch")
    functions = torch_functions(torch)
    cases = [case for case in all_cases() if isinstance(case, OpCase) and case.op in functions]
    assert {case.op for case in cases} == set(functions)
    for case in cases:
        y, grads, dy = run(case)
        args = [torch.tensor(a) if isinstance(a, np.ndarray) else a for a in case.args]
        leaves = [a.requires_grad_() for a in args if torch.is_tensor(a) and a.is_floating_point()]
        theirs = functions[case.op](*args)
        assert equal(theirs.detach().numpy(), y), case.name
        for dx, leaf in zip(
            [dx for dx in grads if dx is not None],
            torch.autograd.grad(theirs, leaves, torch.tensor(dy)),
            strict=True,
        ):
            assert equal(leaf.numpy(), dx), case.name


def test_an_op_without_a_second_formula_is_no_mistake_but_a_missing_check():
    module = ModuleType("mine")
    module.doubled_forward = lambda x: (2 * x, None)
    module.doubled_backward = lambda dy, cache: 2 * dy
    case = OpCase("doubled", "", (np.array([[0.3, -1.0], [2.0, 0.7]]),), module)
    question = Question("adjoint", case.name, partial(adjoint, case))
    with pytest.raises(InputError, match="the check is missing: doubled has no second formula"):
        question.fails()
    assert Question("central", "one that raises", lambda: 1 / 0 > 0).fails()
