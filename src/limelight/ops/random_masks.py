"""Random masks: a coarse grid of switches, resized smoothly and shifted."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from limelight.ops.space import along

Border = Literal["reflect", "clamp"]


def cell_size(size: int, cells: int) -> int:
    """Return the side of a grid's cell in pixels, which is also the number of possible shifts."""
    return -(-size // cells)


def masks(
    grids: Float[Tensor, "m ..."], shifts: Int[Tensor, "m axes"], size: tuple[int, ...], border: Border = "reflect"
) -> Float[Tensor, "m ..."]:
    """Resize grids linearly along each axis to (s + 1) cells a side and cut pictures out of them.

    Linear resizing is a product with a matrix along each axis, and a shift picks rows of it, so that a mask of a
    picture is rows @ grid @ columns.

    Args:
        grids: switches, s along each axis.
        shifts: (y, x) of the upper left corner, each from 0 to the cell's side.
        size: (H, W) of the pictures, or whatever sides they have.
        border: beyond the centres of the outer cells the grid is mirrored about them, as in the authors' code;
            ``clamp`` repeats the outer cells.

    Source: Petsiuk et al. 2018, section 3.2.
    """
    made = grids
    for axis, side in enumerate(size, start=1):
        made = along(made, axis, _weights(grids.shape[axis], shifts[:, axis - 1], side, border, grids))
    return made


def _weights(cells: int, shift: Tensor, size: int, border: Border, grids: Tensor) -> Float[Tensor, "m pixels s"]:
    """Return how much each cell of an axis counts for each pixel, for masks with these shifts."""
    whole = (cells + 1) * cell_size(size, cells)
    pixel = shift[:, None] + torch.arange(size, device=grids.device)
    at = (pixel.to(grids.dtype) + 0.5) * (cells / whole) - 0.5  # in cells, 0 at the first one's centre
    if border == "reflect":
        last = cells - 1
        at = at.abs()
        at = torch.where(at > last, 2 * last - at, at)
    at = at.clamp(0, cells - 1)
    cell = torch.arange(cells, device=grids.device)
    return (1 - (at[..., None] - cell).abs()).clamp_min(0)
