"""Integrated gradients."""

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from limelight.card import register_method
from limelight.engine.needs import FillOf, GradientOf, GradientsOf, ScoresOf
from limelight.engine.saliency import Raw
from limelight.errors import InvalidOption
from limelight.maps.pixel.baselines import Baselines, pictures
from limelight.maps.pixel.gradient import Reduce, over_colours
from limelight.maps.pixel.paths import along_blur, along_guide
from limelight.ops.arrays import from_numpy
from limelight.shapes import Images, Index, Scores

Quadrature = Literal["gauss-legendre", "midpoint", "right", "left", "trapezoid", "ends"]
"""Points and weights of the sum that stands for the integral; ``ends`` has all of equal weight, both ends included."""

Path = Literal["straight", "blur", "guided"]
"""All pixels together; out of a blur (Xu et al. 2020); the least sensitive first (Kapishnikov et al. 2021)."""


@register_method(
    "integrated-gradients",
    family="pixel gradient",
    cites="sundararajan2017",
    cost="(len(baseline) * (n + 1) + 1) F + len(baseline) * n R",
    in_short="(n + 2) F + n R",
    layers="none",
    profiles={
        "captum": {"baseline": ("zero",)},
        "pair": {"baseline": ("zero",), "quadrature": "ends", "n": 25},
        "pair-blur": {"path": "blur", "quadrature": "right", "n": 100, "sigma_step": 0.01},
        "pair-guided": {"path": "guided", "n": 200, "baseline": ("zero",)},
        "xplique": {"baseline": ("zero",), "quadrature": "trapezoid"},
    },
)
def integrated_gradients(
    image: Images,
    score: Scores,
    fill: FillOf,
    gradient_of: GradientOf,
    gradients_of: GradientsOf,
    scores_of: ScoresOf,
    *,
    n: Annotated[int, Field(ge=1)] = 50,
    quadrature: Quadrature = "gauss-legendre",
    baseline: Baselines = ("black",),
    path: Path = "straight",
    max_sigma: Annotated[float, Field(gt=0)] = 50.0,
    sigma_step: Annotated[float, Field(gt=0)] = 1e-4,
    fraction: Annotated[float, Field(gt=0, le=1)] = 0.25,
    max_dist: Annotated[float, Field(gt=0, le=1)] = 0.02,
    reduce: Reduce = "sum",
) -> Raw:
    """What each pixel adds to the score on the way from a baseline to the image.

    R = int_0^1 dy/dx (x_a) dx_a/da da, summed over the colours; on the straight way x_a = x_0 + a (x - x_0) this is
    (x - x_0) int_0^1 dy/dx (x_a) da. The sum of R is y(x) - y(x_0) but for the error of the quadrature.

    Args:
        image: normalised x, (n, 3, H, W).
        score: y(x), (n,).
        fill: makes the baselines.
        gradient_of: weighted mean gradient of the score at copies of the images.
        gradients_of: hands each of these gradients on.
        scores_of: scores of changed copies of the images.
        n: points on the way.
        quadrature: where they lie, and what they weigh.
        baseline: x_0, see ``baselines.Baselines``; the maps of several are averaged.
        path: the way. One of blurs has no baseline but the image blurred, a guided one takes steps, all of equal size,
            in the place of a quadrature.
        max_sigma: deviation of the Gaussian where a way of blurs begins, pixels.
        sigma_step: by how much the deviation grows for the difference that stands for a derivative, pixels.
        fraction: of the values of an image, moved together on a guided way.
        max_dist: how far a value may be before or behind the others on a guided way, as a share of the way.
        reduce: how the colours are put together.

    Returns:
        (n, H, W), signed for ``reduce="sum"``. In ``details`` the ``completeness_gap``, |sum R - (y(x) - y(x_0))|
        with R signed, the means of several baselines.

    Raises:
        InvalidOption: a baseline of another size than the images or beside a blur, or a trapezoid of one point.

    Source: Sundararajan et al. 2017, eqs. 1 and 3.

    Example:
        >>> few, many = (ll.method("integrated-gradients", n=n) for n in (2, 16))
        >>> few, many = ll.explain("demo/resnet", ll.example_image(), [few, many])[0]
        >>> bool(many.details["completeness_gap"] < few.details["completeness_gap"])
        True
    """
    points, weights = (part.to(image.device) for part in nodes(quadrature, n))
    if path == "blur":
        if baseline != ("black",):
            raise InvalidOption("path='blur' begins at the image blurred, and takes no baseline; give max_sigma")
        r, start = along_blur(image, points, weights, max_sigma, sigma_step, gradients_of)
        return Raw(over_colours(r, reduce), {"completeness_gap": completeness_gap(r, score, start[:, None], scores_of)})
    points = points.to(image)
    starts = pictures(baseline, image, fill)  # n k 3 H W

    def attribution(start: Images) -> Images:
        if path == "guided":
            return along_guide(image, start, n, fraction, max_dist, gradients_of)

        def on_the_way(i: Index, k: Index) -> Images:
            return start[i] + points[k][:, None, None, None] * (image[i] - start[i])

        return (image - start) * gradient_of(on_the_way, n, weights)

    r = torch.stack([attribution(start) for start in starts.unbind(1)]).mean(0)
    return Raw(over_colours(r, reduce), {"completeness_gap": completeness_gap(r, score, starts, scores_of)})


def nodes(quadrature: Quadrature, n: int) -> tuple[Tensor, Tensor]:
    """Return n points in [0, 1] and their weights, which add up to 1, in float64.

    Raises:
        InvalidOption: one point for a trapezoid, whose corners are two.
    """
    if quadrature == "gauss-legendre":
        points, weights = map(from_numpy, np.polynomial.legendre.leggauss(n))  # for the integral over [-1, 1]
        return (1 + points) / 2, weights / 2
    i, equal = torch.arange(n, dtype=torch.float64), torch.full((n,), 1 / n, dtype=torch.float64)
    if quadrature in ("midpoint", "left", "right"):
        return (i + {"left": 0.0, "midpoint": 0.5, "right": 1.0}[quadrature]) / n, equal
    if n < 2:
        raise InvalidOption(f"a quadrature with both ends ({quadrature}) needs n = 2 points or more")
    if quadrature == "trapezoid":
        equal[[0, -1]] /= 2
    return i / (n - 1), equal / equal.sum()


def completeness_gap(r: Images, score: Scores, starts: Tensor, scores_of: ScoresOf) -> Scores:
    """Return |sum R - (y(x) - mean_k y(x_k))|, (n,).

    Args:
        r: what each pixel and colour is given, (n, 3, H, W).
        score: y(x), (n,).
        starts: baselines x_k, (n, k, 3, H, W).
        scores_of: scores of changed copies of the images.
    """
    at_starts = scores_of(lambda i, k: starts[i, k], starts.shape[1]).mean(1)
    return (r.sum((1, 2, 3)) - (score - at_starts)).abs()
