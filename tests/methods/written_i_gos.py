"""I-GOS of one picture written out step by step, and small networks on which masks are searched for."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import limelight as ll

SIZE = (12, 14)


class Counting(nn.Module):
    """Counts the pictures that it is given, with and without a gradient."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module, self.plain, self.back = module, 0, 0

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad:
            self.back += len(x)
        else:
            self.plain += len(x)
        return self.module(x)


def smooth(n: int = 1) -> tuple[Counting, Tensor]:
    """A network without kinks, in double precision, so that no decision hangs on the last digit."""
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Tanh(), nn.Conv2d(6, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(320, 4))
    generator = torch.Generator().manual_seed(5)
    for p in net.parameters():
        p.data = torch.randn(p.shape, generator=generator) / p[0].numel() ** 0.5
    return Counting(net.double().eval()), torch.randn(n, 3, *SIZE, generator=generator).double()


def run_and_count(method: ll.Method, n: int, target: Any = 1) -> tuple[Any, Counting]:
    """Explain so many pictures, and check that as many passes are counted as there were."""
    net, x = smooth(n)
    c = ll.Classifier(net)
    c.trace(x)  # how large the network is, which is no part of an explanation
    net.plain = net.back = 0
    found = method.run(c, x, target)
    assert found.cost.n_forward * n == net.plain + net.back
    assert found.cost.n_backward * n == net.back
    return found, net


def with_dtype(module: nn.Module, kind: torch.dtype) -> nn.Module:
    """Return a copy of the module with weights of this kind."""
    return copy.deepcopy(module).to(kind)


def enlarge(mask: Tensor, size: tuple[int, int], cells: bool = False) -> Tensor:
    """Corner to corner, or as cells that fill the picture; as a product with two matrices."""

    def matrix(to: int, of: int) -> Tensor:
        at = torch.arange(to).double() * (of - 1) / (to - 1)
        if cells:
            at = ((torch.arange(to).double() + 0.5) * of / to - 0.5).clamp(0, of - 1)
        return (1 - (at[:, None] - torch.arange(of).double()).abs()).clamp(min=0)

    return matrix(size[0], mask.shape[-2]) @ mask @ matrix(size[1], mask.shape[-1]).T


@dataclass
class Written:
    """I-GOS of one picture as its description says, with every evaluation of the objective that it names."""

    net: nn.Module
    x: Tensor
    target: int
    l1: float
    tv: float
    points: int
    baselines: Callable[[int], Tensor]
    first: float = 200.0
    rescue: bool = True
    cells: bool = False
    noise: Callable[[int, int], Tensor | float] = lambda t, j: 0.0
    passes: int = 0

    def score(self, picture: Tensor) -> Tensor:
        self.passes += 1
        return self.net(picture).softmax(1)[0, self.target]

    def costs(self, m: Tensor) -> Tensor:
        steps = (m[1:] - m[:-1]).square().mean() + (m[:, 1:] - m[:, :-1]).square().mean()
        return self.l1 * (1 - m).abs().mean() + self.tv * steps

    def shown(self, m: Tensor, baseline: Tensor) -> Tensor:
        large = enlarge(m, SIZE, self.cells)
        return self.x * large + baseline * (1 - large)

    def __call__(self, n: int, start: Tensor) -> tuple[Tensor, list[float], int]:
        m, curve, candidates = start, [], 0
        clean = self.score(self.x).item()
        seen = [clean]
        for t in range(n):
            baseline = self.baselines(t)
            leaf = m.clone().requires_grad_()
            shares = [(j, j / self.points * leaf) for j in range(1, self.points + 1)]
            path = [self.score(self.shown(part, baseline) + self.noise(t, j)) for j, part in shares]
            total = torch.stack(path).mean() + self.costs(leaf)
            (g,) = torch.autograd.grad(total, leaf)
            with torch.no_grad():
                p = self.score(self.shown(m, baseline))
                now = p + self.costs(m)
                curve.append(now.item())
                length = self.first
                while True:
                    ahead = (m - length * g).clamp(0, 1)
                    candidates += 1
                    value = self.score(self.shown(ahead, baseline)) + self.costs(ahead)
                    if value <= now - 1e-4 * length * g.square().sum() or length < 1e-5:
                        break
                    length *= 0.2
            if self.rescue and n > 3:
                if t == n // 2 and abs(clean - seen[-1]) <= 1e-3:
                    self.l1 /= 10
                if t == int(n / 1.25) and abs(clean - seen[-1]) <= 1e-2:
                    self.l1 /= 5
            seen.append(p.item())
            m = ahead
        return m, curve, candidates


class Recording(nn.Module):
    """Keeps the pictures through which a gradient goes; its scores don't change."""

    def __init__(self) -> None:
        super().__init__()
        self.unused, self.seen = nn.Parameter(torch.zeros((), dtype=torch.float64)), list[Tensor]()

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad:
            self.seen.append(x.detach())
        return torch.stack([0 * x.sum((1, 2, 3)), 1 + 0 * x.sum((1, 2, 3))], 1)
