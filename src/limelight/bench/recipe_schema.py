"""The JSON schema of recipes, for editors and other programs."""

import json

from limelight.bench.recipe import Recipe
from limelight.bench.recipe_tables import MethodEntry, MetricEntry
from limelight.card import METHODS, METRICS
from limelight.engine.spec import Options
from limelight.scoring.metric import MetricOptions


def make_schema() -> str:
    """Return the JSON schema of recipes, with the options of every method and metric that ships."""
    made = Recipe.model_json_schema()
    for entry, registry, shared in ((MethodEntry, METHODS, Options), (MetricEntry, METRICS, MetricOptions)):
        cards = {n: c for n, c in registry.cards().items() if c.module.startswith("limelight.")}
        table = made["$defs"][entry.__name__]
        common = [*entry.model_fields, *shared.model_fields]
        table["properties"]["name"]["enum"] = list(cards)
        table["allOf"] = [
            {
                "if": {"properties": {"name": {"const": name}}},
                "then": {"propertyNames": {"enum": list(dict.fromkeys([*common, *card.options]))}},
            }
            for name, card in cards.items()
        ]
    return json.dumps(made, indent=1) + "\n"
