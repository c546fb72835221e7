"""inside/interventions.py, flow.py, heads.py: what is put in is what flows on, in every model, and
with a key/value cache as without."""

from dataclasses import replace

import numpy as np
import pytest
from test_watching import IDS, MODELS, OTHER, SIZES, T, made

from numpylm import GPT, Corpus, InputError, Llama, generate
from numpylm.gpt import GPTConfig
from numpylm.inside.flow import record
from numpylm.inside.heads import attention_parts, head_names
from numpylm.inside.interventions import (
    freeze,
    intervene,
    known_names,
    mean,
    patch,
    resample,
    zero,
)
from numpylm.llama import LlamaConfig

EXACT = 1e-12
CACHED = {
    "GPT": (GPT, GPTConfig(context_length=T, **SIZES)),
    "Llama": (Llama, LlamaConfig(7, T, layers=2, heads=4, groups=2, width=8)),
}


@pytest.fixture(params=MODELS)
def case(request):
    kind, config, *inputs = MODELS[request.param]
    return made(kind, config), inputs


def other_of(inputs):
    """Another text, of the same length, without padding."""
    return [(ids + 2) % 4 + 1 for ids in inputs]


def without_padding(inputs):
    return [np.where(ids == 0, 3, ids) for ids in inputs] if len(inputs) > 1 else inputs


def close(x, y):
    np.testing.assert_allclose(x, y, rtol=EXACT, atol=EXACT)


# ---- heads -----------------------------------------------------------------------------------


def test_what_the_heads_add_is_with_the_bias_what_the_attention_adds(case):
    model, inputs = case
    seen = record(model, *inputs)
    assert [n for n in seen if ".head" in n] == head_names(model)
    for part in attention_parts(model):
        heads = [seen[n] for n in head_names(model) if n.startswith(f"{part}.head")]
        bias = model.params.get(f"{part}.b_out", 0)
        close(sum(heads) + bias, seen[part])


def test_to_remove_a_head_is_to_set_its_rows_of_w_out_to_zero(case):
    model, inputs = case
    for name in head_names(model):
        part, _, h = name.rpartition(".head")
        if f"{part}.w_out" not in model.params:  # c itself, in the one-matrix model
            continue
        twin, D = model.astype(np.float64), model.config.width // model.config.heads
        twin.params[f"{part}.w_out"][int(h) * D : (int(h) + 1) * D] = 0
        close(intervene(model, zero(name)).forward(*inputs)[0], twin.forward(*inputs)[0])


# ---- what is put in --------------------------------------------------------------------------


def test_a_patch_of_every_kind_of_name_is_what_flows_on(case):
    model, inputs = case
    other = other_of(inputs)
    theirs, mine = record(model, *other), record(model, *inputs)
    for name in known_names(model):
        text = tuple(other) if len(other) > 1 else other[0]
        changed = record(intervene(model, patch(name, text)), *inputs)
        if name != "logits":
            close(changed[name], theirs[name])
        assert not np.allclose(changed["logits"], mine["logits"]), name


def test_patching_everything_that_enters_gives_the_logits_of_the_other_text(case):
    model, inputs = case
    inputs = without_padding(inputs)
    other = other_of(inputs)
    text = tuple(other) if len(other) > 1 else other[0]
    names = [n for n in known_names(model) if n.endswith("embedding")]
    patched = intervene(model, *(patch(name, text) for name in names))
    close(patched.forward(*inputs)[0], model.forward(*other)[0])


def test_frozen_patterns_of_the_same_text_change_nothing_and_those_of_another_are_its_own(case):
    model, inputs = case
    inputs = without_padding(inputs)
    other = other_of(inputs)
    same, text = (tuple(x) if len(x) > 1 else x[0] for x in (inputs, other))
    close(intervene(model, freeze(same)).forward(*inputs)[0], model.forward(*inputs)[0])
    frozen = intervene(model, freeze(text))
    assert not np.allclose(frozen.forward(*inputs)[0], model.forward(*inputs)[0])
    names = [n for n in known_names(model) if n.endswith("embedding")]
    both = intervene(model, freeze(same), *(patch(name, text) for name in names))
    a = model.attention_maps(model.forward(*inputs)[1])
    first = attention_parts(model)[0]
    h = record(both, *inputs)
    assert h[first].shape == record(model, *inputs)[first].shape and a[first].ndim == 4


def test_zero_mean_and_resampled_are_what_they_say():
    model = made(GPT, GPTConfig(**SIZES))
    name, seen = "block0.feed_forward", record(model, OTHER)
    put = [
        (zero(name), np.zeros(())),
        (mean(name, OTHER), seen[name].reshape(-1, 6).mean(axis=0)),
        (resample(name, OTHER, np.random.default_rng(3)), seen[name][1]),
        (patch(name, OTHER[0]), seen[name][0]),
    ]
    assert np.random.default_rng(3).integers(2) == 1
    for change, value in put:
        close(record(intervene(model, change), IDS)[name], np.broadcast_to(value, (2, T, 6)))


