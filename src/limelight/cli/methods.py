"""limelight methods."""

from dataclasses import asdict
from itertools import groupby
from typing import Annotated

import typer

from limelight.card import METHODS
from limelight.cli.output import print_json, say, table


def methods(
    name: Annotated[str | None, typer.Argument(help="Show one method with its options.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """List the methods with their cost per image.

    Example: limelight methods grad-cam++
    """
    found = METHODS.cards()
    if name is not None:
        found = {name: METHODS.find(name)}
    if as_json:
        print_json([asdict(c) | {"anytime": c.anytime} for c in found.values()])
        return
    if name is not None:
        c = found[name]
        say("[bold]{}[/] ({}, {}): {}\ncost per image: {}", c.name, c.family, c.cites, c.summary, c.passes)
        if c.anytime:
            say("takes a budget, per image: -p budget='200 forwards', or '0.5 s'")
        table(["option", "default"], c.options.items()) if c.options else say("no options of its own")
        for profile, bundle in c.profiles.items():
            say("profile {}: {}", profile, ", ".join(f"{k}={v}" for k, v in bundle.items()))
        return
    for family, cards in groupby(found.values(), key=lambda c: c.family):
        rows = [[c.name, c.passes, c.summary] for c in cards]
        table(["method", "passes per image", "what it does"], rows, title=family)
    say("[dim]F forward, R backward pass; _t: only the part behind the layer. One: limelight methods NAME[/]")
