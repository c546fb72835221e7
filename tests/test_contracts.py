"""contracts.py: our models keep the promises; each failure, made on purpose, is named."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from numpylm import ops
from numpylm.attention_lm import AttentionLM, AttentionLMConfig
from numpylm.blocks import KeyValueCache
from numpylm.checks.contracts import (
    Contender,
    batches_do_not_matter,
    cache_changes_nothing,
    causality,
    check_contracts,
    independence,
    learner,
    loss_is_cross_entropy,
    no_leak,
    order_is_used,
)
from numpylm.errors import InputError
from numpylm.gpt import GPT, GPTConfig
from numpylm.metrics import token_nats
from numpylm.ops import cross_entropy_forward

sys.path.append(str(Path(__file__).parents[1] / "notebooks"))
from listing import EncoderDecoder, EncoderDecoderConfig, over_time, swapped

V, T, C = 12, 8, 16
LN_V = math.log(V)
EXACT = 1e-9  # of a mean of 8192 float64 logarithms, beside ln V


def small_gpt(layers=1):
    config = GPTConfig(vocab_size=V, context_length=T, layers=layers, heads=2, width=C)
    return GPT(config, np.random.default_rng(0))


def one_matrix(**options):
    config = AttentionLMConfig(vocab_size=V, context_length=T, width=C, **options)
    return AttentionLM(config, np.random.default_rng(0))


def nothing(ids, targets):
    """A model that is finished needs no training."""


def told(positions, sure=60.0):
    """f(ids) that reads the next token at some positions and guesses at the others."""

    def f(ids):
        logits = np.zeros((*ids.shape, V))
        for t in positions:
            np.put_along_axis(logits[:, t], ids[:, t + 1, None], sure, axis=1)
        return logits

    return Contender(f, V, T, learn=nothing)


# ---- our models ------------------------------------------------------------------------------


def test_gpt_keeps_every_contract():
    report = check_contracts(small_gpt())
    assert report.passed and len(report.verdicts) == 7, f"\n{report}"


@pytest.mark.parametrize("context", ["all", "last"])
def test_one_matrix_breaks_only_the_order_which_it_cannot_know(context):
    report = check_contracts(one_matrix(context=context))
    assert report.broken == ["order is used"], f"\n{report}"
    assert "by design" in str(report)


def test_with_positions_and_projections_it_keeps_them_all():
    report = check_contracts(one_matrix(positions=True, projections=True))
    assert report.passed, f"\n{report}"


def test_a_pytorch_model_in_a_lambda_is_looked_at_and_trained():
    torch = pytest.importorskip("torch")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        embed, fc = torch.nn.Embedding(V, C), torch.nn.Linear(C, V)
        place, to_qkv = torch.nn.Parameter(torch.randn(T, C)), torch.nn.Linear(C, 3 * C)
    F = torch.nn.functional

    def f(ids, causal=True):
        q, k, v = to_qkv(embed(torch.tensor(ids)) + place).chunk(3, dim=-1)
        return fc(F.scaled_dot_product_attention(q, k, v, is_causal=causal))

    parts = [*embed.parameters(), place, *to_qkv.parameters(), *fc.parameters()]

    def criterion(logits, targets):
        return F.cross_entropy(logits.flatten(0, 1), torch.tensor(targets).ravel())

    def learn(ids, targets):
        for p, dp in zip(
            parts, torch.autograd.grad(criterion(f(ids), targets), parts), strict=True
        ):
            p.data -= 0.5 * dp

    def loss(logits, targets):
        return criterion(torch.tensor(logits), targets)

    report = check_contracts(Contender(f, V, T, learn=learn, loss=loss))
    assert report.passed and len(report.verdicts) == 6, f"\n{report}"
    assert not causality(Contender(lambda ids: f(ids, causal=False), V, T)).passed


# ---- no leak ---------------------------------------------------------------------------------


def test_b3_a_target_that_leaks_through_the_memory_is_seen_and_the_floor_predicted():
    config = EncoderDecoderConfig(vocab_size=V, context_length=T, src_mask=True, tgt_mask=True)
    leaky = EncoderDecoder(config, np.random.default_rng(0))
    verdict = no_leak(leaky)
    assert verdict.state == "broken"
    assert verdict.numbers["floor"] == LN_V / T
    assert LN_V / T < verdict.numbers["loss"] < LN_V / T + 0.1
    masked = EncoderDecoder(replace(config, memory_mask=True), np.random.default_rng(0))
    assert no_leak(masked).passed


def test_one_matrix_without_its_mask_leaks_a_little_and_is_seen():
    verdict = no_leak(one_matrix(causal=False))
    assert verdict.state == "broken"
    assert verdict.numbers["loss"] < LN_V - 0.05


@pytest.mark.parametrize("seen", [1, 3, 7])
def test_seeing_k_targets_costs_t_minus_k_ts_of_ln_v_and_seeing_all_the_floor(seen):
    verdict = no_leak(told(range(seen)))
    assert verdict.state == "broken"
    assert verdict.numbers["loss"] == pytest.approx((T - seen) / T * LN_V, abs=EXACT)
    assert f"{seen / 7:.1%} of the" in verdict.says


def test_guessing_without_any_noise_is_no_leak():
    assert no_leak(told([])).passed


def test_an_honest_model_is_not_called_leaky_by_chance():
    table = np.random.default_rng(1).normal(0.0, 0.005, (V, V))  # a mean closer than its noise
    honest = Contender(lambda ids: table[ids], V, T, learn=nothing)
    below = 0
    for seed in range(20):
        verdict = no_leak(honest, steps=0, rng=np.random.default_rng(seed))
        assert verdict.passed
        below += verdict.numbers["loss"] < LN_V - 1e-5
    assert below  # so it is the tolerance that holds


def test_a_model_that_has_not_learned_to_guess_is_undecided():
    stubborn = Contender(lambda ids: 9.0 * np.eye(V)[ids], V, T, learn=nothing)
    assert no_leak(stubborn).state == "undecided"


def test_b9_training_on_unshifted_targets_is_undecided():
    model = small_gpt()
    learn = learner(model)
    copying = Contender(lambda ids: model.forward(ids)[0], V, T, learn=lambda x, y: learn(x, x))
    assert no_leak(copying).state == "undecided"


def test_a_large_vocabulary_is_asked_about_a_few_of_its_words():
    model = AttentionLM(AttentionLMConfig(vocab_size=500, width=C), np.random.default_rng(0))
    verdict = no_leak(model)
    assert verdict.passed
    assert verdict.numbers["ln V"] == LN_V


def test_the_parameters_are_as_they_were():
    model = small_gpt()
    before = model.params.flat.copy()
    assert no_leak(model, steps=3).state != "broken"
    assert causality(model).passed
    np.testing.assert_array_equal(model.params.flat, before)


# ---- causality -------------------------------------------------------------------------------


def test_a_model_without_a_mask_sees_later_tokens():
    assert causality(one_matrix(causal=False)).state == "broken"


def test_a_mask_that_is_off_by_one_is_seen_and_its_place_named(monkeypatch):
    monkeypatch.setattr(ops, "causal_mask", lambda T: np.tri(T, T, 1, dtype=bool))
    verdict = causality(small_gpt())
    assert verdict.state == "broken"
    seen, i, j = verdict.numbers["difference"], *places(verdict)
    assert seen > 0 and j == i + 1


def places(verdict):
    words = verdict.says.split()
    return int(words[words.index("at") + 1].strip(",")), int(words[words.index("token") + 1])


def test_a_mask_of_minus_10000_is_seen_although_it_gives_zeros_at_first(monkeypatch):
    softmax = ops.softmax_forward

    def finite(s, mask=None):
        return softmax(s if mask is None else np.where(mask, s, s.dtype.type(-1e4)))

    monkeypatch.setattr(ops, "softmax_forward", finite)
    verdict = causality(small_gpt())
    assert verdict.numbers["difference"] == 0
    assert verdict.numbers["loud"] > 0
    assert verdict.state == "broken" and "finite" in verdict.says


def test_where_no_weights_are_found_large_scores_are_left_open():
    def f(ids):
        return np.random.default_rng(0).normal(size=(V, V))[ids]

    verdict = causality(Contender(f, V, T))
    assert verdict.state == "undecided" and "large finite number" in verdict.says
    assert "loud" not in verdict.numbers


def test_a_norm_over_time_is_no_causal_model():
    model = small_gpt()

    def f(ids):
        logits, _ = model.forward(ids)
        return logits - logits.mean(axis=1, keepdims=True)

    assert causality(Contender(f, V, T)).state == "broken"


# ---- independence ----------------------------------------------------------------------------


def test_b6_swapped_axes_are_seen():
    verdict = independence(Contender(swapped(one_matrix()), V, T))
    assert verdict.state == "broken"
    assert verdict.numbers["difference"] > 0


def test_a_norm_over_the_batch_is_seen():
    model = small_gpt()

    def f(ids):
        logits, _ = model.forward(ids)
        return logits / logits.std(axis=0, keepdims=True)

    assert independence(Contender(f, V, T)).state == "broken"


# ---- order -----------------------------------------------------------------------------------


def test_b5_one_layer_whose_positions_count_for_nothing_is_seen():
    model = small_gpt()
    assert order_is_used(model).passed
    model.params["P"] = np.zeros((T, C))
    assert order_is_used(model).state == "broken"


def test_two_causal_layers_know_some_order_without_positions():
    model = small_gpt(layers=2)
    model.params.flat *= 10  # at the first weights so little that it is near rounding
    model.params["P"] = np.zeros((T, C))
    assert order_is_used(model).passed


def test_a_model_of_the_last_token_alone_is_told_so():
    table = np.random.default_rng(0).normal(size=(V, V))
    verdict = order_is_used(Contender(lambda ids: table[ids], V, T))
    assert verdict.state == "broken" and "only the last token" in verdict.says


# ---- what a number says ----------------------------------------------------------------------


def per_batch(model, average):
    """evaluate(texts, B): `average` of the losses of the batches."""

    def evaluate(texts, B):
        batches = [texts[i : i + B] for i in range(0, len(texts), B)]
        return average([model.loss(x[:, :-1], x[:, 1:])[0] for x in batches])

    return Contender(lambda ids: model.forward(ids)[0], V, T, evaluate=evaluate)


def test_f6_a_mean_of_perplexities_and_a_mean_of_means_depend_on_the_batch_size():
    model = small_gpt()
    assert batches_do_not_matter(per_batch(model, lambda x: np.mean(np.exp(x)))).state == "broken"
    assert batches_do_not_matter(per_batch(model, lambda x: np.exp(np.mean(x)))).state == "broken"
    assert batches_do_not_matter(model).passed


WRONG_LOSSES = {
    "over time (b7)": over_time,
    "a sum": lambda logits, targets: token_nats(logits, targets)[0].sum(),
    "in bits": lambda logits, targets: token_nats(logits, targets)[0].mean() / math.log(2),
}


@pytest.mark.parametrize("wrong", WRONG_LOSSES)
def test_f5_a_loss_of_another_kind_is_seen(wrong):
    subject = Contender(small_gpt().forward, V, T, loss=WRONG_LOSSES[wrong])
    assert loss_is_cross_entropy(subject).state == "broken"


def test_f5_ours_is_cross_entropy_and_refuses_swapped_axes_where_it_can_tell():
    ours = Contender(small_gpt().forward, V, T, loss=lambda z, y: cross_entropy_forward(z, y)[0])
    assert loss_is_cross_entropy(ours).passed
    with pytest.raises(InputError, match="without the last axis"):
        cross_entropy_forward(np.zeros((5, V, T)), np.zeros((5, T), int))


# ---- the cache -------------------------------------------------------------------------------


def positions_from_zero(past, positions, mask):
    return np.maximum(positions - past.length, 0), mask


def no_causal_mask(past, positions, mask):
    return positions, np.broadcast_to(mask[..., -1:, :], mask.shape)


def the_past_forgotten(past, positions, mask):
    return positions, mask & (np.arange(mask.shape[-1]) >= past.length)


def padding_looked_at(past, positions, mask):
    T, S = mask.shape[-2:]
    return positions, np.broadcast_to(ops.causal_mask(T, S), mask.shape)


def padding_counted(past, positions, mask):
    return positions + past.padding[:, None], mask


@pytest.mark.parametrize("wrong", [positions_from_zero, no_causal_mask, the_past_forgotten])
def test_a_cache_with_a_wrong_position_or_mask_is_seen(wrong, monkeypatch):
    place = KeyValueCache.place
    monkeypatch.setattr(KeyValueCache, "place", lambda p, s: wrong(p, *place(p, s)))
    verdict = cache_changes_nothing(small_gpt(layers=2))
    assert verdict.state == "broken"
    assert verdict.numbers["plain"] > 1e-3 and "positions that start anew" in verdict.says


@pytest.mark.parametrize("wrong", [padding_looked_at, padding_counted])
def test_a_cache_that_sees_or_counts_padding_is_seen(wrong, monkeypatch):
    place = KeyValueCache.place
    monkeypatch.setattr(KeyValueCache, "place", lambda p, s: wrong(p, *place(p, s)))
    verdict = cache_changes_nothing(small_gpt(layers=2))
    assert verdict.state == "broken"
    assert verdict.numbers["plain"] < 1e-12 < 1e-3 < verdict.numbers["padded"]
    assert "Usual cause: padding" in verdict.says


# ---- what cannot be looked at ----------------------------------------------------------------


def test_dropout_that_is_on_is_an_error():
    model = GPT(replace(small_gpt().config, dropout=0.5), np.random.default_rng(0))
    rng = np.random.default_rng(1)
    with pytest.raises(InputError, match="switch dropout off"):
        causality(Contender(lambda ids: model.forward(ids, rng)[0], V, T))


@pytest.mark.parametrize(
    "logits, match",
    [
        (lambda ids: np.zeros((*ids.shape, V + 1)), r"must have shape \(2, 8, 12\)"),
        (lambda ids: np.full((*ids.shape, V), np.nan), "a nan"),
    ],
)
def test_logits_of_another_shape_or_with_a_nan_are_an_error(logits, match):
    with pytest.raises(InputError, match=match):
        causality(Contender(logits, V, T))


def test_a_bare_function_is_told_what_to_hand_over():
    with pytest.raises(InputError, match=r"Contender\(f, vocab_size=…, length=…\)"):
        check_contracts(lambda ids: ids)


@pytest.mark.parametrize("sizes, name", [((1, 8), "vocab_size"), ((12, 2), "length")])
def test_sizes_that_show_nothing_are_an_error(sizes, name):
    with pytest.raises(InputError, match=name):
        Contender(lambda ids: ids, *sizes)


def test_what_a_contract_lacks_is_named():
    plain = Contender(lambda ids: np.zeros((*ids.shape, V)), V, T)
    for contract, lacking in (
        (no_leak, "learn"),
        (loss_is_cross_entropy, "loss"),
        (cache_changes_nothing, "extend"),
    ):
        with pytest.raises(InputError, match=lacking):
            contract(plain)
    assert len(check_contracts(plain).verdicts) == 4


def test_a_verdict_prints_as_lines_that_fit_a_page_and_start_with_its_state():
    verdict = order_is_used(one_matrix())
    lines = str(verdict).splitlines()
    assert lines[0].startswith("broken    order is used: ")
    assert len(lines) > 1 and all(len(line) <= 100 for line in lines)


@pytest.mark.parametrize("std", [0.02, 1.0, 2.0])
def test_positions_are_seen_in_an_attention_that_is_sure_of_itself(std):
    assert order_is_used(one_matrix(positions=True, init_std=std)).passed
    assert order_is_used(one_matrix(init_std=std)).state == "broken"


def test_a_bag_of_words_in_half_precision_is_no_order():
    E = np.random.default_rng(0).normal(size=(V, C)).astype(np.float16)
    verdict = order_is_used(Contender(lambda ids: np.cumsum(E[ids], axis=1) @ E.T, V, T))
    assert verdict.state == "broken" and "bag of words" in verdict.says
