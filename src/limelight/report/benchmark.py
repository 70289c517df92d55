"""The story of a benchmark run: who leads and how surely, at what cost, on which pictures, and how it was measured."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import limelight
from limelight import api, zoo
from limelight.bench.plan import prepared, samples_of
from limelight.bench.recipe import Recipe
from limelight.bench.recipe_file import find_recipe, read_numbers, read_recipe
from limelight.bench.store import Store, recipe_of
from limelight.card import METHODS
from limelight.data.images import load_image
from limelight.data.samples import Sample
from limelight.draw import chart
from limelight.engine.provenance import versions
from limelight.errors import InvalidOption, LimelightError, shown
from limelight.files import reason_of, refusing, text_of
from limelight.model.classifier import Classifier
from limelight.model.device import usable
from limelight.report.numbers import ALPHA, CONFIDENCE, Board, Failure, curves, read, summaries
from limelight.report.page import (
    Block,
    Code,
    Details,
    Drawing,
    Facts,
    Figures,
    Filter,
    Group,
    Order,
    Section,
    Table,
    Value,
    write_page,
)
from limelight.report.page import Figure as Picture
from limelight.results.tables import Column, Figure, Summary
from limelight.text import latex, markdown, to_json

SHOWN = 3
"""Pictures at each end."""

SIDE = 168
"""Longer side of such a picture, pixels."""

MOST_PASSES = 1000
"""Maps that need more passes per picture are not made again for the page."""

FINE = ("propagation", "pixel gradient")
"""Families whose maps are of single pixels, which a picture behind them would hide."""

LISTED = 50
"""Failures that are named one by one."""

_UNITS = {"%": 0.01, "pct": 0.01, "ms": 0.001}
_THEIRS = {
    "pg": "pointing-game",
    "pointing-game-mean-accuracy": "pointing-game",
    "pr": "positive-ratio",
    "map": "segmentation-ap",
    "localisation": "grid-pg",
    "out/in": "outside-inside-ratio",
    "deletion-auc": "deletion",
    "insertion-auc": "insertion",
    "running-time": "seconds",
}
"""Metrics as papers call them, and as we do."""


@dataclass(frozen=True)
class Published:
    """A number of a paper.

    Attributes:
        where: paper and table.
        model: as the paper, or a recipe's table, calls it.
        method: as it is called there.
        metric: as it is called there.
        value: in the unit of the metric here.
    """

    where: str
    model: str
    method: str
    metric: str
    value: float


@dataclass(frozen=True)
class Run:
    """A run, read.

    Attributes:
        store: its folder.
        recipe: what was measured.
        notes: what else is known of it.
        boards: the numbers of each model.
        failures: what has an error in place of a number.
        published: a paper's numbers.
        data: where the pictures are, if they are not drawn.
        device: where maps are made again.
        trust: whether models that are in no zoo are loaded for that.
    """

    store: Store
    recipe: Recipe
    notes: Mapping[str, Any]
    boards: Sequence[Board]
    failures: Sequence[Failure]
    published: Sequence[Published] = ()
    data: Path | None = None
    device: str | None = None
    trust: bool = False

    @cached_property
    def summaries(self) -> list[Summary]:
        """What may be said of each model's methods."""
        return summaries(self.boards)

    @property
    def told(self) -> Iterator[tuple[Board, Summary]]:
        """Each model's numbers and what may be said of them."""
        return zip(self.boards, self.summaries, strict=True)

    @property
    def paper_note(self) -> str:
        """What has to be known to compare with the paper."""
        return self.recipe.paper.note or str(self.notes.get("paper", {}).get("note", ""))


def open_run(
    folder: str | Path,
    *,
    recipe: str | Path | None = None,
    paper: str | Path | None = None,
    data: str | Path | None = None,
    device: str | None = None,
    trust: bool = False,
) -> Run:
    """Read a run's folder.

    Args:
        folder: of ``limelight benchmark``.
        recipe: the file that it was made by, for what it says beside what was measured.
        paper: csv with published numbers, in place of the recipe's: model, method, metric, value.
        data: the pictures, where the recipe wants some; without them the page has their names alone.
        device: where maps are made again.
        trust: load models for that which are in no zoo, too, and run their code: what a run says of its models may
            have been written by anybody.

    Raises:
        InvalidOption: there is no run, it has no rows, the device can't be used, or the table of a paper can't be read.
        CorruptStore: a file is damaged.
    """
    if device is not None:
        usable(device)
    store = Store(folder)
    made_by = recipe_of(store)
    notes = store.notes
    text = str(notes.get("paper", {}).get("table", ""))
    if recipe is not None:
        given = read_recipe(recipe)
        made_by = made_by.model_copy(update={"about": given.about, "paper": given.paper})
        if given.paper.table:
            text = read_numbers(find_recipe(recipe), given.paper.table)
    if paper is not None:
        text = _text(Path(paper))
    boards, failures = read(store, made_by)
    source = Path(data) if data is not None else None
    return Run(store, made_by, notes, boards, failures, published(text) if text else (), source, device, trust)


