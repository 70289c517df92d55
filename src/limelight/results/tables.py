"""Numbers for every image, method and metric, and the statistics of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from limelight import files
from limelight.errors import CorruptStore, InvalidOption, ProtocolMismatch, nearest
from limelight.markup import table
from limelight.ops import statistics
from limelight.results import table_file
from limelight.results.comparison import Comparison, Numbers, Pooled, compare_pairs, like_best
from limelight.results.row import TERMS, Column, Row
from limelight.results.summary import Figure, Summary
from limelight.text import visible

if TYPE_CHECKING:
    import pandas


FORMATS = (".csv", ".parquet", ".json", ".md")
"""Suffixes of the files in which results are saved."""


class Results:
    """One row per image and method with the numbers of every metric.

    Args:
        rows: in any order; an image and method may appear once.
        columns: what the metrics' numbers are, by the name under which they stand in the rows.
        settings: how they were made.

    Raises:
        InvalidOption: an image and method appear twice.

    Example:
        >>> pictures = [ll.example_image(number) for number in range(3)]
        >>> results = ll.evaluate("demo/resnet", pictures, ["grad-cam", "random-map"], "complexity")
        >>> results, results.values("complexity").shape
        (Results(3 images x 2 methods x complexity), (2, 3))
    """

    def __init__(
        self, rows: Iterable[Row], columns: Mapping[str, Column], settings: Mapping[str, Any] | None = None
    ) -> None:
        self.rows = tuple(rows)
        self.columns = dict(columns)
        self.settings = dict(settings or {})
        twice = len(self.rows) - len({(r.image, r.method) for r in self.rows})
        if twice:
            raise InvalidOption(f"{twice} pairs of image and method appear more than once; name images differently")

    def __repr__(self) -> str:
        images = f"{len(self.images)} image{'s' * (len(self.images) != 1)}"
        return visible(f"Results({images} x {len(self.methods)} methods x {', '.join(self.columns)})")

    def _repr_html_(self) -> str:
        columns = [self.pool(metric).figures() for metric in self.columns]  # the intervals of a summary take long
        rows = [[method, *(_short(c[i]) for c in columns)] for i, method in enumerate(self.methods)]
        heads = [f"{name} {column.arrow}" for name, column in self.columns.items()]
        return table(["method", *heads], rows, f"{self!r}; summary() has intervals and ranks")

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def methods(self) -> list[str]:
        """Names of the methods."""
        return list(dict.fromkeys(r.method for r in self.rows))

    @cached_property
    def images(self) -> list[str]:
        """Names of the images."""
        return list(dict.fromkeys(r.image for r in self.rows))

    def __add__(self, other: "Results") -> "Results":
        """Put the rows of two runs together.

        Raises:
            ProtocolMismatch: they measured a metric in different ways, or not the same metrics.
        """
        if set(self.columns) != set(other.columns):
            different = ", ".join(sorted(set(self.columns) ^ set(other.columns)))
            raise ProtocolMismatch(f"only one of the two results has {different}; evaluate both by the same metrics")
        for name, column in self.columns.items():
            if column.protocol != other.columns[name].protocol:
                raise ProtocolMismatch(
                    f"{name} was measured in two ways, which can't be averaged or ranked together: "
                    f"{column.protocol} and {other.columns[name].protocol}"
                )
        for key in ("model", "weights"):
            if self.settings.get(key) != other.settings.get(key):
                raise ProtocolMismatch(
                    f"the results are of two models ({self.settings.get('model')}, {other.settings.get('model')} or "
                    "other weights); summarise them one by one"
                )
        return Results((*self.rows, *other.rows), self.columns, self.settings)

    # -- numbers ------------------------------------------------------------------------------------------

    def column(self, metric: str) -> Column:
        """Return what a metric's numbers are.

        Raises:
            InvalidOption: it was not measured.
        """
        if metric not in self.columns:
            known = ", ".join(self.columns)
            raise InvalidOption(f"{metric!r} was not measured{nearest(metric, self.columns)} (there are: {known})")
        return self.columns[metric]

    def values(self, metric: str) -> Numbers:
        """Return a metric's numbers, (methods, images); NaN where it is not defined or there is no row.

        Example:
            >>> results = ll.evaluate("demo/resnet", [ll.example_image()], ["grad-cam", "random-map"], "complexity")
            >>> results.methods, results.values("complexity").shape  # (methods, images)
            (['grad-cam', 'random-map'], (2, 1))
        """
        self.column(metric)
        return self._array(lambda row: row.values.get(metric, np.nan))

    def parts(self, metric: str) -> dict[str, Numbers]:
        """Return what a metric's numbers are made of, by name, (methods, images); nothing for one without parts.

        Example:
            >>> results = ll.evaluate("demo/resnet", [ll.example_image()], ["grad-cam", "random-map"], "adcc")
            >>> {part: values.shape for part, values in results.parts("adcc").items()}
            {'coherency': (2, 1), 'complexity': (2, 1), 'average-drop': (2, 1)}
        """
        self.column(metric)
        names = dict.fromkeys(name for row in self.rows for name in row.parts if name.startswith(f"{metric}."))
        return {
            name.removeprefix(f"{metric}."): self._array(lambda row, name=name: row.parts.get(name, np.nan))
            for name in names
        }

    def curves(self, metric: str) -> dict[str, Numbers]:
        """Return each method's mean curve, over the mean of what its figure is relative to, if it is to something.

        Nothing for a metric without curves.
        """
        relative = self.column(metric).pooling == "ratio"
        curves: dict[str, list[tuple[Sequence[float], float]]] = {}
        for row in self.rows:
            if metric in row.curves:
                unit = row.parts[f"{metric}.{TERMS['ratio'][1]}"] if relative else 1.0
                curves.setdefault(row.method, []).append((row.curves[metric], unit))
        return {method: _mean_curve(pairs) for method, pairs in curves.items()}

    def _array(self, value: Callable[[Row], float]) -> Numbers:
        """Return a number of every row, (methods, images); NaN where there is no row."""
        method = {name: i for i, name in enumerate(self.methods)}
        image = {name: i for i, name in enumerate(self.images)}
        array = np.full((len(method), len(image)), np.nan)
        for row in self.rows:
            array[method[row.method], image[row.image]] = value(row)
        return array

    def pool(self, metric: str) -> Pooled:
        """Return a metric's numbers as its figure is made of them: the pooling, each method's columns, the groups.

        Raises:
            InvalidOption: it was not measured.
        """
        pooling = self.column(metric).pooling
        values = self.values(metric)
        if pooling in TERMS:
            parts = [f"{metric}.{part}" for part in TERMS[pooling]]
            stacked = np.stack([self._array(lambda row, part=part: row.parts[part]) for part in parts], -1)
            stacked[np.isnan(values)] = np.nan
            return Pooled(pooling, list(stacked), None)
        if pooling == "class-mean":
            target = {r.image: r.target for r in self.rows}
            return Pooled(pooling, list(values[:, :, None]), np.array([target[image] for image in self.images]))
        return Pooled(pooling, list(values[:, :, None]), None)

    # -- statistics -------------------------------------------------------------------------------------------

    def compare(self, metric: str, *, alpha: float = 0.05, seed: int = 0) -> list[Comparison]:
        """Compare every pair of methods on the images that both have.

        A paired permutation test of the difference of the figures, two-sided, p adjusted for the number of
        pairs (Holm). What is not significant is not distinguishable on this data, which is not to say that it
        is the same.

        Args:
            metric: one that was measured.
            alpha: significance level.
            seed: of the permutations.

        Raises:
            InvalidOption: the metric was not measured.

        Example:
            >>> results = ll.evaluate("demo/resnet", [ll.example_image()], ["grad-cam", "random-map"], "complexity")
            >>> results.compare("complexity")[0].verdict  # on one picture nothing is significant
            'not distinguishable'
        """
        better = self.column(metric).better
        return compare_pairs(metric, self.methods, self.pool(metric), better, alpha=alpha, seed=seed)

    def summary(self, *, confidence: float = 0.95, alpha: float = 0.05, seed: int = 0) -> Summary:
        """Return every method's figure by every metric with a bootstrap interval over images, and its rank.

        Args:
            confidence: of the intervals.
            alpha: significance level of "not distinguishable from the best", see ``compare``.
            seed: of the resampling.

        Example:
            >>> results = ll.evaluate("demo/resnet", [ll.example_image()], ["grad-cam", "random-map"], "complexity")
            >>> results.summary()["grad-cam", "complexity"].rank
            1
        """
        by_metric = [self._figures(metric, confidence, alpha, seed) for metric in self.columns]
        flat = [f for figures in zip(*by_metric, strict=True) for f in figures]
        return Summary(flat, self.columns, confidence, self.settings.get("left empty"))

    def _figures(self, metric: str, confidence: float, alpha: float, seed: int) -> list[Figure]:
        """Return every method's figure by one metric."""
        pooled = self.pool(metric)
        means = pooled.figures()
        ranks = statistics.ranks(np.array(means), self.columns[metric].better)
        like = like_best(self.methods[int(np.argmax(ranks == 1))], self.compare(metric, alpha=alpha, seed=seed))
        figures: list[Figure] = []
        for method, mean, rank, column in zip(self.methods, means, ranks.tolist(), pooled.columns, strict=True):
            rows = [row for row in self.rows if row.method == method]
            low, high = statistics.interval(pooled.pooling, column, pooled.groups, confidence=confidence, seed=seed)
            images = int((~np.isnan(column).any(1)).sum())
            spent = [row.spent[metric] for row in rows if metric in row.spent]
            figures.append(
                Figure(
                    method=method,
                    metric=metric,
                    mean=mean,
                    low=low,
                    high=high,
                    images=images,
                    undefined=len(rows) - images,
                    degenerate=sum(row.degenerate for row in rows),
                    rank=rank,
                    like_best=method in like and mean == mean,
                    spent=float(np.mean(spent)) if spent else 0.0,
                )
            )
        return figures

    # -- out and in -------------------------------------------------------------------------------------------

    def records(self) -> list[dict[str, Any]]:
        """Return a flat dictionary per row: what is known of it, then the metrics and their parts."""
        return table_file.list_records(self.rows)

    def to_pandas(self) -> "pandas.DataFrame":
        """Return a ``DataFrame`` with a row per image and method; ``attrs`` has the protocols and settings.

        Raises:
            MissingExtra: pandas is not installed.
        """
        frame = files.pandas().DataFrame(self.records())
        frame.attrs = {"protocols": table_file.list_protocols(self.columns), **self.settings}
        return frame

    def to_markdown(self) -> str:
        """Return the summary as a table."""
        return self.summary().to_markdown()

    def to_parquet(self, path: str | Path) -> Path:
        """Write all that is known; ``Results.from_parquet`` reads it again.

        Raises:
            MissingExtra: pyarrow is not installed.
        """
        table_file.write_parquet(Path(path), self.rows, self.columns, self.settings)
        return Path(path)

    @staticmethod
    def from_parquet(path: str | Path) -> "Results":
        """Read results.

        Raises:
            CorruptStore: the file is no results file, or damaged.
            MissingExtra: pyarrow is not installed.
        """
        with files.refusing(CorruptStore, f"{path} can't be read as results, which to_parquet writes"):
            return Results(*table_file.read_parquet(path))

    def save(self, path: str | Path) -> Path:
        """Write the results; the suffix says how: ``.parquet``, ``.csv``, ``.json`` (rows) or ``.md`` (summary).

        Pictures that can't be read are named in all but a csv, which has rows alone.

        Raises:
            InvalidOption: another suffix.

        Example:
            >>> results = ll.evaluate("demo/resnet", [ll.example_image()], "grad-cam", "complexity")
            >>> results.save("results.csv").read_text().splitlines()[0][:19]
            'image,method,target'
        """
        path = Path(path)
        match files.check_suffix(path, *FORMATS):
            case ".parquet":
                self.to_parquet(path)
            case ".csv":
                table_file.write_csv(path, self.rows)
            case ".json":
                table_file.write_json(path, self.rows, self.columns, self.settings)
            case _:
                table_file.write_markdown(path, self.to_markdown(), self.settings.get("unreadable", {}))
        return path


def _short(value: float) -> str:
    return f"{value:z.3f}" if value == value else "–"


def _mean_curve(curves: Sequence[tuple[Sequence[float], float]]) -> Numbers:
    """Return the mean of curves over the mean of their units; NaN where that is 0."""
    unit = float(np.mean([unit for _, unit in curves]))
    return np.mean(np.asarray([curve for curve, _ in curves], dtype=np.float64), 0) / (unit or np.nan)
