"""What is drawn fits, does not overlap, and is called what the code calls it."""

import io
import tokenize
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

import numpylm
from numpylm.course.schematics import SCHEMATICS
from numpylm.drawings import Drawing
from numpylm.ops import attention_forward

SOURCES = {  # where the names of a drawing come from
    "one_matrix": "ops attention_lm",
    "attention": "ops",
    "block": "ops blocks",
    "heads": "ops blocks",
    "gpt": "gpt ops",
    "bert": "bert bert_heads",
    "encoder_decoder": "transformer ops",
    "key_value_cache": "blocks ops",
}
SMALLEST = 11  # points: 18 pixels, and 9 at half of the size
HAIR = 0.01  # inches


@pytest.fixture(scope="module", params=SCHEMATICS)
def drawn(request):
    return request.param, SCHEMATICS[request.param]()


def extents(drawing):
    """The places of all texts in inches, as left, top, right, bottom."""
    renderer = FigureCanvasAgg(drawing.figure).get_renderer()
    boxes = np.array([w.text.get_window_extent(renderer).extents for w in drawing.written])
    x0, y0, x1, y1 = boxes.reshape(-1, 4).T / drawing.figure.dpi
    height = drawing.figure.get_figheight()
    return [*np.stack([x0, height - y1, x1, height - y0], axis=1)]


def edges(box):
    return box.left()[0], box.top()[1], box.right()[0], box.bottom()[1]


def apart(a, b):
    return a[2] <= b[0] + HAIR or b[2] <= a[0] + HAIR or a[3] <= b[1] + HAIR or b[3] <= a[1] + HAIR


def inside(a, b):
    return min(a[0] - b[0], a[1] - b[1], b[2] - a[2], b[3] - a[3]) >= -HAIR


def crossing(arrow, places):
    """Whether a straight arrow leads through one of the places (n, 4)."""
    start, end = map(np.array, arrow._posA_posB)
    x, y = (start + np.linspace(0, 1, 60)[:, None] * (end - start)).T
    left, top, right, bottom = np.reshape(places, (-1, 4)).T[..., None]
    within = (left + HAIR < x) & (x < right - HAIR) & (top + HAIR < y) & (y < bottom - HAIR)
    return within.any()


def clashes(drawing):
    """What overlaps in a drawing, in words."""
    places, page = extents(drawing), (0, 0, *drawing.figure.get_size_inches())
    areas = [*drawing.boxes, *drawing.frames]
    texts = [
        (w.text.get_text(), place, w.box) for w, place in zip(drawing.written, places, strict=True)
    ]
    for text, place, own in texts:
        if not inside(place, edges(own) if own else page):
            yield f"{text} does not fit"
        for box in areas:
            if box != own and not (apart(place, edges(box)) or inside(place, edges(box))):
                yield f"{text} on the border of a box"
    for (one, first, _), (two, second, _) in combinations(texts, 2):
        if not apart(first, second):
            yield f"{one} on {two}"
    for one, two in combinations(map(edges, areas), 2):
        if not (apart(one, two) or inside(one, two) or inside(two, one)):
            yield f"boxes {one} and {two}"
    for arrow in drawing.arrows:
        if crossing(arrow, places):
            yield f"an arrow through a text: {arrow._posA_posB}"
        if crossing(arrow, [edges(box) for box in drawing.boxes]):
            yield f"an arrow through a box: {arrow._posA_posB}"


def test_nothing_overlaps(drawn):
    assert not list(clashes(drawn[1]))


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda d: d.box(2, 1, 1, 0.6, "far too long for it"), "does not fit"),
        (lambda d: d.note(3.9, 1, "over the edge"), "does not fit"),
        (lambda d: (d.note(2, 1, "one"), d.note(2.1, 1, "two")), "one on two"),
        (lambda d: (d.box(1, 1, 1, 1), d.box(1.5, 1, 1, 1)), "boxes"),
        (lambda d: (d.box(1, 1, 1, 1), d.note(1.5, 1, "half")), "border"),
        (lambda d: (d.note(2, 1, "words"), d.arrow((2, 0.2), (2, 1.8))), "through a text"),
        (lambda d: (d.box(2, 1, 1, 1), d.arrow((1, 1), (3, 1))), "through a box"),
    ],
)
def test_an_overlap_would_be_seen(draw, said):
    d = Drawing(4, 2)
    draw(d)
    assert any(said in clash for clash in clashes(d))


def test_texts_are_large_enough_for_half_of_the_size(drawn):
    _, drawing = drawn
    assert min(text.get_fontsize() for text, _, _ in drawing.written) >= SMALLEST
    assert drawing.figure.get_figwidth() <= 10.5


def test_what_is_drawn_as_code_is_a_name_in_the_code(drawn):
    name, drawing = drawn
    known = set()
    for module in SOURCES[name].split():
        source = (Path(numpylm.__file__).parent / f"{module}.py").read_text(encoding="utf-8")
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.NAME:
                known.add(token.string)
            elif token.type == tokenize.STRING:  # of parameters: "norm1", f"{block}.norm1"
                known |= set(token.string.strip("rf\"'").replace("}", ".").split("."))
    for text, _, is_code in drawing.written:
        if is_code:
            assert text.get_text() in known


def test_the_numbers_of_attention_are_those_of_the_code():
    texts = [w.text.get_text() for w in SCHEMATICS["attention"]().written]
    e = np.array([[1.0, 0], [0, 1], [1, 1]])
    c, cache = attention_forward(e, e, e)
    for number in [*cache.a[2], *c[2]]:
        assert f"{number:.2f}" in texts
    assert "0.00" in texts and "masked" in texts


def test_the_picture_of_bert_masks_padding_and_that_of_gpt_the_future():
    crosses = {n: [w.box for w in SCHEMATICS[n]().written if w.text.get_text() == "×"]
               for n in ("gpt", "bert")}  # fmt: skip
    assert len(crosses["gpt"]) == 10 and len(crosses["bert"]) == 5
    assert len({round(box.x, 6) for box in crosses["bert"]}) == 1
