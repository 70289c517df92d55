"""Write a race of methods as a page: what is recommended and why, what it costs, and how the race went."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import limelight
from limelight import api, files
from limelight.bench.choice import Choice, Standing
from limelight.bench.wording import write_p
from limelight.data.images import load_image
from limelight.data.samples import Sample
from limelight.draw import chart
from limelight.errors import LimelightError
from limelight.model.classifier import Classifier
from limelight.pages.formatting import format_cost, format_count, format_number, label_metric
from limelight.pages.front import find_front
from limelight.pages.page import (
    Block,
    Code,
    Details,
    Drawing,
    Facts,
    Figure,
    Figures,
    Order,
    Section,
    Table,
    Value,
    write_page,
)
from limelight.text import to_json

SHOWN = 4
"""Pictures whose maps are shown."""

SIDE = 168
"""Longer side of such a picture, pixels."""

MOST_PASSES = 1000
"""Maps that need more passes are not made again for the page."""


def save(
    choice: Choice, path: str | Path, *, classifier: Classifier | None = None, samples: Sequence[Sample] = ()
) -> Path:
    """Write the outcome of a race; the suffix says how.

    Args:
        choice: the outcome.
        path: ``.html`` for a page that opens anywhere, ``.json`` for programs.
        classifier: the model, if the page is to show maps.
        samples: the pictures, if the page is to show maps.

    Raises:
        InvalidOption: another suffix.
    """
    path = Path(path)
    if files.check_suffix(path, ".html", ".json") == ".json":
        return files.write(path, to_json(choice.to_dict(), 1))
    sections = [
        _list_standings(choice),
        _draw_costs(choice),
        _draw_race(choice),
        *_show_maps(choice, classifier, samples),
    ]
    footer = f"Made by `limelight choose` with Limelight {limelight.__version__}; this page needs no network."
    title = f"{choice.recommended} for {choice.results.settings['model']}"
    write_page(path, title, _introduce(choice), [*sections, _describe_protocol(choice)], footer)
    return path


def _introduce(choice: Choice) -> list[Block]:
    """Say what is recommended and why, and what the race cost."""
    spent = choice.spent
    raced = sum(not s.floor for s in choice.standings)
    facts = [
        (f"{choice.pictures:,}", f"of {format_count('picture', choice.given)} judged, by {choice.metric}"),
        (str(raced), f"methods raced, {sum(s.dropped > 0 and not s.floor for s in choice.standings)} of them dropped"),
        (
            f"{spent.saved:z.0%}",
            f"{'saved' if choice.finished else 'not spent'}: "
            f"{spent.passes:z,.0f} passes in place of {spent.full:z,.0f}",
        ),
        (f"{spent.seconds:z,.0f} s", "of explaining and judging"),
    ]
    name = choice.recommended
    return [f"`{name}`{choice.reason.removeprefix(name)}", *choice.cautions, Facts(facts)]


def _list_standings(choice: Choice) -> Section:
    """Show where each method ended, and what was left out."""
    columns = choice.results.columns
    rows: list[list[str | float | Figure | Value]] = []
    for s in choice.standings:
        figures = [_figure_cell(s, metric) for metric in columns]
        costs = [Value(format_cost(x), x) for x in (s.passes, s.seconds)]
        fate = float(s.dropped or len(choice.rounds) + 1 + (s.method == choice.recommended))
        rows.append(
            [
                Value(s.method, strong=s.method == choice.recommended),
                Value(_word_outcome(choice, s), fate, strong=s.method == choice.recommended, note=_word_p(choice, s)),
                *figures,
                Value(f"{s.pictures:,}", s.pictures),
                *costs,
            ]
        )
    heads = [label_metric(metric, column) for metric, column in columns.items()]
    firsts: list[Order] = ["descending" if c.better == "higher" else "ascending" for c in columns.values()]
    table = Table(
        "The methods: those that stayed to the end, then those that were dropped, the last first.",
        ["method", "outcome", *heads, "pictures", "passes", "seconds"],
        rows,
        ["ascending", "descending", *firsts, "descending", "ascending", "ascending"],
    )
    others = list(columns)[1:]
    decides = f" Only `{choice.metric}` decides." if others else ""
    text = (
        "In brackets stands the 95% bootstrap interval. A dropped method’s figure is of the pictures up to then. "
        f"Passes and seconds are those of one explanation.{decides} The p of a dropped method is corrected for all "
        "tests of the race; that of a kept one is of a single two-sided test against the best: below "
        f"{choice.alpha:g} it is behind, though not surely enough to be dropped, and not recommended however cheap. "
        "`random-map` and `centre-map` know nothing of the picture: they are the floor, and never recommended."
    )
    blocks: list[Block] = [text, table]
    if choice.left_out:
        reasons = [[name, reason] for name, reason in choice.left_out.items()]
        blocks.append(Details("Methods that were left out", [Table("What did not run.", ["method", "why"], reasons)]))
    if choice.unreadable:
        reasons = [[name, reason] for name, reason in choice.unreadable.items()]
        table = Table("What was not judged.", ["picture", "why"], reasons)
        blocks.append(Details("Pictures that can’t be read", [table]))
    return Section("Standings", blocks)


def _figure_cell(s: Standing, metric: str) -> Value:
    """Return a method's figure by a metric, with its interval."""
    mean, low, high = s.figures[metric]
    if mean != mean:
        return Value("–", note="not defined")
    return Value(format_number(mean), mean, note="" if low != low else f"[{format_number(low)}, {format_number(high)}]")


