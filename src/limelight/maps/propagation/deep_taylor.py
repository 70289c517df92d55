"""Deep Taylor decomposition."""

from typing import Literal

from torch import Tensor

from limelight.card import register_method
from limelight.engine.saliency import Raw
from limelight.maps.propagation.excitation_backprop import for_one_output
from limelight.relevance.affine_rules import AlphaBeta, Box, Squared
from limelight.relevance.recording import Recording
from limelight.relevance.rules import Rules
from limelight.relevance.simple_rules import Proportional, native
from limelight.shapes import Logits


@register_method(
    "deep-taylor",
    family="propagation",
    cites="montavon2017",
    cost="2 F + 1 R",
    layers="stop",
)
def deep_taylor(
    recording: Recording,
    logits: Logits,
    bounds: tuple[Tensor, Tensor],
    stop: str | None,
    *,
    inputs: Literal["bounded", "unbounded"] = "bounded",
    max_pool: Literal["winner", "proportional"] = "winner",
) -> Raw:
    """A positive score handed back by Taylor expansion at the nearest root that each operation's domain allows.

    The domain of the first operation is the box of pixels from black to white, that of the others what is not
    negative: R' = x . W+^T (R / W+ x). Biases are left out, so that the map adds up to the score. A score that is not
    above 0 is not decomposed: its map is 0.

    Args:
        recording: the recorded pass.
        logits: class scores, (n, classes).
        bounds: black and white, (3, 1, 1) each.
        stop: the layer at which relevance is stopped, if any.
        inputs: ``unbounded`` takes any number for a pixel: shares in proportion to the squared weights.
        max_pool: whether a maximum hands all to its winner, or to each input in proportion.

    Returns:
        (n, H, W), at least 0 where the activations are; (n, h, w) at a layer.

    Source: Montavon et al. 2017: the z+ rule, and at the pixels the zB rule.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "deep-taylor")
        >>> abs(float(explanation.raw.sum()) / explanation.score - 1) < 0.02  # the map adds up to the score
        True
    """
    z_plus = AlphaBeta(e=0.0, bias="exclude")
    rules = Rules(
        {
            "first": Box(bounds) if inputs == "bounded" else Squared(e=0.0, bias="exclude"),
            "last": for_one_output(z_plus, recording),
            "affine": z_plus,
            "avg_pool": Proportional(0.0),
            "add": Proportional(0.0),
            "max_pool": native if max_pool == "winner" else Proportional(0.0),
        }
    )
    positive = recording.start.gradient * logits.clamp_min(0)
    return Raw(recording.from_outputs(rules, positive, stop).sum(1))
