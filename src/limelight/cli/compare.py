"""limelight compare."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from limelight.cli.arguments import (
    find_unsuitable,
    method_names,
    parse_layers,
    parse_parameters_of_each,
    parse_target,
    split_names,
)
from limelight.cli.files import refuse_overwriting, resolve_input
from limelight.cli.options import (
    AS_IT_IS,
    Against,
    Explained,
    Finer,
    Layer,
    Loading,
    Models,
    OptionsOfEach,
    names_model,
)
from limelight.cli.output import fail, print_json, print_left_out, say, table, without_nan
from limelight.errors import InvalidOption

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image
    from torch import Tensor

    from limelight.data.samples import Sample
    from limelight.results.explanation import Explanation, View
    from limelight.results.gallery import Gallery
    from limelight.results.original import On
    from limelight.results.tables import Results


@names_model
def compare(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A picture.")],
    models: Models,
    methods: Annotated[
        str, typer.Option("--methods", help="Names with commas between, 'quick' (up to 100 passes) or 'all'.")
    ] = "quick",
    metrics: Annotated[
        str, typer.Option("--metrics", help="Names with commas between, or 'none'.")
    ] = "adcc,insertion,deletion",
    protocol: Annotated[
        str | None, typer.Option(help="A paper's settings of methods and metrics: rise, adcc, collection-cam, aop, …")
    ] = None,
    target: Explained = None,
    against: Against = None,
    finer: Finer = False,
    watch: Annotated[
        str | None,
        typer.Option("--watch", help="Another class, whose score is followed while the explained one's pixels leave."),
    ] = None,
    truth: Annotated[
        list[Path] | None,
        typer.Option(
            "--truth",
            help="A mask, as large as the picture, of where an object of the class is: it is outlined; repeatable.",
        ),
    ] = None,
    layer: Layer = None,
    parameter: OptionsOfEach = None,
    view: Annotated[
        str | None, typer.Option(help="overlay, map, signed, contour or image (else what is usual of each method).")
    ] = None,
    on: Annotated[str, typer.Option(help="Draw on the input, or on the original: the whole picture.")] = "input",
    out: Annotated[Path | None, typer.Option(help="Where to write the picture (else IMAGE.compare.png).")] = None,
    loading: Loading = AS_IT_IS,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Explain one picture by many methods, and judge every map.

    Example: limelight compare cat.jpg --model torchvision/resnet50 --methods grad-cam,layer-cam --metrics adcc,deletion

    Two classes on one picture: limelight compare pets.jpg --model torchvision/resnet50 --target tabby --watch beagle

    Two models: limelight compare cat.jpg --model torchvision/vgg16 --model torchvision/resnet50
    """
    import limelight as ll
    from limelight import api, draw, files
    from limelight.api.pictures import as_input
    from limelight.api.truth import true_objects
    from limelight.data.samples import Sample
    from limelight.draw import chart
    from limelight.model.targets import Targets

    aim = parse_target(target, against, finer)
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
    refuse_overwriting("--out", [path], [image, *(truth or [])])
    if len(models) > 1 and loading.weights not in ("DEFAULT", "none"):
        raise InvalidOption(f"--weights {loading.weights}: one file can't be the weights of {len(models)} models")
    objects = [Sample(image, image.name, mask=mask) for mask in truth or []]
    sample = Sample(image, image.name, mask=_unite(objects))
    compared: list[_Compared] = []
    for model in models:
        classifier = loading.load(model)
        if watch is not None:  # a wrong name is found before the work
            Targets.parse(watch, classifier, as_input(classifier, image)[None])
        left_out = find_unsuitable(methods, classifier, [image], chosen, aim)
        able = [m for m in chosen if m.name not in left_out]
        if not able:
            fail(f"no method can explain {model}: {'; '.join(left_out.values())}")
        gallery, results = ll.compare(classifier, sample, able, judges, aim)
        compared.append(_Compared(model, gallery, results, left_out, true_objects(classifier, *objects)))
    pictures = [_draw(one, view, watch, on) for one in compared]
    if len(compared) > 1:
        pictures = [draw.annotate(p, one.model) for p, one in zip(pictures, compared, strict=True)]
    about = json.dumps([[e.settings() | {"metrics": one.numbers[e.method]} for e in one.row] for one in compared])
    files.write(path, draw.to_png_bytes(chart.stack(pictures), {"limelight": about}))
    if as_json:
        of_each = [_as_json(one) for one in compared]
        known = {"models": of_each} if len(compared) > 1 else {k: v for k, v in of_each[0].items() if k != "model"}
        print_json({"image": str(image), "file": str(path), **known})
        return
    for one in compared:
        of = f", {one.model}" if len(compared) > 1 else ""
        say("[bold]{}[/]: {}{} → {}", image.name, one.row[0].title, of, path)
        _print(one)
    if judges:
        say("[dim]one picture proves nothing: limelight evaluate FOLDER gives means and intervals[/]")
    for one in compared:
        print_left_out(one.left_out)