def _text(path: Path) -> str:
    with refusing(InvalidOption, f"the paper's numbers in {path} can't be read"):
        return text_of(path)


def published(text: str) -> list[Published]:
    """Read a table of published numbers.

    Args:
        text: csv with the columns model, method, metric, value; paper, table, dataset and split if there are such.
            Percent and milliseconds are known by the metric's name: ``PG (%)``, ``adcc_pct``, ``running_time_ms``.

    Raises:
        InvalidOption: a column lacks, or a value is no number.
    """
    with refusing(InvalidOption, "the table of published numbers is no csv, or damaged"):
        reader = csv.DictReader(io.StringIO(text), strict=True)
        numbered = [(reader.line_num, row) for row in reader]
    wanted = ("model", "method", "metric", "value")
    rows = [row for _, row in numbered]
    lacks = [name for name in wanted if rows and name not in rows[0]]
    if lacks or not rows:
        raise InvalidOption(
            f"a table of published numbers needs rows and the columns {', '.join(wanted)}; see {shown(lacks)}"
        )
    found: list[Published] = []
    for number, row in numbered:
        if None in row or None in row.values():
            cells = "more" if None in row else "fewer"
            raise InvalidOption(f"published numbers, line {number}: it has {cells} cells than the first line")
        try:
            value = float(row["value"])
        except (TypeError, ValueError):
            raise InvalidOption(
                f"published numbers, line {number}: the value {shown(row['value'])} is no number"
            ) from None
        words = re.findall(r"[\w/.+-]+|%", row["metric"].replace("_", " "))
        scale = float(np.prod([_UNITS.get(word, 1.0) for word in words]))
        name = "-".join(word.lower() for word in words if word not in (*_UNITS, "256px", "224px"))
        where = ", ".join(row[key] for key in ("paper", "table", "dataset", "split") if row.get(key))
        metric = row["metric"] if scale == 1 and name not in _THEIRS else _THEIRS.get(name, name)
        found.append(Published(where, row["model"], row["method"], metric, value * scale))
    return found


# -- the page ----------------------------------------------------------------------------------------------


def write(run: Run, path: Path) -> Path:
    """Write the page of a run.

    Raises:
        InvalidOption: the pictures that were given can't be found.
    """
    sections = [
        leaderboard(run),
        trade_off(run),
        *courses(run),
        *spread(run),
        extremes(run),
        *beside_the_paper(run),
        troubles(run),
        making(run),
    ]
    name = run.recipe.name
    footer = f"Made by `limelight report` with Limelight {limelight.__version__}; this page needs no network."
    write_page(path, f"{name[:1].upper()}{name[1:]}: the benchmark", lead(run), sections, footer)
    return path


def lead(run: Run) -> list[Block]:
    """Say what was measured, and how far it tells which method to trust."""
    about = run.recipe.about or str(run.notes.get("about", ""))
    images = max((len(board.images) for board in run.boards), default=0)
    methods = list(dict.fromkeys(m for board in run.boards for m in board.methods))
    cells = sum(int(board.there.sum()) for board in run.boards)
    failed = sum(one.cells for one in run.failures)
    which = {"top1": "predicted", "label": "true"}[run.recipe.target]
    measured = (
        f"{_count('picture', images)}, each explained for its {which} class on {_count('model', len(run.boards))} by "
        f"{_count('method', len(methods))}, judged by {_count('metric', len(_columns(run)))}: "
        f"{_count('number', cells)}" + (f"; {failed:,} more failed." if failed else ".")
    )
    facts = _verdict(run)
    return [*([about] if about else []), measured, *([Facts(facts)] if facts else [])]


