"""induction.py: where an induction head looks, and how its score is counted."""

import dataclasses

import numpy as np
import pytest

from numpylm.__main__ import main
from numpylm.course import induction
from numpylm.course.induction import (
    InductionConfig,
    T,
    after_the_same,
    attention_of,
    draw_induction,
    induction_scores,
    train_layers,
)


@pytest.fixture(scope="module")
def run():
    """Two layers that have hardly learned, on few sentences."""
    with pytest.MonkeyPatch.context() as patch:
        small = dataclasses.replace(induction.LANGUAGE, sentences=150, heldout_sentences=20)
        patch.setattr(induction, "LANGUAGE", small)
        yield train_layers(2, InductionConfig(steps=2))


def test_an_induction_head_looks_behind_every_earlier_place_of_the_same_token():
    ids = np.array([[5, 1, 7, 2, 5, 1, 5]])
    expected = np.zeros((7, 7), bool)
    expected[4, 1] = True  # the second 5: behind the first
    expected[5, 2] = True  # the second 1
    expected[6, [1, 5]] = True  # the third 5: behind both others
    np.testing.assert_array_equal(after_the_same(ids)[0], expected)


def test_after_the_same_is_never_in_the_future():
    ids = np.random.default_rng(0).integers(0, 3, (4, 9))
    after = after_the_same(ids)
    assert after.any()
    assert not (after & ~np.tri(9, dtype=bool)).any()


def with_attention(monkeypatch, *layers):
    monkeypatch.setattr(induction, "attention_of", lambda run, ids: layers)


def test_the_score_is_1_for_a_perfect_head_and_0_for_one_that_never_looks_there(run, monkeypatch):
    after = after_the_same(run.batches.heldout[:, :-1])
    perfect = after / np.maximum(after.sum(axis=-1, keepdims=True), 1)
    never = np.broadcast_to(np.eye(T), after.shape) * ~after
    with_attention(monkeypatch, perfect, never, 0.25 * perfect)
    assert induction_scores(run) == pytest.approx([1, 0, 0.25], abs=1e-12)


def test_what_follows_digits_does_not_count(run, monkeypatch):
    after = after_the_same(run.batches.heldout[:, :-1])
    after[:, 0::2] = False
    with_attention(monkeypatch, after / np.maximum(after.sum(axis=-1, keepdims=True), 1))
    assert induction_scores(run) == [0]


def test_the_weights_of_every_layer_are_those_of_its_only_head(run):
    ids = run.batches.heldout[:3, :-1]
    weights = attention_of(run, ids)
    assert [a.shape for a in weights] == [(3, T, T)] * 2
    for a in weights:
        np.testing.assert_allclose(a.sum(axis=-1), 1, atol=1e-6)  # float32


def test_the_picture_marks_those_pairs_in_each_layer(run):
    *maps, _ = draw_induction(run).axes
    assert [axes.get_title() for axes in maps] == ["layer 1", "layer 2"]
    after = after_the_same(run.batches.heldout[:1, :-1])[0]
    after[1::2] = False
    for axes in maps:
        keys, queries = axes.lines[0].get_data()
        assert {*zip(queries, keys, strict=True)} == {*zip(*np.nonzero(after), strict=True)}


def test_the_command_compares_one_layer_with_two(tmp_path, capsys, monkeypatch):
    small = dataclasses.replace(induction.LANGUAGE, sentences=150, heldout_sentences=20)
    monkeypatch.setattr(induction, "LANGUAGE", small)
    assert main(["induction", "--steps", "2", "--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("layers: 1   nats per token: ")
    assert lines[1].startswith("layers: 2   nats per token: ")
    assert lines[2] == str(tmp_path / "induction_head.png")
    assert (tmp_path / "induction_head.png").stat().st_size > 0
