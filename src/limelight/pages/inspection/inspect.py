"""Inspect what a network relies on over a whole data set, and write what it is."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from limelight.api.forecasting import forecast
from limelight.bench.store import SETTINGS, Store
from limelight.engine.method import Method
from limelight.inspection.collect import Progress
from limelight.inspection.concepts import describe_strategies
from limelight.inspection.findings import Inspection
from limelight.inspection.inspect import TRIED, count_trials, find_strategies
from limelight.inspection.worker import Of, Source
from limelight.model.classifier import Classifier
from limelight.pages.inspection.exports import write_exports
from limelight.pages.inspection.page import write_inspection
from limelight.progress import Forecast, Part, show_progress

PAGE = "page.html"


def inspect(
    classifier: Classifier | nn.Module | str,
    images: Any,
    method: str | Method | None = None,
    *,
    out: str | Path | None = None,
    classes: Sequence[str | int] | None = None,
    of: Of | None = None,
    dataset: str = "folder",
    split: str | None = None,
    tried: int = TRIED,
    seed: int = 0,
    devices: Sequence[str] = (),
    executor: str = "local",
    workers: int | None = None,
    threads: int | None = None,
    progress: bool | None = None,
    **options: Any,
) -> Inspection:
    """Find what a network relies on over a whole data set, and prove it by changing pictures.

    All pictures are explained; the maps of each class are put in clusters, which are strategies that the network may
    have, such as a mark in a corner. The most suspicious are tried: their evidence is taken away, and put into pictures
    of other classes. What is proven is said in sentences with numbers; where nothing is, ``verdicts`` is empty.

    Args:
        classifier: a ``Classifier``, a module, or a name that ``load`` knows; a name for several devices or a cluster.
        images: pictures with their classes, as in ``evaluate``: a folder of folders, a csv, a list; or the folder of a
            data set.
        method: whose maps are looked at; None for the usual one of the network.
        out: folder for the maps, the page (``page.html``) and the tables; a run that was stopped goes on. None to keep
            nothing but what is returned.
        classes: that are looked at, by name or index; None for all.
        of: explain the class of the ``"label"``, or the ``"prediction"``; None for labels where all are known.
        dataset: name of the data set in the folder; ``"folder"`` for pictures of your own.
        split: of the data set.
        tried: strategies of each class that are tried, beside the whole class and groups by what lies beside objects.
        seed: of all that is drawn.
        devices: where models run; several work side by side.
        executor: ``"local"``, or ``"ray"`` for a cluster.
        workers: of the cluster; None for as many as fit.
        threads: of the processor for each worker.
        progress: whether it is shown how far the pictures are; None where somebody looks.
        options: of the method.

    Returns:
        Verdicts, strategies and classes; pictures that can't be read are in ``progress.unreadable``.

    Raises:
        LimelightError: see ``limelight.errors``.

    Example:
        >>> from limelight.data.synthetic import test_split
        >>> inspection = ll.inspect("demo/hans", test_split(2))
        >>> inspection.verdicts, inspection.classes[0].note
        ((), 'strategies take 5 maps that say where the network looks, and it has 2')
    """
    source = Source(classifier, images, method, options, of, dataset, split, threads=threads)
    with show_progress("inspecting", progress) as watch:
        return inspect_source(
            source,
            out,
            devices=devices,
            executor=executor,
            on_forecast=lambda expected: watch.expect(lambda: expected),
            classes=classes,
            tried=tried,
            seed=seed,
            workers=workers,
        )


def inspect_source(
    source: Source,
    out: str | Path | None = None,
    *,
    limit: int | None = None,
    devices: Sequence[str] = (),
    executor: str = "local",
    on_forecast: Callable[[Forecast], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_class: Callable[[str, int, int], None] | None = None,
    on_strategy: Callable[[str, int, int], None] | None = None,
    seed: int = 0,
    **settings: Any,
) -> Inspection:
    """Do it, and write the page and the tables if there is a folder for them.

    Args:
        source: what is inspected.
        out: folder for what is written.
        limit: take so many pictures, evenly spread.
        devices: where models run.
        executor: ``local``, or ``ray``.
        on_forecast: called with how long it will take, but where a run goes on.
        on_progress: see ``collect_maps``.
        on_class: see ``find_strategies``.
        on_strategy: see ``describe_strategies``.
        seed: of all that is drawn.
        settings: see ``find_strategies`` and ``collect_maps``.
    """
    given = source
    worker = source.worker(*devices[:1])
    if limit is not None:
        count = min(limit, len(worker.samples))
        samples = [worker.samples[i * len(worker.samples) // count] for i in range(count)]
        source = replace(source, images=samples, dataset="folder", split=None)
    if executor == "local" and len(devices) < 2:
        source = replace(source, model=worker.model)  # which is loaded once
    if on_forecast is not None and (out is None or not (Path(out) / SETTINGS).exists()):
        images, tried = min(limit or len(worker.samples), len(worker.samples)), settings.get("tried", TRIED)
        passes = count_trials(worker, images, settings.get("classes"), tried)
        more = [Part("trials", passes, passes, (f"tried={tried}",))]
        on_forecast(forecast(worker.model, worker.first[None], [worker.method], images=images, more=more))
    del worker
    inspection = find_strategies(
        source,
        out,
        devices=devices,
        executor=executor,
        on_progress=on_progress,
        on_class=on_class,
        seed=seed,
        **settings,
    )
    inspection = describe_strategies(inspection, seed, on_strategy)
    if out is not None:
        _note_source(given, inspection.worker.method, Store(out))
        write_exports(inspection, Path(out))
        write_inspection(inspection, Path(out) / PAGE)
    return inspection


def _note_source(source: Source, method: Method, store: Store) -> None:
    """Keep where the pictures are, and how the network was loaded, so that the page can be played with."""
    named = isinstance(source.images, str | Path)
    store.note(
        {
            **store.notes,
            "source": str(Path(source.images).absolute()) if named else None,
            "dataset": source.dataset,
            "split": source.split,
            "model": source.model if isinstance(source.model, str) else None,
            "load": {name: value for name, value in source.load.items() if name != "trust"},
            "options": method.options.model_dump(mode="json", exclude_defaults=True),
        }
    )
