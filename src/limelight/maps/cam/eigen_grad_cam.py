"""Eigen-Grad-CAM."""

from dataclasses import replace

from limelight.card import register_method
from limelight.engine.saliency import Raw
from limelight.maps.cam.eigen_cam import eigen_cam
from limelight.maps.cam.hires_cam import hires_cam
from limelight.ops.space import axes, spread
from limelight.shapes import Acts


@register_method("eigen-grad-cam", family="gradient CAM", cites="gildenblat2021", cost="1 F + 1 R_t")
def eigen_grad_cam(acts: Acts, grads: Acts) -> Raw:
    """Gradient times activation, projected on its first principal direction.

    L = X v_1 with X the pixels x channels matrix of G A less each channel's mean, and v_1 its first right singular
    vector. The sign, which the decomposition leaves open, is that of HiRes-CAM, sum_k G_k A_k: their product sums to a
    positive number.

    Args:
        acts: A, (n, k, *place).
        grads: G, the gradient of the score with respect to A.

    Returns:
        (n, *place), signed, and whether the two largest singular values are equal.

    Source: pytorch-grad-cam (Gildenblat et al. 2021), which leaves the sign to chance.

    Example:
        >>> star = ll.explain("demo/resnet", ll.example_image(), "eigen-grad-cam", target="star")
        >>> ring = ll.explain("demo/resnet", ll.example_image(), "eigen-grad-cam", target="ring")
        >>> star.map.equal(ring.map)
        False
    """
    raw = eigen_cam(grads * acts, center=True)
    agrees = (raw.values * hires_cam(acts, grads)).sum(axes(raw.values)) >= 0
    return replace(raw, values=raw.values.where(spread(agrees, raw.values), -raw.values))
