"""Gates for a user's own tests, and the sanity checks with their verdicts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image
from torch import nn

from limelight import draw
from limelight.api.evaluating import evaluate
from limelight.api.forecasting import forecast
from limelight.api.pictures import as_input
from limelight.api.targets import read_targets
from limelight.data.collect import as_sample
from limelight.engine.method import Method, as_method
from limelight.engine.run import run
from limelight.errors import CheckFailed, InvalidOption
from limelight.model.classifier import Classifier, as_classifier
from limelight.model.targets import TargetLike, accept_either_name
from limelight.progress import show_progress
from limelight.results.explanation import explanations
from limelight.results.row import Row
from limelight.results.summary import Figure
from limelight.results.tables import Results
from limelight.scoring.evaluate import as_list, label_each
from limelight.scoring.metric import Metric, as_metric, build_metric

SANITY_LIMIT = 0.5
"""Mean rank correlation up to which a map counts as changed by the loss of the weights. Unrelated maps have
about 0, the same map has 1; the literature gives no number."""


@accept_either_name
def check(
    classifier: Classifier | nn.Module | str,
    images: Any,
    method: str | Method = "grad-cam",
    metric: str | Metric = "insertion",
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    sure: bool = False,
    targets: TargetLike = None,
    truth: Any = None,
    strict: bool = False,
    progress: bool | None = None,
    target: TargetLike = None,
) -> Figure:
    """Assert in a test of your own that explanations are as good as they were.

    Args:
        classifier: as in ``evaluate``.
        images: as in ``evaluate``.
        method: name or method.
        metric: name or metric. Sanity checks have a limit of their own, ``SANITY_LIMIT``.
        at_least: the figure must not be below.
        at_most: the figure must not be above.
        sure: ask it of the figure's whole interval.
        targets: as in ``evaluate``.
        target: another name of ``targets``.
        truth: as in ``evaluate``.
        strict: as in ``evaluate``.
        progress: as in ``explain``.

    Returns:
        The figure with its interval.

    Raises:
        CheckFailed: an ``AssertionError`` that says what was asked and what was found.

    Example:
        >>> pictures = [ll.example_image(number) for number in range(2)]
        >>> figure = ll.check("demo/resnet", pictures, "grad-cam", "average-drop", at_most=0.2)  # or an AssertionError
        >>> figure.images
        2
    """
    judge = as_metric(metric)
    if at_least is None and at_most is None:
        if judge.card.family != "randomisation":
            raise InvalidOption(f"what is asked of {judge.name}? give at_least= or at_most=")
        at_most = SANITY_LIMIT
    results = evaluate(classifier, images, [method], [judge], targets, truth, strict=strict, progress=progress)
    figure: Figure = results.summary()[0]
    low, high = (figure.low, figure.high) if sure and figure.low == figure.low else (figure.mean, figure.mean)
    asked = f"at least {at_least:g}" if at_least is not None else f"at most {at_most:g}"
    fine = (at_least is None or low >= at_least) and (at_most is None or high <= at_most)
    if at_least is not None and at_most is not None:
        asked += f" and at most {at_most:g}"
    if not fine:  # also a figure that is not a number
        raise CheckFailed(
            f"{judge.name} of {figure.method} is {figure} on {figure.images} images, asked for {asked}"
            f"{' (surely)' if sure else ''}; protocol {judge.protocol}"
        )
    return figure


@dataclass(frozen=True)
class Verdict:
    """Whether a method's maps depend on what the model has learned.

    Attributes:
        method: name of the method.
        passed: whether the maps change enough.
        figure: mean similarity to the original map, with its interval.
        reason: in words.
    """

    method: str
    passed: bool
    figure: Figure
    reason: str


@accept_either_name
def sanity(
    classifier: Classifier | nn.Module | str,
    images: Any,
    methods: str | Method | Sequence[str | Method],
    *,
    mode: Literal["cascading", "independent"] = "cascading",
    limit: float = SANITY_LIMIT,
    targets: TargetLike = None,
    strict: bool = False,
    on_rows: Callable[[list[Row]], None] | None = None,
    progress: bool | None = None,
    **options: Any,
) -> tuple[list[Verdict], Results]:
    """Tell which methods' maps change when the model's weights become random.

    Args:
        classifier: as in ``evaluate``; its module is copied, never changed.
        images: as in ``evaluate``.
        methods: names or methods, or one.
        mode: all layers from the output down to one (``cascading``), or one layer at a time.
        limit: mean similarity up to which a method passes.
        targets: as in ``evaluate``.
        strict: as in ``evaluate``.
        on_rows: as in ``evaluate``.
        progress: as in ``explain``.
        options: of the metric ``sanity-cascading`` or ``sanity-independent``.

    Returns:
        A verdict on each method, and all numbers.

    Example:
        >>> verdicts, results = ll.sanity("demo/resnet", [ll.example_image()], "grad-cam")
        >>> verdicts[0].passed
        True
    """
    judge = build_metric(f"sanity-{mode}", **options)
    results = evaluate(classifier, images, methods, [judge], targets, strict=strict, on_rows=on_rows, progress=progress)
    for name, reasons in results.settings.get("left empty", {}).items():
        raise InvalidOption(f"{name} is not judged by {judge.name}, which {reasons[judge.name]}")
    verdicts: list[Verdict] = []
    summary, curves = results.summary(), results.curves(judge.name)
    for name in results.methods:
        figure = summary[name, judge.name]
        empty = float(np.mean([r.parts[f"{judge.name}.degenerate"] for r in results.rows if r.method == name]))
        passed = figure.mean <= limit
        reason = (
            f"the map changes: similarity {figure.mean:z.2f}, {curves[name][-1]:z.2f} at the last layer"
            if passed
            else f"the map stays: similarity {figure.mean:z.2f} is above {limit:g}, "
            f"{curves[name][-1]:z.2f} at the last layer"
        )
        if empty > 0:
            reason += f"; {empty:z.0%} of the maps of randomised models are empty and count as 0"
        verdicts.append(Verdict(name, passed, figure, reason))
    return verdicts, results


@accept_either_name
def sanity_strip(
    classifier: Classifier | nn.Module | str,
    image: Any,
    methods: str | Method | Sequence[str | Method],
    *,
    mode: Literal["cascading", "independent"] = "cascading",
    target: TargetLike = None,
    steps: int = 6,
    progress: bool | None = None,
    **options: Any,
) -> Image.Image:
    """Draw how each method's map of one picture changes under progressive randomisation.

    Args:
        classifier: as in ``evaluate``.
        image: as in ``compare``.
        methods: names or methods, or one; a line each.
        mode: as in ``sanity``.
        target: as in ``evaluate``.
        steps: number of randomised models shown, spread over all layers.
        progress: as in ``explain``.
        options: as in ``sanity``.

    Returns:
        A line per method: its map, then those of models that are random from ever earlier layers on.

    Raises:
        LimelightError: see ``limelight.errors``.

    Example:
        >>> ll.sanity_strip("demo/resnet", ll.example_image(), ["grad-cam", "gradient"], steps=2).mode
        'RGB'
    """
    from limelight.measures.randomisation.sanity import layer_order, randomise

    judge = build_metric(f"sanity-{mode}", **options)
    model = as_classifier(classifier)
    chosen = list(label_each([as_method(m).locate(model) for m in as_list(methods, "methods")]).items())
    sample = as_sample(image, len(model.input_size))
    x = as_input(model, sample.image)[None]
    own = judge.options.model_dump()
    names = layer_order(model, x, own["layers"])
    places: list[float] = np.linspace(0, len(names) - 1, min(steps, len(names))).tolist()
    shown = {names[round(i)] for i in places}
    with show_progress("drawing", progress) as watch:
        times = 1 + len(shown)
        watch.expect(lambda: forecast(model, x, [m for _, m in chosen], pieces=times).scale(times))
        asked = read_targets(model, [sample], target)
        first = run([m for _, m in chosen], model, x, asked)
        explained = asked if callable(asked) else first[0].target
        panels = [
            [explanations(s, model, x, name)[0].panel(title=name)] for (name, _), s in zip(chosen, first, strict=True)
        ]
        copies = randomise(model, x, own["layers"], own["reset"], judge.options.seed, keep=mode == "cascading")
        for layer, copy in copies:
            if layer not in shown:
                continue
            for line, (name, m) in zip(panels, chosen, strict=True):
                saliency = run([m], copy, x, explained)[0]
                alone = explanations(saliency, model, x, name)[0]
                title = f"{'… ' if mode == 'cascading' else ''}{layer}" if line is panels[0] else ""
                line.append(draw.Panel(alone.view(alone.usual), title, "empty" if alone.degenerate else ""))
    return draw.gallery(panels)
