"""A recipe says what is to be measured: data, models, methods, metrics, as a TOML file."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from limelight.card import METHODS
from limelight.core.method import Method, build
from limelight.core.metric import Metric, build_metric
from limelight.core.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from limelight.errors import InvalidOption, nearest

Named = Annotated[str, Field(min_length=1)]


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class _Open(pydantic.BaseModel):
    """A table whose other keys are options."""

    model_config = pydantic.ConfigDict(extra="allow", frozen=True)

    @property
    def options(self) -> dict[str, Any]:
        """The keys that are none of its own, lists as tuples."""
        extra = self.model_extra or {}
        return {k: tuple(v) if isinstance(v, list) else v for k, v in extra.items()}


class Data(_Strict):
    """Which pictures.

    Attributes:
        dataset: ``scenes`` (drawn, with known truth), or ``folder`` (any folder or csv, given as ``--data``).
        n: how many; ``all`` of them by default.
        rule: the ``first``, ``even``ly spread over all, or drawn at ``random`` without replacement.
        seed: of that draw.
        objects: in a drawn scene.
    """

    dataset: Literal["scenes", "folder"] = "folder"
    n: Annotated[int, Field(ge=1)] | Literal["all"] = "all"
    rule: Literal["first", "even", "random"] = "first"
    seed: Annotated[int, Field(ge=0)] = 0
    objects: Annotated[int, Field(ge=1)] = 1


class Preprocessing(_Strict):
    """How a picture becomes an input; what is not given is as the model's weights want it.

    Attributes:
        resize_shorter: length of the shorter side, pixels; 0 keeps the size.
        center_crop: side of the central square, pixels; 0 keeps all.
        mean: per colour, of values in [0, 1].
        std: per colour.
    """

    resize_shorter: Annotated[int, Field(ge=0)] = 256
    center_crop: Annotated[int, Field(ge=0)] = 224
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    @property
    def function(self) -> Preprocess:
        """What does it."""
        return Preprocess(self.resize_shorter or None, self.center_crop or None, self.mean, self.std)


class Models(_Strict):
    """Which networks.

    Attributes:
        names: as ``limelight.load`` knows them.
        weights: for all of them.
        layers: the layers to explain, by model; the classifier's own choice for others, or that of ``default``.
    """

    names: Annotated[tuple[Named, ...], Field(min_length=1)]
    weights: str = "DEFAULT"
    layers: Mapping[str, tuple[str, ...]] = Field(default_factory=dict[str, tuple[str, ...]])


class MethodEntry(_Open):
    """One method; the other keys are its options.

    Attributes:
        name: of the method.
        label: under which it stands in the results; its name unless given.
        only: models with which it goes; all unless given.
    """

    name: Named
    label: str = ""
    only: tuple[Named, ...] = ()


class MetricEntry(_Open):
    """One metric; the other keys are its options.

    Attributes:
        name: of the metric.
        label: under which it stands in the results; its name unless given.
    """

    name: Named
    label: str = ""


class Paper(_Strict):
    """The published numbers that stand beside ours.

    Attributes:
        table: a csv beside the recipe with the columns model, method, metric, value.
        note: what has to be known to compare.
    """

    table: str = ""
    note: str = ""


class Recipe(_Strict):
    """All that is to be measured.

    Attributes:
        name: of the run.
        about: a sentence for readers.
        target: the class that is explained: the predicted one (``top1``), or the true one (``label``).
        degenerate: whether empty maps count (``include``).
        data: which pictures.
        preprocess: how they become inputs; None for the weights' own way.
        models: which networks.
        map: options that all maps have.
        methods: which explanations.
        metrics: by what they are judged.
        paper: the published numbers.
    """

    name: Named
    about: str = ""
    target: Literal["top1", "label"] = "top1"
    degenerate: Literal["include", "skip"] = "include"
    data: Data = Data()
    preprocess: Preprocessing | None = None
    models: Models
    map: Mapping[str, Any] = Field(default_factory=dict[str, Any])
    methods: Annotated[tuple[MethodEntry, ...], Field(min_length=1)]
    metrics: Annotated[tuple[MetricEntry, ...], Field(min_length=1)]
    paper: Paper = Paper()

    def methods_of(self, model: str) -> dict[str, Method]:
        """Return the methods that go with a model, by label.

        Raises:
            UnknownMethod: there is no such method.
            InvalidOption: it has no such option.
        """
        layer = self.models.layers.get(model, self.models.layers.get("default"))
        found: dict[str, Method] = {}
        for entry in self.methods:
            if entry.only and model not in entry.only:
                continue
            shared = dict(self.map)
            if layer and METHODS.find(entry.name).layers != "none":
                shared["layer"] = layer if len(layer) > 1 else layer[0]
            found[entry.label or entry.name] = build(entry.name, **(shared | entry.options))
        return found

    @property
    def judges(self) -> dict[str, Metric]:
        """The metrics by label.

        Raises:
            UnknownMetric: there is no such metric.
            InvalidOption: it has no such option.
        """
        shared = {"degenerate": self.degenerate}
        return {e.label or e.name: build_metric(e.name, **(shared | e.options)) for e in self.metrics}


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe and check all of it, the options of methods and metrics too.

    Raises:
        InvalidOption: the file is not there or no TOML, a key is unknown or a value is wrong.
        UnknownMethod: there is no such method.
        UnknownMetric: there is no such metric.
    """
    path = Path(path)
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidOption(f"the recipe {path} can't be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidOption(f"the recipe {path} is no TOML: {error}") from error
    try:
        recipe = Recipe(**given)
    except pydantic.ValidationError as error:
        raise InvalidOption(f"{path.name}: {_said(error, given)}") from None
    _check_labels(path, "method", [e.label or e.name for e in recipe.methods])
    _check_labels(path, "metric", [e.label or e.name for e in recipe.metrics])
    for entry in recipe.methods:
        stranger = next((m for m in entry.only if m not in recipe.models.names), None)
        if stranger is not None:
            hint = nearest(stranger, recipe.models.names)
            raise InvalidOption(
                f"{path.name}: {entry.name} is only for {stranger!r}, which is none of the models{hint}"
            )
    for model in recipe.models.layers:
        if model != "default" and model not in recipe.models.names:
            hint = nearest(model, recipe.models.names)
            raise InvalidOption(f"{path.name}: models.layers names {model!r}, which is none of the models{hint}")
    for model in recipe.models.names:
        recipe.methods_of(model)
    assert recipe.judges
    return recipe


def _check_labels(path: Path, kind: str, labels: Sequence[str]) -> None:
    twice = next((one for one in labels if labels.count(one) > 1), None)
    if twice is not None:
        raise InvalidOption(f"{path.name}: two {kind}s are called {twice!r}; give one of them a label of its own")


def _said(error: pydantic.ValidationError, given: Mapping[str, Any]) -> str:
    """Say the first thing that is wrong in one line."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        table, key = first["loc"][:-1], str(first["loc"][-1])
        known = _fields(Recipe, [str(part) for part in table if isinstance(part, str)])
        return f"unknown key {where!r}{nearest(key, known)} (there are: {', '.join(known)})"
    if first["type"] == "missing":
        return f"{where} is missing"
    return f"{where} = {first['input']!r}: {first['msg']}"


def _fields(model: type[pydantic.BaseModel], table: Sequence[str]) -> list[str]:
    for name in table:
        inner = {"data": Data, "preprocess": Preprocessing, "models": Models, "paper": Paper}.get(name)
        model = inner or model
    return list(model.model_fields)


def schema() -> str:
    """Return the JSON schema of recipes."""
    return json.dumps(Recipe.model_json_schema(), indent=2) + "\n"
