"""limelight recipes."""

from typing import Annotated

import typer

from limelight.cli.output import print_json, say, table


def recipes(
    name: Annotated[str | None, typer.Argument(help="Show one recipe, to read or to start your own from.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
) -> None:
    """List the recipes that come with Limelight: tables of papers, ready to run.

    Example: limelight recipes demo > mine.toml
    """
    from limelight.bench.recipe_file import find_recipe, list_shipped, read_recipe

    if name is not None:
        typer.echo(find_recipe(name).read_text(encoding="utf-8"), nl=False)
        return
    shipped = {key: read_recipe(path) for key, path in list_shipped().items()}
    if as_json:
        print_json({key: recipe.model_dump(mode="json") for key, recipe in shipped.items()})
        return
    table(
        ["recipe", "", "pictures", "n × m × k"],
        [
            [
                key,
                r.about,
                ", ".join(part.pictures.dataset for part in r.parts.values()),
                f"{len(r.models.names)} × {len(r.methods)} × {len(r.metrics)}",
            ]
            for key, r in shipped.items()
        ],
    )
    say("[dim]n networks, m methods, k metrics. Run one: limelight benchmark NAME --data DIR --out RUN[/]")
