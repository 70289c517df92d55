"""Pairs of towers, of pictures and of texts: what the zoos that have some share."""

import copy
from collections.abc import Callable
from typing import Any, cast

from torch import nn

from limelight.errors import InvalidOption, show
from limelight.zoo.recipe import Towers
from limelight.zoo.weights import build_with_weights, read_state

IMAGE = "image."
"""Begins the names of the image tower's weights in a saved ``TextClassifier``."""


def needs_texts(name: str) -> InvalidOption:
    """Return the error for a pair of towers without texts."""
    return InvalidOption(
        f"{name} is a pair of towers, of pictures and of texts; give the texts that are its classes: "
        "texts=['a cat', 'a dog'] (--texts on the command line)"
    )


def too_long(text: str, tokens: int) -> InvalidOption:
    """Return the error for a text of which a tower would not read the end."""
    return InvalidOption(f"the text {show(text)} is too long; the text tower reads {tokens} tokens")


def without_text_tower(model: nn.Module) -> nn.Module:
    """Return the same network, of the same weights, without the parts and the weights that are for texts."""
    twin = copy.copy(model)
    for held in ("_modules", "_parameters"):
        kept = {name: part for name, part in vars(model)[held].items() if not name.startswith(("text", "logit"))}
        vars(twin)[held] = kept
    return twin


def pair(model: Any, image: Callable[[Any], Any], text: Callable[[Any], Any]) -> Towers:
    """Return the two towers with the scale and, where there is one, the bias that the model has learnt for them."""
    bias = getattr(model, "logit_bias", None)
    return Towers(image, text, model.logit_scale.exp().item(), None if bias is None else bias.item())


def restore(build: Callable[[], nn.Module], method: str, weights: str, what: str) -> tuple[nn.Module, Towers]:
    """Return the image tower of a saved ``TextClassifier``, and its texts' vectors.

    Args:
        build: makes the module of the image tower.
        method: that is the tower; "" where it is the module itself.
        weights: the file.
        what: how messages call the model and the file.

    Raises:
        UnsupportedModel: the weights are not its own.
    """
    state = read_state(weights)
    own = {name.removeprefix(IMAGE): value for name, value in state.items() if name.startswith(IMAGE)}
    module = build_with_weights(lambda _: build(), own, what)
    scale, bias = (float(state[name]) for name in ("scale", "bias"))
    image = cast(Callable[[Any], Any], getattr(module, method)) if method else module
    return module, Towers(image, state["texts"], scale, bias)
