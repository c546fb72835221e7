import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from numpylm import optim
from numpylm.attention_lm import AttentionLM, AttentionLMConfig
from numpylm.corpora import CorpusConfig
from numpylm.errors import InputError
from numpylm.gpt import GPT, GPTConfig
from numpylm.ops import IGNORE
from numpylm.optim import SGD, Adam, global_norm
from numpylm.parallel import ALONE, Shares, Team, Workers, ring_all_reduce_seconds
from numpylm.reports import seconds_needed
from numpylm.runs import Run, TrainConfig
from numpylm.transformer import Transformer, TransformerConfig

ROUNDING = 1e-13  # relative, float64: sums of a few hundred numbers in another order
SINGLE = 1e-5  # relative, float32, after some steps
HANG = 120  # seconds after which a process that should have ended is said to hang

B, T, V = 5, 4, 7


def gpt(dropout=0.0):
    config = GPTConfig(V, T, layers=2, heads=2, width=6, dropout=dropout, init_std=0.5)
    return GPT(config, np.random.default_rng(0), np.float64)


def one_matrix(context):
    config = AttentionLMConfig(V, T, width=6, context=context, init_std=1.0)
    return AttentionLM(config, np.random.default_rng(0), np.float64)


def batch():
    rng = np.random.default_rng(1)
    return rng.integers(V, size=(B, T)), rng.integers(V, size=(B, T))


def gradient(learner, x, y, rng=None):
    loss, cache = learner.loss(x, y, rng=rng)
    return loss, learner.loss_backward(cache).flat


def relative(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


# --- threads ---


@pytest.mark.parametrize("workers", [1, 2, 3, B, B + 3])
@pytest.mark.parametrize("model", [gpt(), one_matrix("all"), one_matrix("last")])
def test_the_gradient_of_shares_is_the_gradient_of_the_batch(model, workers):
    loss, flat = gradient(model, *batch())
    shared_loss, shared = gradient(Workers(model, workers), *batch())
    assert abs(shared_loss - loss) < ROUNDING * loss
    assert relative(shared, flat) < ROUNDING


@pytest.mark.parametrize("workers", [2, 3, B])
def test_the_transformer_is_shared_too_and_padding_weighs_nothing(workers):
    config = TransformerConfig(V + 3, 8, layers=1, heads=2, width=6, smoothing=0.1)
    model = Transformer(config, np.random.default_rng(0), np.float64)
    source, target = np.random.default_rng(1).integers(3, V + 3, size=(2, B, T + 1))
    target[0, 3:] = target[3, 2:] = config.padding_id
    loss, flat = gradient(model, source, target)
    shared_loss, shared = gradient(Workers(model, workers), source, target)
    assert abs(shared_loss - loss) < ROUNDING * loss
    assert relative(shared, flat) < ROUNDING


@pytest.mark.parametrize("workers", [2, 3, B])
def test_a_share_weighs_as_much_as_it_has_targets_that_count(workers):
    x, y = batch()
    y[0, 1:] = y[1] = y[3, :2] = IGNORE  # with B workers, one has nothing to predict
    loss, flat = gradient(gpt(), x, y)
    shared_loss, shared = gradient(Workers(gpt(), workers), x, y)
    assert abs(shared_loss - loss) < ROUNDING * loss
    assert relative(shared, flat) < ROUNDING


def test_a_batch_with_nothing_to_predict_is_an_error_for_workers_too():
    x, y = batch()
    with pytest.raises(InputError, match="every target is ignored"):
        Workers(gpt(), 2).loss(x, np.full_like(y, IGNORE))


def test_the_shares_are_computed_at_once_by_threads(monkeypatch):
    together = threading.Barrier(2)  # none of the two can pass alone
    model, loss = gpt(), GPT.loss

    def meet(*args, rng):
        together.wait(HANG)
        return loss(model, *args, rng)

    monkeypatch.setattr(model, "loss", meet)
    _, cache = Workers(model, 2).loss(*batch())
    assert isinstance(cache, Shares) and sum(cache.weights) == pytest.approx(1)


def test_a_number_of_workers_gives_the_same_bytes_each_time():
    x, y = batch()
    flats = [gradient(Workers(gpt(0.3), 3), x, y, np.random.default_rng(7))[1] for _ in range(3)]
    assert flats[0].tobytes() == flats[1].tobytes() == flats[2].tobytes()


def test_every_share_drops_numbers_of_its_own_and_the_order_of_the_data_stays():
    rng, x = np.random.default_rng(7), np.zeros((4, T), int)
    before = rng.bit_generator.state
    _, cache = Workers(gpt(0.3), 2).loss(x, x, rng=rng)
    first, second = (forward.dropout for forward, _ in cache.caches)
    assert first.shape == second.shape and not np.array_equal(first, second)
    assert rng.bit_generator.state == before
    rng.integers(V)  # as the next batch does
    _, cache = Workers(gpt(0.3), 2).loss(x, x, rng=rng)
    assert not np.array_equal(cache.caches[0][0].dropout, first)


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
@pytest.mark.parametrize("size", [1, 5, 64, 65])
def test_threads_share_a_vector_without_gap_or_overlap_and_answer_in_order(
    monkeypatch, workers, size
):
    monkeypatch.setattr(optim, "BLOCK", 8)
    seen = np.zeros(size, int)

    def visit(block):
        seen[block] += 1
        return block.start

    starts = Workers(gpt(), workers).spread(visit, optim.blocks_of(seen))
    assert (seen == 1).all()
    assert starts == list(range(0, size, 8))


def test_the_threads_of_spread_work_at_once():
    together = threading.Barrier(2)  # none of the two can pass alone
    Workers(gpt(), 2).spread(lambda block: together.wait(HANG), [slice(0, 5), slice(5, 10)])


def test_when_one_thread_fails_the_others_have_ended_too():
    done = threading.Event()

    def work(block):
        if block.start:
            time.sleep(0.2)
            return done.set()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Workers(gpt(), 2).spread(work, [slice(0, 5), slice(5, 10)])
    assert done.is_set()


@pytest.mark.parametrize("kind", [Adam, partial(SGD, momentum=0.9)])
def test_an_optimizer_on_threads_changes_the_same_bits(monkeypatch, kind):
    monkeypatch.setattr(optim, "BLOCK", 32)
    alone, shared = gpt(), gpt()
    _, cache = alone.loss(*batch())
    grads, workers = alone.loss_backward(cache), Workers(shared, 3)
    assert global_norm(grads, workers.spread) == global_norm(grads)
    first, second = kind(alone.params, weight_decay=0.1), kind(shared.params, weight_decay=0.1)
    for _ in range(3):
        first.step(grads, 0.1)
        second.step(grads, 0.1, workers.spread)
    assert (
        alone.params.flat.tobytes() == shared.params.flat.tobytes() != gpt().params.flat.tobytes()
    )


# --- a run ---


def start(folder, model=None, **train_config):
    return Run.from_configs(
        folder,
        GPT,
        GPTConfig(context_length=8, layers=1, heads=2, width=8, **(model or {})),
        CorpusConfig(corpus="topics", sentences=200, heldout_sentences=20),
        TrainConfig(**({"steps": 8, "batch_size": 6, "eval_every": 4} | train_config)),
    )


def losses(folder):
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["loss"] for line in lines]


