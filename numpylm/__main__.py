"""The command line: python -m numpylm train | evaluate | generate | gradcheck | figures."""

import shlex
import sys
from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from .batches import sweep
from .config import Config, InputError, add_flags, from_flags
from .corpora import CorpusConfig, load_corpus
from .figures import draw_course, draw_run
from .generate import GenerateConfig, generate, next_probabilities
from .gradcases import check_everything
from .gradcheck import Report
from .metrics import evaluate
from .runs import MODELS, Run, TrainConfig, load_trained
from .train import introduction, landmarks, summary, train


def main(words: Sequence[str] | None = None) -> int:
    """Run one command. A user's mistake ends in one line on standard error and the number 2.

    Ctrl-C while nothing is being trained ends in one line too, and in 130.
    """
    words = sys.argv[1:] if words is None else words
    try:
        flags = _parser(words).parse_args(words)
        return flags.run_command(flags)
    except InputError as error:
        print(f"numpylm: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("numpylm: interrupted; what was saved is whole", file=sys.stderr)
        return 130


def train_command(flags: Namespace) -> int:
    """Train a model on a corpus, or continue a run that was stopped."""
    if flags.resume:
        run = Run.resume(flags.resume, _only_steps(vars(flags)))
    else:
        kind = MODELS[flags.kind]
        model_config = from_flags(kind.Config(), vars(flags))
        corpus_config = from_flags(CorpusConfig(), vars(flags))
        config = from_flags(TrainConfig(), vars(flags))
        text = Path(corpus_config.text).stem or corpus_config.corpus
        folder = flags.out or _free_folder(Path("runs") / f"{flags.kind}-{text}")
        run = Run.start(folder, kind, model_config, corpus_config, config)
    print(introduction(run), flush=True)
    if not train(run):
        print(f"stopped after step {run.step}, which is saved. To go on:")
        print(f"    python -m numpylm train --resume {shlex.quote(str(run.folder))}")
        return 130
    draw_run(run)
    print(summary(run))
    return 0


def evaluate_command(flags: Namespace) -> int:
    """Measure a trained model on a corpus: the one it was trained on, unless another is named."""
    model, tokenizer, _, about = load_trained(flags.run)
    trained_on = CorpusConfig.from_dict(about["corpus"])
    if "corpus" in flags:
        trained_on = replace(trained_on, text="")  # or the text would hide the corpus named now
    config = from_flags(trained_on, vars(flags))
    T = model.config.context_length
    corpus = load_corpus(config, T, tokenizer)
    print(corpus.describe())
    for part, ids in (("held-out", corpus.heldout), ("training", corpus.train)):
        result = evaluate(model, sweep(ids, 64, T))
        print(
            f"    {result.loss:.4f} nats per token on {result.tokens:,} {part} tokens: "
            f"perplexity {result.perplexity:.3f}, accuracy {result.accuracy:.1%}"
        )
    print("\n".join(f"    {line}" for line in landmarks(corpus)))
    return 0


def generate_command(flags: Namespace) -> int:
    """Continue a text with a trained model, or list what may follow it."""
    if flags.next is not None and flags.next < 1:
        raise InputError(f"--next must be at least 1, not {flags.next}")
    model, tokenizer, _, _ = load_trained(flags.run)
    config = from_flags(GenerateConfig(), vars(flags))
    prompt = tokenizer.encode(flags.prompt)
    if not len(prompt):
        raise InputError(
            f"--prompt is empty: give a text to continue, like {tokenizer.symbols[-1]!r}"
        )
    if flags.next:
        p = next_probabilities(model.next_logits(prompt[-model.config.context_length :]))
        likeliest = np.argsort(-p, kind="stable")[: flags.next]
        _print_probabilities(tokenizer, likeliest, p[likeliest])
        return 0
    result = generate(model, prompt, config, np.random.default_rng(config.seed))
    print(tokenizer.decode(np.concatenate([prompt, result.ids])))
    if flags.probabilities:
        _print_probabilities(tokenizer, result.ids, result.probabilities)
    return 0


def _print_probabilities(tokenizer: Any, ids: Any, probabilities: Any) -> None:
    for w, p in zip(ids, probabilities, strict=True):
        print(f"{p:8.4f}  {tokenizer.decode([w])!r}")


def gradcheck_command(flags: Namespace) -> int:
    """Compare every gradient of the library with numerical ones; exit with 1 if any is wrong."""
    checks = []
    print(Report([]))
    for report in check_everything():
        checks += report.checks
        print("\n".join(map(str, report.checks)), flush=True)
    wrong = sum(not check.passed for check in checks)
    print(f"{len(checks)} gradients, {wrong} wrong")
    return 1 if wrong else 0


def figures_command(flags: Namespace) -> int:
    """Draw the figures of the README again; trains a small model for them."""
    for path in draw_course(flags.out):
        print(path)
    return 0


def _parser(words: Sequence[str]) -> ArgumentParser:
    """The options of `train` are those of the model that --model names, so that is read first."""
    model = ArgumentParser(prog="python -m numpylm train", add_help=False, allow_abbrev=False)
    help = "what to train; with --help, its options (default: attention)"
    model.add_argument("--model", choices=tuple(MODELS), default=SUPPRESS, help=help)
    chosen = getattr(model.parse_known_args(words)[0], "model", "attention")

    parser = ArgumentParser(
        prog="python -m numpylm",
        description="A language model to read: train it, check its gradients, look inside.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(run: Any, *configs: Config, parents: Sequence[Any] = ()) -> ArgumentParser:
        name, text = run.__name__.removesuffix("_command"), run.__doc__
        added = commands.add_parser(
            name, help=text, description=text, parents=parents, allow_abbrev=False
        )
        added.set_defaults(run_command=run)
        for config in configs:
            add_flags(added, config)
        return added

    configs = (MODELS[chosen].Config(), CorpusConfig(), TrainConfig())
    added = command(train_command, *configs, parents=[model])
    added.set_defaults(kind=chosen)
    added.add_argument("--out", type=Path, help="folder of the run (default: a new one in runs/)")
    added.add_argument("--resume", type=Path, metavar="RUN", help="continue the run in this folder")
    added = command(evaluate_command, CorpusConfig())
    added.add_argument("run", type=Path, help="the folder of a run, or its checkpoint")
    added = command(generate_command, GenerateConfig())
    added.add_argument("run", type=Path, help="the folder of a run, or its checkpoint")
    added.add_argument("--prompt", required=True, help="the text to continue")
    added.add_argument("--probabilities", action="store_true", help="show p of each new token")
    added.add_argument(
        "--next", type=int, metavar="N", help="list the N likeliest next tokens only"
    )
    command(gradcheck_command)
    added = command(figures_command)
    added.add_argument(
        "--out", type=Path, default=Path("figures"), help="folder (default: figures)"
    )
    return parser


def _only_steps(flags: dict[str, Any]) -> int | None:
    """--resume takes everything from the checkpoint; only --steps may be given with it."""
    extra = set(flags) - {"run_command", "kind", "out", "resume", "steps"}
    if extra or flags["out"]:
        name = sorted(extra)[0].replace("_", "-") if extra else "out"
        raise InputError(f"--resume continues a run with its own settings: leave out --{name}")
    return flags.get("steps")


def _free_folder(path: Path) -> Path:
    """`path`, or the first of path-2, path-3, ... that is not there yet."""
    numbered = (path.with_name(f"{path.name}-{n}") for n in count(2))
    return path if not path.exists() else next(p for p in numbered if not p.exists())


if __name__ == "__main__":
    sys.exit(main())
