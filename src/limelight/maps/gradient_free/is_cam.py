"""IS-CAM."""

from typing import Annotated, Literal

import torch
from pydantic import Field

from limelight.card import register_method
from limelight.engine.needs import Rounds, ScoresOf
from limelight.engine.saliency import Raw
from limelight.maps.gradient_free.score_cam import MaskScaledAt, alive, by_variance, channel_masks, weigh
from limelight.ops import resize
from limelight.ops.space import size_of, spread
from limelight.shapes import Acts, Images, Index


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
    scores_of: ScoresOf,
    rounds: Rounds,
    *,
    n: Annotated[int, Field(ge=1)] = 10,
    schedule: Literal["cumulative", "cumulative1", "linear"] = "cumulative",
    mask_scaled_at: MaskScaledAt = "input",
    sums: Literal["resized", "activations"] = "resized",
    top: Annotated[int, Field(ge=1)] | None = None,
) -> Raw:
    """Score-CAM with scores averaged along a path from the empty to the masked image.

    w = softmax_k(1/n sum_i f_c(c_i x H_k)), L = sum_k w_k U(A_k), with Score-CAM's masks H_k. The published
    path adds up, so that it ends far brighter than the image: c_i = sum_{j < i} j/n. ``linear`` is the path
    of integrated gradients, i/n.

    Args:
        acts: A, (n, k, *place).
        image: normalised x, (n, c, *space).
        scores_of: scores of changed copies of the images.
        rounds: slices of the channels, by falling variance, that the budget pays.
        n: points of the path.
        schedule: ``cumulative`` begins with the empty image, which is the same for all channels and passed
            once; ``cumulative1`` adds up to j = i, as one library does; ``linear``.
        mask_scaled_at: see ``score_cam``.
        sums: see ``score_cam``.
        top: see ``score_cam``.

    Returns:
        (n, *space), or (n, *place) for ``sums="activations"``; signed where A is.

    Source: Naidu et al. 2020.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "is-cam", n=2, top=8, schedule="linear")
        >>> str(explanation.cost)  # two points of the path for each of eight channels
        '17 F'
    """
    wanted, size = alive(acts, top), size_of(image)
    steps = torch.arange(n, dtype=torch.float64)
    path = {
        "cumulative": steps.cumsum(0) / n,
        "cumulative1": (steps + 1).cumsum(0) / n,
        "linear": (steps + 1) / n,
    }[schedule].to(image)
    brightness = path[path > 0]
    points = len(brightness)

    def masked(i: Index, step: Index) -> Images:
        masks = channel_masks(acts[i, step // points], size, mask_scaled_at)
        return image[i] * (spread(brightness[step % points], masks) * masks)[:, None]

    scores, done = acts.new_zeros(wanted.shape), wanted & (points == 0)
    for now in by_variance(acts, wanted & (points > 0), rounds, points, then=int(points < n)):
        found = scores_of(masked, now.repeat_interleave(points, 1))
        scores, done = scores + torch.unflatten(found, 1, (-1, points)).sum(2), done | now
    if points < n:  # the empty image is the same for every channel
        scores = scores + scores_of(lambda i, _: torch.zeros_like(image[i]), done.any(1, keepdim=True))
    w = weigh(scores / n, done, "softmax")
    total = (spread(w, acts) * acts).sum(1)
    return Raw(
        resize(total, size) if sums == "resized" else total,
        {"weights": w, "skipped": (~done).sum(1)},
    )
