"""Bootstrap intervals of many figures at once, which share the draws of images."""

from collections.abc import Iterator, Sequence

import numpy as np

from limelight.ops import statistics
from limelight.pages.scores import levels
from limelight.pages.scores.levels import RESAMPLES, TAILS
from limelight.pages.scores.model import Booleans, Floats, MetricScores
from limelight.pages.scores.normal import normal_interval


def bootstrap_intervals(metrics: Sequence[MetricScores], seed: int) -> list[Floats]:
    """Return low and high end of each method's figure, (methods, 2), by metric."""
    intervals = [np.full((scores.values.shape[1], 2), np.nan) for scores in metrics]
    # Methods that speak of the same images, classes and kind of figure are one matrix.
    alike: dict[tuple[bytes, str, int], list[tuple[int, int]]] = {}
    for number, scores in enumerate(metrics):
        for m in range(scores.values.shape[1]):
            groups = 0 if scores.groups is None else id(scores.groups)
            alike.setdefault((scores.defined[:, m].tobytes(), scores.pooling, groups), []).append((number, m))
    resampled: dict[int, list[_Resampling]] = {}
    for members in alike.values():
        first, method = members[0]
        which = metrics[first].defined[:, method]
        n = int(which.sum())
        if n > levels.MANY_IMAGES:
            for number, m in members:
                intervals[number][m] = normal_interval(metrics[number], m)
        elif n > 1:
            resampled.setdefault(n, []).append(_Resampling(metrics, members, which))
    for n, resamplings in resampled.items():
        rng = np.random.default_rng(seed)
        for start, rows in split_draws(n, RESAMPLES):
            lots = rng.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
            counts = np.bincount(lots.ravel(), minlength=rows * n).reshape(rows, n).astype(float)
            for resampling in resamplings:
                resampling.draw(start, counts)
        for resampling in resamplings:
            for (number, m), figures in zip(resampling.members, resampling.figures, strict=True):
                intervals[number][m] = np.quantile(figures, TAILS)
    return intervals


def split_draws(n: int, draws: int) -> Iterator[tuple[int, int]]:
    """Yield where to begin and how many draws of n images to hold at a time."""
    step = max(1, statistics.CHUNK // n)
    for start in range(0, draws, step):
        yield start, min(step, draws - start)


class _Resampling:
    """The figures of many methods over images that are drawn again and again.

    Args:
        metrics: the scores by every metric.
        members: metric and method of each figure.
        which: the images that count.
    """

    def __init__(self, metrics: Sequence[MetricScores], members: Sequence[tuple[int, int]], which: Booleans) -> None:
        first = metrics[members[0][0]]
        self.members = members
        self.figures = np.empty((len(members), RESAMPLES))
        self._pooling: statistics.Pooling = first.pooling
        self._groups = None if first.groups is None else first.groups[which]
        self._values = np.stack([metrics[i].values[which, m] for i, m in members], 1)  # n, methods, k

    def draw(self, start: int, counts: Floats) -> None:
        """Work out the figures where images count so often, (draws, n)."""
        shares, total = statistics.level(counts, self._groups)
        means = (shares @ self._values.reshape(len(self._values), -1)) / total
        figures = statistics.figure(self._pooling, means.reshape(len(counts), *self._values.shape[1:]))
        self.figures[:, start : start + len(counts)] = figures.T
