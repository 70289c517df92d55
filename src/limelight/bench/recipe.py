"""A recipe says what is to be measured: data, models, methods, metrics, as a TOML file."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

import pydantic
from pydantic import Field

from limelight import files
from limelight.card import METHODS, METRICS, Registry
from limelight.data.datasets import DATASETS
from limelight.data.synthetic import MOST_SCENES
from limelight.engine.method import Method, build
from limelight.engine.options import check_numbers, why
from limelight.engine.spec import Options
from limelight.errors import InvalidOption, UnknownMethod, UnknownMetric, nearest, shown
from limelight.model.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from limelight.scoring.metric import Metric, MetricOptions, build_metric

Named = Annotated[str, Field(min_length=1)]
_LONGEST_SIDE = 16_384
Pixels = Annotated[int, Field(ge=1, le=_LONGEST_SIDE)]
PixelsOrNone = Annotated[int, Field(ge=0, le=_LONGEST_SIDE)]

_SCHEMES = ("hf:", "wds:")
_PUBLISHED = ("scenes", *(name for name in DATASETS if not name.startswith(_SCHEMES)))
_DATASETS: Any = [{"enum": list(_PUBLISHED)}, {"pattern": f"^({'|'.join(_SCHEMES)})."}]


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


class Mosaics(_Strict):
    """Pictures put together for the grid pointing game; see ``limelight.mosaics``.

    Attributes:
        n: pictures per side.
        count: mosaics.
        confidence: least probability that every model of the recipe gives the true class of a picture.
        seed: of the draw.
    """

    n: Annotated[int, Field(ge=2)] = 2
    count: Annotated[int, Field(ge=1)] = 500
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.99
    seed: Annotated[int, Field(ge=0)] = 0


class Data(_Strict):
    """Which pictures.

    Attributes:
        dataset: ``scenes`` (drawn, with known truth), or what ``limelight.data.datasets`` opens: a published data set,
            ``folder`` (any folder or csv), ``hf:NAME`` or ``wds:PATTERN``; ``--data`` says where it is.
        split: which part of it; its first unless given.
        truth: what is to be known of where a class is, of what the data set has; its first unless given.
        n: how many; ``all`` of them by default. Of scenes 500 by default, and 100 000 at most.
        rule: the ``first``, ``even``ly spread over all, or drawn at ``random`` without replacement.
        seed: of that draw.
        objects: in a drawn scene.
        mosaics: pictures are put together to mosaics; None to take them one by one.
    """

    dataset: Annotated[str, Field(json_schema_extra={"anyOf": _DATASETS})] = "folder"
    split: str = ""
    truth: str = ""
    n: Annotated[int, Field(ge=1, strict=True)] | Literal["all"] = "all"
    rule: Literal["first", "even", "random"] = "first"
    seed: Annotated[int, Field(ge=0)] = 0
    objects: Annotated[int, Field(ge=1)] = 1
    mosaics: Mosaics | None = None

    @pydantic.field_validator("n")
    @classmethod
    def _not_too_many(cls, n: int | str, info: pydantic.ValidationInfo) -> int | str:
        if info.data.get("dataset") == "scenes" and isinstance(n, int) and n > MOST_SCENES:
            raise ValueError(f"of scenes, which are drawn, there may be {MOST_SCENES:,} at most")
        return n


class Preprocessing(_Strict):
    """How a picture becomes an input; what is not given is as the model's weights want it.

    Attributes:
        resize_shorter: length of the shorter side, pixels; 0 keeps the size.
        center_crop: side of the central square, pixels; 0 keeps all.
        resize: (rows, columns) in place of both, whatever the picture's proportions.
        mean: per colour, of values in [0, 1].
        std: per colour.
    """

    resize_shorter: PixelsOrNone = 256
    center_crop: PixelsOrNone = 224
    resize: tuple[Pixels, Pixels] | None = None
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    @pydantic.model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.resize and self.model_fields_set & {"resize_shorter", "center_crop"}:
            raise ValueError("resize stands in place of resize_shorter and center_crop; give one or the other")
        return self

    @property
    def function(self) -> Preprocess:
        """What does it."""
        resize, crop = (self.resize, None) if self.resize else (self.resize_shorter or None, self.center_crop or None)
        return Preprocess(resize, crop, self.mean, self.std)

    @property
    def side(self) -> int | None:
        """Side of the input if it is always the same square, pixels."""
        if self.resize:
            return self.resize[0] if self.resize[0] == self.resize[1] else None
        return self.center_crop or None


class Models(_Strict):
    """Which networks.

    Attributes:
        names: as ``limelight.load`` knows them.
        weights: for all of them.
        weights_of: for some, by model, in place of these; a name or a file, as ``limelight.load`` takes it.
        multilabel: whether a picture may have several classes, so that each has a probability of its own (sigmoid);
            None to leave it to the model.
        layers: the layers to explain, by model; the classifier's own choice for others, or that of ``default``. It
            is for methods of one layer, or of several that they fuse; those that explain a pyramid or go on to the
            pixels take theirs from an option of their own.
    """

    names: Annotated[tuple[Named, ...], Field(min_length=1)]
    weights: str = "DEFAULT"
    weights_of: Mapping[str, Named] = Field(default_factory=dict[str, str])
    multilabel: bool | None = None
    layers: Mapping[str, tuple[str, ...]] = Field(default_factory=dict[str, tuple[str, ...]])


class MethodEntry(_Open):
    """One method; the other keys are its options.

    Attributes:
        name: of the method.
        label: under which it stands in the results; its name unless given. No model has two of one label.
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
        at_least: it counts where the model gives the explained class at least this probability, and is not defined
            elsewhere.
        where: label of another metric; it counts where that one is defined, and is not defined elsewhere.
    """

    name: Named
    label: str = ""
    at_least: Annotated[float, Field(ge=0, le=1)] = 0.0
    where: str = ""

    @property
    def condition(self) -> str:
        """What restricts it, as a word for keys; "" if nothing does."""
        return f"at-least-{self.at_least:g}/where-{self.where}" if self.at_least or self.where else ""


class Paper(_Strict):
    """The published numbers that stand beside ours.

    Attributes:
        table: a csv, relative to the recipe, with the columns paper, table, model, method, metric, value: names as
            in the recipe, values in units of the metrics. The metric ``seconds`` is the time of an explanation.
        note: what has to be known to compare.
    """

    table: str = ""
    note: str = ""


class Recipe(_Strict):
    """All that is to be measured.

    Attributes:
        name: of the run.
        about: a sentence for readers.
        target: the class that is explained: the predicted one (``top1``), or each true one (``label``).
        degenerate: whether empty maps count (``include``).
        one_by_one: every picture and method by itself, so that an explanation's seconds are its own.
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
    one_by_one: bool = False
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
            if layer and METHODS.find(entry.name).layers in ("one", "several"):
                shared["layer"] = layer[0] if len(layer) == 1 else layer
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

    def varied(
        self, *, dataset: str | None = None, models: Sequence[str] = (), more_models: Sequence[str] = ()
    ) -> "Recipe":
        """Return the recipe for other pictures or networks.

        Args:
            dataset: in place of the recipe's; all of its pictures, unless the recipe takes so many.
            models: in place of the recipe's, each a name or ``NAME=WEIGHTS``.
            more_models: beside the others, each a name or ``NAME=WEIGHTS``; layers are the classifier's own choice.

        Raises:
            InvalidOption: there is no such data set.
        """
        given = self.model_dump()
        if dataset is not None:
            given["data"] |= {"dataset": dataset, "split": "", "truth": ""}
        named, new = list(models or self.models.names), [*models, *more_models]
        weights = dict(text.split("=", 1) for text in new if "=" in text)
        names = [text.split("=", 1)[0] for text in (*named, *more_models)]
        own = {name: () for name in names if name not in self.models.names and name not in self.models.layers}
        given["models"] |= {
            "names": tuple(dict.fromkeys(names)),
            "weights_of": {k: v for k, v in (dict(self.models.weights_of) | weights).items() if k in names},
            "layers": {k: v for k, v in (dict(self.models.layers) | own).items() if k in names or k == "default"},
        }
        given["methods"] = [m for m in given["methods"] if not m["only"] or set(m["only"]) & set(names)]
        for method in given["methods"]:
            method["only"] = tuple(name for name in method["only"] if name in names)
        return checked(given, self.name)


