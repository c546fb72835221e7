import dataclasses
import re
import shutil
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

import numpylm
from numpylm import ops
from numpylm.__main__ import main
from numpylm.checks import gradient_cases
from numpylm.checks.gradient_cases import model_cases
from numpylm.checks.oracles import MEMORY
from numpylm.corpora import CorpusConfig, corpus_names
from numpylm.course import course_figures
from numpylm.gradcheck import check_op
from numpylm.recipes import RECIPES
from numpylm.runs import Run
from numpylm.sampling import GenerateConfig
from numpylm.trained import load_trained

TINY = ["--steps", "6", "--eval-every", "3", "--sentences", "30", "--heldout-sentences", "10"]
TEXT = "the cat sat on the mat and the dog lay on the rug. " * 12


@pytest.fixture
def undrawn(monkeypatch):
    """Without pictures, which take longer than so short a training."""
    monkeypatch.setattr("numpylm.figures.draw_run", lambda run: [])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trained run, not to be changed."""
    path = tmp_path_factory.mktemp("main") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("numpylm.figures.draw_run", lambda run: [])
        assert main(["train", "--out", str(path), *TINY]) == 0
    return path


@pytest.fixture(scope="module")
def text_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "some.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def text_run(tmp_path_factory, text_file):
    path = tmp_path_factory.mktemp("main") / "text-run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("numpylm.figures.draw_run", lambda run: [])
        assert main(["train", "--text", str(text_file), "--out", str(path), *TINY]) == 0
    return path


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    """Run a command in an empty folder: its exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "1000")  # so that no line of --help is broken

    def call(*words):
        try:
            code = main([str(word) for word in words])
        except SystemExit as end:  # how argparse ends
            code = end.code
        except KeyboardInterrupt:  # would end the tests
            code = "a traceback"
        return code, *capsys.readouterr()

    return call


def refuse(call, *words, usage=False):
    """Expect a user's mistake: exit code 2, and one line that says what it is."""
    code, _, err = call(*words)
    assert code == 2
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line]
    message = lines[-1]
    if usage:  # argparse puts the flags that there are above its line
        assert re.match(r"python -m numpylm( \w+)?: error: ", message)
    else:
        assert lines == [message] and message.startswith("numpylm: ")
    return message


# --- help ---

COMMANDS = {
    "evaluate": [CorpusConfig()],
    "generate": [GenerateConfig()],
    "gradcheck": [],
    "figures": [],
}
HELPED = [
    *(
        (["train", "--model", name], [recipe.model, recipe.corpus, recipe.train])
        for name, recipe in RECIPES.items()
    ),
    *(([name], configs) for name, configs in COMMANDS.items()),
]


@pytest.mark.parametrize(
    ("words", "configs"), HELPED, ids=lambda value: " ".join(map(str, value))[:30]
)
def test_help_lists_every_option_with_its_default(call, words, configs):
    code, out, _ = call(*words, "--help")
    assert code == 0
    for config in configs:
        for field in dataclasses.fields(config):
            flag, default = "--" + field.name.replace("_", "-"), getattr(config, field.name)
            shown = "none" if default == "" else default
            told = re.escape(f"{field.metadata['help']} (default: {shown})\n")
            # the flag and its value on one line, the help beside it or on the next
            line = re.search(rf"^ +{flag}(,? [^ ]+)?\s+{told}", out, re.MULTILINE)
            assert bool(line) == field.metadata["flag"], flag


def test_help_lists_every_command_and_says_what_it_does(call):
    code, out, _ = call("--help")
    assert code == 0
    for name in ("train", *COMMANDS):
        assert re.search(rf"^ +{name}\s+\w.+\.$", out, re.MULTILINE)


def test_help_of_training_lists_what_is_not_in_a_config(call):
    _, out, _ = call("train", "--help")
    assert all(flag in out for flag in ("--model", "--out", "--resume"))


