"""contract_numbers: a perplexity and a loss of another kind, each named."""

import math

import numpy as np
import pytest

from numpylm.checks.contracts import Contender, batches_do_not_matter, loss_is_cross_entropy
from numpylm.errors import InputError
from numpylm.gpt import GPT, GPTConfig
from numpylm.metrics import token_nats

V, T = 13, 8


def asked(evaluate, std=0.02):
    """The verdict on evaluate(nats (N, T), B), for the nats of a model as it starts."""
    config = GPTConfig(vocab_size=V, context_length=T, layers=1, heads=2, width=16, init_std=std)
    model = GPT(config, np.random.default_rng(0))

    def perplexity(texts, B):
        logits, _ = model.forward(texts[:, :-1])
        return evaluate(token_nats(logits, texts[:, 1:])[0], B)

    return batches_do_not_matter(
        Contender(lambda ids: model.forward(ids)[0], V, T, evaluate=perplexity)
    )


def parts(nats, B):
    return [nats[i : i + B] for i in range(0, len(nats), B)]


RIGHT = {
    "totals": lambda n, B: math.exp(sum(p.sum() for p in parts(n, B)) / n.size),
    "float32": lambda n, B: np.exp(n.astype(np.float32).mean()),
    "weighted": lambda n, B: math.exp(
        np.average([p.mean() for p in parts(n, B)], weights=[len(p) for p in parts(n, B)])
    ),
    "2 to the power of bits": lambda n, B: 2 ** (n.mean() / math.log(2)),
    "an array of one number": lambda n, B: np.exp([n.mean()]),
}
WRONG = {
    "2 to the power of nats": lambda n, B: 2 ** n.mean(),
    "nats per text, not per token": lambda n, B: math.exp(n.sum(axis=1).mean()),
    "a mean over tokens of exp": lambda n, B: np.exp(n).mean(),
    "a mean over texts of their perplexities": lambda n, B: np.exp(n.mean(axis=1)).mean(),
    "a mean over batches of their perplexities": lambda n, B: np.mean(
        [np.exp(p.mean()) for p in parts(n, B)]
    ),
    "a mean over batches of their mean nats": lambda n, B: math.exp(
        np.mean([p.mean() for p in parts(n, B)])
    ),
    "a last, smaller batch that is left out": lambda n, B: math.exp(
        np.mean([p.mean() for p in parts(n, B) if len(p) == B])
    ),
    "without exp": lambda n, B: n.mean(),
    "in bits": lambda n, B: n.mean() / math.log(2),
    "T + 1 tokens": lambda n, B: math.exp(n.sum() / (n.size + len(n))),
    "only the last token": lambda n, B: math.exp(n[:, -1].mean()),
    "a probability": lambda n, B: math.exp(-n.mean()),
    "a median": lambda n, B: math.exp(np.median(n)),
    "not finite": lambda n, B: math.nan,
    "none of the usual": lambda n, B: 1.005 * math.exp(n.mean()),
}


@pytest.mark.parametrize("right", RIGHT)
def test_a_perplexity_in_any_style_is_kept(right):
    assert asked(RIGHT[right]).passed


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("std", [0.02, 0.5])
def test_a22_a_perplexity_of_another_kind_is_named(wrong, std):
    verdict = asked(WRONG[wrong], std)
    assert verdict.state == "broken" and wrong in verdict.says, verdict


def test_a_perplexity_of_targets_that_are_not_shifted_is_named():
    table = np.random.default_rng(0).normal(size=(V, V))

    def evaluate(texts, B):
        return math.exp(token_nats(table[texts[:, :-1]], texts[:, :-1])[0].mean())

    verdict = batches_do_not_matter(Contender(lambda ids: table[ids], V, T, evaluate=evaluate))
    assert verdict.state == "broken" and "not shifted by one" in verdict.says


def test_where_all_means_agree_a_wrong_one_is_not_told():
    guess = Contender(lambda ids: np.zeros((*ids.shape, V)), V, T, evaluate=lambda x, B: V)
    assert batches_do_not_matter(guess).state == "undecided"


@pytest.mark.parametrize("evaluate", [lambda x: 1.0, lambda x, B: None, lambda x, B: [1.0, 2.0]])
def test_an_evaluation_that_gives_no_number_is_an_error(evaluate):
    with pytest.raises(InputError, match="evaluate"):
        batches_do_not_matter(Contender(lambda x: np.zeros((*x.shape, V)), V, T, evaluate=evaluate))


def nats(z, y):
    return token_nats(np.asarray(z), np.asarray(y))[0]


LOSSES = {
    "a sum for a mean": lambda z, y: nats(z, y).sum(),
    "a sum over each text": lambda z, y: nats(z, y).sum(axis=1).mean(),
    "base 2": lambda z, y: nats(z, y).mean() / math.log(2),
    "softmax along time": lambda z, y: nats(z.swapaxes(1, 2), y).mean(),
    "softmax taken twice": lambda z, y: nats(
        np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True), y
    ).mean(),
    "the word 0 counts for nothing": lambda z, y: nats(z, y)[y != 0].mean(),
    "shifted once more": lambda z, y: nats(z[:, :-1], y[:, 1:]).mean(),
    "sign": lambda z, y: -nats(z, y).mean(),
    "Usual cause": lambda z, y: ((z - np.eye(z.shape[-1])[y]) ** 2).mean(),
}


@pytest.mark.parametrize("wrong", LOSSES)
def test_a_loss_of_another_kind_is_named(wrong):
    contender = Contender(lambda x: np.zeros((*x.shape, V)), V, T, loss=LOSSES[wrong])
    verdict = loss_is_cross_entropy(contender)
    assert verdict.state == "broken" and wrong in verdict.says.replace("a softmax", "softmax")


def test_a_loss_that_takes_tensors_is_given_tensors():
    torch = pytest.importorskip("torch")

    def loss(z, y):
        return torch.nn.functional.cross_entropy(z.flatten(0, 1), y.flatten())

    contender = Contender(lambda x: np.zeros((*x.shape, V)), V, T, loss=loss)
    assert loss_is_cross_entropy(contender).passed


@pytest.mark.parametrize("loss", [lambda z: 1.0, lambda z, y: None, lambda z, y: z])
def test_a_loss_that_gives_no_number_is_an_error(loss):
    with pytest.raises(InputError, match="loss"):
        loss_is_cross_entropy(Contender(lambda x: np.zeros((*x.shape, V)), V, T, loss=loss))