def shipped() -> dict[str, Path]:
    """Return the recipes that come with Limelight, by name."""
    package = Path(__file__).parents[1]
    folder = next((f for f in (package / "recipes", package.parents[1] / "recipes") if f.is_dir()), package)
    return {file.stem: file for file in sorted(folder.glob("*.toml"))}


def find_recipe(given: str | Path) -> Path:
    """Return the file of a recipe: a path, or the name of one that comes with Limelight.

    Raises:
        InvalidOption: there is no such recipe; the message names the nearest.
    """
    path, ours = Path(given), shipped()
    if path.is_file() or (files.exists(path) and not path.is_dir()):  # a pipe is refused when it is opened
        return path
    if path.parent == Path() and path.suffix in ("", ".toml"):
        if path.stem in ours:
            return ours[path.stem]
        raise InvalidOption(f"there is no recipe {str(given)!r}{nearest(path.stem, ours)} (see: limelight recipes)")
    raise InvalidOption(f"the recipe {path} can't be read: {'it is a folder' if path.is_dir() else 'no such file'}")


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe and check all of it, the options of methods and metrics too.

    Args:
        path: of a file, or the name of one that comes with Limelight.

    Raises:
        InvalidOption: the file is not there or no TOML, a key is unknown or a value is wrong.
        UnknownMethod: there is no such method.
        UnknownMetric: there is no such metric.
    """
    path = find_recipe(path)
    with files.refusing(InvalidOption, f"the recipe {path} can't be read"):
        content = files.content_of(path)
    with files.refusing(InvalidOption, f"the recipe {path} is no TOML"):
        given = tomllib.loads(content.decode("utf-8-sig"))  # some editors put a mark in front
    return checked(given, path.name)


def checked(given: Mapping[str, Any], name: str) -> Recipe:
    """Return the recipe of these tables.

    Args:
        given: what the file holds.
        name: of the file, for what is said of it.

    Raises:
        InvalidOption: a key is unknown or a value is wrong.
        UnknownMethod: there is no such method.
        UnknownMetric: there is no such metric.
    """
    recipe = parsed(given, name)
    try:
        _check(recipe)
    except (InvalidOption, UnknownMethod, UnknownMetric) as error:
        raise type(error)(f"{name}: {error}") from None
    return recipe


def parsed(given: Mapping[str, Any], name: str) -> Recipe:
    """Return the recipe of these tables, of which methods, metrics and their options are not yet checked.

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
        raise InvalidOption(f"{name}: {_said(error, given)}") from None