def test_version_is_that_of_the_package(call):
    assert call("--version")[:2] == (0, f"numpylm {numpylm.__version__}\n")


def test_a_recipe_is_found_by_its_old_name_and_the_new_one_is_said_once(call):
    code, out, err = call("train", "--model", "section-5", "--help")
    assert (code, err) == (0, "numpylm: section-5 is now called listing\n")
    assert out == call("train", "--model", "listing", "--help")[1]


def test_the_book_is_not_offered_without_the_project(call, monkeypatch):
    assert re.search("^ +book ", call("--help")[1], re.MULTILINE)
    monkeypatch.setattr("numpylm.__main__.in_the_project", lambda: False)
    monkeypatch.setattr("numpylm.course_commands.in_the_project", lambda: False)
    assert not re.search("^ +book ", call("--help")[1], re.MULTILINE)
    assert "run this command in a clone" in refuse(call, "book")


# --- from end to end ---


def test_train_announces_trains_draws_and_sums_up(call):
    code, out, err = call("train", "--out", "run", *TINY)
    assert code == 0
    assert out.startswith("model   AttentionLM, 1,536 parameters")
    assert "ln 48" in out and "held-out  " in out and "perplexity" in out
    assert "tokens/s" in err
    folder, pictures = out.splitlines()[-2:]
    assert folder == "folder    run: checkpoint.safetensors, config.json, log.jsonl"
    assert pictures == "pictures  loss.png, embeddings.png, attention.png"
    assert all((Path("run") / name.strip(",")).exists() for name in pictures.split()[1:])


def test_every_flag_reaches_its_config(call, undrawn):
    assert call("train", "--out", "run", *TINY, "--width", 5, "--no-causal", "--beta1", 0.5)[0] == 0
    run = Run.resume(Path("run"))
    assert (run.model.config.width, run.model.config.causal) == (5, False)
    assert (run.config.beta1, run.config.steps, run.corpus.config.sentences) == (0.5, 6, 30)


@pytest.mark.parametrize(
    "options",
    [
        ("--width", 1),
        ("--context-length", 1),
        ("--context", "last"),
        ("--no-tied", "--scale", 0.2),
        ("--corpus", "brackets"),
    ],
    ids=lambda options: " ".join(map(str, options)),
)
def test_unusual_runs_are_trained_and_drawn_too(call, options):
    code, out, _ = call("train", "--out", "run", *TINY, *options)
    assert code == 0 and "attention.png" in out


def test_runs_without_a_name_get_a_folder_of_their_own(call, undrawn):
    for folder in ("attention-topics", "attention-topics-2", "attention-topics-3"):
        code, out, _ = call("train", *TINY)
        assert code == 0 and f"runs/{folder}" in out.replace("\\", "/")


def test_a_stopped_run_says_how_to_go_on_and_ends_with_130(call, monkeypatch):
    monkeypatch.setattr("numpylm.runs.Run.train", lambda run: False)
    code, out, _ = call("train", "--out", "my run", *TINY)
    assert code == 130
    assert "python -m numpylm train --resume 'my run'" in out
    monkeypatch.undo()


def test_ctrl_c_outside_of_training_is_one_line_too(call, folder, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("numpylm.sampling.stream_ids", interrupted)
    code, _, err = call("generate", folder, "--prompt", "coin")
    assert code == 130 and err == "numpylm: interrupted; what was saved is whole\n"


def test_resume_goes_on_and_may_lengthen_a_run(call, folder, tmp_path, undrawn):
    shutil.copytree(folder, tmp_path / "run")
    code, out, _ = call("train", "--resume", "run", "--steps", 9)
    assert code == 0 and "steps 6 to 9" in out
    assert len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) == 9
    code, out, _ = call("train", "--resume", "run")  # already at its end: it is summed up again
    assert code == 0 and "held-out" in out


