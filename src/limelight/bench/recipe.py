"""A recipe says what a benchmark evaluates: data, models, methods, metrics, as a TOML file."""

from collections.abc import Mapping
from math import isnan
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from limelight.bench.recipe_tables import (
    Data,
    Loading,
    MethodEntry,
    MetricEntry,
    Models,
    Named,
    Paper,
    Part,
    Preprocessing,
    Strict,
)
from limelight.card import METHODS
from limelight.engine.method import Method, build
from limelight.scoring.metric import Metric, build_metric


class Recipe(Strict):
    """All that a benchmark evaluates.

    Attributes:
        name: of the run.
        about: a sentence for readers.
        target: the class that is explained: the predicted one (``top1``), or each true one (``label``).
        degenerate: whether empty maps count (``include``).
        one_by_one: every picture and method by itself, so that an explanation's seconds are its own.
        data: which pictures; of several data sets, ``[[data]]``, they are also taken together.
        preprocess: how they become inputs; None for the weights' own way.
        models: which networks.
        map: options that all maps have.
        methods: which explanations.
        metrics: by what the maps are evaluated.
        paper: the published numbers.
    """

    name: Named
    about: str = ""
    target: Literal["top1", "label"] = "top1"
    degenerate: Literal["include", "skip"] = "include"
    one_by_one: bool = False
    data: Annotated[
        Annotated[Data, Tag("one")] | Annotated[tuple[Part, ...], Field(min_length=1), Tag("several")],
        Discriminator(lambda given: "several" if isinstance(given, list | tuple) else "one"),
    ] = Data()
    preprocess: Preprocessing | None = None
    models: Models
    map: Mapping[str, Any] = Field(default_factory=dict[str, Any])
    methods: Annotated[tuple[MethodEntry, ...], Field(min_length=1)]
    metrics: Annotated[tuple[MetricEntry, ...], Field(min_length=1)]
    paper: Paper = Paper()

    @property
    def pictures(self) -> Data:
        """The data of a recipe that has one data set; of several, ask a recipe of ``parts``."""
        assert isinstance(self.data, Data)
        return self.data

    @property
    def parts(self) -> dict[str, "Recipe"]:
        """A recipe for each of several data sets, by name; if there is one, the recipe itself, under ""."""
        if isinstance(self.data, Data):
            return {"": self}
        return {part.name or part.dataset: self._of(part) for part in self.data}

    def _of(self, part: Part) -> "Recipe":
        models = {
            "weights_of": {**self.models.weights_of, **part.weights_of},
            "load": {**self.models.load, **part.load},
        }
        own = {
            "data": part.alone,
            "preprocess": part.preprocess or self.preprocess,
            "models": self.models.model_copy(update=models),
        }
        return self.model_copy(update=own)

    def methods_of(self, model: str) -> dict[str, Method]:
        """Return the methods that go with a model, by label.

        Raises:
            UnknownMethod: there is no such method.
            InvalidOption: it has no such option.
        """
        layer = self.models.layers.get(model, self.models.layers.get("default"))
        methods: dict[str, Method] = {}
        for entry in self.methods:
            if entry.only and model not in entry.only:
                continue
            shared = dict(self.map)
            if layer and METHODS.find(entry.name).layers in ("one", "several"):
                shared["layer"] = layer[0] if len(layer) == 1 else layer
            methods[entry.label or entry.name] = build(entry.name, **(shared | entry.options))
        return methods

    @property
    def metrics_by_label(self) -> dict[str, Metric]:
        """The metrics by label.

        Raises:
            UnknownMetric: there is no such metric.
            InvalidOption: it has no such option.
        """
        shared = {"degenerate": self.degenerate}
        return {e.label or e.name: build_metric(e.name, **(shared | e.options)) for e in self.metrics}

    @property
    def entries(self) -> dict[str, MetricEntry]:
        """What the recipe says of each metric, by label."""
        return {e.label or e.name: e for e in self.metrics}

    def counts(self, metric: str, probability: float, values: Mapping[str, float]) -> bool:
        """Tell whether a metric counts for one picture and method.

        Args:
            metric: its label.
            probability: that the model gives the explained class.
            values: of that picture and method by label, among them that of the metric named by ``where``.
        """
        entry = self.entries[metric]
        if probability < entry.at_least:
            return False
        return not entry.where or (not isnan(values[entry.where]) and self.counts(entry.where, probability, values))

    def weights(self, model: str) -> str | None:
        """Return the weights of a model; None for random ones, which a recipe calls "none"."""
        given = self.models.weights_of.get(model, self.models.weights)
        return None if given.lower() == "none" else given

    def loading(self, model: str) -> Loading:
        """Return how a model is loaded: its own keys, and for others those of ``default``."""
        given = [self.models.load[name].model_dump() for name in ("default", model) if name in self.models.load]
        return Loading(**{key: value for one in given for key, value in one.items()})
