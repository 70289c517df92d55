"""Layer-CAM."""

from math import prod
from typing import Annotated, Literal

import torch
from pydantic import Field

from limelight.card import register_method
from limelight.model.one_pass import Stage
from limelight.ops import divide, resize
from limelight.ops.space import axes
from limelight.shapes import Grid


@register_method("layer-cam", family="gradient CAM", cites="jiang2021", cost="1 F + 1 R_t", layers="several")
def layer_cam(
    stages: list[Stage],
    *,
    gamma: Annotated[float, Field(gt=0)] = 2.0,
    fuse: Literal["max", "mean"] = "max",
    tanh_on: Literal["shallow", "all", "none"] = "shallow",
) -> Grid:
    """Activations weighted by their own positive gradient, at any depth.

    L = sum_k ReLU(G_k) A_k: the map of the paper before its ReLU. Several layers are fused: each map is rectified and
    divided by its maximum, shallow ones are lifted by tanh(gamma M), all are resized to the largest and
    combined by maximum, or by mean; since shallow ones are lifted first, that is not the mean of the finished maps
    of single layers.

    Args:
        stages: activations A and gradients G of each layer, shallow to deep.
        gamma: how strongly shallow maps are lifted.
        fuse: how the layers' maps are combined.
        tanh_on: which of them are lifted.

    Returns:
        (n, *place), signed where A is; not negative if layers are fused.

    Source: Jiang et al. 2021, eqs. 6 to 8.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "layer-cam", layer=["layer1", "layer4"])
        >>> explanation.provenance["layers"]
        ['layer1', 'layer4']
    """
    maps = [(s.grads.relu() * s.acts).sum(1) for s in stages if s.grads is not None]
    if len(maps) == 1:
        return maps[0]
    maps = [divide(m.relu(), m.relu().amax(axes(m), keepdim=True)) for m in maps]
    lifted = {"shallow": len(maps) - 1, "all": len(maps), "none": 0}[tanh_on]
    maps = [(gamma * m).tanh() if i < lifted else m for i, m in enumerate(maps)]
    size = max((tuple(m.shape[1:]) for m in maps), key=prod)
    together = torch.stack([resize(m, size) for m in maps])  # l n *grid
    return together.amax(0) if fuse == "max" else together.mean(0)
