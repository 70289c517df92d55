"""KPCA-CAM."""

from typing import Annotated, Literal

import torch
from pydantic import Field

from limelight.card import register_method
from limelight.engine.saliency import Raw
from limelight.ops import smallest_step
from limelight.ops.linalg import leading
from limelight.shapes import Acts


@register_method("kpca-cam", family="gradient CAM", cites="karmani2024", cost="1 F", class_sensitive=False)
def kpca_cam(
    acts: Acts,
    *,
    kernel: Literal["sigmoid", "rbf", "linear"] = "sigmoid",
    gamma: Annotated[float, Field(gt=0)] | None = None,
) -> Raw:
    """Activations projected on the first component of a kernel PCA; the same for every class.

    L = sqrt(lambda_1) u_1 with u_1 the first eigenvector of H K H, K_ij = k(x_i, x_j) over the z positions x of the
    layer, less their mean, and H = 1 - 1/z, which centres K. The sign, which the decomposition leaves open, is chosen
    so that the largest absolute value is positive. K has z x z numbers, and takes minutes from some thousand positions
    on.

    Args:
        acts: A, (n, k, *place).
        kernel: ``sigmoid``, tanh(gamma <x, y> + 1); ``rbf``, exp(-gamma |x - y|^2); ``linear``, <x, y>, which is
            Eigen-CAM with ``center=True``.
        gamma: of the kernel; None for 1 / k.

    Returns:
        (n, *place), signed, and whether the two largest eigenvalues are equal.

    Source: Karmani et al. 2024; the sigmoid kernel is that of pytorch-grad-cam.

    Example:
        >>> sigmoid = ll.explain("demo/resnet", ll.example_image(), "kpca-cam")
        >>> linear = ll.explain("demo/resnet", ll.example_image(), "kpca-cam", kernel="linear")
        >>> sigmoid.map.allclose(linear.map, atol=1e-2)
        False
    """
    x = acts.flatten(2).mT.double()  # n z k
    x, scale = x - x.mean(1, keepdim=True), gamma or 1 / x.shape[2]
    inner = x @ x.mT
    if kernel == "sigmoid":
        inner = (scale * inner + 1).tanh()
    elif kernel == "rbf":
        square = inner.diagonal(dim1=1, dim2=2)
        inner = (-scale * (square[:, :, None] + square[:, None] - 2 * inner)).exp()
    centred = inner - inner.mean(1, keepdim=True)
    centred = centred - centred.mean(2, keepdim=True)
    rounding = centred.abs().amax((1, 2), keepdim=True) <= smallest_step(inner)[:, None, None]
    top, u, unsure = leading(centred.masked_fill(rounding, 0))
    p = top[:, None] * u
    p = torch.where((-p.amin(-1) > p.amax(-1))[:, None], -p, p)
    return Raw(torch.unflatten(p, -1, acts.shape[2:]).to(acts.dtype), ambiguous=unsure)
