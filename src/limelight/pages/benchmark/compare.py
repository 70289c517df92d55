"""Put the numbers of a run beside those of a paper."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from limelight.pages.benchmark.published import Published
from limelight.pages.benchmark.run import Run
from limelight.pages.formatting import format_cost, format_number
from limelight.pages.page import Order, Section, Table, Value
from limelight.pages.scores.levels import CONFIDENCE
from limelight.results.summary import Figure


@dataclass(frozen=True)
class Comparison:
    """A number of a paper beside ours.

    Attributes:
        model: our name of the model.
        method: our label of the method.
        paper: what was published.
        value: our number.
        figure: our figure with its interval; None for a cost, which has none.
    """

    model: str
    method: str
    paper: Published
    value: float
    figure: Figure | None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Low and high end of ours, if it has an interval."""
        if self.figure is None or self.figure.low != self.figure.low:
            return None
        return self.figure.low, self.figure.high

    @property
    def inside(self) -> bool:
        """Whether the paper's number lies in our interval."""
        return self.interval is not None and self.interval[0] <= self.paper.value <= self.interval[1]


def compare_with_paper(run: Run) -> Iterator[Comparison]:
    """Yield the paper's numbers that have a counterpart in a run."""
    for paper in run.published:
        for scores, summary in run.by_model:
            method = next((m for m in scores.methods if _mean_the_same(m, paper.method)), None)
            if not _mean_the_same(scores.model, paper.model) or method is None:
                continue
            if paper.metric == "seconds":
                seconds = float(scores.seconds[scores.methods.index(method)])
                yield Comparison(scores.model, method, paper, seconds, None)
            for metric in scores.columns:
                if _mean_the_same(metric, paper.metric) and (figure := summary[method, metric]).mean == figure.mean:
                    yield Comparison(scores.model, method, paper, figure.mean, figure)


def _mean_the_same(ours: str, theirs: str) -> bool:
    """Tell whether two names mean the same: ``torchvision/resnet50`` is the papers' ``ResNet-50``."""
    plain = [re.sub(r"[^\w+/]|_", "", name.lower()) for name in (ours, theirs)]
    return plain[0] == plain[1] or plain[0].rpartition("/")[2] == plain[1]


def show_comparison(run: Run) -> list[Section]:
    """Show the paper's numbers beside ours."""
    if not run.published:
        return []
    note = [run.paper_note] if run.paper_note else []
    comparisons = list(compare_with_paper(run))
    if not comparisons:
        return [Section("Beside the paper", [*note, "None of the paper’s numbers has a counterpart in this run."])]
    with_interval = [c for c in comparisons if c.interval]
    inside = [c for c in comparisons if c.inside]
    text = (
        f"{len(comparisons)} of the paper’s {len(run.published)} numbers have a counterpart here. "
        f"{len(inside)} of {len(with_interval)} lie within our {CONFIDENCE:z.0%} interval, which knows of the choice "
        "of pictures alone, not of other weights, other pictures or another reading of the protocol; there ours is "
        "bold. The difference is ours less the paper’s."
    )
    rows = [
        [c.model, c.method, c.paper.metric, _paper_cell(c), _our_cell(c), _difference_cell(c), c.paper.where]
        for c in comparisons
    ]
    words: list[Order] = ["ascending"] * 3
    table = Table(
        "The paper’s numbers and ours.",
        ["model", "method", "metric", "paper", "here", "difference", "where"],
        rows,
        [*words, "descending", "descending", "descending", "ascending"],
    )
    return [Section("Beside the paper", [*note, text, table])]


def _paper_cell(c: Comparison) -> Value:
    """Return the paper's number."""
    return Value(_format_value(c, c.paper.value), c.paper.value)


def _our_cell(c: Comparison) -> Value:
    """Return our number with its interval, bold if the paper's lies in it."""
    if c.interval is None:
        return Value(_format_value(c, c.value), c.value)
    low, high = c.interval
    return Value(format_number(c.value), c.value, c.inside, f"[{format_number(low)}, {format_number(high)}]")


def _difference_cell(c: Comparison) -> Value:
    """Return ours less the paper's."""
    difference = c.value - c.paper.value
    return Value(f"{'−' if difference < 0 else '+'}{_format_value(c, abs(difference))}", difference)


def _format_value(c: Comparison, value: float) -> str:
    """Write a number of the compared metric, seconds as a cost."""
    return format_cost(value) if c.paper.metric == "seconds" else format_number(value)
