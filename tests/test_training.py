import importlib
import json
import math
import signal
import threading
from dataclasses import replace

import numpy as np
import pytest

from numpylm.attention_lm import AttentionLM, AttentionLMConfig
from numpylm.batches import sample_batch, sweep
from numpylm.corpora import Corpus, CorpusConfig, bigram_nats, load_corpus, unigram_nats
from numpylm.errors import InputError
from numpylm.gpt import GPT, GPTConfig
from numpylm.metrics import evaluate
from numpylm.optim import SGD, Adam, learning_rate_at
from numpylm.reports import introduction, seconds_needed, summary
from numpylm.runs import Run
from numpylm.sampling import generate
from numpylm.train_config import TrainConfig
from numpylm.training import Training, train

reports = importlib.import_module("numpylm.reports")

REACHED = 0.02  # nats over the entropy; the default run ends at about 0.004
LEARNABLE = 0.005  # nats: held-out tokens of `random` vary by less, and the leak is 0.06
UNLEARNABLE = 1e-3  # nats: rounding, and one start being a little more frequent than the other
ROUNDING = 1e-5  # relative, float32

SMALL = {"sentences": 200, "heldout_sentences": 100}


def start(tmp_path, corpus=None, model=None, dtype=np.float32, **config):
    return Run.from_configs(
        tmp_path / "run",
        AttentionLM,
        AttentionLMConfig(**(model or {})),
        CorpusConfig(**(SMALL | {"corpus": "topics"} if corpus is None else corpus)),
        TrainConfig(**config),
        dtype,
    )


def trained(*args, **options):
    run = start(*args, **options)
    assert run.train(progress=False)
    return run


def log_of(run):
    return [json.loads(line) for line in run.log.read_text(encoding="utf-8").splitlines()]


def heldout_of(run):
    return [line["heldout"] for line in log_of(run) if "heldout" in line]


# --- what the one-matrix model can and cannot learn ---


def test_the_default_run_reaches_the_entropy_of_topics(tmp_path):
    run = trained(tmp_path, corpus={})
    assert run.corpus.entropy == pytest.approx(math.log(8))
    assert abs(run.evaluate().loss - run.corpus.entropy) < REACHED
    assert heldout_of(run)[-1] == run.evaluate().loss


def test_sgd_reaches_it_too(tmp_path):
    run = trained(tmp_path, corpus={}, steps=300, optimizer="sgd", learning_rate=0.5)
    assert abs(run.evaluate().loss - run.corpus.entropy) < REACHED


def test_abab_cannot_be_learned_by_the_one_matrix_model(tmp_path):
    run = trained(tmp_path, {"corpus": "abab"} | SMALL, {"width": 8}, steps=600, eval_every=20)
    losses = [line["loss"] for line in log_of(run)]
    assert min(losses + heldout_of(run)) > math.log(2) - UNLEARNABLE
    assert run.corpus.entropy == 0 and run.evaluate().loss < math.log(2) + UNLEARNABLE


@pytest.mark.parametrize("causal", [True, False])
def test_random_tokens_are_learned_only_by_a_leak_and_only_without_the_causal_mask(
    tmp_path, causal
):
    model = {"width": 16, "causal": causal}
    run = trained(tmp_path, {"corpus": "random"}, model, steps=500, eval_every=50)
    if causal:
        assert min(heldout_of(run)) > math.log(8) - LEARNABLE
    else:
        assert run.evaluate().loss < math.log(8) - 10 * LEARNABLE


def test_few_sentences_are_learned_by_heart_and_new_ones_suffer(tmp_path):
    corpus = {"sentences": 8, "heldout_sentences": 100}
    run = trained(tmp_path, corpus, steps=300, eval_every=50)
    known = evaluate(run.model, sweep(run.corpus.train, 64, 8)).loss
    assert known < run.corpus.entropy - 0.2
    assert run.evaluate().loss > run.corpus.entropy + 1
    assert run.evaluate().loss > min(heldout_of(run))  # it was better before


# --- one step ---


