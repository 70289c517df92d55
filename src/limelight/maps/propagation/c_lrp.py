"""Contrastive layer-wise relevance propagation."""

from typing import Literal

import torch
from torch import Tensor

from limelight.card import register_method
from limelight.engine.saliency import Raw
from limelight.maps.propagation.excitation_backprop import Negated, for_one_output
from limelight.ops.space import axes
from limelight.relevance.affine_rules import AlphaBeta, Box
from limelight.relevance.composites import Composite, rules_of
from limelight.relevance.op import divide_by
from limelight.relevance.recording import Recording
from limelight.relevance.rules import Rules
from limelight.relevance.simple_rules import Proportional, only_active
from limelight.shapes import Index, Logits

Variant = Literal["others", "clrp1", "clrp2", "sglrp"]


def negate_last(recording: Recording, rules: Rules) -> Rules:
    """Return a table in which the weights of the last affine operation are negated, under the rule that it has."""
    last = next(op for op in reversed(recording.ops) if op.last)
    return rules.but(last=Negated(rules.find(last)[1]))


@register_method(
    "c-lrp",
    family="propagation",
    cites="gu2018",
    cost="3 F + 2 R",
    layers="stop",
)
def c_lrp(
    recording: Recording,
    logits: Logits,
    target: Index,
    bounds: tuple[Tensor, Tensor],
    stop: str | None,
    *,
    variant: Variant = "others",
    composite: Literal["z-plus"] | Composite = "z-plus",
) -> Raw:
    """Relevance for the class minus relevance for a contrast of the same total, so that what both share cancels.

    R_t - R_o (sum R_t / sum R_o), both by the same rules.

    Args:
        recording: the recorded pass.
        logits: class scores, (n, classes).
        target: classes, (n,).
        bounds: black and white, (3, 1, 1) each.
        stop: the layer at which relevance is stopped, if any.
        variant: what the contrast starts from: ``others``, the score in equal shares at all other classes; ``clrp1``,
            each other class's own score, and both maps are divided by their totals; ``clrp2``, the class itself with
            the weights of the last affine operation negated; ``sglrp``, how much each other class takes from the
            class in a softmax.
        composite: a table of rules, see ``lrp``; ``z-plus`` takes positive contributions everywhere, without biases,
            and the box rule between the image's own extremes at the first operation.

    Returns:
        (n, *space), signed, with a total of 0; (n, *place) at a layer.

    Source: Gu et al. 2018; ``sglrp`` after Iwana et al. 2019.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "c-lrp", variant="others")
        >>> bool(explanation.raw.sum().abs() < 1e-3)  # what is for the class, less as much for the others
        True
    """
    rules = contrast_rules(recording) if composite == "z-plus" else rules_of(composite, bounds)
    for_class, for_contrast = starts(logits, target, variant)
    r_t = recording.from_outputs(rules, for_class, stop)
    r_o = recording.from_outputs(negate_last(recording, rules) if variant == "clrp2" else rules, for_contrast, stop)
    total_t, total_o = (r.sum(axes(r), keepdim=True) for r in (r_t, r_o))
    if variant == "clrp1":
        r_t, total_t = divide_by(r_t, total_t), torch.ones_like(total_t)
    return Raw((r_t - r_o * divide_by(total_t, total_o)).sum(1))


def starts(logits: Logits, target: Index, variant: Variant) -> tuple[Logits, Logits]:
    """Return the relevance of the classes from which the map and its contrast start."""
    chosen = torch.zeros_like(logits).scatter_(1, target[:, None], 1.0)
    others, score = 1 - chosen, (logits * chosen).sum(1, keepdim=True).abs()
    if variant == "sglrp":
        p = logits.softmax(1)
        p_t = (p * chosen).sum(1, keepdim=True)
        return chosen * (p_t * (1 - p_t) + 1e-8), others * p_t * p
    contrast = {
        "others": others * score / (logits.shape[1] - 1),
        "clrp1": others * logits.abs(),
        "clrp2": chosen * score,
    }
    return chosen * score, contrast[variant]


def contrast_rules(recording: Recording) -> Rules:
    """Return positive contributions everywhere, without stabiliser and biases."""
    z_plus = AlphaBeta(e=0.0, bias="exclude")
    return Rules(
        {
            "first": Box(),
            "last": for_one_output(z_plus, recording),
            "affine": z_plus,
            "batch_norm": only_active,
            "avg_pool": Proportional(0.0),
            "add": Proportional(0.0),
        },
        fuse=False,
    )
