"""Positive ratio."""

from limelight.card import register_metric
from limelight.ops.space import axes
from limelight.shapes import Maps, Scores


@register_metric(
    "positive-ratio",
    family="localisation",
    cites="nam2024",
    cost="0 F",
    better="lower",
    profiles={"ae": {}},
)
def positive_ratio(raw: Maps) -> Scores:
    """Share of pixels with evidence for the class.

    mean of 1[S > 0]. In [0, 1]; lower is more concentrated, which is good only if the map is accurate too.
    For methods without negative values the number says nothing.

    Args:
        raw: S, the raw map at the size of the image, before negative evidence is dropped.

    Source: Attribution Equilibrium, section 5.

    Example:
        >>> results = ll.evaluate("demo/resnet", [ll.example_image()], ["grad-cam", "random-map"], "positive-ratio")
        >>> results.values("positive-ratio")[1].item()  # uniform noise is positive everywhere
        1.0
    """
    return (raw > 0).to(raw.dtype).mean(axes(raw))
