"""Work on the chunks of a run: in this process, on one or several devices, or on a Ray cluster."""

import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from limelight import api
from limelight.bench.cell import Cell
from limelight.bench.measure import fill_cells
from limelight.bench.plan import Job, forecast_of, images_at_once, load_model, samples_of, spread_evenly
from limelight.bench.recipe import Recipe
from limelight.data.samples import Sample
from limelight.errors import MissingExtra, WorkerLost
from limelight.model.classifier import Classifier
from limelight.model.timing import timed_passes
from limelight.progress import Forecast

QUEUED = 2
"""Chunks that wait for each worker, so that none is idle."""

MOST_DEATHS = 3
"""Workers that may die on one chunk before the chunk is given up."""

CHECK_SECONDS = 10
"""Seconds after which a cluster is checked for more room: it may have grown."""


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


Executor = Callable[[Source, Sequence[Task]], Iterator[Finished]]


def local_executor(worker: Worker, devices: Sequence[str] = ()) -> Executor:
    """Return an executor in this process.

    Args:
        worker: used where there is one device at most.
        devices: one worker in a thread of its own for each of several.
    """
    if len(devices) < 2:
        return lambda source, tasks: (worker.finish(task) for task in tasks)

    def execute(source: Source, tasks: Sequence[Task]) -> Iterator[Finished]:
        waiting: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        finished: queue.Queue[Finished | BaseException] = queue.Queue(QUEUED * len(devices))
        for task in tasks:
            waiting.put(task)

        def work(device: str) -> None:
            own = Worker(source, device)
            try:
                while (task := waiting.get()) is not None:
                    finished.put(own.finish(task))
            except BaseException as error:  # is raised in the thread that waits
                finished.put(error)

        for _ in devices:
            waiting.put(None)
        threads = [threading.Thread(target=work, args=(device,), daemon=True) for device in devices]
        for thread in threads:
            thread.start()
        for _ in tasks:
            result = finished.get()
            if isinstance(result, BaseException):
                raise result
            yield result

    return execute


def ray_executor(workers: int | None = None, gpus: float | None = None) -> Executor:
    """Return an executor on a Ray cluster: that of ``RAY_ADDRESS``, or one of this machine.

    Every worker is an actor that holds a model. One that dies is begun again, here or elsewhere, and its chunks are
    given to the next that is free; a cluster that grows gets more of them.

    Args:
        workers: how many; None for as many as the cluster has room for at any time.
        gpus: GPUs of each; None for one, where the cluster has any.

    Raises:
        MissingExtra: Ray is not installed.
    """
    try:
        import ray
    except ImportError:
        raise MissingExtra("ray", "ray") from None
    return _Cluster(ray, workers, gpus)


class _Cluster:
    def __init__(self, ray: Any, workers: int | None, gpus: float | None) -> None:
        self._ray, self._workers, self._gpus = ray, workers, gpus

    def __call__(self, source: Source, tasks: Sequence[Task]) -> Iterator[Finished]:
        """Yield the result of each task when it is finished, in any order."""
        ray = self._ray
        ours = not ray.is_initialized()
        if ours:
            ray.init(address=os.environ.get("RAY_ADDRESS"), include_dashboard=False, log_to_driver=False)
        try:
            yield from self._run(source, list(tasks))
        finally:
            if ours:
                ray.shutdown()

    def _run(self, source: Source, tasks: list[Task]) -> Iterator[Finished]:
        ray = self._ray
        room = ray.cluster_resources()
        gpus = (1.0 if room.get("GPU") else 0.0) if self._gpus is None else self._gpus
        needs = {"num_cpus": source.threads or 1, "num_gpus": gpus}
        actor = ray.remote(Worker).options(**needs, max_restarts=-1)
        waiting, flying = tasks[::-1], dict[Any, tuple[Any, Task | None]]()
        deaths, lost = Counter[tuple[str, range]](), list[Task]()
        hired = 0

        def call(one: Any) -> None:
            """Ask whether a worker is there; it gets no tasks before it answers."""
            flying[one.ready.remote()] = one, None

        def give(one: Any) -> None:
            if waiting:
                task = waiting.pop()
                flying[one.finish.remote(task)] = one, task

        while waiting or any(task for _, task in flying.values()):
            most = min(self._workers or self._fits(needs), hired + len(waiting))
            for _ in range(most - hired):  # the cluster may have grown
                call(actor.remote(source, "cuda" if gpus else None))
            hired = max(hired, most)
            ready, _ = ray.wait(list(flying), num_returns=1, timeout=CHECK_SECONDS)
            for one, _ in [flying[answer] for answer in ready]:
                its = [answer for answer, (whose, _) in flying.items() if whose is one]  # in the order of their calls
                its, _ = ray.wait(its, num_returns=len(its), timeout=0)
                died: list[Task | None] = []
                for answer in its:
                    task = flying.pop(answer)[1]
                    try:
                        result = ray.get(answer)
                    except (ray.exceptions.RayActorError, ray.exceptions.ActorUnavailableError) as error:
                        if getattr(error, "actor_init_failed", False):
                            raise WorkerLost(f"a worker can't begin: {str(error).splitlines()[-1]}") from error
                        died.append(task)
                        continue
                    for _ in range(1 if task else QUEUED):
                        give(one)
                    if task is not None:
                        yield result
                if died:
                    running, *queued = died
                    waiting += [t for t in queued if t is not None]
                    if running is None:
                        time.sleep(0.2)  # not there yet
                    else:
                        deaths[running.model, running.images] += 1
                        (lost if deaths[running.model, running.images] == MOST_DEATHS else waiting).append(running)
                    call(one)  # the cluster begins it again, here or elsewhere
        if lost:
            raise WorkerLost(
                f"workers died {MOST_DEATHS} times each on {', '.join(_name_task(task) for task in lost[:3])}"
                f"{' …' if len(lost) > 3 else ''}, perhaps for want of memory; all else is finished, "
                "and the same command tries these again"
            )

    def _fits(self, needs: Mapping[str, float]) -> int:
        """Return how many workers the cluster has room for; at least one, for which it may have to grow."""
        room = self._ray.cluster_resources()
        kinds = {"GPU": needs["num_gpus"]} if needs["num_gpus"] else {"CPU": needs["num_cpus"]}
        return max(1, *(int(room.get(kind, 0) / each) for kind, each in kinds.items()))


def _name_task(task: Task) -> str:
    return f"pictures {task.images.start + 1} to {task.images.stop} of {task.model}"
