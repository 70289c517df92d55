"""Models that say what a function of their pictures says, small pictures and maps, and how two numbers are compared."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

import architectures
import limelight as ll

NAN = math.nan

Doubles = npt.NDArray[np.float64]


class Answer(nn.Module):
    """Says what a function of the images says: two probabilities, or two logits."""

    def __init__(self, function: Callable[[Tensor], Tensor], logits: bool, dtype: torch.dtype) -> None:
        super().__init__()
        self.function, self.logits = function, logits
        self.register_buffer("unit", torch.ones((), dtype=dtype))
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach().clone())
        value = self.function(x)
        if self.logits:
            return torch.stack([value, 0 * value], 1)
        value = value.clamp(0, 1)  # the library shows noise to a model it meets for the first time
        return torch.stack([value, 1 - value], 1)


def says(
    function: Callable[[Tensor], Tensor],
    *,
    logits: bool = False,
    mean: float = 0.0,
    std: float = 1.0,
    dtype: torch.dtype = torch.double,
    multilabel: bool = False,
) -> ll.Classifier:
    """A model with p(class 0) = function(x), or with logits (function(x), 0)."""
    outputs = "logits" if logits or multilabel else "probabilities"
    module = Answer(function, logits or multilabel, dtype)
    return ll.Classifier(module, mean=(mean,) * 3, std=(std,) * 3, outputs=outputs, multilabel=multilabel)


def weighted_sum(weights: Sequence[Sequence[float]], offset: float = 0.0) -> Callable[[Tensor], Tensor]:
    """offset + sum of weights times the first colour."""
    w = torch.tensor(weights, dtype=torch.double)
    return lambda x: offset + (x[:, 0] * w.to(x)).sum((1, 2))


def mean_pixel(x: Tensor) -> Tensor:
    return x.mean((1, 2, 3))


def always(value: float) -> Callable[[Tensor], Tensor]:
    return lambda x: value + 0 * x.mean((1, 2, 3))


GAINS = weighted_sum([[0.3, 0.1], [-0.2, -0.1]], 0.5)
"""0.6 on ones; 0.8 with the first pixel alone, 0.3 with the third alone, 0.5 with nothing."""

FALLING = weighted_sum([[0.4, 0.3], [0.2, 0.1]])
"""1 on ones; each pixel is worth less than the one before."""


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.double)


def ones(*size: int, n: int = 1) -> Tensor:
    return torch.ones(n, 3, *size, dtype=torch.double)


def close(ours: Tensor, expected: Any, tolerance: float = 1e-9) -> None:
    expected = torch.as_tensor(expected, dtype=torch.double).expand(ours.shape)
    torch.testing.assert_close(ours.double(), expected, rtol=0, atol=tolerance, equal_nan=True)


TOP_LEFT, TOP = [[1, 0], [0, 0]], [[1, 1], [0, 0]]

CENTRE_FIRST_CORNER_LAST = [[0, 1, 2], [3, 8, 4], [5, 6, 7]]


def dot(*size: int) -> Tensor:
    """A bright pixel in the middle of a picture."""
    x = torch.zeros(1, 3, *size, dtype=torch.double)
    x[..., size[0] // 2, size[1] // 2] = 1
    return x


def small_net() -> ll.Classifier:
    return ll.Classifier(architectures.build("plain"))


def score_maps(name: str, maps: Any, truth: Any, **options: Any) -> Tensor:
    """A metric that looks at maps and truth alone."""
    maps = torch.as_tensor(maps, dtype=torch.double)
    x = torch.zeros(len(maps), 3, *maps.shape[1:], dtype=torch.double)
    return ll.metric(name, **options)(says(always(0.5)), x, 0, maps, truth=truth)
