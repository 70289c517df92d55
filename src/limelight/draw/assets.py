"""Colour maps and fonts. The only place that knows Matplotlib, and imports it when first used."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ImageFont

from limelight.errors import InvalidOption, nearest
from limelight.text import shorten, visible, write_out

__all__ = ["escape", "font", "make_legible", "palette"]

_LONGEST = 400
"""Characters of a text; no picture has room for more."""


@lru_cache(maxsize=32)
def palette(name: str, steps: int = 256) -> npt.NDArray[np.uint8]:
    """Return the colours of a Matplotlib colour map, shape (steps, 3).

    Raises:
        InvalidOption: there is no colour map of that name.
    """
    import matplotlib

    if name not in matplotlib.colormaps:
        known = nearest(name, matplotlib.colormaps) or "; inferno, viridis, magma and seismic are some"
        raise InvalidOption(f"there is no colour map {name!r}{known}")
    colours = matplotlib.colormaps[name].resampled(steps)(np.arange(steps), bytes=True)
    return np.asarray(colours, dtype=np.uint8)[:, :3]


@lru_cache(maxsize=32)
def font(size: float, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which comes with Matplotlib and covers most alphabets, in pixels."""
    return ImageFont.truetype(_file(bold), size)


def _file(bold: bool = False) -> Path:
    import matplotlib

    return Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")


@lru_cache(maxsize=1)
def _glyphs() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(_file())).get_charmap())


def make_legible(text: str, keep: str = "") -> str:
    """Return a text that ``font`` can draw: characters that it lacks, or that nobody would see, are written out.

    Args:
        text: of any origin; of a very long one the middle is left out.
        keep: characters that are left as they are, such as line ends.
    """
    seen = visible(shorten(text, _LONGEST), keep)
    return "".join(c if ord(c) in _glyphs() or c in keep else write_out(c) for c in seen)


def escape(text: str, most: int = 60, *, drawn_here: bool = True) -> str:
    r"""Return a text that Matplotlib draws as it is: no formula between ``$``, none kept out of a legend for its ``_``.

    Args:
        text: of any origin.
        most: characters; of a longer text the middle is left out.
        drawn_here: in our font; or later by a reader's browser, which may have others.
    """
    short = shorten(text, most)
    seen = shorten(make_legible(short) if drawn_here else visible(short), most).replace("$", r"\$")
    return f" {seen}" if seen.startswith("_") or not seen else seen
