"""A network small enough to be worked out by hand, and what every propagation method must give on it."""

import csv
from functools import cache

import torch
from torch import Tensor, nn

import limelight as ll
from conftest import shared

TARGET = 2
BOX = (-0.5, 0.7)


def image() -> Tensor:
    """x[c, i, j] = ((3c + 5i + 7j) mod 11) / 10 - 0.4, (1, 3, 4, 4)."""
    c, i, j = torch.meshgrid(torch.arange(3), torch.arange(4), torch.arange(4), indexing="ij")
    return (((3 * c + 5 * i + 7 * j) % 11).double() / 10 - 0.4)[None]


def network() -> nn.Sequential:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 5, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(5, 3),
    ).double()
    o, c, i, j = torch.meshgrid(*(torch.arange(n) for n in (4, 3, 3, 3)), indexing="ij")
    net[0].weight.data = (((2 * o + 3 * c + 5 * i + 7 * j) % 13) - 6).double() / 10
    net[0].bias.data = -0.3 * torch.arange(1, 5).double()
    o, c, i, j = torch.meshgrid(*(torch.arange(n) for n in (5, 4, 3, 3)), indexing="ij")
    net[3].weight.data = (((3 * o + 2 * c + i + 4 * j) % 7) - 3).double() / 10
    net[3].bias.data = torch.full((5,), 0.05, dtype=torch.float64)
    k, o = torch.meshgrid(torch.arange(3), torch.arange(5), indexing="ij")
    net[7].weight.data = (((k + 2 * o) % 5) - 2).double() / 10
    net[7].bias.data = 0.1 * torch.arange(3).double()
    return net.eval()


def classifier() -> ll.Classifier:
    """Its images lie between the bounds of the published box."""
    low, high = BOX
    std = 1 / (high - low)
    # pixel = (x + 0.5) / 1.2, so that black and white are -0.5 and 0.7
    return ll.Classifier(network(), mean=(-low * std,) * 3, std=(std,) * 3, size=4)


@cache
def rows(method: str, options: str = "") -> Tensor:
    """The published raw map, (h, w)."""
    with shared("spec", "propagation-golden.csv").open(encoding="utf-8") as file:
        found = [r for r in csv.DictReader(file) if r["method"] == method and r["options"] == options]
    assert found, (method, options)
    height, width = (1 + max(int(r[k]) for r in found) for k in ("row", "column"))
    raw = torch.full((height, width), torch.nan, dtype=torch.float64)
    for r in found:
        raw[int(r["row"]), int(r["column"])] = float(r["raw"])
    assert not raw.isnan().any()
    return raw
