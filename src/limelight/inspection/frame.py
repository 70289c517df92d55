"""Where a strategy's evidence lies: a region, at a place in the picture or wherever the evidence goes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from limelight.ops.arrays import from_numpy
from limelight.ops.fourier import correlate, from_waves, to_waves

Pictures = Float[Tensor, "n c h w"]
Shifts = Int[np.ndarray, "n 2"]
Region = Bool[Tensor, "h w"]
Cells = Float[np.ndarray, "n g g"]

SHARE = 0.5
"""Of the relevance that a region holds: the smallest that holds half of it."""

REACH = 0.06
"""How far pictures are moved to fit each other, at most, as a share of the side."""

BETTER = 1e-3
"""By how much a moved picture has to fit better than one that stays; all fit a flat region alike."""

LOUD = 2.0
"""How many times louder a frequency is than in other pictures, where it is taken for a pattern of its own."""

FINE = 8
"""Cycles across the picture from which a pattern is told from objects."""

OVERLAP = 0.1
"""Share of a region that may lie in what is called elsewhere, where there is room for that."""

AGREE = 0.3
"""Variance of pixels, as a multiple of other pictures', below which pictures agree there."""
RESEMBLE = 0.45, 0.65
"""Median deviation in a pixel, as a multiple of other pictures', up to which they agree wholly there, and at all."""
LEAST = 0.005
"""Share of the picture in which they have to agree, at least."""

Bound = Literal["place", "evidence", "beside", "agreement", "whole"]
"""A frame is bound to the place of the relevance, goes along with it wherever it is, or wherever it is beside the
object, is bound to where the pictures agree pixel by pixel, or is the whole picture, how it looks."""
MOVING: tuple[Bound, ...] = ("evidence", "beside")
"""Frames that go along with the relevance."""


@dataclass(frozen=True)
class Frame:
    """A region that several pictures have in common, once each is moved by its own shift; moves go round the edges.

    Attributes:
        bound: to what.
        region: in the common frame, (h, w).
        shifts: rows and columns by which each picture is moved into the frame, (n, 2).
    """

    bound: Bound
    region: Region
    shifts: Shifts

    def take(self, places: Sequence[int]) -> "Frame":
        """Return that of some of the pictures."""
        return replace(self, shifts=self.shifts[list(places)])

    def own(self, by: Shifts | None = None) -> Bool[Tensor, "n h w"]:
        """Return the region where it lies in each picture, or shifted from there."""
        back = -self.shifts if by is None else by - self.shifts
        return torch.stack([roll(self.region, shift) for shift in back])


def roll(x: Tensor, shift: Sequence[int]) -> Tensor:
    """Move the last two axes."""
    return torch.roll(x, (int(shift[0]), int(shift[1])), (-2, -1))


def find_frame(maps: Cells, size: tuple[int, int], bound: Bound) -> Frame:
    """Return the smallest region that holds half of the mean relevance.

    Args:
        maps: not negative, none of them empty.
        size: of the pictures, (h, w).
        bound: to what; in those of ``MOVING`` each map is moved so that its largest value is in the middle.
    """
    g = maps.shape[-1]
    cells = _to_middle(maps, bound)
    density = np.stack([np.roll(m / m.sum(), shift, (0, 1)) for m, shift in zip(maps, cells, strict=True)]).mean(0)
    order = np.argsort(-density, axis=None, kind="stable")
    count = int(np.searchsorted(density.flat[order].cumsum(), SHARE)) + 1
    small = torch.zeros(1, 1, g, g)
    small.view(-1)[from_numpy(order[:count])] = 1
    region = F.interpolate(small, size=size, mode="nearest")[0, 0] > 0
    return Frame(bound, region, find_shifts(maps, size, bound))


def find_shifts(maps: Cells, size: tuple[int, int], bound: Bound) -> Shifts:
    """Return by how much each picture is moved into a frame: not at all, or its largest relevance to the middle."""
    return np.rint(_to_middle(maps, bound) * np.array(size) / maps.shape[-1]).astype(np.int64)


def _to_middle(maps: Cells, bound: Bound) -> Shifts:
    if bound not in MOVING:
        return np.zeros((len(maps), 2), np.int64)
    g = maps.shape[-1]
    peaks = maps.reshape(len(maps), -1).argmax(1)
    return g // 2 - np.stack([peaks // g, peaks % g], 1)


def find_agreement(x: Pictures, usual: Pictures) -> Frame | None:
    """Return where pictures agree far more than others do, pixel by pixel; None if they don't.

    Args:
        x: pictures.
        usual: others.
    """
    smoothed = [F.avg_pool2d(some.var(0).sum(0)[None, None], 3, 1, 1)[0, 0] for some in (x, usual)]
    region = smoothed[0] < AGREE * smoothed[1]
    if region.float().mean() < LEAST:
        return None
    return Frame("agreement", region.cpu(), np.zeros((len(x), 2), np.int64))


