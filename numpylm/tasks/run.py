"""Four tasks: each with the model made for it, a metric with a reason, and what must fail at it.

    task         model             metrics, and why these
    translation  Transformer       exact match: only one translation is right. Right words, in any
                                   order, and BLEU say what a wrong one still has
    generation   GPT               perplexity: the law is known, and with it the best there is. The
                                   share of what it writes that could have been said at all
    sentiment    BERT, class head  accuracy: both classes are equally frequent. Precision, recall
                                   and F1, means over the classes, show if one is favoured
    qa           BERT, span head   exact match: one place is right. Token F1 gives something for a
                                   span that is too long

Every model is measured on compositions that training did not have (tasks/compositions.py) and
stands beside its baselines, over several seeds; each seed draws the corpus, the parameters and the
order of the batches anew.
"""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Rng
from ..parallel import one_thread
from ..processes import side_by_side
from .generation import generation
from .question_answering import question_answering
from .sentiment import sentiment
from .tools import Outcome, Result, TaskConfig, TranslationConfig
from .translation import translation


class Task(NamedTuple):
    """How to train and measure once, with which settings, and what is compared."""

    run: Callable[[Any, Rng], Outcome]  # takes the kind that defaults is
    defaults: TaskConfig
    methods: dict[str, str]


TASKS = {
    "translation": Task(
        translation,
        TranslationConfig(),
        {
            "Transformer": "reads the source, writes the likeliest word each time",
            "word by word": "a dictionary: it keeps the order, and has one form for each word",
        },
    ),
    "generation": Task(
        generation,
        TaskConfig(),
        {
            "GPT": "predicts each word from all before it",
            "2 words in a row": "counts: the subject stands further back than one word",
            "4 words in a row": "counts: the subject stands further back than three words",
            "the law itself": "what wrote the corpus: on average nothing has less perplexity",
        },
    ),
    "sentiment": Task(
        sentiment,
        TaskConfig(steps=1200),
        {
            "BERT": "reads both directions, and the class from <begin>",
            "counting words": "naive Bayes: twins have the same words and opposite classes",
            "counting pairs": "naive Bayes of words in a row: they do not tell which clause counts",
        },
    ),
    "qa": Task(
        question_answering,
        TaskConfig(examples=8000, steps=3000),
        {
            "BERT": "reads question and story, and marks the first and last word of the answer",
            "the last place": "told last in the story: others walk on",
            "the place at touch": "told last before the thing: its carrier walks on, or others did",
        },
    ),
}


def run_once(task: str, config: TaskConfig, seed: int) -> Outcome:
    """One seed on one processor: the products are small, and so their sums keep one order."""
    with one_thread():
        return TASKS[task].run(config, np.random.default_rng(seed))


def run_task(task: str, config: TaskConfig) -> Result:
    """Every seed, side by side on as many processors as there are. Nothing is written to disk.

    More than one seed needs new processes, which read the script that called this; so a script
    must call it under `if __name__ == "__main__":`.
    """
    work = [(task, config, config.seed + n) for n in range(config.seeds)]
    outcomes = side_by_side(run_once, work, os.cpu_count() or 1)
    return Result(task, TASKS[task].methods, outcomes)
