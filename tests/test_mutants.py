"""mutants.py, mutation.py: the registry is complete, well written, and leaves nothing behind."""

import builtins
import dis
import re
import sys
from itertools import pairwise
from types import ModuleType

import numpy as np
import pytest

from numpylm import blocks, gpt, ops
from numpylm.checks.mutants import EQUIVALENT, MUTANTS
from numpylm.checks.mutation import Mutant, applied, edit, find, result
from numpylm.checks.oracles import SUBJECTS, all_subjects, try_mutant
from numpylm.errors import InputError

NAMES = {str(mutant) for mutant in MUTANTS}


# ---- the registry ----------------------------------------------------------------------------

# Every kind of wrong backward that public code has shown, and the mutants that stand for it.
KNOWN_MISTAKES = {
    "query path of E dropped": ["AttentionLM.backward: no query path"],
    "key path of E dropped": ["AttentionLM.backward: no key path"],
    "value path of E dropped": ["AttentionLM.backward: no value path"],
    "output path of E dropped": ["AttentionLM.backward: no output path"],
    "ds in place of dsᵀ": ["AttentionLM._towards_e: ds in place of dsᵀ"],
    "dsᵀ in place of ds": ["AttentionLM._towards_e: dsᵀ in place of ds"],
    "key gradient not transposed back": ["attention_backward: dk not transposed back"],
    "scale missing": [
        "attention_backward: scale missing in dq",
        "attention_backward: scale missing in dk",
        "attention_backward: scale missing in both",
    ],
    "softmax without its sum": [
        "softmax_backward: without the sum",
        "attention_backward: without the sum",
    ],
    "that sum over the wrong axis": [
        "softmax_backward: sum over the rows",
        "attention_backward: sum over the queries",
    ],
    "divided by B twice, by T, not at all": [
        "cross_entropy_backward: divided by N twice",
        "cross_entropy_backward: divided by B",
        "cross_entropy_backward: divided by T",
        "cross_entropy_backward: not divided by N",
        "AttentionLM.backward: divided by B again",
    ],
    "cross-entropy without the −1": ["cross_entropy_backward: without the −1"],
    "−1 at the wrong column": ["cross_entropy_backward: −1 at the next word"],
    "upstream ignored": ["cross_entropy_backward: upstream ignored"],
    "table[ids] += dy": ["embedding_backward: a repeated word keeps its last row"],
    "embedding assigns instead of adding": ["GPT.backward: tie lost: no output path"],
    "tie lost": [
        "GPT.backward: tie lost: no input path",
        "BERTForMaskedLM.head_backward: tie lost: the head",
    ],
    "layer norm without one of its mean terms": [
        "layer_norm_backward: without the mean term",
        "layer_norm_backward: without the variance term",
    ],
    "gain outside the sums": ["layer_norm_backward: gain outside the sums"],
    "biased and unbiased variance mixed": [
        "layer_norm_backward: divided by C − 1",
        "layer_norm_forward: variance by C − 1",
    ],
    "ε left out": ["layer_norm_backward: eps left out"],
    "mask leaks gradient": [
        "softmax_backward: the mask leaks gradient",
        "attention_backward: the mask leaks gradient",
    ],
    "masked row uniform": ["softmax_forward: a blind row is uniform"],
    "dropout with undropped weights": ["dropout_backward: nothing dropped"],
    "dropout without 1/(1−p)": ["dropout_backward: without 1/(1 − p)"],
    "dropout with a fresh mask": ["dropout_backward: a fresh mask"],
    "GELU of the other approximation": [
        "gelu_backward: the slope of the other GELU",
        "gelu_exact_backward: the slope of the other GELU",
    ],
    "missing the cubic's inner derivative": [
        "gelu_backward: the cubic's 3 is missing",
        "gelu_backward: the cubic is constant",
    ],
    "residual path dropped": [
        "GPT._block_backward: residual past attention dropped",
        "BERT._block_backward: residual past attention dropped",
        "Transformer.encode_backward: residual past attention dropped",
    ],
    "positions not summed over the batch": ["positions_backward: not summed over the batch"],
    "head axis and time axis swapped": [
        "multi_head_backward: dc split without exchanging axes",
        "multi_head_backward: dk merged without exchanging axes",
    ],
    "dW transposed": ["linear_backward: dw transposed"],
    "db summed over one axis only": ["linear_backward: db over one axis only"],
    "Adam without bias correction": ["Adam.update: no bias correction"],
    "Adam counts from 0": ["Adam.update: steps counted from 0"],
    "ε inside the root": ["Adam.update: eps inside the root"],
    "moments shared between tensors": ["Adam.update: moments shared between tensors"],
    "decay inside the moments": ["Optimizer._begin: decay inside the gradient"],
    "clip by per-tensor norms": ["clip_by_global_norm: a norm for each tensor"],
    "one part in a thousand too large": [
        "attention_backward: dq one part in 1000 too large",
        "AttentionLM.backward: E one part in 1000 too large",
    ],
}