def test_a_run_with_workers_learns_what_a_run_without_learns(tmp_path):
    for workers in (1, 3):
        assert start(tmp_path / str(workers), workers=workers).train(progress=False)
    assert losses(tmp_path / "3") == pytest.approx(losses(tmp_path / "1"), rel=SINGLE)


def test_a_run_with_workers_and_dropout_resumes_to_the_same_bytes(tmp_path):
    options = {"model": {"dropout": 0.2}, "workers": 2}
    whole, broken = (start(tmp_path / name, **options) for name in "ab")
    assert whole.train(progress=False)
    for _ in range(4):
        broken.step()
    broken.save()
    assert Run.resume(broken.folder).train(progress=False)
    assert broken.checkpoint.read_bytes() == whole.checkpoint.read_bytes()


def test_more_workers_than_windows_are_an_error_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="batch_size 6 cannot be shared by 1 processes of 7"):
        start(tmp_path / "run", workers=7)
    assert not (tmp_path / "run").exists()


def test_numbers_that_are_not_finite_are_found_in_the_share_that_has_them(tmp_path):
    run = start(tmp_path, workers=2)
    run.model.params["block0.feed_forward.w_in"][...] = 1e30  # overflows in both threads, unwarned
    with pytest.raises(InputError, match="step 1: activation norm"):
        run.train(progress=False)


def test_the_time_a_run_needs_is_told_for_its_workers(tmp_path):
    assert seconds_needed(start(tmp_path, workers=2)) > 0


# --- processes ---


