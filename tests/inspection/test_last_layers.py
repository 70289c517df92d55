"""What the last layers see is seen in the method's own pass, or else once more."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

import limelight as ll
from limelight.engine.method import as_method
from limelight.inspection.last_layers import LastLayers, draw

MANY = 5


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last, self.fc = nn.Conv2d(3, 4, 3, 2), nn.Conv2d(4, 6, 3, 2), nn.Linear(6, 3)
        self.passes = 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += len(x)
        return self.fc(self.last(self.conv(x).relu()).relu().mean((2, 3)))


@pytest.fixture(scope="module")
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


@pytest.mark.parametrize(
    ("method", "options", "more"),
    [("grad-cam", {}, 0), ("layer-cam", {}, 0), ("rise", {"n_masks": 7}, MANY), ("score-cam", {}, MANY)],
)
def test_they_are_seen_in_the_one_pass_of_a_method(net, method, options, more):
    classifier = ll.Classifier(net, size=21)
    x = torch.rand(MANY, 3, 21, 21, generator=torch.Generator().manual_seed(1))
    known, layers = as_method(method, **options), LastLayers(classifier, x[:1])
    assert layers.stage is not None
    assert (layers.linear, layers.stage.name) == ("fc", "last")
    known.run(classifier, x, None)
    net.passes = 0
    alone = known.run(classifier, x, None)
    once = net.passes
    saliency, seen = layers.run(known, x, None)
    assert net.passes == 2 * once + more
    assert torch.equal(saliency.map, alone.map)
    maps = net.last(net.conv(x).relu())
    assert torch.allclose(seen.features(), draw(maps.relu().mean((2, 3))), atol=1e-5)
    cells = [0, 15, 240, 255, 15]  # the corners of 16 x 16 cells are those of the maps
    corners = torch.stack(
        [
            one[:, row, column]
            for one, (row, column) in zip(maps, [(0, 0), (0, -1), (-1, 0), (-1, -1), (0, -1)], strict=True)
        ]
    )
    assert torch.allclose(seen.at(cells, range(MANY)), draw(corners), atol=1e-5)


def test_pictures_that_a_method_passes_through_a_copy_are_seen_too(net):
    other = ll.Classifier(copy.deepcopy(net), size=21)
    through_a_copy = SimpleNamespace(run=lambda _classifier, x, targets: as_method("grad-cam").run(other, x, targets))
    x = torch.rand(MANY, 3, 21, 21)
    _, seen = LastLayers(ll.Classifier(net, size=21), x[:1]).run(through_a_copy, x, None)
    assert (sum(map(len, seen.given)), sum(map(len, seen.maps))) == (MANY, MANY)


def test_a_black_box_has_none():
    box = ll.BlackBox(lambda x: x.mean((2, 3)).softmax(1), size=8)
    x = torch.rand(2, 3, 8, 8)
    layers = LastLayers(box, x[:1])
    assert (layers.linear, layers.stage) == (None, None)
    _, seen = layers.run(as_method("occlusion", window=4, stride=4), x, None)
    assert seen.features().shape == (2, 0)


class Twice(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.last(self.conv(x).relu()).relu().mean((2, 3))) + self.fc(torch.zeros(len(x), 6))


def test_of_a_layer_that_runs_twice_nothing_is_kept():
    layers = LastLayers(ll.Classifier(Twice().eval(), size=21), torch.rand(1, 3, 21, 21))
    layers.__dict__["linear"] = "fc"  # its scores are no output of it, so it would not be taken
    _, seen = layers.run(as_method("grad-cam"), torch.rand(3, 3, 21, 21), None)
    assert (len(seen.given), sum(map(len, seen.maps))) == (0, 3)
