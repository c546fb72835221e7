"""compositions.py: a corpus is divided by what its examples are made of."""

from numpylm.tasks.compositions import split_by_composition


def test_a_split_fills_both_parts_and_mixes_nothing():
    numbers = iter(range(1000))
    split = split_by_composition(lambda: next(numbers), lambda n: n % 5 == 0, 6, 4)
    assert split.train == [1, 2, 3, 4, 6, 7]
    assert split.heldout == [0, 5, 10, 15]
    assert split.map(lambda n: -n).heldout == [0, -5, -10, -15]