def _word_outcome(choice: Choice, s: Standing) -> str:
    """Say in words how the race ended for a method."""
    if s.method == choice.recommended:
        return "recommended"
    if s.dropped:
        return f"dropped, round {s.dropped}"
    if s.floor:
        return "kept, the floor"
    return "kept, as good" if s.like_best else "kept, behind"


def _word_p(choice: Choice, s: Standing) -> str:
    """Say in words how surely a method is worse than the best."""
    if s.method == choice.best:
        return "the best figure"
    return "" if s.p != s.p else write_p(s.p)


def _draw_costs(choice: Choice) -> Section:
    """Draw what the methods reach against what they cost."""
    column = choice.results.columns[choice.metric]
    drawings: list[Drawing] = []
    for label, cost in (("passes per picture", "passes"), ("seconds per picture", "seconds")):
        points = {
            s.method: (float(getattr(s, cost)), *s.figures[choice.metric])
            for s in choice.standings
            if getattr(s, cost) > 0 and s.figures[choice.metric][0] == s.figures[choice.metric][0]
        }
        if points:
            front = find_front({n: p[:2] for n, p in points.items()}, column.better == "higher")
            svg = chart.tradeoff(points, x_label=label, y_label=label_metric(choice.metric, column), front=front)
            listed = "; ".join(f"{n} {format_number(p[1])} at {format_cost(p[0])}" for n, p in points.items())
            drawings.append(Drawing(*svg, f"{choice.metric} against {label}: {listed}."))
    text = (
        "Further right costs more; methods of one cost stand side by side. A dotted line joins those that no cheaper "
        "one beats. Bars are the intervals, which are wide for methods that were dropped early."
    )
    return Section("Quality and cost", [text, Figures(drawings, large=True)])


