"""RISE."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from limelight.card import register_method
from limelight.engine.budget import within
from limelight.engine.needs import Rounds, ScoresWhere
from limelight.engine.rng import Draws
from limelight.engine.saliency import Raw
from limelight.ops import divide
from limelight.ops.random_masks import Border, cell_size, masks
from limelight.ops.space import at_most, size_of
from limelight.shapes import Images, Index

AT_ONCE = 256
"""Masks that are added up at once."""


@register_method(
    "rise",
    family="region",
    cites="petsiuk2018",
    cost="1 F + n_masks F",
    layers="none",
    random=True,
    defaults={"score": "prob"},
    profiles={
        "saliency": {"n_masks": 6000, "cells": 8, "p": 0.1},
        "evaluation": {"n_masks": 5000, "cells": 10, "p": 0.1},
    },
)
def rise(
    image: Images,
    scores_where: ScoresWhere,
    draws: Draws,
    rounds: Rounds,
    *,
    n_masks: Annotated[int, Field(ge=1)] = 8000,
    cells: Annotated[int, Field(ge=2)] = 7,
    p: Annotated[float, Field(gt=0, lt=1)] = 0.5,
    border: Border = "reflect",
    norm: Literal["p", "coverage"] = "p",
) -> Raw:
    """Mean of random masks, weighted by the score of the picture that each leaves.

    S = 1 / (N p) sum_m p_c(x m) m, where a mask m is a grid of switches that are on with probability p, resized
    smoothly and shifted at random. The model is asked for scores only.

    Args:
        image: normalised x, (n, c, *space).
        scores_where: scores of those changed copies of the images that are wanted.
        draws: random numbers; all images get the same masks.
        rounds: slices of the masks that the budget pays.
        n_masks: N, fewer where a budget ends.
        cells: of the grid, along each side; no more than there are pixels.
        p: probability that a cell shows the picture.
        border: see ``random_masks.masks``.
        norm: ``coverage`` divides every pixel by how often it was shown, in place of N p.

    Returns:
        (n, *space), not negative if scores are not.

    Source: Petsiuk et al. 2018, section 3.

    Example:
        >>> explanation = ll.explain("demo/resnet", ll.example_image(), "rise", n_masks=50)
        >>> explanation.map.shape, str(explanation.cost)
        (torch.Size([128, 128]), '51 F')
    """
    total, shown, done = weigh_masks(image, scores_where, draws, rounds, n_masks, cells, p, border)
    return Raw(total / (done * p) if norm == "p" else divide(total, shown.expand_as(total)))


def weigh_masks(
    image: Images,
    scores_where: ScoresWhere,
    draws: Draws,
    rounds: Rounds,
    n_masks: int,
    cells: int,
    p: float,
    border: Border,
) -> tuple[Tensor, Tensor, int]:
    """Weigh random masks by the score of the picture that each leaves; see ``rise`` for the arguments.

    Returns:
        sum_m s_m m, (n, *space); sum_m m, (1, *space); and the number of masks.
    """
    size = size_of(image)
    grid, long = at_most(size, cells), [axis for axis, side in enumerate(size) if side > 1]
    exact = image if image.dtype == torch.float64 else image.float()
    grids = (draws.uniform((n_masks, *grid), like=exact) < p).to(exact)
    most = torch.tensor([cell_size(size[axis], cells) for axis in long]).to(exact)
    shifts = torch.zeros(n_masks, len(size), dtype=torch.long, device=image.device)
    shifts[:, long] = (draws.uniform((n_masks, len(long)), like=exact) * most).long()

    def masked(i: Index, m: Index) -> Images:
        return image[i] * masks(grids[m], shifts[m], size, border)[:, None]

    numbers = torch.arange(n_masks, device=image.device).expand(len(image), -1)
    sums: list[tuple[Tensor, Tensor]] = []
    done = 0
    for part in rounds(n_masks):
        scores = scores_where(masked, within(part, numbers))[:, part]
        sums.append(weighted_sum(scores, grids[part], shifts[part], size, border))
        done = part.stop
    total, shown = (torch.stack(parts).sum(0) for parts in zip(*sums, strict=True))
    return total, shown, done


def weighted_sum(
    scores: Tensor, grids: Tensor, shifts: Tensor, size: tuple[int, ...], border: Border
) -> tuple[Tensor, Tensor]:
    """Return sum_m s_m m for scores (n, m), as (n, *space), and sum_m m, as (1, H, W)."""
    total, shown = scores.new_zeros(len(scores), *size), scores.new_zeros(1, *size)
    for start in range(0, len(grids), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        made = masks(grids[part], shifts[part], size, border)
        total += (scores[:, part] @ made.flatten(1)).view_as(total)
        shown += made.sum(0)
    return total, shown
