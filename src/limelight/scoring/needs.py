"""The functions that a metric may ask for, each by a parameter's name; see ``scoring.map_batch.MapBatch``."""

from typing import Literal, Protocol, runtime_checkable

from torch import Tensor

from limelight.engine.baselines import Fill
from limelight.engine.needs import Copies
from limelight.engine.saliency import Saliency
from limelight.model.classifier import Classifier
from limelight.ops.order import Step, Ties
from limelight.shapes import Curve, Images, Index, Maps, Scores

Space = Literal["normalised", "pixel"]
"""Where a mask multiplies: fading to the mean colour (``normalised``) or to black (``pixel``)."""

ScoreOf = Literal["prob", "logit"]
"""Which score of the class; where a function of the outputs is explained, its own stands for either."""


@runtime_checkable
class CleanScore(Protocol):
    """Scores the images as they are."""

    def __call__(self, kind: ScoreOf = "prob") -> Scores:
        """Return the target's score, (n,)."""
        ...


@runtime_checkable
class LogitsOf(Protocol):
    """Gives the logits of changed copies of the images."""

    def __call__(self, copies: Copies, count: int) -> Tensor:
        """Return the logits of ``count`` copies of every image, (n, count, classes)."""
        ...


@runtime_checkable
class FillScore(Protocol):
    """Scores what stands where all of a picture is taken away."""

    def __call__(self, fill: Fill, kind: ScoreOf = "prob") -> Scores:
        """Return the target's score, (n,)."""
        ...


@runtime_checkable
class AsMasks(Protocol):
    """Makes masks of the maps."""

    def __call__(self, renormalize: bool = True) -> Maps:
        """Return the maps as masks in [0, 1], (n, *space).

        Negative values become 0. With ``renormalize`` each map is scaled to [0, 1], but for a constant one, which stays
        what it is; without, it must lie in [0, 1] already.
        """
        ...


@runtime_checkable
class ExplainedPart(Protocol):
    """Multiplies the images by their maps."""

    def __call__(self, space: Space, renormalize: bool) -> Images:
        """Return the images times their maps, (n, c, *space)."""
        ...


@runtime_checkable
class MaskedScore(Protocol):
    """Scores the images times their maps."""

    def __call__(self, space: Space = "normalised", renormalize: bool = True) -> Scores:
        """Return the target's score, (n,): the class's probability, or what the function gives."""
        ...


@runtime_checkable
class ExplainMasked(Protocol):
    """Explains the images times their maps."""

    def __call__(self, space: Space = "normalised", renormalize: bool = True) -> Saliency:
        """Return the explanation, of the same class."""
        ...


@runtime_checkable
class ExplainWithModel(Protocol):
    """Explains the images by another model."""

    def __call__(self, classifier: Classifier | None = None) -> Saliency:
        """Return this method's explanation by another model, of the same class; by the model itself without one."""
        ...


@runtime_checkable
class OtherClass(Protocol):
    """Tells which class is watched beside the explained one."""

    def __call__(self, watch: int | str | None) -> Index:
        """Return a class by its index or label, or of each image the most probable one that is not explained, (n,)."""
        ...


@runtime_checkable
class CurveOf(Protocol):
    """Scores the images while their pixels change in the map's order."""

    def __call__(
        self,
        direction: Literal["deletion", "insertion"],
        fill: Fill,
        step: Step,
        ties: Ties,
        kind: ScoreOf,
        watched: Index | None = None,
    ) -> Curve:
        """Return the scores of the target, or of the class (n,) that is watched in its place, (n, steps + 1).

        ``deletion`` goes from the image to the fill, ``insertion`` from the fill to the image. Both ends are the same
        for all maps of an image and passed once.
        """
        ...
