"""Promises that every next-token model must keep, and what is said when one does not.

    print(check_contracts(model))                                        a model of numpylm
    print(check_contracts(Contender(f, vocab_size=65, length=8)))        your own, in any framework
    print(causality(Contender(f, vocab_size=65, length=8)))                one contract alone

The failures meant here are silent: the shapes fit, the loss falls, the text looks fair.
"""

import math
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..batches import sample_batch, sweep
from ..errors import InputError
from ..metrics import token_nats
from ..model import Parameters
from ..ops import Array
from ..optim import Adam, clip_by_global_norm
from ..parallel import one_thread

LENGTH = 8  # texts are short: a leak shows sooner
SYMBOLS = 12  # random tokens are drawn from few words, so that a few hundred steps suffice
LOUD = 100.0  # parameters times this make scores beyond any "large" number put into a mask
SIGMAS = 5.0  # chance exceeds this many standard errors once in three million
UNLEARNED = 1.05  # a loss this many times ln V has not even learned to guess
ORDER = 1e-3  # rounding leaves 1e-6 of what other words do; positions that count, 1e-2 and more
BATCH_SIZES = 1, 4, 13  # of 13 texts, so that the last batch of the second is smaller
BATCHES = 1e-5  # relative, of a perplexity: float32 products of other sizes round to 1e-6
CACHE = {"float64": 1e-12, "float32": 1e-4}  # relative to the largest logit; rounding


@dataclass(frozen=True)
class Contender:
    """A model as the contracts see it. The first three are enough for most of them.

    f(ids)                ids (B, T), int64  ->  logits (B, T, V), or (B, V) after the last token;
                          an array or a tensor; with dropout off
    vocab_size, length    V, and the T of the texts that it is shown, at most what it can read
    learn(ids, targets)   one step of training, in any way                         for no_leak
    evaluate(texts, B)    your perplexity of texts (N, T + 1), read B at a time    batch size
    loss(logits, targets) your mean nats, from (B, T, V) and (B, T)                cross-entropy
    model                 with start and extend as in gpt.py (the cache), and params

    A model of numpylm needs none of this, nor does an object of yours with forward, loss,
    loss_backward, params (Parameters) and config (vocab_size, context_length).
    """

    f: Callable[[Array], Any]
    vocab_size: int
    length: int = LENGTH
    learn: Callable[[Array, Array], Any] | None = None
    evaluate: Callable[[Array, int], float] | None = None
    loss: Callable[[Array, Array], Any] | None = None
    model: Any = None

    def __post_init__(self) -> None:
        for name, least in (("vocab_size", 2), ("length", 3)):
            if not getattr(self, name) >= least:
                raise InputError(
                    f"{name} must be at least {least}, not {getattr(self, name)}: with less there "
                    "is nothing to predict, or no order to see"
                )

    @classmethod
    def of(cls, model: Any) -> "Contender":
        if isinstance(model, cls):
            return model
        if not hasattr(model, "loss_backward"):
            raise InputError(
                f"a {type(model).__name__} is no model of numpylm: hand over "
                "Contender(f, vocab_size, length), with f(ids) -> logits"
            )
        config = model.config
        return cls(
            lambda ids: model.forward(ids)[0],
            config.vocab_size,
            min(config.context_length, LENGTH),
            model=model,
        )

    def texts(self, rng: np.random.Generator, B: int, T: int = 0) -> Array:
        return rng.integers(self.vocab_size, size=(B, T or self.length))

    def others(self, rng: np.random.Generator, ids: Array) -> Array:
        """Another word for each."""
        return (ids + rng.integers(1, self.vocab_size, ids.shape)) % self.vocab_size

    def logits(self, ids: Array) -> Array:
        """(B, T, V) or (B, V), as an array. Raises InputError for another shape, and for a nan."""
        logits = self.f(ids)
        if hasattr(logits, "detach"):  # a tensor of PyTorch
            logits = logits.detach().cpu().numpy()
        logits = np.asarray(logits)
        B, V = len(ids), self.vocab_size
        if logits.shape not in ((*ids.shape, V), (B, V)):
            raise InputError(
                f"logits of ids {ids.shape} must have shape {(*ids.shape, V)} or {(B, V)}, not "
                f"{logits.shape}: check vocab_size, and what f returns"
            )
        if not np.isfinite(logits).all():
            raise InputError("logits hold a nan or an infinity, which compares with nothing")
        return logits

    def logits_twice(self, ids: Array) -> Array:
        """The logits. Raises InputError if a second call gives others."""
        logits = self.logits(ids)
        if not np.array_equal(logits, self.logits(ids)):
            raise InputError(
                "two calls with the same ids give different logits: switch dropout off "
                "(evaluation mode), or nothing exact can be said"
            )
        return logits

    def last(self, ids: Array) -> Array:
        """Logits (B, V) after the last token."""
        logits = self.logits(ids)
        return logits if logits.ndim == 2 else logits[:, -1]

    def nats(self, texts: Array, B: int) -> Array:
        """−log p of each prediction in texts (N, T + 1), read B at a time: (N T,), or (N,)."""
        parts = []
        for ids, targets in sweep(texts, B, texts.shape[1] - 1):
            logits = self.logits(ids)
            targets = targets if logits.ndim == 3 else targets[:, -1]
            parts.append(token_nats(logits, targets)[0].ravel())
        return np.concatenate(parts)

    @property
    def params(self) -> Parameters | None:
        params = getattr(self.model, "params", None)
        return params if isinstance(params, Parameters) else None

    @contextmanager
    def parameters_kept(self) -> Iterator[None]:
        """Whatever happens to `params` is undone at the end."""
        before = None if self.params is None else self.params.flat.copy()
        try:
            yield
        finally:
            if self.params is not None:
                self.params.flat[...] = before


