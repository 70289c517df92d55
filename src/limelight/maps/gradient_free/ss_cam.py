"""SS-CAM."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from limelight.card import register_method
from limelight.engine.needs import Rounds, ScoresWhere
from limelight.engine.rng import Draws
from limelight.engine.saliency import Raw
from limelight.maps.gradient_free.score_cam import MaskScaledAt, channel_masks, score_channels, usable_channels, weigh
from limelight.ops import divide, resize
from limelight.ops.arrays import integers
from limelight.shapes import Acts, Images, Index


@register_method(
    "ss-cam",
    family="gradient-free CAM",
    cites="wang2020sscam",
    cost="1 F + (n * channels) F",
    in_short="1 F + n channels F",
    random=True,
    defaults={"score": "prob"},
    profiles={
        "torchcam": {
            "score": "logit",
            "noise": "sigma",
            "weights": "softmax",
            "mask_scaled_at": "feature",
            "sums": "activations",
        },
    },
)
def ss_cam(
    acts: Acts,
    image: Images,
    scores_where: ScoresWhere,
    draws: Draws,
    rounds: Rounds,
    *,
    n: Annotated[int, Field(ge=1)] = 35,
    sigma: Annotated[float, Field(ge=0)] = 2.0,
    mode: Literal["activation", "input"] = "activation",
    noise: Literal["official", "sigma"] = "official",
    weights: Literal["score", "softmax"] = "score",
    mask_scaled_at: MaskScaledAt = "input",
    sums: Literal["resized", "activations"] = "resized",
    top: Annotated[int, Field(ge=1)] | None = None,
) -> Raw:
    """Score-CAM with scores averaged over noise on the masks, or on the masked images.

    w_k = 1/n sum_m p_c(x (V_k + e_m)) with V_k = U(A_k), or 1/n sum_m p_c(x mm(V_k) + e_m), and
    L = sum_k w_k V_k. The authors' code takes (sigma / range)^2 as the standard deviation, so that the noise
    depends on the scale of the activations: range 20 gives 0.01, range 0.5 gives 16. A deviation of 2 on a
    mask in [0, 1] buries it.

    Args:
        acts: A, (n, k, h, w).
        image: normalised x, (n, 3, H, W).
        scores_where: scores of those changed copies of the images that are wanted.
        draws: random numbers; every channel and copy has its own.
        rounds: slices of the channels, by falling variance, that the budget pays.
        n: noisy copies per channel.
        sigma: scale of the noise.
        mode: noise on the mask (one value per position) or on the masked ``input`` (one per colour too).
        noise: the ``official`` deviation, or ``sigma`` itself on masks that are scaled to [0, 1].
        weights: ``softmax`` of the mean scores over the channels.
        mask_scaled_at: see ``score_cam``.
        sums: see ``score_cam``.
        top: see ``score_cam``.

    Returns:
        (n, H, W), or (n, h, w) for ``sums="activations"``; signed where A is.

    Source: Wang et al. 2020 (SS-CAM), and the authors' code.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "ss-cam", n=2, top=8)
        >>> str(explanation.cost)  # two noisy copies for each of eight channels
        '17 F'
    """
    copies, size = n, (image.shape[-2], image.shape[-1])

    def noisy(i: Index, step: Index) -> Images:
        channels, x = acts[i, step // copies], image[i]
        colours = x.shape[1] if mode == "input" else 1
        e = torch.stack([draws.number(s).normal((colours, *size), like=x) for s in integers(step)])
        plain = mode == "activation" and noise == "official"
        masks = (resize(channels, size) if plain else channel_masks(channels, size, mask_scaled_at))[:, None]
        if mode == "activation":
            return x * (masks + _deviation(masks, sigma, noise) * e)
        return x * masks + _deviation(x * masks, sigma, noise) * e

    def mean_over_noise(chosen: Tensor) -> Tensor:
        return torch.unflatten(scores_where(noisy, chosen.repeat_interleave(copies, 1)), 1, (-1, copies)).mean(2)

    scores, scored = score_channels(mean_over_noise, acts, usable_channels(acts, top), rounds, copies)
    w = weigh(scores, scored, weights)
    total = (w[:, :, None, None] * acts).sum(1)
    return Raw(resize(total, size) if sums == "resized" else total, {"weights": w, "skipped": (~scored).sum(1)})


def _deviation(values: Tensor, sigma: float, noise: str) -> Tensor:
    extent = values.amax((1, 2, 3), keepdim=True) - values.amin((1, 2, 3), keepdim=True)
    if noise == "sigma":
        return torch.full_like(extent, sigma)
    return divide(torch.full_like(extent, sigma), extent).square()
