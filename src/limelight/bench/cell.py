"""One number of a run: a row of one model and one metric, and how it stands in a file."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from math import nan
from typing import Any

from limelight import files
from limelight.results.row import Row

COLUMNS: Mapping[str, Any] = {
    "key": int,
    "image": str,
    "model": str,
    "method": str,
    "metric": str,
    "value": float,
    "error": str,
    "target": int,
    "label": str,
    "probability": float,
    "reason": str,
    "seconds": float,
    "forwards": float,
    "backwards": float,
    "calls": float,
    "spent": float,
    "parts": str,
    "curve": tuple[float, ...],
}
"""The columns of a file of cells. ``parts`` are JSON, and ``curve`` is empty for a metric that has none."""


@dataclass(frozen=True, kw_only=True)
class Cell(Row):
    """A row of a run, with the numbers of one metric; see ``Row`` for what else is known.

    Attributes:
        key: of all that fixes the number; see ``key_of``.
        model: name of the model.
        metric: label of the metric.
        error: why there is no number, or "".
    """

    key: int
    model: str
    metric: str
    error: str = ""

    @property
    def value(self) -> float:
        """The metric's number; NaN where it is not defined, or where there is an error."""
        return self.values.get(self.metric, nan)

    def to_record(self) -> dict[str, Any]:
        """Return the line of a file, a value for each of ``COLUMNS``."""
        parts = {name.removeprefix(f"{self.metric}."): value for name, value in self.parts.items()}
        return {name: value for name, value in vars(self).items() if name in COLUMNS} | {
            "value": self.value,
            "spent": self.spent.get(self.metric, 0.0),
            "parts": json.dumps(parts) if parts else "",
            "curve": tuple(self.curves.get(self.metric, ())),
        }

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> "Cell":
        """Return the cell that stands in a line of a file."""
        metric = record["metric"]
        parts: dict[str, float] = json.loads(record["parts"] or "{}")
        known = {name: record[name] for name in COLUMNS if name not in ("value", "spent", "parts", "curve")}
        return Cell(
            **known,
            values={} if record["error"] else {metric: record["value"]},
            parts={f"{metric}.{name}": value for name, value in parts.items()},
            spent={metric: record["spent"]},
            curves={metric: tuple(record["curve"])} if record["curve"] else {},
        )


def key_of(*parts: str) -> int:
    """Return a number of 63 bits that is that of these words only."""
    digest = hashlib.blake2b(files.storable("\x1f".join(parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def key_in_part(part: str, key: int) -> int:
    """Return the key that a cell of a run of one data set has in a run of several, of which it is one."""
    return key_of(part, str(key))


def name_of_part(model: str, part: str) -> str:
    """Call a model on one of several data sets."""
    return f"{model} on {part}" if part else model


def join_cells(cells: Iterable[Cell]) -> list[Row]:
    """Return one row per image and method, with the numbers of all its metrics.

    Args:
        cells: of one model; those that failed are left out.
    """
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        if not cell.error:
            groups.setdefault((cell.image, cell.method), []).append(cell)
    return [_join(group) for group in groups.values()]


def _join(cells: Sequence[Cell]) -> Row:
    """Return the row of cells that differ in nothing but the metric."""
    known = {field.name: getattr(cells[0], field.name) for field in fields(Row)}
    for numbers in ("values", "parts", "spent", "curves"):
        known[numbers] = {name: value for cell in cells for name, value in getattr(cell, numbers).items()}
    return Row(**known)
