"""What an explanation costs: counted passes, and the formulas that predict them."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from limelight.progress import count_passes

_NEVER_LESS_THAN_NONE = 0.0, 1e15  # more than any machine has done
_RECORDED = {
    "target": (-1.0, 2.0**63),
    "probability": (0.0, 1.0 + 1e-5),
    **dict.fromkeys(("seconds", "forwards", "backwards", "calls", "spent"), _NEVER_LESS_THAN_NONE),
}


def check_recorded(numbers: Mapping[str, Any]) -> None:
    """Refuse what no explanation can have, in a record that was read: text for a number, fewer passes than none, ….

    Args:
        numbers: one or many by name, as ``Row`` has them; of a probability, a metric's value and calls NaN is none.

    Raises:
        ValueError: one is impossible.
    """
    for name, given in numbers.items():
        values = np.atleast_1d(np.asarray(given))
        if values.dtype.kind not in "iuf":
            raise ValueError(f"{name} holds what is no number")
        low, high = _RECORDED.get(name, (-math.inf, math.inf))
        wrong = ~((low <= values) & (values <= high))
        if name in ("probability", "calls") or name not in _RECORDED:
            wrong &= ~np.isnan(values)
        if wrong.any():
            raise ValueError(f"{name} = {values[wrong][0]:g} can't be")


@dataclass(frozen=True)
class Cost:
    """Passes per image.

    Attributes:
        n_forward: passes of one image through the whole network (F).
        n_forward_tail: passes through the part behind the layer (F_t).
        n_backward: backward passes to the input (R).
        n_backward_tail: backward passes to the layer only (R_t).
        tail: share of the network's arithmetic that lies behind the layer, in [0, 1].
    """

    n_forward: float = 0.0
    n_forward_tail: int | float = 0.0
    n_backward: float = 0.0
    n_backward_tail: float = 0.0
    tail: float = 1.0

    @property
    def forwards(self) -> float:
        """Forward passes in full-model equivalents."""
        return self.n_forward + self.tail * self.n_forward_tail

    @property
    def calls(self) -> float:
        """Forward passes as papers count them: each is one, also through the part behind the layer alone."""
        return self.n_forward + self.n_forward_tail

    @property
    def passes(self) -> float:
        """Forward and backward passes; each is one, also through a part."""
        return self.calls + self.n_backward + self.n_backward_tail

    @property
    def backwards(self) -> float:
        """Backward passes in full-model equivalents."""
        return self.n_backward + self.tail * self.n_backward_tail

    def from_layer(self, tail: float) -> "Cost":
        """Return the same cost, with the part behind another layer, ``tail``, as the unit of F_t and R_t."""
        scale = self.tail / tail if tail else 1.0
        return replace(
            self,
            n_forward_tail=self.n_forward_tail * scale,
            n_backward_tail=self.n_backward_tail * scale,
            tail=tail,
        )

    def __add__(self, other: "Cost") -> "Cost":
        sums = (getattr(self, f.name) + getattr(other, f.name) for f in fields(self)[:4])
        return Cost(*sums, tail=self.tail)

    def __str__(self) -> str:
        counts = zip(UNITS, (getattr(self, f.name) for f in fields(self)), strict=False)
        return " + ".join(f"{round(count, 2):g} {unit}" for unit, count in counts if count) or "0"


UNITS = ("F", "F_t", "R", "R_t")
_KNOWN = {"max": max, "min": min, "len": len, "ceil": math.ceil, "prod": math.prod}
_TERM = re.compile(r"(?P<count>.+?)\s+(?P<unit>F_t|F|R_t|R)(?:\s*\+\s*|$)")


def predict(formula: str, values: Mapping[str, Any], tail: float = 1.0) -> Cost:
    """Evaluate a card's cost formula, such as ``(n + 1) F + n R_t`` with ``{"n": 4}``."""
    counts: dict[str, float] = dict.fromkeys(UNITS, 0.0)
    for term in _TERM.finditer(formula):
        counts[term["unit"]] += float(eval(term["count"], {"__builtins__": _KNOWN, **values}))
    return Cost(*counts.values(), tail=tail)


class Meter:
    """Counts the samples that are pushed through the model."""

    def __init__(self) -> None:
        self._spent = Cost()

    def add(
        self,
        *,
        forward: int | float = 0,
        forward_tail: int | float = 0,
        backward: int | float = 0,
        backward_tail: int = 0,
    ) -> None:
        """Record passes, in samples."""
        count_passes(forward + forward_tail + backward + backward_tail)
        self._record(forward, forward_tail, backward, backward_tail)

    def charge(self, cost: Cost, images: int) -> None:
        """Record passes that another meter has counted, for so many images."""
        counts = (cost.n_forward, cost.n_forward_tail, cost.n_backward, cost.n_backward_tail)
        self._record(*(round(images * count) for count in counts))

    def _record(self, *counts: int | float) -> None:
        s = self._spent
        before = (s.n_forward, s.n_forward_tail, s.n_backward, s.n_backward_tail)
        self._spent = Cost(*(a + b for a, b in zip(before, counts, strict=True)))

    def add_of_layer(self, other: "Meter", tail: float, unit: float) -> None:
        """Take in what was counted at a layer with ``tail`` behind it, in passes behind a layer with ``unit``."""
        s, more = self._spent, other.per_image(1, tail).from_layer(unit)
        self._spent = replace(s + more, tail=s.tail)

    def per_image(self, images: int, tail: float) -> Cost:
        """Return what was spent, divided by the number of images."""
        s = self._spent
        counts = (s.n_forward, s.n_forward_tail, s.n_backward, s.n_backward_tail)
        return replace(Cost(*(count / images for count in counts)), tail=tail)
