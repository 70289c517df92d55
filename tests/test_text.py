"""Hostile text in each kind of output, as what reads that output sees it."""

import json
import re
import unicodedata
from html.parser import HTMLParser

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import limelight as ll
from hostile import TEXTS
from limelight.engine.saliency import Finish
from limelight.errors import InvalidImage
from limelight.model.cost import Cost
from limelight.results.comparison import Comparison
from limelight.results.explanation import Explanation
from limelight.results.gallery import Gallery
from limelight.results.row import Column, Row
from limelight.results.tables import Results
from limelight.text import csv_cell, file_name, html, latex, markdown, numbered, shorten, to_json, visible, whole_number

every = pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))
anything = st.text(st.characters(exclude_categories=[]))  # lone surrogates too


def unseen(text: str) -> list[str]:
    """Return the characters that nobody would see, or that act; the standard's own categories say which."""
    return [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c not in PREFIXES]


PREFIXES = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd" + "".join(
    map(chr, range(0x13430, 0x13439))
)
"""Signs of scripts that are seen, though the standard counts them as formats."""


@every
def test_all_is_visible(text: str) -> None:
    shown = visible(text)
    assert not unseen(shown)
    shown.encode()
    if not unseen(text) and "\uffff" not in text:
        assert shown == text


@given(anything)
def test_nothing_unseen_of_any_text(text: str) -> None:
    assert not unseen(visible(text))
    assert visible(visible(text)) == visible(text)
    assert json.loads(to_json([text])) == [text]
    assert not unseen(to_json([text]).replace("\n", ""))
    assert "\n" not in markdown(text)


def test_what_is_unseen_is_written_out() -> None:
    assert visible("a\nb\t\x1b[1m\u202e\U000e0041\udcff\ud800") == r"a\nb\t\x1b[1m\u202e\U000e0041\xff\ud800"
    assert visible("a\nb", keep="\n") == "a\nb"
    assert visible(3) == "3"


def test_long_texts_lose_their_middle() -> None:
    assert shorten("abcdefgh", 5) == "ab…gh"
    assert shorten("abcde", 5) == "abcde"


@every
def test_json_is_read_back(text: str) -> None:
    data = {text: [text, 1.5, None, True]}
    for said in (to_json(data), to_json(data, None), to_json(data, ascii_only=True)):
        assert json.loads(said) == data
        assert not unseen(said.replace("\n", ""))
    assert to_json(data, ascii_only=True).isascii()
    assert to_json("猫") == '"猫"'


@every
def test_markdown_shows_the_text_itself(text: str) -> None:
    escaped = markdown(text)
    assert "\n" not in escaped
    # In CommonMark a backslash before punctuation gives the punctuation.
    assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", escaped) == visible(text)
    plain = re.sub(r"\\[!-/:-@\[-`{-~]", "", escaped)
    assert not re.search(r"[`*\[\]<>|~&$]|(?<![^\W_])_|_(?![^\W_])", re.sub(r"\\[!-/:-@\[-`{-~]", "-", escaped))
    assert not re.match(r"[#+=-]|\d+[.)](\s|$)", plain)


def test_names_stay_readable_in_markdown() -> None:
    for name in ("grad-cam++", "demo/resnet", "average_drop", "0.123", "torchvision/resnet50"):
        assert markdown(name) == name


@every
def test_latex_has_no_command_of_the_text(text: str) -> None:
    own = r"\\text(backslash|asciitilde|asciicircum|less|greater|bar|asciigrave)\{\}|\\[&%$#_{}]"
    rest = re.sub(own, "", latex(text)).replace("-{}", "-")
    rest = re.sub(r"^(\s*)\{([\[*])\}", r"\1\2", rest)
    assert not set(rest) & set('\\{}$&#^_~%<>|`"')
    assert "--" not in latex(text)


@every
def test_a_line_of_a_table_in_latex_begins_with_the_text(text: str) -> None:
    """``\\\\`` before it takes a star and a length in brackets for its own, after any spaces; so does a rule."""
    for start in ("", "[", "*", " [", "*[2pt]", "[]"):
        assert not re.match(r"\s*[\[*]", latex(start + text))
    assert latex("[a] *") == "{[}a] *"


