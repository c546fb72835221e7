import json
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripts import SENTENCES

from numpylm.errors import InputError
from numpylm.tokenizers import (
    MAX_VOCAB,
    TOKENIZERS,
    BytePairTokenizer,
    CharTokenizer,
    SegmentedWordTokenizer,
    WordTokenizer,
    prompt_text,
    tokenizer_from_dict,
)

KINDS = [CharTokenizer, WordTokenizer]
VERSE = "To be, or not to be:\nthat is the question. Don't ask; to be is to be!\n"
# Whatever might be glued together or torn apart: marks, apostrophes, the unknown symbol in pieces,
# letters outside ASCII, a combining accent, and every kind of white space.
NASTY = [*"abé_9'’.,;:!?()<>[]\"-", "unk", "<unk>", "don't", "\u0301", "中", "😀"]
NASTY_SPACE = [" ", "  ", "\n", "\t", "\r\n", "\u00a0", "\u2028", "\x1c", ""]


def nasty_texts(n):
    rng = np.random.default_rng(0)
    for _ in range(n):
        yield "".join(rng.choice(NASTY + NASTY_SPACE, size=rng.integers(1, 30)))


def test_characters_round_trip_exactly():
    for text in [VERSE, *nasty_texts(300)]:
        if len(set(text)) > 1:
            tokenizer = CharTokenizer.from_text(text, unknown=False)
            assert tokenizer.decode(tokenizer.encode(text)) == text


def test_words_round_trip_up_to_white_space():
    for text in [VERSE, *nasty_texts(300)]:
        if len(set(WordTokenizer.split(text))) > 1:
            tokenizer = WordTokenizer.from_text(text, unknown=False)
            back = tokenizer.decode(tokenizer.encode(text))
            assert "".join(back.split()) == "".join(text.split())
            assert back.count("\n") == text.count("\n")


@pytest.mark.parametrize("kind", KINDS)
def test_any_ids_survive_decoding_and_encoding(kind):
    everything = " ".join([*NASTY, "\n", VERSE])
    tokenizer = kind.from_text(everything)
    rng = np.random.default_rng(1)
    for _ in range(300):
        ids = rng.integers(tokenizer.vocab_size, size=rng.integers(30))
        np.testing.assert_array_equal(tokenizer.encode(tokenizer.decode(ids)), ids)


def available(kind):
    """Skip where the library of this kind is not installed."""
    if issubclass(kind, BytePairTokenizer):  # pretrained ones among them
        pytest.importorskip("tokenizers")
    if kind is SegmentedWordTokenizer:
        pytest.importorskip("icu4py")
    return kind


@pytest.mark.parametrize("kind", TOKENIZERS.values(), ids=TOKENIZERS)
@pytest.mark.parametrize("script", SENTENCES)
def test_texts_in_every_script_round_trip(script, kind):
    text = SENTENCES[script] + "\n"
    tokenizer = available(kind).from_text(text)
    back = tokenizer.decode(tokenizer.encode(text))
    if tokenizer.lossless:
        assert back == text
    assert "".join(back.split()) == "".join(text.split())
    assert not tokenizer.missing(text) and not tokenizer.unknown_share(tokenizer.encode(text))


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=60))
def test_characters_and_byte_pairs_lose_nothing_of_any_text(text):
    kinds = [CharTokenizer]
    if "tokenizers" in sys.modules:
        kinds.append(BytePairTokenizer)
    for kind in kinds:
        tokenizer = kind.from_text("ab" + text)
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_an_apostrophe_may_be_straight_or_curly():
    text = "Don't say don’t: it's l’été!"
    assert WordTokenizer.split(text) == ["Don't", "say", "don’t", ":", "it's", "l’été", "!"]
    tokenizer = WordTokenizer.from_text(text)
    assert {"don’t", "l’été"} <= set(tokenizer.symbols)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_words_are_cut_as_documented():
    pieces = WordTokenizer.split("Don't stop, snake_case 3.14!\n\nwell-known <unk>")
    words = "Don't|stop|,|snake_case|3|.|14|!|\n|\n|well|-|known|<unk>"
    assert pieces == words.split("|")


def test_decoded_words_read_like_text():
    tokenizer = WordTokenizer.from_text(VERSE)
    assert tokenizer.decode(tokenizer.encode(VERSE)) == VERSE


def test_words_are_ordered_by_frequency_then_alphabet():
    tokenizer = WordTokenizer.from_text("b a c b a b d", unknown=False)
    assert tokenizer.symbols == ("b", "a", "c", "d")


def test_characters_are_sorted_whatever_their_frequency():
    assert CharTokenizer.from_text("ccba", unknown=False).symbols == ("a", "b", "c")


