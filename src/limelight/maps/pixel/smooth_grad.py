"""SmoothGrad: gradients at noisy copies of the image."""

from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from limelight.card import register_method
from limelight.engine.needs import Copies, GradientsOf, Rounds, TakeGradients
from limelight.engine.rng import Draws
from limelight.engine.saliency import Raw
from limelight.maps.pixel.gradient import Reduce, at_least_single, over_colours
from limelight.ops.arrays import integers
from limelight.shapes import Images, Index


@register_method(
    "smooth-grad",
    family="pixel gradient",
    cites="smilkov2017",
    cost="(n + 1) F + n R",
    layers="none",
    random=True,
    profiles={
        "captum": {"n": 5, "sigma": 1.0},
        "fullgrad": {"n": 100},
        "pair": {"n": 25, "squared": True},
        "xplique": {"sigma": 0.2},
    },
)
def smooth_grad(
    image: Images,
    own_draws: list[Draws],
    gradients_of: GradientsOf,
    rounds: Rounds,
    *,
    n: Annotated[int, Field(ge=1)] = 50,
    spread: Annotated[float, Field(ge=0)] = 0.15,
    sigma: Annotated[float, Field(ge=0)] | None = None,
    squared: bool = False,
    reduce: Reduce = "abs-sum",
) -> Raw:
    """The gradient averaged over noisy copies of the image, so that its fluctuations cancel.

    R = sum_colour |mean_j g_j| with g_j = dy / dx (x + e_j), e_j normal of deviation spread (max x - min x); or of
    the mean of g_j^2.

    Args:
        image: normalised x, (n, 3, H, W).
        own_draws: random numbers of each image.
        gradients_of: hands on the gradients of the score at copies of the images.
        rounds: slices of the noisy copies that the budget pays.
        n: noisy copies, fewer where a budget ends.
        spread: deviation of the noise, relative to the range of each image's values.
        sigma: its absolute deviation, in normalised units, in place of ``spread``.
        squared: average the squares of the gradients.
        reduce: how the colours are put together.

    Returns:
        (n, H, W), signed for ``reduce="sum"``.

    Source: Smilkov et al. 2017.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "smooth-grad", n=5)
        >>> str(explanation.cost)  # the image, and five noisy copies
        '6 F + 5 R'
    """
    mean = torch.zeros_like(at_least_single(image))

    def add(i: Index, _: Index, g: Images) -> None:
        g = at_least_single(g)
        mean.index_add_(0, i, (g.square() if squared else g) / n)

    copies = noisy(image, deviation(image, spread, sigma), own_draws)
    done = gradients_in_rounds(rounds(n), gradients_of, copies, add)
    return Raw(over_colours(mean * (n / done), reduce))


def gradients_in_rounds(rounds: Iterable[slice], gradients_of: GradientsOf, copies: Copies, take: TakeGradients) -> int:
    """Hand on the gradients at the copies of each slice, and return how many copies these were."""
    done = 0
    for part in rounds:
        first, done = part.start, part.stop

        def numbered(i: Index, j: Index, first: int = first) -> Images:
            return copies(i, first + j)

        def take_numbered(i: Index, j: Index, g: Images, first: int = first) -> None:
            take(i, first + j, g)

        gradients_of(numbered, done - first, take_numbered)
    return done


def deviation(image: Images, spread: float, sigma: float | None) -> Tensor:
    """Return the deviation of the noise on each image, (n, 1, 1, 1)."""
    if sigma is not None:
        return torch.full_like(image[:, :1, :1, :1], sigma)
    return spread * (image.amax((1, 2, 3), keepdim=True) - image.amin((1, 2, 3), keepdim=True))


def noisy(image: Images, deviation: Tensor, own_draws: list[Draws]) -> Copies:
    """Return a function: image and copy numbers, (m,) -> x + e, (m, 3, H, W), the same e whenever it is called."""

    def copies(i: Index, j: Index) -> Images:
        shape = tuple(image.shape[1:])
        pairs = zip(integers(i), integers(j), strict=True)
        return image[i] + deviation[i] * torch.stack([own_draws[a].number(b).normal(shape, image) for a, b in pairs])

    return copies
