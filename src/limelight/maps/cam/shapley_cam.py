"""ShapleyCAM."""

from limelight.card import register_method
from limelight.ops.space import axes
from limelight.shapes import Acts, Grid


@register_method("shapley-cam", family="gradient CAM", cites="cai2025", cost="1 F + 2 R_t", defaults={"score": "rest"})
def shapley_cam(acts: Acts, grads: Acts, hessian_acts: Acts) -> Grid:
    """Channels weighted by their Shapley value in a second-order model of the score: gradient less half the curvature.

    L = sum_k w_k A_k with w_k the spatial mean of (G - H A / 2)_k, where H is the Hessian of the score with respect to
    all activations of the layer, tokens that are no part of the map included. Where the score is linear in the
    activations H = 0, and the map is that of Grad-CAM. Fused attention, which can't be differentiated twice, is
    computed by its formula.

    Args:
        acts: A, (n, k, *place).
        grads: G, the gradient of the score with respect to A.
        hessian_acts: H A, (n, k, *place).

    Returns:
        (n, *place), signed.

    Raises:
        UnsupportedModel: an operation behind the layer can't be differentiated twice.

    Source: Cai 2025; the score ``rest`` is his, too. The mean over positions is the form of pytorch-grad-cam; the
        author's own code may also keep a weight for each position.

    Example:
        >>> first, second = ll.explain("demo/vit", ll.example_image(), ["grad-cam", "shapley-cam"])[0]
        >>> str(second.cost)
        '1 F + 2 R_t'
    """
    w = (grads - hessian_acts / 2).mean(axes(acts, 2), keepdim=True)  # n k 1 1
    return (w * acts).sum(1)
