"""Fill the cells of a plan, chunk by chunk; what was finished before is not done again."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from limelight import api, zoo
from limelight.bench.plan import Job, chunks, prepared, samples_of, settings
from limelight.bench.recipe import Recipe
from limelight.bench.store import Cell, Store, done
from limelight.core.classifier import Classifier
from limelight.core.results import Row
from limelight.data.samples import Sample
from limelight.errors import LimelightError

Keys = npt.NDArray[np.int64]


@dataclass
class Tally:
    """What a run did.

    Attributes:
        cells: that the recipe asks for, of this shard.
        before: that were there already.
        finished: that were filled now, failures among them.
        failed: that have an error in place of a number.
        seconds: spent.
    """

    cells: int = 0
    before: int = 0
    finished: int = 0
    failed: int = 0
    seconds: float = 0.0


def benchmark(
    recipe: Recipe,
    out: str | Path,
    *,
    source: str | Path | None = None,
    limit: int | None = None,
    shard: tuple[int, int] = (0, 1),
    device: str | None = None,
    weights: str | None = None,
    on_cells: Callable[[int, int], None] | None = None,
) -> Tally:
    """Measure all that a recipe asks for and is not yet in the folder.

    Args:
        recipe: what is to be measured.
        out: the run's folder; a run that was stopped goes on.
        source: folder or csv of pictures, where the recipe wants one.
        limit: take so many pictures, evenly spread.
        shard: (i, n): only the i-th of n parts, from 0; parts may be made on different machines and merged.
        device: where the models run.
        weights: in place of the recipe's.
        on_cells: called with the cells that are finished and the cells in all, whenever either changes.

    Returns:
        What was done. A picture or method that fails gives cells with the error, and the run goes on.

    Raises:
        LimelightError: see ``limelight.errors``. What was finished is in the folder.
    """
    start, tally = time.perf_counter(), Tally()
    samples = samples_of(recipe.data, source, limit)
    store = Store(out, settings(recipe))
    keys = store.keys()
    parts = list(chunks(len(samples), shard))
    images = sum(len(part) for part in parts)
    metrics = recipe.judges
    tally.cells = images * len(metrics) * sum(len(recipe.methods_of(name)) for name in recipe.models.names)
    for name in recipe.models.names:
        model = prepared(recipe, zoo.load(name, weights=weights or recipe.models.weights, device=device))
        job = Job(recipe, name, recipe.methods_of(name), metrics, samples, model.weights_hash())
        for part in parts:
            wanted = job.keys(part)
            missing = ~done(keys, wanted)
            tally.before += int((~missing).sum())
            if missing.any():
                cells = list(chunk_cells(job, model, part, wanted, missing))
                store.add(cells)
                tally.finished += len(cells)
                tally.failed += sum(bool(cell.error) for cell in cells)
            if on_cells is not None:
                on_cells(tally.before + tally.finished, tally.cells)
    tally.seconds = time.perf_counter() - start
    return tally


def chunk_cells(
    job: Job, model: Classifier, images: range, keys: Keys, missing: npt.NDArray[np.bool_]
) -> Iterable[Cell]:
    """Return the missing cells of a chunk: one pass per image serves all methods and metrics that can share it.

    Args:
        job: the model's part of the run.
        model: the model.
        images: numbers of the pictures.
        keys: of the cells, (images, methods, metrics).
        missing: which of them are wanted, likewise.
    """
    rows: dict[tuple[int, str], Row | str] = {}
    # Pictures of which the same is missing go together.
    patterns: dict[bytes, list[int]] = {}
    for i in range(len(images)):
        if missing[i].any():
            patterns.setdefault(missing[i].tobytes(), []).append(i)
    for together in patterns.values():
        lacks = missing[together[0]]
        methods = {m: job.methods[m] for m, lack in zip(job.methods, lacks.any(1), strict=True) if lack}
        metrics = {m: job.metrics[m] for m, lack in zip(job.metrics, lacks.any(0), strict=True) if lack}
        named = [(i, job.samples[images[i]]) for i in together]
        _measure(job, model, named, methods, metrics, rows)
    for i, m, k in zip(*missing.nonzero(), strict=True):
        method, metric = list(job.methods)[m], list(job.metrics)[k]
        yield _cell(job, int(keys[i, m, k]), job.samples[images[i]].name, method, metric, rows[int(i), method])


def _measure(
    job: Job,
    model: Classifier,
    named: Sequence[tuple[int, Sample]],
    methods: Mapping[str, Any],
    metrics: Mapping[str, Any],
    rows: dict[tuple[int, str], Row | str],
) -> None:
    """Put a row, or why there is none, for each picture and method into ``rows``."""
    number = {sample.name: i for i, sample in named}

    def finished(found: list[Row]) -> None:
        rows.update({(number[row.image], row.method): row for row in found})

    try:
        target = "label" if job.recipe.target == "label" else None
        api.evaluate(model, [s for _, s in named], methods, metrics, target, on_rows=finished)
    except (LimelightError, RuntimeError, ValueError, ArithmeticError, MemoryError) as error:
        left = [(i, s) for i, s in named if any((i, m) not in rows for m in methods)]
        if len(left) == 1 and len(methods) == 1:
            rows[left[0][0], next(iter(methods))] = f"{type(error).__name__}: {error}"
            return
        # Who is to blame is found by halves: first the pictures, then the methods.
        if len(left) > 1:
            for part in (left[: len(left) // 2], left[len(left) // 2 :]):
                _measure(job, model, part, methods, metrics, rows)
            return
        for name, method in methods.items():
            if (left[0][0], name) not in rows:
                _measure(job, model, left, {name: method}, metrics, rows)


def _cell(job: Job, key: int, image: str, method: str, metric: str, row: Row | str) -> Cell:
    if isinstance(row, str):
        return Cell(key, image, job.name, method, metric, error=row)
    parts = {k.removeprefix(f"{metric}."): v for k, v in row.parts.items() if k.startswith(f"{metric}.")}
    return Cell(
        key,
        image,
        job.name,
        method,
        metric,
        value=row.values[metric],
        target=row.target,
        label=row.label,
        probability=row.probability,
        reason=row.reason,
        seconds=row.seconds,
        forwards=row.forwards,
        backwards=row.backwards,
        spent=row.spent.get(metric, 0.0),
        parts=json.dumps(parts) if parts else "",
        curve=tuple(row.curves.get(metric, ())),
    )
