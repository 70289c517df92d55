"""One recorded call of a network, as a rule sees it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from limelight.errors import InvalidOption
from limelight.ops.space import height_of
from limelight.relevance.affine import PARTS, Convolution, Part, Product

Kind = Literal[
    "conv",
    "linear",
    "batch_norm",
    "norm",
    "activation",
    "max_pool",
    "avg_pool",
    "add",
    "multiply",
    "scale",
    "cat",
    "shift",
    "product",
    "quotient",
    "statistic",
    "matmul",
    "softmax",
    "attention",
]
"""What a call is for the rules; whatever else depends on the image only routes it, or has no rule.

A ``multiply`` has a signal and its gate, a ``product`` two activations of one rank; a ``matmul`` may be any sum of
products of entries, a ``statistic`` is what others are divided by (a power, a root, a variance). ``attention`` does in
one call what consists of ``linear``, ``scale``, ``matmul``, ``shift`` and ``softmax``.
"""

SLACK = 1e-3
"""Share of the distance of two bounds by which inputs may leave them."""


@runtime_checkable
class Compute(Protocol):
    """Computes the output of an operation from its inputs, those that depend on the image."""

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Return the output for these inputs."""
        ...


Positions = Callable[[Tensor, Tensor], dict[int, Tensor]]
"""Input x and output y of a maximum -> what lies in each window: by axis of x the positions, (windows, size), with -1
where there is none."""


class Arithmetic:
    """Counts the arithmetic of affine operations, in multiplications."""

    def __init__(self) -> None:
        self.forward = 0.0
        self.backward = 0.0


