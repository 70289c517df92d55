"""ViT-CX."""

from typing import Annotated

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from limelight.card import register_method
from limelight.engine.needs import ScoresWhere
from limelight.engine.rng import Draws
from limelight.engine.saliency import Raw
from limelight.ops import divide, min_max, resize
from limelight.ops.arrays import from_numpy
from limelight.ops.hierarchy import complete_linkage
from limelight.ops.scale import varies
from limelight.ops.space import axes, size_of, spread
from limelight.shapes import Acts, Images, Index, Scores

Channels = Float[Tensor, "k *place"]
"""Activations of one image."""


@register_method(
    "vit-cx",
    family="region",
    cites="xie2023",
    cost="1 F + (2 * channels) F",
    in_short="1 F + 2 F per group",
    random=True,
    defaults={"score": "prob"},
)
def vit_cx(
    acts: Acts,
    image: Images,
    score: Scores,
    scores_where: ScoresWhere,
    draws: Draws,
    *,
    threshold: Annotated[float, Field(ge=0, le=2)] = 0.1,
    noise: Annotated[float, Field(ge=0)] = 0.1,
) -> Raw:
    """Groups of similar channels, weighted by what the score owes to what they show, and shared out where they overlap.

    M_k = mm(sum_{j in group k} mm(U(A_j))): U resizes to the image, mm scales to [0, 1].
    p_k = p(x M_k + e (1 - M_k)) - p(x + e (1 - M_k)) + p(x), L = (1/K) sum_k p_k M_k / sum_j M_j.
    The second term takes off what the noise e does by itself. Constant channels are in no group.

    Args:
        acts: A, (n, k, *place); the paper's are those of the last block's first normalisation, which is the default
            layer of transformers that read a class token.
        image: normalised x, (n, c, *space).
        score: p(x), (n,).
        scores_where: scores of those changed copies of the images that are wanted.
        draws: random numbers; all masks and images get the same noise.
        threshold: the largest 1 - cosine of two mm(U(A_j)) of a group, by complete linkage.
        noise: standard deviation of e; 0 leaves it out, and half of the passes with it.

    Returns:
        (n, *space), 0 where no mask is. Details: ``groups``, the group of each channel, -1 for none, (n, k);
        ``weights`` p of the groups, 0 for those that there are not, (n, k).

    Source: Xie et al. 2023, section 4, and the authors' code.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "vit-cx", noise=0.0)
        >>> channels, groups = len(explanation.details["groups"]), len(explanation.details["groups"].unique())
    """
    size = size_of(image)
    labels, groups = map(torch.stack, zip(*(group(one, size, threshold) for one in acts), strict=True))
    there, e = varies(groups, 2), noise * draws.normal(tuple(image.shape[1:]), like=image)

    def masks(i: Index, k: Index) -> Images:
        return min_max(resize(groups[i, k], size))[0][:, None]

    def veil(i: Index, k: Index) -> Images:
        return e * (1 - masks(i, k))

    p = scores_where(lambda i, k: image[i] * masks(i, k) + veil(i, k), there)
    if noise:
        p = p - scores_where(lambda i, k: image[i] + veil(i, k), there) + score[:, None]
    p = p.masked_fill(~there, 0.0)
    total = covered = p.new_zeros(len(image), *size)
    for k in range(int(labels.amax()) + 1):
        m = min_max(resize(groups[:, k], size))[0]
        total, covered = total + spread(p[:, k], m) * m, covered + m
    count = spread(there.sum(1), total).to(total)
    return Raw(divide(divide(total, covered), count), {"groups": labels, "weights": p})


def group(channels: Channels, size: tuple[int, ...], threshold: float) -> tuple[Int[Tensor, " k"], Channels]:
    """Put channels of similar shape together; see ``vit_cx`` for the arguments.

    Returns:
        The group of each channel, -1 for constant ones, (k,); and each group's sum of A_j / (max U(A_j) - min U(A_j)),
        (k, *place), which differs from that of mm(U(A_j)) by a constant once it is resized; 0 for groups that there are
        not.
    """
    shown, usable = resize(channels, size), varies(channels, 1)
    labels = torch.full_like(usable, -1, dtype=torch.long)
    if bool(usable.any()):
        units = normalize(min_max(shown[usable])[0].flatten(1))
        apart = (1 - units @ units.mT).clamp_min(0).double().cpu().numpy()  # a cosine is rounded to more than 1
        labels[usable] = from_numpy(complete_linkage(apart, threshold)).to(labels)
    extents = shown.amax(axes(shown)) - shown.amin(axes(shown))
    scaled = divide(channels, spread(extents, channels).expand_as(channels))
    member = labels == torch.arange(len(labels), device=labels.device)[:, None]
    return labels, torch.einsum("gk,k...->g...", member.to(scaled), scaled)
