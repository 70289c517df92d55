"""Proportion, the energy-based pointing game."""

import torch

from limelight.card import register_metric
from limelight.ops import divide
from limelight.ops.space import axes
from limelight.scoring.truth import Truth
from limelight.shapes import Maps, Scores


@register_metric(
    "proportion", family="localisation", cites="wang2020", cost="0 F", better="higher", profiles={"collection-cam": {}}
)
def proportion(maps: Maps, truth: Truth) -> Scores:
    """Share of the map's energy that lies on the object.

    sum of E inside / sum of E, negative values counted as 0. In [0, 1], higher is better; an empty map has 0,
    an image without truth is not counted.

    Args:
        maps: E.
        truth: the object's pixels: the union of its boxes, or its mask.

    Source: Wang et al. 2020 (Score-CAM), section 4.3; Collection-CAM, eq. 29.

    Example:
        >>> box = [[67, 47, 117, 95]]  # of the star: x1, y1, x2, y2
        >>> results = ll.evaluate("demo/resnet", [ll.example_image()], "grad-cam", "proportion", truth=[box])
        >>> results.values("proportion").item() > 50 * 48 / 128**2  # than the box's share of the picture
        True
    """
    energy = maps.clamp_min(0)
    inside = (energy * truth.masks).sum(axes(maps))
    share = divide(inside, energy.sum(axes(maps)))
    return share.masked_fill(~truth.known, torch.nan)
