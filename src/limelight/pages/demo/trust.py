"""The chapter about how far a map can be trusted."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from limelight import api
from limelight.data.synthetic import test_split
from limelight.draw import chart
from limelight.pages.demo.chapter import Chapter
from limelight.pages.demo.figures import write_image
from limelight.pages.demo.scenes import SCENES
from limelight.pages.demo.scores import (
    CONTROLS,
    EVALUATED,
    QUESTIONS,
    curve_figure,
    describe_fake_cam,
    explain_marks,
    score_tables,
)
from limelight.pages.demo.wording import join_words
from limelight.pages.page import Block, Figures, Section, Table
from limelight.results.summary import Summary

SANITY_SCENES = 4
"""Scenes of the sanity check, which explains each many times."""

Curves = Mapping[str, Mapping[str, npt.NDArray[np.float64]]]
"""Mean curves by metric, then by method."""


def evaluate_maps(out: Path) -> Chapter:
    """Evaluate maps by metrics, beside maps that know nothing."""
    scenes, model = test_split(SCENES), api.load("demo/resnet")
    results = api.evaluate(model, scenes, [*EVALUATED, *CONTROLS], list(QUESTIONS), "label")
    figures = results.summary()
    curves = {metric: results.curves(metric) for metric in ("insertion", "deletion")}
    verdicts, _ = api.sanity(model, scenes[:SANITY_SCENES], ["grad-cam", "eigen-cam", "fake-cam"], targets="label")
    file = write_image(out / "curves.png", chart.curves(curves))

    drop, adcc = ([figures[name, m].mean for name in ("fake-cam", "grad-cam")] for m in ("average-drop", "adcc"))
    summary = (
        f"One number is not enough to trust a map: fake-cam, which says nothing, has an average drop of {drop[0]:z.2f} "
        f"(grad-cam: {drop[1]:z.2f}; lower is better) and an ADCC of {adcc[0]:z.2f} (grad-cam: {adcc[1]:z.2f}; higher "
        "is better)."
    )
    fact = (
        f"{drop[0]:z.2f}",
        f"is the average drop of a map that says nothing; Grad-CAM has {drop[1]:z.2f}, and lower is better",
    )
    blocks = [*_score_blocks(figures), *_curve_blocks(curves), *_sanity_blocks(verdicts)]
    numbers = {
        "scenes": SCENES,
        "confidence": figures.confidence,
        "figures": _figure_numbers(figures, results.methods),
        "curves": {m: {name: line.tolist() for name, line in lines.items()} for m, lines in curves.items()},
        "sanity_scenes": SANITY_SCENES,
        "sanity": {v.method: {"passed": v.passed, "similarity": _json_number(v.figure.mean)} for v in verdicts},
    }
    return Chapter(Section("How far can a map be trusted?", blocks), {"trust": numbers}, summary, [fact], [file])


def _score_blocks(figures: Summary) -> list[Block]:
    """Say what the metrics ask, and what each map gets."""
    return [
        "A map can look right and be wrong. Metrics put questions to it that do not depend on anybody’s taste, and "
        "each puts another one.",
        Table("What the metrics ask.", ["metric", "its question"], [[f"`{m}`", q] for m, q in QUESTIONS.items()]),
        f"Here they are put to {join_words(EVALUATED)}, and to three maps that know nothing of the network: "
        "`random-map` is noise, `centre-map` a spot in the middle, and `fake-cam` the same everywhere but for one "
        "corner. What a method gets is worth as much as it is better than these.",
        *score_tables(figures),
        *explain_marks(figures),
        describe_fake_cam(figures),
    ]


def _curve_blocks(curves: Curves) -> list[Block]:
    """Show the curves, and say where they begin and end."""
    start, end = (float(curves["insertion"]["grad-cam"][i]) for i in (0, -1))
    room = "Blur hides little from this network, so insertion has little room to tell maps apart. "
    return [
        Figures([curve_figure(metric, lines) for metric, lines in curves.items()]),
        f"The network gives the class {start:z.2f} on the blurred picture, where insertion begins, and {end:z.2f} on "
        f"the whole one, where deletion does. {room if start > 0.8 * end else ''}"
        "A good map makes the first curve rise early and the second fall early.",
    ]


def _sanity_blocks(verdicts: Sequence[api.Verdict]) -> list[Block]:
    """Say which maps depend on what the network has learned."""
    blocks: list[Block] = [
        "The last question is whether a map depends on what the network has learned at all. From the output down, its "
        "layers lose their weights to chance, and after each the map is made anew. One that stays as it was would say "
        "the same of a network that has learned nothing.",
        Table(
            f"The sanity check, on {SANITY_SCENES} scenes. Similarity: rank correlation with the map of the trained "
            f"network, mean over all layers; up to {api.SANITY_LIMIT:g} a method passes. At the last, all are lost.",
            ["method", "verdict", "why"],
            [[v.method, "passes" if v.passed else "fails", v.reason] for v in verdicts],
        ),
    ]
    if any(v.passed for v in verdicts if v.method == "eigen-cam"):
        blocks.append(
            "To pass is the least that can be asked, and no proof: `eigen-cam` passes, and never looks at the class."
        )
    return blocks


def _figure_numbers(figures: Summary, methods: Iterable[str]) -> dict[str, Any]:
    """Return the figures of every method and metric as JSON has them."""
    keys = ("mean", "low", "high", "rank", "like_best")
    return {
        name: {m: {key: _json_number(vars(figures[name, m])[key]) for key in keys} for m in QUESTIONS}
        for name in methods
    }


def _json_number(value: float) -> float | None:
    """Return a number as JSON has it."""
    return None if value != value else value
