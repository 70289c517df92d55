"""Choose a method: race several on the user's own model and pictures, and recommend one."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from torch import nn

from limelight import api
from limelight.api.forecasting import forecast
from limelight.api.pictures import first_input
from limelight.api.rounds import images_at_once
from limelight.api.targets import read_targets
from limelight.bench.candidates import add_floor, build_candidates, find_unsuitable
from limelight.bench.choice import Choice, Round
from limelight.bench.comparison import FIRST
from limelight.bench.pictures import Pictures
from limelight.bench.race import Race
from limelight.bench.recommendation import recommend, recommend_unfinished
from limelight.engine.budget import limits
from limelight.engine.method import Method
from limelight.errors import InvalidImage, InvalidOption
from limelight.model.classifier import Classifier
from limelight.model.targets import TargetLike, accept_either_name
from limelight.progress import Forecast, show_progress
from limelight.scoring.evaluate import as_list, label_each
from limelight.scoring.metric import Metric, as_metric


@accept_either_name
def choose(
    classifier: Classifier | nn.Module | str,
    images: Any,
    methods: Literal["quick", "all"] | Sequence[str | Method] | None = None,
    metric: str | Metric | Sequence[str | Metric] = "adcc",
    targets: TargetLike = None,
    *,
    budget: str | None = None,
    alpha: float = 0.05,
    first: int = FIRST,
    seed: int = 0,
    batch_size: int | None = None,
    strict: bool = False,
    on_round: Callable[[Round], None] | None = None,
    on_rows: Callable[[int, int], None] | None = None,
    options: Mapping[str, Any] | None = None,
    progress: bool | None = None,
    target: TargetLike = None,
) -> Choice:
    """Race methods on your own model and pictures, and recommend one.

    Of those that are not distinguishable from the best, the cheapest is recommended: the fewest passes per explanation,
    and at about equal cost (``SAME_COST``) the better figure. The methods of ``FLOOR``, which know nothing of the
    picture, run along: a caution says where the recommended one is not clearly better than they are.

    Args:
        classifier: a ``Classifier``, a module, or a name that ``load`` knows.
        images: as in ``evaluate``.
        methods: names or methods; None for ``USUAL``, ``"quick"`` for all up to 100 passes per picture, ``"all"``; of
            these three, methods that don't suit the model are left out.
        metric: name or metric, or several: the first decides.
        targets: as in ``evaluate``.
        target: another name of ``targets``.
        budget: of the whole race, explaining and judging: ``"5000 forwards"`` (backward passes count too) or
            ``"60 s"``. The last round takes as many pictures as it still pays for.
        alpha: chance at most that the truly best method is dropped.
        first: pictures of the first round at least.
        seed: of the order of the pictures, and of the permutations.
        batch_size: as in ``evaluate``.
        strict: as in ``evaluate``; pictures that are left out are in ``unreadable``.
        on_round: called after each round.
        on_rows: called with the number of explanations that are judged, and of those that there may be in all.
        options: of all methods given by name.
        progress: as in ``explain``.

    Raises:
        LimelightError: see ``limelight.errors``; ``InvalidOption`` where a budget does not pay for the first round.
            Whatever stops a race, also Ctrl-C, carries the ``Choice`` from what was finished in its attribute
            ``finished`` (None if that is too little).

    Example:
        >>> pictures = [ll.example_image(number) for number in range(3)]
        >>> choice = ll.choose("demo/resnet", pictures, ["grad-cam", "eigen-cam"], metric="complexity")
        >>> choice.recommended in ("grad-cam", "eigen-cam"), choice.pictures
        (True, 3)
    """
    _check_settings(budget, alpha, first, batch_size)
    metrics = label_each([as_metric(m) for m in as_list(metric, "metrics")])
    chosen = build_candidates(methods, options or {})
    model, samples = api.as_classifier(classifier), api.as_samples(images)
    if not samples:
        raise InvalidImage("the list of images is empty")
    asked = read_targets(model, samples, targets)
    left_out = find_unsuitable(methods, model, samples, asked, chosen, progress)
    racing = add_floor(model, chosen, left_out)
    pictures = Pictures(model, samples, asked, seed=seed, strict=strict)
    race = Race(
        model, pictures, racing, metrics, first=first, alpha=alpha, seed=seed, batch_size=batch_size, on_rows=on_rows
    )
    try:
        with show_progress("racing", progress) as watch:
            watch.expect(lambda: _forecast(race, budget))
            stopped = race.run(budget, on_round)
        pictures.unreadable.tell(race.seen + len(pictures.unreadable))
    except BaseException as error:  # hours of work are not lost to one broken file or an impatient key
        setattr(error, "finished", recommend_unfinished(race, left_out, error))  # noqa: B010
        raise
    return recommend(race, left_out, stopped)


def _check_settings(budget: str | None, alpha: float, first: int, batch_size: int | None) -> None:
    """Refuse settings of a race that make no sense, before anything is loaded."""
    if not 0 < alpha < 1:
        raise InvalidOption(f"alpha = {alpha}; it lies between 0 and 1")
    if first < 1:
        raise InvalidOption(f"first = {first}; at least 1 picture")
    images_at_once(batch_size)  # refuses a batch of none
    most = limits(budget)
    if budget is not None and (min(most) == math.inf or min(most) <= 0):
        raise InvalidOption(f'a budget of {budget!r}: it is "5000 forwards" or "60 s", for the whole race')


def _forecast(race: Race, budget: str | None) -> Forecast:
    """Return what the race takes if nothing is dropped."""
    samples = race.pictures.samples
    x = first_input(race.model, (s.image for s in samples))[None]
    most = forecast(race.model, x, race.methods.values(), race.metrics.values(), images=len(samples))
    passes, seconds = limits(budget)
    share = min(1.0, passes / max(most.passes, 1.0), seconds / max(most.seconds, 1e-9))
    return replace(most.scale(share), at_most=True)
