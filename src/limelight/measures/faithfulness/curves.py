"""Insertion and deletion: the score while pixels come or leave in the order of the map."""

from typing import Annotated, Literal

import torch
from pydantic import Field

from limelight.card import register_metric
from limelight.engine.baselines import Fill
from limelight.ops.order import Step, Ties, pixels_per_step
from limelight.scoring.measured import Measured
from limelight.scoring.needs import CurveOf, OtherClass, ScoreOf
from limelight.shapes import Curve, Index, Maps, Scores


@register_metric(
    "deletion",
    family="faithfulness",
    cites="petsiuk2018",
    cost="(ceil(pixels / step) + 1) F",
    ties_option="ties",
    step_option="step",
    better="lower",
    profiles={
        "rise": {},
        "adcc": {},
        "collection-cam": {},
        "aop": {"fill": "gauss-51-50"},
        "group-cam": {"step": "2W"},
    },
)
def deletion(
    maps: Maps,
    curve: CurveOf,
    *,
    fill: Fill = "zero",
    step: Step = "8W",
    ties: Ties = "raster",
    score: ScoreOf = "prob",
    x_axis: Literal["steps", "fraction"] = "steps",
) -> Measured:
    """Area under the class's probability while the most salient pixels leave first.

    q_i = p_c(x with its first i s pixels taken from b), i = 0 … n = ceil(HW / s);
    AUC = (sum_i q_i - (q_0 + q_n) / 2) / n. In [0, 1], lower is better.

    Args:
        maps: their order counts, nothing else.
        curve: q.
        fill: b, the mean colour (``zero``), ``black``, or a blur of x.
        step: s, pixels per step; ``8W`` are eight rows.
        ties: which of two equal pixels leaves first: the earlier in reading order (``raster``), the later
            (``reverse``, as a reversed sort has it), or either (``random``).
        score: what is plotted.
        x_axis: ``fraction`` gives a shorter last step its true width.

    Source: Petsiuk et al. 2018, section 4.2.

    Example:
        >>> results = ll.evaluate("demo/resnet", [ll.example_image()], ["grad-cam", "random-map"], "deletion")
        >>> results.summary()["grad-cam", "deletion"].rank, results.curves("deletion")["grad-cam"].shape
        (1, (17,))
    """
    q = curve("deletion", fill, step, ties, score)
    return Measured(_area(q, maps, step, x_axis), curve=q)


@register_metric(
    "insertion",
    family="faithfulness",
    cites="petsiuk2018",
    cost="(ceil(pixels / step) + 1) F",
    ties_option="ties",
    step_option="step",
    better="higher",
    profiles={
        "rise": {},
        "adcc": {},
        "collection-cam": {"fill": "zero"},
        "aop": {"fill": "gauss-51-50"},
        "group-cam": {"fill": "gauss-51-50", "step": "2W"},
    },
)
def insertion(
    maps: Maps,
    curve: CurveOf,
    *,
    fill: Fill = "rise-blur",
    step: Step = "8W",
    ties: Ties = "raster",
    score: ScoreOf = "prob",
    x_axis: Literal["steps", "fraction"] = "steps",
) -> Measured:
    """Area under the class's probability while the most salient pixels come first.

    q_i = p_c(b with its first i s pixels taken from x), i = 0 … n = ceil(HW / s);
    AUC = (sum_i q_i - (q_0 + q_n) / 2) / n. In [0, 1], higher is better.

    Args:
        maps: their order counts, nothing else.
        curve: q.
        fill: b, the mean colour (``zero``), ``black``, or a blur of x.
        step: s, pixels per step; ``8W`` are eight rows.
        ties: which of two equal pixels comes first; see ``deletion``.
        score: what is plotted.
        x_axis: ``fraction`` gives a shorter last step its true width.

    Source: Petsiuk et al. 2018, section 4.2.

    Example:
        >>> results = ll.evaluate("demo/resnet", [ll.example_image()], ["grad-cam", "random-map"], "insertion")
        >>> results.summary()["grad-cam", "insertion"].rank, results.curves("insertion")["grad-cam"].shape
        (1, (17,))
    """
    q = curve("insertion", fill, step, ties, score)
    return Measured(_area(q, maps, step, x_axis), curve=q)


