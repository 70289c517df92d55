"""limelight models."""

from dataclasses import replace
from typing import Annotated, Any

import typer

from limelight.cli.options import AS_IT_IS, Loading, names_model
from limelight.cli.output import print_json, say, table


@names_model
def models(
    name: Annotated[str | None, typer.Argument(help="A model, its file, or a part of names to list.")] = None,
    layers: Annotated[bool, typer.Option("--layers", help="List the layers that can be explained.")] = False,
    loading: Loading = AS_IT_IS,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """List the models that can be loaded by name, the layers of one, or what is in the file of one.

    Example: limelight models torchvision/resnet18 --layers
    """
    from limelight import zoo

    if layers:
        if name is None:
            raise typer.BadParameter("--layers needs the name of a model", param_hint="NAME")
        _layers(name, as_json, loading)
        return
    if name is not None and zoo.is_file_name(name):
        _describe(name, as_json, loading)
        return
    available = [f"{family}/{model}" for family, names in zoo.available().items() for model in names]
    shown = [model for model in available if name is None or name.lower() in model.lower()]
    if as_json:
        print_json(shown)
        return
    if not shown:
        raise typer.BadParameter(f"no model's name contains {name!r}", param_hint="NAME")
    for model in shown:
        say("{}", model, wrap=False)


def _describe(name: str, as_json: bool, loading: Loading) -> None:
    import warnings

    from limelight.errors import ConversionWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConversionWarning)  # its words are those of the origin
        classifier = loading.load(name)
    labels: list[str] = classifier.labels or []
    facts: dict[str, Any] = {
        "model": classifier.name,
        "kind": type(classifier).__name__,
        "origin": classifier.origin,
        "input": "x".join(map(str, (len(classifier.mean), *classifier.input_size))),
        "classes": classifier.classes(),
        "labels": labels,
    }
    if as_json:
        print_json(facts)
        return
    facts["labels"] = ", ".join(labels[:5]) + (", …" if len(labels) > 5 else "") if labels else "none are known"
    for key, value in facts.items():
        if value:
            say("{}: {}", key, value)


AXES = {
    "nchw": "channels first",
    "nhwc": "channels last",
    "tokens": "tokens",
    "tokens_first": "tokens before images",
    "custom": "by reshape=",
}
"""How a layer's output is laid out, in words."""


def _layers(name: str, as_json: bool, loading: Loading) -> None:
    from limelight.errors import WeightsUnavailable

    try:
        classifier = loading.load(name)
    except WeightsUnavailable:  # layers do not depend on the weights
        classifier = replace(loading, weights="none").load(name)
    trace = classifier.trace()
    stages = {layer.name for layer in trace.stages}
    rows = [
        {
            "layer": layer.name,
            "module": layer.kind,
            "output": "x".join(map(str, layer.shape)),
            "map": "x".join(map(str, layer.layout.grid)) if layer.layout else "",
            "axes": AXES[layer.layout.kind] + ", frame by frame" * bool(layer.layout.frames) if layer.layout else "",
            "run": "" if layer.run is None else f"#{layer.run}",
            "stage": layer.name in stages,
            "default": layer is trace.candidates[-1],
            "depth": round(layer.before, 3),
        }
        for layer in trace.candidates
    ]
    if as_json:
        print_json(rows)
        return
    marks = [{**r, "stage": "*" if r["stage"] else "", "default": "*" if r["default"] else ""} for r in rows]
    table(list(rows[0]) if rows else ["layer"], [list(r.values()) for r in marks], title=classifier.name)
    say("[dim]stage: last layer of its resolution, stems left out; depth: share of the arithmetic done there[/]")
    if any(row["run"] for row in rows):
        say("[dim]run: of a module that runs several times, the last that depends on the image[/]")
