"""Sheets of pictures with titles and captions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from limelight.draw.assets import font, make_legible, palette
from limelight.errors import InvalidOption

__all__ = ["Panel", "annotate", "enlarge", "gallery"]

_INK, _SOFT, _HAIRLINE = "#1a1a1a", "#6b6b6b", "#d8d8d8"


@dataclass(frozen=True)
class Panel:
    """One picture of a sheet, with a title above it and a caption below, and a frame if it is to stand out."""

    image: Image.Image
    title: str = ""
    caption: str = ""
    frame: bool = False


@dataclass(frozen=True)
class _Text:
    """Centred lines that were broken to fit a width; nothing at all where the text is empty."""

    lines: tuple[str, ...]
    font: ImageFont.FreeTypeFont
    colour: str

    @property
    def line_height(self) -> int:
        return sum(self.font.getmetrics())

    @property
    def height(self) -> int:
        return len(self.lines) * self.line_height

    def draw(self, on: ImageDraw.ImageDraw, left: float, top: float, width: float) -> None:
        for number, line in enumerate(self.lines):
            at = (left + (width - self.font.getlength(line)) / 2, top + number * self.line_height)
            on.text(at, line, fill=self.colour, font=self.font)


def gallery(
    rows: Sequence[Sequence[Panel | None]],
    *,
    titles: Sequence[str] = (),
    row_titles: Sequence[str] = (),
    size: int = 224,
    colorbar: str | None = None,
    colorbar_labels: tuple[str, str] = ("0", "1"),
) -> Image.Image:
    """Lay panels out on a white sheet, for example scenes as rows and methods as columns.

    Every picture is scaled, in its proportions, until its longer side is ``size``; very small ones (maps
    of 7 x 7, say) keep hard pixels. Long texts are wrapped, at last with an ellipsis.

    Args:
        rows: panels by row; rows may differ in length, ``None`` leaves a place empty.
        titles: above the columns.
        row_titles: at the left of the rows.
        size: longer side of a panel, in pixels, at least 32.
        colorbar: name of a Matplotlib colour map to show at the right.
        colorbar_labels: for the low and the high end of the colour bar.

    Raises:
        InvalidOption: no panels, more titles than columns or rows, a size that is too small, or an
            unknown colour map.
    """
    columns = max((len(row) for row in rows), default=0)
    if not any(panel for row in rows for panel in row):
        raise InvalidOption("a gallery needs at least one panel")
    if len(titles) > columns or len(row_titles) > len(rows):
        raise InvalidOption(
            f"{len(titles)} titles and {len(row_titles)} row titles do not fit {columns} columns and {len(rows)} rows"
        )
    if size < 32:
        raise InvalidOption(f"size is {size}; it must be at least 32 pixels")

    em = max(10, min(max(28, size // 40), round(size / 18)))  # text grows with the pictures, within reason
    grid = [
        [panel and replace(panel, image=_fit(panel.image, size)) for panel in [*row, *[None] * (columns - len(row))]]
        for row in rows
    ]
    # A column is as wide as its widest picture, but leaves room for a few words.
    widths = [max([panel.image.width for row in grid if (panel := row[i])], default=size) for i in range(columns)]
    widths = [max(width, 6 * em) for width in widths]
    heads = [_wrap(text, widths[i], font(em, bold=True), _INK) for i, text in enumerate(titles)]
    sides = [_wrap(text, 9 * em, font(em, bold=True), _INK, 4) for text in row_titles]
    side = max((int(text.font.getlength(line)) + em for text in sides for line in text.lines), default=0)
    above = [[_wrap(p.title if p else "", widths[i], font(em), _INK) for i, p in enumerate(row)] for row in grid]
    below = [
        [_wrap(p.caption if p else "", widths[i], font(0.85 * em), _SOFT) for i, p in enumerate(row)] for row in grid
    ]
    # Titles, pictures and captions of a row stand on common lines.
    bands = [
        (
            _room(above[i], em // 3),
            max([panel.image.height for panel in row if panel], default=0),
            _room(below[i], em // 3),
        )
        for i, row in enumerate(grid)
    ]

    margin, gap = em, em // 2 + 2
    head = _room(heads, em // 2)
    bar = 5 * em if colorbar else 0
    height = 2 * margin + head + sum(map(sum, bands)) + gap * (len(bands) - 1)
    width = 2 * margin + side + sum(widths) + gap * (columns - 1) + bar
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)

    lefts = [margin + side + sum(widths[:i]) + gap * i for i in range(columns)]
    for text, left, wide in zip(heads, lefts, widths, strict=False):
        text.draw(pen, left, margin + head - em // 2 - text.height, wide)
    top = margin + head
    for i, (over, tall, under) in enumerate(bands):
        if i < len(sides):
            sides[i].draw(pen, margin, top + over + (tall - sides[i].height) / 2, side - em)
        for j, panel in enumerate(grid[i]):
            above[i][j].draw(pen, lefts[j], top + over - em // 3 - above[i][j].height, widths[j])
            below[i][j].draw(pen, lefts[j], top + over + tall + em // 3, widths[j])
            if panel:
                x = lefts[j] + (widths[j] - panel.image.width) // 2
                y = top + over + (tall - panel.image.height) // 2
                edge = (x - 1, y - 1, x + panel.image.width, y + panel.image.height)
                sheet.paste(panel.image, (x, y))
                pen.rectangle(edge, outline=_HAIRLINE)  # or a white picture would have no end
                if panel.frame:
                    pen.rectangle(edge, outline=_INK, width=max(2, em // 4))
        top += over + tall + under + gap
    if colorbar:
        first, last = margin + head + bands[0][0], top - gap - bands[-1][2]
        spare = max(0, last - first - 3 * size // 2) // 2  # a longer bar is not easier to read
        at = width - margin - bar + 2 * em
        _bar(sheet, colorbar, colorbar_labels, at, first + spare, last - spare, em)
    return sheet


def annotate(image: Image.Image, title: str = "", caption: str = "", *, size: int = 0) -> Image.Image:
    """Return a picture on white with a title above and a caption below it.

    Args:
        image: the picture.
        title: for example ``"tabby 0.93 · grad-cam"``.
        caption: smaller text.
        size: longer side of the picture in pixels; default: as it is, but at least 160.

    Raises:
        InvalidOption: the size is below 32.
    """
    return gallery([[Panel(image, title, caption)]], size=size or max(160, *image.size))


def enlarge(image: Image.Image, size: int) -> Image.Image:
    """Return a picture of at least this many pixels along its longer side."""
    return image if max(image.size) >= size else _fit(image, size)


def _fit(image: Image.Image, size: int) -> Image.Image:
    """Scale an image in its proportions until its longer side is ``size``."""
    factor = size / max(image.size)
    target = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    # Enlarged that much, an image is a coarse map, whose pixels are the message.
    method = Image.Resampling.NEAREST if factor >= 6 else Image.Resampling.LANCZOS
    return image.convert("RGB").resize(target, method)


def _wrap(text: str, width: float, face: ImageFont.FreeTypeFont, colour: str, most: int = 2) -> _Text:
    """Break a text into at most ``most`` lines that fit, the last one with an ellipsis if need be.

    Lines end where the text's own do, too.
    """
    lines: list[str] = []
    for given in make_legible(text, keep="\n").split("\n") if text else ():
        first, *words = given.split() or [""]
        lines.append(first)
        for word in words:
            if face.getlength(f"{lines[-1]} {word}") <= width:
                lines[-1] += f" {word}"
            else:
                lines.append(word)
    if len(lines) > most:
        lines[most - 1 :] = [" ".join(lines[most - 1 :])]
    return _Text(tuple(_shorten(line, width, face) for line in lines), face, colour)


def _shorten(line: str, width: float, face: ImageFont.FreeTypeFont) -> str:
    if face.getlength(line) <= width:
        return line
    while line and face.getlength(f"{line}…") > width:
        line = line[:-1]
    return f"{line.rstrip()}…"


def _room(texts: Sequence[_Text], space: int) -> int:
    """Height of the tallest of some texts and the space that parts it from the picture."""
    height = max((text.height for text in texts), default=0)
    return height and height + space


def _bar(sheet: Image.Image, cmap: str, labels: tuple[str, str], left: int, top: int, bottom: int, em: int) -> None:
    """Draw a colour bar, the high end up."""
    ramp = np.linspace(255, 0, bottom - top).round().astype(np.intp)
    sheet.paste(Image.fromarray(np.repeat(palette(cmap)[ramp][:, None], em, axis=1)), (left, top))
    pen = ImageDraw.Draw(sheet)
    at = left + em + em // 3
    for label, y, anchor in ((labels[1], top, "lt"), (labels[0], bottom, "lb")):
        pen.text(
            (at, y), _shorten(make_legible(label), sheet.width - at, font(0.85 * em)), _SOFT, font(0.85 * em), anchor
        )
