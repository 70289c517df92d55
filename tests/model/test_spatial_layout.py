"""Where the spatial map is in what modules return, and where there is none."""

import pytest
import torch
from torch import nn

import architectures
import limelight as ll
import spaces
from limelight import errors


class Unusual(nn.Module):
    """Maps as (images, rows x columns x channels): nobody can guess that."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.odd, self.head = nn.Conv2d(3, 4, 8, 8), nn.Identity(), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.odd(self.conv(x).permute(0, 2, 3, 1).reshape(len(x), 1, -1))
        return self.head(y.reshape(len(x), 5, 7, 4).mean((1, 2)))


def test_reshape_for_unusual_layouts() -> None:
    net, x = Unusual(), architectures.images(2)
    with pytest.raises(errors.UnknownLayer, match=r"not a spatial map; .*reshape="):
        ll.method("grad-cam", layer="odd")(ll.Classifier(net), x)
    c = ll.Classifier(net, layer="odd", reshape=lambda t: t.reshape(len(t), 5, 7, 4).permute(0, 3, 1, 2))
    expected = ll.method("grad-cam", layer="conv").raw(ll.Classifier(net), x)
    torch.testing.assert_close(ll.method("grad-cam").raw(c, x), expected)


@pytest.mark.parametrize(("sides", "grid"), [(1, (8,)), (2, (4, 6)), (3, (4, 4, 4))])
def test_tokens_of_signals_pictures_and_volumes(sides: int, grid: tuple[int, ...]) -> None:
    """Of signals tokens (n, t, k) have as many axes as maps (n, k, t), and here as many channels as positions."""
    layout = spaces.classifier("tokens", sides).trace()["blocks.0"].layout
    assert (layout.kind, layout.grid, layout.prefix) == ("tokens", grid, 1)


class Last(nn.Module):
    """Channels last, as Swin keeps them, without a class token."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.patches, self.norm, self.act, self.head = conv, nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.act(self.norm(self.patches(x).movedim(1, -1)))
        return self.head(y.flatten(1, -2).mean(1))


@pytest.mark.parametrize("conv", [nn.Conv1d, nn.Conv2d, nn.Conv3d])
def test_channels_last(conv: type[nn.Conv1d | nn.Conv2d | nn.Conv3d]) -> None:
    net = Last(conv(2, 6, 2, 2)).eval()
    c = ll.Classifier(net, size=16, mean=(0, 0), std=(1, 1))
    sides = len(c.input_size)
    layout = c.trace()["act"].layout
    y = torch.randn(1, *[8] * sides, 6)
    assert layout.grid == (8,) * sides
    assert layout.maps(y).equal(y.movedim(-1, 1))


def test_a_lifted_network_has_the_same_layers() -> None:
    for name in spaces.NETWORKS:
        flat = spaces.classifier(name, 2).trace()
        lifted = spaces.classifier(name, 3, lifted=True).trace()
        assert [one.name for one in flat.candidates] == [one.name for one in lifted.candidates]
        assert [one.name for one in flat.stages] == [one.name for one in lifted.stages]
        assert [(1, *one.layout.grid) for one in flat.candidates] == [one.layout.grid for one in lifted.candidates]
