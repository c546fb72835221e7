"""The command line: python -m numpylm COMMAND; --help lists the commands."""

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
from .book.write import write_book
from .checks.gradient_cases import check_everything
from .checks.oracles import closing, heading, kill_matrix
from .config import Config, add_flags, from_flags
from .corpora import CorpusConfig, load_corpus
from .course.course_figures import draw_course
from .course.course_figures import kill_matrix as draw_kill_matrix
from .course.induction import InductionConfig, draw_induction, induction_text, train_layers
from .course.ladder import LadderConfig, climb, draw_ladder, ladder_text
from .course.notebook_files import notebooks_in, refresh
from .errors import InputError
from .figures import draw_run, drawing_folder, save_figures
from .gradcheck import Report
from .metrics import evaluate
from .parallel import ALONE, Team
from .runs import MODELS, RECIPES, Run, load_trained
from .sampling import GenerateConfig, generate, next_probabilities
from .tasks.run import TASKS, run_task
from .tasks.tools import draw_task, task_text
from .training import introduction, landmarks, summary, train, verdict


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
    except MemoryError as error:
        print(f"numpylm: not enough memory ({error}): ask for less", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("numpylm: interrupted; what was saved is whole", file=sys.stderr)
        return 130


def train_command(flags: Namespace) -> int:
    """Train a model on a corpus, or continue a run that was stopped."""
    with Team.over_mpi() if flags.distributed else ALONE as team:
        return _train(flags, team)


def _train(flags: Namespace, team: Team) -> int:
    if flags.resume:
        run = Run.resume(flags.resume, _only_steps(vars(flags)), team)
    else:
        if "text" in flags and "corpus" in flags:
            raise InputError("--text and --corpus are two corpora: leave out one of them")
        recipe = RECIPES[flags.chosen]
        model_config = from_flags(recipe.model, vars(flags))
        corpus_config = from_flags(recipe.corpus, vars(flags))
        config = from_flags(recipe.train, vars(flags))
        text = Path(corpus_config.text).stem or corpus_config.corpus
        folder = flags.out or _free_folder(Path("runs") / f"{flags.chosen}-{text}")
        kind = MODELS[recipe.kind]
        run = Run.start(folder, kind, model_config, corpus_config, config, team=team)
    if not team.leads:
        return 0 if train(run) else 130
    print(introduction(run), flush=True)
    if not train(run):
        print(f"stopped after step {run.step}, which is saved. To go on:")
        print(f"    python -m numpylm train --resume {shlex.quote(str(run.folder))}")
        return 130
    print(summary(run))
    print("pictures ", ", ".join(path.name for path in draw_run(run)))
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
        print("   ", verdict(evaluate(model, sweep(ids, 64, T)), corpus, part))
    for what, nats in landmarks(corpus).items():
        print(f"    {nats:.4f} nats  {what}")
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
    if flags.mutants:
        return _mutants(drawing_folder(flags.out))
    checks = []
    print(Report([]))
    for report in check_everything():
        checks += report.checks
        print("\n".join(map(str, report.checks)), flush=True)
    wrong = sum(not check.passed for check in checks)
    print(f"{len(checks)} gradients, {wrong} wrong")
    return 1 if wrong else 0


def _mutants(folder: Path) -> int:
    """Slip each mistake of the registry in, and show which oracles see it."""
    print(heading())
    rows = []
    for row in kill_matrix():
        rows.append(row)
        print(row, flush=True)
    print(closing(rows))
    print(*save_figures({"kill_matrix": draw_kill_matrix(rows)}, folder))
    return 0 if all(row.killers for row in rows) else 1


def figures_command(flags: Namespace) -> int:
    """Draw the README's figures of section 4 again; trains a small model for them."""
    for path in draw_course(drawing_folder(flags.out)):
        print(path)
    return 0


def ladder_command(flags: Namespace) -> int:
    """Climb from section 4 to a Transformer block: each model on each toy language."""
    folder = drawing_folder(flags.out)
    table = climb(from_flags(LadderConfig(), vars(flags)))
    print(ladder_text(table))
    print(*save_figures({"ladder": draw_ladder(table)}, folder))
    return 0


def induction_command(flags: Namespace) -> int:
    """The step after the ladder: a second layer forms an induction head, where one layer cannot."""
    folder, config = drawing_folder(flags.out), from_flags(InductionConfig(), vars(flags))
    runs = []
    for layers in (1, 2):
        runs.append(train_layers(layers, config))
        print(induction_text(runs[-1]), flush=True)
    print(*save_figures({"induction_head": draw_induction(runs[-1])}, folder))
    return 0


def notebooks_command(flags: Namespace) -> int:
    """Execute every notebook of the course again, and write what it shows back into it."""
    for path in notebooks_in(flags.folder):
        print(f"{path}: {'changed' if refresh(path) else 'as it was'}", flush=True)
    return 0


def book_command(flags: Namespace) -> int:
    """Write the book: every formula beside its code, as pages that open without a network."""
    pages = write_book(flags.out)
    print(f"{len(pages)} pages; open {flags.out / 'index.html'}")
    return 0


def task_command(flags: Namespace) -> int:
    """Train a model for one of four tasks, and compare it with what must fail at it."""
    config = from_flags(TASKS[flags.task].defaults, vars(flags))
    folder = drawing_folder(flags.out or _free_folder(Path("runs") / f"task-{flags.task}"))
    print(
        f"{flags.task}: {config.seeds} models, {config.steps:,} steps each on "
        f"{config.examples:,} examples; measured on {config.heldout_examples:,} of compositions "
        "that are not among them",
        flush=True,
    )
    result = run_task(flags.task, config)
    print(task_text(result))
    print(*draw_task(result, folder), sep="\n")
    return 0


def _parser(words: Sequence[str]) -> ArgumentParser:
    """The options of `train` and their defaults depend on the recipe, so that is read first."""
    which = ArgumentParser(prog="python -m numpylm train", add_help=False, allow_abbrev=False)
    help = "what to train, and from which defaults; with --help, its options (default: attention)"
    which.add_argument("--model", choices=tuple(RECIPES), default=SUPPRESS, help=help)
    chosen = getattr(which.parse_known_args(words)[0], "model", "attention")

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

    added = command(train_command, *RECIPES[chosen][1:], parents=[which])
    added.set_defaults(chosen=chosen)
    added.add_argument("--out", type=Path, help="folder of the run (default: a new one in runs/)")
    added.add_argument("--resume", type=Path, metavar="RUN", help="continue the run in this folder")
    help = "share every batch among the processes that mpiexec has started"
    added.add_argument("--distributed", action="store_true", help=help)
    added = command(evaluate_command, CorpusConfig())
    added.add_argument("run", type=Path, help="the folder of a run, or its checkpoint")
    added = command(generate_command, GenerateConfig())
    added.add_argument("run", type=Path, help="the folder of a run, or its checkpoint")
    added.add_argument("--prompt", required=True, help="the text to continue")
    added.add_argument("--probabilities", action="store_true", help="show p of each new token")
    added.add_argument(
        "--next", type=int, metavar="N", help="list the N likeliest next tokens only"
    )
    added = command(gradcheck_command)
    help = "check the checks: which of them see which mistakes; drawn into --out"
    added.add_argument("--mutants", action="store_true", help=help)
    _add_figure_folder(added)
    added = command(figures_command)
    _add_figure_folder(added)
    added = command(ladder_command, LadderConfig())
    _add_figure_folder(added)
    tasks = command(task_command).add_subparsers(dest="task", required=True, metavar="TASK")
    for name, task in TASKS.items():
        text = task.run.__doc__
        added = tasks.add_parser(name, help=text, description=text, allow_abbrev=False)
        add_flags(added, task.defaults)
        help = "folder of the pictures (default: a new one in runs/)"
        added.add_argument("--out", type=Path, help=help)
    added = command(induction_command, InductionConfig())
    _add_figure_folder(added)
    added = command(notebooks_command)
    added.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=Path("notebooks"),
        help="folder (default: notebooks)",
    )
    added = command(book_command)
    added.add_argument("--out", type=Path, default=Path("book"), help="folder (default: book)")
    return parser


def _add_figure_folder(parser: ArgumentParser) -> None:
    help = "folder of the figure (default: figures)"
    parser.add_argument("--out", type=Path, default=Path("figures"), help=help)


def _only_steps(flags: dict[str, Any]) -> int | None:
    """--resume takes everything from the checkpoint; only --steps may be given with it."""
    extra = set(flags) - {"run_command", "chosen", "out", "resume", "distributed", "steps"}
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
