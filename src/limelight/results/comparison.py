"""Compare methods, pair by pair, on the images that both have."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from limelight.markup import table
from limelight.ops import statistics

Numbers = npt.NDArray[np.float64]

SAME = "not distinguishable"
"""The verdict on two methods whose difference may be chance."""


class Pooled(NamedTuple):
    """A metric's numbers as ``limelight.ops.statistics`` takes them.

    Attributes:
        pooling: how images become one figure.
        columns: each method's numbers, (images, terms), with one term unless the figure is made of several.
        groups: the class of each image, (images,), where the figure is a mean of classes; else None.
    """

    pooling: statistics.Pooling
    columns: list[Numbers]
    groups: npt.NDArray[np.int64] | None

    def figures(self) -> list[float]:
        """Return the figure of each method."""
        return [statistics.estimate(self.pooling, column, self.groups) for column in self.columns]


@dataclass(frozen=True)
class Comparison:
    """Two methods by one metric.

    Attributes:
        metric: name of the metric.
        first: a method.
        second: another method.
        difference: figure of the first less that of the second.
        p: adjusted for the number of pairs; NaN if there is no common image.
        verdict: the better method's name, or ``"not distinguishable"``.
    """

    metric: str
    first: str
    second: str
    difference: float
    p: float
    verdict: str

    def _repr_html_(self) -> str:
        head = ("metric", "first", "second", "difference", "p", "verdict")
        numbers = f"{self.difference:z.3f}", f"{self.p:z.2g}"
        return table(head, [(self.metric, self.first, self.second, *numbers, self.verdict)])


def compare_pairs(
    metric: str,
    methods: Sequence[str],
    pooled: Pooled,
    better: Literal["higher", "lower"],
    *,
    alpha: float,
    seed: int,
) -> list[Comparison]:
    """Test every pair of methods for a difference of their figures; see ``Results.compare``.

    Args:
        metric: name of the metric.
        methods: names, in the order of ``pooled.columns``.
        pooled: the metric's numbers.
        better: which figures are good.
        alpha: significance level.
        seed: of the permutations.
    """
    pairs = list(combinations(range(len(methods)), 2))
    if not pairs:
        return []
    draws = statistics.swaps_for(len(methods))
    p = statistics.paired_ps(pooled.pooling, pooled.columns, pooled.groups, resamples=draws, seed=seed)
    adjusted = statistics.holm(np.array([p[pair] for pair in pairs]))
    figures, sign = pooled.figures(), 1 if better == "higher" else -1
    comparisons: list[Comparison] = []
    for (a, b), value in zip(pairs, adjusted.tolist(), strict=True):
        difference = figures[a] - figures[b]
        ahead = methods[a if sign * difference > 0 else b]
        verdict = ahead if value < alpha else SAME
        comparisons.append(Comparison(metric, methods[a], methods[b], difference, value, verdict))
    return comparisons


def like_best(best: str, comparisons: Iterable[Comparison]) -> set[str]:
    """Return the best method with all that are not distinguishable from it."""
    return {best}.union(
        *((c.first, c.second) for c in comparisons if best in (c.first, c.second) and c.verdict == SAME)
    )
