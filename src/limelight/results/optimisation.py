"""Read from an explanation's details how the optimisation of its mask went."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from limelight.card import METHODS
from limelight.draw import trace
from limelight.draw.plane import Plane
from limelight.errors import InvalidOption
from limelight.ops.blur import gaussian_blur
from limelight.results.pictures import to_array

FRAMES = 60
"""Steps of an optimisation that an animation shows, at most."""

_UNITS = {"prob": "probability", "logprob": "log-probability"}
"""Scores by another name than in the options."""


def list_tracing_methods() -> list[str]:
    """Return the names of the methods that keep a trace: those that can be watched."""
    return [name for name, card in METHODS.cards().items() if "watch" in card.options]


def read_course(
    details: Mapping[str, Any],
    image: Tensor,
    plane: Plane,
    options: Mapping[str, Any],
    *,
    method: str,
    title: str,
    score: float,
    of_class: bool,
    most: int,
) -> trace.Course:
    """Return how a mask went, with at most so many steps to show.

    Args:
        details: what the method chose on the way, among them the masks of every step.
        image: what the model saw, (c, *space) in [0, 1].
        plane: how images and maps are laid out.
        options: of the method.
        method: its name.
        title: what the model saw, in words.
        score: of the whole picture.
        of_class: whether a class is explained, not a function.
        most: steps to show.

    Raises:
        InvalidOption: the method keeps no trace, or took no step.
    """
    if "trace_masks" not in details:
        raise InvalidOption(f"{method} keeps no trace; {', '.join(list_tracing_methods())} do")
    masks, scores, objective = (details[f"trace_{kind}"] for kind in ("masks", "score", "objective"))
    heading = f"{method} · {title}"
    if masks.ndim > image.ndim:
        heading += f" · the first of {len(masks)} areas"
        masks, scores, objective = masks[0], scores[0], objective[0]
    taken = masks.flatten(1).isfinite().all(1).nonzero()[:, 0]  # NaN after the last step
    if not len(taken):
        raise InvalidOption(f"{method} took no step; nothing was traced")
    steps = [int(taken[i]) for i in trace.spread_steps(len(taken), most)]
    mask = torch.nn.functional.interpolate(
        masks[steps][:, None].float(),
        image.shape[1:],
        mode=("linear", "bilinear", "trilinear")[image.ndim - 2],
        align_corners=options.get("align_corners", True),
    ).clamp(0, 1)
    hot, shown = _highlight(mask, options, method)
    picture = image[None].to(hot)
    # A blur stands for whatever the method puts in the place of the picture.
    seen = torch.lerp(picture, gaussian_blur(picture), 1 - hot if shown else hot)
    count, kind = steps[-1] + 1, options.get("score", "score")
    return trace.Course(
        image=plane.image(to_array(image)),
        shots=[
            trace.Shot(n, plane.map(to_array(h[0])), plane.image(to_array(s)))
            for n, h, s in zip(steps, hot, seen, strict=True)
        ],
        score=to_array(scores[:count]),
        objective=to_array(objective[:count]),
        whole=score,
        heading=heading,
        unit=_UNITS.get(kind, str(kind)) if of_class else "score",
        changed="shown" if shown else "taken away",
    )


def _highlight(mask: Tensor, options: Mapping[str, Any], method: str) -> tuple[Tensor, bool]:
    """Return what is highlighted of a mask, and whether the model is shown that, or all but that."""
    method = options.get("optimiser", method)
    options = {**options, **(options.get("optimiser_options") or {})}
    if method == "extremal-perturbation":  # its map is the mask, not 1 - mask
        return mask, options.get("variant") != "delete"
    return 1 - mask, options.get("game") == "insertion"
