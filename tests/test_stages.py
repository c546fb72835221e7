"""A backward, line by line: the right lines are right, and wrong ones are told how far off."""

import numpy as np
import pytest

from numpylm import GPT, AttentionLM
from numpylm.course.problems import lines as right_lines
from numpylm.course.problems.lines import block_lines, one_matrix_lines
from numpylm.errors import InputError
from numpylm.gradcheck import central_difference, gradient_error

LINES = {"one matrix": one_matrix_lines(), "block": block_lines()}
EVERY = [(which, name) for which, lines in LINES.items() for name in lines.right]


def test_the_one_matrix_gradient_is_that_of_the_model():
    lines = LINES["one matrix"]
    model = AttentionLM(vocab_size=7, width=4, context_length=5, dtype=np.float64)
    model.params["E"] = lines.values["E"]
    ids, targets = lines.values["ids"], lines.values["y"].argmax(axis=1)
    grads = model.loss_backward(model.loss(ids, targets)[1])
    assert np.allclose(lines.right["dE"], grads["E"], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["E", "e"])
def test_the_lines_of_the_one_matrix_model_are_the_slopes_of_its_loss(name):
    v = LINES["one matrix"].values

    def loss(x):
        forward = right_lines.one_matrix_forward(x, v["ids"], v["y"].argmax(axis=1))
        return -(np.log(forward["p"]) * v["y"]).sum() / 5

    slope = central_difference(loss, v["E"])
    if name == "E":
        assert gradient_error(LINES["one matrix"].right["dE"], slope) < 1e-8
    else:
        assert np.allclose(LINES["one matrix"].right["dz"].sum(axis=1), 0)


@pytest.mark.parametrize("name", ["h", "w_qkv", "w_out", "w_in", "w_down", "b_down", "gain2"])
def test_the_lines_of_the_block_are_the_slopes_of_its_result(name):
    lines = LINES["block"]
    weights = {key: lines.values[key] for key in right_lines.SHAPES}

    def loss(x):
        given = weights | {name: x} if name != "h" else weights
        forward = right_lines.block_forward(x if name == "h" else lines.values["h"], given)
        return (lines.values["dy"] * forward["y"]).sum()

    slope = central_difference(loss, lines.values[name])
    assert gradient_error(lines.right[f"d{name}"], slope) < 1e-8


def test_the_block_is_that_of_gpt():
    lines = LINES["block"]
    model = GPT(vocab_size=3, context_length=5, layers=1, heads=2, width=6, dtype=np.float64)
    for ours, theirs in {"w_qkv": "attention.w_qkv", "b_qkv": "attention.b_qkv",
                         "w_out": "attention.w_out", "b_out": "attention.b_out",
                         "gain1": "norm1.gain", "bias1": "norm1.bias"}.items():  # fmt: skip
        assert model.params[f"block0.{theirs}"].shape == lines.values[ours].shape


@pytest.mark.parametrize("which, name", EVERY)
def test_a_line_is_exact_or_close_or_wrong(which, name):
    lines = LINES[which]
    right = lines.right[name]
    assert lines.check(name, right).says == "exact"
    assert lines.check(name, right * (1 + 1e-13)).says.startswith("close: the largest difference")
    assert lines.check(name, ...).state == "not written yet"
    off = right.copy()
    off.flat[-1] += 0.5
    verdict = lines.check(name, off)
    last = ", ".join(str(n - 1) for n in right.shape)
    assert verdict.state == "wrong"
    assert verdict.says.startswith(f"the largest difference is 5.0e-01, at [{last}]")
    assert "sign is wrong" in lines.check(name, -right).says or which == "one matrix"
    assert "expected" in lines.check(name, right[..., :-1]).says
    assert lines.check(name, "text").state == "wrong"


@pytest.mark.parametrize("which", LINES)
def test_every_hint_is_given_for_its_own_mistake(which):
    lines = LINES[which]
    everything = {**lines.values, **lines.right}
    for name, hints in lines.hints.items():
        for sentence, mistaken in hints.items():
            verdict = lines.check(name, mistaken(everything))
            assert verdict.state == "wrong" and f"The reason: {sentence}." in verdict.says


def test_a_transposed_line_is_called_so():
    lines = LINES["one matrix"]
    assert "it is transposed" in lines.check("dE_output", lines.right["dE_output"].T).says


def test_unknown_names_are_named():
    with pytest.raises(InputError, match="no line is called 'dx'"):
        LINES["block"].check("dx", 1.0)
    with pytest.raises(InputError, match="the forward left no x"):
        LINES["block"].given("x")


def test_what_is_given_may_be_changed():
    lines = LINES["one matrix"]
    lines.given("e")[0][:] = 0
    assert lines.values["e"].any()
