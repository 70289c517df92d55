"""Judge explanations by metrics."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from limelight.api.forecasting import forecast
from limelight.api.further_inputs import read_further, split_inputs
from limelight.api.pictures import as_input, origin_of
from limelight.api.rounds import images_at_once, read_in_rounds
from limelight.api.targets import asked_at, read_targets
from limelight.api.truth import truth_of
from limelight.api.unreadable import Unreadable
from limelight.card import METHODS, METRICS, Cards, MetricCard
from limelight.data.collect import as_sample, as_samples
from limelight.data.images import refuse_mixed
from limelight.data.items import refuse_shuffled
from limelight.engine.method import Method, as_method, build
from limelight.engine.provenance import as_text, versions
from limelight.errors import InvalidImage, InvalidOption
from limelight.model.batches import name_out_of_memory
from limelight.model.classifier import Classifier, as_classifier
from limelight.model.targets import TargetLike, accept_either_name
from limelight.ops.space import size_of
from limelight.progress import show_progress
from limelight.results.explanation import explanations
from limelight.results.gallery import Gallery
from limelight.results.tables import Results, Row
from limelight.scoring.evaluate import as_list, columns, evaluate_batch, label_each, why_not
from limelight.scoring.metric import Metric, as_metric, build_metric
from limelight.scoring.other_maps import Judged, OtherMaps, explain_all, is_other
from limelight.scoring.truth import Truth

MethodLike = str | Method | tuple[str, Any]
"""A method, its name, or a name with maps of other origin, or with a function that makes them."""

PROTOCOLS_OF_MAPS: dict[str, dict[str, Any]] = {"adcc": {"normalize_at": "feature"}}
"""What a paper's settings ask of every map."""


def metrics() -> Cards[MetricCard]:
    """Return the card of every metric by name: family, citation, cost, direction, options, protocols.

    Printed, it is a table.

    Example:
        >>> ll.metrics()["insertion"].better, "insertion" in ll.metrics()
        ('higher', True)
    """
    return METRICS.cards()


@accept_either_name
@name_out_of_memory
def evaluate(
    classifier: Classifier | nn.Module | str,
    images: Any,
    methods: MethodLike | Sequence[MethodLike] | Mapping[str, Any] = ("grad-cam",),
    metrics: str | Metric | Sequence[str | Metric] | Mapping[str, Metric] = ("adcc", "insertion", "deletion"),
    targets: TargetLike = None,
    truth: Any = None,
    *,
    inputs: Mapping[str, Any] | None = None,
    protocol: str | None = None,
    batch_size: int | None = None,
    strict: bool = False,
    on_rows: Callable[[list[Row]], None] | None = None,
    progress: bool | None = None,
    target: TargetLike = None,
) -> Results:
    """Explain many pictures by several methods and judge every map by several metrics.

    Args:
        classifier: a ``Classifier``, a module, or a name that ``load`` knows.
        images: a folder, a csv, or whatever holds pictures (a list, an iterator, a Series): paths, PIL pictures,
            arrays, normalised tensors, ``Sample``s or synthetic ``Scene``s, which bring their truth along; or a
            tensor (n, 3, H, W) or an array (n, H, W, 3).
        methods: names or methods, or one; or methods by the name that stands in the rows. Maps of other origin are
            judged beside them, as they are: ``("captum", maps)``, a tensor, array or list with a map of the input's
            size for each picture; or a function of a batch of inputs that returns them, which may have parameters
            ``target`` (the classes, (n,)) and ``classifier``. Metrics that explain anew are empty for maps, and those
            that explain other models for a function without ``classifier``: see ``settings["left empty"]``.
        metrics: names or metrics, or one; or metrics by the name that stands in the columns.
        targets: None for the predicted class, ``"label"`` for the true one where it is known, a class, or
            one per image, or a function of the model's outputs. All metrics of an image are about that class, or take
            the function's score where else the class's probability stands. Of folders of classes and a model whose
            classes have no names, but as many, the folders are the classes in sorted order.
        target: another name of ``targets``.
        truth: masks or boxes in pixels of the network's input, see ``Truth.of``; None for what the images
            bring along.
        inputs: what the module takes beside the pictures, a row for each; as in ``explain``.
        protocol: a paper's settings for all methods and metrics given by name that have them.
        batch_size: pictures, and changed copies of them, per pass; None to fit the memory.
        strict: refuse a picture that can't be read; else it is left out, and named in a ``PictureWarning`` at the end
            and in ``settings["unreadable"]``.
        on_rows: called with the rows of each finished batch of pictures and method.
        progress: as in ``explain``.

    Returns:
        Every metric of every image and method; see ``Results.summary``.

    Raises:
        LimelightError: see ``limelight.errors``. Whatever stops an evaluation, also Ctrl-C, carries the
            ``Results`` of all that was finished in its attribute ``finished``.

    Example:
        >>> pictures = [ll.example_image(number) for number in range(2)]
        >>> results = ll.evaluate("demo/resnet", pictures, ["grad-cam", "random-map"], ["average-drop", "complexity"])
        >>> results.summary()["grad-cam", "average-drop"].rank  # 1 is best
        1
    """
    model = as_classifier(classifier)
    methods_by_name = _name_methods(methods, model, protocol)
    metrics_by_name = _name_metrics(metrics, protocol)
    expect_protocol(protocol, _own(methods_by_name), metrics_by_name.values())
    if model.inputs.of_values and isinstance(images, str | Path):
        refuse_mixed(Path(images))
    images, beside = split_inputs(model, images, inputs)
    samples = as_samples(images, len(model.input_size))
    if not samples:
        raise InvalidImage("the list of images is empty")
    model = read_further(model, beside)
    model.feed.expect(len(samples))
    asked = read_targets(model, samples, targets)
    others = [m for m in methods_by_name.values() if isinstance(m, OtherMaps) and m.given]
    if others or truth is not None:
        refuse_shuffled((s.image for s in samples), "map" if truth is None else "truth")
    given: Truth | None = None
    rows: list[Row] = []

    def finished(new_rows: list[Row]) -> None:
        rows.extend(new_rows)
        if on_rows is not None:
            on_rows(new_rows)

    def results() -> Results:
        order = {s.name: i for i, s in enumerate(samples)}
        settings = settings_of(model, methods_by_name, metrics_by_name)
        settings |= {"unreadable": dict(unreadable)} if unreadable else {}
        return Results(
            sorted(rows, key=lambda r: order[r.image]), columns(metrics_by_name, of_function=callable(asked)), settings
        )

    unreadable = Unreadable(strict)
    try:
        with show_progress("evaluating", progress) as watch:
            rounds = read_in_rounds(model, samples, images_at_once(batch_size), unreadable)
            for number, (where, known, x, masks) in enumerate(rounds):
                used = _own(methods_by_name), metrics_by_name.values()
                watch.expect(partial(forecast, model.take(slice(0, 1)), x[:1], *used, images=len(samples)))
                if number == 0:  # what is given for all of them is to fit before the work
                    for maps in others:
                        maps.check(len(samples), x[:1])
                    given = None if truth is None else Truth.of(truth, len(samples), size_of(x), torch.device("cpu"))
                if given is None:
                    there = truth_of(model, known, x, metrics_by_name.values(), masks)
                else:
                    there = Truth.of(given[torch.tensor(where)], len(where), size_of(x), x.device)
                evaluate_batch(
                    model.take(torch.tensor(where)),
                    x,
                    asked_at(asked, where),
                    {name: m.at(where) if isinstance(m, OtherMaps) else m for name, m in methods_by_name.items()},
                    metrics_by_name,
                    there,
                    [samples[i].name for i in where],
                    batch_size=batch_size,
                    on_rows=finished,
                )
    except BaseException as error:  # hours of work are not lost to one broken file or an impatient key
        setattr(error, "finished", results())  # noqa: B010
        raise
    return results()


