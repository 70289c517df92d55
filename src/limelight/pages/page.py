"""One self-contained HTML page: pictures inside, nothing fetched from anywhere; a script only where something is asked.

Whatever stands on it is text, of whomever it comes from; and should a tag slip through, the page's own policy lets no
browser fetch, run or send anything.
"""

import base64
import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from limelight import files
from limelight.draw import to_address
from limelight.text import visible

Order = Literal["ascending", "descending"]


@dataclass(frozen=True)
class Figure:
    """A picture.

    Attributes:
        image: shown at its own size or smaller.
        alt: a description for readers who cannot see it.
        caption: stands below it.
        photo: whether it is compressed with loss, to a fifth of the size.
        key: of the point of a ``Scatter`` that it belongs to.
    """

    image: Image.Image
    alt: str
    caption: str = ""
    photo: bool = False
    key: str = ""

    @property
    def source(self) -> str:
        """The picture as a data URI."""
        if self.photo:
            file = io.BytesIO()
            self.image.convert("RGB").save(file, "JPEG", quality=88)
            return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
        return to_address(self.image)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.image.size


@dataclass(frozen=True)
class Drawing:
    """A picture of lines, sharp at any size.

    Attributes:
        svg: the document, which follows a light or dark page by itself.
        size: width and height, pixels.
        alt: a description for readers who cannot see it.
        caption: stands below it.
    """

    svg: str
    size: tuple[int, int]
    alt: str
    caption: str = ""

    @property
    def source(self) -> str:
        """The picture as a data URI."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg.encode()).decode()


@dataclass(frozen=True)
class Figures:
    """Pictures side by side.

    Attributes:
        items: from left to right.
        large: whether each needs room, as charts do.
        small: whether they are thumbnails.
    """

    items: Sequence[Figure | Drawing]
    large: bool = False
    small: bool = False


@dataclass(frozen=True)
class Value:
    """A cell of a table that says more than a number.

    Attributes:
        text: what stands there.
        number: by which it is sorted; NaN comes last.
        strong: whether it stands out.
        note: stands below it.
        mark: stands before it, small.
        figures: stand below that, small.
    """

    text: str
    number: float = float("nan")
    strong: bool = False
    note: str = ""
    mark: str = ""
    figures: Sequence[Figure] = ()

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Table:
    """A table of texts, numbers or pictures.

    Attributes:
        caption: says what the table shows.
        columns: the heads; the first one is that of the row heads.
        rows: each begins with its head.
        sorts: how each column is sorted when it is first asked for; nothing for a table that stays as it is.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float | Figure | Value]]
    sorts: Sequence[Order] = ()

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


@dataclass(frozen=True)
class Filter:
    """A field that shows only the rows of sortable tables, and the groups around them, that hold a word.

    Attributes:
        label: says what to type.
    """

    label: str


@dataclass(frozen=True)
class Group:
    """A part of a section under a heading of its own.

    Attributes:
        title: the heading.
        blocks: from top to bottom.
    """

    title: str
    blocks: "Sequence[Block]"


@dataclass(frozen=True)
class Details:
    """Blocks that are hidden until a reader opens them; a printed page shows them.

    Attributes:
        summary: what is inside.
        blocks: from top to bottom.
    """

    summary: str
    blocks: "Sequence[Block]"


@dataclass(frozen=True)
class Point:
    """A point of a ``Scatter``.

    Attributes:
        x: from 0, on the left, to 1.
        y: from 0, at the top, to 1.
        groups: of the legend, the first of which gives its colour.
        name: what it stands for.
        key: what it is for programs; that of the ``Figure`` that shows it, if there is one.
    """

    x: float
    y: float
    groups: Sequence[int]
    name: str
    key: str = ""