def test_evaluate_measures_the_corpus_of_the_run(call, folder):
    code, out, _ = call("evaluate", folder)
    result = Run.resume(folder).evaluate()
    assert code == 0
    assert re.search(rf"held-out +{result.loss:.4f} nats per token, .*; 80 tokens\n", out)
    assert re.search(r"training .*; 240 tokens\n", out) and "knowing everything" in out
    assert f"perplexity {result.perplexity:.3f}, accuracy {result.accuracy:.1%}" in out


def test_a_recipe_starts_from_its_own_defaults(call, text_file, undrawn):
    tiny = ("--steps", 2, "--width", 8, "--heads", 2, "--layers", 1, "--context-length", 8)
    code, out, _ = call("train", "--model", "nanogpt-cpu", "--text", text_file, *tiny)
    assert code == 0 and "per character" in out
    about = load_trained("runs/nanogpt-cpu-some").about
    assert about["model"] == "GPT" and about["model_config"]["bias"] is False
    assert about["train"]["beta2"] == 0.99 and about["train"]["batch_size"] == 12


def test_evaluate_takes_more_of_the_corpus_or_other_draws_of_it(call, folder):
    code, out, _ = call("evaluate", folder, "--heldout-sentences", 50, "--data-seed", 5)
    assert code == 0 and re.search(r"held-out .*; 400 tokens\n", out)


def test_evaluate_reads_another_text_with_the_tokenizer_of_the_model(call, text_run, tmp_path):
    (tmp_path / "other.txt").write_text("a dog sat on a hat! " * 20, encoding="utf-8")
    code, out, _ = call("evaluate", text_run, "--text", "other.txt")
    symbols = load_trained(text_run).tokenizer.vocab_size
    assert code == 0 and "other.txt" in out and f"ln {symbols}" in out
    assert "counting pairs" in out and "entropy unknown" in out


def test_evaluate_on_a_named_corpus_leaves_the_text_of_the_run(call, text_run):
    code, out, _ = call("evaluate", text_run, "--corpus", "python-docs")
    assert code == 0 and out.startswith("python-docs")


def test_generate_continues_the_prompt(call, folder):
    code, out, _ = call("generate", folder, "--prompt", "coin loan", "--tokens", 5)
    words = out.split()
    assert code == 0 and words[:2] == ["coin", "loan"] and len(words) == 7
    assert call("generate", folder, "--prompt", "coin loan", "--tokens", 5)[1] == out
    other = call("generate", folder, "--prompt", "coin loan", "--tokens", 5, "--seed", 1)[1]
    assert other != out


def test_a_prompt_is_read_also_where_the_terminal_is_said_to_be_ascii(call, odd_run):
    text = "é".encode().decode("ascii", "surrogateescape")  # as LC_ALL=C hands it over
    assert call("generate", odd_run, "--prompt", text) == call("generate", odd_run, "--prompt", "é")
    assert call("generate", odd_run, "--prompt", "\udcff")[0] == 2


def test_generate_shows_the_probability_of_each_token(call, folder):
    code, out, _ = call(
        "generate", folder, "--prompt", "coin", "--tokens", 3, "--temperature", 0, "--probabilities"
    )
    text, *lines = out.splitlines()
    assert code == 0 and len(lines) == 3
    for word, line in zip(text.split()[1:], lines, strict=True):
        assert re.fullmatch(rf" +0\.\d{{4}}  '{word}'", line)


def test_generate_lists_what_may_follow_from_the_likeliest_on(call, folder):
    code, out, _ = call("generate", folder, "--prompt", "coin loan", "--next", 48)
    p = [float(line.split()[0]) for line in out.splitlines()]
    assert code == 0 and len(p) == 48
    assert p == sorted(p, reverse=True) and sum(p) == pytest.approx(1, abs=48 * 5e-5)
    assert call("generate", folder, "--prompt", "loan", "--next", 4)[1].count("\n") == 4


