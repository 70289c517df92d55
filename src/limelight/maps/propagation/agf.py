"""Attribution guided factorisation: relevance that is guided by activations and gradients."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from limelight.card import register_method
from limelight.engine.saliency import Raw
from limelight.ops import scale
from limelight.ops.linalg import solve
from limelight.relevance.affine_rules import Box
from limelight.relevance.op import Op
from limelight.relevance.recording import Recording
from limelight.relevance.rule import Rule, absorbing
from limelight.relevance.rules import GRADIENT, Rules
from limelight.relevance.simple_rules import keep
from limelight.shapes import Index, Logits, Scores

TINY = 1e-9


def divide(a: Tensor, b: Tensor, e: int | float = TINY) -> Tensor:
    """Return a / (b + e), and 0 where b = 0: the division of this method."""
    safe = b + e
    return torch.where(b != 0, a / torch.where(safe != 0, safe, e), 0)


def shift(c: Tensor, more: Tensor) -> Tensor:
    """Return C + D - [C != 0] sum D / #{C != 0}: relevance is moved about, its sum stays. D counts where C is not 0."""
    reached = (c != 0).flatten(1).to(c)
    change = more.flatten(1) * reached
    return c + (change - reached * scale.divide(change.sum(1), reached.sum(1))[:, None]).view_as(c)


def highest(t: Tensor) -> Tensor:
    """Return the largest value of each image, (n, 1, ...)."""
    return t.flatten(1).amax(1).view(-1, *[1] * (t.ndim - 1))


def mean_of_channels(t: Tensor) -> Tensor:
    """Return the mean over channels, in the shape of what was given."""
    return t.mean(1, keepdim=True).expand_as(t)


# -- where relevance and gradient begin ----------------------------------------------------------------------


def sharpen(logits: Logits, target: Index) -> Scores:
    """Return the softmax of y_t exp(-((y_c - y_t) / sigma)^2 / 2) over the classes c, at t; sigma = max |y_c - y_t|.

    A class that is close to the target in score stays close, the others are brought to their distance.
    """
    own = logits.gather(1, target[:, None])
    away = logits - own
    sigma = away.abs().amax(1, keepdim=True).clamp_min(torch.finfo(logits.dtype).tiny)
    return (own * (-(away / sigma).square() / 2).exp()).softmax(1).gather(1, target[:, None])[:, 0]


def gradient_of_sharpened(logits: Logits, target: Index) -> Logits:
    """Return the gradient of the sharpened score."""
    with torch.enable_grad():
        y = (logits if logits.dtype == torch.float64 else logits.float()).detach().requires_grad_()
        return torch.autograd.grad(sharpen(y, target).sum(), y)[0]


def gradient_at_outputs(recording: Recording, logits: Logits, target: Index) -> Tensor:
    """Return the gradient of the sharpened score at what the network gave, (n, outputs)."""
    gradient = gradient_of_sharpened(logits, target)
    if gradient.shape != recording.logits.shape:  # one output z, whose classes score -z/2 and z/2
        return recording.seed(gradient) / 2
    return gradient


# -- rules -----------------------------------------------------------------------------------------------------


@absorbing
def absolute(op: Op, r: Tensor) -> Tensor:
    """Share by absolute contributions: C = |x| . |W|^T (R / |W| |x|)."""
    x = op.x.abs()
    z = op.forward(x, "absolute")
    op.audit_dead_ends(r, z)
    return x * op.back(divide(r, z), "absolute")


@absorbing
def gate(op: Op, r: Tensor) -> Tensor:
    """Hand on R x / (x + 1e-9) where x > 0, of a ReLU; of other activations all."""
    return r * divide(op.y, op.x) if op.function in ("relu", "relu_") else r


@absorbing
def in_proportion(op: Op, r: Tensor) -> tuple[Tensor, ...]:
    """Share by pools and sums, R'_i = x_i . pool^T (R / pool(x)); all to the winner of a maximum."""
    shares = op.native(divide(r, op.y))
    return tuple(x * s for x, s in zip(op.inputs, shares, strict=True))


UNGUIDED: Mapping[str, Rule] = {
    "first": Box(None, TINY, divide),
    "batch_norm": keep,
    "activation": gate,
    "max_pool": in_proportion,
    "avg_pool": in_proportion,
    "add": in_proportion,
}
"""The rules that need no gradient."""


@dataclass(frozen=True)
class Last:
    """R = x . dS/dx at the input of the last affine operation, whatever came.

    Attributes:
        gradients: of S, at the output of every operation.
    """

    gradients: Mapping[Op, Tensor] = field(repr=False)
    absorbs = True

    def __call__(self, op: Op, r: Tensor) -> Tensor:
        """Return the relevance of the input."""
        op.audit_biases(self.gradients[op], op.b())
        return op.x * op.back(self.gradients[op])


