"""tests/mutation.py: what mutmut is told, and what is read out of its answer."""

import tomllib
from datetime import date
from pathlib import Path

import pytest

from tests import mutation

ROOT = Path(__file__).parents[1]
SAID = """
    numpylm.metrics.x_bleu__mutmut_1: killed
    numpylm.metrics.x_bleu__mutmut_2: survived
    numpylm.metrics.x_bleu__mutmut_3: timeout
    numpylm.metrics.x_bleu__mutmut_4: no tests
"""


def test_one_file_is_mutated_and_its_tests_alone_are_asked():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    changed = mutation.settings(text, "metrics", mutation.tests_of("metrics"))
    told = tomllib.loads(changed)["tool"]["mutmut"]
    assert told["only_mutate"] == ["numpylm/metrics.py"]
    assert told["pytest_add_cli_args_test_selection"][-1] == "tests/test_metrics.py"
    others = {k: v for k, v in tomllib.loads(text).items() if k != "tool"}
    assert others == {k: v for k, v in tomllib.loads(changed).items() if k != "tool"}
    with pytest.raises(SystemExit, match="only_mutate"):
        mutation.settings("[tool.mutmut]\n", "metrics", [])


def test_every_file_that_is_named_exists_and_has_tests():
    for name in mutation.FILES:
        assert (ROOT / "numpylm" / f"{name}.py").exists()
        assert all((ROOT / test).exists() for test in mutation.tests_of(name)), name


def test_what_no_test_runs_is_not_killed():
    found = mutation.states(SAID)
    assert [m[-1] for m in mutation.survivors(found)] == ["2", "4"]
    line = mutation.row("metrics", found, date(2030, 1, 2))
    assert line == "| `metrics.py` | 4 | 2 | 50.0 % | test_metrics.py | 2030-01-02 |"


def test_a_score_takes_the_place_of_the_one_before_and_of_the_note_that_there_is_none():
    page = "| file |\n|---|\n| `a.py` | old |\n\nNot run so far:\n\n- `b.py`\n- `c.py`\n"
    page = mutation.with_row(page, "a", "| `a.py` | new |")
    page = mutation.with_row(page, "b", "| `b.py` | first |")
    assert page.index("`a.py` | new") < page.index("`b.py` | first") < page.index("Not run")
    assert "old" not in page and "- `b.py`" not in page and "- `c.py`" in page


def test_the_page_names_every_file_once_run_or_not():
    page = mutation.PAGE.read_text(encoding="utf-8")
    for name in mutation.FILES:
        rows = page.count(f"| `{name}.py` |") + page.count(f"- `{name}.py`\n")
        assert rows == 1, name
