"""What the tests of the four tasks share: sizes, and what a held-out composition is."""

import numpy as np

from numpylm.tasks.tools import TaskConfig

TRAIN, HELDOUT = 1500, 200
HEART = TaskConfig(steps=150, batch_size=8, learning_rate=0.01, warmup=10, width=32)
SIZE = {"layers": 2, "heads": 4, "width": 32}
BERT_SIZE = {"layers": 1, "heads": 4, "width": 32, "hidden": 32, "init_std": 0.2}


def rng():
    return np.random.default_rng(0)


def held_out(split, compositions):
    """No composition of a held-out example that training lacks: each has at least one."""
    seen = {one for example in split.train for one in compositions(example)}
    return [set(compositions(example)) - seen for example in split.heldout]


def assert_new_but_of_known_words(split, compositions, words):
    assert (len(split.train), len(split.heldout)) == (TRAIN, HELDOUT)
    assert all(held_out(split, compositions))
    known = {word for example in split.train for word in words(example)}
    assert all(word in known for example in split.heldout for word in words(example))


def pairs_of(three):
    a, b, c = three
    return [(0, a, b), (1, b, c), (2, a, c)]
