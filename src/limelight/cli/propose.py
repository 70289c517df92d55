"""limelight propose."""

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limelight.cli.arguments import parse_layers, parse_parameters, take_evenly
from limelight.cli.files import check_readable, files_of, number_duplicates, refuse_overwriting, resolve_input
from limelight.cli.options import (
    AS_IT_IS,
    Limit,
    Loading,
    Model,
    Strict,
    names_model,
)
from limelight.cli.output import print_json, print_unreadable, say, table
from limelight.errors import InvalidOption
from limelight.text import file_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from limelight.api.proposals import Proposals
    from limelight.data.samples import Sample


@names_model
def propose(
    model: Model,
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="IMAGE|FOLDER|CSV",
            help="Pictures, folders, or a csv with file, label, x1, y1, x2, y2 (true boxes).",
        ),
    ] = None,
    method: Annotated[
        str, typer.Option("--method", help="Whose map's peaks choose; see: limelight methods.")
    ] = "collection-cam",
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            "--targets",
            help="Class: a label, an index or 'label' for the true one (else the predicted one; the true one "
            "where all pictures have true boxes).",
        ),
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="Layer to explain; several with commas (else the method's own choice).")
    ] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("-p", metavar="OPTION=VALUE", help="Option of the method; repeatable.")
    ] = None,
    radius: Annotated[int, typer.Option(min=0, help="A peak is the largest among so many pixels on each side.")] = 16,
    threshold: Annotated[float, typer.Option(help="Least value of a peak; the map lies in [0, 1].")] = 0.5,
    scenes: Annotated[
        int | None,
        typer.Option(min=1, help="Add so many drawn scenes with known boxes, for demo/… models."),
    ] = None,
    limit: Limit = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for a figure of each picture (else IMAGE.propose.png for one, none for several)."),
    ] = None,
    strict: Strict = False,
    loading: Loading = AS_IT_IS,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> int:
    """Propose boxes of objects: selective search, from which the peaks of a saliency map choose.

    Boxes are in pixels of the original picture. Where true boxes are known, the recall at IoU 0.5 and the mean best IoU
    are compared with those of as many boxes that are chosen without the map, and of all candidates.

    Example: limelight propose cat.jpg --model torchvision/resnet50 --method collection-cam --out boxes
    """
    import limelight as ll
    from limelight.api.overlap import summarise
    from limelight.api.targets import read_targets
    from limelight.api.unreadable import Unreadable
    from limelight.progress import show_progress

    options = parse_parameters(parameter or [])
    if layer:
        options["layer"] = parse_layers(layer)
    chosen = ll.method(method, **options)  # a wrong name or option is found before the model is loaded
    samples = take_evenly(_samples(images or [], scenes), limit)
    if out is not None and out.suffix:
        raise InvalidOption(f"--out {out}: it is a folder, for a figure of each picture; give a name without a suffix")
    refuse_overwriting("--out", _destinations(out, samples), [*(images or []), *files_of(samples)])
    if strict:
        check_readable(samples)
    classifier = loading.load(model)
    unreadable = Unreadable(strict)
    known = [unreadable.try_read(s.name, lambda s=s: _true_boxes(s)) for s in samples]
    samples = [s for s, boxes in zip(samples, known, strict=True) if boxes is not None]
    truths = [boxes for boxes in known if boxes is not None]
    if not samples:
        unreadable.tell(len(known))
    if target is None and all(truths) and all(s.label is not None for s in samples):
        target = "label"
    targets = read_targets(classifier, samples, target)
    classes = [targets] * len(samples) if targets is None or callable(targets) else targets

    proposed: list[tuple[Sample, Path | None, Proposals, list[list[float]]]] = []
    paths = _destinations(out, samples)
    with show_progress("proposing", times=len(samples)):
        for i in range(len(samples)):
            image, path = samples[i].image, paths[i]
            p = unreadable.try_read(
                samples[i].name,
                lambda image=image, target=classes[i]: ll.propose(
                    classifier, image, chosen, target, radius=radius, threshold=threshold
                ),
            )
            if p is None:
                continue
            if path:
                p.save(path, truths[i] or None)
            proposed.append((samples[i], path, p, truths[i]))
    if not proposed:
        unreadable.tell(len(known))
    overlaps = [p.overlap(truth) for _, _, p, truth in proposed if truth]
    summary = summarise(overlaps) if overlaps else []
    if as_json:
        rows = [
            {
                "image": s.name,
                "file": str(path) if path else None,
                **p.settings(),
                "truth": truth,
                "overlap": _name_overlaps(p.overlap(truth)) if truth else None,
            }
            for s, path, p, truth in proposed
        ]
        print_json({"images": rows, "summary": summary, "unreadable": unreadable})
        return print_unreadable(unreadable)
    for sample, path, p, _ in proposed:
        arrow = f" → {path}" if path else ""
        head = f"{p.explanation.title} · {p.explanation.method} · {p.cost} · {p.seconds:z.1f} s"
        say("[bold]{}[/]: {}{}", sample.name, head, arrow)
        for box, i in zip(p.boxes.tolist(), p.chosen, strict=True):
            say("  {} {:z.2f}", tuple(box), p.confidences[i])
        lost = sum(c is None for c in p.choices)
        for remark in (
            p.explanation.reason,
            *p.explanation.notes,
            f"{lost} of {len(p.peaks)} peaks lie in no candidate" if lost else "",
        ):
            if remark:
                say("  [dim]{}[/]", remark)
    if summary:
        _print_comparison(summary)
    return print_unreadable(unreadable)


