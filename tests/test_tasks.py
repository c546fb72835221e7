"""The four tasks: what goes into the models, what comes out, and how it is told.

Whether they learn the rules takes a minute each and is for `python -m numpylm task`. In the tests
of each task small models learn a few examples by heart, which shows that question and answer reach
each other.
"""

from dataclasses import replace

import numpy as np
import pytest
from task_examples import HEART, SIZE, rng

from numpylm.__main__ import main
from numpylm.errors import InputError
from numpylm.figures import reading_maps, score_dots
from numpylm.gpt import GPT, GPTConfig
from numpylm.tasks.generation import agreement, agreement_corpus, next_words
from numpylm.tasks.run import TASKS, run_once, run_task
from numpylm.tasks.tools import (
    BEGIN,
    PADDING,
    STOP,
    Answer,
    Outcome,
    Result,
    TaskConfig,
    TranslationConfig,
    Vocabulary,
    chosen,
    draw_task,
    fit,
    mean_heads,
    scores_by_seed,
    table,
    task_text,
)

EXACT = 1e-12  # sums of some tens of float64 terms of order 1
FLOAT32 = 1e-4  # sums of some hundred float32 terms of order 1


TINY = TaskConfig(
    seeds=1, examples=24, heldout_examples=8, steps=2, batch_size=4, width=8, heads=2, layers=1
)
FLAGS = [
    word
    for name, value in TINY.to_dict().items()
    for word in ("--" + name.replace("_", "-"), str(value))
]


# ---- words, batches, and the loop ------------------------------------------------------------


def test_a_vocabulary_turns_words_into_ids_and_back():
    vocabulary = Vocabulary(["b a .", "c a"])
    assert vocabulary.words == ["<padding>", "<begin>", "<end>", ".", "a", "b", "c"]
    assert vocabulary.encode(" c  a ") == [6, 4]
    assert vocabulary.decode([BEGIN, 6, 4, STOP]) == ["<begin>", "c", "a", "<end>"]
    with pytest.raises(InputError, match="'d' is not among the 7 words of the corpus"):
        vocabulary.encode("a d")
    with pytest.raises(InputError, match="the text is empty"):
        vocabulary.encode(" ")


def test_a_table_is_filled_up_with_padding():
    assert table([[5, 6], [7], []]).tolist() == [[5, 6], [7, PADDING], [PADDING, PADDING]]


@pytest.mark.parametrize(("right", "n", "places"), [([1, 0, 1, 1, 0], 2, [0, 2, 1, 4]),
                                                    ([1, 1], 1, [0]), ([0, 1], 0, [])])  # fmt: skip
def test_answers_are_shown_right_ones_first(right, n, places):
    assert chosen([bool(one) for one in right], n) == places


def gpt():
    vocabulary = Vocabulary(agreement().symbols)
    model = GPT(GPTConfig(vocab_size=len(vocabulary), context_length=16, **SIZE), rng())
    return model, vocabulary


@pytest.fixture(scope="module")
def talk():
    return agreement_corpus(rng(), 16, 8)


def test_fit_lowers_the_loss_and_depends_on_the_generator_alone(talk):
    runs = []
    for _ in range(2):
        model, vocabulary = gpt()
        losses = fit(model, next_words(vocabulary, talk.train), replace(HEART, steps=30), rng())
        runs.append((losses, model.params.flat))
    assert len(runs[0][0]) == 30 and np.mean(runs[0][0][-5:]) < 0.6 * runs[0][0][0]
    assert runs[0][0] == runs[1][0] and np.array_equal(runs[0][1], runs[1][1])


def test_a_task_that_diverges_is_a_clear_error(talk):
    model, vocabulary = gpt()
    model.params.flat[:] = np.nan
    with pytest.raises(InputError, match=r"parameter E is nan.*before the first step"):
        fit(model, next_words(vocabulary, talk.train), TINY, rng())


# ---- running and telling ---------------------------------------------------------------------


METRICS = {
    "translation": ["exact match", "right words", "BLEU"],
    "generation": ["perplexity", "perplexity, new trios", "in the language", "new trios"],
    "sentiment": ["accuracy", "precision", "recall", "F1"],
    "qa": ["exact match", "token F1"],
}


@pytest.fixture(scope="module", params=TASKS)
def result(request):
    return run_task(request.param, replace(TASKS[request.param].defaults, **TINY.to_dict()))


def test_every_method_of_a_task_has_every_score(result):
    [outcome] = result.outcomes
    assert len(outcome.scores) >= 2
    assert all(list(row) == METRICS[result.task] for row in outcome.scores.values())
    assert list(result.methods) == list(outcome.scores)


def test_every_answer_shows_who_read_whom(result):
    answers = result.outcomes[0].answers
    assert answers and len(answers) <= 2 * TINY.show
    for answer in answers:
        assert answer.attention.shape == (TINY.layers, len(answer.readers), len(answer.words))
        assert answer.attention.sum(axis=-1) == pytest.approx(1, abs=FLOAT32)


