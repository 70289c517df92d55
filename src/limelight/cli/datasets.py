"""limelight datasets."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from limelight.cli.output import print_json, say, table
from limelight.errors import InvalidOption


def datasets(
    name: Annotated[str | None, typer.Argument(help="Show one: what it holds, where it is to be had.")] = None,
    data: Annotated[Path | None, typer.Option(help="Check a folder: is all of it there?")] = None,
    split: Annotated[str | None, typer.Option(help="Which part of it, where there are several.")] = None,
    truth: Annotated[str | None, typer.Option(help="Check what tells where a class is: boxes, masks, …")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """List the data sets that recipes may name, and check one on disk.

    Leaves with exit code 1 if something is missing.

    Example: limelight datasets voc2007 --data /data/VOCdevkit/VOC2007
    """
    from limelight.data.datasets import DATASETS, missing
    from limelight.errors import nearest

    if name is None:
        if data is not None:
            raise InvalidOption(f"which data set is in {data}? limelight datasets NAME --data DIR")
        if as_json:
            print_json({key: asdict(card) for key, card in DATASETS.items()})
            return
        table(["data set", "what it holds"], [[k, c.title] for k, c in DATASETS.items()])
        say("[dim]Where to get one: limelight datasets NAME. Is it complete? limelight datasets NAME --data DIR[/]")
        return
    if data is not None:
        wrong = missing(name, data, split, truth=truth, whole=True)
        if as_json:
            print_json({"name": name, "folder": str(data), "missing": wrong})
        else:
            for line in wrong or [f"{name} is complete in {data}"]:
                say("{}", line, wrap=False)
        raise typer.Exit(1 if wrong else 0)
    if name not in DATASETS:
        raise InvalidOption(f"there is no data set {name!r}{nearest(name, DATASETS)} (see: limelight datasets)")
    card = DATASETS[name]
    if as_json:
        print_json(asdict(card))
        return
    say("[bold]{}[/]: {}", name, card.title, wrap=False)
    lines = {
        "expects": "\n".join(card.files),
        "splits": ", ".join(card.splits),
        "truth": ", ".join(card.truths),
        "from": card.source,
        "terms": card.licence,
    }
    table(["", ""], [[key, text] for key, text in lines.items() if text])
