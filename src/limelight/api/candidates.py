"""Candidate boxes: those that a user gives, how sure the network is of each, and which of them a point gets."""

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from limelight.engine.passes import Passes
from limelight.errors import InvalidOption
from limelight.model.classifier import Classifier
from limelight.model.cost import Meter
from limelight.model.targets import Targets
from limelight.ops.arrays import from_numpy
from limelight.ops.selective_search import Boxes
from limelight.shapes import Images, Index

Floats = npt.NDArray[np.float64]


def check_boxes(boxes: npt.ArrayLike, width: int, height: int) -> Boxes:
    """Check a user's candidates; return them as whole pixels inside the picture, each once, in the same order."""
    values = np.asarray(boxes, dtype=float)
    if values.ndim != 2 or values.shape[1] != 4 or not np.isfinite(values).all():
        raise InvalidOption(f"boxes must be finite numbers (n, 4), x0, y0, x1, y1, got shape {values.shape}")
    placed = np.clip(np.rint(values), 0, (width, height, width, height)).astype(np.int64)
    nothing = np.flatnonzero((placed[:, :2] >= placed[:, 2:]).any(1))
    if len(nothing):
        box = values[nothing[0]].tolist()
        raise InvalidOption(f"the box {box} covers nothing of the picture of {width} x {height}; give x0 < x1, y0 < y1")
    _, first = np.unique(placed, axis=0, return_index=True)
    return placed[np.sort(first)]


def classify_boxes(
    model: Classifier, picture: npt.NDArray[np.uint8], boxes: Boxes, size: tuple[int, int], target: int
) -> Floats:
    """Return the probability of a class in each box, stretched to the network's input: (n,).

    In double precision, since a sure network gives many boxes a probability that float32 rounds to 1.
    """
    if not len(boxes):
        return np.zeros(0)
    image, (low, high) = Image.fromarray(picture), model.bounds

    def cut(_images: Index, numbers: Index) -> Images:
        stretched = [
            np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR, box=tuple(box)))
            for box in boxes[numbers.cpu().numpy()].tolist()
        ]
        pixels = from_numpy(np.stack(stretched)).to(low.device).permute(0, 3, 1, 2)
        return low + (pixels.to(low.dtype) / 255) * (high - low)

    whole = torch.zeros(1, len(model.mean), *size, device=low.device, dtype=low.dtype)
    logits = Passes(model, whole, Targets(), Meter()).logits(cut, len(boxes))[0].double()
    index = torch.full((len(boxes),), target, device=logits.device)
    return model.outputs.score(logits, index, "prob").cpu().numpy()


def choose_box(peak: Floats, boxes: Boxes, confidences: Floats) -> int | None:
    """Return the most confident of the boxes that contain a point."""
    holds = ((boxes[:, :2] <= peak) & (peak < boxes[:, 2:])).all(1)
    return int(np.argmax(np.where(holds, confidences, -1.0))) if holds.any() else None
