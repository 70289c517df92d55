"""Grad-CAM++."""

from typing import Annotated, Literal

from pydantic import Field

from limelight.card import register_method
from limelight.ops import divide
from limelight.ops.space import axes
from limelight.shapes import Acts, Grid


@register_method(
    "grad-cam++",
    family="gradient CAM",
    cites="chattopadhay2018",
    cost="1 F + 1 R_t",
    profiles={
        "adcc": {"variant": "cubed", "normalize_at": "feature"},
        "aop": {"variant": "elementwise", "eps": 1e-7},
    },
)
def grad_cam_pp(
    acts: Acts,
    grads: Acts,
    *,
    variant: Literal["paper", "elementwise", "alpha_normalized", "cubed"] = "paper",
    eps: Annotated[float, Field(ge=0)] = 0.0,
) -> Grid:
    """Channels weighted by their positive gradients, where each position has a weight of its own.

    L = sum_k w_k A_k with w_k = sum_ij a_kij ReLU(g), a = g^2 / (2 g^2 + T_k g^3) = 1 / (2 + T_k g) and
    T_k = sum A_k; exp(score), of which the paper takes derivatives, cancels in a and only scales w.

    An epsilon in the denominator is not harmless: g^2 is often no larger than it. The option exists only
    to reproduce code that has one.

    Args:
        acts: A, (n, k, *place).
        grads: g, the gradient of the score with respect to A.
        variant: ``elementwise`` has sum_ij A g^3 in place of T_k g^3; ``alpha_normalized``
            divides a by its sum over positions with g > 0; ``cubed`` takes w_k = sum ReLU(g)^3, which is
            what an often cited implementation computes.
        eps: added to the denominator.

    Returns:
        (n, *place), signed where A is.

    Source: Chattopadhay et al. 2018, eqs. 10, 11 and 19.

    Example:
        >>> paper = ll.explain("demo/resnet", ll.example_image(), "grad-cam++")
        >>> library = ll.explain("demo/resnet", ll.example_image(), "grad-cam++", variant="cubed")
        >>> paper.map.allclose(library.map, atol=1e-2)
        False
    """
    g, positive, space = grads, grads.relu(), axes(acts, 2)
    if variant == "cubed":
        w = positive.pow(3).sum(space, keepdim=True)
        return (w * acts).sum(1)
    total = acts.sum(space, keepdim=True)
    if variant == "elementwise":
        alpha = divide(g**2, 2 * g**2 + (acts * g**3).sum(space, keepdim=True) + eps)
    elif eps:
        alpha = divide(g**2, 2 * g**2 + total * g**3 + eps)
    else:  # the same, divided by g^2, which may underflow
        alpha = divide((g != 0).to(g), 2 + total * g)
    if variant == "alpha_normalized":
        alpha = divide(alpha, (alpha * (g > 0)).sum(space, keepdim=True), otherwise=alpha)
    w = (alpha * positive).sum(space, keepdim=True)  # n k 1 1
    return (w * acts).sum(1)
