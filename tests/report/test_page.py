"""The page: whole, self-contained, accessible, and faithful to what it was given."""

from pathlib import Path

import pytest
from PIL import Image

from limelight.report import Code, Facts, Figure, Figures, Section, Table, write_page
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
