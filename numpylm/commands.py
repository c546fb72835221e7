"""The commands for models and gradients: for each, the options it has and what it does.

Nothing is imported before the command that needs it is asked for, so that `--help` is quick.
course_commands.py has those of the course, the tasks and the book.
"""

import shlex
import sys
from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InputError
from .terminals import say, tell
from .unicode_text import printable

if TYPE_CHECKING:
    from .parallel import Team
    from .tokenizers import Tokenizer

Options = Callable[[ArgumentParser, Sequence[str]], None]
Command = tuple[Options, Callable[[Namespace], int]]

RENAMED = {"section-5": "listing", "section-4": "one-matrix"}  # a recipe, a rung

# ---- train, evaluate, generate -----------------------------------------------------------------


def train_options(parser: ArgumentParser, words: Sequence[str]) -> None:
    """The options and their defaults depend on the recipe, so its name is read first."""
    from .config import add_flags
    from .recipes import RECIPES

    which = ArgumentParser(add_help=False, allow_abbrev=False)
    which.add_argument("--model", default="attention")
    asked = which.parse_known_args(words)[0].model
    chosen = todays_names(asked)
    parser.add_argument(
        "--model",
        type=lambda name: RENAMED.get(name, name),
        choices=tuple(RECIPES),
        default=SUPPRESS,
        help="what to train, and from which defaults; with --help, its options "
        "(default: attention)",
    )
    for config in RECIPES.get(chosen, RECIPES["attention"])[1:]:
        add_flags(parser, config)
    parser.set_defaults(chosen=chosen)
    parser.add_argument("--out", type=Path, help="folder of the run (default: a new one in runs/)")
    parser.add_argument(
        "--resume", type=Path, metavar="RUN", help="continue the run in this folder"
    )
    help = "share every batch among the processes that mpiexec has started"
    parser.add_argument("--distributed", action="store_true", help=help)


def todays_names(names: str) -> str:
    """Names, with commas, as they are today; of each old one a word is said on standard error."""
    for old in set(names.split(",")) & set(RENAMED):
        print(f"numpylm: {old} is now called {RENAMED[old]}", file=sys.stderr)
    return ",".join(RENAMED.get(name, name) for name in names.split(","))


def train_command(flags: Namespace) -> int:
    """Train a model on a corpus, or continue a run that was stopped."""
    from .parallel import ALONE, Team, started_by_mpiexec

    if not flags.distributed and (n := started_by_mpiexec()) > 1:
        raise InputError(
            f"mpiexec has started {n} processes, and each would train the same run: add "
            "--distributed, or start one without mpiexec"
        )
    with Team.over_mpi() if flags.distributed else ALONE as team:
        return _train(flags, team)


def _train(flags: Namespace, team: "Team") -> int:
    from .config import from_flags
    from .recipes import RECIPES
    from .reports import introduction, summary
    from .runs import Run

    require_path(flags.out, "--out")
    if flags.resume:
        run = Run.resume(flags.resume, _only_steps(vars(flags)), team)
    else:
        require_text(flags)
        recipe = RECIPES[flags.chosen]
        model_config = from_flags(recipe.model, vars(flags))
        corpus_config = from_flags(recipe.corpus, vars(flags))
        config = from_flags(recipe.train, vars(flags))
        text = Path(corpus_config.text).stem or corpus_config.corpus
        folder = flags.out or free_folder(Path("runs") / f"{flags.chosen}-{text}")
        run = Run.from_configs(folder, recipe.kind, model_config, corpus_config, config, team=team)
    if not team.leads:
        return 0 if run.train() else 130
    say(introduction(run))
    to_go_on = f"    python -m numpylm train --resume {printable(shlex.quote(str(run.folder)))}"
    try:
        finished = run.train()
    except KeyboardInterrupt:
        say(f"interrupted; the last checkpoint is whole. To go on from it:\n{to_go_on}")
        return 130
    if not finished:
        say(f"stopped after step {run.steps_done}, which is saved. To go on:\n{to_go_on}")
        return 130
    from .figures import draw_run  # matplotlib, which is only imported to draw

    told = summary(run)
    pictures = ", ".join(path.name for path in draw_run(run))
    print(told)
    print("pictures ", pictures)
    return 0


def require_path(path: Path | None, flag: str) -> None:
    """InputError for a path that is empty, which Python takes for the current folder."""
    if path is not None and path == Path():
        raise InputError(f"{flag} is the current folder: name a folder of its own")


def require_text(flags: Namespace) -> None:
    """InputError for a text without a name, and for two corpora at once."""
    if "text" in flags and not flags.text:
        raise InputError("--text is empty: name a file, or leave it out")
    if "text" in flags and "corpus" in flags:
        raise InputError("--text and --corpus are two corpora: leave out one of them")


def _only_steps(flags: dict[str, Any]) -> int | None:
    """--resume takes everything from the checkpoint; only --steps may be given with it."""
    extra = set(flags) - {"run_command", "chosen", "out", "resume", "distributed", "steps"}
    if extra or flags["out"]:
        name = sorted(extra)[0].replace("_", "-") if extra else "out"
        raise InputError(f"--resume continues a run with its own settings: leave out --{name}")
    return flags.get("steps")