def published(recipe: Recipe, path: str | Path) -> str:
    """Return the csv with the paper's numbers, which lies where the recipe says; "" if it says nothing.

    Raises:
        InvalidOption: it is not there.
    """
    if not recipe.paper.table:
        return ""
    return numbers_of(find_recipe(path), recipe.paper.table)


def numbers_of(recipe: Path, table: str) -> str:
    """Return the text of a paper's numbers, which lie beside the recipe that names them or come with Limelight.

    A recipe may be anybody's, and what it names goes into the run: so nothing else is read, whatever it says.

    Raises:
        InvalidOption: it is elsewhere, or not there.
    """
    what = f"{recipe.name}: the paper's numbers {shown(table)} can't be read"
    with files.refusing(InvalidOption, what):
        for folder in (recipe.parent, *(path.parent for path in [*shipped().values()][:1])):
            path = (folder / table).resolve()
            if not path.is_relative_to(folder.resolve()):
                raise InvalidOption(f"{what}: they must lie beside the recipe, or come with Limelight")
            if path.exists():
                return files.text_of(path)
    raise InvalidOption(f"{what}: there is no such file beside the recipe, nor among those of Limelight")


def _check(recipe: Recipe) -> None:
    """Check what a table alone can't tell."""
    names = recipe.models.names
    _check_data(recipe.data)
    for model in recipe.models.layers.keys() - {"default"}:
        _one_of(model, names, "models.layers names", "model")
    for model in recipe.models.weights_of:
        _one_of(model, names, "models.weights_of names", "model")
    for entry in recipe.methods:
        for model in entry.only:
            _one_of(model, names, f"{entry.name} is only for", "model")
        _check_options(entry, METHODS, Options)
    for entry in recipe.metrics:
        _check_options(entry, METRICS, MetricOptions)
        if entry.where:
            others = [label for label in recipe.entries if label != (entry.label or entry.name)]
            _one_of(entry.where, others, f"{entry.label or entry.name} counts where", "other metric")
            if recipe.entries[entry.where].where:
                raise InvalidOption(f"{entry.where!r} itself counts where another metric does; name that one")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidOption(f"models.names has {twice!r} twice")
    for model in names:
        _no_two("method", [e.label or e.name for e in recipe.methods if not e.only or model in e.only])
        if not recipe.methods_of(model):
            raise InvalidOption(f"no method goes with the model {model!r}")
    _no_two("metric", [e.label or e.name for e in recipe.metrics])
    _ = recipe.judges  # which checks their options


