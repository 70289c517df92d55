"""Make one recipe of several that differ in their pictures."""

from collections.abc import Sequence
from typing import Any

from limelight.bench.recipe import Recipe
from limelight.bench.recipe_parse import make_recipe
from limelight.bench.recipe_tables import Data
from limelight.errors import ProtocolMismatch, show


def pool_recipes(recipes: Sequence[Recipe]) -> tuple[Recipe, list[str]]:
    """Return a recipe of the data sets of all, and the name that each recipe's data set has there.

    It is that of the published data set, or where that does not tell them apart, of the recipe. Recipes that are equal,
    as those of shards, are one. One that has several data sets already brings them all, under their names, and has no
    single name: "".

    Raises:
        ProtocolMismatch: they differ in more than data, preprocessing, weights and how models are loaded.
    """
    first = _shared(recipes[0])
    by_dataset = {name: part for recipe in recipes for name, part in _parts(recipe).items()}
    clash = any(by_dataset[name] != part for recipe in recipes for name, part in _parts(recipe).items())
    parts: dict[str, dict[str, Any]] = {}
    names: list[str] = []
    for recipe in recipes:
        for key, value in _shared(recipe).items():
            if value != first[key]:
                raise ProtocolMismatch(
                    f"{recipe.name} and {recipes[0].name} can't be pooled: {key} is {show(str(value))} in one and "
                    f"{show(str(first[key]))} in the other"
                )
        own = _parts(recipe, recipe.name if clash else "")
        for name, part in own.items():
            if parts.setdefault(name, part) != part:
                raise ProtocolMismatch(
                    f"two different choices of pictures are called {name}; give one of the recipes another name"
                )
        names.append(next(iter(own)) if isinstance(recipe.data, Data) else "")
    common = " + ".join(dict.fromkeys(recipe.name for recipe in recipes))
    models = first["models"] | {"weights_of": {}, "load": {}}
    return make_recipe({**first, "name": common, "models": models, "data": list(parts.values())}, common), names


def _shared(recipe: Recipe) -> dict[str, Any]:
    """Return what must be the same in recipes that are pooled."""
    tables = recipe.model_dump(mode="json", exclude={"name", "about", "paper", "data", "preprocess"})
    for own in ("weights_of", "load"):
        tables["models"].pop(own, None)
    return tables


def _parts(recipe: Recipe, called: str = "") -> dict[str, dict[str, Any]]:
    """Return a recipe's data sets by name, with their own preprocessing and weights.

    A data set that has no name in the recipe is called as given, or else as it is published.
    """
    parts: dict[str, dict[str, Any]] = {}
    for label, one in recipe.parts.items():
        tables, name = one.model_dump(mode="json"), label or called or one.pictures.dataset
        own = {key: tables["models"][key] for key in ("weights_of", "load") if key in tables["models"]}
        parts[name] = tables["data"] | own | {"name": name, "preprocess": tables["preprocess"]}
    return parts