def _generator(rng: np.random.Generator | None) -> np.random.Generator:
    return np.random.default_rng(0) if rng is None else rng


@dataclass(frozen=True)
class Verdict:
    """One contract and one model: kept, broken or undecided, and why; prints as a sentence."""

    contract: str
    state: str
    says: str
    numbers: Mapping[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return self.state == "kept"

    def __str__(self) -> str:
        text = f"{self.state:<10}{self.contract}: {self.says}"
        return textwrap.fill(text, 100, subsequent_indent=" " * 10)


@dataclass(frozen=True)
class Contracts:
    """The verdicts on one model; prints one after another."""

    verdicts: tuple[Verdict, ...]

    @property
    def passed(self) -> bool:
        return all(verdict.passed for verdict in self.verdicts)

    @property
    def broken(self) -> list[str]:
        """The contracts that were not kept, or could not be decided."""
        return [verdict.contract for verdict in self.verdicts if not verdict.passed]

    def __str__(self) -> str:
        return "\n".join(map(str, self.verdicts))


def check_contracts(model: Any) -> Contracts:
    """Every contract for which `model` has what it takes; no_leak, the slow one, last."""
    subject = Contender.of(model)
    contracts: list[Callable[[Any], Verdict]] = [
        causality,
        independence,
        order_is_used,
        batches_do_not_matter,
    ]
    if subject.loss is not None:
        contracts.append(loss_is_cross_entropy)
    if hasattr(subject.model, "extend"):
        contracts.append(cache_changes_nothing)
    if subject.learn is not None or hasattr(subject.model, "loss_backward"):
        contracts.append(no_leak)
    return Contracts(tuple(contract(subject) for contract in contracts))


# ---- no prediction may see what it predicts --------------------------------------------------


def no_leak(
    model: Any,
    steps: int = 400,
    batch_size: int = 32,
    rng: np.random.Generator | None = None,
) -> Verdict:
    """Trained on random tokens, fresh ones at every step, the loss does not fall below ln V.

    Tokens x_1 … x_{T+1} are independent and uniform over V words; the model reads x_1 … x_T, and
    the target of position t is y_t = x_{t+1}.

        honest   p_t depends on x_1 … x_t, of which y_t is independent. Whatever these are,
                 E[−log p_t(y_t)] = 1/V Σ_w −log p_t(w) ≥ ln V, by Gibbs: equal for p_t = 1/V only
        cheat    p_t depends on x_1 … x_T. For t < T these include y_t, which may cost 0; y_T is not
                 among them and costs at least ln V. The mean is at least (ln V)/T

    (ln V)/T is the floor where the targets are the inputs shifted by one, every position counts and
    nothing but the inputs is seen. A model that is also handed its last target goes to 0; one in
    which only k of the T − 1 positions cheat stays above (T − k)/T ln V.

    The tolerance. Over N fresh predictions an honest model is below ln V by chance alone: the
    differences between −log p_t(y_t) and its expectation are uncorrelated, because each is a
    surprise given everything before. So the mean is noisy by s/√N, s being the standard deviation
    of one prediction; below ln V by more than SIGMAS of these is a leak.

    The tokens are the first SYMBOLS words of a larger vocabulary; V is then their number. Training
    is `learn`, by default learner(model); `params` are put back, a model that is nothing but f
    should be one to throw away. A small leak that is learned slowly needs more `steps` to be seen.
    """
    subject, rng = Contender.of(model), _generator(rng)
    V, T = min(subject.vocab_size, SYMBOLS), subject.length
    if subject.learn is None and not hasattr(subject.model, "loss_backward"):
        raise InputError("there is nothing to train with: give Contender its learn(ids, targets)")
    learn = subject.learn or learner(subject.model)
    texts = rng.integers(V, size=(1024, T + 1))
    with subject.parameters_kept(), one_thread():
        for _ in range(steps):
            learn(*sample_batch(rng, rng.integers(V, size=(batch_size, T + 1)), batch_size, T))
        nats = subject.nats(texts, 128)
    loss, noise = float(nats.mean()), SIGMAS * float(nats.std()) / math.sqrt(nats.size)
    honest = math.log(V)
    predicted = nats.size // len(texts)  # T; 1 where only the last c_n predicts
    floor = honest / predicted
    numbers = {"loss": loss, "ln V": honest, "noise": noise, "floor": floor}
    if loss < honest - noise - 1e-6:  # 1e-6 for a uniform model, whose noise is only rounding
        share = (honest - loss) / max(honest - floor, 1e-6)
        says = (
            f"on random tokens the loss fell to {loss:.4f} nats, below ln {V} = {honest:.4f} by "
            f"more than chance ({noise:.4f}): predictions see their targets. That is {share:.1%} "
            f"of the way to (ln {V})/{predicted} = {floor:.4f}, where every target among the "
            "inputs is seen. Usual cause: in one of the attentions, a mask that is missing, "
            "transposed or off by one"
        )
        return Verdict("no leak", "broken", says, numbers)
    if loss > UNLEARNED * honest:
        says = (
            f"after {steps} steps the loss on random tokens is {loss:.4f} nats, far above ln {V} = "
            f"{honest:.4f}: it has not learned to guess, so a leak could not show. Give more "
            "steps or another learning rate; or the targets that `learn` uses are not x_{t+1}"
        )
        return Verdict("no leak", "undecided", says, numbers)
    says = (
        f"trained on random tokens, the loss is {loss:.4f} nats: not below ln {V} = {honest:.4f} "
        f"by more than chance ({noise:.4f}). Seeing all inputs it could fall to {floor:.4f}"
    )
    return Verdict("no leak", "kept", says, numbers)


def learner(model: Any, learning_rate: float = 0.01) -> Callable[[Array, Array], None]:
    """learn(ids, targets): one step of Adam on a model of numpylm, its gradient clipped to 1."""
    optimizer = Adam(model.params)

    def learn(ids: Array, targets: Array) -> None:
        _, cache = model.loss(ids, targets)
        grads = model.loss_backward(cache)
        clip_by_global_norm(grads, 1.0)
        optimizer.step(grads, learning_rate)

    return learn


def causality(model: Any, rng: np.random.Generator | None = None) -> Verdict:
    """Another token at j leaves every logit before j as it was, bit for bit.

    A masked weight is 0, and 0 times anything adds nothing; so the difference is not small but 0.
    Only a mask that is a large finite number comes near 0 without being it: −1e4 is nothing beside
    scores of −2e4, which a model can learn. So, where there are `params`, the model is looked at a
    second time with all of them LOUD times as large. Do this by hand to a model in a lambda; the
    verdict then says that it has not been done.
    """
    subject, rng = Contender.of(model), _generator(rng)
    ids = subject.texts(rng, 3)
    quiet, where = _most_seen(subject, ids, rng)
    numbers, how = {"difference": quiet}, ""
    if quiet == 0 and subject.params is not None:
        with subject.parameters_kept():
            subject.params.flat *= LOUD
            loud, where = _most_seen(subject, ids, rng)
        numbers["loud"], how = loud, f"at parameters {LOUD:g} times as large, "
    seen = max(numbers.values())
    if seen == 0:
        says = "another token at j changes no logit before j, not by one bit"
        if subject.params is None:
            says += (
                "; a mask that is a large finite number would not show, for there are no params to "
                f"make large scores of: ask once more with all weights {LOUD:g} times as large"
            )
        return Verdict("causality", "kept", says, numbers)
    i, j = where
    cause = (
        "the mask is a finite number, which large scores outdo: set masked scores to −∞ by `where`"
        if how
        else "no causal mask, one that is transposed or off by one, or a norm taken over time"
    )
    says = f"{how}token {j} moves the logits at {i}, before it, by {seen:.3g}. Usual cause: {cause}"
    return Verdict("causality", "broken", says, numbers)


def _most_seen(
    subject: Contender, ids: Array, rng: np.random.Generator
) -> tuple[float, tuple[int, int]]:
    """The largest change of a logit at i through another token at j > i, and (i, j)."""
    before = subject.logits_twice(ids)
    most, where = 0.0, (0, 0)
    if before.ndim == 2:  # only the token after the last is predicted: nothing is later
        return most, where
    for j in range(1, subject.length):
        changed = ids.copy()
        changed[:, j] = subject.others(rng, ids[:, j])
        moved = np.abs(subject.logits(changed) - before)[:, :j].max(axis=(0, 2))
        if moved.max() > most:
            most, where = float(moved.max()), (int(moved.argmax()), j)
    return most, where


# ---- what a prediction depends on ------------------------------------------------------------


def independence(model: Any, rng: np.random.Generator | None = None) -> Verdict:
    """Another text in one row of the batch leaves the logits of all other rows, bit for bit."""
    subject, rng = Contender.of(model), _generator(rng)
    ids = subject.texts(rng, 4)
    before = subject.logits_twice(ids)
    most, where = 0.0, (0, 0)
    for row in range(len(ids)):
        changed = ids.copy()
        changed[row] = subject.others(rng, ids[row])
        moved = np.abs(subject.logits(changed) - before).reshape(len(ids), -1).max(axis=-1)
        moved[row] = 0
        if moved.max() > most:
            most, where = float(moved.max()), (row, int(moved.argmax()))
    numbers = {"difference": most}
    if most == 0:
        says = "another text in one row of the batch changes no logit of another row"
        return Verdict("independence", "kept", says, numbers)
    says = (
        f"another text in row {where[0]} of the batch moves the logits of row {where[1]} by "
        f"{most:.3g}. Usual cause: the axes of batch and time are swapped (batch_first), so that "
        "attention runs across the batch; or a norm is taken over the batch"
    )
    return Verdict("independence", "broken", says, numbers)


def order_is_used(model: Any, rng: np.random.Generator | None = None) -> Verdict:
    """The earlier tokens in another order give another prediction.

    Compared is how far the last logits move when the earlier tokens change places, with how far
    they move when these become other words; below ORDER of it is rounding.

    One attention without positions breaks this by design, section 4's too: c_n is a sum over
    x_1 … x_{n−1} and x_n. Two causal layers keep it even without positions, though they know
    order only by how much past a token has read.
    """
    subject, rng = Contender.of(model), _generator(rng)
    ids = rng.permuted(np.tile(np.arange(subject.length) % subject.vocab_size, (8, 1)), axis=1)
    before = subject.last(ids)
    turned, other = ids.copy(), ids.copy()
    turned[:, :-1] = np.roll(ids[:, :-1], 1, axis=1)
    other[:, :-1] = subject.others(rng, ids[:, :-1])
    by_order, by_words = (float(np.abs(subject.last(x) - before).max()) for x in (turned, other))
    numbers = {"order": by_order, "words": by_words}
    if by_order > ORDER * by_words:
        says = (
            f"another order of the earlier tokens moves the prediction by {by_order:.3g}, other "
            f"words by {by_words:.3g}"
        )
        return Verdict("order is used", "kept", says, numbers)
    cause = (
        "positions that are missing, or made and never added; section 4's model has none by design"
        if by_words
        else "only the last token is read"
    )
    says = (
        f"another order of the earlier tokens moves the prediction by {by_order:.3g}, other words "
        f"by {by_words:.3g}: it sees a bag of words. Usual cause: {cause}"
    )
    return Verdict("order is used", "broken", says, numbers)


# ---- what a number says ----------------------------------------------------------------------


def batches_do_not_matter(model: Any, rng: np.random.Generator | None = None) -> Verdict:
    """F6 of 13 texts is one number, whether they are read one, four or all at a time.

    Asked is your `evaluate`, or else exp(all nats / all tokens). Four at a time leave a last batch
    of one; a mean of per-batch perplexities gives it the weight of four.
    """
    subject, rng = Contender.of(model), _generator(rng)
    texts = subject.texts(rng, 13, subject.length + 1)
    evaluate = subject.evaluate or (lambda texts, B: float(np.exp(subject.nats(texts, B).mean())))
    found = [float(evaluate(texts, B)) for B in BATCH_SIZES]
    spread = (max(found) - min(found)) / min(found)
    numbers = {"spread": spread} | {f"{B}": p for B, p in zip(BATCH_SIZES, found, strict=True)}
    listed = ", ".join(f"{p:.5g}" for p in found)
    of = f"the perplexity in batches of {', '.join(map(str, BATCH_SIZES))} is {listed}"
    if spread < BATCHES:
        return Verdict("batches do not matter", "kept", of, numbers)
    says = (
        f"{of}. Usual cause: a mean over batches instead of exp(all nats / all tokens), dropout "
        "that is on, or rows of a batch that see one another"
    )
    return Verdict("batches do not matter", "broken", says, numbers)


def loss_is_cross_entropy(model: Any, rng: np.random.Generator | None = None) -> Verdict:
    """`loss`(logits, targets) is F5, the mean of −log p(y), with p a softmax over the vocabulary.

    Asked with as many tokens as words, T = V: then a softmax over time fits as well, and no shape
    gives it away.
    """
    subject, rng = Contender.of(model), _generator(rng)
    if subject.loss is None:
        raise InputError("there is no loss to look at: give Contender its loss(logits, targets)")
    V = min(subject.vocab_size, SYMBOLS)
    logits, targets = rng.normal(size=(5, V, V)), rng.integers(V, size=(5, V))
    said, true = float(subject.loss(logits, targets)), float(token_nats(logits, targets)[0].mean())
    numbers = {"loss": said, "true": true}
    if abs(said - true) < BATCHES * true:
        says = f"{said:.4f} nats of logits with T = V, as it should be"
        return Verdict("loss is cross-entropy", "kept", says, numbers)
    says = (
        f"{said:.4f} instead of {true:.4f} nats, for logits with T = V. Usual cause: softmax along "
        "time (PyTorch wants (B, V, T) or rows (B T, V)), a sum for a mean, or another logarithm"
    )
    return Verdict("loss is cross-entropy", "broken", says, numbers)


def cache_changes_nothing(model: Any, rng: np.random.Generator | None = None) -> Verdict:
    """Tokens that are read a few at a time after a past give the logits of the whole text.

    past = model.start(B, padding), model.extend(ids, past) -> logits, as in gpt.py; against
    model.forward. Then the same with texts of different lengths, padded on the left: what stands in
    the padding changes nothing. A model of numpylm is looked at in float64.
    """
    subject, rng = Contender.of(model), _generator(rng)
    model = subject.model
    if not hasattr(model, "extend"):
        raise InputError(
            "there is no cache to look at: give Contender a model with start and extend"
        )
    if hasattr(model, "astype"):
        model = model.astype(np.float64)
        subject = replace(subject, f=lambda ids: model.forward(ids)[0])
    B, T = 3, subject.length
    ids = subject.texts(rng, B)
    whole = subject.logits(ids)
    plain = float(np.abs(_in_steps(model, ids, model.start(B)) - whole).max())
    padding = np.minimum(np.arange(B), T - 1)  # 0, 1 and 2 tokens that are no text
    parts = _in_steps(model, ids, model.start(B, padding))
    padded = max(
        float(np.abs(parts[b, pad:] - subject.logits(ids[b : b + 1, pad:])[0]).max())
        for b, pad in enumerate(padding)
    )
    size = float(np.abs(whole).max())
    numbers = {"plain": plain / size, "padded": padded / size}
    says = f"differences of {numbers['plain']:.1e}, with padding {numbers['padded']:.1e}"
    if max(numbers.values()) <= CACHE[whole.dtype.name]:
        return Verdict("cache changes nothing", "kept", f"relative {says}", numbers)
    cause = (
        "padding that is looked at, or counted as positions"
        if numbers["plain"] <= CACHE[whole.dtype.name]
        else "positions that start anew at 0, or a mask that forgets the past"
    )
    says = f"with a past the logits are others: relative {says}. Usual cause: {cause}"
    return Verdict("cache changes nothing", "broken", says, numbers)


def _in_steps(model: Any, ids: Array, past: Any) -> Array:
    """Logits of ids (B, T): the first half at once, as a prompt, and then one after another."""
    cuts = np.arange((ids.shape[1] + 1) // 2, ids.shape[1])
    parts = np.split(ids, cuts, axis=1)
    return np.concatenate([np.asarray(model.extend(part, past)) for part in parts], axis=1)
