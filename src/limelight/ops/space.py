"""One to three spatial axes alike: signals, pictures, volumes."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}
AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
"""By the number of spatial axes."""


def spread(values: Tensor, like: Tensor) -> Tensor:
    """Give values (n, …) axes of length 1 behind their own, so that they count for all pixels of (n, …, *space)."""
    return values.reshape(values.shape + (1,) * (like.ndim - values.ndim))


def axes(values: Tensor, first: int = 1) -> tuple[int, ...]:
    """Return the axes of an image's pixels: all from the first on."""
    return tuple(range(first % values.ndim, values.ndim))


def pads(margins: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Return what is added before and behind each axis, (before, behind) in the axes' order, as ``F.pad`` wants it."""
    return tuple(side for pair in reversed(margins) for side in pair)
