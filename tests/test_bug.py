"""course/bug.py: the same for everyone, true in what it shows, and gone when it is over."""

import io
import re

import numpy as np
import pytest

from numpylm.__main__ import main
from numpylm.checks.mutants import MUTANTS
from numpylm.checks.mutation import find
from numpylm.course import bug_levels, bug_reasons, bug_symptoms
from numpylm.course.bug import Bug, play
from numpylm.course.bug_functions import without_lines
from numpylm.course.bug_symptoms import LEVELS, Symptoms, right_training, symptoms_of
from numpylm.errors import InputError

TARGETS = sorted({mutant.target for mutant in MUTANTS})


@pytest.fixture(autouse=True)
def nothing_leaks():
    before = [find(target) for target in TARGETS]
    yield
    assert all(find(t) is right for t, right in zip(TARGETS, before, strict=True))


@pytest.fixture(autouse=True, scope="module")
def short_training():
    """What is kept is thrown away before and after: it belongs to a training of one length."""
    kept = (bug_symptoms._sentences, right_training, symptoms_of)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bug_symptoms, "STEPS", 24)
        patch.setattr(bug_symptoms, "BATCH", 8)
        patch.setattr(bug_symptoms, "LAYERS", 1)
        [function.cache_clear() for function in kept]
        yield
    [function.cache_clear() for function in kept]


def met(name):
    return next(m for m in bug_levels.known() if str(m.mutant) == name)


def bug_of(name, level=1, seed=0):
    """A round about this mistake."""
    bug = Bug(level, seed)
    bug._seen = symptoms_of(met(name))
    bug.candidates = bug._candidates(np.random.default_rng(seed))
    return bug


# ---- levels and seeds ------------------------------------------------------------------------


def test_every_mistake_of_the_registry_that_is_listed_has_one_level():
    rows = bug_levels._rows()
    names = [name for _, _, name in rows]
    assert len(set(names)) == len(names) and {level for level, _, _ in rows} == set(LEVELS)
    lost = set(names) - {str(mutant) for mutant in MUTANTS}
    assert not lost, "measure again: python -m numpylm.course.bug_levels"
    assert sum(len(bug_levels.of_level(level)) for level in LEVELS) == len(bug_levels.known())


def test_the_level_in_the_table_is_what_the_symptoms_say():
    row = bug_levels.measured(met("cross_entropy_backward: the sign"))
    assert row in bug_levels.MEASURED.splitlines() and row[0] == "1"


@pytest.mark.parametrize(
    "apart, gradients, contracts, central, level",
    [
        (0.06, False, False, False, 1),
        (np.inf, True, True, True, 1),
        (0.04, True, False, True, 2),
        (0.0, False, True, False, 2),
        (0.0, False, False, True, 3),
        (0.04, False, False, False, 4),
    ],
)
def test_every_pattern_of_symptoms_has_one_level(apart, gradients, contracts, central, level):
    class Seen(Symptoms):
        pass

    Seen.apart, Seen.gradients_show, Seen.contracts_show = apart, gradients, contracts
    Seen.oracles = {"central": ["linear"] if central else []}
    seen = Seen(met("linear_backward: dw transposed"))
    assert [n for n in LEVELS if LEVELS[n].holds(seen)] == [level]


@pytest.mark.parametrize("level", LEVELS)
def test_a_seed_makes_the_same_round(level):
    bug, again = Bug(level, seed=3), Bug(level, seed=3)
    assert bug._mutant is again._mutant and bug.choices() == again.choices()
    assert bug._seen.met in bug_levels.of_level(level) and bug._seen.met in bug.candidates
    assert len({str(Bug(level, seed)._mutant) for seed in range(8)}) > 2


# ---- evidence --------------------------------------------------------------------------------


def test_what_is_shown_at_first_names_no_candidate_more_than_another():
    bug = bug_of("attention_backward: no key path")
    shown = repr(bug)
    assert bug._mutant.sentence not in shown and bug.looks == 0
    assert shown.count(". attention_backward") == 4  # three others of the same function


def test_evidence_is_counted_and_shows_the_mistake_where_it_is():
    bug = bug_of("layer_norm_backward: dgain without x̂")
    assert "right code" in bug.ask("loss") and "right code" in bug.ask("samples")
    assert "WRONG" in bug.ask("gradients") and "causality" in bug.ask("contracts")
    shown = bug.ask("check layer_norm_backward")
    assert re.search(r"dgain .* WRONG", shown) and re.search(r"dx .* ok", shown)
    assert bug.ask("check LAYER NORM") == shown and bug.looks == 6
    far = next(m for m in bug.candidates if m.mutant.target != "layer_norm_backward")
    assert "nothing contradicts" in bug.check(far.mutant.target)


def test_a_wrong_forward_and_a_wrong_recurrence_are_shown_beside_the_right_numbers():
    shown = bug_of("layer_norm_forward: the eps asked for is ignored").check("layer_norm")
    assert "the forward" in shown and "the formula" in shown and "silent: central" in shown
    shown = bug_of("Adam.update: v with beta1").check("Adam.update")
    assert "recurrence: Adam" in shown and "the code" in shown


