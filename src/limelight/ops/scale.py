"""Scaling and resizing of maps."""

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn import functional as F

from limelight.ops.space import MODES, axes, spread
from limelight.shapes import Flags, Grid


def smallest_step(values: Tensor, first: int = -2) -> Tensor:
    """Return the spread under which a map counts as constant, per map.

    Args:
        values: maps, shape (..., *space).
        first: where space begins among the axes.

    Returns:
        ``16 eps max(|max|, |min|)``, shape (...).
    """
    return 16 * torch.finfo(values.dtype).eps * values.abs().amax(axes(values, first))


def varies(maps: Tensor, first: int = -2) -> Bool[Tensor, "*any"]:
    """Tell which maps (..., *space), whose space begins at the axis ``first``, are not constant up to rounding."""
    inside = axes(maps, first)
    return maps.amax(inside) - maps.amin(inside) > smallest_step(maps, first)


def min_max(maps: Grid) -> tuple[Grid, Flags]:
    """Scale each map to [0, 1]: (M - min) / (max - min).

    No epsilon stands in the denominator, so the largest value comes out as exactly 1. A map whose spread is
    not above rounding (``smallest_step``) is constant: it becomes zeros.

    Args:
        maps: shape (n, *space), any range.

    Returns:
        The scaled maps, and a flag per map that says whether it was constant.
    """
    low, high = maps.amin(axes(maps)), maps.amax(axes(maps))
    range_of = high - low
    constant = range_of <= smallest_step(maps, 1)
    scale = torch.where(constant, torch.ones_like(range_of), range_of)
    scaled = (maps - spread(low, maps)) / spread(scale, maps)
    return scaled.masked_fill(spread(constant, maps), 0.0), constant


def resize(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Resize linearly along every axis, with ``align_corners=False`` and no antialiasing.

    Args:
        maps: (n, *space) or (n, k, *space).
        size: of the result, one to three sides.
    """
    if tuple(maps.shape[-len(size) :]) == tuple(size):
        return maps
    alone = maps.ndim == len(size) + 1
    resized = F.interpolate(maps[:, None] if alone else maps, size=size, mode=MODES[len(size)], align_corners=False)
    return resized[:, 0] if alone else resized


def divide(a: Tensor, b: Tensor, otherwise: Tensor | float = 0.0) -> Tensor:
    """Return a / b, and ``otherwise`` where b is 0: an exact guard in place of an epsilon."""
    zero = b == 0
    quotient = a / b.masked_fill(zero, 1.0)
    return torch.where(zero, torch.as_tensor(otherwise, dtype=a.dtype, device=a.device), quotient)
