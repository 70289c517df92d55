"""The grid pointing game."""

from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field

from limelight.card import register_metric
from limelight.engine.saliency import Saliency
from limelight.ops import divide, resize
from limelight.ops.order import keep_top
from limelight.ops.space import axes
from limelight.scoring.truth import Truth
from limelight.shapes import Maps, Scores

NOTHING = 1e-7
"""Total mass up to which a map counts as empty."""


@register_metric("grid-pg", family="localisation", cites="boehle2021", cost="0 F", better="higher", profiles={"ae": {}})
def grid_pg(
    raw: Maps,
    truth: Truth,
    explain_with_method: Callable[[str], Saliency],
    *,
    keep: Annotated[float, Field(gt=0, le=1)] | None = None,
    keep_as: str | None = None,
) -> Scores:
    """Share of the positive evidence that lies in the class's own cell of a mosaic.

    sum of S+ in the cell / sum of S+; 0 where there is none. In [0, 1], higher is better, chance is 1 / cells.
    ``limelight.mosaics`` builds the mosaics with their targets and truth.

    Args:
        raw: S, the raw map at the size of the mosaic.
        truth: the cell.
        explain_with_method: other methods' explanations of the same mosaics.
        keep: keep this share of the pixels, the largest, and nothing else.
        keep_as: keep as many pixels as this method's raw map has positive ones, pair by pair, so that methods
            are compared at the same number.

    Source: Böhle et al. 2021, section 4; Rao et al. 2022; the top-k variant is Attribution Equilibrium's.

    Example:
        >>> from limelight.data.synthetic import test_split
        >>> cells = ll.mosaics("demo/resnet", test_split(12), count=1, confidence=0.5)
        >>> results = ll.evaluate("demo/resnet", cells, "grad-cam", "grid-pg", targets="label")
        >>> results.summary()["grad-cam", "grid-pg"].mean > 1 / 4  # more than by chance
        True
    """
    positive = raw.clamp_min(0)
    if keep_as is not None:
        other = resize(explain_with_method(keep_as).raw, tuple(raw.shape[1:]))
        positive = keep_top(positive, (other > 0).sum(axes(other)))
    elif keep is not None:
        count = torch.full((len(raw),), round(keep * raw[0].numel()), device=raw.device)
        positive = keep_top(positive, count)
    total = positive.sum(axes(raw))
    share = divide((positive * truth.masks).sum(axes(raw)), total)
    return share.masked_fill(total <= NOTHING, 0.0)
