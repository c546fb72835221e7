"""Change one operator, constant, argument or name of a file at a time: which do its tests notice?

    python -m tests.mutation metrics sampling      files of numpylm, with the tests that mirror them
    python -m tests.mutation                       every file of the table below, for hours

mutmut does the work, with the settings of pyproject.toml, in a copy of the tree. Each score is
written into MUTATION.md, and the names of the survivors are printed: kill them with a test, or
argue in EQUIVALENT.md. `--show` prints what each survivor changes.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "tests" / "MUTATION.md"

TESTS = {  # by file, where they are not in its twin alone
    "ops": "ops ops_transformer",
    "blocks": "blocks ops_transformer",
    "gpt": "gpt watching",
    "attention_lm": "attention_lm ops",
    "bert_heads": "bert",
    "model": "model gpt",
    "train_config": "training",
    "answers": "metrics",
    "checkpoints": "runs model",
    "gradcheck": "gradcheck gradcheck_styles",
    "checks/contracts": "contracts contract_causality contract_numbers contract_targets",
}
# fmt: off
FILES = [
    "ops",
    "attention_lm",
    "blocks",
    "gpt",
    "bert",
    "bert_heads",
    "transformer",
    "llama",
    "llama_blocks",
    "blockwise_attention",
    "watching",
    "optim",
    "arrays",
    "arguments",
    "model",
    "gradcheck",
    "training",
    "train_config",
    "runs",
    "batches",
    "metrics",
    "sampling",
    "translate",
    "corpora",
    "encodings",
    "languages",
    "tokenizers",
    "unicode_text",
    "answers",
    "config",
    "checkpoints",
    "log_files",
    "parallel",
    "processes",
    "huggingface",
    "gguf_files",
    "sentence_embeddings",
    "checks/contracts",
]
# fmt: on


def tests_of(name: str) -> list[str]:
    """The test files of a module of numpylm."""
    return [f"tests/test_{twin}.py" for twin in TESTS.get(name, Path(name).name).split()]


def settings(text: str, name: str, tests: list[str]) -> str:
    """pyproject.toml, with one file to mutate and its tests alone."""
    chosen = {"only_mutate": [f"numpylm/{name}.py"], "pytest_add_cli_args_test_selection": tests}
    for key, value in chosen.items():
        rest = '"-k", "not pytorch and not gpt_2_computes", ' if key.startswith("pytest") else ""
        text, found = re.subn(
            rf"^{key} = \[.*?^\]",
            f"{key} = [{rest}{json.dumps(value)[1:]}",
            text,
            flags=re.M | re.S,
        )
        if found != 1:
            raise SystemExit(f"pyproject.toml has no setting {key} of mutmut")
    return text


def run(name: str, children: int, show: bool) -> dict[str, list[str]]:
    """By state ("killed", "survived", ...), the mutants of one file."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        hidden = shutil.ignore_patterns(".*", "runs", "mutants", "*.egg-info", "__pycache__")
        shutil.copytree(ROOT, tree, ignore=hidden)
        project = tree / "pyproject.toml"
        text = settings(project.read_text(encoding="utf-8"), name, tests_of(name))
        project.write_text(text, encoding="utf-8")
        mutmut = [sys.executable, "-m", "mutmut"]
        subprocess.run([*mutmut, "run", "--max-children", str(children)], cwd=tree, check=False)
        said = subprocess.run(
            [*mutmut, "results", "--all", "true"],
            cwd=tree,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        found = states(said)
        if show:
            for mutant in survivors(found):
                subprocess.run([*mutmut, "show", mutant], cwd=tree, check=False)
    return found


def states(said: str) -> dict[str, list[str]]:
    """What `mutmut results --all true` says, by state."""
    found: dict[str, list[str]] = {}
    for mutant, state in re.findall(r"^\s*(numpylm\.\S+): (.+?)\s*$", said, flags=re.M):
        found.setdefault(state, []).append(mutant)
    return found


KILLED = ("killed", "timeout", "segfault", "caught by type check")


def survivors(found: dict[str, list[str]]) -> list[str]:
    """Those that no test killed: also those that no test runs."""
    return [m for state, names in found.items() if state not in KILLED for m in names]


def row(name: str, found: dict[str, list[str]], when: date) -> str:
    """A line of the page."""
    total, alive = sum(map(len, found.values())), len(survivors(found))
    tests = ", ".join(Path(test).name for test in tests_of(name))
    share = f"{100 * (total - alive) / total:.1f} %" if total else "none"
    return f"| `{name}.py` | {total:,} | {total - alive:,} | {share} | {tests} | {when} |"


def with_row(page: str, name: str, line: str) -> str:
    """The page with the file's line in the place of the one before, or at the end."""
    lines = [old for old in page.splitlines() if not old.startswith(f"| `{name}.py` |")]
    lines = [old for old in lines if old.strip() != f"- `{name}.py`"]  # not run, so far
    last = max(i for i, old in enumerate(lines) if old.startswith("|"))
    return "\n".join([*lines[: last + 1], line, *lines[last + 1 :]]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("files", nargs="*", default=FILES, help="as metrics or checks/contracts")
    parser.add_argument("--children", type=int, default=2, help="processes")
    parser.add_argument("--show", action="store_true", help="print what each survivor changes")
    options = parser.parse_args()
    for name in options.files:
        if not (ROOT / "numpylm" / f"{name}.py").exists():
            parser.error(f"there is no numpylm/{name}.py")
    for name in options.files:
        found = run(name, options.children, options.show)
        if not found or "not checked" in found:
            raise SystemExit(f"{name}: no score; its tests may fail or last too long as they are")
        line = row(name, found, date.today())
        PAGE.write_text(with_row(PAGE.read_text(encoding="utf-8"), name, line), encoding="utf-8")
        print(line, *survivors(found), sep="\n", flush=True)


if __name__ == "__main__":
    main()
