"""Students' notebooks, as they are handed in: each a row, whatever is in it."""

import ast
import json
import shutil
from pathlib import Path

import pytest

from numpylm.__main__ import main
from numpylm.course import grading
from numpylm.course.grading import Graded, feedback, grade, submissions, table, write_feedback
from numpylm.course.grading_worker import asked_in, code_of, needed_for, statements
from numpylm.course.notebook_files import SOLUTIONS
from numpylm.errors import InputError

ROOT = Path(__file__).parents[1]
COURSE = """
from numpylm.course.exercises import Case, check, check_backward
TWICE = [Case((2,), 4), Case((3,), 6)]
SUM = [Case((1, 2), 3), Case((5, 5), 10)]
"""
RIGHT = "def my_twice(x):\n    return 2 * x", "def my_sum(a, b):\n    return a + b"
CHECKS = "check(my_twice, TWICE)", "check(my_sum, SUM)"


def notebook(path, *cells):
    path.parent.mkdir(parents=True, exist_ok=True)
    code = [{"cell_type": "code", "source": cell, "outputs": []} for cell in cells]
    path.write_text(json.dumps({"cells": code}), encoding="utf-8")


@pytest.fixture(scope="module")
def asking(tmp_path_factory):
    folder = tmp_path_factory.mktemp("course")
    blanks = "def my_twice(x):\n    ...", "def my_sum(a, b):\n    ..."
    notebook(folder / "01_small.ipynb", COURSE, *blanks, *CHECKS)
    return folder


LOOP, FLOOD = "    while True: pass", "    print('x' * 10**7)\n    return a + b"
HANDED_IN = {  # cells, and what is said of my_twice and my_sum
    "right": ([*RIGHT], "right", "right"),
    "slips": (["def my_twice(x):\n    ...", "def my_sum(a, b): return a"],
              "not written yet", "wrong"),
    "stuck": ([f"def my_twice(x):\n{LOOP}", f"def my_sum(a, b):\n{FLOOD}"], "wrong", "right"),
    "ends": (["import os, sys\ndef my_twice(x):\n    sys.exit(0)",
              "def my_sum(a, b): os._exit(7)"], "wrong", "wrong"),
    "own": (["def double(x):\n    return 2 * x\ncheck(double, TWICE)",
             "%matplotlib inline\nminus = -1", "def helper(b):\n    return minus * b",
             "while True: pass", "def my_sum(a, b):\n    return a - helper(b)"],
            "right", "right"),
    "typo": (["def my_twice(x):\n    return 2 *"], "missing", "missing"),
    "cheats": (["def check(*a):\n    return 'right'\nTWICE = []\ndef my_twice(x):\n    return 0",
                RIGHT[1]], "wrong", "right"),
}  # fmt: skip


@pytest.fixture(scope="module")
def graded(asking, tmp_path_factory):
    folder = tmp_path_factory.mktemp("class")
    for student, (cells, *_) in HANDED_IN.items():
        notebook(folder / "submitted" / student / "01_small" / "answers.ipynb", *cells)
    broken = folder / "submitted" / "broken" / "01_small" / "answers.ipynb"
    broken.parent.mkdir(parents=True)
    broken.write_text('{"cells": [', encoding="utf-8")
    notebook(folder / "submitted" / "empty" / "01_small" / "answers.ipynb")
    return {one.student: one for one in grade(folder, asking, limit=0.5)}


@pytest.mark.parametrize("student", HANDED_IN)
def test_whatever_is_handed_in_is_a_row(graded, student):
    states = [answer.state for answer in graded[student].answers]
    assert states == list(HANDED_IN[student][1:])


def test_feedback_says_what_happened(graded):
    said = {student: one.answers[0].says for student, one in graded.items()}
    assert "did not end within 0.5 seconds" in said["stuck"]
    assert "SystemExit" in said["ends"]
    assert "ended the process" in graded["ends"].answers[1].says
    assert "my_twice is no Python" in said["typo"]
    assert "no function my_sum" in graded["typo"].answers[1].says
    assert "no notebook" in said["broken"] and "no function" in said["empty"]
    assert "for a = 1, b = 2" in graded["slips"].answers[1].says
    page = feedback("slips", [graded["slips"]])
    assert page.startswith("# slips\n\n0/2 exercises are right.") and "for a = 1, b = 2" in page