def _verdict(run: Run) -> list[tuple[str, str]]:
    """Count in how many comparisons, of one metric on one model each, it shows which method is best."""
    among = [
        (board.model, [m for m in board.methods if summary[m, metric].like_best])
        for board, summary in run.told
        for metric in board.columns
        if sum(summary[m, metric].rank > 0 for m in board.methods) > 1
    ]
    if not among:
        return []
    often = Counter(name for _, names in among for name in names)
    most = max(often.values())
    first = [name for name, count in often.items() if count == most]
    alone = Counter(names[0] for _, names in among if len(names) == 1)
    clear = ", ".join(f"`{name}` in {count}" for name, count in alone.most_common(3))
    facts = [
        (
            f"{most} of {len(among)}",
            f"comparisons (one metric on one model) find {_words([f'`{name}`' for name in first[:3]])}"
            f"{f' and {len(first) - 3} more' if len(first) > 3 else ''} best, or not distinguishable from the best; "
            "no method more often",
        ),
        (
            f"{alone.total()} of {len(among)}",
            f"{'has' if alone.total() == 1 else 'have'} one clear leader"
            + (f": {clear}" if alone else "; everywhere several methods may be the best"),
        ),
    ]
    cards = METHODS.cards()
    blank = {e.label or e.name for e in run.recipe.methods if e.name in cards and cards[e.name].family == "baseline"}
    if blank:
        blind = [names for _, names in among if blank.intersection(names)]
        found = [f"`{name}`" for name in often if name in blank]
        text = (
            f"can’t tell even {' or '.join(found)} from the best, so they don’t say which to trust"
            if found
            else "can’t tell a map that knows nothing of the model from the best"
        )
        facts.append((f"{len(blind)} of {len(among)}", text))
    return facts


def leaderboard(run: Run) -> Section:
    """Show every method's figures, ranks and costs, model by model."""
    pooled = {"class-mean": "a mean of classes", "adcc": "made of the means of its terms"}
    other = "".join(f"; {m} is {pooled[c.pooling]}" for m, c in _columns(run).items() if c.pooling in pooled)
    blocks: list[Block] = [
        f"Figures are means over the pictures{other}. In brackets stands the {CONFIDENCE:z.0%} bootstrap interval, "
        "where the figure falls when the pictures are drawn anew, and # is the rank. ↑ higher is better, ↓ lower. "
        "Passes (forward and backward) and seconds are those of one explanation."
    ]
    if any(len(board.methods) > 1 for board in run.boards):
        blocks = [_leaders(run), *blocks, _meaning(run)]
    blocks.append(Filter("Show only models and methods with"))
    for board, summary in run.told:
        blocks.append(Group(board.model, [_board_table(board, summary)]))
    return Section("Leaderboard", blocks)


def _meaning(run: Run) -> str:
    few = [b for b in run.boards if 2.0 ** (1 - len(b.images)) * len(b.methods) * (len(b.methods) - 1) / 2 >= ALPHA]
    return (
        "Bold is the best figure of a column together with all that are not distinguishable from it: if two methods "
        "swapped their numbers on pictures picked by lot, a difference as large would come up in more than one of "
        "twenty tries (corrected for the number of pairs). That is not to say that they are equally good."
        + (f" {max(len(b.images) for b in few)} pictures are too few to tell so many methods apart." if few else "")
    )


def _leaders(run: Run) -> Table:
    """Name the best method by each metric on each model."""

    def cell(board: Board, summary: Summary, metric: str) -> str:
        if metric not in board.columns:
            return "–"
        best = [m for m in board.methods if summary[m, metric].rank == 1]
        like = sum(summary[m, metric].like_best for m in board.methods) - len(best)
        if not best:
            return "–"
        return " and ".join(best) + (f" (and {like} more)" if like else "")

    rows = [[_arrow(c, m), *(cell(b, s, m) for b, s in run.told)] for m, c in _columns(run).items()]
    return Table(
        "Who leads: the best method by each metric; in brackets how many more are not distinguishable from it.",
        ["metric", *(board.model for board in run.boards)],
        rows,
    )


def _board_table(board: Board, summary: Summary) -> Table:
    rows: list[list[str | float | Picture | Value]] = []
    for m, name in enumerate(board.methods):
        figures = [summary[name, metric] for metric in board.columns]
        ranks = [f.rank for f in figures if f.rank]
        row: list[str | float | Picture | Value] = [name]
        row += [_figure_cell(f, alone=len(board.methods) == 1) for f in figures]
        average = float(np.mean(ranks)) if ranks else np.nan
        passes, seconds = float(board.passes[m]), float(board.seconds[m])
        row.append(Value("–" if average != average else f"{average:z.1f}", average))
        row += [Value(_short(passes), passes), Value(_short(seconds), seconds)]
        rows.append(row)
    caption = f"{board.model}, {_count('picture', len(board.images))}."
    heads = [_arrow(column, metric) for metric, column in board.columns.items()]
    firsts: list[Order] = ["descending" if c.better == "higher" else "ascending" for c in board.columns.values()]
    columns = ["method", *heads, "mean rank", "passes", "seconds"]
    return Table(caption, columns, rows, ["ascending", *firsts, "ascending", "ascending", "ascending"])


