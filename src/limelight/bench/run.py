"""Run a benchmark: evaluate all that a recipe asks for and that is not there yet."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from limelight.bench.cell import name_of_part
from limelight.bench.executors import Executor, check_execution, local_executor, ray_executor
from limelight.bench.holding import holding
from limelight.bench.plan import chunks, settings
from limelight.bench.recipe import Recipe
from limelight.bench.recipe_file import read_published, read_recipe
from limelight.bench.recipe_parse import make_recipe
from limelight.bench.store import Store, find_keys
from limelight.bench.worker import Finished, Source, Task
from limelight.engine.provenance import versions
from limelight.errors import InvalidImage, InvalidOption, WeightsUnavailable, nearest, show
from limelight.model.device import require_device
from limelight.progress import Forecast

_UNREADABLE = f"{InvalidImage.__name__}: "


@dataclass
class Progress:
    """How far a run is, and in the end what it did.

    Attributes:
        cells: that the recipe asks for, of this shard.
        before: that were there already.
        finished: that were filled now, failures among them.
        failed: that have an error in place of a number.
        images: that were worked on, each once for every model.
        seconds: since the run began.
        measuring: seconds since models and pictures were found.
        worked: seconds of all workers.
        inside: seconds of the workers inside the models' passes.
        left_out: models without weights, and why.
        unreadable: pictures that can't be read, and why, also those that an earlier run met; their cells have errors.
    """

    cells: int = 0
    before: int = 0
    finished: int = 0
    failed: int = 0
    images: int = 0
    seconds: float = 0.0
    measuring: float = 0.0
    worked: float = 0.0
    inside: float = 0.0
    left_out: dict[str, str] = field(default_factory=dict[str, str])
    unreadable: dict[str, str] = field(default_factory=dict[str, str])

    def note_unreadable(self, image: str, error: str) -> None:
        """Note the picture of a cell if its error says that it can't be read."""
        if error.startswith(_UNREADABLE):
            self.unreadable[image] = error.removeprefix(_UNREADABLE)

    def refuse_unreadable(self) -> None:
        """Refuse a run with a picture that can't be read.

        Raises:
            InvalidImage: there is one.
        """
        for name, reason in self.unreadable.items():
            raise InvalidImage(reason if name in reason else f"{name}: {reason}")

    @property
    def speed(self) -> float:
        """Images per second; NaN before the first."""
        return self.images / self.measuring if self.images else math.nan

    @property
    def share_inside(self) -> float:
        """Share of the workers' time inside the models' passes; NaN before the first."""
        return self.inside / self.worked if self.worked else math.nan


