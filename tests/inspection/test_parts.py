"""What strategies are, beside where: of networks of which it is known."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import limelight as ll
from limelight.data.synthetic import TEST_SEEDS, scenes
from limelight.inspection.collect import Progress
from limelight.inspection.concepts import choose, describe_strategies
from limelight.inspection.findings import InspectedClass, Inspection, Signs, Strategy
from limelight.inspection.inspect import REPEATS
from limelight.inspection.worker import Source
from limelight.pages.inspection.exports import list_findings


class Colours(nn.Module):
    """Class 0 is red and blue, class 1 is green."""

    def __init__(self) -> None:
        super().__init__()
        conv, self.head = nn.Conv2d(3, 3, 1, bias=False), nn.Linear(3, 2, bias=False)
        self.features = nn.Sequential(conv, nn.ReLU())
        with torch.no_grad():
            conv.weight.copy_(torch.eye(3)[:, :, None, None])
            self.head.weight.copy_(torch.tensor([[1.0, 0, 1], [0, 1, 0]]))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))


class Blind(Colours):
    """Lets no relevance through."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return super().forward(x)


def colours(module: nn.Module) -> ll.Classifier:
    return ll.Classifier(module.eval(), size=16, mean=(0, 0, 0), std=(1, 1, 1), labels=["warm", "green"])


def spots(channels: list[int]) -> list[tuple[Tensor, int]]:
    """Black pictures with a square of 5 x 5 pixels of a channel each: red ones at the lower left, others anywhere."""
    rng, made = np.random.default_rng(0), list[tuple[Tensor, int]]()
    for channel in channels:
        row, column = (11, 0) if channel == 0 else rng.integers(0, 12, 2)
        x = torch.zeros(3, 16, 16)
        x[channel, row : row + 5, column : column + 5] = float(rng.uniform(0.5, 1))
        made.append((x, int(channel == 1)))
    return made


def inspection(model: ll.Classifier, images: Any, own: list[int], members: list[int]) -> Inspection:
    """One strategy of class 0, or of the star, and nothing proven."""
    target, label = int(images[own[0]][1]), "warm"
    known = InspectedClass(target, label, np.array(own), np.zeros((len(own), 2), np.float32), np.ones(len(own)))
    maps = np.ones((4, 16, 16), np.float32)
    strategy = Strategy(
        *(
            target,
            label,
            np.array(members),
            len(own),
            "density",
            Signs(1, 1, 1, 1),
            maps[0],
            np.array(members[:4]),
            maps,
        )
    )
    worker, names = Source(model, images).worker(), [f"{i}.png" for i in range(len(images))]
    return Inspection("x", "grad-cam", "label", names, (known,), (strategy,), Progress(len(images)), {}, worker)


def test_a_part_is_typical_of_a_strategy_and_lies_where_it_is() -> None:
    """Eight pictures of the class are red, twelve blue: all relevance of red ones is in one part, of channel 0."""
    one = inspection(colours(Colours()), spots([0] * 8 + [2] * 12 + [1] * 3), [*range(20)], [*range(8)])
    described = describe_strategies(one)
    (strategy,) = described.strategies
    assert strategy.parts is not None
    (part,) = strategy.parts.parts
    assert (strategy.parts.layer, strategy.parts.against, part.channels[0]) == ("features", "class", 0)
    assert part.weights[0] == pytest.approx(1, abs=1e-3)
    assert (part.members.mean, part.members.n) == (pytest.approx(1, abs=1e-3), 4)
    assert part.rest is not None
    assert (part.rest.mean, part.rest.n) == (pytest.approx(0, abs=1e-3), 6)
    assert strategy.parts.examples == (0, 1, 2, 3)
    for alone in part.maps:
        assert float(alone[11:, :5].sum() / alone.abs().sum()) == pytest.approx(1, abs=1e-3)
    assert {int(crop.picture) for crop in part.crops} <= {*range(8)}
    assert all(crop.box[0] == 0 and crop.box[1] >= 9 for crop in part.crops)
    again = describe_strategies(one)
    assert list_findings(again) == list_findings(described)
    assert again.strategies[0].parts is not None
    assert all(map(torch.equal, again.strategies[0].parts.parts[0].maps, part.maps))


@pytest.mark.parametrize(("others", "against"), [(10, "others"), (9, "nothing")])
def test_a_whole_class_is_compared_with_others_where_there_are_enough(others: int, against: str) -> None:
    images = spots([0] * 6 + [1] * others)
    (strategy,) = describe_strategies(inspection(colours(Colours()), images, [*range(6)], [*range(6)])).strategies
    assert strategy.parts is not None
    assert strategy.parts.against == against
    (part,) = strategy.parts.parts
    assert part.members.mean == pytest.approx(1, abs=1e-3)
    assert (part.rest is None) == (against == "nothing")


def test_a_network_without_relevance_says_so() -> None:
    model = colours(Blind())
    described = describe_strategies(inspection(model, spots([0] * 6 + [1] * 9), [*range(6)], [*range(6)]))
    assert described.without_parts.startswith("no gradient passes through Blind")
    assert [one.parts for one in described.strategies] == [None]


def test_proven_strategies_come_first_and_few_others_then() -> None:
    one = inspection(colours(Colours()), spots([0] * 6), [*range(6)], [*range(6)]).strategies[0]
    small, repeats, proven = (
        replace(one, members=np.arange(3)),
        replace(one, untried=REPEATS),
        replace(one, verdict="!"),
    )
    assert choose([proven, small, repeats, one, one, one, one]) == [0, 3, 4, 5]
    assert choose([proven] * 20 + [one]) == [*range(12), 20]


@pytest.mark.slow
def test_what_hans_sees_is_the_stamp() -> None:
    """The stamp is 3 % of a picture, and half of the relevance: what passes its part lies on it, as do the crops."""
    stars = scenes(16, seed=TEST_SEEDS, labels=["star"], watermark=True)
    shapes = scenes(12, seed=TEST_SEEDS + 100, labels=["ring"])
    images = [(one.image, one.label) for one in (*stars, *shapes)]
    own = [*range(16)]
    (strategy,) = describe_strategies(inspection(ll.load("demo/hans"), images, own, own)).strategies
    assert strategy.parts is not None
    part = strategy.parts.parts[0]
    assert part.members.low > 0.4
    assert part.rest is not None
    assert part.rest.high < 0.1
    for place, alone in zip(strategy.parts.examples, part.maps, strict=True):
        assert on_stamp(alone, stars[place].watermark) > 0.6
    for crop in part.crops:
        x0, y0, x1, y1 = stars[int(crop.picture)].watermark or (0, 0, 0, 0)
        left, top, right, bottom = crop.box
        shared = (min(x1, right) - max(x0, left)) * (min(y1, bottom) - max(y0, top))
        assert shared > 0.6 * (x1 - x0) * (y1 - y0)


def on_stamp(alone: Tensor, box: tuple[int, int, int, int] | None) -> float:
    """Return the share of what is above 0 in a map that lies in a box."""
    x0, y0, x1, y1 = box or (0, 0, 0, 0)
    positive = alone.clamp_min(0)
    return float(positive[y0:y1, x0:x1].sum() / positive.sum())
