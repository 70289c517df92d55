"""The page of a benchmark run: who leads and how surely, at what cost, on which pictures, and how it was measured."""

from limelight.pages.benchmark.page import report, write_report
from limelight.pages.benchmark.run import Run, open_run
from limelight.pages.benchmark.tables import to_latex, to_markdown

__all__ = ["Run", "open_run", "report", "to_latex", "to_markdown", "write_report"]
