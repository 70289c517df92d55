"""A small network of convolutions and linear layers, and how far two maps of relevance are apart."""

import numpy as np
import torch
from torch import Tensor, nn


def deviation(ours: Tensor, theirs: np.ndarray | Tensor) -> float:
    """The largest, as a share of the largest value."""
    theirs = torch.as_tensor(theirs).to(ours).reshape(ours.shape)
    return float((ours - theirs).abs().max() / theirs.abs().max())


def close(a: Tensor, b: Tensor | list[float] | float, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(a, torch.as_tensor(b, dtype=a.dtype).expand_as(a), rtol=0, atol=tolerance)


def vgg_like(bias: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1, bias=bias), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 8, 3, padding=1, bias=bias), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 12, 3, padding=1, bias=bias), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(12, 12, 3, padding=1, bias=bias), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(48, 16, bias=bias), nn.ReLU(), nn.Linear(16, 4, bias=bias)),
    ).double()