def _check_data(data: Data) -> None:
    """Check what can be known of a data set without its files."""
    if data.dataset.startswith(_SCHEMES):
        return
    if data.dataset not in _PUBLISHED:
        hint = nearest(data.dataset, _PUBLISHED)
        raise InvalidOption(
            f"there is no data set {data.dataset!r}{hint} (there are: {', '.join(_PUBLISHED)}, hf:NAME, wds:PATTERN)"
        )
    card = DATASETS.get(data.dataset)
    known = {"split": card.splits if card else (), "truth": card.truths if card else ()}
    for key, given in (("split", data.split), ("truth", data.truth)):
        if given and given not in known[key]:
            right = f"it has {', '.join(known[key])}" if known[key] else "give none"
            raise InvalidOption(f"{data.dataset} has no {key} {given!r}{nearest(given, known[key])} ({right})")


def _one_of(name: str, known: Sequence[str], what: str, kind: str) -> None:
    if name not in known:
        raise InvalidOption(f"{what} {name!r}, which is no {kind} here{nearest(name, known)}")


def _check_options(entry: MethodEntry | MetricEntry, registry: Registry[Any], shared: type[pydantic.BaseModel]) -> None:
    """Refuse a key that is neither the entry's own nor an option; either may have been meant."""
    known = dict.fromkeys([*type(entry).model_fields, *registry.find(entry.name).options, *shared.model_fields])
    for key in entry.options:
        if key not in known:
            hint = nearest(key, known)
            raise InvalidOption(f"{entry.name} has no option {key!r}{hint} (there are: {', '.join(known)})")


def _no_two(kind: str, labels: Sequence[str]) -> None:
    twice = next((one for one in labels if labels.count(one) > 1), None)
    if twice is not None:
        raise InvalidOption(f"two {kind}s are called {twice!r}; give one of them a label of its own")


def _said(error: pydantic.ValidationError, given: Mapping[str, Any]) -> str:
    """Say in one line what is wrong: a key that is unknown, before what may be missing because of it."""
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    where = _key(first["loc"], given)
    if first["type"] == "extra_forbidden":
        known = _fields([str(part) for part in first["loc"][:-1]])
        return f"unknown key {where!r}{nearest(str(first['loc'][-1]), known)} (there are: {', '.join(known)})"
    if first["type"] == "missing":
        return f"{where} is missing"
    reasons = [why(one) for one in error.errors() if _key(one["loc"], given) == where]
    return f"{where} = {shown(first['input'])}: {' or '.join(dict.fromkeys(reasons))}"


def _key(loc: Sequence[str | int], given: Any) -> str:
    """Return a key as the file has it, without the names of types that pydantic tried for its value."""
    found: list[str] = []
    for part in loc:
        if isinstance(given, Mapping | list | tuple):
            found.append(str(part))
            table = cast(Any, given)
            given = table.get(part) if isinstance(given, Mapping) else table[part]
    return ".".join(found)


def _fields(table: Sequence[str]) -> list[str]:
    """Return the keys of a table."""
    parts = {"data": Data, "mosaics": Mosaics, "preprocess": Preprocessing, "models": Models, "paper": Paper}
    return list((parts[table[-1]] if table else Recipe).model_fields)


def schema() -> str:
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
