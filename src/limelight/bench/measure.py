"""Fill the cells of a chunk of images; a cell that fails keeps the error."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from limelight import api
from limelight.bench.cell import Cell
from limelight.bench.plan import Job
from limelight.data.samples import Sample
from limelight.errors import LimelightError
from limelight.model.classifier import Classifier
from limelight.results.row import Row


def fill_cells(job: Job, model: Classifier, images: range, missing: npt.NDArray[np.bool_]) -> list[Cell]:
    """Return the missing cells of a chunk: one pass per image serves all methods and metrics that can share it.

    Args:
        job: the model's part of the run.
        model: the model.
        images: numbers of the pictures.
        missing: which cells are wanted, (images, methods, metrics).
    """
    rows: dict[tuple[int, str], Row | str] = {}
    for together, methods, metrics in job.lacking(missing):
        named = [(i, job.samples[images[i]]) for i in together]
        if job.recipe.one_by_one:
            for one, (name, method) in product(named, methods.items()):
                _evaluate(job, model, [one], {name: method}, metrics, rows)
        else:
            _evaluate(job, model, named, methods, metrics, rows)
    return list(_cells(job, images, missing, rows))


def _cells(
    job: Job, images: range, missing: npt.NDArray[np.bool_], rows: Mapping[tuple[int, str], Row | str]
) -> Iterator[Cell]:
    """Yield the missing cells from the rows of their pictures and methods, or from why there are none."""
    methods, metrics, keys = list(job.methods), list(job.metrics), job.keys(images)
    wanted: list[list[int]] = np.argwhere(missing).tolist()
    for i, m, k in wanted:
        method, metric, result = methods[m], metrics[k], rows[i, methods[m]]
        if isinstance(result, str):
            row, error = Row(job.samples[images[i]].name, method), result
        else:
            row, error = result.only(metric), ""
            if not job.recipe.counts(metric, result.probability, result.values):
                row = replace(row, values={metric: math.nan})
        if job.part:
            row = replace(row, image=f"{job.part}/{row.image}")
        yield Cell(**vars(row), key=int(keys[i, m, k]), model=job.name, metric=metric, error=error)


def _evaluate(
    job: Job,
    model: Classifier,
    named: Sequence[tuple[int, Sample]],
    methods: Mapping[str, Any],
    metrics: Mapping[str, Any],
    rows: dict[tuple[int, str], Row | str],
) -> None:
    """Put a row, or why there is none, for each picture and method into ``rows``."""
    number = {sample.name: i for i, sample in named}

    def keep(finished: list[Row]) -> None:
        rows.update({(number[row.image], row.method): row for row in finished})

    try:
        target = "label" if job.recipe.target == "label" else None
        samples = [s for _, s in named]
        api.evaluate(
            model,
            samples,
            methods,
            metrics,
            target,
            strict=True,
            on_rows=keep,
            progress=False,  # the run says how far it is
        )
    except (LimelightError, RuntimeError, ValueError, ArithmeticError, MemoryError) as error:
        left = [(i, s) for i, s in named if any((i, m) not in rows for m in methods)]
        if len(left) == 1 and len(methods) == 1:
            rows[left[0][0], next(iter(methods))] = f"{type(error).__name__}: {error}"
            return
        # Halve the pictures, then the methods, until the one that fails is alone.
        if len(left) > 1:
            for part in (left[: len(left) // 2], left[len(left) // 2 :]):
                _evaluate(job, model, part, methods, metrics, rows)
            return
        for name, method in methods.items():
            if (left[0][0], name) not in rows:
                _evaluate(job, model, left, {name: method}, metrics, rows)
