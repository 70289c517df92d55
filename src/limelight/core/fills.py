"""What stands where a picture is taken away."""

from collections.abc import Callable
from typing import Literal

import torch

from limelight.core.classifier import Classifier
from limelight.core.rng import draws_per_image
from limelight.ops.blur import gaussian_blur, median_blur, rise_blur
from limelight.shapes import Images

Fill = Literal[
    "zero",
    "black",
    "white",
    "mean",
    "noise",
    "rise-blur",
    "gauss-51-50",
    "gauss-11-5",
    "gauss-81-10",
    "median-11",
    "gauss-median",
]
"""0 after normalisation (the usual mean colour), black, white, the picture's own mean colour, normal noise; or a blur
of the picture: a Gaussian of so many pixels and such a deviation, a median, or the mean of gauss-51-50 and it."""


def filled(classifier: Classifier, x: Images, name: Fill) -> Images:
    """Return what stands where the pictures are taken away, (n, 3, H, W)."""
    make: dict[str, Callable[[], Images]] = {
        "zero": lambda: torch.zeros_like(x),
        "black": lambda: classifier.bounds[0].to(x).expand_as(x),
        "white": lambda: classifier.bounds[1].to(x).expand_as(x),
        "mean": lambda: x.mean((-2, -1), keepdim=True).expand_as(x),
        "rise-blur": lambda: rise_blur(x),
        "noise": lambda: torch.stack([draws.normal(tuple(x.shape[1:]), x) for draws in draws_per_image(0, x)]),
        "gauss-51-50": lambda: gaussian_blur(x, 51, 50.0),
        "gauss-11-5": lambda: gaussian_blur(x, 11, 5.0),
        "gauss-81-10": lambda: gaussian_blur(x, 81, 10.0),
        "median-11": lambda: median_blur(x, 11),
        "gauss-median": lambda: (gaussian_blur(x, 51, 50.0) + median_blur(x, 11)) / 2,
    }
    return make[name]()
