"""Fake-CAM."""

from typing import Literal

from limelight.card import register_method
from limelight.ops.space import at_most, size_of
from limelight.shapes import Grid, Images


@register_method("fake-cam", family="gradient CAM", cites="poppi2021", cost="1 F", layers="none", class_sensitive=False)
def fake_cam(image: Images, *, level: Literal["input", "feature"] = "input") -> Grid:
    """Ones everywhere and a zero in one corner: a map that says nothing, to catch metrics that like it.

    Args:
        image: normalised, (n, c, *space); only its size counts.
        level: where the single zero stands; ``feature`` puts it on a 7 x 7 map that is resized then.

    Returns:
        (n, *space), or (n, 7, 7).

    Source: Poppi et al. 2021.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "fake-cam")
        >>> int((explanation.map == 1).sum()), int((explanation.map == 0).sum())
        (16383, 1)
    """
    size = size_of(image) if level == "input" else at_most(size_of(image), 7)
    ones = image.new_ones(len(image), *size)
    ones.flatten(1)[:, 0] = 0
    return ones
