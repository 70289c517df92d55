"""Pictures in segments, and segments as sets of pixels."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage, sparse
from torch import Tensor

from limelight.ops.scikit_image import Wholes, felzenszwalb, resize, resize_labels, slic
from limelight.shapes import Images

Segmentation = Literal["felzenszwalb", "slic"]
SCALES: dict[Segmentation, tuple[int, ...]] = {
    "felzenszwalb": (50, 100, 150, 250, 500, 1200),
    "slic": (50, 100, 150, 250, 500),
}
"""From small segments to large ones for the first, from few segments to many for the second."""

Picture = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int32]


def segment(picture: Tensor, kind: Segmentation, scales: tuple[int, ...]) -> Labels:
    """Cut a picture into segments, once for every scale.

    Segments depend on the picture alone: those of the last pictures are kept, so that explaining another class
    costs no second segmentation. Colours are taken in 8 bits, as picture files have them, so that the precision
    of the network does not move a border.

    Args:
        picture: (c, H, W) in [0, 1].
        kind: ``felzenszwalb`` works at 224 x 224, with sigma 0.8 and segments of at least 150 pixels there;
            ``slic`` at the picture's size, with compactness 10.
        scales: of the former, larger ones give larger segments; of the latter, the number of segments.

    Returns:
        The segment of each pixel at each scale, (scales, H, W), numbered from 0 through all of them.
    """
    colours = (picture * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().contiguous().numpy()
    return _segment(colours.tobytes(), colours.shape, kind, scales)


@lru_cache(maxsize=64)
def _segment(colours: bytes, shape: tuple[int, ...], kind: Segmentation, scales: tuple[int, ...]) -> Labels:
    picture = np.frombuffer(colours, np.uint8).reshape(shape) / 255
    by_scale: list[Labels] = []
    start = 0
    for labels in _felzenszwalb(picture, scales) if kind == "felzenszwalb" else _slic(picture, scales):
        _, numbers = np.unique(labels, return_inverse=True)  # resized to fewer pixels, some may be gone
        by_scale.append((start + numbers).reshape(shape[:2]).astype(np.int32))
        start += int(numbers.max()) + 1
    result = np.stack(by_scale)
    result.setflags(write=False)
    return result


def _felzenszwalb(picture: Picture, scales: tuple[int, ...]) -> Iterator[Wholes]:
    extent = np.ptp(picture)
    scaled = 2 * (picture - picture.min()) / (extent if extent > 0 else 1.0) - 1
    square = resize(scaled, (224, 224))
    for scale in scales:
        labels = felzenszwalb(square, scale, sigma=0.8, least=150)
        yield resize_labels(labels, (picture.shape[0], picture.shape[1]))


def _slic(picture: Picture, scales: tuple[int, ...]) -> Iterator[Wholes]:
    for n in scales:
        yield slic(picture, n)


def pixel_sets(labels: Labels, dilation: int = 0) -> sparse.csr_array:
    """Return the segments as sets of pixels, grown by a disk, so that neighbours overlap.

    Args:
        labels: the segment of each pixel at each scale, (scales, H, W), numbered through all of them.
        dilation: radius of the disk in pixels.

    Returns:
        1 where a pixel is in a segment, sparse (segments, H W).
    """
    height, width = labels.shape[1:]
    sets: list[npt.NDArray[np.intp]] = []
    for one in labels:
        padded = np.pad(one + 1, dilation)  # 0 is no segment
        boxes = cast(list[tuple[slice, slice] | None], ndimage.find_objects(padded))
        for number, box in enumerate(boxes, start=1):
            if box is None:  # belongs to another scale
                continue
            rows, columns = (slice(s.start - dilation, s.stop + dilation) for s in box)
            distance = ndimage.distance_transform_edt(padded[rows, columns] != number)
            y, x = np.nonzero(np.asarray(distance) <= dilation)
            y, x = y + rows.start - dilation, x + columns.start - dilation
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            sets.append(y[inside] * width + x[inside])
    ends = np.cumsum([0, *map(len, sets)])
    members = np.concatenate(sets)
    return sparse.csr_array((np.ones(len(members)), members, ends), shape=(len(sets), height * width))


def segment_means(image: Images, labels: Tensor) -> Images:
    """Return the images with every segment in its mean colour, (n, c, H, W).

    Args:
        image: (n, c, H, W).
        labels: the segment of each pixel, int64 (n, H, W), numbered from 0.
    """
    at = labels.flatten(1)[:, None].expand(-1, image.shape[1], -1)  # n c HW
    values = image.flatten(2)
    means = values.new_zeros(*values.shape[:2], int(labels.max()) + 1).scatter_reduce(
        2, at, values, "mean", include_self=False
    )
    return means.gather(2, at).view_as(image)
