"""A small network with all that a training changes, and a training of it."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn


class Tiny(nn.Module):
    """Batch normalisation, dropout, a frozen layer, and a buffer that every pass replaces."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.3))
        self.head = nn.Linear(6, 2)
        self.unused = nn.Linear(2, 2)
        self.register_buffer("passes", torch.zeros(1))
        self.features[0].bias.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes = self.passes + 1
        noise = torch.randn_like(x) + random.random() + np.random.rand()  # noqa: NPY002  # in evaluation mode too
        x = x + 0.01 * noise
        return self.head(self.features(x).mean((2, 3)))


class Written(nn.Module):
    """Writes to its buffer in every pass."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
        self.register_buffer("passes", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        return self.net(x)


PICTURES = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(1))
CLASSES = torch.tensor([0, 1, 0, 1])


def build(kind: Callable[[], nn.Module] = Tiny) -> nn.Module:
    torch.manual_seed(0)
    return kind().train()


def seed() -> None:
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002


def train(net: nn.Module, each: Callable[[int], Any] | None = None, epochs: int = 3, autocast: bool = False) -> None:
    """Train; ``each`` is called between backward and step, where gradients are there to be disturbed."""
    seed()
    optimiser = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], 0.05)
    for epoch in range(epochs):
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = nn.functional.cross_entropy(net(PICTURES), CLASSES)
            loss.backward()
            if each is not None:
                each(epoch)
        optimiser.step()
