"""Transformer Input Sampling."""

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from limelight.card import register_method
from limelight.engine.needs import TokenScores
from limelight.engine.rng import Draws
from limelight.engine.saliency import Raw
from limelight.ops import divide
from limelight.ops.arrays import from_numpy
from limelight.ops.scale import varies
from limelight.ops.space import size_of
from limelight.shapes import Acts

NEVER_SHOWN = "Some tokens are in no sample: the map is 0 there, which says nothing of them."
"""What is said of a map with such tokens."""


@register_method(
    "tis",
    family="region",
    cites="englebert2023",
    cost="1 F + (min(n_masks, channels * layers)) F",
    in_short="1 F + n_masks F",
    layers="blocks",
    random=True,
    defaults={"score": "prob"},
)
def tis(
    all_acts: list[Acts],
    token_scores: TokenScores,
    draws: Draws,
    *,
    n_masks: Annotated[int, Field(ge=1)] = 1024,
    keep: Annotated[float, Field(gt=0, le=1)] = 0.5,
) -> Raw:
    """Mean score of the samples of a transformer's tokens in which each token is.

    S_i = sum_m p_m [i in m] / sum_m [i in m]: p_m is the score of the image of which the transformer sees the tokens m
    alone, with its class token. Each m are those where one of the centroids is largest that K-means makes of the
    channels of all blocks. A pass with half of the tokens takes about half of the time, and is counted as one.

    Args:
        all_acts: activations of the blocks, (n, k, *place) each.
        token_scores: scores of the images with some of their tokens.
        draws: random numbers, from which K-means starts.
        n_masks: centroids; no more than there are different channels.
        keep: share of the tokens that is kept, rounded down to at least one token.

    Returns:
        (n, *place), not negative if scores are not. Details: ``scores`` p, (n, m).

    Raises:
        UnsupportedModel: the network needs all of its tokens.

    Source: Englebert et al. 2023, section 3, and the authors' code.

    Example:
        >>> explanation = ll.explain("demo/vit", ll.example_image(), "tis", n_masks=10)
        >>> explanation.raw.shape, str(explanation.cost)
        (torch.Size([8, 8]), '11 F')
    """
    channels = torch.cat(all_acts, 1).flatten(2)
    seed = int(2**31 * draws.uniform((1,), like=torch.zeros(())))
    means = torch.stack([centroids(one, n_masks, seed) for one in channels])  # n m tokens
    wanted = varies(means, 2)
    kept = means.argsort(dim=2, descending=True, stable=True)[..., : max(1, int(keep * means.shape[2]))]
    p = token_scores(kept, wanted)
    inside = torch.zeros_like(means).scatter(2, kept, 1.0) * wanted[..., None]
    shown = inside.sum(1)
    values = divide((p.to(inside)[:, None] @ inside)[:, 0], shown)
    never = (shown == 0).any(1)
    return Raw(torch.unflatten(values, 1, size_of(all_acts[0])), {"scores": p}, flagged={NEVER_SHOWN: never})


def centroids(channels: Float[Tensor, "k tokens"], n: int, seed: int) -> Float[Tensor, "m tokens"]:
    """Return the means of the groups that K-means makes of channels: n, as far as so many differ; else 0."""
    from limelight.ops.clusters import distinct, fit_kmeans  # slow to import, and only wanted here

    vectors = channels.double().cpu().numpy()
    labels = from_numpy(fit_kmeans(vectors, min(n, distinct(vectors)), starts=1, seed=seed)).to(channels.device)
    sums = channels.new_zeros(min(n, len(channels)), channels.shape[1]).index_add(0, labels, channels)
    return sums / labels.bincount(minlength=len(sums)).clamp_min(1)[:, None]
