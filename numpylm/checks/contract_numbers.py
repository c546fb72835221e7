"""What a number says: perplexity that depends on nothing but the text, and a loss that is F5."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..arrays import Array, Rng
from ..errors import InputError
from ..metrics import token_nats
from .contender_calls import as_array, as_tensor, torch_is_loaded
from .contenders import NEXT, Contender
from .contract_causality import generator
from .verdicts import BROKEN, KEPT, NOT_APPLICABLE, UNDECIDED, Verdict

SYMBOLS = 12  # words of the logits that a loss is asked about
TEXT = 16  # tokens of the texts whose perplexity is asked
SIZES = 1, 4, 13  # of 13 texts, so that the last batch of the second is smaller
RELATIVE = 1e-5  # of a perplexity: float32 products of other sizes round to 1e-6
TOLD = 1e-3  # a wrong mean that differs by less is not told from the right one
BATCHES, LOSS = "batches do not matter", "loss is cross-entropy"

Nats = Array  # (N, T)


def batches_do_not_matter(model: Any, rng: Rng | None = None) -> Verdict:
    """F6 of 13 texts is one number, however they are read, and it is exp(all nats / all tokens).

    Asked is your `evaluate`, at batches of one, four and all; what it should be is computed from
    f. Four at a time leave a last batch of one; a mean of per-batch perplexities gives it the
    weight of four. Of many random texts those are taken that the model finds easiest and hardest,
    so that a wrong mean shows. Without `evaluate` f itself is asked, in batches.
    """
    contender, rng = Contender.of(model), generator(rng)
    if contender.kind != NEXT:
        return Verdict(BATCHES, NOT_APPLICABLE, "the perplexity of a text alone is not defined")
    texts = _texts_apart(contender, rng)
    nats = contender.nats(texts, 1)
    true = float(np.exp(nats.mean()))
    found = [_asked(contender, texts, B) for B in SIZES]
    gaps = [abs(p - true) / true for p in found]
    rounding = max(RELATIVE, 4 * contender.eps)
    numbers = {"true": true, "gap": _largest(gaps)} | dict(zip(map(str, SIZES), found, strict=True))
    listed = ", ".join(f"{p:.5g}" for p in found)
    of = f"the perplexity in batches of {', '.join(map(str, SIZES))} is {listed}"
    if contender.evaluate is not None and not _largest(gaps) < rounding:
        mistake = _mistake(found, nats, texts, contender)
        says = f"{of}; exp(all nats / all tokens) is {true:.5g}. {mistake}"
        return Verdict(BATCHES, BROKEN, says + contender.remark, numbers)
    if not _largest(gaps) < rounding:
        says = f"{of}. Usual cause: rows of a batch that see one another, or dropout that is on"
        return Verdict(BATCHES, BROKEN, says + contender.remark, numbers)
    alike = [
        name
        for name, wrong in WRONG.items()
        if all(abs(wrong(nats, B) - true) < rounding * true for B in SIZES)
    ]
    if contender.evaluate is not None and alike:
        says = (
            f"{of}, but this model finds all texts equally hard, so that {' or '.join(alike)} "
            "would be the same: train it first, or make its weights larger"
        )
        return Verdict(BATCHES, UNDECIDED, says, numbers)
    return Verdict(BATCHES, KEPT, f"{of}, which is exp(all nats / all tokens)", numbers)


def _texts_apart(contender: Contender, rng: Rng) -> Array:
    """13 texts (13, T + 1): the easiest first, the hardest last; of one word, of two, of all."""
    T = min(contender.length, TEXT)
    if not contender.reads(T):
        T = contender.length
    few = [rng.choice(contender.words, 1 + i % 2) for i in range(24)]
    rows = [contender.texts(rng, 1, T + 1, words) for words in few]
    texts = np.concatenate([*rows, contender.texts(rng, 40, T + 1)])
    order = np.argsort(contender.nats(texts, 8).mean(axis=1), kind="stable")
    result: Array = texts[np.concatenate([order[:8], order[-5:]])]
    return result


def _asked(contender: Contender, texts: Array, B: int) -> float:
    if contender.evaluate is None:
        return float(np.exp(contender.nats(texts, B).mean()))
    try:
        said = contender.evaluate(texts.copy(), B)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"evaluate stopped with {type(error).__name__}: {error}. It is called with texts "
            f"{texts.shape} of ids and a batch size, and returns one number, the perplexity"
        ) from error
    return _number("evaluate", said)


def _number(name: str, said: Any) -> float:
    """One number, also as an array or a tensor of one."""
    try:
        return float(as_array(said).item())
    except ValueError:
        raise InputError(f"{name} returns a {type(said).__name__}, not one number") from None


def _largest(gaps: list[float]) -> float:
    """A nan is larger than everything."""
    return max((math.inf if math.isnan(gap) else gap) for gap in gaps)


def _cut(nats: Nats, B: int) -> list[Nats]:
    return [nats[i : i + B] for i in range(0, len(nats), B)]


def _safe_exp(nats: Any) -> Any:
    with np.errstate(over="ignore"):
        return np.exp(nats)


WRONG: dict[str, Callable[[Nats, int], float]] = {
    "a mean over batches of their perplexities": lambda n, B: float(
        np.mean([np.exp(part.mean()) for part in _cut(n, B)])
    ),
    "exp of a mean over batches of their mean nats": lambda n, B: float(
        np.exp(np.mean([part.mean() for part in _cut(n, B)]))
    ),
    "a mean over texts of their perplexities": lambda n, B: float(np.exp(n.mean(axis=1)).mean()),
    "a mean over tokens of exp(nats)": lambda n, B: float(np.exp(n).mean()),
}
OTHER: dict[str, Callable[[Nats, int], float]] = {
    "2 to the power of nats: take exp": lambda n, B: float(2 ** n.mean()),
    "10 to the power of nats: take exp": lambda n, B: float(10 ** n.mean()),
    "exp of bits: the mean was divided by ln 2": lambda n, B: float(np.exp(n.mean() / math.log(2))),
    "exp of nats per text, not per token": lambda n, B: float(_safe_exp(n.sum(axis=1).mean())),
    "exp of all nats, not per token": lambda n, B: float(_safe_exp(n.sum())),
    "exp of nats per batch, not per token": lambda n, B: float(
        _safe_exp(np.mean([part.sum() for part in _cut(n, B)]))
    ),
    "the mean nats without exp": lambda n, B: float(n.mean()),
    "the mean in bits, without the power of 2": lambda n, B: float(n.mean() / math.log(2)),
    "exp of minus the mean, a probability": lambda n, B: float(np.exp(-n.mean())),
    "all nats, without mean and exp": lambda n, B: float(n.sum()),
    "nats divided by the T + 1 tokens that were read, not the T that were predicted": (
        lambda n, B: float(np.exp(n.sum() / (n.size + len(n))))
    ),
    "nats divided by one token less": lambda n, B: float(np.exp(n.sum() / max(n.size - 1, 1))),
    "a last, smaller batch that is left out": lambda n, B: float(
        np.exp(n[: len(n) // B * B].mean())
    ),
    "only the first batch": lambda n, B: float(np.exp(n[:B].mean())),
    "only the last batch": lambda n, B: float(np.exp(_cut(n, B)[-1].mean())),
    "only the last token of each text": lambda n, B: float(np.exp(n[:, -1].mean())),
    "the first prediction of each text is left out": lambda n, B: float(np.exp(n[:, 1:].mean())),
    "the last prediction of each text is left out": lambda n, B: float(np.exp(n[:, :-1].mean())),
    "a median": lambda n, B: float(np.exp(np.median(n))),
    "all batches weigh as if they were full": lambda n, B: float(
        np.exp(sum(part.mean() for part in _cut(n, B)) * B * n.shape[1] / n.size)
    ),
    "exp of all nats by the number of batches times the batch size": lambda n, B: float(
        np.exp(n.sum() / (len(_cut(n, B)) * B * n.shape[1]))
    ),
}


def _mistake(found: list[float], nats: Nats, texts: Array, contender: Contender) -> str:
    """The sentence that names the mistake whose numbers these are."""
    if not all(map(math.isfinite, found)):
        return "It is not finite: are all nats of the text added up before exp, not the mean?"
    fits = []
    for name, wrong in (WRONG | OTHER).items():
        with np.errstate(all="ignore"):
            values = [wrong(nats, B) for B in SIZES]
        if all(abs(v - p) <= TOLD / 10 * abs(p) for v, p in zip(values, found, strict=True)):
            fits.append(name)
    if fits:
        return f"That is {' or '.join(fits)}"
    same = contender.nats_of_inputs(texts)
    if same is not None and all(abs(p - math.exp(same)) < TOLD / 10 * p for p in found):
        return "That is the perplexity of the inputs themselves: the targets are not shifted by one"
    if max(found) - min(found) > TOLD / 10 * min(found):
        return (
            "It depends on the batch size. Usual cause: a mean over batches, dropout that is on, "
            "or rows of a batch that see one another"
        )
    return (
        "It does not depend on the batch size, and is none of the usual mistakes: are the tokens "
        "counted that were predicted, and the same weights read?"
    )


# ---- the loss --------------------------------------------------------------------------------

WRONG_LOSSES: dict[str, Callable[[Array, Array], float]] = {
    "a softmax along time: PyTorch wants (B, V, T), or rows (B T, V)": lambda z, y: float(
        token_nats(z.swapaxes(1, 2), y)[0].mean()
    ),
    "a sum for a mean": lambda z, y: float(token_nats(z, y)[0].sum()),
    "a sum over each text, and a mean over texts": lambda z, y: float(
        token_nats(z, y)[0].sum(axis=1).mean()
    ),
    "a sum over the batch, and a mean over time": lambda z, y: float(
        token_nats(z, y)[0].sum(axis=0).mean()
    ),
    "in bits: the logarithm has base 2": lambda z, y: float(
        token_nats(z, y)[0].mean() / math.log(2)
    ),
    "in base 10": lambda z, y: float(token_nats(z, y)[0].mean() / math.log(10)),
    "a softmax taken twice": lambda z, y: float(token_nats(_softmax(z), y)[0].mean()),
    "the sign is wrong": lambda z, y: float(-token_nats(z, y)[0].mean()),
    "the word 0 counts for nothing, as if it were padding": lambda z, y: float(
        token_nats(z, y)[0][y != 0].mean()
    ),
    "the mean leaves out the first prediction": lambda z, y: float(
        token_nats(z, y)[0][:, 1:].mean()
    ),
    "the targets are shifted once more": lambda z, y: float(
        token_nats(z[:, :-1], y[:, 1:])[0].mean()
    ),
    "the mean is divided by V once more": lambda z, y: float(
        token_nats(z, y)[0].mean() / z.shape[-1]
    ),
    "the logit itself, without a softmax": lambda z, y: float(
        -np.take_along_axis(z, y[..., None], axis=-1).mean()
    ),
    "a perplexity: exp of it": lambda z, y: float(np.exp(token_nats(z, y)[0].mean())),
    "labels smoothed by 0.1": lambda z, y: float(
        0.9 * token_nats(z, y)[0].mean() - 0.1 * np.log(_softmax(z)).mean()
    ),
    "one minus the probability": lambda z, y: float(
        1 - np.take_along_axis(_softmax(z), y[..., None], axis=-1).mean()
    ),
}


def _softmax(z: Array) -> Array:
    p = np.exp(z - z.max(axis=-1, keepdims=True))
    result: Array = p / p.sum(axis=-1, keepdims=True)
    return result


def loss_is_cross_entropy(model: Any, rng: Rng | None = None) -> Verdict:
    """`loss`(logits, targets) is F5, the mean of −log p(y), with p a softmax over the vocabulary.

    Asked with as many tokens as words, T = V: then a softmax over time fits as well, and no shape
    gives it away. Arrays are handed over, or tensors where `loss` takes no arrays.
    """
    contender, rng = Contender.of(model), generator(rng)
    if contender.loss is None:
        raise InputError("there is no loss to look at: give Contender its loss(logits, targets)")
    V = min(contender.vocab_size, SYMBOLS)
    logits, targets = rng.normal(size=(5, V, V)), rng.integers(V, size=(5, V))
    true = float(token_nats(logits, targets)[0].mean())
    said = _loss_said(contender.loss, logits, targets)
    numbers = {"loss": said, "true": true}
    if abs(said - true) < RELATIVE * true:
        says = f"{said:.4f} nats of logits with T = V, as expected"
        return Verdict(LOSS, KEPT, says, numbers)
    fits = [
        name
        for name, wrong in WRONG_LOSSES.items()
        if abs(wrong(logits, targets) - said) < RELATIVE * abs(said)
    ]
    cause = (
        f"That is: {' or '.join(fits)}"
        if fits
        else "Usual cause: softmax along time (PyTorch wants (B, V, T) or rows (B T, V)), a sum "
        "for a mean, or another logarithm"
    )
    says = f"{said:.4f} instead of {true:.4f} nats, for logits with T = V. {cause}"
    return Verdict(LOSS, BROKEN, says, numbers)


def _loss_said(loss: Callable[[Any, Any], Any], logits: Array, targets: Array) -> float:
    given = [(logits.copy(), targets.copy())]
    if torch_is_loaded():
        given.append((as_tensor(logits), as_tensor(targets)))
    stopped: Exception | None = None
    for pair in given:
        try:
            said = loss(*pair)
            break
        except Exception as error:
            stopped = stopped or error
    else:
        raise InputError(
            f"loss stopped with {type(stopped).__name__}: {stopped}. It is called with logits "
            f"{logits.shape} and targets {targets.shape}, and returns one number"
        ) from stopped
    return _number("loss", said[0] if isinstance(said, tuple) else said)