@accept_either_name
@name_out_of_memory
def compare(
    classifier: Classifier | nn.Module | str,
    image: Any,
    methods: MethodLike | Sequence[MethodLike],
    metrics: str | Metric | Sequence[str | Metric] = ("adcc", "insertion", "deletion"),
    target: TargetLike = None,
    truth: Any = None,
    *,
    inputs: Mapping[str, Any] | None = None,
    protocol: str | None = None,
    progress: bool | None = None,
    targets: TargetLike = None,
) -> tuple[Gallery, Results]:
    """Explain one picture by many methods and judge each map, all in shared passes.

    Args:
        classifier: a ``Classifier``, a module, or a name that ``load`` knows.
        image: one, as in ``explain``, or a batch or list of one; a ``Sample`` or ``Scene`` brings its truth along.
        methods: names or methods, or one; maps of other origin as in ``evaluate``.
        metrics: names or metrics, or one; maybe none.
        target: as in ``evaluate``.
        targets: another name of ``target``.
        truth: as in ``evaluate``, for the one image.
        inputs: as in ``evaluate``, for the one image.
        protocol: as in ``evaluate``.
        progress: as in ``explain``.

    Returns:
        The gallery of the maps, and the metrics' numbers.

    Example:
        >>> gallery, results = ll.compare("demo/resnet", ll.example_image(), ["grad-cam", "eigen-cam"], "complexity")
        >>> gallery, results
        (Gallery(1 image x grad-cam, eigen-cam), Results(1 image x 2 methods x complexity))
    """
    model = as_classifier(classifier)
    chosen = _name_methods(methods, model, protocol)
    asked = as_list(metrics, "metrics") if metrics or isinstance(metrics, str) else ()
    judges = label_each([metric_under(m, protocol) for m in asked])
    expect_protocol(protocol, _own(chosen), judges.values())
    image, beside = split_inputs(model, image, inputs)
    sample = as_sample(image, len(model.input_size))
    x = as_input(model, sample.image)[None]
    model = read_further(model, beside)
    for maps in chosen.values():
        if isinstance(maps, OtherMaps):
            maps.check(1, x)
    wanted = read_targets(model, [sample], target)
    there = truth_of(model, [sample], x, judges.values()) if truth is None else Truth.of(truth, 1, size_of(x), x.device)
    with show_progress("comparing", progress) as watch:
        watch.expect(lambda: forecast(model, x, _own(chosen), judges.values()))
        saliencies = explain_all(chosen, model, x, wanted)
        origin = origin_of(model, sample.image)
        row = [
            replace(explanations(s, model, x, name)[0], **origin) for name, s in zip(chosen, saliencies, strict=True)
        ]
        rows = evaluate_batch(model, x, wanted, chosen, judges, there, [sample.name], saliencies=saliencies)
    return Gallery([row]), Results(
        rows, columns(judges, of_function=callable(wanted)), settings_of(model, chosen, judges)
    )


