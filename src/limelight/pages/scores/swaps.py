"""Permutation tests of many pairs of methods at once, which share the swaps of images."""

from collections.abc import Sequence

import numpy as np

from limelight.ops import statistics
from limelight.pages.scores import levels
from limelight.pages.scores.bootstrap import split_draws
from limelight.pages.scores.model import Floats, MetricScores
from limelight.pages.scores.normal import normal_p_value


def compare_pairs(metrics: Sequence[MetricScores], seed: int) -> list[Floats]:
    """Return the p-value of each pair of methods, by metric, as ``statistics.paired_ps`` has them."""
    count = statistics.swaps_for(max((scores.values.shape[1] for scores in metrics), default=1))
    tests = [_SwapTest(scores, count) for scores in metrics]
    open_tests: dict[int, list[_SwapTest]] = {}
    for test in tests:
        if test.open.any():
            open_tests.setdefault(len(test.scores.values), []).append(test)
    for n, alike in open_tests.items():
        moves = np.concatenate([test.moves for test in alike], 1)
        ends = np.cumsum([test.moves.shape[1] for test in alike])[:-1]
        rng = np.random.default_rng(seed)
        for _, rows in split_draws(n, count):
            lots = (rng.random((rows, n)) < 0.5).astype(float)
            for test, moved in zip(alike, np.split(moves.T @ lots.T, ends), strict=True):
                test.count(moved)
    return [test.p for test in tests]


class _SwapTest:
    """The test of every pair of methods by one metric, by swapping their values image by image.

    Attributes:
        scores: of the methods.
        open: the pairs whose p-value takes random swaps; of the others it is known.
        moves: by how much a swap of each image moves the means of methods or pairs, (images, columns).

    Args:
        scores: of the methods.
        count: of random swaps.
    """

    def __init__(self, scores: MetricScores, count: int) -> None:
        self.scores, self._count = scores, count
        one, other = self._one, self._other = scores.pairs
        both = scores.defined[:, one] & scores.defined[:, other]  # images, pairs
        weights, total = statistics.level(both.T.astype(float), scores.groups)
        weights = (weights / np.maximum(total, 1.0)).T[..., None]
        values = np.where(scores.defined[:, :, None], scores.values, 0.0)
        steps = weights * (values[:, one] - values[:, other])  # images, pairs, k
        self._a, self._b = (weights * values[:, one]).sum(0), (weights * values[:, other]).sum(0)
        # Where all methods speak of the same images, a method moves by the same whomever it is swapped with.
        self._alike = bool((scores.defined == scores.defined[:, :1]).all()) and len(one) > 0
        self.moves = (weights[:, :1] * values if self._alike else steps).reshape(len(values), -1)
        size = np.abs(values).max((0, 2), initial=0.0)
        apart = np.abs(statistics.figure(scores.pooling, self._a) - statistics.figure(scores.pooling, self._b))
        self._least = apart - 1e-10 * np.maximum(size[one], size[other])  # another order of sums is no difference
        self._hits, self._known = np.zeros(len(one)), np.full(len(one), np.nan)
        differ = np.minimum((steps != 0).any(2).sum(0), 62)
        many = both.sum(0) > levels.MANY_IMAGES
        self.open = both.any(0) & (1 << differ > count) & ~many
        for i in np.flatnonzero(both.any(0) & ~self.open):
            if many[i]:
                self._known[i] = normal_p_value(scores.pooling, self._a[i], self._b[i], steps[:, i])
            else:
                pair = scores.values[:, one[i]], scores.values[:, other[i]]
                self._known[i] = statistics.paired_p(scores.pooling, *pair, scores.groups, resamples=count)

    def count(self, moved: Floats) -> None:
        """Count the swaps that put two methods as far apart as they are; ``moved`` (columns, swaps)."""
        pooling, k = self.scores.pooling, self._a.shape[1]
        moved = moved.reshape(-1, k, moved.shape[1])
        if self._alike:
            moved = moved[self._one] - moved[self._other]
        if k == 1:
            apart = (self._a - self._b) - 2 * moved[:, 0]
        else:
            by = moved.transpose(0, 2, 1)
            a, b = self._a[:, None] - by, self._b[:, None] + by
            apart = statistics.figure(pooling, a) - statistics.figure(pooling, b)
        self._hits += np.count_nonzero(np.abs(apart, out=apart) >= self._least[:, None], axis=1)

    @property
    def p(self) -> Floats:
        """The p-value of each pair; NaN where no image has a value from both."""
        return np.where(self.open, (self._hits + 1) / (self._count + 1), self._known)