@dataclass(frozen=True)
class Scatter:
    """Points in a plane, of which a reader chooses some to see what they stand for.

    Attributes:
        points: in the order in which they are drawn.
        legend: name and size of each group; the first ``COLOURS`` have a colour of their own.
        rest: what is said of points of no group, or of one without a colour.
        label: a description for readers who cannot see it.
        caption: stands below it.
    """

    points: Sequence[Point]
    legend: Sequence[tuple[str, int]]
    rest: str
    label: str
    caption: str = ""

    COLOURS: ClassVar[int] = 8
    SIZE: ClassVar[tuple[int, int]] = (640, 400)

    @property
    def placed(self) -> list[tuple[float, float, str, Point]]:
        """Where each point is on the sheet, its colour, and what it is."""
        width, height = self.SIZE
        return [
            (
                round(EDGE + p.x * (width - 2 * EDGE), 1),
                round(EDGE + p.y * (height - 2 * EDGE), 1),
                self.colour(*p.groups[:1]),
                p,
            )
            for p in self.points
        ]

    def colour(self, group: int = -1) -> str:
        """Return the class of a group in the style sheet."""
        return f"g{group}" if 0 <= group < self.COLOURS else "rest"


EDGE = 14
"""Of a sheet of points, pixels without any."""

Block = str | Figures | Table | Facts | Code | Filter | Group | Details | Scatter
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


def write_page(
    path: Path, title: str, beginning: Sequence[Block], sections: Sequence[Section], footer: str = ""
) -> None:
    """Write a page that can be read, printed, mailed and kept by itself.

    Args:
        path: the file.
        title: the main heading.
        beginning: what comes before the first section.
        sections: in reading order; their titles differ.
        footer: where the page comes from.
    """
    blocks = [*beginning, *(block for section in sections for block in section.blocks)]
    asked = any(map(_needs_script, blocks))
    scatter = any(map(_has_points, blocks))
    style = Markup("").join(map(_read_template, ["page.css"] + ["scatter.css"] * scatter))
    script = Markup("").join(map(_read_template, ["page.js"] * asked + ["scatter.js"] * scatter))
    html = (
        _environment()
        .get_template("page.html")
        .render(
            title=title,
            beginning=beginning,
            sections=sections,
            footer=footer,
            style=style,
            script=script,
            policy=_policy(style, script),
        )
    )
    files.write(path, html)


def _needs_script(block: Block) -> bool:
    """Tell whether a block needs the script."""
    if isinstance(block, Group | Details):
        return isinstance(block, Details) or any(map(_needs_script, block.blocks))
    return isinstance(block, Filter) or (isinstance(block, Table) and bool(block.sorts))


def _has_points(block: Block) -> bool:
    """Tell whether a block is, or holds, points to choose from."""
    return isinstance(block, Scatter) or (isinstance(block, Group | Details) and any(map(_has_points, block.blocks)))


def _read_template(name: str) -> Markup:
    """Return the text of one of our own files, which is printed as it is."""
    return Markup((Path(__file__).parent / "templates" / name).read_text(encoding="utf-8"))


def _policy(style: str, script: str) -> str:
    """Return the content security policy of a page: its own style and script, pictures inside it, nothing else."""
    style_hash, script_hash = (
        "'none'" if not text else f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in (style, script)
    )
    return (
        f"default-src 'none'; img-src data:; style-src {style_hash}; script-src {script_hash}; "
        "base-uri 'none'; form-action 'none'"
    )


def _show_all(text: str) -> str:
    """Return a text in which nothing is unseen but its line ends."""
    return visible(text, keep="\n")


def _printed(value: object) -> object:
    """Return what templates print for a value: texts that are no markup with all that is unseen in them."""
    return _show_all(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _environment() -> Environment:
    """Return the templates; whatever they print is escaped."""
    environment = Environment(
        loader=PackageLoader("limelight.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printed,
    )
    environment.filters |= {"inline": _inline, "kind": lambda block: type(block).__name__}
    return environment


def _inline(text: str) -> Markup:
    """Turn words between backticks into code; everything else is plain text."""
    parts = [escape(part) for part in re.split("`([^`]+)`", _show_all(text))]
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else p for i, p in enumerate(parts))
