"""One recorded call of a network, as a rule sees it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from limelight.errors import InvalidOption

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
]
"""What a call is for the rules; whatever else depends on the image only routes it, or has no rule."""

Part = Literal["all", "positive", "negative", "absolute", "squared", "ones"]
_PARTS: dict[Part, Callable[[Tensor], Tensor]] = {
    "all": lambda w: w,
    "positive": lambda w: w.clamp_min(0),
    "negative": lambda w: w.clamp_max(0),
    "absolute": torch.abs,
    "squared": torch.square,
    "ones": torch.ones_like,
}


SLACK = 1e-3
"""Share of the distance of two bounds by which inputs may leave them."""


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
    def _rest(self) -> tuple[Any, ...]:
        outer = list(self.output_padding) * (len(self.stride) // len(self.output_padding))
        return list(self.stride), list(self.padding), list(self.dilation), self.transposed, outer, self.groups

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Apply it to x, with any weight and bias."""
        return torch.convolution(x, weight, bias, *self._rest)

    def adjoint(self, s: Tensor, x: Tensor, weight: Tensor, wanted: int) -> Tensor:
        """Gradient of s . conv(x; W) with respect to x (0) or W (1)."""
        mask = [wanted == 0, wanted == 1, False]
        return torch.ops.aten.convolution_backward(s, x, weight, None, *self._rest, mask)[wanted]


