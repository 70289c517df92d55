"""Generic attention explainability."""

import torch
from torch import Tensor

from limelight.card import register_method
from limelight.engine.attention import Attentions
from limelight.shapes import Grid


@register_method(
    "generic-attention",
    family="attention",
    cites="chefer2021generic",
    cost="1 F + 1 R",
    layers="none",
    profiles={"clip-notebook": {"start_layer": -1}},
)
def generic_attention(attention_gradients: Attentions, *, start_layer: int = 0) -> Grid:
    """Attention where its gradient is positive, carried through all blocks.

    R_l = R_{l-1} + mean_h (G_l A_l)^+ R_{l-1} with R_0 = I and G = dS/dA, in the row that the head reads.

    Args:
        attention_gradients: A of every block and the gradient of the score with respect to it, (n, heads, tokens,
            tokens) each.
        start_layer: the first block that counts, from 0; below 0 from the end.

    Returns:
        (n, *grid), at least 0.

    Source: Chefer, Gur and Wolf 2021 (ICCV), equations 5 and 6.

    Example:
        >>> explanation = ll.explain("demo/vit", ll.example_image(), "generic-attention", target="star")
        >>> explanation.map.shape
        torch.Size([128, 128])
    """

    def mix(a: Tensor) -> Tensor:
        return torch.eye(a.shape[-1]).to(a) + a

    return attention_gradients.compose(lambda a: (a.gradient * a.weights).relu().mean(1), mix, start_layer)
