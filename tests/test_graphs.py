"""The graph of a computation: what it shows, and what it refuses."""

import pytest

from numpylm.course.graphs import Node, value_graph
from numpylm.errors import InputError

NODES = {"a": Node(0, 0, 2, -24), "u": Node(1, 0, -6)}


def test_a_graph_shows_values_slopes_and_what_happens_on_the_way():
    figure = value_graph(NODES, [("a", "u", "a b")], "chain")
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert {"a = 2", "da = -24", "u = -6", "a b"} <= texts
    assert not [text for text in texts if text.startswith("du")]
    assert figure.axes[0].get_title() == "chain"


def test_an_arrow_to_nowhere_is_named():
    with pytest.raises(InputError, match="edges name v, which nodes does not have"):
        value_graph(NODES, [("a", "v", "")])
