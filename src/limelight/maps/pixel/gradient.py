"""The gradient of the score with respect to the image."""

from typing import Annotated, Literal

import torch
from pydantic import Field

from limelight.card import register_method
from limelight.engine.saliency import Raw
from limelight.ops.blur import smooth as smooth_maps
from limelight.shapes import Grid, Images

Reduce = Literal["sum", "abs-sum", "abs-max"]
"""How the values of a pixel's colours become one: their sum, or the sum or the largest of their magnitudes."""


def at_least_single(values: Images) -> Images:
    """Return values in which sums and squares of what came in half precision can be taken."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


Smooth = Annotated[float, Field(ge=0, le=1)]
"""Standard deviation of a Gaussian that smooths the map, as a share of its longer side; 0 for none."""


def smoothed(values: Images, reduce: Reduce, share: Smooth) -> Grid:
    """Return one value per pixel, smoothed, (n, *space)."""
    grid = over_colours(values, reduce)
    return smooth_maps(grid, share) if share else grid


def over_colours(values: Images, reduce: Reduce) -> Grid:
    """Return one value per pixel, (n, *space)."""
    values = at_least_single(values)
    if reduce == "sum":
        return values.sum(1)
    return values.abs().sum(1) if reduce == "abs-sum" else values.abs().amax(1)


@register_method("gradient", family="pixel gradient", cites="simonyan2014", cost="1 F + 1 R", layers="none")
def gradient(input_gradient: Images, *, reduce: Reduce = "abs-max", smooth: Smooth = 0.0) -> Raw:
    """How much the score changes with each pixel, up or down.

    R = max_colour |dy / dx|.

    Args:
        input_gradient: gradient of the score with respect to the images, (n, c, *space).
        reduce: how the colours are put together.
        smooth: standard deviation of a Gaussian over the map, as a share of its longer side; the pointing game's
            benchmark takes 0.02.

    Returns:
        (n, *space), signed for ``reduce="sum"``.

    Source: Simonyan et al. 2014, eq. 4; the largest of the colours in section 3.1.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "gradient", target="ring")
        >>> explanation.label, explanation.map.shape
        ('ring', torch.Size([128, 128]))
    """
    return Raw(smoothed(input_gradient, reduce, smooth))
