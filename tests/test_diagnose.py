"""diagnose.py: it names the mistakes of the registry, alone and in pairs, says the rest in words,
and never accuses a right answer."""

from collections import defaultdict
from functools import partial
from random import Random

import numpy as np
import pytest

from numpylm import ops
from numpylm.checks.diagnose import diagnose
from numpylm.checks.diagnose_cases import OTHERS, subject
from numpylm.checks.gradient_cases import block_cases, model_cases, op_cases
from numpylm.checks.invariants import subject_of
from numpylm.checks.mutants import EQUIVALENT, MUTANTS
from numpylm.checks.mutation import applied, find
from numpylm.checks.oracles import SUBJECTS
from numpylm.errors import InputError
from numpylm.gpt import GPT
from numpylm.ops import attention_backward, cross_entropy_backward, linear_backward

# What a reader would ask about, where a mistake is in a helper.
ASKED = {
    "check_targets": "cross_entropy_forward",
    "_add_norm": "Transformer",
    "Optimizer": "Adam",
    "BERT": "BERTForMaskedLM",
}


def asked(mutant):
    if mutant.subject in ASKED:
        return ASKED[mutant.subject]
    owner, _, method = mutant.target.partition(".")
    if method.startswith("_") and not mutant.changes_backward:
        return f"{owner}.forward"
    if mutant.subject.startswith("_") or mutant.subject == "rotated_qkv":
        op = SUBJECTS[mutant.subject][0]
        return op if mutant.changes_backward else f"{op}_forward"
    forward = mutant.target.endswith(("_forward", ".forward"))
    return mutant.target if forward else mutant.subject


def with_mistakes(*mutants):
    """The function that a reader would hand in who has made these mistakes."""
    changes = [change for mutant in mutants for change in mutant.changes]
    if len(changes) == 1 and changes[0][0] == subject(asked(mutants[0])).target:
        return changes[0][1](find(changes[0][0]))

    def function(*args, **kwargs):
        with applied(*mutants):
            return find(subject(asked(mutants[0])).target)(*args, **kwargs)

    return function


# ---- the registry ----------------------------------------------------------------------------

# Cannot be named: its numbers are right, and only their dtype is not.
UNNAMED = {
    "softmax_forward: weights in float64",
    "online_attention_forward: the maximum of the block alone",  # there is one block alone
}


def test_every_mutant_but_one_is_named():
    found = {mutant: diagnose(asked(mutant), with_mistakes(mutant)) for mutant in MUTANTS}
    unnamed = {str(mutant) for mutant, answer in found.items() if mutant not in answer.mutants}
    assert unnamed == UNNAMED
    assert len(unnamed) <= 0.05 * len(MUTANTS)
    for answer in found.values():
        assert str(answer) == f"{answer.subject}: {answer.sentence}"
        if answer.mutants:
            assert not answer.right
            assert answer.mutants[0].sentence in str(answer)
            assert answer.mutants[0].formula in str(answer)


def pairs_of_one_subject():
    groups = defaultdict(list)
    for mutant in MUTANTS:
        groups[asked(mutant)].append(mutant)
    pairs = [(a, b) for group in groups.values() for a in group for b in group if a is not b]
    return Random(3).sample(pairs, 50)


def test_most_combinations_of_two_are_named():
    """Where one of a pair hides the other (dq is 0, and dq lacks a factor), one is enough."""
    possible = both = one = 0
    for a, b in pairs_of_one_subject():
        try:
            with applied(a, b):
                pass
        except InputError:  # the second mistake is in the line that the first has changed
            continue
        possible += 1
        named = set(diagnose(asked(a), with_mistakes(a, b)).mutants)
        both += {a, b} <= named
        one += bool({a, b} & named)
    assert possible > 30
    assert both > 0.8 * possible
    assert one > 0.9 * possible


# ---- right answers in another style ----------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    sorted(
        {case.op for case in (*op_cases(), *block_cases())}
        | {subject_of(case) for case in model_cases()}
        | set(OTHERS)
    ),
)
def test_the_library_is_right_everywhere(name):
    assert diagnose(name, find(subject(name).target)).right


