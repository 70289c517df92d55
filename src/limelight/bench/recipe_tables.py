"""The tables of a recipe: which pictures, models, methods and metrics, and how pictures become inputs."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, cast

import pydantic
from pydantic import Field

from limelight.data.datasets import DATASETS
from limelight.data.synthetic import MOST_SCENES
from limelight.model.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess

Named = Annotated[str, Field(min_length=1)]
_LONGEST_SIDE = 16_384
Pixels = Annotated[int, Field(ge=1, le=_LONGEST_SIDE)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
PixelsOrNone = Annotated[int, Field(ge=0, le=_LONGEST_SIDE)]

SCHEMES = ("hf:", "wds:")
"""What names of data sets begin with that are published elsewhere, or are shards."""

DATASET_NAMES = ("scenes", *(name for name in DATASETS if not name.startswith(SCHEMES)))
"""All other data sets."""

_LABELS: Any = {"anyOf": [{"type": "array", "items": {"type": "string"}, "minItems": 1}, {"type": "string"}]}
_DATASETS: Any = [{"enum": list(DATASET_NAMES)}, {"pattern": f"^({'|'.join(SCHEMES)})."}]


class Strict(pydantic.BaseModel):
    """A table that has no other keys."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class _Open(pydantic.BaseModel):
    """A table whose other keys are options."""

    model_config = pydantic.ConfigDict(extra="allow", frozen=True)

    @property
    def options(self) -> dict[str, Any]:
        """The keys that are none of its own, lists as tuples."""
        extra = self.model_extra or {}
        return {k: tuple(cast(list[Any], v)) if isinstance(v, list) else v for k, v in extra.items()}


class Mosaics(Strict):
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


class Data(Strict):
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


class Preprocessing(Strict):
    """How a picture becomes an input, of every model; what is not given is as usual for ImageNet.

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
        usual = {name: field.default for name, field in type(self).model_fields.items()}
        if self.resize and any(getattr(self, name) != usual[name] for name in ("resize_shorter", "center_crop")):
            raise ValueError("resize stands in place of resize_shorter and center_crop; give one or the other")
        return self

    @pydantic.model_serializer(mode="wrap")
    def _as_given(self, handler: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what ``resize`` stands in place of, so that what is written can be read again."""
        table: dict[str, Any] = handler(self)
        return {k: v for k, v in table.items() if not (self.resize and k in ("resize_shorter", "center_crop"))}

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


class Loading(Strict):
    """How a network is loaded, as by ``limelight.load``; what is not given is the network's own.

    Attributes:
        labels: names of the classes, in order; or a file of them beside the recipe, which is read with it.
        texts: the classes of a pair of towers, of pictures and of texts; or a file of them, as for labels.
        templates: prompts with ``{}`` in place of each text.
        size: of the input in pixels, a side or (rows, columns).
        mean: of the normalisation, per channel, for values in [0, 1].
        std: per channel.
        outputs: whether the network gives ``logits`` or ``probabilities``.
    """

    labels: Annotated[tuple[Named, ...], Field(min_length=1)] | None = Field(None, json_schema_extra=_LABELS)
    texts: Annotated[tuple[Named, ...], Field(min_length=1)] | None = Field(None, json_schema_extra=_LABELS)
    templates: Annotated[tuple[Named, ...], Field(min_length=1)] | None = None
    size: Pixels | Annotated[tuple[Pixels, ...], Field(min_length=1, max_length=3)] | None = None
    mean: Annotated[tuple[Finite, ...], Field(min_length=1)] | None = None
    std: Annotated[tuple[Positive, ...], Field(min_length=1)] | None = None
    outputs: Literal["logits", "probabilities"] | None = None

    @pydantic.model_serializer(mode="wrap")
    def _as_given(self, handler: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {k: v for k, v in handler(self).items() if v is not None}


class _HasLoading(Strict):
    """A table that says of some networks how they are loaded; of none, it is written as before there was this key."""

    load: Mapping[str, Loading] = Field(default_factory=dict[str, Loading])

    @pydantic.model_serializer(mode="wrap")
    def _as_before(self, handler: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {k: v for k, v in handler(self).items() if v or k != "load"}


class Part(Data, _HasLoading):
    """One of several data sets, whose pictures are also taken together.

    Attributes:
        name: under which its pictures stand in the results; that of the data set unless given.
        preprocess: how its pictures become inputs, in place of the recipe's.
        weights_of: weights that some models have for it, by model, in place of the recipe's.
        load: how some are loaded for it, by model, in place of the recipe's.
    """

    name: str = Field("", pattern="^[^/]*$")
    preprocess: Preprocessing | None = None
    weights_of: Mapping[str, Named] = Field(default_factory=dict[str, str])

    @property
    def alone(self) -> Data:
        """The pictures as those of a recipe of this data set alone."""
        return Data(**self.model_dump(include=set(Data.model_fields)))


class Models(_HasLoading):
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
        load: how they are loaded, by model, and of all others as ``default`` says.
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


class Paper(Strict):
    """The published numbers that stand beside ours.

    Attributes:
        table: a csv, relative to the recipe, with the columns paper, table, model, method, metric, value: names as
            in the recipe, values in units of the metrics. The metric ``seconds`` is the time of an explanation.
        note: what has to be known to compare.
    """

    table: str = ""
    note: str = ""
