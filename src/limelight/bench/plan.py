"""Which cells a recipe asks for, and their keys, which tell which of them are there."""

import contextlib
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from limelight import api, zoo
from limelight.api.forecasting import forecast
from limelight.bench.cell import key_in_part, key_of
from limelight.bench.recipe import Recipe
from limelight.bench.recipe_tables import Data
from limelight.data.collect import from_scenes, scene_name
from limelight.data.datasets import open_dataset
from limelight.data.samples import Sample
from limelight.data.synthetic import TEST_SEEDS, scene
from limelight.engine.method import Method
from limelight.engine.rng import fix_seeds
from limelight.errors import InvalidOption, UnsupportedModel
from limelight.model.classifier import Classifier
from limelight.progress import Forecast
from limelight.scoring.metric import Metric

CHUNK = 16
"""Images of a part that goes to one shard as a whole."""

PASSES = 4000
"""Passes that are worked on together: enough to share some, few enough that little is lost when a run is stopped."""


def samples_of(
    recipe: Recipe,
    source: str | Path | None,
    *,
    indices: bool = False,
    limit: int | None = None,
    names: Container[str] | None = None,
) -> list[Sample]:
    """Return the pictures of a recipe, before mosaics are made of them.

    Args:
        recipe: what is measured.
        source: where the data set is.
        indices: whether labels are to be indices in the data set's own order, for models without names of classes.
        limit: so many of them at most, evenly spread.
        names: only pictures with these names are wanted; of scenes, no others are drawn.

    Raises:
        InvalidOption: the recipe wants a data set, and ``source`` is None.
        InvalidImage: it can't be read, or is not complete.
    """
    data = recipe.pictures
    if data.dataset == "scenes":
        count = 500 if data.n == "all" else data.n
        wanted = [i for i in _even_places(count, limit) if names is None or scene_name(i) in names]
        return [_draw_scene(i, data) for i in wanted]
    if source is None and ":" not in data.dataset:
        raise InvalidOption(f"the recipe wants pictures ({data.dataset}): say with --data where they are")
    per = "class" if recipe.target == "label" else "picture"
    samples = open_dataset(data.dataset, source, data.split or None, truth=data.truth or None, per=per, indices=indices)
    return spread_evenly(_choose(api.as_samples(samples), data), limit)


def _draw_scene(number: int, data: Data) -> Sample:
    """Return a scene of the recipe by its number, from 0."""
    drawn = from_scenes([scene(TEST_SEEDS + data.seed + number, objects=data.objects)])[0]
    return replace(drawn, name=scene_name(number))


def _even_places(count: int, limit: int | None) -> Sequence[int]:
    """Return so many places of so many, evenly spread."""
    if limit is None or limit >= count:
        return range(count)
    return np.linspace(0, count - 1, limit).round().astype(int).tolist()


def spread_evenly(samples: list[Sample], limit: int | None) -> list[Sample]:
    """Return so many of the samples, evenly spread."""
    return [samples[i] for i in _even_places(len(samples), limit)]


def _choose(samples: list[Sample], data: Data) -> list[Sample]:
    """Return as many samples as a recipe asks for, by its rule."""
    if data.n == "all" or data.n >= len(samples):
        return samples
    if data.rule == "first":
        return samples[: data.n]
    if data.rule == "even":
        return spread_evenly(samples, data.n)
    drawn = np.random.default_rng(data.seed).choice(len(samples), data.n, replace=False)
    return [samples[i] for i in np.sort(drawn)]


@dataclass(frozen=True)
class Job:
    """A model's part of a run.

    Attributes:
        recipe: what is evaluated.
        name: of the model.
        methods: by label.
        metrics: by label.
        samples: the pictures.
        weights: the hash of the model's weights.
        part: which of the run's data sets the pictures are of; "" if there is one.
    """

    recipe: Recipe
    name: str
    methods: Mapping[str, Method]
    metrics: Mapping[str, Metric]
    samples: Sequence[Sample]
    weights: str
    part: str = ""

    def keys(self, images: range) -> npt.NDArray[np.int64]:
        """Return the keys of these images' cells, (images, methods, metrics)."""
        pre = self.recipe.preprocess.model_dump_json() if self.recipe.preprocess else ""
        loading = self.recipe.loading(self.name)
        if loading.model_dump():  # a model that is loaded as it comes keeps its keys of earlier runs
            pre += loading.model_dump_json()
        methods = [repr(m) for m in self.methods.values()]
        entries = self.recipe.entries
        metrics = [m.protocol + entries[label].condition for label, m in self.metrics.items()]
        names = [identity(self.samples[i]) for i in images]
        flat = [
            key_of(self.name, self.weights, pre, self.recipe.target, name, method, metric)
            for name in names
            for method in methods
            for metric in metrics
        ]
        if self.part:
            flat = [key_in_part(self.part, key) for key in flat]
        return np.array(flat, dtype=np.int64).reshape(len(names), len(methods), len(metrics))

    def lacking(
        self, missing: npt.NDArray[np.bool_]
    ) -> Iterator[tuple[list[int], dict[str, Method], dict[str, Metric]]]:
        """Yield pictures of which the same is missing, by their places, and what that is.

        Args:
            missing: which cells are wanted, (images, methods, metrics).
        """
        alike: dict[bytes, list[int]] = {}
        for i in np.flatnonzero(missing.any((1, 2))).tolist():
            alike.setdefault(missing[i].tobytes(), []).append(i)
        for places in alike.values():
            lacks = missing[places[0]]
            methods = {m: self.methods[m] for m, lack in zip(self.methods, lacks.any(1), strict=True) if lack}
            metrics = {m: self.metrics[m] for m, lack in zip(self.metrics, lacks.any(0), strict=True) if lack}
            metrics |= {
                where: self.metrics[where] for where in [self.recipe.entries[m].where for m in metrics] if where
            }
            yield places, methods, metrics


