import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import numpylm
from numpylm.attention_lm import AttentionLM, AttentionLMConfig
from numpylm.checkpoints import load_checkpoint, save_checkpoint
from numpylm.corpora import CorpusConfig
from numpylm.errors import InputError
from numpylm.optim import SGD, Adam
from numpylm.runs import Run
from numpylm.tokenizers import WordTokenizer
from numpylm.train_config import TrainConfig
from numpylm.trained import load_trained
from numpylm.training import Training

STEPS = 12
EVAL_EVERY = 5  # so a look comes at 5, 10 and 12, and a save with each
MODEL = {"width": 4, "context_length": 6}
CORPUS = {"sentences": 40, "heldout_sentences": 20}
SOON = 60  # seconds after which a child process is taken for hung


def start(folder, corpus=None, model=None, **config):
    settings = {"steps": STEPS, "eval_every": EVAL_EVERY, "batch_size": 8} | config
    return Run.from_configs(
        folder,
        AttentionLM,
        AttentionLMConfig(**(model or MODEL)),
        CorpusConfig(**(corpus or CORPUS)),
        TrainConfig(**settings),
    )


def finished(run):
    assert run.train(progress=False)
    return run


def files(run):
    return run.checkpoint.read_bytes(), run.log.read_bytes()


def walk(run, steps):
    """Train a few steps and forget them: what a run has done since it was last saved."""
    for _ in range(steps):
        run.step()


@pytest.fixture
def whole(tmp_path):
    """The files of a run that nothing disturbed."""
    return files(finished(start(tmp_path / "whole")))


# --- start ---


def test_a_new_run_is_saved_before_its_first_step(tmp_path):
    run = start(tmp_path / "a" / "b")
    tensors, about = load_checkpoint(run.checkpoint)
    assert about["step"] == 0 and run.log.read_text() == ""
    np.testing.assert_array_equal(tensors["params.E"], run.model.params["E"])
    told = json.loads((run.folder / "config.json").read_text(encoding="utf-8"))
    assert told["train"]["steps"] == STEPS and told["model_config"]["width"] == 4
    assert told["corpus"]["sentences"] == 40


def test_the_vocabulary_is_that_of_the_corpus(tmp_path):
    assert start(tmp_path / "run", CORPUS | {"corpus": "abab"}).model.params["E"].shape == (2, 4)


