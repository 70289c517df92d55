"""What a family of models answers: a module, and what its zoo knows of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image
from torch import Tensor, nn

from limelight.errors import InvalidOption
from limelight.model.preprocess import Preprocess


@dataclass(frozen=True)
class Transform:
    """The preprocessing that a zoo prescribes for a checkpoint, and what to build it again from.

    Attributes:
        function: turns an RGB picture into the normalised input.
        source: see ``Recipe``; kept here so that a classifier can be saved by name.
    """

    function: Callable[[Image.Image], Tensor]
    source: Mapping[str, Any]

    def __call__(self, image: Image.Image) -> Tensor:
        """Return the normalised input, shape (3, H, W)."""
        return self.function(image.convert("RGB"))


@dataclass(frozen=True)
class Towers:
    """A pair of towers, of pictures and of texts; see ``TextClassifier``.

    Attributes:
        image: from pictures to vectors: the recipe's module, or a method of it.
        text: from texts to vectors, or the vectors of a saved classifier's texts.
        scale: of the cosine.
        bias: added to it; None for none.
    """

    image: Callable[[Any], Any]
    text: Callable[[Any], Any] | Tensor
    scale: float
    bias: float | None = None


@dataclass(frozen=True)
class Recipe:
    """A module and what its zoo knows of it.

    Attributes:
        module: the model.
        function: the zoo's own preprocessing.
        labels: names of the classes, if they fit the module.
        source: the zoo, the name in it and whatever else is needed to build the module without its weights.
        towers: of a pair of towers both, ``module`` being that of pictures; else None.
    """

    module: nn.Module
    function: Callable[[Image.Image], Tensor]
    labels: Sequence[str] | None = None
    source: Mapping[str, Any] = field(default_factory=dict[str, Any])
    towers: Towers | None = None

    @property
    def preprocess(self) -> Transform:
        """The preprocessing together with its source."""
        return Transform(self.function, self.source)


def labels_that_fit(labels: Sequence[str] | None, classes: int) -> Sequence[str] | None:
    """Return the labels if there is one for each class."""
    return labels if labels is not None and len(labels) == classes else None


def default_preprocess(size: int) -> Preprocess:
    """Return the usual preprocessing: resize with a margin of one seventh, crop, normalise as for ImageNet."""
    return Preprocess(round(size * 8 / 7), size)


def needs_texts(name: str) -> InvalidOption:
    """Return the error for a pair of towers without texts."""
    return InvalidOption(
        f"{name} is a pair of towers, of pictures and of texts; give the texts that are its classes: "
        "texts=['a cat', 'a dog'] (--texts on the command line)"
    )
