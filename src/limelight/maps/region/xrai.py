"""XRAI."""

from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from scipy import sparse

from limelight.card import register_method
from limelight.engine.needs import GradientOf
from limelight.engine.saliency import Raw
from limelight.ops.arrays import from_numpy
from limelight.ops.scale import varies
from limelight.ops.segments import SCALES, Segmentation, pixel_sets, segment
from limelight.ops.space import axes, spread
from limelight.shapes import Images, Index

Algorithm = Literal["full", "fast"]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@register_method(
    "xrai",
    family="region",
    cites="kapishnikov2019",
    cost="(2 * steps + 1) F + 2 * steps R",
    layers="none",
    defaults={"score": "prob"},
    profiles={"aop": {"segmentation": "slic"}},
)
def xrai(
    image: Images,
    pixels: Images,
    normalise: Callable[[Images], Images],
    gradient_of: GradientOf,
    *,
    segmentation: Segmentation = "felzenszwalb",
    algorithm: Algorithm = "full",
    steps: Annotated[int, Field(ge=2)] = 100,
    area_threshold: Annotated[float, Field(gt=0, le=1)] = 1.0,
    min_new_pixels: Annotated[int, Field(ge=1)] = 50,
    dilation: Annotated[int, Field(ge=0)] = 5,
) -> Raw:
    """Segments ranked by their mean integrated gradient.

    a = max_colour mean_b IG_b, with b a picture of the image's darkest value and one of its brightest. Segments
    of several scales, dilated so that they overlap, cover the image one by one: next is the one whose new
    pixels have the largest mean of a, and that mean is what those pixels get.

    Args:
        image: normalised x, (n, c, *space).
        pixels: x as it is seen, in [0, 1].
        normalise: what turns pixels into x.
        gradient_of: mean gradient of the score at copies of the images.
        segmentation: how the image is cut.
        algorithm: ``fast`` covers in the order of the mean of a over whole segments.
        steps: points of the path from b to x, both ends included.
        area_threshold: share of the image after which the covering ends; the rest gets its own mean of a.
        min_new_pixels: a segment that adds fewer is dropped.
        dilation: radius of the disk by which segments are grown, in pixels.

    Returns:
        (n, *space), signed, constant on the regions; its sum is that of a. In ``details`` the attribution a, the
        segments before dilation (``labels``, one plane per scale, numbered through all), the ``order`` in which
        they were taken (-1 behind the last), and the ``step`` at which each pixel was (-1 if at none).

    Source: Kapishnikov et al. 2019, and the authors' code.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "xrai", steps=3, segmentation="slic")
        >>> explanation.raw.sum().allclose(explanation.details["attribution"].sum(), rtol=1e-3)
        True
    """
    extremes = pixels.amin(axes(pixels)), pixels.amax(axes(pixels))
    baselines = [normalise(spread(value, pixels).expand_as(pixels)) for value in extremes]
    dark, bright = (integrated_gradients(image, b, gradient_of, steps) for b in baselines)
    attribution = ((dark + bright) / 2).amax(1)
    contrast = varies(pixels.flatten(1)[:, None])  # a picture of one grey is its own baseline; what is left is rounding
    attribution = attribution * spread(contrast, attribution)

    labels = [segment(picture, segmentation, SCALES[segmentation]) for picture in pixels]
    covers = [
        cover(a, pixel_sets(one, dilation), algorithm, min_new_pixels, area_threshold)
        for a, one in zip(attribution.cpu().double().flatten(1).numpy(), labels, strict=True)
    ]
    density, step, order = (from_numpy(np.stack(parts)) for parts in zip(*covers, strict=True))
    at_least_single = torch.promote_types(attribution.dtype, torch.float32)
    return Raw(
        density.view(attribution.shape).to(attribution.device, at_least_single),
        {
            "attribution": attribution,
            "labels": from_numpy(np.stack(labels)),
            "order": order,
            "step": step.view(attribution.shape),
        },
    )


def integrated_gradients(image: Images, baseline: Images, gradient_of: GradientOf, steps: int) -> Images:
    """Return (x - b) times the mean gradient on the straight path from b to x, both ends included."""
    t = torch.linspace(0, 1, steps, dtype=image.dtype, device=image.device)

    def on_the_path(i: Index, k: Index) -> Images:
        return baseline[i] + spread(t[k], image) * (image[i] - baseline[i])

    return (image - baseline) * gradient_of(on_the_path, steps)


def cover(
    attribution: Floats,
    segments: sparse.csr_array,
    algorithm: Algorithm = "full",
    min_new_pixels: int = 50,
    area_threshold: float = 1.0,
) -> tuple[Floats, Integers, Integers]:
    """Cover an image by segments, best first.

    Count and sum of the attribution over the pixels that are still uncovered are kept for every segment, and
    what a step covers is subtracted. Every pixel is covered once, so that all steps together cost as much as
    summing over every segment once.

    Args:
        attribution: a, (pixels,).
        segments: 1 where a pixel is in a segment, sparse (segments, pixels).
        algorithm: ``full`` ranks segments by the mean of a over their uncovered pixels, ``fast`` over all.
        min_new_pixels: a segment that adds fewer is dropped.
        area_threshold: the share of covered pixels beyond which no segment is taken.

    Returns:
        What each pixel gets and the step at which it was covered (-1 if at none), (pixels,); the segments in
        the order taken, padded by -1 to as many as an image of this size can take.
    """
    at = sparse.csr_array(segments.T)  # pixels, segments
    rounding = 1e-12 * np.abs(attribution).max()  # segments with the same uncovered pixels tie: the first is taken
    count, total = at.sum(0), attribution @ at
    whole = total / np.maximum(count, 1)
    density, step = np.empty_like(attribution), np.full(attribution.size, -1)
    order = np.full(attribution.size // min_new_pixels, -1)
    taken = 0
    while (step >= 0).mean() <= area_threshold and (count >= min_new_pixels).any():
        mean = total / np.maximum(count, 1) if algorithm == "full" else whole
        mean = np.where(count >= min_new_pixels, mean, -np.inf)
        best = (mean >= mean.max() - rounding).argmax()
        members = segments.indices[segments.indptr[best] : segments.indptr[best + 1]]
        new = members[step[members] < 0]
        density[new], step[new], order[taken] = attribution[new].mean(), taken, best
        count, total = count - at[new].sum(0), total - attribution[new] @ at[new]
        taken += 1
    rest = step < 0
    if rest.any():
        density[rest] = attribution[rest].mean()
    return density, step, order
