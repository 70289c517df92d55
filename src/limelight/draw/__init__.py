"""From arrays to pictures: pure functions, NumPy in, Pillow images (or uint8 arrays) out.

* :func:`colorize`, :func:`overlay`, :func:`signed` and :func:`contour` paint one map;
* :func:`outline_mask` draws the edge of a region;
* :func:`annotate` and :func:`gallery` put painted pictures with their titles on one sheet;
* :func:`to_png_bytes` stores a picture with notes on how it was made, :func:`read_png_metadata` reads them;
* :func:`to_address` puts one into a page.
"""

from limelight.draw.paint import colorize, contour, outline_mask, overlay, signed, top_region
from limelight.draw.png import read_png_metadata, to_address, to_png_bytes
from limelight.draw.sheet import Panel, annotate, enlarge, gallery

__all__ = [
    "Panel",
    "annotate",
    "colorize",
    "contour",
    "enlarge",
    "gallery",
    "outline_mask",
    "overlay",
    "read_png_metadata",
    "signed",
    "to_address",
    "to_png_bytes",
    "top_region",
]
