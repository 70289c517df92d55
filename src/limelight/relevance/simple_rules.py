"""Rules for operations without weights: they choose, join, scale or average."""

from dataclasses import dataclass

import torch
from torch import Tensor

from limelight.relevance.op import Op, divide_by
from limelight.relevance.rule import TINY, absorbing


def native(op: Op, r: Tensor) -> tuple[Tensor, ...]:
    """Hand on the operation's own gradient, which conserves where an operation only chooses or joins."""
    return op.native(r)


def keep(op: Op, r: Tensor) -> Tensor:
    """Hand everything on: R' = R."""
    return r if r.shape == op.inputs[0].shape else r.sum_to_size(op.inputs[0].shape)


@absorbing
def only_active(op: Op, r: Tensor) -> Tensor:
    """Hand on R where the input and its scale are not 0."""
    return r if op.scale is None else r * (op.x * op.scale != 0)


def to_signal(op: Op, r: Tensor) -> tuple[Tensor | None, ...]:
    """Hand all to the signal of a gated product, nothing to the gate."""
    signal = 1 - (op.gate or 0)
    shares: list[Tensor | None] = [None, None]
    shares[signal] = r.sum_to_size(op.inputs[signal].shape)
    return tuple(shares)


@dataclass(frozen=True)
class Proportional:
    """Each input gets what it contributed to the sum or mean: R'_i = x_i R / z, stabilised.

    A maximum is treated as if it were the mean of its window.

    Attributes:
        e: stabiliser; 0 gives nothing where z = 0.
        shift: added to the inputs.
        clamp: leave negative inputs out.
    """

    e: int | float = TINY
    shift: float = 0.0
    clamp: bool = False

    def __call__(self, op: Op, r: Tensor) -> tuple[Tensor, ...]:
        """Return the relevance of the input."""
        xs = [x if x.dtype == torch.float64 else x.float() for x in op.inputs]
        if self.clamp:
            xs = [x.clamp_min(0) for x in xs]
        if self.shift:
            xs = [x + self.shift for x in xs]
        with torch.enable_grad():
            xs = [x.detach().requires_grad_() for x in xs]
            z = op.average(*xs)
        if self.e == 0:
            op.audit_dead_ends(r, z.detach())
        shares = torch.autograd.grad(z, xs, divide_by(r, z.detach(), self.e))
        return tuple(x.detach() * s for x, s in zip(xs, shares, strict=True))
