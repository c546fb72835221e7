"""watching.py: every model shows what flows between its parts, under the same names, and goes on
with what is put in its place."""

from dataclasses import replace

import numpy as np
import pytest

from numpylm import ops
from numpylm.attention_lm import AttentionLM, AttentionLMConfig
from numpylm.bert import BERT, BERTConfig, BERTForMaskedLM
from numpylm.bert_heads import BERTForClass, BERTForClassConfig, BERTForSpan
from numpylm.blocks import NORM, weights
from numpylm.checks.gradient_cases import order_one
from numpylm.errors import InputError
from numpylm.gpt import GPT, GPTConfig
from numpylm.gradcheck import check_model
from numpylm.llama import Llama, LlamaConfig
from numpylm.transformer import Transformer, TransformerConfig

V, T, EXACT = 7, 5, 1e-12
IDS = np.array([[1, 6, 1, 2, 4], [5, 1, 1, 0, 2]])
OTHER = (IDS + 3) % V
SOURCE, TARGET = np.array([[4, 6, 3], [5, 5, 0]]), np.array([[1, 3, 6, 4], [1, 6, 4, 0]])
SIZES = dict(vocab_size=V, layers=2, heads=3, width=6)


def made(kind, config, dtype=np.float64):
    return order_one(kind(config, np.random.default_rng(2), dtype))


MODELS = {
    "AttentionLM": (AttentionLM, AttentionLMConfig(vocab_size=V), IDS),
    "AttentionLM last": (AttentionLM, AttentionLMConfig(vocab_size=V, context="last"), IDS),
    "AttentionLM repaired": (
        AttentionLM,
        AttentionLMConfig(vocab_size=V, positions=True, projections=True, tied=False),
        IDS,
    ),
    "GPT": (GPT, GPTConfig(**SIZES), IDS),
    "GPT no biases": (GPT, GPTConfig(bias=False, **SIZES), IDS),
    "Llama": (Llama, LlamaConfig(vocab_size=V, layers=2, heads=4, groups=2, width=8), IDS),
    "BERT masked": (BERTForMaskedLM, BERTConfig(**SIZES), IDS),
    "BERT class": (BERTForClass, BERTForClassConfig(classes=3, **SIZES), IDS),
    "BERT span": (BERTForSpan, BERTConfig(**SIZES), IDS),
    "Transformer": (Transformer, TransformerConfig(**SIZES), SOURCE, TARGET),
}


def parts(*blocks, between=("attention", "feed_forward")):
    return [name for b in blocks for name in (*(f"{b}.{part}" for part in between), b)]


def expected_names(name):
    if name.startswith("AttentionLM"):
        return ["embedding", "attention", "logits"]
    if name == "Transformer":
        decoder = parts("decoder0", "decoder1", between=("attention", "cross", "feed_forward"))
        encoder = ["encoder.embedding", *parts("encoder0", "encoder1")]
        return [*encoder, "decoder.embedding", *decoder, "logits"]
    norm = ["norm"] if name.startswith(("GPT", "Llama")) else []
    return ["embedding", *parts("block0", "block1"), *norm, "logits"]


@pytest.fixture(params=MODELS)
def case(request):
    kind, config, *inputs = MODELS[request.param]
    return request.param, made(kind, config), inputs


def forward(model, inputs, watch=None):
    return model.forward(*inputs, watch=watch)


# ---- seeing ----------------------------------------------------------------------------------


def test_every_model_shows_its_parts_under_the_documented_names_in_order(case):
    name, model, inputs = case
    seen = {}
    logits, _ = forward(model, inputs, seen.__setitem__)
    assert list(seen) == expected_names(name)
    assert seen.pop("logits") is logits
    for part, x in seen.items():
        ids = inputs[-1] if "encoder" not in part else inputs[0]
        assert x.shape == (*ids.shape, model.config.width), part


def test_looking_changes_nothing(case):
    _, model, inputs = case
    plain, watched = forward(model, inputs), forward(model, inputs, lambda name, x: None)
    np.testing.assert_equal(watched, plain)


