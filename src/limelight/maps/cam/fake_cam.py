"""Fake-CAM."""

from typing import Literal

from limelight.card import register_method
from limelight.ops.space import at_most, size_of
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
        image: normalised, (n, c, *space); of the map of ones only its size counts.
        acts_if_any: A, (n, k, *place), for the weights alone; otherwise None.
        level: where the single zero stands: at a pixel of the picture (``input``); at a cell of a map of 7 cells along
            each axis that is resized then (``feature``); in the weights of a layer's activations (``weights``).

    Returns:
        (n, *space); or (n, 7, …); or (n, *place), signed where A is.

    Source: Poppi et al. 2021.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "fake-cam")
        >>> int((explanation.map == 1).sum()), int((explanation.map == 0).sum())
        (16383, 1)
    """
    size = size_of(image if acts_if_any is None else acts_if_any)
    ones = image.new_ones(len(image), *(at_most(size, 7) if level == "feature" else size))
    ones.flatten(1)[:, 0] = 0
    if acts_if_any is None:
        return ones
    weights = ones[:, None] / acts_if_any.shape[1]  # W_k, the same for every channel
    return (weights * acts_if_any).sum(1)
