"""Fake-CAM."""

from typing import Literal

from limelight.card import register_method
from limelight.shapes import Acts, Grid, Images


@register_method(
    "fake-cam",
    family="gradient CAM",
    cites="poppi2021",
    cost="1 F",
    layers="none",
    layer_option="level",
    class_sensitive=False,
)
def fake_cam(
    image: Images, acts_if_any: Acts | None, *, level: Literal["input", "feature", "weights"] = "input"
) -> Grid:
    """Ones everywhere and a zero in one corner: a map that says nothing, to catch metrics that like it.

    The paper gives every channel k of the layer a matrix of weights, 1 / K everywhere but 0 in the corner, and says
    that the map is then 1 everywhere else. To the letter, L = sum_k W_k * A_k with these weights is the mean of the
    activations, which is 1 only where they are (``level="weights"``). The paper's ADCC of 0.01 % is that of a map of
    ones with one zero pixel at the picture's size, which is therefore the default.

    Args:
        image: normalised, (n, 3, H, W); of the map of ones only its size counts.
        acts_if_any: A, (n, k, h, w), for the weights alone; otherwise None.
        level: where the single zero stands: at a pixel of the picture (``input``); at a cell of a 7 x 7 map that is
            resized then (``feature``); in the weights of a layer's activations (``weights``).

    Returns:
        (n, H, W); or (n, 7, 7); or (n, h, w), signed where A is.

    Source: Poppi et al. 2021.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "fake-cam")
        >>> int((explanation.map == 1).sum()), int((explanation.map == 0).sum())
        (16383, 1)
    """
    size = image.shape[-2:] if level == "input" else (7, 7) if acts_if_any is None else acts_if_any.shape[-2:]
    ones = image.new_ones(len(image), *size)
    ones[:, 0, 0] = 0
    if acts_if_any is None:
        return ones
    weights = ones[:, None] / acts_if_any.shape[1]  # W_k, the same for every channel
    return (weights * acts_if_any).sum(1)
