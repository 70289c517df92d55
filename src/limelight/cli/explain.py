"""limelight explain."""

from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from limelight.cli.arguments import parse_layers, parse_parameters, parse_target
from limelight.cli.concepts import explain_concepts, refuse_options
from limelight.cli.files import check_kinds, check_readable, expand, file_names, refuse_overwriting
from limelight.cli.options import (
    AS_IT_IS,
    Against,
    Explained,
    Finer,
    Layer,
    Loading,
    Model,
    Strict,
    names_model,
)
from limelight.cli.output import print_json, print_unreadable, say
from limelight.errors import InvalidOption
from limelight.text import file_name

if TYPE_CHECKING:
    from limelight.engine.plan import Plan
    from limelight.results.explanation import Explanation, View
    from limelight.results.original import On


MOST_CUT = 0.1
"""Share of a picture that the network may not see before maps are drawn on the whole of it."""


@names_model
def explain(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Pictures, or folders of them.")],
    model: Model,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            help="See: limelight methods (else generic-attention on transformers for which it is defined, unless a "
            "layer is named, and grad-cam on all other networks).",
        ),
    ] = None,
    target: Explained = None,
    against: Against = None,
    finer: Finer = False,
    layer: Layer = None,
    parameter: Annotated[
        list[str] | None, typer.Option("-p", metavar="OPTION=VALUE", help="Option of the method; repeatable.")
    ] = None,
    view: Annotated[
        str | None,
        typer.Option(
            help="overlay, map, signed, contour, image, parts, masked or trace (the steps of i-gos, emp, …); else "
            "signed for maps of single pixels, and overlay."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="File (.png, .npz, .json), or folder for several pictures (else IMAGE.METHOD.png)."),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(
            help="Also animate how the mask came about (i-gos, emp, …): file (.gif), or folder for several pictures."
        ),
    ] = None,
    concepts: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="What it sees there: draw the N channels of the layer (-p by=parts: parts) that count.",
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="With --concepts: pictures from which it is shown what each answers to (else IMAGE)."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and which operations have no rule.")
    ] = False,
    on: Annotated[
        str | None,
        typer.Option(
            help="Draw on the input, or on the original: the whole picture at its own size (else on the original where "
            "the input shows less than nine tenths of it)."
        ),
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="No title: the picture alone, at its size.")] = False,
    strict: Strict = False,
    loading: Loading = AS_IT_IS,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> int:
    """Show where a model looks.

    Example: limelight explain cat.jpg --model torchvision/resnet50 --method layer-cam --target tabby --out cat.png
    """
    import limelight as ll
    from limelight.api import first_input, plan
    from limelight.api.unreadable import Unreadable
    from limelight.data.collect import samples_of
    from limelight.engine.default_method import SAID, USUAL, default_method
    from limelight.progress import show_progress
    from limelight.results.optimisation import list_tracing_methods

    aim = parse_target(target, against, finer)
    options = parse_parameters(parameter or [])
    if layer:
        options["layer"] = parse_layers(layer)
    if concepts is not None:
        alone = {"--method": method is not None, "--view": view is not None, "--trace": trace is not None}
        refuse_options(alone | {"--dry-run": dry_run, "--on": on is not None, "--plain": plain}, options)
        return explain_concepts(
            images,
            model,
            concepts,
            reference,
            aim,
            options=options,
            out=out,
            strict=strict,
            loading=loading,
            as_json=as_json,
        )
    if reference is not None:
        raise InvalidOption("--reference goes with --concepts N")
    chosen = ll.method(method or USUAL, **options)  # a wrong name or option is found before the model is loaded
    if "watch" not in chosen.card.options and (trace is not None or view == "trace"):
        raise InvalidOption(f"{chosen.name} keeps no trace; {', '.join(list_tracing_methods())} do")
    files = expand(images)
    for option, given in (("--out", out), ("--trace", trace)):
        if given is not None and len(files) > 1 and given.suffix:
            raise InvalidOption(f"{option} {given} is one file for {len(files)} pictures; give a folder")
    if trace is not None and trace.suffix.lower() not in ("", ".gif"):
        raise InvalidOption(f"--trace {trace}: an animation is a .gif")
    if strict:
        check_readable(samples_of(files))
    classifier = loading.load(model)
    check_kinds(classifier, images)
    if method is None:
        chosen = default_method(classifier, first_input(classifier, files)[None], aim, **options)
    if dry_run:
        show_plan(plan(classifier, first_input(classifier, files), chosen), as_json)
        return 0
    results: list[tuple[Path, Path, Path | None, Explanation]] = []
    unreadable = Unreadable(strict)
    names = [f"{name}.{file_name(chosen.name)}" for name in file_names(files)]
    outs = [_destination(out, f"{name}.png", len(files)) for name in names]
    films = [trace and _destination(trace, f"{name}.gif", len(files)) for name in names]
    refuse_overwriting("--out", outs, files)
    refuse_overwriting("--trace", films, files)
    with show_progress("explaining", times=len(files)):
        for i in range(len(files)):
            file = files[i]
            explanation = unreadable.try_read(str(file), lambda file=file: ll.explain(classifier, file, chosen, aim))
            if explanation is None:
                continue
            if method is None and chosen.name != USUAL:
                explanation = replace(explanation, notes=(*explanation.notes, SAID))
            ground = cast("On", on) if on else _ground_of(explanation, view, outs[i])
            path = explanation.save(outs[i], view=cast("View | None", view), titled=not plain, on=ground)
            film = explanation.animate(where) if (where := films[i]) else None
            results.append((file, path, film, explanation))
    if not results:
        unreadable.tell(len(files))
    if as_json:
        records = [
            {"image": str(file), "file": str(path), **({"trace": str(film)} if film else {}), **e.settings()}
            for file, path, film, e in results
        ]
        print_json([*records, *({"image": name, "error": reason} for name, reason in unreadable.items())])
        return print_unreadable(unreadable)
    counts = Counter(file.name for file in files)
    remarks = Counter(note for *_, e in results for note in set(e.notes))
    shown = {file: file.name if counts[file.name] == 1 else str(file) for file in files}
    for file, path, film, e in results:
        written = f"{path}, {film}" if film else f"{path}"
        say("[bold]{}[/]: {} · {} · {} · {:z.2f} s → {}", shown[file], e.title, e.method, e.cost, e.seconds, written)
        for remark in (e.reason, *(note for note in e.notes if remarks[note] == 1)):
            if remark:
                say("  [dim]{}[/]", remark)
    for remark, count in remarks.items():
        if count > 1:
            say("[dim]{}: {}[/]", "All" if count == len(results) else f"{count} of {len(results)}", remark)
    return print_unreadable(unreadable)


