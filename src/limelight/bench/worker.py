"""What a worker of a benchmark does: it holds a model at a time, and fills the cells of its tasks."""

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from limelight import api
from limelight.bench.cell import Cell
from limelight.bench.measure import fill_cells
from limelight.bench.plan import Job, forecast_of, images_at_once, load_model, samples_of, spread_evenly
from limelight.bench.recipe import Recipe
from limelight.data.samples import Sample
from limelight.model.classifier import Classifier
from limelight.model.timing import timed_passes
from limelight.progress import Forecast


@dataclass(frozen=True)
class Task:
    """Cells of one model on one chunk of images.

    Attributes:
        model: its name.
        images: numbers of the pictures.
        missing: which cells are wanted, (images, methods, metrics).
    """

    model: str
    images: range
    missing: npt.NDArray[np.bool_]

    def __str__(self) -> str:
        return f"pictures {self.images.start + 1} to {self.images.stop} of {self.model}"


@dataclass(frozen=True)
class Finished:
    """The result of a task.

    Attributes:
        cells: filled.
        images: that were worked on.
        seconds: of a worker.
        inside: seconds of those inside the model's passes.
    """

    cells: list[Cell]
    images: int
    seconds: float
    inside: float


@dataclass(frozen=True)
class Source:
    """What a worker needs to begin.

    Attributes:
        recipe: what is evaluated.
        data: folder or csv of pictures, where the recipe wants one.
        limit: so many pictures, evenly spread.
        weights: in place of the recipe's.
        threads: that a worker on a processor may use; None for as many as there are.
        trust: whether to run code that comes with models.
        part: which of the run's data sets it is; "" if there is one.
    """

    recipe: Recipe
    data: str | Path | None = None
    limit: int | None = None
    weights: str | None = None
    threads: int | None = None
    trust: bool = False
    part: str = ""

    def worker(self, device: str | None = None) -> "Worker":
        """Return a worker on a device."""
        return Worker(self, device)


class Worker:
    """Holds one model at a time, and fills cells with it.

    Args:
        source: what it needs.
        device: where its models run.
    """

    def __init__(self, source: Source, device: str | None = None) -> None:
        self._source, self._device = source, device
        self._held: tuple[Job, Classifier] | None = None
        if source.threads:
            torch.set_num_threads(source.threads)

    def job(self, name: str) -> tuple[Job, int]:
        """Return a model's part of the run, and how many images go together; hold the model from now on."""
        job, model = self._job(name)
        return job, images_at_once(job, model)

    def forecast(self, name: str, missing: npt.NDArray[np.bool_]) -> Forecast:
        """Predict what it takes to fill the missing cells of a model, (images, methods, metrics)."""
        return forecast_of(*self._job(name), missing)

    def _job(self, name: str) -> tuple[Job, Classifier]:
        if self._held is None or self._held[0].name != name:
            self._held = None  # the last one is let go before the next is there
            recipe, model = self._source.recipe, self._load(name)
            samples = self._samples_by_name if model.labels or not self._labels_are_names else self._samples_by_index
            methods = recipe.methods_of(name)
            if recipe.one_by_one:  # or the first picture would pay for what is made once
                first = api.first_input(model, (s.image for s in samples))
                api.explain(model, first, list(methods.values()), progress=False)
            part, metrics = self._source.part, recipe.metrics_by_label
            self._held = Job(recipe, name, methods, metrics, samples, model.weights_hash(), part), model
        return self._held

    def _load(self, name: str) -> Classifier:
        source = self._source
        return load_model(source.recipe, name, device=self._device, trust=source.trust, weights=source.weights)

    @cached_property
    def _samples_by_name(self) -> list[Sample]:
        return self._samples(indices=False)

    @cached_property
    def _samples_by_index(self) -> list[Sample]:
        return self._samples(indices=True)

    @property
    def _labels_are_names(self) -> bool:
        # ``api.evaluate`` finds the model's classes for the labels of a user's folder, or refuses them.
        known = self._source.recipe.pictures.dataset in ("scenes", "folder")
        return not known and any(isinstance(s.label, str) for s in self._samples_by_name)

    def _samples(self, *, indices: bool) -> list[Sample]:
        source, mosaics = self._source, self._source.recipe.pictures.mosaics
        if not mosaics:
            return samples_of(source.recipe, source.data, indices=indices, limit=source.limit)
        samples = samples_of(source.recipe, source.data, indices=indices)
        models = [self._load(name) for name in source.recipe.models.names]  # every one is to be sure of a picture
        samples = api.mosaics(models, samples, **mosaics.model_dump(), progress=False)
        return spread_evenly(samples, source.limit)

    def ready(self) -> None:
        """Return nothing: a worker that answers has begun."""

    def finish(self, task: Task) -> Finished:
        """Fill the cells of a task."""
        job, model = self._job(task.model)
        start = time.perf_counter()
        with timed_passes() as watch:
            cells = fill_cells(job, model, task.images, task.missing)
        return Finished(cells, int(task.missing.any((1, 2)).sum()), time.perf_counter() - start, watch.seconds)
