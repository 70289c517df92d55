"""Small heads for maps that add up to the score, and by how much a map misses it."""

from typing import Any

import torch
from torch import Tensor, nn

import architectures
import limelight as ll

CONVOLUTIONAL = [a for a in architectures.ARCHITECTURES if a != "tokens"]


def gap(saliency: ll.engine.saliency.Saliency) -> Tensor:
    return saliency.details["completeness_gap"]


class Head(nn.Module):
    """(y, -y) for a function of the image; its layers are given by name, so that they are parameters."""

    def __init__(self, function: Any, **layers: nn.Module) -> None:
        super().__init__()
        self.function, self.layers = function, nn.ModuleDict(layers)
        self.start = nn.Conv2d(3, 3, 1, bias=False)  # something affine before anything else; it changes nothing
        self.start.weight.data = torch.eye(3)[:, :, None, None]

    def forward(self, x: Tensor) -> Tensor:
        y = self.function(self.start(x), **self.layers)
        return torch.stack([y, -y], 1)


def pixel(*colours: float) -> Tensor:
    return torch.tensor(colours).double().view(1, 3, 1, 1)


def one(net: nn.Module) -> ll.Classifier:
    return ll.Classifier(net.double().eval(), size=1)
