"""Make a recipe of the tables of a file, and say in one line what is wrong with them."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pydantic

from limelight.bench.recipe import Recipe
from limelight.bench.recipe_check import check_recipe
from limelight.bench.recipe_tables import Data, Loading, Models, Mosaics, Paper, Part, Preprocessing
from limelight.engine.options import check_numbers, why
from limelight.errors import InvalidOption, UnknownMethod, UnknownMetric, nearest, show


def make_recipe(given: Mapping[str, Any], name: str) -> Recipe:
    """Make a recipe of these tables, and check all of it.

    Args:
        given: what the file holds.
        name: of the file, for what is said of it.

    Raises:
        InvalidOption: a key is unknown or a value is wrong.
        UnknownMethod: there is no such method.
        UnknownMetric: there is no such metric.
    """
    recipe = parse_recipe(given, name)
    try:
        check_recipe(recipe)
    except (InvalidOption, UnknownMethod, UnknownMetric) as error:
        raise type(error)(f"{name}: {error}") from None
    return recipe


def parse_recipe(given: Mapping[str, Any], name: str) -> Recipe:
    """Make a recipe of these tables, of which methods, metrics and their options are not yet checked.

    Args:
        given: what the file holds.
        name: of the file, for what is said of it.

    Raises:
        InvalidOption: a key is unknown or a value is wrong.
    """
    check_numbers(given, name)
    try:
        return Recipe(**given)
    except pydantic.ValidationError as error:
        raise InvalidOption(f"{name}: {_describe(error, given)}") from None


def _describe(error: pydantic.ValidationError, given: Mapping[str, Any]) -> str:
    """Return in one line what is wrong: a key that is unknown, before what may be missing because of it."""
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    loc = _location(first)
    where = _dotted_key(loc, given)
    if first["type"] == "extra_forbidden":
        known = _keys_of([str(part) for part in loc[:-1]])
        return f"unknown key {where!r}{nearest(str(loc[-1]), known)} (there are: {', '.join(known)})"
    if first["type"] == "missing":
        return f"{where} is missing"
    reasons = [why(one) for one in error.errors() if _dotted_key(_location(one), given) == where]
    return f"{where} = {show(first['input'])}: {' or '.join(dict.fromkeys(reasons))}"


def _location(error: Mapping[str, Any]) -> tuple[str | int, ...]:
    """Return where an error is, without the word for whether there are one or several data sets."""
    loc: tuple[str | int, ...] = error["loc"]
    return (loc[0], *loc[2:]) if loc[:1] == ("data",) else loc


def _dotted_key(loc: Sequence[str | int], given: Any) -> str:
    """Return a key as the file has it, without the names of types that pydantic tried for its value."""
    keys: list[str] = []
    for part in loc:
        if isinstance(given, Mapping):
            keys.append(str(part))
            given = cast(Mapping[Any, Any], given).get(part)
        elif isinstance(given, list | tuple) and isinstance(part, int):
            keys.append(str(part))
            given = cast(Sequence[Any], given)[part]
    return ".".join(keys)


def _keys_of(table: Sequence[str]) -> list[str]:
    """Return the keys of a table."""
    parts = {"data": Data, "mosaics": Mosaics, "preprocess": Preprocessing, "models": Models, "paper": Paper}
    if table[-2:-1] == ["load"]:
        return list(Loading.model_fields)
    kind = Recipe if not table else Part if table[-1].isdecimal() else parts[table[-1]]
    return list(kind.model_fields)
