import hashlib
import math
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from numpylm import corpora
from numpylm.corpora import (
    CorpusConfig,
    bigram_nats,
    corpus_names,
    load_corpus,
    spelling_nats,
    unigram_nats,
)
from numpylm.errors import InputError
from numpylm.languages import LANGUAGES
from numpylm.tokenizers import CharTokenizer

SHAKESPEARE = Path(__file__).parents[2] / "shared" / "data" / "tinyshakespeare.txt"
EXACT = 1e-12  # a handful of float64 logarithms
COUNTED = 0.05  # nats: what 4096 sentences leave uncertain about 48 x 48 pairs is below this

T = 8


def load(context_length=T, **options):
    return load_corpus(CorpusConfig(**options), context_length)


@pytest.fixture
def text_file(tmp_path):
    def write(content):
        path = tmp_path / "some.txt"
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        return str(path)

    return write


# --- toy languages ---


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_toy_corpus_is_two_tables_of_sentences_one_longer_than_the_context(name):
    corpus = load(corpus=name, sentences=50, heldout_sentences=20)
    assert corpus.train.shape == (50, T + 1) and corpus.heldout.shape == (20, T + 1)
    assert corpus.train.dtype == np.int64
    assert corpus.entropy == LANGUAGES[name]().entropy(T + 1)
    assert corpus.tokenizer.symbols == LANGUAGES[name]().symbols
    assert corpus.tokenizer.unknown is None


@pytest.mark.parametrize("name", LANGUAGES)
def test_ids_decode_to_sentences_of_the_language(name):
    corpus, language = load(corpus=name, sentences=20), LANGUAGES[name]()
    for row in [*corpus.train, *corpus.heldout[:20]]:
        belief = language.start
        for symbol in corpus.tokenizer.split(corpus.tokenizer.decode(row)):
            _, belief = language.read(belief)[symbol]  # KeyError where it cannot follow


def test_train_and_held_out_are_different_draws():
    corpus = load(corpus="random", sentences=500, heldout_sentences=500)
    assert not {tuple(row) for row in corpus.train} & {tuple(row) for row in corpus.heldout}


def test_more_sentences_keep_those_held_out_and_those_there_were():
    few, many = load(sentences=10), load(sentences=30)
    np.testing.assert_array_equal(few.heldout, many.heldout)
    np.testing.assert_array_equal(few.train, many.train[:10])


def test_a_toy_language_refuses_other_symbols_than_its_own():
    assert load(corpus="topics", tokenizer="words").tokenizer.vocab_size == 48
    with pytest.raises(InputError, match=r"auto for the toy language topics.*not characters"):
        load(corpus="topics", tokenizer="characters")


def test_the_digest_tells_corpora_apart():
    base = {"corpus": "topics", "sentences": 20}
    assert load(**base).digest == load(**base).digest
    assert len(load(**base).digest) == 64
    changed = [{"data_seed": 1}, {"sentences": 21}, {"heldout_sentences": 9}, {"corpus": "senses"}]
    digests = {load(**base).digest, *(load(**(base | change)).digest for change in changed)}
    assert len(digests) == 1 + len(changed)


def test_the_digest_sees_the_vocabulary_behind_equal_ids(text_file):
    digests = {load(text=text_file(letters * 50)).digest for letters in ("ab", "xy")}
    assert len(digests) == 2


def test_a_corpus_describes_itself_in_one_line():
    line = load(corpus="topics").describe()
    assert "topics" in line and "4,096 + 1,024 sentences of 9 tokens" in line
    assert "vocabulary 48" in line and "2.079 nats" in line
    assert "\n" not in line


def test_every_named_corpus_is_a_choice():
    assert corpus_names() == (*LANGUAGES, "python-docs", "tinyshakespeare")
    with pytest.raises(InputError, match=r"one of random, .*tinyshakespeare, not 'latin'"):
        CorpusConfig(corpus="latin")
    with pytest.raises(InputError, match="context_length must be at least 1, not 0"):
        load(0)


# --- texts ---


def test_a_text_is_split_at_one_point_before_anything_else(text_file):
    rng = np.random.default_rng(0)
    text = "".join(rng.choice([*"abc \n"], size=1003))
    corpus = load(text=text_file(text))
    assert corpus.train.ndim == corpus.heldout.ndim == 1
    assert corpus.tokenizer.decode(corpus.train) == text[:902]
    assert corpus.tokenizer.decode(corpus.heldout) == text[902:]
    assert corpus.entropy is None
    assert "some.txt" in corpus.describe() and "902 + 101 tokens" in corpus.describe()


