"""Any text becomes a label that matplotlib draws, in the fonts that are there."""

import io

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import font_manager, rc_context
from matplotlib.figure import Figure

from numpylm import labels
from numpylm.labels import (
    LONGEST,
    USUAL,
    font_family,
    in_legend,
    literal,
    mathematics,
    room,
    short_name,
)


@pytest.fixture
def dejavu_alone(monkeypatch):
    """As on a machine without other fonts."""
    monkeypatch.setattr(labels, "OTHER_FONTS", ())
    yield from forgetting()


def forgetting():
    font_family.cache_clear(), labels._characters.cache_clear()
    yield
    font_family.cache_clear(), labels._characters.cache_clear()


@pytest.mark.parametrize(
    ("token", "label"),
    [
        ("word", "word"),
        ("naïve", "naïve"),
        ("$x_$", r"\$x_\$"),
        ("$a$", r"\$a\$"),
        ("好", r"'\u597d'"),
        ("a好b", r"'a\u597db'"),
        ("\n", r"'\n'"),
        (" ", "' '"),
        ("", "''"),
        ("\x1b[1m", r"'\x1b[1m'"),
        ("\u202ex", r"'\u202ex'"),
        ("𠮷", r"'\U00020bb7'"),
        ("�", "�"),
        ("Привет", "Привет"),
        ("\\alpha_{", "\\alpha_{"),
        ("x" * LONGEST, "x" * LONGEST),
        ("x" * 500, "x" * (LONGEST - 1) + "…"),
    ],
)
def test_a_token_is_shown_as_it_is_or_as_an_escape(dejavu_alone, token, label):
    assert literal(token) == label


@pytest.mark.parametrize(
    ("title", "label"),
    [
        ("weights $a_{ij}$ of S1", "weights $a_{ij}$ of S1"),
        (r"two\nlines of $\alpha$", r"two\nlines of $\alpha$"),
        ("two\nlines", "two\nlines"),
        ("$x_$ of", r"\$x_\$ of"),
        ("5 $", r"5 \$"),
        (r"$\nosuch$", r"\$\nosuch\$"),
        ("好 $x$", r"\u597d \$x\$"),
        ("好\nx", "\\u597d\nx"),
        ("", ""),
    ],
)
def test_a_title_may_hold_mathematics_that_can_be_read(dejavu_alone, title, label):
    assert mathematics(title) == label


def test_a_row_or_a_line_may_be_called_by_mathematics(dejavu_alone):
    for text, shown in (("$k_1$", "$k_1$"), ("$x_$", r"\$x_\$"), ("\n", r"'\n'"), ("x_1", "x_1")):
        assert short_name(text) == shown


def test_long_labels_are_given_room():
    assert room([]) == room(["x" * USUAL]) == 0 < room(["x", "x" * LONGEST]) < 3


def test_a_name_with_an_underscore_in_front_stays_in_the_legend():
    assert in_legend("_x") == " _x" and in_legend("x_") == "x_"


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(), max_size=8), st.text(st.sampled_from("$\\{}_^x好\n"), max_size=8))
def test_whatever_the_text_it_is_drawn_without_a_warning(one, other):
    with rc_context({"font.family": font_family()}):
        figure = Figure(figsize=(2, 1))
        for text in (one, other, one + other):
            figure.text(0.1, 0.5, literal(text))
            figure.text(0.1, 0.1, mathematics(text))
        figure.savefig(io.BytesIO(), dpi=30)


@pytest.fixture
def a_font_with_hao(tmp_path, monkeypatch):
    """A font whose only character is 好, a square, installed under the name of a known one."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0)), pen.lineTo((0, 900)), pen.lineTo((900, 900)), pen.lineTo((900, 0))
    pen.closePath()
    square, name = pen.glyph(), "WenQuanYi Zen Hei"
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder([".notdef", "square"])
    font.setupCharacterMap({ord("好"): "square"})
    font.setupGlyf({".notdef": square, "square": square})
    font.setupHorizontalMetrics({".notdef": (1000, 0), "square": (1000, 0)})
    font.setupHorizontalHeader(ascent=900, descent=-100)
    font.setupNameTable({"familyName": name, "styleName": "Regular"})
    font.setupOS2(sTypoAscender=900, usWinAscent=900, usWinDescent=100)
    font.setupPost()
    font.save(tmp_path / "hao.ttf")
    monkeypatch.setattr(font_manager, "fontManager", font_manager.FontManager())
    monkeypatch.setattr(font_manager, "findfont", font_manager.fontManager.findfont)
    monkeypatch.setattr(font_manager, "get_font_names", font_manager.fontManager.get_font_names)
    font_manager.fontManager.addfont(tmp_path / "hao.ttf")
    yield from forgetting()


def test_a_font_that_is_installed_draws_what_dejavu_lacks(a_font_with_hao):
    assert font_family()[0] == "DejaVu Sans" and "WenQuanYi Zen Hei" in font_family()
    assert literal("好") == "好" and literal("猫") == r"'\u732b'"
    assert mathematics("好 é") == "好 é"
