"""What a reader brings is trained, killed and resumed like what the library has."""

import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from own_things import CONFIG, THINGS, Bigram, Ids, Lion, coin, run_of

import numpylm
from numpylm.checkpoints import load_checkpoint
from numpylm.corpora import Corpus
from numpylm.errors import InputError
from numpylm.gpt import GPT
from numpylm.model import ModelConfig
from numpylm.optim import Adam
from numpylm.runs import Run
from numpylm.tokenizers import CharTokenizer
from numpylm.trained import load_trained
from numpylm.training import Training, train

DIES_AT = {"bigram": 7, "language": 3, "class": 5, "span": 11, "masked": 8, "pairs": 9}
HANG = 120  # seconds after which a process that should have ended is said to hang


def files(folder):
    return (folder / "checkpoint.safetensors").read_bytes(), (folder / "log.jsonl").read_bytes()


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A folder in which every run was killed once, really, and resumed by the next process."""
    folder = tmp_path_factory.mktemp("killed")
    paths = [str(Path(numpylm.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    script = [sys.executable, str(Path(__file__).with_name("own_things.py")), str(folder)]
    deaths = [f"{name}={step}" for name, step in DIES_AT.items()]
    done = subprocess.run(
        [*script, *deaths], env=environment, capture_output=True, text=True, timeout=HANG
    )
    ends = [f"{name} {code}" for name in DIES_AT for code in (-signal.SIGKILL, 0)]
    assert done.stdout.splitlines() == ends, done.stderr
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="forks after NumPy has been loaded")
@pytest.mark.parametrize("name", THINGS)
def test_what_was_killed_and_resumed_ends_with_the_same_bytes(killed, tmp_path, name):
    run = run_of(name, tmp_path)
    assert run.train(progress=False)
    assert files(tmp_path / name) == files(killed / name)
    lines = run.read_log()
    assert len(lines["step"]) == CONFIG.steps and np.isfinite(lines["loss"]).all()
    assert np.isfinite(lines.get("heldout", [0])[-1])


def test_a_training_in_memory_goes_on_from_a_state_that_was_taken_of_another():
    first, again = (Training(Bigram(ModelConfig(9, 4)), Ids(), Lion) for _ in range(2))
    for _ in range(4):
        first.step()
    state = first.state()
    lines = [first.step() for _ in range(5)]
    again.load_state(state)
    assert [again.step() for _ in range(5)] == lines
    np.testing.assert_array_equal(first.model.params.flat, again.model.params.flat)


# ---- what is the caller's is given again -----------------------------------------------------


@pytest.fixture
def bigram(tmp_path):
    return run_of("bigram", tmp_path)


def test_a_checkpoint_names_its_class_and_imports_nothing_by_name(bigram):
    assert load_checkpoint(bigram.checkpoint)[1]["model"] == "Bigram"
    with pytest.raises(InputError, match=r"does not know 'Bigram': give its class"):
        load_trained(bigram.folder)
    loaded = load_trained(bigram.folder, model=Bigram)
    np.testing.assert_array_equal(loaded.model.params.flat, bigram.model.params.flat)
    assert loaded.tokenizer is None
    other = Bigram(ModelConfig(9, 4), np.random.default_rng(9))
    assert load_trained(bigram.folder, model=other).model is other  # a model is loaded into
    np.testing.assert_array_equal(other.params.flat, bigram.model.params.flat)


def test_another_class_than_the_named_one_is_refused(bigram):
    with pytest.raises(InputError, match=r"its model is a Bigram, not a GPT"):
        load_trained(bigram.folder, model=GPT)


def test_a_class_of_a_readers_own_with_the_name_of_ours_is_not_taken_for_ours(tmp_path):
    class GPT(Bigram):
        pass

    run = Run.start(tmp_path / "run", GPT(ModelConfig(9, 4)), Ids(), CONFIG)
    with pytest.raises(InputError, match=r"does not know 'GPT'"):
        load_trained(run.folder)
    assert type(load_trained(run.folder, model=GPT).model) is GPT


@pytest.mark.parametrize(
    ("leave_out", "words"),
    [
        ("model", "give its class"),
        ("corpus", r"started with a corpus of its own.*corpus=\.\.\."),
        ("optimizer", r"started with a optimizer of its own.*optimizer=\.\.\."),
    ],
)
def test_what_is_not_given_again_is_asked_for(bigram, leave_out, words):
    given = {"model": Bigram, "corpus": Ids(), "optimizer": Lion}
    assert Run.resume(bigram.folder, **given).steps_done == 0
    del given[leave_out]
    with pytest.raises(InputError, match=words):
        Run.resume(bigram.folder, **given)


def test_another_corpus_or_optimizer_than_before_is_refused(bigram):
    other = Ids()
    other.train = other.train[::-1]
    with pytest.raises(InputError, match="the corpus Ids is not the text"):
        Run.resume(bigram.folder, model=Bigram, corpus=other, optimizer=Lion)
    with pytest.raises(InputError, match="was started with the optimizer Lion, not Adam"):
        Run.resume(bigram.folder, model=Bigram, corpus=Ids(), optimizer=Adam)


class Pairs(CharTokenizer):
    """A tokenizer that is in no registry: two characters at a time."""

    kind = "pairs of characters"

    @staticmethod
    def split(text):
        return [text[i : i + 2] for i in range(0, len(text), 2)]


def test_a_tokenizer_of_a_readers_own_is_not_looked_for_and_its_corpus_is_given_again(tmp_path):
    text = "the cat sat on the mat. " * 30
    corpus = Corpus.from_text(text, Pairs(sorted(set(Pairs.split(text)))))
    model = Bigram(ModelConfig(corpus.tokenizer.vocab_size, 4))
    run = Run.start(tmp_path, model, corpus, CONFIG)
    assert load_trained(tmp_path, model=Bigram).tokenizer is None
    with pytest.raises(InputError, match=r"started with a corpus of its own"):
        Run.resume(tmp_path, model=Bigram)
    again = Run.resume(tmp_path, model=Bigram, corpus=corpus)
    assert again.train(progress=False)
    with pytest.raises(InputError, match="Resume it again"):
        run.train(progress=False)
    run = Run.start(tmp_path / "other", Bigram(model.config), corpus, CONFIG)
    assert run.train(progress=False)
    np.testing.assert_array_equal(again.model.params.flat, run.model.params.flat)


# ---- what cannot be resumed says so ----------------------------------------------------------


class Plain:
    """A step and nothing else."""

    def __init__(self, params):
        self.params = params

    def step(self, grads, learning_rate):
        self.params.flat[...] -= learning_rate * grads.flat


def test_an_optimizer_without_a_state_trains_and_says_that_it_cannot_be_resumed(tmp_path):
    with pytest.warns(UserWarning, match="cannot be resumed: its optimizer, a Plain, has"):
        run = Run.start(tmp_path, Bigram(ModelConfig(9, 4)), Ids(), CONFIG, optimizer=Plain)
    assert run.train(progress=False)
    assert len(run.read_log()["step"]) == CONFIG.steps
    trained = load_trained(tmp_path, model=Bigram).model
    np.testing.assert_array_equal(trained.params.flat, run.model.params.flat)
    with pytest.raises(InputError, match=r"cannot be resumed: its optimizer, a Plain"):
        Run.resume(tmp_path, model=Bigram, corpus=Ids(), optimizer=Plain)
    with pytest.raises(InputError, match=r"cannot be resumed: its optimizer, a Plain"):
        Training(Bigram(ModelConfig(9, 4)), Ids(), Plain).state()


def test_a_state_that_no_file_can_hold_is_refused_before_the_first_step(tmp_path):
    class Odd(Lion):
        def state(self):
            return {"when": object()}

    with pytest.raises(InputError, match=r"optimizer\.when is of type object"):
        Run.start(tmp_path, Bigram(ModelConfig(9, 4)), Ids(), CONFIG, optimizer=Odd)


def test_an_optimizer_of_other_parameters_is_refused():
    one, other = (Bigram(ModelConfig(9, 4)) for _ in range(2))
    with pytest.raises(InputError, match="made for other parameters"):
        Training(one, Ids(), Adam(other.params))


# ---- in memory -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", THINGS)
def test_all_of_it_is_trained_in_memory_too_and_nothing_is_written(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, batches, own = THINGS[name]()
    before = model.params.flat.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = train(model, batches, 6, progress=False, eval_every=3, workers=2, **own)
    assert len(result.losses) == 6 and not np.array_equal(model.params.flat, before)
    assert len(result.heldout) == (0 if name == "masked" else 2)
    assert not list(tmp_path.iterdir())


def test_a_language_of_a_readers_own_has_an_entropy_that_a_model_reaches():
    corpus = Corpus.from_language(coin(), 7, 2000, 400)
    result = train(GPT(vocab_size=2, context_length=6, layers=1, heads=2, width=8, dropout=0.0),
                   corpus, 150, 0.02, progress=False)  # fmt: skip
    assert 0.3 < corpus.entropy < 0.6
    assert abs(result.evaluation.loss - corpus.entropy) < 0.03
