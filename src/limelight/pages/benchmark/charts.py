"""Draw what methods reach for their cost, their curves, and how single pictures spread."""

import numpy as np

from limelight.draw import chart
from limelight.pages.benchmark.run import Run
from limelight.pages.formatting import format_cost, format_number, join_names, label_metric
from limelight.pages.front import find_front
from limelight.pages.page import Block, Details, Drawing, Figures, Group, Section
from limelight.pages.scores.curves import read_curves
from limelight.pages.scores.model import Floats, ModelScores
from limelight.results.summary import Summary


def draw_costs(run: Run) -> Section:
    """Draw what methods reach against what they cost."""
    blocks: list[Block] = [
        "Further right costs more; methods of one cost stand side by side. A dotted line joins those that no cheaper "
        "one beats: for all that lies off it there is a method that does better for no more. Bars are the intervals of "
        "the leaderboard."
    ]
    for scores, summary in run.by_model:
        by_passes = _draw_against(scores, summary, scores.passes, "passes per picture")
        by_seconds = _draw_against(scores, summary, scores.seconds, "seconds per picture")
        if by_passes:
            blocks.append(Group(scores.model, [Figures(by_passes, large=True)]))
            note = "Time depends on the machine, and methods that share a pass share its time."
            blocks.append(Details(f"{scores.model}, against seconds", [note, Figures(by_seconds, large=True)]))
    return Section("Quality and cost", blocks)


def _draw_against(scores: ModelScores, summary: Summary, costs: Floats, label: str) -> list[Drawing]:
    """Draw each metric's figures against a cost of the methods."""
    drawings: list[Drawing] = []
    for metric, column in scores.columns.items():
        figures = {m: (c, summary[m, metric]) for m, c in zip(scores.methods, costs.tolist(), strict=True) if c > 0}
        points = {m: (c, f.mean, f.low, f.high) for m, (c, f) in figures.items() if f.mean == f.mean}
        if not points:
            continue
        front = find_front({m: p[:2] for m, p in points.items()}, column.better == "higher")
        drawn = chart.tradeoff(points, x_label=label, y_label=label_metric(metric, column), front=front)
        listed = "; ".join(f"{m} {format_number(p[1])} at {format_cost(p[0])}" for m, p in points.items())
        alt, caption = f"{metric} against {label}: {listed}.", f"`{metric}`: best for its cost {join_names(front)}."
        drawings.append(Drawing(*drawn, alt, caption))
    return drawings


def draw_curves(run: Run) -> list[Section]:
    """Draw the curves that some metrics are the area of."""
    blocks: list[Block] = []
    for scores, curves in zip(run.models, read_curves(run.store, run.models), strict=True):
        drawings: list[Drawing] = []
        for metric, lines in curves.items():
            bands = {m: (mean, 1.96 * error) for m, (mean, error) in lines.items()}
            early = "; ".join(
                f"{m} {np.interp(1 / 8, np.linspace(0, 1, len(v)), v):z.2f}" for m, (v, _) in bands.items()
            )
            alt = f"Mean curves of {metric}; after an eighth of the way: {early}."
            drawings.append(Drawing(*chart.bands(bands), alt, f"`{metric}`"))
        if drawings:
            blocks.append(Group(scores.model, [Figures(drawings, large=True)]))
    text = (
        "Insertion adds a picture’s pixels, brightest of the map first, and a good map makes the curve rise early; "
        "deletion takes them away, and it should fall early. Lines are means over the pictures, bands where 95% of "
        "such means fall."
    )
    return [Section("Curves", [text, *blocks])] if blocks else []


def draw_distributions(run: Run) -> list[Section]:
    """Draw how the numbers of single pictures are spread."""
    blocks: list[Block] = []
    for scores in run.models:
        drawings: list[Drawing] = []
        histograms: list[Drawing] = []
        for i, metric in enumerate(scores.columns):
            rows = {m: v[~np.isnan(v)] for m, v in zip(scores.methods, scores.values[i], strict=True)}
            rows = {m: v for m, v in rows.items() if len(v)}
            if len(np.unique(scores.values[i][~np.isnan(scores.values[i])])) <= 2:
                continue
            medians = "; ".join(f"{m} {format_number(float(np.median(v)))}" for m, v in rows.items())
            label = label_metric(metric, scores.columns[metric])
            alt = f"Spread of {metric} over the pictures; medians: {medians}."
            drawings.append(Drawing(*chart.distributions(rows, label=label), alt))
            if all(v.min() >= 0 and v.max() <= 1 for v in rows.values()):
                alt = f"Histogram of {metric} over the pictures; medians: {medians}."
                histograms.append(Drawing(*chart.histogram(rows, label=label), alt))
        if drawings:
            more = [Details("As histograms", [Figures(histograms, large=True)])] if histograms else []
            blocks.append(Group(scores.model, [Figures(drawings, large=True), *more]))
    text = (
        "A mean hides much. The thick line holds the middle half of the pictures and the thin one nine in ten; the "
        f"diamond is their mean, and each dot a picture ({chart.STRIP} of them, evenly chosen by rank, where there are "
        "more). Metrics that say only yes or no are left out."
    )
    return [Section("Picture by picture", [text, *blocks])] if blocks else []
