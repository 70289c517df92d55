"""Scenes and maps as pictures of the page, with what one would say of them, and as files beside it."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from limelight import draw
from limelight.data.synthetic import CLASSES, Scene
from limelight.files import write
from limelight.pages.demo.scenes import share_on_object
from limelight.pages.demo.wording import name_brightest_place, name_place
from limelight.pages.page import Figure, Table
from limelight.results.explanation import Explanation


def scene_figure(scene: Scene, caption: str = "") -> Figure:
    """Return a scene as the network gets it."""
    height, width = scene.image.shape[:2]
    things: list[str] = []
    for thing in scene.objects:
        x1, y1, x2, y2 = thing.box
        things.append(f"{thing.name} at the {name_place((x1 + x2) / 2 / width, (y1 + y2) / 2 / height)}")
    stamp = "; a stamp at the lower left" if scene.watermark else ""
    alt = f"Drawn scene on patterned ground: {', '.join(things)}{stamp}."
    return Figure(Image.fromarray(scene.image), alt, caption)


def map_figure(explanation: Explanation, scene: Scene, caption: str = "", *, fine: bool = False) -> Figure:
    """Return a map over its picture, or one of single pixels by itself, where it can be seen."""
    e = explanation
    if e.degenerate:
        return Figure(e.overlay(), f"{e.method} for {e.label}: an empty map.", "no evidence")
    share, place = share_on_object(e, scene), name_brightest_place(e)
    alt = f"{e.method} for {e.label}: brightest at the {place}, {share:z.0%} of it on the {CLASSES[scene.label]}."
    return Figure(e.view("signed") if fine else e.overlay(), alt, caption)


def write_image(path: Path, image: Image.Image) -> Path:
    """Write a picture as PNG and return its path."""
    write(path, draw.to_png_bytes(image))
    return path


def write_picture_table(
    path: Path, caption: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[Figure]]]
) -> Table:
    """Put the same pictures into a file and into a table of the page."""
    panels = [[draw.Panel(f.image, caption=f.caption) for f in figures] for _, figures in rows]
    write_image(path, draw.gallery(panels, titles=columns[1:], row_titles=[head for head, _ in rows], size=160))
    return Table(caption, columns, [[head, *figures] for head, figures in rows])