def benchmark(
    recipe: Recipe | str | Path | Mapping[str, Any],
    out: str | Path,
    *,
    data: str | Path | Mapping[str, str | Path] | None = None,
    limit: int | None = None,
    shard: tuple[int, int] = (0, 1),
    devices: Sequence[str] = (),
    weights: str | None = None,
    executor: str = "local",
    workers: int | None = None,
    threads: int | None = None,
    published: str = "",
    retry: bool = False,
    trust: bool = False,
    strict: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    on_forecast: Callable[[Forecast], None] | None = None,
) -> Progress:
    """Evaluate all that a recipe asks for and that is not yet in the folder.

    Args:
        recipe: what to evaluate: a file, the name of one that comes with Limelight, or its tables.
        out: the run's folder; a run that was stopped goes on.
        data: folder or csv of pictures, where the recipe wants one; of several data sets one for each, by name.
        limit: take so many pictures of each data set, evenly spread.
        shard: (i, n): only the i-th of n parts, from 0; parts may be made on different machines and merged.
        devices: where the models run; several work side by side.
        weights: in place of the recipe's.
        executor: ``local``, or ``ray`` for a cluster.
        workers: of the cluster, at most 10 000; None for as many as it has room for.
        threads: of each worker on a processor, at most 1024.
        published: the paper's numbers as csv, for the report; "" for those that the file of the recipe names.
        retry: try again what failed before.
        trust: run code that comes with the recipe's models, see ``limelight.load``.
        strict: stop at the first picture that can't be read.
        on_progress: called with what was done so far, whenever that changes.
        on_forecast: called once, before anything is measured, with what all that is not there yet will take.

    Returns:
        What was done. A picture or method that fails gives cells with the error, and the run goes on; so it does
        without models whose weights are not to be had, unless these are all.

    Raises:
        LimelightError: see ``limelight.errors``. What was finished is in the folder.

    Example:
        >>> recipe = {"name": "small", "data": {"dataset": "scenes", "n": 2}, "models": {"names": ["demo/resnet"]}}
        >>> recipe |= {"methods": [{"name": "grad-cam"}], "metrics": [{"name": "complexity"}]}
        >>> ll.benchmark(recipe, "run").cells
        2
    """
    start = time.perf_counter()
    if isinstance(recipe, str | Path):
        file, recipe = recipe, read_recipe(recipe)
        published = published or read_published(recipe, file)
    elif isinstance(recipe, Mapping):
        recipe = make_recipe(recipe, "the recipe")
    check_execution(executor, threads=threads, workers=workers, limit=limit)
    places = _places(recipe, data)
    if not 0 <= shard[0] < shard[1]:
        raise InvalidOption(f"shard = {shard}: expected (i, n), the i-th of n parts from 0")
    for device in devices:
        require_device(device)
    store = Store(out, settings(recipe))
    progress, weights_of, forecasts = Progress(), dict[str, str](), list[Forecast]()
    work: list[tuple[Executor[Task, Finished], Source, list[Task]]] = []
    keys, failed = store.outcome()
    if retry:
        keys, failed = np.setdiff1d(keys, list(failed)), {}
    side_by_side = max(len(devices), (workers or 8) if executor == "ray" else 1)
    for part, own in recipe.parts.items():
        source = Source(own, places[part], limit, weights, threads, trust, part)
        worker = source.worker(devices[0] if devices else None)
        execute = ray_executor(workers) if executor == "ray" else local_executor(worker, devices)
        tasks = list[Task]()
        work.append((execute, source, tasks))
        for name in recipe.models.names:
            called = name_of_part(name, part)
            try:
                job, together = worker.job(name)
            except WeightsUnavailable as error:
                progress.left_out[called] = str(error)
                if len(progress.left_out) == len(recipe.models.names) * len(recipe.parts):
                    raise
                continue
            weights_of[called] = f"sha256:{job.weights}"
            if side_by_side > 1:  # so many parts that all have some until the end
                together = min(together, -(-len(job.samples) // (4 * side_by_side)))
            lacking: list[npt.NDArray[np.bool_]] = []
            for images in chunks(len(job.samples), shard, together):
                wanted = job.keys(images)
                there = find_keys(keys, wanted)
                progress.cells += there.size
                progress.before += int(there.sum())
                for key in wanted[there].tolist() if failed else ():
                    progress.note_unreadable(*failed.get(key, ("", "")))
                if not there.all():
                    tasks.append(Task(name, images, ~there))
                    lacking.append(~there)
            if lacking and on_forecast is not None:
                forecasts.append(worker.forecast(name, np.concatenate(lacking)))
    store.note(
        {
            "about": recipe.about,
            "paper": {"note": recipe.paper.note, "table": published},
            "versions": versions(),
            "weights": weights_of,
            "device": ", ".join(devices) or "cpu",
            "limit": limit,
            "left_out": progress.left_out,
            "source": ", ".join(map(str, dict.fromkeys(filter(None, places.values())))) or None,
        }
    )
    begun = time.perf_counter()

    def report() -> None:
        now = time.perf_counter()
        progress.seconds, progress.measuring = now - start, now - begun
        if on_progress is not None:
            on_progress(progress)

    report()
    if forecasts and on_forecast is not None:
        most = max(one.images for one in forecasts)
        total = Forecast.of_all(forecasts, most)
        on_forecast(replace(total, seconds=total.seconds / max(1, len(devices), workers or 1)))
    if strict:
        progress.refuse_unreadable()
    with holding(store) as held:
        for done_now in chain.from_iterable(execute(source, tasks) for execute, source, tasks in work):
            held.add(done_now.cells)
            progress.finished += len(done_now.cells)
            progress.failed += sum(bool(cell.error) for cell in done_now.cells)
            for cell in done_now.cells:
                progress.note_unreadable(cell.image, cell.error)
            progress.images += done_now.images
            progress.worked += done_now.seconds
            progress.inside += done_now.inside
            report()
            if strict:
                progress.refuse_unreadable()
    return progress


def _places(recipe: Recipe, data: str | Path | Mapping[str, str | Path] | None) -> dict[str, str | Path | None]:
    """Return where the pictures of each of a recipe's data sets are; None for those that are drawn."""
    drawn = {name for name, part in recipe.parts.items() if part.pictures.dataset == "scenes"}
    if isinstance(data, Mapping):
        for name in data:
            if name in drawn:
                raise InvalidOption(f"the pictures of {name} are drawn; leave its data out")
            if name not in recipe.parts or not name:
                raise InvalidOption(
                    f"data of {name!r}, which is no data set of the recipe {recipe.name}{nearest(name, recipe.parts)}"
                )
    elif data is not None and len(drawn) == len(recipe.parts):
        raise InvalidOption(f"the recipe {recipe.name} draws its own pictures; leave data={show(str(data))} out")
    where = {name: data.get(name) if isinstance(data, Mapping) else data for name in recipe.parts}
    return {name: None if name in drawn else place for name, place in where.items()}
