"""Colour maps and fonts. The only place that knows Matplotlib, and imports it when first used."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ImageFont

from limelight.errors import InvalidOption, nearest

__all__ = ["font", "palette"]


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
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), size)