@pytest.mark.parametrize("op", sorted({case.op for case in op_cases()}))
def test_the_forwards_of_the_library_are_right(op):
    assert diagnose(f"{op}_forward", getattr(ops, f"{op}_forward")).right


@pytest.mark.parametrize("mutant", EQUIVALENT, ids=str)
def test_what_is_equivalent_is_not_accused(mutant):
    answer = diagnose(asked(mutant), with_mistakes(mutant))
    assert answer.right
    assert answer.mutants == ()


def attention_by_einsum(dc, cache):
    q, k, v, a, _, scale = cache
    da = np.einsum("...te,...se->...ts", dc, v)
    ds = scale * a * (da - np.einsum("...ts,...ts->...t", a, da)[..., None])
    dq = np.einsum("...ts,...sd->...td", ds, k)
    return dq, np.einsum("...ts,...td->...sd", ds, q), np.einsum("...ts,...te->...se", a, dc)


def attention_by_loops(dc, cache):
    q, k, v, a, _, scale = cache
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    for *lead, i, j in np.ndindex(a.shape):
        at_i, at_j = (*lead, i), (*lead, j)
        dv[at_j] += a[*lead, i, j] * dc[at_i]
        total = sum(a[*lead, i, n] * (dc[at_i] @ v[*lead, n]) for n in reversed(range(a.shape[-1])))
        ds = scale * a[*lead, i, j] * (dc[at_i] @ v[at_j] - total)
        dq[at_i] += ds * k[at_j]
        dk[at_j] += ds * q[at_i]
    return [dq, dk, dv]


def attention_in_float32(dc, cache):
    return attention_by_einsum(np.float32(dc), [np.float32(part) for part in cache])


def linear_by_einsum(dy, cache):
    x, w, has_bias = cache
    x_rows, dy_rows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    dx, dw = np.einsum("...o,io->...i", dy, w), np.einsum("ni,no->io", x_rows, dy_rows)
    return (dx, dw, np.ones(len(dy_rows)) @ dy_rows) if has_bias else (dx, dw)


def softmax_by_jacobian(da, a):
    return np.array([(np.diag(row) - np.outer(row, row)) @ d for row, d in zip(a, da, strict=True)])


def embedding_by_add_at(de, cache):
    shape, ids = cache
    dtable = np.zeros(shape)
    np.add.at(dtable, ids, de)
    return dtable


def layer_norm_by_jacobian(dy, cache):
    x_hat, sigma, gain, has_bias = cache
    C = x_hat.shape[-1]
    jacobian = np.eye(C) - 1 / C - x_hat[..., :, None] * x_hat[..., None, :] / C
    dx = np.einsum("...k,...kc->...c", dy * gain, jacobian) / sigma
    dgain, dbias = np.einsum("btc,btc->c", dy, x_hat), dy.sum(axis=(0, 1))
    return dx, dgain, dbias if has_bias else None


def adam_of_ones_own():
    moments = {}

    def step(optimizer, grads, learning_rate):
        t = moments["t"] = moments.get("t", 0) + 1
        for name, p in optimizer.params.items():
            m, v = moments.get(name, (0.0, 0.0))
            m = optimizer.beta1 * m + (1 - optimizer.beta1) * grads[name]
            v = optimizer.beta2 * v + (1 - optimizer.beta2) * grads[name] ** 2
            moments[name] = m, v
            m_hat, v_hat = m / (1 - optimizer.beta1**t), v / (1 - optimizer.beta2**t)
            if name in optimizer.decayed:
                p *= 1 - learning_rate * optimizer.weight_decay
            p -= learning_rate * m_hat / (np.sqrt(v_hat) + optimizer.eps)

    return step


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("attention", attention_by_einsum),
        ("attention", attention_by_loops),
        ("attention", attention_in_float32),
        ("linear", linear_by_einsum),
        ("softmax", softmax_by_jacobian),
        ("embedding", embedding_by_add_at),
        ("layer_norm", layer_norm_by_jacobian),
        ("Adam", adam_of_ones_own()),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_right_answer_in_another_style_is_not_accused(name, function):
    answer = diagnose(name, function)
    assert answer.right, answer
    assert "right" in answer.sentence
    assert answer.mutants == ()


