"""Relevance-CAM."""

from typing import Literal

import torch
from torch import Tensor

from limelight.card import register_method
from limelight.ops.space import axes
from limelight.relevance.affine_rules import AlphaBeta
from limelight.relevance.op import Op
from limelight.relevance.recording import Recording
from limelight.relevance.rules import Rules
from limelight.relevance.simple_rules import Proportional
from limelight.shapes import Acts, Grid, Index, Logits

Others = Literal["1/K", "1/(K-1)"]


def pooled(op: Op, r: Tensor) -> tuple[Tensor, ...]:
    """Share in proportion to the inputs; for a mean over whole maps to those above 0."""
    return Proportional(0.0, clamp=not op.function.startswith("avg_pool"))(op, r)


RULES = Rules(
    {
        "affine": AlphaBeta(e=0.0, bias="exclude"),
        "avg_pool": pooled,
        "add": Proportional(0.0),
    },
    fuse=False,
)
"""Positive contributions only, without biases and stabilisers; normalisation hands relevance on, maxima to winners."""


def contrast(logits: Logits, target: Index, others: Others = "1/K") -> Logits:
    """Return 1 for the target and an equal negative share for every other of the K classes."""
    k = logits.shape[1]
    share = k if others == "1/K" else max(1, k - 1)
    return torch.full_like(logits, -1 / share).scatter_(1, target[:, None], 1.0)


@register_method("relevance-cam", family="propagation", cites="lee2021", cost="1 F + 1 F_t + 1 R_t")
def relevance_cam(
    recording: Recording, logits: Logits, target: Index, layer: str, acts: Acts, *, others: Others = "1/K"
) -> Grid:
    """Channels weighted by their mean relevance, which sets the class against all others.

    L = sum_k w_k A_k with w_k the spatial mean of R_k, the relevance that z-plus without biases brings to the layer
    from 1 at the class and -1/K at each other. It adds up to 1/K at every layer.

    Args:
        recording: the recorded pass.
        logits: class scores, (n, K).
        target: classes, (n,).
        layer: where propagation stops.
        acts: A, its output, (n, k, *place).
        others: what is taken off for each other class; ``1/(K-1)`` makes the sum 0.

    Returns:
        (n, *place), signed.

    Source: Lee et al. 2021.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "relevance-cam", others="1/(K-1)")
        >>> explanation.label, explanation.map.shape
        ('star', torch.Size([128, 128]))
    """
    r = recording.to_layer(RULES, recording.logits, recording.seed(contrast(logits, target, others)), layer)
    return (r.mean(axes(r, 2), keepdim=True) * acts).sum(1)
