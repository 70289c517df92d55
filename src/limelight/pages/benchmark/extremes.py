"""Show the pictures on which each method does best and worst."""

from collections.abc import Sequence

import numpy as np

from limelight.pages.benchmark.maps import MapMaker, find_maps
from limelight.pages.benchmark.run import Run
from limelight.pages.formatting import format_number, label_metric
from limelight.pages.page import Block, Group, Section, Table, Value
from limelight.pages.page import Figure as Picture
from limelight.pages.scores.model import Floats, ModelScores

SHOWN = 3
"""Pictures at each end."""


def show_extremes(run: Run) -> Section:
    """Show each method's best and worst pictures by the recipe's first metric.

    Raises:
        InvalidOption: the pictures that were given can't be found.
    """
    maps = find_maps(run)
    blocks: list[Block] = []
    for scores in run.models:
        metric, column = next(iter(scores.columns.items()))
        rows: list[list[str | float | Picture | Value]] = []
        for name, values in zip(scores.methods, scores.values[0], strict=True):
            ends = _find_ends(values, column.better == "higher")
            rows.append([name, *(_show_images(maps, scores, name, images, values) for images in ends)])
        caption = f"{scores.model}: best and worst by {label_metric(metric, column)}."
        blocks.append(Group(scores.model, [Table(caption, ["method", "best", "worst"], rows)]))
    if maps is None:
        why = "are of several data sets" if run.apart else "were not at hand when this page was made (`--data`)"
        text = f"The pictures {why}, so it has their names alone."
    else:
        text = (
            "Where a method does well and where it fails, with the maps made anew. The worst say more about a method "
            "than its mean does."
        )
        without = [f"No maps of {name} are shown: {why}." for name, why in maps.without.items()]
        blocks = [*without, *blocks]
    return Section("Best and worst", [text, *blocks])


def _find_ends(values: Floats, higher: bool) -> tuple[list[int], list[int]]:
    """Return the images with the best values and those with the worst, each from the end on."""
    order = [int(i) for i in np.argsort(-values if higher else values, kind="stable")]
    order = [i for i in order if values[i] == values[i]]
    return order[:SHOWN], order[::-1][:SHOWN] if len(order) > SHOWN else []


def _show_images(
    maps: MapMaker | None, scores: ModelScores, method: str, images: Sequence[int], values: Floats
) -> Value:
    """Return some images with a method's maps, or their names alone where they are not at hand."""
    if maps is not None:
        pictures = maps.show(scores, method, images, values)
        if pictures:
            return Value("", figures=pictures)
    return Value(", ".join(f"{scores.images[i]} ({format_number(float(values[i]))})" for i in images) or "–")
