"""Rules for operations without weights: they choose, join, scale or average."""

from dataclasses import dataclass

import torch
from torch import Tensor

from limelight.relevance.op import Op, at_least_float32, divide_by
from limelight.relevance.rule import TINY, absorbing


def native(op: Op, r: Tensor) -> tuple[Tensor, ...]:
    """Hand on the operation's own gradient, which conserves where an operation only chooses or joins."""
    return op.native(r)


def keep(op: Op, r: Tensor) -> Tensor:
    """Hand everything on: R' = R."""
    return r if r.shape == op.inputs[0].shape else r.sum_to_size(op.inputs[0].shape)


def take_apart(op: Op, r: Tensor) -> tuple[Tensor | None, ...]:
    """Hand R back along the operations of which attention consists, each by the rule that stands for it."""
    assert op.parts is not None
    inputs = [at_least_float32(x).detach().requires_grad_() for x in op.inputs]
    y = op.parts(*inputs)
    return torch.autograd.grad(y, inputs, r.to(y), allow_unused=True)


@absorbing
def nothing(op: Op, r: Tensor) -> tuple[None, ...]:
    """Hand on nothing: what the operation gave counts as a constant."""
    op.audit_amount("constants", r)
    return (None,)


def to_first(op: Op, r: Tensor) -> Tensor:
    """Hand all to the first operand: a numerator takes all of a quotient's."""
    return r.sum_to_size(op.inputs[0].shape)


def split_evenly(op: Op, r: Tensor) -> tuple[Tensor, ...]:
    """Hand each operand of a product the same share."""
    return tuple((r / len(op.inputs)).sum_to_size(x.shape) for x in op.inputs)


@absorbing
def joined(op: Op, r: Tensor) -> tuple[Tensor, ...]:
    """Hand each part that was joined its own; constants among them, such as a learned token, keep theirs."""
    shares = op.native(r)
    rest = op.sum_per_image(r) - sum(op.sum_per_image(s) for s in shares)
    op.audit["constants"] = rest
    return shares


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
