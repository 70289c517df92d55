"""Look at pictures, and explain them."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

from limelight import __version__
from limelight.api.forecasting import BACKWARD
from limelight.engine.attention import read_attentions
from limelight.engine.method import Method, build
from limelight.errors import InvalidOption, LimelightError, UnsupportedModel
from limelight.model.classifier import Classifier
from limelight.model.cost import Meter
from limelight.model.layers import Trace
from limelight.model.one_pass import pass_images
from limelight.model.targets import Targets
from limelight.results.explanation import label_of
from limelight.results.viewer import tell_map
from limelight.shapes import Images
from limelight.web.studio import catalogue, copied, told
from limelight.web.studio.asked import Request, optional, part
from limelight.web.studio.schema import options_of
from limelight.web.studio.studio import Asked, Studio, Told

Event = tuple[Literal["progress", "partial", "result"], dict[str, Any]]
Events = Iterator[Event]

TOP = 8
MOST_TOP = 1000


def start(studio: Studio, request: Request) -> Events:
    """Tell what there is: models, methods with their options, metrics."""
    models: list[dict[str, Any]] = []
    for name in studio.models:
        yield "progress", {"text": f"loading {name}", "done": len(models), "total": len(studio.models)}
        models.append(describe(studio, name))
    yield (
        "result",
        {"version": __version__, "models": models, "methods": list_methods(), "metrics": catalogue.metrics()},
    )


def list_methods() -> list[dict[str, Any]]:
    """Return what the page says of every method, with its options."""
    return [
        entry | {"options": options_of(method := build(entry["name"])), "signed": is_signed(method)}
        for entry in catalogue.methods()
    ]


def is_signed(method: Method) -> bool:
    """Whether its raw maps may have negative values, as its docstring says."""
    said = (method.function.__doc__ or "").partition("Returns:")[2].partition("\n\n")[0]
    return "signed" in said


def describe(studio: Studio, name: str) -> dict[str, Any]:
    """Return what the page says of a model."""
    classifier = studio.classifier(name)
    x = _blank(classifier)
    seen = classifier.trace(x)
    return {
        "name": name,
        "labels": list(classifier.labels) if classifier.labels else None,
        "classes": classifier.classes(x),
        "size": list(classifier.input_size),
        "seconds_per_pass": studio.seconds_per_pass(classifier, x),
        "attention": _why_no_attention(classifier, x) == "",
        "layers": strip(seen),
        "all_layers": [layer.name for layer in seen.candidates],
    }


def strip(seen: Trace) -> list[str]:
    """Return the layers of which maps stand side by side: the last of every resolution, and all outermost blocks."""
    stages, blocks = {layer.name for layer in seen.stages}, [layer for layer in seen.candidates if layer.block]
    inner = {one.name for one in blocks if any(one.name.startswith(f"{outer.name}.") for outer in blocks)}
    chosen = stages | ({layer.name for layer in blocks} - inner)
    return [layer.name for layer in seen.candidates if layer.name in chosen]


def _blank(classifier: Classifier) -> Images:
    """Return a batch of one image of the mean colour."""
    black, _ = classifier.bounds
    return black.new_zeros(1, len(classifier.mean), *classifier.input_size)


def _why_no_attention(classifier: Classifier, x: Images) -> str:
    """Return why no token can be asked what it looks at, or ""."""
    try:
        clean = pass_images(classifier, x, Targets(), {}, layer_gradients=False, attention=True, meter=Meter())
        read_attentions(clean, "a token's attention").refuse_parts()
    except UnsupportedModel as error:
        return str(error)
    return ""


def classify(studio: Studio, request: Request) -> Events:
    """Tell a picture's classes: the likeliest, or those whose name has a text in it."""
    look, top = studio.look(request), _count(request)
    find = part(request, "find", str, "").strip().casefold()
    order = told.likeliest(look.logits)
    wanted = [i for i in order if find in label_of(look.classifier, i).casefold()]
    yield (
        "result",
        {
            "classes": told.tell_classes(look.classifier, look.logits, wanted[:top]),
            "total": len(wanted),
            "predicted": order[0],
            "seconds": studio.seconds_per_pass(look.classifier, look.x),
        },
    )


