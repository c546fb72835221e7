"""A small programming assistant: a specification in, a program out, and a judge that runs it.

    352*+=      the specification: what to do with a stack (3 5 2 × +)
    3+(5*2).    a program: an expression, and a full stop

Any program passes that runs and gives the right value, however it is written. The stages:

    pre-train   specifications and programs as plain text, which do not belong together
    fine-tune   a few pairs that do, with the prompt masked (F35)
    reward      specifications without programs: the assistant draws some, and the judge runs them
"""

import json
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Array, Rng
from ..config import SEEDS, Config, option
from ..errors import InputError
from ..files import write_whole
from ..gpt import GPT
from ..objectives import answer_targets
from ..ops import IGNORE
from ..runs import Run
from ..train_config import TrainConfig
from ..trained import load_trained
from .rollouts import RewardConfig, Rewarded, Rollouts, draw, frozen

SYMBOLS = "0123456789+-*()=."
IDS = {symbol: n for n, symbol in enumerate(SYMBOLS)}
STOP = IDS["."]
SPECIFICATION, PROGRAM = 6, 8  # tokens, with "=" and with the full stop
APPLY = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b}


# ---- the language ------------------------------------------------------------------------------


def encode(text: str) -> list[int]:
    """Ids of a text. Raises InputError for a symbol that the language does not have."""
    if unknown := [symbol for symbol in text if symbol not in IDS]:
        raise InputError(f"{unknown[0]!r} is no symbol of the language, which has {SYMBOLS}")
    return [IDS[symbol] for symbol in text]


def decode(ids: Any) -> str:
    return "".join(SYMBOLS[n] for n in ids if n != IGNORE)


def value_of_specification(text: str) -> int:
    """What is left on the stack. Raises InputError where that is not one number."""
    stack: list[int] = []
    for symbol in text.rstrip("="):
        if symbol.isdigit():
            stack.append(int(symbol))
        elif symbol in APPLY and len(stack) > 1:
            second, first = stack.pop(), stack.pop()
            stack.append(APPLY[symbol](first, second))
        else:
            raise InputError(f"{text!r} stops at {symbol!r}: write digits, then + - or *")
    if len(stack) != 1:
        raise InputError(f"{text!r} leaves {len(stack)} numbers on the stack; expected 1")
    return stack[0]


def run_program(text: str) -> int | None:
    """The value of "3+(5*2)."; None where it does not run.

    sum = product (+|- product)*    product = atom (* atom)*    atom = digit | (sum)
    """
    if not text.endswith("."):
        return None
    try:
        value, rest = _sum(text[:-1])
    except (IndexError, ValueError):
        return None
    return value if not rest else None


def _sum(text: str) -> tuple[int, str]:
    value, rest = _product(text)
    while rest and rest[0] in "+-":
        other, after = _product(rest[1:])
        value, rest = APPLY[rest[0]](value, other), after
    return value, rest


def _product(text: str) -> tuple[int, str]:
    value, rest = _atom(text)
    while rest and rest[0] == "*":
        other, rest = _atom(rest[1:])
        value *= other
    return value, rest


def _atom(text: str) -> tuple[int, str]:
    if text[0] == "(":
        value, rest = _sum(text[1:])
        if rest[0] != ")":
            raise ValueError
        return value, rest[1:]
    return int(text[0]), text[1:]


def passes(prompt: Array, program: Array) -> float:
    """1 if the program runs and gives the value of the specification, else 0."""
    return float(run_program(decode(program)) == value_of_specification(decode(prompt)))


def everything() -> list[tuple[str, str]]:
    """All 18,000 specifications of three digits and two operations, each with one program."""
    pairs = []
    for a, b, c in product("0123456789", repeat=3):
        for f, g in product("+-*", repeat=2):
            pairs.append((f"{a}{b}{f}{c}{g}=", f"({a}{f}{b}){g}{c}."))
            pairs.append((f"{a}{b}{c}{f}{g}=", f"{a}{g}({b}{f}{c})."))
    return pairs


class Data(NamedTuple):
    """Rows of ids: plain text, pairs (N, 14), prompts to be rewarded for, prompts held out."""

    text: Array
    pairs: Array
    prompts: Array
    heldout: Array


def split(labelled: int, heldout: int, seed: int) -> Data:
    """No specification is in two parts; in the plain text no program belongs to its neighbour."""
    pairs, rng = everything(), np.random.default_rng([seed, 17])
    if labelled + heldout >= len(pairs):
        raise InputError(f"labelled and heldout must leave some of {len(pairs)} specifications")
    order = rng.permutation(len(pairs))
    specifications = np.array([encode(one) for one, _ in pairs])[order]
    programs = np.array([encode(other) for _, other in pairs])[order]
    rows = np.concatenate([specifications, programs], axis=1)
    rest = specifications[labelled + heldout :]
    other = programs[labelled + heldout :][rng.permutation(len(rest))]
    text = np.concatenate([rest, other], axis=1)
    return Data(text, rows[:labelled], rest, specifications[labelled : labelled + heldout])


def pass_rate(model: Any, prompts: Array, rng: Rng) -> float:
    """How many programs pass, one drawn for each prompt."""
    programs = draw(model, prompts, PROGRAM, STOP, rng)
    return float(np.mean([passes(x, y) for x, y in zip(prompts, programs, strict=True)]))