@pytest.fixture
def odd_run(call, tmp_path, undrawn):
    """A model of a text with codes for a terminal, in a file whose name has one too."""
    (tmp_path / "odd\x1b[1m.txt").write_text(
        "café \x1b[31mred\x1b[0m\x9b ab\n" * 60, encoding="utf-8"
    )
    code, out, _ = call("train", "--text", "odd\x1b[1m.txt", "--out", "odd", *TINY)
    assert code == 0
    assert_harmless(out)
    return "odd"


def assert_harmless(out):
    assert not any((c < " " and c not in "\n\t") or "\x7f" <= c <= "\x9f" for c in out)


def test_codes_for_a_terminal_are_shown_and_not_sent(call, odd_run):
    for command in (
        ("generate", odd_run, "--prompt", "a\x1b[3", "--tokens", 40),
        ("generate", odd_run, "--prompt", "a", "--tokens", 9, "--probabilities"),
        ("generate", odd_run, "--prompt", "a", "--next", 20),
        ("evaluate", odd_run),
    ):
        code, out, err = call(*command)
        assert code == 0 and not err
        assert_harmless(out)
        assert r"\x" in out
    code, out, err = call("train", "--text", "no\x1b[2Jfile")
    assert code == 2 and r"no\x1b[2Jfile" in err
    assert_harmless(err)


def test_a_prompt_is_read_like_a_file_and_what_is_unknown_is_said(call, odd_run):
    def first(prompt):
        return call("generate", odd_run, "--prompt", prompt, "--tokens", 0)

    assert first("\ufeffcafe\u0301\r\nab") == (0, "café\nab\n", "")
    code, out, err = first("猫 caß猫")
    assert (code, out) == (0, "\ufffd ca\ufffd\ufffd\n")
    assert err == "numpylm: not in the model's vocabulary, read as \ufffd: '猫', 'ß'\n"


def test_the_share_of_unknown_tokens_and_what_they_cost_are_shown(call, tmp_path, undrawn):
    (tmp_path / "two.txt").write_text("ab" * 450 + "az" * 50, encoding="utf-8")
    code, out, _ = call("train", "--text", "two.txt", "--out", "two", *TINY)
    assert code == 0 and "50.00% unknown" in out and "ln 1,112,064" in out
    code, out, _ = call("evaluate", "two")
    found = re.search(r"held-out +([0-9.]+) nats per token, ([0-9.]+) per character with the", out)
    token, character = map(float, found.groups())
    assert character == pytest.approx(token + 49.5 / 99 * 13.9217, abs=0.1)
    assert "0.00% unknown" in out and "nothing is learned about it" in out


def test_figures_are_drawn_where_asked(call, monkeypatch):
    monkeypatch.setattr(course_figures, "draw_course", lambda folder: [folder / "a.png"])
    assert call("figures", "--out", "there")[:2] == (0, "there/a.png\n")
    assert call("figures")[:2] == (0, "figures/a.png\n")


@pytest.mark.parametrize(
    "words", [["figures"], ["ladder"], ["induction"], ["task", "qa"], ["gradcheck", "--mutants"]]
)
def test_a_folder_that_takes_no_pictures_is_found_before_anything_is_computed(call, words):
    Path("file").write_text("mine", encoding="utf-8")
    message = refuse(call, *words, "--out", "file/there")
    assert "Nothing has been computed yet: make room, or choose another --out" in message
    assert [path.name for path in Path().iterdir()] == ["file"]


# --- gradcheck ---


@pytest.fixture
def few_models(monkeypatch):
    """All operations but only two models, to save time: each is checked in its own tests."""

    def remembering(*pair, name):
        return check_op(*pair, name=name, known=MEMORY.setdefault(name, {}))

    monkeypatch.setattr(gradient_cases, "check_op", remembering)
    monkeypatch.setattr(gradient_cases, "model_cases", lambda: islice(model_cases(), 2))


