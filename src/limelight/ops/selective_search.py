"""Candidate boxes for objects of any class: selective search, by hierarchical grouping of small segments.

Felzenszwalb's segments are merged with their most similar neighbours until one region, the picture, is left. The box
of every region that existed on the way is a candidate. The grouping is repeated under other colour spaces, segment
sizes and ideas of similarity, since no single one finds all objects.
"""

import heapq
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from limelight.errors import InvalidImage, InvalidOption
from limelight.ops.scikit_image import felzenszwalb, hsv, lab

__all__ = ["Boxes", "ColourSpace", "ious", "selective_search"]

Boxes = npt.NDArray[np.int64]
"""x0, y0, x1, y1 of each, in pixels, ends exclusive: (n, 4)."""
ColourSpace = Literal["hsv", "lab"]
Planes = npt.NDArray[np.float64]

COLOURS, STRENGTHS, DIRECTIONS = 25, 10, 8
"""Bins of a channel's values and of its edges' strengths, and the directions in which edges are looked for."""


def selective_search(
    picture: npt.NDArray[np.uint8],
    *,
    scales: tuple[int, ...] = (50, 100),
    spaces: tuple[ColourSpace, ...] = ("hsv", "lab"),
    sigma: float = 0.8,
    least: int = 20,
    longest: int = 500,
) -> Boxes:
    """Return the boxes of all regions that hierarchical grouping finds.

    Args:
        picture: (H, W, 3).
        scales: of Felzenszwalb's segmentation; each is the least size of its segments in pixels too.
        spaces: colour spaces in which to segment and to compare.
        sigma: width of the blur before segmenting, in pixels.
        least: boxes with a side shorter than that, in pixels, are left out.
        longest: a picture with a longer side is shrunk to it for the search, in pixels, so that ``scales``, ``sigma``
            and ``least``, which are meant for pictures of that size, keep their meaning.

    Returns:
        Distinct boxes (n, 4) in pixels of the picture given: x0, y0, x1, y1, ends exclusive. Those of small regions
        come first. A picture that is itself shorter than ``least`` has none.

    Raises:
        InvalidImage: ``picture`` is not an array (H, W, 3) of uint8.
        InvalidOption: no scale or space, or a number out of its range.

    Source: Uijlings, van de Sande, Gevers and Smeulders 2013, the "fast" setting.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or not picture.size:
        raise InvalidImage(f"the picture is {picture.dtype} of shape {picture.shape}; give uint8 of shape (H, W, 3)")
    if not scales or min(scales) < 1 or not spaces or not set(spaces) <= set(get_args(ColourSpace)):
        raise InvalidOption(f"scales = {scales}, spaces = {spaces}: scales from 1 on, and spaces of hsv and lab")
    if sigma < 0 or least < 1 or longest < 1:
        raise InvalidOption(f"sigma = {sigma}, least = {least}, longest = {longest}: from 0, 1 and 1 on")
    height, width = picture.shape[:2]
    factor = max(1.0, max(height, width) / longest)
    small = Image.fromarray(picture)
    if factor > 1:
        small = small.resize((max(1, round(width / factor)), max(1, round(height / factor))), Image.Resampling.BILINEAR)
    rgb = np.asarray(small)

    groups: list[Boxes] = []
    for space in spaces:
        planes = _planes(rgb, space)
        colours, edges = _colour_bins(planes), _edge_bins(planes)
        for scale in scales:
            labels = felzenszwalb(planes, scale, sigma, least=scale)
            segments = Segments(labels, colours, edges)
            groups += [segments.group(by_colour) for by_colour in (True, False)]
    boxes = np.concatenate(groups)
    boxes = boxes[((boxes[:, 2:] - boxes[:, :2]) >= least).all(1)]
    if factor > 1:
        back = np.array([width / rgb.shape[1], height / rgb.shape[0]] * 2)
        ends = np.array([width, height] * 2)
        boxes = np.clip(np.rint(boxes * back).astype(np.int64), 0, ends)
    boxes = np.unique(boxes, axis=0)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return boxes[np.argsort(area, kind="stable")]


def ious(one: npt.ArrayLike, other: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the intersection over union of every pair of boxes.

    Args:
        one: (n, 4), x0, y0, x1, y1, ends exclusive.
        other: (m, 4), in the same form.

    Returns:
        (n, m), in [0, 1].
    """
    a, b = (np.asarray(boxes, dtype=float).reshape(-1, 4) for boxes in (one, other))
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    common = sides.clip(0).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (a, b)]
    union = areas[0][:, None] + areas[1][None] - common
    return common / np.where(union > 0, union, 1.0)


def _planes(rgb: npt.NDArray[np.uint8], space: ColourSpace) -> Planes:
    """Return the channels of a colour space, each in [0, 1] by its own range."""
    if space == "hsv":
        return hsv(rgb)
    return np.clip((lab(rgb) + np.array([0, 128, 128])) / np.array([100, 255, 255]), 0, 1)


def _colour_bins(planes: Planes) -> npt.NDArray[np.intp]:
    """Return the bin of each pixel in each channel: (3, pixels), a channel's bins after the other's."""
    bins = np.minimum(planes.reshape(-1, 3).T * COLOURS, COLOURS - 1).astype(np.intp)
    return bins + COLOURS * np.arange(3)[:, None]


