"""The run of a benchmark, read in a process of its own: its pictures, their numbers, and their order by these."""

import contextlib
import hashlib
import time
import warnings
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from limelight.api.targets import true_classes
from limelight.bench.plan import samples_of, spread_evenly
from limelight.bench.recipe import Recipe
from limelight.bench.recipe_tables import Data
from limelight.bench.store import Store, recipe_of
from limelight.card import METHODS
from limelight.data.collect import scene_name
from limelight.data.samples import Sample
from limelight.data.synthetic import CLASSES
from limelight.errors import MOST_SHOWN, InvalidOption, LimelightError, UnknownTarget, show
from limelight.model.classifier import Classifier
from limelight.pages.scores.model import Floats, Integers, ModelScores
from limelight.pages.scores.read import columns_read, read_scores
from limelight.pages.scores.summarize import summarize
from limelight.pages.scores.word_column import encode
from limelight.scoring.evaluate import columns
from limelight.text import to_json
from limelight.web.refusal import one_line
from limelight.web.studio.catalogue import title_of
from limelight.web.studio.pictured import Events, Pictured, Request, find_source, make, refuse_arrays
from limelight.web.studio.studio import Latest
from limelight.web.studio.told import number

DRAWN = 1000
"""Scenes that are drawn when a run is opened; of more, each is when it is looked at, and no true class is known."""

REST = 10
"""A run that goes on is read again when it has been left alone for so many times as long as the reading takes."""

ORDERS = 16
"""Orders of the pictures, and figures of the methods, that are kept."""

_SAID = ["label", "probability"]
_KEPT = ["image", "model", "method", "metric", "value", "target", "reason", "error", *_SAID]


