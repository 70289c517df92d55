"""Write the page of a benchmark run."""

from pathlib import Path

import limelight
from limelight.report.benchmark.charts import draw_costs, draw_curves, draw_distributions
from limelight.report.benchmark.compare import show_comparison
from limelight.report.benchmark.extremes import show_extremes
from limelight.report.benchmark.failures import list_failures
from limelight.report.benchmark.introduction import introduce
from limelight.report.benchmark.leaderboard import show_leaderboard
from limelight.report.benchmark.protocol import describe_protocol
from limelight.report.benchmark.run import Run
from limelight.report.page import write_page


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
    footer = f"Made by `limelight report` with Limelight {limelight.__version__}; this page needs no network."
    write_page(path, f"{name[:1].upper()}{name[1:]}: the benchmark", introduce(run), sections, footer)
    return path
