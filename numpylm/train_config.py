"""How to train: the options of every training, and the optimizer and learning rates they mean."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .config import SEEDS, Config, option
from .model import Parameters
from .optim import SCHEDULES, SGD, Adam, Optimizer, learning_rate_at


@dataclass(frozen=True)
class TrainConfig(Config):
    """training"""

    steps: int = option(2000, "how many batches to learn from", minimum=1)
    batch_size: int = option(32, "B, the windows of a batch", minimum=1, maximum=10**7)
    optimizer: str = option("adam", "F7 or F8", choices=("adam", "sgd"))
    learning_rate: float = option(0.01, "the largest step", above=0)
    schedule: str = option("cosine", "F11: after the warm-up", choices=SCHEDULES)
    warmup: int = option(0, "F11: steps until the learning rate is reached", minimum=0)
    final_rate: float = option(
        0.0, "F11: where the cosine ends, as a share of learning_rate", minimum=0, maximum=1
    )
    momentum: float = option(0.9, "F7: of SGD", minimum=0, below=1)
    beta1: float = option(0.9, "F8: of Adam", minimum=0, below=1)
    beta2: float = option(0.999, "F8: of Adam", minimum=0, below=1)
    weight_decay: float = option(0.0, "F9: decoupled, on matrices", minimum=0)
    clip: float = option(1.0, "F10: largest norm of the gradient; 0 disables it", minimum=0)
    eval_every: int = option(100, "steps between two evaluations on held-out text", minimum=1)
    eval_windows: int = option(
        500, "held-out windows of each evaluation; the last takes all", minimum=1
    )
    seed: int = option(
        0, "seed of the initial numbers and the order of the data", minimum=0, maximum=SEEDS
    )
    workers: int = option(
        1, "threads that share every batch; at most the cores", minimum=1, maximum=1024
    )

    def optimizer_for(self, params: Parameters) -> Optimizer:
        """The optimizer that `optimizer` names, for these parameters."""
        if self.optimizer == "sgd":
            return SGD(params, self.momentum, self.weight_decay)
        return Adam(params, self.beta1, self.beta2, weight_decay=self.weight_decay)

    def rate(self, step: int) -> float:
        """F11: the learning rate of step 0, 1, ..."""
        return learning_rate_at(
            step,
            peak=self.learning_rate,
            warmup=self.warmup,
            total=self.steps,
            floor=self.learning_rate * self.final_rate,
            schedule=self.schedule,
        )


def config_for(model: Any, given: Mapping[str, Any]) -> TrainConfig:
    """The TrainConfig of what is given by name; None leaves an option at its default.

    The learning rate of a model with layers is 0.003 by default, reached after a tenth of the
    steps: a Transformer's first steps at 0.01 spoil it. Raises InputError as TrainConfig does.
    """
    given = {name: value for name, value in given.items() if value is not None}
    config = TrainConfig.from_dict(given)
    if "learning_rate" in given or not hasattr(getattr(model, "config", None), "layers"):
        return config
    return replace(config, learning_rate=0.003, warmup=given.get("warmup", config.steps // 10))
