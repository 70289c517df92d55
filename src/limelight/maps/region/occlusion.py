"""Occlusion."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from limelight.card import register_method
from limelight.engine.baselines import Fill
from limelight.engine.needs import FillOf, ScoresOf
from limelight.engine.saliency import Raw
from limelight.errors import InvalidOption
from limelight.shapes import Images, Index, Scores


@register_method(
    "occlusion",
    family="region",
    cites="zeiler2014",
    cost="1 F + ((-(-max(0, H - window) // stride) + 1) * (-(-max(0, W - window) // stride) + 1)) F",
    in_short="1 F + windows F",
    layers="none",
    defaults={"score": "prob"},
)
def occlusion(
    image: Images,
    score: Scores,
    scores_of: ScoresOf,
    fill: FillOf,
    *,
    window: Annotated[int, Field(ge=1)] = 32,
    stride: Annotated[int, Field(ge=1)] = 8,
    baseline: Fill = "zero",
    aggregate: Literal["mean", "sum"] = "mean",
) -> Raw:
    """Loss of score where a sliding window hides the picture.

    d_ij = S(x) - S(x with window ij replaced); a pixel gets the mean over the windows that cover it.

    Args:
        image: normalised x, (n, 3, H, W).
        score: S(x), (n,).
        scores_of: scores of changed copies of the images.
        fill: what stands where the picture is taken away.
        window: side of the window in pixels; at the border it is cut off.
        stride: pixels between windows, no more than ``window``.
        baseline: what the window shows.
        aggregate: ``sum`` over the windows that cover a pixel.

    Returns:
        (n, H, W), signed: negative where hiding helps.

    Raises:
        InvalidOption: the stride is larger than the window, so that pixels would be left out.

    Source: Zeiler and Fergus 2014, section 4.2.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "occlusion", window=64, stride=32)
        >>> str(explanation.cost)  # nine windows
        '10 F'
    """
    if stride > window:
        raise InvalidOption(f"occlusion: stride {stride} is larger than window {window}; pixels would be left out")
    rows, columns = (cover(side, window, stride).to(score) for side in image.shape[-2:])
    base, across = fill(baseline), len(columns)

    def hidden(i: Index, w: Index) -> Images:
        inside = (rows[w // across][:, :, None] * columns[w % across][:, None, :])[:, None].bool()
        return torch.where(inside, base[i], image[i])

    windows = len(rows) * across
    lost = torch.unflatten(score[:, None] - scores_of(hidden, windows), 1, (len(rows), across))
    total = rows.T @ lost @ columns
    values = total / (rows.sum(0)[:, None] * columns.sum(0)) if aggregate == "mean" else total
    return Raw(values, notes=() if windows > 1 else (_alone(image.shape[-2], image.shape[-1], window),))


def _alone(height: int, width: int, window: int) -> str:
    part = max(1, min(height, width) // 4)
    return (
        f"One window of {window} pixels covers the whole picture of {width} x {height}, so that its map is constant; "
        f"give a smaller one, such as window={part}, stride={max(1, part // 4)}."
    )


def cover(side: int, window: int, stride: int) -> Tensor:
    """Return which pixels of an axis each window covers, (windows, side), 0 or 1."""
    count = -(-max(0, side - window) // stride) + 1
    start = torch.arange(count)[:, None] * stride
    pixel = torch.arange(side)
    return ((pixel >= start) & (pixel < start + window)).float()
