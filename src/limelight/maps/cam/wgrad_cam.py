"""WGrad-CAM."""

from limelight.card import register_method
from limelight.ops.space import axes
from limelight.shapes import Acts, Grid


@register_method("wgrad-cam", family="gradient CAM", cites="zhang2021", cost="1 F + 1 R_t")
def wgrad_cam(acts: Acts, grads: Acts) -> Grid:
    """Channels weighted by their mean gradient times activation.

    L = sum_k w_k A_k with w_k the spatial mean of G_k A_k: the map of the paper before its ReLU. Scaling at
    the layer's resolution (eq. 4) and again after resizing is the same as scaling once after resizing.

    Args:
        acts: A, (n, k, *place).
        grads: G, the gradient of the score with respect to A.

    Returns:
        (n, *place), signed.

    Source: Zhang et al. 2021, eqs. 2 and 3.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "wgrad-cam")
        >>> explanation.label, str(explanation.cost)
        ('star', '1 F + 1 R_t')
    """
    w = (grads * acts).mean(axes(acts, 2), keepdim=True)  # n k 1 1
    return (w * acts).sum(1)
