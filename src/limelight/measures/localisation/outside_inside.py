"""Outside-inside ratio."""

from typing import Literal

import torch

from limelight.card import register_metric
from limelight.ops import divide, min_max
from limelight.ops.space import axes
from limelight.scoring.truth import Truth
from limelight.shapes import Maps, Scores


@register_metric(
    "outside-inside-ratio",
    family="localisation",
    cites="lapuschkin2016",
    cost="0 F",
    better="lower",
    high=None,
    profiles={"ae": {}},
)
def outside_inside_ratio(raw: Maps, truth: Truth, *, normalise: Literal["min-max", "none"] = "min-max") -> Scores:
    """Mean evidence outside of the object over mean evidence inside.

    (mean of n outside) / (mean of n inside), n the raw map scaled to [0, 1] over the whole image. At least 0,
    lower is better; a constant map has 1. Not counted: masks that cover nothing or everything, and maps whose
    inside mean is 0.

    Args:
        raw: the raw map at the size of the image.
        truth: the object's pixels.
        normalise: ``none`` takes the positive part of the raw map instead.

    Source: Lapuschkin et al. 2016; Attribution Equilibrium, eq. 16.

    Example:
        >>> box = [[67, 47, 117, 95]]  # of the star: x1, y1, x2, y2
        >>> results = ll.evaluate("demo/resnet", [ll.example_image()], "grad-cam", "outside-inside-ratio", truth=[box])
        >>> results.values("outside-inside-ratio").item() < 1
        True
    """
    scaled, constant = min_max(raw)
    n = scaled if normalise == "min-max" else raw.clamp_min(0)
    inside, outside = truth.masks.to(n.dtype), (~truth.masks).to(n.dtype)
    around, within = (divide((n * part).sum(axes(n)), part.sum(axes(n)), torch.nan) for part in (outside, inside))
    ratio = divide(around, within, torch.nan)
    defined = torch.isfinite(around) & torch.isfinite(within)
    return torch.where(constant & defined, torch.ones_like(ratio), ratio)