def test_the_vocabulary_comes_from_the_training_part_alone(text_file):
    corpus = load(text=text_file("ab" * 450 + "az" * 50))
    assert corpus.tokenizer.symbols == ("\ufffd", "a", "b")
    assert corpus.tokenizer.decode(corpus.heldout) == "a\ufffd" * 50


def test_a_text_may_be_cut_into_words(text_file):
    text = "one two, three\n" * 100
    corpus = load(text=text_file(text), tokenizer="words", max_vocab=4)
    assert corpus.tokenizer.symbols == ("<unk>", "\n", ",", "one")
    assert corpus.train.size == 450 and corpus.heldout.size == 50


def test_words_seen_once_are_unknown_so_that_the_unknown_is_learned(text_file):
    text = text_file(
        "so it is and so it was, " * 80 + "once upon a time " + "so it is, never " * 14
    )
    corpus = load(text=text, tokenizer="words")
    assert set(corpus.tokenizer.symbols) == {"<unk>", "so", "it", "is", "and", "was", ","}
    assert corpus.unknown_share("training") > 0 < corpus.unknown_share("held-out")
    every = load(text=text, tokenizer="words", min_count=1)
    assert "once" in every.tokenizer.symbols and every.unknown_share("training") == 0
    assert "is learned" not in " ".join(corpus.unknown_notes())
    assert "never occurs in training: nothing is learned" in every.unknown_notes()[1]
    characters = load(text=text_file("ab" * 400 + "z" + "ab" * 100))
    assert "z" in characters.tokenizer.symbols  # a rare character is kept


def test_the_share_of_unknown_tokens_and_their_cost_are_always_said(text_file):
    corpus = load(text=text_file("ab" * 450 + "az" * 50))
    assert "of which 0.00% + 50.00% are \ufffd" in corpus.describe()
    assert corpus.heldout_spelling == pytest.approx(50 * math.log(1_112_064), rel=EXACT)
    assert "13.92 nats more (ln 1,112,064, any character" in corpus.unknown_notes()[0]
    words = load(3, text=text_file("aa bb\n" * 105 + "ccc dd\n" * 10), tokenizer="words")
    # Of "ccc dd\n" ten times the first word is given: 9 of 3 letters, 10 of 2, and all their ends.
    want = (9 * (3 + 1) + 10 * (2 + 1)) * math.log(1_112_064)
    assert words.heldout_spelling == pytest.approx(want, rel=EXACT)
    assert "for each letter and its end" in words.unknown_notes()[0]
    known = load(text=text_file("ab" * 500))
    assert "0.00% + 0.00% are \ufffd" in known.describe()
    assert known.unknown_notes() == [] and known.heldout_spelling == 0
    assert "%" not in load(corpus="topics").describe()


def test_calling_text_unknown_does_not_pay():
    """A model of two symbols that knows everything but letters costs more than guessing letters."""
    text = "the cat sat on the mat and the dog sat on the log. " * 4
    few = CharTokenizer.from_text(text, max_vocab=3)
    assert few.unknown_share(few.encode(text)) > 0.5
    uniform = len(text) * math.log(len(set(text)))
    assert spelling_nats(few, text) > uniform


def test_chinese_is_not_cut_into_clauses_that_are_all_unknown(text_file):
    clauses = ["我喜欢喝茶", "猫喜欢喝水", "狗在家里喝水", "我在家里看猫", "茶在家里"]
    rng = np.random.default_rng(0)
    text = "，".join("".join(rng.choice(list("".join(clauses)), 6)) for _ in range(400)) + "。"
    corpus = load(text=text_file(text), tokenizer="words")
    assert corpus.unknown_share("held-out") < 0.01
    assert corpus.tokenizer.vocab_size < 25