def test_gradcheck_prints_a_table_and_ends_with_0_when_all_is_right(call, few_models):
    code, out, _ = call("gradcheck")
    head, *rows, last = out.splitlines()
    assert code == 0
    assert all(word in head for word in ("what", "gradient", "shape", "central", "complex"))
    assert len(rows) > 20 and all(row.endswith("  ok") for row in rows)
    assert last == f"{len(rows)} gradients, 0 wrong"


def test_gradcheck_ends_with_1_and_names_the_array_the_index_and_both_values(
    call, few_models, monkeypatch
):
    right = ops.linear_backward

    def wrong(dy, cache):
        dx, dw, *db = right(dy, cache)
        dw[1, 2] *= 1.001  # one part in a thousand too large
        return dx, dw, *db

    monkeypatch.setattr(ops, "linear_backward", wrong)
    code, out, _ = call("gradcheck")
    assert code == 1
    bad = [line for line in out.splitlines() if "WRONG" in line]
    assert out.splitlines()[-1].endswith(f" {len(bad)} wrong")  # models that call it are among them
    ops_alone = [line for line in bad if line.startswith("linear")]
    assert len(ops_alone) == 2  # with and without a bias
    for line in ops_alone:
        said, method = re.search(
            r"linear.* at dw\[1, 2\] the code says (\S+), the \w+ method (\S+)$", line
        ).groups()
        assert float(said) == pytest.approx(1.001 * float(method), rel=1e-6)


# --- mistakes ---


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--corpus", "nope"], "invalid choice: 'nope'"),
        (["train", "--steps", "many"], "argument --steps: invalid int value: 'many'"),
        (["train", "--seed", "1.5"], "invalid int value: '1.5'"),
        (["train", "--model", "rnn"], "argument --model: invalid choice: 'rnn'"),
        (["train", "--optimizer", "magic"], "argument --optimizer: invalid choice: 'magic'"),
        (["train", "--colour", "red"], "unrecognized arguments: --colour red"),
        (["train", "--step", "3"], "unrecognized arguments: --step 3"),
        (["dance"], "invalid choice: 'dance'"),
        ([], "required: COMMAND"),
        (["generate", "run"], "required: --prompt"),
        (["evaluate"], "required: run"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_flag_that_cannot_be_read_is_a_clear_error(call, tmp_path, words, message):
    assert message in refuse(call, *words, usage=True)
    assert not list(tmp_path.iterdir())


def test_the_corpora_that_there_are_stand_in_the_error(call):
    message = refuse(call, "train", "--corpus", "nope", usage=True)
    assert all(name in message for name in corpus_names())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--steps", "0"], "steps must be at least 1, not 0"),
        (["--width", "-3"], "width must be at least 1, not -3"),
        (["--learning-rate", "0"], "learning_rate must be above 0, not 0.0"),
        (["--learning-rate", "nan"], "learning_rate must be a finite number, not nan"),
        (["--scale", "inf"], "scale must be a finite number, not inf"),
        (["--beta1", "1"], "beta1 must be below 1, not 1.0"),
        (["--final-rate", "2"], "final_rate must be at most 1, not 2.0"),
        (["--seed", "-1"], "seed must be at least 0, not -1"),
        (["--max-vocab", "1"], "max_vocab must be at least 3, not 1"),
        (["--text", "missing.txt"], "text missing.txt cannot be read: No such file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_value_out_of_range_is_a_clear_error_and_leaves_no_folder(call, tmp_path, flags, message):
    assert message in refuse(call, "train", "--out", "run", *flags)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n ", "is empty"),
        (b"too short", "is too short: 8 tokens to train on"),
        (b"\xff\xfe\x00", "is not UTF-8"),
    ],
)
def test_a_text_that_cannot_be_trained_on_is_a_clear_error(call, tmp_path, content, message):
    (tmp_path / "bad.txt").write_bytes(content)
    assert message in refuse(call, "train", "--text", "bad.txt", "--out", "run", *TINY)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "flags",
    [("--width", 3), ("--causal",), ("--out", "there"), ("--corpus", "abab"), ("--seed", 0),
     ("--model", "attention")],
    ids=lambda flags: flags[0],
)  # fmt: skip
def test_resume_takes_no_settings_but_steps(call, folder, flags):
    message = refuse(call, "train", "--resume", folder, *flags)
    assert f"leave out {flags[0]}" in message


