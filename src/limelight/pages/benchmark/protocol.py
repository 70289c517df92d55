"""Say how a run was measured, so that it can be measured again."""

from limelight.engine.provenance import versions
from limelight.pages.benchmark.run import Run
from limelight.pages.formatting import label_metric
from limelight.pages.page import Block, Code, Details, Section, Table
from limelight.text import to_json


def describe_protocol(run: Run) -> Section:
    """Show the protocols, the recipe, the settings, the versions and whatever else was noted."""
    pooled = {
        "mean": "mean of pictures",
        "class-mean": "mean of classes",
        "adcc": "of the means of its terms",
        "ratio": "ratio of means",
    }
    protocols = [[label_metric(m, c), c.protocol, pooled[c.pooling]] for m, c in run.columns.items()]
    recipe = run.recipe.model_dump(mode="json", exclude_defaults=True)
    blocks: list[Block] = [
        "Two numbers may be compared if and only if their protocols are equal.",
        Table("Each metric’s protocol: all that fixes a number.", ["metric", "protocol", "figure"], protocols),
        Details("The recipe, whole", [Code(to_json(recipe, 1))]),
        Details("Settings of the run", [Code(to_json(run.store.settings, 1))]),
        Details("Versions", [_list_versions(run)]),
    ]
    rest = {k: v for k, v in run.notes.items() if k not in ("versions", "about", "paper")}
    if rest:
        blocks.append(Details("Weights, device and source", [Code(to_json(rest, 1))]))
    return Section("How it was measured", blocks)


def _list_versions(run: Run) -> Table:
    """Put the versions that measured the run beside those that made the page."""
    noted: dict[str, str] = {k: str(v) for k, v in run.notes.get("versions", {}).items()}
    now = versions()
    names = [*noted, *(k for k in now if k not in noted)]
    rows = [[k, noted.get(k, "not noted"), now.get(k, "–")] for k in names]
    return Table("What the run was last measured with, and what made this page.", ["what", "measured", "page"], rows)