def test_a_step_reports_the_loss_before_it_and_the_norm_of_its_gradient(tmp_path):
    run = start(tmp_path)
    rng = np.random.default_rng()
    rng.bit_generator.state = run.rng.bit_generator.state
    batch = sample_batch(rng, run.corpus.train, 32, 8)
    loss, cache = run.model.loss(*batch)
    norm = np.linalg.norm(run.model.loss_backward(cache).flat)
    assert run.step() == {
        "step": 1,
        "loss": pytest.approx(loss, rel=ROUNDING),
        "rate": 0.01,
        "norm": pytest.approx(norm, rel=ROUNDING),
    }
    assert run.steps_done == 1
    assert run.model.loss(*batch)[0] < loss
    assert rng.bit_generator.state == run.rng.bit_generator.state  # one batch was drawn


@pytest.mark.parametrize("clip", [0.0, 0.02, 1e6])
def test_f10_the_step_is_that_of_the_clipped_gradient(tmp_path, clip):
    options = {"optimizer": "sgd", "momentum": 0.0, "schedule": "constant", "learning_rate": 0.5}
    run = start(tmp_path, dtype=np.float64, clip=clip, **options)
    before = run.model.params.flat.copy()
    line = run.step()
    moved = np.linalg.norm(run.model.params.flat - before)
    assert line["norm"] > 0.02
    used = 0.02 if clip == 0.02 else line["norm"]
    assert moved == pytest.approx(0.5 * used, rel=ROUNDING)


