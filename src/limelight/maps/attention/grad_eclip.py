"""Grad-ECLIP."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from limelight.card import register_method
from limelight.engine.attention import Attentions, OneHead
from limelight.errors import UnsupportedModel
from limelight.model.attention import Attention, side_by_side
from limelight.model.tokens import Tokens
from limelight.ops import min_max
from limelight.shapes import Grid


@register_method(
    "grad-eclip",
    family="attention",
    cites="zhao2024",
    cost="1 F + 1 R",
    layers="none",
    profiles={"authors": {"heads": "one"}, "script": {"heads": "one", "projected": True}},
)
def grad_eclip(
    attention_gradients: Attentions,
    one_head_attention: OneHead,
    *,
    last: int = 1,
    similarity: bool = True,
    projected: bool = False,
    heads: Literal["own", "one"] = "own",
) -> Grid:
    """Values of the last block, weighted by how the score moves with them and by how near their keys are to the query.

    L_i = (sum_c w_c v_ic lambda_i)^+ with w = dS/do at the class token, o the heads' output side by side, and
    lambda_i = cos(q, k_i), from 0 at the least to 1 at the most of all patches.

    Args:
        attention_gradients: the attentions and the gradient of the score with respect to what they give.
        one_head_attention: the same of a pass with one head in the last blocks.
        last: how many of the last blocks count; their maps are added.
        similarity: whether lambda counts.
        projected: whether lambda is of queries and keys behind the linear layer that is there for o, as in the authors'
            script; their notebook has them as they are.
        heads: the network's own, or, as in the authors' programs, one of the full width in the last blocks, which
            explains another pass than the network's.

    Returns:
        (n, *grid), at least 0.

    Source: Zhao et al. 2024, equations 6 to 9.

    Example:
        >>> explanation = ll.explain("demo/vit", ll.example_image(), "grad-eclip", target="star")
        >>> explanation.map.shape
        torch.Size([128, 128])
    """
    seen = attention_gradients if heads == "own" else one_head_attention(last)
    maps = [_of_one(a, _rows(a, seen.tokens, seen.method), seen.tokens, similarity, projected) for a in seen.last(last)]
    return torch.stack(maps).sum(0)


def _of_one(a: Attention, rows: Tensor, tokens: Tokens, similarity: bool, projected: bool) -> Grid:
    """Return the map of one attention, read by some of its queries."""
    assert a.output_gradient is not None
    if a.windows > 1:
        raise UnsupportedModel(
            f"grad-eclip is not defined where tokens see each other in windows only, as in {a.owner!r}"
        )
    if a.queries is None or a.keys is None:
        raise UnsupportedModel(f"grad-eclip needs queries and keys, which were not seen in {a.owner!r}")
    w, v, q, k = (side_by_side(t)[:, 0] for t in (a.output_gradient, a.values, a.queries, a.keys))
    parts = w[:, rows] @ v.mT  # n rows keys
    patches = parts[:, :, -tokens.patches :]
    if projected:
        q, k = _project(a, q), _project(a, k)
    if similarity:
        nearness = F.cosine_similarity(q[:, rows, None], k[:, None, -tokens.patches :], dim=-1)
        patches = patches * min_max(nearness.flatten(0, 1))[0].view_as(patches)
    return torch.unflatten(patches.sum(1).relu(), 1, tokens.grid)


def _project(a: Attention, t: Tensor) -> Tensor:
    """Return queries or keys as the attention's output goes on, (n, tokens, channels).

    Raises:
        UnsupportedModel: it goes through no linear layer.
    """
    if a.project is None:
        raise UnsupportedModel(
            f"grad-eclip, projected=True: what {a.owner!r} gives was not seen to go through a linear layer; leave "
            "projected out"
        )
    return a.project(t).detach()


def _rows(a: Attention, tokens: Tokens, method: str) -> Tensor:
    """Return which queries the head reads.

    Raises:
        UnsupportedModel: those of patches.
    """
    if a.tokens[0] == 1:
        return torch.zeros(1, dtype=torch.long, device=a.values.device)
    rows = tokens.read.nonzero().flatten()
    if bool((rows >= tokens.prefix).any()):
        raise UnsupportedModel(f"{method} reads the row of a class token, and this network's head averages patches")
    return rows
