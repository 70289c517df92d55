"""Eigen-CAM."""

import torch

from limelight.card import register_method
from limelight.engine.saliency import Raw
from limelight.ops.linalg import leading
from limelight.shapes import Acts


@register_method("eigen-cam", family="gradient CAM", cites="muhammad2020", cost="1 F", class_sensitive=False)
def eigen_cam(acts: Acts, *, center: bool = False) -> Raw:
    """Activations projected on their first principal direction; the same for every class.

    L = X v_1 with X the pixels x channels matrix and v_1 its first right singular vector. The sign, which
    the decomposition leaves open, is chosen so that the map sums to a positive number (or, centred, so that
    its largest absolute value is positive).

    Args:
        acts: A, (n, k, *place).
        center: subtract each channel's mean first.

    Returns:
        (n, *place), signed, and whether the two largest singular values are equal.

    Source: Muhammad and Yeasin 2020.

    Example:
        >>> star = ll.explain("demo/resnet", ll.example_image(), "eigen-cam", target="star")
        >>> ring = ll.explain("demo/resnet", ll.example_image(), "eigen-cam", target="ring")
        >>> star.map.equal(ring.map)
        True
    """
    x = acts.flatten(2).double()  # n k z
    if center:
        x = x - x.mean(-1, keepdim=True)
    few_channels = x.shape[1] <= x.shape[2]  # the smaller Gram matrix has the same spectrum
    top, v, unsure = leading(x @ x.mT if few_channels else x.mT @ x)
    # Over pixels the eigenvector is u_1 itself and X v_1 = sigma_1 u_1.
    p = torch.einsum("nkz,nk->nz", x, v) if few_channels else top[:, None] * v
    flip = -p.amin(-1) > p.amax(-1) if center else p.sum(-1) < 0
    p = torch.unflatten(torch.where(flip[:, None], -p, p), -1, acts.shape[2:])
    return Raw(p.to(acts.dtype), ambiguous=unsure)
