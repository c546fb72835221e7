"""question_answering.py: the answers are right, no held-out trio is in training, and taking the
place told last fails.
"""

import numpy as np
import pytest
from task_examples import (
    BERT_SIZE,
    HEART,
    HELDOUT,
    TRAIN,
    assert_new_but_of_known_words,
    pairs_of,
    rng,
)

from numpylm.bert import BERTConfig
from numpylm.bert_heads import BERTForSpan
from numpylm.errors import InputError
from numpylm.tasks.question_answering import (
    ACTORS,
    PLACES,
    THINGS,
    Story,
    answer_questions,
    answer_scores,
    last_place,
    place_at_touch,
    spans,
    stories_corpus,
    story_table,
)
from numpylm.tasks.tools import Vocabulary, fit


@pytest.fixture(scope="module")
def stories():
    return stories_corpus(rng(), TRAIN, HELDOUT)


# ---- the corpus, and its baselines -----------------------------------------------------------


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


# ---- the task --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def few():
    return stories_corpus(rng(), 12, 2).train


def test_a_story_stands_behind_its_question_and_spans_count_from_the_front(few):
    vocabulary = Vocabulary(f"{story.text} {story.question}" for story in few)
    examples = story_table(vocabulary, few)
    for n, (start, end) in enumerate(spans(few)):
        words = vocabulary.decode(examples["ids"][n])
        told = f"<begin> {few[n].question} <end> {few[n].text} <end>".split()
        assert words[: len(told)] == told and set(words[len(told) :]) <= {"<padding>"}
        assert examples["attend"][n].sum() == len(told)
        assert words[examples["segments"][n].argmax()] == few[n].text.split()[0]
        assert " ".join(words[start : end + 1]) == few[n].answer


def test_bert_that_learned_stories_by_heart_answers_them(few):
    vocabulary = Vocabulary(f"{story.text} {story.question}" for story in few)
    examples = story_table(vocabulary, few)
    config = BERTConfig(
        vocab_size=len(vocabulary), context_length=examples["ids"].shape[1], **BERT_SIZE
    )
    model = BERTForSpan(config, rng())
    fit(model, examples | {"targets": spans(few)}, HEART, rng())
    truth = [story.answer for story in few]
    assert answer_questions(model, vocabulary, few) == truth


def test_an_answer_that_is_not_in_its_text_is_not_trained_on(few):
    wrong = [few[0], few[1]._replace(answer="the moon")]
    with pytest.raises(InputError, match="'the moon' is not in the text"):
        spans(wrong)


def test_answers_are_scored_without_articles():
    scores = answer_scores(["kitchen", "the attic ."], ["the kitchen", "the office"])
    assert scores == {"exact match": 0.5, "token F1": 0.5}


def test_an_answer_does_not_depend_on_the_padding(few):
    """Weights of order 1, untrained: if padding were read, it would turn some of them round."""
    vocabulary = Vocabulary(f"{story.text} {story.question}" for story in few)
    sizes = {"vocab_size": len(vocabulary), "context_length": 48} | BERT_SIZE | {"init_std": 1.0}
    model = BERTForSpan(rng=rng(), **sizes)
    alone = [answer_questions(model, vocabulary, [story])[0] for story in few]
    assert answer_questions(model, vocabulary, few) == alone