def identity(sample: Sample) -> str:
    """Return what tells a picture from another: its name, and the size of its file."""
    size = Path(sample.image).stat().st_size if isinstance(sample.image, str | Path) else ""
    return f"{sample.name}:{size}"


def chunks(count: int, shard: tuple[int, int] = (0, 1), size: int = CHUNK) -> Iterator[range]:
    """Yield the images that belong to shard i of n, at most so many together."""
    index, shards = shard
    for number, start in enumerate(range(0, count, CHUNK)):
        if number % shards == index:
            end = min(count, start + CHUNK)
            yield from (range(first, min(end, first + size)) for first in range(start, end, size))


def images_at_once(job: Job, model: Classifier) -> int:
    """Return how many images are worked on together, by the passes that they are expected to take."""
    x = torch.zeros(1, len(model.mean), *model.input_size, device=model.device, dtype=model.dtype)
    maps = 0.0
    for method in job.methods.values():
        with contextlib.suppress(UnsupportedModel):  # is a cell with its error when it is tried
            cost = method.cost(model, x)
            maps += cost.forwards + cost.backwards
    total = maps
    for metric in job.metrics.values():
        own, explains = metric.cost(*model.input_size)
        total += own.forwards * len(job.methods) + maps * explains
    return int(min(max(1.0, PASSES / max(total, 1.0)), CHUNK))


def forecast_of(job: Job, model: Classifier, missing: npt.NDArray[np.bool_]) -> Forecast:
    """Predict what it takes to fill the missing cells of a model, (images, methods, metrics)."""
    x = torch.zeros(1, len(model.mean), *model.input_size, device=model.device, dtype=model.dtype)
    lacking = list(job.lacking(missing))
    pieces = len(lacking) * len(job.recipe.models.names)
    forecasts = [
        forecast(model, x, methods.values(), metrics.values(), images=len(places), pieces=pieces)
        for places, methods, metrics in lacking
    ]
    return Forecast.of_all(forecasts, sum(one.images for one in forecasts))


def settings(recipe: Recipe) -> dict[str, Any]:
    """Return what fixes the numbers of a run."""
    return {"limelight": 1, "recipe": recipe.model_dump(mode="json", exclude={"about", "paper"})}


def load_model(recipe: Recipe, name: str, *, device: str | None, trust: bool, weights: str | None = None) -> Classifier:
    """Load a model as a recipe says, with its preprocessing.

    Args:
        recipe: of one data set.
        name: of the model.
        device: where to put it.
        trust: see ``limelight.load``.
        weights: in place of the recipe's.

    Raises:
        LimelightError: as ``limelight.load`` does.
    """
    weights = weights or recipe.weights(name)
    given = dict[str, Any](device=device, multilabel=recipe.models.multilabel, trust=trust)
    with fix_seeds(0):  # random weights have to be the same for every worker, and when a run goes on
        model = zoo.load(name, weights=weights, **given, **recipe.loading(name).model_dump())
    return prepare_model(recipe, model)


def load_measured(
    recipe: Recipe, name: str, digest: str | None, *, device: str | None, trust: bool, weights: str | None = None
) -> Classifier:
    """Load a model of a run with the weights that were measured.

    Args:
        recipe: of the run.
        name: of the model.
        digest: of the weights, as the run's notes have it; None where they have none, and it is not checked.
        device: where to put it.
        trust: open files that the run names, and run their code: a run may have been written by anybody.
        weights: in place of the recipe's.

    Raises:
        InvalidOption: the run names files, which are not trusted, or the weights are others.
        LimelightError: as ``limelight.load`` does.
    """
    if not trust and not zoo.needs_no_trust(name, None if weights else recipe.weights(name)):
        raise InvalidOption("the run names files for it, which are opened with `--trust` only")
    model = load_model(recipe, name, device=device, trust=trust, weights=weights)
    if digest is not None and f"sha256:{model.weights_hash()}" != digest:
        raise InvalidOption("its weights are other than those that were measured")
    return model


def prepare_model(recipe: Recipe, model: Classifier) -> Classifier:
    """Return the model with the recipe's preprocessing."""
    if recipe.preprocess is None:
        return model
    return model.with_preprocess(recipe.preprocess.function, recipe.preprocess.side)
