"""Text as a figure may show it: a token, whatever it holds, or a title with mathematics.

matplotlib reads what stands between two $ as mathematics, and draws a box and warns where no font
has a character. A token is no mathematics; what no font has is written as its escape, \\u597d.
"""

import re
from collections.abc import Iterable
from functools import cache

from matplotlib import font_manager
from matplotlib.mathtext import MathTextParser

from .unicode_text import printable

LONGEST = 32  # characters of a label; more would leave no room for the picture
USUAL = 10  # characters of a label for which the figures have room
# Of each row the first that is installed is asked for what DejaVu, which matplotlib brings, lacks.
OTHER_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans JP", "Source Han Sans SC"),
    *("PingFang SC", "Hiragino Sans GB", "Microsoft YaHei", "WenQuanYi Micro Hei", "SimHei"),
    *("WenQuanYi Zen Hei", "Droid Sans Fallback", "Yu Gothic", "IPAGothic", "Arial Unicode MS"),
), (
    *("Noto Sans CJK KR", "Noto Sans KR", "Apple SD Gothic Neo", "Malgun Gothic", "NanumGothic"),
    *("UnBatang", "Baekmuk Gulim"),
), *(
    (f"Noto Sans {script}", other)
    for script, other in (
        ("Devanagari", "Lohit Devanagari"),
        ("Bengali", "Lohit Bengali"),
        ("Tamil", "Lohit Tamil"),
        ("Telugu", "Lohit Telugu"),
        ("Kannada", "Lohit Kannada"),
        ("Malayalam", "Lohit Malayalam"),
        ("Gujarati", "Lohit Gujarati"),
        ("Gurmukhi", "Lohit Gurmukhi"),
        ("Sinhala", "LKLUG"),
        ("Thai", "Loma"),
        ("Lao", "Phetsarath OT"),
        ("Khmer", "Khmer OS"),
        ("Myanmar", "Padauk"),
        ("Ethiopic", "Abyssinica SIL"),
        ("Hebrew", "Arial Hebrew"),
        ("Arabic", "Geeza Pro"),
    )
), ("Nirmala UI", "FreeSans"), ("Noto Emoji", "Symbola"), ("Unifont",)  # fmt: skip


@cache
def font_family() -> tuple[str, ...]:
    """The fonts to draw with, in the order in which they are asked for a character."""
    installed = set(font_manager.get_font_names())
    found = [next(filter(installed.__contains__, row), "") for row in OTHER_FONTS]
    return ("DejaVu Sans", *filter(None, found))


@cache
def _characters() -> frozenset[int]:
    """The code points that some font of the family can draw."""
    paths = [font_manager.findfont(name) for name in font_family()]
    return frozenset().union(*(font_manager.get_font(path).get_charmap() for path in paths))


def _drawn(character: str) -> str:
    drawable = ord(character) in _characters() and printable(character) == character
    return character if drawable and character.isprintable() else ascii(character)[1:-1]


def literal(token: str) -> str:
    """A token as a label: in quotes where it is blank or has escapes, and cut where it is long."""
    begin = token[: LONGEST + 1]
    shown = "".join(map(_drawn, begin))
    quote = "'" if shown != begin or not token.strip() else ""
    return f"{quote}{_cut(shown, LONGEST)}{quote}".replace("$", r"\$")


def mathematics(title: str) -> str:
    """A title as a label: with mathematics where that can be read, literally elsewhere."""
    if _is_mathematics(title):
        return title
    return "\n".join("".join(map(_drawn, line)) for line in title.split("\n")).replace("$", r"\$")


def short_name(text: str) -> str:
    """What a row, a column or a line is called: mathematics, or what `literal` makes of it."""
    return text if _is_mathematics(text) else literal(text)


def _is_mathematics(text: str) -> bool:
    """Whether matplotlib would read some of the text as mathematics, and can."""
    if "$" not in text or len(re.findall(r"(?<!\\)\$", text)) % 2:
        return False
    try:
        MathTextParser("path").parse(text.replace("\n", " "))
    except ValueError:
        return False
    return all(_drawn(character) == character for character in text.replace("\n", ""))


def room(labels: Iterable[str], usual: int = USUAL) -> float:
    """The inches that the longest of these labels needs beyond one of `usual` characters."""
    return 0.09 * max(0, max(map(len, labels), default=0) - usual)


def _cut(shown: str, longest: int) -> str:
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def in_legend(text: str) -> str:
    """What a line is called; matplotlib would leave a name with _ in front out."""
    return f" {short_name(text)}" if text.startswith("_") else short_name(text)
