"""Write the tables of a run for papers, as Markdown and LaTeX."""

import re

from limelight.pages.benchmark.compare import compare_with_paper
from limelight.pages.benchmark.run import Run
from limelight.pages.formatting import format_cost, format_count, shorten_names
from limelight.pages.scores.levels import CONFIDENCE
from limelight.pages.scores.model import ModelScores
from limelight.results.summary import Figure, Summary
from limelight.text import latex, markdown


def to_markdown(run: Run, level: int = 2) -> str:
    """Return the tables of the page as Markdown.

    Args:
        run: what they show.
        level: of the first heading: 1 in a file of its own.
    """
    first, second = "#" * level, "#" * (level + 1)
    lines = [f"{first} {markdown(run.recipe.name)}", "", *([markdown(run.about), ""] if run.about else [])]
    lines += ["Bold is the best, and what is not distinguishable from it.", ""]
    for scores, summary in run.each:
        ends = [" passes | seconds |", " ---: | ---: |"]
        ends += [f" {format_cost(p)} | {format_cost(s)} |" for p, s in zip(scores.passes, scores.seconds, strict=True)]
        table = [a + b for a, b in zip(summary.to_markdown().splitlines(), ends, strict=True)]
        lines += [f"{second} {markdown(scores.model)}, {format_count('picture', len(scores.images))}", "", *table, ""]
    if comparisons := list(compare_with_paper(run)):
        lines += [f"{second} Beside the paper", "", "| model | method | metric | paper | here | difference |"]
        lines.append("| --- | --- | --- | ---: | ---: | ---: |")
        lines += [
            f"| {' | '.join(map(markdown, (c.model, c.method, c.paper.metric)))} | {c.paper.value:z.3f} "
            f"| {c.value:z.3f} | {c.value - c.paper.value:+z.3f} |"
            for c in comparisons
        ]
        lines.append("")
    if run.failures:
        lines += [f"{second} Failures", ""]
        lines += [
            f"- {markdown(f.model)}, {markdown(f.method)}: {markdown(f.error)} ({markdown(shorten_names(f.images))})"
            for f in run.failures
        ]
        lines.append("")
    return "\n".join(lines)


def to_latex(run: Run) -> str:
    r"""Return the leaderboards as LaTeX, a ``table`` per model; they need ``\usepackage{booktabs}``."""
    tables = [_latex_table(run.recipe.name, scores, summary) for scores, summary in run.each]
    return "\n\n".join(["% needs \\usepackage{booktabs}", *tables]) + "\n"


def _latex_table(name: str, scores: ModelScores, summary: Summary) -> str:
    """Return the leaderboard of one model of the run of this name."""
    heads = [f"{latex(m)} $\\{'uparrow' if c.better == 'higher' else 'downarrow'}$" for m, c in scores.columns.items()]
    rows: list[str] = []
    for m, method in enumerate(scores.methods):
        cells = [_latex_figure(summary[method, metric], alone=len(scores.methods) == 1) for metric in scores.columns]
        costs = [_latex_cost(float(x[m])) for x in (scores.passes, scores.seconds)]
        rows.append(" & ".join([latex(method), *cells, *costs]) + r" \\")
    caption = (
        f"{latex(scores.model)}, {format_count('picture', len(scores.images))}. Bold: the best, and what is not "
        f"distinguishable from it; in brackets the {CONFIDENCE * 100:z.0f}\\,\\% bootstrap interval."
    )
    label = re.sub(r"\W+", "-", f"{name}-{scores.model}".lower())
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            f"\\caption{{{caption}}}",
            f"\\label{{tab:{label}}}",
            f"\\begin{{tabular}}{{l{'c' * len(heads)}rr}}",
            r"\toprule",
            " & ".join(["method", *heads, "passes", "seconds"]) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _latex_cost(value: float) -> str:
    """Write a cost so that LaTeX sets its dash and commas right."""
    return format_cost(value).replace("–", "--").replace(",", "{,}")


def _latex_figure(figure: Figure, *, alone: bool) -> str:
    """Write a figure with its interval, bold if it is like the best of several."""
    if figure.mean != figure.mean:
        return "--"
    mean = f"{figure.mean:z.3f}".replace("-", "$-$")
    mean = rf"\textbf{{{mean}}}" if figure.like_best and not alone else mean
    if figure.low != figure.low:
        return mean
    return rf"{mean} {{\scriptsize [{figure.low:z.3f}, {figure.high:z.3f}]}}"
