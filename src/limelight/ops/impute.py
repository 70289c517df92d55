"""Fill removed pixels from their surroundings: the noisy linear imputation of ROAD.

Source: Rong, Leemann, Borisov, Kasneci & Kasneci, "A consistent and efficient evaluation strategy for
attribution methods", ICML 2022.

Let M mask the removed pixels, w sum over the neighbours of a pixel with their weights (8 of them in a picture, 2 in a
signal, 26 in a volume), and d = w 1 be what the weights add up to inside the picture. The filling u = M u solves

    A u = M w x,    A u = M (d u - w u),    where x = 0 at the removed pixels.

A is symmetric, positive definite, and nowhere positive off its diagonal; so its inverse is nowhere negative.
Conjugate gradients solve the system with a cycle of multigrid as preconditioner: the number of steps hardly
grows with the picture or with the holes.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import label
from torch import Tensor
from torch.nn import functional as F

from limelight.errors import LimelightError, NonFinite
from limelight.ops.arrays import from_numpy
from limelight.ops.scale import divide
from limelight.ops.space import axes
from limelight.shapes import Images, Masks

DAMPING = 0.9
"""Share of a Jacobi step that is taken: one then divides the finer half of all frequencies by about 2.5."""

FEW = 4
"""Pieces that are filled one by one, at most: what goes over the edges of a picture is in so many."""


@torch.no_grad()
def impute(
    x: Images,
    keep: Masks,
    *,
    noise: Tensor | None = None,
    tolerance: float = 1e-5,
    most_iterations: int = 100,
) -> Images:
    """Set every removed pixel to the weighted mean of its neighbours, for all removed pixels at once.

    A removed pixel i gets sum_j w_ij (x_j - x_i) = 0 over those of its neighbours j, removed or kept, that
    lie inside the picture; of a picture w_ij is 1/6 for the 4 direct and 1/12 for the 4 diagonal ones, and in general
    it halves with every axis along which they differ, so that a picture is filled as a volume of one slice. Kept pixels
    stay the same to the bit. What stood at the removed ones has no influence, not even if it is NaN.

    Computed in float64 on the device of ``x``, with some 300 bytes of memory for each value of ``x``, in a volume some
    1000. Each
    colour of each image is a system of its own: its company in the batch changes no more than rounding.

    Args:
        x: (n, c, *space), normalised.
        keep: (n, *space), False where a pixel is to be removed. An image that keeps none becomes zeros.
        noise: broadcastable to ``x``; added at the removed pixels once they are filled.
        tolerance: the most by which a pixel may differ from the exact solution, before it is rounded to the
            type of ``x``, in units of the largest absolute value kept in that colour of the image. It is a
            bound, not an estimate: what comes out is usually far nearer. 1e-7 can be had up to 512 x 512 even
            if a single pixel is kept, and less where the holes are small.
        most_iterations: after how many steps to give up; 10 to 20 are usual.

    Raises:
        NonFinite: a kept pixel is NaN or infinite.
        LimelightError: the tolerance was not reached.
    """
    removed = ~keep[:, None]
    known = x.double().masked_fill(removed, 0.0)
    if not known.isfinite().all():
        raise NonFinite("impute: the kept pixels contain NaN or infinite values; only removed pixels may")
    inside = axes(x, 2)
    scale = known.abs().amax(inside, keepdim=True)

    mask = (removed & keep[:, None].flatten(2).any(2).view_as(scale[:, :1])).double()
    degree = _neighbours(torch.ones_like(mask))
    grid = _Grid(lambda u: mask * (degree * u - _neighbours(u)), mask * degree)

    # If A g >= 1/2, the error is |A^-1 r| <= A^-1 1 max |r| <= 2 g max |r|, since A^-1 is nowhere negative.
    g = _solve(grid, mask, mask.new_full((len(mask), *(1,) * (mask.ndim - 1)), 0.5), most_iterations)
    enough = tolerance / (2 * g.amax(inside, keepdim=True))
    filled = scale * _solve(grid, mask * _neighbours(divide(known, scale)), enough, most_iterations)
    return torch.where(removed, filled if noise is None else filled + noise, x).to(x.dtype)


def inpaint(x: Images, hidden: Masks, *, tolerance: float = 1e-5, together: int = 16) -> Images:
    """Fill what is hidden from its surroundings as ``impute`` does, and look at little else.

    Only the rectangle around it is worked on: a frame of one pixel that is kept tells all there is to know. A few
    pieces that don't touch are filled each by itself.

    Args:
        x: pictures, (n, c, h, w).
        hidden: True where a pixel is to be filled, (n, h, w).
        tolerance: see ``impute``.
        together: pieces that are filled at a time, those with rectangles of about one size.
    """
    pieces = sorted((piece for i, one in enumerate(hidden) for piece in _pieces(i, one)), key=_Piece.area)
    x = x.clone()
    for start in range(0, len(pieces), together):
        some = pieces[start : start + together]
        size = np.max([piece.behind - piece.first for piece in some], 0)
        cuts = [(piece.picture, piece, piece.cut(size)) for piece in some]
        keep = torch.stack([~hidden[i, *cut] for i, _, cut in cuts])
        filled = impute(torch.stack([x[i, :, *cut] for i, _, cut in cuts]), keep, tolerance=tolerance)
        for (i, piece, cut), one in zip(cuts, filled, strict=True):
            x[i, :, *cut] = torch.where(from_numpy(piece.pixels[cut]).to(x.device), one, x[i, :, *cut])
    return x


class _Piece(NamedTuple):
    """What is hidden in one piece, and the first rows and columns, and those behind the last, of a rectangle around."""

    picture: int
    pixels: npt.NDArray[np.bool_]
    first: npt.NDArray[np.int64]
    behind: npt.NDArray[np.int64]

    def area(self) -> int:
        return int((self.behind - self.first).prod())

    def cut(self, size: npt.NDArray[np.int64]) -> tuple[slice, slice]:
        """Return a rectangle of this size, at least its own, around it and inside the picture."""
        row, column = np.minimum(self.first, self.pixels.shape - size).tolist()
        return slice(row, row + int(size[0])), slice(column, column + int(size[1]))


def _pieces(picture: int, hidden: Tensor) -> Iterator[_Piece]:
    """Yield what is hidden in a picture, in pieces that don't touch if they are few."""
    pixels = hidden.cpu().numpy()
    numbers, count = cast("tuple[npt.NDArray[np.int32], int]", label(pixels, np.ones((3, 3))))
    each = (numbers == number for number in range(1, count + 1)) if count <= FEW else (pixels,)
    for own in each:
        at = np.argwhere(own)
        yield _Piece(picture, own, np.maximum(at.min(0) - 1, 0), np.minimum(at.max(0) + 2, pixels.shape))


