"""IS-CAM."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from limelight.card import register_method
from limelight.engine.needs import Rounds, ScoresWhere
from limelight.engine.saliency import Raw
from limelight.maps.gradient_free.score_cam import MaskScaledAt, channel_masks, score_channels, usable_channels, weigh
from limelight.ops import resize
from limelight.shapes import Acts, Images, Index

Schedule = Literal["cumulative", "cumulative1", "linear"]


@register_method(
    "is-cam",
    family="gradient-free CAM",
    cites="naidu2020",
    cost="1 F + (n * channels if schedule != 'cumulative' else (n - 1) * channels + 1) F",
    in_short="1 F + n channels F",
    profiles={
        "torchcam": {"schedule": "cumulative1", "mask_scaled_at": "feature", "sums": "activations"},
    },
)
def is_cam(
    acts: Acts,
    image: Images,
    scores_where: ScoresWhere,
    rounds: Rounds,
    *,
    n: Annotated[int, Field(ge=1)] = 10,
    schedule: Schedule = "cumulative",
    mask_scaled_at: MaskScaledAt = "input",
    sums: Literal["resized", "activations"] = "resized",
    top: Annotated[int, Field(ge=1)] | None = None,
) -> Raw:
    """Score-CAM with scores averaged along a path from the empty to the masked image.

    w = softmax_k(1/n sum_i f_c(c_i x H_k)), L = sum_k w_k U(A_k), with Score-CAM's masks H_k. The published
    path adds up, so that it ends far brighter than the image: c_i = sum_{j < i} j/n. ``linear`` is the path
    of integrated gradients, i/n.

    Args:
        acts: A, (n, k, h, w).
        image: normalised x, (n, 3, H, W).
        scores_where: scores of those changed copies of the images that are wanted.
        rounds: slices of the channels, by falling variance, that the budget pays.
        n: points of the path.
        schedule: ``cumulative`` begins with the empty image, which is the same for all channels and passed
            once; ``cumulative1`` adds up to j = i, as one library does; ``linear``.
        mask_scaled_at: see ``score_cam``.
        sums: see ``score_cam``.
        top: see ``score_cam``.

    Returns:
        (n, H, W), or (n, h, w) for ``sums="activations"``; signed where A is.

    Source: Naidu et al. 2020.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "is-cam", n=2, top=8, schedule="linear")
        >>> str(explanation.cost)  # two points of the path for each of eight channels
        '17 F'
    """
    usable, size = usable_channels(acts, top), (image.shape[-2], image.shape[-1])
    path = points_of(schedule, n).to(image)  # c
    brightness = path[path > 0]
    points = len(brightness)

    def masked(i: Index, step: Index) -> Images:
        masks = channel_masks(acts[i, step // points], size, mask_scaled_at)
        return image[i] * (brightness[step % points][:, None, None] * masks)[:, None]

    def sum_along_path(chosen: Tensor) -> Tensor:
        return torch.unflatten(scores_where(masked, chosen.repeat_interleave(points, 1)), 1, (-1, points)).sum(2)

    scores, scored = score_channels(
        sum_along_path, acts, usable & (points > 0), rounds, points, passes_after=int(points < n)
    )
    scored = scored | (usable & (points == 0))
    if points < n:  # the empty image is the same for every channel
        scores = scores + scores_where(lambda i, _: torch.zeros_like(image[i]), scored.any(1, keepdim=True))
    w = weigh(scores / n, scored, "softmax")
    total = (w[:, :, None, None] * acts).sum(1)
    return Raw(
        resize(total, size) if sums == "resized" else total,
        {"weights": w, "skipped": (~scored).sum(1)},
    )


def points_of(schedule: Schedule, n: int) -> Tensor:
    """Return the brightness c_i of the masked image at the n points of the path, (n,), in float64."""
    steps = torch.arange(n, dtype=torch.float64)
    if schedule == "cumulative":
        return steps.cumsum(0) / n
    return (steps + 1).cumsum(0) / n if schedule == "cumulative1" else (steps + 1) / n