def _figure_cell(figure: Figure, *, alone: bool) -> Value:
    if figure.mean != figure.mean:
        return Value("–", note="not defined")
    interval = "" if figure.low != figure.low else f"[{_number(figure.low)}, {_number(figure.high)}]"
    mark = "" if alone else f"#{figure.rank}"
    return Value(_number(figure.mean), figure.mean, figure.like_best and not alone, interval, mark)


def trade_off(run: Run) -> Section:
    """Draw what methods reach against what they cost."""
    blocks: list[Block] = [
        "Further right costs more; methods of one cost stand side by side. A dotted line joins those that no cheaper "
        "one beats: for all that lies off it there is a method that does better for no more. Bars are the intervals of "
        "the leaderboard."
    ]
    for board, summary in run.told:
        by_passes = _clouds(board, summary, board.passes, "passes per picture")
        by_seconds = _clouds(board, summary, board.seconds, "seconds per picture")
        if by_passes:
            blocks.append(Group(board.model, [Figures(by_passes, large=True)]))
            note = "Time depends on the machine, and methods that share a pass share its time."
            blocks.append(Details(f"{board.model}, against seconds", [note, Figures(by_seconds, large=True)]))
    return Section("Quality and cost", blocks)


def _clouds(board: Board, summary: Summary, costs: Any, label: str) -> list[Drawing]:
    found: list[Drawing] = []
    for metric, column in board.columns.items():
        figures = {m: (c, summary[m, metric]) for m, c in zip(board.methods, costs.tolist(), strict=True) if c > 0}
        points = {m: (c, f.mean, f.low, f.high) for m, (c, f) in figures.items() if f.mean == f.mean}
        if not points:
            continue
        front = _front({m: p[:2] for m, p in points.items()}, column.better == "higher")
        drawn = chart.tradeoff(points, x_label=label, y_label=_arrow(column, metric), front=front)
        said = "; ".join(f"{m} {_number(p[1])} at {_short(p[0])}" for m, p in points.items())
        found.append(
            Drawing(*drawn, f"{metric} against {label}: {said}.", f"`{metric}`: best for its cost {_words(front)}.")
        )
    return found


def _front(points: Mapping[str, tuple[float, float]], higher: bool) -> list[str]:
    """Return the methods that no other beats in both, from cheap to dear."""
    front: list[str] = []
    best = -np.inf
    order = {n: (float(f"{cost:z.2g}"), -value if higher else value) for n, (cost, value) in points.items()}
    for name in sorted(points, key=lambda n: order[n]):  # a hair more is no other cost
        value = points[name][1]
        if (reached := value if higher else -value) > best:
            front.append(name)
            best = reached
    return front


def courses(run: Run) -> list[Section]:
    """Draw the curves that some metrics are the area of."""
    blocks: list[Block] = []
    for board, found in zip(run.boards, curves(run.store, run.boards), strict=True):
        drawn: list[Drawing] = []
        for metric, lines in found.items():
            shown = {m: (mean, 1.96 * error) for m, (mean, error) in lines.items()}
            early = "; ".join(
                f"{m} {np.interp(1 / 8, np.linspace(0, 1, len(v)), v):z.2f}" for m, (v, _) in shown.items()
            )
            alt = f"Mean curves of {metric}; after an eighth of the way: {early}."
            drawn.append(Drawing(*chart.bands(shown), alt, f"`{metric}`"))
        if drawn:
            blocks.append(Group(board.model, [Figures(drawn, large=True)]))
    text = (
        "Insertion adds a picture’s pixels, brightest of the map first, and a good map makes the curve rise early; "
        "deletion takes them away, and it should fall early. Lines are means over the pictures, bands where 95% of "
        "such means fall."
    )
    return [Section("Curves", [text, *blocks])] if blocks else []


