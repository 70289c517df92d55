"""limelight train-head."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from limelight.cli.files import resolve_input
from limelight.cli.options import (
    AS_IT_IS,
    Loading,
    Model,
    names_model,
    sides,
)
from limelight.cli.output import print_json, say, table
from limelight.errors import InvalidOption

SHOWN = 12
"""Epochs that are printed at most, evenly spread."""


@names_model
def train_head(
    source: Annotated[
        Path, typer.Argument(metavar="FOLDER|CSV", help="A folder per class, a csv with labels, or --dataset's folder.")
    ],
    model: Model,
    out: Annotated[Path, typer.Option(help="The network's file; features and state are kept in FILE.training.")],
    test: Annotated[
        str | None,
        typer.Option(help="Pictures to test with, a share of the others (0 for none), or a split of --dataset."),
    ] = None,
    dataset: Annotated[str, typer.Option(help="One of: limelight datasets.")] = "folder",
    split: Annotated[str, typer.Option(help="Of --dataset, to train on.")] = "train",
    multilabel: Annotated[
        bool, typer.Option("--multilabel", help="Several classes per picture, each with a sigmoid of its own.")
    ] = False,
    resize: Annotated[
        str | None, typer.Option(metavar="ROWSxCOLUMNS", help="Resize to this without a crop (else as the model does).")
    ] = None,
    mirror: Annotated[bool, typer.Option("--mirror", help="Train on mirror images too.")] = False,
    epochs: Annotated[int, typer.Option(help="Passes over all pictures.")] = 95,
    rate: Annotated[float, typer.Option(help="Learning rate of SGD.")] = 0.01,
    decay: Annotated[float, typer.Option(help="The rate is multiplied by it at every step.")] = 0.1,
    decay_every: Annotated[int, typer.Option(help="Epochs between two steps.")] = 30,
    momentum: Annotated[float, typer.Option(help="Of SGD.")] = 0.9,
    weight_decay: Annotated[float, typer.Option(help="Of SGD.")] = 0.0,
    batch_size: Annotated[int, typer.Option(help="Pictures of a step.")] = 64,
    keep: Annotated[str, typer.Option(help="last, or best: the epoch of least loss in the test.")] = "last",
    seed: Annotated[int, typer.Option(help="Of first weights, order, mirrors and what is held out.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read pictures beside this one.")] = 0,
    loading: Loading = AS_IT_IS,
    as_json: Annotated[bool, typer.Option("--json", help="Print what came of every epoch as JSON.")] = False,
) -> None:
    """Train a network's last layer for classes of your own, and save the network; what was stopped goes on.

    Example: limelight train-head photos --model torchvision/resnet18 --out photos.safetensors
    """
    import limelight as ll

    trained = ll.train_head(
        loading.load(model),
        resolve_input(source),
        out,
        test=_share_or_name(test),
        dataset=dataset,
        split=split,
        multilabel=multilabel,
        resize=None if resize is None else _both(resize),
        mirror=mirror,
        workers=workers,
        epochs=epochs,
        rate=rate,
        decay=decay,
        decay_every=decay_every,
        momentum=momentum,
        weight_decay=weight_decay,
        batch_size=batch_size,
        keep=keep,
        seed=seed,
    )
    counts = {"trained_on": trained.counts[0], "tested_with": trained.counts[1]}
    labels = trained.classifier.labels or []
    rows: list[dict[str, float]] = [asdict(epoch) for epoch in trained.epochs]
    if as_json:
        records = [{name: None if math.isnan(value) else value for name, value in row.items()} for row in rows]
        print_json({"path": str(trained.path), "kept": trained.kept, **counts, "classes": labels, "epochs": records})
        return
    say("[bold]{}[/], {} classes: trained on {} pictures, tested with {}", model, len(labels), *trained.counts)
    columns = [name for name in rows[0] if not all(math.isnan(row[name]) for row in rows)]
    every = math.ceil(len(rows) / SHOWN)
    shown = [row for row in rows if row["epoch"] in (1, trained.kept) or row["epoch"] % every == 0]
    table([name.replace("_", " ") for name in columns], [[row[name] for name in columns] for row in shown])
    say("epoch {} → {}", trained.kept, trained.path, wrap=False)
    say("[dim]features and state: {}.training, of no more use when you are done[/]", trained.path, wrap=False)


def _share_or_name(text: str | None) -> float | str | None:
    """Read a share of the pictures, or else where pictures are."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def _both(text: str) -> tuple[int, int]:
    """Read ROWSxCOLUMNS."""
    both = sides("--resize", text)
    if isinstance(both, int) or len(both) != 2:
        raise InvalidOption(f"--resize {text}: expected ROWSxCOLUMNS, such as 224x224")
    return both[0], both[1]
