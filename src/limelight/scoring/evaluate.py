"""Explain a batch by several methods and judge every map by several metrics, with shared passes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

import torch

from limelight.engine.method import Method
from limelight.engine.saliency import Saliency
from limelight.errors import InvalidOption, show
from limelight.model.classifier import Classifier
from limelight.model.targets import TargetLike, Targets
from limelight.ops.arrays import floats, integers, rows
from limelight.results.explanation import label_of
from limelight.results.row import TERMS
from limelight.results.tables import Column, Row
from limelight.scoring.image_batch import ImageBatch
from limelight.scoring.map_batch import MapBatch
from limelight.scoring.measured import Measured
from limelight.scoring.metric import Metric, measure
from limelight.scoring.other_maps import Judged, OtherMaps, explain_all
from limelight.scoring.truth import Truth
from limelight.shapes import Images

Named = TypeVar("Named", Method, Metric)
Labelled = TypeVar("Labelled", Method, Metric, Judged)


def evaluate_batch(
    classifier: Classifier,
    x: Images,
    target: TargetLike,
    methods: Mapping[str, Judged],
    metrics: Mapping[str, Metric],
    truth: Truth | None,
    names: Sequence[str],
    *,
    batch_size: int | None = None,
    saliencies: Sequence[Saliency] | None = None,
    on_rows: Callable[[list[Row]], None] | None = None,
) -> list[Row]:
    """Return a row per image and method.

    One pass over the clean images serves all methods that can share it, and all metrics; the ends of the
    curves are the same for all methods; the masked image is passed once for all metrics of a method.

    Args:
        classifier: the model.
        x: normalised images, (n, c, *space).
        target: see ``Method.run``.
        methods: by the name that stands in the rows.
        metrics: by the name that stands in the rows.
        truth: where the evidence should lie.
        names: of the images.
        batch_size: inputs per pass, of methods that have no such option of their own too; None to fit the memory.
        saliencies: what the methods gave, if they have been run.
        on_rows: called with each method's rows when they are finished.
    """
    with torch.inference_mode(False), torch.no_grad():
        x = classifier.to_batch(x)
        methods = {name: _limit_batch(method, batch_size) for name, method in methods.items()}
        targets = Targets.parse(target, classifier, x)
        if saliencies is None:
            saliencies = explain_all(methods, classifier, x, targets)
        own = [s for s, m in zip(saliencies, methods.values(), strict=True) if isinstance(m, Method)]
        known = own[0].probability if own else None
        targets = replace(targets, index=saliencies[0].target)
        batch = ImageBatch(classifier, x, targets, truth, probability=known, batch_size=batch_size)
        again = {pair for m in metrics.values() for pair in m.reexplained_masks}
        by_method: list[list[Row]] = []
        for (name, method), saliency in zip(methods.items(), saliencies, strict=True):
            map_batch = MapBatch(batch, saliency.map, saliency=saliency, method=method, reexplained_masks=again)
            numbers = {label: _measure(metric, map_batch, method) for label, metric in metrics.items()}
            if isinstance(method, OtherMaps):
                saliency = replace(saliency, probability=batch.clean_score("prob"))
            rows_of = _rows(name, saliency, numbers, classifier, names)
            by_method.append(
                [replace(r, calls=torch.nan) for r in rows_of] if isinstance(method, OtherMaps) else rows_of
            )
            if on_rows is not None:
                on_rows(by_method[-1])
    return [row for image in zip(*by_method, strict=True) for row in image]


def why_not(method: Judged, metric: Metric) -> str:
    """Return why a metric can't be measured of maps of other origin, or ""."""
    return method.why_not(metric.card.needs) if isinstance(method, OtherMaps) else ""


def _measure(metric: Metric, map_batch: MapBatch, method: Judged) -> Measured:
    """Apply a metric to one method's maps; what can't be measured of maps of other origin is NaN."""
    if not why_not(method, metric):
        return measure(metric, map_batch, has_method=True)
    nothing = torch.full((len(map_batch.maps),), torch.nan)
    return Measured(nothing, dict.fromkeys(TERMS.get(metric.pooling, ()), nothing))


def _limit_batch(method: Judged, batch_size: int | None) -> Judged:
    if batch_size is None or isinstance(method, OtherMaps) or method.options.batch_size is not None:
        return method
    return replace(method, options=method.options.model_copy(update={"batch_size": batch_size}))


def _rows(
    method: str, saliency: Saliency, numbers: Mapping[str, Measured], classifier: Classifier, names: Sequence[str]
) -> list[Row]:
    values = {label: floats(m.values) for label, m in numbers.items()}
    parts = {f"{label}.{k}": floats(v.cpu().double()) for label, m in numbers.items() for k, v in m.parts.items()}
    curves = {label: rows(m.curve) for label, m in numbers.items() if m.curve is not None}
    spent = {label: m.cost.forwards + m.cost.backwards for label, m in numbers.items()}
    probability, target = floats(saliency.probability), integers(saliency.target)
    return [
        Row(
            image=image,
            method=method,
            target=target[i],
            label=label_of(classifier, target[i], saliency),
            probability=probability[i],
            reason=saliency.reasons[i],
            seconds=saliency.seconds,
            forwards=saliency.cost.forwards,
            backwards=saliency.cost.backwards,
            calls=saliency.cost.calls,
            values={label: v[i] for label, v in values.items()},
            parts={label: v[i] for label, v in parts.items()},
            spent=spent,
            curves={label: v[i] for label, v in curves.items()},
        )
        for i, image in enumerate(names)
    ]


def columns(metrics: Mapping[str, Metric], *, of_function: bool = False) -> dict[str, Column]:
    """Return what the metrics' numbers are; those of a target function are not to be mixed with those of classes."""
    end = "/function" if of_function else ""
    return {label: Column(m.name, m.protocol + end, m.better, m.pooling) for label, m in metrics.items()}


def as_list(given: str | Named | Sequence[str | Named], what: str) -> Sequence[str | Named]:
    """Return a list of names, methods or metrics, also for one that is given alone.

    Args:
        given: one, or several.
        what: they are, for the message.

    Raises:
        InvalidOption: it is neither, or empty.
    """
    if isinstance(given, str | Method | Metric):
        return [given]
    if not isinstance(cast(Any, given), Iterable):
        raise InvalidOption(f"{what} = {show(given)}; give a name or a list of them, see limelight.{what}()")
    listed = list(given)
    if not listed:
        raise InvalidOption(f"the list of {what} is empty; see limelight.{what}()")
    return listed


def label_each(given: Sequence[Labelled]) -> dict[str, Labelled]:
    """Name each by its plain name, or by all its options where the plain name would stand twice.

    Raises:
        InvalidOption: the very same is given twice.
    """
    names = [g.name for g in given]
    labels = [g.name if names.count(g.name) == 1 else repr(g) for g in given]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise InvalidOption(f"{twice} is given twice")
    return dict(zip(labels, given, strict=True))
