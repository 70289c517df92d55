"""Coherency."""

import torch

from limelight.card import register_metric
from limelight.ops.similarity import pearson
from limelight.scoring.measured import Measured
from limelight.scoring.needs import AsMasks, ExplainMasked, Space


@register_metric(
    "coherency",
    family="agreement",
    cites="poppi2021",
    cost="1 E",
    better="higher",
    mask_options=("space", "renormalize"),
    profiles={"adcc": {"renormalize": False}},
)
def coherency(
    as_masks: AsMasks,
    explain_masked: ExplainMasked,
    *,
    space: Space = "normalised",
    renormalize: bool = True,
) -> Measured:
    """How similar the map is to the map of the image masked by it.

    (1 + r) / 2, with r the correlation of E = CAM_c(x) and E' = CAM_c(x * E). In [0, 1], higher is better.
    0 where E or E' is constant.

    Args:
        as_masks: E.
        explain_masked: the same method, with the same options and seed, on x * E for the same class.
        space: ``normalised`` fades to the mean colour, ``pixel`` to black.
        renormalize: scale each map to [0, 1] first.

    Source: Poppi et al. 2021, eq. 3.

    Example:
        >>> results = ll.evaluate("demo/resnet", [ll.example_image()], ["grad-cam", "random-map"], "coherency")
        >>> results.summary()["grad-cam", "coherency"].rank
        1
    """
    second = explain_masked(space, renormalize)
    r = pearson(as_masks(renormalize), second.map)
    return Measured(torch.nan_to_num((1 + r) / 2, nan=0.0), {"degenerate": second.degenerate})
