"""The scores of maps as tables, sentences and curves of the page."""

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from limelight.draw import chart
from limelight.pages.demo.scenes import SCENES
from limelight.pages.demo.wording import join_words
from limelight.pages.page import Figure as Picture
from limelight.pages.page import Table
from limelight.results.summary import Figure, Summary

EVALUATED = ("grad-cam", "layer-cam", "eigen-cam")
"""Methods whose maps are put to the test."""

CONTROLS = ("random-map", "centre-map", "fake-cam")
"""Maps that know nothing of the network, put to the same test."""

QUESTIONS = {
    "proportion": "How much of the map lies on the object?",
    "pointing-game": "Does its brightest point lie on the object?",
    "average-drop": "How much of its probability does the class lose when the picture fades where the map is dark?",
    "adcc": "All at once: is that drop small, is the map small, and does what it shows give the same map again?",
    "insertion": "How probable is the class, on average, while a blurred picture gets its pixels, brightest first?",
    "deletion": "How probable is it, on average, while the picture loses its pixels, brightest first?",
}
"""Metrics by which maps are evaluated, and what each asks."""


def score_tables(figures: Summary) -> Iterable[Table]:
    """Yield every method's figures, with their intervals and marks, in tables that fit a small screen."""
    arrows = {m: c.arrow for m, c in figures.columns.items()}

    caption = (
        f"Means over {SCENES} scenes (pointing-game: over their classes; adcc: of its three terms), and in brackets "
        f"where {figures.confidence:z.0%} of them fall when the scenes are drawn anew. ↑ higher is better, ↓ lower; "
        "* the best, and what is not distinguishable from it."
    )
    for metrics in (list(QUESTIONS)[:3], list(QUESTIONS)[3:]):
        rows = [[name, *(interval_cell(figures[name, m]) for m in metrics)] for name in (*EVALUATED, *CONTROLS)]
        yield Table(caption, ["method", *(f"{m} {arrows[m]}" for m in metrics)], rows)
        caption = "The same for the other questions."


def interval_cell(f: Figure) -> str:
    """Write a mean, a mark where it is the best or not distinguishable from it, and its interval."""
    interval = "" if f.low != f.low else f" ({f.low:z.2f}–{f.high:z.2f})"
    return "–" if f.mean != f.mean else f"{f.mean:z.2f}{'*' if f.like_best else ''}{interval}"


def explain_marks(figures: Summary) -> list[str]:
    """Say what the marks mean, and which maps have one that know nothing."""
    meaning = (
        "Not distinguishable means that the difference may be chance: if two methods swapped their numbers on scenes "
        "picked by lot, one as large would come up in more than one of twenty tries (corrected for the number of "
        "pairs). It does not mean that they are equally good, and the means alone do not decide it; what counts is "
        "how steadily two methods differ from scene to scene."
    )
    if any(figures[name, "pointing-game"].high == 0 for name in (*EVALUATED, *CONTROLS)):
        meaning += " An interval without width is no certainty: where no scene has a hit, drawing anew finds none."
    marks = {name: [f"`{m}`" for m in QUESTIONS if figures[name, m].like_best] for name in CONTROLS}
    marked = [f"{name} by {join_words(metrics)}" for name, metrics in marks.items() if metrics]
    if not marked:
        return [meaning, "None of the maps that know nothing has a mark."]
    return [meaning, f"Even maps that know nothing have marks: {'; '.join(marked)}. There a mark alone is no merit."]


def describe_fake_cam(figures: Summary) -> str:
    """Say how the metrics take a map that says nothing."""
    drop, adcc, pointing = (figures["fake-cam", m] for m in ("average-drop", "adcc", "pointing-game"))
    best, last = drop.rank == 1, adcc.rank == len(EVALUATED) + len(CONTROLS)
    return (
        "`fake-cam` is there to test the metrics. What it shows is the whole picture, so the class loses "
        f"{drop.mean:z.2f} of its probability{', and average drop puts it first' if best else ''}. ADCC asks for a "
        f"small map as well and gives it {adcc.mean:z.2f}{', the last place' if last else ''}. For the pointing game "
        "it has no brightest point; the first of many counts, wherever the object is, and that makes "
        f"{pointing.mean:z.2f}."
    )


def curve_figure(metric: str, lines: Mapping[str, npt.NDArray[np.float64]]) -> Picture:
    """Draw the mean curves of a metric."""
    early = {name: float(np.interp(1 / 8, np.linspace(0, 1, len(line)), line)) for name, line in lines.items()}
    first = next(iter(lines.values()))
    alt = (
        f"Curves of {metric}, from {first[0]:z.2f} to {first[-1]:z.2f}; after an eighth of the pixels: "
        f"{', '.join(f'{name} {value:z.2f}' for name, value in early.items())}."
    )
    caption = (
        f"`{metric}`: after an eighth {early['grad-cam']:z.2f} by grad-cam, {early['random-map']:z.2f} by random-map."
    )
    return Picture(chart.curves({metric: lines}, width=560), alt, caption)