def test_whole_numbers() -> None:
    for text, number in (("0", 0), ("007", 7), ("9" * 18, 10**18 - 1)):
        assert whole_number(text) == number
    for text in ("", "-1", "+1", "1.0", "1_0", " 1", "²", "１", "٣", "0x1", "1e3", "9" * 19, "9" * 5000):
        assert whole_number(text) is None
    assert numbered(["a", "b", "a", "a-2", "a"]) == ["a", "b", "a-3", "a-2", "a-4"]
    assert numbered(["a", "A"], "{} ({})", str.lower) == ["a", "A (2)"]


def test_addresses_are_no_links_in_markdown() -> None:
    for text in ("https://a.b/c", "see HTTP://a.b", "www.a.b", "(WWW.a.b)", "ftp://a.b"):
        assert not re.search(r"[a-z]://|www\.", markdown(text), re.IGNORECASE)
        assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", markdown(text)) == text


@every
def test_csv_has_no_formula(text: str) -> None:
    cell = csv_cell(text)
    assert not re.match(r"\s*[=+@-]|[\t\r]", cell) or cell == "-2"
    assert cell.removeprefix("'") == text


def test_numbers_stay_numbers_in_csv() -> None:
    for value in (-1.5, 3, True, None, "-1.5", "+3", "-1e-05", "-inf", "nan", "12", "label"):
        assert csv_cell(value) is value


@every
def test_names_of_files_are_names(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("files")
    name = file_name(text)
    (folder / f"{name}.grad-cam.png.part").write_text("x")
    assert [p.parent for p in folder.rglob("*") if p.is_file()] == [folder]
    assert not unseen(name)
    assert not re.search(r'[\\/:*?"<>|\s]', name)
    assert not name.startswith((".", "-"))
    assert name.partition(".")[0].lower() not in ("con", "nul", "com1", "")


def test_names_of_files_stay_readable() -> None:
    assert file_name("torchvision/resnet50") == "torchvision-resnet50"
    assert file_name("a cat (1)") == "a-cat-1"
    assert file_name("кошка.v2") == "кошка.v2"


@every
def test_errors_show_what_they_quote(text: str) -> None:
    assert not unseen(str(InvalidImage(f"{text} is no picture")).replace("\n", ""))


@every
def test_what_prints_itself_shows_what_it_is_called(text: str) -> None:
    classifier = ll.Classifier(torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.Flatten()), name=text, size=8)
    rows = [Row(text, text, 0, text, 0.5, text, 0.1, 1.0, 0.0, {text: 0.5})]
    results = Results(rows, {text: Column(text, "1", "higher")})
    explanation = Explanation(
        *(torch.ones(2, 2), torch.ones(3, 2, 2), Finish((2, 2)), 0, text, 1.0, 0.5, text, text),
        *((), Cost(n_forward=1), 0.1, {}, {}),
    )
    for one in (classifier, results, explanation, Gallery([[explanation]])):
        assert not unseen(repr(one))
    comparison = Comparison(text, text, text, 0.5, 0.5, text)
    for one in (classifier, results, results.summary(), comparison, explanation):
        assert not unseen(one._repr_html_())
        assert visible(text) in text_of(one._repr_html_())


TAGS = {"table", "thead", "tbody", "tr", "th", "td", "b", "div", "figure", "img", "figcaption"}


def text_of(html: str) -> str:
    """Return what a reader sees of a piece of HTML in which nothing acts."""
    seen: list[str] = []
    reader = HTMLParser()
    reader.handle_data = seen.append  # type: ignore[method-assign]
    tags: list[tuple[str, list[str]]] = []
    reader.handle_starttag = lambda tag, given: tags.append((tag, [name for name, _ in given]))  # type: ignore[method-assign]
    reader.feed(html)
    reader.close()
    assert all(given in ([], ["scope"], ["src", "alt", "style"]) for _, given in tags)
    assert {tag for tag, _ in tags} <= TAGS
    return " ".join(seen)


def test_html_is_a_text_in_attributes_too() -> None:
    assert html("<b a='1' c=\"2\">&\x1b") == r"&lt;b a=&#x27;1&#x27; c=&quot;2&quot;&gt;&amp;\x1b"