def test_the_parts_of_gpt_are_those_of_its_formulas():
    model, seen = made(GPT, GPTConfig(**SIZES)), {}
    model.forward(IDS, watch=seen.__setitem__)
    p = model.params
    h = p["E"][IDS] + p["P"][:T]
    np.testing.assert_allclose(seen["embedding"], h, rtol=EXACT)
    for block in ("block0", "block1"):
        h = h + seen[f"{block}.attention"] + seen[f"{block}.feed_forward"]
        np.testing.assert_allclose(seen[block], h, rtol=EXACT)
    y, _ = ops.layer_norm_forward(h, *weights(p, "norm", NORM))
    np.testing.assert_allclose(seen["norm"], y, rtol=EXACT)
    np.testing.assert_allclose(seen["logits"], y @ p["E"].T, rtol=EXACT)


def test_an_encoder_alone_and_a_decoder_alone_show_their_parts():
    seen = {}
    h, _ = made(BERT, BERTConfig(**SIZES)).encode(IDS, watch=seen.__setitem__)
    assert list(seen) == ["embedding", *parts("block0", "block1")]
    assert seen["block1"] is h
    model, seen = made(Transformer, TransformerConfig(**SIZES)), {}
    memory, _ = model.encode(SOURCE, watch=seen.__setitem__)
    assert seen["encoder1"] is memory
    logits, _ = model.decode(TARGET, memory, SOURCE != 0, watch=seen.__setitem__)
    assert list(seen) == expected_names("Transformer")
    assert seen["logits"] is logits


# ---- replacing -------------------------------------------------------------------------------


def cuts(name):
    """Sets of places through which everything passes on its way to the logits."""
    if name == "Transformer":
        return [("encoder.embedding", "decoder.embedding"), ("encoder1", "decoder0"), ("logits",)]
    whole = [n for n in expected_names(name) if "." not in n and n != "attention"]
    return [(n,) for n in whole]


def test_what_another_text_has_at_a_cut_gives_the_logits_of_that_text(case):
    name, model, inputs = case
    others = [(ids + 2) % 4 + 1 for ids in inputs]
    seen = {}
    theirs, _ = forward(model, others, seen.__setitem__)
    if name == "Transformer":  # the masks belong to the text: here nothing is padding
        inputs = [np.where(ids == 0, 3, ids) for ids in inputs]
    assert not np.allclose(forward(model, inputs)[0], theirs)
    for cut in cuts(name):
        put = {n: seen[n] for n in cut}
        mixed, _ = forward(model, inputs, lambda n, x, put=put: put.get(n))
        np.testing.assert_array_equal(mixed, theirs)


def test_a_part_put_to_zero_is_a_part_whose_last_map_is_zero(case):
    """The name of a part is that of its parameters."""
    name, model, inputs = case
    for part in [n for n in expected_names(name) if "." in n and "embedding" not in n]:
        without, _ = forward(model, inputs, lambda n, x, part=part: 0 * x if n == part else None)
        twin = model.astype(np.float64)
        for weight in ("w_out", "b_out"):
            if f"{part}.{weight}" in twin.params:
                twin.params[f"{part}.{weight}"] = np.zeros_like(twin.params[f"{part}.{weight}"])
        assert not np.allclose(without, forward(model, inputs)[0])
        np.testing.assert_allclose(without, forward(twin, inputs)[0], rtol=EXACT, atol=EXACT)


def test_c_of_the_one_matrix_model_can_be_replaced():
    model = made(AttentionLM, AttentionLMConfig(vocab_size=V))
    c = np.random.default_rng(0).normal(size=(2, T, model.config.width))
    logits, _ = model.forward(IDS, watch=lambda name, x: c if name == "attention" else None)
    np.testing.assert_allclose(logits, c @ model.params["E"].T, rtol=EXACT)


class Steered(GPT):
    """A constant is added behind block 0."""

    def forward(self, ids, rng=None):
        by = np.linspace(-1, 1, self.config.width)
        return super().forward(ids, rng, watch=lambda n, x: x + by if n == "block0" else None)