def _name_methods(methods: Any, model: Classifier, protocol: str | None) -> dict[str, Judged]:
    """Return the methods by the names that stand in the rows, with their layers by_name in the model."""
    if isinstance(methods, Mapping):
        named = cast(Mapping[str, Any], methods)
        by_name = {
            name: _as_judged(m if isinstance(m, str | Method) else (name, m), protocol) for name, m in named.items()
        }
    else:
        given = [methods] if is_other(methods) else as_list(methods, "methods")
        labelled: list[Judged] = [_located(_as_judged(m, protocol), model) for m in given]
        by_name = label_each(labelled)
    if not by_name:
        raise InvalidOption("no method is to be evaluated; see limelight.methods()")
    return {name: _located(m, model) for name, m in by_name.items()}


def _located(method: Judged, model: Classifier) -> Judged:
    """Return a method with its layers found in the model, so that two of one class have their own names."""
    return method.locate(model) if isinstance(method, Method) else method


def _as_judged(given: Any, protocol: str | None) -> Judged:
    return OtherMaps(*given) if is_other(given) else method_under(given, protocol)


def _own(methods: Mapping[str, Judged]) -> list[Method]:
    """Return those of our own."""
    return [m for m in methods.values() if isinstance(m, Method)]


def _name_metrics(
    metrics: str | Metric | Sequence[str | Metric] | Mapping[str, Metric], protocol: str | None
) -> dict[str, Metric]:
    """Return the metrics by the names that stand in the columns.

    Raises:
        InvalidOption: there is none.
    """
    if not isinstance(metrics, Mapping):
        metrics = label_each([metric_under(m, protocol) for m in as_list(metrics, "metrics")])
    if not metrics:
        raise InvalidOption("no metric is to be evaluated by; see limelight.metrics()")
    return {name: as_metric(m) for name, m in metrics.items()}


def method_under(method: str | Method, protocol: str | None, **options: Any) -> Method:
    """Build a method with a paper's settings where it has them; options given go before them."""
    if isinstance(method, Method) or protocol is None:
        return as_method(method, **options)
    own = {"profile": protocol} if protocol in METHODS.find(method).profiles else {}
    return build(method, **(PROTOCOLS_OF_MAPS.get(protocol, {}) | own | options))


def metric_under(metric: str | Metric, protocol: str | None, **options: Any) -> Metric:
    """Build a metric with a paper's settings where it has them; options given go before them."""
    if isinstance(metric, Metric):
        return as_metric(metric)
    own = {"protocol": protocol} if protocol in METRICS.find(metric).profiles else {}
    return build_metric(metric, **(own | options))


def expect_protocol(protocol: str | None, methods: Iterable[Method], metrics: Iterable[Metric]) -> None:
    """Refuse a protocol that none of the metrics has; without metrics, one that none of the methods has.

    Raises:
        InvalidOption: there is none.
    """
    judges, makers = list(metrics), list(methods)
    what = "metrics" if judges else "methods"
    has = [m.options.protocol for m in judges] if judges else [m.options.profile for m in makers]
    if protocol is not None and protocol not in has:
        known = sorted({p for m in judges or makers for p in m.card.profiles})
        raise InvalidOption(f"none of these {what} has a protocol {protocol!r} (they have: {', '.join(known)})")


def settings_of(model: Classifier, methods: Mapping[str, Judged], metrics: Mapping[str, Metric]) -> dict[str, Any]:
    """Return what has to be known to measure the same again, ready for JSON."""
    empty = {
        name: reasons
        for name, m in methods.items()
        if (reasons := {label: why for label, judge in metrics.items() if (why := why_not(m, judge))})
    }
    return {
        "model": model.name,
        "weights": f"sha256:{model.weights_hash()}",
        "methods": {
            name: m.options.model_dump(mode="json", fallback=as_text) if isinstance(m, Method) else {"origin": repr(m)}
            for name, m in methods.items()
        },
        "metrics": {name: m.options.model_dump(mode="json", fallback=as_text) for name, m in metrics.items()},
        "versions": versions(),
        **({"left empty": empty} if empty else {}),
    }
