"""Pictures under the names of pytorch_grad_cam.utils.image."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from limelight.compat.common import absent_names
from limelight.draw import colorize
from limelight.errors import InvalidImage, InvalidOption

__all__ = ["preprocess_image", "show_cam_on_image"]

CMAPS = {0: "autumn", 1: "bone", 2: "jet", 3: "winter", 6: "summer", 7: "spring", 8: "cool", 9: "hsv", 10: "pink"} | {
    11: "hot",
    13: "magma",
    14: "inferno",
    15: "plasma",
    16: "viridis",
    17: "cividis",
    18: "twilight",
    20: "turbo",
}
"""Names of OpenCV's numbers of colour maps."""


def preprocess_image(
    img: npt.NDArray[Any], mean: Sequence[float] = (0.5,) * 3, std: Sequence[float] = (0.5,) * 3
) -> Tensor:
    """Return a picture (H, W, 3), floats in [0, 1] or bytes, as a normalised batch of one, (1, 3, H, W)."""
    pixels = torch.as_tensor(np.ascontiguousarray(img)).movedim(-1, 0)
    pixels = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float()
    return ((pixels - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1))[None]


def show_cam_on_image(
    img: npt.NDArray[Any],
    mask: npt.NDArray[Any],
    use_rgb: bool = False,
    colormap: int | str = 2,
    image_weight: float = 0.5,
) -> npt.NDArray[np.uint8]:
    """Return a map over its picture, scaled so that the brightest value is 255.

    Args:
        img: the picture, (H, W, 3), floats in [0, 1].
        mask: the map, (H, W), in [0, 1].
        use_rgb: whether the colours of the map are in the order red, green, blue, or as OpenCV has them.
        colormap: OpenCV's number of a colour map, or a name that Matplotlib knows.
        image_weight: in [0, 1], how much of the picture is left.

    Raises:
        InvalidImage: the picture is not within [0, 1].
        InvalidOption: an option out of its range, or no such colour map.
    """
    if np.max(img) > 1:
        raise InvalidImage(f"the picture is to be floats in [0, 1], and has {np.max(img):g}")
    if not 0 <= image_weight <= 1:
        raise InvalidOption(f"image_weight is {image_weight}; it must be in [0, 1]")
    name = colormap if isinstance(colormap, str) else CMAPS.get(int(colormap))
    if name is None:
        raise InvalidOption(f"there is no colour map {colormap!r}; give one of {CMAPS}, or a name of Matplotlib's")
    colours = colorize(mask, name)[..., :: 1 if use_rgb else -1] / 255
    both = (1 - image_weight) * colours + image_weight * img
    return (255 * both / both.max()).astype(np.uint8)


if not TYPE_CHECKING:
    __getattr__ = absent_names(
        __name__,
        "pytorch_grad_cam.utils.image",
        dict.fromkeys(
            ("create_labels_legend", "deprocess_image", "scale_accross_batch_and_channels", "scale_cam_image"),
            "explanations draw themselves: limelight.explain(…).save('map.png')",
        )
        | {"show_factorization_on_image": "concepts are not factorised; cluster-cam groups channels"},
    )
