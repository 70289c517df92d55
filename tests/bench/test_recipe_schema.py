"""The schema of recipes: the one that is published, and what it accepts."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from limelight.bench.recipe_schema import make_schema
from small_recipe import SMALL

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.toml"))
SCHEMA = ROOT / "docs" / "recipe.schema.json"


def test_the_published_schema_is_that_of_the_code():
    anew = 'python -c "from limelight.bench.recipe_schema import make_schema; print(make_schema(), end=str())"'
    assert SCHEMA.read_text(encoding="utf-8") == make_schema(), f"make it anew: {anew} > docs/{SCHEMA.name}"


def test_the_schema_knows_every_key_that_the_recipes_use():
    """Also without a validator at hand: the free options of methods and metrics are in it."""
    made: dict[str, Any] = json.loads(make_schema())
    for table, entry in (("methods", "MethodEntry"), ("metrics", "MetricEntry")):
        rules = {rule["if"]["properties"]["name"]["const"]: rule["then"] for rule in made["$defs"][entry]["allOf"]}
        assert list(rules) == made["$defs"][entry]["properties"]["name"]["enum"]
        for path in RECIPES:
            for given in tomllib.loads(path.read_text(encoding="utf-8"))[table]:
                assert set(given) <= set(rules[given["name"]]["propertyNames"]["enum"]), path.name


def test_recipes_are_valid_by_the_schema():
    jsonschema = pytest.importorskip("jsonschema", reason="needs the package jsonschema")
    validator = jsonschema.Draft202012Validator(json.loads(make_schema()))
    validator.check_schema(validator.schema)
    for path in RECIPES:
        assert list(validator.iter_errors(tomllib.loads(path.read_text(encoding="utf-8")))) == [], path.name
    for changed in ('[[methods]]\nname = "rise"\nn_mask = 9\n', '[[methods]]\nname = "gradcam"\n'):
        assert list(validator.iter_errors(tomllib.loads("".join((SMALL | {"methods": changed}).values()))))