@dataclass(frozen=True)
class Reading:
    """The rows that were there at some time.

    Attributes:
        models: the scores of each.
        table: all rows, a ``pyarrow.Table``.
        kept: what was worked out from them.
    """

    models: dict[str, ModelScores]
    table: Any = field(repr=False)
    kept: Latest[Any] = field(default_factory=lambda: Latest(ORDERS), repr=False)

    @cached_property
    def _by_picture(self) -> tuple[dict[str, int], Integers, Integers]:
        """The number of each picture, the rows in its order, and where each picture's begin."""
        image = encode(self.table["image"])
        order = np.argsort(image.codes, kind="stable")
        starts = np.searchsorted(image.codes[order], np.arange(len(image.words) + 1))
        return {name: i for i, name in enumerate(image.words)}, order, starts

    @property
    def pictures(self) -> set[str]:
        """Names of all pictures that have rows."""
        return {*self._by_picture[0]}

    def rows(self, picture: str, model: str) -> list[dict[str, Any]]:
        """Return the rows of a picture and a model."""
        numbers, order, starts = self._by_picture
        if picture not in numbers:
            return []
        i = numbers[picture]
        rows = self.table.take(order[starts[i] : starts[i + 1]]).to_pylist()
        return [row for row in rows if row["model"] == model]

    def probabilities(self, scores: ModelScores) -> Floats:
        """Return what a model gives the explained class of each of its pictures."""
        model, image = encode(self.table["model"]), encode(self.table["image"])
        own = model.equals(scores.model) & ~encode(self.table["error"]).nonempty
        chances = np.full(len(image.words), np.nan)
        chances[image.codes[own]] = self.table["probability"].to_numpy()[own]
        place = {name: i for i, name in enumerate(image.words)}
        return chances[[place[name] for name in scores.images]]

    def medians(self, model: str) -> Floats:
        """Return the median of each metric and method over the pictures."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of none at all there is none
            return self.kept.keep(("medians", model), lambda: np.nanmedian(self.models[model].values, 2))


class Studio(Pictured):
    """A run that may still go on.

    Args:
        models: none.
        read: not used.
        settings: ``run``, the folder; ``source``, where its pictures are now, or None; ``made``, a folder of our own;
            ``networks``, what is known of the models, see ``know``.

    Raises:
        InvalidOption: there is no run, it has no rows, or its pictures can't be shown or are not there.
        CorruptStore: a file is damaged.
    """

    kind = "run"

    def __init__(self, models: Sequence[str], read: Callable[[str], Path], settings: Mapping[str, Any]) -> None:
        self.folder = Path(settings["run"])
        store = Store(self.folder)
        self.recipe, notes = recipe_of(store), store.notes
        _refuse_unseen(self.recipe, self.folder)
        self.models = [name for name in self.recipe.models.names if name not in notes.get("left_out", {})]
        self.columns = columns(self.recipe.metrics_by_label)
        self.networks: Mapping[str, Any] = {one["name"]: one for one in settings["networks"]}
        self._state: object = None
        self._again = 0.0
        self._reading = self.read()
        source = find_source("run", self.recipe.pictures.dataset, notes.get("source"), settings["source"])
        samples = _find_pictures(self.recipe, source, notes.get("limit"), self._reading.pictures)
        ids = [hashlib.sha256(sample.name.encode()).hexdigest()[:32] for sample in samples]
        super().__init__(samples, ids, Path(settings["made"]))
        self.places = {sample.name: i for i, sample in enumerate(self.samples)}
        self._truths: Latest[Integers] = Latest(ORDERS)

    def sample(self, place: int) -> Sample:
        """Return a picture with its content: a scene that was not drawn is."""
        sample = self.samples[place]
        return samples_of(self.recipe, None, names=[sample.name])[0] if sample.image is None else sample

    def read(self) -> Reading:
        """Return the run's rows; read anew if there are others by now, but not all the time.

        Raises:
            CorruptStore: a file is damaged.
            InvalidOption: there are no rows any more.
        """
        start = time.monotonic()
        if start < self._again:
            return self._reading
        store = Store(self.folder)
        stats = [(file.name, file.stat()) for file in store.files]
        state = [(name, one.st_size, one.st_mtime_ns) for name, one in stats]
        if state != self._state:
            self._state = None
            table = store.table([*columns_read(self.recipe), *_SAID])
            models, _, _ = read_scores(store, self.recipe, table)
            self._reading = Reading({one.model: one for one in models}, table.select(_KEPT).combine_chunks())
            self._state, end = state, time.monotonic()
            self._again = end + REST * (end - start)
        return self._reading

    def scores(self, model: str) -> ModelScores | None:
        """Return a model's scores; None before it has any."""
        return self.read().models.get(model)

    def method(self, model: str, label: str) -> int:
        """Return a method's place among those that were measured.

        Raises:
            InvalidOption: it is none of them.
        """
        scores = self.scores(model)
        if scores is None or label not in scores.methods:
            raise InvalidOption(f"{show(label, MOST_SHOWN)} has no numbers in this run")
        return list(scores.methods).index(label)

    def metric(self, model: str, label: str) -> int:
        """Return a metric's place among those that were measured; raises as ``method``."""
        scores = self.scores(model)
        if scores is None or label not in scores.columns:
            raise InvalidOption(f"{show(label, MOST_SHOWN)} has no numbers in this run")
        return list(scores.columns).index(label)

    def spread(self, scores: ModelScores, values: Any, missing: Any) -> Any:
        """Return an array of all pictures for one of those that a model has."""
        at = np.array([self.places.get(name, -1) for name in scores.images])
        whole = np.full(len(self.samples), missing)
        whole[at[at >= 0]] = np.asarray(values)[at >= 0]
        return whole

    def truths(self, model: str) -> Integers:
        """Return the true class of each picture, as a model counts; -1 where that is not known."""
        return self._truths.keep(model, lambda: self._find_truths(model))

    def label(self, place: int, model: str = "") -> str:
        """Return a picture's true class in words, of a model where it has another; "" if unknown."""
        sample, labels = self.samples[place], self.networks.get(model, {}).get("labels")
        names = CLASSES if self.recipe.pictures.dataset == "scenes" else sample.classes
        if isinstance(sample.label, int) and sample.label < len(names):
            return names[sample.label]
        if isinstance(sample.label, int) and labels and sample.label < len(labels):
            return labels[sample.label]
        return "" if sample.label is None else str(sample.label)

    def _find_truths(self, model: str) -> Integers:
        network = self.networks.get(model)
        known = [i for i, sample in enumerate(self.samples) if sample.label is not None]
        truths = np.full(len(self.samples), -1)
        if network is None or not known:
            return truths
        labels, count = network["labels"], network["classes"]
        like = SimpleNamespace(name=model, labels=labels, classes=lambda: count)  # all that is asked of a classifier
        with contextlib.suppress(UnknownTarget):  # it has other classes
            truths[known] = true_classes(cast(Classifier, like), [self.samples[i] for i in known]).numpy()
        return truths


def _refuse_unseen(recipe: Recipe, folder: Path) -> None:
    """Refuse a run whose pictures can't be shown."""
    report = f"its numbers are in the report: limelight report {folder}"
    if not isinstance(recipe.data, Data):
        raise InvalidOption(f"the run has several data sets ({', '.join(recipe.parts)}), the page shows one; {report}")
    if recipe.data.mosaics:
        raise InvalidOption(f"the run's pictures are mosaics, which are put together to be measured only; {report}")


