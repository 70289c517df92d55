"""Look inside a network: at its layers, and at what the tokens of a transformer see."""

from dataclasses import replace
from typing import Any

import torch

from limelight.engine.attention import Attentions, read_attentions
from limelight.engine.method import build
from limelight.engine.run import run
from limelight.errors import InvalidOption, UnknownLayer, UnsupportedModel
from limelight.maps.attention.generic_attention import generic_attention
from limelight.model.cost import Meter
from limelight.model.one_pass import pass_images
from limelight.model.targets import Targets
from limelight.model.windows import block_of
from limelight.results.viewer import tell_map
from limelight.web.studio.asked import Request, Target, listed, optional, target_of
from limelight.web.studio.explaining import Events, strip
from limelight.web.studio.studio import Look, Studio


def layers(studio: Studio, request: Request) -> Events:
    """Explain every stage of a network by one method, all from one pass, and one back."""
    asked = studio.ask({"method": "grad-cam", **request})
    method, look = asked.method, asked.look
    if method.explains in ("none", "stop", "blocks"):
        raise InvalidOption(f"{method.name} explains no layer; choose one that does, such as grad-cam")
    own = {name: value for name, value in asked.options.items() if name not in ("layer", "fuse")}
    names = strip(look.classifier.trace(look.x))
    each = [build(method.name, **own, layer=name) for name in names]
    saliencies = run(each, look.classifier, look.x, asked.target.like)
    strips = [{"name": n, "map": tell_map(s.raw[0])} for n, s in zip(names, saliencies, strict=True)]
    yield "result", {"layers": strips}


def tokens(studio: Studio, request: Request) -> Events:
    """Tell what a token sees, and what of it counts for the class.

    ``attention`` is the mean over heads of what the token takes of each patch in a block, ``received`` what each patch
    takes of it, and ``relevance`` generic attention from the token back to the picture, R - I in its row.
    """
    look = studio.look(request)
    target = target_of(request, look.classifier, look.logits)
    seen = attentions_of(look, target)
    owners = [a.owner for a in seen.clean.attention]
    names = [block_of(a.owner, owners) for a in seen.blocks]
    name, grid = optional(request, "layer", str) or names[-1], seen.tokens.grid
    if name not in names:
        raise UnknownLayer(f"{name!r} is no block with attention; they are {', '.join(names)}")
    place = _place(request, grid)
    block, token = names.index(name), seen.tokens.prefix + place
    weights = seen.blocks[block].weights[0].mean(0)  # (queries, keys)
    relevance = generic_attention(seen.up_to(block, token))
    relevance.view(-1)[place] -= 1
    parts = {"attention": weights[None, token], "received": weights[None, :, token]}
    reply: dict[str, Any] = {kind: tell_map(seen.tokens.map(row)[0]) for kind, row in parts.items()}
    heads = seen.blocks[block].weights.shape[1]
    reply |= {"grid": list(grid), "relevance": tell_map(relevance[0]), "layers": names, "layer": name}
    yield "result", reply | {"heads": heads}


def attentions_of(look: Look, target: Target) -> Attentions:
    """Return the attentions of a pass, with their gradients.

    Raises:
        UnsupportedModel: there are none of all tokens over all.
    """
    targets = Targets.parse(target.like, look.classifier, look.x)
    with torch.inference_mode(False):
        clean = pass_images(
            look.classifier,
            look.x,
            targets,
            {},
            layer_gradients=False,
            attention=True,
            attention_gradients=True,
            meter=Meter(),
        )
    seen = read_attentions(clean, "what a token sees")
    seen.refuse_parts()
    if len(seen.tokens.grid) != 2:
        raise UnsupportedModel(f"the tokens of {look.model} have no place in a picture")
    return replace(seen, blocks=seen.on_picture())


def _place(request: Request, grid: tuple[int, ...]) -> int:
    """Return the number of the patch at a row and a column.

    Raises:
        InvalidOption: there is none.
    """
    at = listed(request, "token")
    inside = len(at) == 2 and all(type(i) is int and 0 <= i < side for i, side in zip(at, grid, strict=True))
    if not inside:
        raise InvalidOption(f"token = {at}; give row and column in a grid of {grid[0]} x {grid[1]}")
    return at[0] * grid[1] + at[1]
