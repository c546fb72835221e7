"""Question answering: BERT reads a story of who moved what where, and marks the answer in it.

The baselines take the place told last, in the story or before the thing was last touched: they must
fail because others walk on after a thing was left behind, and its carrier walks on with it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Array, Rng
from ..bert_heads import BERTForSpan, best_span
from ..errors import InputError
from ..metrics import exact_match, normalise_answer, token_f1
from .compositions import Split, pick, split_by_composition
from .tools import (
    BEGIN,
    PADDING,
    STOP,
    Answer,
    Outcome,
    TaskConfig,
    Vocabulary,
    bert_answer,
    bert_size,
    chosen,
    fit,
    longest,
    table,
)

# ---- the corpus: stories ---------------------------------------------------------------------


class Story(NamedTuple):
    """A story, a question about it, and its answer, which starts at the token `start` of the text.

    Tokens are separated by a space. who: the person who brought the thing to the place, if told.
    """

    text: str
    question: str
    answer: str
    start: int
    who: str = ""

    def span(self) -> tuple[int, int]:
        """First and last token of the answer. Raises InputError where it does not stand there."""
        words, answer = self.text.split(), self.answer.split()
        end = self.start + len(answer)
        if not answer or self.start < 0 or words[self.start : end] != answer:
            raise InputError(
                f"the answer {self.answer!r} is not in the text at token {self.start}: an answer "
                f"must be a span of its text {self.text!r}"
            )
        return self.start, end - 1


ACTORS = ("Anna", "Ben", "Clara", "Dan")
THINGS = ("ball", "book", "key", "lamp")
PLACES = ("kitchen", "garden", "cellar", "office", "attic", "stable")
EVENTS = (2, 3, 4, 5)  # how many a story may have; one that cannot be is left out


def draw_story(rng: Rng) -> Story | None:
    """A story of people who walk, take and drop; None where nobody ever touched a thing.

    Each event is a walk (60 %), or a thing taken or dropped by somebody whose place was told. A
    thing lies where it was dropped, and is where its carrier is; where it was at first is unknown.
    """
    words: list[str] = []
    at: dict[str, int] = {}  # person or thing -> the token of the text that names its place
    place: dict[str, str] = {}
    carrier: dict[str, str] = {}
    toucher: dict[str, str] = {}
    for _ in range(pick(rng, EVENTS)):
        who, thing = pick(rng, ACTORS), pick(rng, THINGS)
        if rng.random() < 0.6 or who not in at:
            elsewhere = [one for one in PLACES if one != place.get(who)]
            place[who], at[who] = pick(rng, elsewhere), len(words) + 2
            words += f"{who} entered the {place[who]} .".split()
            moved = [who, *(each for each, by in carrier.items() if by == who)]
        elif carrier.get(thing) == who:
            del carrier[thing]
            words += f"{who} dropped the {thing} .".split()
            moved = []
        elif thing in carrier or place.get(thing, place[who]) != place[who]:
            continue
        else:
            carrier[thing] = toucher[thing] = who
            words += f"{who} took the {thing} .".split()
            moved = [thing]
        for each in moved:
            place[each], at[each] = place[who], at[who]
    if not toucher:
        return None
    asked = pick(rng, toucher)
    return Story(
        " ".join(words), f"where is the {asked} ?", f"the {place[asked]}", at[asked], toucher[asked]
    )


def is_new_answer(story: Story) -> bool:
    """Held out: for each two of person, thing and place, 1 or 2 of the third."""
    thing = story.question.split()[3]
    places = ACTORS.index(story.who), THINGS.index(thing), PLACES.index(story.answer.split()[1])
    return sum(places) % 4 == 0


def stories_corpus(rng: Rng, n_train: int, n_heldout: int) -> Split:
    """Stories with a question. In training, the trio of a held-out one never meets: who brought
    what, asked for, to where, the answer."""

    def draw() -> Story:
        while not (story := draw_story(rng)):
            pass
        return story

    return split_by_composition(draw, is_new_answer, n_train, n_heldout)


# ---- the baselines: the place told last ------------------------------------------------------


def last_place(text: str) -> str:
    """The place told last, as "the kitchen"; "" where none is."""
    places = [word for word in text.split() if word in PLACES]
    return f"the {places[-1]}" if places else ""


def place_at_touch(story: Story) -> str:
    """The place told last before the last mention of the thing that is asked for."""
    thing = story.question.split()[3]
    return last_place(story.text[: story.text.rfind(thing)])


# ---- the task --------------------------------------------------------------------------------


def question_answering(config: TaskConfig, rng: Rng) -> Outcome:
    """Stories of people who carry things about, and where one of these is at the end."""
    split = stories_corpus(rng, config.examples, config.heldout_examples)
    everything = [f"{one.question} {one.text}" for part in split for one in part]
    vocabulary, context = Vocabulary(everything), longest(everything) + 3
    examples = story_table(vocabulary, split.train)
    examples["targets"] = spans(split.train)
    model = BERTForSpan(rng=rng, context_length=context, **bert_size(config, vocabulary))
    fit(model, examples, config, rng)

    truth = [story.answer for story in split.heldout]
    found = answer_questions(model, vocabulary, split.heldout)
    scores = {
        "BERT": answer_scores(found, truth),
        "the last place": answer_scores([last_place(s.text) for s in split.heldout], truth),
        "the place at touch": answer_scores([place_at_touch(s) for s in split.heldout], truth),
    }

    def answer(n: int) -> Answer:
        """The words shown are the thing, and the places found and true."""
        story = split.heldout[n]
        places = {*found[n].split(), *truth[n].split()}.intersection(PLACES)
        shown = {story.question.split()[3], *places}
        one = story_table(vocabulary, [story])
        lines = [story.text, story.question, f"-> {found[n]}", f"   {truth[n]}"]
        inputs = one["ids"][0], one["segments"][0]
        return bert_answer(model, vocabulary, right[n], lines, *inputs, shown)

    right = [one == other for one, other in zip(found, truth, strict=True)]
    return Outcome(scores, [answer(n) for n in chosen(right, config.show)])


def story_table(vocabulary: Vocabulary, stories: Sequence[Story]) -> dict[str, Any]:
    """ids (N, T): <begin> question <end> text <end>; segments, 1 from the text on; and attend."""
    rows, segments = [], []
    for story in stories:
        question, text = vocabulary.encode(story.question), vocabulary.encode(story.text)
        rows.append([BEGIN, *question, STOP, *text, STOP])
        segments.append([0] * (len(question) + 2) + [1] * (len(text) + 1))
    ids = table(rows)
    return {"ids": ids, "segments": table(segments), "attend": ids != PADDING}


def spans(stories: Sequence[Story]) -> Array:
    """First and last token of each answer in its row (N, 2). InputError where it is not there."""
    before = np.array([len(story.question.split()) + 2 for story in stories])
    result: Array = np.array([story.span() for story in stories]) + before[:, None]
    return result


def answer_questions(
    model: BERTForSpan, vocabulary: Vocabulary, stories: Sequence[Story]
) -> list[str]:
    """The likeliest span of each; it may lie in the question, if the model is wrong enough."""
    examples = story_table(vocabulary, stories)
    logits, _ = model.forward(**examples)
    pairs = zip(examples["ids"], best_span(logits), strict=True)
    return [" ".join(vocabulary.decode(ids[start : end + 1])) for ids, (start, end) in pairs]


def answer_scores(found: Sequence[str], truth: Sequence[str]) -> dict[str, float]:
    """Both after normalise_answer, as SQuAD has them."""
    normal = [[normalise_answer(text) for text in texts] for texts in (found, truth)]
    return {"exact match": exact_match(*normal), "token F1": token_f1(found, truth)}
