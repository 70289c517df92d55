"""Coherency."""

from collections.abc import Callable

import torch

from limelight.card import register_metric
from limelight.engine.saliency import Saliency
from limelight.ops.similarity import pearson
from limelight.scoring.judge import Measured, Space
from limelight.shapes import Maps


@register_metric(
    "coherency",
    family="agreement",
    cites="poppi2021",
    cost="1 E",
    better="higher",
    profiles={"adcc": {"renormalize": False}},
)
def coherency(
    heat: Callable[..., Maps],
    again: Callable[..., Saliency],
    *,
    space: Space = "normalised",
    renormalize: bool = True,
) -> Measured:
    """How alike the map is to the map of what it shows.

    (1 + r) / 2, with r the correlation of E = CAM_c(x) and E' = CAM_c(x * E). In [0, 1], higher is better.
    0 where E or E' is constant.

    Args:
        heat: E.
        again: the same method, with the same options and seed, on x * E for the same class.
        space: ``normalised`` fades to the mean colour, ``pixel`` to black.
        renormalize: scale each map to [0, 1] first.

    Source: Poppi et al. 2021, eq. 3.
    """
    second = again(space, renormalize)
    r = pearson(heat(renormalize), second.map)
    return Measured(torch.nan_to_num((1 + r) / 2, nan=0.0), {"degenerate": second.degenerate})
