import json
import math

import numpy as np
import pytest

from numpylm.attention_lm import AttentionLM
from numpylm.corpora import CorpusConfig, load_corpus
from numpylm.errors import InputError
from numpylm.logs import compare, read_log
from numpylm.runs import Run
from numpylm.train_config import TrainConfig
from numpylm.training import train


@pytest.fixture(scope="module")
def corpus():
    return load_corpus(CorpusConfig(sentences=60, heldout_sentences=20), 8)


def model(width=4):
    return AttentionLM(vocab_size=48, width=width)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, corpus):
    folder, runs = tmp_path_factory.mktemp("runs"), []
    for name, rate, steps in (("slow", 0.001, 7), ("fast", 0.1, 5)):
        config = TrainConfig(steps=steps, eval_every=3, learning_rate=rate)
        runs.append(Run.start(folder / name, model(), corpus, config))
        runs[-1].train(progress=False)
    return runs


def test_a_log_is_read_as_columns_with_nan_where_a_line_has_nothing(runs):
    slow, _ = runs
    lines = [json.loads(line) for line in slow.log.read_text(encoding="utf-8").splitlines()]
    for path in (slow.folder, slow.log, str(slow.folder)):
        log = read_log(path)
        assert list(log) == ["step", "loss", "rate", "norm", "heldout"]
        for name, column in log.items():
            expected = [line.get(name, math.nan) for line in lines]
            np.testing.assert_array_equal(column, expected)
    assert np.flatnonzero(np.isfinite(log["heldout"])).tolist() == [2, 5, 6]


def test_a_run_that_has_not_begun_has_an_empty_log(tmp_path, corpus):
    assert read_log(Run.start(tmp_path, model(), corpus).folder) == {}


@pytest.mark.parametrize("content", ["[1, 2]\n", "no json\n", '{"step": 1}\n3\n'])
def test_what_is_no_log_is_named(tmp_path, content):
    path = tmp_path / "log.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"log\.jsonl is not the log of a run"):
        read_log(path)
    with pytest.raises(InputError, match=r"no log at .*: give the folder of a run"):
        read_log(tmp_path / "nowhere")


def test_two_runs_are_compared_by_their_losses_and_what_differs(runs):
    for given in (runs, [run.folder for run in runs]):
        comparison = compare(*given)
        assert list(comparison.logs) == ["slow", "fast"]
        assert comparison.differences == {"steps": ["7", "5"], "learning_rate": ["0.001", "0.1"]}
        head, slow, fast, *differences = str(comparison).splitlines()
        assert head.split() == ["steps", "loss", "held-out", "best"]
        heldout = comparison.logs["fast"]["heldout"]
        cells = [comparison.logs["fast"]["loss"][-1], heldout[-1], np.nanmin(heldout)]
        assert fast.split() == ["fast", "5", *(f"{cell:.4f}" for cell in cells)]
        assert slow.split()[:2] == ["slow", "7"]
        assert differences == ["steps: 7, 5", "learning_rate: 0.001, 0.1"]


def test_results_in_memory_are_compared_too(runs, corpus):
    results = [train(model(width), corpus, 4, progress=False) for width in (3, 5)]
    comparison = compare(*results, runs[0])
    assert list(comparison.logs) == ["AttentionLM", "AttentionLM'", "slow"]
    assert comparison.differences["width"] == ["3", "5", "4"]


def test_a_comparison_has_a_picture_with_a_line_for_each_run(runs):
    axes = compare(*runs).plot().axes[0]
    shown = {line.get_label(): line.get_data() for line in axes.get_lines()}
    for run in runs:
        steps, heldout = shown[run.folder.name]
        log = run.read_log()
        at = np.isfinite(log["heldout"])
        np.testing.assert_array_equal(steps, log["step"][at])
        np.testing.assert_array_equal(heldout, log["heldout"][at])
    assert len(axes.get_lines()) == 4


def test_nothing_to_compare_is_an_error():
    with pytest.raises(InputError, match="nothing to compare"):
        compare()
