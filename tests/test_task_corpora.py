"""The corpora of the tasks: their answers are right, and no held-out composition is in training.

What a composition is, is read off the texts here, not from the code that draws them.
"""

import math
from itertools import islice, pairwise

import numpy as np
import pytest

from numpylm.errors import InputError
from numpylm.tasks.baselines import (
    NaiveBayes,
    Ngram,
    last_place,
    look_up,
    place_at_touch,
    single_words,
    word_by_word,
    word_pairs,
)
from numpylm.tasks.corpora import (
    ACTORS,
    BLAME,
    CONNECTIVES,
    DEEDS,
    END,
    LOOKS,
    NEGATIONS,
    PEOPLE,
    PLACES,
    PRAISE,
    SENTENCE_LENGTH,
    THINGS,
    Opinion,
    Review,
    Story,
    agreement,
    agreement_corpus,
    law_nats,
    review,
    reviews_corpus,
    sentences,
    split_by_composition,
    stories_corpus,
    trained,
    until_end,
)
from numpylm.tasks.pairs import (
    ADJECTIVES,
    NOUNS,
    Clause,
    NounPhrase,
    Pair,
    latin_corpus,
    names_corpus,
    pieces,
)

TRAIN, HELDOUT = 1500, 200
EXACT = 1e-12  # sums of some tens of float64 terms of order 1
FIVE_SIGMA = 5  # of a fixed draw: a wrong law is off by tens


def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def latin():
    return latin_corpus(rng(), TRAIN, HELDOUT)


@pytest.fixture(scope="module")
def talk():
    return agreement_corpus(rng(), TRAIN, HELDOUT)


@pytest.fixture(scope="module")
def reviews():
    return reviews_corpus(rng(), TRAIN, HELDOUT)


@pytest.fixture(scope="module")
def stories():
    return stories_corpus(rng(), TRAIN, HELDOUT)


def held_out(split, compositions):
    """No composition of a held-out example that training lacks: each has at least one."""
    seen = {one for example in split.train for one in compositions(example)}
    return [set(compositions(example)) - seen for example in split.heldout]


def assert_new_but_of_known_words(split, compositions, words):
    assert (len(split.train), len(split.heldout)) == (TRAIN, HELDOUT)
    assert all(held_out(split, compositions))
    known = {word for example in split.train for word in words(example)}
    assert all(word in known for example in split.heldout for word in words(example))


def test_a_split_fills_both_parts_and_mixes_nothing():
    numbers = iter(range(1000))
    split = split_by_composition(lambda: next(numbers), lambda n: n % 5 == 0, 6, 4)
    assert split.train == [1, 2, 3, 4, 6, 7]
    assert split.heldout == [0, 5, 10, 15]
    assert split.map(lambda n: -n).heldout == [0, -5, -10, -15]


# ---- translation -----------------------------------------------------------------------------


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


# ---- generation ------------------------------------------------------------------------------


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


def pairs_of(three):
    a, b, c = three
    return [(0, a, b), (1, b, c), (2, a, c)]


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


# ---- sentiment -------------------------------------------------------------------------------


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


# ---- question answering ----------------------------------------------------------------------


def ask(story):
    """The answer, found by following the story; and who brought the thing there."""
    at, place, carrier, who = {}, {}, {}, {}
    for sentence in story.text.removesuffix(" .").split(" . "):
        actor, verb, _, what = sentence.split()
        if verb == "entered":
            at[actor] = what
        elif verb == "took":
            carrier[what] = who[what] = actor
        else:
            assert carrier.pop(what) == actor
        for thing, by in who.items():
            if thing == what or carrier.get(thing) == by:
                place[thing] = at[by]
    thing = story.question.split()[3]
    return f"the {place[thing]}", who[thing]


def test_answers_are_right_and_stand_in_the_text(stories):
    for story in [*stories.train, *stories.heldout]:
        assert ask(story) == (story.answer, story.who)
        start, end = story.span()
        assert " ".join(story.text.split()[start : end + 1]) == story.answer


def test_stories_carry_things_about_and_leave_things_behind(stories):
    """So that none of the shortcuts is right by accident of the grammar."""
    kinds = {"left behind": 0, "carried on": 0}
    for story in stories.train:
        kinds["left behind"] += last_place(story.text) != story.answer
        kinds["carried on"] += place_at_touch(story) != story.answer
    assert all(n > 0.3 * TRAIN for n in kinds.values())


def test_the_words_of_stories_are_those_of_the_grammar(stories):
    words = {word for story in stories.train for word in story.text.split()}
    assert words == {*ACTORS, *THINGS, *PLACES, "entered", "took", "dropped", "the", "."}


def test_held_out_trios_of_person_thing_and_place_never_meet_in_training(stories):
    def composition(story):
        return [(story.who, story.question, story.answer)]

    def words(story):
        return f"{story.text} {story.question}".split()

    assert_new_but_of_known_words(stories, composition, words)
    known = {pair for story in stories.train for pair in pairs_of(composition(story)[0])}
    assert all(p in known for story in stories.heldout for p in pairs_of(composition(story)[0]))


def test_the_last_place_must_fail_because_others_walk_on(stories):
    right = [last_place(story.text) == story.answer for story in stories.heldout]
    touch = [place_at_touch(story) == story.answer for story in stories.heldout]
    assert np.mean(right) < 0.65 and np.mean(touch) < 0.7


def test_the_last_place_by_hand():
    moves = "Ben entered the kitchen", "Ben took the key", "Ben entered the office"
    text = " . ".join([*moves, "Dan entered the attic", ""]).strip()
    story = Story(text, "where is the key ?", "the office", 12)
    assert story.span() == (12, 13)
    assert last_place(text) == "the attic"
    assert place_at_touch(story) == "the kitchen"
    assert last_place("Ben took the key .") == ""


@pytest.mark.parametrize(
    ("answer", "start"), [("the attic", 2), ("the kitchen", 1), ("the kitchen", -3), ("", 2)]
)
def test_an_answer_that_is_not_in_the_text_is_rejected(answer, start):
    with pytest.raises(InputError, match="is not in the text"):
        Story("Ben entered the kitchen .", "where is Ben ?", answer, start).span()


def test_negations_turn_the_sentiment_round_as_often_as_they_have_negators():
    for pattern, times in NEGATIONS:
        assert times == sum(word in ("not", "nobody") for word in pattern.split())
    assert not set(PRAISE) & set(BLAME)
