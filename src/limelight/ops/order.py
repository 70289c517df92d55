"""The order of a map's pixels."""

import re
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int
from pydantic import AfterValidator
from torch import Tensor

from limelight.shapes import Maps


def _check_step(step: str | int) -> str | int:
    if not re.fullmatch(r"[1-9][0-9]{0,6}W?", str(step)):
        raise ValueError("expected pixels per step, such as 224, or rows, such as '8W'")
    return step


Ties = Literal["raster", "reverse", "random"]
Step = Annotated[str | int, AfterValidator(_check_step)]
"""How many pixels change at a time: a number, or rows of the picture such as ``8W``."""


def pixels_per_step(step: Step, width: int) -> int:
    """Return a step in pixels for a picture of that width."""
    text = str(step)
    return int(text[:-1]) * width if text.endswith("W") else int(text)


def ranks(maps: Maps, ties: Ties = "raster", seed: int = 0) -> Int[Tensor, "n H W"]:
    """Return each pixel's place in decreasing order, 0 for the largest.

    Args:
        maps: (n, H, W), any real values.
        ties: which of two equal pixels comes first: the earlier in reading order (``raster``), the later
            (``reverse``), or either (``random``, fixed by the seed and the same for every image).
        seed: for ``random``.
    """
    n, height, width = maps.shape
    flat = maps.flatten(1)
    shuffle = None
    if ties == "random":
        shuffle = torch.randperm(height * width, generator=torch.Generator().manual_seed(seed)).to(maps.device)
        flat = flat[:, shuffle]
    elif ties == "reverse":
        flat = flat.flip(1)
    order = flat.argsort(dim=1, descending=True, stable=True)
    if shuffle is not None:
        order = shuffle[order]
    elif ties == "reverse":
        order = height * width - 1 - order
    places = torch.arange(height * width, device=maps.device).expand(n, -1)
    return torch.empty_like(order).scatter_(1, order, places).view(n, height, width)


def keep_top(maps: Maps, count: Int[Tensor, " n"]) -> Float[Tensor, "n H W"]:
    """Keep each map's ``count`` largest values and set the others to 0; of equal ones the earlier stays."""
    return maps.masked_fill(ranks(maps) >= count[:, None, None], 0.0)
