"""Networks that take more than a picture, and the same with what else they take built in."""

import torch
from torch import Tensor, nn


def features(classes: int = 6) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3, 2, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, classes),
    )


class WithNumbers(nn.Module):
    """A picture and four numbers, which scale what is seen."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.scale, self.head = features(), nn.Linear(4, 6), nn.Linear(6, 4)

    def forward(self, image: Tensor, numbers: Tensor) -> Tensor:
        return self.head(self.features(image) * self.scale(numbers))


class OfDict(WithNumbers):
    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return super().forward(batch["image"], batch["numbers"])


class Fixed(nn.Module):
    """The same for one picture's numbers."""

    def __init__(self, network: nn.Module, numbers: Tensor) -> None:
        super().__init__()
        self.network, self.numbers = network, numbers

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x, self.numbers.expand(len(x), -1))


class Pair(nn.Module):
    """How alike two pictures are, and how unlike."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = features(), features()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        z = (self.left(a) * self.right(b)).sum(1)
        return torch.stack([z, -z], 1)


def build(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return kind().double().eval()


def batch(n: int = 2, side: int = 16) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(1)
    pictures = torch.randn(n, 3, side, side, generator=draws, dtype=torch.float64)
    return pictures, torch.randn(n, 4, generator=draws, dtype=torch.float64)
