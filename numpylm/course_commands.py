"""The commands for the course, the four tasks and the book, in the manner of commands.py."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from .commands import Command, figure_options, free_folder, require_path, todays_names
from .errors import InputError
from .terminals import say
from .unicode_text import printable

# ---- figures, ladder, induction, tasks -----------------------------------------------------------


def figures_command(flags: Namespace) -> int:
    """Draw the README's figures of the one-matrix model again; trains a small one for them."""
    from .course.course_figures import draw_course
    from .figures import drawing_folder

    require_path(flags.out, "--out")
    for path in draw_course(drawing_folder(flags.out)):
        print(path)
    return 0


def ladder_options(parser: ArgumentParser, words: Sequence[str]) -> None:
    from .config import add_flags
    from .course.ladder import LadderConfig

    add_flags(parser, LadderConfig())
    figure_options(parser, words)


def ladder_command(flags: Namespace) -> int:
    """Climb from the one-matrix model to a Transformer block: each rung on each toy language."""
    from .config import from_flags
    from .course.ladder import LadderConfig, climb, draw_ladder, ladder_text
    from .figures import drawing_folder, save_figures

    require_path(flags.out, "--out")
    folder = drawing_folder(flags.out)
    if "rungs" in flags:
        flags.rungs = todays_names(flags.rungs)
    table = climb(from_flags(LadderConfig(), vars(flags)))
    paths = save_figures({"ladder": draw_ladder(table)}, folder)
    print(ladder_text(table))
    print(*paths)
    return 0


def induction_options(parser: ArgumentParser, words: Sequence[str]) -> None:
    from .config import add_flags
    from .course.induction import InductionConfig

    add_flags(parser, InductionConfig())
    figure_options(parser, words)


def induction_command(flags: Namespace) -> int:
    """The step after the ladder: a second layer forms an induction head, where one layer cannot."""
    from .config import from_flags
    from .course.induction import InductionConfig, draw_induction, induction_text, train_layers
    from .figures import drawing_folder, save_figures

    require_path(flags.out, "--out")
    folder, config = drawing_folder(flags.out), from_flags(InductionConfig(), vars(flags))
    runs = []
    for layers in (1, 2):
        runs.append(train_layers(layers, config))
        say(induction_text(runs[-1]))
    print(*save_figures({"induction_head": draw_induction(runs[-1])}, folder))
    return 0


def task_options(parser: ArgumentParser, words: Sequence[str]) -> None:
    from .config import add_flags
    from .tasks.run import TASKS

    tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")
    for name, task in TASKS.items():
        text = task.run.__doc__
        added = tasks.add_parser(name, help=text, description=text, allow_abbrev=False)
        add_flags(added, task.defaults)
        help = "folder of the pictures (default: a new one in runs/)"
        added.add_argument("--out", type=Path, help=help)


def task_command(flags: Namespace) -> int:
    """Train a model for one of four tasks, and compare it with what must fail at it."""
    from .config import from_flags
    from .figures import drawing_folder
    from .tasks.run import TASKS, run_task
    from .tasks.tools import draw_task, task_text

    require_path(flags.out, "--out")
    config = from_flags(TASKS[flags.task].defaults, vars(flags))
    folder = drawing_folder(flags.out or free_folder(Path("runs") / f"task-{flags.task}"))
    say(
        f"{flags.task}: {config.seeds} models, {config.steps:,} steps each on "
        f"{config.examples:,} examples; measured on {config.heldout_examples:,} of compositions "
        "that are not among them"
    )
    result = run_task(flags.task, config)
    paths = draw_task(result, folder)
    print(task_text(result))
    print(*paths, sep="\n")
    return 0


# ---- find the bug ------------------------------------------------------------------------------


def bug_options(parser: ArgumentParser, words: Sequence[str]) -> None:
    help = "1: a sign in the loss, to 4: nothing but exact checks shows it"
    parser.add_argument("--level", type=int, default=1, help=help)
    parser.add_argument("--seed", type=int, default=0, help="the same mistake for a whole class")


def bug_command(flags: Namespace) -> int:
    """Find the bug: a mistake is slipped in, you see its symptoms and name it."""
    from .course.bug import Bug, play

    play(Bug(flags.level, flags.seed))
    return 0


# ---- look inside -------------------------------------------------------------------------------


