"""Raw attention."""

from limelight.card import register_method
from limelight.engine.attention import Attentions
from limelight.shapes import Grid


@register_method(
    "raw-attention", family="attention", cites="dosovitskiy2021", cost="1 F", layers="none", class_sensitive=False
)
def raw_attention(attention: Attentions) -> Grid:
    """Attention of the last block, as the head reads it; the same for every class.

    L = mean_h A_h of the last block, in the row of the class token, or averaged over the rows of the tokens that the
    head averages.

    Args:
        attention: A of every block, (n, heads, tokens, tokens).

    Returns:
        (n, *grid), at least 0.

    Source: the attention of Dosovitskiy et al. 2021, as it is.

    Example:
        >>> explanation = ll.explain("demo/vit", ll.example_image(), "raw-attention")
        >>> explanation.raw.shape
        torch.Size([8, 8])
    """
    return attention.of_last(lambda a: a.weights.mean(1))
