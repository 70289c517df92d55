"""Networks for Attribution Equilibrium, and the worked example of its definition."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import limelight as ll
from limelight.relevance.op import Op
from limelight.relevance.recording import Recording

NAME = "attribution-equilibrium"
X = torch.tensor([2.0, 1, 0, 1]).double()
W = torch.tensor([[1.0, -1, 2, 0], [0.5, 1, -1, -2]]).double()
R = torch.tensor([3.0, -1]).double()


def recorded(net: nn.Module, x: Tensor) -> Recording:
    return Recording(ll.Classifier(net.eval()), x)


class Behind(nn.Module):
    """A layer that is given exactly x, and is not the first one."""

    def __init__(self, layer: nn.Module, x: Tensor) -> None:
        super().__init__()
        self.first, self.layer, self.x = nn.Conv2d(3, x.shape[1], 1, bias=False).to(x), layer, x
        nn.init.zeros_(self.first.weight)

    def forward(self, image: Tensor) -> Tensor:
        return self.layer(self.first(image) + self.x).flatten(1)


def inner(layer: nn.Module, x: Tensor) -> Op:
    return recorded(Behind(layer, x), torch.zeros(len(x), 3, *x.shape[-2:]).to(x)).ops[-1]


def example(mixes: bool = False, copies: int = 1) -> tuple[Op, Tensor]:
    """The convolution of the worked example, as a 2 x 2 kernel or as one of 1 x 1 with four inputs."""
    shape = (4, 1, 1) if mixes else (1, 2, 2)
    conv = nn.Conv2d(shape[0], 2, shape[1:] if not mixes else 1).double()
    conv.weight.data = W.view(2, *shape)
    return inner(conv, X.view(1, *shape).repeat(copies, 1, 1, 1)), R.view(1, 2, 1, 1).repeat(copies, 1, 1, 1)


def close(a: Tensor, b: Tensor | list[float], tolerance: float = 1e-12) -> None:
    b = torch.as_tensor(b, dtype=a.dtype)
    torch.testing.assert_close(a.reshape(b.shape), b, rtol=0, atol=tolerance)


class Shortcut(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.skip = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.a, self.b = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        return (self.skip(x) + self.b(self.a(x).relu())).relu().mean((2, 3))


def dense_net() -> nn.Module:
    from torchvision.models import DenseNet

    torch.manual_seed(0)
    net = DenseNet(growth_rate=4, block_config=(1, 2), num_init_features=8, bn_size=2, num_classes=5)
    return net.double().eval()


def chain() -> nn.Sequential:
    """Without dead denominators: every output sees active and inactive inputs."""
    torch.manual_seed(1)
    net = nn.Sequential(
        *(nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(16 * 16, 8), nn.ReLU(), nn.Linear(8, 4)),
    )
    return net.double().eval()


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.stem = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 16, 3, padding=1), nn.ReLU())
        self.long = nn.Sequential(nn.Conv2d(16, 12, 1), nn.ReLU(), nn.Conv2d(12, 12, (1, 3)), nn.ReLU())
        self.wide, self.pooled = nn.Conv2d(16, 12, (3, 1)), nn.Conv2d(16, 12, 1)
        self.mix, self.fc = nn.Conv2d(36, 16, 3, padding=1), nn.Linear(16, 4)
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        long = F.pad(self.long(x), (1, 1))
        wide = F.pad(F.relu(self.wide(x)), (0, 0, 1, 1))
        pooled = F.relu(self.pooled(F.avg_pool2d(x, 3, 1, 1)))
        return self.fc(F.relu(self.mix(torch.cat([long, wide, pooled], 1))).mean((2, 3)))


def pictures(n: int = 2, size: int = 16) -> Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(5)).double()
