"""ladder.py: rungs are configurations, what is derived holds, and a few trainings reach the floor.

The trainings are short and few; `python -m numpylm ladder` makes the whole table.
"""

import math
from itertools import pairwise, product

import numpy as np
import pytest

from numpylm.__main__ import main
from numpylm.attention_lm import AttentionLM
from numpylm.course import ladder
from numpylm.course.ladder import (
    RUNGS,
    Job,
    LadderConfig,
    T,
    draw_ladder,
    excess_of,
    ladder_text,
    order_free_entropy,
    spread,
    train_rung,
)
from numpylm.errors import InputError
from numpylm.gpt import GPT
from numpylm.languages import LANGUAGES

EXACT = 1e-9
# Excess is measured on 2048 held-out sentences against the true law on the same ones, so only the
# difference of the two fluctuates: by less than 1e-3 wherever the two laws are close.
NOISE = 1e-3
# A derived bound is a mean over all sentences; drawn ones are not quite balanced. The two sentences
# of abab come up 1024 ± 23 times each, which a model may use for 2.5e-4 nats of its ln 2.
UNBALANCED = 1e-3


@pytest.fixture(scope="module")
def excess():
    """(rung, language, steps) -> its excess, trained once."""
    known = {}

    def reached(rung, language, steps):
        job = Job(rung, language, 0, steps)
        if job not in known:
            known[job] = excess_of(job)
        return known[job]

    return reached


# ---- rungs -----------------------------------------------------------------------------------


def test_every_rung_is_a_configuration_of_a_model_that_exists():
    for rung in RUNGS.values():
        assert rung.model in (AttentionLM, GPT)
        rung.model.Config.from_dict({"vocab_size": 5, "width": 16, **rung.options})
    first, last = RUNGS["one-matrix"], RUNGS["block"]
    assert (first.model, dict(first.options)) == (AttentionLM, {})
    assert last.model is GPT
    assert (last.options["layers"], last.options["heads"]) == (1, 1)


def test_every_rung_says_what_it_repairs_and_every_limit_whether_it_is_derived_or_measured():
    for rung in RUNGS.values():
        assert rung.repairs
        for language, limit in rung.limits.items():
            assert language in LANGUAGES
            assert limit.reason.startswith("derived" if limit.excess else "measured")
    assert not RUNGS["block"].limits


def test_no_two_rungs_are_the_same_model():
    assert len({(rung.model, tuple(rung.options.items())) for rung in RUNGS.values()}) == len(RUNGS)


# ---- what is derived -------------------------------------------------------------------------

TIED_AND_SYMMETRIC = ("one-matrix", "scale", "positions")


def random_models(rung, vocab_size):
    """Many models of a rung, of small and of large numbers: a bound must hold for all."""
    kind, options = RUNGS[rung].model, RUNGS[rung].options
    for seed, std in product(range(20), (0.1, 0.5, 1.0, 2.0)):
        values = {"vocab_size": vocab_size, "context_length": T, "width": 16, "init_std": std}
        config = kind.Config.from_dict(values | options)
        yield kind(config, np.random.default_rng(seed), np.float64)


def rotations(n):
    """Every sentence of the n-cycle, each once."""
    return (np.arange(n)[:, None] + np.arange(T + 1)) % n


def loss_by_position(model, sentences):
    return np.array(
        [
            float(np.mean([model.loss(s[: t + 1], targets_at(s, t))[0] for s in sentences]))
            for t in range(T)
        ]
    )


def targets_at(sentence, t):
    """Only the prediction after token t counts."""
    return np.where(np.arange(t + 1) == t, sentence[1 : t + 2], -100)


@pytest.mark.parametrize("rung", TIED_AND_SYMMETRIC)
def test_derivation_1_the_first_prediction_on_a_cycle_costs_ln_2_or_ln_3(rung):
    for n, bound in ((2, math.log(2)), (5, math.log(3))):
        first = rotations(n)[:, :2]
        for model in random_models(rung, n):
            assert model.loss(first[:, :1], first[:, 1:])[0] >= bound - EXACT


@pytest.mark.parametrize("rung", ["one-matrix", "scale"])
def test_derivation_2_without_positions_every_prediction_on_abab_costs_ln_2(rung):
    for model in list(random_models(rung, 2))[::3]:
        assert (loss_by_position(model, rotations(2)) >= math.log(2) - EXACT).all()


def test_positions_bring_abab_down_to_the_entropy_of_one_in_eight_if_set_by_hand():
    """Each position but the first reads the one before it, so only c_1 says the wrong word.

    P_i = α_i f_i + α_{i−1}/2 f_{i−1} with f orthonormal and α_i = α_{i−1}/4, so that P_i·P_{i−1} =
    α²_{i−1}/2 exceeds |P_i|² and every other P_i·P_j is 0. E = ±r f_0, out of their way: margins
    of ∓2r², and (softplus(m) + 7 softplus(−m))/8 is least at m = ln 7.
    """
    kind, options = RUNGS["positions"].model, RUNGS["positions"].options
    config = kind.Config(vocab_size=2, context_length=T, width=16, **options)
    model = kind(config, np.random.default_rng(0), np.float64)
    alpha = 32.0 * 4.0 ** np.arange(T - 1, -1, -1)
    P = np.zeros((T, 16))
    P[range(T), range(1, T + 1)] = alpha
    P[range(1, T), range(1, T)] = alpha[:-1] / 2
    model.params["P"] = P
    model.params["E"] = math.sqrt(math.log(7) / 2) * np.eye(1, 16) * [[1], [-1]]
    losses = loss_by_position(model, rotations(2))
    assert losses[0] == pytest.approx(math.log(8), abs=EXACT)
    assert losses[1:] == pytest.approx([math.log(8 / 7)] * 7, abs=EXACT)
    assert losses.mean() == pytest.approx(0.377, abs=5e-4)