def test_line_endings_and_a_byte_order_mark_are_no_part_of_the_text(text_file):
    plain = load(text=text_file("ab\ncd\n" * 50))
    windows = load(text=text_file(b"\xef\xbb\xbf" + b"ab\r\ncd\r\n" * 50))
    assert plain.digest == windows.digest


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "some.txt is empty"),
        (b" \n\t", "some.txt is empty"),
        (b"abc\xff", r"some.txt is not UTF-8 \(byte 3\)"),
        ("some text".encode("utf-16-le"), r"some.txt is not text in UTF-8 .* looks like UTF-16-LE"),
        ("ab" * 44, r"79 tokens to train on and 9 held out, .* = 9 needs 10 of each"),
        ("aaaa" * 50, "nothing to predict"),
    ],
)
def test_a_text_that_cannot_serve_is_an_error(text_file, content, message):
    with pytest.raises(InputError, match=message):
        load(9, text=text_file(content))


def test_a_text_of_just_enough_tokens_serves(text_file):
    assert load(9, text=text_file("ab" * 46)).heldout.size == 10


def test_a_missing_file_and_a_directory_are_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.txt cannot be read"):
        load(text=str(tmp_path / "nowhere.txt"))
    with pytest.raises(InputError, match=f"{tmp_path.name} is a folder"):
        load(text=str(tmp_path))


def test_python_docs_are_sorted_by_topic_with_a_blank_line_between(monkeypatch):
    topics = SimpleNamespace(topics={"while": "\nLoops.\n", "assert": "\nClaims.\n"})
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", topics)
    assert corpora.python_docs() == "Claims.\n\nLoops.\n"


def test_python_docs_are_a_text_of_some_size():
    text = corpora.python_docs()
    assert len(text) > 300_000  # about 465 kB; versions of Python differ
    assert '"assert" statement' in text
    corpus = load(64, corpus="python-docs")
    assert corpus.train.size == len(text) * 9 // 10
    assert corpus.train.size + corpus.heldout.size == len(text)


def test_a_python_without_help_topics_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(InputError, match="this Python lacks"):
        load(corpus="python-docs")


# --- tinyshakespeare: never from the network here ---

PLAY = b"First Citizen:\nBefore we proceed any further, hear me speak.\n" * 20


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and a play that stands for the known text behind a file:// URL."""
    play = tmp_path / "play.txt"
    play.write_bytes(PLAY)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(corpora, "SHAKESPEARE_URL", play.as_uri())
    monkeypatch.setattr(corpora, "SHAKESPEARE_SHA256", hashlib.sha256(PLAY).hexdigest())
    return tmp_path / "cache" / "numpylm"


def test_shakespeare_is_fetched_only_when_asked_for_and_then_kept(cache, monkeypatch):
    with pytest.raises(InputError, match=r"add --download, or get it from file:.* --text"):
        load(corpus="tinyshakespeare")
    assert not cache.exists()

    fetched = load(corpus="tinyshakespeare", download=True)
    assert fetched.train.size == len(PLAY) * 9 // 10
    assert [path.name for path in cache.iterdir()] == ["tinyshakespeare.txt"]

    monkeypatch.setattr(corpora, "SHAKESPEARE_URL", "file:///gone")
    assert load(corpus="tinyshakespeare").digest == fetched.digest
    assert load(corpus="tinyshakespeare", download=True).digest == fetched.digest


def test_the_wrong_text_is_refused_and_leaves_nothing_behind(cache, monkeypatch):
    monkeypatch.setattr(corpora, "SHAKESPEARE_SHA256", hashlib.sha256(b"Marlowe").hexdigest())
    with pytest.raises(InputError, match="nothing was stored"):
        load(corpus="tinyshakespeare", download=True)
    assert not cache.exists()


def test_a_spoiled_cache_is_noticed(cache):
    load(corpus="tinyshakespeare", download=True)
    (cache / "tinyshakespeare.txt").write_bytes(PLAY[:-1])
    with pytest.raises(InputError, match="SHA-256 differs"):
        load(corpus="tinyshakespeare")


def test_without_a_network_the_way_by_hand_is_told(cache, monkeypatch):
    monkeypatch.setattr(corpora, "SHAKESPEARE_URL", "file:///gone")
    with pytest.raises(InputError, match=r"cannot be fetched.* name the file with --text"):
        load(corpus="tinyshakespeare", download=True)
    assert not cache.exists()