def test_resume_of_nothing_is_a_clear_error(call):
    message = refuse(call, "train", "--resume", "nowhere")
    assert message == "numpylm: no checkpoint at nowhere: train a model first, or check the path"


def test_resume_to_fewer_steps_is_a_clear_error(call, folder):
    message = refuse(call, "train", "--resume", folder, "--steps", 2)
    assert "steps must be at least the 6" in message


def test_a_folder_that_holds_a_run_is_not_trained_into(call, folder):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    message = refuse(call, "train", "--out", folder, *TINY)
    assert f"continue that run with --resume {folder}" in message
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_that_cannot_be_is_a_clear_error(call, tmp_path):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    assert "choose another" in refuse(call, "train", "--out", "file/run", *TINY)
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--prompt", "zebra"], "'zebra'"),
        (["--prompt", ""], "--prompt is empty: give a text to continue, like '"),
        (["--prompt", "  "], "--prompt is empty"),
        (["--prompt", "coin", "--temperature", "-1"], "temperature must be at least 0, not -1.0"),
        (["--prompt", "coin", "--top-p", "0"], "top_p must be above 0, not 0.0"),
        (["--prompt", "coin", "--top-p", "2"], "top_p must be at most 1, not 2.0"),
        (["--prompt", "coin", "--top-k", "-1"], "top_k must be at least 0, not -1"),
        (["--prompt", "coin", "--tokens", "-1"], "tokens must be at least 0, not -1"),
        (["--prompt", "coin", "--next", "0"], "--next must be at least 1, not 0"),
        (["--prompt", "coin", "--next", "-3"], "--next must be at least 1, not -3"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_generate_refuses_what_it_cannot_do(call, folder, flags, message):
    assert message in refuse(call, "generate", folder, *flags)


@pytest.mark.parametrize("command", [("generate", "--prompt", "coin"), ("evaluate",)])
def test_what_is_no_checkpoint_is_a_clear_error(call, tmp_path, command):
    name, *flags = command
    (tmp_path / "note.txt").write_text(TEXT, encoding="utf-8")
    assert "not a whole safetensors file" in refuse(call, name, "note.txt", *flags)
    assert "no checkpoint at nowhere" in refuse(call, name, "nowhere", *flags)


@pytest.mark.parametrize("corpus", ["abab", "order2"])
def test_a_corpus_of_other_symbols_is_a_clear_error(call, folder, corpus):
    assert "other symbols" in refuse(call, "evaluate", folder, "--corpus", corpus)


def test_a_text_of_other_symbols_is_a_clear_error(call, folder, text_file):
    message = refuse(call, "evaluate", folder, "--text", text_file)
    assert "'the' in line 1, column 1, which is not in the vocabulary" in message
    assert "of 48 symbols ('" in message and "(on the command line, train on one)" in message


def test_a_text_and_a_corpus_at_once_are_refused(call):
    Path("own.txt").write_text("some words of mine", encoding="utf-8")
    message = refuse(call, "train", "--text", "own.txt", "--corpus", "topics", "--out", "run")
    assert "leave out one of them" in message and not Path("run").exists()


def test_a_run_that_diverges_is_a_clear_error(call, tmp_path):
    code, _, err = call("train", "--out", "run", *TINY, "--learning-rate", "1e30")
    assert code == 2 and "Traceback" not in err
    assert "step 2: activation attention.a is nan" in err.splitlines()[-1]
    assert np.isfinite(load_trained(tmp_path / "run").model.params.flat).all()
