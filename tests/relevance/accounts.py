"""A network whose account of relevance can be worked out by hand."""

from typing import Any

import torch
from torch import nn

import limelight as ll
from limelight.relevance.conservation import Conservation
from limelight.rules import AlphaBeta

PLUS = AlphaBeta(e=0.0, bias="exclude")


def chain(*, bias: float = 0.0, depth: int = 4) -> nn.Sequential:
    """1 x 1 convolutions with weights of 1 / 2 and one bias for all, on two channels, into one class."""
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU())
    for _ in range(depth):
        net += nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU())
    net += nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    for m in net:
        if isinstance(m, nn.Conv2d | nn.Linear):
            m.weight.data.fill_(1 / m.weight.shape[1])
            m.bias.data.fill_(bias if isinstance(m, nn.Conv2d) else 0.0)
    return net.double().eval()


def account(net: nn.Module, method: str = "lrp", **options: Any) -> tuple[Conservation, tuple[str, ...]]:
    e = ll.explain(ll.Classifier(net, size=4), torch.ones(3, 4, 4).double(), method, 0, **options)
    assert e.conservation is not None
    return e.conservation, e.notes
