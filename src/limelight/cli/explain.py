"""limelight explain."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limelight.cli.output import console, expand, load_model, parse_parameters, print_json, progress
from limelight.errors import InvalidOption

if TYPE_CHECKING:
    from limelight.core.plan import Plan


def explain(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Pictures, or folders of them.")],
    model: Annotated[str, typer.Option("--model", "-m", help="torchvision/…, timm/…, hf/…, demo/… or a saved file.")],
    method: Annotated[str, typer.Option("--method", help="See: limelight methods.")] = "grad-cam",
    weights: Annotated[str, typer.Option(help="DEFAULT, 'none' for random ones, or a file.")] = "DEFAULT",
    target: Annotated[
        str | None, typer.Option(help="Class to explain: a label or an index (else the predicted one).")
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="Layer to explain; several with commas (else the last map).")
    ] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("-p", metavar="OPTION=VALUE", help="Option of the method; repeatable.")
    ] = None,
    view: Annotated[str, typer.Option(help="overlay, map, signed, contour, image or parts.")] = "overlay",
    out: Annotated[
        Path | None,
        typer.Option(help="File (.png, .npz, .json), or folder for several pictures (else IMAGE.METHOD.png)."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and which operations have no rule.")
    ] = False,
    plain: Annotated[bool, typer.Option("--plain", help="No title: the picture at the model's input size.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Show where a model looks.

    Example: limelight explain cat.jpg --model torchvision/resnet50 --method layer-cam --target tabby --out cat.png
    """
    import limelight as ll
    from limelight.api import plan

    options = parse_parameters(parameter or [])
    if layer:
        options["layer"] = tuple(layer.split(",")) if "," in layer else layer
    chosen = ll.method(method, **options)  # a wrong name or option is found before the model is loaded
    files = expand(images)
    if out is not None and len(files) > 1 and out.suffix:
        raise InvalidOption(f"--out {out} is one file for {len(files)} pictures; give a folder")
    classifier = load_model(model, weights, device)
    if dry_run:
        show_plan(plan(classifier, files[0], chosen), as_json)
        return
    results = []
    with progress(files, "explaining") as bar:
        for file in bar:
            explanation = ll.explain(classifier, file, chosen, target)
            path = explanation.save(_destination(out, file, method, len(files)), view=view, titled=not plain)
            results.append((file, path, explanation))
    if as_json:
        print_json([{"image": str(f), "file": str(p), **e.settings()} for f, p, e in results])
        return
    for file, path, e in results:
        console.print(f"[bold]{file.name}[/]: {e.title} · {e.method} · {e.cost} · {e.seconds:.2f} s → {path}")
        for remark in (e.reason, *e.notes):
            if remark:
                console.print(f"  [dim]{remark}[/]")


def show_plan(plan: "Plan", as_json: bool) -> None:
    """Print what a method would do with a model."""
    if as_json:
        print_json({**asdict(plan), "cost": str(plan.cost)})
        return
    at = f" at {', '.join(plan.layers)}" if plan.layers else ""
    console.print(f"[bold]{plan.method}[/]{at}: {plan.cost} per picture")
    if plan.operations:
        console.print("with a rule: " + ", ".join(f"{n} {kind}" for kind, n in plan.operations.items()))
        for function, owners in plan.unruled.items():
            where = ", ".join(owners[:3]) + (f" and {len(owners) - 3} more" if len(owners) > 3 else "")
            console.print(f"[bold]without a rule[/]: {function} in {where}")
        if plan.unruled:
            console.print("[dim]these hand on their own gradient; -p strict=true refuses them[/]")
        else:
            console.print("without a rule: none")


def _destination(out: Path | None, image: Path, method: str, count: int) -> Path:
    name = f"{image.stem}.{method}.png"
    if out is None:
        return Path(name)
    return out if out.suffix and count == 1 else out / name
