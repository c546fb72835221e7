"""inside/explain.py, terms.py, traces.py, texts.py: every printed sum is the number, to rounding,
and the number is the model's."""

import math
import re

import numpy as np
import pytest

import numpylm
from numpylm import GPT, Corpus, InputError, Llama, Run, ops
from numpylm.__main__ import main
from numpylm.attention_lm import AttentionLM, AttentionLMConfig
from numpylm.bert import BERTConfig, BERTForMaskedLM
from numpylm.bert_heads import BERTForClass, BERTForClassConfig, BERTForSpan
from numpylm.checks.dual_numbers import concatenate, einsum
from numpylm.checks.gradient_cases import order_one
from numpylm.course.course_figures import s1_s2_s3
from numpylm.gpt import GPTConfig
from numpylm.inside.explain import Numbers, explain
from numpylm.inside.traces import Trace, gradients
from numpylm.llama import LlamaConfig
from numpylm.transformer import Transformer, TransformerConfig

V = 5
IDS, TARGETS = np.array([[1, 4, 1]]), np.array([[4, ops.IGNORE, 2]])
SMALL = dict(vocab_size=V, context_length=4, layers=1, heads=2, width=4)
REPAIRED = dict(positions=True, projections=True, tied=False, context="last", scale=0.5)
CASES = {
    "AttentionLM": (AttentionLM, AttentionLMConfig(V, 4, width=3), (IDS, TARGETS), {}),
    "repaired": (AttentionLM, AttentionLMConfig(V, 4, width=3, **REPAIRED), (IDS, TARGETS), {}),
    "GPT": (GPT, GPTConfig(**SMALL), (IDS, TARGETS), {}),
    "Llama": (Llama, LlamaConfig(**SMALL, groups=1, hidden=3), (IDS, TARGETS), {}),
    "BERT masked": (BERTForMaskedLM, BERTConfig(**SMALL, hidden=3), (IDS[0], TARGETS[0]), {}),
    "BERT class": (
        BERTForClass,
        BERTForClassConfig(**SMALL, hidden=3, classes=3),
        (np.array([[1, 4, 2], [3, 0, 0]]), np.array([2, 0])),
        {"segments": [[0, 0, 1], [0, 1, 1]], "attend": [[True, True, True], [True, True, False]]},
    ),
    "BERT span": (
        BERTForSpan,
        BERTConfig(**SMALL, hidden=3),
        (IDS, np.array([[0, 1]])),
        {"attend": np.array([[True, True, False]])},
    ),
    "Transformer": (
        Transformer,
        TransformerConfig(**SMALL, hidden=3, smoothing=0.2),
        (np.array([[4, 3, 0]]), np.array([[1, 3, 2, 0]])),
        {},
    ),
}


def made(name, dtype=np.float64):
    kind, config, batch, more = CASES[name]
    return order_one(kind(config, np.random.default_rng(2), dtype)), batch, more


@pytest.fixture(scope="module", params=CASES)
def case(request):
    model, batch, more = made(request.param)
    return model, batch, more, Numbers(model, *batch, **more)


# ---- the numbers -----------------------------------------------------------------------------


def test_the_terms_of_every_entry_of_every_number_add_up_to_it(case):
    numbers = case[-1]
    nodes = {node.name: node for node in numbers.trace.nodes if node.name}
    for name, node in nodes.items():
        for of_loss in ("", "d"):
            whole = numbers.array(of_loss + name)
            for index in np.ndindex(node.value.shape):
                entry = numbers.explain(numbers._name(node, index, bool(of_loss)))
                assert entry.value == whole[index]
                if not entry.is_parameter:
                    total = math.fsum(term.value for term in entry.terms)
                    size = math.fsum(abs(term.value) for term in entry.terms)
                    assert abs(total - entry.value) <= 1e-13 * (1 + size), entry.name


def test_the_gradients_of_parameters_are_those_of_the_backward(case):
    model, batch, more, numbers = case
    grads = model.loss_backward(model.loss(*batch, **more)[1])
    for name, grad in grads.items():
        np.testing.assert_allclose(numbers.array(f"d{name}"), grad, rtol=1e-11, atol=1e-12)


