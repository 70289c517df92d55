"""The main loop of a child process that decodes pictures of strangers, within limits of memory and time."""

import base64
import contextlib
import io
import os
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from PIL import Image

from limelight.data.images import FORMATS, load_image, most_pixels
from limelight.errors import InvalidImage
from limelight.files import content_of, reason_of
from limelight.quiet import any_size, quiet
from limelight.web.worker import Post, do, memory

SIDE = 96
"""Pixels of a thumbnail's longer side."""

BYTES_PER_PIXEL = 16
"""That a decoder may take; of rare kinds of pictures several copies are in memory at once."""

BASE = 512 << 20
"""Bytes that it may take besides."""


def main(pipe: Connection) -> None:
    """Decode until the server is gone."""
    post = Post(pipe)
    _limit()
    post.say("ready", {"memory": memory()})
    while True:
        job = post.next()
        do(post, FUNCTIONS, None, job)
        post.say("done", {"memory": memory()})


def decode(_: None, request: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Decode the file ``source`` to ``target``, whose format keeps every pixel, and give its size and thumbnail."""
    image = load_image(_content(request["source"]))
    image.save(request["target"])
    yield "result", {"width": image.width, "height": image.height, "thumb": _small(image)}


def thumb(_: None, request: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the thumbnail of the file ``source``."""
    content = _content(request["source"])
    image: Any = content
    with quiet(), any_size(), contextlib.suppress(Exception):  # which are told when it is opened once more
        first = Image.open(io.BytesIO(content), formats=FORMATS)
        if first.format == "JPEG" and first.width * first.height <= most_pixels():
            first.draft("RGB", (2 * SIDE, 2 * SIDE))  # decodes an eighth of a large one
            image = first
    yield "result", {"thumb": _small(load_image(image))}


FUNCTIONS = {"decode": decode, "thumb": thumb}


def _content(path: str) -> bytes:
    try:
        return content_of(path)
    except OSError as error:
        raise InvalidImage(f"the file can't be read: {reason_of(error)}") from error


def _small(image: Image.Image) -> str:
    small = image.copy()
    small.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=85)
    return base64.b64encode(file.getvalue()).decode()


def _limit() -> None:
    """Let the system refuse more memory, and larger files, than a picture may need."""
    try:
        import resource
    except ImportError:  # Windows
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    most = pages * os.sysconf("SC_PAGE_SIZE") + BASE + BYTES_PER_PIXEL * most_pixels()
    for kind, limit in ((resource.RLIMIT_AS, most), (resource.RLIMIT_FSIZE, (1 << 20) + 3 * most_pixels())):
        with contextlib.suppress(ValueError, OSError):  # a lower limit is set already, or there is none here
            resource.setrlimit(kind, (limit, limit))
