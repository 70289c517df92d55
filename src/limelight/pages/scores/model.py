"""The scores of one model as arrays, and the cells that failed."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from limelight.ops import statistics
from limelight.results.row import TERMS, Column

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Failure:
    """Cells of one model and method that have an error in place of a number.

    Attributes:
        model: name of the model.
        method: label of the method.
        error: what happened.
        images: on which.
        cells: how many.
    """

    model: str
    method: str
    error: str
    images: Sequence[str]
    cells: int


@dataclass(frozen=True)
class MetricScores:
    """The scores of all methods by one metric.

    Attributes:
        pooling: how images become a figure.
        values: (images, methods, terms), with one term unless the figure is pooled from several.
        groups: the class of each image, where the figure is a mean of classes.
    """

    pooling: statistics.Pooling
    values: Floats
    groups: Integers | None

    @cached_property
    def defined(self) -> Booleans:
        """Which images count for which method, (images, methods)."""
        return np.asarray(~np.isnan(self.values).any(2))

    @cached_property
    def pairs(self) -> tuple[Integers, Integers]:
        """First and second method of each pair."""
        return np.triu_indices(self.values.shape[1], 1)

    @cached_property
    def figures(self) -> Floats:
        """The figure of each method."""
        methods = range(self.values.shape[1])
        return np.array([statistics.estimate(self.pooling, self.values[:, m], self.groups) for m in methods])


@dataclass(frozen=True)
class ModelScores:
    """All scores of one model.

    Attributes:
        model: its name.
        methods: labels, in the order of the recipe.
        columns: what the metrics' numbers are, by label, in the order of the recipe.
        images: names, sorted.
        values: (metrics, methods, images); NaN where there is no number.
        there: (metrics, methods, images), whether there is a finished cell.
        terms: of metrics that are pooled from several: (methods, images, terms), by metric.
        targets: the explained class of each image.
        classes: the same, told apart where several data sets have classes of their own.
        empty: (methods, images), whether the map is empty.
        seconds: of an explanation, mean per method; NaN if it never worked.
        passes: forward and backward passes, mean per method; NaN if it never worked.
        calls: forward passes, each counted as one, mean per method; NaN where they were not counted.
        spent: (metrics, methods), passes that a metric added.
    """

    model: str
    methods: Sequence[str]
    columns: dict[str, Column]
    images: Sequence[str]
    values: Floats
    there: Booleans
    terms: dict[str, Floats]
    targets: Integers
    classes: Integers
    empty: Booleans
    seconds: Floats
    passes: Floats
    calls: Floats
    spent: Floats

    @cached_property
    def by_metric(self) -> list[MetricScores]:
        """The scores of the methods by each metric, in the order of the columns."""
        scores: list[MetricScores] = []
        for i, (metric, column) in enumerate(self.columns.items()):
            values = self.values[i].T[:, :, None]
            if column.pooling in TERMS:
                values = np.where(np.isnan(values), np.nan, self.terms[metric].transpose(1, 0, 2))
            groups = self.classes if column.pooling == "class-mean" else None
            scores.append(MetricScores(column.pooling, values, groups))
        return scores
