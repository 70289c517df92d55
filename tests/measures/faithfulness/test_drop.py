"""What the explained part of a picture alone is worth to the model."""

import math

import pytest
import torch
from torch import Tensor, nn

import limelight as ll
from limelight.errors import InvalidMap
from measures.known_models import GAINS, TOP, TOP_LEFT, always, close, mean_pixel, ones, says, tensor

MASKS = tensor([TOP_LEFT, [[0, 0], [1, 0]], [[1, 1], [1, 1]], [[0, 0], [0, 0]]])

DROPS = ("average-drop", "average-increase", "confidence-drop")


@pytest.mark.parametrize(
    ("name", "expected"),
    # O = .8, .3, .6, .5 against Y = .6
    [
        ("average-drop", [0, 1 / 2, 0, 1 / 6]),
        ("average-increase", [1, 0, 0, 0]),
        ("confidence-drop", [-1 / 3, 1 / 2, 0, 1 / 6]),
    ],
)
def test_drops(name: str, expected: list[float]) -> None:
    close(ll.metric(name)(says(GAINS), ones(2, 2, n=4), 0, MASKS), expected)


def test_drop_of_another_class_than_the_predicted() -> None:
    """Y is the probability of the explained class, not the largest: 0.4 here, and O = .2, .7, .4, .5."""
    c, x = says(GAINS), ones(2, 2, n=4)
    close(ll.metric("average-drop")(c, x, 1, MASKS), [0.5, 0, 0, 0])
    close(ll.metric("average-increase")(c, x, 1, MASKS), [0, 1, 0, 1])


def test_class_is_the_one_of_the_whole_picture() -> None:
    """Without a target: class 0 (0.6), although class 1 wins once the picture is masked (O = 0.3)."""
    close(ll.metric("average-drop")(says(GAINS), ones(2, 2), None, tensor([[[0, 0], [1, 0]]])), 0.5)


def test_unclipped_drop_is_at_most_the_clipped_one() -> None:
    """Equal if and only if there is no increase; with clip= always."""
    rng = torch.Generator().manual_seed(0)
    maps = torch.rand(64, 2, 2, generator=rng, dtype=torch.double)
    args = (says(GAINS), ones(2, 2, n=64), 0, maps)
    drop, increase, signed = (ll.metric(name)(*args) for name in DROPS)
    assert 0 < increase.sum() < 64
    assert (signed <= drop).all()
    assert torch.equal(signed == drop, increase == 0)
    assert not ((drop > 0) & (increase > 0)).any()
    close(ll.metric("confidence-drop", clip=True)(*args), drop)


@pytest.mark.parametrize("name", DROPS)
def test_constant_model_loses_nothing(name: str) -> None:
    close(ll.metric(name)(says(always(0.3)), ones(2, 2, n=4), 0, MASKS), 0)


def test_drop_where_there_is_nothing_to_lose() -> None:
    """exp(-400) is 0 in float32; without the picture the logits change places, and O = 1."""
    c = says(lambda x: 400 * (0.5 - mean_pixel(x)), logits=True, dtype=torch.float32)
    for name, expected in (("average-drop", 0), ("average-increase", 1), ("confidence-drop", 0)):
        values = ll.metric(name)(c, torch.ones(1, 3, 2, 2), 0, torch.zeros(1, 2, 2))
        assert values.tolist() == [expected]


def test_maps_are_scaled_first_unless_told_otherwise() -> None:
    """Half of the first pixel: O = 0.5 + 0.3 * 1 or 0.5 + 0.3 / 2."""
    args = (says(GAINS), ones(2, 2), 0, tensor([[[0.5, 0], [0, 0]]]))
    close(ll.metric("confidence-drop")(*args), (0.6 - 0.8) / 0.6)
    close(ll.metric("confidence-drop", renormalize=False)(*args), (0.6 - 0.65) / 0.6)
    close(ll.metric("complexity")(*args), 1 / 4)
    close(ll.metric("complexity", renormalize=False)(*args), 1 / 8)
    with pytest.raises(InvalidMap, match=r"maps reach 2.*\[0, 1\]"):
        ll.metric("average-drop", renormalize=False)(says(GAINS), ones(2, 2), 0, tensor([[[2, 0], [0, 0]]]))


def test_negative_values_of_a_mask_are_none() -> None:
    """[[1, -1], [.5, -7]] shows all of the first pixel and half of the third: O = .5 + .3 - .1."""
    args = (says(GAINS), ones(2, 2), 0, tensor([[[1, -1], [0.5, -7]]]))
    close(ll.metric("confidence-drop")(*args), (0.6 - 0.7) / 0.6)
    close(ll.metric("complexity")(*args), 1.5 / 4)


def test_fading_to_black_or_to_the_mean_colour() -> None:
    """Values in [0, 1] are (x + 1) / 2. White upper half: p = 1/2 on black, 3/4 on the mean colour."""
    c = says(lambda x: (mean_pixel(x) + 1) / 2, mean=0.5, std=0.5)
    args = (c, ones(2, 2), 0, tensor([TOP]))
    close(ll.metric("average-drop", space="pixel")(*args), 0.5)
    close(ll.metric("average-drop")(*args), 0.25)


def test_independent_classes_have_sigmoids() -> None:
    """sigmoid(log 4) = .8, sigmoid(0) = .5; a softmax over (z, 0) would say the same of z, not of 2 classes."""
    c = ll.Classifier(ThreeLabels(), mean=(0.0,) * 3, std=(1.0,) * 3, multilabel=True)
    close(ll.metric("average-drop")(c, ones(2, 2), 0, tensor([[[0, 0], [0, 0]]])), 1 - 0.5 / 0.8)


class ThreeLabels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("unit", torch.ones((), dtype=torch.double))

    def forward(self, x: Tensor) -> Tensor:
        z = math.log(4) * mean_pixel(x)
        return torch.stack([z, 0 * z + 3, 0 * z - 1], 1)


@pytest.mark.parametrize(("name", "passes"), [("average-drop", 2), ("average-increase", 2), ("complexity", 0)])
def test_cost_of_drops(name: str, passes: int) -> None:
    cost = ll.metric(name).measure(says(GAINS), ones(2, 2, n=4), 0, MASKS).cost
    assert (cost.forwards, cost.backwards) == (passes, 0)
