"""Pictures under the names of torchcam.utils."""

import numpy as np
from PIL import Image

from limelight.draw import overlay
from limelight.errors import InvalidOption

__all__ = ["overlay_mask"]


def overlay_mask(img: Image.Image, mask: Image.Image, colormap: str = "jet", alpha: float = 0.7) -> Image.Image:
    """Return a map over its picture, in the colours of its squared values.

    Args:
        img: the picture.
        mask: the map as a picture of one channel, of any size: bytes, or floats in [0, 1].
        colormap: a name that Matplotlib knows.
        alpha: in [0, 1), how much of the picture is left.

    Raises:
        InvalidOption: alpha out of its range, or no such colour map.
    """
    if not 0 <= alpha < 1:
        raise InvalidOption(f"overlay_mask: alpha = {alpha}; give how much of the picture is left, in [0, 1)")
    values = np.asarray(mask.resize(img.size, Image.Resampling.BICUBIC))
    values = values / 255 if values.dtype == np.uint8 else values.clip(0, 1)
    return overlay(img.convert("RGB"), values**2, cmap=colormap, alpha=1 - alpha, mode="flat")