def _neighbours(u: Tensor) -> Tensor:
    """Return w u, the weighted sum of the neighbours; those outside the picture count as 0."""
    middle = 2 ** (u.ndim - 2)  # of the filter, whose values add up to its square
    return _tent(u) / (middle * (middle - 1)) - u / (middle - 1)


def _tent(u: Tensor) -> Tensor:
    """Filter with [1 2 1] along every axis, with 0 outside the picture."""
    sides = u.shape[2:]
    u = F.pad(u, (1, 1) * len(sides))
    for axis, side in enumerate(sides, start=2):
        before, here, behind = (u.narrow(axis, start, side) for start in range(3))
        u = (before + behind).add_(here, alpha=2)
    return u


def _solve(grid: "_Grid", b: Tensor, enough: Tensor, most_iterations: int) -> Tensor:
    """Solve A u = b by preconditioned conjugate gradients until no residual is above ``enough``.

    Args:
        grid: A and its preconditioner.
        b: (n, k, *space): n k systems, each with steps of its own length. One that is finished stands still.
        enough: (n, k, 1, …), or (n, 1, 1, …) for all of an image.
        most_iterations: after how many steps to give up.
    """
    inside = axes(b, 2)

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum(inside, keepdim=True)

    u, p, before = torch.zeros_like(b), torch.zeros_like(b), torch.zeros_like(b.sum(inside, keepdim=True))
    for _ in range(most_iterations + 1):
        r = b - grid.apply(u)
        busy = ~(r.abs().amax(inside, keepdim=True) <= enough)  # NaN is busy too
        if not busy.any():
            return u
        z = grid.cycle(r)
        now = dot(r, z)
        p = z + divide(now, before) * p
        u = u + divide(now, dot(p, grid.apply(p))).where(busy, 0.0) * p
        before = now
    raise LimelightError(
        f"impute: {most_iterations} iterations did not reach the tolerance, where about 20 are usual; below 1e-7 "
        "it may be out of reach of float64, otherwise allow more iterations"
    )


