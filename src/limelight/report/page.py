"""One self-contained HTML page: pictures inside, no script, nothing fetched from anywhere."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from limelight.draw import to_png_bytes


@dataclass(frozen=True)
class Figure:
    """A picture.

    Attributes:
        image: shown at its own size or smaller.
        alt: what one would say of it to somebody who cannot see it.
        caption: stands below it.
    """

    image: Image.Image
    alt: str
    caption: str = ""

    @property
    def source(self) -> str:
        """The picture as a data URI."""
        return "data:image/png;base64," + base64.b64encode(to_png_bytes(self.image)).decode()


@dataclass(frozen=True)
class Figures:
    """Pictures side by side.

    Attributes:
        items: from left to right.
    """

    items: Sequence[Figure]


@dataclass(frozen=True)
class Table:
    """A table of texts, numbers or pictures.

    Attributes:
        caption: says what the table shows.
        columns: the heads; the first one is that of the row heads.
        rows: each begins with its head.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float | Figure]]

    @property
    def pictures(self) -> bool:
        """Whether it is there for its pictures."""
        return any(isinstance(cell, Figure) for row in self.rows for cell in row)

    @property
    def numeric(self) -> list[bool]:
        """Whether a column holds numbers, which then stand on the right."""
        return [
            bool(self.rows) and all(re.fullmatch(r"[-−]?[\d.,]+( ?%)?|–", str(row[i])) for row in self.rows)
            for i in range(len(self.columns))
        ]


@dataclass(frozen=True)
class Facts:
    """A few numbers that stand out.

    Attributes:
        items: number and what it counts.
    """

    items: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Code:
    """Lines to type.

    Attributes:
        text: the lines.
    """

    text: str


Block = str | Figures | Table | Facts | Code
"""Part of a section; a text is a paragraph, in which words between backticks are code."""


@dataclass(frozen=True)
class Section:
    """A part of the page under its own heading.

    Attributes:
        title: the heading.
        blocks: from top to bottom.
    """

    title: str
    blocks: Sequence[Block]

    @property
    def anchor(self) -> str:
        """Name by which the page links to it."""
        return re.sub(r"\W+", "-", self.title.lower()).strip("-")


def write_page(path: Path, title: str, lead: Sequence[Block], sections: Sequence[Section], footer: str = "") -> None:
    """Write a page that can be read, printed, mailed and kept by itself.

    Args:
        path: the file.
        title: the main heading.
        lead: what comes before the first section.
        sections: in reading order; their titles differ.
        footer: where the page comes from.
    """
    page = _environment().get_template("page.html")
    html = page.render(title=title, lead=lead, sections=sections, footer=footer)
    path.write_text(html, encoding="utf-8")


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("limelight.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"inline": _inline, "kind": lambda block: type(block).__name__}
    return environment


def _inline(text: str) -> Markup:
    """Turn words between backticks into code; everything else is plain text."""
    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else p for i, p in enumerate(parts))
