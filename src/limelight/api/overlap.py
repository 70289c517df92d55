"""How well proposed boxes fit the true ones: recall and IoU of one picture, and of many."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from limelight.errors import MissingTruth
from limelight.ops.selective_search import Boxes, ious
from limelight.ops.statistics import interval, paired_p

BOX_SETS = {
    "peaks": "at the peaks of the map",
    "plain": "as many, without the map",
    "candidates": "the best of all candidates",
}
"""Which boxes are compared with the true ones, and what they are called."""
IOU_THRESHOLD = 0.5
"""Overlap (IoU) from which a true box counts as found."""


def compare_boxes(boxes: Mapping[str, Boxes], truth: npt.ArrayLike) -> dict[str, tuple[float, float]]:
    """Compare sets of boxes of one picture with its true boxes.

    Args:
        boxes: sets by name, (k, 4) each.
        truth: (m, 4), at least one: x0, y0, x1, y1.

    Returns:
        For each set the share of true boxes that one of its boxes overlaps by an IoU of 0.5 or more, and the mean over
        true boxes of the best IoU. Both are 0 where there is no box.

    Raises:
        MissingTruth: no true boxes, or not of that shape.
    """
    true = np.asarray(truth, dtype=float)
    if true.ndim != 2 or true.shape[1] != 4 or not len(true):
        raise MissingTruth(f"expected true boxes (m, 4), at least one, got shape {true.shape}")
    best = {name: ious(true, some).max(1, initial=0.0) for name, some in boxes.items()}
    return {name: (float((iou >= IOU_THRESHOLD).mean()), float(iou.mean())) for name, iou in best.items()}


def summarise(overlaps: Sequence[Mapping[str, tuple[float, float]]]) -> list[dict[str, Any]]:
    """Summarise over pictures what ``compare_boxes`` returned for each.

    Returns:
        For each of ``BOX_SETS``: the means over pictures of both figures with their 95 % bootstrap intervals, and the
        p-value of a paired permutation test against the boxes at the peaks (None for these, or for a single picture).
    """
    rows: list[dict[str, Any]] = []
    for name in BOX_SETS:
        row: dict[str, Any] = {"boxes": name, "images": len(overlaps)}
        for number, figure in enumerate(("recall", "iou")):
            values, ours = (np.array([one[w][number] for one in overlaps]) for w in (name, "peaks"))
            ends = interval("mean", values) if len(values) > 1 else (None, None)
            p = paired_p("mean", ours, values) if name != "peaks" and len(values) > 1 else None
            row[figure] = {"mean": float(values.mean()), "low": ends[0], "high": ends[1], "p": p}
        rows.append(row)
    return rows
