"""How long it will take to explain and to evaluate, before it begins."""

import re
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch

from limelight.engine.budget import limits
from limelight.engine.method import Method
from limelight.errors import LimelightError, is_out_of_memory
from limelight.measures.randomisation.sanity import layer_order
from limelight.model.black_box import BlackBox
from limelight.model.classifier import Classifier
from limelight.model.cost import Cost
from limelight.model.outputs import numbers
from limelight.model.preserve import preserve_state
from limelight.progress import LONG, Forecast, Part
from limelight.scoring.metric import Metric
from limelight.shapes import Images

BACKWARD = 2
"""How many forward passes a backward pass takes as long as."""


def forecast(
    classifier: Classifier,
    x: Images,
    methods: Iterable[Method],
    metrics: Collection[Metric] = (),
    *,
    images: int = 1,
    most_passes: float | None = None,
    more: Iterable[Part] = (),
    pieces: int = 1,
) -> Forecast:
    """Predict passes and time of methods, and of the metrics that judge their maps.

    Args:
        classifier: the model.
        x: one of the pictures, (1, 3, H, W).
        methods: explain every picture; what one can't do, it says itself when it is asked to.
        metrics: judge every map.
        images: number of pictures of this size.
        most_passes: methods that take more are left out.
        more: other work.
        pieces: how many such pieces the whole has of which somebody will be told; if that is long, a pass is timed.
    """
    parts: list[Part] = list(more)
    costs: list[Cost] = []
    most, other = 0.0, sum(part.work for part in parts)

    def add(name: str, cost: Cost, options: tuple[str, ...], advice: str = "") -> None:
        passes = cost.n_forward + cost.n_forward_tail + cost.n_backward + cost.n_backward_tail
        work = images * (cost.forwards + BACKWARD * cost.backwards)
        parts.append(Part(name, images * passes, work, options, advice))

    with torch.inference_mode(False), torch.no_grad():
        x = classifier.to_batch(x)
        for method in methods:
            try:
                classifier.refuse_methods([method], x)
                cost = method.cost(classifier, x)
            except LimelightError:
                continue
            if most_passes is not None and cost.forwards + cost.backwards > most_passes:
                continue
            forwards, seconds = limits(method.options.budget)
            costs.append(_times(cost, min(1.0, forwards / max(cost.forwards, 1.0))))
            most += images * seconds
            add(method.name, costs[-1], _settings(method.card.cost, method.own_options, method.card.anytime))
        again = sum(costs, Cost(tail=costs[0].tail if costs else 1.0))
        explained: set[object] = set()
        for metric in metrics if costs else ():
            own, _ = metric.cost(*x.shape[2:])
            options = metric.options.model_dump()
            times = len(set(metric.reexplained_masks) - explained)
            explained |= set(metric.reexplained_masks)
            if metric.card.cost.startswith("J"):
                times = len(layer_order(classifier, x, options["layers"]))
            cost = _times(own, len(costs)) + _times(again, times)
            more_often = "explains again" if times == 1 else f"explains {times} times"
            settings = _settings(metric.card.cost, options)
            add(metric.name, cost, settings, f"{more_often}; leave it out" if times else "")
        work = sum(part.work for part in parts)
        seconds = work * _seconds(classifier, x, pieces * work) if work else 0.0
        if costs and not metrics:  # what the methods' budgets allow, and the other work
            seconds = min(seconds, most + seconds * other / max(work, 1e-9))
    return Forecast(sum(part.passes for part in parts), seconds, parts, images)


def _times(cost: Cost, times: int | float) -> Cost:
    counts = (cost.n_forward, cost.n_forward_tail, cost.n_backward, cost.n_backward_tail)
    return Cost(*(times * count for count in counts), tail=cost.tail)


def _settings(formula: str, options: Mapping[str, Any], anytime: bool = False) -> tuple[str, ...]:
    """Name the options on which a cost depends, as they are set."""
    named = dict.fromkeys(re.findall(r"[a-z_]\w*", formula))
    return (*(f"{name}={options[name]}" for name in named if name in options), *["budget=…"] * anytime)


def _seconds(classifier: Classifier, x: Images, passes: float) -> float:
    """Return the seconds of a pass per picture.

    They are those of the very first pass, which showed the layers. Where so many as slow as this take long, another one
    is timed, once, of as many pictures as fit the memory; if it runs out all the same, the first is all that is known.
    """
    classifier.trace(x)
    first = classifier.first_pass_seconds
    if passes * first < LONG or isinstance(classifier, BlackBox):  # whose passes may have a price
        return first
    kept = classifier.memo
    key = ("seconds of a pass", *x.shape)
    if key not in kept:
        at_once = min(16, classifier.at_once(x), max(1, int(passes / 100)))
        start = time.perf_counter()
        try:
            with preserve_state(classifier.module):
                one = classifier.take(slice(0, 1))  # whose further inputs serve every copy
                output = one.forward(x[:1].expand(at_once, *x.shape[1:]), watched=False)
                numbers(output, at_once, classifier.choice)[0].sum().item()  # waits for the device
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return first
        kept[key] = (time.perf_counter() - start) / at_once
    return kept[key]