def explain_options(parser: ArgumentParser, words: Sequence[str]) -> None:
    parser.add_argument("number", help='an entry, as "dE[S1, 0]" or "c[2, 0]"')
    help = "the folder of a run (default: the example S1 S2 S3 of notebook 2)"
    parser.add_argument("--run", type=Path, help=help)
    parser.add_argument("--text", help="what that model reads, and shall predict")
    help = "how many steps back; 0: down to the parameters (default: 1)"
    parser.add_argument("--depth", type=int, default=1, help=help)
    help = "how many of each sum, the largest (default: 8)"
    parser.add_argument("--terms", type=int, default=8, help=help)


def explain_command(flags: Namespace) -> int:
    """Say of any number of a model which terms it is the sum of, and where those come from."""
    from .course.course_figures import s1_s2_s3
    from .inside.explain import explain
    from .inside.texts import next_tokens

    words = None
    if flags.run is None:
        if flags.text is not None:
            raise InputError("--text is for the model of a run: name one with --run")
        model, *batch = s1_s2_s3()
    else:
        model, words, batch = next_tokens(flags.run, flags.text)
    options = {"depth": flags.depth or None, "terms": flags.terms, "words": words}
    print(printable(str(explain(model, *batch, flags.number, **options))))
    return 0


def look_options(parser: ArgumentParser, words: Sequence[str]) -> None:
    parser.add_argument("run", type=Path, help="the folder of a run, or its checkpoint")
    parser.add_argument("--text", required=True, help="the text that the model reads")
    help = "the page (default: look.html)"
    parser.add_argument("--out", type=Path, default=Path("look.html"), help=help)


def look_command(flags: Namespace) -> int:
    """Write a page that shows what a model reads in a text, and why it says what it says."""
    from .inside.pages import write_look

    require_path(flags.out, "--out")
    print(write_look(flags.run, flags.text, flags.out))
    return 0


# ---- after pre-training --------------------------------------------------------------------------


def finetune_options(parser: ArgumentParser, words: Sequence[str]) -> None:
    from .config import add_flags
    from .post.transfer import TransferConfig

    add_flags(parser, TransferConfig())


def finetune_command(flags: Namespace) -> int:
    """What pre-training is worth in labels: frozen features, fine-tuning, LoRA, and none of it."""
    from .config import from_flags
    from .post.transfer import TransferConfig, measure, transfer_text

    print(transfer_text(measure(from_flags(TransferConfig(), vars(flags)))))
    return 0


def scaling_options(parser: ArgumentParser, words: Sequence[str]) -> None:
    from .config import add_flags
    from .post.scaling import ScalingConfig

    add_flags(parser, ScalingConfig())
    figure_options(parser, words)


def scaling_command(flags: Namespace) -> int:
    """How much data, how large a model: nats above the entropy, measured where it is known."""
    from .config import from_flags
    from .figures import drawing_folder, save_figures
    from .post.scaling import ScalingConfig, draw_scaling, measure, scaling_text

    require_path(flags.out, "--out")
    folder = drawing_folder(flags.out)
    result = measure(from_flags(ScalingConfig(), vars(flags)))
    print(scaling_text(result))
    print(*save_figures({"scaling": draw_scaling(result)}, folder))
    return 0


def reward_options(parser: ArgumentParser, words: Sequence[str]) -> None:
    from .config import add_flags
    from .post.programs import AssistantConfig

    add_flags(parser, AssistantConfig())
    parser.add_argument("--out", type=Path, help="folder of the runs (default: a new one in runs/)")
    help = "go on with the assistant in this folder"
    parser.add_argument("--resume", type=Path, metavar="FOLDER", help=help)


def reward_command(flags: Namespace) -> int:
    """A small programming assistant: pre-train, fine-tune, reward what runs and is right."""
    from .config import from_flags
    from .post.programs import STAGES, Assistant, AssistantConfig

    require_path(flags.out, "--out")
    given = {k: v for k, v in vars(flags).items() if hasattr(AssistantConfig(), k)}
    if flags.resume and (given or flags.out):
        name = next(iter(given), "out").replace("_", "-")
        raise InputError(f"--resume goes on with its own settings: leave out --{name}")
    config = None if flags.resume else from_flags(AssistantConfig(), given)
    assistant = Assistant(flags.resume or flags.out or free_folder(Path("runs") / "reward"), config)
    for stage in STAGES:
        run = assistant.run(stage)
        if not run.train():
            say(f"stopped in {stage}; to go on: --resume {assistant.folder}")
            return 130
        say(f"{stage:10} {assistant.told(stage, run)}")
    return 0


