"""README.md and the pages that it links: commands, code, links, numbers and length are real."""

import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from numpylm.__main__ import parser
from numpylm.checks.mutants import MUTANTS
from numpylm.course.notation import FORMULAS
from numpylm.languages import LANGUAGES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
}
TEXT = "\n".join(PAGES.values())
SHELL = [
    line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()
]
COMMANDS = [
    line.split("-m numpylm ", 1)[1].split("#")[0] for line in SHELL if "-m numpylm " in line
]
AFTERNOON = ["ops", "attention_lm", "gradcheck", "model", "blocks", "gpt", "optim", "training"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_exists(command):
    words = shlex.split(command)
    parser(words).parse_args(words)


def test_every_prompt_is_in_its_language():
    found = re.findall(r'runs/attention-(\w+) --prompt "([^"]+)"', TEXT)
    assert found
    for corpus, prompt in found:
        assert set(prompt.split()) <= set(LANGUAGES[corpus]().symbols)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    links = re.findall(r"\]\(([^)]+)\)", PAGES[page])
    assert links or page != "README.md"
    for link in links:
        path, _, heading = link.partition("#")
        if path.startswith("https://"):
            continue
        target = (ROOT / page).parent / path
        assert target.exists(), link
        if heading:
            heads = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in [head.lower().replace(" ", "-") for head in heads], link


def test_every_page_is_linked_from_the_readme():
    linked = set(re.findall(r"\]\((docs/\w+\.md)\)", README))
    assert linked == {page for page in PAGES if page.startswith("docs/")}


@pytest.mark.parametrize("page", [page for page in PAGES if "```python\n" in PAGES[page]])
def test_every_piece_of_python_runs(page, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pieces = re.findall(r"```python\n(.*?)```", PAGES[page], re.DOTALL)
    names: dict = {}
    for piece in pieces:
        if "runs/" not in piece:  # a run that the reader has and this test has not
            exec(piece.replace("steps=500", "steps=2"), names)
    out = capsys.readouterr().out
    if page == "README.md":
        assert "\nthe " in out or out.startswith("the ")  # the four lines
        assert "WRONG: at dx[1, 1] the code says 0.58559" in out
        assert "cache" in out


# --- what it says of itself ---


def test_the_readme_has_at_most_2000_words():
    assert len(README.split()) <= 2000


def test_the_afternoon_is_eight_files_of_fewer_than_14000_words():
    table = README.split("| | **the afternoon** |")[1].split("| | **")[0]
    assert re.findall(r"\(numpylm/(\w+)\.py\)", table) == AFTERNOON
    words = [
        len((ROOT / f"numpylm/{name}.py").read_text(encoding="utf-8").split()) for name in AFTERNOON
    ]
    assert sum(words) < 14_000


def test_the_number_of_mistakes_is_that_of_the_registry():
    said = re.findall(r"(\d+) mistakes|[Aa]ll (\d+) are seen|the (\d+) mistakes", TEXT)
    assert said and {int(n) for found in said for n in found if n} == {len(MUTANTS)}


@cache
def code_in(folder):
    return {path.name: path.read_text(encoding="utf-8") for path in (ROOT / folder).rglob("*.py")}


@pytest.mark.parametrize("formula", FORMULAS)
def test_the_grep_of_the_readme_finds_a_formula_its_code_and_its_tests(formula):
    (pattern,) = re.findall(r'`grep -rnE "([^"]+)" numpylm tests`', README)
    assert "F20" in pattern and "f20" in pattern
    pattern = re.compile(pattern.replace("20", formula[1:]))

    def found(folder):
        hits = {
            name: [line for line in text.splitlines() if pattern.search(line)]
            for name, text in code_in(folder).items()
            if pattern.search(text)
        }
        return {name: lines for name, lines in hits.items() if lines}

    homes = {name.split(".")[0] + ".py" for name in FORMULAS[formula].names}
    assert homes <= set(found("numpylm"))
    assert any(re.search(r"def test_\w*f\d", x) for hits in found("tests").values() for x in hits)