def test_a_task_is_told_with_every_score_and_answer(result):
    text = task_text(result)
    assert all(method in text for method in result.outcomes[0].scores)
    assert all(metric in text.splitlines()[0] for metric in METRICS[result.task])
    for answer in result.outcomes[0].answers:
        assert "\n".join(answer.lines) in text


def test_a_task_is_drawn(result, tmp_path):
    paths = draw_task(result, tmp_path / "new")
    assert paths[0].name == "scores.png" and all(path.exists() for path in paths)
    assert len(paths) == 1 + len(result.outcomes[0].answers)


def test_the_same_seed_gives_the_same_scores_and_another_gives_others():
    once, again, other = (run_once("generation", TINY, seed).scores for seed in (3, 3, 4))
    assert once == again != other


def test_seeds_run_side_by_side_give_what_each_gives_alone():
    result = run_task("generation", replace(TINY, seeds=2, seed=3))
    alone = [run_once("generation", TINY, seed).scores for seed in (3, 4)]
    assert [outcome.scores for outcome in result.outcomes] == alone


def test_names_from_babel_can_be_translated_too():
    pytest.importorskip("babel")
    config = TranslationConfig(**TINY.to_dict() | {"locale": "de", "examples": 400})
    assert run_once("translation", config, 0).scores["word by word"]["right words"] > 0.1
    with pytest.raises(InputError, match="locale 'xx' is not known"):
        run_once("translation", replace(config, locale="xx"), 0)


def made_up(seeds=3):
    attention = np.array([[[0.7, 0.1, 0.2]], [[0.05, 0.9, 0.05]]])
    answer = Answer(False, ["a b c", "-> y"], ["y"], ["a", "b", "c"], attention)
    rows = [{"model": {"F1": x}, "baseline": {"F1": x / 2}} for x in (0.5, 1.0, 0.8)[:seeds]]
    return Result("qa", {"model": "learns"}, [Outcome(row, [answer]) for row in rows])


def test_scores_are_told_as_median_least_and_most():
    lines = task_text(made_up()).splitlines()
    assert lines[0].split() == ["F1"]
    assert lines[1].split(maxsplit=1) == ["model", "0.800 (0.500 to 1.000)"]
    assert lines[2].split(maxsplit=1) == ["baseline", "0.400 (0.250 to 0.500)"]
    assert lines[4].split() == ["model", "learns"]
    assert lines[6:9] == ["wrong", "a b c", "-> y"]
    assert lines[9].split() == ["y", "reads", "b", "0.90,", "a", "0.05,", "c", "0.05"]


def test_heads_are_averaged_for_each_block():
    blocks = np.random.default_rng(1).random((2, 4, 3, 5))
    np.testing.assert_allclose(mean_heads(blocks), blocks.mean(axis=1), rtol=EXACT)


def test_reading_maps_show_each_block_with_words_on_both_sides():
    answer = made_up().outcomes[0].answers[0]
    figure = reading_maps(answer.attention, answer.readers, answer.words, "wrong answer")
    first, second = figure.axes[:2]
    assert np.array_equal(first.images[0].get_array(), answer.attention[0])
    assert np.array_equal(second.images[0].get_array(), answer.attention[1])
    assert [text.get_text() for text in second.get_xticklabels()] == ["a", "b", "c"]
    assert [text.get_text() for text in second.get_yticklabels()] == ["y"]


def test_score_dots_show_every_seed_and_the_median():
    figure = score_dots(scores_by_seed(made_up()), "qa")
    seeds, middle, *_ = figure.axes[0].get_lines()
    assert list(seeds.get_xdata()) == [0.5, 1.0, 0.8]
    assert list(middle.get_xdata()) == [0.8]
    assert figure.axes[0].get_xlabel() == "F1"
    assert figure.axes[0].get_xlim() == (-0.05, 1.05)


def test_score_dots_show_scores_above_one_too():
    figure = score_dots({"model": {"perplexity": [4.0, 5.0]}}, "generation")
    low, high = figure.axes[0].get_xlim()
    assert low < 4 and high > 5


# ---- the command line ------------------------------------------------------------------------


def test_the_command_trains_tells_and_draws(capsys, tmp_path):
    assert main(["task", "sentiment", *FLAGS, "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "counting words" in out and "reads" in out
    assert str(tmp_path / "out" / "scores.png") in out


@pytest.mark.parametrize("task", TASKS)
def test_help_of_a_task_lists_its_own_defaults(capsys, task):
    with pytest.raises(SystemExit):
        main(["task", task, "--help"])
    steps = TASKS[task].defaults.steps
    assert f"(default: {steps})" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--steps", "0"], "steps must be at least 1, not 0"),
        (["--width", "50"], "width 50 cannot be shared by 4 heads"),
        (["--examples", "1"], "examples must be at least 2, not 1"),
    ],
)
def test_a_task_that_cannot_be_run_is_a_clear_error(capsys, tmp_path, flags, message):
    short = ["--seeds", "1", "--steps", "1", "--out", str(tmp_path / "out")]
    assert main(["task", "sentiment", *short, *flags]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