@pytest.mark.parametrize("mistake", KNOWN_MISTAKES)
def test_every_mistake_seen_in_public_code_is_in_the_registry(mistake):
    assert set(KNOWN_MISTAKES[mistake]) <= NAMES


def test_every_op_model_and_optimizer_has_mutants():
    covered = {mutant.subject for mutant in MUTANTS}
    covered |= {subject for name in covered for subject in SUBJECTS.get(name, ())}
    assert all_subjects() <= covered
    assert {mutant.subject for mutant in MUTANTS} <= all_subjects() | set(SUBJECTS)


def test_every_gradient_of_every_op_has_a_mutant_of_its_backward():
    backwards = {
        name
        for module in (ops, blocks)
        for name, f in vars(module).items()
        if name.endswith("_backward") and f.__module__ == module.__name__
    }
    assert backwards <= {mutant.target for mutant in MUTANTS}


def test_a_mutant_is_a_name_a_sentence_and_a_formula():
    assert len(MUTANTS) >= 60
    assert len(NAMES) == len(MUTANTS)
    for mutant in MUTANTS:
        assert mutant.proof == ""
        assert 20 <= len(mutant.sentence) <= 180, mutant
        assert not mutant.sentence.endswith("."), mutant
        assert re.fullmatch(r"F\d+((–|, )F\d+)*", mutant.formula), mutant


def test_what_is_equivalent_has_a_proof_and_no_oracle_accuses_it():
    assert EQUIVALENT
    for mutant in EQUIVALENT:
        assert len(mutant.proof) > 30, mutant
        assert try_mutant(mutant).killers == (), mutant


# ---- edit and result -------------------------------------------------------------------------


def test_an_edit_changes_one_line_of_the_right_code():
    wrong = edit("dy * (1 - y * y)", "dy * (1 - y)")(ops.tanh_backward)
    dy, y = np.array([2.0]), np.array([0.5])
    assert wrong(dy, y) == 1.0
    assert ops.tanh_backward(dy, y) == 1.5


def test_edits_can_be_made_one_upon_the_other():
    once = edit("dy * (1 - y * y)", "dy * (1 - y)")(ops.tanh_backward)
    assert edit("(1 - y)", "(2 - y)")(once)(np.array([2.0]), np.array([0.5])) == 3.0


@pytest.mark.parametrize("text", ["no such text", "y"])
def test_an_edit_wants_its_text_exactly_once(text):
    with pytest.raises(InputError, match=r"tanh_backward holds \d+ times"):
        edit(text, "")(ops.tanh_backward)


def test_a_result_changes_one_array_of_several_or_the_only_one():
    assert result(1, lambda x: 10 * x)(lambda a, b: (a, b, a))(1, 2) == (1, 20, 1)
    assert result(0, lambda x: 10 * x)(lambda a: a)(3) == 30


# ---- applied ---------------------------------------------------------------------------------