def rounded(function, *args):
    answer = function(*args)
    if isinstance(answer, dict) or hasattr(answer, "items"):
        return {name: x.astype(np.float32) for name, x in answer.items()}
    if isinstance(answer, tuple):
        return tuple(None if x is None else x.astype(np.float32) for x in answer)
    return answer.astype(np.float32)


@pytest.mark.parametrize(
    "name",
    sorted(
        {case.op for case in (*op_cases(), *block_cases())}
        | {subject_of(case) for case in model_cases()}
    ),
)
def test_the_rounding_of_float32_is_not_accused(name):
    answer = diagnose(name, partial(rounded, find(subject(name).target)))
    assert answer.right, answer
    assert "float32" in answer.sentence


def one_matrix(model, dlogits, cache, towards_keys=lambda ds: ds.swapaxes(1, 2)):
    """The backward as the article's own formulas give it: E alone, tied, without repairs."""
    q, _, v, a, c, scale = cache.attention
    c_used, E = cache.output
    if q is not v:
        raise NotImplementedError("projections")
    dE = dlogits.reshape(-1, len(E)).T @ c_used.reshape(-1, E.shape[1])
    dc = np.zeros_like(c)
    dc[:, -1 if dlogits.ndim == 2 else slice(None)] = dlogits @ E
    da = dc @ v.swapaxes(1, 2)
    ds = scale * a * (da - np.sum(a * da, axis=-1, keepdims=True))
    de = ds @ v + towards_keys(ds) @ v + a.swapaxes(1, 2) @ dc
    np.add.at(dE, cache.embedding[1], de)
    return dE


def test_a_backward_for_the_model_as_the_article_writes_it_is_right():
    answer = diagnose("AttentionLM", one_matrix)
    assert answer.right, answer
    assert "That is for 9 of 29 cases" in answer.sentence
    assert "all is well if it is not meant for those" in answer.sentence


def test_in_it_a_forgotten_transpose_is_named():
    answer = diagnose("AttentionLM", partial(one_matrix, towards_keys=lambda ds: ds))
    assert not answer.right
    assert answer.sentence.startswith("the key path repeats the query path")


def test_in_it_an_unknown_mistake_is_described():
    answer = diagnose("AttentionLM", lambda *args: one_matrix(*args) + 0.25)
    assert "E is wrong: every number is 0.25 too large" in str(answer)


# ---- learners' mistakes ----------------------------------------------------------------------


def attention(change):
    return lambda dc, cache: change(*attention_backward(dc, cache))


def moved(dv):
    dv = dv.copy()
    dv[..., 2, :] += 1.0
    return dv


WORDS = {
    "order": (lambda q, k, v: (v, k, q), "they come in the order dv, dk, dq: expected dq, dk, dv"),
    "two": (lambda q, k, v: (q, k), "returned 2 arrays; expected 3 gradients: dq, dk, dv"),
    "one": (lambda q, k, v: q, "returned 1 array; expected 3 gradients"),
    "axes": (
        lambda q, k, v: (q, k.swapaxes(-1, -2), v),
        "dk is qᵀ @ ds, times scale: this is the transpose of the whole product; expected dsᵀ @ q",
    ),
    "shape": (
        lambda q, k, v: (q, k, v[..., None]),
        "expected (2, 5, 6): the numbers are right, .reshape them; dq, dk are right",
    ),
    "half": (
        lambda q, k, v: (q / 2, k / 2, v / 2),
        "every gradient is exactly 2 times too small",
    ),
    "factor": (
        lambda q, k, v: (q, k * 3, v),
        "dk is exactly 3 times too large; dq, dv are right",
    ),
    "sign": (lambda q, k, v: (q, -k, v), "dk is right but for the sign; dq, dv are right"),
    "place": (
        lambda q, k, v: (q, k, moved(v)),
        "dv is wrong in 12 of 60 entries, only at 2 of axis 1",
    ),
    "along": (
        lambda q, k, v: (q, k, v + v.mean(axis=-2, keepdims=True)),
        "dv is wrong in 60 of 60 entries, by the same along axis 1; most at",
    ),
    "nan": (lambda q, k, v: (q * np.nan, k, v), "dq holds nan at dq[0, 0, 0]"),
    "two at once": (lambda q, k, v: (0 * q, 0 * k, v), "the query path is missing: dq is 0 (F3"),
    "words": (lambda q, k, v: "dq, dk, dv", "a gradient is an array of real numbers"),
}


