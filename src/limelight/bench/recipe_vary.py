"""Make a recipe for other pictures or networks of one that there is."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from limelight.bench.recipe import Recipe
from limelight.bench.recipe_parse import make_recipe
from limelight.bench.recipe_tables import Data


def vary_recipe(
    recipe: Recipe,
    *,
    dataset: str | None = None,
    models: Sequence[str] = (),
    more_models: Sequence[str] = (),
    load: Mapping[str, Any] | None = None,
) -> Recipe:
    """Return a recipe for other pictures or networks.

    Args:
        recipe: from which the rest is taken.
        dataset: in place of the recipe's, one or several; all of its pictures, unless the recipe takes so many.
        models: in place of the recipe's, each a name or ``NAME=WEIGHTS``. What the recipe calls its weights is said to
            models of its own sources; others have their usual ones.
        more_models: beside the others, each a name or ``NAME=WEIGHTS``; layers are the classifier's own choice.
        load: how the new models are loaded, or all if none is new; see ``Loading``.

    Raises:
        InvalidOption: there is no such data set, or a value of ``load`` is wrong.
    """
    given = recipe.model_dump()
    if dataset is not None:
        before = given["data"] if isinstance(recipe.data, Data) else recipe.data[0].alone.model_dump()
        given["data"] = before | {"dataset": dataset, "split": "", "truth": ""}
    named, new = list(models or recipe.models.names), [*models, *more_models]
    weights = _usual_weights(recipe, new) | dict(text.split("=", 1) for text in new if "=" in text)
    names = [text.split("=", 1)[0] for text in (*named, *more_models)]
    own = {name: () for name in names if name not in recipe.models.names and name not in recipe.models.layers}
    given["models"] |= {
        "names": tuple(dict.fromkeys(names)),
        "weights_of": {k: v for k, v in (dict(recipe.models.weights_of) | weights).items() if k in names},
        "layers": {k: v for k, v in (dict(recipe.models.layers) | own).items() if k in names or k == "default"},
    }
    _set_loading(given, names, [text.split("=", 1)[0] for text in new] or names, load or {})
    has_parts = isinstance(given["data"], list | tuple)
    for part in cast(Sequence[dict[str, Any]], given["data"]) if has_parts else ():
        part["weights_of"] = {k: v for k, v in part["weights_of"].items() if k in names} | weights
    given["methods"] = [m for m in given["methods"] if not m["only"] or set(m["only"]) & set(names)]
    for method in given["methods"]:
        method["only"] = tuple(name for name in method["only"] if name in names)
    return make_recipe(given, recipe.name)


def _usual_weights(recipe: Recipe, new: Sequence[str]) -> dict[str, str]:
    """Return the weights of models to whose source the word for the recipe's weights means nothing."""
    if recipe.models.weights in ("DEFAULT", "none"):
        return {}
    sources = {name.partition("/")[0] for name in recipe.models.names}
    return {name: "DEFAULT" for name in new if name.partition("/")[0] not in sources}


def _set_loading(given: dict[str, Any], names: Sequence[str], of: Sequence[str], load: Mapping[str, Any]) -> None:
    """Say in the tables of a recipe how some of its models are loaded, and forget models that are no longer in it."""
    has_parts = isinstance(given["data"], list | tuple)
    for table in (given["models"], *(given["data"] if has_parts else ())):
        before = {name: own for name, own in table.get("load", {}).items() if name in (*names, "default")}
        wanted = of if table is given["models"] else [name for name in of if name in before]
        table["load"] = before | ({name: before.get(name, {}) | load for name in wanted} if load else {})
