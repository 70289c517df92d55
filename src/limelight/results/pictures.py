"""Draw an explanation: its map with both signs, and the maps of which it is made."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from limelight import draw
from limelight.card import METHODS
from limelight.draw.plane import Plane
from limelight.engine.saliency import Finish
from limelight.errors import InvalidOption

LONGEST_LINE = 6
"""Pictures side by side before a gallery of one image goes on in the next line."""

PARTS = ("masks", "cluster_maps", "sections")
"""Details that hold the maps of which a map is made, (parts, h, w), NaN where there is none."""
SECTIONS = ("positive section", "negative section")
"""What the two parts of relevance that was stopped at a layer are."""


def to_array(values: Tensor) -> Any:
    """Return a tensor as an array of float32."""
    return values.detach().float().cpu().numpy()


def wrap(panels: Sequence[draw.Panel], width: int = LONGEST_LINE) -> list[Sequence[draw.Panel]]:
    """Break a line of pictures into lines of at most ``width``."""
    return [panels[start : start + width] for start in range(0, len(panels), width)]


def draw_parts(
    details: Mapping[str, Any],
    image: Tensor,
    finish: Finish,
    plane: Plane,
    *,
    method: str,
    layers: Sequence[str],
    masked: bool = False,
) -> list[draw.Panel]:
    """Draw the maps of which a map is made, by falling score; base and scissors are framed.

    Args:
        details: what the method chose on the way.
        image: what the model saw, (c, *space) in [0, 1].
        finish: how the method's map is finished.
        plane: how images and maps are laid out.
        method: its name.
        layers: that were explained.
        masked: draw the picture under each map, dark where the map is low, instead of the map over the picture.

    Raises:
        InvalidOption: the method keeps no such maps.
    """
    maps = next((details[name] for name in PARTS if name in details), None)
    if maps is None:
        raise InvalidOption(f"{method} keeps no parts; {_who_keeps_parts()}")
    order = [i for i in range(len(maps)) if bool(torch.isfinite(maps[i]).all())]
    worth = next((name for name in ("scores", "mic", "weights") if name in details), None)
    if worth:
        value = details[worth]
        order = sorted((i for i in order if bool(torch.isfinite(value[i]))), key=lambda i: -float(value[i]))
    finish = replace(finish, relu=False, normalize_at="input")  # as masks are made: also of layers below 0
    panels: list[draw.Panel] = []
    for i in order:
        roles = [role for role in ("base", "scissors") if role in details and int(details[role]) == i]
        mask = finish(maps[i][None])[0][0].to(image)
        if masked:
            picture = Image.fromarray(plane.image(to_array(image * mask)))
        else:
            picture = draw.overlay(plane.image(to_array(image)), plane.map(to_array(mask)))
        caption = f"{worth.rstrip('s')} {float(details[worth][i]):z.3g}" if worth else ""
        title = SECTIONS[i] if "sections" in details else f"part {i + 1}"
        if "mask_layer" in details:
            title = layers[int(details["mask_layer"][i])]
        if "mask_group" in details:
            title += f", group {int(details['mask_group'][i]) + 1}"
            caption = f"weight {float(details['weights'][i]):z.3f} · {caption}"
        panels.append(draw.Panel(picture, " and ".join(roles) or title, caption, frame=bool(roles)))
    return panels


def _who_keeps_parts() -> str:
    """Say which methods keep parts, and when."""
    cards = METHODS.cards().values()
    always = ", ".join(card.name for card in cards if card.parts)
    stopped = ", ".join(card.name for card in cards if "stop" in card.options)
    return f"these do: {always}; methods of one layer that are given several; with stop= {stopped}"