def _find_pictures(recipe: Recipe, source: Path | None, limit: int | None, with_rows: set[str]) -> list[Sample]:
    """Return the pictures of a run in its order, those that have no rows yet among them.

    Raises:
        InvalidOption: one that has rows is not there.
    """
    data, where = recipe.pictures, "" if source is None else f" in {source}"
    count = 500 if data.n == "all" else data.n
    if data.dataset == "scenes" and min(count, limit or count) > DRAWN:
        return spread_evenly([Sample(None, scene_name(i)) for i in range(count)], limit)
    try:
        samples = samples_of(recipe, source, limit=limit)
        wanted = with_rows | {sample.name for sample in samples}
        if len(wanted) > len(samples):  # it went on with another limit
            samples = [one for one in samples_of(recipe, source, names=wanted) if one.name in wanted]
    except LimelightError as error:
        raise InvalidOption(f"the run's pictures: {error}") from error
    lacking = with_rows - {sample.name for sample in samples}
    if lacking:
        raise InvalidOption(f"the run has a picture {show(min(lacking))} that is not there{where}; is --folder right?")
    refuse_arrays("run", samples)
    return samples


# -- what is asked ---------------------------------------------------------------------------------------


def opened(studio: Studio, request: Request) -> Events:
    """Tell what was measured, and of every picture its id, name, label and file, and whether we write that."""
    recipe = studio.recipe
    titles = {entry.label for entry in (*recipe.methods, *recipe.metrics)}
    about = {
        "name": recipe.name,
        "target": recipe.target,
        "models": {model: list(_methods(studio, model, titles)) for model in studio.models},
        "metrics": [
            {"label": label, "title": label if label in titles else title_of(one.name), "better": one.better}
            for label, one in studio.columns.items()
        ],
    }
    pictures = [
        (studio.ids[i], sample.name, studio.label(i), *studio.path(i)) for i, sample in enumerate(studio.samples)
    ]
    yield "result", {"about": about, "pictures": pictures}


def _methods(studio: Studio, model: str, titles: set[str]) -> Iterator[dict[str, Any]]:
    """Yield a model's methods with the options that they were measured with, as the page asks for them."""
    for label, method in studio.recipe.methods_of(model).items():
        given = method.options.model_dump(mode="json", exclude_defaults=True)
        options = {k: to_json(v, None) if isinstance(v, dict) else v for k, v in given.items()}
        title = label if label in titles else title_of(method.name)
        yield {"label": label, "title": title, "name": method.name, "options": options}


def know(studio: Studio, request: Request) -> Events:
    """Be told the classes of the models, and tell of which it is known what they have wrong."""
    studio.networks = {one["name"]: one for one in request["models"]}
    predicted = studio.recipe.target == "top1"
    yield "result", {"judged": [m for m in studio.models if predicted and (studio.truths(m) >= 0).any()]}


def picture(studio: Studio, request: Request) -> Events:
    """Tell a picture's numbers: for each method and metric the value, its rank among all pictures, and their median.

    One that was dropped on the page has none.
    """
    place, model = studio.by_id.get(request["picture"]), request["model"]
    reading, name = studio.read(), "" if place is None else studio.samples[place].name
    rows = [] if place is None else reading.rows(name, model)
    whole = next((row for row in rows if not row["error"]), None)
    truth = -1 if place is None else int(studio.truths(model)[place])
    cells = {(row["method"], row["metric"]): row for row in rows}
    numbers = _Numbers(reading, model, name)
    methods = list(studio.recipe.methods_of(model)) if model in studio.models else []
    yield (
        "result",
        {
            "measured": place is not None,
            "target": None if whole is None else whole["target"],
            "label": "" if whole is None else whole["label"],
            "probability": None if whole is None else number(whole["probability"]),
            "truth": "" if place is None else studio.label(place, model),
            "right": truth == whole["target"] if whole and truth >= 0 and studio.recipe.target == "top1" else None,
            "pictures": numbers.pictures,
            "all": len(studio.samples),
            "rows": [
                {
                    "method": method,
                    "reason": next((r["reason"] for r in rows if r["method"] == method and r["reason"]), ""),
                    "cells": [numbers.cell(cells.get((method, metric)), method, metric) for metric in studio.columns],
                }
                for method in methods
            ],
        },
    )


