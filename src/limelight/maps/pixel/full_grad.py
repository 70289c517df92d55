"""FullGrad."""

from collections.abc import Collection, Sequence
from math import prod

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from limelight.card import register_method
from limelight.engine.saliency import Raw
from limelight.maps.pixel.gradient import at_least_single
from limelight.model.spatial_layout import MOST_PREFIX_TOKENS
from limelight.ops.space import MODES, axes, size_of
from limelight.relevance.op import Op, at_least_float32
from limelight.relevance.recording import Recording
from limelight.relevance.rule import as_shares
from limelight.relevance.rules import Rules
from limelight.relevance.simple_rules import take_apart
from limelight.shapes import Acts, Images, Maps, Scores

LAYERS = ("conv", "linear", "batch_norm")
IMPLICIT = (
    *("activation", "norm", "scale", "shift", "multiply", "product", "quotient", "statistic"),
    *("matmul", "softmax", "cat"),
)
HOMOGENEOUS = frozenset({"relu", "relu_", "leaky_relu", "leaky_relu_", "prelu", "rrelu"})
"""Activations with f(z) = z f'(z), which leave nothing over."""


def bias_of(op: Op) -> Tensor | None:
    """The bias of a layer, in a shape to be multiplied with its output."""
    if op.affine is None:  # batch normalisation
        return at_least_float32(op.call(torch.zeros_like(op.inputs[0])))
    b = op.b()
    return b if b is None or op.kind == "linear" else b.view(-1, *[1] * (op.y.ndim - 2))


def implicit_bias(op: Op, g: Tensor, shares: Sequence[Tensor | None]) -> tuple[Scores, Tensor | None]:
    """G . (f(z) - J z): what an operation adds beyond its slope J, times the gradient at its output.

    Args:
        op: one that is no layer.
        g: G.
        shares: J^T G, for every input.

    Returns:
        Its sum, (n,), and, where inputs and output are of one shape, its values.
    """
    if op.function in HOMOGENEOUS:
        return g.new_zeros(op.images), None
    gy, moved = g * op.y, [at_least_float32(x) * s for x, s in zip(op.inputs, shares, strict=False) if s is not None]
    total = op.sum_per_image(gy) - sum(map(op.sum_per_image, moved))
    return total, gy - sum(moved) if all(m.shape == gy.shape for m in moved) else None


def spread(piece: Acts) -> Acts:
    """psi: magnitudes from 0 to 1, per image."""
    size = piece.abs()
    size = size - size.amin(axes(size), keepdim=True)
    return size / (size.amax(axes(size), keepdim=True) + 1e-6)


def as_maps(op: Op, piece: Tensor | None, grids: Collection[tuple[int, ...]], x: Images) -> Acts | None:
    """Return a piece as maps, if it is some or tokens, (n, prefix + positions, k), of which the prefix is left out.

    Args:
        op: whose it is.
        piece: of any shape.
        grids: the sizes of maps that are known.
        x: the images.
    """
    if piece is None or len(piece) != len(x):  # windows beside one another
        return None
    if op.kind != "linear" and piece.ndim == x.ndim and piece.shape[2:] in grids:
        return piece
    fits = [grid for grid in grids if piece.ndim == 3 and 0 <= piece.shape[1] - prod(grid) <= MOST_PREFIX_TOKENS]
    if len(fits) != 1 or x.ndim == 3 or prod(fits[0]) == 1:
        return None
    tokens = piece[:, -prod(fits[0]) :]
    return tokens.transpose(1, 2).reshape(len(tokens), -1, *fits[0])


def draw(piece: Acts, size: tuple[int, ...]) -> Maps:
    """Sum of psi over the channels of a piece, at the size of the image."""
    return interpolate(spread(piece).sum(1, keepdim=True), size, mode=MODES[len(size)], align_corners=True)[:, 0]


@register_method("full-grad", family="pixel gradient", cites="srinivas2019", cost="1 F + 1 R", layers="none")
def full_grad(
    recording: Recording, derivatives: Rules, score: Scores, *, simple: bool = False, implicit: bool = True
) -> Raw:
    """What the pixels and every bias add to the score; together they make up all of it.

    y = sum x . dy/dx + sum_l b_l . dy/dz_l, with z_l the output of a layer that has a bias; L = sum over the channels
    of psi(x . dy/dx) and of psi(b_l . dy/dz_l) of every layer with maps or tokens, where psi takes magnitudes, scales
    them to [0, 1] and resizes. Of a transformer biases alone make up the rest with ``balance="libra"``.

    Args:
        recording: the recorded pass.
        derivatives: the rules by which gradients go back along it.
        score: y, (n,).
        simple: take dy/dz_l instead of b_l . dy/dz_l.
        implicit: also take what is no bias of a layer but works like one: f(z) - z f'(z) of an activation that is no
            straight line through 0, constants that are added (positions, a class token, the bias of a normalisation),
            products. Without them the sum is not y.

    Returns:
        (n, *space), not negative. In ``details`` the ``completeness_gap``, how far the sum is from y; operations
        without a rule, and scores other than the logit, leave one.

    Raises:
        UnsupportedModel: parts of the network are scripted, so that their biases can't be seen.

    Source: Srinivas and Fleuret 2019.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "full-grad")
        >>> bool(explanation.details["completeness_gap"] < 1e-3)
        True
    """
    recording.refuse_hidden_calls("whose biases would be left out")
    x = at_least_single(recording.image.detach())
    size = size_of(x)
    total, raw = x.new_zeros(len(x)), torch.zeros_like(x[:, 0])
    # Only there are the axes sure to be those of maps: some networks keep channels last in between.
    grids = {op.output.shape[2:] for op in recording.ops if op.kind in ("conv", "batch_norm", "max_pool", "avg_pool")}

    def note(op: Op, g: Tensor) -> Sequence[Tensor | None]:
        shares = as_shares(derivatives.find(op)[1](op, g))
        if op.kind in LAYERS:
            b = bias_of(op)
            piece = None if b is None else g * b
            total.add_(0 if piece is None else op.sum_per_image(piece))
        else:
            amount, piece = implicit_bias(op, g, shares) if implicit else (0, None)
            total.add_(amount)
        shown = piece is not None and (op.kind in LAYERS or not simple)
        maps = as_maps(op, g if simple else piece, grids, x) if shown else None
        if maps is not None:
            raw.add_(draw(maps, size))
        return shares

    rules = derivatives.but(**dict.fromkeys((*LAYERS, *IMPLICIT), note), attention=take_apart)
    seed = torch.ones_like(recording.score)
    (gradient,) = recording.relevance(rules, recording.score, seed, [recording.image], audit=False)
    of_image = x * gradient
    gap = total + of_image.sum(axes(of_image)) - score
    return Raw(raw + draw(of_image, size), {"completeness_gap": gap.abs()})