@dataclass(frozen=True)
class Spread:
    """A linear operation hands relevance on by |x| |W|; behind a flattened map, guided by its gradient too.

    Attributes:
        gradients: of S, at the output of every operation.
        flattened: shape of the map of which an operation's input is the flat form.
        use_m: whether the gradient guides.
    """

    gradients: Mapping[Op, Tensor] = field(repr=False)
    flattened: Mapping[Op, torch.Size] = field(repr=False)
    use_m: bool = True
    absorbs = True

    def __call__(self, op: Op, r: Tensor) -> Tensor:
        """Return the relevance of the input."""
        c = absolute(op, r)
        if op not in self.flattened or not self.use_m:
            return c
        product = (op.x * op.back(self.gradients[op])).view(self.flattened[op])
        m = mean_of_channels(product).reshape_as(c).relu() * (c != 0)
        return shift(c, divide(m, highest(m)))

    def law(self, op: Op, r: Tensor, incoming: Scores, size: Scores) -> tuple[Scores, Scores]:
        """Return what came, and any size; see ``Guided``."""
        return incoming, torch.full_like(size, torch.inf)


@dataclass(frozen=True)
class Guided:
    """A convolution hands relevance on by |x| |W| and moves it to where activation, gradient and weights point.

    With G the gradient of S at the output, m = [R != 0], g = W^T G and / as in ``divide``, all per image:

        C  = |x| . |W|^T (R / |W| |x|)
        M  = ReLU(mean of x . g over channels) / max
        A  = |W|^T (R / |W| 1)
        D  = (F(x) + M) / (1 + exp(-C)) + F(W^T (G . m)) + A
        R' = C + D - [C != 0] sum D / #{C != 0}, D = 0 where C = 0

    F(H) sets the positions of positive relevance apart from those of negative: with h = sigmoid(10 H / max H), the mean
    of h over either as columns of Q, and U = ReLU((Q^T Q + 1)^-1 Q^T h), it is ReLU(U_positive - U_negative).

    Attributes:
        gradients: of S, at the output of every operation.
        flat: operations that only do R' = C.
        use_a: whether there is A.
        use_fx: whether there is F(x).
        use_fdx: whether there is F(W^T (G . m)).
        use_m: whether there is M.
        use_reg: whether F(x) + M is divided.
        gradcam: put the Grad-CAM of the input in the place of F(x) + M.
    """

    gradients: Mapping[Op, Tensor] = field(repr=False)
    flat: frozenset[Op] = field(default_factory=frozenset[Op], repr=False)
    use_a: bool = True
    use_fx: bool = True
    use_fdx: bool = True
    use_m: bool = True
    use_reg: bool = True
    gradcam: bool = False
    absorbs = True

    def __call__(self, op: Op, r: Tensor) -> Tensor:
        """Return the relevance of the input."""
        c = absolute(op, r)
        if op in self.flat:
            return c
        more = self._activations(op, c)
        if self.use_reg:
            more = divide(more, 1 + (-c).exp())
        if self.use_fdx:
            more = more + factorise(op.back(self.gradients[op] * (r != 0)), c)
        if self.use_a:
            more = more + op.back(divide(r, op.forward(torch.ones_like(op.x), "absolute")), "absolute")
        return shift(c, more)

    def law(self, op: Op, r: Tensor, incoming: Scores, size: Scores) -> tuple[Scores, Scores]:
        """Return what came, and any size.

        What is moved about adds up to 0, and is of the order of 1 at each position, whatever came. Relevance is lost
        only to the stabiliser of C, and where its denominator is 0.
        """
        return incoming, torch.full_like(size, torch.inf)

    def _activations(self, op: Op, c: Tensor) -> Tensor:
        """Return F(x) + M."""
        more = torch.zeros_like(c)
        if self.gradcam or self.use_m:
            g = op.back(self.gradients[op])
            if self.gradcam:
                return mean_of_channels(op.x * g.flatten(2).mean(2).view(*g.shape[:2], *[1] * (g.ndim - 2))).relu()
            m = mean_of_channels(op.x * g).relu()
            more = more + divide(m, highest(m))
        return more + factorise(op.x, c) if self.use_fx else more


def factorise(values: Tensor, relevance: Tensor) -> Tensor:
    """Return F: where values are alike those at positions of positive relevance, and unlike those of negative.

    Args:
        values: (n, k, ...).
        relevance: at the same positions, (n, k, ...).

    Returns:
        At least 0, the same in each channel; (n, k, ...).
    """
    h = (10 * divide(values, highest(values))).sigmoid().flatten(2)
    sign = relevance.mean(1).flatten(1)
    sides = torch.stack([sign < 0, sign > 0], 2).to(h)  # (n, positions, 2)
    q = divide(h @ sides, sides.sum(1, keepdim=True))  # (n, k, 2)
    ridge = torch.eye(2, dtype=h.dtype, device=h.device)
    u = solve(q.mT @ q + ridge, q.mT @ h).relu()
    return (u[:, 1] - u[:, 0]).relu().view(len(h), 1, *values.shape[2:]).expand_as(values)


