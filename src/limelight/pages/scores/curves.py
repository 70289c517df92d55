"""Read the curves of a run, which some metrics are the area of."""

from collections.abc import Sequence

import numpy as np

from limelight.bench.store import Store
from limelight.pages.scores.model import Floats, ModelScores
from limelight.pages.scores.word_column import encode

Curves = dict[str, dict[str, tuple[Floats, Floats]]]
"""By metric and method: the mean of the curves, and the standard error of that mean."""


def read_curves(store: Store, models: Sequence[ModelScores]) -> list[Curves]:
    """Return the curves of each model."""
    table = store.table(["model", "method", "metric", "curve"])
    lengths = table["curve"].combine_chunks().value_lengths().to_numpy(zero_copy_only=False)
    table = table.take(np.flatnonzero(lengths > 1))
    lengths, lists = lengths[lengths > 1], table["curve"].combine_chunks()
    words = {name: encode(table[name]) for name in ("model", "method", "metric")}
    by_model: list[Curves] = []
    for scores in models:
        curves: Curves = {}
        of_model = words["model"].equals(scores.model)
        for metric in scores.columns:
            of_metric = np.flatnonzero(of_model & words["metric"].equals(metric))
            for method in scores.methods if len(of_metric) else ():
                rows = of_metric[words["method"].equals(method)[of_metric]]
                if len(rows):
                    length = int(np.median(lengths[rows]))  # a metric has one number of steps
                    flat = lists.take(rows[lengths[rows] == length]).flatten().to_numpy(zero_copy_only=False)
                    block = flat.reshape(-1, length).astype(np.float64)
                    if scores.columns[metric].pooling == "ratio":
                        unit = float(np.nanmean(scores.terms[metric][list(scores.methods).index(method), :, 1]))
                        if not unit:  # a network that is never right has nothing to be relative to
                            continue
                        block /= unit
                    spread = block.std(0, ddof=1) if len(block) > 1 else np.full(length, np.nan)
                    curves.setdefault(metric, {})[method] = block.mean(0), spread / np.sqrt(len(block))
        by_model.append(curves)
    return by_model