def _count(request: Request) -> int:
    top = part(request, "top", int, TOP)
    if not 1 <= top <= MOST_TOP:
        raise InvalidOption(f"top = {top}; give 1 to {MOST_TOP}")
    return top


def shown(studio: Studio, request: Request) -> Events:
    """Tell what the model sees, as a PNG."""
    look = studio.look(request)
    data = told.png(told.seen(look.classifier, look.x[0]))
    yield "result", told.file("shown.png", "image/png", data)


def prices(studio: Studio, request: Request) -> Events:
    """Tell what each method would take with its defaults; those that the model can't have are left out."""
    look = studio.look(request)
    attentive = _why_no_attention(look.classifier, look.x) == ""
    table: dict[str, dict[str, float]] = {}
    for entry in catalogue.methods():
        if entry["tokens_only"] and not attentive:
            continue
        try:
            table[entry["name"]] = price(studio, look.classifier, look.x, build(entry["name"]))
        except LimelightError:
            continue
    yield "result", {"prices": table}


def price(studio: Studio, classifier: Classifier, x: Images, method: Method) -> dict[str, float]:
    """Return how many passes a method takes, and about how many seconds."""
    classifier.refuse_methods([method], x)
    cost = method.cost(classifier, x)
    work = cost.forwards + BACKWARD * cost.backwards
    return {"passes": cost.passes, "seconds": work * studio.seconds_per_pass(classifier, x)}


SHARES = (1 / 16, 1 / 4)
"""Of a method's passes, after which its map so far is told. It begins anew each time, from the same random numbers: the
maps are those that a budget gives, and cost 5/16 of the passes more."""

DEAR = 64
"""Passes from which on there are such maps."""


def explain(studio: Studio, request: Request) -> Events:
    """Explain a picture; of methods that go on step by step, tell coarser maps first."""
    asked = studio.ask(request)
    if asked.key not in studio.kept:
        cost = price(studio, asked.look.classifier, asked.look.x, asked.method)
        yield "progress", cost
        for budgeted in _budgeted(asked):
            try:
                yield "partial", reply(asked.explain(budgeted), request) | {"final": False}
            except InvalidOption:  # less than the least that it needs
                continue
    yield "result", reply(studio.tell(asked), request) | {"final": True}


def _budgeted(asked: Asked) -> list[Method]:
    """Return the method with growing budgets, if it can have one, has none yet and takes long."""
    method = asked.method
    forwards = method.cost(asked.look.classifier, asked.look.x).forwards
    if not method.card.anytime or method.options.budget or method.options.augment != "none" or forwards < DEAR:
        return []
    budgets = [f"{math.ceil(share * forwards)} forwards" for share in SHARES]
    return [replace(method, options=method.options.model_copy(update={"budget": b})) for b in budgets]


def reply(one: Told, request: Request) -> dict[str, Any]:
    """Return what the page is told of an explanation."""
    explanation, look, target = one.explanation, one.look, one.target
    name = optional(request, "name", str)
    chances = told.probabilities_of(look.classifier, look.logits)[0]
    return {
        "key": one.key,
        "method": one.method.name,
        "title": catalogue.title_of(one.method.name),
        "model": look.model,
        "picture": look.picture,
        "target": {"class": target.index, "against": target.other, "kind": target.kind},
        "class": target.index,
        "label": explanation.label,
        "score": explanation.score,
        "probability": float(chances[target.index]),
        "map": tell_map(explanation.raw),
        "signed": bool((explanation.raw < 0).any()),
        "degenerate": explanation.degenerate,
        "reason": explanation.reason,
        "notes": list(explanation.notes),
        "seconds": explanation.seconds,
        "passes": explanation.cost.passes,
        "python": copied.python(one, name),
        "command": copied.command(one, name),
    }
