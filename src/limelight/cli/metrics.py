"""limelight metrics."""

from dataclasses import asdict
from itertools import groupby
from typing import Annotated

import typer

from limelight.card import METRICS
from limelight.cli.output import print_json, say, table


def metrics(
    name: Annotated[str | None, typer.Argument(help="Show one metric with its options and protocols.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """List the metrics: which numbers are good, what they cost per image.

    Example: limelight metrics insertion
    """
    found = METRICS.cards() if name is None else {name: METRICS.find(name)}
    if as_json:
        print_json([asdict(c) for c in found.values()])
        return
    if name is not None:
        c = found[name]
        low, high = ("unbounded" if v is None else f"{v:g}" for v in (c.low, c.high))
        say("[bold]{}[/] ({}, {}): {}", c.name, c.family, c.cites, c.summary)
        say("{} is better; from {} to {}; cost per image: {}", c.better, low, high, c.passes)
        table(["option", "default"], c.options.items()) if c.options else say("no options of its own")
        for profile, bundle in c.profiles.items():
            said = ", ".join(f"{k}={v}" for k, v in bundle.items())
            say("protocol {}: {}", profile, said or "the defaults")
        return
    by_family = sorted(
        found.values(), key=lambda c: list(dict.fromkeys(m.family for m in found.values())).index(c.family)
    )
    for family, cards in groupby(by_family, key=lambda c: c.family):
        rows = [[c.name, "↑" if c.better == "higher" else "↓", c.passes, c.summary] for c in cards]
        table(["metric", "", "passes per image", "what it says"], rows, title=family)
    say(
        "[dim]↑ higher is better, ↓ lower; F one forward pass, E one explanation, J layers. "
        "One: limelight metrics NAME[/]"
    )
