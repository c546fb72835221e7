"""UTF-8 is read as it is; of other files the likely encoding is named."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripts import SENTENCES

from numpylm.encodings import decode_text
from numpylm.errors import InputError

ENGLISH = "The old bridge is closed, and nobody crosses it.\n"
FRENCH = "L'élève était à l'école; très tôt, il a mangé un gâteau.\n"
CURLY = "He said “don’t” – and left. She didn’t.\n"
POLISH = "Zażółć gęślą jaźń. Wczoraj byłem w sklepie i kupiłem świeże pieczywo.\n"
RUSSIAN = "Сегодня утром мы пили чай и ели свежий хлеб. Завтра пойдёт дождь.\n"
CHINESE = "我今天早上喝了一杯热茶，然后去图书馆看书。猫坐在窗边，看着外面的雨。"
JAPANESE = "私は東京でコーヒーを飲みながら、人々と話しました。明日は雨が降るでしょう。"
KOREAN = "오늘 아침에 우리는 시장에서 사과를 샀다. 내일은 비가 올 것이다.\n"
WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")


def refused(data):
    with pytest.raises(InputError) as error:
        decode_text(data, "text some.txt")
    message = str(error.value)
    assert message.startswith("text some.txt is") and "\n" not in message
    return message


@pytest.mark.parametrize("text", SENTENCES.values(), ids=SENTENCES)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_utf_8_is_read_with_or_without_a_mark(text, mark):
    lines = f"{text}\r\n{text}\r{text}\n"
    assert decode_text(mark + lines.encode(), "x") == f"{text}\n" * 3


def test_texts_with_codes_for_a_terminal_are_texts():
    for text in (
        "\x1b[31mred\x1b[0m\n",
        "page\x0cbreak\x07\x08",
        "a\tb\x0bc",
        "",
        "x\x01" + "y" * 99,
    ):
        assert decode_text(text.encode(), "x") == text


@pytest.mark.parametrize("codec", WIDE)
@pytest.mark.parametrize(
    "text",
    [ENGLISH, FRENCH, POLISH, RUSSIAN, KOREAN, CHINESE, JAPANESE, "你好，世界。"]
    + [SENTENCES[script] for script in ("Hindi", "Arabic", "Greek", "Emoji", "Amharic")],
)
def test_wide_encodings_without_a_mark_are_named(text, codec):
    for times in (1, 50):
        message = refused((text * times).encode(codec))
        assert f"looks like {codec.upper()}" in message and f"iconv -f {codec}" in message


@pytest.mark.parametrize("codec", ["utf-16", "utf-32"])
def test_wide_encodings_with_a_mark_are_named(codec):
    for text in (ENGLISH, CHINESE):
        assert f"byte order mark says {codec.upper()}" in refused(text.encode(codec))


@pytest.mark.parametrize("text", [FRENCH, CURLY, ENGLISH * 2000 + FRENCH], ids=["é", "’", "late"])
def test_western_text_is_named_without_a_library(text, monkeypatch):
    monkeypatch.setitem(sys.modules, "charset_normalizer", None)
    assert "looks like Latin-1 (cp1252)" in refused(text.encode("cp1252"))
    assert "Shift-JIS" in refused(JAPANESE.encode("shift_jis"))
    assert "charset-normalizer" in refused(RUSSIAN.encode("cp1251"))


@pytest.mark.parametrize(
    ("text", "codec", "name"),
    [
        (CHINESE, "gbk", "GBK (gb18030)"),
        ("我今天早上喝了一杯熱茶，然後去圖書館看書。", "big5", "big5"),
        (JAPANESE, "shift_jis", "Shift-JIS"),
        (JAPANESE, "euc_jp", "EUC-JP"),
        (JAPANESE, "iso2022_jp", "ISO-2022-JP"),
        (KOREAN, "euc_kr", "EUC-KR"),
        (RUSSIAN, "cp1251", "cp1251"),
        (RUSSIAN * 5, "koi8_r", "KOI8-R"),
        (POLISH, "cp1250", "cp1250"),
        ("Το παιδί διαβάζει ένα βιβλίο.\n", "cp1253", "cp1253"),
    ],
)
def test_older_encodings_are_named(text, codec, name):
    pytest.importorskip("charset_normalizer")
    for times in (1, 20):
        assert f"looks like {name}" in refused((text * times).encode(codec))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0", "is a PNG image, not text"),
        (b"PK\x03\x04...", "is a ZIP archive, as .docx"),
        (b"%PDF-1.7\nplain words", "is a PDF, not text"),
        (b"\x1f\x8b\x08" + bytes(9), "is a gzip archive"),
        (np.random.default_rng(0).bytes(5000), "looks like a binary file"),
        (bytes(range(256)) * 8, "looks like a binary file"),
        (np.arange(1000, dtype=np.float32).tobytes(), "looks like a binary file"),
        (b"a few words\0 and more of them, " * 9, r"byte 11 is zero.*binary file"),
        (b"\x01\x02\x03\x04\x05\x06 abc", "looks like a binary file"),
        ("naïve 猫".encode()[:-1], r"\(byte 7\): it ends amid a character"),
        (
            CHINESE.encode() + b"\xff\n" + CHINESE.encode(),
            r"damaged characters: 1, the first in line 1",
        ),
    ],
)
def test_what_is_no_text_is_said_to_be_none(data, message):
    with pytest.raises(InputError, match=message):
        decode_text(data, "x")


@given(st.binary(max_size=300))
def test_any_bytes_are_read_as_utf_8_or_refused_in_a_line(data):
    try:
        text = decode_text(data, "x")
    except InputError as error:
        assert str(error).startswith("x is ") and "\n" not in str(error)
    else:
        assert data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n") == text
        assert "\0" not in text


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs", "Cc"])))
def test_every_text_without_control_characters_is_read(text):
    assert decode_text(text.encode(), "x") == text.removeprefix("\ufeff")
