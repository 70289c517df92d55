"""Write the page of an inspection."""

from collections.abc import Mapping
from pathlib import Path

from limelight.engine.provenance import versions
from limelight.inspection.findings import Inspection, Strategy
from limelight.pages.formatting import format_count
from limelight.pages.inspection.classes import DRAWN, choose_classes, list_classes, show_class
from limelight.pages.inspection.pictures import MOST, Thumbnails
from limelight.pages.inspection.protocol import describe_inspection
from limelight.pages.inspection.strategies import show_strategy
from limelight.pages.inspection.words import conclude, count_classes, name_strategies
from limelight.pages.page import Block, Facts, Group, Section, write_page

EXAMPLES = 3, 12
"""Pictures of a proven strategy, at least and at most."""

OTHERS = 4
"""Pictures of another, at most."""


def write_inspection(inspection: Inspection, path: Path) -> Path:
    """Write the page of an inspection: verdicts, classes, and how it was done. It needs nothing but itself.

    Args:
        inspection: what it shows; equal ones give equal bytes.
        path: of the HTML file, which is returned.
    """
    strategies = dict(zip(name_strategies(inspection.strategies), inspection.strategies, strict=True))
    thumbnails = Thumbnails(inspection.worker, inspection.names)
    sections = [_show_proven(strategies, thumbnails) or Section("What is proven", [conclude(inspection)])]
    others = sum(not one.verdict for one in inspection.strategies)
    each = max(1, min(OTHERS, thumbnails.left // max(1, others)))
    drawn = choose_classes(inspection)
    for one in drawn:
        own = {name: s for name, s in strategies.items() if s.target == one.target}
        sections.append(show_class(one, own, inspection.names, thumbnails, each))
    if len(inspection.classes) > 1:
        left_out = len(drawn) < len(inspection.classes)
        note = f"{len(drawn)} of {len(inspection.classes):,} classes are drawn: those with strategies, {DRAWN} at most."
        sections.append(Section("All classes", [*[note] * left_out, list_classes(inspection)]))
    sections.append(describe_inspection(inspection))
    footer = f"Made by `limelight inspect` with Limelight {versions()['limelight']}; this page needs no network."
    write_page(path, f"What {inspection.model} relies on", _introduce(inspection), sections, footer)
    return path


def _introduce(inspection: Inspection) -> list[Block]:
    tried = sum(bool(one.proofs) for one in inspection.strategies)
    unread = len(inspection.progress.unreadable)
    left_out = f" {format_count('picture', unread)} can't be read." if unread else ""
    return [
        conclude(inspection),
        f"{count_classes(inspection)} were explained with `{inspection.method}`.{left_out}",
        *[f"What the strategies are, beside where, can't be said: {inspection.without_parts}."]
        * bool(inspection.without_parts),
        Facts(
            [
                (
                    str(len(inspection.verdicts)),
                    "strategy is proven" if len(inspection.verdicts) == 1 else "strategies are proven",
                ),
                (str(tried), "were tried by changing pictures"),
                (str(len(inspection.strategies)), "groups of maps may be strategies"),
            ]
        ),
    ]


def _show_proven(strategies: Mapping[str, Strategy], thumbnails: Thumbnails) -> Section | None:
    proven = {name: one for name, one in strategies.items() if one.verdict}
    if not proven:
        return None
    least, most = EXAMPLES
    each = max(least, min(most, MOST // 2 // len(proven)))  # half of all pictures are left for what is not proven
    return Section(
        "What is proven", [Group(name, show_strategy(one, thumbnails, each)) for name, one in proven.items()]
    )
