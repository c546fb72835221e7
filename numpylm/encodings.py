"""The bytes of a file -> its text. UTF-8 is read; anything else is refused, and named if it can be.

A wrong guess would train on garbage without a word, so the guess only helps the reader to convert
the file. The signs are byte order marks, where the zero bytes stand, and the beginnings of files
that are no text; among the older encodings the library `charset-normalizer` tells, if it is there.
"""

import codecs
import re
import unicodedata
from collections.abc import Callable

from .errors import InputError
from .unicode_text import clean_text

MARKS = {  # UTF-32 first: its mark begins with that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
NO_TEXT = {
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a ZIP archive, as .docx, .odt and .epub are",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"\x89PNG": "a PNG image",
    b"GIF8": "a GIF image",
    b"\xff\xd8\xff": "a JPEG image",
    b"\x7fELF": "a program",
    b"SQLite": "a SQLite database",
    b"\xd0\xcf\x11\xe0": "an old Office file",
    b"{\\rtf": "an RTF file",
}
NAMES = {
    "gb18030": "GBK",
    "gb2312": "GBK",
    "gbk": "GBK",
    "cp932": "Shift-JIS",
    "shift_jis": "Shift-JIS",
    "euc_jp": "EUC-JP",
    "euc_kr": "EUC-KR",
    "cp949": "EUC-KR",
    "iso2022_jp": "ISO-2022-JP",
    "koi8_r": "KOI8-R",
    "cp1252": "Latin-1",
}
OLDER = [
    *("cp1252", "cp1250", "cp1251", "koi8_r", "cp1253", "cp1254", "cp1255", "cp1256", "cp874"),
    *("gb18030", "big5", "shift_jis", "euc_jp", "euc_kr", "cp437", "mac_roman"),
]
SAMPLE = 1 << 16  # bytes to guess from


def decode_text(data: bytes, name: str) -> str:
    """The text of UTF-8 bytes, every line ending in \\n, without a byte order mark.

    Raises InputError that says what `name` probably is instead, and how to convert it.
    """
    for start, kind in NO_TEXT.items():
        if data.startswith(start):
            raise InputError(f"{name} is {kind}, not text: save what it says as plain text, UTF-8")
    for mark, codec in MARKS.items():
        if data.startswith(mark):
            raise _other(name, "is not UTF-8: its byte order mark says", codec)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _not_utf8(data, name, error) from None
    if "\0" in text:
        where = f"is not text in UTF-8 (byte {data.index(0)} is zero)"
        raise _other(name, f"{where}, but looks like", _wide(data[:SAMPLE]))
    if re.search(r"\x1b\$[@B]", text):
        raise _other(name, "is not UTF-8, but looks like", "iso2022_jp")
    if _controls(text[:SAMPLE]) > 0.05:
        raise _other(name, "is not text in UTF-8, but looks like", _wide(data[:SAMPLE]))
    return clean_text(text)


def _controls(text: str) -> float:
    """The share of control characters that no text has, not even one with codes for colours."""
    return len(re.findall(r"[\x01-\x06\x0e-\x1a\x1c-\x1f]", text)) / max(len(text), 1)


def _other(name: str, what: str, codec: str) -> InputError:
    """The error of a file that is in another encoding, or in none."""
    if not codec:
        return InputError(f"{name} {what} a binary file: name a file that holds plain text, UTF-8")
    known = NAMES.get(codec, "")
    shown = f"{known} ({codec})" if known else codec.upper() if "utf" in codec else codec
    return InputError(
        f"{name} {what} {shown}: save it as UTF-8 first, for example with "
        f"iconv -f {codec.replace('iso2022_jp', 'iso-2022-jp').replace('_', '-')} -t utf-8"
    )


def _not_utf8(data: bytes, name: str, error: UnicodeDecodeError) -> InputError:
    """The error of bytes that cannot be UTF-8: cut off, damaged, or of another encoding."""
    where = f"is not UTF-8 (byte {error.start})"
    if error.start > len(data) - 4 and error.reason == "unexpected end of data" and error.start:
        before = data[: error.start].decode("utf-8")
        if not before.isascii():
            return InputError(f"{name} {where}: it ends amid a character; get the whole file")
    text = data.decode("utf-8", errors="replace")
    damaged, whole = text.count("\ufffd"), len(text) - sum(map(text.count, map(chr, range(128))))
    if whole > 10 * damaged:
        line = data.count(b"\n", 0, error.start) + 1
        return InputError(
            f"{name} {where}: it is, but for damaged characters: {damaged}, the first in "
            f"line {line}; mend or remove them"
        )
    begin = max(error.start - SAMPLE // 2, 0) // 4 * 4
    sample = data[begin : begin + SAMPLE]
    codec = _wide(sample) or (_older(sample) if b"\0" not in sample else "")
    if not codec and b"\0" not in sample:
        return InputError(
            f"{name} {where}, and what it is cannot be told: save it as UTF-8 first (the library "
            "charset-normalizer, if it is installed, knows more encodings)"
        )
    return _other(name, f"{where}, but looks like", codec)


def _wide(data: bytes) -> str:
    """Which of the encodings in units of two or four bytes this is; "" if none."""
    if _japanese(data):
        return ""
    pairs, fours = data[: len(data) // 2 * 2], data[: len(data) // 4 * 4]
    if b"\0" in data and fours:
        for codec in ("utf-32-le", "utf-32-be"):
            if _reads(fours, codec):
                return codec
    for codec, high, low in (
        ("utf-16-le", pairs[1::2], pairs[::2]),
        ("utf-16-be", pairs[::2], pairs[1::2]),
    ):
        if _high_bytes(high, low) and _reads(pairs, codec):
            return codec
    return ""


def _japanese(data: bytes) -> bool:
    """Whether this is Shift-JIS, whose bytes could be units of Han too: kana stand side by side."""
    return bool(re.search(r"[ぁ-ん]{2}", data.decode("cp932", errors="replace")))


def _high_bytes(high: bytes, low: bytes) -> bool:
    """Whether `high` are the high bytes of units of 16 bits, of which `low` are the low ones."""
    east, other = _share(high, _eastern), _share(low, _eastern)
    if high.count(0) > 4 * low.count(0):  # ASCII is among them: spaces and newlines at least
        alphabet = max(map(high.count, set(high))) / len(high)  # most have one high byte
        return alphabet >= 0.5 or (east > 0.8 and other < 0.65)
    return east > 0.97 and other < 0.8


def _eastern(byte: int) -> bool:
    """Whether units with this high byte are Han, kana, Hangul or emoji, or punctuation, or 0."""
    return 0x30 <= byte <= 0x9F or 0xAC <= byte <= 0xDF or byte in (0, 0xFF)


def _share(data: bytes, holds: Callable[[int], bool]) -> float:
    return sum(map(holds, data)) / max(len(data), 1)


def _reads(data: bytes, codec: str) -> bool:
    """Whether the bytes are text in this encoding; the last character may be cut."""
    try:
        text = codecs.getincrementaldecoder(codec)().decode(data)
    except UnicodeDecodeError:
        return False
    odd = sum(unicodedata.category(c) in ("Cc", "Cn", "Co") and not c.isspace() for c in text)
    return bool(text) and "\0" not in text and odd <= 0.02 * len(text)


def _older(data: bytes) -> str:
    """Which of the encodings before Unicode this is; "" if that cannot be told."""
    letters = re.sub(rb"[\x00-\x7f]", b"", data)
    if len(letters) < 0.3 * len(data):  # mostly ASCII: a Western language, if it reads like one
        text = data.decode("cp1252", errors="replace")
        inside = r"[a-z][\u0080-\u0091\u0093-\u0096\u0098-\u00bf\ufffd][a-z]|[a-z][À-Þ]|[À-ÿ]{3}"
        if not re.search(inside, text):
            return "cp1252"
    if _japanese(data):
        return "shift_jis"
    try:
        from charset_normalizer import from_bytes
    except ImportError:
        return ""
    best = from_bytes(data, cp_isolation=OLDER).best()
    return best.encoding if best else ""
