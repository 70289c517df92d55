"""What lies beside the objects, of pictures of which it is known where they are."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from limelight.inspection.last_layers import Seen
from limelight.inspection.record import FEATURES
from limelight.ops.arrays import floats, integers
from limelight.ops.blur import smooth

SOFT = 1 / 16
"""Standard deviation of the edge around a region that is pasted or left alone, as a share of the side: a cell of the
maps."""

Regions = Bool[Tensor, "n h w"]
Weights = Float[Tensor, "n h w"]


def box_of(mask: Bool[Tensor, "h w"]) -> Bool[Tensor, "h w"]:
    """Return the rectangle around an object: what a hole in it shows is the object's too."""
    rows, columns = (torch.nonzero(mask.any(axis))[:, 0] for axis in (1, 0))
    box = torch.zeros_like(mask)
    if len(rows):
        box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return box


def fade(regions: Regions) -> Weights:
    """Return weights: 1 in the regions, and less and less around, as an edge would be an object to a network."""
    weights = regions.double()
    return torch.maximum(weights, (2 * smooth(weights, SOFT)).clamp_max(1))  # a half at a straight edge


def free_of(masks: Sequence[Bool[Tensor, "h w"]]) -> Weights:
    """Return weights: 0 in the rectangles around objects, and 1 away from them: 1 - ``fade`` of these.

    A rectangle is the outer product of two lines, and so is what it becomes when it is smoothed.
    """
    boxes = torch.stack([box_of(mask) for mask in masks])
    rows, columns = (_smooth_lines(boxes.any(axis), max(boxes.shape[1:])) for axis in (2, 1))
    return 1 - torch.maximum(boxes.double(), (2 * rows[:, :, None] * columns[:, None, :]).clamp_max(1))


def _smooth_lines(lines: Bool[Tensor, "n m"], side: int) -> Float[Tensor, "n m"]:
    """Smooth lines of pictures whose longer side is this."""
    return smooth(lines.double(), SOFT * side / lines.shape[1])


def look_beside(
    cells: Float[Tensor, "n g g"], masks: Sequence[Bool[Tensor, "h w"] | None], seen: Seen
) -> list[tuple[float, ...]]:
    """Return what the network's last maps hold at the largest relevance beside the object, drawn to ``FEATURES``.

    Args:
        cells: the relevance of each picture.
        masks: where its object is; None where that is not known.
        seen: of these pictures.

    Returns:
        Numbers of each picture; NaN where it is not known where the object is, and where no relevance is beside it.
    """
    looks = [(float("nan"),) * FEATURES] * len(masks)
    known = [i for i, mask in enumerate(masks) if mask is not None]
    if known and seen.maps:
        beside = cells[known] * free_cells(free_of([mask for mask in masks if mask is not None]), cells.shape[-1])
        peaks = integers(beside.flatten(1).argmax(1))
        for i, there, look in zip(known, beside, seen.at(peaks, known), strict=True):
            if bool(there.any()):
                looks[i] = tuple(floats(look))
    return looks


def free_cells(free: Weights, side: int) -> Float[Tensor, "n g g"]:
    """Return the share of each cell of a map that is free of objects.

    Args:
        free: see ``free_of``.
        side: of the map, cells.
    """
    return F.adaptive_avg_pool2d(free[:, None], side)[:, 0].float().cpu()