def test_what_flows_inside_is_what_a_watch_sees_by_the_same_name(case):
    model, batch, more, numbers = case
    seen, inputs = {}, [batch[0]]
    if isinstance(model, Transformer):
        inputs.append(model.shifted(batch[1])[0])
    model.forward(*inputs, watch=seen.__setitem__, **more)
    for name, x in seen.items():
        x = np.reshape(np.where(np.isfinite(x), x, 0), numbers.array(name).shape)
        there = np.isfinite(seen[name]).reshape(x.shape)
        np.testing.assert_allclose(numbers.array(name) * there, x, rtol=1e-11, atol=1e-12)


def test_the_gradient_of_an_activation_is_what_a_small_change_of_it_does():
    model, batch, _ = made("GPT")
    name, h = "block0.attention", 1e-5
    slope = Numbers(model, *batch).array(f"d{name}")

    def loss(by):
        logits, _ = model.forward(batch[0], watch=lambda n, x: x + by if n == name else None)
        return ops.cross_entropy_forward(logits, batch[1])[0]

    for index in np.ndindex(slope.shape):
        by = np.zeros(slope.shape)
        by[index] = h
        assert abs((loss(by) - loss(-by)) / (2 * h) - slope[index]) < 1e-9


def test_operations_add_up_when_shapes_are_broadcast_and_rows_are_taken_twice():
    rng, trace = np.random.default_rng(0), Trace()
    x = trace.parameter("x", rng.normal(size=(2, 1, 3)))
    w = trace.parameter("w", rng.normal(size=(4, 3)))
    y = (x * w + w).called("", "y")
    z = concatenate([y[:, [0, 0, 2], 1:], y[:, :3, :1] ** 2]).called("", "z")
    loss = (einsum("...rc,dc->...rd", z, z[0]) * np.ones((2, 1, 1))).total().called("", "L")
    grads = gradients(loss)

    def value(a, b):
        y = a * b + b
        z = np.concatenate([y[:, [0, 0, 2], 1:], y[:, :3, :1] ** 2], axis=-1)
        return np.einsum("arc,dc->ard", z, z[0]).sum()

    a, b = x.value.astype(complex), w.value.astype(complex)
    for node, which in ((x, 0), (w, 1)):
        for i in np.ndindex(node.value.shape):
            args = [a.copy(), b.copy()]
            args[which][i] += 1e-30j
            np.testing.assert_allclose(grads[id(node)][i], value(*args).imag / 1e-30, rtol=1e-12)


# ---- what is printed -------------------------------------------------------------------------


def test_the_article_s_example_reads_as_on_paper():
    model, ids, targets = s1_s2_s3()
    text = str(numpylm.explain(model, ids, targets, "dE[S1, 0]"))
    assert text.splitlines() == [
        "dE[S1, 0] = −0.7888, 2 terms, by F4, F1",
        "  −0.6004  F4  dlogits[0, S1]·c[2, 0] = (−0.7619)·0.7881",
        "  −0.1884  F1  de[0, 0]               = (−0.1884)",
    ]
    assert "a[2, 2] = 0.5761, 1 term, by F3" in str(
        explain(model, ids, targets, "c[2, 0]", depth=2)
    )


def test_the_largest_come_first_and_the_others_are_summed():
    model, batch, _ = made("GPT")
    entry = explain(model, *batch, "block0.feed_forward[0, 2, 1]", terms=3)
    sizes = [abs(term.value) for term in entry.terms]
    assert sizes == sorted(sizes, reverse=True) and len(sizes) == 17
    last = str(entry).splitlines()[-1]
    rest = float(last.split()[0].replace("−", "-"))
    assert last.endswith("the other 14 together")
    np.testing.assert_allclose(rest, math.fsum(t.value for t in entry.terms[3:]), rtol=1e-3)


def test_as_deep_as_asked_down_to_parameters():
    model, batch, _ = made("GPT")
    one, two, all_ = (str(explain(model, *batch, "logits[0, 1, 2]", depth=d)) for d in (1, 2, None))
    assert one.splitlines() == two.splitlines()[: len(one.splitlines())]
    assert len(one.splitlines()) < len(two.splitlines()) < len(all_.splitlines())
    assert "embedding[0, 1, 0] = " in all_ and "E[S5, 0]" in all_
    headings = [line.split(" = ")[0].strip() for line in all_.splitlines() if " term" in line]
    assert len(headings) == len(set(headings))  # each once


def test_words_stand_for_ids_where_there_are_any():
    model, ids, targets = s1_s2_s3()
    words = ["the", "'", "3"]
    assert explain(model, ids, targets, "dE[the, 1]", words=words).name == "dE[the, 1]"
    quoted = explain(model, ids, targets, 'E["\'", 0]', words=words)
    assert quoted.name == 'E["\'", 0]' and quoted.value == 0
    assert explain(model, ids, targets, "E['3', 0]", words=words).name == "E['3', 0]"
    assert explain(model, ids, targets, "E[0, -1]", words=words).name == "E[the, 1]"