def _ground_of(explanation: "Explanation", view: str | None, path: Path) -> "On":
    """Return what to draw on if nobody says: the original where the input shows less than nine tenths of it."""
    from limelight.results.explanation import SHEETS

    if explanation.original is None or view in SHEETS or path.suffix.lower() != ".png":
        return "input"
    try:
        return "original" if explanation.original.cut > MOST_CUT else "input"
    except InvalidOption:  # a preprocessing that bends pictures
        return "input"


def show_plan(plan: "Plan", as_json: bool) -> None:
    """Print what a method would do with a model."""
    if as_json:
        print_json({**asdict(plan), "cost": str(plan.cost)})
        return
    at = f" at {', '.join(plan.layers)}" if plan.layers else ""
    say("[bold]{}[/]{}: {} per picture", plan.method, at, plan.cost)
    if plan.operations:
        say("with a rule: {}", ", ".join(f"{n} {kind}" for kind, n in plan.operations.items()))
        for function, owners in plan.unruled.items():
            where = ", ".join(owners[:3]) + (f" and {len(owners) - 3} more" if len(owners) > 3 else "")
            say("[bold]without a rule[/]: {} in {}", function, where)
        if plan.unruled:
            say("[dim]these hand on their own gradient; -p strict=true refuses them[/]")
        else:
            say("without a rule: none")


def _destination(out: Path | None, name: str, count: int) -> Path:
    if out is None:
        return Path(name)
    return out if out.suffix and count == 1 else out / name
