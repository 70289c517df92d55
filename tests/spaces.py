"""Small networks over one, two or three axes of space, and those of pictures lifted to volumes of depth 1."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

import limelight as ll
from architectures import Attention

CLASSES = 4
COLOURS = 2
MEAN, STD = 0.4, 0.2
SIZES = {1: (16,), 2: (8, 12), 3: (8, 8, 8)}
CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
MAX = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVERAGE = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
ADAPTIVE = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}


class Space:
    """Layers over so many axes; those of a lifted network leave the first one, of depth 1, alone."""

    def __init__(self, sides: int, lifted: bool = False) -> None:
        self.sides, self.lifted = sides, lifted

    def each(self, value: int, alone: int) -> tuple[int, ...]:
        return (alone, value, value) if self.lifted else (value,) * self.sides

    def conv(
        self, before: int, after: int, kernel: int, stride: int = 1, padding: int = 0, **more: object
    ) -> nn.Module:
        return CONV[self.sides](
            before, after, self.each(kernel, 1), self.each(stride, 1), self.each(padding, 0), **more
        )

    def norm(self, channels: int) -> nn.Module:
        return NORM[self.sides](channels)

    def max_pool(self, kernel: int, stride: int, padding: int = 0) -> nn.Module:
        return MAX[self.sides](self.each(kernel, 1), self.each(stride, 1), self.each(padding, 0))

    def average(self, kernel: int) -> nn.Module:
        return AVERAGE[self.sides](self.each(kernel, 1))

    def adaptive(self, cells: int) -> nn.Module:
        return ADAPTIVE[self.sides](self.each(cells, 1))


class Plain(nn.Sequential):
    """Convolutions, pooling of both kinds, then a fully connected head."""

    def __init__(self, space: Space) -> None:
        cells = 2 ** (2 if space.lifted else space.sides)
        super().__init__(
            *(space.conv(COLOURS, 5, 3, padding=1), nn.ReLU(), space.max_pool(3, 2, 1)),
            *(space.conv(5, 6, 3, padding=1), nn.ReLU(), space.average(2)),
            *(space.adaptive(2), nn.Flatten(), nn.Linear(6 * cells, 8), nn.ReLU(), nn.Linear(8, CLASSES)),
        )


class Residual(nn.Module):
    """Batch normalisation, a shortcut, a maximum, pooling and one linear layer."""

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.stem = nn.Sequential(space.conv(COLOURS, 6, 3, padding=1), space.norm(6), nn.ReLU())
        self.pool = space.max_pool(2, 2)
        self.body = nn.Sequential(space.conv(6, 6, 3, padding=1), space.norm(6), nn.ReLU(), space.conv(6, 6, 1))
        self.relu, self.head = nn.ReLU(), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.stem(x))
        x = self.relu(self.body(x) + x)
        return self.head(x.flatten(2).mean(2))


class Tokens(nn.Module):
    """A transformer over patches, which reads its answer off a class token."""

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.patches, self.token = space.conv(COLOURS, 8, 2, 2), nn.Parameter(torch.randn(1, 1, 8))
        self.blocks, self.norm, self.head = (
            nn.Sequential(Attention(8), Attention(8)),
            nn.LayerNorm(8),
            nn.Linear(8, CLASSES),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).mT
        x = self.blocks(torch.cat([self.token.expand(len(x), -1, -1), x], 1))
        return self.head(self.norm(x)[:, 0])


NETWORKS: dict[str, Callable[[Space], nn.Module]] = {"plain": Plain, "residual": Residual, "tokens": Tokens}


def build(name: str, sides: int, lifted: bool = False) -> nn.Module:
    """Return a network with weights that depend on its name only: a lifted one has those of the one of pictures."""
    with torch.random.fork_rng():
        torch.manual_seed(sum(map(ord, name)))
        net = NETWORKS[name](Space(2 if lifted else sides))
        for m in net.modules():
            if isinstance(m, tuple(NORM.values())):
                nn.init.uniform_(m.weight, 0.5, 1.5)
                nn.init.normal_(m.bias, 0.2, 0.1)
                m.running_mean.normal_(0, 0.1)
                m.running_var.uniform_(0.5, 1.5)
    if lifted:
        flat, net = net.state_dict(), NETWORKS[name](Space(3, lifted=True))
        net.load_state_dict({key: flat[key].view(value.shape) for key, value in net.state_dict().items()})
    return net.double().eval()


def classifier(name: str, sides: int, lifted: bool = False) -> ll.Classifier:
    """Return a network as the library sees it."""
    size = (1, *SIZES[2]) if lifted else SIZES[sides]
    return ll.Classifier(build(name, sides, lifted), mean=[MEAN] * COLOURS, std=[STD] * COLOURS, size=size)


def images(sides: int, n: int = 2) -> Tensor:
    """Return smooth random signals, pictures or volumes in float64, normalised by ``MEAN`` and ``STD`` from [0, 1]."""
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(n, COLOURS, *SIZES[sides], generator=generator, dtype=torch.float64)
    for axis in range(2, x.ndim):
        x = x + x.roll(1, axis) + 0.5 * x.roll(2, axis)
    values = (x - x.min()) / (x.max() - x.min())
    return (values - MEAN) / STD