@pytest.mark.parametrize("name", WORDS)
def test_what_no_mutant_explains_is_said_in_words(name):
    function, sentence = WORDS[name]
    answer = diagnose("attention", attention(function))
    assert not answer.right
    assert sentence in answer.sentence


def test_a_function_that_raises_is_told_how_it_was_called():
    answer = diagnose("attention", lambda dc: dc)
    assert not answer.right
    assert "your function raises TypeError: " in answer.sentence
    assert "(it is called as f(dy, cache), like attention_backward)" in answer.sentence


def test_an_array_that_must_still_be_summed_is_told_so():
    def wrong(dy, cache):
        dx, dw, db = linear_backward(dy, cache)
        return dx, dw, dy.sum(axis=1) if cache[2] else db

    answer = diagnose("linear", wrong)
    assert "db has shape (2, 7); expected (7,): it is right once it is summed over axis 0" in str(
        answer
    )
    assert "dx, dw are right" in str(answer)


def test_a_factor_is_named_by_the_sizes_it_may_be():
    by_N = diagnose("cross_entropy", lambda dL, c: cross_entropy_backward(dL, c) * c[3] ** 3 / 5)
    assert "dlogits is exactly" not in str(by_N)
    by_N = diagnose("cross_entropy", lambda dL, c: cross_entropy_backward(dL, c) / c[3] ** 2)
    assert "dlogits is exactly N² times too small: 25 in the first case" in str(by_N)
    by_25 = diagnose("cross_entropy", lambda dL, cache: cross_entropy_backward(dL, cache) * 25)
    assert str(by_25).endswith("dlogits is exactly 25 times too large")
    plain = diagnose("cross_entropy", lambda dL, cache: cross_entropy_backward(dL, cache) * -1.7)
    assert str(plain).endswith("dlogits is exactly 1.7 times too large, and has the wrong sign")


def test_a_mistake_in_float32_is_named_as_well():
    mutant = next(m for m in MUTANTS if str(m) == "attention_backward: scale missing in dk")
    answer = diagnose("attention", partial(rounded, with_mistakes(mutant)))
    assert mutant in answer.mutants


def test_in_a_model_the_first_wrong_array_on_the_way_back_is_shown():
    def wrong(model, dlogits, cache):
        grads = GPT.backward(model, dlogits, cache)
        grads["block0.norm2.gain"][2] += 0.1
        grads["P"][1, 3] = 9
        return grads

    answer = diagnose("GPT", wrong)
    assert "first on the way back, block0.norm2.gain is wrong in 1 of 6 entries" in str(answer)
    assert "1 other arrays are wrong as well" in str(answer)


def test_a_forgotten_parameter_is_shown():
    def wrong(model, dlogits, cache):
        return {k: dx for k, dx in GPT.backward(model, dlogits, cache).items() if k != "P"}

    assert "returned 27 of 28 gradients: it lacks P" in str(diagnose("GPT", wrong))


def test_what_is_wrong_only_in_some_cases_says_in_which():
    def wrong(dc, cache):
        dq, dk, dv = attention_backward(dc, cache)
        return dq, dk, dv * 1.5 if (cache.a == 0).any() else dv

    answer = diagnose("attention", wrong)
    assert "It is wrong in 3 of 6 cases, first in “attention, causal, scaled”" in str(answer)


def test_a_library_cache_is_not_changed_by_the_question():
    def greedy(dc, cache):
        answer = attention_backward(dc, cache)
        cache.q[...] = 0
        dc *= 0
        return answer

    answer = diagnose("attention", greedy)
    assert not answer.right
    assert "it changes its input: dc and the cached q are overwritten" in answer.sentence
    assert diagnose("attention", attention_backward).right


def test_a_name_that_is_not_known_is_refused_with_those_that_are():
    with pytest.raises(
        InputError, match=r"nothing called 'atention'.*attention, .*AttentionLM.*Adam"
    ):
        diagnose("atention", attention_backward)


@pytest.mark.parametrize("name", ["attention_backward", "GPT.backward"])
def test_the_full_name_of_a_backward_will_do(name):
    assert diagnose(name, find(name)).right
