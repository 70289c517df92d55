"""limelight choose."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limelight.cli.arguments import parse_layers, parse_parameters, split_names, take_evenly
from limelight.cli.files import check_kinds, check_readable, expand, files_of, refuse_overwriting, resolve_input
from limelight.cli.options import (
    AS_IT_IS,
    Layer,
    Limit,
    Loading,
    Model,
    OptionsOfAll,
    Strict,
    Target,
    names_model,
)
from limelight.cli.output import print_json, print_left_out, print_unreadable, say, table

if TYPE_CHECKING:
    from limelight.bench.choice import Choice, Standing


@names_model
def choose(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGES…", help="Pictures, folders of them, or one csv as for evaluate.")
    ],
    model: Model,
    methods: Annotated[
        str, typer.Option("--methods", help="Names with commas between, 'usual', 'quick' (up to 100 passes) or 'all'.")
    ] = "usual",
    metrics: Annotated[str, typer.Option("--metrics", help="Names with commas between; the first decides.")] = "adcc",
    budget: Annotated[
        str | None, typer.Option(help="Of the whole race: '5000 forwards' or '60 s' (else all pictures).")
    ] = None,
    target: Target = None,
    layer: Layer = None,
    parameter: OptionsOfAll = None,
    limit: Limit = None,
    alpha: Annotated[float, typer.Option(help="Chance at most that the truly best method is dropped.")] = 0.05,
    seed: Annotated[int, typer.Option(min=0, help="Of the order of the pictures.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Where to write the race: a page (.html) or .json.")] = None,
    strict: Strict = False,
    loading: Loading = AS_IT_IS,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> int:
    """Find the method for your model and pictures: a race that drops what is clearly worse early.

    Example: limelight choose photos --model torchvision/resnet50 --budget "5000 forwards" --out choice.html
    """
    import limelight as ll
    from limelight import api
    from limelight.bench.choose import choose as race
    from limelight.files import check_suffix

    options = parse_parameters(parameter or []) | ({"layer": parse_layers(layer)} if layer else {})
    chosen: str | list[str] | None = {"usual": None, "quick": "quick", "all": "all"}.get(methods, split_names(methods))
    judges = [ll.metric(name) for name in split_names(metrics)]  # wrong names are found before the model is loaded
    for name in chosen if isinstance(chosen, list) else []:
        ll.method(name, **options)
    if out is not None:
        check_suffix(out, ".html", ".json", option="--out")
    samples = take_evenly(api.as_samples(resolve_input(images[0]) if len(images) == 1 else expand(images)), limit)
    refuse_overwriting("--out", [out], [*images, *files_of(samples)])
    if strict:
        check_readable(samples)
    if target is None and any(m.needs_truth for m in judges) and all(s.label is not None for s in samples):
        target = "label"
    classifier = loading.load(model)
    check_kinds(classifier, images)

    def save(choice: "Choice") -> None:
        if out is not None:
            from limelight.pages.choose import save as write

            write(choice, out, classifier=classifier, samples=samples)

    try:
        choice = race(
            classifier,
            samples,
            chosen,
            judges,
            target,
            budget=budget,
            alpha=alpha,
            seed=seed,
            strict=strict,
            options=options,
        )
    except BaseException as error:
        finished: Choice | None = getattr(error, "finished", None)
        if finished is not None:
            save(finished)
            say("stopped; this is what was finished:", error=True)
            _print_choice(finished, classifier.name, out)
        raise
    save(choice)
    if as_json:
        print_json(choice.to_dict())
    else:
        _print_choice(choice, classifier.name, out)
    return print_unreadable(choice.unreadable)


def _print_choice(choice: "Choice", model: str, out: Path | None) -> None:
    """Print the standings, and what follows."""
    rounds = f"{len(choice.rounds)} round{'' if len(choice.rounds) == 1 else 's'}"
    say(
        "[bold]{}[/], {} of {} pictures, {}; the race is over: {}",
        model,
        choice.pictures,
        choice.given,
        rounds,
        choice.stopped,
    )
    columns = choice.results.columns
    heads = [f"{name} {c.arrow}" for name, c in columns.items()]
    first, *others = columns
    rows = [
        [s.method, _word_outcome(choice, s), _write_figure(*s.figures[first]), s.pictures, s.passes, s.seconds]
        for s in choice.standings
    ]
    table(["method", "outcome", heads[0], "seen", "passes", "seconds"], rows)
    say(
        "[dim]as good: can't be values from the best; behind: can be (p < {:g} in a single test); "
        "out (k): clearly worse, dropped in round k[/]",
        choice.alpha,
    )
    if others:
        values = [[s.method, *(_write_figure(*s.figures[m]) for m in others)] for s in choice.standings]
        table(["method", *heads[1:]], values, title=f"{first} decides; what the others say:")
    say("[bold green]✓[/] {}", choice.reason)
    for caution in choice.cautions:
        say("[yellow]![/] {}", caution)
    spent = choice.spent
    say(
        "[dim]{:z,.0f} passes in {:z.3g} s; all methods on all {} pictures would have taken {:z,.0f}: {:z.0%} {}[/]",
        spent.passes,
        spent.seconds,
        choice.given,
        spent.full,
        spent.saved,
        "saved" if choice.finished else "not spent",
    )
    print_left_out(choice.left_out)
    if out is not None:
        say("→ {}", out, wrap=False)


def _write_figure(mean: float, low: float, high: float) -> str:
    if mean != mean:
        return "–"
    return f"{mean:z.3f}" if low != low else f"{mean:z.3f} [{low:z.3f}, {high:z.3f}]"


def _word_outcome(choice: "Choice", standing: "Standing") -> str:
    if standing.method == choice.recommended:
        return "✓"
    if standing.dropped:
        return f"out ({standing.dropped})"
    return "floor" if standing.floor else "as good" if standing.like_best else "behind"
