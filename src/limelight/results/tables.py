"""Numbers for every image, method and metric, and the statistics of them."""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import numpy.typing as npt
import pydantic

from limelight import files
from limelight.errors import CorruptStore, InvalidOption, MissingExtra, ProtocolMismatch, nearest
from limelight.model.cost import check_recorded
from limelight.ops import statistics
from limelight.text import csv_cell, markdown, visible

if TYPE_CHECKING:
    import pandas

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Column:
    """What a metric's numbers are.

    Attributes:
        name: the metric.
        protocol: id of all that fixes a number.
        better: ``"higher"`` or ``"lower"``.
        pooling: how images become one figure.
    """

    name: str
    protocol: str
    better: Literal["higher", "lower"]
    pooling: statistics.Pooling = "mean"


@dataclass(frozen=True)
class Row:
    """One image explained by one method.

    Attributes:
        image: name of the image.
        method: name of the method.
        target: the explained class.
        label: its name.
        probability: that the model gives it.
        reason: why the map is empty, or "".
        seconds: time of the explanation.
        forwards: passes of the explanation, in full-model equivalents.
        backwards: backward passes of it.
        values: the metrics' numbers; NaN where a metric is not defined.
        parts: what they are made of, by ``metric.part``.
        spent: passes that each metric added, forward and backward together.
        curves: what some numbers are the area of.
    """

    image: str
    method: str
    target: int
    label: str
    probability: float
    reason: str
    seconds: float
    forwards: float
    backwards: float
    values: Mapping[str, float]
    parts: Mapping[str, float] = field(default_factory=dict[str, float])
    spent: Mapping[str, float] = field(default_factory=dict[str, float])
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict[str, Sequence[float]])


@dataclass(frozen=True)
class Figure:
    """One method's figure by one metric.

    Attributes:
        method: name of the method.
        metric: name of the metric.
        mean: the figure of the data set.
        low: lower end of its interval; NaN for a single image.
        high: upper end.
        images: number of images that it is made of.
        undefined: number of images for which the metric is not defined.
        degenerate: number of empty maps among all.
        rank: 1 is best; methods with the same figure share one.
        like_best: whether it is the best or not distinguishable from the best.
        spent: passes per image that the metric added.
    """

    method: str
    metric: str
    mean: float
    low: float
    high: float
    images: int
    undefined: int
    degenerate: int
    rank: int
    like_best: bool
    spent: float

    def __str__(self) -> str:
        if self.low != self.low:
            return f"{self.mean:z.3f}"
        return f"{self.mean:z.3f} [{self.low:z.3f}, {self.high:z.3f}]"


