import ctypes
import importlib
import subprocess
import sys

import numpy as np
import pytest

from numpylm import allocator
from numpylm.allocator import activation_bytes, keep_freed_memory
from numpylm.attention_lm import AttentionLM, AttentionLMConfig
from numpylm.corpora import CorpusConfig
from numpylm.errors import InputError
from numpylm.gpt import GPT
from numpylm.llama import Llama
from numpylm.runs import Run, TrainConfig

training = importlib.import_module("numpylm.training")  # numpylm.training itself is the function

COUNT_MAPPED = """
import ctypes, numpy as np
import numpylm, numpylm.training

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "abcdefghij"]  # d: the mapped regions

mallinfo = ctypes.CDLL(None).mallinfo2
mallinfo.restype = Info

def mapped_by_a_large_array():
    before = mallinfo().d
    array = np.empty(2**26)
    return mallinfo().d - before

print(mapped_by_a_large_array(), numpylm.allocator.keep_freed_memory(), mapped_by_a_large_array())
"""

COUNT_FAULTS = """
import resource, threading, numpy as np
from numpylm.allocator import activation_bytes, keep_freed_memory

def faults_of_a_thread():
    def work():
        for step in range(13):
            if step == 3:
                before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
            arrays = [np.ones(2**22) for _ in range(4)]  # 32 MB each
            del arrays
        faults.append(resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before)

    faults = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return faults[0]

keep_freed_memory()
print(faults_of_a_thread())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33")
def test_it_keeps_large_arrays_in_the_heap_and_importing_numpylm_does_not():
    done = subprocess.run([sys.executable, "-c", COUNT_MAPPED], capture_output=True, text=True)
    assert done.stdout.split() == ["1", "True", "0"], done.stderr


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33")
def test_a_thread_too_gets_memory_back_that_it_has_freed():
    done = subprocess.run([sys.executable, "-c", COUNT_FAULTS], capture_output=True, text=True)
    assert int(done.stdout) < 20, done.stderr  # in 10 steps; thousands with heaps of its own


def test_on_other_platforms_and_c_libraries_it_does_nothing(monkeypatch):
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: object())
    assert not keep_freed_memory()
    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    monkeypatch.delattr(allocator.ctypes, "CDLL")
    assert not keep_freed_memory()


def test_the_trainer_sets_it(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(training, "keep_freed_memory", lambda: calls.append(1))
    corpus = CorpusConfig(corpus="abab", sentences=20, heldout_sentences=5)
    run = Run.from_configs(tmp_path, AttentionLM, AttentionLMConfig(), corpus, TrainConfig(steps=1))
    assert not calls
    run.train(progress=False)
    assert calls


# --- how much a step needs ---

SIZES = {"vocab_size": 50, "width": 16, "context_length": 1300}


def bytes_in(cache, owners):
    """Counted in another way than the library's: by recursion, and by where the bytes begin."""
    if isinstance(cache, np.ndarray):
        base = cache if cache.base is None else cache.base
        owners[base.__array_interface__["data"][0]] = base.nbytes
    elif isinstance(cache, tuple):
        for part in cache:
            bytes_in(part, owners)
    return sum(owners.values())


@pytest.mark.parametrize("kind", [AttentionLM, GPT, Llama])
@pytest.mark.parametrize(("B", "T"), [(5, 8), (1, 1300)])
def test_what_a_step_keeps_is_foretold_from_short_texts(kind, B, T):
    model = kind(**SIZES)
    ids = np.random.default_rng(0).integers(50, size=(B, T + 1))
    kept = bytes_in(model.loss(ids[:, :-1], ids[:, 1:])[1], {}) - model.params.flat.nbytes
    assert activation_bytes(model, ids.ravel(), B, T) == pytest.approx(kept, rel=0.01)


def test_a_model_that_takes_no_such_windows_is_not_judged():
    class Own(AttentionLM):
        def loss(self, ids, targets, rng=None):
            raise IndexError("only whole sentences")

    assert activation_bytes(Own(), np.arange(9), 2, 3) == 0


@pytest.mark.parametrize("sizes", [{"batch_size": 10**6}, {"batch_size": 1, "T": 2 * 10**6}])
def test_a_step_that_cannot_fit_is_refused_before_anything_is_written(tmp_path, monkeypatch, sizes):
    monkeypatch.setattr(allocator, "memory", lambda: 10**9)
    model = AttentionLMConfig(context_length=sizes.pop("T", 8))
    corpus = CorpusConfig(corpus="abab", sentences=20, heldout_sentences=5)
    config = TrainConfig(steps=1, **sizes)
    with pytest.raises(InputError, match=r"a step with .* windows of .* tokens would need .* GB"):
        Run.from_configs(tmp_path / "run", AttentionLM, model, corpus, config)
    assert not (tmp_path / "run").exists()
