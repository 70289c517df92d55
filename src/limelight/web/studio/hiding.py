"""Hide parts of a picture, and see the score move."""

import time
from typing import Any

import torch

from limelight.ops.impute import impute
from limelight.shapes import Images, Maps
from limelight.web.studio import told
from limelight.web.studio.asked import Request, choice, mask_of, target_of
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
    b: Any = impute(x, hidden <= 0) if fill == "inpaint" else look.images.fill(FILLS[fill])  # pyright: ignore[reportArgumentType]
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
    top = [
        told.probabilities_of(look.classifier, one)[0].argsort(descending=True)[:TOP].tolist()
        for one in (look.logits, logits)
    ]
    wanted = list(dict.fromkeys([*top[0], target.index, *top[1]]))
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
