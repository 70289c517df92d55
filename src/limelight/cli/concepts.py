"""limelight explain --concepts: what the network sees, beside where."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from limelight.cli.files import check_kinds, check_readable, expand, file_names, refuse_overwriting
from limelight.cli.options import Loading
from limelight.cli.output import print_json, print_unreadable, say
from limelight.errors import InvalidOption, nearest

if TYPE_CHECKING:
    from limelight.concept.record import Concepts
    from limelight.model.targets import TargetLike

OPTIONS = ("layer", "by", "crops", "crops_by", "composite", "seed", "starts", "budget", "batch_size")
"""What ``-p`` may say of concepts."""


def refuse_options(given: dict[str, bool], options: dict[str, Any]) -> None:
    """Refuse options of ``limelight explain`` that concepts don't have.

    Args:
        given: which of those of single maps were given.
        options: those that ``-p`` gave.

    Raises:
        InvalidOption: there are some.
    """
    wrong = [name for name, there in given.items() if there]
    if wrong:
        raise InvalidOption(f"--concepts draws a sheet of its own: leave {', '.join(wrong)} out")
    for name in options:
        if name not in OPTIONS:
            raise InvalidOption(
                f"-p {name}: concepts have no such option{nearest(name, OPTIONS)}; {', '.join(OPTIONS)}"
            )


def explain_concepts(
    images: list[Path],
    model: str,
    n: int,
    reference: Path | None,
    target: "TargetLike",
    *,
    options: dict[str, Any],
    out: Path | None,
    strict: bool,
    loading: Loading,
    as_json: bool,
) -> int:
    """Write a sheet of concepts for each picture; return the exit code."""
    import limelight as ll
    from limelight.api.unreadable import Unreadable
    from limelight.data.collect import samples_of
    from limelight.progress import show_progress

    files = expand(images)
    if out is not None and len(files) > 1 and out.suffix:
        raise InvalidOption(f"--out {out} is one file for {len(files)} pictures; give a folder")
    others = None if reference is None else expand([reference])
    names = [f"{name}.concepts.png" for name in file_names(files)]
    single = out is not None and out.suffix and len(files) == 1
    outs = [out if single and out is not None else (out or Path()) / name for name in names]
    refuse_overwriting("--out", outs, [*files, *(others or ())])
    if strict:
        check_readable(samples_of([*files, *(others or ())]))
    classifier = loading.load(model)
    check_kinds(classifier, images)
    unreadable = Unreadable(strict)
    results: list[tuple[Path, Path, Concepts]] = []
    with show_progress("finding concepts", times=len(files)):
        for i in range(len(files)):
            one = unreadable.try_read(
                str(files[i]),
                lambda file=files[i]: ll.concepts(
                    classifier, file, n=n, target=target, reference=others, strict=strict, **options
                ),
            )
            if one is not None:
                results.append((files[i], one.save(outs[i]), one))
                unreadable.update(one.left_out)
    if not results:
        unreadable.tell(len(files))
    if as_json:
        records = [{"image": str(file), "file": str(path), **one.settings()} for file, path, one in results]
        print_json([*records, *({"image": name, "error": reason} for name, reason in unreadable.items())])
        return print_unreadable(unreadable)
    for file, path, one in results:
        title, what = one.titles[0], f"{len(one)} {one.by} of {one.layer}"
        say("[bold]{}[/]: {} · {} · {} · {:z.2f} s → {}", file, title, what, one.cost, one.seconds, path)
        for concept in one:
            say("  {:+z.1%} {}", concept.shares[0], concept.name)
        for note in one.notes:
            say("  [dim]{}[/]", note)
    return print_unreadable(unreadable)
