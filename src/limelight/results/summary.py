"""The figures of a data set, method by method."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

from limelight import files
from limelight.errors import InvalidOption
from limelight.markup import Strong, table
from limelight.results.row import Column
from limelight.text import markdown

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Figure:
    """One method's figure by one metric.

    Attributes:
        method: name of the method.
        metric: name of the metric.
        mean: the figure of the data set.
        low: lower end of its interval; NaN for a single image.
        high: upper end of its interval; NaN for a single image.
        images: number of images from which it is computed.
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
        if self.mean != self.mean:
            return "–"
        if self.low != self.low:
            return f"{self.mean:z.3f}"
        return f"{self.mean:z.3f} [{self.low:z.3f}, {self.high:z.3f}]"


class Summary(Sequence[Figure]):
    """The figures of a data set, method by method; prints itself as a table.

    Args:
        figures: of every method by every metric.
        columns: what the metrics' numbers are, by the name that the figures have.
        confidence: of the figures' intervals, in (0, 1).
        empty: why some methods have no figure by some metrics, by method and metric.
    """

    def __init__(
        self,
        figures: Sequence[Figure],
        columns: Mapping[str, Column],
        confidence: float,
        empty: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self._figures, self.columns, self.confidence = list(figures), columns, confidence
        self.empty = empty or {}

    @overload
    def __getitem__(self, key: int | tuple[str, str]) -> Figure: ...
    @overload
    def __getitem__(self, key: slice) -> list[Figure]: ...
    def __getitem__(self, key: int | tuple[str, str] | slice) -> Figure | list[Figure]:
        """Return the figure at a position, or of ``(method, metric)``.

        Raises:
            InvalidOption: there is no figure of this method and metric.
        """
        if not isinstance(key, tuple):
            return self._figures[key]
        figure = next((f for f in self._figures if (f.method, f.metric) == key), None)
        if figure is None:
            raise InvalidOption(f"there is no figure of {key}; methods: {self._names('method')}")
        return figure

    def __len__(self) -> int:
        return len(self._figures)

    def __repr__(self) -> str:
        return self.to_markdown()

    def _names(self, what: str) -> list[str]:
        """Return the methods or the metrics, each once."""
        return list(dict.fromkeys(getattr(f, what) for f in self._figures))

    def to_pandas(self) -> "pandas.DataFrame":
        """Return a ``DataFrame`` with a row per method and metric.

        Raises:
            MissingExtra: pandas is not installed.
        """
        records = [{**vars(f), "protocol": self.columns[f.metric].protocol} for f in self._figures]
        return files.pandas().DataFrame(records)

    def to_markdown(self, *, intervals: bool = True) -> str:
        """Return a table with a line per method; bold is the best and what is not distinguishable from it.

        Args:
            intervals: whether an interval stands behind each figure.
        """
        metrics = self._names("metric")
        heads = [f"{markdown(metric)} {self.columns[metric].arrow}" for metric in metrics]
        lines = [f"| method | {' | '.join(heads)} | empty maps |", "| --- |" + " --- |" * (len(metrics) + 1)]
        for method in self._names("method"):
            figures = [self[method, metric] for metric in metrics]
            cells = [str(f) if intervals else f"{f.mean:z.3f}" for f in figures]
            cells = [f"**{c}**" if f.like_best else c for c, f in zip(cells, figures, strict=True)]
            lines.append(f"| {markdown(method)} | {' | '.join(cells)} | {_empty_of(figures)} |")
        for method, reason, judges in self._left_out():
            by = ", ".join(map(markdown, judges))
            lines += ["", f"{markdown(method)} is not judged by {by}, which {reason}."]
        return "\n".join(lines)

    def _left_out(self) -> Iterator[tuple[str, str, list[str]]]:
        """Yield methods that have no figure, why, and by which metrics."""
        for method, reasons in self.empty.items():
            for reason in dict.fromkeys(reasons.values()):
                yield method, reason, [metric for metric in reasons if reasons[metric] == reason]

    def _repr_html_(self) -> str:
        metrics = self._names("metric")
        rows: list[list[str]] = []
        for method in self._names("method"):
            figures = [self[method, metric] for metric in metrics]
            cells = [Strong(f) if f.like_best else str(f) for f in figures]
            rows.append([method, *cells, _empty_of(figures)])
        notes = [f"{method} is not judged by {', '.join(by)}, which {why}." for method, why, by in self._left_out()]
        heads = [f"{metric} {self.columns[metric].arrow}" for metric in metrics]
        return table(["method", *heads, "empty maps"], rows, *notes)


def _empty_of(figures: Sequence[Figure]) -> str:
    """Return how many of a method's maps are empty."""
    return f"{figures[0].degenerate} of {max(f.images + f.undefined for f in figures)}"