def spread(run: Run) -> list[Section]:
    """Draw how the numbers of single pictures are spread."""
    blocks: list[Block] = []
    for board in run.boards:
        drawn: list[Drawing] = []
        for i, metric in enumerate(board.columns):
            rows = {m: v[~np.isnan(v)] for m, v in zip(board.methods, board.values[i], strict=True)}
            rows = {m: v for m, v in rows.items() if len(v)}
            if len(np.unique(board.values[i][~np.isnan(board.values[i])])) <= 2:
                continue
            said = "; ".join(f"{m} {_number(float(np.median(v)))}" for m, v in rows.items())
            label = _arrow(board.columns[metric], metric)
            alt = f"Spread of {metric} over the pictures; medians: {said}."
            drawn.append(Drawing(*chart.distributions(rows, label=label), alt))
        if drawn:
            blocks.append(Group(board.model, [Figures(drawn, large=True)]))
    text = (
        "A mean hides much. The thick line holds the middle half of the pictures and the thin one nine in ten; the "
        f"diamond is their mean, and each dot a picture ({chart.STRIP} of them, evenly chosen by rank, where there are "
        "more). Metrics that say only yes or no are left out."
    )
    return [Section("Picture by picture", [text, *blocks])] if blocks else []


def extremes(run: Run) -> Section:
    """Show each method's best and worst pictures by the recipe's first metric."""
    album = Album.of(run)
    blocks: list[Block] = []
    for board in run.boards:
        metric, column = next(iter(board.columns.items()))
        rows: list[list[str | float | Picture | Value]] = []
        for m, name in enumerate(board.methods):
            values = board.values[0, m]
            order = [int(i) for i in np.argsort(values if column.better == "lower" else -values, kind="stable")]
            order = [i for i in order if values[i] == values[i]]
            ends = order[:SHOWN], order[::-1][:SHOWN] if len(order) > SHOWN else []
            rows.append([name, *(_end(album, board, name, some, values) for some in ends)])
        caption = f"{board.model}: best and worst by {_arrow(column, metric)}."
        blocks.append(Group(board.model, [Table(caption, ["method", "best", "worst"], rows)]))
    if album is None:
        text = "The pictures were not at hand when this page was made (`--data`), so it has their names alone."
    else:
        text = (
            "Where a method does well and where it fails, with the maps made anew. The worst say more about a method "
            "than its mean does."
        )
        without = [f"No maps of {name} are shown: {why}." for name, why in album.without.items()]
        blocks = [*without, *blocks]
    return Section("Best and worst", [text, *blocks])


def _end(album: "Album | None", board: Board, method: str, images: Sequence[int], values: Any) -> Value:
    if album is not None:
        pictures = album.pictures(board, method, images, values)
        if pictures:
            return Value("", figures=pictures)
    return Value(", ".join(f"{board.images[i]} ({_number(float(values[i]))})" for i in images) or "–")


