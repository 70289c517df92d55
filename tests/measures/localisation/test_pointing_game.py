"""Whether a map is highest on the object, and what counts as a trial."""

from typing import Any

import pytest
import torch
from torch import Tensor

import limelight as ll
from limelight.errors import MissingTruth
from limelight.ops.statistics import estimate
from measures.known_models import NAN, close, score_maps


def points(size: tuple[int, int], *at: tuple[int, int]) -> Tensor:
    """One map per point (row, column), highest there."""
    maps = torch.zeros(len(at), *size)
    for one, (row, column) in zip(maps, at, strict=True):
        one[row, column] = 1
    return maps


POINTS = {(0, 14): 1, (14, 0): 1, (0, 15): 0, (15, 0): 0, (10, 11): 1, (11, 11): 0, (9, 12): 0, (0, 0): 1}


@pytest.mark.parametrize("protocol", [{"tolerance": 15}, {"protocol": "excitation-backprop"}, {"protocol": "ae"}])
def test_pointing_game_with_tolerance(protocol: dict[str, Any]) -> None:
    """The object is pixel (0, 0): hit if its square of the distance is below 225 (9^2 + 12^2 is not)."""
    truth = points((40, 40), *[(0, 0)] * len(POINTS))
    close(score_maps("pointing-game", points((40, 40), *POINTS), truth, **protocol), list(POINTS.values()))


def test_pointing_game_without_tolerance() -> None:
    mask = torch.zeros(3, 6, 9)
    mask[:, 2:4, 5:8] = 1
    close(score_maps("pointing-game", mask * torch.rand(3, 6, 9).add(1), mask), 1)
    close(score_maps("pointing-game", 1 - mask, mask), 0)
    edge = [(2, 5), (3, 7), (4, 7)]
    close(score_maps("pointing-game", points((6, 9), *edge), mask), [1, 1, 0])


def test_pointing_game_of_ties_and_constants() -> None:
    """The first maximum in reading order counts; a constant map points nowhere."""
    mask = points((3, 4), (1, 2), (1, 3))
    twice = points((3, 4), (1, 2), (1, 2)) + points((3, 4), (1, 3), (1, 3))
    close(score_maps("pointing-game", twice, mask), [1, 0])
    everywhere = torch.ones(2, 3, 4)
    close(score_maps("pointing-game", everywhere, everywhere), 0)
    close(score_maps("pointing-game", 0 * everywhere, everywhere), 0)


def test_pointing_game_without_an_object() -> None:
    maps, none = points((3, 4), (1, 2), (0, 0)), torch.zeros(2, 3, 4)
    close(score_maps("pointing-game", maps, none), NAN)
    close(score_maps("pointing-game", maps, none, absent="miss"), 0)
    close(score_maps("pointing-game", maps, [None, None], tolerance=15), NAN)


def test_pointing_game_of_difficult_objects() -> None:
    """Images whose objects are all flagged are not counted, in either subset."""
    maps = points((3, 4), (1, 2), (1, 2))
    truth = ll.Truth(maps > 0, difficult=torch.tensor([True, False]), others=torch.tensor([True, True]))
    close(score_maps("pointing-game", maps, truth), [NAN, 1])
    close(score_maps("pointing-game", maps, truth, absent="miss"), [NAN, 1])
    close(score_maps("pointing-game", maps, truth, subset="difficult"), [NAN, 1])


def test_difficult_subset() -> None:
    """Under a quarter of 4 x 4 is 3 pixels at most, and another class is there."""
    masks = torch.zeros(4, 4, 4, dtype=torch.bool)
    for mask, area in zip(masks, (3, 4, 3, 3), strict=True):
        mask.view(-1)[:area] = True
    maps = points((4, 4), (0, 0), (0, 0), (0, 0), (3, 3))
    others = torch.tensor([True, True, False, True])
    values = score_maps("pointing-game", maps, ll.Truth(masks, others=others), subset="difficult")
    close(values, [1, NAN, NAN, 0])
    with pytest.raises(MissingTruth, match="others"):
        score_maps("pointing-game", maps, masks, subset="difficult")


def test_pointing_game_of_a_data_set() -> None:
    """1 of 1 and 0 of 3: a half, not a quarter. A class without a trial has no say."""
    maps = points((3, 3), (0, 0), (1, 1), (1, 1), (2, 2), (0, 0))
    masks = points((3, 3), *[(0, 0)] * 5)
    masks[4] = 0
    values = score_maps("pointing-game", maps, masks)
    metric = ll.metric("pointing-game")
    assert metric.pooling == "class-mean"
    assert estimate(metric.pooling, values.numpy(), [7, 2, 2, 2, 5]) == 0.5
    assert estimate("mean", values.numpy()) == 0.25