@dataclass(frozen=True)
class Comparison:
    """Two methods by one metric.

    Attributes:
        metric: name of the metric.
        first: a method.
        second: another.
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


class Summary(Sequence[Figure]):
    """The figures of a data set, method by method; prints itself as a table."""

    def __init__(self, figures: Sequence[Figure], columns: Mapping[str, Column], confidence: float) -> None:
        self._figures, self.columns, self.confidence = list(figures), columns, confidence

    @overload
    def __getitem__(self, key: int | tuple[str, str]) -> Figure: ...
    @overload
    def __getitem__(self, key: slice) -> list[Figure]: ...
    def __getitem__(self, key: int | tuple[str, str] | slice) -> Figure | list[Figure]:
        """Return the figure at a position, or of ``(method, metric)``."""
        if not isinstance(key, tuple):
            return self._figures[key]
        found = next((f for f in self._figures if (f.method, f.metric) == key), None)
        if found is None:
            raise InvalidOption(f"there is no figure of {key}; methods: {self._names('method')}")
        return found

    def __len__(self) -> int:
        return len(self._figures)

    def _names(self, what: str) -> list[str]:
        return list(dict.fromkeys(getattr(f, what) for f in self._figures))

    def to_pandas(self) -> "pandas.DataFrame":
        """Return a row per method and metric."""
        records = [{**vars(f), "protocol": self.columns[f.metric].protocol} for f in self._figures]
        return _pandas().DataFrame(records)

    def to_markdown(self, *, intervals: bool = True) -> str:
        """Return a table: a line per method; bold is the best and what is not distinguishable from it."""
        metrics = self._names("metric")
        arrows = {m: "↑" if self.columns[m].better == "higher" else "↓" for m in metrics}
        lines = ["| method | " + " | ".join(f"{markdown(m)} {arrows[m]}" for m in metrics) + " | empty maps |"]
        lines.append("| --- |" + " --- |" * (len(metrics) + 1))
        for method in self._names("method"):
            figures = [self[method, m] for m in metrics]
            cells = [str(f) if intervals else f"{f.mean:z.3f}" for f in figures]
            cells = [f"**{c}**" if f.like_best else c for c, f in zip(cells, figures, strict=True)]
            total = max(f.images + f.undefined for f in figures)
            lines.append(f"| {markdown(method)} | " + " | ".join(cells) + f" | {figures[0].degenerate} of {total} |")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return self.to_markdown()


class Results:
    """One row per image and method with the numbers of every metric.

    Args:
        rows: in any order; an image and method may appear once.
        columns: what the metrics' numbers are, by the name under which they stand in the rows.
        settings: how they were made.

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
        return visible(f"Results({len(self.images)} images x {len(self.methods)} methods x {', '.join(self.columns)})")

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
        return self._array([(r, r.values.get(metric, np.nan)) for r in self.rows])

    def curves(self, metric: str) -> dict[str, Numbers]:
        """Return each method's mean curve; nothing for metrics without."""
        found: dict[str, list[Sequence[float]]] = {}
        for row in self.rows:
            if metric in row.curves:
                found.setdefault(row.method, []).append(row.curves[metric])
        return {method: np.mean(np.asarray(curves, dtype=np.float64), 0) for method, curves in found.items()}

    def _array(self, cells: Iterable[tuple[Row, float]]) -> Numbers:
        method = {name: i for i, name in enumerate(self.methods)}
        image = {name: i for i, name in enumerate(self.images)}
        array = np.full((len(method), len(image)), np.nan)
        for row, value in cells:
            array[method[row.method], image[row.image]] = value
        return array

    def pooled(self, metric: str) -> tuple[statistics.Pooling, list[Numbers], npt.NDArray[np.int64] | None]:
        """Return the pooling, each method's columns, and the images' groups."""
        pooling = self.column(metric).pooling
        values = self.values(metric)
        if pooling == "adcc":
            parts = [f"{metric}.{part}" for part in ("coherency", "complexity", "average-drop")]
            stacked = np.stack([self._array([(r, r.parts[p]) for r in self.rows]) for p in parts], -1)
            stacked[np.isnan(values)] = np.nan
            return pooling, list(stacked), None
        if pooling == "class-mean":
            target = {r.image: r.target for r in self.rows}
            return pooling, list(values[:, :, None]), np.array([target[image] for image in self.images])
        return pooling, list(values[:, :, None]), None

    # -- what may be said -----------------------------------------------------------------------------------

    def compare(self, metric: str, *, alpha: float = 0.05, seed: int = 0) -> list[Comparison]:
        """Compare every pair of methods on the images that both have.

        A paired permutation test of the difference of the figures, two-sided, p adjusted for the number of
        pairs (Holm). What is not significant is not distinguishable on this data, which is not to say that it
        is the same.

        Args:
            metric: one that was measured.
            alpha: significance level.
            seed: of the permutations.

        Example:
            >>> results = ll.evaluate("demo/resnet", [ll.example_image()], ["grad-cam", "random-map"], "complexity")
            >>> results.compare("complexity")[0].verdict  # on one picture nothing is significant
            'not distinguishable'
        """
        pooling, columns, groups = self.pooled(metric)
        pairs = list(combinations(range(len(columns)), 2))
        if not pairs:
            return []
        p = statistics.paired_ps(pooling, columns, groups, resamples=statistics.swaps_for(len(columns)), seed=seed)
        adjusted = statistics.holm(np.array([p[pair] for pair in pairs]))
        figure = [statistics.estimate(pooling, c, groups) for c in columns]
        sign = 1 if self.columns[metric].better == "higher" else -1
        found: list[Comparison] = []
        for (a, b), value in zip(pairs, adjusted.tolist(), strict=True):
            difference = figure[a] - figure[b]
            better = self.methods[a if sign * difference > 0 else b]
            verdict = better if value < alpha else "not distinguishable"
            found.append(Comparison(metric, self.methods[a], self.methods[b], difference, value, verdict))
        return found

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
        figures: dict[tuple[str, str], Figure] = {}
        for metric, column in self.columns.items():
            pooling, columns, groups = self.pooled(metric)
            means = [statistics.estimate(pooling, c, groups) for c in columns]
            ranks = statistics.ranks(np.array(means), column.better)
            best = self.methods[int(np.argmax(ranks == 1))]
            pairs = self.compare(metric, alpha=alpha, seed=seed)
            like = {
                best,
                *(
                    m
                    for c in pairs
                    if c.verdict == "not distinguishable"
                    for m in (c.first, c.second)
                    if best in (c.first, c.second)
                ),
            }
            for i, method in enumerate(self.methods):
                low, high = statistics.interval(pooling, columns[i], groups, confidence=confidence, seed=seed)
                rows = [r for r in self.rows if r.method == method]
                defined = ~np.isnan(columns[i]).any(1)
                spent = [r.spent[metric] for r in rows if metric in r.spent]
                figures[method, metric] = Figure(
                    method=method,
                    metric=metric,
                    mean=means[i],
                    low=low,
                    high=high,
                    images=int(defined.sum()),
                    undefined=len(rows) - int(defined.sum()),
                    degenerate=sum(bool(r.reason) for r in rows),
                    rank=int(ranks[i]),
                    like_best=method in like and means[i] == means[i],
                    spent=float(np.mean(spent)) if spent else 0.0,
                )
        ordered = [figures[method, metric] for method in self.methods for metric in self.columns]
        return Summary(ordered, self.columns, confidence)

    # -- out and in -------------------------------------------------------------------------------------------

    def records(self) -> list[dict[str, Any]]:
        """Return a flat dictionary per row: what is known of it, then the metrics and their parts."""
        return [
            {
                "image": r.image,
                "method": r.method,
                "target": r.target,
                "label": r.label,
                "probability": r.probability,
                "degenerate": bool(r.reason),
                "reason": r.reason,
                "seconds": r.seconds,
                "forwards": r.forwards,
                "backwards": r.backwards,
                **r.values,
                **r.parts,
            }
            for r in self.rows
        ]

    def to_pandas(self) -> "pandas.DataFrame":
        """Return a ``DataFrame`` with a row per image and method; ``attrs`` has the protocols and settings."""
        frame = _pandas().DataFrame(self.records())
        frame.attrs = {"protocols": {n: c.protocol for n, c in self.columns.items()}, **self.settings}
        return frame

    def to_markdown(self) -> str:
        """Return the summary as a table."""
        return self.summary().to_markdown()

    def to_parquet(self, path: str | Path) -> Path:
        """Write all that is known; ``Results.from_parquet`` reads it again."""
        arrow, parquet = files.arrow()
        columns = [vars(c) | {"label": name} for name, c in self.columns.items()]
        extra = [{"spent": dict(r.spent), "curves": {k: list(v) for k, v in r.curves.items()}} for r in self.rows]
        table = arrow.Table.from_pylist(
            [
                {k: files.storable(v) if isinstance(v, str) else v for k, v in record.items()}
                | {"_extra": json.dumps(more)}
                for record, more in zip(self.records(), extra, strict=True)
            ]
        )
        about = json.dumps({"columns": columns, "settings": self.settings}, default=str)
        with files.whole(path) as draft:
            parquet.write_table(table.replace_schema_metadata({"limelight": about}), draft)
        return Path(path)

    @staticmethod
    def from_parquet(path: str | Path) -> "Results":
        """Read results.

        Raises:
            CorruptStore: the file is no results file, or damaged.
        """
        files.arrow()
        with files.refusing(CorruptStore, f"{path} can't be read as results, which to_parquet writes"):
            table = files.rows_in(files.content_of(path))
            about = json.loads((table.schema.metadata or {})[b"limelight"])
            known = pydantic.TypeAdapter(Column)
            columns = {c.pop("label"): known.validate_python(c) for c in about["columns"]}
            empty = [field.name for field in table.schema if str(field.type) == "null"]  # parts that no row has
            check_recorded({n: table[n].to_numpy() for n in table.column_names if n not in (*_TEXTS, *empty)})
            rows = pydantic.TypeAdapter(list[Row]).validate_python([_row(r, columns) for r in table.to_pylist()])
            return Results(rows, columns, about["settings"])

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
        writers = {".parquet": self.to_parquet, ".csv": self._to_csv, ".json": self._to_json, ".md": self._to_md}
        if path.suffix.lower() not in writers:
            raise InvalidOption(f"cannot write {path.name!r}: the suffix must be one of {', '.join(writers)}")
        writers[path.suffix.lower()](path)
        return path

    def _to_csv(self, path: Path) -> None:
        import csv

        names = list(dict.fromkeys(k for record in self.records() for k in record))
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(map(csv_cell, names))
        writer.writerows([csv_cell(record.get(name, "")) for name in names] for record in self.records())
        files.write(path, text.getvalue())

    def _to_json(self, path: Path) -> None:
        about = {"protocols": {n: c.protocol for n, c in self.columns.items()}, "settings": self.settings}
        rows = [{k: None if v != v else v for k, v in record.items()} for record in self.records()]
        files.write(path, json.dumps(about | {"rows": rows}, indent=1, default=str))

    def _to_md(self, path: Path) -> None:
        unread = [f"- {markdown(name)}: {markdown(why)}" for name, why in self.settings.get("unreadable", {}).items()]
        heading = ["", "Pictures that can't be read, and were left out:", "", *unread] if unread else []
        files.write(path, "\n".join([self.to_markdown(), *heading, ""]))


_TEXTS = ("image", "method", "label", "reason", "degenerate", "_extra")
_KNOWN = ("image", "method", "target", "label", "probability", "reason", "seconds", "forwards", "backwards")


def _row(record: dict[str, Any], columns: Mapping[str, Column]) -> dict[str, Any]:
    extra = json.loads(record.pop("_extra"))
    record.pop("degenerate")
    known = {name: record.pop(name) for name in _KNOWN}
    numbers = {name: np.nan if v is None else v for name, v in record.items()}
    values = {name: numbers.pop(name) for name in columns}
    return {**known, "values": values, "parts": numbers, "spent": extra["spent"], "curves": extra["curves"]}


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise MissingExtra("pandas", "tables") from None
    return pandas
