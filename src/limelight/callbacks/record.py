"""What came of the pictures in one epoch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

from PIL import Image

from limelight.results.explanation import Explanation
from limelight.results.gallery import Gallery
from limelight.results.tables import Results


@dataclass(frozen=True)
class Record:
    """What came of the pictures in one epoch.

    Attributes:
        epoch: its number.
        explanations: of the pictures; none if they could not be explained.
        results: a row per picture with the metrics' numbers; None if they could not be explained.
        rank_correlations: Spearman's correlation of each picture's map with that of the last record, in [-1, 1]; NaN
            where there is none yet, or one of both is empty.
        failure: why the pictures could not be explained, or "".
        failures: how often that, or the writing of a log, has failed so far.
        seconds: spent on all of it; what a log writes of it is without the writing.
        share: of the time since the last record, or since ``Watch.check``; NaN where there was neither.
    """

    epoch: int
    explanations: tuple[Explanation, ...] = ()
    results: Results | None = None
    rank_correlations: tuple[float, ...] = ()
    failure: str = ""
    failures: int = 0
    seconds: float = math.nan
    share: float = math.nan

    def __repr__(self) -> str:
        shown = ", ".join(f"{name} {value:z.3g}" for name, value in self.numbers.items() if not math.isnan(value))
        return f"Record(epoch {self.epoch}: {self.failure or shown})"

    @property
    def numbers(self) -> dict[str, float]:
        """Means over the pictures, by name; NaN where there is nothing to be averaged."""
        results = self.results
        figures = {} if results is None else {name: results.pool(name).figures()[0] for name in results.columns}
        return {
            "rank-correlation": _mean(self.rank_correlations),
            "probability": _mean([e.probability for e in self.explanations]),
            **figures,
            "empty-maps": sum(e.degenerate for e in self.explanations),
            "failures": self.failures,
            "seconds": self.seconds,
            "share": self.share,
        }

    @property
    def finite(self) -> dict[str, float]:
        """The numbers that are not NaN, by names that tell them from a trainer's own: ``limelight/probability``."""
        return {f"limelight/{name}": value for name, value in self.numbers.items() if not math.isnan(value)}

    @cached_property
    def picture(self) -> Image.Image | None:
        """A row per picture: itself, and its map; None if they could not be explained."""
        return Gallery([[e] for e in self.explanations]).picture() if self.explanations else None

    def as_json(self) -> dict[str, Any]:
        """Return all numbers, those of each picture too, ready for JSON: what is not defined is None."""
        rows = self.results.records() if self.results is not None else []
        pictures = [
            _without_nan(row | {"rank-correlation": r}) for row, r in zip(rows, self.rank_correlations, strict=True)
        ]
        return {"epoch": self.epoch, **_without_nan(self.numbers), "failure": self.failure, "pictures": pictures}


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return fmean(known) if known else math.nan


def _without_nan(values: dict[str, Any]) -> dict[str, Any]:
    return {name: None if value != value else value for name, value in values.items()}
