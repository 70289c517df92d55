"""Show the classes of an inspection: where their maps lie, and which strategies they are of."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from limelight.inspection.findings import InspectedClass, Inspection, Strategy
from limelight.pages.formatting import format_count
from limelight.pages.inspection.pictures import Thumbnails
from limelight.pages.inspection.strategies import list_strategies, show_strategy
from limelight.pages.inspection.words import name_result, write_share
from limelight.pages.page import Block, Details, Order, Point, Scatter, Section, Table, Value
from limelight.text import visible

DRAWN = 20
"""Classes that are drawn, at most; the table has all."""

POINTS = 1000
"""Pictures of a class that are drawn."""


def choose_classes(inspection: Inspection) -> list[InspectedClass]:
    """Return the classes that are drawn: of proven strategies first, then of the most suspicious; a single one."""
    known = {one.target: one for one in inspection.classes}
    order = dict.fromkeys(strategy.target for strategy in inspection.strategies)
    return [known[target] for target in list(order)[:DRAWN]] if len(known) > 1 else [*inspection.classes]


def show_class(
    one: InspectedClass,
    strategies: Mapping[str, Strategy],
    names: Sequence[str],
    thumbnails: Thumbnails,
    most: int,
) -> Section:
    """Show a class.

    Args:
        one: the class.
        strategies: of the class, by name.
        names: of all pictures.
        thumbnails: makes the small pictures.
        most: pictures of a strategy that is not proven.
    """
    title = f"Class {one.target}" + ("" if one.label == str(one.target) else f": {visible(one.label)}")
    if one.note:
        return Section(
            title, [f"{format_count('picture', len(one.places))}. No strategies were looked for: {one.note}."]
        )
    others: list[Block] = []
    for name, strategy in strategies.items():
        if not strategy.verdict:
            blocks = show_strategy(strategy, thumbnails, most)
            about = f"{name}: {format_count('picture', len(strategy.members))}, {name_result(strategy)}"
            others.append(Details(about, blocks))
    about = f"{format_count('picture', len(one.places))}, {format_count('cluster', one.clusters)}."
    if one.agreement == one.agreement:
        about += (
            f" Agreement of the clusters with those of HDBSCAN (adjusted Rand index): {write_share(one.agreement)}."
        )
    return Section(
        title,
        [
            about,
            draw_points(one, strategies, names, thumbnails.keys),
            list_strategies([*strategies.values()], [*strategies]),
            *others,
        ],
    )


def draw_points(
    one: InspectedClass, strategies: Mapping[str, Strategy], names: Sequence[str], seen: set[str]
) -> Scatter:
    """Put the pictures of a class into the plane; the most suspicious lie on top."""
    groups = {name: set(s.members.tolist()) for name, s in strategies.items() if s.source != "class"}
    there = np.flatnonzero(np.isfinite(one.points).all(1))
    empty = len(one.places) - len(there)
    spread = there[np.arange(min(POINTS, len(there))) * len(there) // max(min(POINTS, len(there)), 1)]
    pictured = there[[str(place) in seen for place in one.places[there].tolist()]]
    rows = np.union1d(spread, pictured)
    x, y = _fit(one.points[there], one.points[rows]).T.tolist()
    points = [
        Point(
            x[i],
            y[i],
            [g for g, members in enumerate(groups.values()) if place in members],
            names[place],
            str(place),
        )
        for i, place in enumerate(map(int, one.places[rows]))
    ]
    points.sort(key=lambda point: -min(point.groups, default=len(groups)))
    left_out = [f"{len(rows):,} of {len(there):,} pictures are drawn"] if len(rows) < len(there) else []
    left_out += [
        f"{format_count('picture', empty)} with an empty map {'is' if empty == 1 else 'are'} not drawn"
    ] * bool(empty)
    return Scatter(
        points,
        [(name, len(members)) for name, members in groups.items()],
        "others",
        f"Map of the pictures of class {visible(one.label)}.",
        "Each point is a picture; those whose maps look alike lie near each other, and other distances mean little. "
        "A picture of several strategies has the colour of the first." + "".join(f" {text}." for text in left_out),
    )


def _fit(everyone: npt.NDArray[np.float32], points: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return points in [0, 1]^2: all of them on a sheet of ``Scatter.SIZE`` without distortion, in its middle."""
    if not len(everyone):
        return np.empty((0, 2))
    sheet = np.array(Scatter.SIZE) / min(Scatter.SIZE)
    low, high = everyone.min(0).astype(np.float64), everyone.max(0).astype(np.float64)
    scale = max(float(((high - low) / sheet).max()), 1e-30)
    return 0.5 + (points - (low + high) / 2) / scale / sheet


def list_classes(inspection: Inspection) -> Table:
    """Return a row for each class."""
    of: dict[int, list[Strategy]] = {}
    for strategy in inspection.strategies:
        of.setdefault(strategy.target, []).append(strategy)

    def count(number: int) -> Value:
        return Value(f"{number:,}", number)

    rows: list[list[str | Value]] = []
    for one in inspection.classes:
        own = of.get(one.target, [])
        rows.append(
            [
                visible(one.label),
                count(len(one.places)),
                count(len(own)),
                count(sum(bool(s.proofs) for s in own)),
                count(sum(bool(s.verdict) for s in own)),
                Value(write_share(one.fixed), one.fixed),
                one.note or "–",
            ]
        )
    orders: list[Order] = [
        "ascending",
        "descending",
        "descending",
        "descending",
        "descending",
        "descending",
        "ascending",
    ]
    return Table(
        "All classes that were looked at, those with most pictures first.",
        ["class", "pictures", "strategies", "tried", "proven", "fixedness", "note"],
        rows,
        orders,
    )
