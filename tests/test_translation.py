"""translation.py: the translations are right, no held-out composition is in training, and the
dictionary fails.

What a composition is, is read off the texts here, not from the code that draws them.
"""

from itertools import pairwise

import numpy as np
import pytest
from task_examples import HEART, HELDOUT, SIZE, TRAIN, assert_new_but_of_known_words, rng

from numpylm.errors import InputError
from numpylm.tasks.tools import BEGIN, STOP, Vocabulary, fit, table
from numpylm.tasks.translation import (
    ADJECTIVES,
    NOUNS,
    Clause,
    NounPhrase,
    Pair,
    latin_corpus,
    look_up,
    names_corpus,
    pieces,
    translate,
    translation_scores,
    word_by_word,
)
from numpylm.transformer import Transformer, TransformerConfig


@pytest.fixture(scope="module")
def latin():
    return latin_corpus(rng(), TRAIN, HELDOUT)


# ---- the corpus, and its baseline ------------------------------------------------------------


@pytest.mark.parametrize(
    ("clause", "english", "latin"),
    [
        (
            Clause(NounPhrase("horse", "big", True), "saw", NounPhrase("frog", "", False)),
            "the big horses saw the frog",
            "equi magni ranam viderunt",
        ),
        (
            Clause(NounPhrase("town", "old", False), "feared", NounPhrase("star", "new", True)),
            "the old town feared the new stars",
            "oppidum antiquum astra nova timuit",
        ),
        (
            Clause(NounPhrase("queen", "dear", True), "called", NounPhrase("friend", "good", True)),
            "the dear queens called the good friends",
            "reginae carae amicos bonos vocaverunt",
        ),
    ],
)
def test_latin_by_hand(clause, english, latin):
    assert clause.pair() == Pair(english, latin)


def adjective_and_noun(pair):
    """Those that stand together: an adjective is followed by its noun."""
    words = pair.source.replace("horses", "horse").split()
    return [(a, n.removesuffix("s")) for a, n in pairwise(words) if a in ADJECTIVES]


def test_held_out_adjectives_and_nouns_never_meet_in_training(latin):
    assert_new_but_of_known_words(latin, adjective_and_noun, lambda pair: " ".join(pair).split())


def test_every_noun_and_every_adjective_is_held_out_somewhere():
    new = [(a, n) for a in ADJECTIVES for n in NOUNS if NounPhrase(n, a, False).is_new]
    assert {a for a, _ in new} == set(ADJECTIVES) and {n for _, n in new} == set(NOUNS)
    assert len(new) == 24


def test_word_by_word_must_fail_because_the_verb_is_last_and_words_have_many_forms(latin):
    dictionary = word_by_word(latin.train)
    assert dictionary["the"] == ""
    found = [look_up(dictionary, pair.source).split() for pair in latin.heldout]
    truth = [pair.target.split() for pair in latin.heldout]
    assert not any(one == other for one, other in zip(found, truth, strict=True))
    same_words = [sorted(one) == sorted(two) for one, two in zip(found, truth, strict=True)]
    assert np.mean(same_words) < 0.15


def test_word_by_word_learns_a_dictionary_where_words_correspond():
    english = ["red house", "house red cat", "the cat", "the red dog", "dog the house"]
    french = {"red": "rouge", "house": "maison", "cat": "chat", "dog": "chien", "the": ""}
    pairs = [Pair(text, look_up(french, text)) for text in english]
    assert word_by_word(pairs) == french
    assert look_up(french, "the red bird") == "rouge bird"


def day_or_name(pair):
    """Month and day of "Monday , March 3 , 2025"; language and country of "Dutch ( Japan )"."""
    words = pair.source.split()
    return [tuple(words)] if "(" in words else [tuple(words[2:4])]


def test_held_out_names_and_dates_never_meet_in_training():
    pytest.importorskip("babel")
    split = names_corpus(rng(), TRAIN, HELDOUT, "fr")
    assert_new_but_of_known_words(split, day_or_name, lambda pair: " ".join(pair).split())


def test_names_and_dates_are_those_of_babel():
    pytest.importorskip("babel")
    texts = dict(pair for part in names_corpus(rng(), TRAIN, 5, "fr") for pair in part)
    names = {source.split(" (")[0]: target.split(" (")[0] for source, target in texts.items()}
    assert (names["Finnish"], names["Chinese"]) == ("finnois", "chinois")
    assert all(
        target.split()[-1] == source.split()[-1]
        for source, target in texts.items()
        if "(" not in source
    )


def test_word_by_word_must_fail_on_dates_because_their_parts_change_places():
    pytest.importorskip("babel")
    split = names_corpus(rng(), TRAIN, HELDOUT, "fr")
    dictionary = word_by_word(split.train)
    dates = [pair for pair in split.heldout if "(" not in pair.source]
    assert len(dates) > HELDOUT / 4
    assert not any(look_up(dictionary, pair.source) == pair.target for pair in dates)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("lundi 3 mars 2025", "lundi 3 mars 2025"),
        ("États-Unis (Corée du Sud)", "États - Unis ( Corée du Sud )"),
        ("2025年3月1日星期六", "2025 年 3 月 1 日 星 期 六"),
    ],
)
def test_pieces_are_numbers_words_marks_and_chinese_characters(text, parts):
    assert pieces(text) == parts


@pytest.mark.parametrize("locale", ["xx", "not a locale", "de_XX_YY_ZZ"])
def test_an_unknown_locale_is_rejected(locale):
    pytest.importorskip("babel")
    with pytest.raises(InputError, match=f"locale '{locale}' is not known"):
        names_corpus(rng(), 5, 5, locale)


def test_a_missing_babel_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "babel", None)
    with pytest.raises(InputError, match="pip install babel"):
        names_corpus(rng(), 5, 5, "fr")


# ---- the task --------------------------------------------------------------------------------


def test_a_transformer_that_learned_pairs_by_heart_translates_them():
    pairs = latin_corpus(rng(), 8, 1).train
    vocabulary = Vocabulary(text for pair in pairs for text in pair)
    config = TransformerConfig(vocab_size=len(vocabulary), context_length=12, **SIZE)
    model = Transformer(config, rng())
    source = table([vocabulary.encode(pair.source) for pair in pairs])
    target = table([[BEGIN, *vocabulary.encode(pair.target), STOP] for pair in pairs])
    fit(model, {"source": source, "target": target}, HEART, rng())
    sources, references = zip(*pairs, strict=True)
    assert translate(model, vocabulary, sources) == list(references)
    with pytest.raises(InputError, match="empty"):
        translate(model, vocabulary, [sources[0], ""])
    with pytest.raises(InputError, match="'unicorn'"):
        translate(model, vocabulary, ["the unicorn"])


def test_translations_are_scored_as_wholes_as_words_and_by_bleu():
    scores = translation_scores(["a b c d", "d c b a"], ["a b c d", "a b c d"])
    assert (scores["exact match"], scores["right words"]) == (0.5, 1.0)
    assert 0 < scores["BLEU"] < 1