def test_the_table_has_a_row_for_each_student_and_the_pages_too(graded, tmp_path):
    rows = [row.split() for row in table([*graded.values()]).splitlines()]
    assert rows[0] == ["student", "01", "right"]
    assert ["broken", "0/2", "0/2"] in rows and ["right", "2/2", "2/2"] in rows
    assert len(rows) == len(HANDED_IN) + 3
    paths = write_feedback([*graded.values()], tmp_path)
    assert {path.stem for path in paths} == {*HANDED_IN, "broken", "empty", "grades"}
    lines = (tmp_path / "grades.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + 2 * len(graded) and "right,01_small,my_sum,right" in lines


def test_two_students_never_share_a_page_and_no_name_is_a_formula(tmp_path):
    names = "a b", "a_b", "=cmd()", "../up"
    paths = write_feedback([Graded(name, "x", Path("x.ipynb")) for name in names], tmp_path)
    assert len(set(paths)) == 5 and all(path.parent == tmp_path for path in paths)
    assert "\n'=cmd(),x,,unreadable\n" in (tmp_path / "grades.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "student", "assignment"),
    [
        ("submitted/ana/03_backward/notebook.ipynb", "ana", "03_backward"),
        ("ana/notebook.ipynb", "ana", ""),
        ("ana/03_backward.ipynb", "ana", "03_backward"),
        ("ana_03_backward.ipynb", "ana", "03_backward"),
        ("03_Backward-ana.ipynb", "ana", "03_backward"),
        ("ana/03.ipynb", "ana", "03_backward"),
        ("ana.ipynb", "ana", ""),
    ],
)
def test_student_and_assignment_are_read_from_the_path(tmp_path, file, student, assignment):
    notebook(tmp_path / file)
    notebook(tmp_path / Path(file).parent / ".ipynb_checkpoints" / "old.ipynb")
    names = ["01_predict_the_next_word", "03_backward", "13_other"]
    assert submissions(tmp_path, names) == [(student, assignment, tmp_path / file)]


def test_a_file_that_is_called_after_nothing_is_known_by_its_functions(asking, tmp_path):
    notebook(tmp_path / "homework.ipynb", "def my_sum(a, b):\n    return a - b")
    notebook(tmp_path / "poem.ipynb", "x = 1")
    homework, poem = grade(tmp_path, asking)
    assert homework.assignment == "01_small"
    assert [answer.state for answer in homework.answers] == ["missing", "wrong"]
    assert "none of the course's functions" in poem.problem and not poem.answers


def test_only_what_a_function_needs_is_run():
    cells = [
        "import os",
        "a = 1",
        "a = a + 1",
        "b = train()",
        "c = [a]",
        "c[0] = 5",
        "def f(): return c",
    ]
    needed = needed_for("f", list(statements(cells)))
    assert [statement.lineno for statement in needed] == [1] * 5
    assert needed[-1].name == "f"


def test_a_call_that_changes_what_is_needed_is_run_and_a_check_is_not():
    cells = [
        "import numpy as np",
        "t = np.zeros(3)",
        "np.add.at(t, [1], 2)",
        "check(t, 3)",
        "show(u)",
    ]
    assert [ast.unparse(statement) for statement in needed_for("t", list(statements(cells)))] == (
        cells[:3]
    )


def test_magic_is_left_out_and_other_languages_too(tmp_path):
    notebook(
        tmp_path / "n.ipynb", "%matplotlib inline\nx = 1", "%%bash\nrm x", "%%time\ny = 2", "!ls"
    )
    assert code_of(tmp_path / "n.ipynb") == ["\nx = 1", "", "\ny = 2", ""]


def test_exercises_are_the_calls_of_a_checker():
    cells = ["check(my_a, A)", "lines.check('dz', my_dz)", "print(check, 1)", "check(3, 'A')"]
    a, dz = asked_in(cells)
    assert (a.name, a.about, dz.name, dz.about) == (
        "my_a", "check(_, A)", "my_dz", "lines.check('dz', _)",
    )  # fmt: skip


def test_a_line_of_a_staged_exercise_is_graded_by_its_value(tmp_path):
    """And each needs the lines before it, as in the course's notebook."""
    values = (
        "from types import SimpleNamespace as Verdict\nclass Lines:\n"
        "    def check(self, name, x):\n        return Verdict(state=['wrong', 'right'][x == 3], "
        "says=name)\nlines = Lines()\na = 1"
    )
    checks = "lines.check('b', my_b)", "lines.check('c', my_c)"
    notebook(tmp_path / "course" / "02_lines.ipynb", values, "my_b = my_c = ...", *checks)
    notebook(
        tmp_path / "ana" / "02_lines.ipynb", values, "my_b = a + 2", "my_c = my_b + 1", *checks
    )
    (one,) = [g for g in grade(tmp_path, tmp_path / "course") if g.student == "ana"]
    assert [(answer.name, answer.state) for answer in one.answers] == [
        ("my_b", "right"), ("my_c", "wrong"),
    ]  # fmt: skip


def test_folders_without_notebooks_are_refused(tmp_path, asking):
    with pytest.raises(InputError, match="there are no notebooks in"):
        grade(tmp_path, asking)
    with pytest.raises(InputError, match="there is no folder"):
        grade(tmp_path / "none", asking)
    with pytest.raises(InputError, match=r"no notebook in .* has an exercise"):
        grade(tmp_path, tmp_path)


def test_the_command_prints_the_table_and_says_where_the_pages_are(monkeypatch, tmp_path, capsys):
    done = [Graded("ana", "01", Path("n.ipynb"), [grading.Answer("my_a", "right")])]
    monkeypatch.setattr(grading, "grade", lambda folder, notebooks, limit: done)
    assert main(["grade", "there", "--out", str(tmp_path / "pages")]) == 0
    out = capsys.readouterr().out
    assert "ana      1/1  1/1" in out and "1 pages of feedback and grades.csv" in out
    assert main(["grade", "there", "--limit", "0"]) == 2
    assert "--limit must be a number of seconds above 0" in capsys.readouterr().err


@pytest.mark.notebooks
def test_every_solution_is_right_and_no_blank_is(tmp_path):
    solved, blank = grade(ROOT / SOLUTIONS, limit=120), grade(ROOT / "notebooks", limit=120)
    for all_of, state in ((solved, "right"), (blank, "not written yet")):
        assert not [a for one in all_of for a in one.answers if a.state != state]
    assert {one.student for one in solved} == {"solutions"}
    asked = sum(len(one.answers) for one in blank)
    assert asked == sum(len(one.answers) for one in solved) > 40


@pytest.mark.notebooks
def test_solutions_in_the_manner_of_nbgrader_are_graded_too(tmp_path):
    name = "01_predict_the_next_word"
    to = tmp_path / "submitted" / "ana" / name / "notebook.ipynb"
    to.parent.mkdir(parents=True)
    shutil.copy(ROOT / SOLUTIONS / f"{name}.ipynb", to)
    (one,) = grade(tmp_path)
    assert (one.student, one.right) == ("ana", len(one.answers))
