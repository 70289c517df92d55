"""Erasure: what the model says once the most relevant pixels are gone."""

from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field

from limelight.card import register_metric
from limelight.engine.baselines import Fill
from limelight.ops.order import ranks
from limelight.scoring.measured import Measured
from limelight.scoring.needs import LogitsOf
from limelight.shapes import Images, Index, Logits, Maps


@register_metric(
    "erasure",
    family="faithfulness",
    cites="nam2024",
    cost="2 F",
    better="higher",
    profiles={"ae": {}},
)
def erasure(
    image: Images,
    raw: Maps,
    clean_logits: Callable[[], Logits],
    logits_of: LogitsOf,
    fill: Callable[[Fill], Images],
    *,
    pixels: Annotated[int, Field(ge=1)] = 4000,
    erased: Fill = "zero",
) -> Measured:
    """How often the model says another class once the most relevant pixels are erased.

    1 where argmax f(x with the pixels erased) is not argmax f(x), else 0. In [0, 1], higher is better. The classes
    before and after are parts of the result.

    Args:
        image: x.
        raw: raw map at the size of the image; its order counts.
        clean_logits: f(x).
        logits_of: f of the picture with pixels erased.
        fill: what they become.
        pixels: how many; a smaller picture loses all it has.
        erased: the mean colour (``zero``), ``black``, or any other fill.

    Source: Attribution Equilibrium, fig. 11: 4 000 of 224 x 224 pixels; that they become the mean colour is a reading.

    Example:
        >>> metric = ll.metric("erasure", pixels=1500)
        >>> row = ll.evaluate("demo/resnet", [ll.example_image()], "attribution-equilibrium", metric).rows[0]
        >>> int(row.parts["erasure.before"]) == row.target
        True
    """
    place, instead = ranks(raw), fill(erased)

    def frames(i: Index, _: Index) -> Images:
        return torch.where((place[i] < pixels)[:, None], instead[i], image[i])

    before, after = clean_logits().argmax(-1), logits_of(frames, 1)[:, 0].argmax(-1)
    parts = {"before": before.to(image.dtype), "after": after.to(image.dtype)}
    return Measured((before != after).to(image.dtype), parts)