def everything():
    """A copy of every namespace of numpylm in which a function can stand."""
    modules = [m for name, m in sys.modules.items() if name.startswith("numpylm.")]
    classes = {c for m in modules for c in vars(m).values() if isinstance(c, type)}
    return [dict(vars(thing)) for thing in (*modules, *classes)] + [dict(blocks.ACTIVATIONS)]


def test_every_mutant_can_be_applied_and_leaves_nothing_behind():
    before = everything()
    for mutant in (*MUTANTS, *EQUIVALENT):
        with applied(mutant):
            assert everything() != before, mutant
        assert everything() == before, mutant


def test_a_mutant_reaches_every_user_of_the_function():
    right = ops.gelu_backward
    mutant = next(m for m in MUTANTS if m.target == "gelu_backward")
    with applied(mutant):
        assert ops.gelu_backward is not right
        assert blocks.ACTIVATIONS["gelu"][1] is ops.gelu_backward
        assert find("gelu_backward") is ops.gelu_backward
    assert blocks.ACTIVATIONS["gelu"] == (ops.gelu_forward, right)


def test_a_mutant_reaches_a_module_that_imports_the_function_by_its_name(monkeypatch):
    borrower = ModuleType("numpylm.borrower")
    right = borrower.gelu_backward = ops.gelu_backward
    monkeypatch.setitem(sys.modules, borrower.__name__, borrower)
    with applied(next(m for m in MUTANTS if m.target == "gelu_backward")):
        assert borrower.gelu_backward is ops.gelu_backward is not right
    assert borrower.gelu_backward is ops.gelu_backward is right


def names_used(code):
    """Every global name in the code of a function, and every `module.name`."""
    steps = [*dis.get_instructions(code)]
    for one, after in pairwise(steps):
        if one.opname == "LOAD_GLOBAL":
            yield one.argval, after.argval if after.opname == "LOAD_ATTR" else None
    for inner in code.co_consts:
        if hasattr(inner, "co_consts"):
            yield from names_used(inner)


@pytest.mark.parametrize("mutant", [*MUTANTS, *EQUIVALENT], ids=str)
def test_a_mutant_is_caught_for_what_it_computes_not_for_a_name_it_does_not_know(mutant):
    with applied(mutant):
        mistaken = [find(target) for target, _ in mutant.changes]
    for function in mistaken:
        known = vars(builtins) | function.__globals__
        for name, attribute in names_used(function.__code__):
            assert name in known
            if attribute and name in ("ops", "blocks"):
                assert hasattr(known[name], attribute)


def test_a_static_method_stays_one():
    mutant = next(m for m in MUTANTS if m.target == "GPT._block_backward")
    with applied(mutant):
        assert isinstance(vars(gpt.GPT)["_block_backward"], staticmethod)


def test_the_right_code_is_back_after_an_error():
    right = ops.relu_backward
    mutant = next(m for m in MUTANTS if m.target == "relu_backward")
    with pytest.raises(ZeroDivisionError), applied(mutant):
        raise ZeroDivisionError
    assert ops.relu_backward is right


def test_a_mutant_with_a_change_that_does_not_fit_changes_nothing():
    before = everything()
    good = ("tanh_backward", edit("y * y", "y"))
    bad = ("relu_backward", edit("no such text", ""))
    mutant = Mutant("half", "only half of it fits", "F22", (good, bad))
    with pytest.raises(InputError, match="relu_backward"), applied(mutant):
        pass
    assert everything() == before


def test_two_mutants_of_one_function_act_together():
    by_two, by_three = (
        Mutant("", "", "F22", (("tanh_backward", result(0, lambda x, n=n: n * x)),)) for n in (2, 3)
    )
    with applied(by_two, by_three):
        assert ops.tanh_backward(np.float64(1.0), np.float64(0.0)) == 6.0


def test_an_unknown_target_is_refused():
    with pytest.raises(InputError, match="nothing called 'gelo_backward'"):
        find("gelo_backward")