@register_metric(
    "overall",
    family="faithfulness",
    cites="zhang2021groupcam",
    cost="(2 * ceil(pixels / step) + 1) F",
    ties_option="ties",
    step_option="step",
    better="higher",
    low=-1.0,
    profiles={
        "rise": {},
        "adcc": {},
        "collection-cam": {"insert_into": "zero"},
        "aop": {"insert_into": "gauss-51-50", "delete_to": "gauss-51-50"},
        "group-cam": {"insert_into": "gauss-51-50", "step": "2W"},
    },
)
def overall(
    maps: Maps,
    curve: CurveOf,
    *,
    insert_into: Fill = "rise-blur",
    delete_to: Fill = "zero",
    step: Step = "8W",
    ties: Ties = "raster",
    score: ScoreOf = "prob",
    x_axis: Literal["steps", "fraction"] = "steps",
) -> Measured:
    """Insertion minus deletion.

    In [-1, 1], higher is better.

    Args:
        maps: their order counts, nothing else.
        curve: of insertion and of deletion.
        insert_into: see ``insertion``.
        delete_to: see ``deletion``.
        step: pixels per step.
        ties: order of equal pixels.
        score: what is plotted.
        x_axis: see ``insertion``.

    Source: Zhang et al. 2021 (Group-CAM); Ha and Youn 2022 (Collection-CAM), eq. 28.

    Example:
        >>> results = ll.evaluate("demo/resnet", [ll.example_image()], "grad-cam", ["insertion", "deletion", "overall"])
        >>> insertion, deletion, overall = (results.values(metric).item() for metric in results.columns)
        >>> abs(insertion - deletion - overall) < 1e-5
        True
    """
    inserted = insertion(maps, curve, fill=insert_into, step=step, ties=ties, score=score, x_axis=x_axis).values
    deleted = deletion(maps, curve, fill=delete_to, step=step, ties=ties, score=score, x_axis=x_axis).values
    return Measured(inserted - deleted, {"insertion": inserted, "deletion": deleted})


@register_metric(
    "cross-deletion",
    family="faithfulness",
    cites="zhang2021",
    cost="(ceil(pixels / step) + 1) F",
    ties_option="ties",
    step_option="step",
    better="higher",
    profiles={"rise": {}, "aop": {"fill": "gauss-51-50"}},
)
def cross_deletion(
    maps: Maps,
    curve: CurveOf,
    explained_class: Index,
    other_class: OtherClass,
    *,
    watch: Annotated[int, Field(ge=0)] | str | None = None,
    fill: Fill = "zero",
    step: Step = "8W",
    ties: Ties = "raster",
    score: ScoreOf = "prob",
    x_axis: Literal["steps", "fraction"] = "steps",
) -> Measured:
    """Area under another class's probability while the most salient pixels of the explained class leave first.

    q_i = p_b(x without the first i s pixels of the map of class a); the area as that of ``deletion``. A map that tells
    the classes apart takes the evidence of a and leaves that of b: p_b stands, or rises. In [0, 1], higher is better.

    Args:
        maps: of the explained class; their order counts, nothing else.
        curve: q.
        explained_class: a.
        other_class: b; where it is a, the value is NaN.
        watch: b, an index or a label; None for the most probable class that is not explained.
        fill: what takes the pixels' place; see ``deletion``.
        step: s, pixels per step; ``8W`` are eight rows.
        ties: which of two equal pixels leaves first; see ``deletion``.
        score: what is plotted.
        x_axis: ``fraction`` gives a shorter last step its true width.

    Source: Zhang et al. 2021, figure 1, which shows such a curve; its area as a number is ours.

    Example:
        >>> scene = ll.example_image(3)
        >>> results = ll.evaluate("demo/resnet", [scene], ["grad-cam", "random-map"], "cross-deletion")
        >>> results.curves("cross-deletion")["grad-cam"].shape
        (17,)
    """
    watched = other_class(watch)
    q = curve("deletion", fill, step, ties, score, watched)
    area = _area(q, maps, step, x_axis).masked_fill(watched == explained_class, torch.nan)
    return Measured(area, {"before": q[:, 0], "highest": q.max(1).values}, curve=q)


def _area(q: Curve, maps: Maps, step: Step, x_axis: str) -> Scores:
    """Trapezoids of equal width, or of the width that a step has in pixels."""
    size = maps.shape[1:]
    at = torch.arange(q.shape[1], device=q.device, dtype=q.dtype)
    if x_axis == "fraction":
        at = (at * pixels_per_step(step, size)).clamp_max(size.numel())
    return ((q[:, 1:] + q[:, :-1]) / 2 * at.diff()).sum(1) / at[-1]
