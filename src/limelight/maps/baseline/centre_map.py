"""A map of the centre."""

from functools import reduce
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from limelight.card import register_method
from limelight.ops.space import size_of
from limelight.shapes import Grid, Images


@register_method("centre-map", family="baseline", cites="judd2009", cost="1 F", layers="none", class_sensitive=False)
def centre_map(image: Images, *, spread: Annotated[float, Field(gt=0)] = 0.25) -> Grid:
    """A Gaussian in the middle of the picture, where photographers put what matters.

    exp(-((u - 1/2)^2 + (v - 1/2)^2) / (2 spread^2)), with u and v the position as a share of height and width.

    Args:
        image: normalised, (n, c, *space); only its size counts.
        spread: standard deviation as a share of the side.

    Returns:
        (n, *space), in (0, 1].

    Source: Judd et al. 2009, where the distance to the centre predicts well where people look.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "centre-map")
        >>> bool(explanation.map[64, 64] > explanation.map[0, 0])
        True
    """

    def fall(side: int) -> Tensor:
        at = (torch.arange(side, device=image.device, dtype=image.dtype) + 0.5) / side
        return torch.exp(-((at - 0.5) ** 2) / (2 * spread**2))

    product = reduce(lambda before, one: before[..., None] * one, map(fall, size_of(image)))
    return product.expand(len(image), *product.shape)
