"""A network whose feature maps are given and whose scores are linear in them."""

from typing import Any

import torch
from torch import Tensor, nn

import limelight as ll


class Fixed(nn.Module):
    """A layer that gives the same activations whatever the image."""

    def __init__(self, acts: Tensor) -> None:
        super().__init__()
        self.register_buffer("acts", acts)

    def forward(self, x: Tensor) -> Tensor:
        return self.acts.expand(len(x), -1, -1, -1) + 0 * x.mean()


class Linear(nn.Module):
    """F(x) = sum v x for class 0, -F(x) for class 1, of an image of one colour; the layer has no part in it."""

    def __init__(self, v: Tensor, acts: Tensor) -> None:
        super().__init__()
        self.layer, self.v = Fixed(acts), nn.Parameter(v)

    def forward(self, x: Tensor) -> Tensor:
        score = (self.v * x).sum((1, 2, 3)) + 0 * self.layer(x).mean()
        return torch.stack([score, -score], 1)


def linear(v: list[list[float]], *maps: list[list[float]]) -> tuple[ll.Classifier, Tensor]:
    """Return the classifier with these weights and channels, and an image of ones."""
    acts = torch.tensor(maps, dtype=torch.double)[None]
    net = Linear(torch.tensor(v, dtype=torch.double), acts)
    c = ll.Classifier(net, layer="layer", reshape=lambda t: t, mean=(0.0,), std=(1.0,))
    return c, torch.ones(1, 1, len(v), len(v[0]), dtype=torch.double)


V = [[3.0, 1], [-1, -2]]


def close(a: Tensor, b: Any) -> None:
    torch.testing.assert_close(a, torch.as_tensor(b, dtype=a.dtype), rtol=1e-12, atol=1e-12)


FOUR = ([[4.0, 0], [0, 0]], [[0.0, 0], [0, 6]], [[4.0, 2], [0, 0]], [[0.0, 0], [2, 8]])
