import ctypes
import importlib
import subprocess
import sys

import pytest

from numpylm import allocator
from numpylm.allocator import keep_freed_memory
from numpylm.attention_lm import AttentionLM, AttentionLMConfig
from numpylm.corpora import CorpusConfig
from numpylm.runs import Run, TrainConfig

training = importlib.import_module("numpylm.train")  # numpylm.train itself is the function

COUNT_MAPPED = """
import ctypes, numpy as np
import numpylm, numpylm.train

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


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33")
def test_it_keeps_large_arrays_in_the_heap_and_importing_numpylm_does_not():
    done = subprocess.run([sys.executable, "-c", COUNT_MAPPED], capture_output=True, text=True)
    assert done.stdout.split() == ["1", "True", "0"], done.stderr


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
    run = Run.start(tmp_path, AttentionLM, AttentionLMConfig(), corpus, TrainConfig(steps=1))
    assert not calls
    training.train(run, progress=False)
    assert calls
