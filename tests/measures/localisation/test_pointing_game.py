"""Whether a map is highest on the object, and what counts as a trial."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import limelight as ll
from limelight.api.truth import truth_of
from limelight.data.samples import Sample
from limelight.errors import MissingTruth
from limelight.model.preprocess import Preprocess
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


def small_network() -> ll.Classifier:
    return ll.Classifier(
        torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    )


@pytest.mark.parametrize(("column", "at", "hit"), [(8, "input", 1), (8, "original", 0), (6, "original", 1)])
def test_points_in_the_original_picture(column: int, at: str, hit: int) -> None:
    """A picture of 40 x 20 becomes 20 x 10: a point 7 columns off the object here is 13 or 14 off there."""
    mask = np.zeros((20, 40), dtype=bool)
    mask[4:6, 0:4] = True  # at 20 x 10: row 2, columns 0 and 1
    sample = Sample(Image.new("RGB", (40, 20)), "one", 0, mask=mask)
    c, x = small_network().with_preprocess(Preprocess(10, None), None), torch.zeros(1, 3, 10, 20)
    metric = ll.metric("pointing-game", at=at, tolerance=10)
    truth = truth_of(c, [sample], x, [metric])
    close(metric(c, x, 0, points((10, 20), (2, column)), truth=truth), hit)


def test_parts_of_a_truth_keep_their_originals() -> None:
    originals = tuple(torch.full((1, width), True) for width in (1, 2, 3))
    truth = ll.Truth(torch.ones(3, 2, 2, dtype=torch.bool), originals=originals)
    assert [m.shape[1] for m in truth[1:].originals or ()] == [2, 3]
    assert [m.shape[1] for m in truth[torch.tensor([2, 0])].originals or ()] == [3, 1]
    with pytest.raises(MissingTruth, match="3 entries of 'originals' for 2"):
        ll.Truth.of(ll.Truth(truth.masks[:2], originals=originals), 2, (2, 2), torch.device("cpu"))


def test_the_original_picture_has_to_be_seen_whole() -> None:
    sample = Sample(Image.new("RGB", (40, 20)), "one", 0, mask=np.ones((20, 40)))
    metric = ll.metric("pointing-game", at="original")
    with pytest.raises(ll.errors.InvalidOption, match="whole picture"):
        ll.evaluate(small_network(), [sample], "random-map", metric, 0)
    with pytest.raises(MissingTruth, match="original pictures"):
        score_maps("pointing-game", points((3, 4), (1, 2)), points((3, 4), (1, 2)), at="original")


@pytest.mark.parametrize(
    ("logits", "seen"),
    [([1.0, 2, -1], [1, 1, 0]), ([-1.0, -2, -3], [1, 0, 0]), ([0.0, -1, -1], [1, 0, 0])],
)
def test_predicted_classes_or_the_best_guess(logits: list[float], seen: list[int]) -> None:
    """Independent classes: those of at least a half, which is a logit of 0; where there are none, the best."""
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 3))
    network[2].weight.data.zero_()
    network[2].bias.data.copy_(torch.tensor(logits))
    c, everywhere = ll.Classifier(network.eval(), multilabel=True), torch.ones(3, 3, 4)
    found = ll.metric("pointing-game", classes="predicted")(
        c, torch.zeros(3, 3, 3, 4), [0, 1, 2], points((3, 4), *[(1, 2)] * 3), truth=everywhere
    )
    close(found, [1 if s else NAN for s in seen])


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
