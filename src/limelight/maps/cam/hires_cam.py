"""HiRes-CAM."""

from limelight.card import register_method
from limelight.shapes import Acts, Grid


@register_method("hires-cam", family="gradient CAM", cites="draelos2020", cost="1 F + 1 R_t")
def hires_cam(acts: Acts, grads: Acts) -> Grid:
    """Gradient times activation at every position.

    L = sum_k G_k A_k. On "flatten + linear" heads the sum over positions is the score without its bias.

    Args:
        acts: A, (n, k, *place).
        grads: G, the gradient of the score with respect to A.

    Returns:
        (n, *place), signed.

    Source: Draelos and Carin 2020.

    Example:
        >>> mean, hires = ll.explain("demo/resnet", ll.example_image(), ["grad-cam", "hires-cam"])[0]
        >>> hires.map.allclose(mean.map, atol=1e-4)  # the same, where a mean over positions and a linear layer follow
        True
    """
    return (grads * acts).sum(1)
