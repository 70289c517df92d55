"""The functions that a method may ask for, each by a parameter's name; see ``engine.request``.

``copies`` always makes m changed copies of the images: it is given which image each is a copy of and its number, (m,)
each, and returns the copies, (m, c, *space). It is called chunk by chunk, so that memory does not grow with their
number.
"""

from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

from torch import Tensor

from limelight.engine.baselines import Fill
from limelight.model.targets import ScoreKind
from limelight.shapes import Images, Index

Copies = Callable[[Index, Index], Images]
"""Image numbers (m,) and copy numbers (m,) -> changed copies of the images, (m, c, *space)."""

CopiesOf = Callable[[Tensor, Index, Index], Images]
"""The same, made of a tensor whose gradient is wanted, which comes first."""

TakeGradients = Callable[[Index, Index, Images], None]
"""Takes in image numbers (m,), copy numbers (m,) and gradients (m, c, *space)."""

FillOf = Callable[[Fill], Images]
"""What stands where the pictures are taken away, (n, c, *space)."""


@runtime_checkable
class ScoresOf(Protocol):
    """Scores changed copies of the images."""

    def __call__(self, copies: Copies, count: int, kind: ScoreKind | None = None) -> Tensor:
        """Return the score of each copy, (n, s).

        Args:
            copies: makes them.
            count: how many there are of every image.
            kind: which score; None for the one that is explained.
        """
        ...


@runtime_checkable
class ScoresWhere(Protocol):
    """Scores some of the changed copies of the images."""

    def __call__(self, copies: Copies, wanted: Tensor, kind: ScoreKind | None = None) -> Tensor:
        """Return the score of each copy, (n, s), and 0 for those that are not wanted, which cost nothing.

        Args:
            copies: makes them.
            wanted: which copies of which image are scored, (n, s).
            kind: which score; None for the one that is explained.
        """
        ...


@runtime_checkable
class TokenScores(Protocol):
    """Scores the images with some of a transformer's tokens: the others are dropped before its first block."""

    def __call__(self, kept: Tensor, wanted: Tensor, kind: ScoreKind | None = None) -> Tensor:
        """Return the score of each selection of tokens, (n, s), and 0 for those not wanted, which cost nothing.

        Args:
            kept: positions of the grid, counted row by row, (n, s, t); tokens in front of the grid always stay.
            wanted: which selections are scored, (n, s).
            kind: which score; None for the one that is explained.

        Raises:
            UnsupportedModel: the network needs all tokens of its grid.
        """
        ...


@runtime_checkable
class AblatedScores(Protocol):
    """Scores the images without a channel of the layer."""

    def __call__(self, wanted: Tensor, groups: Tensor | None = None, *, closed_form: bool = True) -> Tensor:
        """Return the score without each channel, (n, k), or without each group of them, (n, g).

        Args:
            wanted: which are, (n, k) or (n, g); the others cost nothing and have score 0.
            groups: channels of each group, (n, g, k).
            closed_form: compute it from the linear layer behind the pooling where there is one.
        """
        ...


@runtime_checkable
class GradientsOf(Protocol):
    """Hands on the gradients of the score at changed copies of the images."""

    def __call__(self, copies: Copies, count: int, take: TakeGradients, kind: ScoreKind | None = None) -> None:
        """Call ``take`` chunk by chunk with the gradients with respect to the copies.

        Args:
            copies: makes them.
            count: how many there are of every image.
            take: takes them in.
            kind: which score; None for the one that is explained.
        """
        ...


@runtime_checkable
class GradientOf(Protocol):
    """Averages the gradients of the score at changed copies of the images."""

    def __call__(
        self, copies: Copies, count: int, weights: Tensor | None = None, kind: ScoreKind | None = None
    ) -> Tensor:
        """Return the weighted mean of the gradients with respect to the copies, (n, c, *space).

        Args:
            copies: makes them.
            count: how many there are of every image.
            weights: of the copies, (count,), of sum 1; None weighs all alike.
            kind: which score; None for the one that is explained.
        """
        ...


@runtime_checkable
class Descent(Protocol):
    """Takes a step's gradient with respect to what changed copies are made of, such as a mask."""

    def __call__(self, leaf: Tensor, copies: CopiesOf, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return the copies' scores, (n, s), and the gradient of their weighted sum with respect to the leaf.

        Args:
            leaf: what the copies are made of.
            copies: makes them.
            weights: (n, s); copies of weight 0 cost nothing and have score 0.
        """
        ...


@runtime_checkable
class Rounds(Protocol):
    """Gives out as many steps as the budget pays; see ``engine.budget.Allowance.rounds``."""

    def __call__(
        self,
        n: int,
        passes_per_step: int | float = 1,
        steps_per_round: int | None = None,
        *,
        at_least: int = 1,
        passes_after: int | float = 0,
    ) -> Iterator[slice]:
        """Return slices of n steps, one for each round.

        Args:
            n: steps there are.
            passes_per_step: passes per image that a step takes, at most.
            steps_per_round: steps in a slice; None if all take the same time.
            at_least: steps without which there is no map.
            passes_after: passes per image that follow the last step.
        """
        ...