def _edge_bins(planes: Planes) -> npt.NDArray[np.intp]:
    """Return the bin of each pixel in each channel and direction: (24, pixels).

    Bins are of equal width, from 0 to the strongest edge of the channel.
    """
    bins: list[npt.NDArray[np.intp]] = []
    for plane in np.moveaxis(planes, -1, 0):
        blurs = [ndimage.gaussian_filter1d(plane, 1, axis=axis) for axis in (1, 0)]
        down, right = (ndimage.gaussian_filter1d(b, 1, axis=i, order=1).ravel() for i, b in enumerate(blurs))
        turns = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
        derivatives = np.stack([np.cos(turn) * right + np.sin(turn) * down for turn in turns]).clip(0)
        top = derivatives.max()
        scaled = derivatives * (STRENGTHS / top) if top > 1e-9 else np.zeros_like(derivatives)
        bins.append(np.minimum(scaled, STRENGTHS - 1).astype(np.intp))
    all_bins = np.concatenate(bins)
    return all_bins + STRENGTHS * np.arange(len(all_bins))[:, None]


class Segments:
    """Segments with all that the similarity of two of them needs."""

    def __init__(self, labels: npt.NDArray[Any], colours: npt.NDArray[np.intp], edges: npt.NDArray[np.intp]) -> None:
        _, flat, sizes = np.unique(labels, return_inverse=True, return_counts=True)
        flat = flat.ravel()
        self.n, self.pixels, self.sizes = len(sizes), labels.size, sizes
        self.colours, self.edges = _histograms(flat, self.n, colours), _histograms(flat, self.n, edges)
        grid = flat.reshape(labels.shape)
        slices = ndimage.find_objects(grid + 1)
        self.boxes = np.array([(x.start, y.start, x.stop, y.stop) for y, x in slices], dtype=np.int64)
        pairs = [np.stack([a.ravel(), b.ravel()], 1) for a, b in ((grid[1:], grid[:-1]), (grid[:, 1:], grid[:, :-1]))]
        joined = np.sort(np.concatenate(pairs), axis=1)
        keys = np.unique(joined[joined[:, 0] < joined[:, 1]] @ (self.n, 1))
        self.pairs = np.stack(np.divmod(keys, self.n), 1).astype(np.intp)

    def group(self, by_colour: bool) -> Boxes:
        """Merge the most similar neighbours until one region is left; return the boxes of all there were."""
        total, n = 2 * self.n - 1, self.n
        features = np.concatenate([self.colours, self.edges], 1) if by_colour else self.edges
        looks = np.zeros((total, features.shape[1]), dtype=np.float32)
        looks[:n] = features
        boxes = np.zeros((total, 4), dtype=np.int64)
        boxes[:n] = self.boxes
        sizes = np.zeros(total, dtype=np.int64)
        sizes[:n] = self.sizes

        def alike(a: Any, b: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
            shared = np.minimum(looks[a], looks[b]).sum(-1)
            first, second = boxes[a], boxes[b]
            sides = np.maximum(first[..., 2:], second[..., 2:]) - np.minimum(first[..., :2], second[..., :2])
            both = sizes[a] + sizes[b]
            # How small they are together, and how much of their common box they fill.
            return shared + (1 - both / self.pixels) + (1 - (sides[..., 0] * sides[..., 1] - both) / self.pixels)

        neighbours: list[set[int]] = [set() for _ in range(total)]
        pairs: list[list[int]] = self.pairs.tolist()
        for a, b in pairs:
            neighbours[a].add(b)
            neighbours[b].add(a)
        first, second = self.pairs.T
        queue = [(-s, a, b) for s, (a, b) in zip(alike(first, second).tolist(), pairs, strict=True)]
        heapq.heapify(queue)
        gone = bytearray(total)
        new = n
        while new < total:
            _, a, b = heapq.heappop(queue)
            if gone[a] or gone[b]:
                continue  # one of the two is part of a larger region by now
            gone[a] = gone[b] = 1
            share = sizes[a] / (sizes[a] + sizes[b])
            looks[new] = share * looks[a] + (1 - share) * looks[b]
            sizes[new] = sizes[a] + sizes[b]
            boxes[new, :2] = np.minimum(boxes[a, :2], boxes[b, :2])
            boxes[new, 2:] = np.maximum(boxes[a, 2:], boxes[b, 2:])
            around = (neighbours[a] | neighbours[b]) - {a, b}
            for other in around:
                neighbours[other] -= {a, b}
                neighbours[other].add(new)
            neighbours[new] = around
            if around:
                others = np.array(sorted(around))
                for similarity, other in zip(alike(new, others).tolist(), others.tolist(), strict=True):
                    heapq.heappush(queue, (-similarity, other, new))
            new += 1
        return boxes


def _histograms(segment: npt.NDArray[np.intp], n: int, bins: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    """Count the bins in each segment, summing to 1: (n, bins)."""
    width = int(bins.max()) + 1
    counts = np.zeros(n * width)
    for row in bins:
        counts += np.bincount(segment * width + row, minlength=n * width)
    table = counts.reshape(n, width)
    return (table / table.sum(1, keepdims=True)).astype(np.float32)
