"""limelight evaluate."""

from pathlib import Path
from typing import Annotated

import typer

from limelight.cli.output import console, counted, parse_parameters, print_json, split_names, table
from limelight.errors import InvalidOption


def evaluate(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER|CSV",
            help="Pictures, a folder per class, or a csv with file, label, mask, x1, y1, x2, y2.",
        ),
    ],
    model: Annotated[str, typer.Option("--model", "-m", help="torchvision/…, timm/…, hf/…, demo/… or a saved file.")],
    methods: Annotated[str, typer.Option("--methods", help="Names with commas between, or 'all'.")] = "grad-cam",
    metrics: Annotated[
        str, typer.Option("--metrics", help="Names with commas between; see: limelight metrics.")
    ] = "adcc,insertion,deletion",
    protocol: Annotated[
        str | None, typer.Option(help="A paper's settings: rise, adcc, collection-cam, aop, ae, …")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="'label' for the true class, or a class (else the predicted one; the true one with a truth)."
        ),
    ] = None,
    weights: Annotated[str, typer.Option(help="DEFAULT, 'none' for random ones, or a file.")] = "DEFAULT",
    layer: Annotated[str | None, typer.Option(help="Layer to explain (else the last map).")] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("-p", metavar="OPTION=VALUE", help="Option of all methods; repeatable.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Take so many pictures, evenly spread.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write the numbers: .csv, .parquet, .json, or .md for the summary.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Measure how far explanations of a folder of pictures can be trusted.

    Example: limelight evaluate photos --model torchvision/resnet50 --methods grad-cam,layer-cam --metrics adcc,deletion
    """
    from rich.markup import escape

    import limelight as ll
    from limelight import api

    options = parse_parameters(parameter or []) | ({"layer": layer} if layer else {})
    names = list(ll.methods()) if methods == "all" else split_names(methods)
    chosen = [ll.method(n, **options) if options else n for n in names]
    judges = split_names(metrics)
    for name in judges:
        ll.metric(name)  # a wrong name is found before the model is loaded
    for name in names:
        ll.method(name)
    if out is not None and out.suffix.lower() not in (".csv", ".parquet", ".json", ".md"):
        raise InvalidOption(f"--out {out}: the suffix must be .csv, .parquet, .json or .md")
    samples = api.as_samples(source)
    if limit is not None and limit < len(samples):
        samples = [samples[i * len(samples) // limit] for i in range(limit)]
    classifier = ll.load(model, weights=None if weights.lower() == "none" else weights, device=device)
    if methods == "all":
        objects = [ll.method(n, **options) for n in names]
        left_out = api.refusals(classifier, samples[0].image, objects, None)
        chosen = [m for m in objects if m.name not in left_out] if options else [n for n in names if n not in left_out]
    else:
        left_out = {}
    if target is None and any(ll.metric(j).needs_truth for j in judges) and all(s.label is not None for s in samples):
        target = "label"
    with counted(len(samples) * len(chosen), "evaluating") as advance:
        results = ll.evaluate(
            classifier, samples, chosen, judges, target, protocol=protocol, on_rows=lambda rows: advance(len(rows))
        )
    if out is not None:
        results.save(out)
    summary = results.summary()
    if as_json:
        figures = [{k: None if v != v else v for k, v in vars(f).items()} for f in summary]
        protocols = {name: c.protocol for name, c in results.columns.items()}
        print_json({"figures": figures, "protocols": protocols, "left_out": left_out, "settings": results.settings})
        return
    columns = results.columns
    heads = [f"{name} {'↑' if c.better == 'higher' else '↓'}" for name, c in columns.items()]
    rows = []
    for name in results.methods:
        figures = [summary[name, metric] for metric in columns]
        cells = [f"{f}*" if f.like_best and len(results.methods) > 1 else str(f) for f in figures]
        counted_maps = sum(r.method == name for r in results.rows)
        seconds = sum(r.seconds for r in results.rows if r.method == name) / counted_maps
        rows.append([name, *map(escape, cells), figures[0].degenerate, seconds])
    console.print(f"[bold]{classifier.name}[/], {len(results.images)} images, explained class: {target or 'predicted'}")
    table(["method", *heads, "empty maps", "s/image"], rows)
    console.print(
        f"[dim]mean \\[{summary.confidence:.0%} bootstrap interval]; *: the best, and what is not distinguishable "
        "from it (paired permutation test, Holm)[/]"
    )
    undefined = {f.metric: f.undefined for f in summary if f.undefined}
    for metric, count in undefined.items():
        console.print(f"[dim]{metric} is not defined for {count} of {len(results.images)} images[/]")
    for name, reason in left_out.items():
        console.print(f"[dim]left out: {reason if reason.startswith(name) else f'{name}: {reason}'}[/]")
    for name, column in columns.items():
        console.print(f"[dim]{name}: {column.protocol}[/]", highlight=False)
    if out is not None:
        console.print(f"→ {out}")
