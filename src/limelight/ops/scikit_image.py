"""What we use of scikit-image, which has no types."""

from typing import cast

import numpy as np
import numpy.typing as npt
from skimage.color import rgb2hsv, rgb2lab  # pyright: ignore[reportUnknownVariableType]
from skimage.measure import label  # pyright: ignore[reportUnknownVariableType]
from skimage.metrics import structural_similarity as _ssim  # pyright: ignore[reportUnknownVariableType]
from skimage.segmentation import felzenszwalb as _felzenszwalb  # pyright: ignore[reportUnknownVariableType]
from skimage.segmentation import slic as _slic  # pyright: ignore[reportUnknownVariableType]
from skimage.transform import resize as _resize  # pyright: ignore[reportUnknownVariableType]

Floats = npt.NDArray[np.float64]
Wholes = npt.NDArray[np.integer]
Colours = npt.NDArray[np.uint8]
Size = tuple[int, int]


def felzenszwalb(picture: Floats, scale: int, sigma: float, least: int) -> Wholes:
    """Return the segment of each pixel of a picture (H, W, 3), none smaller than ``least`` pixels: (H, W)."""
    return cast(Wholes, _felzenszwalb(picture, scale=scale, sigma=sigma, min_size=least))


def slic(picture: Floats, count: int) -> Wholes:
    """Return the segment of each pixel, about so many of them: (*space).

    Three channels of a picture or a volume are colours, compared in Lab with compactness 10. Other values count as much
    as L does, which is in [0, 100]; but in a signal, which is noisy, a hundredth: it is cut in nearly equal pieces.

    Args:
        picture: (*space, c), a picture, a volume or a signal, in [0, 1].
        count: of segments.
    """
    signal, channels = picture.ndim == 2, picture.shape[-1]
    colours = channels == 3 and not signal
    given = picture[None] if signal else picture  # a row
    compactness = 10 if colours or signal else 0.1
    options = {"compactness": compactness, "sigma": 0, "start_label": 0, "channel_axis": -1, "convert2lab": colours}
    labels = cast(Wholes, _slic(given, n_segments=count, **options))
    return labels[0] if signal else labels


def resize(picture: Floats, size: Size) -> Floats:
    """Return a picture (H, W, 3) at another size, by cubic splines, blurred first where it shrinks."""
    return cast(Floats, _resize(picture, size, order=3, anti_aliasing=True))


def resize_labels(labels: Wholes, size: Size) -> Wholes:
    """Return labels (H, W) at another size: each pixel has the nearest one's."""
    return cast(Wholes, _resize(labels, size, order=0, preserve_range=True, anti_aliasing=False))


def hsv(rgb: Colours) -> Floats:
    """Return the hue, saturation and value of colours (H, W, 3), in [0, 1]."""
    return cast(Floats, rgb2hsv(rgb))


def lab(rgb: Colours) -> Floats:
    """Return the L*, in [0, 100], a* and b* of colours (H, W, 3)."""
    return cast(Floats, rgb2lab(rgb))


def components(mask: npt.NDArray[np.bool_]) -> Wholes:
    """Return the number of the connected part that each pixel is in, from 1 on; 0 where the mask is False: (*space).

    Pixels that share a corner are connected.
    """
    return cast(Wholes, label(mask, connectivity=mask.ndim))


def structural_similarity(one: Floats, other: Floats, side: int, *, sample: bool) -> float:
    """Return the structural similarity of two maps (*space) in [0, 1].

    Args:
        one: the first.
        other: the second.
        side: of the window, in pixels, odd.
        sample: whether its variances are unbiased.
    """
    return cast(float, _ssim(one, other, win_size=side, data_range=1.0, use_sample_covariance=sample))
