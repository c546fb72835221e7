"""The two tasks in which BERT reads: what a review means, and where an answer stands."""

from collections.abc import Container, Sequence
from typing import Any

import numpy as np

from ..bert import BERT, BERTConfig
from ..bert_heads import BERTForClass, BERTForClassConfig, BERTForSpan, best_span
from ..metrics import (
    accuracy,
    exact_match,
    normalise_answer,
    precision_recall_f1,
    token_f1,
)
from ..ops import Array
from .baselines import (
    NaiveBayes,
    last_place,
    place_at_touch,
    single_words,
    word_pairs,
)
from .corpora import (
    BLAME,
    CONNECTIVES,
    PLACES,
    PRAISE,
    Story,
    reviews_corpus,
    stories_corpus,
)
from .tools import (
    BEGIN,
    PADDING,
    SPECIAL,
    STOP,
    Answer,
    Outcome,
    TaskConfig,
    Vocabulary,
    chosen,
    fit,
    longest,
    mean_heads,
    table,
)

# ---- sentiment -------------------------------------------------------------------------------


def sentiment(config: TaskConfig, rng: np.random.Generator) -> Outcome:
    """Reviews that praise one thing and blame another; one of the two counts."""
    split = reviews_corpus(rng, config.examples, config.heldout_examples)
    everything = [review.text for part in split for review in part]
    vocabulary, context = Vocabulary(everything), longest(everything) + 2
    texts, labels = zip(*split.heldout, strict=True)
    rows = table([[BEGIN, *vocabulary.encode(review.text), STOP] for review in split.train])
    bert = BERTForClassConfig(context_length=context, segments=1, **bert_size(config, vocabulary))
    model = BERTForClass(bert, rng)
    targets = np.array([review.label for review in split.train])
    fit(model, {"ids": rows, "targets": targets, "attend": rows != PADDING}, config, rng)

    found = classify(model, vocabulary, texts)
    scores = {"BERT": class_scores(found, labels)}
    for name, features in (("counting words", single_words), ("counting pairs", word_pairs)):
        counts = NaiveBayes(split.train, features)
        scores[name] = class_scores([counts.predict(text) for text in texts], labels)

    def answer(n: int) -> Answer:
        """The class is read from <begin>; the others are the words on which it hangs."""
        ids = [BEGIN, *vocabulary.encode(texts[n]), STOP]
        lines = [texts[n], f"-> {CLASSES[found[n]]}", f"   {CLASSES[labels[n]]}"]
        return bert_answer(model, vocabulary, bool(right[n]), lines, ids, None, HINGES)

    right = found == np.array(labels)
    return Outcome(scores, [answer(n) for n in chosen(right, config.show)])


CLASSES = ("blame", "praise")
HINGES = {SPECIAL[BEGIN], *PRAISE, *BLAME, *CONNECTIVES}


def bert_size(config: TaskConfig, vocabulary: Vocabulary) -> dict[str, Any]:
    """F = 2 C, as the exact GELU is dear; σ = 1/√C, as BERT's 0.02 is for a width of 768."""
    return {
        "vocab_size": len(vocabulary),
        "hidden": 2 * config.width,
        "init_std": config.width**-0.5,
        **config.size(),
    }


def classify(model: BERTForClass, vocabulary: Vocabulary, texts: Sequence[str]) -> Array:
    """The likeliest class of each text (N,). Raises InputError for an empty or unknown text."""
    rows = table([[BEGIN, *vocabulary.encode(text), STOP] for text in texts])
    logits, _ = model.forward(rows, attend=rows != PADDING)
    return logits.argmax(axis=-1)


def class_scores(found: Any, labels: Any) -> dict[str, float]:
    """Accuracy, and the means over the two classes of precision, recall and F1."""
    names = ("precision", "recall", "F1")
    means = zip(names, precision_recall_f1(found, labels, len(CLASSES)), strict=True)
    return {"accuracy": accuracy(found, labels), **dict(means)}


def bert_answer(
    model: BERT, vocabulary: Vocabulary, right: bool, lines: list[str], ids: Any, segments: Any,
    shown: Container[str],
) -> Answer:  # fmt: skip
    """The answer, with what the words in `shown` read in each block."""
    _, cache = model.forward(ids, segments=segments)
    words = vocabulary.decode(ids)
    rows = [n for n, word in enumerate(words) if word in shown]
    a = mean_heads(block.attention.attention.a for block in cache.encoder.blocks)
    return Answer(right, lines, [words[n] for n in rows], words, a[:, rows])


# ---- question answering ----------------------------------------------------------------------


def qa(config: TaskConfig, rng: np.random.Generator) -> Outcome:
    """Stories of people who carry things about, and where one of these is at the end."""
    split = stories_corpus(rng, config.examples, config.heldout_examples)
    everything = [f"{one.question} {one.text}" for part in split for one in part]
    vocabulary, context = Vocabulary(everything), longest(everything) + 3
    examples = story_table(vocabulary, split.train)
    examples["targets"] = spans(split.train)
    bert = BERTConfig(context_length=context, **bert_size(config, vocabulary))
    model = BERTForSpan(bert, rng)
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
    return np.array([story.span() for story in stories]) + before[:, None]


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
