"""numpylm/__init__.py: the names, what they load, and the one reading order."""

import ast
import importlib
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import numpylm
from numpylm.book.index import PARTS

ROOT = Path(__file__).parents[1]
SOURCE = Path(numpylm.__file__).read_text(encoding="utf-8")
BESIDE_NUMPY = {"matplotlib", "tqdm", "safetensors", "threadpoolctl", "regex", "tokenizers"}
FOLDERS = {
    f"numpylm.{folder}" for folder in ("checks", "inside", "course", "tasks", "post", "book")
}


def loaded_by(code):
    """The modules that a fresh process holds after `code`."""
    code += "\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def roots_of(modules):
    return {name.split(".")[0] for name in modules} | modules


# --- what is loaded ---


def test_the_import_loads_no_library_but_numpy_and_no_folder():
    assert not roots_of(loaded_by("import numpylm")) & (BESIDE_NUMPY | FOLDERS)


def test_no_name_needs_more_than_numpy_before_it_is_called():
    checks = {"check_contracts", "diagnose", "explain"}
    core = ", ".join(name for name in numpylm.__all__ if name not in checks)
    assert not roots_of(loaded_by(f"from numpylm import {core}")) & (BESIDE_NUMPY | FOLDERS)
    assert not roots_of(loaded_by("from numpylm import *")) & BESIDE_NUMPY


@pytest.mark.parametrize("words", [["--help"], ["--version"]])
def test_help_and_version_load_not_even_numpy(words):
    code = f"import sys; sys.argv = ['numpylm', *{words}]\nfrom numpylm.__main__ import main\n"
    loaded = roots_of(loaded_by(f"{code}try: main()\nexcept SystemExit: pass"))
    assert "numpylm.commands" in loaded and not loaded & (BESIDE_NUMPY | FOLDERS | {"numpy"})


@pytest.mark.parametrize("command", ["train", "evaluate", "generate", "task", "ladder", "book"])
def test_the_options_of_a_command_load_no_matplotlib(command):
    code = f"from numpylm.__main__ import parser\nparser(['{command}'])"
    assert not roots_of(loaded_by(code)) & BESIDE_NUMPY


# --- the names ---


@pytest.mark.parametrize("name", numpylm.__all__)
def test_every_name_is_there_and_is_what_its_module_holds(name):
    home = importlib.import_module(f"numpylm.{numpylm.HOME[name]}")
    assert getattr(numpylm, name) is getattr(home, name)
    assert getattr(numpylm, name).__module__ == home.__name__  # where it is written, no stop-over
    assert getattr(numpylm, name).__doc__


def test_type_checkers_are_told_the_same_names():
    told = {}
    for node in ast.walk(ast.parse(SOURCE)):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            told |= {name.asname: node.module for name in node.names}
    assert told == numpylm.HOME
    assert (Path(numpylm.__file__).parent / "py.typed").exists()


def test_no_name_is_that_of_a_module_too():
    modules = {module.name for module in pkgutil.iter_modules(numpylm.__path__)}
    assert len(modules) > 25 and not modules & set(numpylm.__all__)


def test_the_names_are_listed_and_a_wrong_one_is_an_ordinary_error():
    assert set(numpylm.__all__) < set(dir(numpylm))
    with pytest.raises(AttributeError, match="module 'numpylm' has no attribute 'Transformr'"):
        numpylm.Transformr  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'trian' from 'numpylm'"):
        from numpylm import trian  # noqa: F401


def test_a_module_is_found_without_an_import_of_its_own():
    assert "numpylm.ops" in loaded_by("import numpylm; numpylm.ops.softmax_forward")


# --- one reading order ---


def modules_in_order():
    """The files of the flat core, as `__init__` lists them."""
    return re.findall(r"^(\w+)  +\S", numpylm.__doc__.split("afternoon:")[1], re.MULTILINE)


def test_every_file_of_the_core_has_its_place_in_the_reading_order():
    there = {m.name for m in pkgutil.iter_modules(numpylm.__path__)} | {"__main__"}
    listed = modules_in_order()
    assert len(listed) == len(set(listed))
    assert set(listed) == there


def test_the_book_keeps_the_reading_order():
    in_book = [name for name in " ".join(PARTS.values()).split() if "." not in name]
    assert in_book == modules_in_order()


def test_the_readme_keeps_the_reading_order():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.split("## Read it in this order")[1].split("\n## ")[0]
    in_readme = re.findall(r"\]\(numpylm/(\w+)(?:\.py)?\)", table)
    assert in_readme == modules_in_order()


# --- lines that a stranger writes ---


def test_a_toy_language_is_loaded_by_its_name():
    corpus = numpylm.load_corpus("markov")
    assert corpus.name == "markov" and corpus.entropy
    with pytest.raises(numpylm.InputError, match=r"from_text"):
        numpylm.load_corpus(["a text", "another"])


def test_what_is_written_with_an_rng_is_what_its_seed_writes():
    corpus = numpylm.Corpus.from_text("abcab" * 60)
    model = numpylm.AttentionLM(vocab_size=3)
    texts = [
        numpylm.generate(model, corpus, "a", tokens=9, **chance)
        for chance in ({"seed": 4}, {"rng": np.random.default_rng(4)}, {"seed": 5})
    ]
    assert texts[0] == texts[1] != texts[2]
    with pytest.raises(numpylm.InputError, match="generate_ids"):
        numpylm.generate(model, [1, 2], tokens=5)
    with pytest.raises(numpylm.InputError, match="prompt is empty"):
        numpylm.generate(model, corpus)


def test_an_encoder_without_a_head_names_those_with_one():
    with pytest.raises(numpylm.InputError, match=r"encode\(ids\).*BERTForMaskedLM"):
        numpylm.BERT(vocab_size=5, layers=1, width=8, heads=2).forward([1, 2])


def test_texts_in_a_list_are_to_be_joined():
    with pytest.raises(numpylm.InputError, match="join"):
        numpylm.Corpus.from_text(["a b", "a c"])