def free_folder(path: Path) -> Path:
    """`path`, or the first of path-2, path-3, ... that is not there yet."""
    numbered = (path.with_name(f"{path.name}-{n}") for n in count(2))
    return path if not path.exists() else next(p for p in numbered if not p.exists())


def evaluate_options(parser: ArgumentParser, words: Sequence[str]) -> None:
    from .config import add_flags
    from .corpora import CorpusConfig

    add_flags(parser, CorpusConfig())
    parser.add_argument("run", type=Path, help="the folder of a run, or its checkpoint")


def evaluate_command(flags: Namespace) -> int:
    """Measure a trained model on a corpus: the one it was trained on, unless another is named."""
    from .batches import sweep
    from .config import from_flags
    from .corpora import TEXTS, CorpusConfig, landmarks, load_corpus
    from .metrics import evaluate
    from .reports import verdict
    from .trained import load_trained

    require_text(flags)
    model, tokenizer, _, about = load_trained(flags.run)
    trained_on = CorpusConfig.from_dict(about["corpus"] or {})
    if "corpus" in flags:
        trained_on = replace(trained_on, text="")  # or the text would hide the corpus named now
    config = from_flags(trained_on, vars(flags))
    _refuse_unused(vars(flags), bool(config.text) or config.corpus in TEXTS)
    T = model.config.context_length
    corpus = load_corpus(config, T, tokenizer)
    if about["corpus"] is None and not {"text", "corpus"} & set(vars(flags)):
        raise InputError(f"{flags.run} was trained on a corpus of its own: name one with --text")
    if config == trained_on and corpus.digest != about["corpus_digest"]:
        raise InputError(
            f"the corpus {corpus.name} is not the one that {flags.run} was trained on: restore it, "
            "or name what to evaluate on with --text or --corpus"
        )
    print("\n    ".join([corpus.describe(), *corpus.unknown_notes()]))
    for part, ids in (("held-out", corpus.heldout), ("training", corpus.train)):
        print("   ", verdict(evaluate(model, sweep(ids, 64, T)), corpus, part))
    for what, nats in landmarks(corpus).items():
        print(f"    {nats:.4f} nats  {what}")
    return 0


def _refuse_unused(flags: dict[str, Any], is_text: bool) -> None:
    """InputError for an option of a corpus that would change nothing here."""
    unused = {
        **dict.fromkeys(("tokenizer", "max_vocab", "min_count"), "the model's tokenizer is used"),
        **dict.fromkeys(
            ("sentences", "heldout_sentences", "data_seed") if is_text else (),
            "a text has no sentences that are drawn",
        ),
    }
    for name in unused.keys() & flags.keys():
        flag = f"--{name.replace('_', '-')}"
        raise InputError(f"{flag} changes nothing: {unused[name]}; leave it out")


def generate_options(parser: ArgumentParser, words: Sequence[str]) -> None:
    from .config import add_flags
    from .sampling import GenerateConfig

    add_flags(parser, GenerateConfig())
    parser.add_argument("run", type=Path, nargs="?", help="the folder of a run, or its checkpoint")
    help = "in place of a run, a model of others: smollm2, a folder of transformers, or a GGUF file"
    parser.add_argument("--pretrained", metavar="NAME", help=help)
    help = "the prompt is a question: it is put into the template that a pretrained model has"
    parser.add_argument("--chat", action="store_true", help=help)
    parser.add_argument("--prompt", required=True, help="the text to continue")
    parser.add_argument("--probabilities", action="store_true", help="show p of each new token")
    help = "list the N likeliest next tokens only"
    parser.add_argument("--next", type=int, metavar="N", help=help)


def generate_command(flags: Namespace) -> int:
    """Continue a text with a trained model, or list what may follow it."""
    import numpy as np

    from .config import from_flags
    from .sampling import GenerateConfig, next_probabilities, stream_ids

    if flags.next is not None and flags.next < 1:
        raise InputError(f"--next must be at least 1, not {flags.next}")
    if (flags.run is None) == (flags.pretrained is None):
        raise InputError("name one model: the folder of a run, or --pretrained NAME")
    if flags.chat and flags.pretrained is None:
        raise InputError("--chat needs --pretrained: runs have no template of a conversation")
    config = from_flags(GenerateConfig(), vars(flags))
    model, tokenizer, prompt, begin, ends = _to_continue(flags, config.tokens)
    if flags.next:
        p = next_probabilities(model.next_logits(prompt[-model.config.context_length :]))
        likeliest = np.argsort(-p, kind="stable")[: flags.next]
        _print_probabilities(tokenizer, likeliest, p[likeliest])
        return 0
    drawn: list[tuple[int, float]] = []
    steps = stream_ids(model, prompt, config, np.random.default_rng(config.seed))
    _write(tokenizer, prompt, begin, _until(steps, ends, drawn))
    if flags.probabilities:
        _print_probabilities(tokenizer, *zip(*drawn, strict=True) if drawn else ((), ()))
    return 0


