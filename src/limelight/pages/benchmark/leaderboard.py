"""Show every method's figures, ranks and costs, model by model."""

import numpy as np

from limelight.pages.benchmark.run import Run
from limelight.pages.formatting import format_cost, format_count, format_number, label_metric
from limelight.pages.page import Block, Filter, Group, Order, Section, Table, Value
from limelight.pages.page import Figure as Picture
from limelight.pages.scores.levels import ALPHA, CONFIDENCE
from limelight.pages.scores.model import ModelScores
from limelight.results.summary import Figure, Summary


def show_leaderboard(run: Run) -> Section:
    """Show a table of leaders, and one of all figures for each model."""
    pooled = {"class-mean": "a mean of classes", "adcc": "made of the means of its terms", "ratio": "a ratio of means"}
    other = "".join(f"; {m} is {pooled[c.pooling]}" for m, c in run.columns.items() if c.pooling in pooled)
    blocks: list[Block] = [
        f"Figures are means over the pictures{other}. In brackets stands the {CONFIDENCE:z.0%} bootstrap interval, "
        "where the figure falls when the pictures are drawn anew, and # is the rank. ↑ higher is better, ↓ lower. "
        "Passes (forward and backward) and seconds are those of one explanation."
    ]
    if any(len(scores.methods) > 1 for scores in run.models):
        blocks = [_list_leaders(run), *blocks, _explain_bold(run)]
    blocks.append(Filter("Show only models and methods with"))
    if run.apart:
        blocks.append("First the pictures of all data sets together, then those of each by themselves.")
    for scores, summary in run.each:
        blocks.append(Group(scores.model, [_list_figures(scores, summary)]))
    return Section("Leaderboard", blocks)


def _explain_bold(run: Run) -> str:
    """Say what bold figures mean, and whether there are too few pictures for any to stand out."""
    few = [s for s in run.models if 2.0 ** (1 - len(s.images)) * len(s.methods) * (len(s.methods) - 1) / 2 >= ALPHA]
    return (
        "Bold is the best figure of a column together with all that are not distinguishable from it: if two methods "
        "swapped their numbers on pictures picked by lot, a difference as large would come up in more than one of "
        "twenty tries (corrected for the number of pairs). That is not to say that they are equally good."
        + (f" {max(len(s.images) for s in few)} pictures are too few to tell so many methods apart." if few else "")
    )


def _list_leaders(run: Run) -> Table:
    """Name the best method by each metric on each model."""
    rows = [
        [label_metric(metric, column), *(_name_leaders(scores, summary, metric) for scores, summary in run.by_model)]
        for metric, column in run.columns.items()
    ]
    return Table(
        "Who leads: the best method by each metric; in brackets how many more are not distinguishable from it.",
        ["metric", *(scores.model for scores in run.models)],
        rows,
    )


def _name_leaders(scores: ModelScores, summary: Summary, metric: str) -> str:
    """Name the best methods by a metric, and count those that are like them."""
    if metric not in scores.columns:
        return "–"
    best = [m for m in scores.methods if summary[m, metric].rank == 1]
    like = sum(summary[m, metric].like_best for m in scores.methods) - len(best)
    if not best:
        return "–"
    return " and ".join(best) + (f" (and {like} more)" if like else "")


def _list_figures(scores: ModelScores, summary: Summary) -> Table:
    """Show a model's figures, with a row for each method."""
    rows: list[list[str | float | Picture | Value]] = []
    for m, name in enumerate(scores.methods):
        figures = [summary[name, metric] for metric in scores.columns]
        ranks = [f.rank for f in figures if f.rank]
        row: list[str | float | Picture | Value] = [name]
        row += [_figure_cell(f, alone=len(scores.methods) == 1) for f in figures]
        average = float(np.mean(ranks)) if ranks else np.nan
        passes, seconds = float(scores.passes[m]), float(scores.seconds[m])
        row.append(Value("–" if average != average else f"{average:z.1f}", average))
        calls = float(scores.calls[m])
        row += [Value(format_cost(passes), passes), Value("–" if calls != calls else format_cost(calls), calls)]
        row.append(Value(format_cost(seconds), seconds))
        rows.append(row)
    caption = f"{scores.model}, {format_count('picture', len(scores.images))}."
    heads = [label_metric(metric, column) for metric, column in scores.columns.items()]
    firsts: list[Order] = ["descending" if c.better == "higher" else "ascending" for c in scores.columns.values()]
    columns = ["method", *heads, "mean rank", "passes", "forward calls", "seconds"]
    return Table(caption, columns, rows, ["ascending", *firsts, "ascending", "ascending", "ascending", "ascending"])


def _figure_cell(figure: Figure, *, alone: bool) -> Value:
    """Return a figure with its interval and rank; that of a method alone has no rank."""
    if figure.mean != figure.mean:
        return Value("–", note="not defined")
    interval = "" if figure.low != figure.low else f"[{format_number(figure.low)}, {format_number(figure.high)}]"
    mark = "" if alone else f"#{figure.rank}"
    return Value(format_number(figure.mean), figure.mean, figure.like_best and not alone, interval, mark)