# ---- the three stages --------------------------------------------------------------------------


@dataclass(frozen=True)
class AssistantConfig(Config):
    """the programming assistant"""

    labelled: int = option(60, "specifications with a program, to be fine-tuned on", minimum=1)
    heldout: int = option(500, "specifications that are never trained on", minimum=1)
    pretrain_steps: int = option(600, "batches of plain text", minimum=1)
    finetune_steps: int = option(120, "batches of pairs", minimum=1)
    reward_steps: int = option(400, "batches of programs that are drawn and run", minimum=1)
    group: int = option(8, "programs drawn for each specification", minimum=1, maximum=10**6)
    prompts: int = option(16, "specifications in a batch", minimum=1, maximum=10**6)
    baseline: str = option(
        "others", "what a reward is compared with", choices=("others", "group", "none")
    )
    deviation: bool = option(False, "divide advantages by the deviation of the group, as GRPO does")
    beta: float = option(0.02, "what a nat of KL from the reference costs; 0 disables", minimum=0)
    kl: str = option("reward", "where KL enters", choices=("reward", "k1", "k2", "k3"))
    width: int = option(48, "C, a multiple of the 4 heads", minimum=4, maximum=10**5)
    layers: int = option(2, "how many blocks", minimum=1, maximum=1000)
    seed: int = option(0, "seed of everything that is drawn", minimum=0, maximum=SEEDS)

    def rewards(self) -> RewardConfig:
        """What the last stage takes of it."""
        names = ("group", "prompts", "baseline", "deviation", "beta", "kl")
        return RewardConfig(**{name: getattr(self, name) for name in names})


STAGES = ("pretrain", "finetune", "reward")


class Assistant:
    """A folder with a `Run` for each stage; stopped anywhere, it goes on from there.

    config: for a new folder. An existing one brings its own.
    """

    def __init__(self, folder: Path | str, config: AssistantConfig | None = None):
        self.folder = Path(folder)
        about = self.folder / "assistant.json"
        if config is None:
            try:
                stored = json.loads(about.read_text(encoding="utf-8"))
                config = AssistantConfig.from_dict(stored)
            except (OSError, ValueError) as error:
                raise InputError(
                    f"{self.folder} holds no assistant to go on with: {error}"
                ) from None
        elif about.exists():
            raise InputError(f"{self.folder} holds an assistant: go on with --resume {self.folder}")
        self.config = config
        self.data = split(config.labelled, config.heldout, config.seed)
        Rollouts(
            self.blank(self.config), self.data.prompts, passes, PROGRAM, STOP, config.rewards()
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        if not about.exists():
            write_whole(about, json.dumps(config.to_dict(), indent=2).encode())

    @staticmethod
    def blank(config: AssistantConfig) -> GPT:
        """The model before its first stage."""
        sizes: dict[str, Any] = {"width": config.width, "layers": config.layers}
        length = SPECIFICATION + PROGRAM
        rng = np.random.default_rng(config.seed)
        return GPT(vocab_size=len(SYMBOLS), context_length=length, init_std=0.1, rng=rng, **sizes)

    def model(self, stage: str) -> GPT:
        """The model after a stage that is done."""
        model = self.blank(self.config)
        holder = Rewarded(model, self.config.rewards()) if stage == "reward" else model
        load_trained(self.folder / stage, holder)
        return model

    def run(self, stage: str) -> Run:
        """The run of a stage: a new one, or the one that was begun."""
        before = STAGES.index(stage) - 1
        model: Any = self.blank(self.config) if before < 0 else self.model(STAGES[before])
        source, steps = self._source(stage, model)
        if stage == "reward":
            model = Rewarded(model, self.config.rewards())
        rate = 0.001 if stage == "reward" else 0.003
        train = TrainConfig(steps=steps, learning_rate=rate, warmup=20, seed=self.config.seed)
        folder = self.folder / stage
        if (folder / "checkpoint.safetensors").exists():
            return Run.resume(folder, model=model, corpus=source)
        return Run.start(folder, model, source, train)

    def _source(self, stage: str, model: Any) -> tuple[Any, int]:
        data, config = self.data, self.config
        if stage == "pretrain":
            return (data.text[:, :-1], data.text[:, 1:]), config.pretrain_steps
        if stage == "finetune":
            targets = answer_targets(data.pairs, SPECIFICATION)
            return (data.pairs[:, :-1], targets), config.finetune_steps
        options = config.rewards()
        given = self.data.prompts, passes, PROGRAM, STOP, options, frozen(model)
        return Rollouts(model, *given), config.reward_steps

    def held_out(self, model: Any) -> float:
        """The pass rate on specifications that are never trained on."""
        return pass_rate(model, self.data.heldout, np.random.default_rng(self.config.seed))

    def told(self, stage: str, run: Run) -> str:
        """The pass rate after a stage, and what the last batch of rewards was like."""
        model = run.model.model if stage == "reward" else run.model
        words = f"{self.held_out(model):6.1%} of the programs held out run and are right"
        if stage != "reward" or not run.source.drawn:
            return words
        silent = f"{run.source.silent:.0%} of the groups had equal rewards: their part is exactly 0"
        return f"{words}; KL {run.source.kl:.2f} nats; at the end {silent}"
