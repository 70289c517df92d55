"""What stands in the header of a saved classifier, beside its weights or its program."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic

from limelight.model.preprocess import Preprocess

HEADER = "limelight.classifier"
"""The header's key in a file."""

TRUST = "if you know who made it, load it with trust=True (--trust on the command line)"
"""Ends what is said of files that are code."""

_Pixels = Annotated[int, pydantic.Field(ge=1)]


class Crop(pydantic.BaseModel):
    """How a network wants its pictures, as ``Preprocess``."""

    model_config = pydantic.ConfigDict(strict=True, allow_inf_nan=False)

    resize: _Pixels | tuple[_Pixels, _Pixels] | None
    crop: _Pixels | tuple[_Pixels, _Pixels] | None
    mean: tuple[float, ...]
    std: tuple[Annotated[float, pydantic.Field(gt=0)], ...]
    covered: bool = False

    def build(self) -> Preprocess:
        """Return the preprocessing."""
        return Preprocess(**self.model_dump())


class Header(pydantic.BaseModel):
    """What stands in the header of a file that ``save`` wrote; read back, it may say anything."""

    model_config = pydantic.ConfigDict(strict=True)

    name: str
    labels: list[str] | None
    layer: tuple[str, ...] | None
    size: _Pixels | tuple[_Pixels, ...]
    dtype: Literal["float16", "bfloat16", "float32", "float64"]
    outputs: Literal["logits", "probabilities"] | None
    multilabel: bool | None
    output: str | int | None = None
    mean: tuple[float, ...] = ()
    std: tuple[Annotated[float, pydantic.Field(gt=0)], ...] = ()
    bands: tuple[int, int, int] | None = None
    source: dict[str, Any] | None = None
    preprocess: Crop | None = None

    def settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return labels, layer and the like: what the user gives now goes before what the file says."""
        return {key: getattr(self, key) if value is None else value for key, value in given.items()}

    def name_classes(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the same without the layer, of which another network need have none."""
        return self.settings({key: value for key, value in given.items() if key != "layer"}) | {"layer": given["layer"]}

    def is_of(self, family: str, name: str) -> bool:
        """Whether the weights are those of this model of a family."""
        source = self.source or {}
        return (source.get("zoo"), source.get("name")) == (family, name)
