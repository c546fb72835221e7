"""The listing's bugs: each symptom is there, each repair is right, the numbers are those said."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from numpylm.corpora import CorpusConfig, load_corpus
from numpylm.gpt import GPT
from numpylm.gradcheck import check_model

sys.path.append(str(Path(__file__).parents[1] / "notebooks"))

import listing

LN_V, FLOOR = math.log(listing.V), math.log(listing.V) / listing.T
GUESSING = 0.02  # nats that a trained guess may be above ln V
ROUNDING = 1e-12  # of float64 sums in another order, beside logits of order 1 to 20


def test_the_repaired_model_has_the_sizes_of_the_listing_and_the_parameters_it_states():
    config = listing.repaired()
    assert (config.vocab_size, config.width, config.heads, config.layers) == (10_000, 512, 8, 6)
    parameters = listing.count(GPT.shapes(config))
    assert parameters == 24_297_472
    assert f"{parameters:,} parameters" in listing.repaired.__doc__
    assert f"{512 * config.context_length:,} are positions" in listing.repaired.__doc__


def test_the_repaired_model_trains_in_small():
    corpus = load_corpus(CorpusConfig(corpus="markov", sentences=500), 8)
    V = corpus.tokenizer.vocab_size
    model = GPT(listing.repaired(V, 16, 2, 2, 8), np.random.default_rng(0))
    rng = np.random.default_rng(1)
    listing.fit(model, lambda: listing.sample_batch(rng, corpus.train, 32, 8), 200)
    loss = listing.loss_on(model, corpus.heldout[:, :-1], corpus.heldout[:, 1:])
    assert corpus.entropy - GUESSING < loss < corpus.entropy + 0.05 < math.log(V)


def test_the_gradients_of_the_lesson_model_are_the_numerical_ones():
    config = listing.EncoderDecoderConfig(
        vocab_size=7, context_length=5, width=6, heads=3, tgt_mask=True
    )
    model = listing.EncoderDecoder(config, np.random.default_rng(0), np.float64)
    rng = np.random.default_rng(1)
    report = check_model(model, (rng.integers(7, size=(2, 5)), rng.integers(7, size=(2, 5))))
    assert report.passed, f"\n{report}"


def test_b1_the_third_argument_sets_only_the_encoder():
    pytest.importorskip("torch")
    shown = listing.b1_third_argument()
    assert (shown.wrong, shown.right) == ((3, 6), (3, 3))


def test_b2_the_transformer_of_pytorch_needs_a_target():
    pytest.importorskip("torch")
    shown = listing.b2_needs_a_target()
    assert "'tgt'" in shown.wrong
    assert shown.right == (3, listing.T, listing.V)


def test_b3_each_missing_mask_leaks_down_to_the_cheating_floor():
    shown = listing.b3_target_leaks()
    assert set(shown.wrong) == {(), ("tgt",), ("src", "tgt")}
    for masks, loss in shown.wrong.items():
        assert FLOOR < loss < FLOOR + 0.1, masks
    assert LN_V - GUESSING < shown.right < LN_V + GUESSING


def test_b4_almost_half_of_the_listing_is_a_decoder_with_nothing_to_decode():
    shown = listing.b4_idle_decoder()
    assert shown.wrong["decoder"] == 25_225_216
    assert shown.wrong["all"] == 54_390_544
    assert shown.right == 24_297_472


def test_b4_the_parameters_are_counted_as_pytorch_counts_them():
    torch = pytest.importorskip("torch")
    with torch.device("meta"):
        as_written = listing.transformer(512, 8, 6)
    for part in ("encoder", "decoder"):
        counted = sum(p.numel() for p in getattr(as_written, part).parameters())
        assert counted == listing.listing_parameters()[part]


def test_b5_without_positions_permuting_the_text_permutes_the_logits():
    shown = listing.b5_no_positions()
    assert shown.wrong < ROUNDING
    assert shown.right > 0.1


@pytest.mark.parametrize("framework", ["numpy", "torch"])
def test_b6_swapped_axes_let_one_sample_move_another(framework):
    pytest.importorskip(framework)
    show = listing.b6_in_pytorch if framework == "torch" else listing.b6_swapped_axes
    shown = show()
    assert shown.wrong > 0.1
    assert shown.right == 0


def test_b7_softmax_over_time_gives_a_plausible_wrong_number():
    shown = listing.b7_wrong_axis()
    assert abs(shown.wrong - shown.right) > 0.05
    assert 0.5 < shown.wrong / shown.right < 2


def test_b7_pytorch_gives_that_number_and_an_error_for_other_shapes():
    pytest.importorskip("torch")
    shown, in_numpy = listing.b7_in_pytorch(), listing.b7_wrong_axis()
    assert "target size" in shown.bug
    assert shown.wrong == pytest.approx(in_numpy.wrong, abs=ROUNDING)
    assert shown.right == pytest.approx(in_numpy.right, abs=ROUNDING)


def test_b8_the_data_of_the_listing_does_not_exist():
    shown = listing.b8_no_data()
    assert "'dataloader' is not defined" in shown.bug
    assert shown.right == ((4, listing.T), (4, listing.T))


def test_b9_without_the_shift_a_copy_is_learned():
    shown = listing.b9_no_shift()
    assert shown.wrong < 0.05
    assert LN_V - GUESSING < shown.right < LN_V + GUESSING


def test_b10_padding_in_the_loss_hides_what_the_words_cost():
    shown = listing.b10_padding_counts()
    entropy = math.log(listing.V - 1)
    assert shown.wrong < entropy - 0.5
    assert entropy - GUESSING < shown.right < entropy + GUESSING


def test_b11_a_loss_in_training_says_nothing_about_new_text():
    shown = listing.b11_no_evaluation()
    assert shown.wrong < LN_V / 2
    assert shown.right > LN_V + 1


def test_b11_with_a_generator_the_experiment_repeats_to_the_last_bit():
    assert listing.b11_no_evaluation() == listing.b11_no_evaluation()


def test_b12_the_separate_output_table_alone_makes_another_model():
    shown = listing.b12_another_model()
    assert shown.wrong == pytest.approx(math.log(2), abs=0.01)
    assert shown.right < 0.01


def test_b13_the_model_continues_a_cycle():
    assert listing.b13_no_generation().right == 1


def test_b14_the_width_must_be_a_multiple_of_the_heads():
    pytest.importorskip("torch")
    shown = listing.b14_width_and_heads()
    assert "divisible" in shown.wrong
    assert "10" in shown.right and "3 heads" in shown.right
