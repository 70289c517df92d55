"""Entropies of maps whose value is known in closed form."""

import numpy as np
import pytest

from inspection.planted import marks, objects
from limelight.errors import InvalidMap
from limelight.inspection.fixedness import entropy, fixedness, position_entropy


def single_cells(cells: list[int]) -> np.ndarray:
    return np.eye(16)[cells].reshape(-1, 4, 4)


def test_entropy() -> None:
    assert entropy(np.full((4, 4), 1 / 16)) == pytest.approx(np.log(16))
    assert entropy(single_cells([3])).tolist() == [0]


def test_position_entropy_on_paper() -> None:
    assert position_entropy(single_cells([3])) == 0
    assert position_entropy(single_cells([0, 1, 2, 3])) == pytest.approx(np.log(4) / np.log(16))
    assert position_entropy(3 * single_cells(list(range(16))) - 5 * single_cells([0])) == pytest.approx(1, abs=0.03)
    assert position_entropy(single_cells([3])[0]) == 0


def test_fixedness_on_paper() -> None:
    assert fixedness(single_cells([3, 3, 3])) == 1
    assert fixedness(single_cells([0, 1, 2])) == pytest.approx(0)  # I = log 3, and no more with three maps
    assert fixedness(single_cells([0, 0, 1, 1])) == pytest.approx(0.5)  # I = log 2 of log 4
    halves = np.stack([np.arange(16).reshape(4, 4) < 8, np.arange(16).reshape(4, 4) >= 8]).astype(float)
    assert fixedness(halves) == pytest.approx(0)  # I = log 2
    assert fixedness(np.stack([halves[0], halves[0] * 9])) == 1
    assert np.isnan(fixedness(single_cells([3])))
    with pytest.raises(InvalidMap, match="no map has positive relevance"):
        fixedness(np.zeros((3, 4, 4)))


def test_marks_stay_and_objects_move() -> None:
    rng = np.random.default_rng(0)
    mark, moving = marks(100, rng), objects(100, rng)
    assert fixedness(mark) > 0.8
    assert fixedness(moving) < 0.5
    assert position_entropy(mark) < position_entropy(moving)
