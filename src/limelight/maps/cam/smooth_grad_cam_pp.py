"""Smooth Grad-CAM++."""

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from limelight.card import register_method
from limelight.engine.rng import Draws
from limelight.engine.saliency import Raw
from limelight.maps.cam.grad_cam_pp import grad_cam_pp
from limelight.ops import divide, min_max
from limelight.ops.space import axes
from limelight.shapes import Acts, Images


@register_method(
    "smooth-grad-cam++",
    family="gradient CAM",
    cites="omeiza2019",
    cost="(n + 1) F + n R_t",
    random=True,
    profiles={
        "adcc": {"first_order": "last", "alpha_sum": "elementwise", "normalize_at": "feature"},
        "torchcam": {"first_order": "last", "activations": "last", "alpha_sum": "elementwise", "eps": 1e-8},
    },
)
def smooth_grad_cam_pp(
    acts: Acts,
    image: Images,
    layer_at: Callable[[Tensor], tuple[Tensor, Tensor]],
    draws: Draws,
    *,
    n: Annotated[int, Field(ge=1)] = 4,
    sigma: Annotated[float, Field(ge=0)] = 0.3,
    noise_scale: Literal["absolute", "range", "inverse_range"] = "absolute",
    spread: Annotated[float, Field(gt=0)] = 0.15,
    alpha_numerator: Literal["second", "first"] = "second",
    first_order: Literal["mean", "last"] = "mean",
    activations: Literal["clean", "last"] = "clean",
    alpha_sum: Literal["activation", "elementwise"] = "activation",
    eps: Annotated[float, Field(ge=0)] = 0.0,
    average: Literal["derivatives", "maps"] = "derivatives",
) -> Raw:
    """Grad-CAM++ with derivatives averaged over noisy copies of the image.

    D_q = mean_m g_m^q for q = 1, 2, 3; a = D_2 / (2 D_2 + T_k D_3); w_k = sum_ij a ReLU(D_1);
    L = sum_k w_k A_k with T_k and A of the clean image. With no noise it is Grad-CAM++.

    Args:
        acts: A of the clean image, (n, k, *place).
        image: normalised, (n, c, *space).
        layer_at: activations and gradients at the layer for variants of the images.
        draws: random numbers.
        n: noisy copies.
        sigma: standard deviation of the noise, in normalised units.
        noise_scale: ``range`` takes ``spread`` (max x - min x) as deviation, ``inverse_range`` divides by the
            range as some published code does.
        spread: relative deviation of the noise.
        alpha_numerator: ``first`` is the printed formula, D_1 for D_2 in the numerator.
        first_order: ``last`` takes the last copy's gradient for D_1, as one library does.
        activations: ``last`` sums the last copy's activations into the map, as that library does.
        alpha_sum: ``elementwise`` has sum_ij A D_3 in place of T_k D_3; positions where a is then undefined
            drop their whole channel, as that library's sum without NaN does.
        eps: added to the denominator, only to reproduce code that does.
        average: ``maps`` averages the scaled Grad-CAM++ maps of the copies.

    Returns:
        (n, *place), signed where A is.

    Source: Omeiza et al. 2019.

    Example:
        >>> plain = ll.explain("demo/resnet", ll.example_image(), "grad-cam++")
        >>> noiseless = ll.explain("demo/resnet", ll.example_image(), "smooth-grad-cam++", sigma=0.0)
        >>> noiseless.map.allclose(plain.map, atol=1e-4)
        True
    """
    copies, space = n, axes(acts, 2)
    noise = draws.normal((copies, *image.shape[1:]), like=image)
    noisy = image[:, None] + _deviation(image, sigma, noise_scale, spread) * noise  # n m c *space
    noisy_acts, g = layer_at(noisy)  # n m k h w
    if average == "maps":
        maps = [min_max(grad_cam_pp(noisy_acts[:, m], g[:, m]).relu())[0] for m in range(copies)]
        return Raw(sum(maps[1:], maps[0]) / copies)

    d1, d2, d3 = (g.pow(q).mean(1) for q in (1, 2, 3))  # n k *grid
    if first_order == "last":
        d1 = g[:, -1]
    third = acts.sum(space, keepdim=True) * d3 if alpha_sum == "activation" else (acts * d3).sum(space, keepdim=True)
    denominator = 2 * d2 + third + eps
    alpha = divide(d2 if alpha_numerator == "second" else d1, denominator)
    w = (alpha * d1.relu()).sum(space, keepdim=True)  # n k 1 1
    if alpha_sum == "elementwise":
        w = w * (denominator != 0).flatten(2).all(-1).view(w.shape)
    shown = acts if activations == "clean" else noisy_acts[:, -1]
    return Raw((w * shown).sum(1))


def _deviation(image: Images, sigma: float, scale: str, spread: float) -> Tensor:
    extent = image.amax(axes(image)) - image.amin(axes(image))
    deviation = {
        "absolute": sigma * extent.new_ones(len(extent)),
        "range": spread * extent,
        "inverse_range": divide(spread * extent.new_ones(len(extent)), extent),
    }[scale]
    return deviation.view(-1, *[1] * image.ndim)
