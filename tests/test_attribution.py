"""inside/attribution.py: each method keeps the identity that it states, in models of order 1."""

import numpy as np
import pytest
from test_watching import MODELS, SIZES, made

from numpylm import GPT, AttentionLM, InputError, Llama
from numpylm.attention_lm import AttentionLMConfig
from numpylm.bert import BERTConfig, BERTForMaskedLM
from numpylm.gpt import GPTConfig
from numpylm.inside.attribution import (
    direct_logits,
    gradient_times,
    integrated,
    later_parts,
    logit_lens,
    path_effect,
    rollout,
)
from numpylm.inside.flow import record
from numpylm.inside.interventions import intervene, patch, zero
from numpylm.llama import LlamaConfig

IDS, OTHER = np.array([1, 6, 1, 2, 4]), np.array([5, 0, 1, 3, 2])
EXACT = 1e-12
STREAMS = {
    "GPT": (GPT, GPTConfig(**SIZES)),
    "GPT no biases": (GPT, GPTConfig(bias=False, **SIZES)),
    "Llama": (Llama, LlamaConfig(7, layers=2, heads=4, groups=2, width=8, tied=False)),
}
ONE = {
    "AttentionLM": (AttentionLM, AttentionLMConfig(vocab_size=7)),
    "repaired": (
        AttentionLM,
        AttentionLMConfig(vocab_size=7, positions=True, projections=True, tied=False),
    ),
}


@pytest.fixture(params=STREAMS)
def model(request):
    return made(*STREAMS[request.param])


# ---- direct logits, and the lens -----------------------------------------------------------------


@pytest.mark.parametrize("name", [*STREAMS, *ONE])
def test_direct_shares_add_up_to_the_logit_and_to_a_difference_of_two(name):
    model = made(*(STREAMS | ONE)[name])
    logits, _ = model.forward(IDS)
    for position in range(5):
        for token in range(7):
            one = direct_logits(model, IDS, position, token)
            assert one.total == pytest.approx(logits[position, token], abs=EXACT)
            assert one.gap < EXACT * (1 + sum(map(abs, one.shares.values())))
        two = direct_logits(model, IDS, position, 3, against=5)
        assert two.total == pytest.approx(logits[position, 3] - logits[position, 5], abs=EXACT)
        assert two.gap < EXACT * (1 + sum(map(abs, two.shares.values())))


def test_the_parts_of_a_share_list_are_all_that_writes_to_the_stream():
    shares = direct_logits(made(*STREAMS["GPT"]), IDS, 4, 3).shares
    own = [f"head{h}" for h in range(3)]
    expected = ["embedding"]
    for i in (0, 1):
        expected += [f"block{i}.attention.{h}" for h in own]
        expected += [f"block{i}.attention.b_out", f"block{i}.feed_forward"]
    assert list(shares) == [*expected, "norm.bias"]


@pytest.mark.parametrize("name", ["BERT masked", "BERT class", "Transformer"])
def test_models_that_normalise_their_stream_are_refused(name):
    kind, config, *_ = MODELS[name]
    for method in (lambda m: direct_logits(m, IDS, 0, 0), lambda m: logit_lens(m, IDS)):
        with pytest.raises(InputError, match=kind.__name__):
            method(made(kind, config))


def test_the_last_lens_is_the_logits_and_the_first_what_a_model_without_blocks_says(model):
    lens = logit_lens(model, IDS)
    assert list(lens) == ["embedding", "block0", "block1"]
    np.testing.assert_allclose(lens["block1"], model.forward(IDS)[0], atol=EXACT)
    parts = [f"block{i}.{part}" for i in (0, 1) for part in ("attention", "feed_forward")]
    bare = intervene(model, *map(zero, parts))
    np.testing.assert_allclose(lens["embedding"], bare.forward(IDS)[0], atol=EXACT)


