import numpy as np
import pytest

from numpylm.attention_lm import AttentionLM
from numpylm.corpora import CorpusConfig, load_corpus
from numpylm.divergence import Diverged, remark
from numpylm.model import Parameters
from numpylm.optim import SGD
from numpylm.training import Training, train

CHANCE = np.log(48)


@pytest.fixture(scope="module")
def corpus():
    return load_corpus(CorpusConfig(sentences=200, heldout_sentences=50), 8)


def model(**options):
    return AttentionLM(vocab_size=48, width=8, **options)


# ---- not finite ------------------------------------------------------------------------------


class Squares:
    """An optimizer of a reader's own, which checks nothing."""

    def __init__(self, params):
        self.params, self.v = params, np.zeros_like(params.flat)

    def step(self, grads, learning_rate):
        self.v += grads.flat**2
        self.params.flat[...] -= learning_rate * grads.flat / np.sqrt(self.v + 1e-8)

    def state(self):
        return {"v": self.v}


def test_a_moment_that_overflows_is_found_although_every_parameter_is_finite(corpus):
    training = Training(model(), corpus, Squares, clip=0)
    training.step()
    backward = training.model.loss_backward

    def steep(cache):
        grads = backward(cache)
        grads["E"][3, 1] = 1e25  # its square does not fit into float32, and its norm is finite
        return grads

    training.model.loss_backward = steep
    with pytest.raises(Diverged, match=r"step 2: the optimizer's v is inf at \[25\].*clip of 1"):
        training.step()
    assert np.isfinite(training.model.params.flat).all()


def test_what_was_not_finite_before_the_first_step_is_not_blamed_on_the_steps(corpus):
    training = Training(model(init_std=1e30), corpus)
    with pytest.raises(Diverged, match=r"before the first step.*init_std") as caught:
        training.step()
    assert "learning rate" not in str(caught.value)


def test_what_is_not_finite_later_is_blamed_on_the_steps(corpus):
    training = Training(model(), corpus, SGD, 1e30, clip=0.5)
    with pytest.raises(Diverged, match=r"smaller learning rate.*clip below 0.5") as caught:
        for _ in range(5):
            training.step()
    assert "init_std" not in str(caught.value)


def test_a_norm_that_overflows_alone_is_named(corpus):
    training = Training(model(), corpus)

    class Huge(Parameters):
        """Finite numbers whose norm in float64 is not."""

    grads = Huge({"E": (2,)}, np.float64)
    grads["E"] = [1e300, 1e300]
    training.model.loss_backward = lambda cache: grads
    with pytest.raises(Diverged, match=r"step 1: the norm of the gradient is inf;"):
        training.step()


# ---- finite, and yet absurd ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("losses", "chance", "words"),
    [
        ([3.9, 3.5, 3.0], CHANCE, ""),
        ([3.9, 4.4, 4.5], CHANCE, ""),  # bad luck
        ([9.0, 5.0, 2.0], CHANCE, ""),  # large at first, and learned
        ([], CHANCE, ""),
        ([3.9, 1e3, 6e19], CHANCE, "learning rate"),
        ([1e16, 1e16, 0.9e16], CHANCE, "init_std"),
        ([1.1, 1.0, 0.9], None, ""),
        ([1.1, 5.0, 9.0], None, "learning rate"),
    ],
)
def test_absurd_losses_are_remarked_on_with_their_cause(losses, chance, words):
    said = remark(losses, chance, 1.0)
    assert bool(said) == bool(words) and words in said
    assert ("init_std" in said) == (words == "init_std")


@pytest.mark.parametrize(
    ("options", "learning_rate", "words"),
    [({}, 1e9, "smaller learning rate"), ({"init_std": 1e8}, 0.01, "init_std"), ({}, 0.01, "")],
)
def test_training_ends_with_the_remark(corpus, capsys, options, learning_rate, words):
    result = train(model(**options), corpus, 30, learning_rate)
    assert np.isfinite(result.losses).all()
    assert words in result.remark and bool(result.remark) == bool(words)
    assert (result.remark in capsys.readouterr().err) or not words
