"""What stands where a picture is taken away."""

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, cast

import numpy as np
import torch
from pydantic import BeforeValidator
from torch import Tensor

from limelight.engine.rng import draws_per_image
from limelight.errors import InvalidOption
from limelight.model.classifier import Classifier
from limelight.ops.arrays import nested
from limelight.ops.blur import gaussian_blur, median_blur, rise_blur
from limelight.ops.space import axes
from limelight.shapes import Images

FillName = Literal[
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


Line = tuple[float, ...]
Values = tuple[Line, ...] | tuple[tuple[Line, ...], ...] | tuple[tuple[tuple[Line, ...], ...], ...]
"""A signal (c, T), a picture (c, H, W), a volume (c, D, H, W); and (c, 1, 1) for any of them."""


def plain(given: Any) -> Any:
    """Return tensors, arrays and lists as nested tuples, which compare, and can be written to a file and read again.

    A colour (c,) becomes (c, 1, 1), and a batch of one picture (1, c, H, W), or of one volume, that one.

    Raises:
        ValueError: True, False, values that are not finite, rows of different lengths, or several pictures: a batch is
            explained in chunks, and which picture is whose would be lost.
    """
    given = nested(cast(Any, given)) if isinstance(given, Tensor | np.ndarray | np.generic) else given
    if depth(given) in (4, 5):
        if len(given) > 1:
            raise ValueError(
                f"{len(given)} pictures; a fill is one picture (c, H, W) for all images, or a function of the images "
                "(n, c, H, W); for a picture of its own for each image explain them one by one; "
                "a volume is given as a batch of one, (1, c, D, H, W)"
            )
        given = given[0]
    tuples = _nest(given)
    _expect_even(tuples)
    return tuple(((one,),) for one in tuples) if _is_colour(tuples) else tuples


def _is_colour(given: Any) -> bool:
    """Whether it is numbers side by side."""
    return isinstance(given, tuple) and all(isinstance(one, int | float) for one in cast(tuple[Any, ...], given))


def depth(given: Any) -> int:
    """Return the number of axes of nested lists or tuples."""
    return 1 + depth(given[0]) if isinstance(given, list | tuple) and given else 0


def _expect_even(given: Any) -> tuple[int, ...]:
    """Return the shape of nested tuples.

    Raises:
        ValueError: rows beside each other differ in it.
    """
    if not isinstance(given, tuple):
        return ()
    shapes = {_expect_even(one) for one in cast(tuple[Any, ...], given)}
    if len(shapes) > 1:
        raise ValueError("a fill's rows must be of one length")
    return (len(cast(tuple[Any, ...], given)), *next(iter(shapes), ()))


def _nest(given: Any) -> Any:
    if isinstance(given, list | tuple):
        return tuple(map(_nest, cast(list[Any], given)))
    if isinstance(given, bool) or (isinstance(given, int | float) and not math.isfinite(given)):
        raise ValueError(f"a fill is a name, a finite number, a tensor of these or a function, not {given}")
    return given


Fill = Annotated[FillName | float | Values | Callable[[Any], Tensor], BeforeValidator(plain)]
"""What stands where a picture is taken away: a fill by name; or, in normalised values, a number, a colour (c,) or
(c, 1, 1), a picture (c, H, W), a signal (c, T), a batch of one volume (1, c, D, H, W), or a function of the images
(n, c, *space), which gets them a few at a time."""


def fill_images(classifier: Classifier, x: Images, fill: Fill) -> Images:
    """Return what stands where the pictures are taken away, (n, c, *space); not to be written to.

    One picture for all images is expanded: its stride along them is 0.

    Raises:
        InvalidOption: a tensor of another size, or a function that gives no pictures of the images' shape.
    """
    if isinstance(fill, str):
        return _by_name(classifier, x, cast(FillName, fill))
    if callable(fill):
        made = cast(Any, fill(x.clone()))
        if not isinstance(made, Tensor) or made.shape != x.shape or not bool(torch.isfinite(made).all()):
            what = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
            raise InvalidOption(
                f"the fill's function must give finite values of the images' shape, {tuple(x.shape)}, got {what}"
            )
        return made.detach().to(x)
    values = torch.tensor(fill, dtype=x.dtype, device=x.device)
    fitting = values.flatten().view(-1, *[1] * (x.ndim - 2)) if values.shape[1:] == (1, 1) else values
    if fitting.numel() == 1:
        return fitting.flatten()[0].expand_as(x)
    one_channel = x.shape[1] == 1 and fitting.shape == x.shape[2:]
    if one_channel or fitting.shape == x.shape[1:] or fitting.shape == (x.shape[1], *[1] * (x.ndim - 2)):
        return fitting.expand_as(x)
    raise InvalidOption(
        f"a baseline of shape {tuple(values.shape)} for images of {tuple(x.shape[1:])}; give one of their size, "
        f"one value per colour, {(x.shape[1], 1, 1)}, or a function of the images"
    )


def _by_name(classifier: Classifier, x: Images, name: FillName) -> Images:
    make: dict[str, Callable[[], Images]] = {
        "zero": lambda: x.new_zeros(()).expand_as(x),
        "black": lambda: classifier.bounds[0].to(x).expand_as(x),
        "white": lambda: classifier.bounds[1].to(x).expand_as(x),
        "mean": lambda: x.mean(axes(x, 2), keepdim=True).expand_as(x),
        "rise-blur": lambda: rise_blur(x),
        "noise": lambda: torch.stack([draws.normal(tuple(x.shape[1:]), x) for draws in draws_per_image(0, x)]).to(x),
        "gauss-51-50": lambda: gaussian_blur(x, 51, 50.0),
        "gauss-11-5": lambda: gaussian_blur(x, 11, 5.0),
        "gauss-81-10": lambda: gaussian_blur(x, 81, 10.0),
        "median-11": lambda: median_blur(x, 11),
        "gauss-median": lambda: (gaussian_blur(x, 51, 50.0) + median_blur(x, 11)) / 2,
    }
    return make[name]()
