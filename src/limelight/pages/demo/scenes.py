"""The scenes behind every number of the demonstration, and what is counted on them."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from limelight.data.synthetic import Scene
from limelight.ops.arrays import from_numpy
from limelight.results.explanation import Explanation

SCENES = 24
"""Scenes behind every number."""

Mask = npt.NDArray[np.bool_]


def first_of_each_class(scenes: Sequence[Scene], count: int = 4) -> list[int]:
    """Return where the first scenes of different classes are: no choice by how well they turned out."""
    first: dict[int, int] = {}
    for i, scene in enumerate(scenes):
        first.setdefault(scene.label, i)
    return list(first.values())[:count]


def stamp_mask(scene: Scene) -> Mask:
    """Return the pixels of the stamp."""
    mask = np.zeros(scene.image.shape[:2], dtype=np.bool_)
    if scene.watermark:
        x1, y1, x2, y2 = scene.watermark
        mask[y1:y2, x1:x2] = True
    return mask


def share_inside(explanation: Explanation, mask: Mask) -> float:
    """Return the share of a map's total that lies inside a mask; an empty map has none."""
    values = explanation.map
    total = float(values.sum())
    return float(values[from_numpy(mask)].sum()) / total if total else 0.0


def share_on_object(explanation: Explanation, scene: Scene) -> float:
    """Return the share of a map's total that lies on the object of the scene's class."""
    return share_inside(explanation, scene.mask_of(scene.label))


def mean(values: Iterable[float]) -> float:
    """Return the mean as a plain number."""
    return float(np.mean(list(values)))
