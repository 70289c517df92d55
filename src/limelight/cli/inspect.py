"""limelight inspect."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from limelight.cli.arguments import parse_parameters, split_names
from limelight.cli.benchmark import FEWER
from limelight.cli.files import refuse_overwriting
from limelight.cli.options import AS_IT_IS, Limit, Loading, Model, names_model
from limelight.cli.output import filling, print_json, print_unreadable, say
from limelight.progress import announce

if TYPE_CHECKING:
    from limelight.inspection.collect import Progress
    from limelight.inspection.findings import Inspection

LARGE = ("pictures", "classes", "members", "mean_map", "examples")
"""What is in ``findings.json`` alone."""


@names_model
def inspect(
    images: Annotated[
        Path, typer.Argument(metavar="FOLDER|CSV", help="Pictures: a folder per class, a csv, or a data set's folder.")
    ],
    model: Model,
    out: Annotated[Path, typer.Option(help="Folder for the maps, the page and the tables; a stopped run goes on.")],
    method: Annotated[
        str | None, typer.Option("--method", help="Whose maps are looked at (else the network's usual one).")
    ] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("-p", metavar="OPTION=VALUE", help="Option of the method; repeatable.")
    ] = None,
    classes: Annotated[
        list[str] | None, typer.Option("--class", metavar="NAME", help="Look at this class; repeatable (else all).")
    ] = None,
    of: Annotated[
        str | None,
        typer.Option(
            metavar="label|prediction",
            help="Explain the class of the label, or the predicted one (else labels where all are known).",
        ),
    ] = None,
    dataset: Annotated[str, typer.Option(help="That the folder holds; see: limelight datasets.")] = "folder",
    split: Annotated[str | None, typer.Option(help="Of the data set (else its first).")] = None,
    limit: Limit = None,
    tried: Annotated[int, typer.Option(min=0, help="Strategies of a class to try, beside the whole class.")] = 6,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn.")] = 0,
    executor: Annotated[str, typer.Option(help="local, or ray (that of RAY_ADDRESS, or one here).")] = "local",
    workers: Annotated[int | None, typer.Option(help="Of the cluster (else as many as fit).")] = None,
    threads: Annotated[int | None, typer.Option(help="Processor threads of each worker.")] = None,
    loading: Loading = AS_IT_IS,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> int:
    """Find what a network relies on over a whole data set, such as a mark in a corner, and prove it.

    All pictures are explained, the maps of a class are put in clusters, and what is suspicious is tried: taken away,
    and put into pictures of other classes. Several devices (--device cuda:0,cuda:1) work side by side.

    Example: limelight inspect photos --model torchvision/resnet50 --out inspected
    """
    from limelight.inspection.worker import Source
    from limelight.pages.inspection.inspect import inspect_source

    devices = split_names(loading.device or "")
    load = {k: v for k, v in loading.arguments.items() if k != "device"}
    options, explained = parse_parameters(parameter or []), cast(Any, of)  # which is checked there
    refuse_overwriting("--out", [out], [images])
    with filling(f"inspecting {model}") as show:
        inspection = inspect_source(
            Source(model, images, method, options, explained, dataset, split, load=load, threads=threads),
            out,
            limit=limit,
            devices=devices,
            executor=executor,
            workers=workers,
            classes=classes,
            tried=tried,
            seed=seed,
            on_forecast=lambda expected: announce(f"inspecting with {model}", expected, FEWER),
            on_progress=lambda done: show(done.before + done.finished, done.pictures, _pace(done)),
            on_class=lambda name, number, count: show(number - 1, count, f"classes: looking at {name}"),
            on_strategy=lambda name, number, count: show(number - 1, count, f"strategies: what that of {name} is"),
        )
    if as_json:
        _print_json(inspection, out)
    else:
        _print(inspection, out)
    return print_unreadable(inspection.progress.unreadable)


def _pace(progress: "Progress") -> str:
    """Say how fast it goes, and whether the model or all around it takes the time."""
    if not progress.finished:
        return ""
    return f"{progress.speed:z.2g} pictures/s, {progress.share_inside:z.0%} inside the model"


def _print(inspection: "Inspection", out: Path) -> None:
    from limelight.pages.inspection.inspect import PAGE
    from limelight.pages.inspection.words import conclude, count_classes

    for verdict in inspection.verdicts:
        say("{}.", verdict)
    say("[bold]{}[/]", conclude(inspection))
    done, pace = inspection.progress, _pace(inspection.progress)
    counted = f"{done.finished:,} explained, {done.before:,} were there{pace and f'; {pace}'}"
    say("{} with {}; {} → {}", count_classes(inspection), inspection.method, counted, out / PAGE, wrap=False)


def _print_json(inspection: "Inspection", out: Path) -> None:
    from limelight.pages.inspection.exports import list_findings
    from limelight.pages.inspection.inspect import PAGE

    findings = {name: value for name, value in list_findings(inspection).items() if name not in LARGE}
    findings["strategies"] = [{k: v for k, v in one.items() if k not in LARGE} for one in findings["strategies"]]
    print_json({**findings, "page": str(out / PAGE), "progress": vars(inspection.progress)})