# -- what the network looks like -------------------------------------------------------------------------------


def convolutions(recording: Recording) -> frozenset[Op]:
    """Return every convolution of the pass."""
    return frozenset(op for op in recording.ops if op.kind == "conv")


def flat_convolutions(recording: Recording) -> frozenset[Op]:
    """Return convolutions that only mix channels, and those that end a branch: their output is summed with another's.

    Those are the last one and the shortcut's of a residual block.
    """

    def mark(op: Op, r: Tensor) -> tuple[Tensor, ...]:
        """Hand 1 on, whatever came."""
        return tuple(torch.ones_like(x) for x in op.inputs)

    def clear(op: Op, r: Tensor) -> tuple[Tensor, ...]:
        """Hand 0 on, whatever came."""
        return tuple(torch.zeros_like(x) for x in op.inputs)

    stops = dict.fromkeys(("affine", "activation", "max_pool", "avg_pool"), clear)
    marks = recording.at_operations(
        Rules({**stops, "add": mark}, fuse=False), recording.logits, torch.zeros_like(recording.logits)
    )
    return frozenset(
        op for op in convolutions(recording) if op.w()[0, 0].numel() == 1 or (op in marks and bool(marks[op].any()))
    )


def flattened_maps(recording: Recording) -> dict[Op, torch.Size]:
    """Return linear operations whose input is the flat form of a map, with its shape."""
    shapes: dict[Op, torch.Size] = {}
    for i, op in enumerate(recording.ops):
        x = op.inputs[0]
        if op.kind == "linear" and x.ndim == 2:
            before = (m.output for m in reversed(recording.ops[:i]) if m.output.ndim == 4 and m.output.dtype == x.dtype)
            shape = next((m.shape for m in before if m.numel() == x.numel() and torch.equal(m.flatten(1), x)), None)
            if shape is not None:
                shapes[op] = shape
    return shapes


@register_method("agf", family="propagation", cites="gur2021", cost="3 F + 5 R", layers="stop")
def agf(
    recording: Recording,
    logits: Logits,
    target: Index,
    stop: str | None,
    *,
    flat: bool = False,
    no_a: bool = False,
    no_fx: bool = False,
    no_fdx: bool = False,
    no_m: bool = False,
    no_reg: bool = False,
    gradcam: bool = False,
) -> Raw:
    """Relevance that is moved, layer by layer, to where activations and gradients set the class apart.

    Relevance and gradient begin at S, the softmax at the target of scores that a Gaussian around the target's has
    sharpened: relevance at the input of the last affine operation is x . dS/dx.

    Args:
        recording: the recorded pass.
        logits: class scores, (n, classes).
        target: classes, (n,).
        stop: the layer at which relevance is stopped, if any.
        flat: every convolution only hands relevance on by |x| |W|, as those with kernels of 1 x 1 and those at the
            end of a branch always do.
        no_a: leave the weights' share out.
        no_fx: leave the factorised activations out.
        no_fdx: leave the factorised gradients out.
        no_m: leave the product of activations and gradients out.
        no_reg: do not divide by 1 + exp(-C).
        gradcam: use Grad-CAM instead of factorised activations and that product.

    Returns:
        The sum over channels after division by the largest value, signed: (n, H, W), or (n, h, w) at a layer.

    Source: Gur et al. 2021, and the authors' code.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "agf", layer="layer3")
        >>> explanation.map.shape, bool((explanation.raw < 0).any())
        (torch.Size([128, 128]), True)
    """
    gradient = gradient_at_outputs(recording, logits, target)
    gradients = recording.at_operations(GRADIENT, recording.logits, gradient)
    conv = Guided(
        gradients,
        convolutions(recording) if flat else flat_convolutions(recording),
        use_a=not no_a,
        use_fx=not no_fx,
        use_fdx=not no_fdx,
        use_m=not no_m,
        use_reg=not no_reg,
        gradcam=gradcam,
    )
    linear = Spread(gradients, flattened_maps(recording), use_m=not no_m)
    rules = Rules({**UNGUIDED, "last": Last(gradients), "conv": conv, "linear": linear}, fuse=False)
    relevance = recording.from_outputs(rules, gradient * recording.logits.detach(), stop)
    top = highest(relevance)
    return Raw((relevance / torch.where(top > 0, top, 1)).sum(1))