class _Numbers:
    """A picture's numbers among those of all pictures."""

    def __init__(self, reading: Reading, model: str, picture: str) -> None:
        self.scores = reading.models.get(model)
        self.pictures = 0
        if self.scores is None:
            return
        values, columns = self.scores.values, self.scores.columns.values()
        self.pictures, self._medians = len(self.scores.images), reading.medians(model)
        at = bisect_left(self.scores.images, picture)
        there = at < self.pictures and self.scores.images[at] == picture
        own = values[:, :, at, None] if there else np.full((*values.shape[:2], 1), np.nan)
        sign = np.array([1 if column.better == "higher" else -1 for column in columns])[:, None, None]
        self._ranks = 1 + (sign * (values - own) > 0).sum(2)
        self._known = (~np.isnan(values)).sum(2)

    def cell(self, row: dict[str, Any] | None, method: str, metric: str) -> dict[str, Any] | None:
        """Return what is told of a method and a metric; None where it is not measured yet."""
        if row is None:
            return None
        if row["error"] or self.scores is None:
            return {"error": one_line(row["error"])}
        at = list(self.scores.columns).index(metric), list(self.scores.methods).index(method)
        value = number(row["value"])
        rank = None if value is None else int(self._ranks[at])
        return {"value": value, "rank": rank, "of": int(self._known[at]), "median": number(self._medians[at])}


def leaders(studio: Studio, request: Request) -> Events:
    """Tell the figure of each method by a metric, with its interval, as the report has it; the best comes first."""
    model, metric = request["model"], request["metric"]
    reading = studio.read()
    scores = reading.models.get(model)
    if scores is None or metric not in scores.columns:  # yet
        yield "result", {"leaders": []}
        return
    figures = reading.kept.keep(("leaders", model, metric), lambda: summarize([_only(scores, metric)])[0])
    ranked = sorted(figures, key=lambda one: one.rank or len(figures) + 1)
    keys = ("method", "mean", "low", "high", "images", "rank", "like_best")
    yield "result", {"leaders": [{key: getattr(one, key) for key in keys} for one in ranked]}


def _only(scores: ModelScores, metric: str) -> ModelScores:
    """Return the scores by one metric."""
    place = list(scores.columns).index(metric)
    one = slice(place, place + 1)
    return replace(
        scores,
        columns={metric: scores.columns[metric]},
        values=scores.values[one],
        there=scores.there[one],
        spent=scores.spent[one],
    )


def strip(studio: Studio, request: Request) -> Events:
    """Tell some of the pictures in an order, and the number by which they stand there.

    ``order`` is ``run``; ``best`` or ``worst`` by a method and metric; ``apart``, by how far the best and the worst
    method are from each other by a metric, without baselines; or ``unsure``, by the probability of the explained class.
    ``wrong`` leaves out pictures whose explained class is not known to be another than the true one.
    """
    reading = studio.read()
    said = tuple(request[name] for name in ("model", "order", "method", "metric", "wrong"))
    places, values = reading.kept.keep(("strip", *said), lambda: _arrange(studio, reading, *said))
    shown: list[int] = places[request["first"] : request["first"] + request["count"]].tolist()
    pictures = [
        {
            "id": studio.ids[i],
            "name": studio.samples[i].name,
            "label": studio.label(i, request["model"]),
            "value": None if values is None else number(values[i]),
        }
        for i in shown
    ]
    yield "result", {"total": len(places), "pictures": pictures}


def _arrange(
    studio: Studio, reading: Reading, model: str, order: str, method: str | None, metric: str | None, wrong: bool
) -> tuple[Integers, Floats | None]:
    """Return the places of pictures in an order, and the numbers by which they stand there, of all pictures."""
    scores, places = reading.models.get(model), np.arange(len(studio.samples))
    values = None
    if scores is not None and order != "run":
        values = studio.spread(scores, _key(studio, reading, scores, order, method or "", metric or ""), np.nan)
        higher = scores.columns[metric or ""].better == "higher" if order in ("best", "worst") else order == "apart"
        down = higher != (order == "worst")
        places = np.argsort(-values if down else values, kind="stable")  # what has none comes last
    if wrong:
        targets = -np.ones(len(places)) if scores is None else studio.spread(scores, scores.targets, -1)
        truths = studio.truths(model)
        places = places[((targets >= 0) & (truths >= 0) & (targets != truths))[places]]
    return places, values


def _key(studio: Studio, reading: Reading, scores: ModelScores, order: str, method: str, metric: str) -> Floats:
    """Return the number by which a model's pictures are ordered."""
    if order == "unsure":
        return reading.probabilities(scores)
    values = scores.values[studio.metric(scores.model, metric)]
    if order != "apart":
        return values[studio.method(scores.model, method)]
    families = {label: METHODS.find(one.name).family for label, one in studio.recipe.methods_of(scores.model).items()}
    real = values[[families.get(label) != "baseline" for label in scores.methods]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of none at all there is none
        return np.ptp(np.stack([np.nanmin(real, 0), np.nanmax(real, 0)]), 0) if len(real) else values[0] * np.nan


FUNCTIONS = {
    "opened": opened,
    "know": know,
    "make": make,
    "run-picture": picture,
    "run-leaders": leaders,
    "run-strip": strip,
}
