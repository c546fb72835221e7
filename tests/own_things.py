"""Trainings of what a reader brings, each with a folder: a script that can be killed and resumed.

python own_things.py FOLDER NAME=STEP ...: each is trained in a process of its own, which dies by
SIGKILL after so many steps, and then resumed by another.
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np

from numpylm import ops
from numpylm.bert import BERTConfig, BERTForMaskedLM, mask_tokens
from numpylm.bert_heads import BERTForClass, BERTForClassConfig, BERTForSpan
from numpylm.corpora import Corpus
from numpylm.gpt import GPT
from numpylm.languages import Language
from numpylm.model import Model, ModelConfig
from numpylm.optim import SGD
from numpylm.runs import Run
from numpylm.train_config import TrainConfig
from numpylm.training import Training
from numpylm.transformer import Transformer, TransformerConfig

CONFIG = TrainConfig(steps=12, batch_size=6, eval_every=5, eval_windows=12)


class Bigram(Model):
    """A model that is in no registry: the logits of the next word are a row of a table."""

    @staticmethod
    def shapes(config):
        return {"table": (config.vocab_size, config.vocab_size)}

    def initialise(self, rng):
        self.params["table"] = 0.1 * rng.normal(size=self.params["table"].shape)

    def forward(self, ids, rng=None):
        return ops.embedding_forward(self.params["table"], ids)

    def backward(self, dlogits, cache):
        grads = self.params.like()
        grads["table"] = ops.embedding_backward(dlogits, cache)
        return grads


class Ids:
    """A corpus that is two arrays and nothing else."""

    def __init__(self):
        rng = np.random.default_rng(5)
        self.train, self.heldout = rng.integers(9, size=400), rng.integers(9, size=50)


class Lion:
    """An optimizer that knows no other: sign descent, with a state of arrays, numbers and texts."""

    def __init__(self, params):
        self.params, self.m, self.t = params, {n: np.zeros_like(p) for n, p in params.items()}, 0
        self.scale, self.history = np.float32(1), []

    def step(self, grads, learning_rate):
        self.t += 1
        for name, m in self.m.items():
            m += 0.1 * (grads[name] - m)
            self.params[name] -= learning_rate * self.scale * np.sign(m) / self.t**0.5
        self.scale *= np.float32(0.99)
        self.history = [*self.history[-2:], float(self.scale)]

    def state(self):
        numbers = {"t": self.t, "scale": self.scale, "history": self.history}
        return {"m": self.m, "name": "lion", "nothing": None, **numbers}

    def load_state(self, state):
        for name, m in self.m.items():
            m[...] = state["m"][name]
        self.t, self.scale, self.history = state["t"], state["scale"], state["history"]


def coin():
    """A language that is in no registry: after a comes a or b, after b always a."""
    after = {"a": [(0.5, "a", "a"), (0.5, "b", "b")], "b": [(1.0, "a", "a")]}
    return Language("no b after b", ("a", "b"), {"a": 1.0}, after.__getitem__)


def texts(rng, N, T=8):
    """ids, segments, attend (N, T): padded texts of two parts."""
    ids, lengths = rng.integers(4, 20, size=(N, T)), rng.integers(3, T + 1, size=(N, 1))
    places = np.arange(T)
    return {
        "ids": ids,
        "segments": (places >= 2).astype(int) + np.zeros_like(ids),
        "attend": places < lengths,
    }


def of_class():
    rng = np.random.default_rng(1)
    model = BERTForClass(BERTForClassConfig(**SMALL, dropout=0.2, classes=3), rng)
    part = [texts(rng, n) | {"targets": rng.integers(3, size=n)} for n in (20, 9)]
    return model, part[0], {"heldout": part[1]}


def of_span():
    rng = np.random.default_rng(2)
    part = [texts(rng, n) | {"targets": np.tile([1, 2], (n, 1))} for n in (20, 9)]
    return BERTForSpan(BERTConfig(**SMALL), rng), part[0], {"heldout": [part[1]]}


def masked():
    rng = np.random.default_rng(3)
    model = BERTForMaskedLM(BERTConfig(**SMALL), rng)

    def batches(rng):
        ids = texts(rng, 6)["ids"]
        return mask_tokens(ids, rng, 3, 20)

    return model, batches, {"learning_rate": lambda step: 0.01 / (step + 1)}


def pairs():
    rng = np.random.default_rng(4)
    config = TransformerConfig(
        vocab_size=20, context_length=8, layers=1, heads=2, width=8, dropout=0.1, smoothing=0.1
    )
    source, target = rng.integers(3, 20, size=(2, 25, 6))
    target[:, 0], target[::2, 4:] = config.begin_id, config.padding_id
    heldout = [(source[-5:], target[-5:])]
    return Transformer(config, rng), (source, target), {"heldout": heldout}


SMALL = {"vocab_size": 20, "context_length": 8, "layers": 1, "heads": 2, "width": 8}
THINGS = {
    "bigram": lambda: (
        Bigram(ModelConfig(9, 4), np.random.default_rng(0)),
        Ids(),
        {"optimizer": Lion},
    ),
    "language": lambda: (
        GPT(vocab_size=2, context_length=6, layers=1, heads=2, width=8, dropout=0.1),
        Corpus.from_language(coin(), 7, 40, 20),
        {"optimizer": lambda params: SGD(params, momentum=0.5)},
    ),
    "class": of_class,
    "span": of_span,
    "masked": masked,
    "pairs": pairs,
}


def run_of(name, folder, again=None):
    """The run of this name: a new one, or, where its folder holds one, that."""
    model, batches, own = THINGS[name]()
    folder = Path(folder) / name
    config = CONFIG if name != "pairs" else TrainConfig(**CONFIG.to_dict() | {"workers": 2})
    if not (folder / "checkpoint.safetensors").exists():
        return Run.start(folder, model, batches, config, **own)
    return Run.resume(folder, model=type(model), corpus=batches, **own)


def die_after(step):
    """Let every run from now on end its process, by SIGKILL, after this step."""
    one_step = Training.step

    def step_and_die(run):
        line = one_step(run)
        if run.steps_done == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return line

    Training.step = step_and_die


def main(folder, *deaths):
    """For each NAME=STEP: a process that dies, and one that resumes what it left."""
    for death in deaths:
        name, step = death.split("=")
        for dies in (True, False):
            child = os.fork()
            if not child:
                if dies:
                    die_after(int(step))
                os._exit(not run_of(name, folder).train(progress=False))
            _, status = os.waitpid(child, 0)
            print(name, os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(*sys.argv[1:])
