"""What the page asks, read with care: the parts of a request, and the class that is meant."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from limelight import targets
from limelight.engine.method import Method, build
from limelight.errors import MOST_SHOWN, InvalidOption, show
from limelight.model.classifier import Classifier
from limelight.model.targets import TargetLike, find_class
from limelight.ops.arrays import from_numpy
from limelight.shapes import Logits, Maps
from limelight.web.studio.schema import options_of

Request = Mapping[str, Any]
T = TypeVar("T")


WORDS: Mapping[Any, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a table",
}


def part(request: Request, name: str, kind: type[T], default: T | None = None) -> T:
    """Return a part of a request, of a type, or the default where it is missing or null.

    Raises:
        InvalidOption: it is missing and has no default, or is of another type.
    """
    value = request.get(name)
    if value is None and default is not None:
        return default
    value = optional(request, name, kind)
    if value is None:
        raise InvalidOption(f"{name} is missing; give {WORDS[kind]}")
    return value


def optional(request: Request, name: str, kind: type[T]) -> T | None:
    """Return a part of a request, of a type, or None where it is missing or null.

    Raises:
        InvalidOption: it is of another type.
    """
    value: Any = request.get(name)
    if type(value) is int and kind is float:
        value = float(value)
    if value is not None and type(value) is not kind:
        raise InvalidOption(f"{name} = {show(value, MOST_SHOWN)}: give {WORDS[kind]}")
    return value


def names(request: Request, name: str) -> list[str]:
    """Return a part of a request that is a list of texts, each once."""
    given = listed(request, name)
    texts = [one for one in given if isinstance(one, str)]
    if not texts or len(texts) < len(given):
        raise InvalidOption(f"{name} = {show(given, MOST_SHOWN)}: give a list of names")
    return list(dict.fromkeys(texts))


def listed(request: Request, name: str) -> list[Any]:
    """Return a part of a request that is a list."""
    return cast(list[Any], part(request, name, list))


def table(request: Request, name: str) -> dict[str, Any]:
    """Return a part of a request that is a table, empty where it is missing."""
    return cast(dict[str, Any], optional(request, name, dict) or {})


def choice(request: Request, name: str, choices: Mapping[str, Any] | tuple[str, ...], default: str) -> str:
    """Return a part of a request that is one of some words.

    Raises:
        InvalidOption: it is another.
    """
    word = part(request, name, str, default)
    if word not in choices:
        raise InvalidOption(f"{name} = {show(word, MOST_SHOWN)}; there are {', '.join(choices)}")
    return word


def method_of(request: Request) -> tuple[Method, dict[str, Any]]:
    """Return the method that is asked for, and the options that were given to it, without those left at null.

    Raises:
        UnknownMethod: there is none of this name.
        InvalidOption: an option that it has not, or that can't be.
    """
    name, given = part(request, "method", str), table(request, "options")
    texts = {o["name"] for o in options_of(build(name)) if o["kind"] == "text"} if given else set[str]()
    options = {o: _read(v) if o in texts else v for o, v in given.items() if v is not None}
    return build(name, **options), options


def _read(value: Any) -> Any:
    """Read a text as JSON where it can be; several layers stand with commas between them."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        names = [one.strip() for one in value.split(",")]
        return names[0] if len(names) == 1 else names


@dataclass(frozen=True)
class Target:
    """What is explained.

    Attributes:
        index: of the class.
        other: the class against which it is explained, or None.
        kind: how: ``margin``, y_a - y_b, or ``finer``, y_a - 0.6 y_b.
        given: whether the class was named; else it is the predicted one.
    """

    index: int
    other: int | None
    kind: str
    given: bool

    @property
    def function(self) -> targets.Target | None:
        """The score as a function of logits; None for that of the class alone."""
        if self.other is None:
            return None
        if self.kind == "finer":
            return targets.finer(self.index, others=self.other)
        return targets.margin(self.index, self.other)

    @property
    def like(self) -> TargetLike:
        """What ``explain`` is given."""
        return self.function or self.index

    def score(self, classifier: Classifier, logits: Logits) -> Tensor:
        """Return the score of rows of logits, (n,): the class's logit, or what it has more than the other."""
        if self.function is not None:
            return self.function(logits)
        index = torch.full((len(logits),), self.index, device=logits.device)
        return classifier.outputs.score(logits, index, "logit")


def target_of(request: Request, classifier: Classifier, logits: Logits) -> Target:
    """Return what is to be explained of a picture with these logits, (1, classes).

    Raises:
        UnknownTarget: there is no such class.
        InvalidOption: a class against itself, or no such kind.
    """
    asked = table(request, "target")
    kind = choice(asked, "kind", ("margin", "finer"), "margin")
    given, against = optional(asked, "class", int), optional(asked, "against", int)
    index = int(logits.argmax()) if given is None else find_class(given, logits.shape[1], classifier.labels)
    other = None if against is None else find_class(against, logits.shape[1], classifier.labels)
    if index == other:
        raise InvalidOption("a class against itself is 0 everywhere; give two classes")
    return Target(index, other, kind, given is not None)


def mask_of(request: Request, size: tuple[int, int]) -> Maps:
    """Return the brush's mask, (1, H, W) in [0, 1], of a size.

    Raises:
        InvalidOption: it is no base64, or not of that size.
    """
    try:
        data = base64.b64decode(part(request, "mask", str), validate=True)
    except binascii.Error:
        raise InvalidOption("mask: give the bytes in base64") from None
    if len(data) != size[0] * size[1]:
        raise InvalidOption(f"mask: {len(data)} bytes; give one for each of {size[0]} x {size[1]} pixels")
    return from_numpy(np.frombuffer(data, np.uint8).copy()).view(1, *size).float() / 255
