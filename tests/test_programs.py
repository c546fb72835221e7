"""post/programs.py: the language is decided, no specification leaks, and a stopped run goes on."""

import numpy as np
import pytest

from numpylm.__main__ import main
from numpylm.errors import InputError
from numpylm.post.programs import (
    IDS,
    STAGES,
    Assistant,
    AssistantConfig,
    encode,
    everything,
    pass_rate,
    passes,
    run_program,
    split,
    value_of_specification,
)

FEW = {"labelled": 8, "heldout": 20, "pretrain_steps": 3, "finetune_steps": 2, "reward_steps": 4}
SMALL = AssistantConfig(**FEW, width=8, layers=1, group=2, prompts=3)


@pytest.mark.parametrize(
    ("program", "value"),
    [
        ("3+(5*2).", 13),
        ("(3+5)*2.", 16),
        ("3+5*2.", 13),
        ("9-4-3.", 2),
        ("((7)).", 7),
        ("3+5", None),
        ("3+.", None),
        ("(3+5.", None),
        ("35.", None),
        (")3.", None),
        (".", None),
        ("3+5)*2.", None),
    ],
)
def test_a_program_runs_or_does_not(program, value):
    assert run_program(program) == value


def test_every_specification_has_a_program_that_passes():
    pairs = everything()
    assert len(pairs) == len({one for one, _ in pairs}) == 18_000
    for one, other in pairs[::97]:
        prompt, program = np.array(encode(one)), np.array(encode(other))
        assert run_program(other) == value_of_specification(one) and passes(prompt, program)
    assert not passes(np.array(encode("352*+=")), np.array(encode("3+5.")))


def test_no_specification_is_in_two_parts():
    data = split(50, 100, 3)
    parts = [data.pairs[:, :6], data.prompts, data.heldout]
    together = np.concatenate(parts)
    assert len(np.unique(together, axis=0)) == len(together) == 18_000
    assert {tuple(row) for row in data.text[:, :6]} == {tuple(row) for row in data.prompts}


def test_f36_a_stopped_assistant_ends_as_one_that_was_not(tmp_path):
    ends = []
    for folder, stop in ((tmp_path / "whole", 0), (tmp_path / "stopped", 2)):
        assistant = Assistant(folder, SMALL)
        for stage in STAGES:
            run = assistant.run(stage)
            if stop and stage == "reward":
                for _ in range(stop):
                    run.step()
                run.save()
                assistant = Assistant(folder)
                run = assistant.run(stage)
                assert run.steps_done == stop
            assert run.train(progress=False)
        ends.append(assistant.model("reward").params.flat)
    assert (ends[0] == ends[1]).all()


def test_the_command_runs_and_resumes(tmp_path, capsys):
    flags = [f"--{name.replace('_', '-')}={n}" for name, n in FEW.items()]
    flags += ["--width=8", "--layers=1", "--group=2", "--prompts=2"]
    assert main(["reward", "--out", str(tmp_path / "a"), *flags]) == 0
    said = capsys.readouterr().out
    assert [line.split()[0] for line in said.splitlines()] == [*STAGES]
    assert main(["reward", "--resume", str(tmp_path / "a")]) == 0
    assert "held out run and are right" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--group", "1"], "a group of one text has no baseline"),
        (["--labelled", "18000"], "must leave some of 18000"),
        (["--width", "10"], "heads"),
        (["--resume", "nowhere"], "holds no assistant to go on with"),
        (["--resume", "nowhere", "--group", "4"], "leave out --group"),
        (["--beta", "-1"], "beta must be at least 0"),
    ],
)
def test_what_is_refused_is_one_line(words, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["reward", *words]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
    assert not [*tmp_path.rglob("*.safetensors")]


def test_a_specification_that_is_none_is_refused():
    for text, says in (("35+2", "leaves 2 numbers"), ("+", "stops at"), ("3a", "stops at 'a'")):
        with pytest.raises(InputError, match=says):
            value_of_specification(text)
    with pytest.raises(InputError, match="'x' is no symbol"):
        encode("3x")
    assert set(IDS.values()) == set(range(17))
    assert pass_rate(Assistant.blank(SMALL), split(8, 20, 0).heldout, np.random.default_rng(0)) >= 0
