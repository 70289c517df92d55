"""Files of an explanation."""

from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

from limelight.results.explanation import Explanation
from limelight.text import file_name
from limelight.web.studio import told
from limelight.web.studio.asked import Request, choice
from limelight.web.studio.explaining import Events
from limelight.web.studio.studio import Studio

TYPES = {"png": "image/png", "svg": "image/svg+xml", "npz": "application/octet-stream", "json": "application/json"}


def export(studio: Studio, request: Request) -> Events:
    """Write an explanation as a file, with everything needed to make it again."""
    one, kind = studio.recall(request), choice(request, "kind", TYPES, "png")
    name = f"{file_name(one.method.name)}.{kind}"
    if kind == "svg":
        data = svg(one.explanation).encode()
    else:
        with TemporaryDirectory() as folder:
            data = one.explanation.save(Path(folder) / name).read_bytes()
    yield "result", told.file(name, TYPES[kind], data)


def svg(explanation: Explanation) -> str:
    """Return a drawing of the picture, the map over it, and what it is, each on its own layer."""
    width, height = explanation.view("image").size
    images = "".join(
        f'<image width="{width}" height="{height}" opacity="{opacity}" href="{told.address(told.png(picture))}"/>'
        for picture, opacity in ((explanation.view("image"), 1), (explanation.view("map"), 0.6))
    )
    title = escape(f"{explanation.method}: {explanation.title}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height + 24}"><title>{title}</title>{images}'
        f'<text x="4" y="{height + 17}" font-family="sans-serif" font-size="12">{title}</text></svg>\n'
    )
