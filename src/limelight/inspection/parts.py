"""What a strategy is, beside where: parts of a layer's activations, their share of the relevance, pictures of each."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

from limelight.concept.references import Crop
from limelight.ops.statistics import interval

Against = Literal["class", "others", "nothing"]


@dataclass(frozen=True)
class Share:
    """A part's share of the relevance at the layer, in the mean of some pictures.

    Attributes:
        mean: of the pictures' shares; below 0 the part speaks against the class.
        low: of the 95 % interval (bootstrap over pictures); NaN of a single picture.
        high: of the interval.
        n: how many pictures.
    """

    mean: float
    low: float
    high: float
    n: int

    def exceeds(self, other: "Share | None") -> bool:
        """Whether it is larger than another, or than 0 if there is none, at the nearer ends of the intervals."""
        return self.low > (other.high if other else 0)

    @staticmethod
    def of(shares: npt.NDArray[np.float64]) -> "Share":
        """Return that of pictures with these shares."""
        return Share(float(shares.mean()), *interval("mean", shares, resamples=2000), len(shares))


@dataclass(frozen=True, eq=False)
class TypicalPart:
    """A part that is typical of a strategy.

    Attributes:
        channels: of which it is mostly made, from 0, the strongest first.
        weights: theirs, in shares of the sum of all its weights.
        stability: mean cosine similarity with its like in other random starts.
        members: its share in the strategy's pictures.
        rest: its share in the pictures that these are compared with; None of none.
        crops: of pictures of the data set to which it answers most; each ``picture`` is a place in the data set.
        maps: for each of the strategy's examples the relevance that passes the layer through it alone, (H, W).
    """

    channels: tuple[int, ...]
    weights: tuple[float, ...]
    stability: float
    members: Share
    rest: Share | None
    crops: tuple[Crop, ...] = field(repr=False)
    maps: tuple[Tensor, ...] = field(repr=False)


@dataclass(frozen=True, eq=False)
class StrategyParts:
    """The parts that are typical of a strategy.

    Attributes:
        layer: whose activations they are parts of.
        against: what the strategy's pictures were compared with: the class's other pictures, explained for the same
            class; pictures of other classes, each for the class that the network gives it; or nothing.
        parts: those whose share is larger than in these others, or than 0, at the nearer ends of the intervals; by what
            half of the pictures had said of the difference, the largest first.
        explained: share of the squared activations of which all parts together are made.
        examples: places of the pictures of which there are maps.
        notes: what the reader should know.
    """

    layer: str
    against: Against
    parts: tuple[TypicalPart, ...]
    explained: float
    examples: tuple[int, ...]
    notes: tuple[str, ...] = ()
