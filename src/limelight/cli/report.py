"""limelight report."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from limelight.cli.files import refuse_overwriting
from limelight.cli.output import print_json, say


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run; see: limelight benchmark.")],
    out: Annotated[Path | None, typer.Option(help="The page (else RUN/report.html).")] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="The run's recipe, for its words and its paper's numbers.")
    ] = None,
    paper: Annotated[
        Path | None, typer.Option(help="A csv of published numbers: model, method, metric, value.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="The run's pictures, to show the best and the worst of each method.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Write the tables beside the page as .md.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Write them as .tex, with booktabs.")] = False,
    device: Annotated[str | None, typer.Option(help="Where maps are made again: cpu, cuda, …")] = None,
    trust: Annotated[
        bool,
        typer.Option("--trust", help="Load models that the run names and that are in no zoo, and run their code."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Make a page of a run that opens anywhere: leaderboard, costs, curves, best and worst pictures, settings.

    Example: limelight report runs/demo --latex
    """
    from limelight.files import write
    from limelight.pages.benchmark import open_run, to_latex, to_markdown, write_report

    page = out or run / "report.html"
    opened = open_run(run, recipe=recipe, paper=paper, data=data, device=device, trust=trust)
    tables = {".md": partial(to_markdown, level=1), ".tex": to_latex}
    also = {page.with_suffix(suffix): tables[suffix] for suffix in [".md"] * markdown + [".tex"] * latex}
    refuse_overwriting("--out", [page, *also], [recipe, paper, data, *opened.store.all_files])
    files = [write_report(opened, page), *(write(path, text(opened)) for path, text in also.items())]
    if as_json:
        figures = [
            {"model": scores.model, **{k: None if v != v else v for k, v in vars(f).items()}}
            for scores, summary in opened.each
            for f in summary
        ]
        print_json({"files": [str(file) for file in files], "figures": figures})
        return
    for scores, summary in opened.by_model:
        metric = next(iter(scores.columns))
        best = [m for m in scores.methods if summary[m, metric].rank == 1]
        if best:
            rivals = sum(summary[m, metric].like_best for m in scores.methods if m not in best)
            doubt = f", not distinguishable from {rivals} more" if rivals else ""
            names, figure = " and ".join(best), summary[best[0], metric]
            say("• {}: by {} {} leads, {}{}.", scores.model, metric, names, figure, doubt, wrap=False)
    say("→ {}", ", ".join(map(str, files)), wrap=False)