@dataclass(frozen=True)
class _Compared:
    """What was found of one model."""

    model: str
    gallery: "Gallery"
    results: "Results"
    left_out: dict[str, str]
    truth: "Tensor | None"

    @property
    def row(self) -> "list[Explanation]":
        return self.gallery[0]

    @property
    def numbers(self) -> dict[str, dict[str, float]]:
        return {r.method: dict(r.values) for r in self.results.rows}


def _unite(objects: "Sequence[Sample]") -> "npt.NDArray[np.uint8] | None":
    """Return where any of the objects is."""
    import numpy as np

    masks = [np.asarray(one.truth_mask()) for one in objects]
    return np.maximum.reduce(masks) if masks else None


def _draw(one: _Compared, view: str | None, watch: str | None, on: str) -> "Image.Image":
    """Return the maps with their numbers, and the curves below."""
    from limelight.draw import chart

    captions = {m: " · ".join(f"{k} {v:z.2f}" for k, v in values.items()) for m, values in one.numbers.items()}
    picture = one.gallery.picture(cast("View | None", view), captions, [one.truth], cast("On", on))
    charts = {name: curves for name in one.results.columns if (curves := one.results.curves(name))}
    if not charts:
        return picture
    watched = {"cross-deletion": watch}
    titled = {f"{k}: {watched.get(k, one.row[0].label)}" if watch else k: c for k, c in charts.items()}
    return chart.stack([picture, chart.curves(titled, width=max(900, picture.width))])


def _as_json(one: _Compared) -> dict[str, Any]:
    parts = {r.method: without_nan(dict(r.parts)) for r in one.results.rows}
    numbers = {m: without_nan(values) for m, values in one.numbers.items()}
    rows = [e.settings() | {"metrics": numbers[e.method], "parts": parts[e.method]} for e in one.row]
    protocols = {name: c.protocol for name, c in one.results.columns.items()}
    return {"model": one.model, "methods": rows, "protocols": protocols, "left_out": one.left_out}


def _print(one: _Compared) -> None:
    """Print the numbers of every method, what ADCC is made of, and remarks."""
    arrows = {name: f"{name} {c.arrow}" for name, c in one.results.columns.items()}
    spent = {r.method: sum(r.spent.values()) for r in one.results.rows}
    table(
        ["method", *arrows.values(), "passes", "to judge", "seconds"],
        [[e.method, *one.numbers[e.method].values(), str(e.cost), spent[e.method], e.seconds] for e in one.row],
    )
    for name in (name for name, c in one.results.columns.items() if c.pooling == "adcc"):
        parts, methods = one.results.parts(name), one.results.methods
        table([f"{name} of", *parts], [[m, *(v[i, 0] for v in parts.values())] for i, m in enumerate(methods)])
        say("[dim]{} of this picture; that of a folder is pooled, from the means of its three parts[/]", name)
    remarks: dict[str, list[str]] = {}
    for e in one.row:
        for remark in (e.reason, *e.notes):
            remarks.setdefault(remark, []).append(e.method)
    for remark in filter(None, remarks):
        say("[dim]{}: {}[/]", ", ".join(remarks[remark]), remark)
