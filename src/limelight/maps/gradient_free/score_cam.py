"""Score-CAM."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from limelight.card import register_method
from limelight.engine.budget import within
from limelight.engine.needs import Rounds, ScoresOf, ScoresWhere
from limelight.engine.saliency import Raw
from limelight.ops import min_max, resize
from limelight.ops.scale import varies
from limelight.shapes import Acts, Images, Index, Maps

MaskScaledAt = Literal["input", "feature"]


@register_method(
    "score-cam",
    family="gradient-free CAM",
    cites="wang2020",
    cost="1 F + channels F",
    defaults={"score": "prob"},
    profiles={
        "paper": {"score": "logit", "weights": "softmax"},
        "cic": {"weights": "increase"},
        "cluster-cam": {"weights": "increase", "over": "image"},
        "adcc": {"mask_scaled_at": "feature", "sums": "masks", "normalize_at": "feature"},
        "torchcam": {"score": "logit", "weights": "softmax", "mask_scaled_at": "feature", "sums": "activations"},
    },
)
def score_cam(
    acts: Acts,
    image: Images,
    scores_of: ScoresOf,
    scores_where: ScoresWhere,
    rounds: Rounds,
    *,
    weights: Literal["score", "softmax", "increase"] = "score",
    over: Literal["zero", "image"] = "zero",
    mask_scaled_at: MaskScaledAt = "input",
    sums: Literal["resized", "activations", "masks"] = "resized",
    top: Annotated[int, Field(ge=1)] | None = None,
) -> Raw:
    """Channels weighted by the score of the image seen through each of them.

    H_k = mm(U(A_k)), w_k = p_c(x H_k), L = sum_k w_k U(A_k): U resizes to the image, mm scales to [0, 1].
    Constant channels cost no pass and have weight 0.

    Args:
        acts: A, (n, k, h, w).
        image: normalised x, (n, 3, H, W).
        scores_of: scores of changed copies of the images.
        scores_where: scores of those changed copies of the images that are wanted.
        rounds: slices of the channels, by falling variance, that the budget pays.
        weights: ``softmax`` of the scores over the channels (the paper's Algorithm 1, whose baseline cancels);
            ``increase`` over the score of another image, for one more pass.
        over: which: the empty one, or the ``image`` itself, as Cluster-CAM's paper has it. There are few masks that
            raise the score, so most weights are negative then and many maps are empty.
        mask_scaled_at: ``feature`` scales before resizing.
        sums: what is added up: ``resized`` activations, ``activations`` as they are (then resized), or the
            scaled ``masks``.
        top: an approximation: only so many channels, those that vary most.

    Returns:
        (n, H, W), or (n, h, w) unless ``sums="resized"``; signed where A is.

    Source: Wang et al. 2020, Algorithm 1.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "score-cam", top=16)
        >>> explanation.map.shape, str(explanation.cost)
        (torch.Size([128, 128]), '17 F')
    """
    size, usable = (image.shape[-2], image.shape[-1]), usable_channels(acts, top)

    def masked(i: Index, k: Index) -> Images:
        return image[i] * channel_masks(acts[i, k], size, mask_scaled_at)[:, None]  # x H_k

    score = partial(scores_where, masked)
    scores, scored = score_channels(score, acts, usable, rounds, passes_after=int(weights == "increase"))
    if weights == "increase":
        scores = scores - scores_of(lambda i, _: image[i] * (over == "image"), 1)
    w = weigh(scores, scored, "softmax" if weights == "softmax" else "score")
    summands = min_max(acts.flatten(0, 1))[0].view_as(acts) if sums == "masks" else acts
    total = (w[:, :, None, None] * summands).sum(1)
    return Raw(
        resize(total, size) if sums == "resized" else total,
        {"weights": w, "skipped": (~scored).sum(1)},
    )


def usable_channels(acts: Acts, top: int | None = None) -> Tensor:
    """Tell which channels make a mask, (n, k): those that aren't constant, or the ``top`` of them that vary most."""
    usable = varies(acts)
    if top is None or top >= acts.shape[1]:
        return usable
    strongest = acts.var((-2, -1)).topk(top, dim=1).indices
    return usable & torch.zeros_like(usable).scatter(1, strongest, True)


def score_channels(
    score: Callable[[Tensor], Tensor],
    acts: Acts,
    usable: Tensor,
    rounds: Rounds,
    passes_per_channel: int = 1,
    passes_after: int = 0,
) -> tuple[Tensor, Tensor]:
    """Return the scores of channels, (n, k), and which have one, (n, k): those that vary most, as the budget pays.

    Args:
        score: scores those channels that it is given, (n, k), and returns 0 for the others.
        acts: A, (n, k, h, w).
        usable: which channels may be scored, (n, k); the others have score 0.
        rounds: slices of the channels that the budget pays.
        passes_per_channel: what a channel takes, per image.
        passes_after: passes per image that follow the last channel.
    """
    variance = acts.var((-2, -1)).masked_fill(~usable, -1.0)
    rank = variance.argsort(dim=1, descending=True, stable=True).argsort(1)
    scores, scored = acts.new_zeros(usable.shape), torch.zeros_like(usable)
    for part in rounds(int(usable.sum(1).amax()), passes_per_channel, passes_after=passes_after):
        chosen = usable & within(part, rank)
        scores, scored = scores + score(chosen), scored | chosen
    return scores, scored


def channel_masks(channels: Tensor, size: tuple[int, int], scaled_at: MaskScaledAt = "input") -> Maps:
    """Turn channels (m, h, w) into masks in [0, 1] of the images' size, (m, H, W)."""
    if scaled_at == "feature":
        return resize(min_max(channels)[0], size)
    return min_max(resize(channels, size))[0]


def weigh(scores: Tensor, scored: Tensor, kind: Literal["score", "softmax"]) -> Tensor:
    """Return the weights of channels with these scores, (n, k): 0 where they have none."""
    if kind == "softmax":
        scores = scores.masked_fill(~scored, -torch.inf).softmax(1)
    return scores.masked_fill(~scored, 0.0)
