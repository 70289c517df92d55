"""What the page may ask: every text, list and number has a bound, and nothing else is taken."""

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from limelight.errors import show
from limelight.web.guard import LARGEST_REQUEST
from limelight.web.refusal import Refusal

MOST_EVALUATED = 200
"""Pictures of an evaluation."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Number = Annotated[int, Field(ge=0, le=10_000_000)]
Simple = bool | Annotated[int, Field(ge=-(2**53), le=2**53)] | float | Annotated[str, Field(max_length=300)] | None
Options = Annotated[dict[Name, Simple | Annotated[list[Simple], Field(max_length=64)]], Field(max_length=64)]
Fill = Literal["blur", "mean", "inpaint", "black"]


class Strict(BaseModel):
    """Of the very types, and nothing besides."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Target(Strict):
    """What is explained; None for the predicted class, and for no other to compare with."""

    class_: Annotated[Number | None, Field(alias="class")] = None
    against: Number | None = None
    kind: Literal["margin", "finer"] = "margin"


class OfPicture(Strict):
    """A picture, by the name that the server gave it, and one of the server's models."""

    picture: Name
    model: Name


class Classify(OfPicture):
    """The top classes, or those whose labels hold a text."""

    top: Annotated[int, Field(ge=1, le=100)] = 8
    find: Annotated[str, Field(max_length=200)] | None = None


class Prices(OfPicture):
    """What every method takes."""


class How(Strict):
    """A method, what it explains, and its options."""

    method: Name
    target: Target = Target()
    options: Options = {}


class Explain(OfPicture, How):
    """A map."""


class Hide(OfPicture):
    """The classes when a part of the picture is hidden, or nothing else is seen."""

    target: Target = Target()
    mask: Annotated[str, Field(max_length=LARGEST_REQUEST)]
    mode: Literal["hide", "keep"] = "hide"
    fill: Fill = "blur"


class OfExplanation(OfPicture):
    """Something about a map, and how to make it again if it is forgotten."""

    explanation: Name
    again: How


class CompareHiding(OfExplanation):
    """Hide what the map says, and as much at random."""

    area: Annotated[float, Field(ge=0, le=1)]
    fill: Fill = "blur"


class Curves(OfExplanation):
    """Deletion and insertion."""

    fill: Fill = "blur"


class Layers(OfPicture):
    """The maps of all stages."""

    target: Target = Target()
    method: Name


class Tokens(OfPicture):
    """What a token sees."""

    target: Target = Target()
    token: Annotated[list[Annotated[int, Field(ge=0, le=10_000)]], Field(min_length=2, max_length=2)]
    layer: Name | None = None


class Trust(OfExplanation):
    """How far a map can be trusted."""


class Evaluate(Strict):
    """Methods by metrics over several pictures."""

    pictures: Literal["all"] | Annotated[list[Name], Field(min_length=1, max_length=MOST_EVALUATED)]
    model: Name
    methods: Annotated[list[Name], Field(min_length=1, max_length=100)]
    metrics: Annotated[list[Name], Field(min_length=1, max_length=30)]


class Export(OfExplanation):
    """A file."""

    kind: Literal["png", "svg", "npz", "json"]


class RunPicture(OfPicture):
    """A picture's numbers in the run; ``look`` counts how often the page looked whether there are more by now."""

    look: Number = 0


class RunLeaders(Strict):
    """The methods' figures by a metric."""

    model: Name
    metric: Name
    look: Number = 0


class RunStrip(Strict):
    """Some of the run's pictures in an order."""

    model: Name
    order: Literal["run", "best", "worst", "apart", "unsure"] = "run"
    method: Name | None = None
    metric: Name | None = None
    wrong: bool = False
    first: Number = 0
    count: Annotated[int, Field(ge=0, le=500)] = 60
    look: Number = 0


class InspectionStrip(Strict):
    """Some of an inspection's pictures: those of a strategy, by its number, or all."""

    model: Name
    strategy: Number | None = None
    first: Number = 0
    count: Annotated[int, Field(ge=0, le=500)] = 60


R = TypeVar("R", bound=Strict)


def parse(kind: type[R], body: bytes) -> R:
    """Read a request.

    Raises:
        Refusal: it is another one.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        given = "" if first["type"] in ("missing", "json_invalid") else f", not {show(first['input'], 60)}"
        raise Refusal(400, f"{where or 'the request'}: {first['msg']}{given}") from None