@pytest.mark.parametrize("taken", ["checkpoint.safetensors", "log.jsonl", "config.json"])
def test_a_new_run_overwrites_nothing(tmp_path, taken):
    (tmp_path / taken).write_bytes(b"precious")
    with pytest.raises(InputError, match=f"already holds {taken}.*--resume.*--out"):
        start(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [taken]
    assert (tmp_path / taken).read_bytes() == b"precious"


def test_a_new_run_may_use_a_folder_with_other_things_in_it(tmp_path):
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    finished(start(tmp_path))
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"


# --- resuming is bit-identical ---


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_everything_that_changes_is_restored(tmp_path, optimizer):
    run = start(tmp_path / "run", optimizer=optimizer)
    walk(run, 4)
    run.save()
    again = Run.resume(run.folder)
    assert again.steps_done == again.optimizer.steps == 4
    assert again.rng.bit_generator.state == run.rng.bit_generator.state
    assert again.config == run.config and again.corpus.config == run.corpus.config
    assert again.model.config == run.model.config
    np.testing.assert_array_equal(again.model.params.flat, run.model.params.flat)
    moments = run.optimizer.state()
    assert moments.keys() == again.optimizer.state().keys() and len(moments) > 1
    for name, moment in again.optimizer.state().items():
        assert np.any(moment)
        np.testing.assert_array_equal(moment, moments[name])
    assert type(again.optimizer) is {"adam": Adam, "sgd": SGD}[optimizer]


def test_two_runs_of_one_seed_write_the_same_bytes(tmp_path, whole):
    assert files(finished(start(tmp_path / "twin"))) == whole


@pytest.mark.parametrize("at", [0, 1, 4, 5, 7, 11, 12])
def test_a_run_saved_at_any_step_and_resumed_ends_with_the_same_bytes(
    tmp_path, whole, at, monkeypatch
):
    run = start(tmp_path / "run")
    if at:
        stop_at(monkeypatch, at)
        assert run.train(progress=False) == (at == STEPS)
        monkeypatch.undo()
    assert files(finished(Run.resume(run.folder))) == whole


def stop_at(monkeypatch, step):
    one_step = Training.step

    def step_and_stop(run):
        line = one_step(run)
        if run.steps_done == step:
            signal.raise_signal(signal.SIGINT)
        return line

    monkeypatch.setattr(Training, "step", step_and_stop)


class Killed(BaseException):
    """Stands for a kill: no `except OSError` or `except Exception` may see it."""


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("nth", range(1, 9))
def test_a_run_killed_within_any_write_and_resumed_ends_with_the_same_bytes(
    tmp_path, whole, monkeypatch, call, nth
):
    real, calls = getattr(os, call), 0

    def kill_at_nth(*args):
        nonlocal calls
        calls += 1
        if calls == nth:
            raise Killed
        return real(*args)

    folder = tmp_path / "run"
    monkeypatch.setattr(os, call, kill_at_nth)
    try:
        finished(start(folder))
    except Killed:
        leftovers = [path.name for path in folder.iterdir() if path.suffix == ".tmp"]
        assert len(leftovers) <= 1  # half a file, beside a whole one
    monkeypatch.undo()
    assert calls >= min(nth, 7)  # start writes three files; the looks write four more
    saved = (folder / "checkpoint.safetensors").exists()
    run = Run.resume(folder) if saved else start(folder)
    assert files(finished(run)) == whole
    assert not list(folder.glob("*.tmp"))


def test_leftovers_of_a_killed_write_do_no_harm(tmp_path, whole):
    run = start(tmp_path / "run")
    for name in ("checkpoint.safetensors.tmp", "log.jsonl.tmp", "config.json.tmp"):
        (run.folder / name).write_bytes(b"half of")
    assert files(finished(Run.resume(run.folder))) == whole


@pytest.mark.parametrize("tail", [b"", b'{"step": 6, "lo', b'{"step": 6}\n{"step": 7}\n{"st'])
def test_lines_that_the_log_is_ahead_of_the_checkpoint_are_dropped(tmp_path, whole, tail):
    run = start(tmp_path / "run", steps=5)
    finished(run)
    with run.log.open("ab") as log:
        log.write(tail)
    longer = Run.resume(run.folder, steps=STEPS)
    assert len(longer.log.read_text().splitlines()) == 5
    assert longer.log.read_text().endswith("\n")


def test_a_run_may_be_lengthened(tmp_path):
    plan = {"schedule": "constant", "eval_every": 4}
    direct = files(finished(start(tmp_path / "direct", **plan)))
    run = finished(start(tmp_path / "run", steps=8, **plan))
    longer = Run.resume(run.folder, steps=STEPS)
    told = json.loads((run.folder / "config.json").read_text(encoding="utf-8"))
    assert told["train"]["steps"] == STEPS
    assert files(finished(longer)) == direct


def test_a_run_keeps_the_words_it_has_learned_whatever_would_be_kept_today(tmp_path):
    """The checkpoint of a run from before `min_count`: today its words seen once are left out."""
    text = tmp_path / "t.txt"
    text.write_text("the cat sat on the mat and a dog ran . " * 9 + "once upon " * 5, "utf-8")
    corpus = {"text": str(text), "tokenizer": "words", "min_count": 1}
    run = finished(start(tmp_path / "run", corpus))
    tensors, about = load_checkpoint(run.checkpoint)
    about["corpus"]["min_count"] = 8
    save_checkpoint(run.checkpoint, tensors, about)
    resumed = Run.resume(run.folder, steps=STEPS + 1)
    assert resumed.corpus.tokenizer.symbols == run.corpus.tokenizer.symbols
    finished(resumed)


def test_a_run_cannot_be_made_shorter_than_it_is(tmp_path):
    run = finished(start(tmp_path / "run"))
    before = files(run)
    with pytest.raises(InputError, match=r"steps must be at least the 12 .* not 11"):
        Run.resume(run.folder, steps=11)
    assert files(run) == before
    assert files(finished(Run.resume(run.folder, steps=12))) == before


# --- real kills of real processes ---

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs signals between processes")
PROCESS = {"--steps": 1000, "--eval-every": 10, "--eval-windows": 32, "--sentences": 200,
           "--heldout-sentences": 64, "--batch-size": 16}  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    options = {name[2:].replace("-", "_"): value for name, value in PROCESS.items()}
    corpus = {name: value for name, value in options.items() if "sentences" in name}
    config = {name: value for name, value in options.items() if name not in corpus}
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    return files(finished(start(folder, corpus, {"width": 32}, **config)))


def spawn(*words):
    paths = [str(Path(numpylm.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, "-m", "numpylm", "train", *map(str, words)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )


def begin(folder):
    return spawn("--out", folder, *[word for pair in PROCESS.items() for word in pair])


def wait_for_a_save(process, checkpoint):
    """Until the process has replaced the checkpoint, or has ended."""

    def version():
        try:
            return checkpoint.stat().st_mtime_ns, checkpoint.stat().st_ino
        except FileNotFoundError:
            return None

    before, latest = version(), time.monotonic() + SOON
    while version() == before and process.poll() is None and time.monotonic() < latest:
        time.sleep(0.0005)


@POSIX
def test_sigkill_again_and_again_ends_with_the_bytes_of_an_undisturbed_run(tmp_path, undisturbed):
    folder = tmp_path / "run"
    checkpoint, moments = folder / "checkpoint.safetensors", np.random.default_rng(0)
    process, landed, seen = begin(folder), 0, []
    wait_for_a_save(process, checkpoint)  # the one before the first step
    for _ in range(4):
        wait_for_a_save(process, checkpoint)
        time.sleep(moments.uniform(0, 0.03))
        process.kill()
        process.communicate(timeout=SOON)
        landed += process.returncode == -signal.SIGKILL
        seen.append(load_trained(folder).about["step"])  # whole, whatever was being written
        process = spawn("--resume", folder)
    output, _ = process.communicate(timeout=SOON)
    assert process.returncode == 0, output
    assert landed and seen[0] > 0 and seen == sorted(seen)
    assert (checkpoint.read_bytes(), (folder / "log.jsonl").read_bytes()) == undisturbed


@POSIX
def test_ctrl_c_saves_says_how_to_resume_and_exits_with_130(tmp_path, undisturbed):
    folder = tmp_path / "my run"
    process = begin(folder)
    wait_for_a_save(process, folder / "checkpoint.safetensors")  # the one before the first step
    wait_for_a_save(process, folder / "checkpoint.safetensors")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=SOON)
    assert process.returncode == 130, output
    step = load_trained(folder).about["step"]
    assert 0 < step < PROCESS["--steps"]
    assert f"stopped after step {step}, which is saved" in output
    assert f"python -m numpylm train --resume '{folder}'" in output
    assert "Traceback" not in output
    run = finished(Run.resume(folder))
    assert files(run) == undisturbed


# --- folders that take nothing ---


@pytest.mark.parametrize("inside", [".", "run", "a/run"])
def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path, inside):
    file = tmp_path / "file"
    file.write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=r"cannot write to .*--out"):
        start(file / inside)
    assert file.read_text(encoding="utf-8") == "mine"