@dataclass
class Album:
    """The run's pictures, and its models to explain them again.

    Attributes:
        run: the run.
        samples: its pictures by name.
        without: models that could not be had again, and why.
    """

    run: Run
    samples: Mapping[str, Sample]
    without: dict[str, str] = field(default_factory=dict[str, str])
    _held: tuple[str, Classifier] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, run: Run) -> "Album | None":
        """Return the album of a run; None where its pictures are not at hand.

        Raises:
            LimelightError: pictures were given, and are none, or others.
        """
        noted = run.notes.get("source")
        source = run.data or (Path(noted) if noted and Path(noted).exists() else None)
        if run.recipe.data.mosaics or (source is None and run.recipe.data.dataset != "scenes"):
            return None
        names = {name for board in run.boards for name in board.images}
        try:
            samples = {s.name: s for s in samples_of(run.recipe, source, names=names)}
        except LimelightError:
            if run.data is None:  # nobody gave it: something else is there by now
                return None
            raise
        lacks = next((name for board in run.boards for name in board.images if name not in samples), None)
        if lacks is None:
            return cls(run, samples)
        if run.data is None:
            return None
        raise InvalidOption(f"--data {run.data}: the run has a picture {lacks!r} that is not there")

    def pictures(self, board: Board, method: str, images: Sequence[int], values: Any) -> list[Picture]:
        """Return pictures with the map of a method over them, or alone if it can't be made again."""
        names = [board.images[i] for i in images]
        inputs = [load_image(self.samples[name].image) for name in names]
        shown, what = inputs, "the picture alone"
        maps = self._maps(board, method, images) if images else None
        if maps is not None:
            shown, what = maps, f"the map of {method}"
        found: list[Picture] = []
        for i, name, picture in zip(images, names, shown, strict=True):
            small = picture.copy()
            small.thumbnail((SIDE, SIDE))
            number = _number(float(values[i]))
            found.append(Picture(small, f"{name}, {what}: {number}.", f"{number}\n{name}", photo=True))
        return found

    def _maps(self, board: Board, method: str, images: Sequence[int]) -> list[Any] | None:
        if board.passes[board.methods.index(method)] > MOST_PASSES:
            return None
        model = self._model(board.model)
        if model is None:
            return None
        try:
            made_by = self.run.recipe.methods_of(board.model)[method]
            given = [self.samples[board.images[i]].image for i in images]
            cost = made_by.cost(model, api.as_input(model, given[0])[None])
            if cost.forwards + cost.backwards > MOST_PASSES:  # whatever the rows say that it was
                return None
            found = api.explain(model, given, method=made_by, target=[int(board.targets[i]) for i in images])
        except (LimelightError, RuntimeError, ValueError):  # a page without these maps is better than none
            return None
        fine = made_by.card.family in FINE
        return [e.view("signed") if fine and not e.degenerate else e.overlay() for e in found]

    def _model(self, name: str) -> Classifier | None:
        if name in self.without:
            return None
        if self._held is None or self._held[0] != name:
            self._held = None
            try:
                self._held = name, self._loaded(name)
            except (LimelightError, RuntimeError, ValueError) as error:
                self.without[name] = reason_of(error)
                return None
        return self._held[1]

    def _loaded(self, name: str) -> Classifier:
        recipe, run = self.run.recipe, self.run
        weights = recipe.weights(name)
        if not run.trust and not zoo.needs_no_trust(name, weights):
            raise InvalidOption("the run names files for it, which are opened with `--trust` only")
        options: Any = {"device": run.device, "multilabel": recipe.models.multilabel, "trust": run.trust}
        model = zoo.load(name, weights=weights, **options)
        if f"sha256:{model.weights_hash()}" != run.notes.get("weights", {}).get(name):
            raise InvalidOption("its weights are other than those that were measured")
        return prepared(recipe, model)


# -- the paper ---------------------------------------------------------------------------------------------


def beside_the_paper(run: Run) -> list[Section]:
    """Put our numbers beside a paper's."""
    rows = list(_beside(run))
    if not run.published:
        return []
    note = [run.paper_note] if run.paper_note else []
    if not rows:
        return [Section("Beside the paper", [*note, "None of the paper’s numbers has a counterpart in this run."])]
    inside = [row for row in rows if row[2] is not None and row[2].low <= row[1].value <= row[2].high]
    judged = [row for row in rows if row[2] is not None and row[2].low == row[2].low]
    text = (
        f"{len(rows)} of the paper’s {len(run.published)} numbers have a counterpart here. "
        f"{len(inside)} of {len(judged)} lie within our {CONFIDENCE:z.0%} interval, which knows of the choice of "
        "pictures alone, not of other weights, other pictures or another reading of the protocol; there ours is bold. "
        "The difference is ours less the paper’s."
    )
    cells = [
        [board.model, name, p.metric, Value(_said(p, p.value), p.value), _ours(f, number, p), _gap(number, p), p.where]
        for board, p, f, number, name in rows
    ]
    words: list[Order] = ["ascending"] * 3
    table = Table(
        "The paper’s numbers and ours.",
        ["model", "method", "metric", "paper", "here", "difference", "where"],
        cells,
        [*words, "descending", "descending", "descending", "ascending"],
    )
    return [Section("Beside the paper", [*note, text, table])]


def _ours(figure: Figure | None, number: float, p: Published) -> Value:
    if figure is None or figure.low != figure.low:
        return Value(_said(p, number), number)
    inside = figure.low <= p.value <= figure.high
    return Value(_number(number), number, inside, f"[{_number(figure.low)}, {_number(figure.high)}]")


def _gap(number: float, p: Published) -> Value:
    gap = number - p.value
    return Value(f"{'−' if gap < 0 else '+'}{_said(p, abs(gap))}", gap)


def _said(p: Published, value: float) -> str:
    return _short(value) if p.metric == "seconds" else _number(value)


def _beside(run: Run) -> Iterator[tuple[Board, Published, Figure | None, float, str]]:
    """Yield what has a number here as well: of which model, the paper's, ours, its value, and our method."""
    for p in run.published:
        for board, summary in run.told:
            method = next((m for m in board.methods if _same(m, p.method)), None)
            if not _same(board.model, p.model) or method is None:
                continue
            if p.metric == "seconds":
                yield board, p, None, float(board.seconds[board.methods.index(method)]), method
            for metric in board.columns:
                if _same(metric, p.metric) and (figure := summary[method, metric]).mean == figure.mean:
                    yield board, p, figure, figure.mean, method