def _to_continue(flags: Namespace, tokens: int) -> tuple[Any, Any, Any, int, tuple[int, ...]]:
    """Model, tokenizer, ids of the prompt, how many of them are not shown, ids that end a text."""
    if flags.pretrained is None:
        from .trained import load_trained

        model, tokenizer, _, _ = load_trained(flags.run)
        if tokenizer is None:
            raise InputError(f"{flags.run} was trained without a tokenizer of this library")
        return model, tokenizer, _prompt_ids(tokenizer, flags.prompt), 0, ()
    from .pretrained import announcement, load_pretrained

    if not flags.prompt:
        raise InputError("--prompt is empty: give a text to continue")
    longest = len(flags.prompt.split()) + tokens

    def before(kind: type, config: Any) -> None:
        tell(announcement(kind, config, longest))

    text = load_pretrained(flags.pretrained, before)
    if flags.chat:
        asked = text.chat_ids(flags.prompt)
        return text.model, text.tokenizer, asked, len(asked), text.end_ids
    ids = [*text.begin_ids, *_prompt_ids(text.tokenizer, flags.prompt)]
    return text.model, text.tokenizer, ids, len(text.begin_ids), text.end_ids


def _until(
    steps: Iterable[tuple[int, float]], ends: Sequence[int], drawn: list[tuple[int, float]]
) -> Iterator[int]:
    """The ids up to one that ends a text; what was drawn is kept in `drawn`."""
    for w, p in steps:
        if w in ends:
            return
        drawn.append((w, p))
        yield w


def _write(tokenizer: Any, prompt: Any, begin: int, ids: Iterator[int]) -> None:
    """Print a prompt without its first `begin` ids and what follows: in a terminal, as it comes."""
    from .sampling import text_pieces

    shown = [int(i) for i in prompt[begin:]]
    if not sys.stdout.isatty():
        print(printable(tokenizer.decode([*shown, *ids])))
        return
    for piece in chain([tokenizer.decode(shown)], text_pieces(tokenizer, prompt, ids)):
        print(printable(piece), end="", flush=True)
    print()


def _prompt_ids(tokenizer: "Tokenizer", typed: str) -> Any:
    """The ids (n,) of a prompt; what the vocabulary cannot represent is said."""
    from .tokenizers import prompt_text

    # where the terminal's encoding is ASCII, Python hands over what it cannot read byte by byte
    typed = typed.encode(errors="surrogateescape").decode(errors="surrogateescape")
    text = prompt_text(tokenizer, typed)
    ids = tokenizer.encode(text)
    if not len(ids):
        raise InputError(
            f"--prompt is empty: give a text to continue, like {tokenizer.symbols[-1]!r}"
        )
    if missing := [*dict.fromkeys(tokenizer.missing(text))]:
        named = ", ".join(map(repr, missing[:9])) + (", ..." if len(missing) > 9 else "")
        note = f"numpylm: not in the model's vocabulary, read as {tokenizer.unknown}: {named}"
        print(note, file=sys.stderr)
    return ids


def _print_probabilities(tokenizer: "Tokenizer", ids: Any, probabilities: Any) -> None:
    for w, p in zip(ids, probabilities, strict=True):
        print(f"{p:8.4f}  {tokenizer.decode([w])!r}")


# ---- gradcheck ---------------------------------------------------------------------------------


def gradcheck_options(parser: ArgumentParser, words: Sequence[str]) -> None:
    help = "check the checks: which of them see which mistakes; drawn into --out"
    parser.add_argument("--mutants", action="store_true", help=help)
    figure_options(parser, words)


def gradcheck_command(flags: Namespace) -> int:
    """Compare every gradient of the library with numerical ones; exit with 1 if any is wrong."""
    from .checks.gradient_cases import check_everything
    from .gradient_verdicts import Report

    if flags.mutants:
        return _mutants(flags.out)
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
    from .checks.oracles import closing, heading, kill_matrix
    from .course.course_figures import kill_matrix as draw_kill_matrix
    from .figures import drawing_folder, save_figures

    require_path(folder, "--out")
    drawing_folder(folder)
    print(heading())
    rows = []
    for row in kill_matrix():
        rows.append(row)
        print(row, flush=True)
    print(closing(rows))
    print(*save_figures({"kill_matrix": draw_kill_matrix(rows)}, folder))
    return 0 if all(row.killers for row in rows) else 1


def figure_options(parser: ArgumentParser, words: Sequence[str]) -> None:
    help = "folder of the figure (default: figures)"
    parser.add_argument("--out", type=Path, default=Path("figures"), help=help)


COMMANDS: dict[str, Command] = {
    "train": (train_options, train_command),
    "evaluate": (evaluate_options, evaluate_command),
    "generate": (generate_options, generate_command),
    "gradcheck": (gradcheck_options, gradcheck_command),
}
