"""Read the scores of a run from its folder."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from limelight.bench.cell import name_of_part
from limelight.bench.recipe import Recipe
from limelight.bench.store import Store
from limelight.errors import CorruptStore, InvalidOption
from limelight.files import arrow, refusing
from limelight.pages.scores.model import Booleans, Failure, Floats, Integers, ModelScores
from limelight.pages.scores.word_column import WordColumn, encode, order_like
from limelight.results.row import TERMS, Column
from limelight.scoring.evaluate import columns

_READ = (
    *("image", "model", "method", "metric", "value", "target", "reason"),
    *("seconds", "forwards", "backwards", "calls", "spent"),
)
_WORDS = ("image", "model", "method", "metric", "error", "reason")


def columns_read(recipe: Recipe) -> list[str]:
    """Return the columns of a run's rows that ``read_scores`` reads."""
    pooled = any(c.pooling in TERMS for c in columns(recipe.metrics_by_label).values())
    return [*_READ, "error", *(["parts"] if pooled else [])]


def read_scores(
    store: Store, recipe: Recipe, table: Any = None
) -> tuple[list[ModelScores], list[ModelScores], list[Failure]]:
    """Read the scores of each model, those on each of several data sets, and what failed.

    Args:
        store: the run's folder.
        recipe: what was measured.
        table: the rows, if they are read already, with ``columns_read``.

    Raises:
        CorruptStore: a file is damaged.
        InvalidOption: there are no rows.
    """
    metrics = columns(recipe.metrics_by_label)
    table = store.table(columns_read(recipe)) if table is None else table
    if not len(table):
        raise InvalidOption(f"the run in {store.folder} has no rows yet; `limelight benchmark` measures them")
    words = {name: encode(table[name]) for name in _WORDS}
    known = {"model": recipe.models.names, "method": [m.label or m.name for m in recipe.methods], "metric": metrics}
    for what, names in known.items():
        column = words[what]
        strange = {column.words[int(i)] for i in np.unique(column.codes)} - {*names}
        if strange:
            raise CorruptStore(f"the rows in {store.folder} have a {what} {min(strange)!r}, its settings have not")
    failed, model = words["error"].nonempty, words["model"]
    models: list[ModelScores] = []
    apart: list[ModelScores] = []
    failures: list[Failure] = []
    for number in order_like(model.words, recipe.models.names):
        name, rows = model.words[number], model.codes == number
        if (rows & ~failed).any():
            with refusing(CorruptStore, f"the rows in {store.folder} are not of its settings"):
                models.append(_read_model(name, table, words, np.flatnonzero(rows & ~failed), recipe, metrics))
                for part in filter(None, recipe.parts):
                    own = np.flatnonzero(rows & ~failed & _of_part(words["image"], part))
                    if len(own):
                        apart.append(_read_model(name_of_part(name, part), table, words, own, recipe, metrics))
        failures += _read_failures(name, words, np.flatnonzero(rows & failed))
    del table
    _release_memory()
    return models, apart, failures


def _of_part(image: WordColumn, part: str) -> Booleans:
    """Return which rows are of a picture of one of several data sets."""
    return np.array([word.startswith(f"{part}/") for word in image.words], dtype=np.bool_)[image.codes]


def _read_model(
    model: str, table: Any, words: dict[str, WordColumn], rows: Integers, recipe: Recipe, known: dict[str, Column]
) -> ModelScores:
    """Return the scores that stand in some rows, which are all of one model."""
    labels = [entry.label or entry.name for entry in recipe.methods]

    def numbers(name: str) -> Any:
        return table[name].to_numpy()[rows]

    image, images = words["image"].place(rows, None)
    method, methods = words["method"].place(rows, labels)
    metric, metrics = words["metric"].place(rows, list(known))
    shape = len(metrics), len(methods), len(images)
    values, there = np.full(shape, np.nan), np.zeros(shape, dtype=np.bool_)
    values[metric, method, image] = numbers("value")
    there[metric, method, image] = True
    targets, empty = np.full(len(images), -1), np.zeros(shape[1:], dtype=np.bool_)
    targets[image] = numbers("target")
    reasons = words["reason"].nonempty[rows]
    empty[method[reasons], image[reasons]] = True
    terms: dict[str, Floats] = {}
    for number, name in enumerate(metrics):
        if known[name].pooling in TERMS:
            wanted = TERMS[known[name].pooling]
            pooled = np.flatnonzero(metric == number)
            parts: list[dict[str, float]] = [
                json.loads(text) if text else {} for text in table["parts"].take(rows[pooled]).to_pylist()
            ]
            terms[name] = np.full((*shape[1:], len(wanted)), np.nan)
            terms[name][method[pooled], image[pooled]] = [[part.get(t, np.nan) for t in wanted] for part in parts]
    cell = metric * len(methods) + method
    return ModelScores(
        model=model,
        methods=methods,
        columns={name: known[name] for name in metrics},
        images=images,
        values=values,
        there=there,
        terms=terms,
        targets=targets,
        classes=_tell_apart(targets, images, [part for part in recipe.parts if part]),
        empty=empty,
        seconds=_mean_by(method, numbers("seconds"), len(methods)),
        passes=_mean_by(method, numbers("forwards") + numbers("backwards"), len(methods)),
        calls=_mean_by(method, numbers("calls"), len(methods)),
        spent=_mean_by(cell, numbers("spent"), shape[0] * shape[1]).reshape(shape[:2]),
    )


def _tell_apart(targets: Integers, images: Sequence[str], parts: Sequence[str]) -> Integers:
    """Number the classes of several data sets, of which each has a first one; of one they stay as they are."""
    if not parts:
        return targets
    own = [next(i for i, part in enumerate(parts) if name.startswith(f"{part}/")) for name in images]
    return np.unique(np.stack([own, targets], 1), axis=0, return_inverse=True)[1].ravel()


def _mean_by(group: Integers, values: Floats, groups: int) -> Floats:
    """Return the mean of each group's values; NaN where it has none."""
    count = np.bincount(group, minlength=groups)
    return np.bincount(group, values, groups) / np.where(count, count, np.nan)


def _read_failures(model: str, words: dict[str, WordColumn], rows: Integers) -> list[Failure]:
    """Return the errors that stand in some rows of a model, by method and text."""
    method, error, image = (words[name].codes[rows] for name in ("method", "error", "image"))
    failures: list[Failure] = []
    for pair in np.unique(np.stack([method, error], 1), axis=0):
        same = (method == pair[0]) & (error == pair[1])
        images = sorted(words["image"].words[int(i)] for i in np.unique(image[same]))
        names = words["method"].words[int(pair[0])], words["error"].words[int(pair[1])]
        failures.append(Failure(model, *names, images, int(same.sum())))
    return failures


def _release_memory() -> None:
    """Give the memory of tables that are gone back, which Arrow would keep for more of them."""
    pyarrow, _ = arrow()
    pyarrow.default_memory_pool().release_unused()