def test_a_disk_that_fills_up_leaves_the_last_checkpoint_and_the_run_can_go_on(
    tmp_path, whole, monkeypatch
):
    run = start(tmp_path / "run")
    before = run.checkpoint.read_bytes()
    monkeypatch.setattr(os, "fsync", fail_with(errno.ENOSPC))
    with pytest.raises(InputError, match=r"No space left.*is unchanged.*[Mm]ake room"):
        run.train(progress=False)
    monkeypatch.undo()
    assert run.checkpoint.read_bytes() == before
    assert not list(run.folder.glob("*.tmp"))
    assert files(finished(Run.resume(run.folder))) == whole


def test_a_disk_that_is_full_from_the_start_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", fail_with(errno.ENOSPC))
    with pytest.raises(InputError, match="No space left") as caught:
        start(tmp_path / "run")
    assert "unchanged" not in str(caught.value)  # there is no checkpoint to speak of
    monkeypatch.undo()
    finished(start(tmp_path / "run"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_log_that_cannot_be_written_is_a_clear_error(tmp_path, whole):
    run = start(tmp_path / "run")
    run.log.unlink()
    run.log.symlink_to("/dev/full")
    with pytest.raises(InputError, match="No space left"):
        run.train(progress=False)
    run.log.unlink()
    assert files(finished(Run.resume(run.folder))) == whole


def fail_with(number):
    def fail(*args):
        raise OSError(number, os.strerror(number))

    return fail


# --- checkpoints that cannot be used ---


def test_a_run_is_loaded_from_its_folder_or_its_file(tmp_path):
    run = finished(start(tmp_path / "run"))
    for path in (run.folder, run.checkpoint, str(run.folder)):
        loaded = load_trained(path)
        np.testing.assert_array_equal(loaded.model.params.flat, run.model.params.flat)
        assert loaded.model.params.flat.dtype == np.float32
        assert loaded.model.config == run.model.config
        assert loaded.tokenizer.to_dict() == run.corpus.tokenizer.to_dict()


def test_a_float64_model_stays_one(tmp_path):
    run = Run.from_configs(
        tmp_path,
        AttentionLM,
        AttentionLMConfig(**MODEL),
        CorpusConfig(**CORPUS),
        TrainConfig(),
        np.float64,
    )
    assert load_trained(run.folder).model.params.flat.dtype == np.float64


@pytest.mark.parametrize("keep", [0, 7, 8, 100, -1])
def test_a_truncated_checkpoint_is_refused(tmp_path, keep):
    run = start(tmp_path)
    run.checkpoint.write_bytes(run.checkpoint.read_bytes()[:keep])
    for load in (load_trained, Run.resume):
        with pytest.raises(InputError, match="truncated or of another kind"):
            load(run.folder)


def test_no_checkpoint_is_a_clear_error(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match=r"no checkpoint at .*: train a model first"):
            load_trained(path)


def test_a_file_of_another_program_is_refused(tmp_path):
    from safetensors.numpy import save_file

    save_file({"x": np.zeros(3)}, tmp_path / "foreign.safetensors")
    with pytest.raises(InputError, match="not written by numpylm"):
        load_trained(tmp_path / "foreign.safetensors")


def damage(run, change):
    """Rewrite the checkpoint after change(tensors, about)."""
    tensors, about = load_checkpoint(run.checkpoint)
    change(tensors, about)
    save_checkpoint(run.checkpoint, tensors, about)


DAMAGES = {
    "its format is 99": lambda t, a: a.update(format=99),
    "does not know 'rnn'": lambda t, a: a.update(model="rnn"),
    "its description lacks tokenizer": lambda t, a: a.pop("tokenizer"),
    "its description lacks rng, step": lambda t, a: (a.pop("step"), a.pop("rng")),
    "no option 'colour'": lambda t, a: a["model_config"].update(colour="red"),
    "its tokenizer has 49 symbols, its model 48": lambda t, a: a.update(
        tokenizer=WordTokenizer([f"w{n}" for n in range(49)]).to_dict()
    ),
    "lacks the tensors": lambda t, a: t.pop("params.E"),
    "unknown to this model": lambda t, a: t.update({"params.U": t["params.E"]}),
    "has shape": lambda t, a: t.update({"params.E": t["params.E"][:-1]}),
    "does not know 'other'": lambda t, a: t.update({"other.E": t["params.E"]}),
}


@pytest.mark.parametrize("words", DAMAGES)
def test_a_checkpoint_that_contradicts_itself_is_refused_with_the_reason(tmp_path, words):
    run = start(tmp_path)
    damage(run, DAMAGES[words])
    with pytest.raises(InputError, match=f"cannot be used: .*{words}"):
        load_trained(run.folder)


def test_moments_of_another_optimizer_are_refused(tmp_path):
    run = start(tmp_path)
    damage(run, lambda tensors, about: about["train"].update(optimizer="sgd"))
    with pytest.raises(InputError, match="SGD"):
        Run.resume(run.folder)


def test_a_text_that_was_edited_since_is_refused(tmp_path):
    text = tmp_path / "some.txt"
    text.write_text("the cat sat on the mat. " * 40, encoding="utf-8")
    run = start(tmp_path / "run", {"text": str(text)})
    before = files(run)
    text.write_text("the cat sat on the mat. " * 39 + "the cat ate on the mat. ", encoding="utf-8")
    with pytest.raises(InputError, match=r"some\.txt is not the text that .* was trained on"):
        Run.resume(run.folder)
    text.unlink()
    with pytest.raises(InputError, match=r"some\.txt cannot be read"):
        Run.resume(run.folder)
    assert files(run) == before


def test_a_state_that_is_not_finite_is_never_saved(tmp_path):
    run = start(tmp_path)
    before = run.checkpoint.read_bytes()
    run.model.params["E"][2, 1] = np.nan
    with pytest.raises(InputError, match=r"parameter E is nan at \[2, 1\].*smaller.*unchanged"):
        run.save()
    assert run.checkpoint.read_bytes() == before


def test_held_out_text_is_measured_on_as_many_windows_as_asked(tmp_path):
    run = start(tmp_path)
    T = MODEL["context_length"]
    assert run.evaluate().tokens == 20 * T
    assert run.evaluate(9).tokens == 16 * T  # two batches of eight hold nine windows
    assert run.evaluate(1000).tokens == 20 * T


@pytest.mark.parametrize(
    "damage",
    [
        {"step": "x"},
        {"step": -1},
        {"rng": {}},
        {"train": None},
        {"corpus": {"corpus": "abab", "x": 1}},
    ],
    ids=str,
)
def test_a_damaged_description_is_a_clear_error(tmp_path, damage):
    run = start(tmp_path / "run")
    tensors, about = load_checkpoint(run.checkpoint)
    save_checkpoint(run.checkpoint, tensors, about | damage)
    with pytest.raises(InputError, match=r"damaged|cannot be used"):
        Run.resume(run.folder)


@pytest.mark.parametrize("spoil", [lambda E: E * np.nan, lambda E: E.astype(np.int32)])
def test_parameters_that_are_no_numbers_are_a_clear_error(tmp_path, spoil):
    run = start(tmp_path / "run")
    tensors, about = load_checkpoint(run.checkpoint)
    save_checkpoint(run.checkpoint, tensors | {"params.E": spoil(tensors["params.E"])}, about)
    with pytest.raises(InputError, match="cannot be used"):
        load_trained(run.folder)


# --- checkpoints of before ---


def as_format_1(run):
    """What the first numpylm would have written of this run."""
    tensors, about = load_checkpoint(run.checkpoint)
    moments = {
        name.replace("optimizer.", "moments."): tensor
        for name, tensor in tensors.items()
        if name != "optimizer.steps"
    }
    for new in ("optimizer", "optimizer_class", "own", "obstacle"):
        del about[new]
    save_checkpoint(run.checkpoint, moments, about | {"format": 1, "model": "attention"})


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_checkpoint_of_format_1_is_still_resumed_to_the_same_bytes(tmp_path, optimizer):
    options = {"optimizer": optimizer, "learning_rate": 0.02}
    whole = files(finished(start(tmp_path / "whole", **options)))
    run = start(tmp_path / "run", **options)
    walk(run, 4)
    run.save()
    as_format_1(run)
    loaded = load_trained(run.folder)
    assert loaded.about["format"] == 1 and type(loaded.model) is AttentionLM
    resumed = Run.resume(run.folder)
    assert resumed.steps_done == resumed.optimizer.steps == 4
    lines = whole[1].splitlines()[:4]
    run.log.write_bytes(b"".join(line + b"\n" for line in lines))
    assert files(finished(Run.resume(run.folder))) == whole


# --- the last evaluation ---


def test_the_last_evaluation_is_handed_on_and_not_made_again(tmp_path, monkeypatch):
    run = finished(start(tmp_path))
    once = run.final_evaluation()
    monkeypatch.setattr(Run, "evaluate", lambda run, windows=None: pytest.fail("made again"))
    assert run.final_evaluation() is once
    monkeypatch.undo()
    run.step()  # from here on it is another model
    assert run.final_evaluation() is not once and run.final_evaluation() == run.evaluate()


def test_a_run_shows_its_sizes(tmp_path):
    run = start(tmp_path / "run")
    assert repr(run) == (
        "Run(AttentionLM, 192 parameters; batches of 8 windows of 6 from 280 ids; Adam; step 0 of "
        f"12; {str(tmp_path / 'run')!r})"
    )