def test_a_broken_write_leaves_nothing_behind(cache, monkeypatch):
    def broken(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(InputError, match="disk full"):
        load(corpus="tinyshakespeare", download=True)
    assert list(cache.iterdir()) == []


@pytest.mark.skipif(
    not SHAKESPEARE.exists(), reason="no copy of tinyshakespeare beside the project"
)
def test_the_real_shakespeare_has_the_known_digest_and_65_characters():
    content = SHAKESPEARE.read_bytes()
    assert hashlib.sha256(content).hexdigest() == corpora.SHAKESPEARE_SHA256
    corpus = load(64, text=str(SHAKESPEARE))
    assert corpus.tokenizer.vocab_size == 66  # and the unknown one
    assert corpus.train.size + corpus.heldout.size == len(content)


# --- reference losses ---


def test_unigram_nats_by_hand():
    # Counts 3, 1, 0 of 4, each plus one, of 7. Predicted: b, c; the first token is given.
    found = unigram_nats(np.array([0, 0, 1, 0]), np.array([0, 1, 2]), 3)
    assert found == pytest.approx(-(math.log(2 / 7) + math.log(1 / 7)) / 2, abs=EXACT)


def test_bigram_nats_by_hand():
    # Pairs 00, 01, 10: p(0|0) = 2/5, p(1|0) = 2/5, p(0|1) = 2/4, p(2|1) = 1/4, p(2|2) = 1/3.
    train, heldout = np.array([0, 0, 1, 0]), np.array([0, 1, 2, 2])
    found = bigram_nats(train, heldout, 3)
    assert found == pytest.approx(-(math.log(2 / 5 * 1 / 4 * 1 / 3)) / 3, abs=EXACT)


@pytest.mark.parametrize("measure", [unigram_nats, bigram_nats])
@pytest.mark.parametrize(
    ("V", "dtype"),
    [(65, np.uint8), (65, np.int8), (300, ">u2"), (50_304, np.uint16), (50_304, ">i4"), (9, "u8")],
)
def test_reference_losses_do_not_depend_on_the_dtype_of_the_ids(tmp_path, measure, V, dtype):
    """In the dtype of the ids 64 * 65 + 64 would wrap, and different pairs would fall together."""
    rng = np.random.default_rng(0)
    train, heldout = V - 1 - rng.integers(min(V, 200), size=(2, 3000))
    want = measure(train, heldout, V)
    assert measure(train.astype(dtype), heldout.astype(dtype), V) == want
    assert measure(train.tolist(), heldout.tolist(), V) == want
    train.astype(dtype).tofile(tmp_path / "ids")
    stored = np.memmap(tmp_path / "ids", dtype, mode="r")
    assert measure(stored, heldout, np.int16(V) if V < 2**15 else V) == want


@pytest.mark.parametrize("measure", [unigram_nats, bigram_nats])
def test_reference_losses_refuse_what_they_cannot_count(measure):
    good = np.array([0, 1, 2])
    for bad, message in (
        ([0, 3], r"must lie in \[0, 3\).*found 3"),
        ([-1, 0], "must lie in"),
        ([], "are empty"),
        ([0.5, 1.0], "must be integers"),
    ):
        with pytest.raises(InputError, match=f"train {message}"):
            measure(bad, good, 3)
        with pytest.raises(InputError, match=f"heldout {message}"):
            measure(good, bad, 3)
    with pytest.raises(InputError, match=r"heldout \(1,\) hold no pair"):
        measure(good, [1], 3)


def test_pairs_stay_within_a_sentence():
    train = np.array([[0, 1], [2, 0]])  # as a stream it would hold the pair 1, 2
    assert bigram_nats(train, np.array([1, 2]), 3) == pytest.approx(math.log(3), abs=EXACT)


def test_counts_find_the_entropy_of_a_law_that_counts_can_express():
    def nats(measure, name):
        corpus = load(corpus=name)
        return measure(corpus.train, corpus.heldout, corpus.tokenizer.vocab_size) - corpus.entropy

    assert abs(nats(unigram_nats, "random")) < COUNTED
    assert abs(nats(bigram_nats, "markov")) < COUNTED
    assert abs(nats(bigram_nats, "cycle")) < COUNTED
    assert nats(unigram_nats, "markov") > 0.5
    assert nats(bigram_nats, "order2") > 1.0


def test_the_digest_sees_the_held_out_part_alone():
    corpus = load_corpus(CorpusConfig(sentences=4, heldout_sentences=3), 5)
    other = replace(corpus, heldout=corpus.heldout[::-1])
    assert other.digest != corpus.digest
