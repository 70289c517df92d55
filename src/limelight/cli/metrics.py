"""limelight metrics."""

from dataclasses import asdict
from itertools import groupby
from typing import Annotated

import typer

from limelight.card import METRICS
from limelight.cli.manual import print_manual
from limelight.cli.output import print_json, say, table


def metrics(
    name: Annotated[str | None, typer.Argument(help="Explain one metric, its options and protocols.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """List the metrics (which numbers are good, what they cost per image), or explain one.

    Example: limelight metrics insertion
    """
    if name is not None:
        METRICS.find(name)  # before anything heavy is imported
        from limelight import api

        page = api.manual(api.metric(name))
        print_json(asdict(page)) if as_json else print_manual(page)
        return
    all_cards = METRICS.cards()
    if as_json:
        print_json([asdict(c) for c in all_cards.values()])
        return
    by_family = sorted(
        all_cards.values(), key=lambda c: list(dict.fromkeys(m.family for m in all_cards.values())).index(c.family)
    )
    for family, cards in groupby(by_family, key=lambda c: c.family):
        rows = [[c.name, "↑" if c.better == "higher" else "↓", c.passes, c.summary] for c in cards]
        table(["metric", "", "passes per image", "what it says"], rows, title=family)
    say(
        "[dim]↑ higher is better, ↓ lower; F one forward pass, E one explanation, J layers. "
        "One: limelight metrics NAME[/]"
    )
