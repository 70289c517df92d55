"""Networks that do odd things, and what every method says of them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import architectures
import limelight as ll
from limelight import errors
from quick import quick

SIZE = 24


def body() -> nn.Sequential:
    return architectures.small(4, (6, 8))


def pictures(n: int = 2) -> Tensor:
    return torch.randn(n, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def random_maps(n: int) -> Tensor:
    return torch.rand(n, SIZE, SIZE, generator=torch.Generator().manual_seed(2))


class Odd(nn.Module):
    """The body, used in an odd way."""

    def __init__(self, way: Callable[[nn.Sequential, Tensor], Any]) -> None:
        super().__init__()
        self.f, self.way = body(), way

    def forward(self, x: Tensor) -> Any:
        return self.way(self.f, x)


def without_gradients(f: nn.Sequential, x: Tensor) -> Tensor:
    with torch.no_grad():
        a = f[:4](x)
    return f[4:](a)


def state(net: nn.Module) -> list[Any]:
    return [
        [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in net.modules()],
        [(id(p), p.requires_grad, p.grad) for p in net.parameters()],
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
    ]


def try_every_method(net: nn.Module, x: Tensor) -> dict[str, ll.Saliency | errors.LimelightError]:
    """What each method says of a network; it fails with our errors only, and leaves everything as it was."""
    before, given, c = state(net), x.clone(), ll.Classifier(net, size=SIZE)
    found: dict[str, Any] = {}
    for name in (
        name for name, card in ll.methods().items() if not card.tokens_only
    ):  # the networks are none of tokens
        try:
            found[name] = quick(name).run(c, x, 1)
        except errors.LimelightError as error:
            found[name] = error
        assert state(net) == before, name
        assert torch.equal(x, given), name
    return found


class Mine(Exception):
    pass


def raising(error: Exception) -> Odd:
    def way(_f: nn.Sequential, _x: Tensor) -> Tensor:
        raise error

    return Odd(way)
