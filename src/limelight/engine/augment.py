"""Views of a picture whose maps are averaged, to smooth a map."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from limelight.engine.saliency import Saliency
from limelight.ops import divide, resize
from limelight.ops.arrays import truths
from limelight.ops.space import axes

Augment = Literal["none", "flip", "scale", "flip+scale"]
SCALES = (0.75, 1.25)
View = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]
"""From the images to the view, and from its maps back to theirs."""


def _keep(values: Tensor) -> Tensor:
    return values


def _flip(values: Tensor) -> Tensor:
    return values.flip(-1)


def _scale(by: float) -> View:
    def there(x: Tensor) -> Tensor:
        size = [round(by * side) for side in x.shape[-2:]]
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=True)

    return there, _keep


VIEWS: dict[Augment, tuple[View, ...]] = {
    "none": (),
    "flip": ((_flip, _flip),),
    "scale": tuple(map(_scale, SCALES)),
    "flip+scale": ((_flip, _flip), *map(_scale, SCALES)),
}
"""The views beside the picture itself: its mirror image, or smaller and larger copies (not for models of one
input size)."""


def average_views(saliencies: list[Saliency], augment: Augment) -> Saliency:
    """Return the record of the picture itself with the mean of the maps of all its views.

    Each view's raw map is divided by its largest value, so that all count alike, and resized to the picture's.
    """
    first = saliencies[0]
    backs = (_keep, *(back for _, back in VIEWS[augment]))
    raws = [resize(back(s.raw), first.finish.size) for back, s in zip(backs, saliencies, strict=True)]
    total = torch.stack([divide(r, r.abs().amax(axes(r), keepdim=True).expand_as(r)) for r in raws]).mean(0)
    _, empty = first.finish(total)
    reasons = ["constant map: the views cancel" if e else "" for e in truths(empty)]
    return replace(
        first,
        raw=total,
        reasons=tuple(new and (old or new) for old, new in zip(first.reasons, reasons, strict=True)),
        notes=(*first.notes, f"The mean of {len(raws)} views of the picture ({augment})."),
        cost=sum((s.cost for s in saliencies[1:]), first.cost),
        seconds=sum(s.seconds for s in saliencies),
    )
