"""contract_heldout: what was trained on is found, and chance is not called copying."""

import numpy as np
import pytest

from numpylm.checks.contracts import heldout_is_apart
from numpylm.corpora import CorpusConfig, load_corpus
from numpylm.errors import InputError


def markov(n, seed, words=30, followers=3):
    after = np.random.default_rng(0).integers(0, words, (words, followers))
    rng, text = np.random.default_rng(seed), [0]
    for _ in range(n - 1):
        text.append(after[text[-1], rng.integers(followers)])
    return np.array(text)


S, H = markov(20_000, 1), markov(2_000, 2)


def windows(stride, split):
    """Windows of 17 of one stream, parted at random or not."""
    table = np.lib.stride_tricks.sliding_window_view(S[:6000], 17)[::stride]
    if split == "random":
        table = table[np.random.default_rng(0).permutation(len(table))]
    cut = len(table) * 4 // 5
    return table[:cut], table[cut + 17 :]


@pytest.mark.parametrize(
    "train, heldout",
    [
        (S, H),
        (S[:18_000], S[18_000:]),
        (S.astype(np.uint16), H),
        (S[:17_000].reshape(-1, 17), S[17_000:19_992].reshape(-1, 17)),
        ([*S[:15_000].reshape(-1, 50), S[15_000:15_030]], S[15_030:]),
        windows(1, "in order"),
    ],
)
def test_held_out_text_that_is_apart_is_kept(train, heldout):
    assert heldout_is_apart(train, heldout).passed


@pytest.mark.parametrize(
    "train, heldout, words",
    [
        (S, S[5000:7000], "100.0%"),
        (S, np.concatenate([H[:1800], S[100:300]]), "passage is of 200 tokens, at 1800"),
        (S, np.concatenate([H[:900], S[500:600], H[900:]]), "of 100 tokens, at 900"),
        (S, np.concatenate([markov(8000, 3), S[500:570]]), "a passage of 70 tokens, at 8000"),
        (S[:18_064], S[18_000:], "of 64 tokens, at 0"),
        (*windows(1, "random"), "before the split"),
        (*windows(4, "random"), "moved on by 4"),
        (*windows(8, "random"), "moved on by 8"),
        (S[:17_000].reshape(-1, 17), S[:1700].reshape(-1, 17), "before the split"),
    ],
)
def test_held_out_text_that_was_trained_on_is_found(train, heldout, words):
    verdict = heldout_is_apart(train, heldout)
    assert verdict.state == "broken" and words in verdict.says, verdict


@pytest.mark.parametrize(
    "train, heldout", [(S, H[:10]), (np.zeros(999, int), np.zeros(99, int)), ("ab" * 99, "ab" * 50)]
)
def test_where_chance_explains_it_all_nothing_is_told(train, heldout):
    assert heldout_is_apart(train, heldout).state == "undecided"


def test_a_window_has_a_neighbour_before_it_or_after_it():
    verdict = heldout_is_apart(*windows(1, "random"))
    assert verdict.numbers["share"] > 1 - 0.3**2  # a fifth of all rows is held out


def test_a_corpus_of_ours_is_never_accused_and_with_training_rows_it_is():
    for name in ("topics", "markov", "copy", "cycle", "random"):
        assert heldout_is_apart(load_corpus(CorpusConfig(corpus=name), 8)).state != "broken"
    corpus = load_corpus(CorpusConfig(corpus="topics"), 8)
    leaked = np.concatenate([corpus.heldout[:900], corpus.train[:100]])
    assert heldout_is_apart(corpus.train, leaked).state == "broken"


def test_texts_may_be_strings_words_or_tensors():
    text = "".join(chr(97 + i % 26) for i in S)
    assert heldout_is_apart(text[:18_000], text[18_000:]).passed
    assert heldout_is_apart([text[:9000], text[9000:18_000]], [text[8000:9000]]).state == "broken"
    words = [f"w{i}" for i in S]
    assert heldout_is_apart(words[:18_000], words[18_000:]).passed
    assert heldout_is_apart(words[:18_000], words[17_000:]).state == "broken"


@pytest.mark.parametrize("train", [[], np.zeros(50), 3, [[1.5, 2.5]]])
def test_what_is_no_text_is_an_error(train):
    with pytest.raises(InputError, match="train must hold"):
        heldout_is_apart(train, S)
