"""Guided backprop and the deconvnet: gradients that only pass on what is above 0."""

import warnings

import torch
from torch import Tensor

from limelight.card import register_method
from limelight.engine.saliency import Raw
from limelight.errors import ConservationWarning
from limelight.maps.pixel.gradient import Reduce, Smooth, smoothed
from limelight.relevance.op import Op
from limelight.relevance.recording import Recording
from limelight.relevance.rule import AffineRule
from limelight.relevance.rules import GRADIENT
from limelight.shapes import Images

LIKE_RELU = frozenset(
    {"leaky_relu", "leaky_relu_", "prelu", "rrelu", "elu", "elu_", "selu", "selu_", "celu"}
    | {"silu", "gelu", "mish", "hardswish", "softplus"}
)
"""Activations that stand in for a ReLU but let something of the negative side through."""


def rectifies(op: Op) -> bool:
    """Whether an activation is 0 wherever its input is below 0: a ReLU, under whatever name, or one with a ceiling."""
    return not bool(op.call(torch.full_like(op.inputs[0][:1], -1.0)).any())


def guided(op: Op, r: Tensor) -> Tensor:
    """R' = R where R > 0 and x > 0, else 0; of what is no ReLU but like one, the positive part of its gradient."""
    (share,) = op.native(r)
    return share.clamp_min(0) if op.function in LIKE_RELU or rectifies(op) else share


def deconvolved(op: Op, r: Tensor) -> Tensor:
    """R' = R where R > 0, else 0, whatever the input was; ``guided`` for what is no ReLU."""
    return r.clamp_min(0) if rectifies(op) else guided(op, r)


def pass_score_back(recording: Recording, activation: AffineRule) -> Images:
    """Return the gradient of the score with respect to the images, with another rule for activations.

    Raises:
        UnsupportedModel: parts of the network are scripted, so that their activations can't be seen.
    """
    recording.refuse_hidden_calls("where the ReLUs would be passed by their gradient")
    rules, seed = GRADIENT.but(activation=activation), torch.ones_like(recording.score)
    return recording.relevance(rules, recording.score, seed, [recording.image], audit=False)[0]


def remarks(recording: Recording) -> tuple[str, ...]:
    """Warn, and return what is to be noted, of activations for which the rules are not defined."""
    unlike = sorted({op.function for op in recording.ops if op.function in LIKE_RELU})
    if not unlike:
        return ()
    remark = f"the rule is defined for ReLUs; of {', '.join(unlike)} the positive part of the gradient was passed on"
    warnings.warn(remark, ConservationWarning, stacklevel=3)
    return (remark,)


@register_method("guided-backprop", family="pixel gradient", cites="springenberg2015", cost="1 F + 1 R", layers="none")
def guided_backprop(recording: Recording, *, reduce: Reduce = "abs-max", smooth: Smooth = 0.0) -> Raw:
    """The gradient along the paths where every ReLU is active and gets a positive gradient.

    An ordinary backward pass in which each ReLU hands R' = R [R > 0] [x > 0] on; the map is max_colour |R|. It shows
    edges that the features in play respond to, and hardly depends on the class or on the upper layers.

    Args:
        recording: the recorded pass.
        reduce: how the colours are put together.
        smooth: standard deviation of a Gaussian over the map, as a share of its longer side; the pointing game's
            benchmark takes 0.02.

    Returns:
        (n, *space), signed for ``reduce="sum"``.

    Raises:
        UnsupportedModel: parts of the network are scripted, so that their activations can't be seen.

    Source: Springenberg et al. 2015, figure 1c.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "guided-backprop")
        >>> explanation.map.shape, str(explanation.cost)
        (torch.Size([128, 128]), '1 F + 1 R')
    """
    return Raw(smoothed(pass_score_back(recording, guided), reduce, smooth), notes=remarks(recording))


@register_method("deconvnet", family="pixel gradient", cites="zeiler2014", cost="1 F + 1 R", layers="none")
def deconvnet(recording: Recording, *, reduce: Reduce = "abs-max", smooth: Smooth = 0.0) -> Raw:
    """The gradient where each ReLU rectifies the gradient itself, whatever its input was.

    An ordinary backward pass in which each ReLU hands R' = R [R > 0] on and maxima keep their switches; the map is
    max_colour |R|.

    Args:
        recording: the recorded pass.
        reduce: how the colours are put together.
        smooth: standard deviation of a Gaussian over the map, as a share of its longer side; the pointing game's
            benchmark takes 0.02.

    Returns:
        (n, *space), signed for ``reduce="sum"``.

    Raises:
        UnsupportedModel: parts of the network are scripted, so that their activations can't be seen.

    Source: Zeiler and Fergus 2014, section 2.1.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "deconvnet", reduce="sum")
        >>> bool((explanation.raw < 0).any())  # the sum of the colours keeps its sign
        True
    """
    return Raw(smoothed(pass_score_back(recording, deconvolved), reduce, smooth), notes=remarks(recording))
