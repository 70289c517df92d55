"""Complexity."""

from limelight.card import register_metric
from limelight.ops.space import axes
from limelight.scoring.needs import AsMasks
from limelight.shapes import Scores


@register_metric(
    "complexity",
    family="agreement",
    cites="poppi2021",
    cost="0 F",
    better="lower",
    profiles={"adcc": {"renormalize": False}},
)
def complexity(as_masks: AsMasks, *, renormalize: bool = True) -> Scores:
    """How much of the picture the map covers: the mean of E.

    In [0, 1], lower is better: a map of ones has 1, a map of zeros and ones the share of its ones.

    Args:
        as_masks: E.
        renormalize: scale each map to [0, 1] first.

    Source: Poppi et al. 2021, eq. 4, divided by the number of pixels as 1 - Com in eq. 5 requires.

    Example:
        >>> results = ll.evaluate("demo/resnet", [ll.example_image()], "fake-cam", "complexity")
        >>> round(results.summary()["fake-cam", "complexity"].mean, 3)  # it covers all but one pixel
        1.0
    """
    e = as_masks(renormalize)
    return e.mean(axes(e))
