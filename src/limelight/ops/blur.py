"""Blurs that stand for "no information here"."""

import math

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from limelight.ops.arrays import from_numpy
from limelight.ops.space import CONVOLVE, axes
from limelight.shapes import Images, Maps

AT_ONCE = 2**25
"""Values of which medians are taken at a time."""


def gaussian_blur(x: Images, size: int = 51, sigma: float = 50.0) -> Images:
    """Blur with a Gaussian of ``size`` pixels along every axis; the border is mirrored without repeating its pixel.

    Such a blur commutes with the normalisation of images.

    Args:
        x: (n, c, *space); pictures smaller than the kernel are mirrored as often as it takes.
        size: odd.
        sigma: standard deviation in pixels.
    """
    line = _bell(size, sigma)
    for axis in axes(x, 2):
        length = x.shape[axis]
        at = _mirror(torch.arange(-(size // 2), length + size // 2), length).to(x.device)
        x = _along(x.index_select(axis, at), line, axis)
    return x


def smooth(maps: Maps, share: float) -> Maps:
    """Smooth maps, (n, *space), by a Gaussian with a share of their longest side as standard deviation.

    It reaches four standard deviations far; the border is repeated.
    """
    sigma = share * max(maps.shape[1:])
    reach = math.ceil(4 * sigma)
    line = _bell(2 * reach + 1, max(sigma, 1e-9))
    x = F.pad(maps[:, None], (reach,) * (2 * (maps.ndim - 1)), mode="replicate")
    for axis in axes(x, 2):
        x = _along(x, line, axis)
    return x[:, 0]


def _bell(size: int, sigma: float) -> Tensor:
    """Return a Gaussian of ``size`` values that add up to 1."""
    at = torch.arange(size, dtype=torch.float64) - size // 2
    line = torch.exp(-0.5 * (at / sigma) ** 2)
    return line / line.sum()


def _along(x: Tensor, line: Tensor, axis: int) -> Tensor:
    """Filter along one axis with so many values, where they fit into the picture."""
    shape = [1] * x.ndim
    shape[axis] = len(line)
    return _filter(x, line.to(x).view(shape[2:]))


def _filter(x: Tensor, kernel: Tensor, padding: tuple[int, ...] | int = 0) -> Tensor:
    """Filter every channel with the same kernel, one to three sides."""
    channels = x.shape[1]
    weight = kernel.expand(channels, 1, *kernel.shape)
    return CONVOLVE[kernel.ndim](x, weight, padding=padding, groups=channels)


def _mirror(index: Tensor, length: int) -> Tensor:
    """Reflect indices into [0, length): -1 -> 1, length -> length - 2."""
    if length == 1:
        return torch.zeros_like(index)
    index = index.remainder(2 * (length - 1))
    return torch.minimum(index, 2 * (length - 1) - index)


def median_blur(x: Images, size: int = 11) -> Images:
    """Return the median of ``size`` pixels along every axis around each, the pixels of the border repeated.

    Args:
        x: (n, c, *space).
        size: odd.
    """
    sides = x.ndim - 2
    padded = F.pad(x, (size // 2,) * (2 * sides), mode="replicate")
    windows = padded
    for axis in axes(x, 2):
        windows = windows.unfold(axis, size, 1)  # n c *space s …, a view
    slab = max(1, AT_ONCE * x.shape[2] // (x[0].numel() * size**sides))  # of one picture at a time in memory
    starts = range(0, x.shape[2], slab)
    return torch.stack(
        [torch.cat([one[:, s : s + slab].flatten(-sides).median(-1).values for s in starts], 1) for one in windows]
    )


def rise_blur(x: Images, size: int = 11, sigma: float = 5.0) -> Images:
    """Blur as RISE's evaluation does: a filtered delta as kernel, zeros outside of the picture.

    The kernel is an impulse of ``size`` x ``size`` after ``scipy.ndimage.gaussian_filter``, whose mirrored
    border folds the tails back, so that it is nearly flat. On normalised images the border fades to the mean
    colour. Along an axis of a single pixel, as in a signal that is kept as a picture of one row, there is nothing
    to blur.

    Args:
        x: normalised, (n, c, *space).
        size: odd.
        sigma: standard deviation in pixels.

    Source: Petsiuk et al. 2018, evaluation code; for signals and volumes the same along their axes is ours.
    """
    long = [axis for axis in axes(x, 2) if x.shape[axis] > 1]
    for together in (long[-2:], long[:-2]):  # the kernel of a volume is that of its slices times one across them
        sides = [size if axis in together else 1 for axis in axes(x, 2)]
        impulse = np.zeros(sides)
        impulse[tuple(side // 2 for side in sides)] = 1
        kernel = ndimage.gaussian_filter(impulse, [sigma if side > 1 else 0.0 for side in sides])
        if together:
            x = _filter(x, from_numpy(kernel).to(x), tuple(side // 2 for side in sides))
    return x
