"""PNG files that say how they were made."""

import base64
import io
import os
from collections.abc import Mapping

from PIL import Image, PngImagePlugin

from limelight.errors import InvalidImage, InvalidOption
from limelight.files import open_file, reason_of
from limelight.quiet import any_size, quiet

__all__ = ["read_png_metadata", "to_address", "to_png_bytes"]


def to_png_bytes(image: Image.Image, metadata: Mapping[str, str] | None = None) -> bytes:
    """Encode a picture as PNG, with text entries (tEXt, or iTXt where Latin-1 does not suffice).

    The same input gives the same bytes with the same version of Pillow.

    Args:
        image: an image of any mode that PNG has.
        metadata: keyword to text; keywords have 1 to 79 Latin-1 characters.

    Raises:
        InvalidOption: a keyword or text that PNG can't hold.
    """
    notes = PngImagePlugin.PngInfo()
    for key, text in (metadata or {}).items():
        if not 1 <= len(key.encode("latin-1", "ignore")) == len(key) <= 79 or key != key.strip():
            raise InvalidOption(f"{key!r} can't be a PNG keyword; use 1 to 79 Latin-1 characters")
        if "\0" in key + text:
            raise InvalidOption(f"the PNG text {key!r} has a NUL character; remove it")
        notes.add_text(key, text)
    out = io.BytesIO()
    image.save(out, "PNG", pnginfo=notes)
    return out.getvalue()


def to_address(image: Image.Image) -> str:
    """Return an address that holds a picture, as PNG, for pages with nothing to fetch."""
    return f"data:image/png;base64,{base64.b64encode(to_png_bytes(image)).decode()}"


def read_png_metadata(source: str | os.PathLike[str] | bytes) -> dict[str, str]:
    """Return the text entries of a PNG file that stand before its pixels, without decoding it.

    Args:
        source: a path, or the bytes of the file.

    Raises:
        InvalidImage: no such file, or not a PNG file.
    """
    try:
        with quiet(), any_size():  # a large picture does not matter here
            given = io.BytesIO(source) if isinstance(source, bytes) else open_file(source)
            with given as file, Image.open(file, formats=["PNG"]) as image:
                return {str(key): str(text) for key, text in image.info.items() if isinstance(text, str)}
    except Exception as error:  # on damaged data Pillow raises nearly every type
        name = "the data" if isinstance(source, bytes) else os.fspath(source)
        raise InvalidImage(f"can't read {name} as a PNG file: {reason_of(error)}") from error