def _samples(images: list[Path], scenes: int | None) -> "list[Sample]":
    """Read all that was named on the command line."""
    from limelight import api
    from limelight.data import synthetic
    from limelight.data.collect import from_scenes

    if not images and scenes is None:
        raise InvalidOption("give pictures, a folder or a csv, or --scenes 20 for drawn ones")
    samples = [sample for source in images for sample in api.as_samples(resolve_input(source))]
    drawn = synthetic.scenes(scenes, seed=synthetic.TEST_SEEDS) if scenes else []
    for sample, scene in zip(from_scenes(drawn), drawn, strict=True):
        own = (one.box for one in scene.objects if one.label == scene.label)
        boxes = tuple((float(x1), float(y1), float(x2), float(y2)) for x1, y1, x2, y2 in own)
        samples.append(replace(sample, boxes=boxes))
    return api.as_samples(samples)


def _true_boxes(sample: "Sample") -> list[list[float]]:
    """Return the boxes of a sample; of one that has only a mask, the box around all of it."""
    if sample.boxes or sample.mask is None:
        return [list(box) for box in sample.boxes]
    mask = sample.truth_mask()
    around = mask.getbbox() if mask else None
    return [[float(v) for v in around]] if around else []


def _destinations(out: Path | None, samples: "Sequence[Sample]") -> "list[Path | None]":
    """Return the file of each picture's figure, no two of which are one."""
    if out is None and len(samples) > 1:
        return [None] * len(samples)
    ending = re.compile(r"\.(png|jpe?g|webp|gif|bmp|tiff?|ppm)(?=#|$)", flags=re.IGNORECASE)
    bare = [file_name(ending.sub("", s.name), "image") for s in samples]
    return [(out or Path()) / f"{name}.propose.png" for name in number_duplicates(bare)]


def _name_overlaps(overlap: dict[str, tuple[float, float]] | None) -> dict[str, dict[str, float]] | None:
    if overlap is None:
        return None
    return {way: {"recall": recall, "iou": iou} for way, (recall, iou) in overlap.items()}


def _print_comparison(summary: list[dict[str, Any]]) -> None:
    """Print how well the boxes fit the true ones."""
    from limelight.api.overlap import BOX_SETS

    def cell(figure: dict[str, float | None]) -> str:
        ends = "" if figure["low"] is None else f" [{figure['low']:z.2f}, {figure['high']:z.2f}]"
        return f"{figure['mean']:z.2f}{ends}"

    table(
        ["boxes", "recall at IoU 0.5 ↑", "mean best IoU ↑"],
        [[BOX_SETS[row["boxes"]], cell(row["recall"]), cell(row["iou"])] for row in summary],
    )
    say("[dim]mean \\[95% bootstrap interval] over {} pictures with true boxes[/]", summary[0]["images"])
    plain = next(row for row in summary if row["boxes"] == "plain")
    if plain["recall"]["p"] is not None:
        say(
            "[dim]with the map against without it, paired permutation test: recall p = {:z.2g}, IoU p = {:z.2g}[/]",
            plain["recall"]["p"],
            plain["iou"]["p"],
        )
