"""What the first convolution tells about the images."""

import pytest
import torch
from torch import nn

import limelight as ll
from limelight.errors import InvalidImage, InvalidOption


def network(conv: nn.Module) -> ll.Classifier:
    return ll.Classifier(nn.Sequential(conv, nn.Flatten(1)).eval())


@pytest.mark.parametrize(
    ("conv", "size", "channels"),
    [
        (nn.Conv1d(4, 2, 3), (1024,), 4),
        (nn.Conv3d(6, 6, 3, groups=2), (64, 64, 64), 6),
        (nn.LazyConv1d(4, 3), (1024,), 3),
        (nn.Linear(3, 2), (224, 224), 3),
    ],
)
def test_axes_and_channels(conv: nn.Module, size: tuple[int, ...], channels: int) -> None:
    c = network(conv)
    assert c.input_size == size
    assert len(c.mean) == channels


def test_values_are_taken_as_they_are() -> None:
    c = network(nn.Conv3d(1, 2, 3))
    assert (c.mean, c.std) == ((0.0,), (1.0,))
    assert [b.shape for b in c.bounds] == [(1, 1, 1, 1)] * 2
    scan = torch.tensor([-1000.0, 0.0, 1000.0]).view(1, 1, 1, 3)
    assert c.display(scan).flatten().tolist() == [0, 0.5, 1]
    assert c.display(scan.clamp(0, 1)).flatten().tolist() == [0, 0, 1]


def test_sizes() -> None:
    net = nn.Sequential(nn.Conv3d(1, 2, 3), nn.Flatten(1)).eval()
    assert ll.Classifier(net, size=8).input_size == (8, 8, 8)
    assert ll.Classifier(net, size=(4, 8, 6)).input_size == (4, 8, 6)
    with pytest.raises(InvalidOption, match="has 2 sides, the network's inputs have 3"):
        ll.Classifier(net, size=(8, 8))


def test_what_is_no_volume_is_refused() -> None:
    c = network(nn.Conv3d(1, 2, 3))
    with pytest.raises(InvalidImage, match=r"expected .* shape \(n, 1, D, H, W\), got .*\(1, 1, 8, 8\)"):
        c(torch.zeros(1, 1, 8, 8))
    with pytest.raises(InvalidImage, match=r"normalised image \(1, D, H, W\), got shape \(8, 8, 8\)"):
        ll.explain(c, torch.zeros(8, 8, 8), "gradient")
    with pytest.raises(InvalidImage, match=r"takes volumes .* and no pictures"):
        ll.explain(c, ll.example_image(), "gradient")