def test_f10_every_step_is_clipped_in_the_warm_up_and_after_it(tmp_path):
    options = {"optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.5, "warmup": 2}
    run = start(tmp_path, dtype=np.float64, clip=0.02, steps=6, schedule="constant", **options)
    for _ in range(6):
        before = run.model.params.flat.copy()
        line = run.step()
        assert line["norm"] > 0.02
        moved = np.linalg.norm(run.model.params.flat - before)
        assert moved == pytest.approx(0.02 * line["rate"], rel=ROUNDING)


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_f11_every_step_takes_the_rate_of_the_schedule(tmp_path, schedule):
    run = trained(
        tmp_path, steps=12, warmup=3, learning_rate=0.1, final_rate=0.2, schedule=schedule
    )
    due = [learning_rate_at(s, 0.1, 3, 12, floor=0.02, schedule=schedule) for s in range(12)]
    assert [line["rate"] for line in log_of(run)] == pytest.approx(due, rel=ROUNDING)
    assert due[0] == pytest.approx(0.025) and due[3] == 0.1  # warm-up
    assert due[-1] < 0.04 or schedule == "constant"


@pytest.mark.parametrize(
    ("option", "kind"),
    [
        ({"optimizer": "adam", "beta1": 0.5}, "Adam"),
        ({"optimizer": "adam", "beta2": 0.5}, "Adam"),
        ({"optimizer": "sgd", "momentum": 0.5}, "SGD"),
        ({"weight_decay": 0.5}, "Adam"),
        ({"optimizer": "sgd", "weight_decay": 0.5}, "SGD"),
    ],
)
def test_every_option_of_the_optimizer_reaches_it(tmp_path, option, kind):
    run = start(tmp_path, steps=3, **option)
    assert type(run.optimizer).__name__ == kind
    plain = start(tmp_path / "plain", steps=3, optimizer=run.config.optimizer)
    for _ in range(3):
        run.step()
        plain.step()
    assert not np.array_equal(run.model.params.flat, plain.model.params.flat)


def test_the_seed_decides_the_numbers_and_the_order_of_the_data(tmp_path):
    runs = [
        trained(tmp_path / name, steps=5, seed=seed)
        for name, seed in [("a", 1), ("b", 1), ("c", 2)]
    ]
    first, again, other = (log_of(run) for run in runs)
    assert first == again
    assert [line["loss"] for line in first] != [line["loss"] for line in other]


# --- the loop ---


def test_the_log_has_one_line_a_step_and_looks_at_held_out_text_as_asked(tmp_path):
    run = trained(tmp_path, steps=11, eval_every=4)
    lines = log_of(run)
    assert [line["step"] for line in lines] == list(range(1, 12))
    assert [line["step"] for line in lines if "heldout" in line] == [4, 8, 11]
    assert set(lines[0]) == {"step", "loss", "rate", "norm"}


def test_a_look_takes_the_first_windows_and_the_last_look_takes_all(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(Run, "evaluate", lambda self, windows=None: asked.append(windows) or RESULT)
    trained(tmp_path, steps=6, eval_every=2, eval_windows=5)
    assert asked == [5, 5, None]


RESULT = evaluate(
    AttentionLM(AttentionLMConfig(vocab_size=3), np.random.default_rng(0)),
    [(np.zeros((1, 2), int), np.zeros((1, 2), int))],
)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_the_step_it_met_and_saves_it(tmp_path, monkeypatch, signum):
    run = start(tmp_path, steps=20, eval_every=10)
    missed = []
    original = signal.signal(signum, lambda *args: missed.append(args))
    try:
        signal_at_step(monkeypatch, {7}, signum)
        assert not run.train(progress=False)
        assert not missed
        signal.raise_signal(signum)  # after training it is answered as before
        assert len(missed) == 1
    finally:
        signal.signal(signum, original)
    assert (run.steps_done, Run.resume(run.folder).steps_done) == (7, 7)
    assert len(log_of(run)) == 7


def test_a_second_signal_waits_for_the_end_of_a_step_and_a_third_one_does_not(
    tmp_path, monkeypatch
):
    run = start(tmp_path / "two", steps=20, eval_every=5)
    with monkeypatch.context() as patch:
        signal_at_step(patch, {7}, signal.SIGINT, times=2)
        assert not run.train(progress=False)
    assert Run.resume(run.folder).steps_done == 7
    run = start(tmp_path / "three", steps=20, eval_every=5)
    before = signal.getsignal(signal.SIGINT)
    signal_at_step(monkeypatch, {7}, signal.SIGINT, times=3)
    with pytest.raises(KeyboardInterrupt):
        run.train(progress=False)
    assert Run.resume(run.folder).steps_done == 5
    assert signal.getsignal(signal.SIGINT) == before


def signal_at_step(monkeypatch, steps, signum, times=1):
    """Send this process a signal at the end of each of these steps."""

    one_step = Training.step

    def step_and_signal(run):
        line = one_step(run)
        for _ in range(times * (run.steps_done in steps)):
            signal.raise_signal(signum)
        return line

    monkeypatch.setattr(Training, "step", step_and_signal)


def test_a_thread_that_may_not_answer_signals_trains_all_the_same(tmp_path):
    run, done = start(tmp_path, steps=3), []
    thread = threading.Thread(target=lambda: done.append(run.train(progress=False)))
    thread.start()
    thread.join()
    assert done == [True] and run.steps_done == 3


def test_the_progress_bar_shows_loss_held_out_loss_and_speed(tmp_path, capsys):
    assert start(tmp_path, steps=4, eval_every=2).train()
    shown = capsys.readouterr().err
    assert (
        "step 4 of 4" in shown and "loss " in shown and "held-out " in shown and "tokens/s" in shown
    )


# --- numbers that are not finite ---


def diverge(run, message):
    """Train, expect these words, and find the checkpoint unchanged and fit to be resumed."""
    before = run.checkpoint.read_bytes()
    with pytest.raises(InputError, match=message) as caught:
        run.train(progress=False)
    assert "unchanged" in str(caught.value) and "smaller" in str(caught.value)
    assert run.checkpoint.read_bytes() == before
    resumed = Run.resume(run.folder)
    assert resumed.steps_done == 0
    return resumed


def test_a_parameter_that_is_not_finite_stops_the_run_by_name(tmp_path):
    run = start(tmp_path, steps=5)
    run.model.params["E"][:, 3] = np.inf
    resumed = diverge(run, r"step 1: parameter E is inf at \[0, 3\]")
    assert resumed.train(progress=False)


def test_a_learning_rate_too_large_stops_the_run_at_the_first_activation_that_went_bad(tmp_path):
    diverge(start(tmp_path, learning_rate=1e30), r"step 2: activation attention\.a is nan at \[")


def test_probabilities_that_are_not_finite_are_named(tmp_path):
    run = start(tmp_path, model={"tied": False})
    run.model.params["U"][...] = 1e38 * np.sign(run.model.params["U"])
    run.model.params["E"][...] = 5.0
    diverge(run, r"step 1: output p is nan at \[0, 0\]")


def test_a_gradient_that_is_not_finite_is_named(tmp_path, monkeypatch):
    run = start(tmp_path)

    def backward(cache):
        grads = run.model.params.like()
        grads["E"][2, 1] = -np.inf
        return grads

    monkeypatch.setattr(run.model, "loss_backward", backward)
    diverge(run, r"step 1: gradient E is -inf at \[2, 1\]")


def test_parameters_that_the_last_step_spoiled_are_not_saved(tmp_path):
    run = start(tmp_path, learning_rate=1e20, weight_decay=1e20, eval_every=1)
    diverge(run, r"after step 1: parameter E is -?inf at \[0, 0\]")


# --- what a person is told ---


def test_the_introduction_says_what_is_trained_on_what_and_what_to_compare_it_with(tmp_path):
    run = start(tmp_path, steps=70)
    text = introduction(run)
    assert "AttentionLM, 1,536 parameters" in text
    assert "causal True" in text and "width 32" in text
    assert "topics" in text and "200 + 100 sentences" in text
    assert f"{math.log(48):.4f} nats  knowing nothing: ln 48" in text
    assert f"{math.log(8):.4f} nats  knowing everything: the entropy" in text
    assert "steps 0 to 70" in text and "adam at 0.01" in text
    assert text.count("; about ") == 1 and str(run.folder) in text
    assert "note" not in text


def test_the_introduction_to_a_text_counts_tokens_and_pairs(tmp_path):
    path = tmp_path / "some.txt"
    path.write_text("the cat sat on the mat. " * 40, encoding="utf-8")
    run = start(tmp_path, {"text": str(path)})
    text, corpus = introduction(run), run.corpus
    V = corpus.tokenizer.vocab_size
    assert f"{unigram_nats(corpus.train, corpus.heldout, V):.4f} nats  counting tokens" in text
    assert f"{bigram_nats(corpus.train, corpus.heldout, V):.4f} nats  counting pairs" in text
    assert "knowing everything" not in text


@pytest.mark.parametrize(
    ("options", "leaks"),
    [
        ({"causal": False}, True),
        ({"causal": True}, False),
        ({"causal": False, "context": "last"}, False),
    ],
)
def test_a_model_that_sees_its_own_targets_is_announced_as_one(tmp_path, options, leaks):
    text = introduction(start(tmp_path, model=options))
    assert ("every position sees the token it predicts" in text) == leaks


def test_the_summary_says_how_good_it_is_shows_a_sample_and_where_everything_is(tmp_path):
    run = trained(tmp_path, steps=60)
    result, text = run.evaluate(), summary(run)
    assert f"{result.loss:.4f} nats per token, " in text and "; 800 tokens" in text
    assert f"{result.loss - math.log(8):+.4f} over the entropy" in text
    assert f"perplexity {math.exp(result.loss):.3f}" in text
    assert f"accuracy {result.accuracy:.1%}" in text
    sample = next(line for line in text.splitlines() if line.startswith("sample")).split()[1:]
    assert len(sample) == 9 and set(sample) <= set(run.corpus.tokenizer.symbols)
    assert f"{run.folder}: checkpoint.safetensors, config.json, log.jsonl" in text


def test_the_summary_of_a_text_claims_no_entropy(tmp_path):
    path = tmp_path / "some.txt"
    path.write_text("the cat sat on the mat. " * 40, encoding="utf-8")
    text = summary(trained(tmp_path, {"text": str(path)}, steps=5))
    assert "entropy" not in text and "perplexity" in text


def test_the_summary_of_a_text_counts_nats_per_character_so_that_tokenizers_compare(tmp_path):
    path = tmp_path / "some.txt"
    path.write_text("the cat sat on the mat.\n" * 400, encoding="utf-8")
    for tokenizer in ("characters", "byte-pairs"):
        if tokenizer == "byte-pairs":
            pytest.importorskip("tokenizers")
        corpus = {"text": str(path), "tokenizer": tokenizer, "max_vocab": 260}
        run = trained(tmp_path / tokenizer, corpus, steps=5)
        first = len(run.corpus.tokenizer.decode(run.corpus.heldout[:1]))
        characters = 960 - first  # the last tenth of 9,600; the first token is given
        assert f"{run.evaluate().nats / characters:.4f} per character" in summary(run)


def test_words_claim_no_nats_per_character_for_they_do_not_predict_white_space(tmp_path):
    path = tmp_path / "some.txt"
    path.write_text("the cat sat on the mat.\n" * 40, encoding="utf-8")
    run = trained(tmp_path, {"text": str(path), "tokenizer": "words"}, steps=5)
    assert "per character" not in summary(run)


def test_dropout_is_on_in_training_and_draws_from_the_generator_of_the_run(tmp_path):
    config = GPTConfig(context_length=8, layers=1, heads=2, width=8, dropout=0.5)
    runs = [
        Run.from_configs(tmp_path / name, GPT, config, CorpusConfig(), TrainConfig(batch_size=4))
        for name in ("stepped", "by-hand")
    ]
    line = runs[0].step()
    x, y = sample_batch(runs[1].rng, runs[1].corpus.train, 4, 8)
    evaluated = float(runs[1].model.loss(x, y)[0])
    assert line["loss"] == float(runs[1].model.loss(x, y, runs[1].rng)[0]) != evaluated


def test_telling_how_long_it_takes_changes_nothing(tmp_path):
    run = start(tmp_path, steps=50)
    run.step()

    def state():
        moments = [np.asarray(part).tobytes() for part in run.optimizer.state().values()]
        return run.model.params.flat.tobytes(), moments, run.steps_done, run.rng.bit_generator.state

    before = state()
    assert seconds_needed(run) > 0
    introduction(run), summary(run)
    assert state() == before


def test_what_is_left_shortens_the_time(tmp_path, monkeypatch):
    ticks = iter(range(1000))  # every look at the clock is one second after the one before
    monkeypatch.setattr(reports.time, "perf_counter", lambda: float(next(ticks)))
    run = start(tmp_path, steps=400, eval_every=100, eval_windows=96)
    assert seconds_needed(run) == 400 * 2 + 4 * 3  # forward 1, forward and backward 2
    run.steps_done = 300
    assert seconds_needed(run) == 100 * 2 + 1 * 3
    run.config = replace(run.config, eval_every=50)
    assert seconds_needed(run) == 100 * 2 + 2 * 3
    assert reports._time(12.4) == "12 s" and reports._time(150) == "2 min"


# --- in memory ---


@pytest.fixture(scope="module")
def topics():
    return load_corpus(CorpusConfig(sentences=200, heldout_sentences=50), 8)


def small(**options):
    return AttentionLM(vocab_size=48, width=8, **options)


def test_four_lines_train_a_gpt_on_a_text_and_let_it_write(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    corpus = Corpus.from_text("the cat sat on the mat. " * 30)
    size = {"layers": 1, "heads": 2, "width": 16, "context_length": 16}
    model = GPT(vocab_size=corpus.tokenizer.vocab_size, **size)
    result = train(model, corpus, steps=60)
    assert generate(model, corpus, "the ", tokens=10).startswith("the ")
    assert "step 60 of 60" in capsys.readouterr().err and not list(tmp_path.iterdir())
    assert result.losses.shape == (60,) and result.losses[-1] < 0.75 * result.losses[0]
    assert result.heldout_steps.tolist() == [60] and result.heldout.shape == (1,)
    assert result.evaluation == evaluate(model, corpus, 32) and not result.remark
    assert result.evaluation.loss == result.heldout[-1]
    assert repr(result) == (
        f"TrainResult(60 steps: loss {result.losses[-1]:.4f}, "
        f"held-out {result.heldout[-1]:.4f} nats)"
    )
    lines = result.plot().axes[0].get_lines()
    np.testing.assert_array_equal(lines[0].get_ydata(), result.losses)


def test_train_takes_the_options_of_train_config_and_a_run_of_the_same_ones_agrees(
    tmp_path, topics
):
    options = {"warmup": 3, "weight_decay": 0.1, "eval_every": 4, "clip": 0.5, "seed": 3}
    result = train(small(), topics, 9, 0.02, 16, "sgd", progress=False, **options)
    config = TrainConfig(steps=9, learning_rate=0.02, batch_size=16, optimizer="sgd", **options)
    run = Run.start(tmp_path, small(), topics, config)
    run.train(progress=False)
    assert log_of(run) == result.log


def test_an_rng_that_is_not_given_is_one_of_seed_0(topics):
    logs = [
        train(small(), topics, 3, progress=False, **options).log
        for options in ({}, {"seed": 0}, {"rng": np.random.default_rng(0)}, {"seed": 1})
    ]
    assert logs[0] == logs[1] == logs[2] != logs[3]


def test_the_learning_rate_is_a_number_or_a_function_of_the_step(topics):
    result = train(small(), topics, 4, lambda step: 0.1 / (step + 1), progress=False)
    assert [line["rate"] for line in result.log] == [0.1 / n for n in (1, 2, 3, 4)]
    result = train(small(), topics, 4, 0.5, progress=False, schedule="constant")
    assert [line["rate"] for line in result.log] == [0.5] * 4
    result = train(small(), topics, 4, progress=False)
    assert result.log[0]["rate"] == 0.01
    training = Training(small(), topics, learning_rate=lambda step: 2.0**-step)
    assert [training.step()["rate"] for _ in range(3)] == [1, 0.5, 0.25]


def test_a_model_with_layers_starts_more_carefully():
    model = GPT(vocab_size=48, context_length=8, layers=1, heads=2, width=8)
    ids = np.arange(48)
    rates = [line["rate"] for line in train(model, ids, 20, progress=False).log]
    assert max(rates) == rates[2] == 0.003 and rates[0] == pytest.approx(0.001)
    assert train(model, ids, 20, 0.01, progress=False).log[0]["rate"] == 0.01


@pytest.mark.parametrize("make", [SGD, lambda params: Adam(params, beta1=0.5)])
def test_an_optimizer_is_given_by_name_by_its_class_or_made_already(topics, make):
    class_given = train(small(), topics, 3, 0.1, optimizer=make, progress=False)
    model = small()
    made = train(model, topics, 3, 0.1, optimizer=make(model.params), progress=False)
    assert class_given.log == made.log
    default = train(small(), topics, 3, 0.1, progress=False)
    assert default.log[2]["loss"] != made.log[2]["loss"]


def test_ids_alone_are_trained_on_and_nothing_is_held_out():
    result = train(small(), np.arange(200) % 48, 3, progress=False)
    assert len(result.losses) == 3 and not len(result.heldout) and result.evaluation is None
    result = train(small(), np.arange(200) % 48, 3, progress=False, heldout=np.arange(48))
    assert result.evaluation.tokens == 47


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"corpus": "some text"}, r"make a corpus of it with Corpus\.from_text"),
        (
            {"corpus": np.arange(8)},
            "8 tokens to train on are too few for a window of context_length = 8",
        ),
        ({"corpus": np.arange(60)}, r"train must lie in \[0, 48\).*found 48"),
        ({"batch_size": 300}, "batch_size 300 is more than the 200 windows"),
        ({"steps": 0}, "steps must be at least 1, not 0"),
        ({"steps": "5"}, "steps must be of type int"),
        ({"lr": 0.1}, "TrainConfig has no option 'lr'.*it has .*learning_rate"),
        ({"learning_rate": -1.0}, "learning_rate must be above 0"),
        ({"optimizer": "adamw"}, "optimizer must be one of adam, sgd, not 'adamw'"),
        ({"optimizer": 3}, "optimizer must have step.*not a int"),
        ({"model": AttentionLM}, "the class AttentionLM has none"),
        ({"model": None}, "model must have params, loss and loss_backward"),
        ({"heldout": 3}, "must be a corpus, ids, .*not a int"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_told_before_any_work(topics, given, words, monkeypatch):
    monkeypatch.setattr(Training, "step", lambda training: pytest.fail("it has begun"))
    given = {"model": small(), "corpus": topics} | given
    with pytest.raises(InputError, match=words):
        train(given.pop("model"), given.pop("corpus"), progress=False, **given)


def test_a_corpus_with_more_symbols_than_the_model_says_how_to_make_the_model(topics):
    with pytest.raises(InputError, match=r"48 symbols.*is 40.*vocab_size=corpus\.tokenizer"):
        train(AttentionLM(vocab_size=40), topics)


def test_a_training_shows_its_sizes(topics):
    assert repr(Training(small(), topics)) == (
        "Training(AttentionLM, 384 parameters; batches of 32 windows of 8 from 1,800 ids; Adam; "
        "step 0)"
    )
    assert repr(topics).startswith("Corpus(topics (")
    assert repr(RESULT).startswith("Evaluation(0.9443 nats per token, perplexity 2.571")


def test_evaluation_without_anything_held_out_says_what_to_give():
    with pytest.raises(InputError, match="nothing is held out: give heldout"):
        Training(small(), np.arange(40)).evaluate()
