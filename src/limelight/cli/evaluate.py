"""limelight evaluate."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limelight.cli.arguments import (
    find_unsuitable,
    method_names,
    parse_layers,
    parse_parameters_of_each,
    split_names,
    take_evenly,
)
from limelight.cli.files import check_kinds, check_readable, files_of, refuse_overwriting, resolve_input
from limelight.cli.options import (
    AS_IT_IS,
    Layer,
    Limit,
    Loading,
    Model,
    OptionsOfEach,
    Strict,
    Target,
    names_model,
)
from limelight.cli.output import console, print_json, print_left_out, print_unreadable, say, table, without_nan
from limelight.errors import LimelightError

if TYPE_CHECKING:
    from limelight.results.summary import Summary
    from limelight.results.tables import Results


@names_model
def evaluate(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER|CSV",
            help="Pictures, a folder per class, or a csv with file, label, mask, x1, y1, x2, y2.",
        ),
    ],
    model: Model,
    methods: Annotated[
        str, typer.Option("--methods", help="Names with commas between, 'quick' (up to 100 passes) or 'all'.")
    ] = "grad-cam",
    metrics: Annotated[
        str, typer.Option("--metrics", help="Names with commas between; see: limelight metrics.")
    ] = "adcc,insertion,deletion",
    protocol: Annotated[
        str | None, typer.Option(help="A paper's settings: rise, adcc, collection-cam, aop, ae, …")
    ] = None,
    target: Target = None,
    layer: Layer = None,
    parameter: OptionsOfEach = None,
    limit: Limit = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write the numbers: .csv, .parquet, .json, or .md for the summary.")
    ] = None,
    strict: Strict = False,
    loading: Loading = AS_IT_IS,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> int:
    """Measure how far explanations of a folder of pictures can be trusted.

    Example: limelight evaluate photos --model torchvision/resnet50 --methods grad-cam,layer-cam --metrics adcc,deletion
    """
    import limelight as ll
    from limelight import api
    from limelight.files import check_suffix
    from limelight.results.tables import FORMATS

    names = method_names(methods)
    everywhere = {"layer": parse_layers(layer)} if layer else {}
    options = parse_parameters_of_each(parameter or [], names)
    chosen = [api.method_under(name, protocol, **everywhere | options[name]) for name in names]
    judges = split_names(metrics)
    needs_truth = any([ll.metric(name).needs_truth for name in judges])  # finds wrong names before the model is loaded
    if out is not None:
        check_suffix(out, *FORMATS, option="--out")
    samples = take_evenly(api.as_samples(resolve_input(source)), limit)
    refuse_overwriting("--out", [out], [source, *files_of(samples)])
    if strict:
        check_readable(samples)
    classifier = loading.load(model)
    check_kinds(classifier, [source])
    left_out = find_unsuitable(methods, classifier, (s.image for s in samples), chosen)
    chosen = [m for m in chosen if m.name not in left_out]
    if target is None and needs_truth and all(s.label is not None for s in samples):
        target = "label"
    try:
        results = ll.evaluate(classifier, samples, chosen, judges, target, protocol=protocol, strict=strict)
    except (LimelightError, KeyboardInterrupt) as error:
        finished = getattr(error, "finished", None)
        if out is not None and finished:
            say("stopped; the {} rows that were finished are in {}", len(finished), finished.save(out), error=True)
        raise
    summary = results.summary()
    unreadable = results.settings.get("unreadable", {})
    if as_json:
        figures = [without_nan(vars(f)) for f in summary]
        protocols = {name: c.protocol for name, c in results.columns.items()}
        parts = {
            name: {m: without_nan(of) for m, of in _mean_parts(results, name).items()}
            for name, c in results.columns.items()
            if c.pooling == "adcc"
        }
        known = {"figures": figures, "parts": parts, "protocols": protocols}
        print_json({**known, "left_out": left_out, "settings": results.settings})
        if out is not None:
            results.save(out)
        return print_unreadable(unreadable)
    say("[bold]{}[/], {} images, explained class: {}", classifier.name, len(results.images), target or "predicted")
    _print_figures(results, summary)
    for name in (name for name, c in results.columns.items() if c.pooling == "adcc"):
        means = _mean_parts(results, name)
        table([f"{name} of", *next(iter(means.values()))], [[m, *parts.values()] for m, parts in means.items()])
        say("[dim]{} is pooled: the harmonic mean of these means, not the mean over the images[/]", name)
    undefined = {f.metric: f.undefined for f in summary if f.undefined}
    for metric, count in undefined.items():
        say("[dim]{} is not defined for {} of {} images[/]", metric, count, len(results.images))
    print_left_out(left_out)
    for name, column in results.columns.items():
        say("[dim]{}: {}[/]", name, column.protocol)
    if out is not None:  # last: a full disk takes no number from the screen
        say("→ {}", results.save(out), wrap=False)
    return print_unreadable(unreadable)


def _mean_parts(results: "Results", metric: str) -> dict[str, dict[str, float]]:
    """Return the means over the images of what a pooled metric is made of, by method and part."""
    means: dict[str, dict[str, float]] = {}
    for m in results.methods:
        rows = [r for r in results.rows if r.method == m and r.values[metric] == r.values[metric]]  # where defined
        sums = {part: sum(r.parts[f"{metric}.{part}"] for r in rows) for part in results.parts(metric)}
        means[m] = {part: total / len(rows) if rows else float("nan") for part, total in sums.items()}
    return means


def _print_figures(results: "Results", summary: "Summary") -> None:
    """Print a line per method, or where that is too wide, one table per metric with the best on top."""
    alone = len(results.methods) == 1
    heads = {name: f"{name} {c.arrow}" for name, c in results.columns.items()}
    cells = {(f.method, f.metric): str(f) + ("*" if f.like_best and not alone else "") for f in summary}
    rows_of = {m: [r for r in results.rows if r.method == m] for m in results.methods}
    spent = {
        m: [sum(r.forwards + r.backwards for r in of), sum(sum(r.spent.values()) for r in of)]
        for m, of in rows_of.items()
    }
    ends = {
        m: [summary[m, next(iter(heads))].degenerate, *(s / len(of) for s in (*spent[m], sum(r.seconds for r in of)))]
        for m, of in rows_of.items()
    }
    last = ["empty maps", "passes", "to judge", "s/image"]
    widths = [max(len(head), *(len(cells[m, name]) for m in results.methods)) + 2 for name, head in heads.items()]
    if sum(widths) + max(map(len, results.methods)) + 46 <= console.width:
        rows = [[m, *(cells[m, name] for name in heads), *ends[m]] for m in results.methods]
        table(["method", *heads.values(), *last], rows)
    else:
        for name, head in heads.items():
            ranked = sorted((f for f in summary if f.metric == name), key=lambda f: f.rank or len(results.methods) + 1)
            table(["rank", head, ""], [[f.rank or "–", f.method, cells[f.method, name]] for f in ranked])
        table(["method", *last], [[m, *end] for m, end in ends.items()])
    best = "" if alone else "; *: the best, and what is not distinguishable from it (paired permutation test, Holm)"
    say("[dim]mean \\[{:z.0%} bootstrap interval]{}[/]", summary.confidence, best)
    images, pairs = len(results.images), len(results.methods) * (len(results.methods) - 1) // 2
    if 2 ** (1 - images) * pairs >= 0.05:
        say("[dim]{} pictures are too few to tell {} methods apart[/]", images, len(results.methods))