class _Grid:
    """A linear system on a grid, and an approximate inverse from one cycle through ever coarser grids.

    The coarser grid has every second pixel along every axis. Values go ``up`` from it by linear interpolation that
    leaves out what is not unknown, residuals go ``down`` by its transpose, and the coarser A is down A up.

    Attributes:
        apply: u -> A u, for u of shape (n, k, *space).
        step: (n, 1, *space), the Jacobi step; 0 where nothing is unknown.
    """

    def __init__(self, apply: Callable[[Tensor], Tensor], diagonal: Tensor):
        """Set up the grid and all that are coarser.

        Args:
            apply: u -> A u.
            diagonal: (n, 1, *space), that of A, or more where 2 D >= A needs it; then the cycle is positive definite.
        """
        self.apply = apply
        self.step = divide(torch.ones_like(diagonal), diagonal)
        self.coarser = None
        sides = diagonal.ndim - 2
        self.every_second = (..., *[slice(None, None, 2)] * sides)
        if max(diagonal.shape[2:]) > 1:
            self.share = torch.ones_like(diagonal)
            self.share = (diagonal > 0) / self.up(torch.ones_like(diagonal[self.every_second]))
            stencil = self._stencil()
            half, middle = stencil.abs().sum(1, keepdim=True) / 2, 3**sides // 2
            self.coarser = _Grid(partial(_weigh, stencil), torch.maximum(stencil[:, middle : middle + 1], half))

    def up(self, e: Tensor) -> Tensor:
        """Interpolate from the coarser grid."""
        u = self.share.new_zeros(*e.shape[:2], *self.share.shape[2:])
        u[self.every_second] = e
        return self.share * _tent(u)

    def down(self, r: Tensor) -> Tensor:
        """Apply the transpose of ``up``."""
        return _tent(self.share * r)[self.every_second]

    def cycle(self, r: Tensor) -> Tensor:
        """Return about A^-1 r: a Jacobi step, what the coarser grids make of the rest, a Jacobi step."""
        if self.coarser is None:
            return self.step * r
        u = DAMPING * self.step * r
        u = u + self.up(self.coarser.cycle(self.down(r - self.apply(u))))
        return u + DAMPING * self.step * (r - self.apply(u))

    def _stencil(self) -> Tensor:
        """Return the coarser A as weights of the pixels around each and its own, (n, 3^axes, *space).

        Of a picture each pixel has one of 9 colours, all 9 of them around any pixel. So the answer to all pixels of one
        colour at once tells the weight of the only one that is near.
        """
        n, _, *sides = self.share.shape
        device = self.share.device
        around = _around(len(sides))
        # The remainder by 3 of a neighbour's place along each axis, read as the digits of a number.
        places = torch.meshgrid([torch.arange((side + 1) // 2, device=device) for side in sides], indexing="ij")
        colours = torch.zeros(len(around), *places[0].shape, dtype=torch.long, device=device)
        for axis, place in enumerate(places):
            for colour, offsets in zip(colours, around, strict=True):
                colour.mul_(3).add_((place + offsets[axis]) % 3)
        numbers = torch.arange(len(around), device=device).view(-1, *[1] * len(sides))
        probes = (colours[len(around) // 2] == numbers).to(self.share)
        answers = self.down(self.apply(self.up(probes.expand(n, *probes.shape))))
        return answers.gather(1, colours.expand(n, *colours.shape))


def _around(sides: int) -> list[tuple[int, ...]]:
    """Return the offsets of a pixel and of those around it, in reading order."""
    return list(product((-1, 0, 1), repeat=sides))


def _weigh(stencil: Tensor, u: Tensor) -> Tensor:
    """Return sum_k stencil_k u_k over the pixels around each."""
    sides = u.shape[2:]
    near = F.pad(u, (1, 1) * len(sides))
    total = torch.zeros_like(u)
    for k, offsets in enumerate(_around(len(sides))):
        window = tuple(slice(1 + offset, 1 + offset + side) for offset, side in zip(offsets, sides, strict=True))
        total.addcmul_(stencil[:, k : k + 1], near[(..., *window)])
    return total
