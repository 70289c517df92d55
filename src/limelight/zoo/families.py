"""The families of models: which there are, which models they have, and how one of them builds a model."""

import importlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from limelight.errors import InvalidOption, MissingExtra, UnknownModel, nearest
from limelight.model.classifier import Classifier
from limelight.model.labels import read_labels
from limelight.model.text_classifier import TextClassifier
from limelight.zoo.names import is_file_name, is_folder_name
from limelight.zoo.recipe import Recipe, Towers

FAMILIES = {
    "torchvision": "limelight.zoo.torchvision",
    "sliding": "limelight.zoo.sliding",
    "torchray": "limelight.zoo.torchray",
    "timm": "limelight.zoo.timm",
    "pypi": "limelight.zoo.pypi",
    "hf": "limelight.zoo.transformers",
    "open_clip": "limelight.zoo.open_clip",
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
    given |= {"name": name, "preprocess": recipe.preprocess}
    return Classifier(module, **given) if recipe.towers is None else _wrap_towers(recipe.towers, **given)


def _wrap_towers(towers: Towers, outputs: str | None, texts: Sequence[str] | None = None, **given: Any) -> Classifier:
    """Wrap a pair of towers; a saved one has the vectors of its texts, whose names are its labels.

    Raises:
        InvalidOption: the scores are said to be probabilities.
    """
    if outputs == "probabilities":
        raise InvalidOption(f"the scores of {given['name']} are logits; leave outputs= out")
    if isinstance(towers.text, Tensor):
        texts = read_labels(given["labels"])[-len(towers.text) :]  # of a single text there are two: not, and it
    return TextClassifier(towers.image, towers.text, texts or (), scale=towers.scale, bias=towers.bias, **given)
