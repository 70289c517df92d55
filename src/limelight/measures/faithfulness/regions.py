"""Region perturbation: the score while square cells of the picture are replaced by noise."""

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from limelight.card import register_metric
from limelight.engine.baselines import Fill, fill_images
from limelight.engine.needs import ScoresOf
from limelight.engine.rng import Draws
from limelight.errors import InvalidOption
from limelight.model.classifier import Classifier
from limelight.ops.order import ranks
from limelight.ops.space import AVERAGE, axes, pads, spread
from limelight.scoring.measured import Measured
from limelight.scoring.needs import CleanScore, ScoreOf
from limelight.shapes import Images, Index, Maps, Scores

Replacement = Literal["uniform", "zero", "black", "minimum"] | Fill
Border = Literal["kept", "cut"]
Whole = Annotated[int, Field(ge=1)]


@register_metric(
    "morf",
    family="faithfulness",
    cites="samek2017",
    cost="(min(steps, ceil(D / cell) * ceil(H / cell) * ceil(W / cell)) * (repeats if replace_by == 'uniform' else 1)"
    " + 1) F",
    in_short="(steps * repeats + 1) F",
    better="higher",
    random=True,
    low=None,
    high=None,
    profiles={"quantus": {"cell": 8, "border": "cut", "replace_by": "minimum", "score": "prob"}},
)
def morf(
    image: Images,
    raw: Maps,
    classifier: Classifier,
    clean_score: CleanScore,
    scores_of: ScoresOf,
    draws: Draws,
    *,
    cell: Whole = 9,
    border: Border = "kept",
    steps: Whole = 100,
    replace_by: Replacement = "uniform",
    repeats: Whole = 10,
    score: ScoreOf = "logit",
) -> Measured:
    """How much score is lost on average while the most relevant cells are replaced first.

    AOPC = sum_{k=0..L} (f(x_0) - f(x_k)) / (L + 1), x_k with its k most relevant cells replaced. In units of
    the score, higher is better.

    Args:
        image: x.
        raw: a cell's relevance is the sum of the raw map in it.
        classifier: for the bounds of the noise.
        clean_score: f(x_0).
        scores_of: f(x_k).
        draws: of the noise; every method meets the same.
        cell: side in pixels.
        border: whether what is left at the right and lower border is ``kept``, or the cells are centred so that they
            cover all of the picture, and its border cuts them.
        steps: L; at most the number of cells.
        replace_by: noise between black and white, the mean colour (``zero``), black, or the picture's smallest
            normalised value in any colour (``minimum``), which is a colour that depends on the normalisation.
        repeats: draws of noise to average over.
        score: f.

    Source: Samek et al. 2017, eqs. 8 to 12; ``quantus`` is the region perturbation of the package of this name, whose
    result is the curve of losses, f(x_0) - f(x_k), and which calls the smallest value black.

    Example:
        >>> metric = ll.metric("morf", steps=5, repeats=1)
        >>> results = ll.evaluate("demo/resnet", [ll.example_image()], ["grad-cam", "random-map"], metric)
        >>> results.summary()["grad-cam", "morf"].rank
        1
    """
    return _aopc(
        raw, image, classifier, clean_score(score), scores_of, draws, cell, border, steps, replace_by, repeats, score
    )


