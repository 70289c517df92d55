"""Scaling and resizing of maps."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from limelight.shapes import Flags, Grid


def smallest_step(values: Tensor) -> Tensor:
    """Return the spread under which a map counts as constant, per map.

    Args:
        values: maps, shape (..., h, w).

    Returns:
        ``16 eps max(|max|, |min|)``, shape (...).
    """
    return 16 * torch.finfo(values.dtype).eps * values.abs().amax((-2, -1))


def varies(maps: Float[Tensor, "*any h w"]) -> Bool[Tensor, "*any"]:
    """Tell which maps are not constant up to rounding."""
    return maps.amax((-2, -1)) - maps.amin((-2, -1)) > smallest_step(maps)


def min_max(maps: Grid) -> tuple[Grid, Flags]:
    """Scale each map to [0, 1]: (M - min) / (max - min).

    No epsilon stands in the denominator, so the largest value comes out as exactly 1. A map whose spread is
    not above rounding (``smallest_step``) is constant: it becomes zeros.

    Args:
        maps: shape (n, h, w), any range.

    Returns:
        The scaled maps, and a flag per map that says whether it was constant.
    """
    low, high = maps.amin((-2, -1)), maps.amax((-2, -1))
    spread = high - low
    constant = spread <= smallest_step(maps)
    scale = torch.where(constant, torch.ones_like(spread), spread)
    scaled = (maps - low[:, None, None]) / scale[:, None, None]
    return scaled.masked_fill(constant[:, None, None], 0.0), constant


def resize(maps: Float[Tensor, "*any h w"], size: tuple[int, int]) -> Float[Tensor, "*any H W"]:
    """Resize bilinearly with ``align_corners=False`` and no antialiasing.

    Args:
        maps: (n, h, w) or (n, k, h, w).
        size: (H, W) of the result.
    """
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    stacked = maps if maps.ndim == 4 else maps[:, None]
    resized = F.interpolate(stacked, size=size, mode="bilinear", align_corners=False)
    return resized if maps.ndim == 4 else resized[:, 0]


def divide(a: Tensor, b: Tensor, otherwise: Tensor | float = 0.0) -> Tensor:
    """Return a / b, and ``otherwise`` where b is 0: an exact guard in place of an epsilon."""
    zero = b == 0
    quotient = a / b.masked_fill(zero, 1.0)
    return torch.where(zero, torch.as_tensor(otherwise, dtype=a.dtype, device=a.device), quotient)
