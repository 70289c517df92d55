"""Attention rollout."""

from typing import Literal

import torch
from torch import Tensor

from limelight.card import register_method
from limelight.engine.attention import Attentions
from limelight.model.attention import Attention
from limelight.shapes import Grid

Heads = Literal["mean", "max", "min"]


@register_method(
    "attention-rollout",
    family="attention",
    cites="abnar2020",
    cost="1 F",
    layers="none",
    class_sensitive=False,
    profiles={"vit-explain": {"divide": "keys"}},
)
def attention_rollout(
    attention: Attentions,
    *,
    heads: Heads = "mean",
    discard: float = 0.0,
    start_layer: int = 0,
    divide: Literal["queries", "keys"] = "queries",
) -> Grid:
    """Attention of all blocks multiplied, each with its residual connection; the same for every class.

    R_l = a_l R_{l-1} with a_l = (mean_h A_l + I) / 2 and R_0 = I, in the row that the head reads.

    Args:
        attention: A of every block, (n, heads, tokens, tokens).
        heads: how those of a block are fused.
        discard: share of the smallest entries of each fused matrix that become 0 (of vit-explain, not of the paper).
        start_layer: the first block that counts, from 0; below 0 from the end.
        divide: by which sums the entries of a_l are divided: each row's own (``queries``), or, as vit-explain's
            program does, those in column j by the sum of row j (``keys``).

    Returns:
        (n, *grid), at least 0.

    Source: Abnar and Zuidema 2020, equation 1.

    Example:
        >>> explanation = ll.explain("demo/vit", ll.example_image(), "attention-rollout", discard=0.9)
        >>> float(explanation.raw.min()) >= 0
        True
    """

    def mix(a: Tensor) -> Tensor:
        a = a + torch.eye(a.shape[-1]).to(a)
        total = a.sum(-1)
        return a / (total[:, :, None] if divide == "queries" else total[:, None])

    return attention.compose(lambda a: _discard(_fuse(a, heads), discard), mix, start_layer)


def _fuse(attention: Attention, heads: Heads) -> Tensor:
    """Return one matrix for all heads, (n, queries, keys)."""
    if heads == "mean":
        return attention.weights.mean(1)
    return attention.weights.amax(1) if heads == "max" else attention.weights.amin(1)


def _discard(a: Tensor, share: float) -> Tensor:
    """Return matrices whose smallest entries are 0, but for the one of the first token over itself."""
    if not share:
        return a
    flat = a.flatten(1)
    smallest = flat.topk(int(flat.shape[1] * share), largest=False).indices
    kept = flat.scatter(1, smallest, 0.0)
    return torch.cat([flat[:, :1], kept[:, 1:]], 1).view_as(a)
