"""Pictures side by side, with titles, captions and a bar of colours."""

import numpy as np
import pytest
from PIL import Image

from limelight.draw import Panel, annotate, gallery
from limelight.draw.assets import font
from limelight.draw.sheet import _wrap
from limelight.errors import InvalidOption


def find(sheet, colour):
    """Bounding box (top, bottom, left, right) of a colour and the number of its pixels."""
    y, x = np.nonzero((np.asarray(sheet) == colour).all(2))
    return (y.min(), y.max() + 1, x.min(), x.max() + 1), len(y)


def solid(colour, width=64, height=64):
    return Image.new("RGB", (width, height), colour)


def test_gallery_places_rows_and_columns():
    colours = [[(255, 0, 0), (0, 255, 0)], [(0, 0, 255), (255, 0, 255)]]
    sheet = gallery([[Panel(solid(c), "t", "c") for c in row] for row in colours], size=64)
    boxes = [[find(sheet, c) for c in row] for row in colours]
    for row in boxes:
        for (top, bottom, left, right), count in row:
            assert (bottom - top, right - left, count) == (64, 64, 64 * 64)
    assert boxes[0][0][0][:2] == boxes[0][1][0][:2]
    assert boxes[0][0][0][2:] == boxes[1][0][0][2:]
    assert boxes[0][0][0][3] < boxes[0][1][0][2]
    assert boxes[0][0][0][1] < boxes[1][0][0][0]
    assert np.asarray(sheet)[[0, 0, -1, -1], [0, -1, 0, -1]].min() == 255


def test_gallery_keeps_proportions_and_scales():
    (top, bottom, left, right), _ = find(gallery([[Panel(solid("red", 8, 4))]], size=128), (255, 0, 0))
    assert (bottom - top, right - left) == (64, 128)
    (top, bottom, left, right), _ = find(gallery([[Panel(solid("red", 500, 1000))]], size=128), (255, 0, 0))
    assert (bottom - top, right - left) == (128, 64)
    checks = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8))
    sheet = np.asarray(gallery([[Panel(checks)]], size=64))
    black = (sheet == 0).all(2)
    assert black.sum() == 2 * 32 * 32  # hard pixels


def test_gallery_with_gaps_titles_and_bar():
    rows = [[Panel(solid("red")), None], [], [None, Panel(solid("blue"))]]
    plain = gallery(rows, size=64)
    titled = gallery(rows, size=64, titles=["a", "b"], row_titles=["x"], colorbar="viridis")
    assert titled.width > plain.width
    assert titled.height > plain.height
    for colour in ((255, 0, 0), (0, 0, 255), (68, 1, 84)):
        find(titled, colour)
    low, high = find(titled, (68, 1, 84))[0], find(titled, (253, 231, 36))[0]
    assert high[1] <= low[0]  # 1 is above 0


def test_text_is_drawn_where_it_belongs():
    for options, where in ({"title": "Größe Ελλάδα"}, "above"), ({"caption": "deletion 0.12"}, "below"):
        sheet = annotate(solid((255, 0, 0), 200, 100), **options)
        (top, bottom, *_), count = find(sheet, (255, 0, 0))
        assert count == 200 * 100
        dark = (np.asarray(sheet).max(2) < 140).any(1)
        assert dark[:top].any() == (where == "above")
        assert dark[bottom:].any() == (where == "below")
    assert annotate(solid("red", 200, 100)).height < sheet.height


def test_long_texts_stay_inside():
    long = "Überraschungsei" * 9 + " and many more words " * 9
    sheet = gallery(
        [[Panel(solid("red"), long, long)] * 2],
        size=64,
        titles=[long] * 2,
        row_titles=[long],
        colorbar="gray",
    )
    edge = np.asarray(sheet)
    assert edge[:, :3].min() == edge[:, -3:].min() == edge[:3].min() == edge[-3:].min() == 255
    face = font(12)
    text = _wrap("one two three four five six", 60, face, "black")
    assert text.lines[0] == "one two"
    assert len(text.lines) == 2
    assert text.lines[1].endswith("…")
    assert max(map(face.getlength, text.lines)) <= 60
    assert _wrap("one\ntwo", 60, face, "black").lines == ("one", "two")
    assert _wrap("", 60, face, "black").lines == ()


def test_gallery_options():
    panel = Panel(solid("red"))
    for rows in ([], [[]], [[None]]):
        with pytest.raises(InvalidOption, match="at least one panel"):
            gallery(rows)
    with pytest.raises(InvalidOption, match="2 titles"):
        gallery([[panel]], titles=["a", "b"])
    with pytest.raises(InvalidOption, match="2 row titles"):
        gallery([[panel]], row_titles=["a", "b"])
    with pytest.raises(InvalidOption, match="at least 32"):
        gallery([[panel]], size=8)
    with pytest.raises(InvalidOption, match="no colour map"):
        gallery([[panel]], colorbar="nope")
