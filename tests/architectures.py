"""One small network per way of building classifiers, with fixed random weights.

Inputs are 40 x 56 (not square). Every network takes ``inplace`` for its ReLUs.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

import limelight as ll

SIZE = (40, 56)
CLASSES = 5


class Plain(nn.Sequential):
    """Convolutions, then a fully connected head."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace), nn.MaxPool2d(2)),
            *(nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(inplace), nn.MaxPool2d(2)),
            *(nn.Conv2d(12, 16, 3, padding=1), nn.ReLU(inplace)),
        )
        self.pool = nn.AdaptiveAvgPool2d((3, 4))
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(16 * 12, 24), nn.ReLU(inplace), nn.Dropout(), nn.Linear(24, CLASSES)
        )


class Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int, inplace: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after)
        self.conv2, self.bn2 = nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)
        self.relu = nn.ReLU(inplace)  # one module, called twice
        self.skip = nn.Conv2d(before, after, 1, stride) if (before, stride) != (after, 1) else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += self.skip(x)
        return self.relu(y)


class Residual(nn.Module):
    """Batch normalisation, shortcuts with ``+=``, pooling and one linear layer."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 5, 2, 2), nn.BatchNorm2d(8), nn.ReLU(inplace))
        self.layer1 = Block(8, 12, 1, inplace)
        self.layer2 = Block(12, 16, 2, inplace)
        self.fc = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.layer2(self.layer1(self.stem(x))).mean((2, 3)))


class Dense(nn.Module):
    """Concatenated features and a functional ReLU behind the last normalisation."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.grow = nn.ModuleList(nn.Conv2d(8 + 4 * i, 4, 3, padding=1) for i in range(3))
        self.transition = nn.Sequential(nn.Conv2d(20, 16, 1), nn.AvgPool2d(2))
        self.norm = nn.BatchNorm2d(16)
        self.classifier = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for conv in self.grow:
            x = torch.cat([x, nn.functional.relu(conv(x), inplace=self.inplace)], 1)
        x = nn.functional.relu(self.norm(self.transition(x)), inplace=self.inplace)
        return self.classifier(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


class Inception(nn.Module):
    """Parallel branches of several kernel sizes."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(inplace))
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv2d(8, 6, k, stride=2, padding=k // 2), nn.ReLU(inplace)) for k in (1, 3, 5)
        )
        self.mix = nn.Sequential(nn.Conv2d(18, 16, 1), nn.ReLU(inplace))
        self.fc = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.mix(torch.cat([branch(x) for branch in self.branches], 1))
        return self.fc(x.mean((2, 3)))


class Depthwise(nn.Module):
    """Grouped convolutions, squeeze and excitation, hard activations; a class map pooled at the end."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1), nn.ReLU6(inplace))
        self.depthwise = nn.Sequential(nn.Conv2d(12, 12, 3, 2, 1, groups=12), nn.Hardswish(inplace))
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(12, 12, 1), nn.Hardsigmoid(inplace))
        self.pointwise = nn.Sequential(nn.Conv2d(12, 16, 1), nn.BatchNorm2d(16), nn.ReLU(inplace))
        self.classifier = nn.Conv2d(16, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depthwise(self.stem(x))
        x = self.pointwise(x * self.squeeze(x))
        return self.classifier(x).mean((2, 3))


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).chunk(3, -1)
        x = x + self.proj((q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v)
        return x + self.mlp(self.norm2(x))


class Tokens(nn.Module):
    """A vision transformer that reads its answer off a class token."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.class_token = nn.Parameter(torch.randn(1, 1, 16))
        self.positions = nn.Parameter(torch.randn(1, 1 + 5 * 7, 16) * 0.3)
        self.blocks = nn.Sequential(Attention(16), Attention(16))
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).mT
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], 1) + self.positions
        return self.head(self.norm(self.blocks(x))[:, 0])


ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "plain": Plain,
    "residual": Residual,
    "dense": Dense,
    "inception": Inception,
    "depthwise": Depthwise,
    "tokens": Tokens,
}


def build(name: str, *, inplace: bool = False) -> nn.Module:
    """Return a network in evaluation mode whose weights depend on its name only."""
    state = torch.get_rng_state()
    torch.manual_seed(sum(map(ord, name)))
    net = ARCHITECTURES[name](inplace)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.normal_(m.bias, 0.2, 0.1)
            m.running_mean.normal_(0, 0.1)
            m.running_var.uniform_(0.5, 1.5)
    torch.set_rng_state(state)
    return net.eval()


def images(n: int = 3, size: tuple[int, int] = SIZE) -> Tensor:
    """Return smooth random pictures."""
    generator = torch.Generator().manual_seed(7)
    coarse = torch.randn(n, 3, 6, 6, generator=generator)
    fine = 0.3 * torch.randn(n, 3, *size, generator=generator)
    return nn.functional.interpolate(coarse, size, mode="bilinear") + fine


def small(outputs: int = 3, channels: tuple[int, ...] = (4,)) -> nn.Sequential:
    """Return strided convolutions with ReLUs, global average pooling and a linear layer, with fixed random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for before, after in pairwise((3, *channels)):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.ReLU()]
        head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels[-1], outputs)
        return nn.Sequential(*layers, *head).eval()


def fitted(net: nn.Module, *batches: Tensor) -> nn.Module:
    """Give a network the batch statistics of pictures, as training would, and return it in evaluation mode."""
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.momentum = None  # the mean of all batches
            m.reset_running_stats()
    with torch.no_grad():
        for x in batches:
            net.train()(x)
    return net.eval()


def exact(name: str, *, inplace: bool = False) -> ll.Classifier:
    """Return a network in float64, for laws between two ways to a number, which processors round differently."""
    return ll.Classifier(build(name, inplace=inplace).double())
