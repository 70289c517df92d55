"""The pointing game."""

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from limelight.card import register_metric
from limelight.errors import MissingTruth
from limelight.ops import resize
from limelight.ops.similarity import constant
from limelight.ops.space import axes, spread
from limelight.scoring.truth import Truth
from limelight.shapes import Flags, Maps, Masks, Scores


@register_metric(
    "pointing-game",
    family="localisation",
    cites="zhang2018",
    cost="(1 if classes == 'predicted' else 0) F",
    in_short="0 F",
    better="higher",
    pooling="class-mean",
    profiles={"aop": {}, "excitation-backprop": {"tolerance": 15}, "ae": {"tolerance": 15}},
)
def pointing_game(
    maps: Maps,
    truth: Truth,
    sees: Callable[[float], Flags],
    *,
    tolerance: Annotated[float, Field(ge=0)] = 0.0,
    subset: Literal["all", "difficult"] = "all",
    absent: Literal["skip", "miss"] = "skip",
    at: Literal["input", "original"] = "input",
    classes: Literal["all", "predicted"] = "all",
) -> Scores:
    """1 where the map's highest point lies on the object, else 0.

    The first maximum in reading order counts; a constant map points nowhere and misses. The figure of a data
    set is the mean over classes of each class's mean. Higher is better. Images all of whose objects carry the
    "difficult" flag are not counted.

    Args:
        maps: (n, *space).
        truth: the object's pixels.
        sees: whether the model sees the explained class in the picture.
        tolerance: in pixels; the object may be nearer than this (strictly). 0 asks for the object itself.
        subset: ``difficult`` counts images whose object covers less than a quarter and that hold objects of
            other classes too.
        absent: whether an image without truth is left out or is a miss.
        at: whether the point is looked for at the size of the network's input, or of the original picture, of which the
            input has to be the whole; the tolerance is in pixels of that.
        classes: ``predicted`` counts classes to which the model gives a probability of at least a half, and its best
            guess where there are none.

    Source: Zhang et al. 2018 (excitation backprop), section 4.1; tolerance as in its published code, 15.

    Example:
        >>> box = [[67, 47, 117, 95]]  # of the star: x1, y1, x2, y2
        >>> results = ll.evaluate("demo/resnet", [ll.example_image()], "grad-cam", "pointing-game", truth=[box])
        >>> results.values("pointing-game").item()
        1.0
    """
    near = _near(truth.masks, maps, tolerance) if at == "input" else _near_originals(truth, maps, tolerance)
    hits = near & ~constant(maps)
    present = truth.known
    counted = present if absent == "skip" else torch.ones_like(present)
    if truth.difficult is not None:
        counted = counted & ~truth.difficult
    if classes == "predicted":
        counted = counted & sees(0.5)
    if subset == "difficult":
        if truth.others is None:
            raise MissingTruth("the difficult subset needs to know which images hold other classes: Truth(others=)")
        counted = counted & truth.others & (truth.masks.float().mean(axes(maps)) < 0.25)
    return hits.to(maps.dtype).masked_fill(~counted, torch.nan)


def _near_originals(truth: Truth, maps: Maps, tolerance: float) -> Flags:
    """Whether the same holds of the maps at the size of the original pictures.

    Raises:
        MissingTruth: nothing is known of these.
    """
    if truth.originals is None:
        raise MissingTruth("at='original' needs to know where the class is in the original pictures, which samples say")
    pairs = zip(truth.originals, maps, strict=True)
    return torch.cat([_near(m[None], resize(s[None], tuple(m.shape)), tolerance) for m, s in pairs])


def _near(masks: Masks, maps: Maps, tolerance: float) -> Flags:
    """Whether some pixel of the mask is nearer to the map's first maximum than the tolerance, or is it."""
    first: Tensor = (maps == maps.amax(axes(maps), keepdim=True)).flatten(1).int().argmax(1)
    squared = torch.zeros_like(maps, dtype=torch.long)
    for axis in reversed(axes(maps)):
        side = maps.shape[axis]
        place = torch.arange(side, device=maps.device).view(-1, *[1] * (maps.ndim - 1 - axis))
        squared += (place - spread(first % side, maps)) ** 2
        first = first // side
    near = (squared < tolerance**2) | (squared == 0)
    return (near & masks).flatten(1).any(1)
