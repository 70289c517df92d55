"""How far explanations can be trusted: metrics, beside maps that know nothing, and maps of networks that forgot."""

import time
from collections.abc import Iterator
from functools import reduce
from operator import add
from typing import Any

from limelight.api import evaluate as evaluate_pictures
from limelight.card import METHODS, METRICS
from limelight.data.samples import Sample
from limelight.engine.method import Method, build
from limelight.engine.saliency import Saliency
from limelight.errors import InvalidImage, InvalidOption, NonFinite
from limelight.measures.randomisation.sanity import layer_order, randomise
from limelight.ops import resize
from limelight.ops.similarity import spearman
from limelight.results.comparison import SAME
from limelight.results.summary import Figure
from limelight.results.tables import Results
from limelight.results.viewer import tell_map
from limelight.scoring.evaluate import evaluate_batch
from limelight.scoring.metric import build_metric
from limelight.web.studio import told
from limelight.web.studio.asked import Request, names, part
from limelight.web.studio.catalogue import metrics as known_metrics
from limelight.web.studio.catalogue import title_of
from limelight.web.studio.explaining import Events
from limelight.web.studio.studio import Studio, Told

JUDGES = ("adcc", "coherency", "complexity", "average-drop", "insertion", "deletion")
"""ADCC, its parts, and the two curves' areas."""

BESIDE = {"random": "random-map", "centre": "centre-map"}
"""Maps that know nothing of the network, which stand beside every other."""

DEPTHS = 3
"""Networks with random layers, from the last one to all."""

MOST_PICTURES = 200


def trust(studio: Studio, request: Request) -> Events:
    """Measure a map, a random one and one of the centre; and explain networks that have forgotten more and more."""
    one = studio.recall(request)
    total, values = 1 + len(BESIDE) + DEPTHS, dict[str, dict[str, float | None]]()
    for name, method in {"": one.method, **{k: build(v) for k, v in BESIDE.items()}}.items():
        yield "progress", {"done": len(values), "total": total}
        values[name] = _measure(one, method, one.saliency if not name else None)
    strip: list[dict[str, Any]] = []
    for step in _forget(one):
        yield "progress", {"done": len(values) + len(strip), "total": total}
        strip.append(step)
    yield "result", {"metrics": [_row(judge, values, one) for judge in JUDGES], "sanity": strip}


def _measure(one: Told, method: Method, saliency: Saliency | None) -> dict[str, float | None]:
    """Return the numbers of a method's map of the picture, of which some are not defined."""
    classifier, x, target = one.look.classifier, one.look.x, one.target.like
    known, judges = saliency or method.run(classifier, x, target), {name: build_metric(name) for name in JUDGES}
    methods, picture = {method.name: method}, [one.look.picture]
    (row,) = evaluate_batch(classifier, x, target, methods, judges, None, picture, saliencies=[known])
    return {name: told.number(value) for name, value in row.values.items()}


def _row(judge: str, values: dict[str, dict[str, float | None]], one: Told) -> dict[str, Any]:
    bounded = one.target.other is None  # a difference of scores has no bounds
    card, own = METRICS.find(judge), {name: numbers[judge] for name, numbers in values.items()}
    return {
        "name": judge,
        "title": title_of(judge),
        "summary": card.summary,
        "value": own[""],
        "better": card.better,
        "low": card.low if bounded else None,
        "high": card.high if bounded else None,
        **{name: {"value": own[name]} for name in BESIDE},
        "text": "; ".join(_verdict(own[""], own[name], card.better, title_of(BESIDE[name])) for name in BESIDE),
    }


def _verdict(value: float | None, other: float | None, better: str, than: str) -> str:
    """Say whether a map is better than one that knows nothing."""
    what = f"better than a {than.lower()}"
    if value is None or other is None:
        return f"{what}: not defined here"
    ahead = value > other if better == "higher" else value < other
    return f"{what}: {'yes' if ahead else 'no'} ({value:z.2f} and {other:z.2f})"


def _forget(one: Told) -> Iterator[dict[str, Any]]:
    """Yield the maps of networks of which more and more layers are random, from the last one down to all.

    The correlation is that of ranks of absolute values, as ``sanity-cascading`` has it; a map that stays the same does
    not depend on what was learned.
    """
    classifier, x = one.look.classifier, one.look.x
    own = build_metric("sanity-cascading")
    options = own.options.model_dump()
    order = layer_order(classifier, x, options["layers"])
    wanted = {order[round(i * (len(order) - 1) / (DEPTHS - 1))] for i in range(DEPTHS)}
    original = resize(one.saliency.raw, one.saliency.finish.size)
    for layer, copy in randomise(classifier, x, options["layers"], options["reset"], own.options.seed, keep=True):
        if layer not in wanted:
            continue
        try:
            other = one.method.run(copy, x, one.target.like)
            raw = resize(other.raw, other.finish.size)
            alike = told.number(spearman(original.abs(), raw.abs())) or 0.0  # an empty map is like none
            yield {"layer": layer, "map": tell_map(other.raw[0]), "correlation": alike}
        except NonFinite:  # the network itself overflows
            yield {"layer": layer, "map": None, "correlation": 0.0}


def evaluate(studio: Studio, request: Request) -> Events:
    """Measure methods on many pictures, one after the other, beside maps that know nothing."""
    classifier = studio.classifier(part(request, "model", str))
    pictures, methods = names(request, "pictures"), [*names(request, "methods"), *BESIDE.values()]
    judges = names(request, "metrics")
    if len(pictures) > MOST_PICTURES:
        raise InvalidOption(f"{len(pictures)} pictures; give {MOST_PICTURES} at most")
    if unknown := next((m for m in judges if m not in [known["name"] for known in known_metrics()]), None):
        METRICS.find(unknown)  # says what is near
        raise InvalidOption(f"{unknown} needs to know where the evidence lies, which nobody says here")
    chosen = [METHODS.find(m).name for m in dict.fromkeys(methods)]
    start, results, unread = time.perf_counter(), list[Results](), dict[str, str]()
    for i, picture in enumerate(pictures):
        left = (time.perf_counter() - start) / i * (len(pictures) - i) if i else None
        yield "progress", {"done": i, "total": len(pictures), "seconds_left": left}
        try:
            sample = Sample(studio.path(picture), picture)
            results.append(evaluate_pictures(classifier, [sample], chosen, judges, progress=False))
        except InvalidImage as error:
            unread[picture] = str(error)
    if not results:
        raise InvalidImage(f"none of {len(pictures)} pictures can be read: {next(iter(unread.values()))}")
    yield "result", {"rows": _figures(reduce(add, results)), "unread": unread}


def _figures(results: Results) -> list[dict[str, Any]]:
    """Return what is to be said of each method by each metric."""
    summary = results.summary()
    return [
        {
            "method": figure.method,
            "metric": figure.metric,
            "value": told.number(figure.mean),
            "low": told.number(figure.low),
            "high": told.number(figure.high),
            "n": figure.images,
            "best": figure.rank == 1,
            "like_best": figure.like_best,
            "text": _place(figure, [f for f in summary if f.metric == figure.metric]),
        }
        for figure in summary
    ]


def _place(figure: Figure, all_methods: list[Figure]) -> str:
    """Say in words where a method stands among all by one metric."""
    if told.number(figure.mean) is None:
        return "not defined for these pictures"
    if figure.rank > 1:
        return f"{SAME} from the best" if figure.like_best else "worse than the best"
    rivals = [other.method for other in all_methods if other.like_best and other.method != figure.method]
    return f"best, {SAME} from {', '.join(rivals)}" if rivals else "best"
