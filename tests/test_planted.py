"""inside/planted.py, judged.py: the mechanisms are there, and who finds them is known."""

import numpy as np
import pytest

from numpylm.inside.attribution import rollout
from numpylm.inside.heads import head_names
from numpylm.inside.interventions import intervene, zero
from numpylm.inside.judged import METHODS, judge, says, table
from numpylm.inside.planted import PLANTED, N, V


@pytest.fixture(params=PLANTED)
def planted(request):
    return PLANTED[request.param]()


def said(model, text):
    return model.forward(text)[0][-1].argmax()


def test_the_model_says_what_it_was_built_to_say_and_not_without_its_heads(planted):
    assert says(planted)
    for name in head_names(planted.model):
        without = intervene(planted.model, zero(name))
        assert (said(without, planted.text) == planted.token) == (name not in planted.heads)


def test_it_does_so_on_random_texts():
    rng = np.random.default_rng(0)
    for _ in range(20):
        text = rng.integers(0, V, N)
        assert said(PLANTED["previous"]().model, text) == text[-2]
        assert said(PLANTED["first"]().model, text) == text[0]
        once = rng.permutation(V)
        again = np.concatenate([once, [once[rng.integers(0, V - 1)]]])
        follows = once[list(once).index(again[-1]) + 1]
        assert said(PLANTED["induction"]().model, again) == follows
        many = rng.integers(0, 2, N - 1)
        opened = np.sum(many == 0) > np.sum(many == 1)
        logits = PLANTED["brackets"]().model.forward(many)[0][-1]
        assert (logits[2] > logits[3]) == opened


def test_what_decides_is_what_was_said(planted):
    """Another token where the truth says, and the answer is another; elsewhere it stays."""
    if planted.name == "brackets":
        return
    for t in range(len(planted.text) - 1):
        changed = planted.changed([t])
        decides = said(planted.model, changed) != planted.token
        assert decides == (t in planted.reads), t


def test_every_weight_of_the_brackets_is_the_same():
    a = PLANTED["brackets"]()
    maps = a.model.attention_maps(a.model.forward(a.text)[1])
    np.testing.assert_allclose(maps["block0.attention"][0][-1], 1 / 8, rtol=1e-12)


def test_rollout_says_when_it_is_led_astray_by_a_head_that_writes_nothing():
    planted = PLANTED["previous"]()
    found = rollout(planted.model, planted.text, replaced_by=5)
    assert found.warning.startswith("rollout names position") and "position 6" in found.warning


def test_which_method_finds_what():
    found = judge()
    assert set(found) == set(METHODS)
    assert all(found["heads: ablation"].values()) and all(found["heads: path patching"].values())
    assert all(found["positions: patching each"].values())
    direct = found["heads: direct logit attribution"]
    assert direct["previous"] and not direct["induction"]  # the first head writes nothing there
    assert not found["positions: rollout"]["previous"]
    assert table().count("\n") == len(METHODS) + 1
