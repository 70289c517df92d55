"""Whether two ways of changing the same pictures change a network's answers differently."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from limelight.ops.statistics import interval

Answers = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Rate:
    """The share of some pictures that a network takes for a class.

    Attributes:
        share: of the pictures.
        low: of the 95 % interval (Wilson).
        high: of the interval.
        n: how many pictures.
        probability: mean of the class's.
    """

    share: float
    low: float
    high: float
    n: int
    probability: float

    @staticmethod
    def of(taken: Answers, probability: npt.NDArray[np.float64]) -> "Rate":
        """Return that of pictures with these answers."""
        share = binomtest(int(taken.sum()), len(taken)).proportion_ci(method="wilson")
        return Rate(float(taken.mean()), float(share.low), float(share.high), len(taken), float(probability.mean()))

    def __str__(self) -> str:
        return f"{self.share:z.0%} [{100 * self.low:z.0f}, {100 * self.high:z.0f}]"


@dataclass(frozen=True)
class Trial:
    """What a change does, against the same change of something else in the same pictures.

    Attributes:
        change: what was done.
        changed: how many are taken for the class then.
        control: how many are when the same is done to something else.
        difference: ``changed - control``, with the 95 % interval of a paired bootstrap; over groups of changes where
            there are some.
        p: of an exact paired test (McNemar) of "it makes no difference", two-sided.
    """

    change: str
    changed: Rate
    control: Rate
    difference: tuple[float, float, float]
    p: float

    @staticmethod
    def of(change: str, changed: "Reply", control: "Reply", groups: npt.NDArray[np.int64] | None = None) -> "Trial":
        """Compare the answers to two changes of the same pictures.

        Args:
            change: what was done.
            changed: the answers then.
            control: the answers when it is done to something else.
            groups: from 0, which of them are alike, as the same was pasted into several pictures; None if none are.
        """
        apart = changed.taken.astype(float) - control.taken
        gained, lost = int((apart > 0).sum()), int((apart < 0).sum())
        if groups is not None:
            apart = np.bincount(groups, apart) / np.bincount(groups)
        p = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
        low, high = interval("mean", apart, resamples=2000)
        return Trial(change, changed.rate, control.rate, (float(apart.mean()), low, high), p)


@dataclass(frozen=True)
class Reply:
    """What a network says of pictures.

    Attributes:
        taken: whether it takes each for the class, (n,).
        probability: of the class, (n,).
    """

    taken: Answers
    probability: npt.NDArray[np.float64]

    @property
    def rate(self) -> Rate:
        """How many are taken for the class."""
        return Rate.of(self.taken, self.probability)