def test_max_vocab_keeps_the_most_frequent_and_counts_the_unknown():
    words = WordTokenizer.from_text("b a c b a b d", max_vocab=3)
    assert words.symbols == ("<unk>", "b", "a")
    characters = CharTokenizer.from_text("cccbba", max_vocab=3)
    assert characters.symbols == ("\ufffd", "b", "c")


def test_rare_words_become_the_unknown_one_so_that_it_is_learned():
    text = "to be or not to be that is"
    tokenizer = WordTokenizer.from_text(text, min_count=2)
    assert tokenizer.symbols == ("<unk>", "be", "to")
    assert tokenizer.unknown_share(tokenizer.encode(text)) == 4 / 8
    assert tokenizer.missing(text) == ["or", "not", "that", "is"]
    every = WordTokenizer.from_text(text, min_count=2, unknown=False)  # nothing to become
    assert every.vocab_size == 6 and every.unknown_share([0, 1]) == 0
    assert WordTokenizer.from_text("each word once", min_count=2).vocab_size == 4


def test_a_prompt_is_read_as_files_are_and_in_the_form_the_vocabulary_has():
    composed, decomposed = (
        CharTokenizer.from_text("café\n"),
        CharTokenizer.from_text("cafe\u0301\n"),
    )
    for typed in ("café", "cafe\u0301"):
        assert prompt_text(composed, typed) == "café"
        assert prompt_text(decomposed, typed) == "cafe\u0301"
    assert prompt_text(composed, "\ufeffcaf\r\nf\rx") == "caf\nf\nx"
    assert composed.missing("cafß") == ["ß"]
    with pytest.raises(InputError, match=r"prompt has half a character, '\\udcff' at index 1"):
        prompt_text(composed, "a\udcff")


def test_an_unknown_symbol_becomes_visible():
    characters = CharTokenizer.from_text("abc")
    np.testing.assert_array_equal(characters.encode("axb"), [1, 0, 2])
    assert characters.decode(characters.encode("axb")) == "a\ufffdb"
    words = WordTokenizer.from_text("to be")
    assert words.decode(words.encode("to exist, be")) == "to <unk> <unk> be"


@pytest.mark.parametrize("kind", KINDS)
def test_the_unknown_symbol_in_a_text_is_not_counted_twice(kind):
    text = f"a {kind.unknown_symbol} b {kind.unknown_symbol}"
    tokenizer = kind.from_text(text)
    assert tokenizer.symbols.count(kind.unknown_symbol) == 1
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_missing_symbol_is_named_with_its_place_and_a_remedy():
    characters = CharTokenizer.from_text("ab\n", unknown=False)
    with pytest.raises(InputError, match=r"'x' in line 2, column 3.*unknown symbol"):
        characters.encode("ab\nabxb")
    words = WordTokenizer.from_text("a at cat", unknown=False)
    with pytest.raises(InputError, match=r"'t' in line 1, column 10"):
        words.encode("cat  at  t")


@pytest.mark.parametrize("kind", KINDS)
def test_empty_text_has_no_ids(kind):
    tokenizer = kind.from_text("a b")
    ids = tokenizer.encode("")
    assert ids.shape == (0,) and ids.dtype == np.int64
    assert tokenizer.decode(ids) == tokenizer.decode([]) == ""


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_int64_in_one_row(kind):
    ids = kind.from_text("a b").encode("a b")
    assert ids.dtype == np.int64 and ids.ndim == 1