def _same(ours: str, theirs: str) -> bool:
    """Tell whether two names mean the same: ``torchvision/resnet50`` is the papers' ``ResNet-50``."""
    plain = [re.sub(r"[^\w+/]|_", "", name.lower()) for name in (ours, theirs)]
    return plain[0] == plain[1] or plain[0].rpartition("/")[2] == plain[1]


# -- what went wrong, and how it was measured --------------------------------------------------------------


def troubles(run: Run) -> Section:
    """Count the empty maps, and list what failed."""
    blocks: list[Block] = []
    rows: list[list[str | float]] = []
    for board, summary in run.told:
        for m, name in enumerate(board.methods):
            empty, total = int(board.empty[m].sum()), int(board.there[:, m].any(0).sum())
            lacks = {metric: summary[name, metric].undefined for metric in board.columns}
            said = ", ".join(f"{metric} {count}" for metric, count in lacks.items() if count)
            if empty or said:
                rows.append([board.model, name, f"{empty} of {total}", said or "–"])
    counted = {"include": "count with the value that each metric gives them", "skip": "are left out of the figures"}
    if rows:
        text = f"Empty maps say nothing of any place; here they {counted[run.recipe.degenerate]}."
        columns = ["model", "method", "empty maps", "not defined for so many pictures"]
        blocks += [text, Table("Empty maps, and numbers that are not defined.", columns, rows)]
    else:
        blocks.append("No map was empty, and every metric was defined for every picture.")
    if run.failures:
        cells = sum(one.cells for one in run.failures)
        blocks.append(f"{_count('cell', cells)} failed and {'is' if cells == 1 else 'are'} in none of the figures.")
        blocks.append(
            Table(
                "What failed, and why.",
                ["model", "method", "pictures", "error"],
                [[f.model, f.method, _some(f.images), f.error] for f in run.failures[:LISTED]],
            )
        )
        if len(run.failures) > LISTED:
            blocks.append(f"{len(run.failures) - LISTED} more are in the run’s folder.")
    else:
        blocks.append("Nothing failed.")
    left_out = run.notes.get("left_out") or {}
    if left_out:
        rows = [[name, why] for name, why in left_out.items()]
        blocks.append(Table("Models that were left out, as their weights were not to be had.", ["model", "why"], rows))
    return Section("Empty maps and failures", blocks)


def making(run: Run) -> Section:
    """Say how all was measured, so that it can be measured again."""
    pooled = {"mean": "mean of pictures", "class-mean": "mean of classes", "adcc": "of the means of its terms"}
    judged = [[_arrow(c, m), c.protocol, pooled[c.pooling]] for m, c in _columns(run).items()]
    recipe = run.recipe.model_dump(mode="json", exclude_defaults=True)
    blocks: list[Block] = [
        "Two numbers may be compared if and only if their protocols are equal.",
        Table("Each metric’s protocol: all that fixes a number.", ["metric", "protocol", "figure"], judged),
        Details("The recipe, whole", [Code(to_json(recipe, 1))]),
        Details("Settings of the run", [Code(to_json(run.store.settings, 1))]),
    ]
    measured: dict[str, str] = {k: str(v) for k, v in run.notes.get("versions", {}).items()}
    now = versions()
    rows = [
        [k, measured.get(k, "not noted"), now.get(k, "–")] for k in [*measured, *(k for k in now if k not in measured)]
    ]
    table = Table("What the run was last measured with, and what made this page.", ["what", "measured", "page"], rows)
    blocks.append(Details("Versions", [table]))
    rest = {k: v for k, v in run.notes.items() if k not in ("versions", "about", "paper")}
    if rest:
        blocks.append(Details("Weights, device and source", [Code(to_json(rest, 1))]))
    return Section("How it was measured", blocks)


# -- tables for papers -------------------------------------------------------------------------------------


