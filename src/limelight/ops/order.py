"""The order of a map's pixels."""

import math
import re
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import AfterValidator

from limelight.ops.space import spread
from limelight.shapes import Index, Maps, Places


def _check_step(step: str | int) -> str | int:
    if not re.fullmatch(r"[1-9][0-9]{0,6}W?", str(step)):
        raise ValueError("expected pixels per step, such as 224, or rows, such as '8W'")
    return step


Ties = Literal["raster", "reverse", "random"]
Step = Annotated[str | int, AfterValidator(_check_step)]
"""How many pixels change at a time: a number, or as many as rows of the picture have, such as ``8W``.

A row of a volume goes through all its slices, and of a signal it is a single value.
"""


def pixels_per_step(step: Step, size: Sequence[int]) -> int:
    """Return a step in pixels for an input of that size, one to three sides."""
    text = str(step)
    rows = size[max(0, len(size) - 2)]
    return int(text[:-1]) * (math.prod(size) // rows) if text.endswith("W") else int(text)


def ranks(maps: Maps, ties: Ties = "raster", seed: int = 0) -> Places:
    """Return each pixel's place in decreasing order, 0 for the largest.

    Args:
        maps: (n, *space), any real values.
        ties: which of two equal pixels comes first: the earlier in reading order (``raster``), the later
            (``reverse``), or either (``random``, fixed by the seed and the same for every image).
        seed: for ``random``.
    """
    flat = maps.flatten(1)
    pixels = flat.shape[1]
    shuffle = None
    if ties == "random":
        shuffle = torch.randperm(pixels, generator=torch.Generator().manual_seed(seed)).to(maps.device)
        flat = flat[:, shuffle]
    elif ties == "reverse":
        flat = flat.flip(1)
    order = flat.argsort(dim=1, descending=True, stable=True)
    if shuffle is not None:
        order = shuffle[order]
    elif ties == "reverse":
        order = pixels - 1 - order
    places = torch.arange(pixels, device=maps.device).expand(len(maps), -1)
    return torch.empty_like(order).scatter_(1, order, places).view(maps.shape)


def keep_top(maps: Maps, count: Index) -> Maps:
    """Keep each map's ``count`` largest values and set the others to 0; of equal ones the earlier stays."""
    return maps.masked_fill(ranks(maps) >= spread(count, maps), 0.0)
