"""Read the numbers that a paper published."""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from limelight.errors import InvalidOption, show
from limelight.files import refusing, text_of

_UNITS = {"%": 0.01, "pct": 0.01, "ms": 0.001}
_SIZES = ("256px", "224px")
_OUR_NAMES = {
    "pg": "pointing-game",
    "pointing-game-mean-accuracy": "pointing-game",
    "pr": "positive-ratio",
    "map": "segmentation-ap",
    "localisation": "grid-pg",
    "out/in": "outside-inside-ratio",
    "deletion-auc": "deletion",
    "insertion-auc": "insertion",
    "running-time": "seconds",
}
"""Metrics as papers call them, and as we do."""


@dataclass(frozen=True)
class Published:
    """A number of a paper.

    Attributes:
        where: paper and table.
        model: as the paper, or a recipe's table, calls it.
        method: as it is called there.
        metric: as it is called there.
        value: in the unit of the metric here.
    """

    where: str
    model: str
    method: str
    metric: str
    value: float


def read_text(path: Path) -> str:
    """Return the text of a file with published numbers.

    Raises:
        InvalidOption: the file can't be read.
    """
    with refusing(InvalidOption, f"the paper's numbers in {path} can't be read"):
        return text_of(path)


def parse_published(text: str) -> list[Published]:
    r"""Read a table of published numbers.

    Args:
        text: csv with the columns model, method, metric, value; paper, table, dataset and split if there are such.
            Percent and milliseconds are known by the metric's name: ``PG (%)``, ``adcc_pct``, ``running_time_ms``.

    Raises:
        InvalidOption: a column lacks, or a value is no number.

    Example:
        >>> parse_published("model,method,metric,value\nresnet,grad-cam,PG (%),62.5\n")
        [Published(where='', model='resnet', method='grad-cam', metric='pointing-game', value=0.625)]
    """
    with refusing(InvalidOption, "the table of published numbers is no csv, or damaged"):
        reader = csv.DictReader(io.StringIO(text), strict=True)
        numbered = [(reader.line_num, row) for row in reader]
    wanted = ("model", "method", "metric", "value")
    lacks = [name for name in wanted if numbered and name not in numbered[0][1]]
    if lacks or not numbered:
        raise InvalidOption(
            f"a table of published numbers needs rows and the columns {', '.join(wanted)}; see {show(lacks)}"
        )
    return [_parse_row(number, row) for number, row in numbered]


def _parse_row(number: int, row: dict[Any, Any]) -> Published:
    """Read a row, which stands in this line of the file."""
    if None in row or None in row.values():
        cells = "more" if None in row else "fewer"
        raise InvalidOption(f"published numbers, line {number}: it has {cells} cells than the first line")
    try:
        value = float(row["value"])
    except (TypeError, ValueError):
        raise InvalidOption(f"published numbers, line {number}: the value {show(row['value'])} is no number") from None
    metric, scale = _parse_metric(row["metric"])
    where = ", ".join(row[key] for key in ("paper", "table", "dataset", "split") if row.get(key))
    return Published(where, row["model"], row["method"], metric, value * scale)


def _parse_metric(text: str) -> tuple[str, float]:
    """Return our name of a paper's metric, and what turns its numbers into ours."""
    words = re.findall(r"[\w/.+-]+|%", text.replace("_", " "))
    scale = float(np.prod([_UNITS.get(word, 1.0) for word in words]))
    name = "-".join(word.lower() for word in words if word not in (*_UNITS, *_SIZES))
    return (text if scale == 1 and name not in _OUR_NAMES else _OUR_NAMES.get(name, name)), scale
