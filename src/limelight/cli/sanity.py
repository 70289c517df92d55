"""limelight sanity."""

from pathlib import Path
from typing import Annotated

import typer

from limelight.cli.arguments import find_unsuitable, method_names, parse_target, take_evenly
from limelight.cli.files import check_kinds, check_readable, files_of, refuse_overwriting, resolve_input
from limelight.cli.options import (
    AS_IT_IS,
    Against,
    Explained,
    Finer,
    Loading,
    Model,
    Strict,
    names_model,
)
from limelight.cli.output import print_json, print_left_out, print_unreadable, say
from limelight.errors import InvalidOption


@names_model
def sanity(
    images: Annotated[Path, typer.Argument(metavar="IMAGE|FOLDER", help="A picture, or a folder of them.")],
    model: Model,
    methods: Annotated[
        str, typer.Option("--methods", help="Names with commas between, 'quick' (up to 100 passes) or 'all'.")
    ] = "grad-cam",
    mode: Annotated[str, typer.Option(help="'cascading' from the output down, or 'independent' layers.")] = "cascading",
    layers: Annotated[str, typer.Option(help="Which lose their weights: affine, conv or all.")] = "affine",
    reset: Annotated[
        str, typer.Option(help="How: 'default', each layer's own initialisation, or 'ae', Attribution Equilibrium's.")
    ] = "default",
    target: Explained = None,
    against: Against = None,
    finer: Finer = False,
    threshold: Annotated[float, typer.Option(help="Mean rank correlation up to which a method passes.")] = 0.5,
    limit: Annotated[int, typer.Option(min=1, help="Take so many pictures, evenly spread.")] = 16,
    out: Annotated[Path, typer.Option(help="Where to write the strip of maps.")] = Path("sanity.png"),
    strict: Strict = False,
    loading: Loading = AS_IT_IS,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> int:
    """Tell which methods' maps do not depend on what the model has learned.

    Example: limelight sanity photos --model torchvision/resnet18 --methods grad-cam,eigen-cam
    """
    import limelight as ll
    from limelight import api, draw, files

    aim = parse_target(target, against, finer)
    if mode not in ("cascading", "independent"):
        raise InvalidOption(f"--mode {mode}: there are cascading and independent")
    if out.suffix.lower() != ".png":
        raise InvalidOption(f"--out {out}: the picture is a .png")
    names = method_names(methods)
    chosen = [ll.method(n) for n in names]
    ll.metric(f"sanity-{mode}", layers=layers, reset=reset)
    samples = take_evenly(api.as_samples(resolve_input(images)), limit)
    refuse_overwriting("--out", [out], [images, *files_of(samples)])
    if strict:
        check_readable(samples)
    classifier = loading.load(model)
    check_kinds(classifier, [images])
    left_out = find_unsuitable(methods, classifier, (s.image for s in samples), chosen, aim)
    chosen = [m for m in chosen if m.name not in left_out]
    verdicts, results = ll.sanity(
        classifier,
        samples,
        chosen,
        mode=mode,
        limit=threshold,
        targets=aim,
        layers=layers,
        reset=reset,
        strict=strict,
    )
    unreadable = results.settings.get("unreadable", {})
    shown = next(s for s in samples if s.name not in unreadable)
    strip = api.sanity_strip(classifier, shown, chosen, mode=mode, target=aim, layers=layers, reset=reset)
    files.write(out, draw.to_png_bytes(strip))
    if as_json:
        rows = [
            {"method": v.method, "passed": v.passed, "similarity": v.figure.mean, "reason": v.reason} for v in verdicts
        ]
        counts = {"images": len(results.images), "left_out": left_out, "unreadable": unreadable}
        print_json({"verdicts": rows, "file": str(out), **counts})
        return print_unreadable(unreadable)
    width = max(len(v.method) for v in verdicts)
    say("[bold]{}[/], {} images, {} randomisation of {} layers", classifier.name, len(results.images), mode, layers)
    for v in verdicts:
        line = "[green]pass[/]  {}  {}" if v.passed else "[red]FAIL[/]  {}  {}"
        say(line, v.method.ljust(width), v.reason)
    print_left_out(left_out)
    say("maps under progressive randomisation → {}", out, wrap=False)
    return print_unreadable(unreadable)
