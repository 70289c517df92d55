"""XGrad-CAM."""

import torch

from limelight.card import register_method
from limelight.ops.space import axes
from limelight.shapes import Acts, Grid


@register_method("xgrad-cam", family="gradient CAM", cites="fu2020", cost="1 F + 1 R_t")
def xgrad_cam(acts: Acts, grads: Acts) -> Grid:
    """Channels weighted by their gradient averaged with the activation as weight.

    L = sum_k w_k A_k with w_k = sum_ij G_k A_k / sum_ij A_k, the weight that meets sensitivity and
    conservation: the map sums to sum G A. A channel whose activations cancel (or are all 0) has weight 0.

    Args:
        acts: A, (n, k, *place); made for layers behind a ReLU.
        grads: G, the gradient of the score with respect to A.

    Returns:
        (n, *place), signed.

    Source: Fu et al. 2020.

    Example:
        >>> mean, weighted = ll.explain("demo/resnet", ll.example_image(), ["grad-cam", "xgrad-cam"], layer="layer3")[0]
        >>> weighted.map.allclose(mean.map, atol=1e-4)  # but at the last layer they would be the same
        False
    """
    space = axes(acts, 2)
    total = acts.sum(space, keepdim=True)
    size = acts.abs().sum(space, keepdim=True)
    cancels = total.abs() <= torch.finfo(acts.dtype).eps * size
    w = (grads * acts).sum(space, keepdim=True) / total.masked_fill(cancels, torch.inf)
    return (w * acts).sum(1)
