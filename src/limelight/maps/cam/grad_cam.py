"""Grad-CAM."""

from limelight.card import register_method
from limelight.ops.space import axes
from limelight.shapes import Acts, Grid


@register_method("grad-cam", family="gradient CAM", cites="selvaraju2017", cost="1 F + 1 R_t")
def grad_cam(acts: Acts, grads: Acts) -> Grid:
    """Channels weighted by their mean gradient.

    L = sum_k w_k A_k with w_k the spatial mean of G_k: the map of the paper before its ReLU.

    Args:
        acts: A, (n, k, *place).
        grads: G, the gradient of the score with respect to A.

    Returns:
        (n, *place), signed.

    Source: Selvaraju et al. 2017, eqs. 1 and 2.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "grad-cam", target="star", layer="layer3")
        >>> explanation.map.shape, explanation.map.max().item()
        (torch.Size([128, 128]), 1.0)
    """
    w = grads.mean(axes(grads, 2), keepdim=True)  # n k 1 1
    return (w * acts).sum(1)
