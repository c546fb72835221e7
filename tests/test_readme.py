"""The README's commands, code and links are real."""

import re
import shlex
from pathlib import Path

import pytest

from numpylm.__main__ import parser
from numpylm.languages import LANGUAGES

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = [
    line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()
]
COMMANDS = [
    line.split("-m numpylm ", 1)[1].split("#")[0] for line in SHELL if "-m numpylm " in line
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_readme_exists(command):
    words = shlex.split(command)
    parser(words).parse_args(words)


def test_every_prompt_of_the_readme_is_in_its_language():
    found = re.findall(r'runs/attention-(\w+) --prompt "([^"]+)"', TEXT)
    assert found
    for corpus, prompt in found:
        assert set(prompt.split()) <= set(LANGUAGES[corpus]().symbols)


def test_every_link_of_the_readme_leads_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert len(links) > 30
    for link in links:
        assert (ROOT / link).exists(), link


def test_every_piece_of_python_in_the_readme_runs(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pieces = [p for p in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL) if "runs/" not in p]
    names: dict = {}
    for piece in pieces:
        exec(piece, names)
    out = capsys.readouterr().out
    assert "WRONG: at dx[0, 2] the code says 0.41014" in out
    assert "cache" in out
