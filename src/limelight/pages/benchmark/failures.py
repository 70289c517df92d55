"""Count the empty maps of a run, and list what failed."""

from limelight.pages.benchmark.run import Run
from limelight.pages.formatting import format_count, shorten_names
from limelight.pages.page import Block, Section, Table

LISTED = 50
"""Failures that are named one by one."""


def list_failures(run: Run) -> Section:
    """Show the empty maps, the numbers that are not defined, what failed, and the models that were left out."""
    blocks = [*_list_empty_maps(run), *_list_errors(run)]
    left_out: dict[str, str] = run.notes.get("left_out") or {}
    if left_out:
        rows = [[name, why] for name, why in left_out.items()]
        blocks.append(Table("Models that were left out, as their weights were not to be had.", ["model", "why"], rows))
    return Section("Empty maps and failures", blocks)


def _list_empty_maps(run: Run) -> list[Block]:
    """Count the maps that are empty, and the numbers that are not defined, by model and method."""
    rows: list[list[str | float]] = []
    for scores, summary in run.by_model:
        for m, name in enumerate(scores.methods):
            empty, total = int(scores.empty[m].sum()), int(scores.there[:, m].any(0).sum())
            lacks = {metric: summary[name, metric].undefined for metric in scores.columns}
            undefined = ", ".join(f"{metric} {count}" for metric, count in lacks.items() if count)
            if empty or undefined:
                rows.append([scores.model, name, f"{empty} of {total}", undefined or "–"])
    if not rows:
        return ["No map was empty, and every metric was defined for every picture."]
    counted = {"include": "count with the value that each metric gives them", "skip": "are left out of the figures"}
    text = f"Empty maps say nothing of any place; here they {counted[run.recipe.degenerate]}."
    columns = ["model", "method", "empty maps", "not defined for so many pictures"]
    return [text, Table("Empty maps, and numbers that are not defined.", columns, rows)]


def _list_errors(run: Run) -> list[Block]:
    """Name what failed, and why."""
    if not run.failures:
        return ["Nothing failed."]
    cells = sum(failure.cells for failure in run.failures)
    blocks: list[Block] = [
        f"{format_count('cell', cells)} failed and {'is' if cells == 1 else 'are'} in none of the figures.",
        Table(
            "What failed, and why.",
            ["model", "method", "pictures", "error"],
            [[f.model, f.method, shorten_names(f.images), f.error] for f in run.failures[:LISTED]],
        ),
    ]
    if len(run.failures) > LISTED:
        blocks.append(f"{len(run.failures) - LISTED} more are in the run’s folder.")
    return blocks
