"""What the page's networks and pictures are, and what is known of them already."""

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from inspect import signature
from pathlib import Path
from statistics import median
from typing import Any, Generic, TypeVar

from torch import Tensor

from limelight.api import as_input
from limelight.engine.method import Method
from limelight.engine.saliency import Saliency
from limelight.errors import MOST_SHOWN, InvalidImage, InvalidOption, UnknownModel, UnsupportedModel, nearest, show
from limelight.model.classifier import Classifier
from limelight.results.explanation import Explanation, explanations
from limelight.scoring.image_batch import ImageBatch
from limelight.shapes import Images, Logits
from limelight.web.studio.asked import Request, Target, method_of, part, table, target_of
from limelight.zoo import load

PICTURES = 16
"""Inputs that are kept, with their scores and fills: some megabytes each."""

EXPLANATIONS = 64
"""Explanations that are kept."""

T = TypeVar("T")


class Latest(OrderedDict[Hashable, T], Generic[T]):
    """Keeps so many of the values that were used last."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def keep(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value of a key, made if it is not there."""
        if key not in self:
            self[key] = make()
        self.move_to_end(key)
        while len(self) > self._most:
            self.popitem(last=False)
        return self[key]


@dataclass(frozen=True)
class Look:
    """A picture as a network sees it.

    Attributes:
        classifier: the network.
        model: its name here.
        picture: the picture's name here.
        path: the picture's file.
        x: the input, (1, c, H, W).
        images: the same with what metrics share: scores and fills, worked out once.
        loading: how the network was loaded, for ``limelight.load``, other than by its name.
    """

    classifier: Classifier
    model: str
    picture: str
    path: Path
    x: Images
    images: ImageBatch = field(repr=False)
    loading: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the input."""
        return int(self.x.shape[2]), int(self.x.shape[3])

    @cached_property
    def logits(self) -> Logits:
        """Of the picture, (1, classes)."""
        return self.images.logits


@dataclass(frozen=True)
class Told:
    """An explanation that was made, and all that made it.

    Attributes:
        key: of the request.
        look: the picture and the network.
        method: with its options.
        options: as they were given.
        target: what is explained.
        saliency: the record.
    """

    key: str
    look: Look
    method: Method
    options: dict[str, Any]
    target: Target
    saliency: Saliency = field(repr=False)

    @property
    def explanation(self) -> Explanation:
        """As ``limelight.explain`` returns it."""
        return explanations(self.saliency, self.look.classifier, self.look.x, self.method.name)[0]


class Studio:
    """Networks by name, and the pictures and explanations that were looked at last.

    Args:
        models: names that ``limelight.load`` knows, or classifiers.
        read: a picture's name -> the path of its file; raises ``KeyError`` for what there is not.
        loading: how networks are loaded that are given by their names, for ``limelight.load``.
    """

    def __init__(
        self,
        models: Sequence[str | Classifier],
        read: Callable[[str], Path],
        loading: Mapping[str, Any] | None = None,
    ) -> None:
        usual = signature(load).parameters
        self._loading = {name: value for name, value in (loading or {}).items() if value != usual[name].default}
        self._models = {m if isinstance(m, str) else m.name: m for m in models}
        self._read = read
        self._looks: Latest[Look] = Latest(PICTURES)
        self.kept: Latest[Told] = Latest(EXPLANATIONS)

    @property
    def models(self) -> list[str]:
        """Names of the networks."""
        return list(self._models)

    def classifier(self, name: str) -> Classifier:
        """Return a network, loaded when it is first asked for.

        Raises:
            UnknownModel: the page was not started with it.
            UnsupportedModel: it is no network of pictures.
        """
        if name not in self._models:
            hint = nearest(name, self._models) or f" (they are {', '.join(self._models)})"
            raise UnknownModel(f"{show(name, MOST_SHOWN)} is none of the models here{hint}")
        model = self._models[name]
        if isinstance(model, str):
            model = self._models[name] = self.load(model)
            if len(model.input_size) != 2:
                raise UnsupportedModel(f"{name} is no network of pictures: its input has {len(model.input_size)} axes")
        return model

    def load(self, name: str) -> Classifier:
        """Load a network by its name."""
        return load(name, **self._loading)

    def path(self, picture: str) -> Path:
        """Return where a picture is.

        Raises:
            InvalidImage: there is none of this name.
        """
        try:
            return self._read(picture)
        except KeyError:
            raise InvalidImage(f"there is no picture {show(picture, MOST_SHOWN)} here") from None

    def look(self, request: Request) -> Look:
        """Return the picture of a request as its model sees it."""
        model, picture = part(request, "model", str), part(request, "picture", str)

        def make() -> Look:
            classifier, path = self.classifier(model), self.path(picture)
            x = classifier.to_batch(as_input(classifier, path)[None])
            return Look(classifier, model, picture, path, x, ImageBatch(classifier, x), self._loading)

        return self._looks.keep((model, picture), make)

    def ask(self, request: Request) -> "Asked":
        """Return what a request to explain asks for, checked."""
        look = self.look(request)
        method, options = method_of(request)
        return Asked(look, method, options, target_of(request, look.classifier, look.logits))

    def recall(self, request: Request) -> Told:
        """Return an explanation by its key, made anew where it is forgotten and the request says how.

        Raises:
            InvalidOption: it is forgotten, and nothing is said.
        """
        key, again = part(request, "explanation", str), table(request, "again")
        if key in self.kept:
            return self.kept.keep(key, lambda: self.kept[key])
        if not again:
            raise InvalidOption("this explanation is kept no longer; explain the picture again")
        return self.tell(self.ask({**request, **again}))

    def tell(self, asked: "Asked") -> Told:
        """Return an explanation, made if it is not kept."""
        return self.kept.keep(asked.key, lambda: asked.explain(asked.method))

    def seconds_per_pass(self, classifier: Classifier, x: Tensor) -> float:
        """Return the seconds of a pass of one picture, number once: the median of three."""
        key = ("seconds in the studio", *x.shape)
        if key not in classifier.memo:
            classifier.memo[key] = median(_time(lambda: classifier(x)) for _ in range(3))
        return classifier.memo[key]


@dataclass(frozen=True)
class Asked:
    """A request to explain, understood; see ``Told``."""

    look: Look
    method: Method
    options: dict[str, Any]
    target: Target

    @property
    def key(self) -> str:
        """The same for the same request, in every process."""
        target = (self.target.index, self.target.other, self.target.kind if self.target.other is not None else "")
        said = [self.look.model, self.look.picture, self.method.name, target, self.options]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:20]

    def explain(self, method: Method) -> Told:
        """Explain by the method that is asked for, or by it with a budget."""
        saliency = method.run(self.look.classifier, self.look.x, self.target.like)
        return Told(self.key, self.look, self.method, self.options, self.target, saliency)


def _time(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
