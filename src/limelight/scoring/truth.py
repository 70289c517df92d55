"""Where the evidence should lie."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from limelight.errors import MissingTruth
from limelight.ops.arrays import integers, is_tensor_or_array, nested, tensor_of
from limelight.shapes import Flags, Index, Mask, Masks

SLACK = 1e-3
"""Pixels by which a box may leave the image, for coordinates that were scaled."""


@dataclass(frozen=True)
class Truth:
    """What is known of the explained class on each of n images.

    Attributes:
        masks: pixels that belong to it, (n, *space); all False where nothing is known.
        difficult: whether every object of the class carries the "difficult" flag, (n,); None for no.
        others: whether the image holds other classes too, (n,); None for unknown.
        labels: true class of the image, (n,); None to take the explained class.
        originals: pixels of the class in the original pictures, (h, w) each, of which the whole is the network's
            input; None for unknown.

    Example:
        >>> import torch
        >>> truth = ll.Truth.of([[[67, 47, 117, 95]]], n=1, size=(128, 128), device=torch.device("cpu"))
        >>> truth.masks.shape, int(truth.masks.sum())  # pixels in the box of 50 x 48
        (torch.Size([1, 128, 128]), 2400)
    """

    masks: Masks
    difficult: Flags | None = None
    others: Flags | None = None
    labels: Index | None = None
    originals: tuple[Tensor, ...] | None = None

    def __len__(self) -> int:
        return len(self.masks)

    @property
    def known(self) -> Flags:
        """Whether anything is known of the image, (n,)."""
        return self.masks.flatten(1).any(1)

    def __getitem__(self, images: slice | Tensor) -> "Truth":
        some = integers(torch.arange(len(self), device=self.masks.device)[images])
        originals = None if self.originals is None else tuple(self.originals[i] for i in some)
        return replace(self._change(lambda part: part[images]), originals=originals)

    def _change(self, by: Callable[[Tensor], Tensor]) -> "Truth":
        """Return it with what is known of the inputs changed, each part alike."""
        difficult, others, labels = (
            None if part is None else by(part) for part in (self.difficult, self.others, self.labels)
        )
        return Truth(by(self.masks), difficult, others, labels, self.originals)

    @staticmethod
    def of(given: Any, n: int, size: tuple[int, ...], device: torch.device) -> "Truth":
        """Understand what a user may give as truth.

        Args:
            given: a ``Truth``; masks (n, *space) or (n, 1, *space), where what is not 0 belongs to the class; or a list
                with an entry per image: a mask (*space) or (1, *space), boxes (k, 4) as x1, y1, x2, y2 in pixels of the
                input (a pixel is inside if its centre is), or None where nothing is known. Of a single image the
                entry itself will do; of several, an array (n, 4) with a box for each. Boxes are of pictures alone.
            n: number of images.
            size: of the input, one to three sides.
            device: where the masks are to be.

        Raises:
            MissingTruth: it does not fit the images, or a box leaves them or holds no pixel.
        """
        flat = len(size) == 2
        if is_tensor_or_array(given) and n > 1 and given.shape == (n, 4) and flat:
            given = [*given]
        expected = f"expected masks {(n, *size)}, or a list of {n} masks{' or boxes (k, 4)' * flat}"
        if isinstance(given, Truth):
            truth = given
        elif is_tensor_or_array(given) and (given.ndim > len(size) or n == 1):
            masks = _numbers(given, expected)
            if masks.ndim == len(size) + 2 and masks.shape[1] == 1:
                masks = masks[:, 0]
            truth = Truth(masks != 0) if masks.ndim == len(size) + 1 else Truth(_mask(masks, size, expected)[None])
        elif isinstance(given, Sequence) and not isinstance(given, str):
            entries = [_mask(one, size, expected) for one in cast(Sequence[Any], given)]
            truth = Truth(torch.stack(entries) if entries else torch.zeros(0, *size, dtype=torch.bool))
        else:
            shape = f" of shape {tuple(given.shape)}" if is_tensor_or_array(given) else ""
            raise MissingTruth(f"{expected}, got {type(given).__name__}{shape}")
        if tuple(truth.masks.shape) != (n, *size):
            raise MissingTruth(f"{expected}, got masks {tuple(truth.masks.shape)}")
        for name, part in (("difficult", truth.difficult), ("others", truth.others), ("labels", truth.labels)):
            if part is not None and len(part) != n:
                raise MissingTruth(f"truth has {len(part)} entries of {name!r} for {n} images")
        if truth.originals is not None and len(truth.originals) != n:
            raise MissingTruth(f"truth has {len(truth.originals)} entries of 'originals' for {n} images")
        originals = None if truth.originals is None else tuple(mask.bool().to(device) for mask in truth.originals)
        truth = replace(truth, masks=truth.masks.bool(), originals=originals)
        return truth._change(lambda part: part.to(device))


def _mask(one: Any, size: tuple[int, ...], expected: str) -> Mask:
    if one is None:
        return torch.zeros(size, dtype=torch.bool)
    values = _numbers(one if isinstance(one, Tensor) else np.asarray(one), expected)
    if values.shape in (size, (1, *size)):
        return (values.view(size) != 0).cpu()
    if values.ndim == 1 and len(values) == 4:
        values = values[None]
    if len(size) != 2 and values.ndim == 2 and values.shape[1] == 4:
        raise MissingTruth(f"{expected}; boxes are of pictures alone")
    if values.ndim != 2 or values.shape[1] != 4 or len(size) != 2:
        raise MissingTruth(f"{expected}, got an entry of shape {tuple(values.shape)}")
    boxes, (height, width) = values.cpu(), size
    if bool((boxes < -SLACK).any()) or bool((boxes[:, 2:] > torch.tensor([width, height]) + SLACK).any()):
        raise MissingTruth(
            f"boxes {nested(boxes)} leave the image: they are in pixels of the network's input, which has {height} x "
            f"{width} (H x W); those of a csv are in its picture's"
        )
    mask = box_mask(boxes, (height, width))
    if len(boxes) and not bool(mask.any()):
        raise MissingTruth(
            f"boxes {nested(boxes)} hold the centre of no pixel: they are x1, y1, x2, y2 in pixels of the network's "
            "input, and no shares of it"
        )
    return mask


def _numbers(given: Tensor | npt.NDArray[np.generic], expected: str) -> Tensor:
    values = tensor_of(given)
    if values is None:
        raise MissingTruth(f"{expected}, got entries that are no real numbers")
    if values.is_floating_point() and not bool(torch.isfinite(values).all()):
        raise MissingTruth(f"{expected}, got values that are NaN or infinite")
    return values


def box_mask(boxes: Tensor, size: tuple[int, int]) -> Mask:
    """Return the pixels whose centre lies in one of the boxes.

    Args:
        boxes: (k, 4), x1, y1, x2, y2 in pixels; x counts columns, y rows; ends exclusive.
        size: (H, W).

    Raises:
        MissingTruth: a box ends before it begins.
    """
    x1, y1, x2, y2 = boxes.double().unbind(1)
    if bool(((x2 < x1) | (y2 < y1)).any()):
        raise MissingTruth(f"a box must be x1, y1, x2, y2 with x1 <= x2 and y1 <= y2, got {nested(boxes)}")
    row, column = (torch.arange(side) + 0.5 for side in size)
    inside_rows = (row >= y1[:, None]) & (row < y2[:, None])  # k H
    inside_columns = (column >= x1[:, None]) & (column < x2[:, None])  # k W
    return (inside_rows[:, :, None] & inside_columns[:, None, :]).any(0)
