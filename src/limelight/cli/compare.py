"""limelight compare."""

import json
from pathlib import Path
from typing import Annotated

import typer

from limelight.cli.options import Device, Explained, Layer, Model, OptionsOfEach, Trust, Weights
from limelight.cli.output import (
    fail,
    find_unsuitable,
    load_model,
    method_names,
    parse_layers,
    parse_parameters_of_each,
    print_json,
    print_left_out,
    refuse_overwriting,
    resolve_input,
    say,
    split_names,
    table,
    without_nan,
)
from limelight.errors import InvalidOption


def compare(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A picture.")],
    model: Model,
    methods: Annotated[
        str, typer.Option("--methods", help="Names with commas between, 'quick' (up to 100 passes) or 'all'.")
    ] = "quick",
    metrics: Annotated[
        str, typer.Option("--metrics", help="Names with commas between, or 'none'.")
    ] = "adcc,insertion,deletion",
    protocol: Annotated[
        str | None, typer.Option(help="A paper's settings of methods and metrics: rise, adcc, collection-cam, aop, …")
    ] = None,
    weights: Weights = "DEFAULT",
    target: Explained = None,
    watch: Annotated[
        str | None,
        typer.Option("--watch", help="Another class, whose score is followed while the explained one's pixels leave."),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option("--truth", help="A mask, as large as the picture, of where the class is: it is outlined."),
    ] = None,
    layer: Layer = None,
    parameter: OptionsOfEach = None,
    view: Annotated[str, typer.Option(help="overlay, map, signed, contour or image.")] = "overlay",
    out: Annotated[Path | None, typer.Option(help="Where to write the picture (else IMAGE.compare.png).")] = None,
    device: Device = None,
    trust: Trust = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Explain one picture by many methods, and judge every map.

    Example: limelight compare cat.jpg --model torchvision/resnet50 --methods grad-cam,layer-cam --metrics adcc,deletion

    Two classes on one picture: limelight compare pets.jpg --model torchvision/resnet50 --target tabby --watch beagle
    """
    import limelight as ll
    from limelight import api, draw, files
    from limelight.api.inputs import as_input, true_mask
    from limelight.data.samples import Sample
    from limelight.draw import chart
    from limelight.model.targets import Targets

    names = method_names(methods)
    everywhere = {"layer": parse_layers(layer)} if layer else {}
    options = parse_parameters_of_each(parameter or [], names)
    chosen = [api.method_under(name, protocol, **everywhere | options[name]) for name in names]
    judges = [] if metrics.lower() == "none" else [api.metric_under(name, protocol) for name in split_names(metrics)]
    if watch is not None:
        watching = api.metric_under("cross-deletion", protocol, watch=watch)
        judges = [*(m for m in judges if m.name != "cross-deletion"), watching]
    api.expect_protocol(protocol, chosen, judges)
    image = resolve_input(image)
    path = out or Path(f"{image.stem}.compare.png")
    if path.suffix.lower() != ".png":
        raise InvalidOption(f"--out {path}: the picture is a .png")
    refuse_overwriting("--out", [path], [image, *([truth] if truth else [])])
    classifier = load_model(model, weights, device, trust)
    if watch is not None:  # a wrong name is found before the work
        Targets.parse(watch, classifier, as_input(classifier, image)[None])
    left_out = find_unsuitable(methods, classifier, [image], chosen, target)
    chosen = [m for m in chosen if m.name not in left_out]
    if not chosen:
        fail(f"no method can explain {model}: {'; '.join(left_out.values())}")
    sample = Sample(image, image.name, mask=truth)
    gallery, results = ll.compare(classifier, sample, chosen, judges, target)
    row = gallery[0]
    numbers = {r.method: dict(r.values) for r in results.rows}
    captions = {m: " · ".join(f"{k} {v:z.2f}" for k, v in values.items()) for m, values in numbers.items()}
    picture = gallery.picture(view, captions, [true_mask(classifier, sample)])  # type: ignore[arg-type]
    charts = {name: curves for name in results.columns if (curves := results.curves(name)) and len(row) > 0}
    if charts:
        watched = {"cross-deletion": watch}
        titled = {f"{k}: {watched.get(k, row[0].label)}" if watch else k: c for k, c in charts.items()}
        picture = chart.stack([picture, chart.curves(titled, width=max(900, picture.width))])
    about = json.dumps([[e.settings() | {"metrics": numbers[e.method]} for e in row]])
    files.write(path, draw.to_png_bytes(picture, {"limelight": about}))
    if as_json:
        protocols = {name: c.protocol for name, c in results.columns.items()}
        parts = {r.method: without_nan(dict(r.parts)) for r in results.rows}
        rows = [e.settings() | {"metrics": without_nan(numbers[e.method]), "parts": parts[e.method]} for e in row]
        print_json(
            {"image": str(image), "file": str(path), "methods": rows, "protocols": protocols, "left_out": left_out}
        )
        return
    say("[bold]{}[/]: {} → {}", image.name, row[0].title, path)
    arrows = {name: f"{name} {c.arrow}" for name, c in results.columns.items()}
    judged = {r.method: sum(r.spent.values()) for r in results.rows}
    table(
        ["method", *arrows.values(), "passes", "to judge", "seconds"],
        [[e.method, *numbers[e.method].values(), str(e.cost), judged[e.method], e.seconds] for e in row],
    )
    for name in (name for name, c in results.columns.items() if c.pooling == "adcc"):
        parts = results.parts(name)
        table([f"{name} of", *parts], [[m, *(v[i, 0] for v in parts.values())] for i, m in enumerate(results.methods)])
        say("[dim]{} of this picture; that of a folder is pooled, from the means of its three parts[/]", name)
    remarks: dict[str, list[str]] = {}
    for e in row:
        for remark in (e.reason, *e.notes):
            remarks.setdefault(remark, []).append(e.method)
    for remark in filter(None, remarks):
        say("[dim]{}: {}[/]", ", ".join(remarks[remark]), remark)
    if judges:
        say("[dim]one picture proves nothing: limelight evaluate FOLDER gives means and intervals[/]")
    print_left_out(left_out)
