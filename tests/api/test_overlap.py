"""How well boxes fit the true ones."""

import numpy as np
import pytest

from limelight.api.overlap import BOX_SETS, compare_boxes, summarise
from limelight.errors import MissingTruth


def test_boxes_are_compared_with_the_true_ones() -> None:
    boxes = {"half": np.array([(0, 0, 10, 5), (50, 50, 60, 60)]), "none": np.zeros((0, 4), dtype=int)}
    overlap = compare_boxes(boxes, [(0, 0, 10, 10), (20, 0, 30, 10)])
    assert overlap == {"half": (0.5, 0.25), "none": (0.0, 0.0)}
    for truth in (np.zeros((0, 4)), [(0, 0, 10)], [0, 0, 10, 10]):
        with pytest.raises(MissingTruth, match="at least one"):
            compare_boxes(boxes, truth)


def test_summary() -> None:
    overlaps = [{"peaks": (1.0, 0.8), "plain": (0.0, 0.2 + 0.01 * i), "candidates": (1.0, 0.9)} for i in range(8)]
    rows = {row["boxes"]: row for row in summarise(overlaps)}
    assert list(rows) == list(BOX_SETS)
    assert rows["plain"]["iou"]["mean"] == pytest.approx(0.235)
    assert 0.2 < rows["plain"]["iou"]["low"] < 0.235 < rows["plain"]["iou"]["high"] < 0.27
    assert rows["plain"]["recall"]["p"] == pytest.approx(2 / 2**8)
    assert rows["peaks"]["recall"]["p"] is None
    assert summarise(overlaps[:1])[0]["iou"]["low"] is None
