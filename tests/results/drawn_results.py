"""Results that are made up, or drawn from a normal distribution."""

import numpy as np

from limelight.results.row import Column, Row
from limelight.results.tables import Results

HIGHER = Column("insertion", "insertion/8W", "higher")
HITS = Column("pointing-game", "pointing-game/0", "higher", "class-mean")


def make_row(image: str, method: str, *, target: int = 0, reason: str = "", **values: float) -> Row:
    return Row(image, method, target, f"class {target}", 0.9, reason, 0.01, 1.0, 0.0, values)


def make_results(values: dict[str, list[float]], column: Column = HIGHER) -> Results:
    """Return the results of a metric, from each method's number on every image."""
    rows = [
        make_row(f"{i:03d}", method, **{"insertion": v})
        for method, numbers in values.items()
        for i, v in enumerate(numbers)
    ]
    return Results(rows, {"insertion": column})


def draw_values(mean: float, n: int = 60, seed: int = 0) -> list[float]:
    return (mean + 0.1 * np.random.default_rng(seed).standard_normal(n)).tolist()
