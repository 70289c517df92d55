"""What stands where a picture is taken away."""

from collections.abc import Callable
from typing import Literal

import torch

from limelight.core.classifier import Classifier
from limelight.ops.blur import gaussian_blur, rise_blur
from limelight.shapes import Images

Fill = Literal["zero", "black", "white", "mean", "rise-blur", "gauss-51-50"]
"""0 after normalisation (the usual mean colour), black, white, the picture's own mean colour, or a blur of it."""


def filled(classifier: Classifier, x: Images, name: Fill) -> Images:
    """Return what stands where the pictures are taken away, (n, 3, H, W)."""
    make: dict[str, Callable[[], Images]] = {
        "zero": lambda: torch.zeros_like(x),
        "black": lambda: classifier.bounds[0].to(x).expand_as(x),
        "white": lambda: classifier.bounds[1].to(x).expand_as(x),
        "mean": lambda: x.mean((-2, -1), keepdim=True).expand_as(x),
        "rise-blur": lambda: rise_blur(x),
        "gauss-51-50": lambda: gaussian_blur(x, 51, 50.0),
    }
    return make[name]()