def to_markdown(run: Run) -> str:
    """Return the tables of the page as Markdown."""
    about = run.recipe.about or str(run.notes.get("about", ""))
    lines = [f"# {markdown(run.recipe.name)}", "", *([markdown(about), ""] if about else [])]
    lines += ["Bold is the best, and what is not distinguishable from it.", ""]
    for board, summary in run.told:
        ends = [" passes | seconds |", " ---: | ---: |"]
        ends += [f" {_short(p)} | {_short(s)} |" for p, s in zip(board.passes, board.seconds, strict=True)]
        table = [a + b for a, b in zip(summary.to_markdown().splitlines(), ends, strict=True)]
        lines += [f"## {markdown(board.model)}, {_count('picture', len(board.images))}", "", *table, ""]
    if rows := list(_beside(run)):
        lines += ["## Beside the paper", "", "| model | method | metric | paper | here | difference |"]
        lines.append("| --- | --- | --- | ---: | ---: | ---: |")
        lines += [
            f"| {' | '.join(map(markdown, (board.model, name, p.metric)))} | {p.value:z.3f} | {number:z.3f} "
            f"| {number - p.value:+z.3f} |"
            for board, p, _, number, name in rows
        ]
        lines.append("")
    if run.failures:
        lines += ["## Failures", ""]
        lines += [
            f"- {markdown(f.model)}, {markdown(f.method)}: {markdown(f.error)} ({markdown(_some(f.images))})"
            for f in run.failures
        ]
        lines.append("")
    return "\n".join(lines)


def to_latex(run: Run) -> str:
    r"""Return the leaderboards as LaTeX, a ``table`` per model; they need ``\usepackage{booktabs}``."""
    parts = ["% needs \\usepackage{booktabs}"]
    for board, summary in run.told:
        heads = [
            f"{latex(m)} $\\{'uparrow' if c.better == 'higher' else 'downarrow'}$" for m, c in board.columns.items()
        ]
        rows: list[str] = []
        for m, name in enumerate(board.methods):
            cells = [_tex_figure(summary[name, metric], alone=len(board.methods) == 1) for metric in board.columns]
            costs = [_short(float(x[m])).replace("–", "--").replace(",", "{,}") for x in (board.passes, board.seconds)]
            rows.append(" & ".join([latex(name), *cells, *costs]) + r" \\")
        caption = (
            f"{latex(board.model)}, {_count('picture', len(board.images))}. Bold: the best, and what is not "
            f"distinguishable from it; in brackets the {CONFIDENCE * 100:z.0f}\\,\\% bootstrap interval."
        )
        label = re.sub(r"\W+", "-", f"{run.recipe.name}-{board.model}".lower())
        parts.append(
            "\n".join(
                [
                    r"\begin{table}",
                    r"\centering",
                    f"\\caption{{{caption}}}",
                    f"\\label{{tab:{label}}}",
                    f"\\begin{{tabular}}{{l{'c' * len(heads)}rr}}",
                    r"\toprule",
                    " & ".join(["method", *heads, "passes", "seconds"]) + r" \\",
                    r"\midrule",
                    *rows,
                    r"\bottomrule",
                    r"\end{tabular}",
                    r"\end{table}",
                ]
            )
        )
    return "\n\n".join(parts) + "\n"


def _tex_figure(figure: Figure, *, alone: bool) -> str:
    if figure.mean != figure.mean:
        return "--"
    mean = f"{figure.mean:z.3f}".replace("-", "$-$")
    mean = rf"\textbf{{{mean}}}" if figure.like_best and not alone else mean
    if figure.low != figure.low:
        return mean
    return rf"{mean} {{\scriptsize [{figure.low:z.3f}, {figure.high:z.3f}]}}"


# -- words -------------------------------------------------------------------------------------------------


def _columns(run: Run) -> dict[str, Column]:
    """Return what the metrics of all models are."""
    return {metric: column for board in run.boards for metric, column in board.columns.items()}


def _arrow(column: Column, name: str) -> str:
    return f"{name} {'↑' if column.better == 'higher' else '↓'}"


def _number(value: float) -> str:
    """Write a figure."""
    return (f"{value:z.3f}" if abs(value) < 100 else f"{value:z,.1f}").replace("-", "−")


def _short(value: float) -> str:
    """Write a cost with two or three digits that count."""
    if value != value:
        return "–"
    return f"{value:z,.0f}" if value >= 100 else f"{value:z.3g}" if value >= 1e-3 else f"{value:z.5f}"


def _many(thing: str, count: int) -> str:
    return thing if count == 1 else f"{thing}s"


def _count(thing: str, count: int) -> str:
    return f"{count:,} {_many(thing, count)}"


def _words(names: Sequence[str]) -> str:
    """Name things as one does in a sentence."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def _some(names: Sequence[str], most: int = 5) -> str:
    """Name a few and count the rest."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest:,} more" if rest > 0 else "")
