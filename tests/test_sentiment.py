"""sentiment.py: the labels are right, no held-out composition is in training, and counting words
fails.
"""

import numpy as np
import pytest
from task_examples import BERT_SIZE, HEART, HELDOUT, TRAIN, assert_new_but_of_known_words, rng

from numpylm.bert_heads import BERTForClass, BERTForClassConfig
from numpylm.errors import InputError
from numpylm.tasks.sentiment import (
    BLAME,
    CONNECTIVES,
    NEGATIONS,
    PRAISE,
    NaiveBayes,
    Opinion,
    Review,
    class_scores,
    classify,
    review,
    reviews_corpus,
    single_words,
    word_pairs,
)
from numpylm.tasks.tools import BEGIN, PADDING, STOP, Vocabulary, fit, table

EXACT = 1e-12  # sums of some tens of float64 terms of order 1


@pytest.fixture(scope="module")
def reviews():
    return reviews_corpus(rng(), TRAIN, HELDOUT)


# ---- the corpus, and its baselines -----------------------------------------------------------


def opinions(review):
    """(text of the negation, adjective) of each clause."""
    for connective in CONNECTIVES:
        parts = review.text.split(f" {connective} ")
        if len(parts) == 2:
            return [(negation(part), part.split()[-1]) for part in parts]
    raise AssertionError(review)


def negation(clause):
    return "nobody" in clause.split(), "not" in clause.split()


def test_held_out_adjectives_and_negations_never_meet_in_training(reviews):
    assert_new_but_of_known_words(reviews, opinions, lambda review: review.text.split())


def test_labels_follow_from_the_negations_and_the_connective(reviews):
    for one in reviews.train:
        first, second = (
            (adjective in PRAISE) ^ nobody ^ no for (nobody, no), adjective in opinions(one)
        )
        assert first != second
        assert one.label == (second if " but " in one.text else first)


def test_reviews_by_hand():
    praise, blame = Opinion("food", "good", 0), Opinion("room", "good", 1)
    double = Opinion("view", "bad", 2)
    assert review(praise, "but", blame) == Review("the food was good but the room was not good", 0)
    assert review(blame, "although", double) == Review(
        "the room was not good although nobody said the view was bad", 0
    )
    assert review(Opinion("wine", "dull", 3), "but", praise).label == 1
    assert [Opinion("wine", "dull", n).label for n in range(4)] == [0, 1, 1, 0]


def test_every_review_has_a_twin_with_the_same_words_and_the_opposite_label(reviews):
    for part in reviews:
        for one, twin in zip(part[::2], part[1::2], strict=True):
            assert sorted(one.text.split()) == sorted(twin.text.split())
            assert one.label != twin.label


def test_counting_words_must_fail_because_twins_have_the_same_words(reviews):
    """Exactly one of two twins is right, on the reviews it learned from as well."""
    counts = NaiveBayes(reviews.train, single_words)
    for part in reviews:
        right = [counts.predict(review.text) == review.label for review in part]
        assert np.mean(right) == 0.5
        assert all(one != two for one, two in zip(right[::2], right[1::2], strict=True))


def test_counting_pairs_must_fail_because_they_do_not_tell_which_clause_counts(reviews):
    counts = NaiveBayes(reviews.train, word_pairs)
    right = [counts.predict(one.text) == one.label for one in reviews.heldout]
    assert np.mean(right) < 0.6


def test_naive_bayes_learns_where_words_decide_and_can_count_pairs():
    told = [Review("good food", 1), Review("bad food", 0)]
    counts = NaiveBayes(told, single_words)
    assert [counts.predict(text) for text in ("good", "bad", "very good")] == [1, 0, 1]
    order = [Review("not good but fine", 1), Review("good but not fine", 0)]
    assert NaiveBayes(order, word_pairs).predict("it is not good") == 1


def test_naive_bayes_with_a_class_never_seen_predicts_the_others():
    counts = NaiveBayes([Review("good", 1), Review("fine", 1)], single_words)
    assert counts.predict("good") == 1 and counts.predict("never seen") == 1


def test_negations_turn_the_sentiment_round_as_often_as_they_have_negators():
    for pattern, times in NEGATIONS:
        assert times == sum(word in ("not", "nobody") for word in pattern.split())
    assert not set(PRAISE) & set(BLAME)


# ---- the task --------------------------------------------------------------------------------


def test_bert_that_learned_reviews_by_heart_knows_their_classes():
    reviews = reviews_corpus(rng(), 16, 2).train
    vocabulary = Vocabulary(review.text for review in reviews)
    config = BERTForClassConfig(vocab_size=len(vocabulary), context_length=24, **BERT_SIZE)
    model = BERTForClass(config, rng())
    rows = table([[BEGIN, *vocabulary.encode(review.text), STOP] for review in reviews])
    labels = np.array([review.label for review in reviews])
    fit(model, {"ids": rows, "targets": labels, "attend": rows != PADDING}, HEART, rng())
    texts = [review.text for review in reviews]
    assert classify(model, vocabulary, texts).tolist() == labels.tolist()
    with pytest.raises(InputError, match="empty"):
        classify(model, vocabulary, [""])


def test_a_class_does_not_depend_on_the_padding():
    """Weights of order 1, untrained: if padding were read, it would turn some of them round."""
    texts = [review.text for review in reviews_corpus(rng(), 40, 2).train]
    vocabulary = Vocabulary(texts)
    sizes = {"vocab_size": len(vocabulary), "context_length": 48} | BERT_SIZE | {"init_std": 1.0}
    model = BERTForClass(rng=rng(), **sizes)
    alone = [classify(model, vocabulary, [text])[0] for text in texts]
    assert classify(model, vocabulary, texts).tolist() == alone
    assert len(set(alone)) == 2


def test_classes_are_scored_also_where_one_never_occurs():
    scores = class_scores(np.array([1, 1, 1, 0]), [1, 1, 1, 1])
    assert scores == pytest.approx(
        {"accuracy": 3 / 4, "precision": 1 / 2, "recall": 3 / 8, "F1": 3 / 7}, rel=EXACT
    )