# ---- notebooks and book --------------------------------------------------------------------------


def notebooks_options(parser: ArgumentParser, words: Sequence[str]) -> None:
    help = "folders (default: notebooks, and teachers/solutions where they are)"
    parser.add_argument("folders", type=Path, nargs="*", metavar="folder", help=help)


def notebooks_command(flags: Namespace) -> int:
    """Execute every notebook of the course again, and write what it shows back into it."""
    from .course.notebook_files import SOLUTIONS, lacking, notebooks_in, read, refresh

    folders = flags.folders or [Path("notebooks"), *filter(Path.is_dir, [SOLUTIONS])]
    for path in [path for folder in folders for path in notebooks_in(folder)]:
        if absent := lacking(read(path)):
            say(f"{path}: left as it is, as it needs {', '.join(absent)}")
            continue
        say(f"{path}: {'changed' if refresh(path) else 'unchanged'}")
    return 0


def grade_options(parser: ArgumentParser, words: Sequence[str]) -> None:
    parser.add_argument("folder", type=Path, help="the students' notebooks; see docs/teaching.md")
    help = "the notebooks that ask (default: those of the course)"
    parser.add_argument("--notebooks", type=Path, help=help)
    help = "folder of the pages and of grades.csv (default: feedback)"
    parser.add_argument("--out", type=Path, default=Path("feedback"), help=help)
    help = "seconds for one exercise (default: 30)"
    parser.add_argument("--limit", type=float, default=30.0, help=help)


def grade_command(flags: Namespace) -> int:
    """Grade students' notebooks. It runs their code, with your rights, in processes of its own."""
    from .course.grading import grade, table, write_feedback

    if not 0 < flags.limit < float("inf"):
        raise InputError(f"--limit must be a number of seconds above 0, not {flags.limit}")
    require_path(flags.out, "--out")
    graded = grade(flags.folder, flags.notebooks, flags.limit)
    print(table(graded))
    paths = write_feedback(graded, flags.out)
    print(f"{len(paths) - 1} pages of feedback and grades.csv are in {flags.out}")
    return 0


def no_options(parser: ArgumentParser, words: Sequence[str]) -> None:
    """A command without options."""


def links_command(flags: Namespace) -> int:
    """Print where Colab and Binder open each notebook, from the repository's address."""
    from .course import links

    if not (address := links.repository()):
        raise InputError(
            "there is no address yet: write the address of the repository into pyproject.toml, as "
            'repository = "https://github.com/OWNER/NAME" under [tool.numpylm]'
        )
    for path in sorted((links.PROJECT / "notebooks").glob("*.ipynb")):
        print(path.stem)
        for link in links.links(address, f"notebooks/{path.name}").values():
            print(f"    {link}")
    return 0


def book_options(parser: ArgumentParser, words: Sequence[str]) -> None:
    help = "folder (default: book)"
    parser.add_argument("--out", type=Path, default=Path("book"), help=help)


def book_command(flags: Namespace) -> int:
    """Write the book: every formula beside its code, as pages that open without a network."""
    if not in_the_project():
        raise InputError(
            "the book is made of the whole project, with its tests, notebooks and figures, and "
            "only the library is installed here: run this command in a clone of the repository"
        )
    require_path(flags.out, "--out")
    from .book.write import write_book

    pages = write_book(flags.out)
    print(f"{len(pages)} pages; open {flags.out / 'index.html'}")
    return 0


def in_the_project() -> bool:
    """Whether this package lies in a clone: a wheel has no tests, notebooks and figures."""
    root = Path(__file__).parents[1]
    return all((root / name).exists() for name in ("pyproject.toml", "tests", "notebooks"))


OF_THE_PROJECT = {"book", "grade", "links"}  # not offered where only the library is installed

COMMANDS: dict[str, Command] = {
    "figures": (figure_options, figures_command),
    "ladder": (ladder_options, ladder_command),
    "task": (task_options, task_command),
    "induction": (induction_options, induction_command),
    "finetune": (finetune_options, finetune_command),
    "scaling": (scaling_options, scaling_command),
    "reward": (reward_options, reward_command),
    "explain": (explain_options, explain_command),
    "look": (look_options, look_command),
    "bug": (bug_options, bug_command),
    "notebooks": (notebooks_options, notebooks_command),
    "grade": (grade_options, grade_command),
    "links": (no_options, links_command),
    "book": (book_options, book_command),
}
