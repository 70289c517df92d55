"""The statistics of a race: on how many pictures after each round, and who is clearly worse than the best."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from limelight.ops import statistics

Floats = npt.NDArray[np.float64]

FIRST = 8
"""Pictures of the first round at least."""


def schedule(pictures: int, first: int = FIRST) -> list[int]:
    """Return how many pictures will have been seen after each round: half of them before the last, and so on.

    >>> schedule(100)
    [12, 25, 50, 100]

    Args:
        pictures: there are.
        first: pictures of the first round at least, if there are so many.
    """
    ends = [pictures]
    while ends[0] // 2 >= first:
        ends.insert(0, ends[0] // 2)
    return ends


def compare_with_best(
    kind: statistics.Pooling,
    methods: Sequence[npt.ArrayLike],
    better: Literal["higher", "lower"],
    tests: int,
    *,
    groups: npt.ArrayLike | None = None,
    eligible: Sequence[bool] | None = None,
    alpha: float = 0.05,
    seed: int = 0,
) -> tuple[int, Floats, Floats]:
    """Compare methods with the best of them.

    The truly best method is dropped only if some other one comes out as surely better in some round. With R rounds and
    M methods there are R (M - 1) such tests, and each is made at alpha / (R (M - 1)) (Bonferroni: alpha is spent in
    equal parts over the planned rounds). So the truly best is dropped with a probability of at most alpha, whichever
    leads meanwhile and whenever the race ends; of several equally good ones that holds for each. The tests are
    one-sided and swap the two methods' values picture by picture, see ``statistics.paired_ps``: exact if it makes no
    difference which method explains a picture, an approximation if the methods have nothing but the figure in common.

    Args:
        kind: how pictures become a figure.
        methods: values of each on the same pictures, (n,) or (n, k).
        better: which figures are good.
        tests: R (M - 1), with the methods that there were at the start.
        groups: class of each picture, (n,).
        eligible: which methods may be the best.
        alpha: only fixes how fine the p-values are.
        seed: of the permutations.

    Returns:
        Place of the best (-1 if no figure is defined); the figures; for each method the probability that the best would
        be ahead by so much if it were no better, times ``tests``: whoever has less than alpha may be dropped.
    """
    sign = 1 if better == "higher" else -1
    figures = np.array([statistics.estimate(kind, values, groups) for values in methods])
    able = ~np.isnan(figures) & (np.ones(len(figures), bool) if eligible is None else np.asarray(eligible, bool))
    p = np.ones(len(figures))
    if not able.any():
        return -1, figures, p
    best = int(np.argmax(np.where(able, sign * figures, -np.inf)))
    for i, values in enumerate(methods):
        if i != best:
            ahead, two_sided = compare_two(
                kind, methods[best], values, better, groups, tests=tests, alpha=alpha, seed=seed
            )
            if ahead > 0:
                p[i] = min(1.0, tests * two_sided / 2)
    return best, figures, p


def compare_two(
    kind: statistics.Pooling,
    one: npt.ArrayLike,
    other: npt.ArrayLike,
    better: Literal["higher", "lower"],
    groups: npt.ArrayLike | None = None,
    *,
    tests: int = 1,
    alpha: float = 0.05,
    seed: int = 0,
) -> tuple[float, float]:
    """Return by how much one method is ahead of another on the pictures that both have, and the two-sided p-value."""
    pair = [np.asarray(values, dtype=float) for values in (one, other)]
    both = ~np.isnan(pair[0] + pair[1]).reshape(len(pair[0]), -1).any(1)
    of_both = None if groups is None else np.asarray(groups)[both]
    figures = [statistics.estimate(kind, values[both], of_both) for values in pair]
    ahead = (figures[0] - figures[1]) * (1 if better == "higher" else -1)
    # Fine enough for a p-value well below the level of one of so many tests.
    resamples = max(10_000, math.ceil(10 * tests / alpha))
    return ahead, statistics.paired_p(kind, pair[0], pair[1], groups, resamples=resamples, seed=seed)


@dataclass(frozen=True)
class DecidingValues:
    """What methods reached, picture by picture, by the metric that decides.

    Attributes:
        pooling: how pictures become a figure.
        by_method: each method's values on the same pictures, (n, k).
        groups: class of each picture, (n,); None where the pooling needs none.
        better: which figures are good.
    """

    pooling: statistics.Pooling
    by_method: Mapping[str, Floats]
    groups: npt.NDArray[np.int64] | None
    better: Literal["higher", "lower"]

    @property
    def sign(self) -> int:
        """1 if high figures are good, else -1."""
        return 1 if self.better == "higher" else -1

    def figure(self, method: str) -> float:
        """Return a method's figure on all pictures."""
        return statistics.estimate(self.pooling, self.by_method[method], self.groups)

    def compare(self, one: str, other: str, seed: int) -> tuple[float, float]:
        """Return by how much one method is ahead of another, and the two-sided p-value; see ``compare_two``."""
        values = self.by_method
        return compare_two(self.pooling, values[one], values[other], self.better, self.groups, seed=seed)
