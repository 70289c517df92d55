"""Boxes and points on pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from PIL import Image, ImageDraw

from limelight.draw.assets import font, make_legible

__all__ = ["CHOSEN", "PLAIN", "TRUE", "Outline", "outline"]

CHOSEN, PLAIN, TRUE = "#19d3ff", "#ffb000", "#ffffff"
"""Colours of boxes that a map chose, that were chosen without one, and of true ones; none is in a heat map's middle."""
_SHADE = "#101010"


@dataclass(frozen=True)
class Outline:
    """A box to be drawn.

    Attributes:
        box: x0, y0, x1, y1 in pixels of the picture, ends exclusive.
        colour: a name or ``#rrggbb``.
        label: short text at its upper left corner.
        dashed: whether the line is broken.
    """

    box: Sequence[float]
    colour: str
    label: str = ""
    dashed: bool = False


def outline(
    image: Image.Image, outlines: Sequence[Outline], points: Sequence[tuple[float, float]] = (), *, size: int = 384
) -> Image.Image:
    """Draw boxes and crosses on a picture, with dark edges that keep them visible on any ground.

    Args:
        image: the picture.
        outlines: its boxes; later ones lie on top.
        points: x, y in pixels of the picture, each marked by a cross.
        size: longer side of the result in pixels; lines are as wide whatever the picture's size.
    """
    scale = size / max(image.size)
    target = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    canvas = image.convert("RGB").resize(target, Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(canvas)
    width = max(2, round(size / 150))
    placed = [_inside([v * scale for v in one.box], target, width) for one in outlines]
    for one, box in zip(outlines, placed, strict=True):
        for colour, wide in ((_SHADE, width + 2), (one.colour, width)):
            for line in _edges(box, 4 * width if one.dashed else 0):
                pen.line(line, colour, wide)
    taken: list[tuple[float, float, float, float]] = []
    for one, box in zip(outlines, placed, strict=True):
        if one.label:
            taken.append(_tag(pen, one, box, target, size, taken))
    for x, y in points:
        at, arm = (x * scale, y * scale), size / 45
        for colour, wide in ((_SHADE, width + 2), ("#ffffff", width)):
            more = 1 if colour == _SHADE else 0
            for sign in (1, -1):
                dx, dy = arm + more, sign * (arm + more)
                pen.line((at[0] - dx, at[1] - dy, at[0] + dx, at[1] + dy), colour, wide)
    return canvas


def _inside(box: Sequence[float], size: tuple[int, int], width: int) -> tuple[float, float, float, float]:
    """Move the edges of a box so far into the picture that their lines are seen in full."""
    half = width / 2 + 1
    x0, y0, x1, y1 = box
    right, bottom = size[0] - 1 - half, size[1] - 1 - half
    return (
        min(max(x0, half), right),
        min(max(y0, half), bottom),
        max(min(x1, right), half),
        max(min(y1, bottom), half),
    )


def _edges(box: Sequence[float], dash: int) -> Iterator[tuple[float, float, float, float]]:
    """Yield the lines of a box: four, or dashes as long as the gaps between them."""
    x0, y0, x1, y1 = box
    corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]
    for (ax, ay), (bx, by) in pairwise(corners):
        length = abs(bx - ax) + abs(by - ay)
        pieces = max(1, round(length / dash)) | 1 if dash else 1  # odd: a dash at either end
        for i in range(0, pieces, 2):
            a, b = i / pieces, (i + 1) / pieces
            yield (ax + a * (bx - ax), ay + a * (by - ay), ax + b * (bx - ax), ay + b * (by - ay))


def _tag(
    pen: ImageDraw.ImageDraw,
    one: Outline,
    box: Sequence[float],
    size: tuple[int, int],
    side: int,
    taken: Sequence[tuple[float, float, float, float]],
) -> tuple[float, float, float, float]:
    """Write a label in its box's upper left corner, below those that are there already; return where it stands."""
    face = font(max(11, side / 26), bold=True)
    label = make_legible(one.label)
    wide, high = face.getlength(label) + 8, sum(face.getmetrics()) + 2
    x, y = min(box[0], size[0] - wide), min(box[1], size[1] - high)
    bottom = size[1] - high

    def clash() -> bool:
        return any(x < right and left < x + wide and y < low and top < y + high for left, top, right, low in taken)

    while clash() and y < bottom - 1:
        y += 1
    pen.rectangle((x, y, x + wide, y + high), _SHADE)
    pen.text((x + 4, y + 1), label, one.colour, face)
    return x, y, x + wide, y + high
