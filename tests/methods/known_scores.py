"""Classifiers whose score is a known function of the picture, and how closely two maps must agree."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

import architectures
import limelight as ll


def assert_same(ours: Tensor, theirs: np.ndarray | Tensor, tolerance: float = 1e-5) -> None:
    """Equal but for this share of the largest value: not only up to a factor."""
    theirs = torch.as_tensor(theirs)
    assert theirs.abs().max() > 0
    torch.testing.assert_close(ours, theirs.to(ours), rtol=0, atol=tolerance * float(theirs.abs().max()))


def assert_same_but_for_ties(
    evidence: Callable[[Tensor], Tensor], x: Tensor, theirs: np.ndarray | Tensor, tolerance: float = 1e-5
) -> None:
    """Equal, whichever way the ties go that rounding decides: which pixel a maximum takes, whether a ReLU is open.

    Their machine rounded in its own way. Ours doesn't round (x is float64), and noise of the size of float32's rounding
    tosses such coins: what they found lies, pixel by pixel, between the maps that this gives.
    """
    assert x.dtype == torch.float64
    found: list[Tensor] = []
    for seed in range(6):
        rounding = 1e-6 * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)).to(x)
        found.append(evidence(x + rounding if seed else x))
        low, high = torch.stack(found).aminmax(dim=0)
        between = torch.as_tensor(theirs).to(x).clamp(low, high)
        try:
            assert_same(between, theirs, tolerance)
        except AssertionError:
            if seed == 5:
                raise
        else:
            break
    moved = (high - low > tolerance * high.abs().amax()).double().mean()
    assert moved < 0.4, "most of the map is no matter of ties"


class Scored(nn.Module):
    """Any function of the image as the score of class 0, its opposite as that of class 1."""

    def __init__(self, score: nn.Module) -> None:
        super().__init__()
        self.score = score
        self.unused = nn.Parameter(torch.zeros(()))  # says of which precision the module is

    def forward(self, x: Tensor) -> Tensor:
        y = self.score(x)
        return torch.stack([y, -y], 1)


class Of(nn.Module):
    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def scoring(function: object) -> ll.Classifier:
    """The classifier with this score, black at 0 and white at 1."""
    return ll.Classifier(Scored(Of(function)).double(), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def line(*values: float) -> Tensor:
    """One picture of one line, whose first colour has these values."""
    x = torch.zeros(1, 3, 1, len(values), dtype=torch.double)
    x[0, 0, 0] = torch.tensor(values)
    return x


def architectures_net(name: str) -> tuple[ll.Classifier, Tensor]:
    return ll.Classifier(architectures.build(name)), architectures.images()


def product() -> ll.Classifier:
    """f = x_1 x_2."""
    return scoring(lambda x: x[:, 0, 0, 0] * x[:, 0, 0, 1])


def smooth() -> tuple[ll.Classifier, Tensor]:
    """Return a network without kinks, in double precision, and three pictures."""
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Tanh(), nn.Conv2d(5, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(48, 3))
    generator = torch.Generator().manual_seed(3)
    for p in net.parameters():
        p.data = 0.3 * torch.randn(p.shape, generator=generator)
    return ll.Classifier(net.double()), torch.randn(3, 3, 7, 8, generator=generator).double()
