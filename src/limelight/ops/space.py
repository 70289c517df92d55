"""One to three spatial axes alike: signals, pictures, volumes."""

from collections.abc import Sequence

import torch
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


def size_of(images: Tensor) -> tuple[int, ...]:
    """Return the sides of images or activations (n, k, *space), such as (H, W)."""
    return tuple(int(side) for side in images.shape[2:])


def at_most(size: Sequence[int], cells: int) -> tuple[int, ...]:
    """Return the sides of a coarse grid over images of that size: so many cells, and no more than there are pixels."""
    return tuple(min(cells, side) for side in size)


def height_of(values: Tensor) -> int:
    """Return the rows of pictures and volumes (n, k, *space), or the length of signals."""
    return int(values.shape[max(min(2, values.ndim - 1), values.ndim - 2)])


def along(values: Tensor, axis: int, matrix: Tensor) -> Tensor:
    """Multiply values (n, *space) with a matrix along one axis of space.

    Args:
        values: of n images.
        axis: from 1 on.
        matrix: (out, in), or one for each image, (n, out, in).
    """
    after = values.shape[axis + 1 :]
    if not after:
        rows = values.reshape(len(values), -1, values.shape[-1])
        return (rows @ matrix.mT).reshape(*values.shape[:-1], -1)
    for_all = matrix if matrix.ndim == 2 else matrix[(slice(None), *[None] * (axis - 1))]
    return torch.unflatten(for_all @ values.flatten(axis + 1), -1, after)


def channels_last(images: Tensor) -> torch.memory_format:
    """Return the layout in memory in which the channels of a pixel lie side by side; signals have none."""
    layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
    return layouts.get(images.ndim, torch.preserve_format)
