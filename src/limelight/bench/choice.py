"""The outcome of a race: the method that is recommended, where each method ended, and what the race cost."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

from limelight.engine.method import Method
from limelight.errors import InvalidOption
from limelight.markup import Strong, table
from limelight.results.tables import Results

SAME_COST = 1.5
"""Methods with up to so many times the cheapest's passes count as equally cheap, and the better figure decides."""


@dataclass(frozen=True)
class Round:
    """What was known when a round was over.

    Attributes:
        number: from 1.
        pictures: number of pictures that were evaluated so far.
        figures: each method's figure on them by the metric that decides; of those that ran in this round.
        p: p-value of each against the best, corrected for the number of methods and rounds; see
            ``compare_with_best``.
        best: the method with the best figure.
        dropped: those that left the race.
        passes: spent so far, forward and backward.
    """

    number: int
    pictures: int
    figures: Mapping[str, float]
    p: Mapping[str, float]
    best: str
    dropped: tuple[str, ...]
    passes: float


@dataclass(frozen=True)
class Spent:
    """What a race cost.

    Attributes:
        passes: forward and backward, of explaining and evaluating, in full-model equivalents; a pass that several
            methods share counts for each of them.
        seconds: by the clock.
        full: passes that all methods would have taken on all pictures given.
    """

    passes: float
    seconds: float
    full: float

    @property
    def saved(self) -> float:
        """Share of the full evaluation's passes that was not spent, in [0, 1]."""
        return max(0.0, 1 - self.passes / self.full) if self.full else 0.0


@dataclass(frozen=True)
class Standing:
    """Where a method ended.

    Attributes:
        method: its name.
        figures: metric -> figure and both ends of its 95 % bootstrap interval (NaN with less than two pictures).
        pictures: number of pictures on which it was evaluated.
        empty: maps of them that are empty.
        passes: of one explanation, forward and backward, in full-model equivalents.
        seconds: of one explanation.
        dropped: the round after which it left the race; 0 if it never did.
        p: against the best: corrected as in ``compare_with_best`` if it was dropped, of one two-sided test if not; NaN
            for the best itself, and where the test is not defined.
        like_best: whether it is the best or not distinguishable from it by that one test, which is more readily
            significant than what it takes to be dropped: the cheapest should not be recommended for want of pictures.
        floor: whether it is one of those that know nothing.
    """

    method: str
    figures: Mapping[str, tuple[float, float, float]]
    pictures: int
    empty: int
    passes: float
    seconds: float
    dropped: int
    p: float
    like_best: bool
    floor: bool


@dataclass(frozen=True)
class Choice:
    """The outcome of a race.

    Attributes:
        recommended: name of the method.
        reason: why, in a sentence.
        cautions: what should be known before it is trusted, a sentence each.
        best: the method with the best figure by the metric that decides.
        standings: every method, the best first, those that were dropped last.
        rounds: the course of the race.
        spent: what it cost.
        stopped: why it ended.
        results: all numbers; a dropped method has rows of the pictures up to then.
        methods: those that ran, by the name that stands in the rows.
        given: pictures there were.
        alpha: chance at most with which the truly best method was dropped.
        left_out: methods that the model can't have, and why.
        unreadable: pictures that can't be read and were left out, and why.
    """

    recommended: str
    reason: str
    cautions: tuple[str, ...]
    best: str
    standings: tuple[Standing, ...]
    rounds: tuple[Round, ...]
    spent: Spent
    stopped: str
    results: Results = field(repr=False)
    methods: Mapping[str, Method] = field(repr=False)
    given: int
    alpha: float
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])
    unreadable: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def metric(self) -> str:
        """The metric that decides."""
        return next(iter(self.results.columns))

    @property
    def finished(self) -> bool:
        """Whether the race went to its end: one method was left, or no picture."""
        return self.pictures == self.given or sum(not s.dropped for s in self.standings) == 1

    @cached_property
    def pictures(self) -> int:
        """Pictures that were judged."""
        return len(self.results.images)

    def _repr_html_(self) -> str:
        head = ("method", self.metric, "95 % interval", "pictures", "passes", "empty maps", "end")
        rows = [_row(s, self) for s in self.standings]
        return table(head, rows, self.reason, *self.cautions, self.stopped)

    def __getitem__(self, method: str) -> Standing:
        """Return where a method ended.

        Raises:
            InvalidOption: it did not run.
        """
        standing = next((s for s in self.standings if s.method == method), None)
        if standing is None:
            raise InvalidOption(f"{method!r} did not run; there are: {', '.join(s.method for s in self.standings)}")
        return standing

    def to_dict(self) -> dict[str, Any]:
        """Return all but the single numbers, ready for JSON; what is not defined is None."""
        return _without_nan(
            {
                "recommended": self.recommended,
                "reason": self.reason,
                "cautions": list(self.cautions),
                "best": self.best,
                "metric": self.metric,
                "stopped": self.stopped,
                "pictures": self.pictures,
                "given": self.given,
                "alpha": self.alpha,
                "spent": vars(self.spent) | {"saved": self.spent.saved},
                "standings": [vars(s) for s in self.standings],
                "rounds": [vars(r) for r in self.rounds],
                "left_out": dict(self.left_out),
                "unreadable": dict(self.unreadable),
                "protocols": {name: c.protocol for name, c in self.results.columns.items()},
                "settings": self.results.settings,
            }
        )


def _row(standing: Standing, choice: Choice) -> tuple[str, ...]:
    """Return a line of the table of a choice."""
    figure, low, high = (f"{value:z.3f}" if value == value else "–" for value in standing.figures[choice.metric])
    end = "like the best" if standing.like_best else ""
    end = f"dropped after round {standing.dropped}" if standing.dropped else end
    name = Strong(standing.method) if standing.method == choice.recommended else standing.method
    return name, figure, f"{low} to {high}", str(standing.pictures), f"{standing.passes:z.0f}", str(standing.empty), end


def _without_nan(value: Any) -> Any:
    """Return a value with None for what is no finite number: JSON has no NaN."""
    if isinstance(value, Mapping):
        return {name: _without_nan(one) for name, one in cast(Mapping[str, Any], value).items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in cast(Sequence[Any], value)]
    return None if isinstance(value, float) and not math.isfinite(value) else value
