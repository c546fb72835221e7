import numpy as np
import pytest

from numpylm.drawings import BACKWARD, HEAD, Drawing


def written(drawing):
    return [(w.text.get_text(), w.is_code) for w in drawing.written]


def test_lines_of_a_box_stand_one_below_the_other_inside_it():
    d = Drawing(4, 2)
    box = d.box(2, 1, 2, 1, "`linear_forward", "y = x w")
    assert written(d) == [("linear_forward", True), ("y = x w", False)]
    first, second = (w.text.get_position() for w in d.written)
    assert first[0] == second[0] == 2 and first[1] < 1 < second[1]
    assert box.left() == (1, 1) and box.right(0.25) == (3, 1.25)
    assert box.top() == (2, 0.5) and box.bottom(-0.5) == (1.5, 1.5)


def test_code_is_drawn_as_code_and_other_words_are_not():
    d = Drawing(2, 2)
    d.note(1, 0.5, "`w_qkv")
    d.note(1, 1.5, "words")
    code, words = (w.text.get_fontname() for w in d.written)
    assert "Mono" in code and "Mono" not in words


def test_an_arrow_goes_through_its_places_and_ends_in_a_head():
    d = Drawing(4, 4)
    d.arrow((1, 1), (1, 3), (3, 3))
    *lines, head = (arrow.get_path().vertices for arrow in d.arrows)
    assert [line[[0, -1]].tolist() for line in lines] == [[[1, 1], [1, 3]], [[1, 3], [3, 3]]]
    assert d.arrows[-1]._posA_posB == [pytest.approx((3 - HEAD, 3)), (3, 3)]
    assert head.size


def test_a_gradient_is_told_from_data_without_its_colour():
    d = Drawing(4, 4)
    d.arrow((1, 1), (1, 3))
    d.arrow((2, 3), (2, 1), colour=BACKWARD)
    assert [arrow.get_linestyle() != "solid" for arrow in d.arrows] == [False, False, True, False]


def test_cells_hold_their_numbers_row_by_row():
    d = Drawing(4, 4)
    table = d.cells(2, 2, 0.5, [["1", ""], ["3", "4"]], shade=np.eye(2))
    assert (table.width, table.height) == (1, 1)
    places = {w.text.get_text(): w.text.get_position() for w in d.written}
    assert places == {"1": (1.75, 1.75), "3": (1.75, 2.25), "4": (2.25, 2.25)}


def test_a_title_stands_in_its_corner_of_a_frame():
    d = Drawing(6, 4)
    d.frame(3, 2, 4, 2, "left")
    d.frame(3, 2, 4, 2, "right", side="right")
    left, right = (w.text for w in d.written)
    assert left.get_position()[0] < 3 < right.get_position()[0]
    assert (left.get_ha(), right.get_ha()) == ("left", "right")
