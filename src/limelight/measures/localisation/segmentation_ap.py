"""Segmentation average precision."""

import torch

from limelight.card import register_metric
from limelight.ops.arrays import integers
from limelight.ops.similarity import constant
from limelight.ops.space import axes, spread
from limelight.scoring.measured import Measured
from limelight.scoring.truth import Truth
from limelight.shapes import Maps


@register_metric(
    "segmentation-ap",
    family="localisation",
    cites="gur2021",
    cost="0 F",
    better="higher",
    profiles={"ae": {}, "agf": {}},
)
def segmentation_ap(raw: Maps, truth: Truth, *, binarise: bool = True) -> Measured:
    """Average precision of the map as a segmentation of the object.

    Foreground is where S > 0 (a map without negative values has its mean subtracted first). The scores of
    background and foreground, two for every pixel, in {0, 1}, are ranked against the truth of both: area under the
    step-wise precision-recall curve. In [0, 1], higher is better. The part ``pixel-accuracy`` is the share of
    pixels on the right side.

    Args:
        raw: S, the raw map at the size of the image.
        truth: the object's pixels.
        binarise: False ranks the values of S for the foreground alone.

    Source: Gur et al. 2021 (AGF), evaluation on ImageNet-Segmentation.

    Example:
        >>> box = [[67, 47, 117, 95]]  # of the star: x1, y1, x2, y2
        >>> results = ll.evaluate("demo/resnet", [ll.example_image()], "grad-cam", "segmentation-ap", truth=[box])
        >>> 0 < results.values("segmentation-ap").item() < 1
        True
    """
    from sklearn.metrics import average_precision_score  # pyright: ignore[reportUnknownVariableType]

    lowest, mean = raw.amin(axes(raw), keepdim=True), raw.mean(axes(raw), keepdim=True)
    centred = torch.where(lowest < 0, raw, raw - mean)
    foreground = (centred > 0) & ~spread(constant(raw), raw)  # whose mean is itself but for rounding
    values = torch.full((len(raw),), torch.nan)
    for i in integers(truth.known.nonzero()[:, 0]):  # no precision without an object
        if binarise:
            scores = torch.stack([~foreground[i], foreground[i]])
            labels = torch.stack([~truth.masks[i], truth.masks[i]])
        else:
            scores, labels = raw[i], truth.masks[i]
        values[i] = average_precision_score(labels.flatten().cpu().numpy(), scores.flatten().double().cpu().numpy())
    right = (foreground == truth.masks).to(raw.dtype).mean(axes(raw))
    return Measured(values.to(raw), {"pixel-accuracy": right})
