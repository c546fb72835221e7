"""Trained on random tokens, nobody can do better than ln V."""

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from ..arrays import Array, Rng
from ..batches import sample_batch
from ..errors import InputError
from ..optim import Adam, clip_by_global_norm
from ..parallel import one_thread
from .contender_calls import as_tensor, is_module
from .contenders import BOTH, NEXT, Contender
from .contract_causality import generator
from .verdicts import BROKEN, KEPT, NOT_APPLICABLE, UNDECIDED, Verdict

LENGTH = 8  # texts are short: a leak shows sooner
SYMBOLS = 12  # random tokens are drawn from few words, so that a few hundred steps suffice
SIGMAS = 5.0  # chance exceeds this many standard errors once in three million
UNLEARNED = 1.05  # a loss this many times ln V has not even learned to guess


def no_leak(
    model: Any,
    steps: int = 400,
    batch_size: int = 32,
    rng: Rng | None = None,
    length: int = 0,
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

    The tokens are SYMBOLS words, far apart, of a larger vocabulary; V is then their number. T is
    `length`, or 8 where the model reads texts of 8. Training is `learn`, by default learner(model);
    the weights are put back, as far as they are found. A small leak that is learned slowly needs
    more `steps`.
    """
    contender, rng = Contender.of(model), generator(rng)
    if contender.kind != NEXT:
        return _not_for(contender)
    V, T = min(len(contender.words), SYMBOLS), length or _length(contender)
    words = contender.words[np.linspace(0, len(contender.words) - 1, V).astype(int)]
    texts = contender.texts(rng, 1024, T + 1, words)
    with contender.trainable(), one_thread():
        learn = _learner_of(contender)
        for _ in range(steps):
            batch = contender.texts(rng, batch_size, T + 1, words)
            learn(*sample_batch(rng, batch, batch_size, T))
        nats = contender.nats(texts, 128)
    verdict = _judge(nats, V, steps)
    if verdict.state == KEPT and nats.shape[1] < contender.length:
        also = f". Texts of {T} tokens were read; causality looks at {contender.length}"
        return Verdict("no leak", KEPT, verdict.says + also, verdict.numbers)
    return verdict


def _not_for(contender: Contender) -> Verdict:
    says = (
        "every position of this model may read the whole text, so its targets are not the next "
        "tokens"
        if contender.kind == BOTH
        else "the model is given a source, which may tell the target; causality looks at it"
    )
    return Verdict("no leak", NOT_APPLICABLE, says)


def _length(contender: Contender) -> int:
    """LENGTH, or the only length that can be read."""
    T = min(contender.length, LENGTH)
    return T if contender.reads(T) else contender.length


def _judge(nats: Array, V: int, steps: int) -> Verdict:
    loss, noise = float(nats.mean()), SIGMAS * float(nats.std()) / math.sqrt(nats.size)
    honest, predicted = math.log(V), nats.shape[1]  # T; 1 where only the last token predicts
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
        return Verdict("no leak", BROKEN, says, numbers)
    if loss > UNLEARNED * honest:
        says = (
            f"after {steps} steps the loss on random tokens is {loss:.4f} nats, far above ln {V} = "
            f"{honest:.4f}: it has not learned to guess, so a leak could not show. Give more "
            "steps or another learning rate; or the targets that `learn` uses are not x_{t+1}"
        )
        return Verdict("no leak", UNDECIDED, says, numbers)
    says = (
        f"trained on random tokens, the loss is {loss:.4f} nats: not below ln {V} = {honest:.4f} "
        f"by more than chance ({noise:.4f}). Seeing all inputs it could fall to {floor:.4f}"
    )
    return Verdict("no leak", KEPT, says, numbers)


# ---- one step of training --------------------------------------------------------------------


def can_learn(contender: Contender) -> bool:
    """Whether no_leak has something to train with."""
    if contender.learn is not None or hasattr(contender.model, "loss_backward"):
        return True
    return is_module(contender.f) and any(p.requires_grad for p in contender.f.parameters())


def learner(model: Any, learning_rate: float = 0.01) -> Callable[[Array, Array], None]:
    """learn(ids, targets): one step of Adam on a model of numpylm, its gradient clipped to 1."""
    optimizer = Adam(model.params)

    def learn(ids: Array, targets: Array) -> None:
        _, cache = model.loss(ids, targets)
        grads = model.loss_backward(cache)
        clip_by_global_norm(grads, 1.0)
        optimizer.step(grads, learning_rate)

    return learn


def _learner_of(contender: Contender) -> Callable[[Array, Array], Any]:
    if contender.learn is not None:
        return contender.learn
    if not can_learn(contender):
        raise InputError("there is nothing to train with: give Contender its learn(ids, targets)")
    return _torch_learner(contender) if is_module(contender.f) else learner(contender.model)


def _torch_learner(contender: Contender) -> Callable[[Array, Array], None]:
    """The same step by PyTorch, on a module's logits after each token or after the last."""
    torch = sys.modules["torch"]
    weights = [p for p in contender.f.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(weights, 0.01)

    def learn(ids: Array, targets: Array) -> None:
        logits = contender.find(contender.f(as_tensor(ids, contender.f)), ids)
        y = as_tensor(targets if logits.ndim == 3 else targets[:, -1], contender.f)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits.flatten(0, -2), y.flatten()).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()

    return learn
