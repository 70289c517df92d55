"""Intervals and tests over so many images that their means are normal for all that can be seen."""

import numpy as np
from scipy.special import ndtr, ndtri

from limelight.ops import statistics
from limelight.pages.scores.levels import TAILS
from limelight.pages.scores.model import Floats, Integers, MetricScores


def normal_interval(scores: MetricScores, method: int) -> Floats:
    """Return the interval of a method's figure from the influence that each image has on it."""
    which = scores.defined[:, method]
    values = scores.values[which, method]
    groups = None if scores.groups is None else scores.groups[which]
    weights, total = statistics.level(np.ones((1, len(values))), groups)
    weights = weights[0] / total[0]
    mean = weights @ values
    centre = mean if groups is None else _class_means(values, groups)
    influence = weights * ((values - centre) @ _derivative(scores.pooling, mean))
    return scores.figures[method] + ndtri(TAILS) * np.sqrt((influence**2).sum())


def normal_p_value(pooling: statistics.Pooling, a: Floats, b: Floats, steps: Floats) -> float:
    """Return the p-value of swaps whose sums are normal; ``steps`` (n, k) is what a swap moves."""
    spread = float(np.sqrt(((steps @ _derivative(pooling, (a + b) / 2)) ** 2).sum()))
    apart = abs(float(statistics.figure(pooling, a) - statistics.figure(pooling, b)))
    return float(2 * ndtr(-apart / spread)) if spread else 1.0


def _class_means(values: Floats, groups: Integers) -> Floats:
    """Return for each image the mean of its class, (n, 1)."""
    _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return (np.bincount(member, values[:, 0]) / sizes)[member][:, None]


def _derivative(pooling: statistics.Pooling, means: Floats, step: float = 1e-6) -> Floats:
    """Return how a figure changes with the means that it is made of, (k,)."""
    around = step * np.eye(len(means))
    return (statistics.figure(pooling, means + around) - statistics.figure(pooling, means - around)) / (2 * step)
