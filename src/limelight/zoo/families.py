"""The families of models: which there are, which models they have, and how one of them builds a model."""

import importlib
from typing import Any

import torch

from limelight.errors import MissingExtra, UnknownModel, nearest
from limelight.model.classifier import Classifier
from limelight.zoo.names import is_file_name, is_folder_name
from limelight.zoo.recipe import Recipe

FAMILIES = {
    "torchvision": "limelight.zoo.torchvision",
    "sliding": "limelight.zoo.sliding",
    "torchray": "limelight.zoo.torchray",
    "timm": "limelight.zoo.timm",
    "pypi": "limelight.zoo.pypi",
    "hf": "limelight.zoo.transformers",
    "demo": "limelight.zoo.embedded",
}


def available(*families: str) -> dict[str, list[str]]:
    """Return the names of models by family.

    Args:
        families: some of them; all whose packages are installed if none is named. Those on the hub
            (``hf/ORG/NAME``) are not listed.
    """
    by_family: dict[str, list[str]] = {}
    for family in families or [f for f in FAMILIES if f != "hf"]:
        if family not in FAMILIES:
            raise UnknownModel(f"there is no family {family!r} of models{nearest(family, FAMILIES)}")
        try:
            by_family[family] = importlib.import_module(FAMILIES[family]).names()
        except MissingExtra:
            if families:
                raise
    return by_family


def needs_no_trust(name: str, weights: str | None) -> bool:
    """Whether a model comes from a zoo, its weights too, so that naming it runs nobody's code and opens no file."""
    family, slash, model = name.partition("/")
    here = family == "hf" and is_folder_name(model)
    return family in FAMILIES and bool(slash) and not here and (weights is None or not is_file_name(weights))


def build(family: str, name: str, weights: str | None, *, trust: bool = False, **given: Any) -> Recipe:
    """Let a family build a model; only what is trusted may bring code of its own."""
    return importlib.import_module(FAMILIES[family]).load(name, weights, trust=trust, **given)


def wrap(name: str, recipe: Recipe, device: str | torch.device | None = None, **given: Any) -> Classifier:
    """Wrap what a family built; what the user gave goes before what the zoo says."""
    if given.get("labels") is None:
        given["labels"] = recipe.labels
    module = recipe.module.eval() if device is None else recipe.module.eval().to(device)
    return Classifier(
        module,
        name=name,
        preprocess=recipe.preprocess,
        **given,
    )