@dataclass(eq=False)
class Op:
    """One call: what went in, what came out, and where in the network it is.

    Attributes:
        kind: see ``Kind``.
        function: the name under which it was called.
        owner: dotted name of the module that called it.
        inputs: the operands that depend on the image.
        output: what came out.
        call: computes the output anew from the inputs.
        depths: of each input, the largest number of affine operations before it.
        origins: of each input, the module that made it.
        nonnegative: whether the inputs are known to be, because of what made them.
        images: how many images were recorded.
        stride: size of the image over that of the output.
        affine: settings of a convolution or linear operation.
        weight: of an affine operation.
        bias: of an affine operation that has one.
        last: whether no affine operation lies behind.
        scale: per channel, of a batch normalisation, a constant factor or shape to sum over.
        gate: which operand of a product gates the other; of a ``matmul`` which one is a softmax.
        axis: along which tensors were joined, or a softmax adds up to 1.
        held: computes the output of a normalisation anew, with the spread it divides by as a constant.
        parts: computes the output of attention anew, with every operation in it recorded.
        number: how many calls came before it.
        windows: of a maximum, the mean of the same windows.
        positions: of a maximum, see ``Positions``.
        pair: a batch normalisation and the affine operation right before it, as one affine operation.
        spent: counts arithmetic.
        audit: what the rule that is at work notes for the audit, per image: what went into ``biases``, other
            ``constants`` and the ``remainder`` of a linearised softmax, the absolute relevance at ``dead``
            denominators, and how far inputs are ``outside`` of a rule's bounds.
    """

    kind: Kind
    function: str
    owner: str
    inputs: list[Tensor]
    output: Tensor
    call: Compute
    depths: tuple[int, ...]
    origins: tuple[str, ...]
    nonnegative: bool
    images: int
    stride: int
    affine: Convolution | Product | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None
    last: bool = False
    scale: Tensor | None = None
    gate: int | None = None
    axis: int = 0
    windows: Callable[[Tensor], Tensor] | None = None
    positions: Positions | None = None
    held: Compute | None = None
    parts: Compute | None = None
    number: int = 0
    pair: "Op | None" = None
    spent: Arithmetic = field(default_factory=Arithmetic)
    audit: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    _cache: dict[str, Tensor] = field(default_factory=dict[str, Tensor])

    # -- where it is -----------------------------------------------------------------------------------

    @property
    def first(self) -> bool:
        """Whether it is an affine operation with none before it."""
        return self.affine is not None and max(self.depths) == 0

    @property
    def places(self) -> tuple[str, ...]:
        """The names under which a table of rules may list it, the most special one first."""
        if self.affine is None:
            return ("shift", "scale") if self.kind == "shift" else (self.kind,)
        here = ["first"] * self.first + ["last"] * self.last
        here += ["shallow"] * (self.kind == "conv" and self.stride <= 4)
        return (*here, self.kind, "affine")

    def __str__(self) -> str:
        return f"{self.function} in {self.owner}" if self.owner else self.function

    # -- what a rule computes with ---------------------------------------------------------------------

    @property
    def x(self) -> Tensor:
        """The first input, at least float32."""
        return at_least_float32(self.inputs[0])

    @property
    def y(self) -> Tensor:
        """The output, at least float32."""
        return at_least_float32(self.output)

    @property
    def kernel_height(self) -> int:
        """The height of a convolution's kernel, its length for signals; 1 for a linear operation."""
        return height_of(self.w()) if self.kind == "conv" else 1

    def w(self, part: Part = "all") -> Tensor:
        """Return the weight, or its positive, negative, absolute or squared values, or ones in its shape."""
        if part not in self._cache:
            assert self.weight is not None
            self._cache[part] = PARTS[part](at_least_float32(self.weight.detach()))
        return self._cache[part]

    def b(self, part: Part = "all") -> Tensor | None:
        """Return the bias, or a part of it; None if there is none."""
        return None if self.bias is None else PARTS[part](at_least_float32(self.bias.detach()))

    def forward(self, x: Tensor, weight: Part | Tensor = "all", bias: Tensor | None = None) -> Tensor:
        """Apply the affine operation to any x, with any weight."""
        assert self.affine is not None
        w = weight if isinstance(weight, Tensor) else self.w(weight)
        self.spent.forward += self.arithmetic(x)
        return self.affine(x, w, bias)

    def back(self, s: Tensor, weight: Part | Tensor = "all") -> Tensor:
        """Apply its adjoint: return the gradient of s . (W x) with respect to x, in the shape of x."""
        assert self.affine is not None
        w = weight if isinstance(weight, Tensor) else self.w(weight)
        x = self.x
        if len(s) != len(x):  # several operands stacked along the batch
            x = x[:1].expand(len(s), *x.shape[1:])
        self.spent.backward += self.arithmetic(x)
        return self.affine.adjoint(s, x, w, 0)

    def weight_gradient(self, s: Tensor, x: Tensor) -> Tensor:
        """Return the gradient of s . (W x) with respect to W, summed over the batch."""
        assert self.affine is not None
        self.spent.backward += self.arithmetic(x)
        return self.affine.adjoint(s, x, self.w(), 1)

    def native(self, r: Tensor) -> tuple[Tensor, ...]:
        """Return the operation's own gradient: what autograd would hand on for r."""
        if self.affine is not None:
            return (self.back(r),)
        if self.kind == "batch_norm":
            assert self.scale is not None
            return (r * self.scale,)
        with torch.enable_grad():
            inputs = [at_least_float32(x).detach().requires_grad_() for x in self.inputs]
            return torch.autograd.grad(self.call(*inputs), inputs, r)

    def share_ties(self, r: Tensor, tolerance: Tensor) -> Tensor:
        """Return the gradient of a maximum for r, in equal parts among all positions of a window that hold it.

        Args:
            r: in the shape of y.
            tolerance: of each image, (n, 1, ...): how far below the maximum a value counts as equal.
        """
        assert self.positions is not None
        tables = sorted(self.positions(self.x, self.y).items())
        x = self.x.detach().requires_grad_()
        with torch.enable_grad():
            held = x
            for axis, at in reversed(tables):  # the last first, so that the others keep their numbers
                held = torch.unflatten(held.index_select(axis, at.clamp_min(0).flatten()), axis, at.shape)
        sizes = [axis + i + 1 for i, (axis, _) in enumerate(tables)]  # axes along which a window lies
        ties = torch.ones((), dtype=torch.bool, device=x.device)
        for axis, (_, at) in zip(sizes, tables, strict=True):
            ties = ties & (at >= 0).view(*at.shape, *[1] * (held.ndim - axis - 1))
        windows = [1 if axis in sizes else side for axis, side in enumerate(held.shape)]
        ties = ties & (held >= self.y.reshape(windows) - tolerance.view(-1, *[1] * (held.ndim - 1)))
        parts = ties * (r.reshape(windows) / ties.sum(sizes, keepdim=True))
        return torch.autograd.grad(held, x, parts)[0]

    def average(self, *inputs: Tensor) -> Tensor:
        """Apply the operation; of a maximum, the mean of the same windows."""
        if self.kind != "max_pool":
            return self.call(*inputs)
        assert self.windows is not None
        return self.windows(*inputs)

    def arithmetic(self, x: Tensor) -> float:
        """Return the multiplications that the affine operation needs for x."""
        assert self.weight is not None
        per_output = prod(self.weight.shape) / max(1, self.weight.shape[0])
        return per_output * prod(self.output.shape[1:]) * len(x)

    # -- sums ------------------------------------------------------------------------------------------

    def total(self, t: Tensor) -> Tensor:
        """Sum over all axes but the batch, (n, 1, ...); of an image's windows, which lie along it, together."""
        sums = t.flatten(1).sum(1)
        if len(t) > self.images and len(t) % self.images == 0:
            sums = sums.view(self.images, -1).sum(1).repeat_interleave(len(t) // self.images)
        return sums.view(-1, *[1] * (t.ndim - 1))

    def count(self, t: Tensor) -> Tensor:
        """Count the entries that are not 0, over all axes but the batch, (n, 1, ...)."""
        return self.total((t != 0).to(t))

    def sum_per_image(self, t: Tensor) -> Tensor:
        """Sum over everything but the image, (n,)."""
        own = t.ndim > 1 and len(t) == self.images  # without a copy, whatever the memory format
        return t.sum(list(range(1, t.ndim))) if own else self._by_image(t).sum(1)

    def size_per_image(self, t: Tensor) -> Tensor:
        """Sum absolute values over everything but the image, (n,)."""
        return self.sum_per_image(t.abs())

    def _by_image(self, t: Tensor) -> Tensor:
        """Return a tensor with one row for each image."""
        if t.ndim == 0 or len(t) % self.images:  # no image has a part of its own
            return t.reshape(1, -1).expand(self.images, -1)
        return t.reshape(self.images, -1)

    # -- what a rule notes for the audit ---------------------------------------------------------------

    def audit_biases(self, s: Tensor, b: Tensor | None) -> None:
        """Note what goes into biases, as inputs that are always 1: the sum of s b."""
        if b is None:
            return
        channels = 1 if self.kind == "conv" else s.ndim - 1
        others = [i for i in range(1, s.ndim) if i != channels]
        self.audit_amount("biases", (s.sum(others) if others else s) * b)

    def audit_amount(self, name: str, amount: Tensor) -> None:
        """Note what goes into something that is no input: ``biases``, other ``constants``, or a ``remainder``."""
        self._add_to_audit(name, self.sum_per_image(amount))

    def audit_dead_ends(self, r: Tensor, z: Tensor) -> None:
        """Note the absolute relevance at denominators of 0, which goes nowhere: sums of both signs don't show it."""
        self._add_to_audit("dead", self.size_per_image(r * (1 - z.sign().abs())))

    def audit_bounds(self, low: Tensor, high: Tensor) -> None:
        """Note by what share of their distance inputs leave bounds, given x - l and x - h: the rule is off there."""
        beyond = torch.maximum(-low, high) / (low - high)
        self.audit["outside"] = self.sum_per_image(torch.where(beyond > SLACK, beyond, 0.0))

    def _add_to_audit(self, name: str, amount: Tensor) -> None:
        """Add an amount per image to what was noted under a name before."""
        self.audit[name] = self.audit[name] + amount if name in self.audit else amount


def at_least_float32(t: Tensor) -> Tensor:
    """Return a tensor at float32 or better: half precision is too coarse for the sums of a rule."""
    return t.float() if t.dtype in (torch.float16, torch.bfloat16) else t


def divide_by(r: Tensor, z: Tensor, e: int | float | Tensor = 0.0) -> Tensor:
    """Return R / (z + e sgn z), with sgn 0 = 1; for e = 0 it is 0 where z = 0.

    Signs are computed with, since on processors comparisons take many times as long.
    """
    if isinstance(e, float | int) and e == 0:
        alive = z.sign().abs_()
        return r / (z + (1 - alive)) * alive
    if isinstance(e, float | int):
        if e < 0:
            raise InvalidOption(f"a stabiliser of {e:g} is below 0")
        e = torch.full((), e, dtype=z.dtype, device=z.device)
    return r / (z + torch.copysign(e, z + 0.0))  # -0 + 0 is 0
