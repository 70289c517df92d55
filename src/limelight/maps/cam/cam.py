"""CAM."""

from torch import Tensor

from limelight.card import register_method
from limelight.ops.space import spread
from limelight.shapes import Acts, Grid


@register_method("cam", family="gradient CAM", cites="zhou2016", cost="1 F")
def cam(acts: Acts, class_weights: Tensor) -> Grid:
    """Channels weighted by the classifier's own weights.

    L = sum_k w_ck A_k for a network that ends in pooling and one linear layer (or the two in the other
    order); its mean plus the bias is the logit.

    Args:
        acts: A, (n, k, *place).
        class_weights: w_c, (n, k).

    Returns:
        (n, *place), signed.

    Source: Zhou et al. 2016, eq. 2.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "cam")
        >>> explanation.label, explanation.map.shape
        ('star', torch.Size([128, 128]))
    """
    return (spread(class_weights, acts) * acts).sum(1)
