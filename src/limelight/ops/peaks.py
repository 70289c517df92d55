"""Peaks of a map: its pixels that are the largest around."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from limelight.errors import InvalidOption
from limelight.ops.scikit_image import components

Floats = npt.NDArray[np.float64]


def find_peaks(
    values: npt.NDArray[Any], radius: int = 16, threshold: float = 0.5
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Find the pixels of a map that are the largest around.

    A pixel is a peak if nothing in the square (in a volume, the cube) of 2 radius + 1 pixels around it is larger and it
    is not below the threshold. The largest value of the map is a peak whatever the threshold. Of touching peaks, which
    are equal, one is left: the pixel at their centre of mass. A map of zeros has no peak.

    Args:
        values: the map, one to three axes, not negative.
        radius: in pixels.
        threshold: in the unit of the map.

    Returns:
        The peaks' places, the last axis first (x, y of a picture), by falling value, equal ones in reading order,
        (p, axes), and their values, (p,).

    Raises:
        InvalidOption: a radius below 0, or a threshold that is not finite.
    """
    check_peak_options(radius, threshold)
    top = values.max(initial=0.0)
    if not top > 0:
        return np.zeros((0, values.ndim), dtype=np.int64), np.zeros(0)
    around = ndimage.maximum_filter(values, 2 * radius + 1, mode="nearest")
    is_peak = (values == around) & ((values >= threshold) | (values == top))
    labels = components(is_peak)
    numbers = range(1, int(labels.max()) + 1)
    centres = np.array([np.argwhere(labels == number).mean(0) for number in numbers])
    heights = np.array([values[labels == number][0] for number in numbers], dtype=float)
    pixels = np.floor(centres + 0.5).astype(np.int64)
    order = np.lexsort((*pixels.T[::-1], -heights))
    return pixels[order][:, ::-1], heights[order]


def check_peak_options(radius: int, threshold: float) -> None:
    """Refuse a radius or threshold that ``find_peaks`` can't work with.

    Raises:
        InvalidOption: a radius below 0, or a threshold that is not finite.
    """
    if radius < 0 or radius != int(radius):
        raise InvalidOption(f"radius = {radius}; a whole number of pixels, from 0 on")
    if not np.isfinite(threshold):
        raise InvalidOption(f"threshold = {threshold}; the map lies in [0, 1]")