def test_a_position_alone():
    model = made(GPT, GPTConfig(**SIZES))
    mine, other = record(model, IDS), record(model, OTHER)
    for at in (3, [1, 3], np.array([0, 4])):
        changed = record(intervene(model, patch("block0", OTHER, at=at)), IDS)["block0"]
        there = np.isin(np.arange(T), at)
        close(changed[:, there], other["block0"][:, there])
        close(changed[:, ~there], mine["block0"][:, ~there])
    changed = record(intervene(model, zero("block1.attention.head1", at=3)), IDS)
    close(changed["logits"][:, :3], mine["logits"][:, :3])  # causal: nothing before it
    assert not np.allclose(changed["logits"][:, 3], mine["logits"][:, 3])


def test_changes_at_several_places_and_one_after_another_are_the_same():
    model = made(GPT, GPTConfig(**SIZES))
    one, two = zero("block0.attention.head0"), patch("block1.feed_forward", OTHER, at=2)
    at_once = intervene(model, one, two).forward(IDS)[0]
    frozen_values = intervene(intervene(model, one), zero("block1.attention")).forward(IDS)[0]
    assert not np.allclose(at_once, frozen_values)
    close(intervene(intervene(model, two), one).forward(IDS)[0], at_once)
    close(model.forward(IDS)[0], record(model, IDS)["logits"])  # the model itself is unchanged


# ---- with a past -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", CACHED)
def test_with_a_cache_as_without(name):
    model = made(*CACHED[name])
    for change in (
        zero("block0.attention.head1"),
        mean("block1", OTHER),
        patch("block0.attention.head0", OTHER, at=[1, 3]),
        patch("embedding", OTHER[0], at=2),
        freeze(OTHER),
        freeze(OTHER[1], "block1.attention"),
    ):
        changed = intervene(model, change)
        past = changed.start(2)
        pieces = [changed.extend(IDS[:, i:j], past) for i, j in ((0, 2), (2, 3), (3, 5))]
        close(np.concatenate(pieces, axis=1), changed.forward(IDS)[0])
        assert not np.allclose(changed.forward(IDS)[0], model.forward(IDS)[0]), change


def test_what_is_generated_and_measured_is_of_the_changed_model():
    corpus = Corpus.from_text("abcabcabc" * 20)
    model = GPT(
        vocab_size=corpus.tokenizer.vocab_size, context_length=8, layers=1, width=8, heads=2
    )
    stuck = intervene(model, zero("norm"))
    assert "Intervened" in repr(stuck) and isinstance(stuck, GPT)
    ids = np.array([[0, 1, 2]])
    np.testing.assert_allclose(stuck.loss(ids, ids)[0], np.log(model.config.vocab_size), rtol=1e-6)
    np.testing.assert_array_equal(stuck.next_logits(ids[0]), 0)
    assert generate(stuck, corpus, "ab", tokens=3).startswith("ab")


def test_another_watch_sees_what_is_there_after_the_change():
    model, seen = made(GPT, GPTConfig(**SIZES)), {}
    intervene(model, zero("block0")).forward(IDS, watch=seen.__setitem__)
    assert not seen["block0"].any()


# ---- mistakes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda: zero("block0.atention"),
            "GPT has no 'block0.atention'; there are block0.attention",
        ),
        (lambda: zero("block0.attention.head3"), r"no 'block0.attention.head3'.*head2"),
        (lambda: freeze(OTHER, "block0"), "no 'block0'; there are block0.attention, block1"),
        (lambda: zero("block0", at=9), "block0: position 9 is outside of 5 tokens"),
        (lambda: zero("block0", at=-1), "at must be positions, counted from 0, not -1"),
        (lambda: zero("block0", at=0.5), "at must be positions"),
        (
            lambda: patch("block0", OTHER[:, :3]),
            r"patch of block0: a value \(2, 3, 6\) does not fit",
        ),
        (lambda: patch("block0", np.vstack([OTHER, OTHER])), r"a value \(4, 5, 6\) does not fit"),
        (lambda: freeze(OTHER[:, :3]), "frozen weights .* freeze one of the same length"),
        (lambda: resample("block0", OTHER[0], np.random.default_rng(0)), "some to draw from"),
        (lambda: resample("block0", OTHER, 3), "rng"),
        (lambda: patch("block0", [[1, 2, 99]]), "99"),
        (lambda: patch("block0", [[1] * 65]), "65"),
        (lambda: "block0", "changes must be zero, mean"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(change, words):
    model = made(GPT, replace(GPTConfig(**SIZES), context_length=64))
    with pytest.raises(InputError, match=words) as caught:
        intervene(model, change()).forward(IDS)
    assert "\n" not in str(caught.value)


def test_a_changed_model_has_no_backward():
    model = intervene(made(GPT, GPTConfig(**SIZES)), zero("block0"))
    with pytest.raises(InputError, match="no backward"):
        model.loss_backward(model.loss(IDS, OTHER)[1])
    with pytest.raises(InputError, match="before you intervene"):
        model.astype(np.float32)
