"""Say of every model's methods what ``Results.summary`` would say of its rows."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from limelight.ops import statistics
from limelight.pages.scores.bootstrap import bootstrap_intervals
from limelight.pages.scores.levels import ALPHA, CONFIDENCE
from limelight.pages.scores.model import Floats, ModelScores
from limelight.pages.scores.swaps import compare_pairs
from limelight.results.summary import Figure, Summary


def summarize(models: Sequence[ModelScores], seed: int = 0) -> list[Summary]:
    """Return the figures of each model's methods, with intervals and ranks.

    Args:
        models: the scores of each model, which share the draws.
        seed: of the random draws.
    """
    metrics = [metric for scores in models for metric in scores.by_metric]
    intervals, ps = bootstrap_intervals(metrics, seed), compare_pairs(metrics, seed)
    summaries: list[Summary] = []
    start = 0
    for scores in models:
        count = len(scores.columns)
        figures = [_figures_of(scores, i, intervals[start + i], ps[start + i]) for i in range(count)]
        start += count
        ordered = [figures[i][m] for m in range(len(scores.methods)) for i in range(count)]
        summaries.append(Summary(ordered, scores.columns, CONFIDENCE))
    return summaries


def _figures_of(scores: ModelScores, metric: int, intervals: Floats, ps: Floats) -> list[Figure]:
    """Return the figures of all methods by one metric.

    Args:
        scores: the scores of a model.
        metric: its place among the columns.
        intervals: low and high end of each method's figure, (methods, 2).
        ps: the p-value of each pair of methods.
    """
    name, column = list(scores.columns.items())[metric]
    means = scores.by_metric[metric].figures
    ranks = statistics.ranks(means, column.better)
    best = int(np.argmax(ranks == 1))
    adjusted = statistics.holm(ps)
    like = {best}
    for pair, p in zip(combinations(range(len(means)), 2), adjusted, strict=True):
        if best in pair and not p < ALPHA:
            like |= {*pair}
    rows, defined = scores.there[metric].sum(1), scores.by_metric[metric].defined.sum(0)
    return [
        Figure(
            method=method,
            metric=name,
            mean=float(means[m]),
            low=float(intervals[m, 0]),
            high=float(intervals[m, 1]),
            images=int(defined[m]),
            undefined=int(rows[m] - defined[m]),
            degenerate=int((scores.empty[m] & scores.there[:, m].any(0)).sum()),
            rank=int(ranks[m]),
            like_best=m in like and bool(means[m] == means[m]),
            spent=float(scores.spent[metric, m]) if rows[m] else 0.0,
        )
        for m, method in enumerate(scores.methods)
    ]
