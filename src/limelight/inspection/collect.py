"""Explain all pictures of a data set that are not explained yet."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from limelight.bench.executors import Executor, check_execution, local_executor, ray_executor
from limelight.bench.holding import holding
from limelight.bench.store import find_keys
from limelight.engine.provenance import versions
from limelight.errors import InvalidImage
from limelight.inspection.record import GRID, MapStore
from limelight.inspection.worker import Finished, Source, Task, Worker
from limelight.model.device import require_device

PICTURES = 128
"""Pictures of a task: so many are explained again, at most, by each worker of a run that is stopped."""


@dataclass
class Progress:
    """How far the maps are, and in the end what was done.

    Attributes:
        pictures: of the data set.
        before: that were explained already.
        finished: that were explained now.
        seconds: since the first began.
        worked: seconds of all workers.
        inside: seconds of the workers inside the model's passes.
        unreadable: pictures that can't be read, and why.
    """

    pictures: int = 0
    before: int = 0
    finished: int = 0
    seconds: float = 0.0
    worked: float = 0.0
    inside: float = 0.0
    unreadable: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def speed(self) -> float:
        """Pictures per second; NaN before the first."""
        return self.finished / self.seconds if self.finished else math.nan

    @property
    def share_inside(self) -> float:
        """Share of the workers' time inside the model's passes; NaN before the first."""
        return self.inside / self.worked if self.worked else math.nan


def collect_maps(
    source: Source,
    out: str | Path,
    *,
    devices: Sequence[str] = (),
    executor: str = "local",
    workers: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> tuple[Worker, MapStore, Progress]:
    """Explain all pictures that have no map in the folder yet.

    Args:
        source: what is inspected.
        out: the folder; a run that was stopped goes on.
        devices: where models run; several work side by side.
        executor: ``local``, or ``ray`` for a cluster.
        workers: of the cluster.
        on_progress: called with what was done so far, whenever that changes.

    Returns:
        A worker with the model and the pictures, the store, and what was done.

    Raises:
        LimelightError: see ``limelight.errors``; what was finished is in the folder.
    """
    check_execution(executor, threads=source.threads, workers=workers)
    for device in devices:
        require_device(device)
    worker = source.worker(devices[0] if devices else None)
    store = MapStore(out, _settings(worker))
    store.note({"versions": versions(), "device": ", ".join(devices) or str(worker.model.device)})
    keys, failed = store.outcome()
    wanted = np.array(worker.keys, dtype=np.int64)
    lacking = np.flatnonzero(~find_keys(keys, wanted))
    mine = {*worker.keys}
    progress = Progress(len(wanted), len(wanted) - len(lacking))
    progress.unreadable = {image: error for key, (image, error) in failed.items() if key in mine}
    side_by_side = max(len(devices), (workers or 8) if executor == "ray" else 1)
    size = min(PICTURES, -(-len(lacking) // (4 * side_by_side))) if side_by_side > 1 else PICTURES
    tasks = [Task(tuple(lacking[i : i + size].tolist())) for i in range(0, len(lacking), max(1, size))]
    run: Executor[Task, Finished] = ray_executor(workers) if executor == "ray" else local_executor(worker, devices)
    start = time.perf_counter()
    with holding(store) as held:
        for done in run(source, tasks):
            held.add(done.rows)
            progress.finished += len(done.rows)
            progress.worked += done.seconds
            progress.inside += done.inside
            progress.seconds = time.perf_counter() - start
            progress.unreadable |= {row.image: row.error for row in done.rows if row.error}
            if on_progress is not None:
                on_progress(progress)
    if len(progress.unreadable) == progress.pictures:
        reason = next(iter(progress.unreadable.values()))
        raise InvalidImage(f"none of {progress.pictures} pictures can be read: {reason}")
    return worker, store, progress


def _settings(worker: Worker) -> dict[str, object]:
    """Return what fixes the maps, and what is found in them."""
    return {
        "limelight inspect": 1,
        "model": worker.model.name,
        "weights": f"sha256:{worker.model.weights_hash()}",
        "method": repr(worker.method.locate(worker.model)),
        "of": worker.of,
        "grid": GRID,
    }
