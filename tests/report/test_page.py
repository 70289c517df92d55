"""The page: whole, self-contained, accessible, and faithful to what it was given."""

import base64
import dataclasses
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from hostile import TEXTS
from limelight.draw import chart
from limelight.pages import Code, Facts, Figure, Figures, Section, Table, write_page
from limelight.pages.page import Details, Drawing, Filter, Group, Value
from limelight.text import visible
from pages import Page, check


def figure(caption: str = "") -> Figure:
    return Figure(Image.new("RGB", (6, 4), "lime"), 'A green "field" & nothing else.', caption)


@pytest.fixture
def page(tmp_path: Path) -> Page:
    numbers = Table("Numbers.", ["name", "share", "remark"], [["a", "12%", "3 of 4"], ["b", 0.12345, 2]])
    sections = [
        Section("First & foremost", ["Say `limelight <b>` & go.", Figures([figure("left"), figure()]), numbers]),
        Section("Second", [Table("Pictures.", ["", "one"], [["row", figure("star 0.9")]])]),
        Section("Third", [Facts([("9 of 9", "are `true`")]), Code("a <b>\nc")]),
    ]
    write_page(tmp_path / "page.html", "A <title>", ["Lead."], sections, "The end.")
    return check(tmp_path / "page.html")


def test_texts_are_texts_and_backticks_are_code(page: Page) -> None:
    assert "<code>limelight &lt;b&gt;</code> &amp; go." in page.html
    assert '<pre tabindex="0"><code>a &lt;b&gt;\nc</code></pre>' in page.html
    for text in ("A <title>", "Lead.", "The end.", "9 of 9", "are true", "left", "star 0.9"):
        assert text in " ".join(page.text.split())


def test_alt_texts_and_captions_belong_to_their_pictures(page: Page) -> None:
    images = page.all("img")
    assert [image["alt"] for image in images] == ['A green "field" & nothing else.'] * 3
    assert len(page.all("figcaption")) == 1  # one of the two figures has none


def test_columns_of_numbers_are_marked_as_such(page: Page) -> None:
    assert [cell.get("class") for cell in page.all("td")] == ["number", None, "number", None, None]
    assert ">0.123<" in page.html


def test_every_section_can_be_reached(page: Page) -> None:
    links = [link["href"] for link in page.all("a")]
    assert links == ["#main", "#first-foremost", "#second", "#third"]


def test_a_short_page_has_no_list_of_sections(tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", "Short", [], [Section("Only", ["Text."])])
    page = check(tmp_path / "page.html")
    assert not page.all("nav")
    assert not page.all("footer")


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_page(tmp_path / name, "Same", [], [Section("One", [Figures([figure()])])])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))
def test_nothing_that_is_told_is_more_than_text(text: str, tmp_path: Path) -> None:
    """Wherever it stands on the page: no tag, no attribute, no script of its own, and nothing unseen."""
    drawing = chart.race({text: [(1, 0.5), (2, 0.6)]}, gone=[text], x_label=text, y_label=text)
    cells = [text, Value(text, 1.0, True, text, text, (figure(text),)), figure(text)]
    blocks = [
        text,
        Figures([figure(text), Drawing(*drawing, f"A drawing of {text}.", text)]),
        Table(text, [text, "b", "c"], [cells], ["ascending"] * 3),
        Facts([(text, text)]),
        Code(text),
        Filter(text),
        Group(text, [text]),
        Details(text, [text]),
    ]
    write_page(tmp_path / "page.html", text, [text], [Section(f"All {text}", blocks)], text or "end")
    page = Page(tmp_path / "page.html")
    write_page(tmp_path / "plain.html", "x", ["x"], [Section("All x", _with(blocks, text, "x"))], "x")
    kinds = [[tag for tag, _ in p.tags if tag != "code"] for p in (page, Page(tmp_path / "plain.html"))]
    if text.strip():
        assert kinds[0] == kinds[1]
        assert " ".join(visible(text, keep="\n").split()) in page.text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\u2028\ud800-\udfff]", page.html)
    svg = next(i["src"] for i in page.all("img") if str(i["src"]).startswith("data:image/svg"))
    ElementTree.fromstring(base64.b64decode(str(svg).partition(",")[2]))


def _with(value: Any, old: str, new: str) -> Any:
    """Return blocks in which a text is another one."""
    if isinstance(value, str):
        return value.replace(old, new) if old else value or new
    if isinstance(value, list | tuple):
        return type(value)(_with(v, old, new) for v in value)
    if isinstance(value, Drawing):
        return Drawing(value.svg, value.size, "A drawing.", new)
    if dataclasses.is_dataclass(value) and not isinstance(value, Figure):
        return type(value)(**{f.name: _with(getattr(value, f.name), old, new) for f in dataclasses.fields(value)})
    return figure(new) if isinstance(value, Figure) else value


def test_a_lonely_backtick_stays(tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", "Code", ["`a` and `b c` or ` alone."], [])
    assert "<p><code>a</code> and <code>b c</code> or ` alone.</p>" in Page(tmp_path / "page.html").html


def test_the_policy_follows_what_the_page_has(tmp_path: Path) -> None:
    write_page(tmp_path / "plain.html", "Plain", [], [Section("One", ["Text."])])
    policy = check(tmp_path / "plain.html").all("meta")[1]["content"]
    assert policy is not None
    assert "script-src 'none'" in policy
