"""post/transfer.py: six labelled sentences are enough after pre-training, and none without."""

import numpy as np
import pytest

from numpylm.__main__ import main
from numpylm.errors import InputError
from numpylm.post.transfer import Head, TransferConfig, measure, sentences, transfer_text


def test_words_of_the_test_are_in_no_labelled_sentence():
    rng = np.random.default_rng(0)
    (few, classes), (many, _) = (sentences(rng, 600, True, s) for s in (slice(2), slice(2, None)))
    assert not set(few.ravel()) & set(many.ravel()) and len(set(many.ravel())) == 36
    assert np.bincount(classes).tolist() == [100] * 6
    assert (few[:, 0] // 8 == classes).all() and (few[:, 4] // 8 != classes).all()


def test_six_labels_are_enough_for_the_one_matrix_model():
    rows = measure(TransferConfig(models="one-matrix", labels="6", seeds=2, pretrain_steps=400))
    accuracy = {m: [r.accuracy for r in rows if r.method == m] for m in {r.method for r in rows}}
    assert min(accuracy["frozen features"]) > 0.99
    assert max(accuracy["from scratch, features"]) < 0.4
    assert "guessing: 0.17" in transfer_text(rows)


def test_f12_a_head_learns_what_can_be_parted():
    x = np.eye(6)[np.arange(12) % 6] + 0.01 * np.random.default_rng(0).normal(size=(12, 6))
    assert (Head(x, np.arange(12) % 6).predict(x) == np.arange(12) % 6).all()
    with pytest.raises(InputError, match=r"must lie in \[0, 6\), the classes; found 6"):
        Head(x, np.arange(12) % 7)
    with pytest.raises(InputError, match="as many rows"):
        Head(x, np.arange(6))


def test_every_model_and_method_runs(capsys):
    words = ["--labels", "6", "--seeds", "1", "--pretrain-steps", "2", "--steps", "2"]
    assert main(["finetune", *words, "--width", "8"]) == 0
    out = capsys.readouterr().out
    assert out.count("LoRA") == 2 and out.count("frozen features") == 3


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"labels": "7"}, "labels must be multiples of 6"),
        ({"models": "gpt2"}, "models has no 'gpt2'"),
        (
            {
                "models": "gpt",
                "rank": 25,
                "pretrain_steps": 1,
                "steps": 1,
                "labels": "6",
                "seeds": 1,
            },
            "rank 25 is above the width",
        ),
    ],
)
def test_what_is_refused_is_named(options, says):
    with pytest.raises(InputError, match=says):
        measure(TransferConfig(**options))