def test_alone_is_a_team_of_one_that_leads_and_agrees_with_itself():
    vector = np.arange(3.0)
    ALONE.add(vector)
    assert (ALONE.rank, ALONE.size, ALONE.leads) == (0, 1, True)
    assert vector.tolist() == [0, 1, 2] and ALONE.any(True) and not ALONE.any(False)
    ALONE.require_same({"a thing": np.random.default_rng()})
    with pytest.raises(InputError, match="mine"), ALONE:
        raise InputError("mine")


class Heard:
    """What MPI would be with a second process, which says `other`."""

    rank, size = 0, 2

    def __init__(self, other):
        self.other = other

    def allgather(self, mine):
        return [mine, self.other or mine]


def test_processes_that_were_given_different_things_are_told_which():
    Team(Heard(None)).require_same({"steps": 3, "text": "a.txt"})
    with pytest.raises(InputError, match="differ in steps, seed: start all"):
        Team(Heard({"text": None, "seed": 1})).require_same({"steps": 3})
    assert Team(Heard(None)).any(False) is False


@pytest.mark.parametrize("name", ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"])
def test_processes_of_mpiexec_do_not_train_one_run_each(name, monkeypatch, tmp_path, capsys):
    from numpylm.__main__ import main

    monkeypatch.setenv(name, "1")
    assert main([*TRAIN[2:], "--steps", "1", "--out", str(tmp_path / "one")]) == 0
    monkeypatch.setenv(name, "3")
    capsys.readouterr()
    assert main([*TRAIN[2:], "--steps", "1", "--out", str(tmp_path / "three")]) == 2
    assert "has started 3 processes" in capsys.readouterr().err
    assert not (tmp_path / "three").exists()


def test_without_mpi4py_distributed_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(InputError, match="pip install mpi4py mpich"):
        Team.over_mpi()


MPIEXEC = shutil.which("mpiexec", path=Path(sys.executable).parent) or shutil.which("mpiexec")
needs_mpi = pytest.mark.skipif(
    not MPIEXEC or not importlib.util.find_spec("mpi4py"),
    reason="needs mpi4py and mpiexec: pip install mpi4py mpich",
)
TRAIN = ["-m", "numpylm", "train", "--corpus", "topics", "--sentences", "200", "--batch-size", "6"]


def two(*words):
    """Two processes under mpiexec, each one Python with these words."""
    command = [MPIEXEC, "-n", "2", sys.executable, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def end_of(process):
    """Its exit code and all it said; TimeoutExpired if it hangs."""
    try:
        said, _ = process.communicate(timeout=HANG)
        return process.returncode, said
    finally:
        process.kill()


def wait_for_steps(folder, process):
    """Until the run has been saved after some steps."""
    began, log = time.monotonic(), folder / "log.jsonl"
    while not (log.exists() and log.read_text(encoding="utf-8")):
        assert process.poll() is None and time.monotonic() - began < HANG
        time.sleep(0.05)


@needs_mpi
def test_two_processes_train_the_run_of_two_threads_and_resume_it(tmp_path):
    from numpylm.__main__ import main

    options = [*TRAIN, "--model", "gpt", "--width", "8", "--dropout", "0.2", "--steps", "4"]
    code, said = end_of(two(*options, "--distributed", "--out", str(tmp_path / "p")))
    assert code == 0, said
    assert said.count("held-out ") and said.count("sample ") == 1  # one process speaks
    resume = ["-m", "numpylm", "train", "--resume", str(tmp_path / "p"), "--steps", "8"]
    code, said = end_of(two(*resume, "--distributed"))
    assert code == 0, said

    threads = [*options[2:], "--workers", "2", "--out", str(tmp_path / "t")]
    assert main(threads) == 0
    assert main(["train", "--resume", str(tmp_path / "t"), "--steps", "8"]) == 0
    logs = [(tmp_path / name / "log.jsonl").read_bytes() for name in "pt"]
    assert logs[0] == logs[1] and len(logs[0].splitlines()) == 8


def run_of_two(folder):
    """A long run of two processes that has been saved once, and the two processes' numbers."""
    process = two(
        "-c",
        "import os, sys, pathlib; from mpi4py import MPI; from numpylm.__main__ import main\n"
        f"file = pathlib.Path({str(folder)!r}, str(MPI.COMM_WORLD.rank))\n"
        "file.write_text(str(os.getpid())); sys.exit(main(sys.argv[1:]))",
        *TRAIN[2:],
        *["--steps", "1000000", "--eval-every", "5", "--distributed"],
        *["--out", str(folder / "run")],
    )
    wait_for_steps(folder / "run", process)
    return process, [int((folder / rank).read_text()) for rank in "01"]


@needs_mpi
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_ends_the_other_and_leaves_the_last_checkpoint(tmp_path, rank):
    process, pids = run_of_two(tmp_path)
    os.kill(pids[rank], signal.SIGKILL)
    code, said = end_of(process)
    assert code != 0, said
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert Run.resume(tmp_path / "run").steps_done % 5 == 0


def require_stopped_and_saved(process, folder):
    code, said = end_of(process)
    assert code != 0 and "stopped after step" in said
    assert Run.resume(folder).steps_done == len(losses(folder))


@needs_mpi
@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_to_one_process_stops_both_after_the_same_step_and_saves_it(tmp_path, rank):
    process, pids = run_of_two(tmp_path)
    os.kill(pids[rank], signal.SIGINT)
    require_stopped_and_saved(process, tmp_path / "run")


@needs_mpi
def test_a_signal_to_mpiexec_stops_and_saves_too(tmp_path):
    process, _ = run_of_two(tmp_path)
    process.send_signal(signal.SIGINT)
    require_stopped_and_saved(process, tmp_path / "run")


@needs_mpi
def test_a_mistake_in_one_process_ends_both_with_its_message(tmp_path):
    (tmp_path / "log.jsonl").write_text("{}\n", encoding="utf-8")
    code, said = end_of(two(*TRAIN, "--distributed", "--out", str(tmp_path)))
    assert code == 2 and said.count("numpylm: ") == 1
    assert "process 0" in said and "already holds log.jsonl" in said


@needs_mpi
def test_processes_that_differ_in_an_option_end_with_one_line_that_names_it(tmp_path):
    steps = [sys.executable, *TRAIN, "--distributed", "--out", str(tmp_path / "run"), "--steps"]
    code, said = end_of(two(*steps[1:], "3", ":", "-n", "1", *steps, "4"))
    assert code == 2 and said.count("numpylm: ") == 1 and "differ in steps: " in said
    assert not (tmp_path / "run").exists()


@needs_mpi
def test_a_save_notices_parameters_that_differ_between_processes(tmp_path):
    code, said = end_of(
        two(
            "-c",
            "import sys; from pathlib import Path; from numpylm.parallel import Team\n"
            "from numpylm.recipes import RECIPES; from numpylm.runs import Run\n"
            "from numpylm.attention_lm import AttentionLM\n"
            "_, model, corpus, train = RECIPES['attention'][:4]\n"
            "with Team.over_mpi() as team:\n"
            "    folder, start = Path(sys.argv[1]), Run.from_configs\n"
            "    run = start(folder, AttentionLM, model, corpus, train, team=team)\n"
            "    run.save()\n"
            "    print('agreed', flush=True)\n"
            "    run.model.params['E'][1, 2] += team.rank * 1e-6\n"
            "    run.save()\n",
            str(tmp_path / "run"),
        )
    )
    assert code != 0 and said.count("agreed") == 2 and "differ in parameters" in said


@needs_mpi
def test_the_processes_see_different_windows(tmp_path):
    code, said = end_of(
        two(
            "-c",
            "import numpy as np, pathlib, sys; from numpylm.ops import CrossEntropyCache as Kept\n"
            "from numpylm.parallel import Team, Workers\n"
            "team, x = Team.over_mpi(), np.arange(5)[:, None]\n"
            "class Model:\n"
            "    def loss(self, ids, targets, rng):\n"
            "        self.saw = ids[:, 0].tolist()\n"
            "        return np.float64(ids.mean()), (None, Kept(0, 0, 0, ids.size, 0))\n"
            "model = Model()\n"
            "mean, _ = Workers(model, team=team).loss(x, x)\n"
            "pathlib.Path(sys.argv[1], str(team.rank)).write_text(f'{model.saw} {mean}')\n",
            str(tmp_path),
        )
    )
    assert code == 0, said
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["[0, 1, 2] 2.0", "[3, 4] 2.0"]


# --- what it is worth ---


def test_a_ring_sends_almost_twice_the_vector_however_many_machines():
    def seconds(n, latency=0.0):
        return ring_all_reduce_seconds(n, 6e9, 1e9, latency)

    assert seconds(1) == 0 and seconds(2) == 6 and seconds(3) == 8
    assert seconds(1000) == pytest.approx(12, rel=2e-3)
    assert seconds(3, latency=0.5) == 10  # four rounds
