"""Blurs that stand for "no information here"."""

import math

import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from limelight.ops.arrays import from_numpy
from limelight.shapes import Images, Maps


def gaussian_blur(x: Images, size: int = 51, sigma: float = 50.0) -> Images:
    """Blur with a Gaussian of ``size`` x ``size`` pixels; the border is mirrored without repeating its pixel.

    Such a blur commutes with the normalisation of images.

    Args:
        x: (n, c, H, W); pictures smaller than the kernel are mirrored as often as it takes.
        size: odd.
        sigma: standard deviation in pixels.
    """
    axis = torch.arange(size, dtype=torch.float64) - size // 2
    kernel = torch.exp(-0.5 * (axis / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(x)
    for dim, length in ((2, x.shape[2]), (3, x.shape[3])):
        at = _mirror(torch.arange(-(size // 2), length + size // 2), length).to(x.device)
        padded = x.index_select(dim, at)
        shape = [1, 1, 1, 1]
        shape[dim] = size
        weight = kernel.view(shape).expand(x.shape[1], 1, *shape[2:])
        x = F.conv2d(padded, weight, groups=x.shape[1])
    return x


def smooth(maps: Maps, share: float) -> Maps:
    """Smooth maps, (n, H, W), by a Gaussian with a share of their longer side as standard deviation.

    It reaches four standard deviations far; the border is repeated.
    """
    sigma = share * max(maps.shape[-2:])
    reach = math.ceil(4 * sigma)
    axis = torch.arange(-reach, reach + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (axis / max(sigma, 1e-9)) ** 2)
    kernel = (kernel / kernel.sum()).to(maps)
    x = F.pad(maps[:, None], (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(x, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))[:, 0]


def _mirror(index: Tensor, length: int) -> Tensor:
    """Reflect indices into [0, length): -1 -> 1, length -> length - 2."""
    if length == 1:
        return torch.zeros_like(index)
    index = index.remainder(2 * (length - 1))
    return torch.minimum(index, 2 * (length - 1) - index)


def median_blur(x: Images, size: int = 11) -> Images:
    """Return the median of ``size`` x ``size`` pixels around each, the pixels of the border repeated.

    Args:
        x: (n, c, H, W).
        size: odd.
    """
    half = size // 2
    padded = F.pad(x, (half, half, half, half), mode="replicate")
    windows = padded.unfold(2, size, 1).unfold(3, size, 1)  # n c H W s s, a view
    return torch.stack([one.flatten(-2).median(-1).values for one in windows])  # one picture at a time in memory


def rise_blur(x: Images, size: int = 11, sigma: float = 5.0) -> Images:
    """Blur as RISE's evaluation does: a filtered delta as kernel, zeros outside of the picture.

    The kernel is an impulse of ``size`` x ``size`` after ``scipy.ndimage.gaussian_filter``, whose mirrored
    border folds the tails back, so that it is nearly flat. On normalised images the border fades to the mean
    colour.

    Args:
        x: normalised, (n, c, H, W).
        size: odd.
        sigma: standard deviation in pixels.

    Source: Petsiuk et al. 2018, evaluation code.
    """
    impulse = torch.zeros(size, size, dtype=torch.float64)
    impulse[size // 2, size // 2] = 1
    kernel = from_numpy(ndimage.gaussian_filter(impulse.numpy(), sigma)).to(x)
    weight = kernel.expand(x.shape[1], 1, size, size)
    return F.conv2d(x, weight, padding=size // 2, groups=x.shape[1])
