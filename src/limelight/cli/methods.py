"""limelight methods."""

from dataclasses import asdict
from itertools import groupby
from typing import Annotated

import typer

from limelight.card import METHODS
from limelight.cli.manual import print_manual
from limelight.cli.output import print_json, say, table


def methods(
    name: Annotated[str | None, typer.Argument(help="Explain one method and its options.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """List the methods with their cost per image, or explain one.

    Example: limelight methods grad-cam++
    """
    if name is not None:
        METHODS.find(name)  # before anything heavy is imported
        from limelight import api

        page = api.manual(api.method(name))
        print_json(asdict(page)) if as_json else print_manual(page)
        return
    all_cards = METHODS.cards()
    if as_json:
        print_json([asdict(c) | {"anytime": c.anytime} for c in all_cards.values()])
        return
    for family, cards in groupby(all_cards.values(), key=lambda c: c.family):
        rows = [[c.name, c.passes, c.summary] for c in cards]
        table(["method", "passes per image", "what it does"], rows, title=family)
    say("[dim]F forward, R backward pass; _t: only the part behind the layer. One: limelight methods NAME[/]")
