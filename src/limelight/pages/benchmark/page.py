"""Write the page of a benchmark run."""

from pathlib import Path

from limelight import files
from limelight.engine.provenance import versions
from limelight.pages.benchmark.charts import draw_costs, draw_curves, draw_distributions
from limelight.pages.benchmark.compare import show_comparison
from limelight.pages.benchmark.extremes import show_extremes
from limelight.pages.benchmark.failures import list_failures
from limelight.pages.benchmark.introduction import introduce
from limelight.pages.benchmark.leaderboard import show_leaderboard
from limelight.pages.benchmark.protocol import describe_protocol
from limelight.pages.benchmark.run import Run, open_run
from limelight.pages.benchmark.tables import to_latex, to_markdown
from limelight.pages.page import write_page


def write_report(run: Run, path: Path) -> Path:
    """Write the page of a run.

    Args:
        run: what it shows.
        path: of the HTML file, which is returned.

    Raises:
        InvalidOption: the pictures that were given can't be found.
    """
    sections = [
        show_leaderboard(run),
        draw_costs(run),
        *draw_curves(run),
        *draw_distributions(run),
        show_extremes(run),
        *show_comparison(run),
        list_failures(run),
        describe_protocol(run),
    ]
    name = run.recipe.name
    footer = f"Made by `limelight report` with Limelight {versions()['limelight']}; this page needs no network."
    write_page(path, f"{name[:1].upper()}{name[1:]}: the benchmark", introduce(run), sections, footer)
    return path


def report(
    run: str | Path,
    out: str | Path | None = None,
    *,
    recipe: str | Path | None = None,
    paper: str | Path | None = None,
    data: str | Path | None = None,
    device: str | None = None,
    trust: bool = False,
) -> Path:
    """Make a page of a run that opens anywhere: leaderboard, costs, curves, best and worst pictures, settings.

    Args:
        run: the folder of a run, see ``benchmark``.
        out: the page, ``.html``, or its tables alone, ``.md`` or ``.tex``; None for ``report.html`` in the folder.
        recipe: the file that it was made by, for its words and its paper's numbers.
        paper: a csv of published numbers, in place of the recipe's: model, method, metric, value.
        data: the run's pictures, to show the best and the worst of each method where they are not drawn.
        device: where maps are made again.
        trust: load models that the run names and that are in no zoo, and run their code.

    Returns:
        The file.

    Raises:
        InvalidOption: another suffix, there is no run, or an option is wrong.
        CorruptStore: a file of the run is damaged.

    Example:
        >>> recipe = {"name": "small", "data": {"dataset": "scenes", "n": 2}, "models": {"names": ["demo/resnet"]}}
        >>> recipe |= {"methods": [{"name": "grad-cam"}], "metrics": [{"name": "complexity"}]}
        >>> ll.benchmark(recipe, "run").failed
        0
        >>> ll.report("run", "tables.md").read_text().splitlines()[0]
        '# small'
    """
    path = Path(out) if out is not None else Path(run) / "report.html"
    suffix = files.check_suffix(path, ".html", ".md", ".tex")
    opened = open_run(run, recipe=recipe, paper=paper, data=data, device=device, trust=trust)
    match suffix:
        case ".md":
            return files.write(path, to_markdown(opened, level=1))
        case ".tex":
            return files.write(path, to_latex(opened))
        case _:
            return write_report(opened, path)
