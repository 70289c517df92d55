"""Cutting maps at a percentile."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def above_percentile(maps: Float[Tensor, "*any h w"], percent: float) -> Float[Tensor, "*any h w"]:
    """Keep what lies strictly above a percentile of its own map, and set the rest to 0.

    Where the percentile lies between two values it is interpolated linearly. What is above it is then what is
    above the lower of the two, as nothing lies between them. At the border of a resized map many values are
    equal but for a rounding: these are cut together.

    Args:
        maps: (..., h, w), any range.
        percent: 0 to 100.
    """
    flat = maps.flatten(-2)
    place = math.floor(percent / 100 * (flat.shape[-1] - 1) + 1e-9)
    cut = flat.kthvalue(1 + place, keepdim=True).values[..., None]
    return maps.where(maps - cut > 2 * torch.finfo(maps.dtype).eps * cut.abs(), 0.0)
