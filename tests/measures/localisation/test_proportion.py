"""The share of a map within an object."""

import numpy as np
import torch

from measures.known_models import NAN, TOP, close, score_maps, tensor


def test_proportion() -> None:
    rows = [[1.0, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]]
    # Columns 0 and 1 (centres 0.5 and 1.5 are within [0.4, 2.4)), rows 1 and 2 (1.5 and 2.5 within [0.6, 2.7)).
    box = [[0.4, 0.6, 2.4, 2.7]]
    close(score_maps("proportion", [rows], [tensor(box)]), (5 + 6 + 9 + 10) / 136)
    # Two boxes that overlap in the pixel 6: columns 0 and 1 of row 1, column 1 of rows 0 and 1.
    two = [[0, 1, 2, 2], [1, 0, 2, 2]]
    close(score_maps("proportion", [rows], [tensor(two)]), (5 + 6 + 2) / 136)
    close(score_maps("proportion", [rows], [np.array(two)]), (5 + 6 + 2) / 136)


def test_proportion_of_nothing() -> None:
    boxes = [tensor([[1, 0, 4, 2]])]  # 3 columns x 2 rows of 5 x 4 = 20
    close(score_maps("proportion", torch.full((1, 4, 5), 0.3), boxes), 6 / 20)
    close(score_maps("proportion", torch.zeros(1, 4, 5), boxes), 0)
    close(score_maps("proportion", -torch.ones(1, 4, 5), boxes), 0)
    close(score_maps("proportion", torch.ones(1, 4, 5), [None]), NAN)
    assert torch.isnan(score_maps("proportion", torch.ones(2, 4, 5), [None, boxes[0]])).tolist() == [True, False]


def test_proportion_of_negative_values() -> None:
    """They count as nothing, inside and outside: 2 / (2 + 1)."""
    close(score_maps("proportion", [[[2, -5], [1, -9]]], tensor([TOP])), 2 / 3)
