"""Texts of strangers can be drawn, and what the font lacks is written out."""

from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from hostile import TEXTS
from limelight.draw import Panel, annotate, boxes, chart, gallery, trace
from limelight.draw.assets import escape, make_legible
from limelight.text import shorten, visible

OFTEN = ("template", "long")


@pytest.mark.parametrize(
    "text", [pytest.param(t, id=name, marks=() if name in OFTEN else pytest.mark.slow) for name, t in TEXTS.items()]
)
def test_any_text_can_be_drawn(text):
    """No formula, no box for a glyph that lacks, nothing left out of a legend; and no picture grows with a text."""
    tile = Image.new("RGB", (64, 64))
    assert max(gallery([[Panel(tile, text, text)]], titles=[text], row_titles=[text], size=64).size) < 2000
    assert annotate(tile, text, text).width < 400
    boxes.outline(tile, [boxes.Outline((1, 1, 60, 60), "#ffffff", text)])
    line = np.linspace(0, 1, 9)
    chart.curves({text: {text: line, "other": line}}, x_label=text, y_label=text)
    chart.courses({text: line}, [0, 2], levels={text: {text: 0.5}})
    for svg, _ in (
        chart.tradeoff({text: (1, 0.5, 0.4, 0.6), "b": (2, 0.5, 0.4, 0.6)}, x_label=text, y_label=text),
        chart.bands({text: (line, line)}, x_label=text, y_label=text),
        chart.race({text: [(1, 0.5)]}, gone=[text], x_label=text, y_label=text),
        chart.distributions({text: line}, label=text),
        chart.histogram({text: line}, label=text),
    ):
        words = [e.text for e in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
        assert sum(w is not None and shorten(visible(shorten(text, 60)), 60)[:12].strip() in w for w in words) >= 2
    if not text.isspace():
        assert trace._line(text, 200).size == (200, 28)


def test_what_the_font_lacks_is_written_out():
    assert make_legible("a猫\u202e") == r"a\u732b\u202e"
    assert make_legible("кошка é →") == "кошка é →"
    assert make_legible("a\nb", keep="\n") == "a\nb"
    assert len(make_legible("x" * 10**6)) < 1000


def test_labels_of_charts_are_plain():
    assert escape("$x$") == r"\$x\$"
    assert escape("_x") == " _x"
    assert escape("猫", drawn_here=False) == "猫"