def test_the_backward_is_right_where_a_constant_was_added():
    config = GPTConfig(vocab_size=V, context_length=8, layers=2, heads=1, width=4)
    model, plain = made(Steered, config), made(GPT, config)
    assert not np.allclose(model.forward(IDS)[0], plain.forward(IDS)[0])
    report = check_model(model, (IDS, OTHER))
    assert report.passed, f"\n{report}"


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", [np.float32, np.complex128])
def test_the_dtype_of_the_model_stays(name, dtype):
    kind, config, *inputs = MODELS[name]
    model, seen = made(kind, config, dtype), {}

    def in_another(name, x):
        seen[name] = x.dtype
        return x.real.astype(np.float64)

    logits, _ = model.forward(*inputs, watch=in_another)
    assert {*seen.values(), logits.dtype} == {np.dtype(dtype)}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros((2, T, 5)), r"watch returned float64 \(2, 5, 5\) for block0, .*\(2, 5, 6\)"),
        (0.0, r"watch returned float64 \(\) for block0"),
        (np.zeros(6), r"watch returned float64 \(6,\) for block0"),
        (np.zeros((2, T, 6), complex), "watch returned complex128 .* float64"),
        (np.full((2, T, 6), "a"), "for block0"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(given, words):
    model = made(GPT, GPTConfig(**SIZES))
    with pytest.raises(InputError, match=words):
        model.forward(IDS, watch=lambda name, x: given if name == "block0" else None)


def test_a_dict_is_no_watch_and_the_message_says_what_to_write():
    with pytest.raises(InputError, match=r"not dict; .* watch=seen.__setitem__"):
        made(GPT, GPTConfig(**SIZES)).forward(IDS, watch={})


# ---- with a past -----------------------------------------------------------------------------


def test_with_a_past_the_same_names_and_numbers_are_seen_and_replaced():
    model = made(GPT, replace(GPTConfig(**SIZES), context_length=T))

    def halved(seen):
        def watch(name, x):
            seen.setdefault(name, []).append(x)
            return 0.5 * x if name in ("block0.attention", "block1", "norm") else None

        return watch

    whole, pieces = {}, {}
    logits, _ = model.forward(IDS, watch=halved(whole))
    past = model.start(2)
    found = [model.extend(IDS[:, i:j], past, watch=halved(pieces)) for i, j in ((0, 2), (2, 5))]
    np.testing.assert_allclose(np.concatenate(found, axis=1), logits, rtol=EXACT, atol=EXACT)
    assert list(pieces) == list(whole)
    for name, (x,) in whole.items():
        together = np.concatenate(pieces[name], axis=1)
        np.testing.assert_allclose(together, x, rtol=EXACT, atol=EXACT)


# ---- who reads whom --------------------------------------------------------------------------


def test_the_attention_maps_of_every_model_bear_the_names_of_its_parts(case):
    name, model, inputs = case
    maps = model.attention_maps(forward(model, inputs)[1])
    reads = [n for n in expected_names(name) if n.split(".")[-1] in ("attention", "cross")]
    assert list(maps) == reads
    for part, a in maps.items():
        readers = inputs[0] if "encoder" in part else inputs[-1]
        read = inputs[-1] if "decoder" in part and "cross" not in part else inputs[0]
        H = getattr(model.config, "heads", 1)
        assert a.shape == (len(readers), H, readers.shape[1], read.shape[1])
        np.testing.assert_allclose(a.sum(axis=-1), 1, rtol=EXACT)


def test_an_encoder_alone_has_the_maps_of_the_whole_model():
    model = made(BERTForClass, BERTForClassConfig(**SIZES))
    whole = model.attention_maps(model.forward(IDS)[1])
    alone = model.attention_maps(model.encode(IDS)[1])
    np.testing.assert_equal(alone, whole)


def test_a_text_without_a_batch_has_maps_of_heads():
    for name in ("AttentionLM", "GPT"):
        kind, config, ids = MODELS[name]
        model = made(kind, config)
        both, one = (model.attention_maps(model.forward(x)[1]) for x in (ids, ids[1]))
        for part, a in one.items():
            np.testing.assert_allclose(a, both[part][1], rtol=EXACT)
