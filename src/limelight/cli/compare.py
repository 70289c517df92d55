"""limelight compare."""

from pathlib import Path
from typing import Annotated

import typer

from limelight.cli.output import console, parse_parameters, print_json, split_names, table


def compare(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A picture.")],
    model: Annotated[str, typer.Option("--model", "-m", help="torchvision/…, timm/…, hf/…, demo/… or a saved file.")],
    methods: Annotated[str, typer.Option("--methods", help="Names with commas between, or 'all'.")] = "all",
    weights: Annotated[str, typer.Option(help="DEFAULT, 'none' for random ones, or a file.")] = "DEFAULT",
    target: Annotated[
        str | None, typer.Option(help="Class to explain: a label or an index (else the predicted one).")
    ] = None,
    layer: Annotated[str | None, typer.Option(help="Layer to explain (else the last map).")] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", metavar="OPTION=VALUE", help="Option of all methods; repeatable."),
    ] = None,
    view: Annotated[str, typer.Option(help="overlay, map, signed, contour or image.")] = "overlay",
    out: Annotated[Path | None, typer.Option(help="Where to write the picture (else IMAGE.compare.png).")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Explain one picture by many methods that share their passes.

    Example: limelight compare cat.jpg --model torchvision/resnet50 --methods grad-cam,layer-cam
    """
    import limelight as ll
    from limelight import api

    options = parse_parameters(parameter or []) | ({"layer": layer} if layer else {})
    names = list(ll.methods()) if methods == "all" else split_names(methods)
    chosen = [ll.method(name, **options) for name in names]
    classifier = ll.load(model, weights=None if weights.lower() == "none" else weights, device=device)
    # With 'all', a method that this model cannot have is no reason to show none.
    left_out = api.refusals(classifier, image, chosen, target) if methods == "all" else {}
    chosen = [m for m in chosen if m.name not in left_out]
    gallery = ll.explain(classifier, image, chosen, target)
    path = gallery.save(out or Path(f"{image.stem}.compare.png"), kind=view)
    row = gallery[0]
    if as_json:
        print_json(
            {
                "image": str(image),
                "file": str(path),
                "methods": [e.settings() for e in row],
                "left_out": left_out,
            }
        )
        return
    console.print(f"[bold]{image.name}[/]: {row[0].title} → {path}")
    table(
        ["method", "passes", "seconds", "remark"],
        [[e.method, str(e.cost), e.seconds, e.reason or " ".join(e.notes)] for e in row],
    )
    for name, reason in left_out.items():
        console.print(f"[dim]left out: {reason if reason.startswith(name) else f'{name}: {reason}'}[/]")
