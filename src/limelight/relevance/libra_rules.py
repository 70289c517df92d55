"""The derivatives of LibraGrad, under which input x gradient and bias x gradient add up to the score."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from limelight.relevance.op import Op, at_least_float32
from limelight.relevance.rules import GRADIENT, Rules
from limelight.relevance.simple_rules import native, take_apart

Balance = Literal["none", "libra"]
"""By which derivatives gradients pass: those of calculus, or of LibraGrad."""

SELF_GATED = frozenset({"gelu", "silu", "mish", "hardswish", "square", "pow", "__pow__"})
"""Functions y = x g(x), an input times a gate made of it; of a power x^p, p factors share the derivative."""


def hold_gate(op: Op, g: Tensor) -> Tensor:
    """dS/dx = dS/dy g(x) with y = x g(x), the gate g held constant: y / x, or at 0 its limit, the slope of y."""
    (ordinary,) = op.native(g)
    if op.function not in SELF_GATED:
        return ordinary
    return torch.where(op.x != 0, g * op.y / op.x.masked_fill(op.x == 0, 1.0), ordinary)


def hold_spread(op: Op, g: Tensor) -> tuple[Tensor | None, ...]:
    """The derivative with what an operation divides by as a constant: a deviation, a length, a denominator."""
    return _derive(op, g, [0])


def split_factors(op: Op, g: Tensor) -> tuple[Tensor | None, ...]:
    """The derivative of a product of activations over their number; of gates and weights, which are constants, none."""
    factors = [i for i in range(len(op.inputs)) if i != op.gate]
    return _derive(op, g / len(factors), factors)


def _derive(op: Op, g: Tensor, moving: Sequence[int]) -> tuple[Tensor | None, ...]:
    """Return the gradient with respect to some of the inputs, the others being constants."""
    xs = [at_least_float32(x).detach() for x in op.inputs]
    with torch.enable_grad():
        for i in moving:
            xs[i].requires_grad_()
        y = (op.held or op.call)(*xs)
    gradients = dict(zip(moving, torch.autograd.grad(y, [xs[i] for i in moving], g), strict=True))
    return tuple(map(gradients.get, range(len(xs))))


LIBRA = Rules(
    {
        **dict.fromkeys(("affine", "batch_norm", "add", "shift", "scale", "cat", "max_pool", "avg_pool"), native),
        "activation": hold_gate,
        "statistic": hold_gate,
        "norm": hold_spread,
        "quotient": hold_spread,
        "product": split_factors,
        "multiply": split_factors,
        "matmul": split_factors,
        "softmax": native,  # of attention's, which is a matmul's gate, nothing comes here
        "attention": take_apart,
    },
    fuse=False,
)
"""The rules of LibraGrad: what is not affine is an input times a gate that is held constant; the rest is calculus.

Source: Mehri et al. 2025, section 4.
"""

DERIVATIVES: Mapping[Balance, Rules] = {"none": GRADIENT, "libra": LIBRA}
"""The rules by which gradients pass."""
