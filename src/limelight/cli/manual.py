"""The page of a method or metric on the terminal."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from limelight.cli.output import say, table

if TYPE_CHECKING:
    from limelight.api import Manual


def print_manual(page: "Manual") -> None:
    """Print what a method or metric says of itself."""
    card = page.card
    say("[bold]{}[/] ({}): {}", card.name, card.family, page.summary)
    for paragraph in page.body.splitlines():
        say("\n{}", paragraph)
    say("\n[bold]cost[/] per picture: {}", page.cost)
    if page.direction:
        say("[bold]{}[/]", page.direction)
    if page.anytime:
        say("takes a [bold]budget[/], per picture: -p budget='200 forwards', or '0.5 s'")
    say("[bold]paper[/] {}. {}", page.paper, page.link)
    if page.source:
        say("[bold]source[/] {}", page.source)
    heads = ["option", "default", "may be", "what it does"]

    def rows(options: Iterable[Any]) -> list[list[str]]:
        return [[o.name, "required" if o.default is None else o.default, o.choices, o.meaning] for o in options]

    say("")
    table(heads, rows(page.options), title="Its options") if page.options else say("It has no options of its own.")
    say("")
    table(heads, rows(page.shared), title="Options of all")
    for name, bundle in card.profiles.items():
        options = ", ".join(f"{k}={v}" for k, v in bundle.items())
        say("[bold]{} {}[/]: {}", page.bundle, name, options or "the defaults")
    if page.example:
        say("\n[bold]example[/]\n  {}", ">>> import limelight as ll", wrap=False)
        for line in page.example.splitlines():
            say("  {}", line, wrap=False)
    say("\n[bold]command[/]\n  {}", page.command, wrap=False)
