"""A random map."""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field

from limelight.card import register_method
from limelight.engine.rng import Draws
from limelight.ops.space import at_most, size_of
from limelight.shapes import Grid, Images


@register_method(
    "random-map",
    family="baseline",
    cites="adebayo2018",
    cost="1 F",
    layers="none",
    random=True,
    class_sensitive=False,
)
def random_map(image: Images, own_draws: Sequence[Draws], *, grid: Annotated[int, Field(ge=2)] = 7) -> Grid:
    """Uniform noise on a coarse grid: as smooth as a class activation map, and about nothing.

    Args:
        image: normalised, (n, c, *space).
        own_draws: random numbers of each image, which depend on the seed and on the picture itself.
        grid: rows and columns of the noise.

    Returns:
        (n, grid, grid), in [0, 1).

    Source: Adebayo et al. 2018, for whom a map must depend on the model.

    Example:
        >>> maps = [ll.explain("demo/resnet", ll.example_image(), "random-map", seed=seed).map for seed in (0, 0, 1)]
        >>> maps[0].equal(maps[1]), maps[0].equal(maps[2])
        (True, False)
    """
    return torch.stack([draws.uniform(at_most(size_of(image), grid), like=image) for draws in own_draws])