def test_a_masked_weight_and_a_parameter_say_what_they_are():
    model, batch, _ = made("AttentionLM")
    assert str(explain(model, *batch, "a[0, 0, 2]")) == "a[0, 0, 2] = 0: masked"
    assert re.fullmatch(r"E\[S2, 0\] = \S+, a parameter", str(explain(model, *batch, "E[S2, 0]")))
    assert str(explain(model, *batch, "dL")).splitlines()[0] == "dL = 1, 1 term"


# ---- mistakes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "block0.atention.q[0, 0, 0]",
            r"there is no number 'block0.atention.q'; there are block0.att",
        ),
        ("dF[0, 0]", r"there is no number 'dF'; there are d"),
        ("dE[S1, 9]", "dE: index 9 is outside; axis 1 counts from 0 to 3"),
        ("dE[-6, 0]", "dE: index -6 is outside; axis 0 counts from 0 to 4"),
        ("dE[S9, 0]", "dE: there is no word 'S9'; there are S"),
        ("dE[0]", r"dE has the shape \(5, 4\): name one entry of it, as dE\[S1, 0\], not dE\[0\]"),
        (
            "logits",
            r"logits has the shape \(1, 3, 5\): name one entry of it, as logits\[0, 0, S1\]",
        ),
        ("norm[0, 0, S1]", "norm: axis 2 takes a number from 0 to 3, not S1"),
        ("E[0", "name must be like"),
        ("", "there is no number ''"),
        (7, "name must be a text like"),
    ],
)
def test_a_name_that_is_wrong_is_answered_in_one_line(name, words):
    model, batch, _ = made("GPT")
    with pytest.raises(InputError, match=words) as caught:
        explain(model, *batch, name)
    assert "\n" not in str(caught.value)


def test_what_the_model_refuses_and_what_is_no_model_of_ours():
    model, batch, _ = made("GPT")
    with pytest.raises(InputError, match="5 tokens"):
        explain(model, [[1, 2, 3, 1, 2]], [[2, 3, 1, 2, 4]], "E[0, 0]")
    with pytest.raises(InputError, match="depth must be at least 1, not 0"):
        explain(model, *batch, "E[0, 0]", depth=0)
    with pytest.raises(InputError, match="explain needs what"):
        explain(model)

    class Louder(GPT):
        def forward(self, ids, rng=None, *, watch=None):
            logits, cache = super().forward(ids, rng)
            return 2 * logits, cache

    with pytest.raises(InputError, match="its forward is another"):
        explain(order_one(Louder(model.config)), *batch, "E[0, 0]")

    class Own(numpylm.Model):
        def shapes(self, config):
            return {"table": (config.vocab_size,) * 2}

    with pytest.raises(InputError, match="Own cannot be explained; these can: AttentionLM, GPT"):
        explain(Own(vocab_size=4), *batch, "table[0, 0]")


# ---- in a terminal ---------------------------------------------------------------------------


def test_the_command_explains_the_example_and_a_run(capsys, tmp_path):
    run = str(tmp_path / "run")
    assert main(["explain", "dE[S1, 0]", "--depth", "0"]) == 0
    assert capsys.readouterr().out.startswith("dE[S1, 0] = −0.7888, 2 terms, by F4, F1\n")
    corpus = Corpus.from_text("the cat sat on the mat and the dog lay on the rug. " * 12)
    config = GPTConfig(corpus.tokenizer.vocab_size, 8, layers=1, heads=1, width=4)
    Run.start(run, GPT(config), corpus)
    assert main(["explain", "logits[1, 'e']", "--run", run, "--text", "the"]) == 0
    assert capsys.readouterr().out.startswith("logits[1, e] = ")
    for words, said in (
        (["c[9, 0]"], "c: index 9 is outside; axis 0 counts from 0 to 2"),
        (["c[0, 0]", "--text", "a"], "--text is for the model of a run"),
        (["L", "--run", run, "--text", "a" * 65], "--text has 65 tokens, and the model sees 8"),
        (["L", "--run", run], "--text is missing"),
        (["L", "--run", run, "--text", "a"], "--text has one token"),
        (["L", "--depth", "-1"], "depth must be at least 1, not -1"),
    ):
        assert main(["explain", *words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
