"""Peaks of a map: where they are, how high, and which of equal ones."""

import numpy as np
import pytest

from limelight.errors import InvalidOption
from limelight.ops.peaks import find_peaks


def test_peaks() -> None:
    values = np.zeros((40, 60))
    values[5, 7], values[5, 12], values[30, 50], values[20, 30] = 1.0, 0.9, 0.6, 0.4
    pixels, heights = find_peaks(values, radius=4, threshold=0.5)
    assert pixels.tolist() == [[7, 5], [12, 5], [50, 30]]
    assert heights.tolist() == [1.0, 0.9, 0.6]
    assert find_peaks(values, 5, 0.5)[0].tolist() == [[7, 5], [50, 30]]  # 12 is within 5 of 7
    assert find_peaks(values, 4, 0.3)[0].tolist()[-1] == [30, 20]


def test_the_largest_is_a_peak_whatever_the_threshold() -> None:
    values = np.zeros((9, 9))
    values[2, 3] = 0.2
    assert find_peaks(values, 2, 0.5)[0].tolist() == [[3, 2]]
    assert len(find_peaks(np.zeros((9, 9)), 2, 0.0)[0]) == 0  # an empty map has no evidence anywhere


def test_a_plateau_is_one_peak_at_its_centre() -> None:
    values = np.zeros((30, 30))
    values[10:13, 4:9] = 1.0
    values[20, 20] = values[21, 21] = 0.8  # touches at a corner
    pixels, _ = find_peaks(values, 3, 0.5)
    assert pixels.tolist() == [[6, 11], [21, 21]]


def test_bad_peaks() -> None:
    with pytest.raises(InvalidOption, match="radius = -1"):
        find_peaks(np.ones((3, 3)), -1)
    with pytest.raises(InvalidOption, match="threshold"):
        find_peaks(np.ones((3, 3)), 1, float("nan"))