@pytest.mark.parametrize("language", ["order2", "copy"])
def test_derivation_3_is_what_the_limits_without_positions_say(language):
    law = LANGUAGES[language]()
    excess = order_free_entropy(law, T + 1) - law.entropy(T + 1)
    for rung in ("one-matrix", "scale", "table", "qkv"):
        assert RUNGS[rung].limits[language].excess == pytest.approx(excess, abs=1e-8)


def test_without_an_order_nothing_is_lost_where_the_last_token_is_enough():
    for language in ("random", "abab", "cycle", "markov"):
        law = LANGUAGES[language]()
        assert order_free_entropy(law, 6) == pytest.approx(law.entropy(6), abs=EXACT)


def test_the_order_free_entropy_of_three_tokens_by_hand():
    # copy of 1: the third letter is new, so x_1 x_1 x_3: nothing before x_2 has an order to lose.
    assert order_free_entropy(LANGUAGES["copy"](), 3) == pytest.approx(math.log(4), abs=EXACT)


# ---- what is measured ------------------------------------------------------------------------


def test_one_matrix_learns_topics_and_cannot_learn_abab(excess):
    assert excess("one-matrix", "topics", 300) < 0.1  # 0.003 after 1000 steps
    assert excess("one-matrix", "abab", 300) > math.log(2) - UNBALANCED


def test_a_separate_output_table_learns_abab_which_positions_alone_do_not(excess):
    assert excess("table", "abab", 200) < 0.02
    assert excess("positions", "abab", 200) > math.log(2) / T - UNBALANCED


def test_q_k_v_learn_any_law_of_succession(excess):
    assert excess("qkv", "markov", 300) < 0.03
    assert excess("one-matrix", "markov", 300) > 0.4  # 0.57 after any number of steps


def test_only_the_block_learns_order2(excess):
    assert excess("block", "order2", 800) < 0.05
    assert excess("qkv-positions", "order2", 400) > 0.3  # 0.47 after any number of steps
    assert excess("qkv", "order2", 400) > RUNGS["qkv"].limits["order2"].excess


def test_nothing_falls_below_the_entropy(excess):
    for rung in RUNGS:
        assert excess(rung, "random", 50) > -NOISE
    assert excess("qkv", "markov", 300) > -NOISE


def test_excess_is_loss_minus_what_the_true_law_pays_on_the_same_sentences():
    run = train_rung(Job("table", "markov", 0, 1))
    law, symbols = LANGUAGES["markov"](), np.array(run.batches.tokenizer.symbols)
    P = {x: [p for p, _, _ in law.step(i)] for i, x in enumerate(law.symbols)}
    truth = np.mean(
        [
            -math.log(P[x][law.symbols.index(y)])
            for s in symbols[run.batches.heldout]
            for x, y in pairwise(s)
        ]
    )
    assert excess_of(Job("table", "markov", 0, 1)) == pytest.approx(run.evaluate().loss - truth)


def test_a_training_is_settled_by_its_seed():
    first, again, other = (train_rung(Job("qkv", "abab", seed, 3)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.model.params.flat, again.model.params.flat)
    assert (first.model.params.flat != other.model.params.flat).any()


# ---- table and picture -----------------------------------------------------------------------


def test_the_spread_over_seeds_is_best_to_worst_or_one_number():
    assert spread([0.5, 0.25, 0.3]) == "0.250-0.500"
    assert spread([0.1, 0.1001]) == "0.100"
    assert spread([-0.0001, 0.0001]) == "0.000"


TABLE = {("one-matrix", "abab"): [0.693, 0.7], ("one-matrix", "random"): [0.0, 0.0],
         ("block", "abab"): [0.0, 0.001], ("block", "random"): [0.0, 0.0]}  # fmt: skip


def test_the_table_shows_every_cell_the_entropy_and_why_a_floor_is_not_reached():
    lines = ladder_text(TABLE).splitlines()
    assert lines[0].split() == ["abab", "random"]
    assert lines[1].split() == ["one", "matrix,", "causal", "0.693-0.700", "0.000"]
    assert lines[2].endswith("0.000-0.001        0.000")
    assert lines[3].split()[-2:] == ["0.000", "2.079"]
    assert any(line.startswith("    not abab (at least 0.693), derived (2)") for line in lines)
    assert not any("markov" in line for line in lines)  # it was not climbed


def test_the_picture_writes_the_derived_limit_below_the_measured_excess():
    (axes,) = draw_ladder(TABLE).axes
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["0.693-0.700\n$\\geq$ 0.693", "0.000", "0.000-0.001", "0.000"]


def test_the_command_prints_the_table_and_draws_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(ladder, "SENTENCES", 64)
    monkeypatch.setattr(ladder, "HELDOUT", 16)
    ladder._corpus.cache_clear()
    words = "--rungs section-4,table --languages abab --steps 2 --seeds 2 --processes 1 --out"
    assert main(["ladder", *words.split(), str(tmp_path)]) == 0
    ladder._corpus.cache_clear()
    printed, said = capsys.readouterr()
    assert "numpylm: section-4 is now called one-matrix\n" in said
    assert "one matrix, causal" in printed and "separate output table" in printed
    assert str(tmp_path / "ladder.png") in printed
    assert (tmp_path / "ladder.png").stat().st_size > 0


def test_names_that_are_not_known_are_refused():
    with pytest.raises(InputError, match="rungs has no 'blok': choose from one-matrix, scale"):
        LadderConfig(rungs="one-matrix,blok")
    with pytest.raises(InputError, match="languages has no '': choose from random"):
        LadderConfig(languages="")
