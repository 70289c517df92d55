"""Cutting maps at a percentile."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from limelight.ops.space import spread


def above_percentile(maps: Float[Tensor, "*any"], percent: float, first: int = -2) -> Float[Tensor, "*any"]:
    """Keep what lies strictly above a percentile of its own map, and set the rest to 0.

    Where the percentile lies between two values it is interpolated linearly. What is above it is then what is
    above the lower of the two, as nothing lies between them. At the border of a resized map many values are
    equal but for a rounding: these are cut together.

    Args:
        maps: (..., *space), any range.
        percent: 0 to 100.
        first: where space begins among the axes.
    """
    flat = maps.flatten(first)
    place = math.floor(percent / 100 * (flat.shape[-1] - 1) + 1e-9)
    cut = spread(flat.kthvalue(1 + place).values, maps)
    return maps.where(maps - cut > 2 * torch.finfo(maps.dtype).eps * cut.abs(), 0.0)
