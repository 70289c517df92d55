"""Check of a recipe what its tables alone can't tell: names, options, labels."""

from collections.abc import Sequence
from typing import Any

import pydantic

from limelight.bench.recipe import Recipe
from limelight.bench.recipe_tables import DATASET_NAMES, SCHEMES, Data, MethodEntry, MetricEntry
from limelight.card import METHODS, METRICS, Registry
from limelight.data.datasets import DATASETS
from limelight.engine.spec import Options
from limelight.errors import InvalidOption, nearest
from limelight.scoring.metric import MetricOptions


def check_recipe(recipe: Recipe) -> None:
    """Check what a table alone can't tell.

    Raises:
        InvalidOption: a name, an option or a label is wrong.
        UnknownMethod: there is no such method.
        UnknownMetric: there is no such metric.
    """
    names = recipe.models.names
    for part in [recipe.data] if isinstance(recipe.data, Data) else recipe.data:
        _check_data(part)
    if not isinstance(recipe.data, Data):
        _check_distinct("data set", [part.name or part.dataset for part in recipe.data])
        for part in recipe.data:
            for key in ("weights_of", "load"):
                for model in getattr(part, key).keys() - {"default" if key == "load" else ""}:
                    _check_known(model, names, f"{key} of {part.name or part.dataset} names", "model")
    for key in ("layers", "load"):
        for model in getattr(recipe.models, key).keys() - {"default"}:
            _check_known(model, names, f"models.{key} names", "model")
    for part in recipe.parts.values():
        _check_inputs(part)
    for model in recipe.models.weights_of:
        _check_known(model, names, "models.weights_of names", "model")
    for entry in recipe.methods:
        for model in entry.only:
            _check_known(model, names, f"{entry.name} is only for", "model")
        _check_options(entry, METHODS, Options)
    for entry in recipe.metrics:
        _check_options(entry, METRICS, MetricOptions)
        if entry.where:
            others = [label for label in recipe.entries if label != (entry.label or entry.name)]
            _check_known(entry.where, others, f"{entry.label or entry.name} counts where", "other metric")
            if recipe.entries[entry.where].where:
                raise InvalidOption(f"{entry.where!r} itself counts where another metric does; name that one")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidOption(f"models.names has {twice!r} twice")
    for model in names:
        _check_distinct("method", [e.label or e.name for e in recipe.methods if not e.only or model in e.only])
        if not recipe.methods_of(model):
            raise InvalidOption(f"no method goes with the model {model!r}")
    _check_distinct("metric", [e.label or e.name for e in recipe.metrics])
    _ = recipe.metrics_by_label  # which checks their options


def _check_inputs(recipe: Recipe) -> None:
    """Refuse to be told twice how pictures become inputs."""
    for model in recipe.models.names if recipe.preprocess else ():
        given = recipe.loading(model).model_dump(include={"size", "mean", "std"})
        for key in given:
            raise InvalidOption(
                f"{key} of {model} in models.load, and preprocess, which is for all models: give one or the other"
            )


def _check_data(data: Data) -> None:
    """Check what can be known of a data set without its files."""
    if data.dataset.startswith(SCHEMES):
        return
    if data.dataset not in DATASET_NAMES:
        hint = nearest(data.dataset, DATASET_NAMES)
        raise InvalidOption(
            f"there is no data set {data.dataset!r}{hint} (there are: {', '.join(DATASET_NAMES)}, hf:NAME, wds:PATTERN)"
        )
    card = DATASETS.get(data.dataset)
    known = {"split": card.splits if card else (), "truth": card.truths if card else ()}
    for key, given in (("split", data.split), ("truth", data.truth)):
        if given and given not in known[key]:
            right = f"it has {', '.join(known[key])}" if known[key] else "give none"
            raise InvalidOption(f"{data.dataset} has no {key} {given!r}{nearest(given, known[key])} ({right})")


def _check_known(name: str, known: Sequence[str], what: str, kind: str) -> None:
    """Refuse a name that stands for nothing in this recipe."""
    if name not in known:
        raise InvalidOption(f"{what} {name!r}, which is no {kind} here{nearest(name, known)}")


def _check_options(entry: MethodEntry | MetricEntry, registry: Registry[Any], shared: type[pydantic.BaseModel]) -> None:
    """Refuse a key that is neither the entry's own nor an option; either may have been meant."""
    known = dict.fromkeys([*type(entry).model_fields, *registry.find(entry.name).options, *shared.model_fields])
    for key in entry.options:
        if key not in known:
            hint = nearest(key, known)
            raise InvalidOption(f"{entry.name} has no option {key!r}{hint} (there are: {', '.join(known)})")


def _check_distinct(kind: str, labels: Sequence[str]) -> None:
    """Refuse two entries of one label, which rows could not tell apart."""
    twice = next((one for one in labels if labels.count(one) > 1), None)
    if twice is not None:
        raise InvalidOption(f"two {kind}s are called {twice!r}; give one of them a label of its own")