@pytest.mark.parametrize("words", ["", "the loss", "check", "check the_moon"])
def test_evidence_that_is_not_there_is_refused_and_costs_nothing(words):
    bug = Bug(1, 0)
    with pytest.raises(InputError, match=r"loss, samples|check needs"):
        bug.ask(words)
    assert bug.looks == 0


def test_no_evidence_shows_the_line_of_the_mistake():
    text = "backward raises TypeError: no (line 866 of mutants_ops.py: `result(4, lambda db: 1)`)"
    assert without_lines(text) == "backward raises TypeError: no"
    shown = bug_of("feed_forward_backward: biases taken for granted").check("feed_forward")
    assert "TypeError" in shown and "mutants" not in shown and "lambda" not in shown


# ---- guesses and answers ---------------------------------------------------------------------


def test_looks_and_guesses_are_counted_and_wrong_ones_are_refused():
    bug = bug_of("layer_norm_backward: dgain without x̂")
    bug.ask("loss")
    number = bug.candidates.index(bug._seen.met) + 1
    assert bug.guess(str(number % len(bug.candidates) + 1)) == "No." and not bug.found
    assert "place is right" in bug.guess("layer_norm_backward") and not bug.found
    assert "after 1 look and 3 guesses" in bug.guess(f" {number}. ") and bug.found


def test_a_mistake_is_named_in_words_too():
    bug = bug_of("layer_norm_backward: dgain without x̂")
    assert "Right" in bug.guess("dgain witout x̂") and bug._mutant.sentence in bug.answer()


@pytest.mark.parametrize("text", ["", "99", "0", "the moon"])
def test_a_guess_that_names_nothing_costs_nothing(text):
    bug = Bug(1, 0)
    with pytest.raises(InputError, match="guess"):
        bug.guess(text)
    assert bug.guesses == 0


@pytest.mark.parametrize(
    "name, reason, says",
    [
        ("cross_entropy_backward: divided by N twice", "loss", "16 of 16 .* a multiple .* Adam"),
        ("cross_entropy_backward: ignored targets teach", "loss", "no batch meets the mistake"),
        ("embedding_backward: word 0 learns nothing", "loss", "1 of 16 arrays .* cosine"),
        ("linear_backward: dw has the shape of its transpose", "loss", "shows it, .* stops"),
        ("gelu_forward: the cubic added, not multiplied", "loss", "forward gives other numbers"),
        ("causal_mask: sees the next token", "contracts", "show it: causality"),
        ("linear_backward: db averaged", "contracts", "silent: .* the forward is right"),
        ("causal_mask: sees the next token", "gradients", "silent: the backward agrees"),
        ("Adam.update: v with beta1", "gradients", "silent: they end before the optimizer"),
    ],
)
def test_the_answer_says_why_a_symptom_shows_it_or_does_not(name, reason, says):
    why = getattr(bug_reasons, f"_{reason}")(symptoms_of(met(name)))
    assert re.search(says, why), why


def test_the_whole_answer_has_the_sentence_and_a_line_for_each_oracle():
    answer = bug_of("linear_backward: dw one part in 10^9 too large").answer()
    assert "one part in 10^9" in answer and "check, complex: contradicts." in answer
    assert re.search("central: silent: .* less than 1e-7", answer)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_the_mistake_is_taken_out_when_the_round_is_interrupted(error, monkeypatch):
    def stop(kind):
        raise error

    seen = Symptoms(met("Adam.update: uphill"))
    right_training("GPT")
    monkeypatch.setattr(bug_symptoms, "_train", stop)
    with pytest.raises(error):
        _ = seen.trained  # nothing_leaks looks afterwards


# ---- in a terminal ---------------------------------------------------------------------------


def played(monkeypatch, capsys, typed, bug=None):
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    if bug:
        play(bug)
    else:
        assert main(["bug", "--seed", "0"]) == 0
    return capsys.readouterr().out


def test_from_a_pipe_what_is_asked_is_shown_and_the_end_tells_nothing(monkeypatch, capsys):
    said = played(monkeypatch, capsys, "loss\n\nthe moon\ncheck it\nlist\n")
    assert "> loss\n  steps" in said and "names no mistake" in said and "check needs one" in said
    assert said.splitlines()[-1].startswith("The input has ended")
    assert Bug(1, 0)._mutant.sentence not in said


def test_giving_up_tells_it_and_a_right_guess_ends_the_round(monkeypatch, capsys):
    bug = bug_of("layer_norm_backward: dgain without x̂")
    assert bug._mutant.sentence in played(monkeypatch, capsys, "Give Up\nloss\n", bug)
    said = played(monkeypatch, capsys, "dgain without x̂\nloss\n", bug)
    assert "Right" in said and "> loss" not in said


def test_in_a_terminal_control_c_ends_in_a_line(monkeypatch, capsys):
    def interrupted(prompt):
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.input", interrupted)
    assert main(["bug"]) == 130
    assert capsys.readouterr().err.count("\n") == 1


def test_without_an_input_the_round_ends(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", None)
    assert main(["bug"]) == 0
    assert "The input has ended" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--level", "5"], ["--level", "0"], ["--seed", "-1"]])
def test_a_level_or_seed_out_of_range_is_named(words, capsys):
    assert main(["bug", *words]) == 2
    assert words[0].strip("-") in capsys.readouterr().err