# ---- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*STREAMS, *ONE, "BERT"])
def test_integrated_gradients_add_up_to_the_effect_and_the_error_falls_with_the_nodes(name):
    cases = STREAMS | ONE | {"BERT": (BERTForMaskedLM, BERTConfig(**SIZES))}
    model = made(*cases[name])
    logits, theirs = (model.forward(x)[0] for x in (IDS, OTHER))
    few, many = (integrated(model, IDS, OTHER, 4, 3, nodes=8, most=n) for n in (8, 256))
    assert many.total == pytest.approx(logits[4, 3] - theirs[4, 3], abs=EXACT)
    assert many.gap <= max(many.error, EXACT)
    assert many.gap < 1e-4 or name == "Llama"  # whose norm, nearly 0 on the way, turns sharply
    assert few.nodes == 8 and many.gap <= few.gap and many.error <= few.error


def test_the_first_order_is_the_slope_at_the_text_and_misses_what_is_curved(model):
    first = gradient_times(model, IDS, OTHER, 4, 3)
    assert first.gap > 0.01
    same = gradient_times(model, IDS, IDS, 4, 3)
    assert not any(same.shares.values()) and same.total == 0
    e, other = (record(model, x)["embedding"] for x in (IDS, OTHER))
    for t in range(5):
        by = np.zeros_like(e)
        by[t] = (e - other)[t]
        at = [
            model.forward(IDS, watch=lambda n, x, d=d: x + d if n == "embedding" else None)[0]
            for d in (1e-5 * by, -1e-5 * by)
        ]
        slope = (at[0] - at[1])[4, 3] / 2e-5
        assert first.shares[f"position {t}"] == pytest.approx(slope, abs=1e-6)


# ---- paths ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sender", ["block0.attention.head1", "block0.feed_forward", "embedding"])
def test_all_paths_together_are_the_effect_of_the_patch(model, sender):
    later = later_parts(model, sender)
    whole = path_effect(model, IDS, OTHER, sender, [*later, "logits"], 4, 3)
    patched = intervene(model, patch(sender, OTHER)).forward(IDS)[0]
    assert whole == pytest.approx((patched - model.forward(IDS)[0])[4, 3], abs=EXACT)
    assert path_effect(model, IDS, IDS, sender, later, 4, 3) == pytest.approx(0, abs=EXACT)


def test_the_direct_path_passes_by_everything_else(model):
    sender = "block0.attention.head1"
    direct = path_effect(model, IDS, OTHER, sender, ["logits"], 4, 3)
    mine, theirs = (record(model, x) for x in (IDS, OTHER))
    h = mine["block1"] + theirs[sender] - mine[sender]
    moved = model.forward(IDS, watch=lambda n, x: h if n == "block1" else None)[0]
    assert direct == pytest.approx((moved - mine["logits"])[4, 3], abs=1e-10)


# ---- rollout -------------------------------------------------------------------------------------


def test_the_rows_of_a_rollout_sum_to_one_and_see_no_later_token(model):
    found = rollout(model, IDS).weights
    np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=EXACT)
    assert not np.triu(found, 1).any()


# ---- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda m: direct_logits(m, IDS, 9, 0), "position 9 must be from 0 to 4"),
        (lambda m: direct_logits(m, IDS, 0, 7), "token 7 must be an id from 0 to 6"),
        (lambda m: direct_logits(m, IDS[None], 0, 0), r"ids \(1, 5\) must be one text"),
        (lambda m: integrated(m, IDS, OTHER[:3], 0, 0), r"other \(3,\) must have as many tokens"),
        (lambda m: integrated(m, IDS, OTHER, 0, 0, nodes=1), "nodes"),
        (lambda m: path_effect(m, IDS, OTHER, "norm", ["logits"], 0, 0), "sender must be"),
        (
            lambda m: path_effect(m, IDS, OTHER, "block1.attention", ["block0.attention"], 0, 0),
            "come",
        ),
        (lambda m: rollout(m, IDS, replaced_by=9), "token 9 must be an id"),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_line(ask, words):
    with pytest.raises(InputError, match=words) as caught:
        ask(made(*STREAMS["GPT"]))
    assert "\n" not in str(caught.value)
