"""A small network with all that a training changes, and a training of it."""

from collections.abc import Callable
from typing import Any

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
        x = x + 0.01 * torch.randn_like(x)  # draws in evaluation mode too
        return self.head(self.features(x).mean((2, 3)))


PICTURES = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(1))
CLASSES = torch.tensor([0, 1, 0, 1])


def build(kind: Callable[[], nn.Module] = Tiny) -> nn.Module:
    torch.manual_seed(0)
    return kind().train()


def train(net: nn.Module, each: Callable[[int], Any] | None = None, epochs: int = 3, autocast: bool = False) -> None:
    """Train; ``each`` is called between backward and step, where gradients are there to be disturbed."""
    torch.manual_seed(3)
    optimiser = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], 0.05)
    for epoch in range(epochs):
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = nn.functional.cross_entropy(net(PICTURES), CLASSES)
            loss.backward()
            if each is not None:
                each(epoch)
        optimiser.step()
