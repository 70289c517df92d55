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
from limelight.shapes import Logits, Maps
from limelight.web.studio.schema import options_of

Request = Mapping[str, Any]
T = TypeVar("T")
REQUIRED: Any = object()


def part(request: Request, name: str, kind: type[T], default: Any = REQUIRED) -> T:
    """Return a part of a request, of a type.

    Raises:
        InvalidOption: it is missing, or of another type.
    """
    value = request.get(name)
    if value is None and default is not REQUIRED:
        return default
    if isinstance(value, int) and not isinstance(value, bool) and kind is float:
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        words = {str: "a text", int: "a whole number", float: "a number", list: "a list", dict: "a table"}
        raise InvalidOption(f"{name} = {show(value, MOST_SHOWN)}: give {words.get(kind, kind.__name__)}")
    return value


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
    name, given = part(request, "method", str), part(request, "options", dict, {})
    texts = {o["name"] for o in options_of(build(name)) if o["kind"] == "text"} if given else set[str]()
    options = {o: _read(v) if o in texts else v for o, v in cast(dict[str, Any], given).items() if v is not None}
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
    asked = part(request, "target", dict, {})
    kind = choice(asked, "kind", ("margin", "finer"), "margin")
    given, against = part(asked, "class", int, None), part(asked, "against", int, None)
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
    return torch.from_numpy(np.frombuffer(data, np.uint8).copy()).view(1, *size).float() / 255
