"""limelight benchmark."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limelight.cli.arguments import split_names
from limelight.cli.options import Labels, Limit, Loading, Mean, Size, Std, Templates, Texts, Trust
from limelight.cli.output import filling, print_json, print_unreadable, say
from limelight.errors import InvalidOption, PictureWarning
from limelight.progress import announce
from limelight.text import whole_number

FEWER = "--limit N takes fewer pictures"

if TYPE_CHECKING:
    from collections.abc import Sequence

    from limelight.bench.recipe import Recipe
    from limelight.bench.run import Progress


def benchmark(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A file, or a name of limelight recipes.")],
    out: Annotated[Path, typer.Option(help="The run's folder; a run that was stopped goes on.")],
    data: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH|NAME=PATH",
            help="Pictures if the recipe wants some: a folder, or a csv; NAME= for each of several data sets.",
        ),
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="In place of the recipe's; see: limelight datasets.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(metavar="NAME[=WEIGHTS]", help="In place of the recipe's; may be repeated.")
    ] = None,
    add_model: Annotated[
        list[str] | None, typer.Option(metavar="NAME[=WEIGHTS]", help="Beside the recipe's; may be repeated.")
    ] = None,
    limit: Limit = None,
    shard: Annotated[str, typer.Option(metavar="I/N", help="Do the I-th of N parts, from 1.")] = "1/1",
    weights: Annotated[str | None, typer.Option(help="In place of the recipe's: DEFAULT, a file, …")] = None,
    labels: Labels = None,
    texts: Texts = None,
    templates: Templates = None,
    size: Size = None,
    mean: Mean = None,
    std: Std = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …; several with commas work side by side.")] = None,
    executor: Annotated[str, typer.Option(help="local, or ray (that of RAY_ADDRESS, or one here).")] = "local",
    workers: Annotated[int | None, typer.Option(help="Of the cluster (else as many as fit).")] = None,
    threads: Annotated[int | None, typer.Option(help="Processor threads of each worker.")] = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Stop at a picture that can't be read (else: cells with errors, exit code 1)."),
    ] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Measure again what failed before.")] = False,
    trust: Trust = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> int:
    """Measure models x methods x metrics over a data set, as a recipe says; go on where a run was stopped.

    --labels, --texts, --templates, --size, --mean and --std are for --model and --add-model, or for all models if
    neither is given.

    Example: limelight benchmark recipes/demo.toml --out runs/demo
    """
    from limelight.bench.recipe_file import read_published, read_recipe
    from limelight.bench.recipe_vary import vary_recipe
    from limelight.bench.run import benchmark as measure
    from limelight.model.labels import read_labels

    warnings.simplefilter("always", PictureWarning)  # of pictures for mosaics, of which there is no cell
    part = _shard(shard)
    plan = read_recipe(recipe)
    load = Loading(labels=labels, texts=texts, templates=templates, size=size, mean=mean, std=std).given
    if "labels" in load:
        load["labels"] = read_labels(load["labels"])  # they are part of the run, wherever the file goes
    if dataset or model or add_model or load:
        plan = vary_recipe(plan, dataset=dataset, models=model or (), more_models=add_model or (), load=load)
    with filling(plan.name) as show:
        progress = measure(
            plan,
            out,
            data=_places(data or [], plan),
            limit=limit,
            shard=part,
            devices=split_names(device) if device else (),
            weights=weights,
            executor=executor,
            workers=workers,
            threads=threads,
            published=read_published(plan, recipe),
            retry=retry,
            trust=trust,
            strict=strict,
            on_forecast=lambda expected: announce(f"measuring {plan.name}", expected, FEWER),
            on_progress=lambda progress: show(progress.before + progress.finished, progress.cells, _pace(progress)),
        )
    if as_json:
        print_json({**vars(progress), "folder": str(out)})
        return print_unreadable(progress.unreadable)
    for name, why in progress.left_out.items():
        say("[yellow]left out: {}: {}[/]", name, why)
    failed = f", {progress.failed} of them failed" if progress.failed else ""
    say(
        "[bold]{}[/]: {} cells measured{}, {} were there, of {}; {} → {}",
        plan.name,
        progress.finished,
        failed,
        progress.before,
        progress.cells,
        ", ".join(filter(None, (f"{progress.seconds:z.0f} s", _pace(progress)))),
        out,
        wrap=False,
    )
    return print_unreadable(progress.unreadable)


def _places(given: "Sequence[Path]", plan: "Recipe") -> "Path | dict[str, str | Path] | None":
    """Read where pictures are: of the whole recipe, or NAME=PATH for each of its data sets."""
    if len(given) < 2 and not (given and str(given[0]).partition("=")[0] in plan.parts):
        return given[0] if given else None
    places: dict[str, str | Path] = {}
    for text in map(str, given):
        name, equals, path = text.partition("=")
        if not (equals and name and path) or name in places:
            known = ", ".join(filter(None, plan.parts)) or "none"
            raise InvalidOption(
                f"--data {text}: several are given as NAME=PATH, once for each data set of the recipe; it has {known}"
            )
        places[name] = path
    return places


def _pace(progress: "Progress") -> str:
    """Say how fast a run goes, and whether the models or all around them take the time."""
    return f"{progress.speed:z.2g} images/s, {progress.share_inside:z.0%} inside the model" if progress.images else ""


def _shard(text: str) -> tuple[int, int]:
    """Read I/N, from 1."""
    index, count = (whole_number(part) for part in text.partition("/")[::2])
    if index is None or count is None:
        raise InvalidOption(f"--shard {text}: expected I/N, such as 2/8")
    if not 1 <= index <= count:
        raise InvalidOption(f"--shard {text}: expected 1 <= I <= N")
    return index - 1, count
