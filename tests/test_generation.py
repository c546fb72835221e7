"""generation.py: sentences have the law of their language, no held-out trio is in training, and
counts of words in a row fail.
"""

import math
from itertools import islice

import numpy as np
import pytest
from task_examples import HEART, HELDOUT, SIZE, TRAIN, assert_new_but_of_known_words, pairs_of, rng

from numpylm.errors import InputError
from numpylm.gpt import GPT, GPTConfig
from numpylm.ops import IGNORE
from numpylm.tasks.generation import (
    DEEDS,
    END,
    LOOKS,
    PEOPLE,
    SENTENCE_LENGTH,
    Ngram,
    agreement,
    agreement_corpus,
    described,
    law_nats,
    model_nats,
    next_words,
    sentences,
    trained,
    until_end,
    write,
    writing_scores,
)
from numpylm.tasks.tools import Vocabulary, fit

EXACT = 1e-12  # sums of some tens of float64 terms of order 1
FIVE_SIGMA = 5  # of a fixed draw: a wrong law is off by tens
FLOAT32 = 1e-4  # sums of some hundred float32 terms of order 1


@pytest.fixture(scope="module")
def talk():
    return agreement_corpus(rng(), TRAIN, HELDOUT)


# ---- the corpus, and its baseline ------------------------------------------------------------


def trio(sentence):
    """Subject, verb and object, as words without their endings."""
    names = [word.removesuffix("s") for word in sentence if word.removesuffix("s") in PEOPLE]
    verb = next(word for word in sentence if word.removesuffix("s") in DEEDS)
    return names[0], verb.removesuffix("s"), names[-1]


def test_held_out_trios_never_meet_in_training(talk):
    assert_new_but_of_known_words(talk, lambda text: [trio(text)], lambda text: text)


def test_every_two_of_a_trio_meet_in_training(talk):
    known = {pair for text in talk.train for pair in pairs_of(trio(text))}
    assert all(pair in known for text in talk.heldout for pair in pairs_of(trio(text)))


def test_sentences_run_from_mark_to_mark_and_the_longest_fits(talk):
    assert all(text[0] == text[-1] == END and END not in text[1:-1] for text in talk.train)
    many = islice(sentences(agreement(), rng()), 5000)
    assert max(map(len, many)) == SENTENCE_LENGTH
    assert until_end([END, "the", END, END]) == [END, "the", END]
    assert until_end([END, "the"]) == [END, "the"]


@pytest.mark.parametrize("allowed", [trained, lambda *_: True])
def test_sentences_cost_the_entropy_of_their_law(allowed):
    language = agreement(allowed)
    costs = [law_nats(language, text) for text in islice(sentences(language, rng()), 3000)]
    entropy = language.entropy_by_position(SENTENCE_LENGTH).sum()
    error = np.std(costs) / math.sqrt(len(costs))
    assert abs(np.mean(costs) - entropy) <= FIVE_SIGMA * error


def test_what_is_trained_on_has_the_law_of_the_trained_language(talk):
    """Rejecting the held-out trios leaves ln 7 nats for the object's name, of the ln 8 it had."""
    loss = [law_nats(agreement(trained), text) - law_nats(agreement(), text) for text in talk.train]
    assert loss == pytest.approx([-math.log(8 / 7)] * TRAIN, abs=EXACT)


@pytest.mark.parametrize(
    ("text", "possible"),
    [
        (". the cats near the old dog see the queen .", True),
        (". the cats near the old dog sees the queen .", False),
        (". the cat near the old dogs sees the queen . . .", True),
        (". the cat near the dog near the dog near the dog sees the queen .", False),
        (". the cat old sees the queen .", False),
        (". the cat sees queen .", False),
        (". the cat sees the", True),  # a beginning
    ],
)
def test_the_law_recognises_its_sentences(text, possible):
    assert math.isfinite(law_nats(agreement(), text.split())) == possible


def test_the_words_of_the_language_are_listed_once():
    symbols = agreement().symbols
    assert len(set(symbols)) == len(symbols) == 3 + len(LOOKS) + 2 * len(PEOPLE + DEEDS)
    many = {word for text in islice(sentences(agreement(), rng()), 2000) for word in text}
    assert many == set(symbols)


def test_counts_of_words_in_a_row_must_fail_because_the_subject_is_further_back(talk):
    for n in (2, 4):
        counts, draw = Ngram(talk.train, n), rng()
        written = [counts.sample(END, END, SENTENCE_LENGTH, draw) for _ in range(300)]
        could = [math.isfinite(law_nats(agreement(), text)) for text in written]
        assert np.mean(could) < 0.6


def test_ngram_probabilities_by_hand():
    counts = Ngram([["a", "b"], ["a", "b"], ["a", "c"]], 2)
    p_b = (2 + 0.1 * 2 / 3) / (3 + 0.1)
    assert counts.nats([["a", "b"]]) == pytest.approx(-math.log(p_b), rel=EXACT)
    unseen = 0.1 * 2 / 3 / 0.1  # after "b" nothing was counted
    assert counts.nats([["b", "b"]]) == pytest.approx(-math.log(unseen), rel=EXACT)
    assert counts.nats([["a", "z"]]) == math.inf
    with pytest.raises(InputError, match="n must be at least 2"):
        Ngram([], 1)


# ---- the task --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def few():
    return agreement_corpus(rng(), 16, 8)


def gpt():
    vocabulary = Vocabulary(agreement().symbols)
    model = GPT(GPTConfig(vocab_size=len(vocabulary), context_length=16, **SIZE), rng())
    return model, vocabulary


def test_gpt_predicts_each_word_up_to_the_end_and_no_padding():
    vocabulary = Vocabulary(["the cat dog sees ."])
    texts = [[".", "the", "cat", "."], [".", "the", "dog", "sees", "."]]
    examples = next_words(vocabulary, texts)
    the, cat, end = (vocabulary.ids[word] for word in ("the", "cat", "."))
    assert examples["ids"][0].tolist() == [end, the, cat, end]
    assert examples["targets"][0].tolist() == [the, cat, end, IGNORE]


def test_sentences_cost_the_same_alone_and_together(few):
    model, vocabulary = gpt()
    together = model_nats(model, vocabulary, few.heldout)
    alone = sum(model_nats(model, vocabulary, [text]) for text in few.heldout)
    assert together == pytest.approx(alone, rel=FLOAT32)


def test_gpt_that_learned_sentences_by_heart_writes_sentences(few):
    learned = few.train[:4]
    model, vocabulary = gpt()
    fit(model, next_words(vocabulary, learned), HEART, rng())
    written = write(model, vocabulary, 20, rng())
    assert all(text[0] == END for text in written)
    assert np.mean([text in learned for text in written]) > 0.8  # the rest is drawn by chance


def test_what_is_written_is_judged_by_the_law():
    could, new, broken, cut = (text.split() for text in (
        ". the dog sees the dog .",  # 1 + 0 + 1: a trio of training
        ". the cat sees the cat .",  # 0 + 0 + 0: held out
        ". the cat see the cat .",
        ". the cat sees",
    ))  # fmt: skip
    assert writing_scores([could, new, broken, cut]) == {"in the language": 0.5, "new trios": 0.25}
    assert described(could) == ". the dog sees the dog ."
    assert described(broken) == ". the cat | see the cat ."
