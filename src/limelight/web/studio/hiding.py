"""Hide parts of a picture, and see the score move."""

import time
from itertools import product
from math import prod
from statistics import mean
from typing import Any, cast

import torch

from limelight.engine.method import build
from limelight.errors import InvalidOption
from limelight.ops.arrays import floats
from limelight.ops.impute import inpaint
from limelight.ops.order import pixels_per_step, ranks
from limelight.scoring.metric import build_metric
from limelight.shapes import Images, Maps
from limelight.web.studio import told
from limelight.web.studio.asked import Request, choice, mask_of, part, target_of
from limelight.web.studio.explaining import TOP, Events
from limelight.web.studio.studio import Look, Studio

FILLS = {"blur": "gauss-51-50", "mean": "mean", "inpaint": "", "black": "black"}
"""What stands where a picture is hidden: a blur, the picture's mean colour, what the surroundings suggest, black."""


def cover(look: Look, hidden: Maps, fill: str) -> Images:
    """Return a picture of which parts are hidden, (n, c, H, W).

    x (1 - m) + b m, with the fill b; inpainted is all that is not wholly shown, m > 0.

    Args:
        look: the picture x.
        hidden: m, (n, H, W) in [0, 1].
        fill: one of ``FILLS``.
    """
    m = hidden[:, None].to(look.x)
    x = look.x.expand(len(m), -1, -1, -1)
    b = inpaint(x, hidden > 0) if fill == "inpaint" else look.images.fill(cast(Any, FILLS[fill]))
    return torch.where(m > 0, torch.lerp(x, b.expand_as(x), m), x)


def hide(studio: Studio, request: Request) -> Events:
    """Hide what is painted, or keep nothing but that, and tell the classes anew."""
    start = time.perf_counter()
    look = studio.look(request)
    target = target_of(request, look.classifier, look.logits)
    mode, fill = choice(request, "mode", ("hide", "keep"), "hide"), choice(request, "fill", FILLS, "blur")
    mask = mask_of(request, look.size).to(look.x)
    changed = cover(look, mask if mode == "hide" else 1 - mask, fill)
    logits = look.classifier(changed)
    wanted = list(dict.fromkeys([*told.likeliest(look.logits)[:TOP], target.index, *told.likeliest(logits)[:TOP]]))
    yield (
        "result",
        {
            "classes": told.tell_classes(look.classifier, logits, wanted),
            **score(look, logits, target),
            "before": score(look, look.logits, target),
            "shown": told.address(told.png(told.seen(look.classifier, changed[0]))),
            "seconds": time.perf_counter() - start,
        },
    )


def score(look: Look, logits: torch.Tensor, target: Any) -> dict[str, float]:
    """Return the target's score and its class's probability, for logits (1, classes)."""
    chances = told.probabilities_of(look.classifier, logits)
    return {
        "score": float(target.score(look.classifier, logits)),
        "probability": float(chances[0, target.index]),
    }


DRAWS = 8
"""Random choices of as large an area."""


def compare_hiding(studio: Studio, request: Request) -> Events:
    """Hide the top of a map, and as much at random: blots, as smooth as a class activation map."""
    one, fill = studio.recall(request), choice(request, "fill", FILLS, "blur")
    area = part(request, "area", float)
    if not 0 <= area <= 1:
        raise InvalidOption(f"area = {area:g}; give a share of the picture, 0 to 1")
    look = one.look
    noise = [build("random-map", seed=seed).run(look.classifier, look.x, one.target.index).map for seed in range(DRAWS)]
    places = ranks(torch.cat([one.saliency.map, *noise]))
    hidden = (places < round(area * places[0].numel())).to(look.x)
    changed = cover(look, hidden, fill)
    scores = [score(look, logits[None], one.target) for logits in look.classifier(changed)]
    chances = [s["probability"] for s in scores[1:]]
    picture = [told.address(told.png(told.seen(look.classifier, x))) for x in changed[:2]]
    yield (
        "result",
        {
            "map": scores[0] | {"shown": picture[0]},
            "random": {
                "probability": mean(chances),
                "score": mean(s["score"] for s in scores[1:]),
                "shown": picture[1],
                "low": min(chances),
                "high": max(chances),
                "n": DRAWS,
            },
            "before": score(look, look.logits, one.target),
        },
    )


def curves(studio: Studio, request: Request) -> Events:
    """Follow the class's probability while pixels leave, or come, in a map's order, and the areas of a random map.

    Both begin or end at the same fill, other than the metrics' defaults.
    """
    one, fill = studio.recall(request), choice(request, "fill", FILLS, "blur")
    if fill == "inpaint":
        raise InvalidOption(f"curves are of one fill for all steps: {', '.join(f for f in FILLS if f != 'inpaint')}")
    classifier, x, target = one.look.classifier, one.look.x, one.target.index
    maps = {"": one.saliency.map, "random_": build("random-map").run(classifier, x, target).map}
    reply: dict[str, Any] = {}
    for i, (beside, name) in enumerate(product(maps, ("deletion", "insertion"))):
        yield "progress", {"done": i, "total": 2 * len(maps)}
        number = build_metric(name, fill=FILLS[fill]).measure(classifier, x, target, maps[beside])
        reply[f"{beside}{name}_area"] = float(number.values)
        if not beside and number.curve is not None:
            reply[name] = floats(number.curve[0])
    pixels = pixels_per_step(build_metric("deletion").options.model_dump()["step"], one.look.size) / prod(one.look.size)
    yield "result", {"steps": [min(1.0, i * pixels) for i in range(len(reply["deletion"]))], **reply}
