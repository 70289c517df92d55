"""RefineCAM."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from limelight.card import register_method
from limelight.maps.cam.grad_cam import grad_cam
from limelight.maps.cam.grad_cam_pp import grad_cam_pp
from limelight.maps.cam.hires_cam import hires_cam
from limelight.maps.cam.wgrad_cam import wgrad_cam
from limelight.maps.cam.xgrad_cam import xgrad_cam
from limelight.model.one_pass import Stage
from limelight.ops import min_max, resize
from limelight.ops.space import size_of
from limelight.shapes import Images, Maps

CAMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "grad-cam": grad_cam,
    "grad-cam++": grad_cam_pp,
    "hires-cam": hires_cam,
    "wgrad-cam": wgrad_cam,
    "xgrad-cam": xgrad_cam,
}
"""Methods whose map at a layer is made of its activations and gradients."""


@register_method("refine-cam", family="gradient CAM", cites="domeniconi2026", cost="1 F + 1 R_t", layers="stages")
def refine_cam(
    stages: list[Stage],
    image: Images,
    *,
    cam: Literal["grad-cam", "grad-cam++", "hires-cam", "wgrad-cam", "xgrad-cam"] = "grad-cam++",
) -> Maps:
    """The product of the maps of several layers: what deep ones see, at the resolution of shallow ones.

    L = prod_l mm(U(mm(ReLU(L_l)))) with L_l the map of another method at layer l, U the resizing to the picture and mm
    the scaling to [0, 1]. Where one layer's map is 0, so is the product; where one is empty, nothing is left. In vision
    transformers all layers have one resolution, so none is gained; unless several are named, it is the last one.

    Args:
        stages: activations and gradients of each layer, shallow to deep.
        image: normalised, (n, c, *space).
        cam: the method.

    Returns:
        (n, *space), in [0, 1].

    Source: Domeniconi et al. 2026.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "refine-cam", layer=("layer1", "layer4"))
        >>> explanation.raw.shape
        torch.Size([128, 128])
    """
    maps = [CAMS[cam](s.acts, s.grads).relu() for s in stages if s.grads is not None]
    maps = [min_max(resize(min_max(m)[0], size_of(image)))[0] for m in maps]
    return torch.stack(maps).prod(0)