@dataclass(frozen=True)
class Product:
    """x W^T + b over the last axis."""

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Apply it to x, with any weight and bias."""
        return F.linear(x, weight, bias)

    def adjoint(self, s: Tensor, x: Tensor, weight: Tensor, wanted: int) -> Tensor:
        """Gradient of s . x W^T with respect to x (0) or W (1)."""
        return s @ weight if wanted == 0 else s.flatten(0, -2).T @ x.flatten(0, -2)


class Spent:
    """Arithmetic of affine operations, in multiplications."""

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
        call: recomputes the output from the inputs.
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
        gate: which operand of a product gates the other.
        axis: along which tensors were joined.
        windows: of a maximum, the mean of the same windows.
        positions: of a maximum, what lies in each window, by axis of x: x and y -> positions, (windows, size), -1 for
            none.
        pair: a batch normalisation and the affine operation right before it, as one affine operation.
        spent: counts arithmetic.
        booked: what the rule that is at work wants to have in the books, per image: what went into ``biases``, the
            absolute relevance at ``dead`` denominators, and how far inputs are ``outside`` of a rule's bounds.
    """

    kind: Kind
    function: str
    owner: str
    inputs: list[Tensor]
    output: Tensor
    call: Callable[..., Tensor]
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
    windows: Callable[..., Tensor] | None = None
    positions: Callable[[Tensor, Tensor], dict[int, Tensor]] | None = None
    pair: "Op | None" = None
    spent: Spent = field(default_factory=Spent)
    booked: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
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
            return (self.kind,)
        here = ["first"] * self.first + ["last"] * self.last
        here += ["shallow"] * (self.kind == "conv" and self.stride <= 4)
        return (*here, self.kind, "affine")

    def __str__(self) -> str:
        return f"{self.function} in {self.owner}" if self.owner else self.function

    # -- what a rule computes with ---------------------------------------------------------------------

    @property
    def x(self) -> Tensor:
        """The first input, at least float32."""
        return exact(self.inputs[0])

    @property
    def y(self) -> Tensor:
        """The output, at least float32."""
        return exact(self.output)

    @property
    def kernel_height(self) -> int:
        """Of a convolution; 1 of a linear operation."""
        return int(self.w().shape[2]) if self.kind == "conv" else 1

    def w(self, part: Part = "all") -> Tensor:
        """The weight, or its positive, negative, absolute or squared values, or ones in its shape."""
        if part not in self._cache:
            assert self.weight is not None
            self._cache[part] = _PARTS[part](exact(self.weight.detach()))
        return self._cache[part]

    def b(self, part: Part = "all") -> Tensor | None:
        """The bias, or a part of it."""
        return None if self.bias is None else _PARTS[part](exact(self.bias.detach()))

    def forward(self, x: Tensor, weight: Part | Tensor = "all", bias: Tensor | None = None) -> Tensor:
        """The affine operation itself, on any x and any weight."""
        assert self.affine is not None
        w = weight if isinstance(weight, Tensor) else self.w(weight)
        self.spent.forward += self._arithmetic(x)
        return self.affine(x, w, bias)

    def back(self, s: Tensor, weight: Part | Tensor = "all") -> Tensor:
        """Its adjoint: the gradient of s . (W x) with respect to x, in the shape of x."""
        assert self.affine is not None
        w = weight if isinstance(weight, Tensor) else self.w(weight)
        x = self.x
        if len(s) != len(x):  # several operands stacked along the batch
            x = x[:1].expand(len(s), *x.shape[1:])
        self.spent.backward += self._arithmetic(x)
        return self.affine.adjoint(s, x, w, 0)

    def weight_gradient(self, s: Tensor, x: Tensor) -> Tensor:
        """The gradient of s . (W x) with respect to W, summed over the batch."""
        assert self.affine is not None
        self.spent.backward += self._arithmetic(x)
        return self.affine.adjoint(s, x, self.w(), 1)

    def native(self, r: Tensor) -> tuple[Tensor, ...]:
        """The operation's own gradient: what autograd would return for r."""
        if self.affine is not None:
            return (self.back(r),)
        if self.kind == "batch_norm":
            assert self.scale is not None
            return (r * self.scale,)
        with torch.enable_grad():
            inputs = [exact(x).detach().requires_grad_() for x in self.inputs]
            return torch.autograd.grad(self.call(*inputs), inputs, r)

    def shared(self, r: Tensor, tolerance: Tensor) -> Tensor:
        """Of a maximum: its gradient for r, in equal parts among all positions of a window that hold it.

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
                held = held.index_select(axis, at.clamp_min(0).flatten()).unflatten(axis, at.shape)
        sizes = [axis + i + 1 for i, (axis, _) in enumerate(tables)]  # axes along which a window lies
        tied = torch.ones((), dtype=torch.bool, device=x.device)
        for axis, (_, at) in zip(sizes, tables, strict=True):
            tied = tied & (at >= 0).view(*at.shape, *[1] * (held.ndim - axis - 1))
        windows = [1 if axis in sizes else side for axis, side in enumerate(held.shape)]
        tied = tied & (held >= self.y.reshape(windows) - tolerance.view(-1, *[1] * (held.ndim - 1)))
        parts = tied * (r.reshape(windows) / tied.sum(sizes, keepdim=True))
        return torch.autograd.grad(held, x, parts)[0]

    def average(self, *inputs: Tensor) -> Tensor:
        """The operation; for a maximum, the mean of the same windows."""
        if self.kind != "max_pool":
            return self.call(*inputs)
        assert self.windows is not None
        return self.windows(*inputs)

    def total(self, t: Tensor) -> Tensor:
        """Sum over all but the batch, (n, 1, ...)."""
        return t.flatten(1).sum(1).view(-1, *[1] * (t.ndim - 1))

    def count(self, t: Tensor) -> Tensor:
        """Number of entries that are not 0, over all but the batch, (n, 1, ...)."""
        return self.total((t != 0).to(t))

    def of_images(self, t: Tensor) -> Tensor:
        """Sum per image, (n,)."""
        own = t.ndim > 1 and len(t) == self.images
        return t.sum(list(range(1, t.ndim))) if own else self._per_image(t).sum(1)

    def size_of_images(self, t: Tensor) -> Tensor:
        """Sum of absolute values per image, (n,)."""
        own = t.ndim > 1 and len(t) == self.images  # without a copy, whatever the memory format
        return torch.linalg.vector_norm(t if own else self._per_image(t), 1, list(range(1, t.ndim)) if own else 1)

    def _per_image(self, t: Tensor) -> Tensor:
        if t.ndim == 0 or len(t) % self.images:  # no image has a part of its own
            return t.reshape(1, -1).expand(self.images, -1)
        return t.reshape(self.images, -1)

    def into_biases(self, s: Tensor, b: Tensor | None) -> None:
        """Book what goes into biases, as inputs that are always 1: the sum of s b."""
        if b is None:
            return
        channels = 1 if self.kind == "conv" else s.ndim - 1
        others = [i for i in range(1, s.ndim) if i != channels]
        went = self.of_images((s.sum(others) if others else s) * b)
        self.booked["biases"] = self.booked["biases"] + went if "biases" in self.booked else went

    def at_dead_ends(self, r: Tensor, z: Tensor) -> None:
        """Book the absolute relevance at denominators of 0, which goes nowhere: sums of both signs don't show it."""
        gone = self.size_of_images(r.masked_fill(z != 0, 0))
        self.booked["dead"] = self.booked["dead"] + gone if "dead" in self.booked else gone

    def within_bounds(self, low: Tensor, high: Tensor) -> None:
        """Book by how much of the bounds' distance inputs leave them, given x - l and x - h: a rule for them is off."""
        beyond = torch.maximum(-low, high) / (low - high)
        self.booked["outside"] = self.of_images(torch.where(beyond > SLACK, beyond, 0.0))

    def _arithmetic(self, x: Tensor) -> float:
        assert self.weight is not None
        per = prod(self.weight.shape) / max(1, self.weight.shape[0])
        return per * prod(self.output.shape[1:]) * len(x)


def exact(t: Tensor) -> Tensor:
    """Return a tensor at float32 or better: half precision is too coarse for the sums of a rule."""
    return t.float() if t.dtype in (torch.float16, torch.bfloat16) else t


def divide_by(r: Tensor, z: Tensor, e: float | Tensor = 0.0) -> Tensor:
    """R / (z + e sgn z), sgn 0 = 1; for e = 0, 0 where z = 0."""
    if isinstance(e, float | int) and e == 0:
        return torch.where(z != 0, r / torch.where(z != 0, z, 1), 0)
    if isinstance(e, float | int) and e < 0:
        raise InvalidOption(f"a stabiliser of {e:g} is below 0")
    return r / torch.where(z >= 0, z + e, z - e)