def _draw_race(choice: Choice) -> Section:
    """Draw the figures round by round, and list who was dropped when."""
    column = choice.results.columns[choice.metric]
    lines = {
        s.method: [
            (r.pictures, r.figures[s.method])
            for r in choice.rounds
            if s.method in r.figures and r.figures[s.method] == r.figures[s.method]
        ]
        for s in choice.standings
    }
    lines = {name: points for name, points in lines.items() if points}
    text = (
        "Each round doubles the pictures. After it, whatever is surely worse than the best is dropped (a cross): a "
        "paired permutation test, corrected for the number of methods and rounds, so that the truly best one is "
        f"dropped with a chance of at most {choice.alpha:g}."
    )
    blocks: list[Block] = [f"{text} The race is over: {choice.stopped}."]
    if lines:
        gone = [s.method for s in choice.standings if s.dropped]
        svg = chart.race(lines, gone=gone, x_label="pictures judged", y_label=label_metric(choice.metric, column))
        listed = "; ".join(f"{n} {format_number(p[-1][1])} after {p[-1][0]}" for n, p in lines.items())
        blocks.append(Figures([Drawing(*svg, f"{choice.metric} while pictures were judged: {listed}.")], large=True))
        rows: list[list[str | float]] = [
            [
                f"{r.number}",
                f"{r.pictures:,}",
                f"{r.best} ({format_number(r.figures[r.best])})",
                ", ".join(f"{n} ({format_number(r.figures[n])}, {write_p(r.p[n])})" for n in r.dropped) or "none",
                f"{r.passes:z,.0f}",
            ]
            for r in choice.rounds
        ]
        heads = ["round", "pictures", "best", "dropped", "passes so far"]
        blocks.append(Table("Round by round; p is corrected for the number of methods and rounds.", heads, rows))
    return Section("The race", blocks)


def _show_maps(choice: Choice, classifier: Classifier | None, samples: Sequence[Sample]) -> list[Section]:
    """Show the recommended method's maps beside those of the best, or of the next."""
    there = {s.name: s for s in samples}
    names = [name for name in choice.results.images if name in there][:SHOWN]
    if classifier is None or not names:
        return []
    kept = [s.method for s in choice.standings if not s.floor]
    wanted = list(dict.fromkeys([choice.recommended, choice.best, *kept]))[:2]
    shown: list[str | float | Figure | Value]
    rows: list[list[str | float | Figure | Value]] = []
    pictures = [_shrink(load_image(there[name].image)) for name in names if not _is_tensor(there[name].image)]
    if len(pictures) < len(names):
        return []
    shown = [Figure(p, f"The picture {name}.") for p, name in zip(pictures, names, strict=True)]
    rows.append(["picture", *shown])
    for method in wanted:
        maps = _draw_maps(choice, classifier, method, [there[name] for name in names])
        if maps:
            rows.append([method, *maps])
    if len(rows) == 1:
        return []
    text = "The first pictures of the race. Numbers compare methods; whether maps make sense is for you to see."
    caption = f"Maps of {' and '.join(str(row[0]) for row in rows[1:])}."
    return [Section("What the maps look like", [text, Table(caption, ["", *names], rows)])]


def _draw_maps(choice: Choice, classifier: Classifier, method: str, samples: Sequence[Sample]) -> list[Figure]:
    """Return a method's maps of some pictures; none if they can't be made or take too long."""
    rows = {r.image: r for r in choice.results.rows if r.method == method}
    made = choice.methods[method]
    if choice[method].passes > MOST_PASSES or any(s.name not in rows for s in samples):
        return []
    try:
        targets = [rows[s.name].target for s in samples]
        explanations = api.explain(classifier, [s.image for s in samples], method=made, target=targets, strict=True)
    except (LimelightError, RuntimeError, ValueError):  # a page without these maps is better than none
        return []
    shown: list[Figure] = []
    for sample, e in zip(samples, explanations, strict=True):
        row = rows[sample.name]
        view = e.view(e.usual)
        number = row.values[choice.metric]
        value = format_number(number) if number == number else "–"
        alt = f"{sample.name}, the map of {method} for {row.label}: {choice.metric} {value}."
        shown.append(Figure(_shrink(view), alt, f"{row.label}: {value}"))
    return shown


def _shrink(picture: Any) -> Any:
    """Return a picture in the size of the page."""
    small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    return small


def _is_tensor(image: Any) -> bool:
    return hasattr(image, "is_floating_point")


def _describe_protocol(choice: Choice) -> Section:
    """Show the protocols, the model, the options and the versions."""
    columns = choice.results.columns
    protocols: list[list[str | float]] = [[label_metric(m, c), c.protocol] for m, c in columns.items()]
    settings = to_json(choice.to_dict()["settings"], 1)
    return Section(
        "How it was measured",
        [
            Table("Each metric’s protocol: all that fixes a number.", ["metric", "protocol"], protocols),
            Details("Model, options and versions", [Code(settings)]),
        ],
    )