def elsewhere(region: Region, count: int, rng: np.random.Generator) -> Shifts:
    """Draw shifts that move a region to where it hardly overlaps itself, and not over the edge, (count, 2).

    Where there is no room for that it goes over the edge, to where it overlaps itself least.
    """
    mask = region.double()
    overlap = (correlate(mask, mask) / mask.sum()).numpy()
    free = overlap <= max(OVERLAP, float(overlap.min()) + 0.02)
    inside = np.zeros_like(free)
    down, across = moves(region)
    inside[down[:, None], across] = True
    places = np.argwhere(free & inside if (free & inside).any() else free)
    return places[rng.integers(len(places), size=count)]


def anywhere(region: Region, count: int, rng: np.random.Generator) -> Shifts:
    """Draw shifts that move a region to any place that is not over the edge, (count, 2)."""
    return np.stack([rng.choice(along, count) for along in moves(region)], 1)


def moves(region: Region) -> list[Int[np.ndarray, " m"]]:
    """Return by how much a region can go down and to the right without going over the edge, two lists."""
    within = [np.flatnonzero(region.any(axis).numpy()) for axis in (1, 0)]
    return [np.arange(-int(at[0]), side - int(at[-1])) for at, side in zip(within, region.shape, strict=True)]


def consensus(x: Pictures, frame: Frame) -> tuple[Float[Tensor, "c h w"], Float[Tensor, "c h w"]]:
    """Return what pictures have in common in a frame, their median, and their median deviation from it.

    What is the same in all of them stays, whatever differs from picture to picture goes. Where maps say what the region
    is, to a cell or so, the pictures are moved a little first, to fit their mean.
    """
    moved = torch.stack([roll(one, shift) for one, shift in zip(x, frame.shifts, strict=True)])
    fitted = moved
    for _ in range(0 if frame.bound == "agreement" else 2):
        by = _fit(moved, fitted.mean(0), frame.region)
        fitted = torch.stack([roll(one, shift) for one, shift in zip(moved, by, strict=True)])
    median = fitted.median(0).values
    return median, (fitted - median).abs().median(0).values


def agreed(deviation: Float[Tensor, "c h w"], usual: Float[Tensor, "c h w"]) -> Float[Tensor, "h w"]:
    """Return how far pictures agree in each pixel: 1 where they differ far less than others do, 0 where they don't.

    How far they differ is told in units of how far they do in the median pixel: they may be more alike everywhere.
    What they do not agree about is nothing that they have in common, and its median is but a flat spot.
    """
    near, far = (F.avg_pool2d(one.sum(0)[None, None], 3, 1, 1)[0, 0] for one in (deviation, usual))
    ratio, everywhere = (one / other.clamp_min(1e-6) for one, other in ((near, far), (near.median(), far.median())))
    low, high = RESEMBLE
    return ((high - ratio / everywhere.clamp_min(1e-6)) / (high - low)).clamp(0, 1)


def _fit(x: Pictures, template: Float[Tensor, "c h w"], region: Region) -> Shifts:
    """Return by which shift, up to ``REACH``, each picture fits the template best inside the region.

    For all shifts s at once: maximal sum_p m (t - mean t)(x_s - mean x_s) / |x_s - mean x_s|, m the region's mask.
    """
    mask = region.to(x.dtype)
    count = mask.sum()
    t = (template - (template * mask).sum((1, 2), keepdim=True) / count) * mask

    first = correlate(mask, x)
    spread = (correlate(mask, x**2) - first**2 / count).sum(1).clamp_min(1e-6).sqrt()
    score = correlate(t, x).sum(1) / spread
    reach = [round(REACH * side) for side in x.shape[-2:]]
    near = [torch.arange(-r, r + 1) for r in reach]
    fits = score[:, near[0][:, None], near[1]].flatten(1)
    width = len(near[1])
    stay = reach[0] * width + reach[1]
    best = fits.argmax(1).where(fits.amax(1) > fits[:, stay] + BETTER, stay)
    return np.stack([near[0][best // width].numpy(), near[1][best % width].numpy()], 1)


def spectrum(x: Pictures) -> Float[Tensor, "c h f"]:
    """Return the mean amplitude of some pictures at each frequency: brightness, contrast, sharpness and texture."""
    return to_waves(x).abs().mean(0)


def find_loud(ratio: Float[Tensor, "c h f"]) -> Bool[Tensor, "c h f"]:
    """Return the frequencies of a pattern: far louder than in other pictures, and too fine to be objects."""
    height, width = ratio.shape[-2:]
    down = torch.arange(height)
    cycles = torch.maximum(torch.minimum(down, height - down)[:, None], torch.arange(width)).to(ratio.device)
    return (ratio > LOUD) & (cycles >= FINE)


def with_look(x: Pictures, ratio: Float[Tensor, "c h f"], donors: Pictures, loud: Bool[Tensor, "c h f"]) -> Pictures:
    """Give pictures, with values in [0, 1], the look of others; what stands where is in the phases, which stay.

    Args:
        x: the pictures.
        ratio: by which their amplitudes are multiplied.
        donors: as many pictures, whose waves they get at the frequencies that are loud: in one phase, as a pattern has.
        loud: these frequencies.
    """
    waves = torch.where(loud, to_waves(donors), to_waves(x) * ratio)
    return from_waves(waves, (int(x.shape[-2]), int(x.shape[-1]))).clamp(0, 1)
