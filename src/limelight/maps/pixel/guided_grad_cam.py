"""Guided Grad-CAM."""

from typing import Literal

from torch.nn.functional import interpolate

from limelight.card import register_method
from limelight.engine.saliency import Raw
from limelight.maps.cam.grad_cam import grad_cam
from limelight.maps.pixel.gradient import Reduce, over_colours
from limelight.maps.pixel.guided_backprop import guided, pass_score_back, remarks
from limelight.ops.scale import resize
from limelight.ops.space import size_of
from limelight.relevance.recording import Recording
from limelight.shapes import Acts


@register_method(
    "guided-grad-cam",
    family="pixel gradient",
    cites="selvaraju2017",
    cost="1 F + 1 R + 1 R_t",
    profiles={"captum": {"interpolation": "nearest"}},
)
def guided_grad_cam(
    recording: Recording,
    acts: Acts,
    grads: Acts,
    *,
    interpolation: Literal["bilinear", "nearest"] = "bilinear",
    reduce: Reduce = "abs-max",
) -> Raw:
    """The edges of guided backprop, where Grad-CAM sees the class.

    R = guided backprop . up(ReLU(sum_k w_k A_k)), with w_k the spatial mean of G_k; the map is max_colour |R|. Where
    Grad-CAM is nowhere above 0 it is empty.

    Args:
        recording: the recorded pass.
        acts: A, (n, k, *place).
        grads: G, the gradient of the score with respect to A.
        interpolation: how Grad-CAM gets to the size of the image.
        reduce: how the colours are put together.

    Returns:
        (n, *space), signed for ``reduce="sum"``.

    Raises:
        UnsupportedModel: parts of the network are scripted, so that their activations can't be seen.

    Source: Selvaraju et al. 2017, eqs. 1 and 2, times guided backprop.

    Example:
        >>> guided, both = ll.explain("demo/resnet", ll.example_image(), ["guided-backprop", "guided-grad-cam"])[0]
        >>> int((both.map > 0.1).sum()) < int((guided.map > 0.1).sum())  # fewer edges: those of the class
        True
    """
    size = size_of(recording.image)
    cam = grad_cam(acts, grads).relu()[:, None]
    cam = resize(cam, size) if interpolation == "bilinear" else interpolate(cam, size)
    return Raw(over_colours(pass_score_back(recording, guided) * cam, reduce), notes=remarks(recording))