@register_metric(
    "lerf",
    family="faithfulness",
    cites="samek2017",
    cost="(min(steps, ceil(D / cell) * ceil(H / cell) * ceil(W / cell)) * (repeats if replace_by == 'uniform' else 1)"
    " + 1) F",
    in_short="(steps * repeats + 1) F",
    better="lower",
    random=True,
    low=None,
    high=None,
    profiles={"quantus": {"cell": 8, "border": "cut", "replace_by": "minimum", "score": "prob"}},
)
def lerf(
    image: Images,
    raw: Maps,
    classifier: Classifier,
    clean_score: CleanScore,
    scores_of: ScoresOf,
    draws: Draws,
    *,
    cell: Whole = 9,
    border: Border = "kept",
    steps: Whole = 100,
    replace_by: Replacement = "uniform",
    repeats: Whole = 10,
    score: ScoreOf = "logit",
) -> Measured:
    """How much score is lost on average while the least relevant cells are replaced first.

    The AOPC of ``morf``, with the order of the cells reversed. In units of the score, lower is better.

    Args:
        image: x.
        raw: a cell's relevance is the sum of the raw map in it.
        classifier: for the bounds of the noise.
        clean_score: f(x_0).
        scores_of: f(x_k).
        draws: of the noise; every method meets the same.
        cell: side in pixels.
        border: as in ``morf``.
        steps: L; at most the number of cells.
        replace_by: as in ``morf``.
        repeats: draws of noise to average over.
        score: f.

    Source: Samek et al. 2017, section III-B.

    Example:
        >>> metric = ll.metric("lerf", steps=5, repeats=1)
        >>> results = ll.evaluate("demo/resnet", [ll.example_image()], "grad-cam", metric)
        >>> results.columns["lerf"].better
        'lower'
    """
    return _aopc(
        -raw, image, classifier, clean_score(score), scores_of, draws, cell, border, steps, replace_by, repeats, score
    )


def _aopc(
    relevance: Maps,
    image: Images,
    classifier: Classifier,
    f0: Scores,
    scores_of: ScoresOf,
    draws: Draws,
    cell: int,
    border: Border,
    steps: int,
    replace_by: Replacement,
    repeats: int,
    score: ScoreOf,
) -> Measured:
    place, count = _cells(relevance, cell, border)
    steps = min(steps, count)
    repeats = repeats if replace_by == "uniform" else 1
    other = _replacements(replace_by, repeats, image, classifier, draws)

    def frames(i: Index, s: Index) -> Images:
        gone = place[i] <= spread(s % steps, place)
        return torch.where(gone[:, None], other(i, s // steps), image[i])

    f = torch.unflatten(scores_of(frames, steps * repeats, score), 1, (repeats, steps)).mean(1)
    curve = torch.cat([f0[:, None], f], 1)
    return Measured((f0[:, None] - curve).mean(1), curve=curve)


def _cells(relevance: Maps, cell: int, border: Border) -> tuple[Tensor, int]:
    """Return for every pixel the place of its cell in decreasing order, or a place that never comes; and their number.

    Raises:
        InvalidOption: not even one cell fits.
    """
    size = relevance.shape[1:]
    sides = [1 if side == 1 else cell for side in size]  # an axis of a single pixel is not cut
    if any(side < own for side, own in zip(size, sides, strict=True)):
        raise InvalidOption(f"cell = {cell} does not fit into pictures of {' x '.join(map(str, size))}")
    missing = [-side % own if border == "cut" else -(side % own) for side, own in zip(size, sides, strict=True)]
    margins = pads([(n // 2, n - n // 2) if n > 0 else (0, n) for n in missing])
    order = ranks(AVERAGE[len(size)](F.pad(relevance, margins)[:, None], tuple(sides))[:, 0])
    place = order
    for axis, own in enumerate(sides, start=1):
        place = place.repeat_interleave(own, axis)
    return F.pad(place, tuple(-n for n in margins), value=size.numel()), order[0].numel()


def _replacements(
    replace_by: Replacement, repeats: int, image: Images, classifier: Classifier, draws: Draws
) -> Callable[[Index, Index], Images]:
    """Return a function: image and repeat, (m,) -> what replaces its cells, (m, c, *space)."""
    low, high = (bound.to(image) for bound in classifier.bounds)
    if replace_by == "minimum":
        least = image.amin(axes(image), keepdim=True).expand_as(image)
        return lambda i, _: least[i]
    if replace_by == "uniform":
        other = low + (high - low) * draws.uniform((repeats, *image.shape[1:]), like=image)
        return lambda _, repeat: other[repeat]
    fill = fill_images(classifier, image, replace_by)
    return lambda i, _: fill[i]
