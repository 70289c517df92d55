"""One image explained by one method, and what the numbers of its metrics mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import nan
from typing import Literal

from limelight.ops import statistics

TERMS: dict[statistics.Pooling, tuple[str, ...]] = {
    "adcc": ("coherency", "complexity", "average-drop"),
    "ratio": ("right", "clean"),
}
"""The parts of a metric from whose means a figure is made, by pooling."""


@dataclass(frozen=True)
class Column:
    """What a metric's numbers are.

    Attributes:
        name: the metric.
        protocol: id of all that fixes a number.
        better: ``"higher"`` or ``"lower"``.
        pooling: how images become one figure.
    """

    name: str
    protocol: str
    better: Literal["higher", "lower"]
    pooling: statistics.Pooling = "mean"

    @property
    def arrow(self) -> str:
        """The direction of the better numbers: ``"↑"`` or ``"↓"``."""
        return "↑" if self.better == "higher" else "↓"


@dataclass(frozen=True)
class Row:
    """One image explained by one method; all but the first two are unknown where that failed.

    Attributes:
        image: name of the image.
        method: name of the method.
        target: index of the explained class.
        label: name of the explained class.
        probability: that the model gives the explained class.
        reason: why the map is empty, or "".
        seconds: time of the explanation.
        forwards: forward passes of the explanation, in full-model equivalents.
        backwards: backward passes of the explanation, in full-model equivalents.
        values: each metric's number; NaN where it is not defined.
        parts: the terms of these numbers, by ``metric.part``.
        spent: passes that each metric added, forward and backward together.
        curves: for some metrics the curve whose area the number is.
        calls: forward passes of the explanation, each counted as one, also through a part of the model; NaN in files
            that were written before they were counted, and of maps of other origin, whose passes nobody counts.
    """

    image: str
    method: str
    target: int = -1
    label: str = ""
    probability: float = nan
    reason: str = ""
    seconds: float = 0.0
    forwards: float = 0.0
    backwards: float = 0.0
    values: Mapping[str, float] = field(default_factory=dict[str, float])
    parts: Mapping[str, float] = field(default_factory=dict[str, float])
    spent: Mapping[str, float] = field(default_factory=dict[str, float])
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict[str, Sequence[float]])
    calls: float = 0.0

    @property
    def degenerate(self) -> bool:
        """Whether the map is empty."""
        return bool(self.reason)

    def only(self, metric: str) -> "Row":
        """Return the row with the numbers of one metric, which it must have."""
        return replace(
            self,
            values={metric: self.values[metric]},
            parts={name: value for name, value in self.parts.items() if name.startswith(f"{metric}.")},
            spent={metric: self.spent[metric]} if metric in self.spent else {},
            curves={metric: self.curves[metric]} if metric in self.curves else {},
        )
