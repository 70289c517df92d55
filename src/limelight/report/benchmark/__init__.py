"""The page of a benchmark run: who leads and how surely, at what cost, on which pictures, and how it was measured."""

from limelight.report.benchmark.page import write_report
from limelight.report.benchmark.run import Run, open_run
from limelight.report.benchmark.tables import to_latex, to_markdown

__all__ = ["Run", "open_run", "to_latex", "to_markdown", "write_report"]
