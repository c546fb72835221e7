"""What the four tasks hold out, and how a corpus is divided by it.

The held-out part of each corpus holds *compositions* that the part to train on does not: two or
three words, each of them well known from training, that were never seen together. A model that is
right about them has learned a rule; one that remembers what it read has nothing to remember.

    translation         an adjective and the noun it belongs to     "parvus" and "equus"
                        a day and its month                         "3" and "March"
                        a language and a country                    "Dutch" and "Japan"
    generation          who, does what, to whom                     "cat", "sees" and "queen"
    sentiment           an adjective and the negation over it       "dull" and "nobody said … not"
    question answering  who brought what where                      "Anna", "ball" and "cellar"
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

from ..arrays import Rng

Example = TypeVar("Example")


class Split(NamedTuple):
    """Examples to learn from, and examples of compositions that are not among them."""

    train: list[Any]
    heldout: list[Any]

    def map(self, change: Callable[[Any], Any]) -> "Split":
        """Both parts with `change` done to every example."""
        return Split(*([change(example) for example in part] for part in self))


def split_by_composition(
    draw: Callable[[], Example],
    is_new: Callable[[Example], bool],
    n_train: int,
    n_heldout: int,
) -> Split:
    """Draw until both parts are full; an example that `is_new` can go to the held-out part only."""
    split = Split([], [])
    while len(split.train) < n_train or len(split.heldout) < n_heldout:
        example = draw()
        part, size = (split.heldout, n_heldout) if is_new(example) else (split.train, n_train)
        if len(part) < size:
            part.append(example)
    return split


def pick(rng: Rng, choices: Iterable[Any]) -> Any:
    """One of them, all equally likely."""
    choices = list(choices)
    return choices[rng.integers(len(choices))]
