"""Where the spatial map is in what modules return, and where there is none."""

import pytest
import torch
from torch import nn

import architectures
import limelight as ll
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
