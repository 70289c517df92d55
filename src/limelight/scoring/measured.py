"""What a metric returns."""

from dataclasses import dataclass, field

from torch import Tensor

from limelight.model.cost import Cost
from limelight.shapes import Curve, Scores


@dataclass(frozen=True)
class Measured:
    """What a metric returns if there is more to tell than one number per image.

    Attributes:
        values: one number per image, (n,); NaN where the metric is not defined for it.
        parts: what the number is made of, tensors (n,).
        curve: what it is the area of, (n, steps).
        cost: passes per image that this metric added, measured.

    Example:
        >>> import torch
        >>> measured = ll.Measured(torch.tensor([0.6, 0.8]), parts={"inside": torch.tensor([0.9, 0.8])})
        >>> measured.values.shape  # a number for each picture
        torch.Size([2])
    """

    values: Scores
    parts: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    curve: Curve | None = None
    cost: Cost = field(default_factory=Cost)
