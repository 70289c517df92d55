"""limelight merge."""

from pathlib import Path
from typing import Annotated

import typer

from limelight.cli.output import print_json, say


def merge(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN…", help="Folders of runs of one recipe, or with --pool of several.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for all of it; it may be one that holds some already.")],
    pool: Annotated[
        bool, typer.Option("--pool", help="The runs are of different data sets: report them together and apart.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Put the shards of a run together that were made on different machines; what they share stands there once.

    With --pool, runs of recipes that differ in their pictures, in how these become inputs and in weights become one run
    of several data sets.

    Example: limelight merge runs/shard-* --out runs/adcc
    """
    from limelight.bench import store

    rows = (store.pool if pool else store.merge)(runs, out).table(["key"]).num_rows
    if as_json:
        print_json({"folder": str(out), "cells": rows})
        return
    say("{} cells → {}", rows, out, wrap=False)