@pytest.mark.parametrize("unknown", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_survives_json(kind, unknown):
    tokenizer = kind.from_text(VERSE, unknown=unknown)
    twin = tokenizer_from_dict(json.loads(json.dumps(tokenizer.to_dict())))
    assert type(twin) is kind
    assert twin.symbols == tokenizer.symbols
    assert twin.unknown == tokenizer.unknown


@pytest.mark.parametrize(
    "values",
    [
        {},
        ["characters"],
        {"kind": "characters", "symbols": ["a", "b"]},
        {"kind": "characters", "symbols": ["a", "b"], "unknown": None, "more": 1},
        {"kind": "sounds", "symbols": ["a", "b"], "unknown": None},
        {"kind": ["words"], "symbols": ["a", "b"], "unknown": None},
        {"kind": "characters", "symbols": "ab", "unknown": None},
        {"kind": "characters", "symbols": ["a", 2], "unknown": None},
        {"kind": "characters", "symbols": ["a", "b"], "unknown": "c"},
        {"kind": "characters", "symbols": ["a", "b"], "unknown": 0},
        {"kind": "characters", "symbols": ["a", "\ud83d"], "unknown": None},
        {"kind": "words", "symbols": ["a", "我们"], "unknown": None},
        {"kind": "words", "symbols": ["a", ["b"] * 3], "unknown": None},
        {"kind": "words", "symbols": None, "unknown": None},
        {"kind": "words", "symbols": ["a", "b"], "unknown": ["a"]},
        {"kind": "byte-pairs", "description": None},
        {"kind": "byte-pairs", "description": 5},
        {"kind": "byte-pairs", "description": "[" * 100_000},
        {"kind": "byte-pairs", "description": '{"model": ' * 100_000},
        {"kind": "byte-pairs", "description": "[1]"},
        {"kind": "byte-pairs", "description": '{"model": {"type": "WordPiece"}}'},
    ],
)
def test_a_foreign_description_is_an_error(values):
    with pytest.raises(InputError):
        tokenizer_from_dict(values)


@pytest.mark.parametrize("ids", [[-1], [3], [0, 99], [0.0], [True], ["a"], [[0, 1]], 0])
def test_decoding_what_is_no_id_is_an_error(ids):
    with pytest.raises(InputError, match="ids must be"):
        CharTokenizer("abc").decode(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_a_vocabulary_of_nothing_is_an_error(kind):
    with pytest.raises(InputError, match="no symbols"):
        kind.from_text("")


@pytest.mark.parametrize("unknown", [True, False])
def test_a_vocabulary_of_one_symbol_leaves_nothing_to_predict(unknown):
    with pytest.raises(InputError, match="nothing to predict"):
        CharTokenizer.from_text("aaaa", unknown=unknown)


def test_a_repeated_symbol_is_an_error():
    with pytest.raises(InputError, match=r"twice: \['b'\]"):
        CharTokenizer("abcb")


@pytest.mark.parametrize("symbol", ["", "two words", " ", "a.", "'a"])
def test_a_word_that_would_be_cut_is_no_symbol(symbol):
    with pytest.raises(InputError, match="cannot be one symbol"):
        WordTokenizer(["fine", symbol])


def test_dropping_symbols_needs_an_unknown_one():
    with pytest.raises(InputError, match="max_vocab = 2"):
        CharTokenizer.from_text("abc", max_vocab=2, unknown=False)
    with pytest.raises(InputError, match="at least 3, not 2"):
        CharTokenizer.from_text("abc", max_vocab=2)


@pytest.mark.parametrize("kind", TOKENIZERS.values(), ids=TOKENIZERS)
@pytest.mark.parametrize(
    ("max_vocab", "message"),
    [
        (2**63, "at most 16,777,216"),
        (10**30, "at most"),
        (MAX_VOCAB + 1, "at most"),
        (0, "at least"),
        (-(2**63), "at least"),
        (2.5, "whole number, not 2.5"),
        ("9", "whole number, not '9'"),
    ],
)
def test_a_size_of_no_vocabulary_is_refused(kind, max_vocab, message):
    with pytest.raises(InputError, match=f"max_vocab must be .*{message}"):
        available(kind).from_text("a b c d", max_vocab=max_vocab)


def test_the_largest_vocabulary_that_may_be_asked_for_costs_nothing():
    for kind in KINDS:
        assert kind.from_text("a b", max_vocab=MAX_VOCAB).vocab_size <= 4
    assert CharTokenizer.from_text("ab", max_vocab=np.int64(5)).vocab_size == 3


def test_text_must_be_text():
    with pytest.raises(InputError, match=r"text has half a character, '\\ud83d' at index 2"):
        CharTokenizer.from_text("ab\ud83d")
    with pytest.raises(InputError, match="symbols must be a list of strings, not 5"):
        CharTokenizer(5)
    with pytest.raises(InputError, match="must be a string, not bytes"):
        CharTokenizer.from_text(b"abc")
    with pytest.raises(InputError, match="must be a string, not list"):
        CharTokenizer("abc").encode(["a"])


# ---- byte pairs ------------------------------------------------------------------------------

VERSE = "the cat and the hat, the bat and the rat\n" * 8 + "naïve 猫 🙂\n"


@pytest.fixture
def byte_pairs() -> BytePairTokenizer:
    pytest.importorskip("tokenizers")
    return BytePairTokenizer.from_text(VERSE, max_vocab=270)


@pytest.mark.parametrize("text", [VERSE, "", "never seen: ÆØ ☃\t\n  x", "the"])
def test_byte_pairs_write_every_text_and_lose_nothing(byte_pairs, text):
    assert byte_pairs.decode(byte_pairs.encode(text)) == text


def test_byte_pairs_merge_what_is_frequent(byte_pairs):
    assert byte_pairs.vocab_size == 270 == len(byte_pairs.symbols)
    assert len(byte_pairs.encode(VERSE)) < len(VERSE.encode()) / 2
    assert "Ġthe" in byte_pairs.symbols


def test_byte_pairs_that_occur_once_are_not_merged(byte_pairs):
    twice = BytePairTokenizer.from_text("abc abc xyz")
    assert {"ab", "Ġabc"} & set(twice.symbols) and "xy" not in twice.symbols
    assert BytePairTokenizer.from_text("abcdefg").vocab_size == 256
    thrice = BytePairTokenizer.from_text("ab ab ab xy xy", min_count=3)
    assert "ab" in thrice.symbols and "xy" not in thrice.symbols


@pytest.mark.parametrize("unit", ["我喜欢猫和狗", "กำลังกิน", "a", " ", "-=#", "1234567890"])
def test_a_run_without_spaces_is_learned_in_pieces(byte_pairs, unit):
    """Learned as one run, 100,000 characters took 22 s and, twice as long, four times that."""
    text = unit * (30_000 // len(unit))
    tokenizer = BytePairTokenizer.from_text(text, max_vocab=400)
    ids = tokenizer.encode(text)
    assert len(ids) < len(text.encode()) / 2 and tokenizer.decode(ids) == text
    assert max(map(len, tokenizer.symbols)) <= 64 * len("我".encode())


def test_only_runs_of_more_than_64_are_cut_to_learn_from(byte_pairs):
    """The pair across the cut goes uncounted: `yz` occurs twice, once of them at a cut."""
    shorter = "x" * 62 + "yz " + "x" * 62 + "yz"
    assert "yz" in BytePairTokenizer.from_text(shorter, max_vocab=256 + 63).symbols
    longer = "x" * 63 + "yz " + "x" * 62 + "yz"
    assert not any("yz" in s for s in BytePairTokenizer.from_text(longer).symbols)


def hostile(byte_pairs, **changes):
    description = json.loads(byte_pairs.to_dict()["description"])
    model = changes.pop("model", {})
    description["model"] |= model
    return {"kind": "byte-pairs", "description": json.dumps(description | changes)}


def test_a_description_that_would_change_a_text_is_refused(byte_pairs):
    padding = {
        "strategy": {"Fixed": 2_000_000_000},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "a",
    }
    for changes in (
        {"padding": padding},
        {"truncation": {"max_length": 2, "stride": 0, "strategy": "LongestFirst"}},
        {"normalizer": {"type": "Lowercase"}},
        {"model": {"dropout": 0.5}},
    ):
        with pytest.raises(InputError, match="must change no text, but has a"):
            tokenizer_from_dict(hostile(byte_pairs, **changes))
    vocabulary = dict.fromkeys(["a", "b"], 0) | {"b": 2**31}
    for changes in (
        {"model": {"vocab": vocabulary, "merges": []}},
        {"model": {"vocab": {"a": 0, "b": 1}, "merges": []}},
        {"model": {"vocab": "a"}},
        {"model": {"merges": [["no", "such"]]}},
        {"pre_tokenizer": 7},
    ):
        with pytest.raises(InputError, match="describes no byte-pair tokenizer"):
            tokenizer_from_dict(hostile(byte_pairs, **changes))


def test_special_tokens_in_a_description_are_neither_added_nor_dropped(byte_pairs):
    special = {
        "id": 270,
        "content": "<|end|>",
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }
    tokenizer = tokenizer_from_dict(hostile(byte_pairs, added_tokens=[special]))
    text = "the cat<|end|>the hat"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert list(tokenizer.encode(text)).count(270) == 1


def test_byte_pairs_survive_json(byte_pairs):
    twin = tokenizer_from_dict(json.loads(json.dumps(byte_pairs.to_dict())))
    np.testing.assert_array_equal(twin.encode(VERSE), byte_pairs.encode(VERSE))
    assert twin.symbols == byte_pairs.symbols


def test_byte_pairs_refuse_what_they_cannot_do(byte_pairs):
    with pytest.raises(InputError, match="max_vocab must be at least 256"):
        BytePairTokenizer.from_text(VERSE, max_vocab=100)
    with pytest.raises(InputError, match="no symbols"):
        BytePairTokenizer.from_text("")
    with pytest.raises(InputError, match="describes no byte-pair tokenizer"):
        tokenizer_from_dict({"kind": "byte-pairs", "description": "{}"})
    with pytest.raises(InputError, match=r"must be in 0\.\.269, not 270"):
        byte_pairs.decode([270])


def test_without_the_library_byte_pairs_say_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(InputError, match="pip install tokenizers"):
        BytePairTokenizer.from_text(VERSE)
