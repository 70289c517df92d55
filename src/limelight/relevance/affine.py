"""Affine operations, W x + b, with any weight: convolutions and products with a matrix."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Part = Literal["all", "positive", "negative", "absolute", "squared", "ones"]
"""What of a weight or bias a rule computes with."""

PARTS: dict[Part, Callable[[Tensor], Tensor]] = {
    "all": lambda w: w,
    "positive": lambda w: w.clamp_min(0),
    "negative": lambda w: w.clamp_max(0),
    "absolute": torch.abs,
    "squared": torch.square,
    "ones": torch.ones_like,
}
"""How each part is made of the whole."""


@dataclass(frozen=True)
class Convolution:
    """The settings of a convolution of any dimension, transposed or not."""

    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    groups: int
    transposed: bool = False
    output_padding: Sequence[int] = (0,)

    @property
    def _settings(self) -> tuple[Any, ...]:
        """The settings in the order in which PyTorch takes them."""
        outer = list(self.output_padding) * (len(self.stride) // len(self.output_padding))
        return list(self.stride), list(self.padding), list(self.dilation), self.transposed, outer, self.groups

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Apply it to x, with any weight and bias."""
        return torch.convolution(x, weight, bias, *self._settings)

    def adjoint(self, s: Tensor, x: Tensor, weight: Tensor, wanted: int) -> Tensor:
        """Return the gradient of s . conv(x; W) with respect to x (0) or W (1)."""
        mask = [wanted == 0, wanted == 1, False]
        return torch.ops.aten.convolution_backward(s, x, weight, None, *self._settings, mask)[wanted]


@dataclass(frozen=True)
class Product:
    """x W^T + b over the last axis."""

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Apply it to x, with any weight and bias."""
        return F.linear(x, weight, bias)

    def adjoint(self, s: Tensor, x: Tensor, weight: Tensor, wanted: int) -> Tensor:
        """Return the gradient of s . x W^T with respect to x (0) or W (1)."""
        return s @ weight if wanted == 0 else s.flatten(0, -2).T @ x.flatten(0, -2)
