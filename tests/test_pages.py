"""inside/pages.py: one page, escaped, that asks for nothing from outside."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from test_watching import SIZES, made

from numpylm import GPT, Corpus, Run
from numpylm.__main__ import main
from numpylm.attention_lm import AttentionLM, AttentionLMConfig
from numpylm.bert import BERTConfig, BERTForMaskedLM
from numpylm.gpt import GPTConfig
from numpylm.inside.pages import look_page
from numpylm.llama import Llama, LlamaConfig

WORDS = ["<b>", "&", "שלום", "语", "\x1b[1m", "'\"", " "]
IDS = np.array([1, 6, 0, 2, 4, 3, 5])
CASES = {
    "AttentionLM": (AttentionLM, AttentionLMConfig(vocab_size=7)),
    "GPT": (GPT, GPTConfig(**SIZES)),
    "Llama": (Llama, LlamaConfig(7, layers=2, heads=4, groups=2, width=8)),
    "BERT": (BERTForMaskedLM, BERTConfig(**SIZES)),
}


class Balanced(HTMLParser):
    """Fails where a tag is closed that is not the one that is open."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "!doctype"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("name", CASES)
def test_the_page_of_every_model_is_whole_and_alone(name):
    page = look_page(made(*CASES[name]), WORDS, IDS, "a <run>")
    parser = Balanced()
    parser.feed(page)
    assert not parser.open and "a <run>" in parser.text
    assert not {"b", "script", "link", "img", "iframe"} & {tag for tag, _ in parser.seen}
    assert not re.search(r"https?:|src=|url\(|@import", page)
    assert "\x1b" not in page and "\\x1b[1m" in parser.text
    assert all(word in parser.text for word in ("<b>", "&", "שלום", "语", "'\""))
    heads = {"AttentionLM": 1, "Llama": 8}.get(name, 6)
    assert page.count('class="map"') == heads
    assert ("Which parts write" in page) == (name != "BERT")


def test_the_weights_on_the_page_are_those_of_the_model():
    model = made(*CASES["GPT"])
    page = look_page(model, WORDS, IDS)
    maps = model.attention_maps(model.forward(IDS)[1])
    shown = [float(x) for x in re.findall(r'<td title="([\d.]+)" style', page)]
    np.testing.assert_allclose(shown, np.concatenate([a.ravel() for a in maps.values()]), atol=6e-4)


def test_the_command_writes_one_file_or_says_why_not(tmp_path, capsys):
    corpus = Corpus.from_text("the cat sat on the mat and the dog lay on the rug. " * 12)
    config = GPTConfig(corpus.tokenizer.vocab_size, 8, layers=1, heads=1, width=4)
    run, out = tmp_path / "run", tmp_path / "page.html"
    Run.start(run, GPT(config), corpus)
    assert main(["look", str(run), "--text", "the cat", "--out", str(out)]) == 0
    assert out.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    before = out.read_bytes()
    for words, said in (
        (["--text", "the cat sat on"], "--text has 14 tokens, and the model sees 8"),
        (["--text", ""], "--text is missing"),
        (["--text", "a", "--out", str(tmp_path)], "is a folder"),
    ):
        assert main(["look", str(run), "--out", str(out), *words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
    assert out.read_bytes() == before
