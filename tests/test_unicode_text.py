"""Words, clusters and what a terminal may see, over many scripts and over texts made by chance."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripts import CLUSTERS, SENTENCES

from numpylm.errors import InputError
from numpylm.unicode_text import (
    _words,
    clean_text,
    join_words,
    printable,
    split_segmented,
    split_words,
    unspaced_run,
)

regex = pytest.importorskip("regex")
KINDS = [split_words]
try:
    import icu4py  # noqa: F401

    KINDS.append(split_segmented)
except ImportError:
    pass

# Where clusters are made and unmade: marks, joiners, flags, jamo, prepended marks, viramas, spaces.
DELICATE = (
    "ab_1'’<>unk. ,!\n\r\t\x1c\x1f\x85\u00a0\u2028"
    "กำ\u0e33เา๑ខម\u17d2မ\u1039क\u094dഎ\u0d4e\u0600\u200d"
    "\u200c\u0301\u0308\u20e3\ufe0f\U0001f1e9\U0001f468\U0001f3fdﾞ々ー我。，\u1112\u1161\u11ab\U000e0100𠮷"
)
texts = st.text(
    st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from(DELICATE)), max_size=40
)


def join(words, split):
    return join_words(words, touching=split is split_words)


def without_spaces(text):
    return "".join(text.split())


@pytest.mark.parametrize("split", KINDS)
@pytest.mark.parametrize("script", SENTENCES)
def test_words_of_every_script_round_trip_and_tear_no_cluster(script, split):
    text = SENTENCES[script]
    words = split(text)
    assert without_spaces(join(words, split)) == without_spaces(text)
    assert split(join(words, split)) == words
    clusters = [c for c in regex.findall(r"\X", text) if not c.isspace()]
    assert [c for word in words for c in regex.findall(r"\X", word)] == clusters


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_what_a_reader_takes_for_one_character_stays_whole(cluster):
    for around in ("{}", "x {} y", "{} {}", "({})", "{}.", "我{}我"):
        words = split_words(around.format(cluster, cluster))
        assert sum(cluster in word for word in words) == around.count("{}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            SENTENCES["Latin"],
            "The old bridge isn't open ; we don’t cross it , said the baker's son .",
        ),
        (SENTENCES["Hindi"], "आज सुबह बच्चों ने विद्यालय में एक क्षत्रिय की कहानी पढ़ी ।"),
        (SENTENCES["Persian"], "من هر روز کتاب می\u200cخوانم و چای می\u200cنوشم ."),
        ("iPhone手机，好。", "iPhone 手 机 ， 好 。"),
        ("กำลัง ๒๕๖๖", "กำ ลั ง ๒๕๖๖"),
        (SENTENCES["Korean, jamo"], "\u1112\u1161\u11ab\u1100\u1173\u11af 공부"),
        ("a 🇩🇪🇫🇷1️⃣2️⃣x👍🏽", "a 🇩🇪 🇫🇷 1️⃣ 2️⃣ x 👍🏽"),
        ("’tis the '90s, rock’n’roll’ é", "’ tis the ' 90s , rock’n’roll ’ é"),
        ("<unk>é <unk>\u0301", "<unk> é < unk >\u0301"),
    ],
)
def test_words_are_cut_as_documented(text, words):
    assert split_words(text) == words.split(" ")


@settings(max_examples=300, deadline=None)
@given(texts)
def test_any_text_keeps_everything_but_white_space_and_its_words_stay_words(text):
    for split in KINDS:
        words = split(text)
        assert without_spaces("".join(words)) == without_spaces(text)
        assert all(split(word) == [word] for word in words)
        assert words.count("\n") == text.count("\n")


@settings(max_examples=300, deadline=None)
@given(st.lists(texts, max_size=4), st.randoms(use_true_random=False))
def test_words_in_any_order_are_cut_again_as_they_were(parts, random):
    for split in KINDS:
        words = [word for part in parts for word in split(part)]
        random.shuffle(words)
        assert split(join(words, split)) == words


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_is_cut_by_re_as_regex_would_cut_it(text):
    assert split_words(text) == _words("").findall(text)


def test_joined_words_read_like_text():
    for script in ("Chinese, rare", "Japanese", "Greek", "Hindi", "Georgian", "Khmer"):
        assert join_words(split_words(SENTENCES[script])) == SENTENCES[script]


def test_dictionaries_cut_unspaced_scripts_into_words():
    pytest.importorskip("icu4py")
    assert " ".join(split_segmented("我喜欢苹果，iPhone 好。")) == "我 喜欢 苹果 ， iPhone 好 。"
    assert split_segmented("ฉันชอบตลาด") == ["ฉัน", "ชอบ", "ตลาด"]
    for script in ("Thai", "Lao", "Khmer", "Burmese", "Chinese", "Japanese"):
        assert len(split_segmented(SENTENCES[script])) < len(split_words(SENTENCES[script]))
    for script in ("Latin", "Hindi", "Korean", "Arabic", "Chinese, rare"):
        assert split_segmented(SENTENCES[script]) == split_words(SENTENCES[script])


def test_libraries_that_are_missing_are_named_and_ascii_needs_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "regex", None)
    monkeypatch.setitem(sys.modules, "icu4py.breakers", None)
    _words.cache_clear()
    assert join_words(split_segmented("Don't stop, now!")) == "Don't stop, now!"
    with pytest.raises(InputError, match="pip install regex"):
        split_words("über")
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "icu4py.breakers", None)
    with pytest.raises(InputError, match="pip install icu4py, or choose words"):
        split_segmented("猫喝水牛奶茶")
    assert split_segmented("über") == ["über"]


def test_two_letters_of_an_unspaced_script_side_by_side_are_found():
    assert unspaced_run("a 我们 b") == "我们" and unspaced_run("ก็ดี")
    assert not any(map(unspaced_run, ["", "naïve", "我 们", "๒๕๖๖", "한국어", "हिन्दी", "１２"]))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 猫 👨‍👩‍👧\n\tx", "plain é 猫 👨‍👩‍👧\n\tx"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\rb\x08\x00\x7f\x9b2J", r"a\rb\x08\x00\x7f\x9b2J"),
        ("\u202eevil\u2066\u2069\u2028", r"\u202eevil\u2066\u2069\u2028"),
        ("half \ud83d", r"half \ud83d"),
        ("می\u200cخواهم \u00a0", "می\u200cخواهم \u00a0"),
    ],
)
def test_what_would_steer_a_terminal_is_shown_as_an_escape(text, shown):
    assert printable(text) == shown


@given(st.text())
def test_nothing_printed_steers_a_terminal(text):
    shown = printable(text)
    assert not any((c < " " and c not in "\n\t") or "\x7f" <= c <= "\x9f" for c in shown)
    assert printable(shown) == shown


def test_clean_text_is_what_reading_a_file_gives():
    assert clean_text("\ufeffa\r\nb\rc\n\r\n") == "a\nb\nc\n\n"
    assert clean_text("a\ufeff") == "a\ufeff"
